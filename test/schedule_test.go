package test

import (
	"encoding/csv"
	"strings"
	"testing"
	"time"
)

// A schedule exports what is new, on a server that is killed while it is due: each
// event is in one of its files.
func TestSchedule(t *testing.T) {
	t.Parallel() // most of it is waiting for the next minute
	e := startWithMail(t, 2000)
	dir := t.TempDir()
	e.run(t, 0, dir, "events", "--schedule", "new", "--cron", "* * * * *", "--columns", "messageid,destination,event_type,event_timestamp,link,details", "--format", "csv")
	e.run(t, 2, dir, "events", "--schedule", "never", "--cron", "0 25 * * *")
	e.run(t, 2, dir, "events", "--schedule", "other", "--cron", "@daily", "--limit", "5")

	seen := map[string]int{}
	// next waits for another job of the schedule, and notes the rows of its file.
	var last string
	next := func() (rows int) {
		t.Helper()
		for end := time.Now().Add(100 * time.Second); ; time.Sleep(300 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the schedule has not run for 100 seconds")
			}
			listed, _ := e.run(t, 0, dir, "schedules")
			fields := strings.Fields(listed)
			if len(fields) == 0 || fields[0] != "new" {
				t.Fatalf("listed: %q", listed)
			}
			if id := fields[len(fields)-1]; id != "-" && id != last {
				last = id
				break
			}
		}
		file, _ := e.run(t, 0, dir, "fetch", last)
		all, err := csv.NewReader(strings.NewReader(file)).ReadAll()
		if err != nil || len(all) == 0 {
			t.Fatalf("%v\n%.300s", err, file)
		}
		for _, row := range all[1:] {
			seen[strings.Join(row, "|")]++
		}
		return len(all) - 1
	}
	want := 0
	if got := next(); got != 0 {
		t.Errorf("what was there before the schedule is exported: %d rows", got)
	}
	want += e.ingestMail(t, 1500, 2)
	for got := 0; got < want; {
		got += next()
	}
	want += e.ingestMail(t, 1500, 3)
	e.kill()
	time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(61 * time.Second))) // a time at which it is due goes by
	e.restart()
	began := time.Now()
	next()
	if waited := time.Since(began); waited > 20*time.Second {
		t.Errorf("the run that was missed was made up after %v", waited)
	}
	n := 0
	for row, times := range seen {
		if n += times; times != 1 {
			t.Errorf("%d times: %s", times, row)
		}
	}
	if n != want {
		t.Errorf("%d events were exported, want %d", n, want)
	}
	e.run(t, 0, dir, "unschedule", "new")
	if listed, _ := e.run(t, 0, dir, "schedules"); listed != "" {
		t.Errorf("listed after it was removed: %q", listed)
	}
	if _, said := e.run(t, 1, dir, "unschedule", "new"); !strings.Contains(said, "not found") {
		t.Error(said)
	}
}
