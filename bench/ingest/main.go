// Command ingest measures how fast a server takes email events through its Firehose
// door, durably, beside two programs that do part of the same work on the same
// events: decoding the JSON alone with the standard library, and DuckDB, which
// copies it into a table.
//
//	go run ./bench/ingest      the table, and a file of it in bench/results
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
	"syscall"
	"time"

	"sesame/bench/yard"
)

// limit is how long all of it may take: longer means that something hangs.
const limit = time.Hour

// wants is what was asked for on the command line.
type wants struct {
	events  int
	batch   int
	flight  int
	runs    int
	seed    uint64
	results string
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == duckDBChild {
		if err := duckDB(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	var w wants
	flag.IntVar(&w.events, "events", 1_000_000, "events that are sent")
	flag.IntVar(&w.batch, "batch", 500, "of them in a request")
	flag.IntVar(&w.flight, "flight", 16, "requests at a time: with few, the store waits for requests and they for it")
	flag.IntVar(&w.runs, "runs", 3, "how often each thing is measured")
	flag.Uint64Var(&w.seed, "seed", 1, "makes the events; each run adds one, for fresh events")
	flag.StringVar(&w.results, "results", "bench/results", "`folder` that gets the table as a file; empty for none")
	flag.Parse()
	if flag.NArg() > 0 || w.events < 1000 || w.batch < 1 || w.batch > 10_000 || w.flight < 1 || w.runs < 1 {
		fmt.Fprintln(os.Stderr, "-events must be at least 1000, -batch 1 to 10000, -flight and -runs at least 1, and nothing but flags may be given; -h says which there are")
		os.Exit(2)
	}
	yard.Main("bench/ingest", limit, func(ctx context.Context) error { return work(ctx, w) })
}

func work(ctx context.Context, w wants) (err error) {
	dir, err := yard.Folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary, err := yard.Build(ctx, dir)
	if err != nil {
		return err
	}
	t := table{wants: w}
	for run := range w.runs {
		yard.Say("making %d events", w.events)
		f, err := makeFiles(dir, w, w.seed+uint64(run))
		if err != nil {
			return fmt.Errorf("make the events: %w", err)
		}
		t.size += f.size
		for _, thing := range []struct {
			name    string
			into    *[]figures
			measure func() (figures, error)
		}{
			{"Sesame", &t.sesame, func() (figures, error) { return measureSesame(ctx, binary, dir, w, f) }},
			{"JSON, one goroutine", &t.json[0], func() (figures, error) { return measureJSON(f, 1) }},
			{"JSON, two", &t.json[1], func() (figures, error) { return measureJSON(f, 2) }},
			{"DuckDB", &t.duckDB, func() (got figures, err error) {
				got, t.version, err = measureDuckDB(ctx, dir, f)
				return got, err
			}},
		} {
			syscall.Sync() // what was written before is not paid for within
			got, err := thing.measure()
			if err != nil {
				return fmt.Errorf("%s: %w", thing.name, err)
			}
			t.note("run %d: %s %v", run+1, thing.name, got)
			*thing.into = append(*thing.into, got)
		}
		if err := f.remove(); err != nil {
			return err
		}
	}
	return t.print(ctx)
}

// figures is what was measured of one thing in one run.
type figures struct {
	took     time.Duration
	cpu      time.Duration // user and system, during took
	peak     int64         // greatest resident memory, bytes
	disk     int64         // what is left on disk, bytes
	events   int           // Sesame's rows, DuckDB's rows
	requests []time.Duration
}

func (f figures) String() string {
	text := fmt.Sprintf("took %.3f s, CPU %.2f s, peak %d bytes, disk %d bytes, events %d", f.took.Seconds(), f.cpu.Seconds(), f.peak, f.disk, f.events)
	if len(f.requests) > 0 {
		text += fmt.Sprintf(", a request p50 %.1f ms, p99 %.1f ms", yard.Quantile(f.requests, 0.5), yard.Quantile(f.requests, 0.99))
	}
	return text
}
