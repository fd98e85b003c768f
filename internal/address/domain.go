package address

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// profile maps domains as UTS #46 says, without the transitional mappings. It
// lets hyphens stand in the third and fourth place, as real ASCII domains have
// them there; appendLabels checks the others.
var profile = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.BidiRule(),
	idna.CheckHyphens(false),
)

// appendDomain appends d, a domain as written, in lower case and A-labels, and
// returns dst and the number of labels.
func appendDomain(dst, d []byte) ([]byte, int, Reason) {
	d, rooted := cutDot(d)
	out, labels, r := appendLabels(dst, d, false)
	if r != DomainNotIDNA {
		return out, labels, r
	}
	if !utf8.Valid(d) {
		return dst, 0, NotUTF8
	}
	ascii, err := profile.ToASCII(string(d))
	if err != nil {
		for _, c := range d { // an ordinary mistake has a better name
			if r := checkDomainByte(c); r != 0 {
				return dst, 0, r
			}
		}
		return dst, 0, DomainNotIDNA
	}
	// The Bidi rule was held against d as written, before U+2135 became a Hebrew
	// letter. So hold it against the result as well, or the key would be refused.
	if _, err := profile.ToASCII(ascii); err != nil {
		return dst, 0, DomainNotIDNA
	}
	mapped := []byte(ascii)
	if !rooted {
		mapped, _ = cutDot(mapped) // the ideographic full stop is a dot too
	}
	return appendLabels(dst, mapped, true)
}

// cutDot removes the one dot that may end a domain, and says whether it did.
func cutDot(d []byte) ([]byte, bool) {
	if len(d) > 1 && d[len(d)-1] == '.' {
		return d[:len(d)-1], true
	}
	return d, false
}

// appendLabels appends an ASCII domain in lower case and returns dst and the
// number of labels. Unless d is mapped already it answers DomainNotIDNA if d
// is not ASCII or has an A-label, so that it is mapped first.
func appendLabels(dst, d []byte, mapped bool) ([]byte, int, Reason) {
	dst = slices.Grow(dst, len(d))
	out := dst[len(dst) : len(dst)+len(d)]
	labels, start := 0, 0
	for i, c := range d {
		k := class[c]
		if k&ldh != 0 {
			out[i] = c | k&upper
			continue
		}
		switch {
		case c == '.':
			if r := checkLabel(out[start:i], mapped); r != 0 {
				return dst, 0, r
			}
			out[i] = '.'
			labels++
			start = i + 1
		case c == '[' && i == 0:
			return dst, 0, DomainLiteral
		case c >= utf8.RuneSelf:
			return dst, 0, DomainNotIDNA
		default:
			return dst, 0, checkDomainByte(c)
		}
	}
	last := out[start:]
	if r := checkLabel(last, mapped); r != 0 {
		return dst, 0, r
	}
	if len(d) > maxDomain {
		return dst, 0, DomainTooLong
	}
	// A last label of digits is no top-level domain (RFC 3696, section 2), and
	// without this rule IPv4 addresses would be domains.
	for _, c := range last {
		if class[c]&digit == 0 {
			return dst[:len(dst)+len(d)], labels + 1, 0
		}
	}
	return dst, 0, DomainNumeric
}

// checkLabel checks one label of letters, digits and hyphens in lower case.
func checkLabel(l []byte, mapped bool) Reason {
	switch {
	case len(l) == 0:
		return DomainLabelEmpty
	case len(l) > maxLabel:
		return DomainLabelTooLong
	case l[0] == '-' || l[len(l)-1] == '-':
		return DomainHyphen
	case !mapped && len(l) >= 4 && l[3] == '-' && strings.HasPrefix(string(l), "xn--"):
		return DomainNotIDNA
	}
	return 0
}

// checkDomainByte says what is wrong with a byte, or 0 if it may be in a domain
// as written.
func checkDomainByte(c byte) Reason {
	switch {
	case class[c]&(ldh|dot) != 0 || c >= utf8.RuneSelf:
		return 0
	case c == '@':
		return TwoAtSigns
	case c == '*':
		return WildcardMisplaced
	case c < ' ' || c == 0x7F:
		return ControlCharacter
	}
	return DomainCharacter
}
