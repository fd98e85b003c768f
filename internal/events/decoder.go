package events

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// decoder reads one record. The text it finds is part of the record or of scratch;
// what becomes part of an Event is copied to kept.
type decoder struct {
	json  jsontext.Decoder
	input bytes.Buffer
	record
}

// record is what a record says, as far as an Event has a place for it, and the
// rest.
type record struct {
	scratch []byte          // text that had to be unquoted
	written []byte          // JSON that had to be written
	kept    strings.Builder // what events hold, as one piece of memory
	cut     members         // what is longer than an event holds, and how long it is
	joined  members         // details' own

	eventType, notificationType []byte
	rest                        members

	// Of "mail".
	hasMail                      bool
	id, sent, source, arn        []byte
	account, headerFrom, subject []byte
	destination                  [][]byte
	tags, mailRest               members
	configurationSet, fromDomain []byte // of tags

	// Of the object that tells of the event.
	object                            []byte // its name
	at                                []byte
	bounceType, subType, feedbackType []byte
	feedbackID, delayType             []byte
	ip, userAgent, link               []byte
	to                                []recipient
	list                              []byte // name of the member with the recipients
	objectRest                        members
	recipientRest                     members // of the recipient that is being read
}

// recipient is one of those that an event is about.
type recipient struct {
	address, diagnostic []byte
	rest                []byte // JSON object: what else is said of it; nil for nothing
}

// Making a decoder takes longer than reading a record with it.
var decoders = sync.Pool{New: func() any { return new(decoder) }}

// putBack lets go of the record, but not of the memory for the next one.
func (d *decoder) putBack() {
	most := max(cap(d.rest), cap(d.mailRest), cap(d.objectRest), cap(d.recipientRest), cap(d.destination), cap(d.tags), cap(d.to))
	if most > 256 || cap(d.scratch)+cap(d.written) > 64<<10 {
		return // that was an unusual one
	}
	d.input = bytes.Buffer{}
	r := &d.record
	d.record = record{
		scratch: r.scratch[:0], written: r.written[:0], cut: emptied(r.cut), joined: emptied(r.joined),
		rest: emptied(r.rest), mailRest: emptied(r.mailRest), objectRest: emptied(r.objectRest), recipientRest: emptied(r.recipientRest),
		destination: emptied(r.destination), tags: emptied(r.tags), to: emptied(r.to),
	}
	decoders.Put(d)
}

func emptied[S ~[]E, E any](s S) S {
	clear(s)
	return s[:0]
}

// Strict JSON in everything but what SES could not be blamed for: invalid UTF-8 is
// replaced, and of two members of one name the last counts.
var lenient = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// start makes data what is read next.
func (d *decoder) start(data []byte) {
	d.input = *bytes.NewBuffer(data) // which the decoder reads in place
	d.json.Reset(&d.input, lenient...)
}

// read reads the record but the object that tells of the event, whose name depends
// on the type.
func (d *decoder) read(data []byte) error {
	data = bytes.TrimPrefix(data, byteOrderMark)
	d.kept.Grow(min(len(data)/2, 4<<10))
	d.start(data)
	if kind := d.json.PeekKind(); kind != '{' && kind > 0 {
		return errors.New("the record is not a JSON object")
	}
	err := d.eachMember(d.member)
	if err == nil {
		if _, err = d.json.ReadToken(); err == io.EOF {
			return nil
		}
	}
	return unreadable(err)
}

// unreadable says what is wrong with a record without quoting it.
func unreadable(err error) error {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return fmt.Errorf("the record is not JSON, from byte %d on", syntax.ByteOffset+1)
	}
	return errors.New("the record is not JSON to its end")
}

