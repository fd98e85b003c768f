package importer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// bubble runs a test in which waiting takes no time, and which fails if a
// goroutine is left at its end.
func bubble(t *testing.T, name string, run func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, run) })
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, head(diff))
	}
}

func head(s string) string { return s[:min(len(s), 2000)] }

// spilling is a memory that bigFile does not fit in.
const spilling = 256 << 10

func TestBigFile(t *testing.T) {
	w := newWorld(t, importer.Config{Memory: spilling})
	defer w.close()
	file, want := bigFile()
	var imported, failed int64
	w.Counted = func(i, f int64) { imported, failed = imported+i, failed+f }
	job := w.started(importfile.CSV, file)
	w.work(w.ctx)
	same(t, "the import", w.outcome(job), want)
	same(t, "the uploads left", w.uploaded(), []string(nil))
	same(t, "the lines counted", []int64{imported, failed}, []int64{want.Imported, want.Failed})
	if work, err := w.Claim(w.ctx); work != nil || err != nil {
		t.Errorf("after the end there is work %v, error %v", work != nil, err)
	}
}

var errTrouble = errors.New("the store is in trouble at /secret/path")

// However a job is cut off, and after however many batches, whoever goes on with
// it ends with the members and counts of an undisturbed run.
func TestResume(t *testing.T) {
	file, want := bigFile()
	for _, cut := range []struct {
		name string
		// run brings the job to its end, with something in the way of the batch.
		run func(w *world, batch int)
	}{
		{"the server stops", func(w *world, batch int) {
			ctx, stop := context.WithCancel(w.ctx)
			defer stop()
			w.Store = &interfered{Store: w.db, apply: func(n int, do func() error) error {
				if n == batch {
					stop()
				}
				return do()
			}}
			w.work(ctx)
			w.Store = w.db
			w.work(w.ctx) // the lease was given back: no need to wait
		}},
		{"the server stops after it", func(w *world, batch int) {
			ctx, stop := context.WithCancel(w.ctx)
			defer stop()
			w.Store = &interfered{Store: w.db, apply: func(n int, do func() error) error {
				err := do()
				if n == batch {
					stop()
				}
				return err
			}}
			w.work(ctx)
			w.Store = w.db
			if w.uploaded() != nil { // else the last batch was the end
				if work, _ := w.Claim(w.ctx); work != nil {
					work(w.ctx)
				}
			}
		}},
		{"the server dies", func(w *world, batch int) {
			dead := &interfered{Store: w.db}
			dead.apply = func(n int, do func() error) error {
				if n == batch {
					dead.Store = deadStore{w.db}
					other := *w.Service
					other.Store = w.db
					if work, err := other.Claim(w.ctx); work != nil || err != nil {
						w.t.Errorf("the job of a worker that died could be claimed at once: error %v", err)
					}
					return errTrouble
				}
				return do()
			}
			w.Store = dead
			w.work(w.ctx)
			w.open()
			w.must(w.db.ReleaseLeases(w.ctx))
			w.work(w.ctx)
		}},
		{"the server dies and the lease runs out", func(w *world, batch int) {
			dead := &interfered{Store: w.db}
			dead.apply = func(n int, do func() error) error {
				err := do()
				if n == batch {
					dead.Store = deadStore{w.db}
					return errTrouble
				}
				return err
			}
			w.Store = dead
			w.work(w.ctx)
			w.open()
			time.Sleep(16 * time.Second) // no time in a bubble
			w.work(w.ctx)
		}},
		{"the store fails once", func(w *world, batch int) {
			w.Store = &interfered{Store: w.db, apply: func(n int, do func() error) error {
				if n == batch {
					return errTrouble
				}
				return do()
			}}
			w.work(w.ctx)
		}},
		{"the store commits and says that it failed", func(w *world, batch int) {
			w.Store = &interfered{Store: w.db, apply: func(n int, do func() error) error {
				err := do()
				if n == batch {
					return errTrouble
				}
				return err
			}}
			w.work(w.ctx)
		}},
		{"another takes the job over", func(w *world, batch int) {
			w.Store = &interfered{Store: w.db, apply: func(n int, do func() error) error {
				if n == batch {
					w.must(w.db.ReleaseLeases(w.ctx))
					other := *w.Service
					other.Store = w.db
					work, err := other.Claim(w.ctx)
					w.must(err)
					work(w.ctx)
					if err := do(); !errors.Is(err, jobs.ErrLeaseLost) {
						w.t.Errorf("a batch of the one before: error %v, want %v", err, jobs.ErrLeaseLost)
					}
					return jobs.ErrLeaseLost
				}
				return do()
			}}
			w.work(w.ctx)
		}},
	} {
		for batch := range 3 {
			bubble(t, fmt.Sprintf("%s at batch %d", cut.name, batch), func(t *testing.T) {
				w := newWorld(t, importer.Config{Memory: spilling})
				defer w.close()
				job := w.started(importfile.CSV, file)
				cut.run(w, batch)
				same(t, "the import", w.outcome(job), want)
				same(t, "the uploads left", w.uploaded(), []string(nil))
			})
		}
	}
}

