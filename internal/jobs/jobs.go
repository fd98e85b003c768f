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
	"log/slog"
	"sync"
	"time"
)

// Status is where a job stands, in SES's words.
type Status string

// The states of an import job.
const (
	Created    Status = "CREATED"    // waits for its upload and for Start
	Processing Status = "PROCESSING" // waits for a worker, or is being worked on
	Completed  Status = "COMPLETED"
	Failed     Status = "FAILED"
	Stopped    Status = "STOPPED"
)

// Ended says whether the state is final.
func (s Status) Ended() bool { return s == Completed || s == Failed || s == Stopped }

// Lease is a worker's hold on a job.
type Lease struct {
	Job   string // the job's id
	Owner string // random, new with each claim
}

// ErrLeaseLost is what a store gives a worker whose job was stopped, deleted or
// claimed by another: it must not write any more.
var ErrLeaseLost = errors.New("the lease on the job is lost")

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
