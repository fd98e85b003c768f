package events

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// ErrNoEvent is given for what SES sends that is no event: the message with which
// it tries a new destination, and notices about the account.
var ErrNoEvent = errors.New("a notice of the service, not an event")

const (
	// MaxRecord is how long a record may be, in bytes. Firehose, SNS and EventBridge
	// carry none above 1 MiB; in what Firehose could not deliver it is base64.
	MaxRecord = 3 << 19
	// MaxRecipients is how many events a record may have. SES sends a message to 50
	// recipients at most.
	MaxRecipients = 1000
)

// Decode gives the events of one record as SES publishes it: to Firehose, as the
// Message of an SNS notification, as the detail of an EventBridge event, or in
// either of these envelopes, or in the one that Firehose puts around what it could
// not deliver. A record has one event for each recipient that it is
// about, in the record's order, and at least one when the error is nil. The region
// that EventBridge gives goes before that of src. All text is valid UTF-8 without
// NUL: U+FFFD stands for the rest. Nothing refers to data afterwards.
//
// The error is ErrNoEvent, or says what is wrong with the record without quoting
// what it holds.
func Decode(src Source, data []byte) ([]Event, error) { return decode(src, data, 2) }

// decode looks into so many envelopes at most.
func decode(src Source, data []byte, envelopes int) ([]Event, error) {
	if len(data) > MaxRecord {
		return nil, fmt.Errorf("the record is longer than %d bytes", MaxRecord)
	}
	d := decoders.Get().(*decoder)
	defer d.putBack()
	err := d.read(data)
	switch {
	case err != nil && bytes.HasPrefix(bytes.TrimSpace(data), []byte("Successfully validated ")):
		return nil, ErrNoEvent // SES says so, in plain text, to a new SNS topic
	case err != nil:
		return nil, err
	case !d.hasMail:
		return d.inside(src, envelopes)
	}
	return d.events(src)
}

// inside decodes what is in the envelope that was read.
func (d *decoder) inside(src Source, envelopes int) ([]Event, error) {
	detail, message, raw := d.rest.value("detail"), d.rest.value("Message"), d.rest.value("rawData")
	kind := string(d.unquoted(d.rest.value("Type")))
	noMail := errors.New(`the record has no "mail"`)
	switch {
	case strings.HasSuffix(string(d.notificationType), "SubscriptionSucceeded"),
		kind == "SubscriptionConfirmation", kind == "UnsubscribeConfirmation":
		return nil, ErrNoEvent
	case detail != nil:
		if name := string(d.unquoted(d.rest.value("detail-type"))); strings.HasPrefix(name, "Advisor Recommendation Status ") || strings.HasPrefix(name, "Sending Status ") {
			return nil, ErrNoEvent
		}
		if region := d.unquoted(d.rest.value("region")); len(region) > 0 {
			if !isRegion(region) {
				return nil, errors.New(`the record has a "region" that is none`)
			}
			src.Region = string(region)
		}
		if detail.Kind() != '{' {
			return nil, noMail
		}
	case kind == "Notification" && message.Kind() == '"':
		detail = d.unquoted(message)
	case raw != nil && raw.Kind() == '"': // what Firehose could not deliver, as it writes it to its bucket
		text, err := base64.StdEncoding.AppendDecode(nil, d.unquoted(raw))
		if err != nil {
			return nil, errors.New(`the record has a "rawData" that is not base64`)
		}
		if envelopes == 0 {
			return nil, noMail
		}
		return decodeEach(src, text, envelopes-1)
	default:
		return nil, noMail
	}
	if envelopes == 0 {
		return nil, noMail
	}
	return decode(src, detail, envelopes-1)
}

var errTooDeep = fmt.Errorf("the record has values that are nested more than %d times", maxDepth)

// decodeEach decodes what may be several records. All of them must be readable.
func decodeEach(src Source, data []byte, envelopes int) (all []Event, err error) {
	err = errors.New(`the record has nothing in "rawData"`)
	for record := range Records(data) {
		found, failed := decode(src, record, envelopes)
		if err = failed; failed != nil && failed != ErrNoEvent {
			return nil, failed
		}
		all = append(all, found...)
	}
	if len(all) > 0 {
		return all, nil
	}
	return nil, err
}

