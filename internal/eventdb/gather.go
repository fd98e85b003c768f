package eventdb

import (
	"math"
	"time"
	"unsafe"

	"sesame/internal/events"
)

// gatherer puts together what became of each recipient of mail of a slice, from
// events in whatever order they come. It tells recipients apart by the hash of
// message and address alone: that of two in one slice it is the same happens once
// in a thousand million slices, and then one of the two would be missing.
type gatherer struct {
	all    []*Recipient
	byHash map[uint64]*Recipient
	block  []Recipient // room for the next ones
	more   bool        // whether configuration sets, identities and tags are read
	most   int64       // events; more are errCrowded
	events int64
	text   int64 // bytes of text that is kept

	room []byte // for text that is kept

	// Text that many have is kept once, by column: subjects can be as many as there are
	// messages.
	isps, senders, subjects, sets, identities, allTags, kinds, subTypes shared

	strangers map[uint64]bool // recipients of whom only recipientTable knows
}

func newGatherer(q Mail, most int64) *gatherer {
	return &gatherer{byHash: make(map[uint64]*Recipient, min(most/crowded, sliceEvents)/4), more: q.More, most: most, strangers: map[uint64]bool{}}
}

// The columns that whole takes, and before which of them those are that later takes.
const (
	laterColumns = "recipient, time, type"
	wholeColumns = laterColumns + ", sent, multi, simulator, bounce_type, sub_type, diagnostic, message_id, destination, sender, subject, isp"
	moreColumns  = ", configuration_set, identity, tags"
)

// whole takes events with all that is asked of them.
func (g *gatherer) whole(r rows) error {
	if g.events += int64(r.n); g.events > g.most {
		return errCrowded
	}
	return g.take(r, func(uint64) bool { return true })
}

// later takes opens, clicks and complaints. Nearly all are of mail that is known
// already, and then their text is not needed.
func (g *gatherer) later(r rows) error {
	if g.events += int64(r.n); g.events > g.most {
		return errCrowded
	}
	hashes, times, types := column[uint64](r, 0), column[int64](r, 1), r.texts(2)
	for i, hash := range hashes {
		if of := g.byHash[hash]; of != nil {
			of.happened(typeOf(types[i].view()), times[i], nil)
		} else {
			g.strangers[hash] = true
		}
	}
	return nil
}

// strange takes the same events again, and uses those of strangers.
func (g *gatherer) strange(r rows) error {
	return g.take(r, func(hash uint64) bool { return g.strangers[hash] })
}

func (g *gatherer) take(r rows, use func(hash uint64) bool) error {
	hashes, times, types, sent := column[uint64](r, 0), column[int64](r, 1), r.texts(2), column[int64](r, 3)
	multi, simulator := column[bool](r, 4), column[bool](r, 5)
	bounceType, subType, diagnostic := r.texts(6), r.texts(7), r.texts(8)
	ids, destinations, senders, subjects, isps := r.texts(9), r.texts(10), r.texts(11), r.texts(12), r.texts(13)
	var sets, identities, tags []duckText
	if g.more {
		sets, identities, tags = r.texts(14), r.texts(15), r.texts(16)
	}
	for i, hash := range hashes {
		if !use(hash) {
			continue
		}
		of := g.byHash[hash]
		if of == nil {
			of = g.add(hash)
			of.MessageID, of.Destination = g.own(ids[i].view()), g.own(destinations[i].view())
			of.Sent, of.Multi, of.Simulator = time.UnixMilli(sent[i]).UTC(), multi[i], simulator[i]
			of.ISP = g.word(&g.isps, isps[i].view())
		}
		// SES says the same with each event of a message, but can leave it out.
		g.fill(&of.From, &g.senders, &senders[i])
		g.fill(&of.Subject, &g.subjects, &subjects[i])
		if g.more {
			g.fill(&of.ConfigurationSet, &g.sets, &sets[i])
			g.fill(&of.Identity, &g.identities, &identities[i])
			g.fill(&of.Tags, &g.allTags, &tags[i])
		}
		of.happened(typeOf(types[i].view()), times[i], func() bounced {
			return bounced{g.word(&g.kinds, bounceType[i].view()), g.word(&g.subTypes, subType[i].view()), g.own(diagnostic[i].view())}
		})
	}
	if g.most < math.MaxInt64 && g.text > sliceText {
		return errCrowded
	}
	return nil
}

