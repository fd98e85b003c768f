package address

import (
	"strings"
	"unicode/utf8"
)

// Mailbox is a recipient as mail names it, in canonical form. Here `*` is an
// ordinary character, as RFC 5322 has it. The zero Mailbox is in no list.
type Mailbox struct {
	key string // local@domain
}

// ParseMailbox checks s, an address as an SMTP envelope gives it between `<` and
// `>`. It goes by the rules of an entry, except that `*` may stand anywhere in
// the local part. The error, if any, is a Reason; no list holds such a mailbox.
func ParseMailbox(s string) (Mailbox, error) {
	var p Parser
	e, r := p.parse([]byte(s), true)
	if r != 0 {
		return Mailbox{}, r
	}
	return Mailbox{key: string(e.Key)}, nil
}

// Candidates returns the keys whose presence in a list means that the list holds
// m, best first: the address, its domain, the prefixes of its local part at its
// domain from 19 characters to none, then for each domain above it, longest
// first, `local@*.domain` and `*.domain`. It skips the kinds that has lacks.
// There are at most 38.
//
// The Developer Guide says that a prefix also holds what is equal to it, and that
// a sub-address (user+tag) is part of the local part. It leaves open how deep
// `*.domain` reaches; here it holds any depth below domain, and not domain itself.
//
// A local part with a `*` in it can be no exact entry, since no entry spells
// it, so only wildcards and domains can hold it. (The mailbox us*@example.com
// has the text of the entry us*@example.com, but that is the prefix "us",
// which holds it, and comes in the prefix's place.)
func (m Mailbox) Candidates(has Kinds) []string {
	at := strings.LastIndexByte(m.key, '@')
	if at < 0 {
		return nil
	}
	local, domain := m.key[:at], m.key[at+1:]
	literal := strings.IndexByte(local, '*') < 0 // an entry can spell this local part

	var keys []string
	if has&Exact != 0 && literal {
		keys = append(keys, m.key)
	}
	if has&Domain != 0 {
		keys = append(keys, domain)
	}

	ends, text := prefixes(local)
	for n := len(ends) - 1; n >= 0; n-- {
		if has&Prefix(n) != 0 {
			keys = append(keys, text[:ends[n]]+"*@"+domain)
		}
	}

	if has&(Subdomains|LocalAtSubdomains) == 0 {
		return keys
	}
	labels := strings.Count(domain, ".") + 1
	for labels > minLevels {
		_, domain, _ = strings.Cut(domain, ".")
		labels--
		if labels > maxLevels {
			continue
		}
		if has&LocalAtSubdomains != 0 && literal {
			keys = append(keys, local+"@*."+domain)
		}
		if has&Subdomains != 0 {
			keys = append(keys, "*."+domain)
		}
	}
	return keys
}

// prefixes returns what a prefix is compared with, the local part without its
// quotes, and where each of the prefixes that an entry can spell ends in it, by
// number of characters. An entry spells prefixes without quotes, so they end
// before the first character that needs some, and before a `*`. Backslashes
// need none of their own care: they stand behind such a character.
//
// A beginning of a canonical local part is canonical itself, as NFC is closed
// under taking substrings, so each is the key that Parse gives.
func prefixes(local string) (ends []int, text string) {
	text = strings.TrimPrefix(local, `"`)
	ends = make([]int, 1, maxPrefix+1) // the empty prefix ends at 0
	prev := byte('.')
	for i := 0; i < len(text) && len(ends) <= maxPrefix; {
		c := text[i]
		if c < utf8.RuneSelf && class[c]&(atom|dot) == 0 || c == '.' && prev == '.' {
			break
		}
		_, size := utf8.DecodeRuneInString(text[i:])
		i += size
		prev = c
		ends = append(ends, i)
	}
	return ends, text
}
