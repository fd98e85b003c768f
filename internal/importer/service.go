package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// Config is what an operator decides.
type Config struct {
	Running  int           // PROCESSING jobs of one account in one region
	MaxBytes int64         // of a file once decompressed
	Memory   int           // bytes that sorting one file may take
	SpillDir string        // folder for what does not fit; one folder inside for each job being worked on
	Keep     time.Duration // how long uploads of jobs that did not end well, and lists of refused lines, are kept
}

// Service is everything one can do with import jobs.
type Service struct {
	Store   Store
	Lists   *lists.Service
	Objects Objects
	Config  Config
	Now     func() time.Time
	NewID   func(prefix string) string
	Wake    func() // tells the runner that a job waits
	Log     *slog.Logger
	Counted func(imported, failed int64) // told of a job's lines when it has COMPLETED, a dry run left out, or FAILED
}

// Order is what a job is to do.
type Order struct {
	ListID string
	Name   string
	Format importfile.Format
	Mode   lists.Mode
	DryRun bool
}

// Create makes a job and gives its id and when it was made, which for a repeated
// client token is the first answer's. lists.ErrNotFound, lists.ErrTokenReused.
func (s *Service) Create(ctx context.Context, o lists.Owner, order Order, token lists.ClientToken) (id string, created time.Time, err error) {
	return s.Store.CreateJob(ctx, Job{
		Owner: o, ID: s.NewID("job"), ListID: order.ListID, Name: order.Name, Format: order.Format, Mode: order.Mode, DryRun: order.DryRun,
		Status: jobs.Created, Created: s.Now(),
	}, token)
}

// Get gives a job. ErrNotFound.
func (s *Service) Get(ctx context.Context, o lists.Owner, id string) (Job, error) {
	return s.Store.Job(ctx, o, id)
}

// List gives at most n jobs of a list older than the one with id before, newest
// first. lists.ErrNotFound.
func (s *Service) List(ctx context.Context, o lists.Owner, listID, before string, n int) ([]Job, error) {
	return s.Store.Jobs(ctx, o, listID, before, n)
}

// Start has a job worked on. Starting a job that runs succeeds again.
// ErrNotFound, ErrNothingUploaded, ErrEnded, ErrTooManyRunning.
func (s *Service) Start(ctx context.Context, o lists.Owner, id string) error {
	if err := s.Store.StartJob(ctx, o, id, s.Config.Running, s.Now()); err != nil {
		return err
	}
	s.Wake()
	return nil
}

// Stop ends a running job. Its list stays as it was. The counts of lines are at
// most half a second behind the reading. Stopping a stopped job succeeds again.
// ErrNotFound, ErrNotStarted, ErrEnded.
func (s *Service) Stop(ctx context.Context, o lists.Owner, id string) error {
	object, err := s.Store.StopJob(ctx, o, id, s.Now())
	if err != nil {
		return err
	}
	if object != "" {
		s.Discard(object)
	}
	s.Wake() // the next job of the same list may go on
	return nil
}

// Prefixes of the keys of objects: uploads, and lists of refused lines.
const (
	uploads = "imports/"
	refused = "refused/"
)

// Upload makes body what the job will import, in place of an earlier upload. It
// is durable when Upload returns nil, and otherwise nothing has changed. check
// is asked after the last byte. ErrNotFound, ErrStarted, body's and check's errors.
func (s *Service) Upload(ctx context.Context, jobID string, body io.Reader, check func(size int64) error) error {
	if err := s.Store.Uploadable(ctx, jobID); err != nil {
		return err // before taking gigabytes for nothing
	}
	// Each upload has a key of its own, so that one that loses a race with Start,
	// or with another upload, cannot touch the one that won.
	object := uploads + s.NewID(jobID)
	size, err := s.Objects.Put(ctx, object, body, check)
	if err != nil {
		return err
	}
	previous, err := s.Store.AttachUpload(ctx, jobID, object, size, s.Now())
	if err != nil {
		s.discardUnneeded(object)
		return err
	}
	if previous != "" {
		s.Discard(previous)
	}
	return nil
}

// Refused gives the CSV of a job's refused lines. ErrNotFound when the job is not
// there or has none.
func (s *Service) Refused(ctx context.Context, jobID string) (io.ReadCloser, error) {
	object, err := s.Store.RefusedObject(ctx, jobID)
	if err != nil {
		return nil, err
	}
	return s.Objects.Open(ctx, object)
}

// Discard deletes an object that no job refers to any more. What cannot be
// deleted now is found by Sweep.
func (s *Service) Discard(object string) {
	if err := s.Objects.Delete(context.Background(), object); err != nil {
		s.Log.Warn("delete an upload that is not needed any more", "object", object, "error", err)
	}
}

// discardUnneeded deletes an object that could not be noted with its job, unless
// it was noted all the same: a commit can succeed and report an error.
func (s *Service) discardUnneeded(object string) {
	if needed, err := s.Store.ObjectNeeded(context.Background(), object); err == nil && !needed {
		s.Discard(object)
	}
}

