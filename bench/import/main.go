// Command import measures how fast a server imports addresses, beside two
// programs that do part of the same work on the same addresses: `sort -u`, which
// orders them and drops duplicates, and `postmap`, which makes the table a mail
// server would look them up in.
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
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// limit is how long all of it may take: longer means that something hangs.
const limit = 30 * time.Minute

// wants is what was asked for on the command line.
type wants struct {
	rows    int
	runs    int
	seed    uint64
	results string
	pprof   string
}

func main() {
	var w wants
	flag.IntVar(&w.rows, "rows", 1_000_000, "addresses to import")
	flag.IntVar(&w.runs, "runs", 3, "how often each thing is measured")
	flag.Uint64Var(&w.seed, "seed", 1, "makes the addresses; each run adds one, for fresh addresses")
	flag.StringVar(&w.results, "results", "bench/results", "`folder` that gets the table as a file; empty for none")
	flag.StringVar(&w.pprof, "pprof", "", "import once, within this process, and write its CPU profile to `file`; measure nothing")
	flag.Parse()
	if flag.NArg() > 0 || w.rows < 100 || w.runs < 1 {
		fmt.Fprintln(os.Stderr, "-rows must be at least 100 and -runs at least 1, and nothing but flags may be given; -h says which there are")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := work(ctx, w); err != nil {
		fmt.Fprintln(os.Stderr, "bench/import:", err)
		os.Exit(1)
	}
}

func work(ctx context.Context, w wants) (err error) {
	dir, err := os.MkdirTemp("", "sesame-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if w.pprof != "" {
		return profile(ctx, w, dir)
	}

	say("building the server")
	binary := filepath.Join(dir, "sesame")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "sesame/cmd/sesame").CombinedOutput(); err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, out)
	}
	if err := readyPostmap(ctx, dir); err != nil {
		return err
	}
	t := table{rows: w.rows}
	for run := range w.runs {
		if err := t.round(ctx, w, binary, filepath.Join(dir, fmt.Sprint(run)), run); err != nil {
			return err
		}
	}
	return t.print(ctx, w.results)
}

// round measures each thing once, on addresses of its own.
func (t *table) round(ctx context.Context, w wants, binary, dir string, run int) error {
	say("run %d of %d: making %d addresses", run+1, w.runs, w.rows)
	f, err := writeFiles(dir, w.rows, w.seed+uint64(run))
	if err != nil {
		return fmt.Errorf("make the addresses: %w", err)
	}
	t.bytes += f.size
	for _, thing := range []struct {
		name    string
		measure func() (figures, error)
		into    *[]figures
	}{
		{"Sesame", func() (figures, error) { return measureSesame(ctx, binary, dir, f) }, &t.sesame},
		{"sort -u", func() (figures, error) { return measureSort(ctx, dir, f) }, &t.sort},
		{"postmap", func() (figures, error) { return measurePostmap(ctx, dir, f) }, &t.postmap},
	} {
		syscall.Sync() // what was written before is not paid for within
		got, err := thing.measure()
		if err != nil {
			return fmt.Errorf("%s: %w", thing.name, err)
		}
		say("run %d of %d: %s took %.2f s", run+1, w.runs, thing.name, got.took.Seconds())
		*thing.into = append(*thing.into, got)
	}
	return os.RemoveAll(dir)
}

// figures is what was measured of one thing in one run.
type figures struct {
	took   time.Duration
	cpu    time.Duration // user and system, during took
	upload time.Duration // of the file, before took; Sesame's only
	peak   int64         // greatest resident memory, bytes; of a yardstick, at least this process's own: see people.seen
	disk   int64         // what is left on disk, bytes
}

// say tells how far it is.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
