package eventdb

import (
	"context"
	"fmt"

	"sesame/internal/events"
)

// Recipients is Store's.
func (d *DuckDB) Recipients(ctx context.Context, src events.Source, q Mail, do func(*Recipient) error) error {
	// One gathers for each slice that is read, and one has what is given.
	free := make(chan *gatherer, cap(d.readers)+1)
	for range cap(free) {
		free <- &gatherer{}
	}
	err := d.walk(ctx, src, mailWalk{q: q, slice: d.slice, readSlice: func(ctx context.Context, r *reader, p part) (read, error) {
		g := <-free
		err := g.read(ctx, r, q.More, p)
		got := read{n: int64(len(g.all)), events: g.events}
		if err != nil {
			free <- g
			return got, err
		}
		got.give = func() error {
			defer func() { free <- g }()
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
	columns := wholeColumns
	if more {
		columns += moreColumns
	}
	of := func(columns, table, where string) string { return "SELECT " + columns + " FROM " + table + where }
	where, args := p.where, p.args
	if p.like != "" {
		where, args = p.like, p.likeArgs
	}
	err := r.read(ctx, of(columns, mailTable, where), args, g.whole)
	if err == nil && p.like != "" {
		err = r.read(ctx, of(bounceColumns, mailTable, p.silent), p.args, g.silent)
	}
	if err == nil {
		err = r.read(ctx, of(laterColumns, recipientTable, where), args, g.later)
	}
	if err == nil && len(g.strangers) > 0 {
		err = r.read(ctx, of(columns, recipientTable, where), args, g.strange)
	}
	if err == nil && p.like != "" {
		err = r.read(ctx, of(bounceColumns, recipientTable, p.silent), p.args, g.silent)
	}
	if err != nil {
		return err
	}
	g.sort()
	return nil
}
