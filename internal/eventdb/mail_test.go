package eventdb

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"sesame/internal/events"
)

// recipients gives what Recipients does, to keep.
func recipients(t *testing.T, d *DuckDB, src events.Source, q Mail) (all []Recipient) {
	t.Helper()
	err := d.Recipients(t.Context(), src, q, func(r *Recipient) error {
		kept := *r // the text is not there to stay
		for _, text := range []*string{&kept.MessageID, &kept.Destination, &kept.From, &kept.Subject, &kept.ConfigurationSet, &kept.Identity, &kept.ISP, &kept.Tags, &kept.BounceType, &kept.SubType, &kept.Diagnostic} {
			*text = strings.Clone(*text)
		}
		all = append(all, kept)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Whether the store is told what is wanted or everything is looked at: the same mail
// is found, and the same is known of it, also when SES leaves out with some events
// what it says with others.
func TestOnly(t *testing.T) {
	d := openAt(t, filepath.Join(t.TempDir(), "events"))
	defer closeIt(t, d)
	r := rand.New(rand.NewPCG(3, 9))
	n := 6000
	if testing.Short() {
		n = 1500
	}
	_, all := drawn(r, n)
	one := func(like []Pattern, s string) bool {
		return len(like) == 0 || slices.ContainsFunc(like, func(p Pattern) bool { return p.Match(s) })
	}
	for _, silent := range []bool{false, true} {
		if silent {
			for i := range all {
				if r.IntN(2) == 0 {
					all[i].Subject = ""
				}
				all[i].MessageID += "x"
			}
		}
		if _, err := d.Append(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, d.slice = range []int64{300, 100_000} {
			q := Mail{From: start.AddDate(-1, 0, 0), To: start.AddDate(1, 0, 0), More: true}
			var there, examined int64
			q.Read = func(_ time.Time, n int64) { there += n }
			everything := recipients(t, d, source, q)
			for _, only := range []Only{
				{Subject: []Pattern{{Text: "News"}}}, {Subject: []Pattern{{Text: "enough", Before: true}}}, {Subject: []Pattern{{Text: "Ne", After: true}, {Text: "zzz"}}},
				{Subject: []Pattern{{Text: "su", Before: true, After: true}}, ISP: []Pattern{{Text: "Gmail"}}}, {ISP: []Pattern{{Text: "Gmail"}, {Text: "Yahoo"}}},
				{From: []Pattern{{Text: "news", After: true}}}, {Destination: []Pattern{{Text: "to-1@x.example"}}}, {Subject: []Pattern{{Text: ""}, {Text: "News"}}, Destination: []Pattern{{Text: "to-1", After: true}}},
			} {
				others := func(x Recipient) bool {
					return !one(only.Subject, x.Subject) || !one(only.From, x.From) || !one(only.ISP, x.ISP) || !one(only.Destination, x.Destination)
				}
				examined = 0
				q.Only, q.Read = only, func(_ time.Time, n int64) { examined += n }
				want, got := slices.DeleteFunc(slices.Clone(everything), others), slices.DeleteFunc(recipients(t, d, source, q), others)
				if x := diff.Diff(want, got); x != "" || examined != there {
					t.Errorf("silent %v, %+v: %d events were examined of %d, and it differs:\n%.2000s", silent, only, examined, there, x)
				}
				found += len(want)
			}
		}
		if found == 0 {
			t.Error("nothing was found, so this test shows nothing")
		}
	}
}

// Mail that is seldom sent is read in few slices, and so is a burst of it.
func TestFewSlices(t *testing.T) {
	d := openAt(t, filepath.Join(t.TempDir(), "events"))
	defer closeIt(t, d)
	d.slice = 1000
	other := events.Source{Account: "444455556666", Region: source.Region}
	var all []events.Event
	for i := range 1000 { // a mail a day
		all = append(all, event(i, events.Delivery, start.AddDate(0, 0, i), nil))
	}
	for i := range 20_000 { // in one second, after a year without
		all = append(all, event(10_000+i, events.Delivery, start.AddDate(1, 0, 0).Add(time.Duration(i)*50*time.Microsecond).Truncate(time.Millisecond), func(e *events.Event) { e.Source = other }))
	}
	all = append(all, event(50_000, events.Delivery, start, func(e *events.Event) { e.Source = other }))
	if _, err := d.Append(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		of          events.Source
		mails, most int
	}{{source, 1000, 30}, {other, 20_001, 100}} {
		slices := 0
		q := Mail{From: start.AddDate(-1, 0, 0), To: start.AddDate(9, 0, 0), Read: func(time.Time, int64) { slices++ }}
		if got := len(recipients(t, d, c.of, q)); got != c.mails || slices > c.most {
			t.Errorf("of %s: %d recipients in %d slices, want %d in at most %d", c.of.Account, got, slices, c.mails, c.most)
		}
		n := 0
		if err := d.Events(t.Context(), c.of, q, func(*events.Event) error { n++; return nil }); err != nil || n != c.mails {
			t.Errorf("of %s: %d events, %v", c.of.Account, n, err)
		}
	}
}
