package importer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// Wherever a job is cut off, its list is as it was, and whoever does it again comes
// to the members and counts of an undisturbed run. What is noted meanwhile never
// goes back, which the store of every test here sees to.
func TestDoneAgain(t *testing.T) {
	t.Parallel()
	file, want := bigFile(many)
	for _, cut := range []struct {
		name   string
		phases []string
		// run brings the job to its end, and something in the way of it in a phase.
		run func(w *world, phase, job string)
	}{
		{"the server stops", phases, func(w *world, phase, job string) {
			ctx, stop := context.WithCancel(w.ctx)
			defer stop()
			w.in(phase, file, func() {
				time.Sleep(time.Second) // the progress is noted
				stop()
			})
			w.work(ctx)
			w.asBefore(job)
			w.work(w.ctx) // the lease was given back: no need to wait
		}},
		{"the server dies", phases, func(w *world, phase, job string) {
			w.in(phase, file, func() {
				time.Sleep(time.Second)
				w.store.dead.Store(true)
				w.idle()
			})
			w.work(w.ctx)
			w.asBefore(job)
			w.open()
			w.must(w.db.ReleaseLeases(w.ctx))
			w.work(w.ctx)
		}},
		{"the server hangs until the lease runs out", phases[1:2], func(w *world, phase, job string) {
			w.in(phase, file, func() { w.store.dead.Store(true) })
			w.work(w.ctx)
			w.asBefore(job)
			time.Sleep(16 * time.Second) // no time in a bubble
			w.open()
			w.work(w.ctx)
		}},
		{"another takes the job over", phases[2:], func(w *world, phase, job string) {
			var work jobs.Work
			w.in(phase, file, func() {
				w.must(w.db.ReleaseLeases(w.ctx))
				var err error
				work, err = w.Claim(w.ctx)
				w.must(err)
			})
			w.work(w.ctx)
			w.asBefore(job)
			work(w.ctx)
		}},
		{"another takes the job over, which is noticed at once", phases, func(w *world, phase, job string) {
			var work jobs.Work
			w.in(phase, file, func() {
				w.must(w.db.ReleaseLeases(w.ctx))
				var err error
				work, err = w.Claim(w.ctx)
				w.must(err)
				time.Sleep(time.Second) // a renewal finds it out
			})
			w.work(w.ctx)
			w.asBefore(job)
			work(w.ctx)
		}},
	} {
		for _, phase := range cut.phases {
			bubble(t, cut.name+" while "+phase, func(t *testing.T) {
				w := newWorld(t, spilling)
				defer w.close()
				job := w.started(importfile.CSV, file)
				cut.run(w, phase, job)
				same(t, "the import", w.outcome(job), want)
				w.checkPhases(t, job, len(file), want.Progress.Entries)
				same(t, "the uploads left", w.uploaded(), []string(nil))
				refused := 0
				w.must(w.objects.Each(w.ctx, func(string, time.Time) error { refused++; return nil }))
				same(t, "the lists of refused lines", refused, 1)
				w.idle()
			})
		}
	}
}

// asBefore says that a job goes on and that its list, which was empty, is.
func (w *world) asBefore(job string) {
	w.t.Helper()
	same(w.t, "the state", w.job(job).Status, jobs.Processing)
	same(w.t, "the members", w.members(), old())
	w.nothingIsLeft()
}