// deadStore answers no worker any more.
type deadStore struct{ importer.Store }

func (deadStore) ApplyBatch(context.Context, jobs.Lease, importer.Batch) error { return errTrouble }
func (deadStore) RenewLease(context.Context, jobs.Lease, time.Time, int64) error {
	return errTrouble
}
func (deadStore) Reserve(context.Context, jobs.Lease, int64, int64) (int64, bool, error) {
	return 0, false, errTrouble
}
func (deadStore) FinishJob(context.Context, jobs.Lease, jobs.Status, string, int64, time.Time) error {
	return errTrouble
}

// A job that is stopped keeps what it applied, and its counts say exactly what.
func TestStopWhileApplying(t *testing.T) {
	file, want := bigFile()
	for batches := range 3 {
		bubble(t, fmt.Sprintf("after batch %d", batches), func(t *testing.T) {
			w := newWorld(t, importer.Config{Memory: spilling})
			defer w.close()
			w.register("zz@example.com")
			var job string
			w.Store = &interfered{Store: w.db, apply: func(n int, do func() error) error {
				if n == batches {
					w.must(w.Stop(w.ctx, ann, job))
				}
				return do()
			}}
			job = w.started(importfile.CSV, file)
			w.work(w.ctx)
			rows := min(batches*10_000, len(want.Members))
			stopped := outcome{
				Status: jobs.Stopped, Imported: linesUpTo(rows), Failed: want.Failed, Kinds: want.Kinds,
				Members: append(slices.Clone(want.Members[:rows]), "zz@example.com"),
			}
			if rows == 0 {
				stopped.Kinds = 1 << 20
			}
			same(t, "the import", w.outcome(job), stopped)
			same(t, "the uploads left", w.uploaded(), []string(nil))
			before := w.job(job)
			w.must(w.Stop(w.ctx, ann, job)) // again
			same(t, "the job after a second Stop", w.job(job), before)
			if err := w.Start(w.ctx, ann, job); !errors.Is(err, importer.ErrEnded) {
				t.Errorf("Start of a stopped job: error %v, want %v", err, importer.ErrEnded)
			}
			if work, err := w.Claim(w.ctx); work != nil || err != nil {
				t.Errorf("a stopped job is worked on again: error %v", err)
			}
		})
	}
}

// endless is an upload of a bad line, and then of one entry after another.
type endless struct {
	reads  int
	onRead func(n int)
}

func (e *endless) Read(p []byte) (int, error) {
	e.onRead(e.reads)
	e.reads++
	if e.reads > 1_000_000 {
		return 0, errors.New("the upload is read on and on")
	}
	n := 0
	if e.reads == 1 {
		n = copy(p, "address\nno address\n")
	}
	const line = "user@example.com\n"
	for ; len(p)-n >= len(line); n += len(line) {
		copy(p[n:], line)
	}
	return n, nil
}

func (e *endless) Close() error { return nil }

func TestStopWhileReading(t *testing.T) {
	bubble(t, "at once", func(t *testing.T) {
		w := newWorld(t, importer.Config{Memory: 4 << 10})
		defer w.close()
		w.register("ann@example.com")
		var job string
		lost := make(chan struct{})
		w.Store = &interfered{Store: w.db, lost: func() { close(lost) }}
		upload := &endless{onRead: func(n int) {
			if n == 5 {
				time.Sleep(time.Second) // a renewal notes what was refused so far
				w.must(w.Stop(w.ctx, ann, job))
				<-lost
			}
		}}
		w.Service.Objects = &troubled{Objects: w.objects, open: func(int, string) (io.ReadCloser, error) { return upload, nil }}
		job = w.started(importfile.CSV, []byte("address\n"))
		w.work(w.ctx)
		got := w.outcome(job)
		got.Failed = 1 // as far as it was noted
		same(t, "the import", got, outcome{Status: jobs.Stopped, Failed: 1, Members: []string{"ann@example.com"}, Kinds: 1 << 20})
		same(t, "the uploads left", w.uploaded(), []string(nil))
	})
}

