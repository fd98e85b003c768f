package eventdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"sesame/internal/events"
)

// suite holds a backend to what Store promises. open makes an empty store, which
// the suite closes.
func suite(t *testing.T, open func(t *testing.T) Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Store)
	}{
		{"an event is kept as it came", keepsEvents},
		{"an event is there once", keepsOnce},
		{"a message's events come oldest first", orders},
		{"a walk comes by all mail of a time", walks},
		{"sources are kept apart", keepsApart},
		{"arrivals are told apart", arrives},
		{"each metric counts what it is defined to count", defines},
		{"an open is counted on the day of the first", countsFirst},
		{"filters", filters},
		{"what was acknowledged is seen", seesAcknowledged},
		{"old events are dropped", dropsOld},
		{"dropping goes on beside appending and asking", dropsBeside},
		{"nothing is added under a cancelled context", cancels},
		{"close under load", closesUnderLoad},
		{"asking within a walk while the store closes", asksWhileClosing},
		{"all answers are those of a plain computation", model},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			test.run(t, s)
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

var (
	start  = time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)
	source = events.Source{Account: "111122223333", Region: "us-east-1"}
)

// event gives an event of a message with that number; change may be nil.
func event(message int, kind events.Type, at time.Time, change func(*events.Event)) events.Event {
	e := events.Event{
		Source: source, MessageID: messageID(start, message), Destination: "anna@gmail.com", Type: kind, Time: at, Sent: start,
		From: "news@mail.example.com", Subject: "News", ConfigurationSet: "news", Identity: "example.com", ISP: "Gmail", Tags: `{"a":["b"]}`,
	}
	if change != nil {
		change(&e)
	}
	return e
}

func messageID(sent time.Time, n int) string {
	return fmt.Sprintf("0100%012x-%08x-8143-88ef-e4df-45666f13587d-000000", sent.UnixMilli(), n)
}

func add(t *testing.T, s Store, want int, all ...events.Event) {
	t.Helper()
	if added, err := s.Append(t.Context(), all); err != nil || added != want {
		t.Fatalf("Append of %d events: %d, %v; want %d", len(all), added, err, want)
	}
}

func message(t *testing.T, s Store, src events.Source, id string) []events.Event {
	t.Helper()
	all, err := s.Message(t.Context(), src, id)
	if err != nil {
		t.Fatalf("Message: %v", err)
	}
	return all
}

// told is what Message gives of an event.
func told(e events.Event) events.Event {
	e.ConfigurationSet, e.Identity, e.DelayType, e.Link, e.UserAgent, e.IP, e.FeedbackID, e.Details = "", "", "", "", "", "", "", ""
	return e
}

