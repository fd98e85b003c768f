package exporter_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/jobs"
)

func event(id, to string, kind events.Type, sent time.Time, after time.Duration, change func(*events.Event)) events.Event {
	e := events.Event{
		Source: src, MessageID: id, Destination: to, Type: kind, Sent: sent, Time: sent.Add(after), From: "news@example.com", Subject: "hello",
		ISP: "Gmail", ConfigurationSet: "main", Identity: "example.com",
	}
	if change != nil {
		change(&e)
	}
	return e
}

func insights(format exporter.Format) exporter.Order {
	return exporter.Order{Format: format, Insights: &exporter.Mail{Start: start, End: start.AddDate(0, 1, 0), MaxResults: 1000}}
}

// The files of the service, to the byte.
func TestInsightsFiles(t *testing.T) {
	w := newWorld(t)
	sent := time.Date(2026, 10, 21, 1, 2, 3, 123e6, time.UTC)
	w.append(
		event("message-1", "user@example.com", events.Send, sent, 0, func(e *events.Event) { e.ISP, e.From = events.UnknownISP, "sender@example.com" }),
		event("message-1", "user@example.com", events.Delivery, sent, 0, func(e *events.Event) { e.ISP, e.From = events.UnknownISP, "sender@example.com" }),
		event("message-2", "gone@gmail.com", events.Send, sent.Add(time.Second), 0, func(e *events.Event) { e.Subject = "a \"quoted\", \\ line\nand Ünïcode" }),
		event("message-2", "gone@gmail.com", events.Bounce, sent.Add(time.Second), 2*time.Second, func(e *events.Event) {
			e.Subject, e.BounceType, e.SubType, e.Diagnostic = "", "PERMANENT", "NoEmail", "smtp; 550 \"no\"\r\n\tsuch, user\x01"
		}),
		event("message-3", "fan@gmail.com", events.Click, sent.Add(-time.Second), time.Hour, func(e *events.Event) { e.Subject = "" }),
	)
	j, got := w.export(insights(exporter.CSV))
	want := `"messageid","sendtimestamp","isp","fromaddress","destination","subject","last_delivery_event","last_engagement_event","last_delivery_event_timestamp","last_engagement_event_timestamp","bounce_sub_type","diagnostic_code",
"message-2","2026-10-21 01:02:04.123 UTC","Gmail","news@example.com","gone@gmail.com","a ""quoted"", \ line
and Ünïcode","PERMANENT_BOUNCE","","2026-10-21 01:02:06.123 UTC","","NO_EMAIL","smtp; 550 ""no""` + "\r\n\tsuch, user\x01" + `",
"message-1","2026-10-21 01:02:03.123 UTC","UNKNOWN_ISP","sender@example.com","user@example.com","hello","DELIVERY","","2026-10-21 01:02:03.123 UTC","","","",
"message-3","2026-10-21 01:02:02.123 UTC","Gmail","news@example.com","fan@gmail.com","","","CLICK","","2026-10-21 02:02:02.123 UTC","","",
`
	if d := diff.Diff(want, got); d != "" {
		t.Error(d)
	}
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum([]byte(got), crc32.MakeTable(crc32.Castagnoli)))
	if j.Files[0].Size != int64(len(got)) || j.Files[0].CRC32C != base64.StdEncoding.EncodeToString(sum) || j.Progress.Exported != 3 || j.Progress.Processed != 5 || j.Progress.Share != 1 {
		t.Errorf("%+v", j)
	}
	if digest := sha256.Sum256([]byte(j.ID)); j.Files[0].Name != "20261201_000000_"+hex.EncodeToString(digest[:5])+".csv" {
		t.Errorf("the file is called %s", j.Files[0].Name)
	}
	j, got = w.export(insights(exporter.JSON))
	want = `[
{"messageid":"message-2","sendtimestamp":"2026-10-21 01:02:04.123 UTC","isp":"Gmail","fromaddress":"news@example.com","destination":"gone@gmail.com","subject":"a \"quoted\", \\ line\nand Ünïcode","last_delivery_event":"PERMANENT_BOUNCE","last_delivery_event_timestamp":"2026-10-21 01:02:06.123 UTC","bounce_sub_type":"NO_EMAIL","diagnostic_code":"smtp; 550 \"no\"\r\n\tsuch, user\u0001"}
,{"messageid":"message-1","sendtimestamp":"2026-10-21 01:02:03.123 UTC","isp":"UNKNOWN_ISP","fromaddress":"sender@example.com","destination":"user@example.com","subject":"hello","last_delivery_event":"DELIVERY","last_delivery_event_timestamp":"2026-10-21 01:02:03.123 UTC"}
,{"messageid":"message-3","sendtimestamp":"2026-10-21 01:02:02.123 UTC","isp":"Gmail","fromaddress":"news@example.com","destination":"fan@gmail.com","last_engagement_event":"CLICK","last_engagement_event_timestamp":"2026-10-21 02:02:02.123 UTC"}
]
`
	if d := diff.Diff(want, got); d != "" {
		t.Error(d)
	}
	if !json.Valid([]byte(got)) || !strings.HasSuffix(j.Files[0].Name, ".json") {
		t.Errorf("%s is no JSON", j.Files[0].Name)
	}
	none := insights(exporter.JSON)
	none.Insights.Include.Subject = []string{"nobody has it"}
	if _, got := w.export(none); got != "[\n]\n" {
		t.Errorf("nothing is %q", got)
	}
}

