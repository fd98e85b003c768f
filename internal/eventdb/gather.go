package eventdb

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unsafe"

	"sesame/internal/events"
)

// gatherer puts together what became of each recipient of mail of a slice, from
// events in whatever order they come. It tells recipients apart by the hash of
// message and address alone: that of two in one slice it is the same happens once
// in a thousand million slices, and then one of the two would be missing.
//
// It is used again for another slice, with the memory that it has: making room for
// each slice anew took a third of the time.
type gatherer struct {
	more   bool  // whether configuration sets, identities and tags are read
	most   int64 // events; more are errCrowded
	events int64

	all       []Recipient
	byHash    hashes
	at        []int32 // in all, of each of some rows
	order     []inOrder
	text      text
	strangers map[uint64]bool // recipients of whom recipientTable alone knows all
}

// begin makes it ready for another slice.
func (g *gatherer) begin(more bool, most int64) {
	clear(g.strangers)
	if g.strangers == nil {
		g.strangers = map[uint64]bool{}
	}
	g.more, g.most, g.events = more, most, 0
	g.all = g.all[:0]
	g.byHash.empty()
	g.text.empty()
}

// The columns that whole takes, of which the first are those that later and silent
// take; and behind both, more.
const (
	laterColumns  = "recipient, time, type"
	silentColumns = laterColumns + ", bounce_type, sub_type, diagnostic, sender"
	wholeColumns  = silentColumns + ", sent, multi, simulator, message_id, destination, subject, isp"
	moreColumns   = ", configuration_set, identity, tags"
)

// whole takes events with all that is asked of them.
func (g *gatherer) whole(r rows) error {
	if g.events += int64(r.n); g.events > g.most {
		return errCrowded
	}
	return g.take(r, nil)
}

// later takes opens, clicks and complaints. Nearly all are of mail that is known
// already, and then their text is not needed.
func (g *gatherer) later(r rows) error {
	if g.events += int64(r.n); g.events > g.most {
		return errCrowded
	}
	hashes, times, types := column[uint64](r, 0), column[int64](r, 1), r.texts(2)
	for i, at := range g.find(hashes) {
		if at >= 0 {
			g.all[at].happened(typeOf(types[i].view()), times[i])
		}
		if at < 0 || g.all[at].Subject == "" || g.all[at].From == "" { // or SES says there what it left out with others
			g.strangers[hashes[i]] = true
		}
	}
	return nil
}

// silent takes events that do not say whether their mail is wanted. It is when others
// of its events said so.
func (g *gatherer) silent(r rows) error {
	if g.events += int64(r.n); g.events > g.most {
		return errCrowded
	}
	hashes, times, types := column[uint64](r, 0), column[int64](r, 1), r.texts(2)
	bounceType, subType, diagnostic, senders := r.texts(3), r.texts(4), r.texts(5), r.texts(6)
	var sets, identities, tags []duckText
	if g.more {
		sets, identities, tags = r.texts(7), r.texts(8), r.texts(9)
	}
	for i, at := range g.find(hashes) {
		if at < 0 {
			continue
		}
		of := &g.all[at]
		g.fill(&of.From, &senders[i])
		if g.more {
			g.fill(&of.ConfigurationSet, &sets[i])
			g.fill(&of.Identity, &identities[i])
			g.fill(&of.Tags, &tags[i])
		}
		g.noted(at, times[i], &types[i], &bounceType[i], &subType[i], &diagnostic[i])
	}
	return g.crowded()
}

// crowded is errCrowded when the slice has too much text.
func (g *gatherer) crowded() error {
	if g.most < math.MaxInt64 && g.text.size > sliceText {
		return errCrowded
	}
	return nil
}

// noted notes an event of a recipient.
func (g *gatherer) noted(of int32, at int64, kind, bounceType, subType, diagnostic *duckText) {
	if t := typeOf(kind.view()); t == events.Bounce {
		g.bounced(&g.all[of], at, bounceType.view(), subType.view(), diagnostic.view())
	} else {
		g.all[of].happened(t, at)
	}
}

// strange takes the same events again, and uses those of strangers.
func (g *gatherer) strange(r rows) error { return g.take(r, g.strangers) }

// take takes events, only of some recipients unless that is nil.
func (g *gatherer) take(r rows, only map[uint64]bool) error {
	hashes, times, types := column[uint64](r, 0), column[int64](r, 1), r.texts(2)
	bounceType, subType, diagnostic := r.texts(3), r.texts(4), r.texts(5)
	senders, sent, multi, simulator := r.texts(6), column[int64](r, 7), column[bool](r, 8), column[bool](r, 9)
	ids, destinations, subjects, isps := r.texts(10), r.texts(11), r.texts(12), r.texts(13)
	var sets, identities, tags []duckText
	if g.more {
		sets, identities, tags = r.texts(14), r.texts(15), r.texts(16)
	}
	for i, at := range g.find(hashes) {
		if only != nil && !only[hashes[i]] {
			continue
		}
		if at < 0 {
			at = g.byHash.find(hashes[i]) // unless it is one of these rows too
		}
		if at < 0 {
			at = g.add(hashes[i])
			of := &g.all[at]
			of.MessageID, of.Destination, of.ISP = g.text.keep(ids[i].view()), g.text.keep(destinations[i].view()), g.text.keep(isps[i].view())
			of.Sent, of.Multi, of.Simulator = sent[i], multi[i], simulator[i]
		}
		of := &g.all[at]
		// SES says the same with each event of a message, but can leave it out.
		g.fill(&of.From, &senders[i])
		g.fill(&of.Subject, &subjects[i])
		if g.more {
			g.fill(&of.ConfigurationSet, &sets[i])
			g.fill(&of.Identity, &identities[i])
			g.fill(&of.Tags, &tags[i])
		}
		g.noted(at, times[i], &types[i], &bounceType[i], &subType[i], &diagnostic[i])
	}
	return g.crowded()
}

