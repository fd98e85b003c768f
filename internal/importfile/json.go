package importfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// openJSON tells newline-delimited objects from one document: they begin with
// a line that is one complete object without a member "items".
func openJSON(w *window) (items, error) {
	if err := w.skipBlank(); err == io.EOF {
		return nil, &FormatError{Offset: -1, Reason: "the file is empty"}
	} else if err != nil {
		return nil, err
	}
	data, err := w.peek(w.maxLine + 1)
	if err != nil {
		return nil, err
	}
	line, _, _ := bytes.Cut(data, []byte{'\n'})
	if line[0] != '{' && line[0] != '[' || looksLike(line, "") != "" {
		return nil, notADocument(w.line, line)
	}
	if line[0] == '[' || len(line) > w.maxLine || !isJSON(line) {
		return &document{w: w}, nil
	}
	if _, ok := member(line, "items"); ok {
		return &document{w: w}, nil
	}
	_, address := member(line, "address")
	if _, v2 := member(line, "emailAddress"); v2 && !address {
		return nil, notADocument(w.line, line)
	}
	return &jsonLines{w: w}, nil
}

func notADocument(number int64, line []byte) error {
	return &FormatError{Line: number, Offset: -1,
		Reason: `expected a JSON document like {"items":[{"address":"..."}]}, but found ` + found(line, JSON)}
}

// jsonLines reads one object a line.
type jsonLines struct {
	w       *window
	scratch []byte
}

func (j *jsonLines) next(it *Item) error {
	for {
		line, long, err := j.w.nextLine()
		if err != nil {
			return err
		}
		number := j.w.line - 1
		line = trim(line)
		switch {
		case long:
			*it = bad(number, line, LineTooLong)
			return nil
		case len(line) == 0:
			continue
		case line[0] == '{':
			if value, size := plainItem(line); size == len(line) {
				it.Line, it.Value, it.Bad = number, value, ""
				return nil
			}
		}
		switch {
		case !isJSON(line):
			*it = bad(number, line, NotJSON)
		case line[0] != '{':
			*it = bad(number, line, NotAnObject)
		default:
			*it = j.w.addressOf(number, line, &j.scratch)
		}
		return nil
	}
}

// isJSON says whether a line is one JSON value, perhaps with blanks around it.
func isJSON(line []byte) bool {
	var s scanner
	n, err := s.feed(line)
	return err == nil && s.finish() && len(bytes.TrimLeft(line[n:], " \t\r")) == 0
}

// document reads an array of items, bare or as the member "items" of an
// object.
type document struct {
	w       *window
	object  bool // the array is a member of an object
	inItems bool // the array was opened
	any     bool // an element was given
	scratch []byte
}

func (d *document) next(it *Item) error {
	if !d.inItems {
		if err := d.openItems(); err != nil {
			return err
		}
		d.inItems = true
	}
	c, err := d.peek()
	if err != nil {
		return err
	}
	if c == ']' {
		d.w.lo++
		return d.finish()
	}
	if d.any {
		if c != ',' {
			return d.broken(0, unexpected(c, "where a comma or ] should be"))
		}
		d.w.lo++
		if _, err := d.peek(); err != nil {
			return err
		}
	}
	d.any = true
	number := d.w.line
	if value, size := plainItem(d.w.buf[d.w.lo:d.w.hi]); size > 0 && size <= d.w.maxLine {
		d.w.lo += size
		it.Line, it.Value, it.Bad = number, value, ""
		return nil
	}
	raw, long, err := d.value()
	if err != nil {
		return err
	}
	switch {
	case long:
		*it = bad(number, raw, LineTooLong)
	case raw[0] == '"':
		*it = d.w.text(number, raw, &d.scratch)
	case raw[0] != '{':
		*it = bad(number, raw, NotAnObject)
	default:
		*it = d.w.addressOf(number, raw, &d.scratch)
	}
	return nil
}

// openItems moves past the bracket that opens the items.
func (d *document) openItems() error {
	c, err := d.peek()
	if err != nil {
		return err
	}
	d.w.lo++
	if c == '[' {
		return nil
	}
	d.object = true
	if c, err = d.peek(); err != nil {
		return err
	}
	for c != '}' {
		isItems, err := d.memberName()
		if err != nil {
			return err
		}
		if c, err = d.peek(); err != nil {
			return err
		}
		if isItems {
			if c != '[' {
				return d.broken(0, fmt.Errorf(`the member "items" is not an array`))
			}
			d.w.lo++
			return nil
		}
		if c, err = d.afterMember(); err != nil {
			return err
		}
	}
	return d.broken(0, fmt.Errorf(`the document ends without a member "items"`))
}