// walk gives what a walk comes by and is wanted, without the time of arrival.
func walk(t *testing.T, s Store, src events.Source, from, to time.Time, wanted func(events.Event) bool) (all []events.Event) {
	t.Helper()
	err := s.Events(t.Context(), src, Mail{From: from, To: to}, func(e *events.Event) error {
		if e.Arrived.IsZero() {
			t.Fatalf("it has not arrived: %+v", e)
		}
		e.Arrived = time.Time{}
		if wanted(*e) {
			all = append(all, *e)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Events: %v", err)
	}
	return all
}

func daily(t *testing.T, s Store, src events.Source, q Query) []Day {
	t.Helper()
	days, err := s.Daily(t.Context(), src, q)
	if err != nil {
		t.Fatalf("Daily of %+v: %v", q, err)
	}
	return days
}

// total gives the sum over all days.
func total(t *testing.T, s Store, q Query) (n int64) {
	t.Helper()
	q.From, q.To = start.AddDate(-1, 0, 0), start.AddDate(1, 0, 0)
	for _, d := range daily(t, s, source, q) {
		n += d.Count
	}
	return n
}

func keepsEvents(t *testing.T, s Store) {
	full := event(1, "A NEW TYPE", start.Add(time.Millisecond), nil)
	for i, text := range texts(&full) {
		if *text == "" {
			*text = fmt.Sprintf("text %d, which is too long to be short", i)
		}
	}
	full.Multi, full.Simulator = true, true
	odd := event(2, events.Open, start.Add(999*time.Millisecond), func(e *events.Event) {
		e.Subject, e.UserAgent, e.Link = "\x00 \U0001F600 ' \" \\ \n é", strings.Repeat("x", 12), strings.Repeat("é", 6)+"x"
	})
	large := event(3, events.Click, start, func(e *events.Event) { e.Details = strings.Repeat("large ", 1<<20) })
	bare := events.Event{Source: source, MessageID: "not of SES's form", Type: events.Send, Time: start, Sent: start}
	old := event(4, events.Send, time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), nil)
	add(t, s, 5, full, odd, large, bare, old)
	for _, e := range []events.Event{full, odd, large, bare, old} {
		if d := diff.Diff([]events.Event{told(e)}, message(t, s, source, e.MessageID)); d != "" {
			t.Errorf("an event of a message came back different:\n%.2000s", d)
		}
		of := func(got events.Event) bool { return got.MessageID == e.MessageID }
		if d := diff.Diff([]events.Event{e}, walk(t, s, source, e.Sent, e.Sent.Add(time.Millisecond), of)); d != "" {
			t.Errorf("an event came back different:\n%.2000s", d)
		}
	}
	invalid := event(5, events.Send, start, func(e *events.Event) { e.Subject = "a\xffb" })
	add(t, s, 1, invalid)
	if got := message(t, s, source, invalid.MessageID); len(got) != 1 || got[0].Subject != "a\uFFFDb" {
		t.Errorf("text that is not UTF-8 did not come back as replaced: %+v", got)
	}
	if got := message(t, s, source, messageID(start, 99)); len(got) != 0 {
		t.Errorf("a message that is not there has %d events", len(got))
	}
	add(t, s, 0)
}

func keepsOnce(t *testing.T, s Store) {
	one, two, three := event(1, events.Send, start, nil), event(1, events.Open, start, nil), event(1, events.Open, start.Add(time.Millisecond), nil)
	add(t, s, 2, one, two, one, two)
	add(t, s, 1, two, three)
	add(t, s, 0, three, two, one)
	var sum atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			var batch []events.Event
			for i := range 3000 {
				batch = append(batch, event(10+i, events.Send, start.Add(time.Duration(i)*time.Hour), nil))
			}
			added, err := s.Append(t.Context(), batch)
			if err != nil {
				t.Errorf("Append: %v", err)
			}
			sum.Add(int64(added))
		})
	}
	all.Wait()
	if sum.Load() != 3000 || total(t, s, Query{Metric: Sends}) != 3001 {
		t.Errorf("of 3,000 events, appended by eight at once, %d were added", sum.Load())
	}
}

func orders(t *testing.T, s Store) {
	to := func(address string) func(*events.Event) { return func(e *events.Event) { e.Destination = address } }
	want := []events.Event{
		event(1, events.Send, start, to("a@x.example")), event(1, events.Send, start, to("b@x.example")),
		event(1, events.Click, start.Add(time.Second), to("a@x.example")), event(1, events.Open, start.Add(time.Second), to("a@x.example")),
		event(1, events.Delivery, start.Add(time.Hour), to("a@x.example")),
	}
	for _, i := range []int{3, 0, 4, 2, 1} {
		add(t, s, 1, want[i])
	}
	for i := range want {
		want[i] = told(want[i])
	}
	if d := diff.Diff(want, message(t, s, source, want[0].MessageID)); d != "" {
		t.Error(d)
	}
}

