package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"sesame/bench/yard"
)

// table is everything that was measured.
type table struct {
	wants
	size     int64   // of the list's file, bytes
	kinds    []*kind // negative, positive
	memory   memory
	postmaps []postmap
	raw      bytes.Buffer // each measurement, a line each
}

// kind is what was measured of one kind of questions.
type kind struct {
	*questions
	rates  [2][]rate // on one core, on two
	single single
	cold   cold
}

// leastRates are the look-ups a second on one core that there must be, by the
// name of the questions.
var leastRates = map[string]float64{"negative": 1_000_000, "positive": 300_000}

// note tells a measurement, and keeps it for the file.
func (t *table) note(format string, args ...any) {
	yard.Say(format, args...)
	fmt.Fprintf(&t.raw, format+"\n", args...)
}

func (t *table) print(ctx context.Context) error {
	postfix, err := yard.Postfix(ctx)
	if err != nil {
		return err
	}
	return yard.Publish(ctx, t.results, "match", postfix, t.text(), t.raw.Bytes())
}

func (t *table) text() []byte {
	var b bytes.Buffer
	yard.English.Fprintf(&b, "%d entries, one in %d a pattern, %d of them changes since the list's file of %.0f MiB\n\n",
		t.rows, patternEvery, changes, yard.Mebibytes(t.size))

	const line = "%-28s %12s %12s %12s %8s %8s   %s\n"
	fmt.Fprintf(&b, line, "Look-ups a second", "median", "best", "least", "cores", "rounds", "Sesame's on one core to these")
	for _, k := range t.kinds {
		b.WriteByte('\n')
		ours := yard.Median(each(k.rates[0], perSecond))
		row := func(name string, rounds []rate) {
			all := each(rounds, perSecond)
			count := func(n float64) string { return yard.English.Sprintf("%.0f", n) }
			fmt.Fprintf(&b, line, k.name+", "+name, count(yard.Median(all)), count(slices.Max(all)), count(slices.Min(all)),
				fmt.Sprintf("%.2f", yard.Median(each(rounds, cores))), fmt.Sprint(len(rounds)), fmt.Sprintf("%.2f", ours/yard.Median(all)))
		}
		row("Sesame, one core", k.rates[0])
		row("Sesame, two cores", k.rates[1])
		for _, p := range t.postmaps {
			row("postmap "+p.kind, p.rates[k.name])
		}
	}

	const one = "%-12s %10s %10s %10s %14s %12s\n"
	fmt.Fprintf(&b, "\n"+one, "One look-up", "p50, µs", "p99, µs", "max, µs", "allocations", "bytes")
	for _, k := range t.kinds {
		fmt.Fprintf(&b, one, k.name, fmt.Sprintf("%.2f", k.single.p50), fmt.Sprintf("%.2f", k.single.p99), fmt.Sprintf("%.0f", k.single.most),
			fmt.Sprintf("%.2f", k.single.allocs), fmt.Sprintf("%.0f", k.single.bytes))
	}

	const chilled = "%-12s %10s %14s %16s %10s %14s %16s\n"
	fmt.Fprintf(&b, "\n"+chilled, "Cold", "open, ms", "MiB read", yard.English.Sprintf("then %d, ms", asked), "p99, µs", "KiB read", "bytes/question")
	for _, k := range t.kinds {
		fmt.Fprintf(&b, chilled, k.name, fmt.Sprintf("%.1f", 1000*k.cold.open.Seconds()), fmt.Sprintf("%.1f", yard.Mebibytes(k.cold.openRead)),
			fmt.Sprintf("%.1f", 1000*k.cold.took.Seconds()), fmt.Sprintf("%.1f", k.cold.p99), yard.English.Sprintf("%d", k.cold.read>>10),
			yard.English.Sprintf("%.0f", float64(k.cold.read)/asked))
	}

	fmt.Fprintf(&b, "\nMemory with the list alone, after all look-ups: heap %.1f MiB, resident anonymous %.1f MiB, resident of files %.1f MiB.\n",
		yard.Mebibytes(t.memory.heap), yard.Mebibytes(t.memory.anonymous), yard.Mebibytes(t.memory.file))
	b.WriteString("Making the tables, sorted entries:")
	for _, p := range t.postmaps {
		fmt.Fprintf(&b, " %s %.1f s, %.0f MiB;", p.kind, p.built.Seconds(), yard.Mebibytes(p.size))
	}
	b.WriteString(" not judged.\n\nTargets: the medians on one core\n\n")
	for _, k := range t.kinds {
		got, least, verdict := yard.Median(each(k.rates[0], perSecond)), leastRates[k.name], "MISS" // also when there is no figure
		if got >= least {
			verdict = "pass"
		}
		yard.English.Fprintf(&b, "%s  %.0f, at least %.0f: %s look-ups a second (it had %.2f of the core)\n", verdict, got, least, k.name, yard.Median(each(k.rates[0], cores)))
	}
	yard.English.Fprintf(&b, `
Sesame:   lists.Service.Match in this process, which is all that a look-up does but for HTTP, on the database and
          the file that a server would have. %d different questions of each sort in random order, over and over,
          all answers checked beforehand. A round may have garbage collections in it.
positive: of members chosen at random. One in %d is an address that only a pattern holds.
negative: of addresses made as the members are, at the same domains, that no entry holds.
patterns: prefixes of 1 to 19 characters, *@domain, bare domains, *.domain and local@*.domain, alike many.
cores:    that the process had. Where it could use more, something else was running, and the figures say little.
One look-up: each question once, on one core; two readings of the clock are in the time.
Cold:     a new Service, the file neither mapped nor in the page cache; a virtual machine's disk may have a cache of
          its own. Open is until the first answer. Reads are those that the kernel counts for the process.
postmap:  postmap -q -, one process, one core, from its start to its end, the same questions from a file and the
          answers into one; the table is in the page cache. It knows no patterns: they are keys like others, and
          where only a pattern holds a question it is asked for the pattern. Its cdb table is made by cdb of TinyCDB.
`, t.questions, patternEvery)
	return b.Bytes()
}

func perSecond(r rate) float64 { return r.perSecond }

func cores(r rate) float64 { return r.cores }

// each gives one figure of each round.
func each(rounds []rate, of func(rate) float64) []float64 {
	var all []float64
	for _, r := range rounds {
		all = append(all, of(r))
	}
	return all
}