// finish reads what follows the items and gives io.EOF if it is as it should.
func (d *document) finish() error {
	if d.object {
		c, err := d.afterValue()
		if err != nil {
			return err
		}
		for c != '}' {
			isItems, err := d.memberName()
			if err != nil {
				return err
			}
			if isItems {
				return d.broken(0, fmt.Errorf(`the document has two members "items"`))
			}
			if c, err = d.afterMember(); err != nil {
				return err
			}
		}
		d.w.lo++
	}
	if err := d.w.skipBlank(); err != nil {
		return err // io.EOF, as it should be
	}
	return d.broken(0, unexpected(d.w.buf[d.w.lo], "after the end of the document"))
}

// memberName moves past a name and its colon and says whether it is "items".
func (d *document) memberName() (isItems bool, err error) {
	c, err := d.peek()
	if err != nil {
		return false, err
	}
	if c != '"' {
		return false, d.broken(0, unexpected(c, "where a member's name should be"))
	}
	raw, long, err := d.value()
	if err != nil {
		return false, err
	}
	isItems = !long && isName(raw, "items")
	if c, err = d.peek(); err != nil {
		return false, err
	}
	if c != ':' {
		return false, d.broken(0, unexpected(c, "where a colon should be"))
	}
	d.w.lo++
	return isItems, nil
}

// afterMember passes over a member's value and what follows: see afterValue.
func (d *document) afterMember() (byte, error) {
	if _, err := d.peek(); err != nil {
		return 0, err
	}
	if _, _, err := d.value(); err != nil {
		return 0, err
	}
	return d.afterValue()
}

// afterValue moves past a comma, or to the brace that ends the document, and
// gives which.
func (d *document) afterValue() (byte, error) {
	c, err := d.peek()
	if err != nil {
		return 0, err
	}
	switch c {
	case ',':
		d.w.lo++
	case '}':
	default:
		return 0, d.broken(0, unexpected(c, "where a comma or } should be"))
	}
	return c, nil
}

// peek moves to the next byte that is not blank and gives it.
func (d *document) peek() (byte, error) {
	if err := d.w.skipBlank(); err == io.EOF {
		return 0, d.broken(0, fmt.Errorf("the document ends too early"))
	} else if err != nil {
		return 0, err
	}
	return d.w.buf[d.w.lo], nil
}

// value gives the value at the front and moves past it. A value longer than
// maxLine is passed over: long is true and raw is its beginning.
func (d *document) value() (raw []byte, long bool, err error) {
	w := d.w
	var s scanner
	for scanned := 0; ; {
		n, err := s.feed(w.buf[w.lo+scanned : w.hi])
		scanned += n
		if err != nil {
			w.line += s.lines
			return nil, false, d.broken(scanned, err)
		}
		if !long && scanned > w.maxLine {
			long = true
			raw = w.start[:copy(w.start, w.buf[w.lo:w.lo+scanned])]
		}
		if !long && s.done {
			raw = w.buf[w.lo : w.lo+scanned]
		}
		if long || s.done {
			w.lo += scanned
			scanned = 0
		}
		if s.done {
			w.line += s.lines
			return raw, long, nil
		}
		if err := w.fill(); err == io.EOF {
			w.line += s.lines
			return nil, false, d.broken(scanned, fmt.Errorf("the document ends too early"))
		} else if err != nil {
			return nil, false, err
		}
	}
}

// broken says that the document cannot be read from n bytes after the front.
func (d *document) broken(n int, why error) error {
	return &FormatError{Line: d.w.line, Offset: d.w.offset() + int64(n), Reason: "the JSON document is broken: " + why.Error()}
}

