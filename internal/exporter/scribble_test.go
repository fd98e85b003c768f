package exporter_test

import (
	"context"
	"fmt"
	"testing"
	"time"
	"unsafe"

	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/exporter"
)

// scribbling is the real events, in text that is written over as soon as the store
// may do so.
type scribbling struct{ *eventdb.DuckDB }

func (s scribbling) Recipients(ctx context.Context, src events.Source, q eventdb.Mail, do func(*eventdb.Recipient) error) error {
	return s.DuckDB.Recipients(ctx, src, q, func(r *eventdb.Recipient) error {
		mine, used := *r, 0
		text := make([]byte, 64<<10)
		for _, of := range []*string{&mine.MessageID, &mine.Destination, &mine.From, &mine.Subject, &mine.ConfigurationSet, &mine.Identity, &mine.ISP, &mine.Tags, &mine.BounceType, &mine.SubType, &mine.Diagnostic} {
			n := copy(text[used:], *of)
			*of = unsafe.String(&text[used], n)
			used += n
		}
		err := do(&mine)
		for i := range text[:used] {
			text[i] = 'x'
		}
		mine = eventdb.Recipient{}
		return err
	})
}

// A file holds nothing of what the store has lent for one row only.
func TestLentText(t *testing.T) {
	w := newWorld(t)
	for i := range 1500 {
		sent := start.Add(time.Duration(i) * time.Minute)
		id := fmt.Sprint("message-", i)
		w.append(event(id, fmt.Sprintf("to-%d@gmail.com", i), events.Send, sent, 0, func(e *events.Event) {
			e.Subject, e.Tags = fmt.Sprint("subject ", i), fmt.Sprintf(`{"n":["%d"]}`, i)
		}), event(id, fmt.Sprintf("to-%d@gmail.com", i), events.Bounce, sent, time.Second, func(e *events.Event) {
			e.Subject, e.BounceType, e.SubType, e.Diagnostic = fmt.Sprint("subject ", i), "PERMANENT", fmt.Sprint("Sub", i%7), fmt.Sprint("550 no ", i)
		}))
	}
	for _, format := range []exporter.Format{exporter.CSV, exporter.JSON, exporter.NDJSON, exporter.StrictCSV, exporter.Parquet} {
		o := insights(format)
		o.Insights.MaxResults = 0
		o.Insights.Columns = []string{"messageid", "destination", "subject", "bounce_sub_type", "diagnostic_code", "configuration_set", "tags", "tag:n"}
		o.Insights.Include.Tags = map[string][]string{"n": {"*1*"}}
		w.Events = w.store
		_, want := w.export(o)
		w.Events = scribbling{w.store}
		if _, got := w.export(o); got != want {
			t.Errorf("%s: the file is another one when what was lent is written over", format)
		}
	}
}