func walks(t *testing.T, s Store) {
	sent := func(days int) func(*events.Event) {
		return func(e *events.Event) { e.Sent = start.AddDate(0, 0, days) }
	}
	add(t, s, 5, event(1, events.Send, start, sent(0)), event(1, events.Open, start.AddDate(0, 0, 9), sent(0)),
		event(2, events.Send, start, sent(1)), event(3, events.Click, start, sent(2)),
		event(4, events.Send, start, func(e *events.Event) { sent(1)(e); e.Region = "eu-west-1" }))
	count := func(from, to int) int {
		return len(walk(t, s, source, start.AddDate(0, 0, from), start.AddDate(0, 0, to), func(events.Event) bool { return true }))
	}
	for _, test := range [][3]int{{0, 3, 4}, {0, 2, 3}, {0, 1, 2}, {1, 2, 1}, {2, 3, 1}, {3, 9, 0}, {1, 1, 0}, {2, 0, 0}} {
		if got := count(test[0], test[1]); got != test[2] {
			t.Errorf("from day %d to %d: %d events, want %d", test[0], test[1], got, test[2])
		}
	}
	enough, n := errors.New("enough"), 0
	err := s.Events(t.Context(), source, Mail{From: start, To: start.AddDate(0, 0, 3)}, func(*events.Event) error {
		if n++; n == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || n != 2 {
		t.Errorf("a walk that was ended came by %d events and gave %v", n, err)
	}
}

// What arrives between two moments is given once, also by whoever asks while more
// arrives.
func arrives(t *testing.T, s Store) {
	const batches = 60
	stop := make(chan struct{})
	var all sync.WaitGroup
	for g := range 3 {
		all.Go(func() {
			for i := range batches {
				n := g*batches + i
				add(t, s, 2, event(n, events.Send, start.Add(time.Duration(n)*time.Minute), nil), event(n, events.Open, start.Add(time.Duration(n)*time.Minute), nil))
			}
		})
	}
	go func() { all.Wait(); close(stop) }()
	seen := map[uint64]int{}
	read := func(after, until time.Time) {
		var last time.Time
		err := s.Events(t.Context(), source, Mail{From: start.AddDate(0, 0, -1), To: start.AddDate(0, 0, 1), ArrivedAfter: after, ArrivedUntil: until}, func(e *events.Event) error {
			if seen[e.Key()]++; !e.Arrived.After(after) || e.Arrived.After(until) || !last.IsZero() && e.Sent.After(last) {
				t.Errorf("between %v and %v, after mail of %v: %+v", after, until, last, e)
			}
			last = e.Sent
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var before time.Time
	for going := true; going; {
		select {
		case <-stop:
			going = false
		default:
		}
		until := s.Settle(time.Now())
		read(before, until)
		before = until
	}
	if len(seen) != 6*batches {
		t.Errorf("%d events were read, want %d", len(seen), 6*batches)
	}
	for key, n := range seen {
		if n != 1 {
			t.Errorf("event %d was read %d times", key, n)
		}
	}
	// Who had all until a time to come gets what arrives now after that, too.
	ahead := s.Settle(time.Now().Add(time.Hour))
	if again := s.Settle(time.Now()); again.Before(ahead) || ahead.Before(before) {
		t.Errorf("settled at %v, %v and then %v", before, ahead, again)
	}
	add(t, s, 1, event(3*batches, events.Send, start, nil))
	seen = map[uint64]int{}
	if read(ahead, s.Settle(time.Now())); len(seen) != 1 {
		t.Errorf("%d events arrived after a time to come, want 1", len(seen))
	}
}

func keepsApart(t *testing.T, s Store) {
	sources := []events.Source{source, {Account: source.Account, Region: "eu-west-1"}, {Account: "444455556666", Region: source.Region}}
	for _, src := range sources {
		add(t, s, 1, event(1, events.Send, start, func(e *events.Event) { e.Source = src }))
	}
	for _, src := range append(sources, events.Source{Account: "444455556666", Region: "eu-west-1"}) {
		want := 0
		if slices.Contains(sources, src) {
			want = 1
		}
		got := message(t, s, src, messageID(start, 1))
		days := daily(t, s, src, Query{Metric: Sends, From: start, To: start.AddDate(0, 0, 1)})
		if len(got) != want || len(days) != want || want == 1 && (got[0].Source != src || days[0].Count != 1) {
			t.Errorf("%v has %v and %v", src, got, days)
		}
	}
}

func defines(t *testing.T, s Store) {
	n := 0
	put := func(kind events.Type, change func(*events.Event)) {
		n++
		add(t, s, 1, event(n, kind, start, change))
	}
	bounce := func(kind, sub string) func(*events.Event) {
		return func(e *events.Event) { e.BounceType, e.SubType = kind, sub }
	}
	put(events.Send, nil)
	put(events.Reject, nil)
	put(events.DeliveryDelay, nil)
	put(events.RenderingFailure, nil)
	put("SOMETHING_NEW", nil)
	put(events.Bounce, bounce("PERMANENT", "General"))
	put(events.Bounce, bounce("PERMANENT", "Suppressed"))
	put(events.Bounce, bounce("PERMANENT", "OnAccountSuppressionList"))
	put(events.Bounce, bounce("PERMANENT", "ON_ACCOUNT_SUPPRESSION_LIST"))
	put(events.Bounce, bounce("TRANSIENT", "MailboxFull"))
	put(events.Bounce, bounce("UNDETERMINED", "Undetermined"))
	put(events.Complaint, nil)
	put(events.Complaint, func(e *events.Event) { e.SubType = "OnAccountSuppressionList" })
	put(events.Complaint, func(e *events.Event) { e.SubType = "OnTenantSuppressionList" })
	put(events.Delivery, nil)
	put(events.Delivery, func(e *events.Event) { e.ISP = "Yahoo" })
	put(events.Delivery, func(e *events.Event) { e.ConfigurationSet = "no tracking" })
	put(events.Open, nil)
	for metric, want := range map[Metric]int64{
		Sends: 1, Deliveries: 3, PermanentBounces: 2, TransientBounces: 2, Complaints: 2, Opens: 1, Clicks: 0,
		DeliveryOpens: 2, DeliveryClicks: 0, DeliveryComplaints: 1,
	} {
		if got := total(t, s, Query{Metric: metric}); got != want {
			t.Errorf("%s: %d, want %d", metric, got, want)
		}
	}
	put(events.Click, nil)
	if got := total(t, s, Query{Metric: DeliveryClicks}); got != 2 {
		t.Errorf("deliveries of mail with tracked links: %d, want 2", got)
	}
	if days, err := s.Daily(t.Context(), source, Query{Metric: "NONE", From: start, To: start.AddDate(0, 0, 1)}); err == nil {
		t.Errorf("a metric that does not exist counts %v", days)
	}
}

func countsFirst(t *testing.T, s Store) {
	at := func(days float64) time.Time { return start.Add(time.Duration(days * 24 * float64(time.Hour))) }
	other := func(e *events.Event) { e.Destination = "other@gmail.com" }
	add(t, s, 6,
		event(1, events.Open, at(3.5), nil), event(1, events.Open, at(1.5), nil), event(1, events.Open, at(1.7), nil),
		event(1, events.Open, at(3.9), other), event(2, events.Open, at(3), nil), event(2, events.Click, at(2.9999), nil))
	want := []Day{{at(1), 1}, {at(3), 2}}
	if d := diff.Diff(want, daily(t, s, source, Query{Metric: Opens, From: at(0), To: at(9)})); d != "" {
		t.Error(d)
	}
	if d := diff.Diff(want[1:], daily(t, s, source, Query{Metric: Opens, From: at(2), To: at(4)})); d != "" {
		t.Errorf("a recipient that opened before the time asked for:\n%s", d)
	}
	if d := diff.Diff([]Day{{at(2), 1}}, daily(t, s, source, Query{Metric: Clicks, From: at(2), To: at(3)})); d != "" {
		t.Error(d)
	}
}

func filters(t *testing.T, s Store) {
	put := func(n int, change func(*events.Event)) { add(t, s, 1, event(n, events.Send, start, change)) }
	put(1, nil)
	put(2, func(e *events.Event) { e.From, e.Identity = "News@MAIL.example.com", "news@mail.example.com" })
	put(3, func(e *events.Event) { e.From, e.Identity = "info@notexample.com", "notexample.com" })
	put(4, func(e *events.Event) { e.ISP, e.ConfigurationSet = "Yahoo", "other" })
	put(5, func(e *events.Event) { e.Multi = true })
	put(6, func(e *events.Event) { e.Simulator = true })
	for _, test := range []struct {
		q    Query
		want int64
	}{
		{Query{}, 6}, {Query{OneRecipient: true}, 4},
		{Query{Identity: "example.com"}, 4}, {Query{Identity: "mail.example.com"}, 5}, {Query{Identity: "news@mail.example.com"}, 5}, {Query{Identity: "NEWS@mail.Example.com"}, 5},
		{Query{Identity: "notexample.com"}, 1}, {Query{Identity: "le.com"}, 0}, {Query{Identity: "@example.com"}, 0},
		{Query{ISP: "Yahoo"}, 1}, {Query{ISP: "yahoo"}, 0}, {Query{ConfigurationSet: "other"}, 1}, {Query{ConfigurationSet: "news"}, 5},
		{Query{ConfigurationSet: "news", ISP: "Yahoo"}, 0}, {Query{ConfigurationSet: "other", ISP: "Yahoo", Identity: "example.com", OneRecipient: true}, 1},
		{Query{ISP: "' OR 1=1 --"}, 0},
	} {
		test.q.Metric = Sends
		if got := total(t, s, test.q); got != test.want {
			t.Errorf("%+v: %d, want %d", test.q, got, test.want)
		}
	}
}

func seesAcknowledged(t *testing.T, s Store) {
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 25 {
				n := g*1000 + i
				add(t, s, 1, event(n, events.Send, start, func(e *events.Event) { e.ISP = fmt.Sprint(g) }))
				if got := message(t, s, source, messageID(start, n)); len(got) != 1 {
					t.Errorf("an acknowledged event is there %d times", len(got))
				}
				if got := total(t, s, Query{Metric: Sends, ISP: fmt.Sprint(g)}); got != int64(i+1) {
					t.Errorf("%d events are counted, of %d acknowledged", got, i+1)
				}
			}
		})
	}
	all.Wait()
}

func asksWhileClosing(t *testing.T, s Store) {
	add(t, s, 1, event(1, events.Send, start, nil))
	closed := make(chan error, 1)
	err := s.Events(t.Context(), source, Mail{From: start, To: start.AddDate(0, 0, 1)}, func(*events.Event) error {
		go func() { closed <- s.Close() }()
		for {
			if _, err := s.Message(t.Context(), source, messageID(start, 1)); err != nil {
				return err
			}
		}
	})
	if err == nil {
		t.Error("a store that closes goes on answering")
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
}

func dropsOld(t *testing.T, s Store) {
	drop := func(before time.Time, want int64) {
		t.Helper()
		if dropped, err := s.DropBefore(t.Context(), before); err != nil || dropped != want {
			t.Fatalf("DropBefore(%v): %d, %v; want %d", before, dropped, err, want)
		}
	}
	drop(start, 0)
	for i := range 10 {
		sent := start.AddDate(0, 0, i)
		add(t, s, 2, event(i, events.Send, sent, func(e *events.Event) { e.Sent = sent }),
			event(i, events.Open, start.AddDate(0, 0, 20), func(e *events.Event) { e.Sent = sent }))
	}
	drop(start, 0)
	drop(start.AddDate(0, 0, 5), 10)
	drop(start.AddDate(0, 0, 5), 0)
	drop(start.AddDate(0, 0, 5).Add(time.Millisecond), 2)
	var days []events.Event
	for i := range 500 {
		days = append(days, event(100+i, events.Send, start.AddDate(0, 0, -2*i), func(e *events.Event) { e.Sent = start.AddDate(-1, 0, -2*i) }))
	}
	add(t, s, len(days), days...)
	drop(start.AddDate(-1, 0, 1), int64(len(days)))
	if got := total(t, s, Query{Metric: Opens}); got != 4 {
		t.Errorf("%d are left, want 4", got)
	}
	add(t, s, 1, event(0, events.Send, start, nil))
}

func dropsBeside(t *testing.T, s Store) {
	const days, a = 60, 400
	for d := range days {
		var batch []events.Event
		for i := range a {
			sent := start.AddDate(0, 0, d).Add(time.Duration(i) * time.Minute)
			batch = append(batch, event(d*a+i, events.Send, sent, func(e *events.Event) { e.Sent = sent }))
		}
		add(t, s, a, batch...)
	}
	until := start.AddDate(0, 0, days)
	ended := make(chan struct{})
	var all sync.WaitGroup
	var added atomic.Int64
	for g := range 2 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-ended:
					return
				default:
				}
				add(t, s, 1, event(1_000_000*(g+1)+i, events.Delivery, until, func(e *events.Event) { e.Sent = until }))
				added.Add(1)
				if got := total(t, s, Query{Metric: Sends}); got < a || got > days*a {
					t.Errorf("%d events are counted", got)
				}
			}
		})
	}
	var dropped int64
	for d := 3; d < days; d += 4 {
		n, err := s.DropBefore(t.Context(), start.AddDate(0, 0, d))
		if err != nil {
			t.Errorf("DropBefore beside appending: %v", err)
		}
		dropped += n
	}
	close(ended)
	all.Wait()
	if left := total(t, s, Query{Metric: Sends}); left+dropped != days*a || left != a {
		t.Errorf("%d were dropped and %d are left, of %d", dropped, left, days*a)
	}
	if got := total(t, s, Query{Metric: Deliveries}); got != added.Load() {
		t.Errorf("of %d events appended meanwhile, %d are there", added.Load(), got)
	}
}

