package exporter_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"sesame/internal/blobs"
	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/jobs"
)

// full is a folder on a disk without room.
type full struct{ *blobs.Folder }

func (full) Put(_ context.Context, _ string, r io.Reader, _ func(int64) error) (int64, error) {
	_, err := io.CopyN(io.Discard, r, 10)
	return 0, errors.Join(err, syscall.ENOSPC)
}

// A job that finds no room fails with words that help, and at once.
func TestNoRoom(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	w.append(event("m", "a@gmail.com", events.Send, start, 0, nil))
	w.Objects = full{w.files}
	id, err := w.Create(ctx, src, insights(exporter.CSV))
	if err != nil || !w.work(ctx) {
		t.Fatal("no work", err)
	}
	j, err := w.Get(ctx, src, id)
	if err != nil || j.Status != jobs.Failed || !strings.Contains(j.Error, "no room left on its disk") || len(j.Files) != 0 {
		t.Errorf("%+v, %v", j, err)
	}
	if _, err := w.File(ctx, id, "any"); !errors.Is(err, exporter.ErrNotFound) {
		t.Errorf("it has a file: %v", err)
	}
}

// A file that a crash left without a job goes when it is an hour old; no other does.
func TestSweep(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	w.now = time.Now()
	j, _ := w.export(insights(exporter.CSV))
	for _, key := range []string{"exports/" + j.ID + "-lost", "exports/another-lost", "imports/not-ours"} {
		if _, err := w.files.Put(ctx, key, strings.NewReader("x"), func(int64) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		after time.Duration
		left  int
	}{{50 * time.Minute, 4}, {2 * time.Hour, 2}} {
		w.now = time.Now().Add(c.after)
		if err := w.Sweep(ctx); err != nil || len(w.objects()) != c.left {
			t.Errorf("after %v there are %v, %v", c.after, w.objects(), err)
		}
	}
	w.content(j.Files[0].Object)
}

// Like SES, mail with several recipients and to the simulator is left out, and what
// is older than 30 days, or for metrics 60.
func TestLikeSES(t *testing.T) {
	w := newWorld(t)
	w.Config.LikeSES = true
	ago := func(days int) time.Time { return w.now.AddDate(0, 0, -days) }
	w.append(
		event("young", "a@gmail.com", events.Send, ago(29), 0, nil), event("month", "a@gmail.com", events.Send, ago(31), 0, nil),
		event("old", "a@gmail.com", events.Send, ago(61), 0, nil),
		event("multi", "a@gmail.com", events.Send, ago(2), 0, func(e *events.Event) { e.Multi = true }),
		event("simulator", "success@simulator.amazonses.com", events.Send, ago(2), 0, func(e *events.Event) { e.Simulator = true }),
	)
	o := insights(exporter.JSON)
	o.Insights.Start, o.Insights.End = ago(100), w.now
	if _, got := w.export(o); strings.Count(got, "messageid") != 1 || !strings.Contains(got, `"young"`) {
		t.Errorf("exported:\n%s", got)
	}
	m := metricsOrder(exporter.CSV, map[string][]string{"ISP": {"Gmail"}}, exporter.Column{Metric: eventdb.Sends})
	m.Metrics.Start, m.Metrics.End = ago(100), w.now
	if _, got := w.export(m); got != "ISP,SEND_VOLUME\nGmail,2.0000\n" {
		t.Errorf("counted:\n%s", got)
	}
}
