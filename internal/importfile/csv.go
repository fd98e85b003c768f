package importfile

import (
	"bytes"
	"io"
	"unicode"
)

// csvFile reads RFC 4180 records and gives one column of them.
type csvFile struct {
	w       *window
	sep     byte
	column  int    // from 0
	scratch []byte // a quoted value without its doubled quotes
}

// openCSV reads the header, or sees that the file is a list without one.
func openCSV(w *window, validEntry func([]byte) bool) (*csvFile, error) {
	c := &csvFile{w: w, sep: ','}
	for {
		line, long, err := w.nextLine()
		if err == io.EOF {
			return nil, &FormatError{Offset: -1, Reason: "the file is empty"}
		} else if err != nil {
			return nil, err
		}
		if long {
			return nil, noHeader(w.line-1, line)
		}
		if !c.blank(line) {
			break
		}
	}
	w.rewind()
	data, err := w.peek(w.maxLine + 1)
	if err != nil {
		return nil, err
	}
	line, _, _ := bytes.Cut(data, []byte{'\n'})
	c.sep = separator(line)
	if column, size := c.header(data); column >= 0 {
		c.column = column
		w.pass(size)
		return c, nil
	}
	// A list without a header, as SES v2 has for its suppression list. Its
	// separator is a comma: an entry may hold a semicolon, and only a header
	// tells the two apart.
	c.sep = ','
	rec := record{data: data, sep: c.sep, max: w.maxLine}
	first, doubled, _, ok := rec.field()
	if doubled {
		first = undouble(nil, first)
	}
	if ok && validEntry != nil && validEntry(trim(first)) {
		return c, nil
	}
	return nil, noHeader(w.line, line)
}

func noHeader(number int64, line []byte) error {
	return &FormatError{Line: number, Offset: -1, Reason: `expected a CSV file whose first line names its columns, ` +
		`one of them "address", but found ` + found(line, CSV)}
}

// header gives the address column of the record that data begins with and the
// size of the record, or -1 if there is no such column.
//
// Where several columns could be meant the more telling name wins, since an
// "address" beside an "email" is a street.
func (c *csvFile) header(data []byte) (column, size int) {
	column, best := -1, 0
	rec := record{data: data, sep: c.sep, max: c.w.maxLine}
	for n := 0; ; n++ {
		name, _, last, ok := rec.field()
		if !ok {
			return -1, 0
		}
		rank := 0
		switch columnName(name) {
		case "emailaddress":
			rank = 3
		case "email":
			rank = 2
		case "address":
			rank = 1
		}
		if rank > best {
			column, best = n, rank
		}
		if last {
			return column, rec.pos
		}
	}
}

// columnName takes quotes, blanks, "_" and "-" out of a column's name and
// lowers its case.
func columnName(name []byte) string {
	if len(name) > excerptLen {
		return ""
	}
	return string(bytes.Map(func(c rune) rune {
		switch c {
		case ' ', '\t', '_', '-', '"', '\'':
			return -1
		}
		return unicode.ToLower(c)
	}, name))
}

// separator gives what a header line separates its names with: a semicolon or
// a tab, as spreadsheet programs write where the comma is a decimal mark, if
// there is no comma.
func separator(line []byte) byte {
	quoted, semicolons, tabs := false, 0, 0
	for _, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ',':
			return ','
		case c == ';':
			semicolons++
		case c == '\t':
			tabs++
		}
	}
	switch {
	case semicolons == 0 && tabs == 0:
		return ','
	case semicolons >= tabs:
		return ';'
	}
	return '\t'
}

func (c *csvFile) next(it *Item) error {
	w := c.w
	for {
		line, long, err := w.nextLine()
		if err != nil {
			return err
		}
		number := w.line - 1
		if long {
			*it = bad(number, line, LineTooLong)
			return nil
		}
		from, to := w.mark, w.mark+len(line)
		if w.has(&w.quote, '"', from, to) {
			w.rewind()
			return c.quoted(it)
		}
		// Almost every line comes by here: no quote, so it is one record.
		if c.blank(line) {
			continue
		}
		value := line
		if w.has(&w.sep, c.sep, from, to) || c.column > 0 {
			var ok bool
			if value, ok = c.field(line); !ok {
				*it = bad(number, line, MissingColumn)
				return nil
			}
		}
		c.item(it, number, value, line, w.isASCII(from, to))
		return nil
	}
}

// field gives the value of the column in a line without quotes.
func (c *csvFile) field(line []byte) (value []byte, ok bool) {
	for range c.column {
		i := bytes.IndexByte(line, c.sep)
		if i < 0 {
			return nil, false
		}
		line = line[i+1:]
	}
	if i := bytes.IndexByte(line, c.sep); i >= 0 {
		line = line[:i]
	}
	return line, true
}

