// Command insights measures how soon a server answers GetMessageInsights and
// BatchGetMetricData on a year of mail, while more comes in.
//
//	go run ./bench/insights                        the table, and a file of it in bench/results
//	go run ./bench/insights -keep FOLDER           keeps the store, or uses the one that is there
//	go run ./bench/insights -events 1000000        a smaller one
//
// It runs from the root of the repository.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"sesame/bench/yard"
)

// limit is how long all of it may take: longer means that something hangs.
const limit = 3 * time.Hour

// wants is what was asked for on the command line.
type wants struct {
	events   int
	accounts int
	ask      time.Duration
	ingest   int
	batches  int
	seed     uint64
	keep     string
	results  string
}

func main() {
	var w wants
	flag.IntVar(&w.events, "events", 30_000_000, "events in the store")
	flag.IntVar(&w.accounts, "accounts", 50, "whose mail it is: three quarters are the first one's, and GetMessageInsights is for each of them once a second")
	flag.DurationVar(&w.ask, "for", time.Minute, "how long GetMessageInsights is asked")
	flag.IntVar(&w.ingest, "ingest", 1000, "events a second that come in meanwhile")
	flag.IntVar(&w.batches, "batches", 40, "calls of BatchGetMetricData")
	flag.Uint64Var(&w.seed, "seed", 1, "makes the events")
	flag.StringVar(&w.keep, "keep", "", "`folder` in which the store stays, or is already; empty for a temporary one")
	flag.StringVar(&w.results, "results", "bench/results", "`folder` that gets the table as a file; empty for none")
	flag.Parse()
	if flag.NArg() > 0 || w.events < 10_000 || w.accounts < 1 || w.accounts > 1000 || w.ask < time.Second || w.ingest < 0 || w.batches < 2 {
		fmt.Fprintln(os.Stderr, "-events must be at least 10000, -accounts 1 to 1000, -for a second, -batches 2, and nothing but flags may be given; -h says which there are")
		os.Exit(2)
	}
	yard.Main("bench/insights", limit, func(ctx context.Context) error { return work(ctx, w) })
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
		data = dir + "/data"
	}
	t := table{wants: w}
	s, err := yard.OpenEvents(ctx, data, w.events, w.accounts, w.seed)
	if err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	t.store = s
	keys, err := yard.MakeKeys(ctx, data, s.Accounts)
	if err != nil {
		return fmt.Errorf("make access keys: %w", err)
	}
	if t.disk, err = yard.FolderSize(data); err != nil {
		return err
	}
	t.note("the store has %d events and %d bytes", s.Events, t.disk)
	start := time.Now()
	err = yard.WithServer(ctx, binary, data, nil, func(pid int, url string) error {
		t.opened = time.Since(start)
		c := client{url: url, keys: keys, wants: w, store: s}
		if err := c.measure(ctx, &t); err != nil {
			return err
		}
		var err error
		t.peak, err = yard.Memory(pid, "VmHWM")
		return err
	})
	if err != nil {
		return err
	}
	return t.print(ctx)
}
