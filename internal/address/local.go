package address

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// local reads any local part at the start of b, which begins with a quotation
// mark or holds an @ sign. It leaves the canonical form in p.key and the form to
// show in p.shown, and returns where the local part ends in b and the number of
// characters before its `*`, or -1 if it has none that means something.
func (p *Parser) local(b []byte, mailbox bool) (end, prefix int, r Reason) {
	var content []byte
	quoted, wild := b[0] == '"', false
	if quoted {
		content, end, r = p.unquote(b)
		if r != 0 {
			return 0, -1, r
		}
		// Without its quotes such an entry would turn into a wildcard.
		if !mailbox && bytes.IndexByte(content, '*') >= 0 {
			return 0, -1, WildcardQuoted
		}
	} else {
		end = bytes.IndexByte(b, '@')
		content = b[:end]
		if !mailbox {
			content, wild = bytes.CutSuffix(content, []byte("*"))
			if bytes.IndexByte(content, '*') >= 0 {
				if bytes.Count(b, []byte("*")) > 1 {
					return 0, -1, WildcardTwice
				}
				return 0, -1, WildcardMisplaced
			}
		}
		if r = checkDotAtom(content, wild); r != 0 {
			return 0, -1, r
		}
	}
	if r = checkText(content); r != 0 {
		return 0, -1, r
	}

	// NFC turns a few characters into others of another class: U+037E becomes a
	// semicolon, `<` with U+0338 becomes U+226E. So the canonical form is checked
	// as well, and each form has quotes only if it needs them itself.
	p.canon = appendCanonical(p.canon[:0], content)
	if r = checkText(p.canon); r != 0 {
		return 0, -1, r
	}
	quoteKey := checkDotAtom(p.canon, wild) != 0
	if quoteKey && !quoted {
		return 0, -1, LocalCharacter
	}
	quoteShown := quoteKey || checkDotAtom(content, wild) != 0

	p.key = appendLocal(p.key[:0], p.canon, quoteKey)
	p.shown = appendLocal(p.shown[:0], content, quoteShown)
	if len(p.key) > maxLocal || len(p.shown) > maxLocal {
		return 0, -1, LocalTooLong
	}
	if !wild {
		return end, -1, 0
	}
	prefix = utf8.RuneCount(p.canon)
	if prefix > maxPrefix {
		return 0, -1, WildcardPrefixTooLong
	}
	p.key = append(p.key, '*')
	p.shown = append(p.shown, '*')
	return end, prefix, 0
}

// unquote reads a Quoted-string (RFC 5321, section 4.1.2) at the start of b and
// returns what it says, in p.content, and where it ends.
func (p *Parser) unquote(b []byte) (content []byte, end int, r Reason) {
	p.content = p.content[:0]
	i := 1
	for ; i < len(b) && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
			if i == len(b) {
				return nil, 0, QuoteNotClosed
			}
			if b[i] < ' ' || b[i] > '~' {
				return nil, 0, QuotedPairInvalid
			}
		}
		p.content = append(p.content, b[i])
	}
	switch {
	case i == len(b):
		return nil, 0, QuoteNotClosed
	case i+1 == len(b):
		return nil, 0, NoDomain
	case b[i+1] != '@':
		return nil, 0, QuoteMisplaced
	}
	return p.content, i + 1, 0
}

// checkDotAtom says what keeps content from standing without quotes, as a
// Dot-string (RFC 5321, section 4.1.2) or, if prefix is true, as the beginning
// of one. Characters beyond ASCII are atext (RFC 6531, section 3.3), and so is
// `*`, which the caller has dealt with.
func checkDotAtom(content []byte, prefix bool) Reason {
	if len(content) == 0 {
		if prefix {
			return 0
		}
		return LocalEmpty
	}
	prev := byte('.')
	for _, c := range content {
		switch {
		case c == '.' && prev == '.':
			return LocalDot
		case class[c]&(atom|dot) != 0 || c == '*' || c >= utf8.RuneSelf:
		case c < ' ' || c == 0x7F:
			return ControlCharacter
		case c == '"':
			return QuoteMisplaced
		default:
			return LocalCharacter
		}
		prev = c
	}
	if prev == '.' && !prefix {
		return LocalDot
	}
	return 0
}

// checkText holds a local part's content to what RFC 6531 and good sense let in:
// valid UTF-8, nothing that controls, formats or separates without being seen
// (an ASCII space may stand in quotes), and no noncharacters. U+034F is refused
// too: package norm puts it into runs of more than 30 combining marks, and such
// a result has no stable form.
func checkText(content []byte) Reason {
	if !utf8.Valid(content) {
		return NotUTF8
	}
	for i := 0; i < len(content); {
		if c := content[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7F {
				return ControlCharacter
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(content[i:])
		i += size
		switch {
		case unicode.Is(unicode.Cc, r):
			return ControlCharacter
		case unicode.In(r, unicode.Cf, unicode.Z, unicode.Noncharacter_Code_Point), r == '\u034F':
			return LocalInvisible
		}
	}
	return 0
}

// appendCanonical appends the form of content that decides equality: case-folded
// and in NFC. The service does not say whether case counts; here it does not,
// as in its own sending. Folding the NFD form, not the NFC one, makes one round
// enough (Unicode, section 3.13, D145): what it gives folds to itself.
func appendCanonical(dst, content []byte) []byte {
	for _, c := range content {
		if c >= utf8.RuneSelf {
			return norm.NFC.Append(dst[:0], fold(norm.NFD.Bytes(content))...)
		}
		dst = append(dst, c|class[c]&upper)
	}
	return dst
}

// fold gives the full case folding of text (Unicode, section 3.13), in which the
// Cherokee letters alone go to their capitals. Package cases swaps those with
// their small letters instead, so they are set right after it.
func fold(text []byte) []byte {
	return bytes.Map(func(r rune) rune {
		switch {
		case 0xAB70 <= r && r <= 0xABBF:
			return r - 0xAB70 + 0x13A0
		case 0x13F8 <= r && r <= 0x13FD:
			return r - 8
		}
		return r
	}, cases.Fold().Bytes(text))
}

// appendLocal appends content as a local part, in quotes if quote is true. In
// quotes only `"` and `\` have a backslash.
func appendLocal(dst, content []byte, quote bool) []byte {
	if !quote {
		return append(dst, content...)
	}
	dst = append(dst, '"')
	for _, c := range content {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// KeyPrefix gives the prefix of keys that a prefix of an entry, in any case,
// asks for. It is not checked: what no entry starts with, no key starts with.
func KeyPrefix(prefix string) string {
	return string(appendCanonical(nil, []byte(prefix)))
}