// A job that is stopped leaves its list as it was, and its counts say how far it
// has come.
func TestStop(t *testing.T) {
	t.Parallel()
	file, want := bigFile(many)
	lines := want.Progress
	for _, phase := range phases {
		for name, wait := range map[string]time.Duration{"which is noticed when it writes": 0, "which is noticed at once": time.Second} {
			bubble(t, fmt.Sprintf("while %s, %s", phase, name), func(t *testing.T) {
				w := newWorld(t, spilling)
				defer w.close()
				w.register("a@example.com", "Zz@example.com")
				w.fold()
				w.register("b@example.com")
				var job string
				w.in(phase, file, func() {
					time.Sleep(time.Second) // the progress is noted
					w.must(w.Stop(w.ctx, ann, job))
					time.Sleep(wait)
				})
				job = w.ordered(importer.Order{Format: importfile.CSV, Mode: lists.Replace}, file)
				w.work(w.ctx)
				got := w.outcome(job)
				p := got.Progress
				got.Progress = importer.Progress{}
				same(t, "the import", got, outcome{Status: jobs.Stopped, Members: old("a@example.com", "b@example.com", "Zz@example.com")})
				if p.Imported != 0 || p.Members != 0 {
					t.Errorf("a stopped job has the counts %+v", p)
				}
				switch phase {
				case importer.Reading:
					if p.Read || p.Lines == 0 || p.Lines >= lines.Lines || p.Refused() == 0 || p.Refused() >= lines.Refused() || p.Entries != 0 {
						t.Errorf("a job that was stopped while reading has the counts %+v", p)
					}
					w.checkRefused(t, job, nil)
					w.must(w.objects.Each(w.ctx, func(key string, _ time.Time) error { return errors.New(key + " is left") }))
				default:
					if !p.Read || p.Lines != lines.Lines || p.Refused() != lines.Refused() {
						t.Errorf("a job that was stopped after reading has the counts %+v", p)
					}
					content, err := w.Service.Refused(w.ctx, job)
					w.must(err)
					w.must(content.Close())
				}
				same(t, "the uploads left", w.uploaded(), []string(nil))

				before := w.job(job)
				w.must(w.Stop(w.ctx, ann, job)) // again
				same(t, "the job after a second Stop", w.job(job), before)
				if err := w.Start(w.ctx, ann, job); !errors.Is(err, importer.ErrEnded) {
					t.Errorf("Start of a stopped job: error %v, want %v", err, importer.ErrEnded)
				}
				w.idle()
			})
		}
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
	if e.reads > 100_000 {
		return 0, errors.New("the upload is read on and on")
	}
	n := 0
	if e.reads == 1 {
		n = copy(p, "address\nno address\n")
	}
	return n + copy(p[n:], bytes.Repeat([]byte("user@example.com\n"), (len(p)-n)/17)), nil
}

func (e *endless) Close() error { return nil }

// What a Stop finds out first is the renewal, and not the end of a long file.
func TestStopOfALongFile(t *testing.T) {
	t.Parallel()
	bubble(t, "at once", func(t *testing.T) {
		w := newWorld(t, small)
		defer w.close()
		w.register("ann@example.com")
		var job string
		lost := make(chan struct{})
		w.store.lost = func() { close(lost) }
		upload := &endless{}
		upload.onRead = func(n int) {
			if n == 5 {
				time.Sleep(time.Second) // a renewal notes what was refused so far
				w.must(w.Stop(w.ctx, ann, job))
				<-lost
			}
			if n > 100 {
				t.Fatal("the job reads on though it was stopped")
			}
		}
		w.Objects = &troubled{Objects: w.objects, open: upload.open}
		job = w.started(importfile.CSV, make([]byte, 4<<20)) // as long as what is read of it
		w.work(w.ctx)
		got := w.outcome(job)
		same(t, "the lines refused", got.Progress.Invalid, map[string]int64{"domain_character": 1})
		got.Progress = importer.Progress{}
		same(t, "the import", got, outcome{Status: jobs.Stopped, Members: old("ann@example.com")})
		same(t, "the uploads left", w.uploaded(), []string(nil))
	})
}

// What the store says of the move of a list need not be so.
func TestPublishInTrouble(t *testing.T) {
	t.Parallel()
	file, want := bigFile(many)
	for _, trouble := range []struct {
		name    string
		publish func(w *world, do func() error) error
	}{
		{"it succeeds and says that it failed", func(w *world, do func() error) error {
			w.must(do())
			return errTrouble
		}},
		{"it takes long to say that it succeeded", func(w *world, do func() error) error {
			err := do()
			time.Sleep(2 * time.Second) // a renewal finds that there is no lease any more
			return err
		}},
	} {
		bubble(t, trouble.name, func(t *testing.T) {
			w := newWorld(t, spilling)
			defer w.close()
			w.store.publish = func(do func() error) error { return trouble.publish(w, do) }
			job := w.started(importfile.CSV, file)
			w.work(w.ctx)
			same(t, "the import", w.outcome(job), want)
			same(t, "the uploads left", w.uploaded(), []string(nil))
			w.idle()
		})
	}
	bubble(t, "it fails once", func(t *testing.T) {
		w := newWorld(t, spilling)
		defer w.close()
		file, want := bigFile(most) // so that the second try is behind the first when it has read
		w.store.publish = func(func() error) error {
			w.store.publish = nil
			return errTrouble
		}
		job := w.started(importfile.CSV, file)
		w.work(w.ctx)
		same(t, "the import", w.outcome(job), want)
		w.checkPhases(t, job, len(file), want.Progress.Entries)
	})
	bubble(t, "the lines are counted though a renewal came late", func(t *testing.T) {
		w := newWorld(t, spilling)
		defer w.close()
		var counted int64
		w.Counted = func(imported, _ int64) { counted += imported }
		w.store.publish = func(do func() error) error {
			err := do()
			time.Sleep(2 * time.Second)
			return err
		}
		w.started(importfile.CSV, file)
		w.work(w.ctx)
		same(t, "the lines counted", counted, want.Progress.Imported)
	})
	bubble(t, "it fails for good", func(t *testing.T) {
		w := newWorld(t, spilling)
		defer w.close()
		w.register("ann@example.com")
		w.store.publish = func(func() error) error {
			time.Sleep(time.Second) // what is noted meanwhile must not say that it was published
			return errTrouble
		}
		job := w.started(importfile.CSV, file)
		w.work(w.ctx)
		w.failedInside(job, old("ann@example.com"))
		if p := w.job(job).Progress; p.Imported != 0 || p.Members != 0 || !p.Read || p.Lines != want.Progress.Lines {
			t.Errorf("the job has the counts %+v", p)
		}
	})
}

// failedInside says that a job failed for a reason that is the server's and said
// only in its log, and that the list has these members.
func (w *world) failedInside(job string, members []member) {
	w.t.Helper()
	got := w.outcome(job)
	if got.Status != jobs.Failed || !strings.Contains(got.Error, "inside the server") || !strings.Contains(got.Error, job) || strings.Contains(got.Error, "secret") {
		w.t.Errorf("the job is %s and its Error %q", got.Status, got.Error)
	}
	if log := w.log.String(); !strings.Contains(log, "an import failed") || !strings.Contains(log, job) {
		w.t.Errorf("the log does not say what the trouble was:\n%s", head(log))
	}
	same(w.t, "the members", got.Members, members)
	same(w.t, "how many uploads are left", len(w.uploaded()), 1) // as evidence, for a while
	w.idle()
}

// A job whose end cannot be noted is worked on again when its lease has run out.
func TestFinishInTrouble(t *testing.T) {
	t.Parallel()
	bubble(t, "once", func(t *testing.T) {
		w := newWorld(t, small)
		defer w.close()
		w.store.finish = func(do func() error) error { return errTrouble }
		job := w.started(importfile.CSV, []byte("no header\n"))
		w.work(w.ctx)
		same(t, "the state", w.job(job).Status, jobs.Processing)
		w.store.finish = nil
		w.idle()
		time.Sleep(16 * time.Second)
		w.work(w.ctx)
		same(t, "the state", w.job(job).Status, jobs.Failed)
		w.idle()
	})
	bubble(t, "when it was stopped meanwhile", func(t *testing.T) {
		w := newWorld(t, small)
		defer w.close()
		var job string
		w.store.finish = func(do func() error) error {
			w.must(w.Stop(w.ctx, ann, job))
			return do()
		}
		job = w.started(importfile.CSV, []byte("no header\n"))
		w.work(w.ctx)
		j := w.job(job)
		same(t, "the state", j.Status, jobs.Stopped)
		same(t, "the Error", j.Error, "")
	})
}
