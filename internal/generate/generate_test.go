package generate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"sesame/internal/events"
)

var src = events.Source{Account: "000000000000", Region: "us-east-1"}

// options are for a year.
func options(records int64) Options {
	return Options{
		Seed: 1, Records: records, Account: src.Account, Region: src.Region,
		From: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

// each makes all records and gives them to do.
func each(t testing.TB, g *Generator, do func(record []byte)) {
	t.Helper()
	for {
		record, err := g.Next(nil)
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		do(record)
	}
}

func mustNew(t testing.TB, o Options) *Generator {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// The same options give the same records, another seed or span gives others.
func TestSame(t *testing.T) {
	digest := func(o Options) string {
		h := sha256.New()
		each(t, mustNew(t, o), func(r []byte) { h.Write(append(r, '\n')) })
		return hex.EncodeToString(h.Sum(nil))
	}
	first, other, later := options(5000), options(5000), options(5000)
	other.Seed = 2
	later.From = later.From.Add(time.Hour)
	a := digest(first)
	if b := digest(first); a != b {
		t.Error("the same options give other records")
	}
	for name, o := range map[string]Options{"seed": other, "span": later} {
		if digest(o) == a {
			t.Errorf("another %s gives the same records", name)
		}
	}
}

// What the records say of themselves is so: there are as many as were asked for,
// they decode, they are in order but for those that are late, what happens does so
// within the span and after the sending, and those that come twice are counted.
func TestRecords(t *testing.T) {
	const records = 10_000
	o := options(records)
	g := mustNew(t, o)
	keys, messages := map[uint64][]byte{}, map[string]bool{}
	var n, twice, outOfOrder, size int64
	var newest time.Time
	isps := map[string]bool{}
	each(t, g, func(record []byte) {
		n++
		size += int64(len(record))
		if !json.Valid(record) || bytes.ContainsAny(record, "\n\r") {
			t.Fatalf("it is not a line of JSON: %s", record)
		}
		if at := bytes.IndexByte(record, '%'); at >= 0 && !bytes.Contains(record, []byte("% off")) {
			t.Fatalf("a template is not filled in at byte %d: %s", at, record)
		}
		found, err := events.Decode(src, record)
		if err != nil || len(found) == 0 {
			t.Fatalf("it has %d events, %v: %s", len(found), err, record)
		}
		again := 0
		for i := range found {
			e := &found[i]
			messages[e.MessageID] = true
			isps[e.ISP] = true
			if got := events.MessageNumber(e.MessageID); got != e.Sent.UnixMilli() {
				t.Errorf("the message %s was sent at %d", e.MessageID, e.Sent.UnixMilli())
			}
			if e.Sent.Before(o.From) || e.Time.Before(e.Sent) || !e.Time.Before(o.To) {
				t.Errorf("it was sent at %v and happened at %v", e.Sent, e.Time)
			}
			if e.ConfigurationSet == "" || e.Identity == "" || e.From == "" || e.Tags == "" || e.Destination == "" {
				t.Errorf("something is missing: %+v", e)
			}
			if before, ok := keys[e.Key()]; !ok {
				keys[e.Key()] = record
			} else if again++; !bytes.Equal(before, record) {
				t.Errorf("two events have one key:\n%s\n%s", before, record)
			}
		}
		if again == len(found) {
			twice++
		}
		if found[0].Time.Before(newest) {
			outOfOrder++
		} else {
			newest = found[0].Time
		}
	})
	if n != records || g.Counts.Records != records || int64(len(messages)) != g.Messages {
		t.Errorf("%d records of %d messages came, and %+v were counted", n, len(messages), g.Counts)
	}
	if twice != g.Duplicates || twice < records/500 || twice > records/125 {
		t.Errorf("%d came twice, and %d were counted", twice, g.Duplicates)
	}
	if outOfOrder > g.Late || outOfOrder < records/800 || g.Late > records/40 {
		t.Errorf("%d are out of order, and %d were counted as late", outOfOrder, g.Late)
	}
	for _, p := range providers {
		if !isps[p.name] {
			t.Errorf("nobody is with %s: its domains are not those of package events", p.name)
		}
	}
	if len(isps) != len(providers) {
		t.Errorf("there are people with others than the profile's providers: %v", isps)
	}
	if each := size / n; each < 1400 || each > 1700 {
		t.Errorf("a record has %d bytes on average", each)
	}
}

// Each provider and sender behaves as profile.go says.
func TestRates(t *testing.T) {
	g := mustNew(t, options(200_000))
	g.people = 1e9 // so that who gets much mail does not weigh much
	type tally struct{ sent, gone, delivered, delayed, opened, clicked, complained, tracked float64 }
	byProvider, bySender := map[*provider]*tally{}, map[int]*tally{}
	var all, night, weekend float64
	for {
		d, ok := g.take()
		if !ok {
			break
		}
		sent := d.at - int64(d.late) - int64(d.lag)
		m := g.make(d.number, sent)
		if d.second || m.simulator != "" || len(m.to) > 1 {
			continue
		}
		p, s := m.to[0].provider, &senders[m.sender]
		if byProvider[p] == nil {
			byProvider[p] = &tally{}
		}
		if bySender[m.sender] == nil {
			bySender[m.sender] = &tally{}
		}
		for _, c := range []*tally{byProvider[p], bySender[m.sender]} {
			switch {
			case d.kind == sending:
				c.sent++
			case d.kind == delivery && s.tracked:
				c.tracked++
				c.delivered++
			case d.kind == delivery:
				c.delivered++
			case d.kind == complaint:
				c.complained++
			case d.kind == delay && d.which == 0:
				c.delayed++
			case d.kind == bounce && (d.which == gone || d.which == onAccount):
				c.gone++
			case d.kind == open && d.which == 0:
				c.opened++
			case d.kind == click && d.which == 0: // no scanner's
				c.clicked++
			}
		}
		if at := time.UnixMilli(sent).UTC(); d.kind == sending {
			all++
			if at.Hour() < 6 {
				night++
			}
			if at.Weekday() == time.Sunday || at.Weekday() == time.Saturday {
				weekend++
			}
		}
	}
	near := func(what string, got, want, within float64) {
		t.Helper()
		if math.Abs(got-want) > within*want {
			t.Errorf("%s: %.5f, and by the profile about %.5f", what, got, want)
		}
	}
	mean := func(of func(s *sender) float64) float64 { // of tracked mail
		sum, share := 0.0, 0.0
		for i := range senders {
			if s := &senders[i]; s.tracked {
				sum, share = sum+of(s)*float64(s.share), share+float64(s.share)
			}
		}
		return sum / share
	}
	for i := range providers {
		p := &providers[i]
		c := byProvider[p]
		near(p.name+", share", c.sent/all, float64(p.share)/1000, 0.15)
		if p.complain == 0 && c.complained > 0 {
			t.Errorf("%s complains", p.name)
		}
		if p.share < 80 {
			continue // too few to say
		}
		near(p.name+", nobody there", c.gone/c.sent, p.dead, 0.35)
		near(p.name+", delays", c.delayed/c.sent, p.delayed, 0.35)
		near(p.name+", opens", c.opened/c.tracked, p.open*mean(func(s *sender) float64 { return s.open }), 0.3)
		near(p.name+", clicks", c.clicked/c.tracked, p.click*mean(func(s *sender) float64 { return s.click }), 0.35)
	}
	for i, s := range senders {
		c := bySender[i]
		near(s.kind+", share", c.sent/all, float64(s.share)/1000, 0.05)
		if s.tracked != (c.opened > 0) || s.tracked != (c.clicked > 0) {
			t.Errorf("%s: tracked is %v, and there were %.0f opens and %.0f clicks", s.kind, s.tracked, c.opened, c.clicked)
		}
	}
	nightWeight, dayWeight := 0.0, 0.0
	for i, w := range hours {
		if dayWeight += w; i < 6 {
			nightWeight += w
		}
	}
	near("sent at night", night/all, nightWeight/dayWeight, 0.05)
	near("sent at weekends", weekend/all, (days[0]+days[6])/(days[0]+days[1]+days[2]+days[3]+days[4]+days[5]+days[6]), 0.05)
}

// Records come in order, and however much mail there is in a short time, what waits
// has its bound and the records are as many.
func TestBound(t *testing.T) {
	for _, most := range []int{500, mostWaiting} {
		o := options(40_000)
		o.To = o.From.AddDate(0, 0, 10)
		g := mustNew(t, o)
		g.most = most
		waited, before, n := 0, int64(0), 0
		for {
			d, ok := g.take()
			if !ok {
				break
			}
			if n++; d.at < before {
				t.Fatal("a record comes before one that is earlier")
			}
			before = d.at
			waited = max(waited, len(g.waiting))
		}
		if n != 40_000 || waited > 12_000 || most == 500 && (waited > 520 || waited < 250) {
			t.Errorf("up to %d waited for their time, where %d may, and %d records came", waited, most, n)
		}
	}
}

// Memory does not grow with the number of records that are made.
func TestMemory(t *testing.T) {
	g := mustNew(t, options(30_000_000))
	var buf []byte
	next := func(n int) (heap uint64) {
		for range n {
			var err error
			if buf, err = g.Next(buf[:0]); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	early := next(20_000)
	if late := next(40_000); late > early+1<<20 {
		t.Errorf("%d bytes after 20,000 records, %d after 60,000", early, late)
	}
}

func TestRefuses(t *testing.T) {
	for want, change := range map[string]func(o *Options){
		"at least one record": func(o *Options) { o.Records = 0 },
		"an hour at least":    func(o *Options) { o.To = o.From.Add(time.Minute) },
		"between the years":   func(o *Options) { o.From = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a millisecond":       func(o *Options) { o.Records = 1e15 },
	} {
		o := options(10)
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want that it says %q", err, want)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	g := mustNew(b, options(30_000_000))
	var buf []byte
	size := 0
	for b.Loop() {
		buf, _ = g.Next(buf[:0])
		size += len(buf)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(size)/float64(b.N), "bytes/record")
}
