package extsort

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"
	"time"
)

func BenchmarkZZ(b *testing.B) {
	data, _ := os.ReadFile("/tmp/sortwork/1m/addresses.csv")
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))[1:]
	for _, size := range []int{1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20} {
		b.Run(fmt.Sprint(size>>20), func(b *testing.B) {
			t := newTable(size)
			best := [4]time.Duration{1 << 60, 1 << 60, 1 << 60, 1 << 60}
			note := func(i int, d time.Duration, n int) {
				best[i] = min(best[i], d*1000/time.Duration(n))
			}
			for b.Loop() {
				r := newRuns(Config{Memory: 1 << 30})
				r.mem = make([]byte, 0, 64<<20)
				clear(r.mem[:cap(r.mem)])
				left := lines
				for len(left) > 0 {
					t.reset()
					start := time.Now()
					n := 0
					for len(left) > n && t.add(left[n], nil) {
						n++
					}
					left = left[n:]
					if len(left) > 0 {
						note(0, time.Since(start), n)
					}
					start = time.Now()
					t.sort()
					if len(left) > 0 {
						note(1, time.Since(start), n)
					}
					start = time.Now()
					if err := r.add(t); err != nil {
						b.Fatal(err)
					}
					if len(left) > 0 {
						note(2, time.Since(start), n)
					}
				}
				start := time.Now()
				m := merge{buffers: r.buffers, stop: r.stop}
				m.open(r.list)
				for {
					_, err := m.next()
					if err == io.EOF {
						break
					}
				}
				note(3, time.Since(start), len(lines))
				b.ReportMetric(float64(len(r.mem))/1e6, "B/rec")
				b.ReportMetric(float64(len(r.list)), "runs")
			}
			for i, n := range []string{"add", "sort", "encode", "merge"} {
				b.ReportMetric(float64(best[i])/1000, n)
			}
		})
	}
}
