package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"sesame/bench/yard"
)

// table is everything that was measured.
type table struct {
	groups []*group // of each number of lines the same four, in the same order
	shared shared
	duckDB string       // its version
	raw    bytes.Buffer // each measurement, a line each
}

// group is what was measured of one kind of file; the runs of all things are in
// step.
type group struct {
	lines         int
	dirty, packed bool
	size          int64 // bytes of the files of all runs

	sesame, sort, postmap, duckDB []figures
}

func (g *group) name() string {
	name := yard.English.Sprintf("%d clean", g.lines)
	if g.dirty {
		name = yard.English.Sprintf("%d dirty", g.lines)
	}
	if g.packed {
		return name + " gzip"
	}
	return name + " plain"
}

// note tells a measurement, and keeps it for the file.
func (t *table) note(format string, args ...any) {
	yard.Say(format, args...)
	fmt.Fprintf(&t.raw, format+"\n", args...)
}

// print prints the table, and writes it to a file in the folder results, with each
// measurement.
func (t *table) print(ctx context.Context, results string) error {
	sort, err := yard.Printed(ctx, "sort", "--version")
	if err != nil {
		return err
	}
	gzip, err := yard.Printed(ctx, "gzip", "--version")
	if err != nil {
		return err
	}
	postfix, err := yard.Postfix(ctx)
	if err != nil {
		return err
	}
	return yard.Publish(ctx, results, "import", fmt.Sprintf("%s, %s, %s, DuckDB %s", sort, gzip, postfix, t.duckDB), t.text(), t.raw.Bytes())
}

func (t *table) text() []byte {
	var b bytes.Buffer
	const line = "%-16s %-22s %10s %8s %9s %10s %11s   %s\n"
	fmt.Fprintf(&b, line, "", "seconds", "lines/s", "CPU s", "peak MiB", "anon. MiB", "bytes/line", "Sesame's seconds to these")
	for _, g := range t.groups {
		lines := float64(g.lines)
		yard.English.Fprintf(&b, "\n%s, %.1f bytes a line, runs: %d\n", g.name(), float64(g.size)/lines/float64(len(g.sesame)), len(g.sesame))
		for i, runs := range [][]figures{g.sesame, g.sort, g.postmap, g.duckDB} {
			took := each(runs, seconds)
			middle := func(format string, of func(figures) float64) string {
				return yard.English.Sprintf(format, yard.Median(each(runs, of)))
			}
			anonymous, ratio := "–", yard.Spread(ratios(g.sesame, runs))
			if i == 0 {
				anonymous, ratio = middle("%.0f", func(f figures) float64 { return yard.Mebibytes(f.anonymous) }), "–"
			}
			fmt.Fprintf(&b, line, []string{"  Sesame", "  sort -u", "  postmap lmdb:", "  DuckDB"}[i],
				yard.Spread(took), yard.English.Sprintf("%.0f", lines/yard.Median(took)),
				middle("%.2f", func(f figures) float64 { return f.cpu.Seconds() }),
				middle("%.0f", func(f figures) float64 { return yard.Mebibytes(f.peak) }), anonymous,
				middle("%.1f", func(f figures) float64 { return float64(f.disk) / lines }), ratio)
		}
	}

	s := t.shared
	alone := t.groups[len(t.groups)-4].sesame // clean and plain
	const call = "%-40s %-14s %6s %9s %9s %9s\n"
	yard.English.Fprintf(&b, "\nA call every %d ms, %d clean plain\n\n", callEvery.Milliseconds(), s.lines)
	fmt.Fprintf(&b, call, "", "", "calls", "p50, ms", "p99, ms", "max, ms")
	row := func(name, when string, took []time.Duration) {
		fmt.Fprintf(&b, call, name, when, fmt.Sprint(len(took)), fmt.Sprintf("%.2f", yard.Quantile(took, 0.5)),
			fmt.Sprintf("%.2f", yard.Quantile(took, 0.99)), fmt.Sprintf("%.2f", yard.Quantile(took, 1)))
	}
	for i, name := range callNames {
		row(name, "during import", s.during[i])
		row("", "idle", s.idle[i])
	}
	yard.English.Fprintf(&b, "\nSeconds of one import alone: %s; beside these calls: %.2f; of two at the same time: %.2f and %.2f,\ntheir server's peak %.0f MiB, anonymous %.0f MiB.\n",
		yard.Spread(each(alone, seconds)), s.beside.Seconds(), s.both[0].Seconds(), s.both[1].Seconds(), yard.Mebibytes(s.peak), yard.Mebibytes(s.anonymous))

	b.WriteString("\nTargets: the medians that come worst off\n\n")
	t.writeTargets(&b)
	fmt.Fprintf(&b, `
Seconds and ratios are the median (least–greatest) of the runs, the other figures the median. Each run has
fresh addresses and folders.
clean:    different addresses in random order.
dirty:    a tenth of the lines repeat earlier ones, and one in a hundred is no address, in seven ways.
gzip:     the same lines, compressed beforehand by klauspost/compress, level %d.
Sesame:   from StartAddressListImportJob to COMPLETED and the report, through the API, on a new server. Checks
          each address, makes it a member of a new list, durably, and reports each line that is none; the report's
          counts are checked. Memory and CPU are the server's. Peak (VmHWM) counts pages of mapped files, anon.
          (RssAnon, looked at every %d ms) does not. Disk is its whole data folder after it stopped.
sort -u:  LC_ALL=C, sorts the same file into another, with its own choice of memory and threads; never durable. Of
          gzip: gzip -dc FILE | sort -u, the CPU of both, and the memory of the larger.
postmap:  makes an LMDB table, durable at the end. Its map size is set large enough for it not to start again. It
          reads no gzip: there its figures are those of the unpacked table. Its table of dirty lines has the bad
          lines too, but for those with an unclosed quote; duplicates are passed over without a warning (-w).
DuckDB:   CREATE TABLE AS SELECT DISTINCT from the same file, then CHECKPOINT, in a database on disk, from its
          process's start to its end. Two threads, its own choice of memory. Bad lines are rows too, but for those
          that are not UTF-8.
Calls:    by the SDK, from the same machine, none waiting for another. Every other RegisterMember goes into the list
          that is imported into, and so does each look-up, of a member from before. Idle is afterwards.
Where the seconds are far above the CPU seconds, a program waited: for the disk, or for the CPU if something
else was running.
`, gzipLevel, askEvery.Milliseconds())
	return b.Bytes()
}

