package main

import (
	"bytes"
	"context"
	"fmt"

	"sesame/bench/yard"
)

// table is everything that was measured; the runs of all things are in step.
type table struct {
	wants
	size    int64 // bytes of the events of all runs
	sesame  []figures
	json    [2][]figures // by one goroutine, by two
	duckDB  []figures
	version string       // DuckDB's
	raw     bytes.Buffer // each measurement, a line each
}

// note tells a measurement, and keeps it for the file.
func (t *table) note(format string, args ...any) {
	yard.Say(format, args...)
	fmt.Fprintf(&t.raw, format+"\n", args...)
}

func (t *table) print(ctx context.Context) error {
	return yard.Publish(ctx, t.results, "ingest", "DuckDB "+t.version, t.text(), t.raw.Bytes())
}

func (t *table) text() []byte {
	var b bytes.Buffer
	yard.English.Fprintf(&b, "%d events of %.0f bytes, in requests of %d, %d at a time; runs: %d\n\n",
		t.events, float64(t.size)/float64(t.events)/float64(t.runs), t.batch, t.flight, t.runs)
	const line = "%-24s %-24s %10s %8s %9s %12s\n"
	fmt.Fprintf(&b, line, "", "events/s", "MiB/s", "CPU s", "peak MiB", "bytes/event")
	for _, row := range []struct {
		name string
		runs []figures
	}{{"Sesame", t.sesame}, {"JSON, one goroutine", t.json[0]}, {"JSON, two", t.json[1]}, {"DuckDB", t.duckDB}} {
		rates := each(row.runs, t.rate)
		middle := func(of func(figures) float64) string {
			if m := yard.Median(each(row.runs, of)); m > 0 {
				return yard.English.Sprintf("%.1f", m)
			}
			return "–"
		}
		fmt.Fprintf(&b, line, row.name, spread(rates), yard.English.Sprintf("%.0f", yard.Median(rates)*float64(t.size)/float64(t.events*t.runs)/(1<<20)),
			middle(func(f figures) float64 { return f.cpu.Seconds() }), middle(func(f figures) float64 { return yard.Mebibytes(f.peak) }), middle(perEvent))
	}
	quantile := func(p float64) func(figures) float64 {
		return func(f figures) float64 { return yard.Quantile(f.requests, p) }
	}
	fmt.Fprintf(&b, "\nA request to Sesame, ms: p50 %s, p99 %s, longest %s\n\nTargets: medians\n\n",
		yard.Spread(each(t.sesame, quantile(0.5))), yard.Spread(each(t.sesame, quantile(0.99))), yard.Spread(each(t.sesame, quantile(1))))
	b.WriteString(yard.Verdict("events/s through the Firehose door", "%.0f", yard.Median(each(t.sesame, t.rate)), false, 40_000))
	b.WriteString(yard.Verdict("bytes on disk an event", "%.1f", yard.Median(each(t.sesame, perEvent)), true, 150))
	fmt.Fprintf(&b, `
Figures are the median (least–greatest) of the runs, each on fresh events and a new folder.
Sesame:  from the first request to the last answer, by which all is durable, with the client on the same machine.
         The requests are made beforehand. CPU and memory are the server's; its whole data folder, after it stopped,
         is its disk. The events are of a month, in order but for some that are late; a few come twice.
JSON:    encoding/json into structs with the members that Sesame keeps, from memory, and nothing done with it.
DuckDB:  COPY … FROM newline-delimited JSON into a table with nested columns, without header fields, then
         CHECKPOINT, in a database on disk, from its process's start to its end. Two threads, its own choice of
         memory. One transaction, and no look whether an event is there already.
`)
	return b.Bytes()
}

func (t *table) rate(f figures) float64 { return float64(t.events) / f.took.Seconds() }

func perEvent(f figures) float64 { return float64(f.disk) / float64(f.events) }

// spread is yard.Spread for large figures.
func spread(all []float64) string {
	least, most := all[0], all[0]
	for _, n := range all {
		least, most = min(least, n), max(most, n)
	}
	if len(all) == 1 {
		return yard.English.Sprintf("%.0f", least)
	}
	return yard.English.Sprintf("%.0f (%.0f–%.0f)", yard.Median(all), least, most)
}

// each gives one figure of each run.
func each(runs []figures, of func(figures) float64) []float64 {
	var all []float64
	for _, f := range runs {
		all = append(all, of(f))
	}
	return all
}