func (d *decoder) member(name []byte) (err error) {
	switch string(name) {
	case "eventType":
		d.eventType, err = d.text()
	case "notificationType":
		d.notificationType, err = d.text()
	case "mail":
		if d.json.PeekKind() != '{' {
			return d.keepRest(&d.rest, name)
		}
		d.hasMail = true
		return d.eachMember(d.mailMember)
	default:
		return d.keepRest(&d.rest, name)
	}
	return err
}

func (d *decoder) mailMember(name []byte) (err error) {
	switch string(name) {
	case "timestamp":
		d.sent, err = d.text()
	case "messageId":
		d.id, err = d.text()
	case "source":
		d.source, err = d.text()
	case "sourceArn":
		d.arn, err = d.text()
	case "sendingAccountId":
		d.account, err = d.text()
	case "destination":
		d.destination = d.destination[:0]
		err = d.eachElement(func() error {
			address, err := d.text()
			d.destination = append(d.destination, address)
			return err
		})
	case "tags":
		if kind := d.json.PeekKind(); kind != '{' && kind != 'n' {
			return d.keepRest(&d.mailRest, name)
		}
		d.tags, d.configurationSet, d.fromDomain = d.tags[:0], nil, nil
		err = d.eachMember(d.tag)
	case "commonHeaders":
		err = d.eachMember(d.headerMember)
	case "headers", "headersTruncated": // are not kept
		_, err = d.json.ReadValue()
	default:
		err = d.keepRest(&d.mailRest, name)
	}
	return err
}

// headerMember keeps two of commonHeaders.
func (d *decoder) headerMember(name []byte) (err error) {
	switch string(name) {
	case "from":
		err = d.eachElement(func() error {
			from, err := d.text()
			if len(d.headerFrom) == 0 {
				d.headerFrom = from
			}
			return err
		})
	case "subject":
		d.subject, err = d.text()
	default:
		_, err = d.json.ReadValue()
	}
	return err
}

// tag reads a tag's list of values.
func (d *decoder) tag(name []byte) error {
	list, err := d.json.ReadValue()
	if err != nil {
		return err
	}
	first, one := onePlainText(list)
	if !one {
		list, first = writtenTexts(list)
	}
	d.tags = append(d.tags, member{name, list, true})
	switch string(name) {
	case "ses:configuration-set":
		d.configurationSet = first
	case "ses:from-domain":
		d.fromDomain = first
	}
	return nil
}

// onePlainText gives the text of a list of one string that needs no unquoting, as
// nearly all tags are.
func onePlainText(list jsontext.Value) (text []byte, ok bool) {
	if !bytes.HasPrefix(list, []byte(`["`)) || !bytes.HasSuffix(list, []byte(`"]`)) {
		return nil, false
	}
	text = list[2 : len(list)-2]
	return text, bytes.IndexByte(text, '"') < 0 && bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text)
}

// writtenTexts reads a list of any values, and gives it as a list of strings and
// the first of them.
func writtenTexts(list jsontext.Value) (written jsontext.Value, first []byte) {
	var aside decoder
	aside.start(list)
	written = append(written, '[')
	_ = aside.eachElement(func() error { // list was read, so it is JSON
		text, err := aside.text()
		if len(written) > 1 {
			written = append(written, ',')
		} else {
			first = text
		}
		written = appendQuoted(written, text)
		return err
	})
	return append(written, ']'), first
}

// readObject reads the member of the record that tells of the event. If there is
// none, or it is no object, there is nothing to tell, and what is there is kept.
func (d *decoder) readObject(name []byte) error {
	for i, m := range d.rest {
		if bytes.Equal(m.name, name) && m.value.Kind() == '{' {
			d.object = name
			d.rest = append(d.rest[:i], d.rest[i+1:]...)
			d.start(m.value)
			return d.eachMember(d.objectMember)
		}
	}
	return nil
}

