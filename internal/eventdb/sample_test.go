package eventdb

import (
	"fmt"
	"math/rand/v2"
	"time"

	"sesame/internal/events"
)

// sample makes events such as SES publishes, for measuring: of one message after
// the other, SEND and what follows on it, each when it happens. Opens and clicks
// come up to three weeks later.
type sample struct {
	rnd     *rand.Rand
	now     time.Time
	step    time.Duration // between messages
	later   laterHeap
	ids     []string // of messages, the last ones
	keepIDs int
}

func newSample(seed uint64, from time.Time, step time.Duration) *sample {
	return &sample{rnd: rand.New(rand.NewPCG(seed, seed)), now: from, step: step}
}

var (
	sampleDomains = []string{"gmail.com", "gmail.com", "gmail.com", "gmail.com", "yahoo.com", "outlook.com", "hotmail.com", "icloud.com", "gmx.de", "web.de", "aol.com", "example.org", "some-company.example", "another.example"}
	sampleISPs    = []string{"Gmail", "Gmail", "Gmail", "Gmail", "Yahoo", "Outlook", "Outlook", "Apple", "GMX", "WebDe", "AOL", events.UnknownISP, events.UnknownISP, events.UnknownISP}
	sampleAgents  = []string{
		"Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/123.0.0.0 Safari/537.36",
		"Mozilla/5.0",
	}
)

func (s *sample) hex(n int) string {
	const digits = "0123456789abcdef"
	b := make([]byte, n)
	for i := range b {
		b[i] = digits[s.rnd.IntN(16)]
	}
	return string(b)
}

// message gives a new message's first event and keeps the others for later.
func (s *sample) message() events.Event {
	r := s.rnd
	s.now = s.now.Add(s.step).Truncate(time.Millisecond)
	d := r.IntN(len(sampleDomains))
	brand := r.IntN(5)
	campaign := r.IntN(40) + int(s.now.Unix()/86400)*5
	e := events.Event{
		Source:      events.Source{Account: "111122223333", Region: "us-east-1"},
		MessageID:   fmt.Sprintf("0100%012x-%s-%s-%s-%s-%s-000000", s.now.UnixMilli(), s.hex(8), s.hex(4), s.hex(4), s.hex(4), s.hex(12)),
		Destination: fmt.Sprintf("%s.%s%d@%s", []string{"anna", "john", "maria", "li", "omar", "kate"}[r.IntN(6)], []string{"smith", "mueller", "rossi", "wang", "silva"}[r.IntN(5)], r.IntN(400_000), sampleDomains[d]),
		Type:        events.Send, Time: s.now, Sent: s.now,
		From:    fmt.Sprintf("news@brand%d.example.com", brand),
		Subject: fmt.Sprintf("Offer %d of the week: save now", campaign), ConfigurationSet: fmt.Sprintf("brand-%d", brand),
		Identity: fmt.Sprintf("brand%d.example.com", brand), ISP: sampleISPs[d],
	}
	e.Tags = fmt.Sprintf(`{"campaign":["c%d"],"ses:caller-identity":["mailer"],"ses:configuration-set":["brand-%d"],"ses:from-domain":["brand%d.example.com"],"ses:outgoing-ip":["54.240.11.%d"],"ses:source-ip":["10.0.%d.%d"],"ses:source-tls-version":["TLSv1.3"]}`,
		campaign, brand, brand, r.IntN(200), brand, r.IntN(8))
	after := func(base, spread time.Duration) time.Time {
		return s.now.Add(base + time.Duration(r.Int64N(int64(spread)))).Truncate(time.Millisecond)
	}
	put := func(t events.Type, at time.Time, more func(*events.Event)) {
		f := e
		f.Type, f.Time = t, at
		more(&f)
		s.later.push(f)
	}
	switch p := r.IntN(1000); {
	case p < 20:
		put(events.Bounce, after(time.Second, 5*time.Second), func(f *events.Event) {
			f.BounceType, f.SubType = "PERMANENT", "General"
			f.Diagnostic = "smtp; 550 5.1.1 The email account that you tried to reach does not exist. " + s.hex(16) + " - gsmtp"
			f.FeedbackID = "0100" + s.hex(12) + "-" + s.hex(32) + "-000000"
			f.Details = `{"bounce":{"reportingMTA":"dns; a8-50.smtp-out.amazonses.com"},"recipient":{"action":"failed","status":"5.1.1"}}`
		})
		return e
	case p < 40:
		put(events.DeliveryDelay, after(time.Minute, 10*time.Minute), func(f *events.Event) {
			f.DelayType, f.Diagnostic = "MailboxFull", "smtp; 452 4.2.2 The email account that you tried to reach is over quota."
		})
	}
	delivered := after(500*time.Millisecond, 4*time.Second)
	put(events.Delivery, delivered, func(f *events.Event) {
		f.Details = fmt.Sprintf(`{"delivery":{"processingTimeMillis":%d,"smtpResponse":"250 2.0.0 OK  %d %s.%d - gsmtp","reportingMTA":"a8-%d.smtp-out.amazonses.com","remoteMtaIp":"142.250.%d.%d"}}`,
			delivered.Sub(s.now).Milliseconds(), delivered.Unix(), s.hex(20), r.IntN(1000), r.IntN(200), r.IntN(8), r.IntN(256))
	})
	if r.IntN(1000) == 0 {
		put(events.Complaint, after(time.Hour, 48*time.Hour), func(f *events.Event) { f.FeedbackType = "abuse" })
	}
	if r.IntN(100) < 35 {
		for range 1 + r.IntN(2) {
			f := r.Float64()
			opened := s.now.Add(time.Minute + time.Duration(f*f*f*f*21*24*float64(time.Hour))).Truncate(time.Millisecond)
			agent, ip := sampleAgents[r.IntN(len(sampleAgents))], fmt.Sprintf("66.249.%d.%d", r.IntN(256), r.IntN(256))
			put(events.Open, opened, func(f *events.Event) {
				f.UserAgent, f.IP, f.Details = agent, ip, `{"open":{"isBotEvent":"Unlikely"}}`
			})
			if r.IntN(7) == 0 {
				put(events.Click, opened.Add(10*time.Second), func(f *events.Event) {
					f.UserAgent, f.IP = agent, ip
					f.Link = fmt.Sprintf("https://shop%d.example.com/p/%d?utm_campaign=c%d", brand, r.IntN(500), campaign)
				})
			}
		}
	}
	return e
}

