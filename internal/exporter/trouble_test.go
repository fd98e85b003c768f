package exporter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sesame/internal/blobs"
	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/jobs"
	"sesame/internal/metadb"
)

// full is a folder on a disk with room for some files.
type full struct {
	*blobs.Folder
	room int
}

func (f *full) Put(ctx context.Context, key string, r io.Reader, check func(int64) error) (int64, error) {
	if f.room--; f.room >= 0 {
		return f.Folder.Put(ctx, key, r, check)
	}
	_, err := io.CopyN(io.Discard, r, 10)
	return 0, errors.Join(err, syscall.ENOSPC)
}

// A job that finds no room fails with words that help, and at once, and leaves no
// file.
func TestNoRoom(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	for _, id := range []string{"m", "n", "o"} {
		w.append(event(id, "a@gmail.com", events.Send, start, 0, nil))
	}
	for _, format := range formats {
		for _, c := range packed {
			for room := range 3 {
				w.Objects = &full{w.files, room}
				o := insights(format)
				o.RowsPerFile, o.Compression = 1, c
				id, err := w.Create(ctx, src, o)
				if err != nil || !w.work(ctx) {
					t.Fatal("no work", err)
				}
				j, err := w.Get(ctx, src, id)
				if err != nil || j.Status != jobs.Failed || !strings.Contains(j.Error, "no room left on its disk") || len(j.Files) != 0 || len(w.objects()) != 0 {
					t.Errorf("%s %s, room for %d: %+v, %v, %v", format, c, room, j, err, w.objects())
				}
				if _, err := w.File(ctx, id, "any"); !errors.Is(err, exporter.ErrNotFound) {
					t.Errorf("it has a file: %v", err)
				}
			}
		}
	}
}

// A job of which there would be too many files fails at once, and leaves none.
func TestTooManyFiles(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	var all []events.Event
	for i := range 1001 {
		all = append(all, event(fmt.Sprint(i), "a@gmail.com", events.Send, start, 0, nil))
	}
	w.append(all...)
	w.Objects = forgetful{w.files}
	o := insights(exporter.NDJSON)
	o.Insights.MaxResults, o.RowsPerFile = 0, 1
	id, err := w.Create(ctx, src, o)
	if err != nil || !w.work(ctx) {
		t.Fatal("no work", err)
	}
	if j, err := w.Get(ctx, src, id); err != nil || j.Status != jobs.Failed || !strings.Contains(j.Error, "more than 1000 files. Give more RowsPerFile") || len(j.Files) != 0 {
		t.Errorf("%+v, %v", j, err)
	}
	o.Insights.MaxResults = 1000
	if id, err = w.Create(ctx, src, o); err != nil || !w.work(ctx) {
		t.Fatal("no work", err)
	}
	if j, err := w.Get(ctx, src, id); err != nil || j.Status != jobs.Completed || len(j.Files) != 1000 {
		t.Errorf("%s, %d files, %v", j.Status, len(j.Files), err)
	}
}

// forgetful takes files and keeps none.
type forgetful struct{ *blobs.Folder }

func (forgetful) Put(_ context.Context, _ string, r io.Reader, _ func(int64) error) (int64, error) {
	return io.Copy(io.Discard, r)
}

