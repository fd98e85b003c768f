package main

import (
	"bufio"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
)

// files are the same lines in the form that each program reads.
type files struct {
	dir   string // that all of them lie in
	csv   string // for Sesame, sort and DuckDB: a header, then an address a line
	gzip  string // csv, compressed by klauspost/compress with gzipLevel
	table string // for postmap: "address OK" a line

	lines      int // the header does not count
	added      int // different addresses, which are what a new list has after the import
	duplicates int // lines whose address an earlier line had
	bad        int // lines that are no address, all different
	notUTF8    int // of bad, those that are not text either

	csvSize, gzipSize int64    // bytes
	samples           []string // some of the addresses, the first among them
}

// gzipLevel is the level that gzip has when it is not told another.
const gzipLevel = 6

// writeFiles makes the folder dir and writes lines into it, in no order, the same
// for the same seed. Clean ones are all different addresses. Of dirty ones a tenth
// repeats earlier lines, and one in a hundred is no address.
func writeFiles(dir string, lines int, dirty bool, seed uint64) (f files, err error) {
	f = files{
		dir: dir, csv: filepath.Join(dir, "addresses.csv"), gzip: filepath.Join(dir, "addresses.csv.gz"), table: filepath.Join(dir, "table"), lines: lines,
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return f, err
	}
	var outs [3]*os.File
	for i, name := range []string{f.csv, f.gzip, f.table} {
		if outs[i], err = os.Create(name); err != nil {
			return f, err
		}
		defer outs[i].Close()
	}
	packer, err := gzip.NewWriterLevel(outs[1], gzipLevel)
	if err != nil {
		return f, err
	}
	csv, table := bufio.NewWriterSize(io.MultiWriter(outs[0], packer), 1<<20), bufio.NewWriterSize(outs[2], 1<<20)

	csv.WriteString("address\n")
	people := newPeople(seed, lines)
	var earlier []string // addresses that a duplicate may repeat
	for i := range lines {
		var a []byte
		switch roll := people.random.IntN(100); {
		case dirty && roll == 0:
			a = people.bad()
			f.bad++
			if !utf8.Valid(a) {
				f.notUTF8++
			}
		case dirty && roll <= 10 && len(earlier) > 0:
			a = []byte(people.pick(earlier))
			f.duplicates++
		default:
			a = people.next()
			f.added++
			if len(earlier) < 1<<16 {
				earlier = append(earlier, string(a))
			} else if people.random.IntN(8) == 0 {
				earlier[people.random.IntN(len(earlier))] = string(a)
			}
			if len(f.samples) <= 5*i/lines {
				f.samples = append(f.samples, string(a))
			}
		}
		csv.Write(a)
		csv.WriteByte('\n')
		table.Write(a)
		table.WriteString(" OK\n")
	}
	if err := errors.Join(csv.Flush(), packer.Close(), table.Flush()); err != nil { // each gives the first error of its file
		return f, err
	}
	if f.csvSize, err = fileSize(f.csv); err != nil {
		return f, err
	}
	f.gzipSize, err = fileSize(f.gzip)
	return f, err
}

func fileSize(name string) (int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// people makes up addresses. Three in five are at one of a few large providers,
// the others at one of many small domains; none is at a domain that exists
// (RFC 2606).
type people struct {
	random *rand.Rand
	large  []string
	small  []string
	line   []byte

	// seen has a bit for each hash of an address that was given. An address whose
	// bit is taken is not given, so there are no duplicates, though a few addresses
	// are passed over for nothing. A map would take far more memory.
	seen []uint64
}

func newPeople(seed uint64, lines int) *people {
	p := &people{random: rand.New(rand.NewPCG(seed, 0)), large: providers, seen: make([]uint64, lines)}
	for range 1000 + lines/20 {
		name := p.pick(trades)
		if p.random.IntN(2) == 0 {
			name += "-"
		}
		name += p.pick(places)
		if p.random.IntN(4) == 0 {
			name += fmt.Sprint(p.random.IntN(100))
		}
		p.small = append(p.small, name+p.pick(suffixes))
	}
	return p
}

// next gives an address that was not given before, until its next call.
func (p *people) next() []byte {
	for {
		p.line = p.line[:0]
		first, last := p.pick(firsts), p.pick(lasts)
		switch p.random.IntN(8) {
		case 0:
			p.line = fmt.Appendf(p.line, "%s.%s", first, last)
		case 1, 2:
			p.line = fmt.Appendf(p.line, "%s.%s%d", first, last, p.random.IntN(1000))
		case 3:
			p.line = fmt.Appendf(p.line, "%s%d", first, p.random.IntN(1_000_000))
		case 4:
			p.line = fmt.Appendf(p.line, "%c%s%d", first[0], last, 1940+p.random.IntN(70))
		case 5:
			p.line = fmt.Appendf(p.line, "%s_%s%d", last, first, p.random.IntN(100))
		case 6:
			p.line = fmt.Appendf(p.line, "%s-%s%d", p.pick(trades), first, p.random.IntN(10_000))
		case 7:
			p.line = fmt.Appendf(p.line, "%c%c%d", first[0], last[0], p.random.IntN(10_000_000))
		}
		domain := p.pick(p.small)
		if p.random.IntN(5) < 3 {
			domain = p.pick(p.large)
		}
		p.line = append(append(p.line, '@'), domain...)

		hash := fnv.New64a()
		hash.Write(p.line)
		bit := hash.Sum64() % uint64(64*len(p.seen))
		if p.seen[bit/64]&(1<<(bit%64)) == 0 {
			p.seen[bit/64] |= 1 << (bit % 64)
			return p.line
		}
	}
}

// bad gives a line that no list takes, different from all others, until the next
// call of it or of next.
func (p *people) bad() []byte {
	a := string(p.next())
	local, domain, _ := strings.Cut(a, "@")
	p.line = p.line[:0]
	switch p.random.IntN(7) {
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

func (p *people) pick(from []string) string { return from[p.random.IntN(len(from))] }

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