func cancels(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 20 {
		if added, err := s.Append(ctx, []events.Event{event(i, events.Send, start, nil)}); err != context.Canceled || added != 0 {
			t.Fatalf("Append: %d, %v", added, err)
		}
	}
	if got := total(t, s, Query{Metric: Sends}); got != 0 {
		t.Errorf("%d events were added", got)
	}
	if _, err := s.Message(ctx, source, messageID(start, 1)); err == nil {
		t.Error("Message: no error")
	}
	if _, err := s.Daily(ctx, source, Query{Metric: Sends}); err == nil {
		t.Error("Daily: no error")
	}
	if _, err := s.DropBefore(ctx, start.AddDate(1, 0, 0)); err == nil {
		t.Error("DropBefore: no error")
	}
}

func closesUnderLoad(t *testing.T, s Store) {
	var all sync.WaitGroup
	for g := range 6 {
		begun := make(chan struct{})
		all.Go(func() {
			for i := 0; ; i++ {
				_, err := s.Append(context.Background(), []events.Event{event(g*1_000_000+i, events.Send, start, nil)})
				if err == nil {
					_, err = s.Daily(context.Background(), source, Query{Metric: Sends, From: start, To: start.AddDate(0, 0, 1)})
				}
				if err != nil {
					if i == 0 {
						t.Errorf("before Close: %v", err)
						close(begun)
					}
					return // closed
				}
				if i == 0 {
					close(begun)
				}
			}
		})
		<-begun
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close under load: %v", err)
	}
	all.Wait()
	if _, err := s.Append(t.Context(), []events.Event{event(1, events.Send, start, nil)}); err == nil {
		t.Error("Append after Close: no error")
	}
	if _, err := s.Message(t.Context(), source, messageID(start, 1)); err == nil {
		t.Error("Message after Close: no error")
	}
	if _, err := s.Daily(t.Context(), source, Query{Metric: Sends}); err == nil {
		t.Error("Daily after Close: no error")
	}
	if _, err := s.DropBefore(t.Context(), start); err == nil {
		t.Error("DropBefore after Close: no error")
	}
}

