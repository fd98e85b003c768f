package exporter_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sesame/internal/blobs"
	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/jobs"
	"sesame/internal/metadb"
)

// troubled is a folder whose next Put meets trouble, if there is one.
type troubled struct {
	*blobs.Folder
	trouble func() error
}

func (f *troubled) Put(ctx context.Context, key string, r io.Reader, check func(int64) error) (int64, error) {
	if f.trouble == nil {
		return f.Folder.Put(ctx, key, r, check)
	}
	trouble := f.trouble
	return f.Folder.Put(ctx, key, r, func(size int64) error {
		return errors.Join(trouble(), check(size))
	})
}

// scheduled is a Service with schedules, on real stores that are closed and opened
// again. It lives in a bubble, so that its clock goes as fast as a test wants; the
// stores' clock is the bubble's, and the Service's is ahead of it by some time.
type scheduled struct {
	world
	*rand.Rand
	dir   string
	ids   int
	files troubled
	ahead time.Duration

	sent     []events.Event
	happened []string // user agents of events
	tries    int      // works on a job that were not left to themselves
}

func (w *scheduled) clock() time.Time { return time.Now().Add(w.ahead) }

// start opens the stores, as a start of the server does.
func (w *scheduled) start() {
	ctx := context.Background()
	var err error
	if w.db, err = metadb.Open(ctx, filepath.Join(w.dir, "sesame.db")); err != nil {
		w.t.Fatal(err)
	}
	if err := w.db.ReleaseLeases(ctx); err != nil {
		w.t.Fatal(err)
	}
	if w.store, err = eventdb.Open(ctx, filepath.Join(w.dir, "events"), 256<<20); err != nil {
		w.t.Fatal(err)
	}
	if w.files.Folder, err = blobs.OpenFolder(filepath.Join(w.dir, "objects")); err != nil {
		w.t.Fatal(err)
	}
	w.world.files = w.files.Folder
	var one sync.Mutex
	id := func() int {
		one.Lock()
		defer one.Unlock()
		w.ids++
		return w.ids
	}
	w.Service = &exporter.Service{
		Store: w.db, Objects: &w.files, Events: w.store, Now: w.clock, Wake: func() {}, Log: slog.New(slog.DiscardHandler),
		NewJob: func() string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", id()) },
		NewID:  func(prefix string) string { return fmt.Sprintf("%s-%026d", prefix, id()) },
		Config: exporter.Config{Running: 2, Keep: 30 * 24 * time.Hour},
	}
	if err := w.ResumeSchedules(ctx); err != nil {
		w.t.Fatal(err)
	}
}

func (w *scheduled) stop() {
	if err := errors.Join(w.store.Close(), w.db.Close()); err != nil {
		w.t.Fatal(err)
	}
}

// arrive has mail sent and things happen to it.
func (w *scheduled) arrive() {
	var all []events.Event
	for range 1 + w.IntN(5) {
		n := strconv.Itoa(len(w.happened))
		e := event("message-"+n, "a@gmail.com", events.Send, time.Now(), 0, nil)
		switch w.IntN(4) {
		case 0, 1:
			w.sent = append(w.sent, e)
		case 2: // of mail of which nothing else is known, of any time
			e.Type, e.Sent = events.Open, []time.Time{start, time.Now().AddDate(-1, 0, 0)}[w.IntN(2)]
		case 3:
			if len(w.sent) > 0 {
				of := w.sent[w.IntN(len(w.sent))]
				e.Type, e.MessageID, e.Sent = events.Click, of.MessageID, of.Sent
			} else {
				w.sent = append(w.sent, e)
			}
		}
		e.UserAgent = n // what tells clicks apart
		all, w.happened = append(all, e), append(w.happened, n)
	}
	added, err := w.store.Append(context.Background(), all)
	if err != nil {
		w.t.Fatal(err)
	}
	if added != len(all) {
		w.t.Fatalf("%d of %d are new", added, len(all))
	}
}

// run looks for what is due, as two servers would that do not know of each other.
func (w *scheduled) run() {
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := w.RunSchedules(context.Background()); err != nil {
				w.t.Error(err)
			}
		})
	}
	both.Wait()
}

