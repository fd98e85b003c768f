package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sesame/internal/events"
)

// What is stored at once, so that what a request unfolds to in memory has a bound.
const (
	eventsAtOnce   = 10_000
	textAtOnce     = 32 << 20 // bytes, of events
	rejectedAtOnce = 8 << 20  // bytes
)

const (
	// mostRecords is how many records a request may bring: as many small ones as its
	// bytes allow would take longer than its sender waits.
	mostRecords = 200_000
	// mostOfRecord is how many bytes of text the events of one record may have: each
	// recipient's has that of the message. SES's records to 50 recipients have a
	// hundredth.
	mostOfRecord = 8 << 20
	// unfolds is how many times what a body may have unpacked its events may have.
	unfolds = 8
)

// batch is what a request brings, on its way to the stores.
type batch struct {
	*Doors
	door    *door
	src     events.Source
	at      time.Time
	records int
	counts  counts

	events   []events.Event
	text     int   // bytes of events
	unfolded int64 // bytes of all events of the request
	rejected []Rejected
	bytes    int // of rejected
}

// data takes what may hold several records. It mostly holds one, so that is tried
// first: to look for the ends of records costs a good part of reading them.
func (b *batch) data(ctx context.Context, data []byte) error {
	if found, err := events.Decode(b.src, data); err == nil {
		return b.take(ctx, data, found)
	}
	for record := range events.Records(data) {
		if err := b.record(ctx, record); err != nil {
			return err
		}
	}
	return nil
}

// record takes one record, which stays the caller's.
func (b *batch) record(ctx context.Context, record []byte) error {
	found, err := events.Decode(b.src, record)
	switch {
	case err == nil:
		return b.take(ctx, record, found)
	case errors.Is(err, events.ErrNoEvent):
		b.counts.notices++
		return b.more()
	}
	if err := b.more(); err != nil {
		return err
	}
	return b.setAside(ctx, record, err.Error())
}

// more counts a record, and refuses more than a request may bring.
func (b *batch) more() error {
	if b.records++; b.records > b.door.records {
		return refuse(tooLarge, "The request must hold at most %d records.", b.door.records)
	}
	return nil
}

// take takes the events of one record.
func (b *batch) take(ctx context.Context, record []byte, found []events.Event) error {
	if err := b.more(); err != nil {
		return err
	}
	text := 0
	for i := range found {
		text += found[i].Size()
	}
	if text > mostOfRecord {
		return b.setAside(ctx, record, fmt.Sprintf("its events for %d recipients are longer than %d bytes", len(found), mostOfRecord))
	}
	if b.unfolded += int64(text); b.unfolded > unfolds*b.door.unpacked {
		return refuse(tooLarge, "The events of the request must have at most %d bytes, with what each recipient's has of its message.", unfolds*b.door.unpacked)
	}
	found, old := b.young(found)
	b.counts.TooOld += old
	b.events, b.text = append(b.events, found...), b.text+text
	if len(b.events) < eventsAtOnce && b.text < textAtOnce {
		return nil
	}
	return b.store(ctx)
}

// young gives those events of a record that are kept, and how many are not. All of
// a record's are of one message.
func (d *Doors) young(found []events.Event) (kept []events.Event, old int) {
	if d.Oldest != nil && len(found) > 0 && found[0].Sent.Before(d.Oldest()) {
		return nil, len(found)
	}
	return found, 0
}

func (b *batch) setAside(ctx context.Context, record []byte, reason string) error {
	if len(record) > events.MaxRecord {
		record, reason = record[:events.MaxRecord], reason+"; only its beginning is kept"
	}
	b.rejected = append(b.rejected, Rejected{
		ID: rejectedID(b.src, record, b.at), Source: b.src, Door: b.door.name, Received: b.at, Reason: reason, Record: append([]byte(nil), record...),
	})
	if b.bytes += len(record) + 200; b.bytes < rejectedAtOnce {
		return nil
	}
	return b.store(ctx)
}

// store makes durable what has come so far.
func (b *batch) store(ctx context.Context) error {
	for len(b.events) > 0 {
		n := min(len(b.events), eventsAtOnce)
		added, err := b.Events.Append(ctx, b.events[:n])
		if err != nil {
			return err
		}
		b.counts.Added += added
		b.counts.Duplicates += n - added
		b.events = b.events[n:]
	}
	b.events, b.text = nil, 0
	if len(b.rejected) > 0 {
		dropped, err := b.Rejected.Add(ctx, b.rejected)
		if err != nil {
			return err
		}
		if dropped > 0 {
			b.Log.Warn("as many rejected records are kept as may be, and the oldest were dropped", "account", b.src.Account, "dropped", dropped)
		}
		b.counts.Rejected += len(b.rejected)
		b.rejected, b.bytes = nil, 0
	}
	return nil
}

// storing takes what a request brings, and stores it.
func (v *visit) storing(take func(b *batch) error) error {
	b := &batch{Doors: v.Doors, door: v.door, src: v.src, at: v.Now()}
	err := take(b)
	if err == nil {
		err = b.store(v.r.Context())
	}
	v.counts = b.counts
	return err
}
