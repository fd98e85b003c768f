package exporter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"time"

	"sesame/internal/events"
	"sesame/internal/jobs"
)

// Config is what an operator decides.
type Config struct {
	Running int           // PROCESSING jobs of one source and account in one region
	Keep    time.Duration // how long files are kept
	// LikeSES leaves out mail with several recipients and to the mailbox simulator,
	// and what is older than SES keeps it: 30 days for messages, 60 for metrics. SES has no
	// exports of events, and nothing is left out of these.
	LikeSES      bool
	Destinations Destinations // where orders may have their files put
}

const (
	day               = 24 * time.Hour
	likeSESDays       = 30
	likeSESMetricDays = 60
)

// Service is everything one can do with export jobs.
type Service struct {
	Store   Store
	Objects Objects
	Events  Events
	// Destination puts files where Config.Destinations allows; it is not used, and can
	// be nil, when they are none.
	Destination Destination
	Config      Config
	Now         func() time.Time
	NewJob      func() string              // ids of jobs, UUIDs
	NewID       func(prefix string) string // of objects and leases
	Wake        func()                     // tells the runner that a job waits
	Log         *slog.Logger
}

// Create makes a job, which begins as soon as a worker is free, and gives its id.
// ErrTooMany.
func (s *Service) Create(ctx context.Context, src events.Source, o Order) (id string, err error) {
	j := Job{Owner: src, ID: s.NewJob(), Order: o, Status: jobs.Processing, Created: s.Now()}
	if err := s.Store.AddExport(ctx, j, s.Config.Running); err != nil {
		return "", err
	}
	s.Wake()
	return j.ID, nil
}

// Get gives a job. ErrNotFound.
func (s *Service) Get(ctx context.Context, src events.Source, id string) (Job, error) {
	return s.Store.Export(ctx, src, id)
}

// List gives at most n jobs, newest first, that were made before the one that cursor
// stands for ("" = all); of one source and one status unless these are "". next is
// the cursor for those that follow; "" when there are none.
func (s *Service) List(ctx context.Context, src events.Source, source Source, status jobs.Status, cursor string, n int) (found []Listed, next string, err error) {
	found, cursors, err := s.Store.Exports(ctx, src, source, status, cursor, n+1)
	if err == nil && len(found) > n {
		return found[:n], cursors[n-1], nil
	}
	return found, "", err
}

// Cancel ends a job that has not ended. Its work stops within a second and leaves no
// file, but for those that are whole at a Destination by then. ErrNotFound, *EndedError.
func (s *Service) Cancel(ctx context.Context, src events.Source, id string) error {
	return s.Store.CancelExport(ctx, src, id, s.Now())
}

// File gives the file of a job that has that name, whoever owns it. ErrNotFound when
// there is none.
func (s *Service) File(ctx context.Context, id, name string) (File, error) {
	return s.Store.ExportFile(ctx, id, name)
}

// Claim takes the next job that waits: the jobs.Runner's Claim.
func (s *Service) Claim(ctx context.Context) (jobs.Work, error) {
	now := s.Now()
	owner := s.NewID("worker")
	job, ok, err := s.Store.ClaimExport(ctx, owner, now, now.Add(jobs.LeaseFor))
	if err != nil || !ok {
		return nil, err
	}
	return func(ctx context.Context) { s.work(ctx, job, jobs.Lease{Job: job.ID, Owner: owner}) }, nil
}

// objects is what the keys of files begin with.
const objects = "exports/"

// run is one worker's work on one job.
type run struct {
	*Service
	Objects Objects // the Service's, which say what errors are theirs
	job     Job
	lease   jobs.Lease

	mu    sync.Mutex // guards did
	did   Progress
	out   *output // what is written, nil before
	files []File  // when all of them are

	putFiles int // of files: so many are at the order's Destination
}

func (r *run) note(p Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.did = p
}

func (r *run) shown() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.did
}

func (r *run) renew(ctx context.Context) error {
	return r.Store.RenewExport(ctx, r.lease, r.Now().Add(jobs.LeaseFor), r.shown())
}

