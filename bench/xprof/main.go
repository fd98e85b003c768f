package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"

	"sesame/internal/blobs"
	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/metadb"
)

func main() {
	what := flag.String("what", "all", "")
	prof := flag.String("prof", "", "")
	max := flag.Int64("max", 100_000_000, "")
	subject := flag.String("subject", "", "")
	isp := flag.String("isp", "", "")
	days := flag.Int("days", 400, "")
	limit := flag.Duration("for", time.Hour, "")
	flag.Parse()
	ctx := context.Background()
	dir, _ := os.MkdirTemp("/work", "xprof")
	defer os.RemoveAll(dir)
	db, err := metadb.Open(ctx, filepath.Join(dir, "m.db"))
	must(err)
	files, err := blobs.OpenFolder(filepath.Join(dir, "o"))
	must(err)
	t0 := time.Now()
	store, err := eventdb.Open(ctx, "/tmp/keep30/one/events.duckdb", 512<<20)
	must(err)
	fmt.Println("opened", time.Since(t0))
	n := 0
	s := &exporter.Service{Store: db, Objects: files, Events: store, Now: time.Now, Wake: func() {}, Log: slog.New(slog.DiscardHandler),
		NewJob: func() string { n++; return fmt.Sprintf("j%d", n) }, NewID: func(p string) string { n++; return fmt.Sprintf("%s-%d", p, n) },
		Config: exporter.Config{Running: 20, Keep: time.Hour}}
	end := time.Now().UTC()
	src := events.Source{Account: "000000000000", Region: "us-east-1"}
	var cpu0 syscall.Rusage
	syscall.Getrusage(0, &cpu0)
	if *prof != "" {
		f, _ := os.Create(*prof)
		pprof.StartCPUProfile(f)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	if *what == "read" {
		var rows int64
		err := store.Recipients(ctx, src, eventdb.Mail{From: end.AddDate(0, 0, -*days), To: end}, func(*eventdb.Recipient) error { rows++; return nil })
		fmt.Println(rows, err, float64(rows)/time.Since(start).Seconds())
	} else {
		o := exporter.Order{Format: exporter.CSV, Insights: &exporter.Mail{Start: end.AddDate(0, 0, -*days), End: end, MaxResults: *max}}
		if *subject != "" {
			o.Insights.Include.Subject = []string{*subject}
		}
		if *isp != "" {
			o.Insights.Include.ISP = []string{*isp}
		}
		id, err := s.Create(ctx, src, o)
		must(err)
		w, err := s.Claim(ctx)
		must(err)
		w(ctx)
		j, err := s.Get(context.Background(), src, id)
		must(err)
		fmt.Printf("%s %s %+v %v\n", j.Status, j.Error, j.Progress, j.Files)
		fmt.Println(float64(j.Progress.Exported)/time.Since(start).Seconds(), "rows/s")
	}
	if *prof != "" {
		pprof.StopCPUProfile()
	}
	var cpu syscall.Rusage
	syscall.Getrusage(0, &cpu)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := float64(cpu.Utime.Nano()-cpu0.Utime.Nano()) / 1e9
	sy := float64(cpu.Stime.Nano()-cpu0.Stime.Nano()) / 1e9
	fmt.Printf("heapsys %d inuse %d MiB\n", m.HeapSys>>20, m.HeapInuse>>20)
	fmt.Printf("took %.2f s, user %.2f sys %.2f, maxrss %d MiB, gcs %d, gccpu %.3f\n", time.Since(start).Seconds(), u, sy, cpu.Maxrss>>10, m.NumGC, m.GCCPUFraction)
	must(store.Close())
}
func must(err error) {
	if err != nil {
		panic(err)
	}
}
