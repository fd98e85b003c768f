package address

import (
	"bytes"
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
	kind, _, r := p.parse(b, false)
	if r != 0 {
		return Entry{}, r
	}
	shown := p.key
	if len(p.shown) > 0 {
		shown = p.shown
	}
	return Entry{Key: p.key, Shown: shown, Kind: kind}, nil
}

// Parse is Parser.Parse for a single entry: its Entry has memory of its own.
func Parse(s string) (Entry, error) {
	var p Parser
	return p.Parse([]byte(s))
}

// parse reads an entry, or, if mailbox is true, an address in which `*` is a
// character like any other. It leaves the key in p.key and the form to show in
// p.shown, empty if it is the same, and returns the length of the local part in
// p.key.
func (p *Parser) parse(b []byte, mailbox bool) (kind Kinds, local int, r Reason) {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	if len(b) < minEntry || len(b) > maxEntry {
		if r := checkLength(b); r != 0 {
			return 0, 0, r
		}
	}

	kind = Exact
	at := bytes.IndexByte(b, '@') // where the local part ends in b
	p.key, p.shown = p.key[:0], p.shown[:0]
	if at < 0 && mailbox && b[0] != '"' {
		return 0, 0, NoDomain
	}
	if p.plain(b, at) {
		if at < 0 {
			return Domain, 0, 0
		}
		return Exact, at, 0
	}
	if at < 0 && b[0] != '"' {
		kind = Domain
	} else {
		end, prefix, r := p.local(b, mailbox)
		if r != 0 {
			return 0, 0, r
		}
		if prefix >= 0 {
			kind = Prefix(prefix)
		}
		at = end
	}
	local = len(p.key)
	if bytes.Equal(p.shown, p.key) {
		p.shown = p.shown[:0]
	}

	d := b[at+1:]
	if at >= 0 {
		if len(d) == 0 {
			return 0, 0, NoDomain
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
			return 0, 0, WildcardTwice
		}
		d = d[2:]
		p.key = append(p.key, "*."...)
	}

	var labels int
	p.key, labels, r = appendDomain(p.key, d)
	if r == WildcardMisplaced {
		if mailbox {
			r = DomainCharacter
		} else if bytes.Count(b, []byte("*")) > 1 {
			r = WildcardTwice
		}
	}
	if r != 0 {
		return 0, 0, r
	}
	if kind == Subdomains || kind == LocalAtSubdomains {
		if labels < minLevels || labels > maxLevels {
			return 0, 0, WildcardLevels
		}
	} else if labels < 2 {
		return 0, 0, DomainOneLabel
	}

	if len(p.shown) > 0 {
		p.shown = append(p.shown, p.key[local:]...)
	}
	return kind, local, 0
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