// The counts of a job that is resumed do not go back while it reads again what
// was read before.
func TestCountsDoNotGoBack(t *testing.T) {
	bubble(t, "resumed", func(t *testing.T) {
		w := newWorld(t, importer.Config{Memory: spilling})
		defer w.close()
		file, want := bigFile()
		ctx, stop := context.WithCancel(w.ctx)
		w.Store = &interfered{Store: w.db, apply: func(n int, do func() error) error {
			if n == 1 {
				stop()
			}
			return do()
		}}
		job := w.started(importfile.CSV, file)
		w.work(ctx)
		before := w.job(job)
		same(t, "the lines refused when the server stopped", before.Failed, want.Failed)
		same(t, "the lines imported when the server stopped", before.Imported, linesUpTo(10_000))

		w.Store = w.db
		objects := w.objects
		w.Service.Objects = &troubled{Objects: objects, open: func(_ int, key string) (io.ReadCloser, error) {
			r, err := objects.Open(w.ctx, key)
			return &paused{ReadCloser: r, after: len(file) / 2, pause: func() {
				time.Sleep(2 * time.Second) // several renewals
				now := w.job(job)
				same(t, "the lines refused while the file is read again", now.Failed, want.Failed)
				same(t, "the lines imported while the file is read again", now.Imported, before.Imported)
			}}, err
		}}
		w.work(w.ctx)
		same(t, "the import", w.outcome(job), want)
	})
}

// paused is a reader that pauses once.
type paused struct {
	io.ReadCloser
	after int
	pause func()
}

func (p *paused) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	if p.after -= n; p.after < 0 && p.pause != nil {
		p.pause()
		p.pause = nil
	}
	return n, err
}

// What cannot be read is tried again, and then fails with an Error that does not
// say what the server's trouble is, only where it is said.
func TestFailingReads(t *testing.T) {
	file, want := bigFile()
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
			w := newWorld(t, importer.Config{Memory: spilling})
			defer w.close()
			w.register("ann@example.com")
			objects := &troubled{Objects: w.objects, open: trouble.open(w)}
			w.Service.Objects = objects
			job := w.started(importfile.CSV, trouble.file)
			begin := time.Now()
			w.work(w.ctx)
			got := w.outcome(job)
			if !strings.Contains(got.Error, "inside the server") || !strings.Contains(got.Error, job) || strings.Contains(got.Error, "secret") {
				t.Errorf("the Error is %q", got.Error)
			}
			if log := w.log.String(); !strings.Contains(log, errTrouble.Error()) || !strings.Contains(log, job) {
				t.Errorf("the log does not say what the trouble was:\n%s", log)
			}
			got.Error, got.Failed = "", 0
			same(t, "the import", got, outcome{Status: jobs.Failed, Members: []string{"ann@example.com"}, Kinds: 1 << 20})
			if waited := time.Since(begin); objects.opened < 3 || objects.opened > 10 || waited > time.Minute {
				t.Errorf("there were %d tries in %v", objects.opened, waited)
			}
			same(t, "how many uploads are left", len(w.uploaded()), 1) // as evidence, until the list is deleted
		})
		bubble(t, trouble.name+" twice", func(t *testing.T) {
			w := newWorld(t, importer.Config{Memory: spilling})
			defer w.close()
			bad := trouble.open(w)
			w.Service.Objects = &troubled{Objects: w.objects, open: func(n int, key string) (io.ReadCloser, error) {
				if n < 2 {
					return bad(n, key)
				}
				return w.objects.Open(w.ctx, key)
			}}
			job := w.started(importfile.CSV, trouble.file)
			w.work(w.ctx)
			same(t, "the import", w.outcome(job), want)
		})
	}
	bubble(t, "the server stops between two tries", func(t *testing.T) {
		w := newWorld(t, importer.Config{Memory: spilling})
		defer w.close()
		ctx, stop := context.WithCancel(w.ctx)
		w.Service.Objects = &troubled{Objects: w.objects, open: func(int, string) (io.ReadCloser, error) {
			time.AfterFunc(100*time.Millisecond, stop)
			return nil, errTrouble
		}}
		job := w.started(importfile.CSV, file)
		w.work(ctx)
		same(t, "the state", w.job(job).Status, jobs.Processing)
		w.Service.Objects = w.objects
		w.work(w.ctx)
		same(t, "the import", w.outcome(job), want)
	})
}

