// Package events owns the email event: what it holds, how Amazon SES spells it,
// and which mailbox provider a recipient is with.
//
// It promises that Decode takes every form of event that SES is known to publish,
// that it loses nothing that SES says of an event, within Event's bounds, but what
// belongs to the message itself (headers, and of commonHeaders all but the subject,
// and from where source is missing) and to the way (the envelopes of SNS and
// EventBridge), and that the same event gives the same
// Key, however often and by whatever way it comes.
//
// It knows neither HTTP nor SQL, and may import nothing of Sesame.
package events

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Type is what happened, as SES v2's EventType spells it. A type that Sesame does
// not know is kept as it came.
type Type string

// The types of SES v2's EventType.
const (
	Send             Type = "SEND"
	Reject           Type = "REJECT"
	Bounce           Type = "BOUNCE"
	Complaint        Type = "COMPLAINT"
	Delivery         Type = "DELIVERY"
	Open             Type = "OPEN"
	Click            Type = "CLICK"
	RenderingFailure Type = "RENDERING_FAILURE"
	DeliveryDelay    Type = "DELIVERY_DELAY"
	Subscription     Type = "SUBSCRIPTION"
)

// Source is whose events a record holds: Decode gives its events to them.
type Source struct {
	Account string // 12 digits
	Region  string // "us-east-1"
}

// Event is one event of one recipient of one message. Text that SES did not give
// is empty. Decode cuts what is longer than it says here, in bytes: it ends then in
// "…" and a hash of the whole, and Details says so.
type Event struct {
	Source
	MessageID   string    // SES's, not the Message-ID header field; 256
	Destination string    // the recipient's address, as SES spells it; 512
	Type        Type      // 64
	Time        time.Time // when it happened; UTC, whole milliseconds
	Sent        time.Time // when the message was accepted for sending; UTC, whole milliseconds

	From             string // address without display name; 512
	Subject          string // 4,096
	ConfigurationSet string // 256
	Identity         string // verified identity: an address or a domain; 512
	ISP              string // "Gmail"; UnknownISP when the domain is not in the table
	Tags             string // JSON object in order of names, a list of values each; none above 32,768
	Multi            bool   // the message had more recipients than this one
	Simulator        bool   // the recipient is SES's mailbox simulator

	BounceType   string // "PERMANENT", "TRANSIENT", "UNDETERMINED"; 256
	SubType      string // of a bounce or complaint, as SES spells it: "General"; 256
	Diagnostic   string // what the recipient's mail server said of a bounce or delay; 4,096
	FeedbackType string // of a complaint: "abuse"; 256
	DelayType    string // of a delay: "MailboxFull"; 256
	Link         string // that was clicked; 8,192
	UserAgent    string // of who opened, clicked or complained; 4,096
	IP           string // of who opened or clicked; 256
	FeedbackID   string // of a bounce or complaint; 256
	Details      string // JSON object in order of names: whatever else SES said, in SES's places and names; 16,384

	Arrived time.Time // when a store got it, as it says; zero before
}

// Key is made of what the event says, so that the same event, delivered again or
// by another way, has the same key: of its source, message, recipient, type and
// time, and of what tells apart events that share these (kind of bounce or delay,
// feedback, link, client). What the message holds and what mail servers said of it
// is not part. Of a type that Sesame does not know, Details is. Two events of one
// source and day get the same key by chance less often than once in 2^64 pairs.
//
// Keys are stored: events that are the same today must have the same key in every
// version of Sesame.
func (e *Event) Key() uint64 {
	var unknown string
	switch e.Type {
	case Send, Reject, Bounce, Complaint, Delivery, Open, Click, RenderingFailure, DeliveryDelay, Subscription:
	default:
		unknown = e.Details
	}
	b := make([]byte, 0, 512)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Time.UnixMilli()))
	for _, s := range [...]string{
		e.Account, e.Region, e.MessageID, e.Destination, string(e.Type), e.BounceType, e.SubType,
		e.FeedbackID, e.DelayType, e.Link, e.UserAgent, e.IP, unknown,
	} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return xxhash.Sum64(b)
}

// Size is how many bytes its text has.
func (e *Event) Size() int {
	size := 0
	for _, s := range [...]string{
		e.Account, e.Region, e.MessageID, e.Destination, string(e.Type), e.From, e.Subject, e.ConfigurationSet, e.Identity, e.ISP, e.Tags,
		e.BounceType, e.SubType, e.Diagnostic, e.FeedbackType, e.DelayType, e.Link, e.UserAgent, e.IP, e.FeedbackID, e.Details,
	} {
		size += len(s)
	}
	return size
}

// MessageNumber is a number for a message id that rises with the message's time,
// so that mail of one time is stored side by side: SES's ids begin with four
// hexadecimal digits for the region and twelve for the milliseconds since 1970.
// Ids of another form get a negative number, made of a hash. Two messages may have
// one number.
func MessageNumber(id string) int64 {
	const from, to = 1262304000000, 4102444800000 // 2010 to 2100
	if len(id) > 17 && id[16] == '-' {
		ms, ok := int64(0), true
		for i := range 16 {
			d := strings.IndexByte("0123456789abcdef", id[i])
			ok = ok && d >= 0
			if i >= 4 {
				ms = ms<<4 | int64(d)
			}
		}
		if ok && ms >= from && ms < to {
			return ms
		}
	}
	return -1 - int64(xxhash.Sum64String(id)>>1)
}

// DomainOf gives the domain of an address in lower case, or the whole of what has
// no @.
func DomainOf(address string) string {
	return strings.ToLower(strings.TrimSuffix(address[strings.LastIndexByte(address, '@')+1:], "."))
}
