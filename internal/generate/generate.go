// Package generate makes up email events: a sender's mail over a span of time, and
// what becomes of it, as the records that SES publishes.
//
// It promises the same records for the same options, in fixed memory however many
// there are, in the order in which SES would publish them: that of time, but for
// some that come late and some that come twice.
//
// It knows neither HTTP nor SQL.
package generate

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Options are what New makes a Generator of.
type Options struct {
	Seed    uint64
	Records int64 // how many, with those that come twice
	// From and To are the span: mail is sent and things happen from From on and
	// before To. A record that comes late may come after To.
	From, To time.Time
	Account  string // 12 digits
	Region   string // "us-east-1"
}

// Counts are of the records that Next has given, and of the messages that they are
// about.
type Counts struct {
	Messages, Records int64
	Duplicates        int64 // of the records, those that were given before
	Late              int64 // of the records, those that had waited since they happened
}

// Generator makes records. Only one goroutine may use it.
type Generator struct {
	Options
	Counts

	pcg    rand.PCG
	random *rand.Rand // over pcg, which is seeded anew for each thing that is drawn

	from, to int64 // milliseconds since 1970, as all times here
	people   float64
	waiting  queue
	most     int     // how many may wait
	haste    float64 // 1, or less when many wait: how much of its time each thing takes
	planned  int64   // records that were given or wait

	next   int64   // when the next message is sent
	total  float64 // what the hours of the span weigh
	hour   int64   // the first millisecond of the hour that next is in, or From
	before float64 // what the hours before that weigh

	message message // that is being planned or written
	record  record
	dates   [2]date // of the message, of what happened
}

// mostWaiting is how many records wait for their time at most, 32 bytes each. A
// year of thirty million records has under a hundred thousand. Where there would be
// more, everything takes less time.
const mostWaiting = 1 << 20

// New makes a generator. The error says what of the options cannot be.
func New(o Options) (*Generator, error) {
	g := &Generator{Options: o, from: o.From.UnixMilli(), to: o.To.UnixMilli(), most: mostWaiting, haste: 1}
	switch {
	case o.Records < 1:
		return nil, errors.New("there must be at least one record")
	case o.From.Year() < 2010 || o.To.Year() > 2099:
		return nil, errors.New("the span must lie between the years 2010 and 2099")
	case g.to-g.from < time.Hour.Milliseconds():
		return nil, errors.New("the span must be an hour at least")
	case o.Records/100 > g.to-g.from:
		return nil, fmt.Errorf("%d records are more than 100 a millisecond of the span", o.Records)
	}
	g.random = rand.New(&g.pcg)
	g.people = max(1000, float64(o.Records)/40)
	for at := g.from; at < g.to; at = nextHour(at) {
		g.total += g.weight(at)
	}
	g.hour, g.next = g.from, g.from
	return g, nil
}

// Next appends the next record to buf, without a line feed. The error is io.EOF
// when there are no more.
func (g *Generator) Next(buf []byte) ([]byte, error) {
	d, ok := g.take()
	if !ok {
		return buf, io.EOF
	}
	return g.write(buf, d), nil
}

// take gives what is due next, and counts it.
func (g *Generator) take() (d due, ok bool) {
	for g.planned < g.Options.Records && (len(g.waiting) == 0 || g.waiting[0].at > g.next) {
		g.send()
	}
	if len(g.waiting) == 0 {
		return d, false
	}
	d = g.waiting.pop()
	g.Counts.Records++
	if d.late > 0 {
		g.Late++
	}
	if d.second {
		g.Duplicates++
	}
	return d, true
}

// seeded gives random numbers that depend on nothing but the seed and what they
// are for.
func (g *Generator) seeded(what, number uint64) *rand.Rand {
	g.pcg.Seed(mix(g.Seed^what<<56), mix(number))
	return g.random
}

// mix spreads what differs in few bits over all of them (SplitMix64's last step).
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

const (
	second = 1000 // milliseconds
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

func nextHour(at int64) int64 { return at - at%hour + hour }

// weight is what the hour that begins at a time weighs, or the part of it that is
// in the span.
func (g *Generator) weight(at int64) float64 {
	weekday := (at/day + 4) % 7 // 1970 began on a Thursday
	return hours[at%day/hour] * days[weekday] * float64(min(nextHour(at), g.to)-at)
}

// advance sets the time of the next message. By how many records are planned
// already it knows how much of the span's weight is spent.
func (g *Generator) advance() {
	spent := g.total * float64(g.planned) / float64(g.Options.Records)
	for nextHour(g.hour) < g.to && g.before+g.weight(g.hour) <= spent {
		g.before += g.weight(g.hour)
		g.hour = nextHour(g.hour)
	}
	length := min(nextHour(g.hour), g.to) - g.hour
	into := int64((spent - g.before) / g.weight(g.hour) * float64(length))
	g.next = max(g.next, g.hour+min(into, length-1))
}

// due is a record that waits for its time.
type due struct {
	at     int64  // when it is published
	number uint64 // of the message
	late   uint32 // milliseconds since it happened
	lag    uint32 // milliseconds from when the message was sent until it happened
	kind   kind
	which  uint8 // of its kind and message
	to     uint8 // the recipient
	second bool  // it is published for the second time
}

// queue is a heap: the first is the one that is due first.
type queue []due

// before orders by time, and what is due at the same time in one way always.
func (a *due) before(b *due) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	if a.number != b.number {
		return a.number < b.number
	}
	return a.lag < b.lag
}

func (q *queue) push(d due) {
	h := append(*q, d)
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !d.before(&h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = d
	*q = h
}

func (q *queue) pop() due {
	h := *q
	first, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*q = h
	if len(h) == 0 {
		return first
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].before(&h[child]) {
			child++
		}
		if !h[child].before(&last) {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = last
	return first
}
