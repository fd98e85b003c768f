package exporter

import (
	"slices"
	"strings"

	"sesame/internal/eventdb"
	"sesame/internal/events"
)

// pattern is a value of a filter that may begin and end with *.
type pattern struct {
	text                string
	anyBefore, anyAfter bool
}

func parsePattern(s string) pattern {
	var p pattern
	if strings.HasPrefix(s, "*") {
		p.anyBefore, s = true, s[1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '*' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case s[i] == '*' && i == len(s)-1:
			p.anyAfter = true
		default: // a * in the middle stands for itself
			b.WriteByte(s[i])
		}
	}
	p.text = b.String()
	return p
}

func (p pattern) match(s string) bool {
	switch {
	case p.anyBefore && p.anyAfter:
		return strings.Contains(s, p.text)
	case p.anyBefore:
		return strings.HasSuffix(s, p.text)
	case p.anyAfter:
		return strings.HasPrefix(s, p.text)
	}
	return s == p.text
}

// matcher is Filters made ready.
type matcher struct {
	from, destination, subject            []pattern
	isps, lastDeliveries, lastEngagements []string
	tenant, empty                         bool
}

func newMatcher(f Filters) *matcher {
	patterns := func(values []string) (all []pattern) {
		for _, v := range values {
			all = append(all, parsePattern(v))
		}
		return all
	}
	m := &matcher{
		from: patterns(f.From), destination: patterns(f.Destination), subject: patterns(f.Subject),
		isps: f.ISP, lastDeliveries: f.LastDelivery, lastEngagements: f.LastEngagement, tenant: len(f.Tenant) > 0,
	}
	m.empty = len(f.From)+len(f.Destination)+len(f.Subject)+len(f.ISP)+len(f.LastDelivery)+len(f.LastEngagement)+len(f.Tenant) == 0
	return m
}

// match says whether all kinds of filters are met. Filters without any are.
func (m *matcher) match(r *eventdb.Recipient) bool {
	one := func(patterns []pattern, s string) bool {
		return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p pattern) bool { return p.match(s) })
	}
	in := func(values []string, s string) bool { return len(values) == 0 || slices.Contains(values, s) }
	return !m.tenant && in(m.isps, r.ISP) && in(m.lastDeliveries, lastDelivery(r)) && in(m.lastEngagements, string(r.Engagement)) &&
		one(m.from, r.From) && one(m.destination, r.Destination) && one(m.subject, r.Subject)
}

// lastDelivery spells a recipient's last delivery event as SES v2's
// DeliveryEventType does; "" for none.
func lastDelivery(r *eventdb.Recipient) string {
	if r.Delivery != events.Bounce {
		return string(r.Delivery)
	}
	switch r.BounceType {
	case "PERMANENT":
		return "PERMANENT_BOUNCE"
	case "TRANSIENT":
		return "TRANSIENT_BOUNCE"
	}
	return "UNDETERMINED_BOUNCE"
}
