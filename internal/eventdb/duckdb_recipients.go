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
	err := d.walk(ctx, src, mailWalk{q: q, slice: d.slice, readSlice: func(ctx context.Context, r *reader, where string, args []any, most int64) (func() error, int64, error) {
		g := <-free
		if err := g.read(ctx, r, q, where, args, most); err != nil {
			free <- g
			return nil, g.events, err
		}
		return func() error {
			defer func() { free <- g }()
			return g.each(do)
		}, g.events, nil
	}})
	if err != nil {
		return fmt.Errorf("read what became of mail: %w%s", err, advice(err))
	}
	return nil
}

// read reads the recipients of a slice and puts them in order.
func (g *gatherer) read(ctx context.Context, r *reader, q Mail, where string, args []any, most int64) error {
	g.begin(q, most)
	whole := "SELECT " + wholeColumns
	if q.More {
		whole += moreColumns
	}
	err := r.read(ctx, whole+" FROM "+mailTable+where, args, g.whole)
	if err == nil {
		err = r.read(ctx, "SELECT "+laterColumns+" FROM "+recipientTable+where, args, g.later)
	}
	if err == nil && len(g.strangers) > 0 {
		err = r.read(ctx, whole+" FROM "+recipientTable+where, args, g.strange)
	}
	if err != nil {
		return err
	}
	g.sort()
	return nil
}
