package eventdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"sesame/internal/events"
)

const (
	// sliceEvents is about how many events a slice of send time has. Its recipients are
	// in memory, about 400 bytes each, of one that is given and one that is read.
	sliceEvents = 100_000
	// crowded is how many times that a slice may turn out to have before it is halved:
	// mail comes in bursts. Of one millisecond there may be more.
	crowded = 2
	// mostExamined is how many times the events of a slice may have been left out of it by
	// Mail.Only.
	mostExamined = 16
	// firstSlice is how much time the first one has. From then on it is known about how
	// much mail there is.
	firstSlice = hour
	hour       = 60 * 60 * 1000 // milliseconds
)

var errCrowded = errors.New("the slice has too many events")

// slice is what was read of mail of a span of send time.
type slice struct {
	from, to int64 // milliseconds
	read
	examined int64 // events that there were
	err      error
}

// mailWalk is one call of Recipients or Events.
type mailWalk struct {
	*DuckDB
	q     Mail
	where string // of which rows it is asked, and its args, behind those of the send time
	args  []any
	slice int64 // events of a slice, about
	// Of what column Mail.Only is, and what it asks of that; "" for nothing.
	column, like string
	likeArgs     []any
	given        int64 // so far
	// readSlice reads a slice. Of more events than most, errCrowded.
	readSlice func(ctx context.Context, r *reader, p part) (read, error)
}

// part is what readSlice is to read.
type part struct {
	where string // of rows of mail of its time
	args  []any
	most  int64 // events; more are errCrowded
	// The rows that Mail.Only wants, and those that do not say, whose other events may; ""
	// when all are wanted.
	like, silent string
	likeArgs     []any
}

// read is what a slice holds.
type read struct {
	give   func() error // gives it to whoever asked
	n      int64        // how many these are
	events int64        // that were read
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
	w.only("subject", w.q.Only.Subject)
	w.only("destination", w.q.Only.Destination)
	w.only("sender", w.q.Only.From)
	w.only("isp", w.q.Only.ISP)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return w.slices(ctx, cancel)
}

// only leaves out rows of mail that has another text in a column.
func (w *mailWalk) only(column string, like []Pattern) {
	if slices.ContainsFunc(like, func(p Pattern) bool { return p.Match("") }) || len(like) == 0 || w.column != "" {
		return // one column is enough, and for one alone it is simple to lose nothing
	}
	w.column = column
	for i, p := range like {
		if i > 0 {
			w.like += " OR "
		}
		switch {
		case p.Before && p.After:
			w.like += "contains(" + column + ", ?)"
		case p.Before:
			w.like += "suffix(" + column + ", ?)"
		case p.After:
			w.like += "prefix(" + column + ", ?)"
		default:
			w.like += column + " = ?"
		}
		w.likeArgs = append(w.likeArgs, p.Text)
	}
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
			go func(from, to int64) { ahead <- w.read(ctx, from, to, false) }(begin, to)
			to = begin
		}
		s := <-reading[0]
		reading = reading[1:]
		length = w.longer(s)
		if err := w.give(ctx, s); err != nil {
			return err
		}
		if s.examined == 0 && s.err == nil && to > from {
			if to, err = w.lastBefore(ctx, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// longer gives how much time the next slice should have.
func (w *mailWalk) longer(s slice) int64 {
	times := 4.0      // of this one's
	if s.err != nil { // it was crowded, by text if not by events
		times = 0.5
	}
	if s.events > 0 {
		times = min(times, float64(w.slice)/float64(s.events))
	}
	if s.examined > 0 { // so that few are examined in vain when enough is found
		times = min(times, float64(mostExamined*w.slice)/float64(s.examined))
	}
	if w.given += s.n; w.q.Enough > w.given && s.n > 0 {
		times = min(times, float64(w.q.Enough-w.given)/float64(s.n))
	}
	return max(1, int64(times*float64(s.to-s.from)))
}

// lastBefore is the moment behind the last mail that was sent before a time; From
// when there is none. It looks at more and more time, because there may be much mail
// in the whole.
func (w *mailWalk) lastBefore(ctx context.Context, before int64) (int64, error) {
	from := w.q.From.UnixMilli()
	for span := int64(hour); before > from; span *= 8 {
		begin := max(from, before-span)
		var last sql.NullInt64
		err := w.db.QueryRowContext(ctx, "SELECT max(sent) FROM events"+w.where, append([]any{begin, before}, w.args...)...).Scan(&last)
		if err != nil {
			return 0, err
		}
		if last.Valid {
			return last.Int64 + 1, nil
		}
		before = begin
	}
	return from, nil
}

// give gives what a slice holds. One that is crowded is read again, in halves, each
// when it is known how much it has: in a burst of mail there can be many to halve.
func (w *mailWalk) give(ctx context.Context, s slice) error {
	if errors.Is(s.err, errCrowded) {
		half := s.from + (s.to-s.from)/2
		if err := w.give(ctx, w.read(ctx, half, s.to, true)); err != nil {
			return err
		}
		return w.give(ctx, w.read(ctx, s.from, half, true))
	}
	if s.err != nil {
		return s.err
	}
	if w.q.Read != nil {
		w.q.Read(time.UnixMilli(s.from).UTC(), s.examined)
	}
	return s.give()
}

// read reads a slice; with careful, if it is not crowded.
func (w *mailWalk) read(ctx context.Context, from, to int64, careful bool) (s slice) {
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
		p := part{where: w.where, args: append([]any{from, to}, w.args...), most: most}
		if w.column != "" {
			p.like, p.silent, p.likeArgs = w.where+" AND ("+w.like+")", w.where+" AND "+w.column+" = ''", append(p.args[:len(p.args):len(p.args)], w.likeArgs...)
		}
		if careful || w.column != "" {
			s.examined, s.err = count(ctx, r, p)
		}
		if s.err == nil && careful && w.column == "" && s.examined > most {
			s.err = errCrowded
		}
		if s.err == nil {
			s.read, s.err = w.readSlice(ctx, r, p)
		}
		s.examined = max(s.examined, s.events)
	case <-ctx.Done():
		s.err = ctx.Err()
	}
	return s
}

// count counts all events of a part.
func count(ctx context.Context, r *reader, p part) (n int64, err error) {
	for _, table := range tables {
		err := r.read(ctx, "SELECT count(*) FROM "+table+p.where, p.args, func(some rows) error {
			n += column[int64](some, 0)[0]
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}