// A file that a crash left without a job goes when it is an hour old; no other does.
func TestSweep(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	w.now = time.Now()
	j, _ := w.export(insights(exporter.CSV))
	for _, key := range []string{"exports/" + j.ID + "-lost", "exports/another-lost", "imports/not-ours"} {
		if _, err := w.files.Put(ctx, key, strings.NewReader("x"), func(int64) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		after time.Duration
		left  int
	}{{50 * time.Minute, 4}, {2 * time.Hour, 2}} {
		w.now = time.Now().Add(c.after)
		if err := w.Sweep(ctx); err != nil || len(w.objects()) != c.left {
			t.Errorf("after %v there are %v, %v", c.after, w.objects(), err)
		}
	}
	w.content(j.Files[0].Object)

	// A job that runs may have written files for hours.
	w.now = time.Now()
	id, err := w.Create(ctx, src, insights(exporter.CSV))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.files.Put(ctx, "exports/"+id+"-early", strings.NewReader("x"), func(int64) error { return nil }); err != nil {
		t.Fatal(err)
	}
	w.now = time.Now().Add(5 * time.Hour)
	if err := w.Sweep(ctx); err != nil || len(w.objects()) != 3 {
		t.Errorf("while it runs there are %v, %v", w.objects(), err)
	}
	if err := w.Cancel(ctx, src, id); err != nil {
		t.Fatal(err)
	}
	if err := w.Sweep(ctx); err != nil || len(w.objects()) != 2 {
		t.Errorf("when it was cancelled there are %v, %v", w.objects(), err)
	}
}

// Like SES, mail with several recipients and to the simulator is left out, and what
// is older than 30 days, or for metrics 60.
func TestLikeSES(t *testing.T) {
	w := newWorld(t)
	w.Config.LikeSES = true
	ago := func(days int) time.Time { return w.now.AddDate(0, 0, -days) }
	w.append(
		event("young", "a@gmail.com", events.Send, ago(29), 0, nil), event("month", "a@gmail.com", events.Send, ago(31), 0, nil),
		event("old", "a@gmail.com", events.Send, ago(61), 0, nil),
		event("multi", "a@gmail.com", events.Send, ago(2), 0, func(e *events.Event) { e.Multi = true }),
		event("simulator", "success@simulator.amazonses.com", events.Send, ago(2), 0, func(e *events.Event) { e.Simulator = true }),
	)
	o := insights(exporter.JSON)
	o.Insights.Start, o.Insights.End = ago(100), w.now
	if _, got := w.export(o); strings.Count(got, "messageid") != 1 || !strings.Contains(got, `"young"`) {
		t.Errorf("exported:\n%s", got)
	}
	m := metricsOrder(exporter.CSV, map[string][]string{"ISP": {"Gmail"}}, exporter.Column{Metric: eventdb.Sends})
	m.Metrics.Start, m.Metrics.End = ago(100), w.now
	if _, got := w.export(m); got != "ISP,SEND_VOLUME\nGmail,2.0000\n" {
		t.Errorf("counted:\n%s", got)
	}
}

// asked notes what the store is asked for.
type asked struct {
	*eventdb.DuckDB
	mail eventdb.Mail
}

func (a *asked) Recipients(ctx context.Context, src events.Source, q eventdb.Mail, do func(*eventdb.Recipient) error) error {
	a.mail = q
	return a.DuckDB.Recipients(ctx, src, q, do)
}

// What takes time to read is read only when a column or a filter needs it.
func TestMoreOnlyWhenNeeded(t *testing.T) {
	w := newWorld(t)
	a := &asked{DuckDB: w.store}
	w.Events = a
	for i, c := range []struct {
		change func(*exporter.Mail)
		want   bool
	}{
		{func(*exporter.Mail) {}, false},
		{func(m *exporter.Mail) { m.Include.Subject = []string{"x"} }, false},
		{func(m *exporter.Mail) { m.Columns = []string{"bounce_type", "simulator", "multiple_recipients"} }, false},
		{func(m *exporter.Mail) { m.Columns = []string{"messageid", "tags"} }, true},
		{func(m *exporter.Mail) { m.Columns = []string{"tag:x"} }, true},
		{func(m *exporter.Mail) { m.Columns = []string{"identity"} }, true},
		{func(m *exporter.Mail) { m.Columns = []string{"configuration_set"} }, true},
		{func(m *exporter.Mail) { m.Include.ConfigurationSet = []string{"x"} }, true},
		{func(m *exporter.Mail) { m.Exclude.Identity = []string{"x"} }, true},
		{func(m *exporter.Mail) { m.Exclude.Tags = map[string][]string{"x": {"y"}} }, true},
	} {
		o := insights(exporter.CSV)
		c.change(o.Insights)
		if w.export(o); a.mail.More != c.want {
			t.Errorf("order %d: More is %v", i, a.mail.More)
		}
	}
}

func TestCheck(t *testing.T) {
	there := "; there are messageid, sendtimestamp, isp, fromaddress, destination, subject, last_delivery_event, last_engagement_event, last_delivery_event_timestamp, last_engagement_event_timestamp, " +
		"bounce_sub_type, diagnostic_code, configuration_set, identity, tags, multiple_recipients, simulator, bounce_type, and tag:NAME for the values of a message tag"
	for _, c := range []struct {
		columns []string
		want    string
	}{
		{nil, ""}, {[]string{"tag:x", "tag:y", "subject"}, ""}, {append(slices.Clone(allInsights), "tag:x"), ""},
		{[]string{"Subject"}, `there is no column "Subject"` + there}, {[]string{"link"}, `there is no column "link"` + there}, {[]string{"tag:"}, `there is no column "tag:"` + there},
		{[]string{"subject", "isp", "subject"}, `the column "subject" is asked for twice`}, {[]string{"tag:x", "tag:x"}, `the column "tag:x" is asked for twice`},
	} {
		o := insights(exporter.CSV)
		o.Insights.Columns = c.columns
		got := ""
		if err := o.Check(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q: %s", c.columns, got)
		}
	}
	for name, change := range map[string]func(*exporter.Mail){
		`there is no column "tag:a\x00b"`:       func(q *exporter.Mail) { q.Columns = []string{"tag:a\x00b"} },
		`"Bounce" is spelled BOUNCE here`:       func(q *exporter.Mail) { q.Include.EventType = []string{"SEND", "Bounce"} },
		`"MailboxFull" is spelled MAILBOX_FULL`: func(q *exporter.Mail) { q.Exclude.BounceSubType = []string{"MailboxFull"} },
		"together they may take 32 KiB":         func(q *exporter.Mail) { q.Include.Subject = []string{strings.Repeat("x", 32<<10)} },
	} {
		o := timeline(exporter.CSV)
		change(o.Events)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %s", err, name)
		}
	}
	if err := timeline(exporter.CSV, allEvents...).Check(); err != nil {
		t.Error(err)
	}
	if err := timeline(exporter.CSV, "last_delivery_event").Check(); err == nil {
		t.Error("an event has a last_delivery_event")
	}
	if err := metricsOrder(exporter.CSV, map[string][]string{"ISP": {"*"}}).Check(); err != nil {
		t.Error(err)
	}
}