// next gives the next event in order of time.
func (s *sample) next() events.Event {
	if len(s.later) > 0 && s.later[0].Time.Before(s.now.Add(s.step)) {
		return s.later.pop()
	}
	e := s.message()
	if s.keepIDs > 0 {
		if len(s.ids) < s.keepIDs {
			s.ids = append(s.ids, e.MessageID)
		} else if s.rnd.IntN(100) == 0 {
			s.ids[s.rnd.IntN(s.keepIDs)] = e.MessageID
		}
	}
	return e
}

func (s *sample) batch(n int) []events.Event {
	all := make([]events.Event, n)
	for i := range all {
		all[i] = s.next()
	}
	return all
}

// laterHeap is a heap by time.
type laterHeap []events.Event

func (h *laterHeap) push(e events.Event) {
	*h = append(*h, e)
	a := *h
	for i := len(a) - 1; i > 0; {
		up := (i - 1) / 2
		if !a[i].Time.Before(a[up].Time) {
			break
		}
		a[i], a[up] = a[up], a[i]
		i = up
	}
}

func (h *laterHeap) pop() events.Event {
	a := *h
	first := a[0]
	a[0] = a[len(a)-1]
	a[len(a)-1] = events.Event{}
	a = a[:len(a)-1]
	*h = a
	for i := 0; ; {
		down := 2*i + 1
		if down >= len(a) {
			break
		}
		if down+1 < len(a) && a[down+1].Time.Before(a[down].Time) {
			down++
		}
		if !a[down].Time.Before(a[i].Time) {
			break
		}
		a[i], a[down] = a[down], a[i]
		i = down
	}
	return first
}
