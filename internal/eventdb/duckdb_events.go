package eventdb

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sesame/internal/events"
)

// eventsShare is what part of the events of a slice of recipients one of whole events
// has: these are several times as large.
const eventsShare = 4

// Events is Store's.
func (d *DuckDB) Events(ctx context.Context, src events.Source, q Mail, do func(*events.Event) error) error {
	err := d.walk(ctx, src, mailWalk{q: q, slice: max(1, d.slice/eventsShare), readSlice: func(ctx context.Context, r *reader, p part) (read, error) {
		s := eventSlice{src: src, most: p.most}
		where, args := p.where, p.args
		if p.like != "" { // an event is wanted for what it says itself
			where, args = p.like, p.likeArgs
		}
		for _, table := range tables {
			if err := r.read(ctx, "SELECT time, sent, arrived, multi, simulator, "+strings.Join(textColumns, ", ")+" FROM "+table+where, args, s.take); err != nil {
				return read{events: int64(len(s.all))}, err
			}
		}
		slices.SortFunc(s.all, func(a, b *events.Event) int {
			return cmp.Or(b.Sent.Compare(a.Sent), strings.Compare(a.MessageID, b.MessageID), strings.Compare(a.Destination, b.Destination),
				a.Time.Compare(b.Time), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Key(), b.Key()))
		})
		n := int64(len(s.all))
		return read{n: n, events: n, give: func() error {
			for _, e := range s.all {
				if err := do(e); err != nil {
					return err
				}
			}
			return nil
		}}, nil
	}})
	if err != nil {
		return fmt.Errorf("read events: %w%s", err, advice(err))
	}
	return nil
}

// eventSlice is events of a slice of send time.
type eventSlice struct {
	src  events.Source
	all  []*events.Event
	text int64 // bytes
	most int64 // events; more are errCrowded
}

// take takes rows of time, sent, arrived, multi, simulator and textColumns.
func (s *eventSlice) take(r rows) error {
	times, sent, arrived, multi, simulator := column[int64](r, 0), column[int64](r, 1), column[int64](r, 2), column[bool](r, 3), column[bool](r, 4)
	var text [textCount][]duckText
	for i := range text {
		text[i] = r.texts(5 + i)
	}
	block := make([]events.Event, len(times))
	for i := range times {
		e := &block[i]
		e.Time, e.Sent, e.Arrived = time.UnixMilli(times[i]).UTC(), time.UnixMilli(sent[i]).UTC(), time.UnixMilli(arrived[i]).UTC()
		e.Multi, e.Simulator = multi[i], simulator[i]
		for column, to := range texts(e) {
			*to = strings.Clone(text[column][i].view())
			s.text += int64(len(*to))
		}
		s.all = append(s.all, e)
	}
	if int64(len(s.all)) > s.most || s.most < math.MaxInt64 && s.text > sliceText/eventsShare {
		return errCrowded
	}
	return nil
}
