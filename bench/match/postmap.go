package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sesame/bench/yard"
)

// postmap is what was measured of postmap with one kind of table.
type postmap struct {
	kind  string
	built time.Duration
	size  int64             // of the table, bytes
	rates map[string][]rate // by the name of the questions
}

// measurePostmap makes a table of the same entries, and has it asked. Each round is
// one process, which reads all questions from its standard input.
func (t *table) measurePostmap(ctx context.Context, dir, kind string) (p postmap, err error) {
	conf, err := yard.PostmapConfig(dir, t.rows)
	if err != nil {
		return p, err
	}
	p = postmap{kind: kind, rates: map[string][]rate{}}
	name := kind + ":" + filepath.Join(dir, tableFile)
	yard.Say("making a %s table for postmap", kind)
	made := filepath.Join(dir, tableFile+"."+kind)
	maker := exec.CommandContext(ctx, "postmap", "-c", conf, name)
	if kind == "cdb" {
		// postmap looks for each key among those before, one after another, and would
		// be at it for half an hour.
		maker = exec.CommandContext(ctx, "cdb", "-c", "-m", made, filepath.Join(dir, tableFile))
	}
	start := time.Now()
	if out, err := maker.CombinedOutput(); err != nil || len(out) > 0 {
		return p, fmt.Errorf("make the table: %w\n%s", err, out[:min(len(out), 4000)])
	}
	p.built = time.Since(start)
	if p.size, err = yard.FileSize(made); err != nil {
		return p, err
	}
	t.note("postmap %s: table made in %.2f s, %d bytes", kind, p.built.Seconds(), p.size)
	for _, k := range t.kinds {
		for round := range t.rounds {
			r, err := askPostmap(ctx, dir, conf, name, k.questions, t.questions)
			if err != nil {
				return p, err
			}
			t.note("%s, %d of %d, postmap %s: %v", k.name, round+1, t.rounds, kind, r)
			p.rates[k.name] = append(p.rates[k.name], r)
		}
	}
	return p, os.Remove(made)
}

// askPostmap asks all n questions once, and sees that all of them or none found an
// entry.
func askPostmap(ctx context.Context, dir, conf, name string, q *questions, n int) (r rate, err error) {
	in, err := os.Open(filepath.Join(dir, questionFile(q.name)))
	if err != nil {
		return r, err
	}
	defer in.Close()
	answers := filepath.Join(dir, "answers")
	out, err := os.Create(answers)
	if err != nil {
		return r, err
	}
	defer out.Close()
	var says bytes.Buffer
	c := exec.CommandContext(ctx, "postmap", "-c", conf, "-q", "-", name)
	c.Stdin, c.Stdout, c.Stderr = in, out, &says
	start := time.Now()
	err = c.Run()
	took := time.Since(start).Seconds()
	if exit := (*exec.ExitError)(nil); q.none && errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = nil // so it says that it found nothing
	}
	if err != nil || says.Len() > 0 {
		return r, fmt.Errorf("ask: %w\n%s", err, says.Bytes()[:min(says.Len(), 4000)])
	}
	text, err := os.ReadFile(answers)
	if err != nil {
		return r, err
	}
	want := n
	if q.none {
		want = 0
	}
	if got := bytes.Count(text, []byte("\tOK\n")); got != want {
		return r, fmt.Errorf("%d questions found an entry and not %d", got, want)
	}
	cpu := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	return rate{perSecond: float64(n) / took, cores: cpu.Seconds() / took}, os.Remove(answers)
}