// plainItem gives the value and the size of an item that data begins with and
// that is as almost every item is: a string, or an object with an address and
// nothing else, in ASCII without escapes. It gives size 0 for any other, right or
// wrong, and for one that data ends in.
func plainItem(data []byte) (value []byte, size int) {
	text, object := bytes.CutPrefix(data, []byte(`{"address":`))
	if object && len(text) > 0 && text[0] == ' ' {
		text = text[1:]
	}
	if len(text) == 0 || text[0] != '"' {
		return nil, 0
	}
	value = text[1:]
	n := plainText(value)
	rest := value[n:]
	if len(rest) == 0 || rest[0] != '"' || object && (len(rest) == 1 || rest[1] != '}') {
		return nil, 0
	}
	size = len(data) - len(rest) + 1
	if object {
		size++
	}
	if value = trim(value[:n]); len(value) == 0 {
		return nil, 0
	}
	return value, size
}

// plainText gives how many bytes text begins with that are ASCII and that a JSON
// string may hold as they are (RFC 8259 section 7): no quote, no backslash, no
// control character.
func plainText(text []byte) int {
	const ones = 0x0101010101010101
	n := 0
	for ; n+8 <= len(text); n += 8 {
		// Eight bytes at once. A byte's highest bit is set if it is none of
		// those; or because one before it is none, which is found first.
		x := binary.LittleEndian.Uint64(text[n:])
		quote, backslash := x^ones*'"', x^ones*'\\'
		if stop := (x | (x - ones*' ') | (quote - ones) | (backslash - ones)) & (ones << 7); stop != 0 {
			return n + bits.TrailingZeros64(stop)/8
		}
	}
	for n < len(text) && text[n] >= ' ' && text[n] < 0x80 && text[n] != '"' && text[n] != '\\' {
		n++
	}
	return n
}

// addressOf gives the item that a valid JSON object stands for.
func (w *window) addressOf(number int64, object []byte, scratch *[]byte) Item {
	value, ok := member(object, "address")
	switch {
	case !ok:
		return bad(number, object, MissingAddress)
	case value[0] != '"':
		return bad(number, object, NotAString)
	}
	return w.text(number, value, scratch)
}

// text gives the item that a valid JSON string stands for.
func (w *window) text(number int64, raw []byte, scratch *[]byte) Item {
	value, ok := raw[1:len(raw)-1], true
	if bytes.IndexByte(value, '\\') >= 0 {
		*scratch, ok = unescape((*scratch)[:0], value)
		value = *scratch
	}
	value = trim(value)
	switch {
	case len(value) == 0:
		return bad(number, raw, Empty)
	case !ok || !w.isText(value):
		return bad(number, raw, NotUTF8)
	}
	return Item{Line: number, Value: value}
}

// member gives the value of the last member of that name in a valid object.
func member(object []byte, name string) (value []byte, ok bool) {
	rest := object[1:]
	for {
		rest = skipSpace(rest)
		if rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
		if rest[0] == '}' {
			return value, ok
		}
		n := extent(rest)
		hit := isName(rest[:n], name)
		rest = skipSpace(skipSpace(rest[n:])[1:]) // past the colon
		n = extent(rest)
		if hit {
			value, ok = rest[:n], true
		}
		rest = rest[n:]
	}
}

// extent gives the length of the value at the front of valid JSON.
func extent(data []byte) int {
	var s scanner
	n, _ := s.feed(data)
	return n
}

func skipSpace(b []byte) []byte {
	for b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n' {
		b = b[1:]
	}
	return b
}

// isName says whether a valid JSON string is name.
func isName(raw []byte, name string) bool {
	raw = raw[1 : len(raw)-1]
	if bytes.IndexByte(raw, '\\') < 0 || len(raw) > 6*len(name) {
		return string(raw) == name
	}
	raw, _ = unescape(nil, raw)
	return string(raw) == name
}

// unescape appends the text of a valid JSON string to dst. ok is false if an
// escape is half of a UTF-16 pair, which stands for no character.
func unescape(dst, s []byte) (text []byte, ok bool) {
	ok = true
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(dst, s...), ok
		}
		dst = append(dst, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(s)
			s = s[4:]
			if utf16.IsSurrogate(r) {
				var low rune
				if len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
					low = hex4(s[2:])
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					ok = false
				} else {
					s = s[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
}

// hex4 gives the number of four hexadecimal digits.
func hex4(s []byte) rune {
	return unhex(s[0])<<12 | unhex(s[1])<<8 | unhex(s[2])<<4 | unhex(s[3])
}
