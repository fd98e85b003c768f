package address

import (
	"bytes"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// form is what a key is made of: its kind, but with prefixes of every length
// together.
type form uint8

const (
	formExact form = iota
	formDomain
	formPrefix
	formSubdomains
	formLocalAtSubdomains
)

// tags keep apart the hashes of entries that have their parts in common. They are
// the first digits of pi after its point, and never change.
var tags = [...]uint64{
	formExact:             0x243f6a8885a308d3,
	formDomain:            0x13198a2e03707344,
	formPrefix:            0xa4093822299f31d0,
	formSubdomains:        0x082efa98ec4e6c89,
	formLocalAtSubdomains: 0x452821e638d01377,
}

// Hash returns the hash of a key as Parse gives it, 64 bits that are as good as
// random, and the key's kind, exactly one bit. A hash is the same in every
// version, so files may hold it. Two keys may share one, and whoever wants such
// keys can make them, so compare the keys before you answer. For anything that is
// not a key the results mean nothing.
func Hash(key []byte) (hash uint64, kind Kinds) {
	at := bytes.LastIndexByte(key, '@') // the domain has none, a quoted local part may
	domain, below := bytes.CutPrefix(key[at+1:], []byte("*."))
	domainHash := xxhash.Sum64(domain)
	if at < 0 {
		if below {
			return mix(formSubdomains, 0, domainHash), Subdomains
		}
		return mix(formDomain, 0, domainHash), Domain
	}
	// No quoted local part holds a `*`, so this is not one that ends in it.
	local, wild := bytes.CutSuffix(key[:at], []byte("*"))
	localHash := xxhash.Sum64(local)
	switch {
	case wild:
		return mix(formPrefix, localHash, domainHash), Prefix(utf8.RuneCount(local))
	case below:
		return mix(formLocalAtSubdomains, localHash, domainHash), LocalAtSubdomains
	}
	return mix(formExact, localHash, domainHash), Exact
}

// mix makes the hash of a key from its form and the xxHash64 of its parts as they
// stand in it: the local part without `*`, or 0 if there is none, and the domain
// without `*.`. It adds them, the domain times an odd number so that the parts
// cannot change places. The parts' bits are good already, so one round is finish
// enough: it only has to hide by how much the hashes of one domain's keys differ.
func mix(f form, local, domain uint64) uint64 {
	h := tags[f] + local + domain*0x9e3779b97f4a7c15
	h = (h ^ h>>32) * 0xff51afd7ed558ccd
	return h ^ h>>32
}