func metricsOrder(format exporter.Format, dimensions map[string][]string, columns ...exporter.Column) exporter.Order {
	return exporter.Order{Format: format, Metrics: &exporter.Metrics{Start: start, End: start.AddDate(0, 1, 0), Dimensions: dimensions, Columns: columns}}
}

func TestMetricsFiles(t *testing.T) {
	w := newWorld(t)
	at := start.AddDate(0, 0, 3)
	yahoo := func(e *events.Event) {
		e.ISP, e.ConfigurationSet, e.Identity, e.From = "Yahoo", `a "set", or two`, "info@shop.example", "info@shop.example"
	}
	w.append(
		event("1", "a@gmail.com", events.Send, at, 0, nil), event("1", "a@gmail.com", events.Delivery, at, time.Second, nil),
		event("2", "b@gmail.com", events.Send, at, 0, nil), event("2", "b@gmail.com", events.Bounce, at, time.Second, func(e *events.Event) { e.BounceType = "TRANSIENT" }),
		event("3", "c@gmail.com", events.Send, at, 0, nil),
		event("4", "d@yahoo.com", events.Send, at, 0, yahoo), event("4", "d@yahoo.com", events.Delivery, at, 0, yahoo),
		event("4", "d@yahoo.com", events.Open, at, time.Hour, yahoo), event("4", "d@yahoo.com", events.Open, at, 2*time.Hour, yahoo),
		event("5", "e@yahoo.com", events.Send, start.AddDate(0, 1, 0), 0, yahoo), // on the day behind the last
	)
	sends, deliveries := exporter.Column{Metric: eventdb.Sends}, exporter.Column{Metric: eventdb.Deliveries}
	rate := exporter.Column{Metric: eventdb.Deliveries, Rate: true}
	opens := exporter.Column{Metric: eventdb.Opens}
	for _, c := range []struct {
		name, want string
		order      exporter.Order
	}{
		{"named values, zeros too", "ISP,SEND_VOLUME,DELIVERY_VOLUME\nApple,0.0000,0.0000\nGmail,3.0000,1.0000\nYahoo,1.0000,1.0000\n",
			metricsOrder(exporter.CSV, map[string][]string{"ISP": {"Yahoo", "Gmail", "Apple"}}, sends, deliveries)},
		{"rates", `[{"isp":"Gmail","metrics":{"DELIVERY_RATE":0.3333,"OPEN_VOLUME":0.0000}},{"isp":"Yahoo","metrics":{"DELIVERY_RATE":1.0000,"OPEN_VOLUME":1.0000}}]` + "\n",
			metricsOrder(exporter.JSON, map[string][]string{"ISP": {"Gmail", "Yahoo"}}, rate, opens)},
		{"all values", "CONFIGURATION_SET,SEND_VOLUME\n\"a \"\"set\"\", or two\",1.0000\nmain,3.0000\n",
			metricsOrder(exporter.CSV, map[string][]string{"CONFIGURATION_SET": {"*"}}, sends)},
		{"two dimensions", "IDENTITY,ISP,OPEN_VOLUME\nexample.com,Yahoo,0.0000\nshop.example,Yahoo,1.0000\n",
			metricsOrder(exporter.CSV, map[string][]string{"ISP": {"Yahoo"}, "EMAIL_IDENTITY": {"shop.example", "example.com"}}, opens)},
		{"an address", "IDENTITY,OPEN_VOLUME\ninfo@shop.example,1.0000\n",
			metricsOrder(exporter.CSV, map[string][]string{"EMAIL_IDENTITY": {"info@shop.example"}}, opens)},
		{"all identities", "IDENTITY,ISP,SEND_VOLUME\nexample.com,Gmail,3.0000\n",
			metricsOrder(exporter.CSV, map[string][]string{"ISP": {"Gmail"}, "EMAIL_IDENTITY": {"*"}}, sends)},
		{"a tenant", "TENANT_NAME,SEND_VOLUME\nt,0.0000\n", metricsOrder(exporter.CSV, map[string][]string{"TENANT_NAME": {"t"}}, sends)},
	} {
		j, got := w.export(c.order)
		if d := diff.Diff(c.want, got); d != "" {
			t.Errorf("%s:\n%s", c.name, d)
		}
		if !strings.HasPrefix(j.Files[0].Name, "ses-metrics-20261201_000000-"+j.ID+".") {
			t.Errorf("%s: the file is called %s", c.name, j.Files[0].Name)
		}
	}
	_, got := w.export(metricsOrder(exporter.CSV, map[string][]string{"ISP": {"*"}}, sends))
	if rows, err := csv.NewReader(strings.NewReader(got)).ReadAll(); err != nil || len(rows) != 1+len(events.ISPs()) {
		t.Errorf("of %d providers %d rows, %v", len(events.ISPs()), len(rows), err)
	}
}

