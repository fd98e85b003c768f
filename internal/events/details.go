package events

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json/jsontext"
)

// How many bytes of text an event holds. SES gives none of these limits; each is
// above what the service or the field's own standard allows.
const (
	maxMessageID = 256      // a record with a longer one is refused: cut, it would be another message's
	maxType      = 64       // of event
	maxName      = 256      // of a configuration set, a sub-type, a feedback id, an IP
	maxAddress   = 512      // RFC 5321 allows 320
	maxText      = 4 << 10  // subject, diagnostic, user agent
	maxLink      = 8 << 10  // browsers take less
	maxTags      = 32 << 10 // as JSON; SES allows 50 of 512 characters
	maxDetails   = 16 << 10 // as JSON
)

// keep copies text into what events hold. Of text that is too long it keeps the
// beginning, and a hash of all of it, so that what was different stays so.
func (d *decoder) keep(name string, text []byte, most int) string {
	if len(text) > most {
		d.noteCut(name, len(text))
		text = shorten(text, most)
	}
	start := d.kept.Len()
	d.kept.Write(text)
	return d.kept.String()[start:]
}

func (d *decoder) noteCut(name string, length int) {
	d.cut = append(d.cut, member{[]byte(name), strconv.AppendInt(nil, int64(length), 10), true})
}

func shorten(text []byte, most int) []byte {
	const hash = 16
	n := most - len("…") - hash
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return fmt.Appendf(bytes.Clone(text[:n]), "…%016x", xxhash.Sum64(text))
}

// details gives Event.Details: what the record says beside Event's other fields,
// in the places and under the names that SES gives it. recipient is what is said
// of one recipient only, nil for nothing.
//
// In mail, sendingAccountId and sourceArn are there only if they tell of another
// account or region than the event's. The member sesame:cut is not SES's: it says
// which texts an event holds the beginning of, or nothing at all (tags, details),
// and how many bytes they had.
func (d *decoder) details(recipient []byte) string {
	start := len(d.written)
	defer func() { d.written = d.written[:start] }()
	object := d.objectRest
	if recipient != nil {
		list := slices.Concat([]byte("["), recipient, []byte("]"))
		object = append(object[:len(object):len(object)], member{d.list, list, true})
	}
	d.joined = append(d.joined[:0], d.rest...)
	d.join(mailName, d.mailRest)
	d.join(d.object, object)
	d.join(cutName, d.cut)
	if len(d.joined) == 0 {
		return ""
	}
	from := len(d.written)
	d.written = d.joined.appendTo(d.written)
	if length := len(d.written) - from; length > maxDetails {
		d.noteCut("details", length)
		// It would be too long for every recipient; what is said of one may not be.
		d.rest, d.mailRest, d.objectRest = d.rest[:0], d.mailRest[:0], d.objectRest[:0]
		d.joined = d.joined[:0]
		d.join(cutName, d.cut)
		from = len(d.written)
		d.written = d.joined.appendTo(d.written)
	}
	return d.keep("", d.written[from:], maxDetails)
}

var mailName, cutName = []byte("mail"), []byte("sesame:cut")

// join puts an object of the members into joined, unless there are none.
func (d *decoder) join(name []byte, all members) {
	if len(all) > 0 {
		start := len(d.written)
		d.written = all.appendTo(d.written)
		d.joined = append(d.joined, member{name, d.written[start:], true})
	}
}

// member is a member of a JSON object.
type member struct {
	name    []byte
	value   jsontext.Value
	written bool // value is as appendJSON writes it
}

func textMember(name string, text []byte) member {
	return member{[]byte(name), appendQuoted(nil, text), true}
}

type members []member

// value gives the value of the last member of the name, nil if there is none.
func (all members) value(name string) jsontext.Value {
	for _, m := range slices.Backward(all) {
		if string(m.name) == name {
			return m.value
		}
	}
	return nil
}

// tooDeep says whether a value has objects and lists in each other more than
// maxDepth times: to bring such into order takes long.
func (all members) tooDeep() bool {
	for _, m := range all {
		depth, inText := 0, false
		for i := 0; i < len(m.value); i++ {
			switch c := m.value[i]; {
			case c == '\\':
				i++
			case c == '"':
				inText = !inText
			case inText:
			case c == '{' || c == '[':
				if depth++; depth > maxDepth {
					return true
				}
			case c == '}' || c == ']':
				depth--
			}
		}
	}
	return false
}

// settled gives the members in order of their names, each once, as appendJSON
// writes them.
func (all members) settled() members {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b member) int { return bytes.Compare(a.name, b.name) })
	out := sorted[:0]
	for i, m := range sorted {
		if i+1 < len(sorted) && bytes.Equal(m.name, sorted[i+1].name) {
			continue // the last one counts
		}
		if !m.written {
			m.value, m.written = appendJSON(nil, m.value), true
		}
		out = append(out, m)
	}
	return out
}

// appendTo writes the object of the members, in order of their names.
func (all members) appendTo(to []byte) []byte {
	order := make([]int, 0, 16) // sorting these is quicker than sorting members
	for i := range all {
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(bytes.Compare(all[a].name, all[b].name), a-b)
	})
	to = append(to, '{')
	start := len(to)
	for i, at := range order {
		m := all[at]
		if i+1 < len(order) && bytes.Equal(m.name, all[order[i+1]].name) {
			continue // the last one counts
		}
		if len(to) > start {
			to = append(to, ',')
		}
		to = append(appendQuoted(to, m.name), ':')
		if m.written {
			to = append(to, m.value...)
		} else {
			to = appendJSON(to, m.value)
		}
	}
	return append(to, '}')
}

// appendJSON writes a value without white space, its objects' members in order of
// their names, and its text as valid UTF-8.
func appendJSON(to []byte, value jsontext.Value) []byte {
	if kind := value.Kind(); kind != '{' && kind != '[' && bytes.IndexByte(value, '\\') < 0 && utf8.Valid(value) {
		return append(to, value...)
	}
	to, _ = jsontext.AppendFormat(to, value, canonical...) // the value was read, so it is JSON
	return to
}

var canonical = append([]jsontext.Options{jsontext.ReorderRawObjects(true)}, lenient...)

// appendQuoted writes text, which is valid UTF-8, as a JSON string.
func appendQuoted(to, text []byte) []byte {
	for _, c := range text {
		if c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			to, _ = jsontext.AppendQuote(to, text)
			return to
		}
	}
	to = append(to, '"')
	to = append(to, text...)
	return append(to, '"')
}
