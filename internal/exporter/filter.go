package exporter

import (
	"slices"
	"strings"

	"sesame/internal/eventdb"
	"sesame/internal/events"
)

// parsePattern reads a value of a filter that may begin and end with *.
func parsePattern(s string) eventdb.Pattern {
	var p eventdb.Pattern
	if strings.HasPrefix(s, "*") {
		p.Before, s = true, s[1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '*' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case s[i] == '*' && i == len(s)-1:
			p.After = true
		default: // a * in the middle stands for itself
			b.WriteByte(s[i])
		}
	}
	p.Text = b.String()
	return p
}

// matcher is Filters made ready.
type matcher struct {
	from, destination, subject            []eventdb.Pattern
	isps, lastDeliveries, lastEngagements []string
	tenant, empty                         bool
}

func newMatcher(f Filters) *matcher {
	patterns := func(values []string) (all []eventdb.Pattern) {
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
	one := func(patterns []eventdb.Pattern, s string) bool {
		return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p eventdb.Pattern) bool { return p.Match(s) })
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

// only is what the store needs to know of them.
func (m *matcher) only() eventdb.Only {
	only := eventdb.Only{From: m.from, Destination: m.destination, Subject: m.subject}
	for _, isp := range m.isps {
		only.ISP = append(only.ISP, eventdb.Pattern{Text: isp})
	}
	return only
}
