package exporter

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"sesame/internal/eventdb"
	"sesame/internal/events"
)

// made is Events that gives so many recipients from memory, and nowhere is Objects
// that keeps nothing: what is left is the making, writing and packing of rows.
type made int

func (n made) Recipients(_ context.Context, _ events.Source, _ eventdb.Mail, do func(*eventdb.Recipient) error) error {
	sent := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	all := make([]*eventdb.Recipient, 100_000)
	for i := range all {
		r := &eventdb.Recipient{
			MessageID: fmt.Sprintf("0100%012x-%08x-8143-88ef-e4df-%012x-000000", sent+int64(i), i*2654435761, i*40503), Destination: fmt.Sprintf("someone-%d@gmail.com", i*7919%1000003),
			Sent: sent + int64(i), From: "news@example.com", Subject: "A subject of middling length", ISP: "Gmail",
			Delivery: events.Delivery, DeliveryTime: sent + int64(i) + 1234,
		}
		if i%10 == 0 {
			r.Delivery, r.BounceType, r.SubType, r.Diagnostic = events.Bounce, "PERMANENT", "MailboxFull", "smtp; 550 5.1.1 user unknown in local table"
		}
		if i%5 == 0 {
			r.Engagement, r.EngagementTime = events.Open, sent+int64(i)*37_000
		}
		all[i] = r
	}
	for i := range n {
		if err := do(all[int(i)%len(all)]); err != nil {
			return err
		}
	}
	return nil
}

func (made) Events(context.Context, events.Source, eventdb.Mail, func(*events.Event) error) error {
	return nil
}

func (made) Groups(context.Context, events.Source, eventdb.GroupQuery) ([]eventdb.Group, error) {
	return nil, nil
}

func (made) Settle(t time.Time) time.Time { return t }

type nowhere struct{ Objects }

func (nowhere) Put(_ context.Context, _ string, r io.Reader, _ func(int64) error) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 256<<10))
}

func BenchmarkRows(b *testing.B) {
	for _, o := range []Order{
		{Format: CSV}, {Format: JSON}, {Format: NDJSON}, {Format: StrictCSV}, {Format: Parquet}, {Format: Parquet, Compression: Zstd}, {Format: Parquet, Compression: Gzip},
		{Format: CSV, Compression: Gzip}, {Format: CSV, Compression: Zstd},
	} {
		b.Run(fmt.Sprint(o.Format, " ", o.Compression), func(b *testing.B) {
			b.ReportAllocs()
			o.Insights = &Mail{}
			r := &run{Service: &Service{Events: made(b.N), NewID: func(prefix string) string { return prefix }}, Objects: nowhere{}, job: Job{Order: o}}
			if err := r.write(context.Background()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(r.files[0].Size)/float64(b.N), "bytes/row")
		})
	}
}
