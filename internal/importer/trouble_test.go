package importer_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
)

func (e *endless) open(int, string) (io.ReadCloser, error) { return e, nil }

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errTrouble }

// What cannot be read is tried again, and then fails with an Error that does not
// say what the server's trouble is, only where it is said.
func TestFailingReads(t *testing.T) {
	t.Parallel()
	file, want := bigFile(many)
	broken := func(w *world, after int) func(int, string) (io.ReadCloser, error) {
		return func(_ int, key string) (io.ReadCloser, error) {
			r, err := w.objects.Open(w.ctx, key)
			w.must(err)
			return struct {
				io.Reader
				io.Closer
			}{io.MultiReader(io.LimitReader(r, int64(after)), failing{}), r}, nil
		}
	}
	for _, trouble := range []struct {
		name string
		file []byte
		open func(w *world) func(int, string) (io.ReadCloser, error)
	}{
		{"cannot be opened", file, func(*world) func(int, string) (io.ReadCloser, error) {
			return func(int, string) (io.ReadCloser, error) { return nil, errTrouble }
		}},
		{"breaks off at once", file, func(w *world) func(int, string) (io.ReadCloser, error) { return broken(w, 0) }},
		{"breaks off in the middle", file, func(w *world) func(int, string) (io.ReadCloser, error) { return broken(w, len(file)/2) }},
		{"breaks off before its end", file, func(w *world) func(int, string) (io.ReadCloser, error) { return broken(w, len(file)) }},
		{"is packed and breaks off", packed(file), func(w *world) func(int, string) (io.ReadCloser, error) { return broken(w, len(packed(file))/2) }},
	} {
		bubble(t, trouble.name+" for good", func(t *testing.T) {
			w := newWorld(t, spilling)
			defer w.close()
			w.register("ann@example.com")
			objects := &troubled{Objects: w.objects, open: trouble.open(w)}
			w.Objects = objects
			job := w.started(importfile.CSV, trouble.file)
			begin := time.Now()
			w.work(w.ctx)
			w.failedInside(job, old("ann@example.com"))
			if log := w.log.String(); !strings.Contains(log, errTrouble.Error()) {
				t.Errorf("the log does not say what the trouble was:\n%s", head(log))
			}
			if waited := time.Since(begin); objects.opened < 3 || objects.opened > 10 || waited > time.Minute {
				t.Errorf("there were %d tries in %v", objects.opened, waited)
			}
		})
		if !strings.HasSuffix(trouble.name, "breaks off") && !strings.HasSuffix(trouble.name, "middle") {
			continue
		}
		bubble(t, trouble.name+" twice", func(t *testing.T) {
			w := newWorld(t, spilling)
			defer w.close()
			bad := trouble.open(w)
			w.Objects = &troubled{Objects: w.objects, open: func(n int, key string) (io.ReadCloser, error) {
				if n < 2 {
					return bad(n, key)
				}
				return w.objects.Open(w.ctx, key)
			}}
			job := w.started(importfile.CSV, trouble.file)
			w.work(w.ctx)
			same(t, "the import", w.outcome(job), want)
			w.checkPhases(t, job, len(trouble.file), want.Progress.Entries)
		})
	}
	bubble(t, "the server stops between two tries", func(t *testing.T) {
		w := newWorld(t, spilling)
		defer w.close()
		ctx, stop := context.WithCancel(w.ctx)
		w.Objects = &troubled{Objects: w.objects, open: func(int, string) (io.ReadCloser, error) {
			time.AfterFunc(100*time.Millisecond, stop)
			return nil, errTrouble
		}}
		job := w.started(importfile.CSV, file)
		w.work(ctx)
		same(t, "the state", w.job(job).Status, jobs.Processing)
		w.Objects = w.objects
		w.work(w.ctx)
		same(t, "the import", w.outcome(job), want)
	})
	bubble(t, "the job is stopped between two tries", func(t *testing.T) {
		w := newWorld(t, spilling)
		defer w.close()
		var job string
		w.Objects = &troubled{Objects: w.objects, open: func(int, string) (io.ReadCloser, error) {
			w.must(w.Stop(w.ctx, ann, job))
			return nil, errTrouble
		}}
		job = w.started(importfile.CSV, file)
		w.work(w.ctx)
		same(t, "the state", w.job(job).Status, jobs.Stopped)
		w.idle()
	})
}

