package eventdb

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"sesame/internal/events"
)

// BenchmarkAppend appends batches of 500 events from 4 goroutines. One operation
// is one event.
func BenchmarkAppend(b *testing.B) {
	dir := b.TempDir()
	d, err := Open(context.Background(), filepath.Join(dir, "events"), 512<<20)
	if err != nil {
		b.Fatal(err)
	}
	s := newSample(1, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), 2*time.Second)
	var batches [][]events.Event
	for n := 0; n < b.N; n += 500 {
		batches = append(batches, s.batch(500))
	}
	var mu sync.Mutex
	take := func() (batch []events.Event) {
		mu.Lock()
		defer mu.Unlock()
		if len(batches) > 0 {
			batch, batches = batches[0], batches[1:]
		}
		return batch
	}
	b.ResetTimer()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for batch := take(); batch != nil; batch = take() {
				if _, err := d.Append(context.Background(), batch); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
	var size int64
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		info, _ := f.Info()
		size += info.Size()
	}
	b.ReportMetric(float64(size)/float64(b.N), "bytes/event")
}

// BenchmarkQuestions asks a store of EVENTDB_BENCH_EVENTS events of 400 days while
// 1,000 more come in a second. It is made in the folder EVENTDB_BENCH_DIR, and used
// again when it is there.
func BenchmarkQuestions(b *testing.B) {
	total, dir := 1_000_000, os.Getenv("EVENTDB_BENCH_DIR")
	if n, err := strconv.Atoi(os.Getenv("EVENTDB_BENCH_EVENTS")); err == nil {
		total = n
	}
	if dir == "" {
		dir = b.TempDir()
	}
	ctx := context.Background()
	d, err := Open(ctx, filepath.Join(dir, "events"), 1<<30)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	const span = 400 * 24 * time.Hour
	from := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	s := newSample(1, from, span*5/2/time.Duration(total))
	var stored int
	if err := d.db.QueryRow("SELECT count(*) FROM events").Scan(&stored); err != nil {
		b.Fatal(err)
	}
	for ; stored < total; stored += 20_000 {
		if _, err := d.Append(ctx, s.batch(20_000)); err != nil {
			b.Fatal(err)
		}
	}
	var last int64
	if err := d.db.QueryRow("SELECT max(time) FROM events WHERE type = 'SEND'").Scan(&last); err != nil {
		b.Fatal(err)
	}
	rows, err := d.db.Query("SELECT message_id FROM events USING SAMPLE 2000 ROWS")
	if err != nil {
		b.Fatal(err)
	}
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			b.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Close(); err != nil {
		b.Fatal(err)
	}

	more := newSample(2, time.UnixMilli(last).UTC(), time.Second)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if _, err := d.Append(ctx, more.batch(100)); err != nil {
				b.Error(err)
			}
		}
	}()
	src := events.Source{Account: "111122223333", Region: "us-east-1"}
	rnd := rand.New(rand.NewPCG(1, 1))
	b.Run("message", func(b *testing.B) {
		var took []time.Duration
		for range b.N {
			id := ids[rnd.IntN(len(ids))]
			begun := time.Now()
			all, err := d.Message(ctx, src, id)
			took = append(took, time.Since(begun))
			if err != nil || len(all) == 0 {
				b.Fatal(len(all), err)
			}
		}
		slices.Sort(took)
		b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
		b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
		b.ReportMetric(took[len(took)-1].Seconds()*1000, "max-ms")
	})
	to := time.UnixMilli(last).UTC().Truncate(24 * time.Hour)
	ask := func(m Metric) {
		if _, err := d.Daily(ctx, src, Query{Metric: m, From: to.AddDate(0, 0, -60), To: to, OneRecipient: true}); err != nil {
			b.Error(err)
		}
	}
	b.Run("tenMetrics", func(b *testing.B) {
		for range b.N {
			for _, m := range metrics {
				ask(m)
			}
		}
	})
	b.Run("tenMetricsAtOnce", func(b *testing.B) {
		for range b.N {
			var all sync.WaitGroup
			for _, m := range metrics {
				all.Go(func() { ask(m) })
			}
			all.Wait()
		}
	})
	for _, m := range metrics {
		b.Run(string(m), func(b *testing.B) {
			for range b.N {
				ask(m)
			}
		})
	}
	close(stop)
	<-stopped
}