// try works on the next job, and lets it meet with something.
func (w *scheduled) try() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer func() { w.files.trouble = nil }()
	cancelJob := func() error {
		running, _, err := w.List(context.Background(), src, "", jobs.Processing, "", 100)
		for _, j := range running {
			if w.IntN(2) == 0 {
				err = errors.Join(err, w.Cancel(context.Background(), src, j.ID))
			}
		}
		return err
	}
	w.tries++
	switch w.IntN(6) {
	case 0:
		w.files.trouble = func() error { return syscall.ENOSPC } // it fails
	case 1:
		w.files.trouble = cancelJob // while it is written
	case 2:
		w.files.trouble = func() error { cancel(); return nil } // the server stops
	case 3:
		if err := cancelJob(); err != nil { // while it waits
			w.t.Error(err)
		}
	case 4:
		w.files.trouble = func() error { w.files.trouble = nil; return errors.New("no answer") } // it is tried again
	default:
		w.tries--
	}
	w.work(ctx)
}

// nap lets time go by, as often as not until a schedule is due to the millisecond.
func (w *scheduled) nap() {
	if w.IntN(2) == 0 {
		time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add([]time.Duration{time.Hour, 7 * time.Hour}[w.IntN(2)])))
		return
	}
	time.Sleep(time.Duration(w.Int64N(int64([...]time.Duration{time.Second, time.Minute, time.Hour, 9 * time.Hour, 30 * time.Hour}[w.IntN(5)]))))
}

func (w *scheduled) put(name, cron string, order exporter.Order) {
	if err := w.PutSchedule(context.Background(), src, name, cron, order); err != nil {
		w.t.Fatal(err)
	}
}

// runs gives the files of all runs of a schedule that were completed, without their
// headers, and the runs, oldest first.
func (w *scheduled) runs(name string) (rows [][]string, orders []exporter.Order) {
	var all []exporter.Job
	for cursor := ""; ; {
		found, next, err := w.List(context.Background(), src, "", jobs.Completed, cursor, 100)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, listed := range found {
			j, err := w.Get(context.Background(), src, listed.ID)
			if err != nil {
				w.t.Fatal(err)
			}
			all = append(all, j)
		}
		if next == "" {
			break
		}
		cursor = next
	}
	slices.Reverse(all)
	for _, j := range all {
		if j.Order.Schedule != name {
			continue
		}
		orders = append(orders, j.Order)
		for _, f := range j.Files {
			table, err := csv.NewReader(strings.NewReader(w.content(f.Object))).ReadAll()
			if err != nil {
				w.t.Fatal(err)
			}
			rows = append(rows, table[1:]...)
		}
	}
	return rows, orders
}

// Whatever becomes of runs, of the server and of its clock, those that were completed
// have each event once, each message once, and each day once.
func TestSchedulesModel(t *testing.T) {
	for seed := range uint64(9) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) { modelSchedules(t, dir, seed) })
		})
	}
}