func (s *Service) work(ctx context.Context, job Job, lease jobs.Lease) {
	log := s.Log.With("job", job.ID, "source", job.Order.Source())
	start := s.Now()
	r := &run{Service: s, Objects: blamed{s.Objects}, job: job, lease: lease}
	log.Info("export begins")
	tries := 1
	again := func(err error) {
		tries++
		log.Warn("an export ran into trouble and is tried again", "error", err)
	}
	err := jobs.Persist(ctx, r.renew, r.write, func(err error) bool { return !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, errTooManyFiles) }, again)
	if err == nil && job.Order.Destination != "" {
		err = jobs.Persist(ctx, r.renew, r.put, func(err error) bool { return !errors.As(err, new(*DestinationError)) }, again)
	}
	status, reason := jobs.Completed, ""
	var destination *DestinationError
	var store *storeError
	switch {
	case err == nil:
	case errors.Is(err, jobs.ErrLeaseLost):
		log.Info("an export was cancelled or taken over")
		r.discard()
		return
	case ctx.Err() != nil: // the server stops; whoever claims the job next does it again
		if err := s.Store.ReleaseExport(context.Background(), lease); err != nil && !errors.Is(err, jobs.ErrLeaseLost) {
			log.Error("give an export back", "error", err)
		}
		r.discard()
		log.Info("export given back, to be done again")
		return
	case errors.Is(err, syscall.ENOSPC):
		status, reason = jobs.Failed, "The server has no room left on its disk. Try again when it has, or export less."
	case errors.As(err, &destination):
		status, reason = jobs.Failed, "The export could not be put at "+job.Order.Destination+": "+destination.Why
	case errors.As(err, &store):
		status, reason = jobs.Failed, fmt.Sprintf("The server could not store the file; it tried %d times in %s. Its log says why under job %s. Try again when that is mended.", tries, s.Now().Sub(start).Round(time.Second), job.ID)
	case errors.Is(err, errTooManyFiles):
		status, reason = jobs.Failed, fmt.Sprintf("The export would have more than %d files. Give more RowsPerFile, or export less.", mostFiles)
	default:
		status, reason = jobs.Failed, "Something went wrong inside the server; its log says what under job "+job.ID+". Try again."
	}
	files := r.files
	if err != nil {
		level := slog.LevelError
		if errors.Is(err, errTooManyFiles) {
			level = slog.LevelWarn // it is who asked for it
		}
		log.Log(ctx, level, "an export failed", "error", err)
		r.discard()
		files = nil // also if they could not be removed
	}
	// The work is done, so its end is noted even if the server stops meanwhile.
	if err := s.Store.FinishExport(context.WithoutCancel(ctx), lease, status, reason, r.shown(), files, s.Now()); err != nil {
		// A job that keeps its state is worked on again when the lease has run out. A
		// commit can succeed and report an error, so the file may be needed.
		log.Info("the end of an export could not be noted", "error", err)
		r.discard()
		return
	}
	log.Info("export ended", "status", status, "examined", r.did.Processed, "rows", r.did.Exported, "files", len(files), "seconds", s.Now().Sub(start).Seconds())
}

// discard removes the files unless the job has them.
func (r *run) discard() {
	for _, f := range r.files {
		if needed, err := r.Store.ExportObjectNeeded(context.Background(), r.job.ID, f.Object); err != nil || needed {
			return // Sweep looks again
		}
		if err := r.Objects.Delete(context.Background(), f.Object); err != nil {
			r.Log.Warn("delete a file that is not needed any more", "object", f.Object, "error", err)
		}
	}
	r.files = nil
}

// write writes the job's files. They are durable when write returns nil, and there are
// none otherwise.
func (r *run) write(ctx context.Context) error {
	r.note(Progress{})
	r.files, r.out = nil, nil
	// A panic is an error, as in the work itself.
	err := jobs.Safely(ctx, func(ctx context.Context) error {
		switch {
		case r.job.Order.Insights != nil:
			return r.insights(ctx)
		case r.job.Order.Events != nil:
			return r.events(ctx)
		}
		return r.metrics(ctx)
	})
	if err == nil {
		r.files = r.out.done
		return nil
	}
	if r.out != nil {
		err = r.out.abandon(err)
	}
	return fmt.Errorf("write the files: %w", err)
}

// name is what the service would call a file. Those of several, of which this is the
// nth from 1, have numbers.
func (j Job) name(n int) string {
	o := &j.Order
	at := j.Created.UTC().Format("20060102_150405")
	name := "ses-metrics-" + at + "-" + j.ID
	if o.Metrics == nil {
		digest := sha256.Sum256([]byte(j.ID))
		name = at + "_" + hex.EncodeToString(digest[:5])
	}
	if o.RowsPerFile > 0 {
		name += fmt.Sprintf("_%05d", n)
	}
	return name + o.extension()
}

// extension says how a file is written.
func (o *Order) extension() string {
	end := "." + strings.ToLower(string(o.Format))
	if o.Format == StrictCSV {
		end = ".csv"
	}
	switch {
	case o.Format == Parquet:
	case o.Compression == Gzip:
		end += ".gz"
	case o.Compression == Zstd:
		end += ".zst"
	}
	return end
}

// Retire deletes the files that Config.Keep says. Their jobs stay.
func (s *Service) Retire(ctx context.Context) error {
	for {
		keys, err := s.Store.RetireExports(ctx, s.Now().Add(-s.Config.Keep), 1000)
		if err != nil {
			return fmt.Errorf("retire old export jobs: %w", err)
		}
		for _, key := range keys {
			if err := s.Objects.Delete(ctx, key); err != nil {
				s.Log.Warn("delete an old file", "object", key, "error", err) // Sweep tries again
			}
		}
		if len(keys) == 0 || ctx.Err() != nil {
			return nil
		}
	}
}

// unattached is how old a file that no job has must be before Sweep deletes it:
// longer than it can take from its last byte to the end of its job.
const unattached = time.Hour

// Sweep deletes files that no job has and none writes: a crash can leave some.
func (s *Service) Sweep(ctx context.Context) error {
	return s.Objects.Each(ctx, func(key string, put time.Time) error {
		name, ours := strings.CutPrefix(key, objects)
		cut := strings.LastIndexByte(name, '-')
		if !ours || cut < 0 || s.Now().Sub(put) < unattached {
			return nil
		}
		// A job that runs may have ended a file long ago. Once it does not, what it needs
		// stays as it is, so this is asked first.
		runs, err := s.Store.ExportRuns(ctx, name[:cut])
		if err != nil || runs {
			return err
		}
		needed, err := s.Store.ExportObjectNeeded(ctx, name[:cut], key)
		if err != nil || needed {
			return err
		}
		return s.Objects.Delete(ctx, key)
	})
}
