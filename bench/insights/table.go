package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"sesame/bench/yard"
)

// table is everything that was measured.
type table struct {
	wants
	store    yard.EventStore
	disk     int64 // of the data folder at the beginning, bytes
	opened   time.Duration
	messages []time.Duration
	metrics  []metrics
	fed      float64 // events a second
	peak     int64   // of the server's memory, bytes
	raw      bytes.Buffer
}

// metrics is how long calls with the same queries took.
type metrics struct {
	name string
	took []time.Duration
	days int // in all answers of one call
}

// note tells a measurement, and keeps it for the file.
func (t *table) note(format string, args ...any) {
	yard.Say("%.300s", fmt.Sprintf(format, args...))
	fmt.Fprintf(&t.raw, format+"\n", args...)
}

func (t *table) print(ctx context.Context) error {
	return yard.Publish(ctx, t.results, "insights", "nothing beside it", t.text(), t.raw.Bytes())
}

func (t *table) text() []byte {
	var b bytes.Buffer
	yard.English.Fprintf(&b, "%d events of %d accounts over a year, %.1f bytes each on disk; built in %.0f s; the server started in %.2f s\n",
		t.store.Events, len(t.store.Accounts), float64(t.disk)/float64(t.store.Events), t.store.Seconds, t.opened.Seconds())
	yard.English.Fprintf(&b, "Meanwhile %.0f events a second came in by Firehose. The server's peak memory was %.0f MiB.\n\n", t.fed, yard.Mebibytes(t.peak))
	const line = "%-44s %6s %9s %9s %9s\n"
	fmt.Fprintf(&b, line, "", "calls", "p50, ms", "p99, ms", "max, ms")
	row := func(name string, took []time.Duration) {
		fmt.Fprintf(&b, line, name, fmt.Sprint(len(took)), fmt.Sprintf("%.1f", yard.Quantile(took, 0.5)),
			fmt.Sprintf("%.1f", yard.Quantile(took, 0.99)), fmt.Sprintf("%.1f", yard.Quantile(took, 1)))
	}
	row("GetMessageInsights", t.messages)
	longest := 0.0
	for _, m := range t.metrics {
		row("BatchGetMetricData, "+m.name, m.took)
		longest = max(longest, yard.Quantile(m.took, 1))
	}
	b.WriteString("\nTargets\n\n")
	b.WriteString(yard.Verdict("p99 of GetMessageInsights, ms", "%.1f", yard.Quantile(t.messages, 0.99), true, 20))
	b.WriteString(yard.Verdict("longest BatchGetMetricData of ten queries over 60 days, ms", "%.0f", longest, true, 1000))
	yard.English.Fprintf(&b, `
GetMessageInsights: messages at random of the year, by %d accounts' keys, each once a second, which is the rate that
                    the operation allows. Each answer is checked to be of the message, with a delivery.
BatchGetMetricData: one call behind the other, by the account that has three quarters of the mail.
From sending a signed request to the last byte of its answer, by a client on the same machine.
`, len(t.store.Accounts))
	return b.Bytes()
}