func modelSchedules(t *testing.T, dir string, seed uint64) {
	w := &scheduled{Rand: rand.New(rand.NewPCG(seed, 1)), dir: dir}
	w.t = t
	time.Sleep(7*time.Hour + 123*time.Millisecond) // a schedule is not made at midnight
	w.start()
	defer func() { w.stop() }()
	jumps := seed%3 == 2 // the clock is set, and what is asked by the time of sending is left out
	w.append(event("before", "a@gmail.com", events.Send, time.Now(), 0, nil))
	time.Sleep(time.Second)

	eventsOrder := exporter.Order{Format: exporter.StrictCSV, RowsPerFile: int64(seed % 4), Events: &exporter.Mail{Columns: []string{"user_agent", "messageid"}}}
	mailOrder := exporter.Order{Format: exporter.StrictCSV, Insights: &exporter.Mail{Columns: []string{"messageid"}}}
	daysOrder := exporter.Order{Format: exporter.CSV, Metrics: &exporter.Metrics{Dimensions: map[string][]string{"ISP": {"Gmail"}}, Columns: []exporter.Column{{Metric: eventdb.Sends}}}}
	crons := []string{"@hourly", "*/7 * * * *", "0 0 * * *", "30 2,14 * * 1-5"}
	putAll := func() {
		w.put("events", crons[w.IntN(len(crons))], eventsOrder)
		w.put("mail", crons[w.IntN(len(crons))], mailOrder)
		w.put("days", crons[w.IntN(len(crons))], daysOrder)
	}
	putAll()
	for range 150 {
		switch w.IntN(12) {
		case 0, 1, 2:
			w.arrive()
		case 3, 4:
			w.nap()
		case 5, 6, 7:
			w.run()
		case 8, 9:
			w.try()
		case 10:
			w.stop()
			w.nap()
			if jumps {
				w.ahead = time.Duration(w.Int64N(int64(20*time.Hour))) - 10*time.Hour
			}
			w.start()
		case 11:
			putAll()
		}
	}
	w.ahead = 0
	for range 20 { // and then all is well
		time.Sleep(12 * time.Hour)
		w.run()
		for w.work(context.Background()) {
			w.run()
		}
	}

	rows, runs := w.runs("events")
	seen := map[string]int{}
	for _, row := range rows {
		seen[row[0]]++
	}
	for _, e := range w.happened {
		if seen[e] != 1 {
			t.Errorf("the event %s was exported %d times", e, seen[e])
		}
	}
	if len(rows) != len(w.happened) {
		t.Errorf("%d rows of %d events", len(rows), len(w.happened))
	}
	for i := 1; i < len(runs); i++ {
		if !runs[i].Events.ArrivedAfter.Equal(runs[i-1].Events.ArrivedUntil) {
			t.Errorf("a run until %v, and one after %v", runs[i-1].Events.ArrivedUntil, runs[i].Events.ArrivedAfter)
		}
	}
	if len(runs) < 3 || len(w.happened) < 20 || w.tries < 3 {
		t.Errorf("too little was tried: %d runs, %d events, %d tries", len(runs), len(w.happened), w.tries)
	}

	rows, runs = w.runs("days")
	for i, run := range runs {
		if m := run.Metrics; !m.Start.Before(m.End) || m.End != m.End.Truncate(24*time.Hour) || i > 0 && !m.Start.Equal(runs[i-1].Metrics.End) {
			t.Errorf("run %d is of %v to %v", i, m.Start, m.End)
		}
	}
	if jumps {
		return
	}
	var counted float64
	for _, row := range rows {
		n, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		counted += n
	}
	if want := float64(len(w.sent) + 1); counted != want { // also what was sent that day before it was made
		t.Errorf("%v sends in all, want %v", counted, want)
	}
	rows, _ = w.runs("mail")
	seen = map[string]int{}
	for _, row := range rows {
		seen[row[0]]++
	}
	for _, m := range w.sent {
		if seen[m.MessageID] != 1 {
			t.Errorf("the message %s was exported %d times", m.MessageID, seen[m.MessageID])
		}
	}
	if seen["before"] != 0 || len(rows) != len(w.sent) {
		t.Errorf("%d rows of %d messages; of before the schedule %d", len(rows), len(w.sent), seen["before"])
	}
}

// newScheduled is one whose bubble has come to 2000-01-01 at ten.
func newScheduled(t *testing.T, dir string) *scheduled {
	w := &scheduled{Rand: rand.New(rand.NewPCG(1, 2)), dir: dir}
	w.t = t
	time.Sleep(10 * time.Hour)
	w.start()
	return w
}

func bubble(t *testing.T, do func(t *testing.T, w *scheduled)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newScheduled(t, dir)
		defer func() { w.stop() }()
		do(t, w)
	})
}

func (w *scheduled) only() exporter.Schedule {
	w.t.Helper()
	all, err := w.Schedules(context.Background(), src)
	if err != nil || len(all) != 1 {
		w.t.Fatalf("%d schedules, %v", len(all), err)
	}
	return all[0]
}

