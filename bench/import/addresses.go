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
)

// files are the same addresses in the form that each program reads.
type files struct {
	csv   string // for Sesame: a header and an address a line
	plain string // for sort
	table string // for postmap: "address OK" a line

	rows    int
	size    int64    // bytes of plain
	samples []string // some of the addresses, the first and the last among them
}

// writeFiles makes the folder dir and writes rows addresses into it, all
// different, in no order, the same for the same seed.
func writeFiles(dir string, rows int, seed uint64) (f files, err error) {
	f = files{
		csv: filepath.Join(dir, "addresses.csv"), plain: filepath.Join(dir, "addresses"), table: filepath.Join(dir, "table"), rows: rows,
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return f, err
	}
	var outs [3]*bufio.Writer
	for i, name := range []string{f.csv, f.plain, f.table} {
		file, err := os.Create(name)
		if err != nil {
			return f, err
		}
		defer file.Close()
		outs[i] = bufio.NewWriterSize(file, 1<<20)
	}
	csv, plain, table := outs[0], outs[1], outs[2]

	fmt.Fprintln(csv, "address")
	people := newPeople(seed, rows)
	for i := range rows {
		a := people.next()
		f.size += int64(len(a)) + 1
		csv.Write(a)
		csv.WriteByte('\n')
		plain.Write(a)
		plain.WriteByte('\n')
		table.Write(a)
		io.WriteString(table, " OK\n")
		if i%(rows/5) == 0 || i == rows-1 {
			f.samples = append(f.samples, string(a))
		}
	}
	return f, errors.Join(csv.Flush(), plain.Flush(), table.Flush()) // each gives the first error of its file
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
	// are passed over for nothing. It is this and not a map because Linux counts
	// the memory of the process that starts a program as the program's.
	seen []uint64
}

func newPeople(seed uint64, rows int) *people {
	p := &people{random: rand.New(rand.NewPCG(seed, 0)), large: providers, seen: make([]uint64, rows)}
	for range 1000 + rows/20 {
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
