package address

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// Parser parses entries one after another in memory it keeps, so that a plain
// ASCII entry allocates nothing. The zero Parser is ready. It serves one
// goroutine at a time.
type Parser struct {
	key     []byte // the canonical entry
	shown   []byte // the shown entry, when it differs
	content []byte // a quoted local part without its quotes and backslashes
	canon   []byte // a local part's content in canonical form
}

// Parse checks b, one entry as written, and gives it in canonical form. Blanks
// (spaces and tabs) around it and one dot at its end do not count. The slices
// in the Entry belong to the Parser and are valid until its next call; b is
// only read, and not kept. The error, if any, is always a Reason.
func (p *Parser) Parse(b []byte) (Entry, error) {
	e, r := p.parse(b, false)
	if r != 0 {
		return Entry{}, r
	}
	return e, nil
}

// Parse is Parser.Parse for a single entry: its Entry has memory of its own.
func Parse(s string) (Entry, error) {
	var p Parser
	return p.Parse([]byte(s))
}

// parse reads an entry, or, if mailbox is true, an address in which `*` is a
// character like any other.
func (p *Parser) parse(b []byte, mailbox bool) (Entry, Reason) {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	if len(b) < minEntry || len(b) > maxEntry {
		if r := checkLength(b); r != 0 {
			return Entry{}, r
		}
	}

	kind := Exact
	at := bytes.IndexByte(b, '@') // where the local part ends in b
	p.key = slices.Grow(p.key[:0], len(b))
	p.shown = p.shown[:0]
	switch {
	case at < 0 && b[0] != '"':
		if mailbox {
			return Entry{}, NoDomain
		}
		kind = Domain
	case at >= 0 && p.plainLocal(b[:at]):
	default:
		end, prefix, r := p.local(b, mailbox)
		if r != 0 {
			return Entry{}, r
		}
		if prefix >= 0 {
			kind = Prefix(prefix)
		}
		at = end
	}
	local := len(p.key)
	differs := len(p.shown) > 0 && !bytes.Equal(p.shown, p.key)

	d := b[at+1:]
	if at >= 0 {
		if len(d) == 0 {
			return Entry{}, NoDomain
		}
		p.key = append(p.key, '@')
	}
	if !mailbox && len(d) > 2 && d[0] == '*' && d[1] == '.' {
		switch kind {
		case Exact:
			kind = LocalAtSubdomains
		case Domain:
			kind = Subdomains
		default:
			return Entry{}, WildcardTwice
		}
		d = d[2:]
		p.key = append(p.key, "*."...)
	}

	var labels int
	var r Reason
	p.key, labels, r = appendDomain(p.key, d)
	if r == WildcardMisplaced {
		if mailbox {
			r = DomainCharacter
		} else if bytes.Count(b, []byte("*")) > 1 {
			r = WildcardTwice
		}
	}
	if r != 0 {
		return Entry{}, r
	}
	if kind == Subdomains || kind == LocalAtSubdomains {
		if labels < minLevels || labels > maxLevels {
			return Entry{}, WildcardLevels
		}
	} else if labels < 2 {
		return Entry{}, DomainOneLabel
	}

	e := Entry{Key: p.key, Shown: p.key, Kind: kind}
	if differs {
		p.shown = append(p.shown, p.key[local:]...)
		e.Shown = p.shown
	}
	return e, 0
}

// plainLocal reads a local part that is an ASCII Dot-string (RFC 5321, section
// 4.1.2) without `*`, and leaves it in p.key in lower case and, if that changed
// it, in p.shown as written. It answers false for anything else, right or wrong.
// Nearly every local part is plain, and this loop is where an import spends
// its time.
func (p *Parser) plainLocal(written []byte) bool {
	if len(written) > maxLocal {
		return false
	}
	out := p.key[:len(written)] // parse has made room
	var seen byte
	prev := byte('.')
	for i, c := range written {
		k := class[c]
		if k&(atom|dot) == 0 || c == '.' && prev == '.' {
			return false
		}
		seen |= k
		prev = c
		out[i] = c | k&upper
	}
	if prev == '.' {
		return false
	}
	p.key = out
	if seen&upper != 0 {
		p.shown = append(p.shown, written...)
	}
	return true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// checkLength holds an entry to its length in characters.
func checkLength(b []byte) Reason {
	switch n := utf8.RuneCount(b); {
	case n == 0:
		return Empty
	case n < minEntry:
		return TooShort
	case n > maxEntry:
		return TooLong
	}
	return 0
}
