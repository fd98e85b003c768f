package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
)

// errScan says that JSON cannot be read on.
var errScan = errors.New("not JSON")

// scanner reads JSON whose form is known, without making anything of it. Of what it
// passes over it sees no more than where that ends.
type scanner struct{ rest []byte }

func (s *scanner) space() { s.rest = bytes.TrimLeft(s.rest, " \n\r\t") }

// next takes c if that is next.
func (s *scanner) next(c byte) bool {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *scanner) end() bool {
	s.space()
	return len(s.rest) == 0
}

// object calls each for every member, whose value is next then and must be read.
func (s *scanner) object(each func(name string) error) error {
	if !s.next('{') {
		return errScan
	}
	for more := !s.next('}'); more; {
		name, ok := s.text()
		if !ok || !s.next(':') {
			return errScan
		}
		if err := each(string(name)); err != nil {
			return err
		}
		if more = s.next(','); !more && !s.next('}') {
			return errScan
		}
	}
	return nil
}

// array calls each for every element, which is next then and must be read.
func (s *scanner) array(each func() error) error {
	if !s.next('[') {
		return errScan
	}
	for more := !s.next(']'); more; {
		if err := each(); err != nil {
			return err
		}
		if more = s.next(','); !more && !s.next(']') {
			return errScan
		}
	}
	return nil
}

// text takes a string and gives what it says.
func (s *scanner) text() (text []byte, ok bool) {
	s.space()
	n, escapes := endOfString(s.rest)
	if n < 0 {
		return nil, false
	}
	text, s.rest = s.rest[:n], s.rest[n:]
	if escapes {
		var plain string
		err := json.Unmarshal(text, &plain)
		return []byte(plain), err == nil
	}
	return text[1 : n-1], true
}

// endOfString gives the length of the string that b begins with, quotation marks
// and all, and whether there are escapes in it; -1 when it begins with none.
func endOfString(b []byte) (n int, escapes bool) {
	if len(b) == 0 || b[0] != '"' {
		return -1, false
	}
	quote := bytes.IndexByte(b[1:], '"') + 1
	if quote == 0 {
		return -1, false
	}
	if escape := bytes.IndexByte(b[:quote], '\\'); escape >= 0 {
		for i := escape; i < len(b); i++ {
			switch b[i] {
			case '\\':
				i++
			case '"':
				return i + 1, true
			}
		}
		return -1, true
	}
	return quote + 1, false
}

// skip passes over a value.
func (s *scanner) skip() error {
	s.space()
	n := endOfValue(s.rest)
	if n < 0 {
		return errScan
	}
	s.rest = s.rest[n:]
	return nil
}

// endOfValue gives the length of the value that b begins with; -1 when it does not
// end, or there is none.
func endOfValue(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			n, _ := endOfString(b[i:])
			if n < 0 {
				return -1
			}
			if i += n - 1; depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return orNone(i)
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return orNone(i)
			}
		}
	}
	if depth > 0 {
		return -1
	}
	return orNone(len(b))
}

// orNone is -1 for a value of no length.
func orNone(n int) int {
	if n == 0 {
		return -1
	}
	return n
}