// unattached is how old an object that no job needs must be before Sweep deletes
// it: longer than it can take from its last byte to AttachUpload.
const unattached = time.Hour

// Retire deletes what Config.Keep says: uploads of jobs that failed or were never
// started, or that could not be deleted at once, and lists of refused lines. The jobs and their counts stay.
func (s *Service) Retire(ctx context.Context) error {
	for {
		objects, err := s.Store.Retire(ctx, s.Now().Add(-s.Config.Keep), 1000)
		if err != nil {
			return fmt.Errorf("retire old import jobs: %w", err)
		}
		for _, object := range objects {
			s.Discard(object)
		}
		if len(objects) == 0 || ctx.Err() != nil {
			return nil
		}
	}
}

// Sweep deletes uploads that no job needs: a crash can leave one between its last
// byte and its job, or between its job's end and its deletion.
func (s *Service) Sweep(ctx context.Context) error {
	return s.Objects.Each(ctx, func(key string, put time.Time) error {
		if !strings.HasPrefix(key, uploads) && !strings.HasPrefix(key, refused) || s.Now().Sub(put) < unattached {
			return nil
		}
		needed, err := s.Store.ObjectNeeded(ctx, key)
		if err != nil || needed {
			return err
		}
		return s.Objects.Delete(ctx, key)
	})
}

// Claim takes the next job that waits: the jobs.Runner's Claim.
func (s *Service) Claim(ctx context.Context) (jobs.Work, error) {
	now := s.Now()
	owner := s.NewID("worker")
	job, ok, err := s.Store.ClaimJob(ctx, owner, now, now.Add(jobs.LeaseFor))
	if err != nil || !ok {
		return nil, err
	}
	return func(ctx context.Context) { s.work(ctx, job, jobs.Lease{Job: job.ID, Owner: owner}) }, nil
}

// failure is a reason for which a job fails and that its owner can do something
// about; its text is the job's Error.
type failure string

func (f failure) Error() string { return string(f) }

func (s *Service) work(ctx context.Context, job Job, lease jobs.Lease) {
	log := s.Log.With("job", job.ID, "list", job.ListID)
	start := s.Now()
	r := &run{Service: s, job: job, lease: lease}
	log.Info("import begins", "again", job.Progress.Share > 0, "bytes", job.Size, "mode", job.Mode, "dry_run", job.DryRun)
	err := jobs.Persist(ctx, r.renew, r.pipeline, serversTrouble, func(err error) {
		log.Warn("an import ran into trouble and is tried again", "error", err)
		r.job.Progress = r.shown()
	})

	status, reason := jobs.Completed, ""
	var f failure
	switch {
	case err == nil:
	case errors.Is(err, jobs.ErrLeaseLost):
		log.Info("an import was stopped or taken over")
		s.discardUnneeded(job.Object) // its end may have been noted with an error
		return
	case ctx.Err() != nil: // the server stops; whoever claims the job next does it again
		if err := s.Store.ReleaseLease(context.Background(), lease); err != nil && !errors.Is(err, jobs.ErrLeaseLost) {
			log.Error("give an import back", "error", err)
		}
		log.Info("import given back, to be done again", "lines", r.shown().Lines)
		return
	case errors.As(err, &f):
		status, reason = jobs.Failed, string(f)
	case errors.Is(err, syscall.ENOSPC):
		log.Error("an import failed", "error", err)
		status, reason = jobs.Failed, "The server has no room left on its disk. The list is as it was."
	default:
		log.Error("an import failed", "error", err)
		status = jobs.Failed
		reason = "Something went wrong inside the server; its log says what under job " + job.ID + ". The list is as it was."
	}
	did := r.shown()
	if status == jobs.Failed {
		// The work is done, so its end is noted even if the server stops meanwhile.
		err := s.Store.FinishJob(context.WithoutCancel(ctx), lease, status, reason, did, s.Now())
		if errors.Is(err, jobs.ErrLeaseLost) {
			log.Info("an import was stopped or taken over")
			return
		}
		if err != nil {
			// The job keeps its state and is worked on again when the lease has run out.
			log.Error("end an import", "error", err)
			return
		}
	} else {
		s.Discard(job.Object)
	}
	if !job.DryRun {
		s.Counted(did.Imported, did.Refused())
	}
	log.Info("import ended", "status", status, "lines", did.Lines, "refused", did.Invalid, "added", did.Added, "removed", did.Removed,
		"phases", did.Phases, "seconds", s.Now().Sub(start).Seconds())
	log.Debug("import ended", "reason", reason) // it can quote the file
}

// serversTrouble says whether err is worth another try: it is not the owner's to
// mend.
func serversTrouble(err error) bool {
	var f failure
	return !errors.As(err, &f)
}

// tooMany is the Error of a job that does not fit its list.
func tooMany(limit, over int64) failure {
	return failure(fmt.Sprintf("The file would bring the list to %d members, %d more than the %d that it may hold. Nothing was imported.",
		limit+over, over, limit))
}
