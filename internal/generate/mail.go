package generate

import (
	"math"
	"math/rand/v2"
	"strconv"
)

// kind is a type of event.
type kind uint8

const (
	sending kind = iota
	delivery
	delay
	bounce
	complaint
	reject
	failure
	open
	click
	subscription
)

// The bounces, by due.which.
const (
	gone       uint8 = iota
	onAccount        // SES did not try
	refused          // for another reason than that the mailbox is gone
	neverTaken       // after delays
	unclear
)

// What seeded is asked for.
const (
	ofMessage uint64 = iota + 1
	ofPlan
	ofPerson
	ofRecord // and more, of each kind
)

// message is a message, all of which follows from its number and time.
type message struct {
	number    uint64
	sent      int64
	sender    int // of senders
	campaign  int64
	to        []person // one to three
	simulator string   // the local part at SES's simulator, instead of to; "" for real mail
	id        []byte
	subject   []byte
	outgoing  int // of SES's addresses
}

// person is somebody who gets mail, all of whom follows from their number.
type person struct {
	provider   *provider
	dead       bool    // their mailbox is gone
	engagement float64 // how much likelier than their provider's average they open; 1 on average
	mix        uint64  // different for each
	address    []byte
	domain     []byte // of address
}

var simulators = []string{"success", "success", "bounce", "complaint", "ooto", "suppressionlist"}

// make fills g.message.
func (g *Generator) make(number uint64, sent int64) *message {
	r := g.seeded(ofMessage, number)
	m := &g.message
	m.number, m.sent, m.simulator = number, sent, ""
	at := r.IntN(1000)
	for m.sender = 0; at >= senders[m.sender].share; m.sender++ {
		at -= senders[m.sender].share
	}
	s := &senders[m.sender]
	n, u := 1, r.Float64()
	switch {
	case u < several:
		n = 2 + r.IntN(2)
	case u < several+simulated:
		m.simulator = simulators[r.IntN(len(simulators))]
	}
	m.outgoing = r.IntN(40)
	m.id = appendID(m.id[:0], sent, r)
	title := s.subjects[r.IntN(len(s.subjects))]
	m.campaign = 0
	if s.campaign > 0 {
		m.campaign = sent / day / int64(s.campaign)
		title = s.subjects[m.campaign%int64(len(s.subjects))]
	}
	m.subject = g.fill(m.subject[:0], title)
	var numbers [3]uint64
	for i := range n {
		// Some people get more mail than others.
		u := r.Float64()
		numbers[i] = uint64(g.people * u * (1 + u) / 2)
	}
	for len(m.to) < n {
		m.to = append(m.to, person{})
	}
	m.to = m.to[:n]
	for i := range m.to {
		g.meet(&m.to[i], numbers[i])
	}
	if m.simulator != "" {
		p := &m.to[0]
		p.address = append(append(p.address[:0], m.simulator...), "@simulator.amazonses.com"...)
		p.domain = p.address[len(m.simulator)+1:]
	}
	return m
}

// appendID appends a message id as SES makes them.
func appendID(b []byte, ms int64, r *rand.Rand) []byte {
	b = appendHex(append(b, "0100"...), uint64(ms), 12)
	b = appendUUID(append(b, '-'), r)
	return append(b, "-000000"...)
}

// meet fills p with the person of a number.
func (g *Generator) meet(p *person, number uint64) {
	r := g.seeded(ofPerson, number)
	at, i := r.IntN(1000), 0
	for ; at >= providers[i].share; i++ {
		at -= providers[i].share
	}
	p.provider = &providers[i]
	p.dead = r.Float64() < p.provider.dead
	p.mix = r.Uint64()
	switch u := r.Float64(); {
	case u < strangers:
		p.engagement = 0
	case u < 0.75:
		p.engagement = 0.9
	default:
		p.engagement = 2.56
	}

	b := p.address[:0]
	first, last := firsts[r.IntN(len(firsts))], lasts[r.IntN(len(lasts))]
	switch r.IntN(4) {
	case 0:
		b = append(append(append(b, first...), '.'), last...)
	case 1:
		b = append(append(b, last...), first[0])
	case 2:
		b = append(append(b, first[0]), last...)
	case 3:
		b = append(append(append(b, first...), '_'), last...)
	}
	b = strconv.AppendUint(b, number, 10) // nobody has another's address
	b = append(b, '@')
	domain := len(b)
	if all := p.provider.domains; len(all) == 0 {
		b = append(append(b, trades[r.IntN(len(trades))]...), places[r.IntN(len(places))]...)
		b = append(b, ".example"...)
	} else if r.IntN(4) > 0 {
		b = append(b, all[0]...)
	} else {
		b = append(b, all[r.IntN(len(all))]...)
	}
	p.address, p.domain = b, b[domain:]
}

// send plans all that becomes of the next message, and sets the time of the one
// after it.
func (g *Generator) send() {
	m := g.make(uint64(g.Messages), g.next)
	g.Messages++
	// With more than half of the places taken, time runs faster the fewer are left.
	g.haste = max(0, min(1, 2-2*float64(len(g.waiting))/float64(g.most)))
	r := g.seeded(ofPlan, m.number)
	g.plan(r, sending, 0, 0, 0)
	s := &senders[m.sender]
	switch u := r.Float64(); {
	case m.simulator != "":
		g.simulate(r)
	case u < rejected:
		g.plan(r, reject, 0, 0, 1+g.lag(r, second, 0.5))
	case u < rejected+notRendered && s.operation == "SendTemplatedEmail":
		g.plan(r, failure, 0, 0, 1+g.lag(r, second/4, 0.5))
	default:
		for i := range m.to {
			g.follow(r, uint8(i))
		}
	}
	g.advance()
}