// blank says whether a line has neither a value nor a separator.
func (c *csvFile) blank(line []byte) bool {
	for _, b := range line {
		if b != ' ' && (b != '\t' || c.sep == '\t') {
			return false
		}
	}
	return true
}

// quoted gives the item of the record at the front, which has a quote in its
// first line and may span several lines. If a quote is misplaced, or closed
// nowhere within maxLine bytes, the first line alone is bad.
//
// What is scanned in vain is at most maxLine bytes for each line with an
// unclosed quote, and the lines in between are then cheap, as their quotes
// come in pairs: the whole is linear.
func (c *csvFile) quoted(it *Item) error {
	w := c.w
	data, err := w.peek(w.maxLine + 1)
	if err != nil {
		return err
	}
	rec := record{data: data, sep: c.sep, max: w.maxLine}
	var value []byte
	var doubled, has, last bool
	for n := 0; !last; n++ {
		var field []byte
		var dbl, ok bool
		field, dbl, last, ok = rec.field()
		if !ok {
			line, _, err := w.nextLine()
			*it = bad(w.line-1, line, BadQuote)
			return err
		}
		if n == c.column {
			value, doubled, has = field, dbl, true
		}
	}
	number := w.line
	text, ascii := rec.data[:rec.pos], w.isASCII(w.lo, w.lo+rec.pos)
	w.pass(rec.pos)
	if !has {
		*it = bad(number, bytes.TrimRight(text, "\r\n"), MissingColumn)
		return nil
	}
	if doubled {
		c.scratch = undouble(c.scratch[:0], value)
		value = c.scratch
	}
	c.item(it, number, value, text, ascii)
	return nil
}

// item checks what every value is checked for, unless it is known to be ASCII.
func (c *csvFile) item(it *Item, number int64, value, line []byte, ascii bool) {
	value = trim(value)
	switch {
	case len(value) == 0:
		*it = bad(number, bytes.TrimRight(line, "\r\n"), Empty)
	case !ascii && !c.w.isText(value):
		*it = bad(number, value, NotUTF8)
	default:
		it.Line, it.Value, it.Bad = number, value, ""
	}
}

// record cuts one record into fields (RFC 4180 section 2).
type record struct {
	data []byte // one byte more than the longest record, or all that is left
	sep  byte
	max  int // longest record without its line feed
	pos  int // where the next field begins, or after the last one the next record
}

// field gives the next field without its quotes; doubled says that quotes in
// it are still doubled, and last that it ends the record. ok is false if a
// quote is misplaced or not closed or the record is too long. Blanks around a
// quoted field, which the RFC has no place for, are passed over: people write
// them, and they can mean nothing else.
func (r *record) field() (value []byte, doubled, last, ok bool) {
	start := r.pos
	if q := r.blanks(start); q < len(r.data) && r.data[q] == '"' {
		start = q + 1
		end := start
		for {
			i := bytes.IndexByte(r.data[end:], '"')
			if i < 0 {
				return nil, false, false, false
			}
			end += i
			if end+1 == len(r.data) || r.data[end+1] != '"' {
				break
			}
			doubled = true
			end += 2
		}
		value = r.data[start:end]
		// Nothing but the end of the field or of the record may follow.
		r.pos = r.blanks(end + 1)
		if r.pos < len(r.data) && r.data[r.pos] == '\r' {
			for r.pos < len(r.data) && r.data[r.pos] == '\r' {
				r.pos++
			}
			last = true
		}
		switch {
		case r.pos == len(r.data), r.data[r.pos] == '\n':
			last = true
		case last, r.data[r.pos] != r.sep:
			return nil, false, false, false
		}
	} else {
		for r.pos < len(r.data) && r.data[r.pos] != r.sep && r.data[r.pos] != '\n' {
			if r.data[r.pos] == '"' {
				return nil, false, false, false
			}
			r.pos++
		}
		value = r.data[start:r.pos]
		if last = r.pos == len(r.data) || r.data[r.pos] == '\n'; last {
			value = bytes.TrimRight(value, "\r")
		}
	}
	if last && r.pos > r.max {
		return nil, false, false, false
	}
	if r.pos < len(r.data) {
		r.pos++ // the separator or the line feed
	}
	return value, doubled, last, true
}

// blanks gives the position of the first byte from pos on that is no blank.
func (r *record) blanks(pos int) int {
	for pos < len(r.data) && (r.data[pos] == ' ' || r.data[pos] == '\t' && r.sep != '\t') {
		pos++
	}
	return pos
}

// undouble appends value to dst with every two quotes made one.
func undouble(dst, value []byte) []byte {
	for {
		i := bytes.IndexByte(value, '"')
		if i < 0 {
			return append(dst, value...)
		}
		dst = append(dst, value[:i+1]...)
		value = value[i+2:]
	}
}