// drawn makes about n random events of all kinds, in no order, with duplicates.
func drawn(r *rand.Rand, n int) (unique, withDuplicates []events.Event) {
	kinds := []events.Type{events.Send, events.Reject, events.Bounce, events.Complaint, events.Delivery, events.Delivery, events.Open, events.Open, events.Open,
		events.Click, events.Click, events.RenderingFailure, events.DeliveryDelay, events.Subscription, "SOMETHING_NEW"}
	sources := []events.Source{source, {Account: source.Account, Region: "eu-west-1"}, {Account: "444455556666", Region: source.Region}}
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	seen := map[uint64]bool{}
	for len(unique) < n {
		sent := start.Add(time.Duration(r.IntN(120*24*3600*1000)) * time.Millisecond)
		m := events.Event{
			MessageID: messageID(sent, len(unique)), Sent: sent,
			From:     pick("news@mail.example.com", "info@example.com", "Info@Example.com", "shop@other.example", ""),
			Identity: pick("example.com", "mail.example.com", "info@example.com", "other.example", ""),
			Subject:  pick("", "News", "A subject that is long enough"), ConfigurationSet: pick("", "news", "shop", "seldom", "seldom-2", fmt.Sprintf("set-%d", r.IntN(30))),
		}
		if r.IntN(20) == 0 {
			m.MessageID = fmt.Sprintf("other form %d", r.IntN(n))
			m.Sent = start // one message has one time of sending
		}
		m.Source = sources[r.IntN(len(sources))]
		recipients := 1
		if r.IntN(4) == 0 {
			recipients, m.Multi = 2+r.IntN(3), true
		}
		m.Simulator = r.IntN(10) == 0
		for range 1 + r.IntN(30) {
			e := m
			to := r.IntN(recipients)
			e.Destination = fmt.Sprintf("to-%d@x.example", to)
			e.ISP = []string{"Gmail", "Yahoo", "Outlook", events.UnknownISP}[to]
			e.Type = kinds[r.IntN(len(kinds))]
			late := 1 + r.IntN(4)*r.IntN(10)*24 // hours
			e.Time = m.Sent.Add(time.Duration(r.IntN(late*3600*1000)) * time.Millisecond)
			if (e.Type == events.Open || e.Type == events.Click) && strings.HasPrefix(m.ConfigurationSet, "seldom") && r.IntN(40) != 0 {
				e.Type = events.Delivery
			}
			switch e.Type {
			case events.Bounce:
				e.BounceType = pick("PERMANENT", "TRANSIENT", "UNDETERMINED")
				e.SubType = pick("General", "OnAccountSuppressionList", "ON_ACCOUNT_SUPPRESSION_LIST", "OnTenantSuppressionList")
			case events.Complaint:
				e.SubType, e.FeedbackType = pick("", "OnAccountSuppressionList"), pick("", "abuse")
			}
			if key := e.Key(); !seen[key] {
				seen[key] = true
				unique = append(unique, e)
			}
		}
	}
	withDuplicates = slices.Clone(unique)
	for range n / 5 {
		withDuplicates = append(withDuplicates, unique[r.IntN(len(unique))])
	}
	r.Shuffle(len(withDuplicates), func(i, j int) {
		withDuplicates[i], withDuplicates[j] = withDuplicates[j], withDuplicates[i]
	})
	return unique, withDuplicates
}

