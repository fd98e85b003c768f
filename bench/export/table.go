package main

import (
	"bytes"
	"context"
	"fmt"

	"sesame/bench/yard"
)

// table is everything that was measured.
type table struct {
	wants
	store   yard.EventStore
	disk    int64 // of the store, bytes
	exports []export
	duckDB  string // its version
	raw     bytes.Buffer
}

// note tells a measurement, and keeps it for the file.
func (t *table) note(format string, args ...any) {
	yard.Say(format, args...)
	fmt.Fprintf(&t.raw, format+"\n", args...)
}

func (t *table) print(ctx context.Context) error {
	return yard.Publish(ctx, t.results, "export", "DuckDB "+t.duckDB, t.text(), t.raw.Bytes())
}

// each gives one figure of all runs.
func each(all []figures, figure func(figures) float64) (values []float64) {
	for _, f := range all {
		values = append(values, figure(f))
	}
	return values
}

func seconds(f figures) float64 { return f.took.Seconds() }
func rate(f figures) float64    { return float64(f.rows) / f.took.Seconds() }
func peak(f figures) float64    { return yard.Mebibytes(f.peak) }

func (t *table) text() []byte {
	var b, targets bytes.Buffer
	yard.English.Fprintf(&b, "%d events of a year, %.1f bytes each on disk; %d runs, medians and between what they lie\n\n",
		t.store.Events, float64(t.disk)/float64(t.store.Events), t.runs)
	const line = "%-40s %-7s %12s %12s %20s %12s %10s\n"
	fmt.Fprintf(&b, line, "", "", "rows", "MiB", "seconds", "rows/s", "peak, MiB")
	row := func(name, whose string, all []figures) {
		fmt.Fprintf(&b, line, name, whose, yard.English.Sprintf("%d", all[0].rows), yard.English.Sprintf("%.1f", yard.Mebibytes(all[0].size)), yard.Spread(each(all, seconds)),
			yard.English.Sprintf("%.0f", yard.Median(each(all, rate))), yard.English.Sprintf("%.0f", yard.Median(each(all, peak))))
	}
	greatest := 0.0
	for _, e := range t.exports {
		row(e.name, "Sesame", e.ours)
		row("", "DuckDB", e.theirs)
		for _, p := range each(e.ours, peak) {
			greatest = max(greatest, p)
		}
		if e.least > 0 {
			targets.WriteString(yard.Verdict(e.name+", rows/s", "%.0f", yard.Median(each(e.ours, rate)), false, e.least))
			targets.WriteString(yard.Verdict(e.name+", times DuckDB's seconds", "%.2f", yard.Median(each(e.ours, seconds))/yard.Median(each(e.theirs, seconds)), true, 1.5))
		}
		if e.most > 0 {
			targets.WriteString(yard.Verdict(e.name+", ms", "%.0f", 1000*yard.Median(each(e.ours, seconds)), true, float64(e.most.Milliseconds())))
		}
	}
	targets.WriteString(yard.Verdict("greatest memory of the server, MiB", "%.0f", greatest, true, 1024))
	fmt.Fprintf(&b, "\nTargets\n\n%s", targets.Bytes())
	b.WriteString(`
Sesame: with its defaults, a server started anew for each export; from sending CreateExportJob to seeing that the job
        is COMPLETED, which the client asks for every 10 ms, or each hundredth of the time gone. The file is durable
        and has a checksum then.
DuckDB: COPY (the same query) TO a file (FORMAT csv, FORCE_QUOTE *) on the same store, with two threads and its own
        defaults, in a process of its own; without syncing the file. Of messages its file is compared with Sesame's,
        line by line. Of the metrics it counts seven of Sesame's ten, without their finer rules.
`)
	return b.Bytes()
}
