package exporter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sesame/internal/blobs"
	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/jobs"
	"sesame/internal/metadb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	src   = events.Source{Account: "111122223333", Region: "us-east-1"}
	start = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
)

// world is a Service on real stores.
type world struct {
	*exporter.Service
	t     testing.TB
	db    *metadb.DB
	store *eventdb.DuckDB
	files *blobs.Folder
	dir   string
	now   time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	w := &world{t: t, dir: dir, now: start.AddDate(0, 2, 0)}
	var err error
	if w.db, err = metadb.Open(ctx, filepath.Join(dir, "sesame.db")); err != nil {
		t.Fatal(err)
	}
	if w.store, err = eventdb.Open(ctx, filepath.Join(dir, "events"), 256<<20); err != nil {
		t.Fatal(err)
	}
	if w.files, err = blobs.OpenFolder(filepath.Join(dir, "objects")); err != nil {
		t.Fatal(err)
	}
	var ids atomic.Int64
	w.Service = &exporter.Service{
		Store: w.db, Objects: w.files, Events: w.store, Now: func() time.Time { return w.now }, Wake: func() {}, Log: slog.New(slog.DiscardHandler),
		NewJob: func() string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", ids.Add(1)) },
		NewID:  func(prefix string) string { return fmt.Sprintf("%s-%026d", prefix, ids.Add(1)) },
		Config: exporter.Config{Running: 20, Keep: 30 * 24 * time.Hour},
	}
	t.Cleanup(func() {
		if err := errors.Join(w.store.Close(), w.db.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) append(all ...events.Event) {
	w.t.Helper()
	if added, err := w.store.Append(context.Background(), all); err != nil || added != len(all) {
		w.t.Fatalf("Append: %d of %d, %v", added, len(all), err)
	}
}

// work does the next job, and says whether there was one.
func (w *world) work(ctx context.Context) bool {
	w.t.Helper()
	work, err := w.Claim(ctx)
	if err != nil && ctx.Err() == nil {
		w.t.Fatal(err)
	}
	if work != nil {
		work(ctx)
	}
	return work != nil
}

// export has an order done, and gives the file.
func (w *world) export(o exporter.Order) (exporter.Job, string) {
	w.t.Helper()
	ctx := context.Background()
	id, err := w.Create(ctx, src, o)
	if err != nil {
		w.t.Fatal(err)
	}
	if !w.work(ctx) {
		w.t.Fatal("no job waits")
	}
	j, err := w.Get(ctx, src, id)
	if err != nil || j.Status != jobs.Completed {
		w.t.Fatalf("%+v, %v", j, err)
	}
	return j, w.content(j.Files[0].Object)
}

func (w *world) content(object string) string {
	w.t.Helper()
	r, err := w.files.Open(context.Background(), object)
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// objects gives the keys of all files.
func (w *world) objects() (keys []string) {
	w.t.Helper()
	err := w.files.Each(context.Background(), func(key string, _ time.Time) error {
		keys = append(keys, key)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return keys
}