// model compares all answers with those of a plain computation.
func model(t *testing.T, s Store) {
	n, queries := 100_000, 480
	if testing.Short() {
		n, queries = 5_000, 160
	}
	r := rand.New(rand.NewPCG(4, 4))
	unique, all := drawn(r, n)

	var batches [][]events.Event
	for rest := all; len(rest) > 0; {
		size := min(len(rest), 1+r.IntN(1+r.IntN(n/20)))
		batches, rest = append(batches, rest[:size]), rest[size:]
	}
	var next, added atomic.Int64
	var writers sync.WaitGroup
	for range 6 {
		writers.Go(func() {
			for i := next.Add(1); i <= int64(len(batches)); i = next.Add(1) {
				k, err := s.Append(t.Context(), batches[i-1])
				if err != nil {
					t.Errorf("Append: %v", err)
				}
				added.Add(int64(k))
			}
		})
	}
	writers.Wait()
	if added.Load() != int64(len(unique)) {
		t.Fatalf("%d events were added, want %d", added.Load(), len(unique))
	}

	type id struct {
		events.Source
		message string
	}
	messages := map[id][]events.Event{}
	for _, e := range unique {
		messages[id{e.Source, e.MessageID}] = append(messages[id{e.Source, e.MessageID}], e)
	}
	ids := slices.Collect(maps.Keys(messages))
	var readers sync.WaitGroup
	for part := range slices.Chunk(ids, len(ids)/4+1) {
		readers.Go(func() {
			for _, m := range part {
				want := messages[m]
				for i := range want {
					want[i] = told(want[i])
				}
				slices.SortFunc(want, func(a, b events.Event) int {
					return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Destination, b.Destination), strings.Compare(string(a.Type), string(b.Type)))
				})
				got, err := s.Message(t.Context(), m.Source, m.message)
				if err != nil || !sameMessage(want, got) {
					t.Errorf("message %v: %v\n%s", m, err, diff.Diff(want, got))
					return
				}
			}
		})
	}
	readers.Wait()

	for range 10 {
		from := start.AddDate(0, 0, r.IntN(120))
		to := from.Add(time.Duration(r.IntN(72)) * time.Hour)
		left := map[events.Event]int{}
		for _, e := range unique {
			if e.Source == source && !e.Sent.Before(from) && e.Sent.Before(to) {
				left[e]++
			}
		}
		for _, e := range walk(t, s, source, from, to, func(events.Event) bool { return true }) {
			if left[e]--; left[e] == 0 {
				delete(left, e)
			}
		}
		if len(left) > 0 {
			t.Errorf("a walk from %v to %v has %d events too few or too many", from, to, len(left))
		}
	}

	counted := 0
	for i := range queries {
		q := Query{Metric: metrics[i%len(metrics)]}
		from := start.Add(time.Duration(r.IntN(160*24*3600*1000)-20*24*3600*1000) * time.Millisecond)
		to := from.Add(time.Duration(r.IntN(1+r.IntN(70*24*3600*1000))-1000) * time.Millisecond)
		if r.IntN(2) == 0 {
			from, to = from.Truncate(24*time.Hour), to.Truncate(24*time.Hour)
		}
		q.From, q.To = from, to
		use := r.IntN(16)
		if use&1 != 0 {
			q.ISP = []string{"Gmail", "Yahoo", "Outlook", events.UnknownISP, "none"}[r.IntN(5)]
		}
		if use&2 != 0 {
			q.ConfigurationSet = []string{"news", "shop", "seldom", "set-1", "none"}[r.IntN(5)]
		}
		if use&4 != 0 {
			q.Identity = []string{"example.com", "EXAMPLE.com", "mail.example.com", "info@example.com", "other.example", "shop@other.example", "none.example"}[r.IntN(7)]
		}
		q.OneRecipient = use&8 != 0
		src := source
		if r.IntN(3) == 0 {
			src.Region = "eu-west-1"
		}
		want := plainly(unique, src, q)
		if d := diff.Diff(want, daily(t, s, src, q)); d != "" {
			t.Errorf("%v %+v:\n%s", src, q, d)
		}
		counted += len(want)
	}
	t.Logf("%d events, %d messages, %d queries with %d days", len(unique), len(messages), queries, counted)
}

