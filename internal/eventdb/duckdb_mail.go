package eventdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"sesame/internal/events"
)

const (
	// sliceEvents is about how many events a slice of send time has. Its recipients are
	// in memory, about 400 bytes each, and of readers' slices and one more at once.
	sliceEvents = 150_000
	// crowded is how many times that a slice may turn out to have before it is halved:
	// mail comes in bursts. Of one millisecond there may be more.
	crowded = 2
	// firstSlice is how much time the first one has. From then on it is known about how
	// much mail there is.
	firstSlice = hour
	hour       = 60 * 60 * 1000 // milliseconds
)

var errCrowded = errors.New("the slice has too many events")

// slice is what was read of mail of a span of send time.
type slice struct {
	from, to int64        // milliseconds
	give     func() error // gives it to whoever asked
	events   int64        // that were read
	examined int64        // that there were
	err      error
}

// mailWalk is one call of Recipients or Events.
type mailWalk struct {
	*DuckDB
	q     Mail
	where string // of which rows it is asked, and its args, behind those of the send time
	args  []any
	every string // the same without Mail.Only, and how many of the args are its; "" when that is all
	first int
	slice int64 // events of a slice, about
	// readSlice reads a slice. Of more events than most, errCrowded.
	readSlice func(ctx context.Context, r *reader, where string, args []any, most int64) (give func() error, events int64, err error)
}

// walk walks mail. The caller fills in what a slice is and how it is read.
func (d *DuckDB) walk(ctx context.Context, src events.Source, w mailWalk) error {
	done, err := d.use()
	if err != nil {
		return err
	}
	defer done()
	w.DuckDB = d
	w.where, w.args = " WHERE sent >= ? AND sent < ? AND account = ? AND region = ?", []any{src.Account, src.Region}
	if w.q.OneRecipient {
		w.where += " AND NOT multi AND NOT simulator"
	}
	if !w.q.ArrivedAfter.IsZero() {
		w.where, w.args = w.where+" AND arrived > ?", append(w.args, w.q.ArrivedAfter.UnixMilli())
	}
	if !w.q.ArrivedUntil.IsZero() {
		w.where, w.args = w.where+" AND arrived <= ?", append(w.args, w.q.ArrivedUntil.UnixMilli())
	}
	w.only("sender", w.q.Only.From)
	w.only("destination", w.q.Only.Destination)
	w.only("subject", w.q.Only.Subject)
	w.only("isp", w.q.Only.ISP)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return w.slices(ctx, cancel)
}

// only leaves out rows whose text is like none of the patterns. Those without any
// stay: SES can leave out with one event of a message what it says with another.
func (w *mailWalk) only(column string, like []Pattern) {
	if len(like) == 0 {
		return
	}
	if w.every == "" {
		w.every, w.first = w.where, len(w.args)
	}
	w.where += " AND (" + column + " = ''"
	for _, p := range like {
		switch {
		case p.Before && p.After:
			w.where += " OR contains(" + column + ", ?)"
		case p.Before:
			w.where += " OR suffix(" + column + ", ?)"
		case p.After:
			w.where += " OR prefix(" + column + ", ?)"
		default:
			w.where += " OR " + column + " = ?"
		}
		w.args = append(w.args, p.Text)
	}
	w.where += ")"
}

// slices walks send time from the newest to the oldest. While a slice is given to
// who asked, the next ones are read.
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
	err := w.db.QueryRowContext(ctx, "SELECT max(sent) FROM events"+w.where, append([]any{w.q.From.UnixMilli(), before}, w.args...)...).Scan(&last)
	if err != nil || !last.Valid {
		return w.q.From.UnixMilli(), err
	}
	return last.Int64 + 1, nil
}

// give gives what a slice holds. One that is crowded is read again, in halves.
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
		w.q.Read(time.UnixMilli(s.from).UTC(), s.examined)
	}
	return s.give()
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
		most := crowded * w.slice
		if to-from <= 1 {
			most = math.MaxInt64
		}
		s.give, s.events, s.err = w.readSlice(ctx, r, w.where, append([]any{from, to}, w.args...), most)
		s.examined = s.events
		if s.err == nil && w.every != "" {
			s.examined, s.err = w.count(ctx, r, from, to)
		}
	case <-ctx.Done():
		s.err = ctx.Err()
	}
	return s
}

// count counts all events of a slice.
func (w *mailWalk) count(ctx context.Context, r *reader, from, to int64) (n int64, err error) {
	for _, table := range tables {
		err := r.read(ctx, "SELECT count(*) FROM "+table+w.every, append([]any{from, to}, w.args[:w.first]...), func(some rows) error {
			n += column[int64](some, 0)[0]
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}
