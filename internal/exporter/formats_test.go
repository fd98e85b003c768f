package exporter_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"
	diff "github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/exporter"
)

var (
	allInsights = []string{"messageid", "sendtimestamp", "isp", "fromaddress", "destination", "subject", "last_delivery_event", "last_engagement_event",
		"last_delivery_event_timestamp", "last_engagement_event_timestamp", "bounce_sub_type", "diagnostic_code", "configuration_set", "identity", "tags",
		"multiple_recipients", "simulator", "bounce_type"}
	allEvents = []string{"messageid", "sendtimestamp", "isp", "fromaddress", "destination", "subject", "event_type", "event_timestamp", "bounce_type", "bounce_sub_type",
		"complaint_sub_type", "diagnostic_code", "feedback_type", "delay_type", "link", "user_agent", "ip_address", "feedback_id", "configuration_set", "identity", "tags",
		"multiple_recipients", "simulator", "arrived_timestamp", "details"}
	formats = []exporter.Format{exporter.CSV, exporter.JSON, exporter.NDJSON, exporter.StrictCSV, exporter.Parquet}
	packed  = []exporter.Compression{exporter.Plain, exporter.Gzip, exporter.Zstd}
)

// timeline is an order of events.
func timeline(format exporter.Format, columns ...string) exporter.Order {
	return exporter.Order{Format: format, Events: &exporter.Mail{Start: start, End: start.AddDate(0, 1, 0), Columns: columns}}
}

// texts gives what the files of a job hold, unpacked.
func (w *world) texts(j exporter.Job) (all []string) {
	w.t.Helper()
	for _, f := range j.Files {
		text := w.content(f.Object)
		if int64(len(text)) != f.Size {
			w.t.Errorf("%s has %d bytes and not %d", f.Name, len(text), f.Size)
		}
		var r io.Reader = strings.NewReader(text)
		var err error
		switch {
		case strings.HasSuffix(f.Name, ".gz"):
			r, err = gzip.NewReader(r)
		case strings.HasSuffix(f.Name, ".zst"):
			var unpacked *zstd.Decoder
			if unpacked, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1)); err == nil {
				defer unpacked.Close()
			}
			r = unpacked
		}
		if err != nil {
			w.t.Fatal(err)
		}
		plain, err := io.ReadAll(r)
		if err != nil {
			w.t.Fatalf("%s: %v", f.Name, err)
		}
		all = append(all, string(plain))
	}
	return all
}

