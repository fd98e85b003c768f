// Command export measures how long a server takes for export jobs over a year of
// mail, beside DuckDB, which copies the same queries on the same store into files.
//
//	go run ./bench/export                        the table, and a file of it in bench/results
//	go run ./bench/export -keep FOLDER           keeps the store, or uses the one that is there
//	go run ./bench/export -events 1000000        a smaller one
//
// It runs from the root of the repository.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sesame/bench/yard"
	"sesame/internal/server"
)

// limit is how long all of it may take: longer means that something hangs.
const limit = 3 * time.Hour

// wants is what was asked for on the command line.
type wants struct {
	events  int
	runs    int
	seed    uint64
	keep    string
	results string
}

func main() {
	if len(os.Args) == 5 && os.Args[1] == duckDBChild {
		if err := duckDB(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	var w wants
	flag.IntVar(&w.events, "events", 30_000_000, "events in the store")
	flag.IntVar(&w.runs, "runs", 3, "how often each thing is measured")
	flag.Uint64Var(&w.seed, "seed", 1, "makes the events")
	flag.StringVar(&w.keep, "keep", "", "`folder` in which the store stays, or is already; empty for a temporary one")
	flag.StringVar(&w.results, "results", "bench/results", "`folder` that gets the table as a file; empty for none")
	flag.Parse()
	if flag.NArg() > 0 || w.events < 10_000 || w.runs < 1 {
		fmt.Fprintln(os.Stderr, "-events must be at least 10000, -runs at least 1, and nothing but flags may be given; -h says which there are")
		os.Exit(2)
	}
	yard.Main("bench/export", limit, func(ctx context.Context) error { return work(ctx, w) })
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
	data := w.keep
	if data == "" {
		data = filepath.Join(dir, "data")
	}
	t := table{wants: w}
	if t.store, err = yard.OpenEvents(ctx, data, w.events, 1, w.seed); err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	if t.disk, err = yard.FileSize(server.EventsPath(data)); err != nil {
		return err
	}
	t.exports = exportsOf(t.store)
	for run := range w.runs {
		for i := range t.exports {
			e := &t.exports[i]
			yard.Say("run %d: %s", run+1, e.name)
			// Each in a server and a process of its own, so that memory is of this export.
			ours, err := measureSesame(ctx, binary, data, dir, e)
			if err != nil {
				return fmt.Errorf("export %s: %w", e.name, err)
			}
			theirs, version, err := measureDuckDB(ctx, data, dir, e)
			if err != nil {
				return fmt.Errorf("have DuckDB copy %s: %w", e.name, err)
			}
			t.duckDB = version
			if e.same {
				if err := same(filepath.Join(dir, ourFile), filepath.Join(dir, theirFile)); err != nil {
					return fmt.Errorf("%s: %w", e.name, err)
				}
			}
			e.ours, e.theirs = append(e.ours, ours), append(e.theirs, theirs)
			t.note("%s: Sesame %+v, DuckDB %+v", e.name, ours, theirs)
		}
	}
	return t.print(ctx)
}
