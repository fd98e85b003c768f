package address

import (
	"bytes"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// Mailbox is a recipient as mail names it, in canonical form. Here `*` is an
// ordinary character, as RFC 5322 has it. The zero Mailbox is in no list.
type Mailbox struct {
	key []byte // local@domain
	at  int    // where the @ is that parts them
}

// Mailbox checks b, an address as an SMTP envelope gives it between `<` and `>`.
// It goes by the rules of an entry, except that `*` may stand anywhere in the
// local part. The Mailbox belongs to the Parser and is valid until its next
// call; b is only read, and not kept. The error, if any, is a Reason; no list
// holds such a mailbox.
func (p *Parser) Mailbox(b []byte) (Mailbox, error) {
	_, at, r := p.parse(b, true)
	if r != 0 {
		return Mailbox{}, r
	}
	return Mailbox{key: p.key, at: at}, nil
}

// ParseMailbox is Parser.Mailbox for a single mailbox, which has memory of its own.
func ParseMailbox(s string) (Mailbox, error) {
	var p Parser
	return p.Mailbox([]byte(s))
}

// MaxCandidates is how many candidates a mailbox has at most: its address, its
// domain, 20 prefixes, and two for each of 8 domains above its own.
const MaxCandidates = 1 + 1 + maxPrefix + 1 + 2*(maxLevels-minLevels+1)

// Candidate is an entry that would hold a mailbox, if a list had it. It does not
// spell the entry out; AppendKey of the same Mailbox does.
type Candidate struct {
	Hash  uint64 // of the entry's key, as function Hash gives it
	Exact bool   // whether it is the address itself

	form form
	pos  uint16 // in Mailbox.key: where the prefix ends, or the domain above begins
}

// Candidates appends to into the entries whose presence in a list means that the
// list holds m, best first: the address, its domain, the prefixes of its local
// part at its domain from 19 characters to none, then for each domain above it,
// longest first, `local@*.domain` and `*.domain`. It skips the kinds that has
// lacks. There are at most MaxCandidates, so it allocates nothing if into has
// room for these.
//
// The Developer Guide says that a prefix also holds what is equal to it, and that
// a sub-address (user+tag) is part of the local part. It leaves open how deep
// `*.domain` reaches; here it holds any depth below domain, and not domain itself.
//
// A local part with a `*` in it can be no exact entry, since no entry spells
// it, so only wildcards and domains can hold it. (The mailbox us*@example.com
// has the text of the entry us*@example.com, but that is the prefix "us",
// which holds it, and comes in the prefix's place.)
func (m Mailbox) Candidates(has Kinds, into []Candidate) []Candidate {
	if len(m.key) == 0 {
		return into
	}
	local, domain := m.key[:m.at], m.at+1
	domainHash := xxhash.Sum64(m.key[domain:])
	var localHash uint64
	if has&(Exact|LocalAtSubdomains) != 0 {
		if bytes.IndexByte(local, '*') >= 0 {
			has &^= Exact | LocalAtSubdomains // no entry can spell this local part
		}
		localHash = xxhash.Sum64(local)
	}

	if has&Exact != 0 {
		into = append(into, Candidate{Hash: mix(formExact, localHash, domainHash), Exact: true, form: formExact})
	}
	if has&Domain != 0 {
		into = append(into, Candidate{Hash: mix(formDomain, 0, domainHash), form: formDomain})
	}

	if has&prefixKinds != 0 {
		from, ends, n := prefixes(local)
		for n--; n >= 0; n-- {
			if has&Prefix(n) != 0 {
				hash := mix(formPrefix, xxhash.Sum64(local[from:ends[n]]), domainHash)
				into = append(into, Candidate{Hash: hash, form: formPrefix, pos: uint16(ends[n])})
			}
		}
	}

	if has&(Subdomains|LocalAtSubdomains) == 0 {
		return into
	}
	labels := bytes.Count(m.key[domain:], []byte(".")) + 1
	for labels > minLevels {
		domain += bytes.IndexByte(m.key[domain:], '.') + 1
		labels--
		if labels > maxLevels {
			continue
		}
		domainHash = xxhash.Sum64(m.key[domain:])
		if has&LocalAtSubdomains != 0 {
			hash := mix(formLocalAtSubdomains, localHash, domainHash)
			into = append(into, Candidate{Hash: hash, form: formLocalAtSubdomains, pos: uint16(domain)})
		}
		if has&Subdomains != 0 {
			into = append(into, Candidate{Hash: mix(formSubdomains, 0, domainHash), form: formSubdomains, pos: uint16(domain)})
		}
	}
	return into
}

// AppendKey appends to to the key of c, one of the candidates of m, and returns
// it: at most 320 octets.
func (m Mailbox) AppendKey(to []byte, c Candidate) []byte {
	local, at := m.key[:m.at], m.key[m.at:]
	switch c.form {
	case formDomain:
		return append(to, at[1:]...)
	case formPrefix:
		to = append(to, bytes.TrimPrefix(m.key[:c.pos], []byte(`"`))...)
		to = append(to, '*')
		return append(to, at...)
	case formSubdomains:
		to = append(to, "*."...)
		return append(to, m.key[c.pos:]...)
	case formLocalAtSubdomains:
		to = append(to, local...)
		to = append(to, "@*."...)
		return append(to, m.key[c.pos:]...)
	}
	return append(to, m.key...)
}

// prefixes returns where in a local part the text begins that a prefix is
// compared with (behind the quotation mark, if it has one), and where each of the
// n prefixes that an entry can spell ends, by number of characters. An entry
// spells prefixes without quotes, so they end before the first character that
// needs some, and before a `*`. Backslashes need none of their own care: they
// stand behind such a character.
//
// A beginning of a canonical local part is canonical itself, as NFC is closed
// under taking substrings, so each is the key that Parse gives.
func prefixes(local []byte) (from uint8, ends [maxPrefix + 1]uint8, n int) {
	if local[0] == '"' {
		from = 1
	}
	i, prev := int(from), byte('.')
	for n = range ends {
		ends[n] = uint8(i)
		if i == len(local) {
			break
		}
		c, size := local[i], 1
		if c >= utf8.RuneSelf {
			_, size = utf8.DecodeRune(local[i:])
		} else if class[c]&(atom|dot) == 0 || c == '.' && prev == '.' {
			break
		}
		i += size
		prev = c
	}
	return from, ends, n + 1
}
