// Package address owns the grammar of address list entries: what an entry may
// be, its canonical form, and which entries hold a given recipient.
//
// An entry is an address, a bare domain, or one of four wildcard forms:
//
//	user@example.com     that mailbox
//	example.com          every mailbox at exactly that domain
//	us*@example.com      every mailbox there whose local part starts with "us"
//	*@example.com        the same with nothing to start with
//	*.example.com        every mailbox at any depth below that domain
//	user@*.example.com   the mailboxes called user at any depth below it
//
// The package promises that two spellings of one entry have equal keys, that
// the key of a key is itself, and that keys are plain text, so that an ordered
// store sorts them and finds them by prefix as people expect.
//
// What the service documents stands on the SES Developer Guide's page "Address
// lists"; the syntax is RFC 5321 section 4.1.2 with RFC 6531 section 3.3 for
// UTF-8, the sizes RFC 5321 section 4.5.3.1, and domains go by UTS #46. What
// the page leaves open (letter case, whether `*.` spans levels, whether a bare
// domain holds its subdomains) is decided here and said where it is decided.
//
// A key also has a hash, which never changes, so that files may hold it. A
// Mailbox names the entries that would hold it by their hashes, and spells one
// out only when it is asked to, so that a look-up allocates nothing.
//
// It imports the standard library, golang.org/x/net/idna, golang.org/x/text and
// github.com/cespare/xxhash/v2, and nothing of this program.
package address

// Kinds is a set of kinds of entry, one bit each. Bits 0 to 19 stand for
// `prefix*@domain` with a prefix of so many characters. The bits are stored
// with lists, so they never change their places.
type Kinds uint32

const (
	// Exact is `local@domain`.
	Exact Kinds = 1 << (20 + iota)
	// Domain is a bare domain.
	Domain
	// Subdomains is `*.domain`.
	Subdomains
	// LocalAtSubdomains is `local@*.domain`.
	LocalAtSubdomains

	// AllKinds holds every kind.
	AllKinds Kinds = 1<<24 - 1

	prefixKinds = Exact - 1 // every Prefix
)

// Prefix returns the kind of `prefix*@domain` whose prefix has n characters.
// It returns the empty set unless n is from 0 to 19.
func Prefix(n int) Kinds {
	if n < 0 || n > maxPrefix {
		return 0
	}
	return 1 << n
}

// Entry is one entry of a list, checked.
type Entry struct {
	Key   []byte // canonical form, at most 320 octets of UTF-8; equal keys mean equal entries
	Shown []byte // the form to show: the local part as written, the domain canonical
	Kind  Kinds  // exactly one bit
}

// Limits of the grammar, and where each comes from.
const (
	minEntry  = 3   // characters; Mail Manager API, type Address
	maxEntry  = 320 // characters; the same
	maxPrefix = 19  // characters before `*`; Developer Guide, "Address lists"
	minLevels = 2   // labels after `*.`; the same
	maxLevels = 9   // the same
	maxLocal  = 64  // octets; RFC 5321, section 4.5.3.1.1
	maxLabel  = 63  // octets; RFC 1035, section 2.3.4
	maxDomain = 253 // octets; RFC 5321 section 4.5.3.1.2 allows 255, DNS only 253 written out
)

// Classes of ASCII characters. upper is the bit in which a capital letter and
// its small letter differ, so `c | class[c]&upper` is c in lower case.
const (
	atom  = 0x01 // RFC 5322 atext without `*`, which means something else in an entry
	dot   = 0x02
	ldh   = 0x04 // letter, digit or hyphen: what a domain label is made of
	digit = 0x08
	upper = 0x20
)

// class gives each byte its classes; bytes of UTF-8 sequences have none.
// It is filled once, before main, and only read after.
var class = func() (t [256]byte) {
	for c := '0'; c <= '9'; c++ {
		t[c] = atom | ldh | digit
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] = atom | ldh
		t[c-'a'+'A'] = atom | ldh | upper
	}
	for _, c := range "!#$%&'+/=?^_`{|}~" {
		t[c] = atom
	}
	t['-'] = atom | ldh
	t['.'] = dot
	return t
}()
