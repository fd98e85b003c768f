// Package eventdb is the store of email events: what was said of every message,
// kept as it came, once.
//
// It may import events, and the driver of each backend.
package eventdb

import (
	"context"
	"strings"
	"time"

	"sesame/internal/events"
)

// Store is what every backend does, as one suite of tests holds.
//
// An event that Append has acknowledged is there once, whatever happens to the
// process at the next instruction, and however often it is appended: two events
// are the same when their Key is. What is asked after Append has returned sees what
// it added. All methods may be called at once. What belongs to one Source is never
// given to another.
type Store interface {
	// Append adds the events that are not there yet, and says how many that were.
	// They are durable when it returns nil; on an error none or all of them are, and
	// appending them again is right. The slice is the store's until Append returns.
	// Text that is not UTF-8 is stored with U+FFFD in place of what is wrong. ctx ends
	// the wait for the store to take the events, not the writing.
	Append(ctx context.Context, all []events.Event) (added int, err error)

	// Message gives all events of a message, oldest first, those of one moment in
	// order of destination and type; none when there is no such message. All events of
	// a message for which SES gave its time have the same Sent. Of very many, at least
	// the oldest 10,000 are given. What is appended meanwhile may be seen in part.
	// ConfigurationSet,
	// Identity, DelayType, Link, UserAgent, IP, FeedbackID and Details are left empty:
	// reading them would take as long as everything else.
	Message(ctx context.Context, src events.Source, messageID string) ([]events.Event, error)

	// Events calls do with each event of mail, whole, that of the newest mail first, of
	// one moment in order of message id, address, time and type, until do gives an error,
	// which it returns. What is appended meanwhile may be left out. Memory does not grow
	// with the time asked for. The event is the caller's.
	Events(ctx context.Context, src events.Source, q Mail, do func(*events.Event) error) error

	// Settle divides what has arrived from what will, at t or, if that is later, at the
	// last time of arrival: all events whose Arrived is the time that it gives or before
	// are there to be asked for when it returns, and those that come later, as long as
	// the store is open, get a later one. t may be after now, as when the clock was set
	// back; times of arrival are then counted on from t.
	Settle(t time.Time) time.Time

	// Recipients calls do with each recipient of mail, the newest mail first, that of
	// one moment in order of message id and address, until do gives an error, which it
	// returns. What is appended meanwhile may be left out. Memory does not grow with
	// the time asked for. The Recipient and its text are do's until it returns.
	Recipients(ctx context.Context, src events.Source, q Mail, do func(*Recipient) error) error

	// Daily counts by UTC day, in order; days without a count are left out.
	Daily(ctx context.Context, src events.Source, q Query) ([]Day, error)

	// Groups counts by the values of dimensions, in order of these; what there is none
	// of is left out.
	Groups(ctx context.Context, src events.Source, q GroupQuery) ([]Group, error)

	// DropBefore removes the events of messages that were sent before t, the oldest
	// first and some at a time, and says how many, also when it ends with an error.
	// Others append and ask meanwhile. The space is used again in its own time.
	DropBefore(ctx context.Context, t time.Time) (dropped int64, err error)

	// Close ends the store after what runs; what comes later, and what waits to be
	// written, gets an error. Nothing that was acknowledged depends on it.
	Close() error
}

// Mail says which mail Recipients and Events are asked for.
type Mail struct {
	From, To time.Time // sent from From on and before To
	// Only events that arrived after the one time and not after the other; zero for any.
	ArrivedAfter, ArrivedUntil time.Time
	// OneRecipient leaves out mail with several recipients and to SES's simulator,
	// as SES does.
	OneRecipient bool
	More         bool // whether a Recipient's ConfigurationSet, Identity and Tags are filled in
	// Only tells which mail is wanted, or of Events which events, so that others need not
	// be read. Some of these may be given all the same.
	Only Only
	// Enough, unless 0, is after about how many recipients, or events, no more are wanted,
	// so that not much more is read.
	Enough int64
	// Read, unless nil, is told how far it is: that what becomes of mail from a time on
	// was read, and is given to do next, and how many events more there were in it.
	Read func(from time.Time, events int64)
}

