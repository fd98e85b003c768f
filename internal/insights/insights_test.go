package insights

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/metadb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	src = events.Source{Account: "000000000000", Region: "us-east-1"}
	now = time.Date(2026, 11, 23, 12, 30, 0, 0, time.UTC)
)

// ago is a time so many days and hours before now.
func ago(days, hours int) time.Time {
	return now.AddDate(0, 0, -days).Add(-time.Duration(hours) * time.Hour)
}

// service is a Service on stores of its own.
func service(t testing.TB) (*Service, eventdb.Store) {
	t.Helper()
	ctx := context.Background()
	store, err := eventdb.Open(ctx, filepath.Join(t.TempDir(), "events.duckdb"), 1<<28)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := metadb.Open(ctx, filepath.Join(t.TempDir(), "sesame.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(store.Close(), settings.Close()); err != nil {
			t.Error(err)
		}
	})
	return &Service{Events: store, Settings: settings, Now: func() time.Time { return now }}, store
}

func appendAll(t testing.TB, store eventdb.Store, all ...events.Event) {
	t.Helper()
	if added, err := store.Append(context.Background(), all); err != nil || added != len(all) {
		t.Fatalf("Append: %d of %d, %v", added, len(all), err)
	}
}

// mail is an event of a message sent to one recipient.
func mail(id, to string, kind events.Type, at time.Time, change ...func(*events.Event)) events.Event {
	e := events.Event{
		Source: src, MessageID: id, Destination: to, Type: kind, Time: at, Sent: at, From: "news@example.com", Subject: "Hello",
		ConfigurationSet: "news", Identity: "example.com", ISP: "Gmail",
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

func TestMessage(t *testing.T) {
	ctx := context.Background()
	s, store := service(t)
	sent := ago(1, 0)
	tagged := func(tags string) func(*events.Event) { return func(e *events.Event) { e.Tags, e.Sent = tags, sent } }
	send := mail("m1", "a@gmail.com", events.Send, sent, tagged(`{"ses:from-domain":["example.com"],"colour":["red","blue"]}`))
	delivery := mail("m1", "a@gmail.com", events.Delivery, sent.Add(2*time.Second), tagged(`{"ses:outgoing-ip":["192.0.2.1"],"colour":["red","green"]}`))
	open := mail("m1", "a@gmail.com", events.Open, sent.Add(time.Hour), tagged(""))
	bounce := mail("m1", "b@example.org", events.Bounce, sent.Add(time.Second), func(e *events.Event) { e.ISP, e.Sent = events.UnknownISP, sent })
	appendAll(t, store, open, bounce, delivery, send)

	m, err := s.Message(ctx, src, "m1")
	if err != nil {
		t.Fatal(err)
	}
	want := Message{
		ID: "m1", From: "news@example.com", Subject: "Hello",
		Tags: []Tag{{"colour", "red"}, {"colour", "blue"}, {"colour", "green"}, {"ses:from-domain", "example.com"}, {"ses:outgoing-ip", "192.0.2.1"}},
		Recipients: []Recipient{
			{Address: "a@gmail.com", ISP: "Gmail", Events: []events.Event{send, delivery, open}},
			{Address: "b@example.org", ISP: events.UnknownISP, Events: []events.Event{bounce}},
		},
	}
	for _, r := range want.Recipients {
		for i := range r.Events {
			r.Events[i].ConfigurationSet, r.Events[i].Identity = "", "" // nobody asks for them
		}
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	for _, other := range []events.Source{{Account: "111111111111", Region: "us-east-1"}, {Account: "000000000000", Region: "eu-west-1"}} {
		if _, err := s.Message(ctx, other, "m1"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v: %v", other, err)
		}
	}
	for _, id := range []string{"m2", "", "M1", "m1\x00"} {
		if _, err := s.Message(ctx, src, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// What the first event does not say, a later one may; and whom it is about may not
// be said at all.
func TestMessageOfLittle(t *testing.T) {
	s, store := service(t)
	appendAll(t, store,
		events.Event{Source: src, MessageID: "m", Type: events.RenderingFailure, Time: ago(1, 1), Sent: ago(1, 1), ISP: events.UnknownISP},
		events.Event{Source: src, MessageID: "m", Type: "Something New", Time: ago(1, 0), Sent: ago(1, 1), ISP: events.UnknownISP, From: "f@example.com", Subject: "s"},
	)
	m, err := s.Message(context.Background(), src, "m")
	if err != nil || m.From != "f@example.com" || m.Subject != "s" || m.Tags != nil || len(m.Recipients) != 1 || m.Recipients[0].Address != "" || len(m.Recipients[0].Events) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
}

// SES knows nothing of mail with several recipients, of the simulator's, and of
// mail of more than 30 days ago.
func TestMessageLikeSES(t *testing.T) {
	ctx := context.Background()
	s, store := service(t)
	multi, simulator := func(e *events.Event) { e.Multi = true }, func(e *events.Event) { e.Simulator = true }
	appendAll(t, store,
		mail("multi", "a@gmail.com", events.Send, ago(1, 0), multi), mail("multi", "b@gmail.com", events.Send, ago(1, 0), multi),
		mail("simulator", "success@simulator.amazonses.com", events.Send, ago(1, 0), simulator),
		mail("old", "a@gmail.com", events.Send, ago(30, 1)),
		mail("old", "a@gmail.com", events.Open, ago(1, 0), func(e *events.Event) { e.Sent = ago(30, 1) }),
		mail("young", "a@gmail.com", events.Send, ago(30, -1)),
	)
	recipients := map[string]int{"multi": 2, "simulator": 1, "old": 1, "young": 1}
	for _, s.LikeSES = range []bool{false, true} {
		for id, n := range recipients {
			m, err := s.Message(ctx, src, id)
			if s.LikeSES && id != "young" {
				if !errors.Is(err, ErrNotFound) {
					t.Errorf("%s, like SES: %v", id, err)
				}
			} else if err != nil || len(m.Recipients) != n {
				t.Errorf("%s: %d recipients, %v", id, len(m.Recipients), err)
			}
		}
	}
}

func midnight(daysAgo int) time.Time { return now.Truncate(day).AddDate(0, 0, -daysAgo) }

func TestMetrics(t *testing.T) {
	ctx := context.Background()
	s, store := service(t)
	multi, simulator := func(e *events.Event) { e.Multi = true }, func(e *events.Event) { e.Simulator = true }
	yahoo := func(e *events.Event) {
		e.ISP, e.ConfigurationSet, e.From, e.Identity = "Yahoo", "bills", "bills@shop.example", "shop.example"
	}
	appendAll(t, store,
		mail("1", "a@gmail.com", events.Send, ago(2, 0)), mail("2", "a@gmail.com", events.Send, ago(2, 3)),
		mail("3", "a@yahoo.com", events.Send, ago(2, 4), yahoo),
		mail("4", "a@gmail.com", events.Send, ago(5, 0)), mail("4", "b@gmail.com", events.Delivery, ago(5, 0)),
		mail("5", "a@gmail.com", events.Send, ago(5, 0), multi), mail("5", "b@gmail.com", events.Send, ago(5, 0), multi),
		mail("6", "success@simulator.amazonses.com", events.Send, ago(6, 0), simulator),
		mail("7", "a@gmail.com", events.Send, ago(61, 0)),
	)
	count := func(daysAgo int, n int64) eventdb.Day { return eventdb.Day{Start: midnight(daysAgo), Count: n} }
	type dimensions = map[string]string
	for _, c := range []struct {
		name       string
		query      Query
		all, asSES []eventdb.Day
	}{
		{"sparse days", Query{Metric: "SEND", Start: midnight(10), End: midnight(0)},
			[]eventdb.Day{count(6, 1), count(5, 3), count(2, 3)}, []eventdb.Day{count(5, 1), count(2, 3)}},
		{"the end is exclusive", Query{Metric: "SEND", Start: midnight(10), End: midnight(2)},
			[]eventdb.Day{count(6, 1), count(5, 3)}, []eventdb.Day{count(5, 1)}},
		{"parts of days", Query{Metric: "SEND", Start: ago(2, 3), End: ago(2, 0)},
			[]eventdb.Day{count(2, 1)}, []eventdb.Day{count(2, 1)}},
		{"another metric", Query{Metric: "DELIVERY", Start: midnight(10), End: now}, []eventdb.Day{count(5, 1)}, []eventdb.Day{count(5, 1)}},
		{"nothing", Query{Metric: "CLICK", Start: midnight(10), End: now}, nil, nil},
		{"long ago", Query{Metric: "SEND", Start: midnight(100), End: midnight(50)}, []eventdb.Day{count(61, 1)}, nil},
		{"wholly before the window", Query{Metric: "SEND", Start: midnight(70), End: midnight(61)}, nil, nil},
		{"an ISP", Query{Metric: "SEND", Dimensions: dimensions{ISP: "Yahoo"}, Start: midnight(10), End: now}, []eventdb.Day{count(2, 1)}, []eventdb.Day{count(2, 1)}},
		{"a configuration set", Query{Metric: "SEND", Dimensions: dimensions{ConfigurationSet: "bills"}, Start: midnight(10), End: now}, []eventdb.Day{count(2, 1)}, []eventdb.Day{count(2, 1)}},
		{"an address", Query{Metric: "SEND", Dimensions: dimensions{EmailIdentity: "bills@shop.example"}, Start: midnight(10), End: now}, []eventdb.Day{count(2, 1)}, []eventdb.Day{count(2, 1)}},
		{"a domain", Query{Metric: "SEND", Dimensions: dimensions{EmailIdentity: "example.com"}, Start: midnight(3), End: now}, []eventdb.Day{count(2, 2)}, []eventdb.Day{count(2, 2)}},
		{"all together", Query{Metric: "SEND", Dimensions: dimensions{EmailIdentity: "shop.example", ISP: "Yahoo", ConfigurationSet: "bills"}, Start: midnight(10), End: now},
			[]eventdb.Day{count(2, 1)}, []eventdb.Day{count(2, 1)}},
		{"all together, one other", Query{Metric: "SEND", Dimensions: dimensions{EmailIdentity: "shop.example", ISP: "Gmail", ConfigurationSet: "bills"}, Start: midnight(10), End: now}, nil, nil},
		{"a tenant", Query{Metric: "SEND", Dimensions: dimensions{TenantName: "t"}, Start: midnight(10), End: now}, nil, nil},
	} {
		for _, s.LikeSES = range []bool{false, true} {
			want := c.all
			if s.LikeSES {
				want = c.asSES
			}
			got, err := s.Metrics(ctx, src, []Query{c.query})
			if err != nil || len(got) != 1 {
				t.Errorf("%s: %v, %v", c.name, got, err)
			} else if diff := cmp.Diff(want, got[0]); diff != "" {
				t.Errorf("%s, like SES %v:\n%s", c.name, s.LikeSES, diff)
			}
		}
	}
	s.LikeSES = false
	if n, err := s.SentLastDay(ctx, src); n != 0 || err != nil {
		t.Errorf("sent within the last day: %d, %v", n, err)
	}
	appendAll(t, store, mail("8", "a@gmail.com", events.Send, ago(0, 23)), mail("9", "a@gmail.com", events.Send, ago(0, 1)), mail("10", "a@gmail.com", events.Send, ago(0, 25)))
	if n, err := s.SentLastDay(ctx, src); n != 2 || err != nil {
		t.Errorf("sent within the last day: %d, %v", n, err)
	}
}

func TestInvalidQueries(t *testing.T) {
	s, _ := service(t)
	fine := Query{Metric: "SEND", Start: midnight(2), End: midnight(0)}
	with := func(dimension, value string) Query {
		q := fine
		q.Dimensions = map[string]string{dimension: value}
		return q
	}
	reversed := Query{Metric: "SEND", Start: midnight(0), End: midnight(1)}
	wide := Query{Metric: "SEND", Start: midnight(60).Add(-time.Millisecond), End: midnight(0)}
	const (
		identity = "Invalid email identity provided."
		isp      = "Invalid ISP name provided."
		dates    = "Expected start date to be before the end date."
		interval = "Invalid interval, can request at most 60 days. Please partition your requested interval."
	)
	for _, c := range []struct {
		queries []Query
		want    string
	}{
		{[]Query{fine}, ""},
		{[]Query{with(EmailIdentity, "UPPER@Example.COM")}, ""},
		{[]Query{with(EmailIdentity, "label")}, ""},
		{[]Query{with(EmailIdentity, "")}, identity},
		{[]Query{with(EmailIdentity, "*")}, identity},
		{[]Query{with(EmailIdentity, "user@")}, identity},
		{[]Query{with(EmailIdentity, "@example.com")}, identity},
		{[]Query{with(EmailIdentity, "a@b@c")}, identity},
		{[]Query{with(EmailIdentity, "has space")}, identity},
		{[]Query{with(EmailIdentity, "a\x00b")}, identity},
		{[]Query{with(ISP, "Not-An_Isp")}, ""},
		{[]Query{with(ISP, "")}, isp},
		{[]Query{with(ISP, "*")}, isp},
		{[]Query{with(ISP, "Gmail.com")}, isp},
		{[]Query{with(ISP, "Gmäil")}, isp},
		{[]Query{with(ConfigurationSet, "")}, "The configuration set name must be specified."},
		{[]Query{with(ConfigurationSet, "has space")}, "Invalid configuration set name <has space>: only alphanumeric ASCII characters, '_', and '-' are allowed."},
		{[]Query{with(TenantName, "")}, "TenantName cannot be empty"},
		{[]Query{with(TenantName, "*")}, "Invalid tenant name <*>: only alphanumeric ASCII characters, '_', and '-' are allowed."},
		{[]Query{{Metric: "SEND", Start: midnight(1), End: midnight(1)}}, dates},
		{[]Query{reversed}, dates},
		{[]Query{wide}, interval},
		{[]Query{{Metric: "SEND", Start: midnight(60), End: midnight(0)}}, ""},
		{[]Query{wide, reversed}, interval},
		{[]Query{reversed, with(ISP, "")}, isp}, // a value of any goes before a date of any
		{[]Query{fine, wide, with(EmailIdentity, "")}, identity},
	} {
		for _, s.LikeSES = range []bool{true, false} {
			want := c.want
			if !s.LikeSES && want == interval { // then the next is told of, or nothing
				if want = ""; len(c.queries) > 1 {
					want = dates
				}
			}
			_, err := s.Metrics(context.Background(), src, c.queries)
			var invalid Invalid
			if got := ""; errors.As(err, &invalid) || err == nil {
				if got = string(invalid); got != want {
					t.Errorf("%v, like SES %v:\n got %q\nwant %q", c.queries, s.LikeSES, got, want)
				}
			} else {
				t.Errorf("%v: %v", c.queries, err)
			}
		}
	}
}

func TestVDM(t *testing.T) {
	ctx := context.Background()
	s, store := service(t)
	appendAll(t, store, mail("m", "a@gmail.com", events.Send, ago(1, 0)))
	yes, no := true, false
	v, err := s.VDM(ctx, src)
	if diff := cmp.Diff(VDM{Enabled: true, EngagementMetrics: &yes, OptimizedSharedDelivery: &no}, v); diff != "" || err != nil {
		t.Errorf("never set: %v\n%s", err, diff)
	}
	for _, want := range []VDM{{Enabled: false}, {Enabled: true}, {Enabled: false, EngagementMetrics: &no, OptimizedSharedDelivery: &yes}} {
		if err := s.PutVDM(ctx, src, want); err != nil {
			t.Fatal(err)
		}
		got, err := s.VDM(ctx, src)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
		enabled := func(err error) bool { return !errors.Is(err, ErrVDMDisabled) }
		if _, err := s.Message(ctx, src, "m"); enabled(err) != want.Enabled {
			t.Errorf("a message with %+v: %v", want, err)
		}
		if _, err := s.Message(ctx, src, "none"); enabled(err) != want.Enabled {
			t.Errorf("no message with %+v: %v", want, err)
		}
		if _, err := s.Metrics(ctx, src, []Query{{Metric: "SEND", Start: ago(1, 0), End: now}}); enabled(err) != want.Enabled {
			t.Errorf("metrics with %+v: %v", want, err)
		}
	}
	other := events.Source{Account: src.Account, Region: "eu-west-1"}
	if v, err := s.VDM(ctx, other); err != nil || !v.Enabled {
		t.Errorf("another region: %+v, %v", v, err)
	}
}

// What goes wrong in the stores comes out, with what was being done.
func TestTroubleComesOut(t *testing.T) {
	s, store := service(t)
	appendAll(t, store, mail("m", "a@gmail.com", events.Send, ago(1, 0), func(e *events.Event) { e.Tags = "{" }))
	if _, err := s.Message(context.Background(), src, "m"); err == nil || !strings.Contains(err.Error(), "tags") {
		t.Errorf("tags that are none: %v", err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.VDM(gone, src); !errors.Is(err, context.Canceled) {
		t.Errorf("VDM: %v", err)
	}
	if err := s.PutVDM(gone, src, VDM{}); !errors.Is(err, context.Canceled) {
		t.Errorf("PutVDM: %v", err)
	}
	if _, err := s.Message(gone, src, "m"); !errors.Is(err, context.Canceled) {
		t.Errorf("Message: %v", err)
	}
	if _, err := s.Metrics(gone, src, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Metrics: %v", err)
	}
}

// Counts of the parts add up to the count of the whole, whatever the parts.
func TestPartsAddUp(t *testing.T) {
	s, store := service(t)
	var accounts atomic.Int64
	isps, sets, domains := []string{"Gmail", "Yahoo", "Outlook"}, []string{"one", "two"}, []string{"a.example", "b.example"}
	rapid.Check(t, func(r *rapid.T) {
		own := events.Source{Account: fmt.Sprintf("%012d", accounts.Add(1)), Region: "us-east-1"}
		all := make([]events.Event, rapid.IntRange(1, 30).Draw(r, "events"))
		for i := range all {
			at := midnight(rapid.IntRange(0, 4).Draw(r, "day")).Add(time.Duration(rapid.IntRange(0, 86399).Draw(r, "second")) * time.Second)
			all[i] = mail(fmt.Sprint("m", i), "x@x.example", rapid.SampledFrom([]events.Type{events.Send, events.Delivery, events.Bounce}).Draw(r, "type"), at, func(e *events.Event) {
				e.Source, e.BounceType = own, rapid.SampledFrom([]string{"PERMANENT", "TRANSIENT"}).Draw(r, "bounce type")
				e.ISP, e.ConfigurationSet = rapid.SampledFrom(isps).Draw(r, "isp"), rapid.SampledFrom(sets).Draw(r, "set")
				e.Identity = rapid.SampledFrom(domains).Draw(r, "identity")
				e.From = "x@" + e.Identity
				e.Multi = rapid.Bool().Draw(r, "multi")
			})
		}
		if _, err := store.Append(context.Background(), all); err != nil {
			r.Fatal(err)
		}
		whole := Query{Metric: rapid.SampledFrom([]string{"SEND", "DELIVERY", "PERMANENT_BOUNCE", "TRANSIENT_BOUNCE"}).Draw(r, "metric"), Start: midnight(5), End: midnight(-1)}
		asked := &Service{Events: store, Settings: s.Settings, Now: s.Now, LikeSES: rapid.Bool().Draw(r, "like SES")}
		total := func(queries ...Query) map[time.Time]int64 {
			answers, err := asked.Metrics(context.Background(), own, queries)
			if err != nil {
				r.Fatal(err)
			}
			sum := map[time.Time]int64{}
			for _, days := range answers {
				for _, d := range days {
					sum[d.Start] += d.Count
				}
			}
			return sum
		}
		want := total(whole)
		values := map[string][]string{ISP: isps, ConfigurationSet: sets, EmailIdentity: domains}
		dimension := rapid.SampledFrom([]string{ISP, ConfigurationSet, EmailIdentity}).Draw(r, "dimension")
		parts := make([]Query, len(values[dimension]))
		for i := range parts {
			parts[i] = whole
			parts[i].Dimensions = map[string]string{dimension: values[dimension][i]}
		}
		if diff := cmp.Diff(want, total(parts...)); diff != "" {
			r.Errorf("%s by %s (-whole +parts):\n%s", whole.Metric, dimension, diff)
		}
		cut := rapid.Int64Range(whole.Start.Unix()+1, whole.End.Unix()-1).Draw(r, "cut")
		before, after := whole, whole
		before.End, after.Start = time.Unix(cut, 0), time.Unix(cut, 0)
		if diff := cmp.Diff(want, total(before, after)); diff != "" {
			r.Errorf("%s cut in two (-whole +parts):\n%s", whole.Metric, diff)
		}
	})
}