// duck reads a file as DuckDB does. A time is in RFC 3339, and what is NULL is "".
func duck(t testing.TB, read, content string, columns int) (names []string, rows [][]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	found, err := db.Query("SELECT * FROM " + strings.ReplaceAll(read, "FILE", "'"+path+"'"))
	if err != nil {
		t.Fatalf("%v\n%q", err, content[:min(len(content), 2000)])
	}
	defer found.Close()
	if names, err = found.Columns(); err != nil || len(names) != columns {
		t.Fatalf("%d columns, %v", len(names), err)
	}
	for found.Next() {
		cells, into := make([]any, columns), make([]any, columns)
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := found.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := make([]string, columns)
		for i, cell := range cells {
			switch cell := cell.(type) {
			case nil:
			case string:
				if row[i] = cell; cell == "" {
					row[i] = "an empty text, and not NULL"
				}
			case time.Time:
				row[i] = cell.UTC().Format("2006-01-02T15:04:05.000Z")
			default:
				row[i] = fmt.Sprint(cell)
			}
		}
		rows = append(rows, row)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return names, rows
}

// strictly reads a CSV file as RFC 4180 says, and leaves line breaks within quotes as
// they are, which encoding/csv does not.
func strictly(t testing.TB, text string) (rows [][]string) {
	t.Helper()
	var row []string
	for text != "" {
		var cell strings.Builder
		if strings.HasPrefix(text, `"`) {
			for text = text[1:]; ; {
				before, after, ok := strings.Cut(text, `"`)
				if !ok {
					t.Fatal("a quote is open at the end")
				}
				cell.WriteString(before)
				if text = after; !strings.HasPrefix(text, `"`) {
					break
				}
				cell.WriteByte('"')
				text = text[1:]
			}
		} else {
			end := strings.IndexAny(text, ",\n")
			cell.WriteString(text[:max(end, 0)])
			if text = text[max(end, 0):]; strings.ContainsAny(cell.String(), "\"\r") {
				t.Fatalf("%q has no quotes", cell.String())
			}
		}
		row = append(row, cell.String())
		switch {
		case strings.HasPrefix(text, ","):
			text = text[1:]
		case strings.HasPrefix(text, "\n"):
			rows, row, text = append(rows, row), nil, text[1:]
		default:
			t.Fatalf("a value ends before %q", text[:min(len(text), 40)])
		}
	}
	if row != nil {
		t.Fatal("the last line does not end")
	}
	return rows
}

// asService gives rows of the service's CSV as those of a strict one: without the last,
// empty value, and with times in RFC 3339.
func asService(t testing.TB, text string) [][]string {
	t.Helper()
	rows := strictly(t, text)
	for i, row := range rows {
		if row[len(row)-1] != "" {
			t.Fatalf("%q does not end in a comma", row)
		}
		rows[i] = row[:len(row)-1]
		for j := range rows[i] {
			if strings.HasSuffix(rows[0][j], "timestamp") && i > 0 && row[j] != "" {
				at, err := time.Parse("2006-01-02 15:04:05.000 UTC", row[j])
				if err != nil {
					t.Fatal(err)
				}
				row[j] = at.Format("2006-01-02T15:04:05.000Z")
			}
		}
	}
	return rows
}

// The new formats of insights, to the byte.
func TestMoreInsightsFiles(t *testing.T) {
	w := newWorld(t)
	sent := time.Date(2026, 10, 21, 1, 2, 3, 120e6, time.UTC)
	w.append(
		event("message-1", "gone@gmail.com", events.Bounce, sent, 2*time.Second, func(e *events.Event) {
			e.Subject, e.BounceType, e.SubType, e.Diagnostic = "a \"quoted\", \\ line\nand Ünïcode", "PERMANENT", "NoEmail", "smtp; 550 \"no\"\r\n\tsuch, user\x01"
			e.Tags, e.Multi = `{"a,b":["x","y \"z\""],"n":["1"]}`, true
		}),
		events.Event{Source: src, MessageID: "message-2", Type: "UNHEARD_OF", Sent: sent.Add(-time.Second), Time: sent, Simulator: true},
	)
	columns := append(slices.Clone(allInsights), "tag:a,b", "tag:none")
	order := func(format exporter.Format) exporter.Order {
		o := insights(format)
		o.Insights.Columns = columns
		return o
	}
	for format, want := range map[exporter.Format]string{
		exporter.NDJSON: `{"messageid":"message-1","sendtimestamp":"2026-10-21T01:02:03.120Z","isp":"Gmail","fromaddress":"news@example.com","destination":"gone@gmail.com",` +
			`"subject":"a \"quoted\", \\ line\nand Ünïcode","last_delivery_event":"PERMANENT_BOUNCE","last_delivery_event_timestamp":"2026-10-21T01:02:05.120Z",` +
			`"bounce_sub_type":"NO_EMAIL","diagnostic_code":"smtp; 550 \"no\"\r\n\tsuch, user\u0001","configuration_set":"main","identity":"example.com",` +
			`"tags":{"a,b":["x","y \"z\""],"n":["1"]},"multiple_recipients":true,"simulator":false,"bounce_type":"PERMANENT","tag:a,b":"x,y \"z\""}
{"messageid":"message-2","sendtimestamp":"2026-10-21T01:02:02.120Z","multiple_recipients":false,"simulator":true}
`,
		exporter.StrictCSV: strings.Join(allInsights, ",") + `,"tag:a,b",tag:none
message-1,2026-10-21T01:02:03.120Z,Gmail,news@example.com,gone@gmail.com,"a ""quoted"", \ line
and Ünïcode",PERMANENT_BOUNCE,,2026-10-21T01:02:05.120Z,,NO_EMAIL,"smtp; 550 ""no""` + "\r\n\tsuch, user\x01" +
			`",main,example.com,"{""a,b"":[""x"",""y \""z\""""],""n"":[""1""]}",true,false,PERMANENT,"x,y ""z""",
message-2,2026-10-21T01:02:02.120Z,,,,,,,,,,,,,,false,true,,,
`,
		exporter.CSV: `"` + strings.Join(columns, `","`) + `",
"message-1","2026-10-21 01:02:03.120 UTC","Gmail","news@example.com","gone@gmail.com","a ""quoted"", \ line
and Ünïcode","PERMANENT_BOUNCE","","2026-10-21 01:02:05.120 UTC","","NO_EMAIL","smtp; 550 ""no""` + "\r\n\tsuch, user\x01" +
			`","main","example.com","{""a,b"":[""x"",""y \""z\""""],""n"":[""1""]}","true","false","PERMANENT","x,y ""z""","",
"message-2","2026-10-21 01:02:02.120 UTC","","","","","","","","","","","","","","false","true","","","",
`,
		exporter.JSON: `[
{"messageid":"message-1","sendtimestamp":"2026-10-21 01:02:03.120 UTC","isp":"Gmail","fromaddress":"news@example.com","destination":"gone@gmail.com",` +
			`"subject":"a \"quoted\", \\ line\nand Ünïcode","last_delivery_event":"PERMANENT_BOUNCE","last_delivery_event_timestamp":"2026-10-21 01:02:05.120 UTC",` +
			`"bounce_sub_type":"NO_EMAIL","diagnostic_code":"smtp; 550 \"no\"\r\n\tsuch, user\u0001","configuration_set":"main","identity":"example.com",` +
			`"tags":"{\"a,b\":[\"x\",\"y \\\"z\\\"\"],\"n\":[\"1\"]}","multiple_recipients":"true","simulator":"false","bounce_type":"PERMANENT","tag:a,b":"x,y \"z\""}
,{"messageid":"message-2","sendtimestamp":"2026-10-21 01:02:02.120 UTC","multiple_recipients":"false","simulator":"true"}
]
`,
	} {
		j, got := w.export(order(format))
		if d := diff.Diff(want, got); d != "" {
			t.Errorf("%s:\n%s", format, d)
		}
		end := map[exporter.Format]string{exporter.NDJSON: ".ndjson", exporter.StrictCSV: ".csv", exporter.CSV: ".csv", exporter.JSON: ".json"}[format]
		if !strings.HasSuffix(j.Files[0].Name, end) {
			t.Errorf("%s is called %s", format, j.Files[0].Name)
		}
	}
	j, got := w.export(order(exporter.Parquet))
	names, rows := duck(t, "read_parquet(FILE)", got, len(columns))
	want := [][]string{
		{"message-1", "2026-10-21T01:02:03.120Z", "Gmail", "news@example.com", "gone@gmail.com", "a \"quoted\", \\ line\nand Ünïcode", "PERMANENT_BOUNCE", "", "2026-10-21T01:02:05.120Z", "",
			"NO_EMAIL", "smtp; 550 \"no\"\r\n\tsuch, user\x01", "main", "example.com", `{"a,b":["x","y \"z\""],"n":["1"]}`, "true", "false", "PERMANENT", `x,y "z"`, ""},
		{"message-2", "2026-10-21T01:02:02.120Z", "", "", "", "", "", "", "", "", "", "", "", "", "", "false", "true", "", "", ""},
	}
	if d := diff.Diff(columns, names) + diff.Diff(want, rows); d != "" || !strings.HasSuffix(j.Files[0].Name, ".parquet") {
		t.Errorf("%s:\n%s", j.Files[0].Name, d)
	}

	// A column alone, of which a value is empty, is no empty line.
	o := insights(exporter.StrictCSV)
	o.Insights.Columns = []string{"subject"}
	if _, got := w.export(o); got != "subject\n\"a \"\"quoted\"\", \\ line\nand Ünïcode\"\n\"\"\n" {
		t.Errorf("one column: %q", got)
	}
}

// The formats of events, to the byte, and the usual columns: all but details.
func TestEventsFiles(t *testing.T) {
	w := newWorld(t)
	sent := time.Date(2026, 10, 21, 1, 2, 3, 120e6, time.UTC)
	w.append(
		events.Event{
			Source: src, MessageID: "m1", Destination: "a@gmail.com", Type: events.Complaint, Time: sent.Add(time.Hour), Sent: sent, From: "f@example.com", Subject: "s,\"", ConfigurationSet: "set",
			Identity: "example.com", ISP: "Gmail", Tags: `{"t":["v"]}`, Multi: true, SubType: "OnAccountSuppressionList", FeedbackType: "abuse", UserAgent: "ua", FeedbackID: "f-1", Details: `{"a":{"b":[1,"\n"]}}`,
		},
		events.Event{Source: src, MessageID: "m1", Destination: "a@gmail.com", Type: events.DeliveryDelay, Time: sent.Add(time.Minute), Sent: sent, DelayType: "MailboxFull", Diagnostic: "452"},
		events.Event{Source: src, MessageID: "m2", Destination: "b@gmail.com", Type: events.Bounce, Time: sent, Sent: sent, BounceType: "TRANSIENT", SubType: "MailboxFull"},
		events.Event{Source: src, MessageID: "m3", Destination: "c@gmail.com", Type: events.Click, Time: sent, Sent: sent, Link: "https://example.com/?a=1&b=2", IP: "192.0.2.1", Simulator: true},
	)
	arrived := ""
	var whole []events.Event
	err := w.store.Events(context.Background(), src, eventdb.Mail{From: start, To: start.AddDate(0, 1, 0)}, func(e *events.Event) error {
		whole = append(whole, *e)
		arrived = e.Arrived.Format("2006-01-02T15:04:05.000Z")
		return nil
	})
	if err != nil || len(whole) != 4 {
		t.Fatal(len(whole), err)
	}
	_, got := w.export(timeline(exporter.NDJSON, allEvents...))
	want := `{"messageid":"m1","sendtimestamp":"2026-10-21T01:02:03.120Z","destination":"a@gmail.com","event_type":"DELIVERY_DELAY","event_timestamp":"2026-10-21T01:03:03.120Z","diagnostic_code":"452","delay_type":"MailboxFull","multiple_recipients":false,"simulator":false,"arrived_timestamp":"ARRIVED"}
{"messageid":"m1","sendtimestamp":"2026-10-21T01:02:03.120Z","isp":"Gmail","fromaddress":"f@example.com","destination":"a@gmail.com","subject":"s,\"","event_type":"COMPLAINT","event_timestamp":"2026-10-21T02:02:03.120Z","complaint_sub_type":"ON_ACCOUNT_SUPPRESSION_LIST","feedback_type":"abuse","user_agent":"ua","feedback_id":"f-1","configuration_set":"set","identity":"example.com","tags":{"t":["v"]},"multiple_recipients":true,"simulator":false,"arrived_timestamp":"ARRIVED","details":{"a":{"b":[1,"\n"]}}}
{"messageid":"m2","sendtimestamp":"2026-10-21T01:02:03.120Z","destination":"b@gmail.com","event_type":"BOUNCE","event_timestamp":"2026-10-21T01:02:03.120Z","bounce_type":"TRANSIENT","bounce_sub_type":"MAILBOX_FULL","multiple_recipients":false,"simulator":false,"arrived_timestamp":"ARRIVED"}
{"messageid":"m3","sendtimestamp":"2026-10-21T01:02:03.120Z","destination":"c@gmail.com","event_type":"CLICK","event_timestamp":"2026-10-21T01:02:03.120Z","link":"https://example.com/?a=1&b=2","ip_address":"192.0.2.1","multiple_recipients":false,"simulator":true,"arrived_timestamp":"ARRIVED"}
`
	if d := diff.Diff(strings.ReplaceAll(want, "ARRIVED", arrived), got); d != "" {
		t.Error(d)
	}
	j, got := w.export(timeline(exporter.StrictCSV))
	if d := diff.Diff(allEvents[:len(allEvents)-1], strictly(t, got)[0]); d != "" {
		t.Error(d)
	}
	if j.Progress.Exported != 4 || j.Progress.Processed != 4 || j.Progress.Share != 1 || j.Files[0].Rows != 4 || j.Order.Source() != exporter.EmailEvents {
		t.Errorf("%+v", j)
	}
	j, got = w.export(timeline(exporter.CSV))
	service := asService(t, got)
	_, got = w.export(timeline(exporter.StrictCSV))
	if d := diff.Diff(service, strictly(t, got)); d != "" || !strings.HasSuffix(j.Files[0].Name, ".csv") {
		t.Error(d)
	}

	// Only what arrived between two times.
	o := timeline(exporter.NDJSON)
	o.Events.ArrivedAfter = whole[0].Arrived
	if _, got := w.export(o); got != "" {
		t.Errorf("nothing came later, but\n%s", got)
	}
	o.Events.ArrivedAfter, o.Events.ArrivedUntil = whole[0].Arrived.Add(-time.Millisecond), whole[0].Arrived
	if j, _ := w.export(o); j.Progress.Exported != 4 {
		t.Errorf("%d rows", j.Progress.Exported)
	}
}

// Metrics in the new formats.
func TestMoreMetricsFiles(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		w.append(event(fmt.Sprint(i), "a@gmail.com", events.Send, start, 0, func(e *events.Event) { e.ConfigurationSet = `a, "set"` }))
	}
	w.append(event("0", "a@gmail.com", events.Delivery, start, 0, func(e *events.Event) { e.ConfigurationSet = `a, "set"` }))
	order := func(f exporter.Format) exporter.Order {
		return metricsOrder(f, map[string][]string{"CONFIGURATION_SET": {"*"}, "ISP": {"Gmail"}}, exporter.Column{Metric: eventdb.Sends}, exporter.Column{Metric: eventdb.Deliveries, Rate: true})
	}
	for format, want := range map[exporter.Format]string{
		exporter.NDJSON:    `{"CONFIGURATION_SET":"a, \"set\"","ISP":"Gmail","SEND_VOLUME":3,"DELIVERY_RATE":0.3333333333333333}` + "\n",
		exporter.StrictCSV: "CONFIGURATION_SET,ISP,SEND_VOLUME,DELIVERY_RATE\n\"a, \"\"set\"\"\",Gmail,3,0.3333333333333333\n",
	} {
		if _, got := w.export(order(format)); got != want {
			t.Errorf("%s: %s", format, got)
		}
	}
	_, got := w.export(order(exporter.Parquet))
	names, rows := duck(t, "read_parquet(FILE)", got, 4)
	if d := diff.Diff([]string{"CONFIGURATION_SET", "ISP", "SEND_VOLUME", "DELIVERY_RATE"}, names) + diff.Diff([][]string{{`a, "set"`, "Gmail", "3", "0.3333333333333333"}}, rows); d != "" {
		t.Error(d)
	}
	// SES's formats, in several files.
	o := metricsOrder(exporter.JSON, map[string][]string{"ISP": {"Gmail", "Yahoo", "Apple"}}, exporter.Column{Metric: eventdb.Sends})
	o.RowsPerFile, o.Compression = 2, exporter.Gzip
	j, _ := w.export(o)
	want := []string{`[{"isp":"Apple","metrics":{"SEND_VOLUME":0.0000}},{"isp":"Gmail","metrics":{"SEND_VOLUME":3.0000}}]` + "\n", `[{"isp":"Yahoo","metrics":{"SEND_VOLUME":0.0000}}]` + "\n"}
	if d := diff.Diff(want, w.texts(j)); d != "" {
		t.Error(d)
	}
}