func (g *Generator) simulate(r *rand.Rand) {
	t := 1 + g.lag(r, second, 0.3)
	switch g.message.simulator {
	case "bounce":
		g.plan(r, bounce, gone, 0, t)
	case "suppressionlist":
		g.plan(r, bounce, onAccount, 0, t)
	case "complaint":
		g.plan(r, delivery, 0, 0, t)
		g.plan(r, complaint, 0, 0, t+1+g.lag(r, second, 0.3))
	default:
		g.plan(r, delivery, 0, 0, t)
	}
}

// follow plans what becomes of the message at one recipient.
func (g *Generator) follow(r *rand.Rand, to uint8) {
	p := &g.message.to[to]
	is, s := p.provider, &senders[g.message.sender]
	t := 1 + g.lag(r, is.seconds*second, 0.9)
	switch u := r.Float64(); {
	case p.dead && r.Float64() < suppressed:
		g.plan(r, bounce, onAccount, to, 1+g.lag(r, second/3, 0.4))
		return
	case p.dead:
		g.plan(r, bounce, gone, to, t)
		return
	case u < is.soft:
		g.plan(r, bounce, refused, to, t)
		return
	case u < is.soft+undetermined:
		g.plan(r, bounce, unclear, to, t+g.lag(r, 10*minute, 1))
		return
	case u < is.soft+undetermined+is.delayed:
		for n := uint8(0); ; n++ {
			t += 1 + g.lag(r, float64(int(5*minute)<<n), 0.4)
			g.plan(r, delay, n, to, t)
			if n == 6 || r.Float64() >= delayedAgain {
				break
			}
		}
		t += 1 + g.lag(r, 15*minute, 1)
		if r.Float64() < givenUp {
			g.plan(r, bounce, neverTaken, to, t+g.lag(r, 14*hour, 0.1))
			return
		}
	}
	g.plan(r, delivery, 0, to, t)
	if r.Float64() < is.complain*s.complain {
		g.plan(r, complaint, 0, to, t+1+g.lag(r, 26*hour, 1.6))
	}
	if s.tracked && to == 0 { // SES does not know which of several recipients it was
		g.engage(r, t)
	}
}

// engage plans what the first recipient does with a message that came at t.
func (g *Generator) engage(r *rand.Rand, t float64) {
	p, s := &g.message.to[0], &senders[g.message.sender]
	opened, clicked := uint8(0), uint8(0)
	clicks := func(t float64) {
		for {
			t += 1 + g.lag(r, 25*second, 1.3)
			g.plan(r, click, clicked, 0, t)
			clicked++
			if clicked >= 10 || r.Float64() >= clickAgain {
				return
			}
		}
	}
	if len(p.provider.domains) == 0 && r.Float64() < scanned {
		at := t
		for range 2 + r.IntN(2) {
			at += 1 + g.lag(r, second, 0.5)
			g.plan(r, click, clicked+scans, 0, at)
			clicked++
		}
	}
	opens := p.provider.open * s.open * p.engagement
	if r.Float64() >= opens {
		return
	}
	// Among those who open, so many click that the provider's share of all does.
	share := p.provider.click * s.click / (p.provider.open * s.open)
	at := t + 1 + g.lag(r, 2.5*hour, 2.2)
	for {
		g.plan(r, open, opened, 0, at)
		opened++
		if opened == 1 && r.Float64() < share {
			clicks(at)
		}
		if opened == 1 && s.list && r.Float64() < unsubscribes {
			g.plan(r, subscription, 0, 0, at+1+g.lag(r, 20*second, 1))
		}
		if opened >= 12 || r.Float64() >= again {
			return
		}
		at += 1 + g.lag(r, 7*hour, 2)
	}
}

// scans is added to due.which of clicks that are a scanner's.
const scans = 100

// lag draws milliseconds around a median; two thirds lie within so many doublings
// of it.
func (g *Generator) lag(r *rand.Rand, median, doublings float64) float64 {
	return g.haste * median * math.Exp2(doublings*r.NormFloat64())
}

const (
	longest  = 28 * day // after which nothing becomes of a message
	tooLate  = day      // after which nothing comes late
	soonLate = 12 * minute
)

// plan puts a record of g.message into the queue, once or twice, for what happens
// so long after it was sent, unless that is out of the span.
func (g *Generator) plan(r *rand.Rand, k kind, which, to uint8, lag float64) {
	lag = math.Floor(lag)
	if lag > longest || g.message.sent+int64(lag) >= g.to || g.planned >= g.Options.Records {
		return
	}
	d := due{at: g.message.sent + int64(lag), number: g.message.number, lag: uint32(lag), kind: k, which: which, to: to}
	if r.Float64() < late {
		d.delayBy(g.lag(r, soonLate, 1.5))
	}
	g.waiting.push(d)
	g.planned++
	if r.Float64() < duplicate && g.planned < g.Options.Records {
		d.second = true
		d.delayBy(1 + g.lag(r, minute, 2))
		g.waiting.push(d)
		g.planned++
	}
}

func (d *due) delayBy(lag float64) {
	more := int64(min(lag, tooLate))
	d.at += more
	d.late += uint32(more)
}