func (w *scheduled) job(id string) exporter.Job {
	w.t.Helper()
	j, err := w.Get(context.Background(), src, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// at is a time of the bubble's first days.
func at(day, hour, minute int) time.Time {
	return time.Date(2000, 1, day, hour, minute, 0, 0, time.UTC)
}

// What runs are of, and when they are made.
func TestScheduleRuns(t *testing.T) {
	const night = "0 2 * * *"
	mail := exporter.Order{Format: exporter.CSV, Insights: &exporter.Mail{}}
	days := exporter.Order{Format: exporter.CSV, Metrics: &exporter.Metrics{Columns: []exporter.Column{{Metric: eventdb.Sends}}}}
	all := exporter.Order{Format: exporter.CSV, Events: &exporter.Mail{}}
	until := func(when time.Time) { time.Sleep(time.Until(when)) }
	ctx := context.Background()

	t.Run("mail, to before it is due", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *scheduled) {
			w.put("night", night, mail)
			if s := w.only(); !s.Next.Equal(at(2, 2, 0)) || s.LastJob != "" {
				t.Errorf("%+v", s)
			}
			until(at(2, 1, 59))
			w.run()
			if s := w.only(); s.LastJob != "" {
				t.Errorf("it ran too soon: %+v", s)
			}
			until(at(2, 2, 0))
			w.run()
			s := w.only()
			j := w.job(s.LastJob)
			if q := j.Order.Insights; j.Order.Schedule != "night" || !q.Start.Equal(at(1, 10, 0)) || !q.End.Equal(at(2, 2, 0).Add(-time.Millisecond)) || !s.Next.Equal(at(3, 2, 0)) || !s.LastRun.Equal(at(2, 2, 0)) {
				t.Errorf("%+v, %+v", s, q)
			}
		})
	})
	t.Run("missed ones are made up in one", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *scheduled) {
			w.put("night", night, mail)
			w.stop()
			until(at(5, 9, 30))
			w.start()
			w.run()
			w.run()
			s := w.only()
			if q := w.job(s.LastJob).Order.Insights; !q.Start.Equal(at(1, 10, 0)) || !q.End.Equal(at(5, 2, 0).Add(-time.Millisecond)) || !s.Next.Equal(at(6, 2, 0)) {
				t.Errorf("%+v, %+v", s, q)
			}
			if found, _, err := w.List(ctx, src, "", "", "", 10); err != nil || len(found) != 1 {
				t.Errorf("%d jobs, %v", len(found), err)
			}
		})
	})
	t.Run("metrics wait for a day to be over", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *scheduled) {
			w.put("often", "0 */6 * * *", days)
			until(at(1, 18, 0))
			w.run()
			if s := w.only(); s.LastJob != "" || !s.Next.Equal(at(2, 0, 0)) {
				t.Errorf("%+v", s)
			}
			until(at(2, 0, 0))
			w.run()
			s := w.only()
			if m := w.job(s.LastJob).Order.Metrics; !m.Start.Equal(at(1, 0, 0)) || !m.End.Equal(at(2, 0, 0)) {
				t.Errorf("%+v", m)
			}
		})
	})
	t.Run("one that fails comes with the next", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *scheduled) {
			w.put("night", night, mail)
			until(at(2, 2, 0))
			w.run()
			w.files.trouble = func() error { return syscall.ENOSPC }
			w.work(ctx)
			if j := w.job(w.only().LastJob); j.Status != jobs.Failed {
				t.Fatalf("%+v", j)
			}
			w.files.trouble = nil
			until(at(3, 2, 0))
			w.run()
			w.work(ctx)
			j := w.job(w.only().LastJob)
			if q := j.Order.Insights; j.Status != jobs.Completed || !q.Start.Equal(at(1, 10, 0)) || !q.End.Equal(at(3, 2, 0).Add(-time.Millisecond)) {
				t.Errorf("%+v, %+v", j, q)
			}
			if s := w.only(); !s.Until.Equal(at(3, 2, 0)) {
				t.Errorf("%+v", s)
			}
		})
	})
	t.Run("one waits for the one before, and for a place", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *scheduled) {
			w.put("night", night, mail)
			until(at(2, 2, 0))
			w.run()
			first := w.only().LastJob
			until(at(3, 2, 0))
			w.run()
			if s := w.only(); s.LastJob != first {
				t.Error("two run at once")
			}
			w.work(ctx)
			for range w.Config.Running {
				if _, err := w.Create(ctx, src, mail); err != nil {
					t.Fatal(err)
				}
			}
			w.run()
			if s := w.only(); s.LastJob != first || !s.Next.Equal(at(3, 2, 0)) {
				t.Errorf("it ran over the limit: %+v", s)
			}
			w.work(ctx)
			w.run()
			if q := w.job(w.only().LastJob).Order.Insights; !q.Start.Equal(at(2, 2, 0)) || !q.End.Equal(at(3, 2, 0).Add(-time.Millisecond)) {
				t.Errorf("%+v", q)
			}
		})
	})
	t.Run("another order goes on, another source begins anew", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *scheduled) {
			w.put("night", night, mail)
			until(at(2, 2, 0))
			w.run()
			running := w.only().LastJob
			other := exporter.Order{Format: exporter.JSON, Insights: &exporter.Mail{}}
			w.put("night", "@daily", other)
			w.work(ctx) // what was made before it was replaced counts
			s := w.only()
			if s.LastJob != running || s.Order.Format != exporter.JSON || !s.Until.Equal(at(2, 2, 0)) || !s.Next.Equal(at(3, 0, 0)) || !s.Created.Equal(at(1, 10, 0)) {
				t.Errorf("%+v", s)
			}
			until(at(3, 0, 0))
			w.run()
			w.put("night", night, all)
			w.work(ctx)
			if s := w.only(); s.LastJob != "" || !s.Until.Equal(at(3, 0, 0)) {
				t.Errorf("%+v", s)
			}
		})
	})
	t.Run("the clock is set back", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *scheduled) {
			w.put("night", night, all)
			until(at(2, 2, 0))
			w.run()
			w.work(ctx)
			w.stop()
			w.ahead = -24 * time.Hour // and the stores' clock is a day ahead of it
			w.start()
			w.append(event("late", "a@gmail.com", events.Send, start, 0, nil))
			w.put("night", night, all)
			until(at(3, 2, 0)) // it says a day less
			w.run()
			w.work(ctx)
			if j := w.job(w.only().LastJob); j.Progress.Exported != 1 || !j.Order.Events.ArrivedAfter.Equal(at(2, 2, 0)) {
				t.Errorf("%+v, %+v", j, j.Order.Events)
			}
		})
	})
	t.Run("deleted", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *scheduled) {
			w.put("night", night, all)
			until(at(2, 2, 0))
			w.run()
			if err := w.DeleteSchedule(ctx, src, "night"); err != nil {
				t.Fatal(err)
			}
			if err := w.DeleteSchedule(ctx, src, "night"); !errors.Is(err, exporter.ErrNoSchedule) {
				t.Errorf("deleted twice: %v", err)
			}
			w.put("night", night, all)
			if !w.work(ctx) {
				t.Error("its job is gone")
			}
			if s := w.only(); s.LastJob != "" || !s.Until.Equal(at(2, 2, 0)) {
				t.Errorf("%+v", s)
			}
		})
	})
}

