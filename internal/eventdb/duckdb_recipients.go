package eventdb

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"sesame/internal/events"
)

const (
	// sliceEvents is about how many events a slice of send time has. Its recipients are
	// in memory, about 400 bytes each, and of readers' slices and one more at once.
	sliceEvents = 200_000
	// crowded is how many times that a slice may turn out to have before it is halved:
	// mail comes in bursts. Of one millisecond there may be more.
	crowded = 4
	// firstSlice is how much time the first one has. From then on it is known about how
	// much mail there is.
	firstSlice = hour
	hour       = 60 * 60 * 1000 // milliseconds
)

var errCrowded = errors.New("the slice has too many events")

// slice is the recipients of mail of a span of send time.
type slice struct {
	from, to   int64 // milliseconds
	recipients []*Recipient
	events     int64 // that were read
	err        error
}

// Recipients is Store's.
func (d *DuckDB) Recipients(ctx context.Context, src events.Source, q Mail, do func(*Recipient) error) error {
	done, err := d.use()
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	w := mailWalk{d, src, q, do}
	err = w.slices(ctx, cancel)
	cancel()
	if err != nil {
		return fmt.Errorf("read what became of mail: %w%s", err, advice(err))
	}
	return nil
}

// mailWalk is one call of Recipients.
type mailWalk struct {
	*DuckDB
	src events.Source
	q   Mail
	do  func(*Recipient) error
}

// slices walks send time from the newest to the oldest. While a slice is given to
// do, the next ones are read.
func (w *mailWalk) slices(ctx context.Context, cancel func()) error {
	from, to := w.q.From.UnixMilli(), w.q.To.UnixMilli()
	var reading []chan slice
	defer func() { // the readers are given back before the walk ends
		cancel()
		for _, s := range reading {
			<-s
		}
	}()
	length := int64(firstSlice)
	to, err := w.lastBefore(ctx, to)
	if err != nil {
		return err
	}
	for to > from || len(reading) > 0 {
		for to > from && len(reading) < cap(w.readers) {
			begin := max(from, to-length)
			ahead := make(chan slice, 1)
			reading = append(reading, ahead)
			go func(from, to int64) { ahead <- w.read(ctx, from, to) }(begin, to)
			to = begin
		}
		s := <-reading[0]
		reading = reading[1:]
		if err := w.give(ctx, s); err != nil {
			return err
		}
		length = w.longer(s)
		if s.events == 0 && s.err == nil && to > from {
			if to, err = w.lastBefore(ctx, to); err != nil {
				return err
			}
			length = firstSlice
		}
	}
	return nil
}

// longer gives how much time the next slice should have.
func (w *mailWalk) longer(s slice) int64 {
	length := s.to - s.from
	if s.events > 0 {
		return max(1, min(4*length, length*w.slice/s.events))
	}
	return length
}

// lastBefore is the moment behind the last mail that was sent before a time; From
// when there is none.
func (w *mailWalk) lastBefore(ctx context.Context, before int64) (int64, error) {
	var last sql.NullInt64
	err := w.db.QueryRowContext(ctx, "SELECT max(sent) FROM events WHERE sent >= ? AND sent < ? AND account = ? AND region = ?",
		w.q.From.UnixMilli(), before, w.src.Account, w.src.Region).Scan(&last)
	if err != nil || !last.Valid {
		return w.q.From.UnixMilli(), err
	}
	return last.Int64 + 1, nil
}

// give gives the slice's recipients to do. One that is crowded is read again, in
// halves.
func (w *mailWalk) give(ctx context.Context, s slice) error {
	if errors.Is(s.err, errCrowded) {
		half := s.from + (s.to-s.from)/2
		if err := w.give(ctx, w.read(ctx, half, s.to)); err != nil {
			return err
		}
		return w.give(ctx, w.read(ctx, s.from, half))
	}
	if s.err != nil {
		return s.err
	}
	if w.q.Read != nil {
		w.q.Read(time.UnixMilli(s.from).UTC(), s.events)
	}
	for _, r := range s.recipients {
		if err := w.do(r); err != nil {
			return err
		}
	}
	return nil
}

// read reads a slice.
func (w *mailWalk) read(ctx context.Context, from, to int64) (s slice) {
	s = slice{from: from, to: to}
	select {
	case r := <-w.readers:
		defer func() {
			w.readers <- r
			if p := recover(); p != nil {
				s.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		s.recipients, s.events, s.err = w.readWith(ctx, r, from, to)
	case <-ctx.Done():
		s.err = ctx.Err()
	}
	return s
}

func (w *mailWalk) readWith(ctx context.Context, r *reader, from, to int64) ([]*Recipient, int64, error) {
	most := crowded * w.slice
	if to-from <= 1 {
		most = math.MaxInt64
	}
	g := newGatherer(w.q, most, w.slice/4)
	where := " WHERE sent >= ? AND sent < ? AND account = ? AND region = ?"
	if w.q.OneRecipient {
		where += " AND NOT multi AND NOT simulator"
	}
	args := []any{from, to, w.src.Account, w.src.Region}
	whole := "SELECT " + wholeColumns
	if w.q.More {
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