var metrics = []Metric{Sends, Complaints, PermanentBounces, TransientBounces, Opens, Clicks, Deliveries, DeliveryOpens, DeliveryClicks, DeliveryComplaints}

// sameMessage says whether the events are the same; those with the same time,
// destination and type may be in any order.
func sameMessage(want, got []events.Event) bool {
	if len(want) != len(got) {
		return false
	}
	left := map[events.Event]int{}
	for i, e := range want {
		left[e]++
		if !got[i].Time.Equal(e.Time) || got[i].Destination != e.Destination || got[i].Type != e.Type {
			return false
		}
	}
	for _, e := range got {
		if left[e]--; left[e] < 0 {
			return false
		}
	}
	return true
}

// plainly is Daily by the definitions of the metrics.
func plainly(all []events.Event, src events.Source, q Query) (days []Day) {
	const month = 30 * 24 * time.Hour
	inside := func(at time.Time) bool { return !at.Before(q.From) && at.Before(q.To) }
	from := func(e *events.Event) bool { // of q's identity
		domain := e.From[strings.LastIndexByte(e.From, '@')+1:]
		return q.Identity == "" || strings.EqualFold(e.Identity, q.Identity) ||
			strings.Contains(q.Identity, "@") && strings.EqualFold(e.From, q.Identity) || strings.EqualFold(domain, q.Identity)
	}
	listed := func(e *events.Event) bool {
		return e.SubType == "OnAccountSuppressionList" || e.SubType == "ON_ACCOUNT_SUPPRESSION_LIST"
	}
	tracked := map[events.Type]map[string]bool{events.Open: {}, events.Click: {}}
	for i := range all {
		e := &all[i]
		if e.Source == src && tracked[e.Type] != nil && !e.Time.Before(q.From.Add(-month)) && !e.Time.After(q.To.Add(month)) {
			tracked[e.Type][e.ConfigurationSet] = true
		}
	}
	type recipient struct{ message, destination string }
	first := map[recipient]time.Time{}
	count := map[time.Time]int64{}
	for i := range all {
		e := &all[i]
		if e.Source != src || q.ISP != "" && e.ISP != q.ISP || q.ConfigurationSet != "" && e.ConfigurationSet != q.ConfigurationSet ||
			!from(e) || q.OneRecipient && (e.Multi || e.Simulator) {
			continue
		}
		var yes bool
		switch q.Metric {
		case Sends:
			yes = e.Type == events.Send
		case Deliveries:
			yes = e.Type == events.Delivery
		case Complaints:
			yes = e.Type == events.Complaint && !listed(e)
		case PermanentBounces:
			yes = e.Type == events.Bounce && e.BounceType == "PERMANENT" && !listed(e)
		case TransientBounces:
			yes = e.Type == events.Bounce && e.BounceType != "PERMANENT"
		case DeliveryOpens:
			yes = e.Type == events.Delivery && tracked[events.Open][e.ConfigurationSet]
		case DeliveryClicks:
			yes = e.Type == events.Delivery && tracked[events.Click][e.ConfigurationSet]
		case DeliveryComplaints:
			yes = e.Type == events.Delivery && slices.Contains(events.FeedbackLoops(), e.ISP)
		case Opens, Clicks:
			if string(e.Type) == string(q.Metric) {
				to := recipient{e.MessageID, e.Destination}
				if at, ok := first[to]; !ok || e.Time.Before(at) {
					first[to] = e.Time
				}
			}
		}
		if yes && inside(e.Time) {
			count[e.Time.Truncate(24*time.Hour)]++
		}
	}
	for _, at := range first {
		if inside(at) {
			count[at.Truncate(24*time.Hour)]++
		}
	}
	for at, n := range count {
		days = append(days, Day{at, n})
	}
	slices.SortFunc(days, func(a, b Day) int { return a.Start.Compare(b.Start) })
	return days
}