func TestCancelAndLimits(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	w.Config.Running = 2
	a, err := w.Create(ctx, src, insights(exporter.CSV))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Create(ctx, src, insights(exporter.CSV)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Create(ctx, src, insights(exporter.CSV)); !errors.Is(err, exporter.ErrTooMany) {
		t.Errorf("a third one: %v", err)
	}
	if _, err := w.Create(ctx, src, metricsOrder(exporter.CSV, map[string][]string{"ISP": {"*"}}, exporter.Column{Metric: eventdb.Sends})); err != nil {
		t.Errorf("of the other source: %v", err)
	}
	if err := w.Cancel(ctx, src, a); err != nil {
		t.Fatal(err)
	}
	var ended *exporter.EndedError
	if err := w.Cancel(ctx, src, a); !errors.As(err, &ended) || ended.Status != jobs.Cancelled {
		t.Errorf("cancelled twice: %v", err)
	}
	other := events.Source{Account: "444455556666", Region: src.Region}
	if err := w.Cancel(ctx, other, a); !errors.Is(err, exporter.ErrNotFound) {
		t.Errorf("another's: %v", err)
	}
	for range 2 {
		if !w.work(ctx) {
			t.Fatal("a job is missing")
		}
	}
	if w.work(ctx) || len(w.objects()) != 2 {
		t.Errorf("a cancelled job was worked on: %v", w.objects())
	}
	found, next, err := w.List(ctx, src, "", "", "", 2)
	if err != nil || len(found) != 2 || next == "" || found[0].Source != exporter.MetricsData {
		t.Errorf("%+v, %q, %v", found, next, err)
	}
	found, next, err = w.List(ctx, src, "", "", next, 2)
	if err != nil || len(found) != 1 || next != "" || found[0].ID != a {
		t.Errorf("%+v, %q, %v", found, next, err)
	}
	if found, _, err = w.List(ctx, src, exporter.MessageInsights, jobs.Cancelled, "", 9); err != nil || len(found) != 1 || found[0].ID != a {
		t.Errorf("%+v, %v", found, err)
	}
	w.now = w.now.AddDate(0, 0, 31)
	if err := w.Retire(ctx); err != nil || len(w.objects()) != 0 {
		t.Errorf("files are left after a month: %v, %v", w.objects(), err)
	}
}

// A job that is cancelled, or given back, while it is worked on leaves no file; done
// again it has the same bytes.
func TestCutOff(t *testing.T) {
	w := newWorld(t)
	var all []events.Event
	for i := range 25_000 {
		sent := start.Add(time.Duration(i) * time.Minute)
		all = append(all, event("m"+strconv.Itoa(i), "a@gmail.com", events.Send, sent, 0, nil))
	}
	w.append(all...)
	whole := insights(exporter.CSV)
	whole.Insights.MaxResults = 0
	split := whole
	split.RowsPerFile, split.Compression = 3000, exporter.Zstd
	parquet := whole
	parquet.RowsPerFile, parquet.Format = 7000, exporter.Parquet
	r := rand.New(rand.NewPCG(3, 3))
	for _, o := range []exporter.Order{whole, split, parquet} {
		first, _ := w.export(o)
		want := w.texts(first)
		kept, cut := len(w.objects()), 0
		for range 7 {
			id, err := w.Create(context.Background(), src, o)
			if err != nil {
				t.Fatal(err)
			}
			work, err := w.Claim(context.Background()) // cut off here, it would wait for its lease's end
			if err != nil || work == nil {
				t.Fatal("no job waits", err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			stop := time.AfterFunc(time.Duration(r.IntN(100_000))*time.Microsecond, cancel)
			work(ctx)
			stop.Stop()
			cancel()
			j, err := w.Get(context.Background(), src, id)
			if err != nil {
				t.Fatal(err)
			}
			if j.Status == jobs.Processing {
				cut++
				if keys := w.objects(); len(keys) != kept {
					t.Fatalf("a job that was given back left files: %d, and %d before", len(keys), kept)
				}
				if !w.work(context.Background()) {
					t.Fatal("it is not to be done again")
				}
				if j, err = w.Get(context.Background(), src, id); err != nil {
					t.Fatal(err)
				}
			}
			if j.Status != jobs.Completed || !slices.Equal(want, w.texts(j)) {
				t.Fatalf("%+v: not the same files", j)
			}
			kept += len(j.Files)
		}
		t.Logf("%d files, cut off %d times", len(want), cut)
	}
}

// slowly is the real events, of which each takes some time to be read.
type slowly struct {
	*eventdb.DuckDB
	reading chan<- bool
}

func (s slowly) Recipients(ctx context.Context, src events.Source, q eventdb.Mail, do func(*eventdb.Recipient) error) error {
	return s.DuckDB.Recipients(ctx, src, q, func(r *eventdb.Recipient) error {
		select {
		case s.reading <- true:
		default:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
			return do(r)
		}
	})
}

// A job that is cancelled while it is worked on ends within a second or so and leaves
// no file.
func TestCancelAtWork(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	var all []events.Event
	for i := range 2000 {
		all = append(all, event("m"+strconv.Itoa(i), "a@gmail.com", events.Send, start.Add(time.Duration(i)*time.Minute), 0, nil))
	}
	w.append(all...)
	reading := make(chan bool)
	w.Events = slowly{w.store, reading}
	o := insights(exporter.CSV)
	o.Insights.MaxResults, o.RowsPerFile = 10_000, 5
	id, err := w.Create(ctx, src, o)
	if err != nil {
		t.Fatal(err)
	}
	worked := make(chan bool)
	go func() { worked <- w.work(ctx) }()
	for len(w.objects()) < 2 { // some of its files are whole
		<-reading
	}
	if err := w.Cancel(ctx, src, id); err != nil {
		t.Fatal(err)
	}
	select {
	case <-worked:
	case <-time.After(10 * time.Second):
		t.Fatal("it is worked on for ten seconds after it was cancelled") // all of it takes twenty
	}
	if j, err := w.Get(ctx, src, id); err != nil || j.Status != jobs.Cancelled || len(j.Files) != 0 || len(w.objects()) != 0 {
		t.Errorf("%+v, %v, files %v", j, err, w.objects())
	}
}
