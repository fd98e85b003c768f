package eventdb

import (
	"context"
	"fmt"

	"sesame/internal/events"
)

// Recipients is Store's.
func (d *DuckDB) Recipients(ctx context.Context, src events.Source, q Mail, do func(*Recipient) error) error {
	// Of the slices in hand one is given, and the others are read.
	free := make(chan *gatherer, cap(d.readers))
	for range cap(free) {
		free <- &gatherer{}
	}
	err := d.walk(ctx, src, mailWalk{q: q, slice: d.slice, readSlice: func(ctx context.Context, r *reader, p part) (read, error) {
		g := <-free
		err := g.read(ctx, r, q.More, p)
		got := read{n: int64(len(g.all)), events: g.events}
		back := func() {
			if got.n > d.slice {
				g = &gatherer{} // the next ones do not need as much memory
			}
			free <- g
		}
		if err != nil {
			back()
			return got, err
		}
		got.give = func() error {
			defer back()
			return g.each(do)
		}
		return got, nil
	}})
	if err != nil {
		return fmt.Errorf("read what became of mail: %w%s", err, advice(err))
	}
	return nil
}

// read reads the recipients of a part and puts them in order.
func (g *gatherer) read(ctx context.Context, r *reader, more bool, p part) error {
	g.begin(more, p.most)
	whole, silent := wholeColumns, silentColumns
	if more {
		whole, silent = whole+moreColumns, silent+moreColumns
	}
	of := func(columns, table, where string) string { return "SELECT " + columns + " FROM " + table + where }
	where, args := p.where, p.args
	if p.like != "" {
		where, args = p.like, p.likeArgs
	}
	err := r.read(ctx, of(whole, mailTable, where), args, g.whole)
	if err == nil {
		err = r.read(ctx, of(laterColumns, recipientTable, where), args, g.later)
	}
	if err == nil && len(g.strangers) > 0 {
		err = r.read(ctx, of(whole, recipientTable, where), args, g.strange)
	}
	for _, table := range tables { // when it is known who is wanted
		if err == nil && p.like != "" {
			err = r.read(ctx, of(silent, table, p.silent), p.args, g.silent)
		}
	}
	if err != nil {
		return err
	}
	g.sort()
	return nil
}