// A mistake of ours that a file finds fails its job, and not the server.
func TestPanic(t *testing.T) {
	bubble(t, "while reading", func(t *testing.T) {
		w := newWorld(t, importer.Config{Memory: spilling})
		defer w.close()
		file, want := bigFile()
		objects := w.objects
		w.Service.Objects = &troubled{Objects: objects, open: func(_ int, key string) (io.ReadCloser, error) {
			r, err := objects.Open(w.ctx, key)
			return &paused{ReadCloser: r, after: len(file) / 2, pause: func() { panic("found a mistake") }}, err
		}}
		job := w.started(importfile.CSV, file)
		w.work(w.ctx)
		got := w.outcome(job)
		if got.Status != jobs.Failed || !strings.Contains(got.Error, "inside the server") || strings.Contains(got.Error, "mistake") || len(got.Members) != 0 {
			t.Errorf("the job is %s with %d members and the Error %q", got.Status, len(got.Members), got.Error)
		}
		if log := w.log.String(); !strings.Contains(log, "found a mistake") || !strings.Contains(log, "endings_test.go") {
			t.Errorf("the log does not say where:\n%s", head(log))
		}
		w.Service.Objects = objects
		next := w.started(importfile.CSV, file)
		w.work(w.ctx)
		same(t, "the next import", w.outcome(next), want)
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errTrouble }

// A file that is not what it should be fails at once, with an Error for its owner.
func TestBadFiles(t *testing.T) {
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
			w := newWorld(t, importer.Config{Memory: 4 << 10})
			defer w.close()
			w.Config.MaxBytes = 1000
			w.register("ann@example.com")
			objects := &troubled{Objects: w.objects}
			w.Service.Objects = objects
			job := w.started(bad.format, []byte(bad.file))
			w.work(w.ctx)
			got := w.outcome(job)
			if !strings.Contains(got.Error, bad.want) {
				t.Errorf("the Error is %q, want %q in it", got.Error, bad.want)
			}
			got.Error = ""
			same(t, "the import", got, outcome{Status: jobs.Failed, Members: []string{"ann@example.com"}, Kinds: 1 << 20})
			same(t, "how often the upload was opened", objects.opened, 1)
		})
	}
}

// A job fits or changes nothing, at the limit to the entry.
func TestLimit(t *testing.T) {
	for _, test := range []struct {
		name   string
		limit  int64
		had    []string
		file   string
		failed string // the job's Error
	}{
		{"just fits", 3, []string{"a@example.com"}, "b@example.com\nc@example.com\n", ""},
		{"one too many", 3, []string{"a@example.com"}, "b@example.com\nc@example.com\nd@example.com\n",
			"The file would bring the list to 4 members, 1 more than the 3 that it may hold. Nothing was imported."},
		{"far too many", 1, nil, "a@example.com\nb@example.com\nc@example.com\nd@example.com\n",
			"The file would bring the list to 4 members, 3 more than the 1 that it may hold. Nothing was imported."},
		{"more lines than room, but duplicates", 2, nil, strings.Repeat("a@example.com\nB@example.com\nA@example.com\nb@example.com\n", 30), ""},
		{"more lines than room, but members", 3, []string{"a@example.com", "b@example.com"}, "A@example.com\nB@example.com\nc@example.com\n", ""},
		{"a full list and nothing new", 2, []string{"a@example.com", "b@example.com"}, "a@example.com\nb@example.com\na@example.com\n", ""},
		{"a full list and one new", 2, []string{"a@example.com", "b@example.com"}, "a@example.com\nb@example.com\nc@example.com\n",
			"The file would bring the list to 3 members, 1 more than the 2 that it may hold. Nothing was imported."},
		{"a list over its limit", 1, []string{"a@example.com", "b@example.com"}, "a@example.com\n", "-"},
		{"bad lines take no room", 1, nil, "none\nnone\na@example.com\nnone\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, importer.Config{Members: test.limit, Memory: 4 << 10})
			defer w.close()
			w.register(test.had...)
			job := w.started(importfile.CSV, []byte("address\n"+test.file))
			w.work(w.ctx)
			got := w.outcome(job)
			switch {
			case test.failed == "-": // fails or not, but changes nothing
				same(t, "the members", got.Members, test.had)
			case test.failed != "":
				same(t, "the Error", got.Error, test.failed)
				same(t, "the state", got.Status, jobs.Failed)
				same(t, "the lines imported", got.Imported, int64(0))
				same(t, "the members", got.Members, append([]string{}, test.had...))
			default:
				same(t, "the Error", got.Error, "")
				same(t, "the state", got.Status, jobs.Completed)
				if int64(len(got.Members)) > test.limit {
					t.Errorf("the list may hold %d and holds %q", test.limit, got.Members)
				}
			}
			// Nothing stays promised to a job that has ended.
			l, err := w.db.List(w.ctx, ann, w.list)
			w.must(err)
			if l.Members < test.limit {
				e := entryOf(t, "late@example.com")
				w.must(w.db.AddMember(w.ctx, ann, w.list, e, test.limit, time.Now()))
			}
		})
	}
}

