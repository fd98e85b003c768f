package exporter

import (
	"testing"
	"time"
)

// What is taken is due on whole minutes, if ever; nothing is too odd to be refused.
func FuzzCron(f *testing.F) {
	for _, text := range []string{"0 2 * * *", "@daily", "*/5 1-4,7 ? jan mon", "@every 1s", "TZ=UTC * * * * *"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		now := time.Date(2026, 11, 23, 20, 16, 38, 0, time.UTC)
		times, err := parseCron(text)
		if err != nil {
			return
		}
		if next := times.Next(now); !next.IsZero() && (!next.After(now) || next != next.Truncate(time.Minute).UTC()) {
			t.Errorf("%q is due at %v", text, next)
		}
	})
}