// Only is text of which mail must have one of each that has any.
type Only struct{ From, Destination, Subject, ISP []Pattern }

// Pattern is text, with anything before or behind it.
type Pattern struct {
	Text          string
	Before, After bool // whether anything may be there
}

// Match says whether a text is like the pattern.
func (p Pattern) Match(s string) bool {
	switch {
	case p.Before && p.After:
		return strings.Contains(s, p.Text)
	case p.Before:
		return strings.HasSuffix(s, p.Text)
	case p.After:
		return strings.HasPrefix(s, p.Text)
	}
	return s == p.Text
}

// Recipient is what became of a message on its way to one recipient. Text that SES
// did not give is empty.
type Recipient struct {
	MessageID, Destination                               string
	From, Subject, ConfigurationSet, Identity, ISP, Tags string // as Event's
	Sent                                                 int64  // milliseconds since 1970, as all times here
	Multi, Simulator                                     bool

	// The last of SEND, BOUNCE, DELIVERY and COMPLAINT, by this order and not by time,
	// and the last of OPEN and CLICK; "" when none is known. The times are those of
	// the latest such event.
	Delivery, Engagement         events.Type
	DeliveryTime, EngagementTime int64
	// Of that bounce; "" when Delivery is none.
	BounceType, SubType, Diagnostic string
}

// Metric is a number that is counted, as SES v2's Metric spells it.
type Metric string

// The metrics of SES v2. SES does not say of a mail whether its opens or clicks are
// tracked: they are when the account has one of that type, of a mail with the same
// configuration set and in the same region, from 30 days before to 30 days after
// what is counted.
const (
	Sends              Metric = "SEND"
	Complaints         Metric = "COMPLAINT"        // but those of the account's suppression list
	PermanentBounces   Metric = "PERMANENT_BOUNCE" // but those of the account's suppression list
	TransientBounces   Metric = "TRANSIENT_BOUNCE" // and those of undetermined type
	Opens              Metric = "OPEN"             // recipients of a message who opened it, at the first time
	Clicks             Metric = "CLICK"            // recipients of a message who clicked in it, at the first time
	Deliveries         Metric = "DELIVERY"
	DeliveryOpens      Metric = "DELIVERY_OPEN"      // deliveries of mail whose opens are tracked
	DeliveryClicks     Metric = "DELIVERY_CLICK"     // deliveries of mail whose clicks are tracked
	DeliveryComplaints Metric = "DELIVERY_COMPLAINT" // deliveries to providers that tell of complaints
)

// Query says what is counted.
type Query struct {
	Metric   Metric
	From, To time.Time // events from From on and before To
	// Filters; "" for all. Identity is an address, or a domain for all mail from it, in any case of letters.
	Identity, ConfigurationSet, ISP string
	// OneRecipient leaves out mail with several recipients and to SES's simulator,
	// as SES does.
	OneRecipient bool
}

// Day is the count of one day.
type Day struct {
	Start time.Time // 00:00 UTC
	Count int64     // more than 0
}

// Dimension is what counts are told apart by, as SES v2's MetricDimensionName spells
// it.
type Dimension string

// The dimensions. Of what has no value in one, that is "".
const (
	ByISP              Dimension = "ISP"
	ByConfigurationSet Dimension = "CONFIGURATION_SET"
	ByIdentity         Dimension = "EMAIL_IDENTITY" // as SES says it
)

// GroupQuery says what is counted over the whole of a time.
type GroupQuery struct {
	Metric   Metric
	From, To time.Time   // events from From on and before To
	By       []Dimension // none for one count
	// Filters; none for all. Identity is as in Query.
	Identity                string
	ConfigurationSets, ISPs []string
	OneRecipient            bool // as in Query
}

// Group is a count.
type Group struct {
	Values []string // of GroupQuery.By
	Count  int64    // more than 0
}
