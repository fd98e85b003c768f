package exporter

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sesame/internal/eventdb"
	"sesame/internal/events"
)

// kind is what a column's values are.
type kind byte

const (
	ofText   kind = iota
	ofJSON        // text that is a JSON object, or "" for none
	ofTime        // milliseconds since 1970, or never
	ofBool        // 0 or 1
	ofNumber      // a number with decimals
)

// never stands for a time that there is none of.
const never = -1 << 63

// value is a cell of a row: its column's kind says which member holds it.
type value struct {
	text   string
	n      int64
	number float64
}

// column is a named column of rows made of R.
type column[R any] struct {
	name string
	kind kind
	more bool // whether it needs eventdb.Mail.More
	put  func(m *maker, v *value, r R)
}

// header is what is to be known of a column to write it.
type header struct {
	name string
	kind kind
}

// tagPrefix is what the name of a column begins with that has the values of one
// message tag.
const tagPrefix = "tag:"

// insightsColumns are those that a row of insights can have. The first are those of
// the service's file, in order.
var insightsColumns = []column[*eventdb.Recipient]{
	{"messageid", ofText, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.text = r.MessageID }},
	{"sendtimestamp", ofTime, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.n = r.Sent }},
	{"isp", ofText, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.text = r.ISP }},
	{"fromaddress", ofText, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.text = r.From }},
	{"destination", ofText, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.text = r.Destination }},
	{"subject", ofText, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.text = r.Subject }},
	{"last_delivery_event", ofText, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.text = lastDelivery(r) }},
	{"last_engagement_event", ofText, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.text = string(r.Engagement) }},
	{"last_delivery_event_timestamp", ofTime, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.n = when(r.Delivery, r.DeliveryTime) }},
	{"last_engagement_event_timestamp", ofTime, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.n = when(r.Engagement, r.EngagementTime) }},
	{"bounce_sub_type", ofText, false, func(m *maker, v *value, r *eventdb.Recipient) { v.text = m.spell(r.SubType) }},
	{"diagnostic_code", ofText, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.text = r.Diagnostic }},

	{"configuration_set", ofText, true, func(_ *maker, v *value, r *eventdb.Recipient) { v.text = r.ConfigurationSet }},
	{"identity", ofText, true, func(_ *maker, v *value, r *eventdb.Recipient) { v.text = r.Identity }},
	{"tags", ofJSON, true, func(_ *maker, v *value, r *eventdb.Recipient) { v.text = r.Tags }},
	{"multiple_recipients", ofBool, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.n = truth(r.Multi) }},
	{"simulator", ofBool, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.n = truth(r.Simulator) }},
	{"bounce_type", ofText, false, func(_ *maker, v *value, r *eventdb.Recipient) { v.text = r.BounceType }},
}

// usualInsights is how many of insightsColumns a file has when nobody chooses.
const usualInsights = 12

// eventColumns are those that a row of events can have.
var eventColumns = []column[*events.Event]{
	{"messageid", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.MessageID }},
	{"sendtimestamp", ofTime, false, func(_ *maker, v *value, e *events.Event) { v.n = millis(e.Sent) }},
	{"isp", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.ISP }},
	{"fromaddress", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.From }},
	{"destination", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.Destination }},
	{"subject", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.Subject }},
	{"event_type", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = string(e.Type) }},
	{"event_timestamp", ofTime, false, func(_ *maker, v *value, e *events.Event) { v.n = millis(e.Time) }},
	{"bounce_type", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.BounceType }},
	{"bounce_sub_type", ofText, false, func(m *maker, v *value, e *events.Event) { v.text = m.spell(bounceSubType(e)) }},
	{"complaint_sub_type", ofText, false, func(m *maker, v *value, e *events.Event) {
		v.text = ""
		if e.Type != events.Bounce {
			v.text = m.spell(e.SubType)
		}
	}},
	{"diagnostic_code", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.Diagnostic }},
	{"feedback_type", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.FeedbackType }},
	{"delay_type", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.DelayType }},
	{"link", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.Link }},
	{"user_agent", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.UserAgent }},
	{"ip_address", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.IP }},
	{"feedback_id", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.FeedbackID }},
	{"configuration_set", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.ConfigurationSet }},
	{"identity", ofText, false, func(_ *maker, v *value, e *events.Event) { v.text = e.Identity }},
	{"tags", ofJSON, false, func(_ *maker, v *value, e *events.Event) { v.text = e.Tags }},
	{"multiple_recipients", ofBool, false, func(_ *maker, v *value, e *events.Event) { v.n = truth(e.Multi) }},
	{"simulator", ofBool, false, func(_ *maker, v *value, e *events.Event) { v.n = truth(e.Simulator) }},
	{"arrived_timestamp", ofTime, false, func(_ *maker, v *value, e *events.Event) { v.n = millis(e.Arrived) }},

	// Not one of the usual ones: it can be as long as all others together, and what most
	// ask for has a column of its own.
	{"details", ofJSON, false, func(_ *maker, v *value, e *events.Event) { v.text = e.Details }},
}

// usualEvents is how many of eventColumns a file has when nobody chooses.
const usualEvents = 24

// mostOfOrder is how many bytes of JSON an order may have: it is kept with its job.
const mostOfOrder = 32 << 10

