// Command match measures look-ups in a large list, in this process: the same call
// that answers a mail server, without HTTP. Beside it postmap answers the same
// questions from the tables that a mail server would use.
//
//	go run ./bench/match                         the table, and a file of it in bench/results
//	go run ./bench/match -pprof DIR              CPU profiles of look-ups instead
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
	"time"

	"sesame/bench/yard"
)

// limit is how long all of it may take: longer means that something hangs.
const limit = time.Hour

// wants is what was asked for on the command line.
type wants struct {
	rows      int
	questions int
	rounds    int
	round     time.Duration
	seed      uint64
	results   string
	pprof     string
}

func main() {
	var w wants
	flag.IntVar(&w.rows, "rows", 10_000_000, "entries of the list")
	flag.IntVar(&w.questions, "questions", 1_000_000, "questions of each sort, positive and negative, that are asked again and again")
	flag.IntVar(&w.rounds, "rounds", 5, "how often each rate is measured")
	flag.DurationVar(&w.round, "round", 3*time.Second, "how long")
	flag.Uint64Var(&w.seed, "seed", 1, "makes the entries and the questions")
	flag.StringVar(&w.results, "results", "bench/results", "`folder` that gets the table as a file; empty for none")
	flag.StringVar(&w.pprof, "pprof", "", "write CPU profiles of look-ups on one core to this `folder`; measure nothing")
	flag.Parse()
	if flag.NArg() > 0 || w.rows < 100*changes || w.questions <= asked || w.rounds < 1 || w.round <= 0 {
		fmt.Fprintf(os.Stderr, "-rows must be at least %d, -questions more than %d, -rounds and -round at least 1, and nothing but flags may be given; -h says which there are\n", 100*changes, asked)
		os.Exit(2)
	}
	yard.Main("bench/match", limit, func(ctx context.Context) error { return work(ctx, w) })
}

func work(ctx context.Context, w wants) (err error) {
	dir, err := yard.Folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if w.pprof == "" {
		if err := yard.ReadyPostmap(ctx, dir, "lmdb", "cdb"); err != nil {
			return err
		}
	}
	t := table{wants: w}
	positive, negative, s, err := t.prepare(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.db.Close()) }()

	yard.Say("asking each question once, to see that the answers are right")
	if err := errors.Join(s.check(ctx, positive), s.check(ctx, negative)); err != nil {
		return err
	}
	if w.pprof != "" {
		return s.profile(ctx, w, positive, negative)
	}
	t.kinds = []*kind{{questions: negative}, {questions: positive}}
	for _, k := range t.kinds {
		yard.Say("asking %s questions of a list that is not in memory", k.name)
		if k.cold, err = s.measureCold(ctx, k.questions); err != nil {
			return err
		}
		t.note("%s, cold: %v", k.name, k.cold)
	}
	for _, k := range t.kinds {
		if err := s.check(ctx, k.questions); err != nil { // and it is in memory again
			return err
		}
		if k.single, err = s.measureSingle(ctx, k.questions); err != nil {
			return err
		}
		t.note("%s, one: %v", k.name, k.single)
		for round := range w.rounds {
			for i := range k.rates {
				r, err := s.measureRate(ctx, k.questions, i+1, w.round)
				if err != nil {
					return err
				}
				t.note("%s, %d of %d, %d at a time: %v", k.name, round+1, w.rounds, i+1, r)
				k.rates[i] = append(k.rates[i], r)
			}
		}
	}
	// What only this program needs is not memory of the list's.
	for _, k := range t.kinds {
		k.drop()
	}
	if t.memory, err = measureMemory(); err != nil {
		return err
	}
	for _, name := range []string{"lmdb", "cdb"} {
		p, err := t.measurePostmap(ctx, dir, name)
		if err != nil {
			return fmt.Errorf("postmap with %s: %w", name, err)
		}
		t.postmaps = append(t.postmaps, p)
	}
	return t.print(ctx)
}

// prepare makes the entries and the questions, the list, and the files that
// postmap reads. The entries themselves are forgotten then.
func (t *table) prepare(ctx context.Context, dir string) (positive, negative *questions, s *sesame, err error) {
	yard.Say("making %d entries and their questions", t.rows)
	e := makeEntries(t.rows, t.questions, t.seed)
	if t.pprof == "" {
		if err := e.writeTable(dir); err != nil {
			return nil, nil, nil, fmt.Errorf("write the entries for postmap: %w", err)
		}
	}
	yard.Say("filling the list")
	start := time.Now()
	if s, err = fill(ctx, dir, e); err != nil {
		return nil, nil, nil, fmt.Errorf("fill the list: %w", err)
	}
	if t.size, err = yard.FileSize(s.file); err != nil {
		return nil, nil, nil, errors.Join(err, s.db.Close())
	}
	t.note("the list was filled in %.2f s, of which %.2f s were for its %d changes; its file has %d bytes",
		time.Since(start).Seconds(), s.changing.Seconds(), changes, t.size)
	return e.positive, e.negative, s, nil
}
