package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"

	"sesame/bench/yard"
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
	people := yard.NewPeople(seed, lines)
	var earlier []string // addresses that a duplicate may repeat
	for i := range lines {
		var a []byte
		switch roll := people.Random.IntN(100); {
		case dirty && roll == 0:
			a = people.Bad()
			f.bad++
			if !utf8.Valid(a) {
				f.notUTF8++
			}
		case dirty && roll <= 10 && len(earlier) > 0:
			a = []byte(people.Pick(earlier))
			f.duplicates++
		default:
			a = people.Next()
			f.added++
			if len(earlier) < 1<<16 {
				earlier = append(earlier, string(a))
			} else if people.Random.IntN(8) == 0 {
				earlier[people.Random.IntN(len(earlier))] = string(a)
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
	if f.csvSize, err = yard.FileSize(f.csv); err != nil {
		return f, err
	}
	f.gzipSize, err = yard.FileSize(f.gzip)
	return f, err
}