// objectMember reads what SES says of an event. No two types of event mean
// different things by one name.
func (d *decoder) objectMember(name []byte) (err error) {
	switch string(name) {
	case "timestamp":
		d.at, err = d.text()
	case "bounceType":
		d.bounceType, err = d.text()
	case "bounceSubType", "complaintSubType":
		d.subType, err = d.text()
	case "feedbackId":
		d.feedbackID, err = d.text()
	case "complaintFeedbackType":
		d.feedbackType, err = d.text()
	case "delayType":
		d.delayType, err = d.text()
	case "ipAddress":
		d.ip, err = d.text()
	case "userAgent":
		d.userAgent, err = d.text()
	case "link":
		d.link, err = d.text()
	case "recipients", "bouncedRecipients", "complainedRecipients", "delayedRecipients":
		d.list, d.to = name, d.to[:0]
		err = d.eachElement(d.recipient)
	default:
		err = d.keepRest(&d.objectRest, name)
	}
	return err
}

// recipient reads a recipient: an object or an address.
func (d *decoder) recipient() (err error) {
	var r recipient
	if d.json.PeekKind() == '{' {
		d.recipientRest = d.recipientRest[:0]
		err = d.eachMember(func(name []byte) (err error) {
			switch string(name) {
			case "emailAddress":
				r.address, err = d.text()
			case "diagnosticCode":
				r.diagnostic, err = d.text()
			default:
				err = d.keepRest(&d.recipientRest, name)
			}
			return err
		})
		if d.recipientRest.tooDeep() {
			return errTooDeep
		}
		if len(d.recipientRest) > 0 {
			start := len(d.written)
			d.written = d.recipientRest.appendTo(d.written)
			r.rest = d.written[start:]
		}
	} else {
		r.address, err = d.text()
	}
	d.to = append(d.to, r)
	return err
}

// keepRest keeps a member that an Event has no place for.
func (d *decoder) keepRest(in *members, name []byte) error {
	value, err := d.json.ReadValue()
	*in = append(*in, member{name, value, false})
	return err
}

// eachMember calls read with the name of each member of the object that comes next;
// read reads the member's value. What is no object is passed over.
func (d *decoder) eachMember(read func(name []byte) error) error {
	if d.json.PeekKind() != '{' {
		_, err := d.json.ReadValue()
		return err
	}
	_, err := d.json.ReadToken()
	for err == nil && d.json.PeekKind() != '}' {
		var name jsontext.Value
		if name, err = d.json.ReadValue(); err == nil {
			err = read(d.unquoted(name))
		}
	}
	if err == nil {
		_, err = d.json.ReadToken()
	}
	return err
}

// eachElement calls read for each element of the list that comes next; read reads it. What
// is no list is a list of one, and null one of none.
func (d *decoder) eachElement(read func() error) error {
	kind := d.json.PeekKind()
	if kind == 'n' {
		_, err := d.json.ReadToken()
		return err
	}
	if kind != '[' {
		return read()
	}
	_, err := d.json.ReadToken()
	for err == nil && d.json.PeekKind() != ']' {
		err = read()
	}
	if err == nil {
		_, err = d.json.ReadToken()
	}
	return err
}

// text reads a value as text: of a string what it says, of null nothing, of
// anything else its JSON.
func (d *decoder) text() ([]byte, error) {
	value, err := d.json.ReadValue()
	return d.unquoted(value), err
}

// unquoted gives the text of a value that was read.
func (d *decoder) unquoted(value jsontext.Value) []byte {
	text := []byte(value)
	switch value.Kind() {
	case 'n':
		return nil
	case '"':
		text = value[1 : len(value)-1]
		if bytes.IndexByte(text, '\\') >= 0 || !utf8.Valid(text) {
			start := len(d.scratch)
			d.scratch, _ = jsontext.AppendUnquote(d.scratch, value) // tells of invalid UTF-8, which is replaced
			text = d.scratch[start:]
			if bytes.IndexByte(text, 0) >= 0 {
				text = bytes.ReplaceAll(text, []byte{0}, []byte("\uFFFD"))
			}
		}
		return text
	}
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	return text
}