// deaf is a store that cannot be asked whether a file is needed.
type deaf struct{ *metadb.DB }

func (deaf) ExportObjectNeeded(context.Context, string, string) (bool, error) {
	return false, errors.New("database is locked")
}

// refusing is a destination that takes nothing.
type refusing struct{}

func (refusing) Put(context.Context, string, exporter.File, io.ReaderAt) error {
	return &exporter.DestinationError{Why: "the bucket does not exist.", Err: errors.New("NoSuchBucket")}
}

// A job that failed has no files, also when they could not be removed at once.
func TestFailedHasNoFiles(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	w.append(event("m", "a@gmail.com", events.Send, start, 0, nil))
	w.Store, w.Destination, w.Config.Destinations = deaf{w.db}, refusing{}, exporter.Destinations{"s3://b"}
	o := insights(exporter.CSV)
	o.Destination = "s3://b/"
	id, err := w.Create(ctx, src, o)
	if err != nil || !w.work(ctx) {
		t.Fatal("no work", err)
	}
	j, err := w.Get(ctx, src, id)
	if err != nil || j.Status != jobs.Failed || len(j.Files) != 0 {
		t.Errorf("%+v, %v", j, err)
	}
	if keys := w.objects(); len(keys) != 1 {
		t.Fatalf("there are %v, so this test shows nothing", keys)
	}
	w.Store = w.db
	w.now = time.Now().Add(2 * time.Hour)
	if err := w.Sweep(ctx); err != nil || len(w.objects()) != 0 {
		t.Errorf("left: %v, %v", w.objects(), err)
	}
}