func isRegion(name []byte) bool {
	for _, c := range name {
		if c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(name) <= 32
}

// shape is how SES spells a type of event, and the name of the object that tells
// more of it.
type shape struct {
	Type
	object []byte
}

var shapes = map[string]shape{
	"Send": {Send, []byte("send")}, "Reject": {Reject, []byte("reject")}, "Bounce": {Bounce, []byte("bounce")}, "Complaint": {Complaint, []byte("complaint")},
	"Delivery": {Delivery, []byte("delivery")}, "Open": {Open, []byte("open")}, "Click": {Click, []byte("click")},
	"Rendering Failure": {RenderingFailure, []byte("failure")}, "RenderingFailure": {RenderingFailure, []byte("failure")},
	"DeliveryDelay": {DeliveryDelay, []byte("deliveryDelay")}, "Subscription": {Subscription, []byte("subscription")},
}

// shape gives the type of the record and the name of its object. A type that is
// not known is taken to follow SES's rule: the object has its name, in camel case.
func (d *decoder) shape() shape {
	name := d.eventType
	if len(name) == 0 {
		name = d.notificationType // instead, in feedback notifications of an identity
	}
	s, known := shapes[string(name)]
	if known || len(name) == 0 {
		return s
	}
	camel := []rune(strings.ReplaceAll(string(name), " ", ""))
	if len(camel) > 0 {
		camel[0] = unicode.ToLower(camel[0])
	}
	return shape{Type(d.keep("eventType", name, maxType)), []byte(string(camel))}
}

// events makes the record's events, one for each recipient.
func (d *decoder) events(src Source) ([]Event, error) {
	s := d.shape()
	switch {
	case len(d.id) == 0:
		return nil, errors.New(`the record has no "messageId" in "mail"`)
	case len(d.id) > maxMessageID:
		return nil, fmt.Errorf(`the record has a "messageId" longer than %d bytes`, maxMessageID)
	case s.Type == "":
		return nil, errors.New(`the record has no "eventType"`)
	}
	if err := d.readObject(s.object); err != nil {
		return nil, err
	}
	if len(d.to) == 0 { // it is about the whole message
		for _, address := range d.destination {
			d.to = append(d.to, recipient{address: address})
		}
	}
	if len(d.to) == 0 {
		d.to = append(d.to, recipient{}) // whom it is about is not said, and it happened all the same
	}
	if len(d.to) > MaxRecipients {
		return nil, fmt.Errorf("the record is about more than %d recipients", MaxRecipients)
	}

	for _, all := range []*members{&d.rest, &d.mailRest, &d.objectRest} {
		if all.tooDeep() {
			return nil, errTooDeep
		}
		if len(d.to) > 1 {
			*all = all.settled() // it is written again for each recipient of whom more is said
		}
	}
	e := Event{Source: src, Type: s.Type, Multi: len(d.destination) > 1 || len(d.to) > 1}
	if err := d.times(&e); err != nil {
		return nil, err
	}
	d.texts(&e)

	plain := d.details(nil)
	shared := len(d.cut)
	all := make([]Event, len(d.to))
	for i, to := range d.to {
		d.cut = d.cut[:shared]
		e.Destination = d.keep("destination", bare(to.address), maxAddress)
		e.Diagnostic = d.keep("diagnosticCode", to.diagnostic, maxText)
		domain := DomainOf(e.Destination)
		e.ISP = ispOf(domain)
		e.Simulator = domain == simulator
		e.Details = plain
		if to.rest != nil || len(d.cut) > shared {
			e.Details = d.details(to.rest)
		}
		all[i] = e
	}
	return all, nil
}

const simulator = "simulator.amazonses.com"

// times puts into e when it happened and when the message was sent. Either stands
// for the other when SES does not give it, as it does for the types that have no
// time of their own.
func (d *decoder) times(e *Event) error {
	sent, sentOK := parseTime(d.sent)
	at, atOK := parseTime(d.at)
	switch {
	case !sentOK && len(d.sent) > 0 || !atOK && len(d.at) > 0:
		return errors.New("the record has a time that cannot be read")
	case !sentOK && !atOK:
		return errors.New(`the record has no "timestamp"`)
	case !sentOK:
		sent = at
	case !atOK:
		at = sent
	}
	e.Time, e.Sent = at, sent
	return nil
}

// texts puts into e what is the same for all recipients.
func (d *decoder) texts(e *Event) {
	e.MessageID = d.keep("messageId", d.id, maxMessageID)
	from := bare(d.source)
	if len(from) == 0 {
		from = bare(d.headerFrom)
	}
	e.From = d.keep("source", from, maxAddress)
	e.Subject = d.keep("subject", d.subject, maxText)
	if len(d.tags) > 0 {
		start := len(d.written)
		d.written = d.tags.appendTo(d.written)
		if tags := d.written[start:]; len(tags) <= maxTags {
			e.Tags = d.keep("tags", tags, maxTags)
		} else {
			d.noteCut("tags", len(tags))
		}
	}
	e.ConfigurationSet = d.keep("ses:configuration-set", d.configurationSet, maxName)
	e.Identity = d.identity(e)

	if len(d.account) > 0 && string(d.account) != e.Account {
		d.mailRest = append(d.mailRest, textMember("sendingAccountId", d.account))
	}

	e.BounceType = strings.ToUpper(d.keep("bounceType", d.bounceType, maxName))
	e.SubType = d.keep("subType", d.subType, maxName)
	e.FeedbackID = d.keep("feedbackId", d.feedbackID, maxName)
	e.FeedbackType = d.keep("complaintFeedbackType", d.feedbackType, maxName)
	e.DelayType = d.keep("delayType", d.delayType, maxName)
	e.IP = d.keep("ipAddress", d.ip, maxName)
	e.UserAgent = d.keep("userAgent", d.userAgent, maxText)
	e.Link = d.keep("link", d.link, maxLink)
}

// identity gives the verified identity that the message was sent for. Whose it is
// is kept beside it when that is not whose event it is: mail is then sent with
// somebody else's permission.
func (d *decoder) identity(e *Event) string {
	if len(d.arn) > 0 { // arn:aws:ses:REGION:ACCOUNT:identity/NAME
		owner, name, isIdentity := bytes.Cut(d.arn, []byte(":identity/"))
		owner, ours := bytes.CutSuffix(owner, []byte(e.Account))
		ours = ours && bytes.HasSuffix(bytes.TrimSuffix(owner, []byte(":")), []byte(e.Region))
		if !ours || !isIdentity {
			d.mailRest = append(d.mailRest, textMember("sourceArn", d.arn))
		}
		if isIdentity {
			return d.keep("sourceArn", name, maxAddress)
		}
	}
	if len(d.fromDomain) > 0 {
		return d.keep("ses:from-domain", d.fromDomain, maxAddress)
	}
	return DomainOf(e.From)
}

// bare takes the display name off an address.
func bare(address []byte) []byte {
	address = bytes.TrimSpace(address)
	if bytes.HasSuffix(address, []byte(">")) {
		if at := bytes.LastIndexByte(address, '<'); at >= 0 {
			return address[at+1 : len(address)-1]
		}
	}
	return address
}

// parseTime reads a time as SES writes it, or as seconds or milliseconds since
// 1970.
func parseTime(text []byte) (at time.Time, ok bool) {
	if len(text) == 0 || len(text) > 40 {
		return at, false
	}
	s := string(text)
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		at, err = time.Parse("2006-01-02T15:04:05Z0700", s) // +0000, without the colon
	}
	if err != nil {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || !(n >= 0 && n < 1e13) { // not a number is not either
			return at, false
		}
		if n < 1e11 {
			n *= 1000
		}
		at = time.UnixMilli(int64(n))
	}
	at = at.UTC().Truncate(time.Millisecond)
	return at, at.Year() >= 1990 && at.Year() < 2200
}
