package eventdb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"sesame/internal/events"
)

// Recipients is Store's.
func (d *DuckDB) Recipients(ctx context.Context, src events.Source, q Mail, do func(*Recipient) error) error {
	err := d.walk(ctx, src, mailWalk{q: q, slice: d.slice, readSlice: func(ctx context.Context, r *reader, where string, args []any, most int64) (func() error, int64, error) {
		all, n, err := recipientsOf(ctx, r, q, where, args, most)
		return func() error { return each(all, do) }, n, err
	}})
	if err != nil {
		return fmt.Errorf("read what became of mail: %w%s", err, advice(err))
	}
	return nil
}

func each[T any](all []T, do func(T) error) error {
	for _, one := range all {
		if err := do(one); err != nil {
			return err
		}
	}
	return nil
}

// recipientsOf reads the recipients of a slice, in order.
func recipientsOf(ctx context.Context, r *reader, q Mail, where string, args []any, most int64) ([]*Recipient, int64, error) {
	g := newGatherer(q, most)
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
		return nil, g.events, err
	}
	slices.SortFunc(g.all, func(a, b *Recipient) int {
		if c := b.Sent.Compare(a.Sent); c != 0 {
			return c
		}
		return cmp.Or(strings.Compare(a.MessageID, b.MessageID), strings.Compare(a.Destination, b.Destination))
	})
	return g.all, g.events, nil
}
