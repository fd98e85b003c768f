package yard

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// People makes up addresses. Three in five are at one of a few large providers,
// the others at one of many small domains; none is at a domain that exists
// (RFC 2606).
type People struct {
	Random *rand.Rand // what they are drawn with, for who wants to draw in step

	large []string
	small []string
	line  []byte

	// seen has a bit for each hash of an address that was given. An address whose
	// bit is taken is not given, so there are no duplicates, though a few addresses
	// are passed over for nothing. A map would take far more memory.
	seen []uint64
}

// NewPeople makes a maker of about so many addresses, the same ones for the same
// seed and number. Every local part starts with a letter, and none holds a `+` or
// a `*`.
func NewPeople(seed uint64, lines int) *People {
	p := &People{Random: rand.New(rand.NewPCG(seed, 0)), large: providers, seen: make([]uint64, lines)}
	for range 1000 + lines/20 {
		name := p.Pick(trades)
		if p.Random.IntN(2) == 0 {
			name += "-"
		}
		name += p.Pick(places)
		if p.Random.IntN(4) == 0 {
			name += fmt.Sprint(p.Random.IntN(100))
		}
		p.small = append(p.small, name+p.Pick(suffixes))
	}
	return p
}

// Next gives an address that was not given before, until its next call.
func (p *People) Next() []byte {
	for {
		p.line = p.line[:0]
		first, last := p.Pick(firsts), p.Pick(lasts)
		switch p.Random.IntN(8) {
		case 0:
			p.line = fmt.Appendf(p.line, "%s.%s", first, last)
		case 1, 2:
			p.line = fmt.Appendf(p.line, "%s.%s%d", first, last, p.Random.IntN(1000))
		case 3:
			p.line = fmt.Appendf(p.line, "%s%d", first, p.Random.IntN(1_000_000))
		case 4:
			p.line = fmt.Appendf(p.line, "%c%s%d", first[0], last, 1940+p.Random.IntN(70))
		case 5:
			p.line = fmt.Appendf(p.line, "%s_%s%d", last, first, p.Random.IntN(100))
		case 6:
			p.line = fmt.Appendf(p.line, "%s-%s%d", p.Pick(trades), first, p.Random.IntN(10_000))
		case 7:
			p.line = fmt.Appendf(p.line, "%c%c%d", first[0], last[0], p.Random.IntN(10_000_000))
		}
		p.line = append(append(p.line, '@'), p.Domain()...)

		hash := fnv.New64a()
		hash.Write(p.line)
		bit := hash.Sum64() % uint64(64*len(p.seen))
		if p.seen[bit/64]&(1<<(bit%64)) == 0 {
			p.seen[bit/64] |= 1 << (bit % 64)
			return p.line
		}
	}
}

// Bad gives a line that no list takes, different from all others, until the next
// call of it or of Next.
func (p *People) Bad() []byte {
	a := string(p.Next())
	local, domain, _ := strings.Cut(a, "@")
	p.line = p.line[:0]
	switch p.Random.IntN(7) {
	case 0:
		p.line = fmt.Appendf(p.line, "%s@@%s", local, domain)
	case 1:
		p.line = fmt.Appendf(p.line, "%s %s", local, domain)
	case 2:
		p.line = fmt.Appendf(p.line, ".%s", a)
	case 3:
		p.line = fmt.Appendf(p.line, "mailto:%s", a)
	case 4:
		p.line = fmt.Appendf(p.line, "%s\xe9@%s", local, domain) // an é of Latin-1
	case 5:
		p.line = fmt.Appendf(p.line, "\"%s", a) // a quote that nothing closes
	case 6:
		p.line = fmt.Appendf(p.line, ",%s", a) // in the second column
	}
	return p.line
}

// Domain gives one of the domains that the addresses are at.
func (p *People) Domain() string {
	domain := p.Pick(p.small)
	if p.Random.IntN(5) < 3 {
		domain = p.Pick(p.large)
	}
	return domain
}

// Pick gives one of some texts.
func (p *People) Pick(from []string) string { return from[p.Random.IntN(len(from))] }

var (
	providers = strings.Fields("inbox.example mail.example postbox.example letterbird.example qmail.test netpost.test homenet.test " +
		"bluemail.co.example airpost.test webletter.example cablehome.net.example me.example")
	firsts = strings.Fields("anna ben carla david elena farid greta henrik ines jonas katya luis maria nils olga pedro qiang rosa samuel tariq uma " +
		"viktor wendy xenia yusuf zoe alexander fatima ian isabella jo kim leo max margarethe mia ned priya")
	lasts = strings.Fields("abe berg costa diaz ek ferrari garcia haas ito jansen khan lind moreau ng okafor petrov quist rossi schmidt tan ueda " +
		"varga wu xu yilmaz zhou bhattacharya fox gonzalez hill kowalski lee lopez papadopoulos ray singh")
	trades = strings.Fields("art bakery books boats cars clay dental design farm films fish garden gifts glass hotel law mill music paper parts " +
		"photo print schools shoes tea tours toys travel wine wood consulting insurance")
	places   = strings.Fields("bay brook cliff creek dale east field ford gate glen grove harbour hill isle lake marsh moor north oak park pine port ridge river shore south stone vale west wood")
	suffixes = strings.Fields(".example .com.example .co.example .test .test .test .example .test")
)