func TestCron(t *testing.T) {
	w := newWorld(t)
	w.now = time.Date(2026, 11, 23, 20, 16, 38, 0, time.UTC).In(time.FixedZone("", 5*3600+1800))
	ctx, o := context.Background(), exporter.Order{Format: exporter.CSV, Insights: &exporter.Mail{}}
	for text, want := range map[string]string{
		"0 2 * * *":                     "2026-11-24 02:00",
		"* * * * *":                     "2026-11-23 20:17",
		"@hourly":                       "2026-11-23 21:00",
		"@daily":                        "2026-11-24 00:00",
		" 30  2 * * mon-fri ":           "2026-11-24 02:30",
		"0 0 29 2 *":                    "2028-02-29 00:00",
		"0 0 1,15 * 3":                  "2026-11-25 00:00",
		"*/20 9-17 * jan,dec ?":         "2026-12-01 09:00",
		"*/9223372036854775807 * * * *": "2026-11-23 21:00",

		"":                               "",
		"@every 1h":                      "",
		" @every 1h":                     "",
		"@reboot":                        "",
		"0 2 * *":                        "",
		"0 0 2 * * *":                    "",
		"60 * * * *":                     "",
		"0 0 30 2 *":                     "", // never
		"TZ=Asia/Tokyo 0 2 * * *":        "",
		"CRON_TZ=Asia/Tokyo 0 2 * * *":   "",
		"TZ=":                            "",
		"CRON_TZ=UTC":                    "",
		"*/0 * * * *":                    "",
		"*/18446744073709551615 * * * *": "",
		"-1 * * * *":                     "",
		"5-1 * * * *":                    "",
		"a b c d e":                      "",
	} {
		err := w.PutSchedule(ctx, src, "x", text, o)
		if want == "" {
			if !errors.Is(err, exporter.ErrCron) {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		all, e := w.Schedules(ctx, src)
		if err != nil || e != nil || all[0].Next.UTC().Format("2006-01-02 15:04") != want {
			t.Errorf("%q: %v, %v, %v, want %s", text, err, e, all, want)
		}
	}
}