func (g *gatherer) add(hash uint64) *Recipient {
	if len(g.block) == 0 {
		g.block = make([]Recipient, 256)
	}
	of := &g.block[0]
	g.block = g.block[1:]
	g.all, g.byHash[hash] = append(g.all, of), of
	return of
}

func (g *gatherer) fill(to *string, among *shared, text *duckText) {
	if *to == "" && text.size > 0 {
		*to = g.word(among, text.view())
	}
}

// own gives a text that stays. Many share one piece of memory: one for each would
// keep the garbage collector busy.
func (g *gatherer) own(view string) string {
	if view == "" {
		return ""
	}
	g.text += int64(len(view))
	if len(g.room) < len(view) {
		g.room = make([]byte, max(64<<10, len(view)))
	}
	n := copy(g.room, view)
	kept := unsafe.String(&g.room[0], n)
	g.room = g.room[n:]
	return kept
}

// shared is text of a column that many events have.
type shared struct {
	last string // mail of one campaign comes together
	all  map[string]string
}

// word gives a text that stays, the same for all who have it.
func (g *gatherer) word(among *shared, view string) string {
	if view == among.last {
		return among.last
	}
	kept, ok := among.all[view]
	if !ok {
		kept = g.own(view)
		if among.all == nil {
			among.all = map[string]string{}
		}
		if len(among.all) < 10_000 {
			among.all[kept] = kept
		}
	}
	among.last = kept
	return kept
}

// sliceText is how many bytes of text a slice may have before it is crowded. Mail
// mostly has a third of that.
const sliceText = 128 << 20

// typeOf gives a type that stays when the view is gone; "" for what does not count.
func typeOf(view string) events.Type {
	switch events.Type(view) {
	case events.Send:
		return events.Send
	case events.Bounce:
		return events.Bounce
	case events.Delivery:
		return events.Delivery
	case events.Complaint:
		return events.Complaint
	case events.Open:
		return events.Open
	case events.Click:
		return events.Click
	}
	return ""
}

// bounced is what is told of a bounce.
type bounced struct{ kind, subType, diagnostic string }

// happened notes an event. Of two of the same rank the later one counts, and of two
// bounces of one moment the greater in text, so that it does not matter in which
// order they are noted.
func (r *Recipient) happened(t events.Type, at int64, bounce func() bounced) {
	when := time.UnixMilli(at).UTC()
	switch t {
	case events.Open, events.Click:
		if t == r.Engagement && when.After(r.EngagementTime) || t != r.Engagement && r.Engagement != events.Click {
			r.Engagement, r.EngagementTime = t, when
		}
		return
	case "":
		return
	}
	now, before := rank(t), rank(r.Delivery)
	if now < before || now == before && when.Before(r.DeliveryTime) {
		return
	}
	var b bounced
	if t == events.Bounce {
		b = bounce()
		if now == before && when.Equal(r.DeliveryTime) && b.kind+b.subType+b.diagnostic < r.BounceType+r.SubType+r.Diagnostic {
			return
		}
	}
	r.Delivery, r.DeliveryTime = t, when
	r.BounceType, r.SubType, r.Diagnostic = b.kind, b.subType, b.diagnostic
}

// rank orders what can happen on the way: what has the highest is a recipient's
// last, whenever it happened.
func rank(t events.Type) int {
	switch t {
	case events.Send:
		return 1
	case events.Bounce:
		return 2
	case events.Delivery:
		return 3
	case events.Complaint:
		return 4
	}
	return 0
}