// A folder that cannot be written is trouble of the server's, and an import goes
// on when it can be again.
func TestFoldersInTrouble(t *testing.T) {
	t.Parallel()
	file, want := bigFile(many)
	for _, name := range []string{"spill", "members"} {
		spoil := func(w *world) (mend func()) {
			path := filepath.Join(w.dir, name)
			if name == "members" {
				w.must(os.Rename(path, path+".away"))
			}
			// A file in the place of the folder: nobody can write to it, root neither.
			w.must(os.WriteFile(path, nil, 0o600))
			return func() {
				w.must(os.Remove(path))
				if name == "members" {
					w.must(os.Rename(path+".away", path))
				}
			}
		}
		bubble(t, name+" for good", func(t *testing.T) {
			w := newWorld(t, spilling)
			defer w.close()
			w.register("ann@example.com")
			mend := spoil(w)
			job := w.started(importfile.CSV, file)
			work, err := w.Claim(w.ctx)
			w.must(err)
			work(w.ctx)
			mend()
			w.failedInside(job, old("ann@example.com"))
			w.nothingIsLeft()
		})
		bubble(t, name+" for a while", func(t *testing.T) {
			w := newWorld(t, spilling)
			defer w.close()
			mend := spoil(w)
			time.AfterFunc(2*time.Second, mend)
			job := w.started(importfile.CSV, file)
			w.work(w.ctx)
			same(t, "the import", w.outcome(job), want)
			w.checkPhases(t, job, len(file), want.Progress.Entries)
		})
	}
}

// A mistake of ours that a file finds fails its job, and not the server.
func TestPanic(t *testing.T) {
	t.Parallel()
	file, want := bigFile(many)
	for _, phase := range phases[:2] {
		bubble(t, "while "+phase, func(t *testing.T) {
			w := newWorld(t, spilling)
			defer w.close()
			again := 0
			var mistake func()
			mistake = func() {
				again++
				w.in(phase, file, mistake) // as often as it is tried
				panic("found a mistake")
			}
			w.in(phase, file, mistake)
			job := w.started(importfile.CSV, file)
			w.work(w.ctx)
			w.failedInside(job, old())
			if again < 3 {
				t.Errorf("it was tried %d times", again)
			}
			if log := w.log.String(); !strings.Contains(log, "found a mistake") || !strings.Contains(log, "trouble_test.go") {
				t.Errorf("the log does not say where:\n%s", head(log))
			}
			w.Objects, w.merging = w.objects, nil
			next := w.started(importfile.CSV, file)
			w.work(w.ctx)
			same(t, "the next import", w.outcome(next), want)
		})
	}
}

// A file that is not what it should be fails at once, with an Error for its owner.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	for _, bad := range []struct {
		name   string
		format importfile.Format
		file   string
		want   string
	}{
		{"empty", importfile.CSV, "", "the file is empty"},
		{"JSON for CSV", importfile.CSV, `{"items":[{"address":"a@example.com"}]}`, "looks like JSON"},
		{"CSV for JSON", importfile.JSON, "address\na@example.com\n", "looks like CSV"},
		{"cut JSON", importfile.JSON, `{"items":[{"address":"a@example.com"},{"address":`, "the JSON document is broken"},
		{"cut gzip", importfile.CSV, string(packed([]byte(strings.Repeat("address\na@example.com\n", 50)))[:30]), "truncated"},
		{"too large", importfile.CSV, "address\n" + strings.Repeat("a@example.com\n", 100), "larger than the limit of 1000 bytes"},
	} {
		t.Run(bad.name, func(t *testing.T) {
			w := newWorld(t, small)
			defer w.close()
			w.Config.MaxBytes = 1000
			w.register("ann@example.com")
			objects := &troubled{Objects: w.objects}
			w.Objects = objects
			job := w.started(bad.format, []byte(bad.file))
			w.work(w.ctx)
			got := w.outcome(job)
			if !strings.Contains(got.Error, bad.want) {
				t.Errorf("the Error is %q, want %q in it", got.Error, bad.want)
			}
			if p := got.Progress; p.Read || p.Imported+p.Entries+p.Members != 0 {
				t.Errorf("the job has the counts %+v", p)
			}
			got.Error, got.Progress = "", importer.Progress{}
			same(t, "the import", got, outcome{Status: jobs.Failed, Members: old("ann@example.com")})
			same(t, "how often the upload was opened", objects.opened, 1)
		})
	}
}
