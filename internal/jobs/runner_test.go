package jobs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEnded(t *testing.T) {
	for status, want := range map[Status]bool{Created: false, Processing: false, Completed: true, Failed: true, Stopped: true, "": false} {
		if status.Ended() != want {
			t.Errorf("%q.Ended() is %v", status, !want)
		}
	}
}

// queue is work that waits.
type queue struct {
	mu      sync.Mutex
	waiting []Work
	claims  int
	before  func() // called by claim, before it looks
	after   func() // and when it has looked
}

func (q *queue) add(w Work) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, w)
}

func (q *queue) claim(ctx context.Context) (Work, error) {
	if q.before != nil {
		q.before()
	}
	q.mu.Lock()
	q.claims++
	var w Work
	if len(q.waiting) > 0 {
		w, q.waiting = q.waiting[0], q.waiting[1:]
	}
	q.mu.Unlock()
	if q.after != nil {
		q.after()
	}
	return w, ctx.Err()
}

func (q *queue) claimed() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.claims
}

// In the bubbles of these tests time stands still while anything can go on, so
// what happens without time having passed was not waited for.

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renewed := 0
		wrong := errors.New("wrong")
		renew := func(context.Context) error { renewed++; return nil }
		work := func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Second):
				return wrong
			}
		}
		if err := Hold(t.Context(), renew, work); err != wrong || renewed < 19 {
			t.Errorf("%v, after %d renewals", err, renewed)
		}
		lost := func(context.Context) error {
			if renewed++; renewed > 30 {
				return ErrLeaseLost
			}
			return wrong // does not end the work
		}
		if err := Hold(t.Context(), lost, work); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("with its lease lost: %v", err)
		}
		if err := Hold(t.Context(), renew, func(context.Context) error { panic("a mistake") }); err == nil || !strings.Contains(err.Error(), "panic: a mistake") {
			t.Errorf("a panic: %v", err)
		}
		if err := Hold(t.Context(), renew, func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

func TestPersist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trouble, final := errors.New("trouble"), errors.New("final")
		renew := func(context.Context) error { return nil }
		troubled := func(err error) bool { return errors.Is(err, trouble) }
		for _, c := range []struct {
			name  string
			fails []error // of each try; then it succeeds
			want  error
			tries int
			took  time.Duration
		}{
			{"at once", nil, nil, 1, 0},
			{"the third time", []error{trouble, trouble}, nil, 3, 3 * time.Second},
			{"never", []error{trouble, trouble, trouble, trouble, trouble, trouble}, trouble, 5, 15 * time.Second},
			{"not worth another try", []error{trouble, final}, final, 2, time.Second},
		} {
			begin, tries, told := time.Now(), 0, 0
			err := Persist(t.Context(), renew, func(context.Context) error {
				if tries++; tries <= len(c.fails) {
					return c.fails[tries-1]
				}
				return nil
			}, troubled, func(error) { told++ })
			if !errors.Is(err, c.want) || tries != c.tries || told != c.tries-1 || time.Since(begin) != c.took {
				t.Errorf("%s: %v after %d tries, told %d times, in %v", c.name, err, tries, told, time.Since(begin))
			}
		}
		lost := func(context.Context) error { return ErrLeaseLost }
		if err := Persist(t.Context(), lost, func(context.Context) error { return trouble }, troubled, func(error) {}); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("a lease that was lost in a pause: %v", err)
		}
	})
}

func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		r := &Runner{Workers: 3, Claim: q.claim, Poll: time.Hour, Log: slog.New(slog.DiscardHandler)}
		r.Start()
		defer r.Stop()
		synctest.Wait()
		begin := time.Now()
		done := atomic.Int64{}
		for n := range 100 {
			q.add(func(context.Context) { done.Add(1) })
			r.Wake()
			synctest.Wait()
			if done.Load() != int64(n+1) {
				t.Fatalf("after %d jobs and wakes %d were done", n+1, done.Load())
			}
		}
		// One wake is enough for all that waits.
		for range 50 {
			q.add(func(context.Context) { done.Add(1) })
		}
		r.Wake()
		synctest.Wait()
		if done.Load() != 150 {
			t.Errorf("of 150 jobs %d were done", done.Load())
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("woken workers waited %v", took)
		}
	})
}

// A job that comes just after a worker looked, and before it sleeps, is not
// waited for either.
func TestWakeIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		r := &Runner{Workers: 1, Claim: q.claim, Poll: time.Hour, Log: slog.New(slog.DiscardHandler)}
		done := false
		var once sync.Once
		q.after = func() {
			once.Do(func() {
				q.add(func(context.Context) { done = true })
				r.Wake()
			})
		}
		begin := time.Now()
		r.Start()
		defer r.Stop()
		synctest.Wait()
		if !done || time.Since(begin) != 0 {
			t.Errorf("the job was done: %v, after %v", done, time.Since(begin))
		}
	})
}