// Members that come and go while an import runs do not bring a list over its limit.
func TestLimitWhileMembersChange(t *testing.T) {
	bubble(t, "a place is taken", func(t *testing.T) {
		w := newWorld(t, importer.Config{Members: 3, Memory: 4 << 10})
		defer w.close()
		w.register("a@example.com", "b@example.com")
		w.Store = &interfered{Store: w.db, apply: func(n int, do func() error) error {
			if n == 0 { // a was counted as a member
				w.must(w.db.RemoveMember(w.ctx, ann, w.list, "a@example.com", time.Now()))
				if err := w.db.AddMember(w.ctx, ann, w.list, entryOf(t, "z@example.com"), 3, time.Now()); err != nil && !errors.Is(err, lists.ErrListFull) {
					t.Error(err)
				}
			}
			return do()
		}}
		job := w.started(importfile.CSV, []byte("a@example.com\nb@example.com\nc@example.com\n"))
		w.work(w.ctx)
		got := w.outcome(job)
		if len(got.Members) > 3 {
			t.Errorf("the list may hold 3 members and holds %q", got.Members)
		}
		if got.Status == jobs.Failed {
			same(t, "the Error", got.Error, "The file would bring the list to 4 members, 1 more than the 3 that it may hold. Nothing was imported.")
			same(t, "the members", got.Members, []string{"b@example.com", "z@example.com"})
		}
	})
	bubble(t, "a place is taken in the middle", func(t *testing.T) {
		file, want := bigFile()
		w := newWorld(t, importer.Config{Members: int64(len(want.Members)), Memory: spilling})
		defer w.close()
		w.register("user21999@example.com") // counted as a member, and comes last
		w.Store = &interfered{Store: w.db, apply: func(n int, do func() error) error {
			if n == 1 {
				w.must(w.db.RemoveMember(w.ctx, ann, w.list, "user21999@example.com", time.Now()))
				if err := w.db.AddMember(w.ctx, ann, w.list, entryOf(t, "z@example.com"), int64(len(want.Members)), time.Now()); err != nil && !errors.Is(err, lists.ErrListFull) {
					t.Error(err)
				}
			}
			return do()
		}}
		job := w.started(importfile.CSV, file)
		w.work(w.ctx)
		got := w.outcome(job)
		if len(got.Members) > len(want.Members) {
			t.Errorf("the list may hold %d members and holds %d", len(want.Members), len(got.Members))
		}
		if got.Status == jobs.Failed && (!strings.Contains(got.Error, "1 more than the") || strings.Contains(got.Error, "Nothing was imported") != (got.Imported == 0)) {
			t.Errorf("%d lines were imported and the Error is %q", got.Imported, got.Error)
		}
	})
}

// The upload.