// Random text, that is hard to quote, comes back as it was from every format, however
// it is packed and split.
func TestReadBack(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(11, 11))
	pieces := []string{"", "a", "Ü", "€", "😀", `"`, `""`, ",", ";", "\n", "\r", "\r\n", "\t", `\`, `\"`, `\N`, "NULL", "null", " ", "'", "\x01", "\u2028", "\ufeff", "#", "0", "{", "}", "\u00a0", `\.`}
	nasty := func() string {
		var b strings.Builder
		for range r.IntN(6) * r.IntN(2) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		return b.String()
	}
	object := func() string {
		if r.IntN(3) == 0 {
			return ""
		}
		text, err := json.Marshal(map[string][]string{"n": {nasty(), nasty()}, nasty(): {nasty()}})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const messages = 300
	var all []events.Event
	for i := range messages {
		all = append(all, events.Event{
			Source: src, MessageID: fmt.Sprint("m", i), Destination: nasty(), Type: events.Type("SOMETHING " + nasty()), Time: start.Add(time.Duration(r.IntN(1e9)) * time.Millisecond),
			Sent: start.Add(time.Duration(r.IntN(1e9)) * time.Millisecond), From: nasty(), Subject: nasty(), ConfigurationSet: nasty(), Identity: nasty(), ISP: nasty(), Tags: object(),
			Multi: r.IntN(2) == 0, Simulator: r.IntN(2) == 0, BounceType: nasty(), SubType: nasty(), Diagnostic: nasty(), FeedbackType: nasty(), DelayType: nasty(), Link: nasty(),
			UserAgent: nasty(), IP: nasty(), FeedbackID: nasty(), Details: object(),
		})
		if i%3 == 0 {
			all[i].Type = []events.Type{events.Bounce, events.Complaint, events.Delivery}[r.IntN(3)]
		}
	}
	w.append(all...)
	for _, kind := range []struct {
		columns []string
		order   func(exporter.Format) exporter.Order
	}{
		{append(slices.Clone(allEvents), "tag:n"), func(f exporter.Format) exporter.Order {
			return timeline(f, append(slices.Clone(allEvents), "tag:n")...)
		}},
		{append(slices.Clone(allInsights), "tag:n"), func(f exporter.Format) exporter.Order {
			o := insights(f)
			o.Insights.Columns = append(slices.Clone(allInsights), "tag:n")
			return o
		}},
	} {
		_, got := w.export(kind.order(exporter.CSV))
		want := asService(t, got)
		if len(want) != 1+len(all) {
			t.Fatalf("%d rows", len(want))
		}
		for _, format := range formats[1:] {
			for _, c := range packed {
				for _, rows := range []int64{0, []int64{50 + r.Int64N(200), 299, 300, 301}[r.IntN(4)]} {
					o := kind.order(format)
					o.Compression, o.RowsPerFile = c, rows
					j, _ := w.export(o)
					name := fmt.Sprintf("%s %s of %d rows a file", format, c, rows)
					texts := w.texts(j)
					if rows == 0 && len(texts) != 1 || rows > 0 && int64(len(texts)) != (messages+rows-1)/rows {
						t.Fatalf("%s: %d files", name, len(texts))
					}
					found := [][]string{kind.columns}
					for i, text := range texts {
						names, more := read(t, format, kind.columns, text)
						if !slices.Equal(names, kind.columns) || int64(len(more)) != j.Files[i].Rows || rows > 0 && !strings.Contains(j.Files[i].Name, fmt.Sprintf("_%05d.", i+1)) {
							t.Fatalf("%s: %s has %d rows of %q", name, j.Files[i].Name, len(more), names)
						}
						found = append(found, more...)
					}
					if d := diff.Diff(want, found); d != "" {
						t.Fatalf("%s:\n%s", name, d)
					}
				}
			}
		}
	}
}

// read reads a file as others do, and gives its rows with times as RFC 3339 has them.
func read(t *testing.T, format exporter.Format, columns []string, text string) (names []string, rows [][]string) {
	t.Helper()
	switch format {
	case exporter.Parquet:
		return duck(t, "read_parquet(FILE)", text, len(columns))
	case exporter.StrictCSV:
		rows = strictly(t, text)
		_, again := duck(t, "read_csv(FILE, header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"', strict_mode = true, auto_detect = false, columns = "+varchars(columns)+")", text, len(columns))
		if d := diff.Diff(rows[1:], again); d != "" {
			t.Fatalf("DuckDB reads other rows:\n%s", d)
		}
		// encoding/csv makes \r\n within quotes \n.
		standard, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var bare [][]string
		for _, row := range rows {
			var cells []string
			for _, cell := range row {
				cells = append(cells, strings.ReplaceAll(cell, "\r\n", "\n"))
			}
			bare = append(bare, cells)
		}
		if d := diff.Diff(bare, standard); d != "" {
			t.Fatalf("encoding/csv reads other rows:\n%s", d)
		}
		return rows[0], rows[1:]
	}
	var lines []json.RawMessage
	if format == exporter.JSON {
		if err := json.Unmarshal([]byte(text), &lines); err != nil {
			t.Fatal(err)
		}
	} else {
		for line := range strings.Lines(text) {
			lines = append(lines, json.RawMessage(line))
		}
	}
	for _, line := range lines {
		row := make([]string, len(columns))
		decoder := json.NewDecoder(bytes.NewReader(line))
		if _, err := decoder.Token(); err != nil {
			t.Fatal(err)
		}
		for last := -1; decoder.More(); {
			name, err := decoder.Token()
			if err != nil {
				t.Fatal(err)
			}
			at := slices.Index(columns, name.(string))
			if at <= last {
				t.Fatalf("the order of members in %s", line)
			}
			last = at
			var raw json.RawMessage
			if err := decoder.Decode(&raw); err != nil {
				t.Fatal(err)
			}
			if row[at] = string(raw); raw[0] == '"' {
				if err := json.Unmarshal(raw, &row[at]); err != nil {
					t.Fatal(err)
				}
			}
			if row[at] == "" {
				t.Fatalf("%s is there, and empty", name)
			}
			if format == exporter.JSON && strings.HasSuffix(columns[at], "timestamp") {
				moment, err := time.Parse("2006-01-02 15:04:05.000 UTC", row[at])
				if err != nil {
					t.Fatal(err)
				}
				row[at] = moment.Format("2006-01-02T15:04:05.000Z")
			}
			isText := !slices.Contains([]string{"tags", "details", "multiple_recipients", "simulator"}, columns[at])
			if (raw[0] == '"') != (isText || format == exporter.JSON) {
				t.Fatalf("%s is %s", name, raw)
			}
		}
		rows = append(rows, row)
	}
	return columns, rows
}

// varchars is DuckDB's list of columns that are text.
func varchars(columns []string) string {
	var all []string
	for _, c := range columns {
		all = append(all, fmt.Sprintf("'%s': 'VARCHAR'", c))
	}
	return "{" + strings.Join(all, ", ") + "}"
}
