package exporter

import (
	"slices"
	"strings"

	"sesame/internal/eventdb"
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

func parsePatterns(values []string) (all []eventdb.Pattern) {
	for _, v := range values {
		all = append(all, parsePattern(v))
	}
	return all
}

// facts are what filters ask for. What a recipient or an event does not have is
// empty, and then meets no filter of that kind but * alone, which anything does.
type facts struct {
	from, destination, subject, isp          string
	lastDelivery, lastEngagement, eventType  string
	set, identity, bounceSubType, diagnostic string
	tags                                     string // a JSON object
	maker                                    *maker // who knows what is in tags
}

// matcher is Filters made ready.
type matcher struct {
	Filters
	from, destination, subject, diagnostic []eventdb.Pattern
	tags                                   map[string][]eventdb.Pattern
	empty                                  bool
}

func newMatcher(f Filters) *matcher {
	m := &matcher{
		Filters: f, from: parsePatterns(f.From), destination: parsePatterns(f.Destination), subject: parsePatterns(f.Subject),
		diagnostic: parsePatterns(f.Diagnostic), tags: map[string][]eventdb.Pattern{},
	}
	for name, values := range f.Tags {
		m.tags[name] = parsePatterns(values)
	}
	m.empty = len(f.Tags) == 0
	for _, values := range [][]string{f.From, f.Destination, f.Subject, f.ISP, f.LastDelivery, f.LastEngagement, f.Tenant, f.EventType, f.ConfigurationSet, f.Identity, f.BounceSubType, f.Diagnostic} {
		m.empty = m.empty && len(values) == 0
	}
	return m
}

// match says whether all kinds of filters are met. Filters without any are.
func (m *matcher) match(f *facts) bool {
	in := func(values []string, s string) bool { return len(values) == 0 || slices.Contains(values, s) }
	one := func(patterns []eventdb.Pattern, s string) bool { return len(patterns) == 0 || oneMatches(patterns, s) }
	return len(m.Tenant) == 0 && in(m.ISP, f.isp) && in(m.LastDelivery, f.lastDelivery) && in(m.LastEngagement, f.lastEngagement) &&
		in(m.EventType, f.eventType) && in(m.ConfigurationSet, f.set) && in(m.Identity, f.identity) && in(m.BounceSubType, f.bounceSubType) &&
		one(m.from, f.from) && one(m.destination, f.destination) && one(m.subject, f.subject) && one(m.diagnostic, f.diagnostic) && m.matchTags(f)
}

func (m *matcher) matchTags(f *facts) bool {
	for name, patterns := range m.tags {
		if !slices.ContainsFunc(f.maker.valuesOf(f.tags)[name], func(s string) bool { return oneMatches(patterns, s) }) {
			return false
		}
	}
	return true
}

func oneMatches(patterns []eventdb.Pattern, s string) bool {
	return slices.ContainsFunc(patterns, func(p eventdb.Pattern) bool { return p.Match(s) })
}

// only is what the store needs to know of them.
func (m *matcher) only() eventdb.Only {
	only := eventdb.Only{From: m.from, Destination: m.destination, Subject: m.subject}
	for _, isp := range m.ISP {
		only.ISP = append(only.ISP, eventdb.Pattern{Text: isp})
	}
	return only
}