// Check refuses an order whose columns are not such as there are, or twice the same
// one: its error tells which there are. It refuses types and sub-types that are not
// spelled as files spell them, which nothing would meet, and orders that are too large.
func (o Order) Check() error {
	var err error
	var q Mail
	switch {
	case o.Insights != nil:
		q = *o.Insights
		_, err = choose(insightsColumns, usualInsights, q.Columns, recipientTags)
	case o.Events != nil:
		q = *o.Events
		_, err = choose(eventColumns, usualEvents, q.Columns, eventTags)
	}
	for _, name := range slices.Concat(q.Include.EventType, q.Exclude.EventType, q.Include.BounceSubType, q.Exclude.BounceSubType) {
		if spelled := events.UpperSnake(name); err == nil && spelled != name {
			err = fmt.Errorf("%q is spelled %s here", name, spelled)
		}
	}
	if text, wrong := json.Marshal(o); err == nil && (wrong != nil || len(text) > mostOfOrder) {
		err = errors.Join(wrong, fmt.Errorf("the filters and columns are too many: together they may take %d KiB", mostOfOrder>>10))
	}
	return err
}

// choose gives the columns of those names, and the usual ones, the first few, for
// none.
func choose[R any](all []column[R], usual int, names []string, tags func(R) string) (chosen []column[R], err error) {
	if len(names) == 0 {
		return all[:usual], nil
	}
	for _, name := range names {
		at := slices.IndexFunc(all, func(c column[R]) bool { return c.name == name })
		tag, ofTag := strings.CutPrefix(name, tagPrefix)
		switch {
		case slices.ContainsFunc(chosen, func(c column[R]) bool { return c.name == name }):
			return nil, fmt.Errorf("the column %q is asked for twice", name)
		case at >= 0:
			chosen = append(chosen, all[at])
		case ofTag && tag != "" && utf8.ValidString(tag) && !strings.ContainsFunc(tag, unicode.IsControl):
			chosen = append(chosen, column[R]{name, ofText, true, func(m *maker, v *value, r R) { v.text = m.tag(tags(r), tag) }})
		default:
			var there []string
			for _, c := range all {
				there = append(there, c.name)
			}
			return nil, fmt.Errorf("there is no column %q; there are %s, and tag:NAME for the values of a message tag", name, strings.Join(there, ", "))
		}
	}
	return chosen, nil
}

func headers[R any](columns []column[R]) []header {
	all := make([]header, len(columns))
	for i, c := range columns {
		all[i] = header{c.name, c.kind}
	}
	return all
}

func recipientTags(r *eventdb.Recipient) string { return r.Tags }

func eventTags(e *events.Event) string { return e.Tags }

// recipientFacts and eventFacts say what filters ask for.
func recipientFacts(m *maker, f *facts, r *eventdb.Recipient) {
	*f = facts{
		from: r.From, destination: r.Destination, subject: r.Subject, isp: r.ISP, lastDelivery: lastDelivery(r), lastEngagement: string(r.Engagement),
		set: r.ConfigurationSet, identity: r.Identity, bounceSubType: m.spell(r.SubType), diagnostic: r.Diagnostic, tags: r.Tags, maker: m,
	}
}

func eventFacts(m *maker, f *facts, e *events.Event) {
	*f = facts{
		from: e.From, destination: e.Destination, subject: e.Subject, isp: e.ISP, eventType: string(e.Type),
		set: e.ConfigurationSet, identity: e.Identity, bounceSubType: m.spell(bounceSubType(e)), diagnostic: e.Diagnostic, tags: e.Tags, maker: m,
	}
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

// maker makes rows, and remembers what it made of text that many rows have.
type maker struct {
	spelled map[string]string // of sub-types

	tags   string // of which
	values map[string][]string
}

// mostSpelled bounds what is remembered; SES has some twenty sub-types.
const mostSpelled = 1000

// spell is events.UpperSnake, which takes longer than all else that is done for a row.
func (m *maker) spell(s string) string {
	if s == "" {
		return ""
	}
	spelled, ok := m.spelled[s]
	if !ok {
		if len(m.spelled) >= mostSpelled || m.spelled == nil {
			m.spelled = map[string]string{}
		}
		spelled = events.UpperSnake(s)
		m.spelled[strings.Clone(s)] = spelled
	}
	return spelled
}

// valuesOf gives message tags. Those of mail of one moment are often the same.
func (m *maker) valuesOf(tags string) map[string][]string {
	if tags == m.tags {
		return m.values
	}
	m.tags, m.values = strings.Clone(tags), nil
	if tags != "" && json.Unmarshal([]byte(tags), &m.values) != nil {
		m.values = nil // a store gives what Decode made, so there is none
	}
	return m.values
}

// tag gives the values of a message tag.
func (m *maker) tag(tags, name string) string {
	return strings.Join(m.valuesOf(tags)[name], ",")
}

// bounceSubType is an event's, as SES spells it; "" of what is no bounce.
func bounceSubType(e *events.Event) string {
	if e.Type != events.Bounce {
		return ""
	}
	return e.SubType
}

// when gives the time of what happened, if it did.
func when(t events.Type, ms int64) int64 {
	if t == "" {
		return never
	}
	return ms
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return t.UnixMilli()
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
