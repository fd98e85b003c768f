package importfile

import "fmt"

// maxDepth is how deep arrays and objects of one JSON value may be nested.
const maxDepth = 100

// scanner finds the end of one JSON value (RFC 8259) and checks its grammar,
// not its UTF-8, while the value comes in pieces. It holds nothing of the
// value, so that a value of any length can be passed over. The zero scanner is
// ready for a value.
type scanner struct {
	state   state
	done    bool      // the value is complete
	isKey   bool      // the string being read is a member's name
	hex     int       // digits of a \u escape still to come
	literal string    // rest of true, false or null still to come
	lines   int64     // line feeds passed
	depth   int       // open arrays and objects
	objects [2]uint64 // bit n says that the nth open one is an object
}

type state uint8

const (
	wantValue      state = iota
	wantValueOrEnd       // after "["
	wantKeyOrEnd         // after "{"
	wantKey              // after "," in an object
	wantColon
	wantCommaOrEnd
	inString
	inEscape
	inHex
	inLiteral
	afterMinus
	afterZero
	inInteger
	afterPoint
	inFraction
	afterE
	afterSign
	inExponent
)

// feed takes the next piece and gives how much of it was used: all of it,
// unless the value ended or an error was found there. A number that ends the
// input is never done: see finish.
func (s *scanner) feed(data []byte) (int, error) {
	for i := 0; i < len(data); i++ {
		if s.done {
			return i, nil
		}
		c := data[i]
		if s.state == inString {
			for i += plainText(data[i:]); i < len(data) && data[i] >= 0x80; i += plainText(data[i:]) {
				i++
			}
			if i == len(data) {
				return i, nil
			}
			c = data[i]
		}
		switch s.state {
		case inString:
			switch {
			case c == '"' && s.isKey:
				s.state = wantColon
			case c == '"':
				s.endValue()
			case c == '\\':
				s.state = inEscape
			default:
				return i, fmt.Errorf("a control character (%#02x) in a string", c)
			}
		case inEscape:
			switch c {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				s.state = inString
			case 'u':
				s.state, s.hex = inHex, 4
			default:
				return i, unexpected(c, "after a backslash")
			}
		case inHex:
			if unhex(c) < 0 {
				return i, unexpected(c, "in a \\u escape")
			}
			if s.hex--; s.hex == 0 {
				s.state = inString
			}
		case inLiteral:
			if c != s.literal[0] {
				return i, unexpected(c, "in true, false or null")
			}
			if s.literal = s.literal[1:]; s.literal == "" {
				s.endValue()
			}
		case afterMinus, afterZero, inInteger, afterPoint, inFraction, afterE, afterSign, inExponent:
			next, ok := number(s.state, c)
			switch {
			case ok:
				s.state = next
			case s.numberMayEnd():
				s.endValue()
				i-- // c belongs to what follows
			default:
				return i, unexpected(c, "in a number")
			}
		default:
			if c == '\n' {
				s.lines++
			}
			if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
				continue
			}
			if err := s.token(c); err != nil {
				return i, err
			}
		}
	}
	return len(data), nil
}

// finish says that nothing follows. It gives whether the value is complete.
func (s *scanner) finish() bool {
	if s.depth == 0 && s.numberMayEnd() {
		s.done = true
	}
	return s.done
}

// token takes a byte outside strings, numbers and words.
func (s *scanner) token(c byte) error {
	switch s.state {
	case wantValueOrEnd:
		if c == ']' {
			s.close()
			return nil
		}
		return s.value(c)
	case wantValue:
		return s.value(c)
	case wantKeyOrEnd:
		if c == '}' {
			s.close()
			return nil
		}
		fallthrough
	case wantKey:
		if c != '"' {
			return unexpected(c, "where a member's name should be")
		}
		s.state, s.isKey = inString, true
	case wantColon:
		if c != ':' {
			return unexpected(c, "where a colon should be")
		}
		s.state = wantValue
	case wantCommaOrEnd:
		switch object := s.inObject(); {
		case c == ',' && object:
			s.state = wantKey
		case c == ',':
			s.state = wantValue
		case c == '}' && object, c == ']' && !object:
			s.close()
		case object:
			return unexpected(c, "where a comma or } should be")
		default:
			return unexpected(c, "where a comma or ] should be")
		}
	}
	return nil
}

// value takes the first byte of a value.
func (s *scanner) value(c byte) error {
	switch {
	case c == '{' || c == '[':
		if s.depth == maxDepth {
			return fmt.Errorf("arrays and objects nested more than %d deep", maxDepth)
		}
		word, bit := s.depth/64, uint64(1)<<(s.depth%64)
		s.depth++
		if c == '{' {
			s.objects[word] |= bit
			s.state = wantKeyOrEnd
		} else {
			s.objects[word] &^= bit
			s.state = wantValueOrEnd
		}
	case c == '"':
		s.state, s.isKey = inString, false
	case c == '-':
		s.state = afterMinus
	case c == '0':
		s.state = afterZero
	case c >= '1' && c <= '9':
		s.state = inInteger
	case c == 't':
		s.state, s.literal = inLiteral, "rue"
	case c == 'f':
		s.state, s.literal = inLiteral, "alse"
	case c == 'n':
		s.state, s.literal = inLiteral, "ull"
	default:
		return unexpected(c, "where a value should be")
	}
	return nil
}

// inObject says whether the innermost open array or object is an object.
func (s *scanner) inObject() bool {
	n := s.depth - 1
	return s.objects[n/64]&(1<<(n%64)) != 0
}

// close ends the innermost array or object.
func (s *scanner) close() {
	s.depth--
	s.endValue()
}

func (s *scanner) endValue() {
	s.state = wantCommaOrEnd
	s.done = s.depth == 0
}

// numberMayEnd says whether what was read of a number is one.
func (s *scanner) numberMayEnd() bool {
	return s.state == afterZero || s.state == inInteger || s.state == inFraction || s.state == inExponent
}

// number gives the state after one more byte of a number, if the byte can
// belong to it (RFC 8259 section 6).
func number(in state, c byte) (state, bool) {
	digit := c >= '0' && c <= '9'
	switch in {
	case afterMinus:
		if c == '0' {
			return afterZero, true
		}
		return inInteger, digit
	case inInteger:
		if digit {
			return inInteger, true
		}
		fallthrough
	case afterZero:
		if c == '.' {
			return afterPoint, true
		}
		return afterE, c == 'e' || c == 'E'
	case afterPoint:
		return inFraction, digit
	case inFraction:
		if digit {
			return inFraction, true
		}
		return afterE, c == 'e' || c == 'E'
	case afterE:
		if c == '+' || c == '-' {
			return afterSign, true
		}
		fallthrough
	default: // afterSign, inExponent
		return inExponent, digit
	}
}

func unexpected(c byte, where string) error {
	if c < ' ' || c > '~' {
		return fmt.Errorf("unexpected byte %#02x %s", c, where)
	}
	return fmt.Errorf("unexpected %q %s", c, where)
}

// unhex gives the value of a hexadecimal digit, or -1.
func unhex(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}
