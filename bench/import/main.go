// Command import measures how fast a server imports addresses, beside three
// programs that do part of the same work on the same addresses: `sort -u`, which
// orders them and drops duplicates; `postmap`, which makes the table a mail server
// would look them up in; and DuckDB, which makes a database table without
// duplicates. It also measures calls during an import, and two imports at once.
//
//	go run ./bench/import                        the table, and a file of it in bench/results
//	go run ./bench/import -pprof FILE            a CPU profile of one import instead
//
// It runs from the root of the repository. Everything it makes lies in a
// temporary folder that is gone when it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sesame/bench/yard"
)

// limit is how long all of it may take: longer means that something hangs.
const limit = time.Hour

// wants is what was asked for on the command line.
type wants struct {
	rows    numbers
	runs    numbers
	seed    uint64
	results string
	pprof   string
}

// numbers is a flag such as 1000,20000.
type numbers []int

func (n numbers) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint([]int(n)), " ", ","), "[]")
}

func (n *numbers) Set(text string) error {
	*n = nil
	for part := range strings.SplitSeq(text, ",") {
		number, err := strconv.Atoi(part)
		if err != nil {
			return err
		}
		*n = append(*n, number)
	}
	return nil
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == duckDBChild {
		if err := duckDB(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	w := wants{rows: numbers{1_000_000, 10_000_000}, runs: numbers{3, 1}}
	flag.Var(&w.rows, "rows", "lines to import, one or more `numbers`, rising, separated by commas; -pprof takes the first")
	flag.Var(&w.runs, "runs", "how often each thing is measured, a `number` for each of -rows; 1 where there is none")
	flag.Uint64Var(&w.seed, "seed", 1, "makes the addresses; each run adds one, for fresh addresses")
	flag.StringVar(&w.results, "results", "bench/results", "`folder` that gets the table as a file; empty for none")
	flag.StringVar(&w.pprof, "pprof", "", "import once, within this process, and write its CPU profile to `file`; measure nothing")
	flag.Parse()
	if flag.NArg() > 0 || slices.Min(w.rows) < 1000 || !slices.IsSorted(w.rows) || slices.Min(w.runs) < 1 {
		fmt.Fprintln(os.Stderr, "-rows must be at least 1000 and rise, -runs must be at least 1, and nothing but flags may be given; -h says which there are")
		os.Exit(2)
	}
	yard.Main("bench/import", limit, func(ctx context.Context) error { return work(ctx, w) })
}

func work(ctx context.Context, w wants) (err error) {
	dir, err := yard.Folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if w.pprof != "" {
		return profile(ctx, w, dir)
	}

	yard.Say("building the server")
	binary := filepath.Join(dir, "sesame")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "sesame/cmd/sesame").CombinedOutput(); err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, out)
	}
	if err := yard.ReadyPostmap(ctx, dir, "lmdb"); err != nil {
		return err
	}
	var t table
	for i, lines := range w.rows {
		runs := 1
		if i < len(w.runs) {
			runs = w.runs[i]
		}
		for _, dirty := range []bool{false, true} {
			plain, packed := &group{lines: lines, dirty: dirty}, &group{lines: lines, dirty: dirty, packed: true}
			for run := range runs {
				if err := t.round(ctx, w, binary, filepath.Join(dir, "files"), run, plain, packed); err != nil {
					return err
				}
			}
			t.groups = append(t.groups, plain, packed)
		}
	}
	f, err := makeFiles(filepath.Join(dir, "files"), w.rows[len(w.rows)-1], false, w.seed)
	if err != nil {
		return err
	}
	if t.shared, err = measureShared(ctx, binary, f); err != nil {
		return err
	}
	for i, name := range callNames {
		fmt.Fprintf(&t.raw, "%s, during import: %v\n%s, idle: %v\n", name, t.shared.during[i], name, t.shared.idle[i])
	}
	return t.print(ctx, w.results)
}

func makeFiles(dir string, lines int, dirty bool, seed uint64) (files, error) {
	yard.Say("making %d lines", lines)
	f, err := writeFiles(dir, lines, dirty, seed)
	if err != nil {
		return f, fmt.Errorf("make the lines: %w", err)
	}
	return f, nil
}

// round measures each thing once, on lines of its own. The two groups are of the
// same lines.
func (t *table) round(ctx context.Context, w wants, binary, dir string, run int, plain, packed *group) error {
	f, err := makeFiles(dir, plain.lines, plain.dirty, w.seed+uint64(run))
	if err != nil {
		return err
	}
	plain.size += f.csvSize
	packed.size += f.gzipSize
	duckDB := func(compressed bool) (figures, error) {
		got, version, err := measureDuckDB(ctx, f, compressed)
		t.duckDB = version
		return got, err
	}
	for _, thing := range []struct {
		name    string
		of      *group
		into    *[]figures
		measure func() (figures, error)
	}{
		{"Sesame", plain, &plain.sesame, func() (figures, error) { return measureSesame(ctx, binary, f, f.csv) }},
		{"sort -u", plain, &plain.sort, func() (figures, error) { return measureSort(ctx, f, false) }},
		{"postmap", plain, &plain.postmap, func() (figures, error) { return measurePostmap(ctx, f) }},
		{"DuckDB", plain, &plain.duckDB, func() (figures, error) { return duckDB(false) }},
		{"Sesame", packed, &packed.sesame, func() (figures, error) { return measureSesame(ctx, binary, f, f.gzip) }},
		{"sort -u", packed, &packed.sort, func() (figures, error) { return measureSort(ctx, f, true) }},
		{"DuckDB", packed, &packed.duckDB, func() (figures, error) { return duckDB(true) }},
	} {
		syscall.Sync() // what was written before is not paid for within
		got, err := thing.measure()
		if err != nil {
			return fmt.Errorf("%s: %w", thing.name, err)
		}
		t.note("%s, run %d: %s %v", thing.of.name(), run+1, thing.name, got)
		*thing.into = append(*thing.into, got)
	}
	packed.postmap = plain.postmap // it reads no gzip
	return os.RemoveAll(dir)
}

// figures is what was measured of one thing in one run.
type figures struct {
	took      time.Duration
	cpu       time.Duration // user and system, during took
	upload    time.Duration // of the file, before took; Sesame's only
	peak      int64         // greatest resident memory, bytes; of a yardstick, at least this process's own: see measured
	anonymous int64         // the part of it that is not a file's, bytes, the most that was seen; Sesame's only
	disk      int64         // what is left on disk, bytes
}

func (f figures) String() string {
	text := fmt.Sprintf("took %.3f s, CPU %.2f s, peak %d bytes, disk %d bytes", f.took.Seconds(), f.cpu.Seconds(), f.peak, f.disk)
	if f.upload > 0 {
		text += fmt.Sprintf(", anonymous %d bytes, upload %.3f s", f.anonymous, f.upload.Seconds())
	}
	return text
}