// find gives where in all the recipients of rows are; less than 0 for those that are
// not there. Looking for all of them first lets the processor wait for memory once
// and not for each.
func (g *gatherer) find(hashes []uint64) []int32 {
	g.at = g.at[:0]
	for _, hash := range hashes {
		g.at = append(g.at, g.byHash.find(hash))
	}
	return g.at
}

func (g *gatherer) add(hash uint64) int32 {
	at := int32(len(g.all))
	g.all = append(g.all, Recipient{})
	g.byHash.add(hash, at)
	return at
}

func (g *gatherer) fill(to *string, text *duckText) {
	if *to == "" && text.size > 0 {
		*to = g.text.keep(text.view())
	}
}

// inOrder is a recipient in the order of what is given.
type inOrder struct {
	sent int64
	at   int32 // in all
}

// sort puts the recipients in order.
func (g *gatherer) sort() {
	g.order = g.order[:0]
	for i := range g.all {
		g.order = append(g.order, inOrder{g.all[i].Sent, int32(i)})
	}
	slices.SortFunc(g.order, func(a, b inOrder) int {
		if a.sent != b.sent {
			return cmp.Compare(b.sent, a.sent)
		}
		x, y := &g.all[a.at], &g.all[b.at]
		return cmp.Or(strings.Compare(x.MessageID, y.MessageID), strings.Compare(x.Destination, y.Destination))
	})
}

// each gives the recipients in the order of sort.
func (g *gatherer) each(do func(*Recipient) error) error {
	for _, o := range g.order {
		if err := do(&g.all[o.at]); err != nil {
			return err
		}
	}
	return nil
}

// hashes is a set of hashes and a number for each. Go's own map takes twice as long
// for what is a hash already.
type hashes struct {
	places []place // a power of two of them, at most half of them taken
	n      int
}

type place struct {
	hash  uint64
	at    int32
	taken bool
}

func (h *hashes) empty() {
	clear(h.places)
	h.n = 0
}

// find gives a hash's number; less than 0 when it is not there.
func (h *hashes) find(hash uint64) int32 {
	if len(h.places) == 0 {
		return -1
	}
	for i := hash; ; i++ {
		p := &h.places[i&uint64(len(h.places)-1)]
		if !p.taken {
			return -1
		}
		if p.hash == hash {
			return p.at
		}
	}
}

// add adds a hash that is not there.
func (h *hashes) add(hash uint64, at int32) {
	if h.n++; 2*h.n > len(h.places) {
		before := h.places
		h.places = make([]place, max(1024, 2*len(before)))
		for _, p := range before {
			if p.taken {
				h.put(p)
			}
		}
	}
	h.put(place{hash, at, true})
}

func (h *hashes) put(p place) {
	for i := p.hash; ; i++ {
		to := &h.places[i&uint64(len(h.places)-1)]
		if !to.taken {
			*to = p
			return
		}
	}
}

// sliceText is how many bytes of text a slice may have before it is crowded. Mail
// mostly has a tenth of that.
const sliceText = 128 << 20

// text keeps text until it is emptied. Many share one piece of memory: one for each
// would keep the garbage collector busy.
type text struct {
	size   int64 // bytes that are kept
	pieces [][]byte
	piece  int // of pieces, the one with room
	used   int // bytes of that
}

const textPiece = 1 << 20 // bytes

// empty forgets what was kept; its memory is used again.
func (t *text) empty() { t.size, t.piece, t.used = 0, 0, 0 }

func (t *text) keep(view string) string {
	if view == "" {
		return ""
	}
	t.size += int64(len(view))
	if len(view) > textPiece {
		return strings.Clone(view)
	}
	if t.piece < len(t.pieces) && textPiece-t.used < len(view) {
		t.piece, t.used = t.piece+1, 0
	}
	if t.piece == len(t.pieces) {
		t.pieces = append(t.pieces, make([]byte, textPiece))
	}
	to := t.pieces[t.piece][t.used:][:len(view)]
	t.used += copy(to, view)
	return unsafe.String(&to[0], len(to))
}

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

// happened notes an event that is no bounce. Of two of the same rank the later one
// counts, so that it does not matter in which order they are noted.
func (r *Recipient) happened(t events.Type, at int64) {
	switch t {
	case events.Open, events.Click:
		if t == r.Engagement && at > r.EngagementTime || t != r.Engagement && r.Engagement != events.Click {
			r.Engagement, r.EngagementTime = t, at
		}
		return
	case "":
		return
	}
	if now, before := rank(t), rank(r.Delivery); now < before || now == before && at < r.DeliveryTime {
		return
	}
	r.Delivery, r.DeliveryTime = t, at
	r.BounceType, r.SubType, r.Diagnostic = "", "", ""
}

// bounced notes a bounce. Of two of one moment the greater in text counts.
func (g *gatherer) bounced(r *Recipient, at int64, kind, subType, diagnostic string) {
	before := r.Delivery
	if rank(before) > rank(events.Bounce) || before == events.Bounce && (at < r.DeliveryTime ||
		at == r.DeliveryTime && kind+subType+diagnostic < r.BounceType+r.SubType+r.Diagnostic) {
		return
	}
	r.Delivery, r.DeliveryTime = events.Bounce, at
	r.BounceType, r.SubType, r.Diagnostic = g.text.keep(kind), g.text.keep(subType), g.text.keep(diagnostic)
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
