package exporter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sesame/internal/blobs"
	"sesame/internal/exporter"
	"sesame/internal/jobs"
)

// wrecked is a folder that something happens to when so many bytes of an object have
// come.
type wrecked struct {
	*blobs.Folder
	after int64
	once  *sync.Once
	wreck func()
}

func (w wrecked) Put(ctx context.Context, key string, r io.Reader, check func(int64) error) (int64, error) {
	return w.Folder.Put(ctx, key, &tripped{r: r, w: w}, check)
}

type tripped struct {
	r    io.Reader
	w    wrecked
	read int64
}

func (t *tripped) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if t.read += int64(n); t.read >= t.w.after {
		t.w.once.Do(t.w.wreck)
	}
	return n, err
}

// An object store that is wrecked while a file comes, at any moment, and mended or not,
// either has the whole file in the end, or fails the job with words that help. There is
// never a part of one.
func TestWreckedObjects(t *testing.T) {
	const rows = 2000
	reference := newWorld(t)
	reference.sent(rows)
	o := insights(exporter.CSV)
	o.Insights.MaxResults = 0
	_, want := reference.export(o)

	// In the folder's place there is a file that is none.
	kinds := []string{"partial", "whole/exports", "whole"}
	forGood := kinds[rand.N(len(kinds))] // that takes 15 s
	for _, kind := range kinds {
		for _, mended := range []bool{true, false} {
			if !mended && (kind != forGood || testing.Short()) {
				continue
			}
			after := rand.Int64N(int64(len(want)))
			t.Run(fmt.Sprintf("%s after %d of %d bytes, mended: %v", kind, after, len(want), mended), func(t *testing.T) {
				t.Parallel()
				ctx := context.Background()
				w := newWorld(t)
				w.sent(rows)
				began := time.Now()
				w.Now = func() time.Time { return w.now.Add(time.Since(began)) }
				folder := filepath.Join(w.dir, "objects", kind)
				mend := func() {
					os.Remove(folder)
					if err := os.Rename(folder+"-away", folder); err != nil && !errors.Is(err, os.ErrNotExist) {
						t.Error(err)
					}
				}
				w.Objects = wrecked{Folder: w.files, after: after, once: &sync.Once{}, wreck: func() {
					if err := os.Rename(folder, folder+"-away"); err != nil && !errors.Is(err, os.ErrNotExist) {
						t.Error(err)
					}
					if err := os.WriteFile(folder, nil, 0o600); err != nil {
						t.Error(err)
					}
					if mended {
						time.AfterFunc(1500*time.Millisecond, mend)
					}
				}}
				id, err := w.Create(ctx, src, o)
				if err != nil || !w.work(ctx) {
					t.Fatal("no work", err)
				}
				j, err := w.Get(ctx, src, id)
				if err != nil {
					t.Fatal(err)
				}
				if mended {
					if j.Status != jobs.Completed || w.content(j.Files[0].Object) != want {
						t.Errorf("%+v", j)
					}
					if left := w.objects(); len(left) != 1 {
						t.Errorf("left: %v", left)
					}
					return
				}
				if j.Status != jobs.Failed || !strings.Contains(j.Error, "could not store the file; it tried 5 times in 1") || !strings.Contains(j.Error, id) || len(j.Files) > 0 {
					t.Errorf("%+v", j)
				}
				mend()
				if left := w.objects(); len(left) > 0 {
					t.Errorf("left: %v", left)
				}
			})
		}
	}
}