// value is a figure of something.
type value struct {
	of string
	is float64
}

// writeTargets says which targets were met.
func (t *table) writeTargets(b *bytes.Buffer) {
	var toSort, toPostmap, growth, peak []value
	last := t.groups[len(t.groups)-4:] // those of the most lines
	for _, g := range t.groups {
		toSort = append(toSort, value{g.name(), yard.Median(ratios(g.sesame, g.sort))})
		toPostmap = append(toPostmap, value{g.name(), yard.Median(ratios(g.sesame, g.postmap))})
	}
	for i, g := range last {
		peak = append(peak, value{g.name(), yard.Median(each(g.sesame, func(f figures) float64 { return yard.Mebibytes(f.peak) }))})
		fewest := t.groups[i]
		growth = append(growth, value{g.name(), yard.Median(each(g.sesame, seconds)) / yard.Median(each(fewest.sesame, seconds))})
	}
	target := func(what, format string, most float64, values []value) {
		worst := slices.MaxFunc(values, func(a, b value) int { return cmp.Compare(a.is, b.is) })
		verdict := "MISS" // also when there is no figure
		if worst.is <= most {
			verdict = "pass"
		}
		fmt.Fprintf(b, "%s  "+format+", at most "+format+": %s (%s)\n", verdict, worst.is, most, what, worst.of)
	}
	target("Sesame's seconds to those of sort -u", "%.2f", 2.5, toSort)
	target("Sesame's seconds to those of postmap", "%.2f", 1, toPostmap)
	if more := float64(last[0].lines) / float64(t.groups[0].lines); more > 1 {
		target(yard.English.Sprintf("Sesame's seconds to those of %d lines", t.groups[0].lines), "%.1f", 1.2*more, growth)
	}
	target("Sesame's peak memory, MiB", "%.0f", 400, peak)
	target("p99 of RegisterMember during an import, ms", "%.1f", 100, []value{
		{"into another list", yard.Quantile(t.shared.during[registerOther], 0.99)}, {"into the same list", yard.Quantile(t.shared.during[registerSame], 0.99)},
	})
}

func seconds(f figures) float64 { return f.took.Seconds() }

// each gives one figure of each run.
func each(runs []figures, of func(figures) float64) []float64 {
	var all []float64
	for _, f := range runs {
		all = append(all, of(f))
	}
	return all
}

// ratios gives the seconds of a to those of b, run by run.
func ratios(a, b []figures) []float64 {
	var all []float64
	for i := range a {
		all = append(all, seconds(a[i])/seconds(b[i]))
	}
	return all
}