func TestUpload(t *testing.T) {
	w := newWorld(t, importer.Config{Memory: 4 << 10})
	defer w.close()
	fine := func(int64) error { return nil }
	upload := func(job, text string) error { return w.Upload(w.ctx, job, strings.NewReader(text), fine) }
	job, _, err := w.Create(w.ctx, ann, w.list, "job", importfile.CSV, lists.ClientToken{})
	w.must(err)
	if err := w.Start(w.ctx, ann, job); !errors.Is(err, importer.ErrNothingUploaded) {
		t.Errorf("Start before the upload: error %v, want %v", err, importer.ErrNothingUploaded)
	}
	same(t, "how often the runner was woken", w.wakes.Load(), int64(0))

	w.must(upload(job, "a@example.com\n"))
	first := w.job(job).Object
	for _, bad := range []struct {
		name  string
		body  io.Reader
		check func(int64) error
	}{
		{"whose check fails", strings.NewReader("b@example.com\n"), func(int64) error { return errTrouble }},
		{"that breaks off", io.MultiReader(strings.NewReader("b@example.com\n"), failing{}), fine},
	} {
		if err := w.Upload(w.ctx, job, bad.body, bad.check); !errors.Is(err, errTrouble) {
			t.Errorf("an upload %s: error %v", bad.name, err)
		}
		same(t, "the upload after one "+bad.name, w.job(job).Object, first)
		same(t, "the uploads after one "+bad.name, w.uploaded(), []string{first})
		partial, err := os.ReadDir(filepath.Join(w.dir, "objects", "partial"))
		w.must(err)
		same(t, "the unfinished uploads after one "+bad.name, len(partial), 0)
	}

	var size int64
	w.must(w.Upload(w.ctx, job, strings.NewReader("c@example.com\n"), func(n int64) error { size = n; return nil }))
	same(t, "the size that check was told", size, int64(14))
	second := w.job(job)
	same(t, "the size of the upload", second.Size, int64(14))
	same(t, "the uploads after a second", w.uploaded(), []string{second.Object})

	if err := upload("job-none", "x"); !errors.Is(err, importer.ErrNotFound) {
		t.Errorf("an upload for no job: error %v, want %v", err, importer.ErrNotFound)
	}
	// Start wins the race against an upload that is on its way.
	err = w.Upload(w.ctx, job, strings.NewReader("late@example.com\n"), func(int64) error { return w.Start(w.ctx, ann, job) })
	if !errors.Is(err, importer.ErrStarted) {
		t.Errorf("an upload that Start overtook: error %v, want %v", err, importer.ErrStarted)
	}
	if err := upload(job, "later@example.com\n"); !errors.Is(err, importer.ErrStarted) {
		t.Errorf("an upload after Start: error %v, want %v", err, importer.ErrStarted)
	}
	same(t, "the uploads after Start", w.uploaded(), []string{second.Object})
	same(t, "how often the runner was woken", w.wakes.Load(), int64(1))
	w.must(w.Start(w.ctx, ann, job)) // again
	w.work(w.ctx)
	same(t, "the import", w.outcome(job), outcome{Status: jobs.Completed, Imported: 1, Members: []string{"c@example.com"}, Kinds: 1 << 20})
}

// Sweep deletes what no job needs and nothing else, young uploads least of all.
func TestSweep(t *testing.T) {
	w := newWorld(t, importer.Config{Memory: 4 << 10})
	defer w.close()
	put := func(key string) {
		_, err := w.objects.Put(w.ctx, key, strings.NewReader("x"), func(int64) error { return nil })
		w.must(err)
	}
	job, _, err := w.Create(w.ctx, ann, w.list, "job", importfile.CSV, lists.ClientToken{})
	w.must(err)
	w.must(w.Upload(w.ctx, job, bytes.NewReader(nil), func(int64) error { return nil }))
	needed := w.job(job).Object
	lost := "imports/" + w.NewID(job)
	put(lost)
	put("exports/of-another")

	// The deletion of what a stopped job had uploaded fails, and is made up for.
	stopped := w.started(importfile.CSV, []byte("a@example.com\n"))
	left := w.job(stopped).Object
	w.Service.Objects = &troubled{Objects: w.objects, deleteErr: errTrouble}
	w.must(w.Stop(w.ctx, ann, stopped))
	w.Service.Objects = w.objects

	all := []string{"exports/of-another", needed, left, lost}
	slices.Sort(all)
	w.must(w.Sweep(w.ctx))
	same(t, "what is left while all is young", sorted(w.uploaded()), all)
	w.Now = func() time.Time { return time.Now().Add(59 * time.Minute) }
	w.must(w.Sweep(w.ctx))
	same(t, "what is left after 59 minutes", sorted(w.uploaded()), all)
	w.Now = func() time.Time { return time.Now().Add(61 * time.Minute) }
	w.must(w.Sweep(w.ctx))
	same(t, "what is left after 61 minutes", sorted(w.uploaded()), []string{"exports/of-another", needed})
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
