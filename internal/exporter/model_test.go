package exporter_test

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"sesame/internal/events"
	"sesame/internal/exporter"
)

// drawn draws mail and orders.
type drawn struct{ *rand.Rand }

func (r drawn) pick(from ...string) string { return from[r.IntN(len(from))] }

// mail draws events. When alike is false, no two of a message and recipient have the
// same time and type.
func (r drawn) mail(messages int, alike bool) (all []events.Event) {
	subjects := []string{"", "News", "news", "10 * 10", `back\slash`, "*", "Old News today", "New"}
	seen := map[any]bool{}
	for i := range messages {
		sent := start.Add(time.Duration(r.IntN(20*24*3600*1000)) * time.Millisecond)
		id := fmt.Sprintf("0100%012x-%08x-8143-88ef-e4df-45666f13587d-000000", sent.UnixMilli(), i)
		subject, from := r.pick(subjects...), r.pick("news@example.com", "News@example.com", "shop@shop.example")
		set, tags := r.pick("", "main", "bills"), r.pick("", `{"colour":["red","bl\u00fce"],"n":["1"]}`, `{"colour":["red"]}`, `{"n":["2"]}`)
		for to := range 1 + r.IntN(3)*r.IntN(2) {
			for range 1 + r.IntN(6) {
				kind := events.Type(r.pick("SEND", "SEND", "DELIVERY", "BOUNCE", "COMPLAINT", "OPEN", "OPEN", "CLICK", "DELIVERY_DELAY", "REJECT", "SOMETHING_NEW"))
				e := event(id, fmt.Sprintf("to-%d@gmail.com", to), kind, sent, time.Duration(r.IntN(5))*time.Hour*24+time.Duration(r.IntN(3))*time.Millisecond, nil)
				e.Subject, e.From, e.ISP = subject, from, []string{"Gmail", "Yahoo", "Apple"}[to]
				if e.ConfigurationSet, e.Identity, e.Tags = set, "", tags; set != "" {
					e.Identity = from
				}
				switch kind {
				case events.Bounce:
					e.BounceType, e.SubType, e.Diagnostic = r.pick("PERMANENT", "TRANSIENT", "UNDETERMINED"), r.pick("General", "MailboxFull"), r.pick("", "550 no")
				case events.Complaint:
					e.SubType = r.pick("", "General")
				case events.DeliveryDelay:
					e.Diagnostic = r.pick("", "452 later")
				}
				key := any(e.Key())
				if !alike {
					key = [3]any{e.MessageID + e.Destination, e.Time, e.Type}
				}
				if !seen[key] {
					seen[key] = true
					all = append(all, e)
				}
			}
		}
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// filters draws filters of some of those kinds.
func (r drawn) filters(kinds ...string) exporter.Filters {
	values := map[string][]string{
		"from": {"news@example.com", "*example.com", "*@example.*", "News*", "nobody@example.com"}, "to": {"to-1@gmail.com", "to-*", "*"},
		"subject": {"News", "News*", "*News", "*News*", `\*`, `10 \* 10`, `*\\*`, "**", "new", `back\slash`, "Old*today"},
		"isp":     {"Gmail", "Yahoo", "gmail"},
		"last":    {"SEND", "DELIVERY", "TRANSIENT_BOUNCE", "PERMANENT_BOUNCE", "UNDETERMINED_BOUNCE", "COMPLAINT"}, "engaged": {"OPEN", "CLICK"},
		"type": {"SEND", "BOUNCE", "COMPLAINT", "DELIVERY_DELAY", "SOMETHING_NEW", "send"}, "set": {"main", "bills", "MAIN"}, "identity": {"news@example.com", "shop@shop.example", "*"},
		"sub": {"GENERAL", "MAILBOX_FULL", "MailboxFull"}, "diagnostic": {"550 no", "*no", "452*", "*"},
	}
	some := func(of string) (chosen []string) {
		if !slices.Contains(kinds, of) || r.IntN(5) > 0 {
			return nil
		}
		for range 1 + r.IntN(2) {
			chosen = append(chosen, r.pick(values[of]...))
		}
		return chosen
	}
	f := exporter.Filters{
		From: some("from"), Destination: some("to"), Subject: some("subject"), ISP: some("isp"), LastDelivery: some("last"), LastEngagement: some("engaged"),
		EventType: some("type"), ConfigurationSet: some("set"), Identity: some("identity"), BounceSubType: some("sub"), Diagnostic: some("diagnostic"),
	}
	if r.IntN(5) == 0 {
		f.Tags = map[string][]string{"colour": {r.pick("red", "blü*", "*e*", "green"), r.pick("red", "blue")}}
		if r.IntN(2) == 0 {
			f.Tags["n"] = []string{r.pick("1", "2", "*")}
		}
	}
	return f
}

// span draws a time.
func (r drawn) span(all []events.Event) (from, to time.Time) {
	if r.IntN(4) == 0 { // the end is one of the message's times
		to = all[r.IntN(len(all))].Sent
		return to.AddDate(0, 0, -3), to
	}
	from = start.Add(time.Duration(r.IntN(15*24)) * time.Hour)
	return from, from.Add(time.Duration(1+r.IntN(10*24*3600*1000)) * time.Millisecond)
}

// orders has 150 orders drawn and done, and compares their rows with those that
// plainly computes.
func orders(t *testing.T, w *world, r drawn, all []events.Event, order func() exporter.Order, plainly func([]events.Event, exporter.Mail) [][]string) {
	t.Helper()
	matched := 0
	for range 150 {
		o := order()
		q := o.Insights
		if q == nil {
			q = o.Events
		}
		q.Start, q.End = r.span(all)
		q.MaxResults = r.Int64N(1500) // 0 for all
		want := plainly(all, *q)
		_, got := w.export(o)
		rows, err := csv.NewReader(strings.NewReader(got)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if d := diff.Diff(want, rows[1:], diff.Transformer("", func(rows [][]string) []string {
			var lines []string
			for _, row := range rows {
				lines = append(lines, strings.Join(row, "|"))
			}
			return lines
		})); d != "" {
			t.Fatalf("%+v:\n%s", *q, d)
		}
		matched += len(want)
	}
	t.Logf("%d events, %d rows matched", len(all), matched)
	if matched < 1000 {
		t.Error("hardly a row matched")
	}
}

func (r drawn) most() int {
	if testing.Short() {
		return 500
	}
	return 3000
}

// Random mail and random filters: the rows are those of a plain computation by the
// page's rules.
func TestInsightsModel(t *testing.T) {
	w, r := newWorld(t), drawn{rand.New(rand.NewPCG(6, 6))}
	all := r.mail(r.most(), true)
	w.append(all...)
	kinds := []string{"from", "to", "subject", "isp", "last", "engaged", "set", "identity", "sub", "diagnostic"}
	orders(t, w, r, all, func() exporter.Order {
		o := insights(exporter.CSV)
		if o.Insights.Include = r.filters(kinds...); r.IntN(2) == 0 {
			o.Insights.Exclude = r.filters(kinds...)
		}
		return o
	}, plainInsights)
}

// The same of events.
func TestEventsModel(t *testing.T) {
	w, r := newWorld(t), drawn{rand.New(rand.NewPCG(8, 8))}
	all := r.mail(r.most()/2, false)
	w.append(all...)
	slices.SortFunc(all, func(a, b events.Event) int {
		return cmp.Or(b.Sent.Compare(a.Sent), strings.Compare(a.MessageID, b.MessageID), strings.Compare(a.Destination, b.Destination), a.Time.Compare(b.Time),
			strings.Compare(string(a.Type), string(b.Type)))
	})
	kinds := []string{"from", "to", "subject", "isp", "type", "set", "identity", "sub", "diagnostic"}
	orders(t, w, r, all, func() exporter.Order {
		o := timeline(exporter.CSV, "messageid", "sendtimestamp", "destination", "event_type", "event_timestamp", "subject", "bounce_type", "bounce_sub_type", "diagnostic_code", "identity", "tag:colour")
		if o.Events.Include = r.filters(kinds...); r.IntN(2) == 0 {
			o.Events.Exclude = r.filters(kinds...)
		}
		return o
	}, plainEvents)
}

// plainInsights is what the page says, in plain Go.
func plainInsights(all []events.Event, q exporter.Mail) (rows [][]string) {
	type recipient struct{ id, to string }
	of := map[recipient][]events.Event{}
	for _, e := range all {
		if !e.Sent.Before(q.Start) && !e.Sent.After(q.End) {
			of[recipient{e.MessageID, e.Destination}] = append(of[recipient{e.MessageID, e.Destination}], e)
		}
	}
	keys := slices.SortedFunc(maps.Keys(of), func(a, b recipient) int {
		return cmp.Or(of[b][0].Sent.Compare(of[a][0].Sent), strings.Compare(a.id, b.id), strings.Compare(a.to, b.to))
	})
	for _, key := range keys {
		var delivery, engagement events.Event
		last, lastRank := "", -1
		for _, e := range of[key] {
			name := string(e.Type)
			if e.Type == events.Bounce {
				name = e.BounceType + "_BOUNCE"
			}
			rank := slices.Index([]events.Type{events.Send, events.Bounce, events.Delivery, events.Complaint}, e.Type)
			if rank >= 0 && (rank > lastRank || rank == lastRank && (e.Time.After(delivery.Time) ||
				e.Time.Equal(delivery.Time) && e.BounceType+e.SubType+e.Diagnostic >= delivery.BounceType+delivery.SubType+delivery.Diagnostic)) {
				last, lastRank, delivery = name, rank, e
			}
			if e.Type == events.Click && (engagement.Type != events.Click || e.Time.After(engagement.Time)) ||
				e.Type == events.Open && (engagement.Type == "" || engagement.Type == events.Open && e.Time.After(engagement.Time)) {
				engagement = e
			}
		}
		first := of[key][0]
		subType := map[string]string{"General": "GENERAL", "MailboxFull": "MAILBOX_FULL"}[delivery.SubType]
		if delivery.Type != events.Bounce {
			subType, delivery.Diagnostic = "", ""
		}
		if !lets(q, map[string]string{
			"from": first.From, "to": key.to, "subject": first.Subject, "isp": first.ISP, "last": last, "engaged": string(engagement.Type), "set": first.ConfigurationSet,
			"identity": first.Identity, "sub": subType, "diagnostic": delivery.Diagnostic, "tags": first.Tags,
		}) {
			continue
		}
		rows = append(rows, []string{key.id, stamp(first.Sent), first.ISP, first.From, key.to, first.Subject, last, string(engagement.Type),
			stamp(delivery.Time), stamp(engagement.Time), subType, delivery.Diagnostic, ""})
		if int64(len(rows)) == q.MaxResults {
			break
		}
	}
	return rows
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format("2006-01-02 15:04:05.000 UTC")
}

// lets says whether the filters let through what has those values.
func lets(q exporter.Mail, has map[string]string) bool {
	wild := func(pattern, s string) bool {
		const star, back = "\x01", "\x02"
		pattern = strings.NewReplacer(`\\`, back, `\*`, star).Replace(pattern)
		plain := func(s string) string { return strings.NewReplacer(back, `\`, star, "*").Replace(s) }
		before, hasBefore := strings.CutPrefix(pattern, "*")
		inner, hasAfter := strings.CutSuffix(before, "*")
		if !hasBefore {
			inner, hasAfter = strings.CutSuffix(pattern, "*")
		}
		text := plain(inner)
		return hasBefore && hasAfter && strings.Contains(s, text) || hasBefore && !hasAfter && strings.HasSuffix(s, text) ||
			!hasBefore && hasAfter && strings.HasPrefix(s, text) || !hasBefore && !hasAfter && s == text
	}
	meets := func(f exporter.Filters) bool {
		any := func(patterns []string, s string) bool {
			return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return wild(p, s) })
		}
		in := func(values []string, s string) bool { return len(values) == 0 || slices.Contains(values, s) }
		var tags map[string][]string
		if has["tags"] != "" {
			if err := json.Unmarshal([]byte(has["tags"]), &tags); err != nil {
				panic(err)
			}
		}
		for name, patterns := range f.Tags {
			if !slices.ContainsFunc(tags[name], func(s string) bool { return any(patterns, s) }) {
				return false
			}
		}
		return any(f.From, has["from"]) && any(f.Destination, has["to"]) && any(f.Subject, has["subject"]) && any(f.Diagnostic, has["diagnostic"]) &&
			in(f.ISP, has["isp"]) && in(f.LastDelivery, has["last"]) && in(f.LastEngagement, has["engaged"]) && in(f.EventType, has["type"]) &&
			in(f.ConfigurationSet, has["set"]) && in(f.Identity, has["identity"]) && in(f.BounceSubType, has["sub"])
	}
	empty := diff.Equal(q.Exclude, exporter.Filters{})
	return meets(q.Include) && (empty || !meets(q.Exclude))
}

// plainEvents is which of events in order there are, in plain Go.
func plainEvents(sorted []events.Event, q exporter.Mail) (rows [][]string) {
	for i := range sorted {
		e := &sorted[i]
		subType := ""
		if e.Type == events.Bounce {
			subType = map[string]string{"General": "GENERAL", "MailboxFull": "MAILBOX_FULL"}[e.SubType]
		}
		if e.Sent.Before(q.Start) || e.Sent.After(q.End) || !lets(q, map[string]string{
			"from": e.From, "to": e.Destination, "subject": e.Subject, "isp": e.ISP, "type": string(e.Type), "set": e.ConfigurationSet,
			"identity": e.Identity, "sub": subType, "diagnostic": e.Diagnostic, "tags": e.Tags,
		}) {
			continue
		}
		colours := map[bool]string{true: "red"}[strings.Contains(e.Tags, `"red"`)]
		if strings.Contains(e.Tags, "fc") {
			colours += ",blüe"
		}
		rows = append(rows, []string{e.MessageID, stamp(e.Sent), e.Destination, string(e.Type), stamp(e.Time), e.Subject, e.BounceType, subType, e.Diagnostic, e.Identity, colours, ""})
		if int64(len(rows)) == q.MaxResults {
			break
		}
	}
	return rows
}
