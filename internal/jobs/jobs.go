// Package jobs is what import and export jobs share: their states, the lease
// under which a worker holds one, and the runner that keeps workers busy.
//
// A job is a row, not a goroutine: a worker claims it under a lease, renews the
// lease while it works, and writes only in transactions that check the lease.
// A job whose worker died is claimed by another when the lease has run out.
//
// It imports nothing of Sesame.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Status is where a job stands, in SES's words.
type Status string

// The states of a job.
const (
	Created    Status = "CREATED"    // an import waits for its upload and for Start
	Processing Status = "PROCESSING" // waits for a worker, or is being worked on
	Completed  Status = "COMPLETED"
	Failed     Status = "FAILED"
	Stopped    Status = "STOPPED"   // an import
	Cancelled  Status = "CANCELLED" // an export
)

// Ended says whether the state is final.
func (s Status) Ended() bool {
	return s == Completed || s == Failed || s == Stopped || s == Cancelled
}

// Lease is a worker's hold on a job.
type Lease struct {
	Job   string // the job's id
	Owner string // random, new with each claim
}

// ErrLeaseLost is what a store gives a worker whose job was stopped, deleted or
// claimed by another: it must not write any more.
var ErrLeaseLost = errors.New("the lease on the job is lost")

// LeaseFor is how long a worker that does not answer keeps its job.
const LeaseFor = 15 * time.Second

// renewEvery is how often a lease is renewed, and so how long a job goes on that was
// stopped.
const renewEvery = 500 * time.Millisecond

// Hold does work and has the lease renewed meanwhile, which ends work's context
// when the lease is lost. It gives ErrLeaseLost as soon as it is, and otherwise what
// work gives. A panic in work is an error.
func Hold(ctx context.Context, renew, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(renewEvery):
			}
			err := renew(ctx)
			if errors.Is(err, ErrLeaseLost) {
				cancel(err)
				return
			}
			// Any other trouble is met by the work itself, or is over before the lease runs out.
		}
	}()
	err := Safely(ctx, work)
	// The lease ends with the job: a renewal can find it gone when all is done.
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, ErrLeaseLost) {
		err = cause
	}
	cancel(nil)
	<-renewed
	return err
}

// Safely does work and makes a panic in it an error, so that what finds a mistake of ours fails its job
// and not the server.
func Safely(ctx context.Context, work func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return work(ctx)
}

// longestPause ends the trying of a job that fails for a reason of the server's:
// after 1, 2, 4 and 8 seconds it is tried again. The lease outlives each pause.
const longestPause = 8 * time.Second

// Persist does work under Hold, and again after a pause as long as it is troubled.
// again is told why, and renews the lease: the job may not be the worker's any more,
// and a commit that seemed to fail may have succeeded.
func Persist(ctx context.Context, renew, work func(context.Context) error, troubled func(error) bool, again func(error)) error {
	err := Hold(ctx, renew, work)
	for pause := time.Second; err != nil && ctx.Err() == nil && !errors.Is(err, ErrLeaseLost) && troubled(err) && pause <= longestPause; pause *= 2 {
		again(err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		if err = renew(ctx); err == nil {
			err = Hold(ctx, renew, work)
		}
	}
	return err
}

// Work does one claimed job. It returns when the job has ended, when its lease is
// lost, or soon after ctx is done.
type Work func(ctx context.Context)

// Runner keeps a number of workers claiming and working.
type Runner struct {
	Workers int
	// Claim takes the next job that waits, or gives nil when there is none.
	Claim func(ctx context.Context) (Work, error)
	Poll  time.Duration // how often to look when nobody woke the runner
	Log   *slog.Logger

	wake   chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Start starts the workers. Call it once.
func (r *Runner) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.wake, r.cancel = make(chan struct{}, r.Workers), cancel
	for range r.Workers {
		r.done.Go(func() { r.work(ctx) })
	}
}

// Wake makes a worker look for a job now. It never blocks.
func (r *Runner) Wake() {
	select {
	case r.wake <- struct{}{}:
	default: // every worker has a reason to look already
	}
}

// Stop ends the workers and waits for them. A job in hand keeps what it has
// written and is free for the next claim.
func (r *Runner) Stop() {
	r.cancel()
	r.done.Wait()
}

func (r *Runner) work(ctx context.Context) {
	for ctx.Err() == nil {
		work, err := r.Claim(ctx)
		if err != nil && ctx.Err() == nil {
			r.Log.Error("claim a job", "error", err)
		}
		if work != nil {
			work(ctx)
			continue
		}
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-time.After(r.Poll):
		}
	}
}