// Without a wake, a job is found by looking.
func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		r := &Runner{Workers: 1, Claim: q.claim, Poll: time.Minute, Log: slog.New(slog.DiscardHandler)}
		r.Start()
		defer r.Stop()
		synctest.Wait()
		done := make(chan struct{})
		begin := time.Now()
		q.add(func(context.Context) { close(done) })
		<-done
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("the job was found after %v", took)
		}
		before := q.claimed()
		time.Sleep(10*time.Minute + time.Second)
		if n := q.claimed() - before; n < 10 || n > 12 {
			t.Errorf("the runner looked %d times in 10 minutes", n)
		}
	})
}

// Wake never blocks: before Start, while every worker is busy, after Stop.
func TestWakeNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which a block without end is a failure
		q := &queue{}
		r := &Runner{Workers: 2, Claim: q.claim, Poll: time.Hour, Log: slog.New(slog.DiscardHandler)}
		wakes := func() {
			for range 1000 {
				r.Wake()
			}
		}
		wakes()
		release := make(chan struct{})
		for range 2 {
			q.add(func(context.Context) { <-release })
		}
		r.Start()
		synctest.Wait()
		wakes()
		close(release)
		synctest.Wait()
		if n := q.claimed(); n > 10 {
			t.Errorf("1000 wakes of 2 busy workers made them look %d times", n)
		}
		r.Stop()
		wakes()
	})
}

// As many work at once as there are workers.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		r := &Runner{Workers: 4, Claim: q.claim, Poll: time.Second, Log: slog.New(slog.DiscardHandler)}
		var busy, most atomic.Int64
		for range 20 {
			q.add(func(context.Context) {
				most.Store(max(most.Load(), busy.Add(1)))
				time.Sleep(time.Minute)
				busy.Add(-1)
			})
		}
		begin := time.Now()
		r.Start()
		time.Sleep(5*time.Minute + time.Second)
		r.Stop()
		if most.Load() != 4 || len(q.waiting) != 0 || busy.Load() != 0 {
			t.Errorf("%d at once, %d left, %d busy after %v; want 4, 0, 0", most.Load(), len(q.waiting), busy.Load(), time.Since(begin))
		}
	})
}

// Stop tells the work in hand, waits for it, and takes no more.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		r := &Runner{Workers: 2, Claim: q.claim, Poll: time.Hour, Log: slog.New(slog.DiscardHandler)}
		ended := atomic.Int64{}
		for range 5 {
			q.add(func(ctx context.Context) {
				<-ctx.Done()
				time.Sleep(time.Minute) // gives the job back
				ended.Add(1)
			})
		}
		r.Start()
		synctest.Wait()
		begin := time.Now()
		r.Stop()
		if took := time.Since(begin); ended.Load() != 2 || took != time.Minute {
			t.Errorf("Stop returned after %v, when %d of 2 had ended", took, ended.Load())
		}
		if len(q.waiting) != 3 {
			t.Errorf("%d jobs wait, want 3", len(q.waiting))
		}
	})
}

// Trouble with claiming is logged, and not tried without a pause.
func TestClaimFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var claims atomic.Int64
		var over, done atomic.Bool
		r := &Runner{Workers: 1, Poll: time.Second, Log: slog.New(slog.NewTextHandler(&log, nil)), Claim: func(context.Context) (Work, error) {
			claims.Add(1)
			switch {
			case !over.Load():
				return nil, errors.New("the store is away")
			case done.Load():
				return nil, nil
			}
			return func(context.Context) { done.Store(true) }, nil
		}}
		r.Start()
		time.Sleep(10*time.Second + time.Millisecond)
		over.Store(true)
		failed := claims.Load()
		if failed < 10 || failed > 12 {
			t.Errorf("%d claims in 10 seconds", failed)
		}
		time.Sleep(time.Second)
		if !done.Load() {
			t.Error("a job was not claimed when the trouble was over")
		}
		r.Stop()
		if n := strings.Count(log.String(), "the store is away"); int64(n) != failed || strings.Count(log.String(), "\n") != n {
			t.Errorf("%d claims failed, and the log says\n%s", failed, log.String())
		}
	})
}

// The stress: start, wake and stop at random, on the real clock.
func TestStartStop(t *testing.T) {
	for range 300 {
		q := &queue{}
		r := &Runner{Workers: 1 + rand.IntN(4), Claim: q.claim, Poll: time.Duration(rand.IntN(3)) * 100 * time.Microsecond, Log: slog.New(slog.DiscardHandler)}
		var begun, ended atomic.Int64
		r.Start()
		var wakers sync.WaitGroup
		for range 3 {
			wakers.Go(func() {
				for range 10 {
					q.add(func(ctx context.Context) {
						begun.Add(1)
						if rand.IntN(4) == 0 {
							<-ctx.Done()
						}
						ended.Add(1)
					})
					r.Wake()
				}
			})
		}
		if rand.IntN(2) == 0 {
			wakers.Wait()
		}
		r.Stop()
		if begun.Load() != ended.Load() {
			t.Fatalf("Stop returned while %d of %d jobs were worked on", begun.Load()-ended.Load(), begun.Load())
		}
		claims := q.claimed()
		wakers.Wait()
		if q.claimed() != claims {
			t.Fatal("a job was claimed after Stop")
		}
	}
}
