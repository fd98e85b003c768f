// Package importer owns import jobs: their life from creation to their end, and
// the pipeline that reads an uploaded file, sorts it, and has a list rebuilt
// with it.
//
// It promises that an acknowledged upload or start survives a crash, that a job
// cut off by one is done again and ends with the members and counts of an
// undisturbed run, that reading and sorting take fixed memory whatever the
// file, and that a job changes its list in one step, at its end, or not at all.
//
// It knows neither HTTP nor SQL nor an AWS shape; of Sesame it may import
// address, lists, jobs, importfile and extsort.
package importer

import (
	"context"
	"errors"
	"io"
	"time"

	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// What can be wrong. A Store gives these too.
var (
	ErrNotFound        = errors.New("no such import job")
	ErrNothingUploaded = errors.New("nothing was uploaded")
	ErrStarted         = errors.New("the job was started")
	ErrNotStarted      = errors.New("the job was never started")
	ErrEnded           = errors.New("the job has ended")
	ErrTooManyRunning  = errors.New("as many imports as may run are running")
)

// Job is an import job.
type Job struct {
	Owner  lists.Owner
	ID     string // "job-" and 26 characters; jobs made in a later millisecond have greater ids
	ListID string
	Name   string
	Format importfile.Format
	Status jobs.Status

	Object string // key of what was uploaded last; "" before
	Size   int64  // its length in bytes

	Created   time.Time
	Started   time.Time // zero before
	Completed time.Time // zero before; also of a job that failed or was stopped

	Mode   lists.Mode
	DryRun bool // the list is not changed; the counts are what they would be

	Error         string // why the job failed
	Progress      Progress
	RefusedObject string // key of a CSV with each refused line; "" when there is none
}

// Progress is what a job has done: as it stands while the job runs, and in all
// when it has ended. The counts of members are those of the list as it will be.
type Progress struct {
	Share   float64          // done, of all that the job has to do: 0 to 1
	Lines   int64            // read; blank ones do not count
	Invalid map[string]int64 // of those, the ones that were refused, by reason code
	Read    bool             // whether the whole file has been read

	Imported int64 // valid lines whose entry is applied, or would be by a dry run: none before the end
	Entries  int64 // different entries among them, as far as they are merged
	Added    int64 // of those, the ones that were not members
	Removed  int64 // members that leave
	Members  int64 // of the list afterwards; 0 before
	Over     int64 // members that the list would have above its limit

	Phases []Phase // that have begun, in order
}

// Refused is how many lines were refused.
func (p Progress) Refused() (lines int64) {
	for _, n := range p.Invalid {
		lines += n
	}
	return lines
}

// Phase is a part of the work on a job, and what it took.
type Phase struct {
	Name    string // one of the names below
	Seconds float64
	Rows    int64 // lines read, or members and entries merged
	Bytes   int64 // of the upload as it is stored; only of Reading
}

// The phases of a job.
const (
	Reading = "READING" // unpacking, parsing and sorting
	Merging = "MERGING" // of the entries with the list's members, into a new file
	Storing = "STORING" // making that durable and the list's own
)

// Store keeps jobs. Each method that changes something is one transaction,
// durable when it returns nil.
// Methods that take a lease give jobs.ErrLeaseLost when it is not held.
type Store interface {
	// CreateJob adds j, or gives the job that token made before, as it was when
	// it was made if it is gone since. lists.ErrNotFound, lists.ErrTokenReused.
	CreateJob(ctx context.Context, j Job, token lists.ClientToken) (id string, created time.Time, err error)
	// Job gives one job. ErrNotFound.
	Job(ctx context.Context, o lists.Owner, id string) (Job, error)
	// Jobs gives at most n jobs of a list whose id is less than before ("" = all),
	// newest first. lists.ErrNotFound.
	Jobs(ctx context.Context, o lists.Owner, listID, before string, n int) ([]Job, error)

	// Uploadable says whether a job, of whatever owner, takes an upload now.
	// ErrNotFound, ErrStarted.
	Uploadable(ctx context.Context, id string) error
	// AttachUpload makes object what the job will import and gives the object
	// it was before, if any. ErrNotFound, ErrStarted.
	AttachUpload(ctx context.Context, id, object string, size int64, now time.Time) (previous string, err error)
	// RefusedObject gives the object that lists a job's refused lines, whoever owns
	// it. ErrNotFound when there is none.
	RefusedObject(ctx context.Context, id string) (object string, err error)
	// ObjectNeeded says whether a job still needs object, which is a key of Upload's:
	// imports/{job id}-{26 characters}, or a report's: refused/{job id}-{26 characters}.
	ObjectNeeded(ctx context.Context, object string) (bool, error)

	// StartJob makes a CREATED job PROCESSING; one that is stays so. ErrNotFound,
	// ErrNothingUploaded, ErrEnded, ErrTooManyRunning (limit counts the owner's).
	StartJob(ctx context.Context, o lists.Owner, id string, limit int, now time.Time) error
	// StopJob makes a PROCESSING job STOPPED, whoever works on it, and gives its
	// object; one that is stays so. ErrNotFound, ErrNotStarted, ErrEnded.
	StopJob(ctx context.Context, o lists.Owner, id string, now time.Time) (object string, err error)

	// ClaimJob gives the PROCESSING job that waits longest, has no live lease, and
	// whose list no other job is being applied to, and leases it to owner. ok is
	// false when there is none.
	ClaimJob(ctx context.Context, owner string, now, until time.Time) (j Job, ok bool, err error)
	// RenewLease keeps the lease until a later time and notes how far the work is.
	RenewLease(ctx context.Context, l jobs.Lease, until time.Time, p Progress) error
	// NoteRead notes how far the work is and the object that lists the refused lines,
	// "" for none. previous is the object noted before, if any.
	NoteRead(ctx context.Context, l jobs.Lease, p Progress, object string) (previous string, err error)
	// ReleaseLease gives the job back as it stands.
	ReleaseLease(ctx context.Context, l jobs.Lease) error
	// Publish ends the job as COMPLETED and, unless m is nil, moves its list to a
	// new file, both or neither. What lists.Store.Move gives.
	Publish(ctx context.Context, l jobs.Lease, m *lists.Move, p Progress, now time.Time) error
	// FinishJob ends the job otherwise.
	FinishJob(ctx context.Context, l jobs.Lease, status jobs.Status, reason string, p Progress, now time.Time) error
	// Retire takes from at most n jobs that ended or, never started, got their upload
	// before a time what they have uploaded and their lists of refused lines, and gives the
	// objects' keys.
	Retire(ctx context.Context, before time.Time, n int) (objects []string, err error)
}

// Objects keeps uploads, each written once under a key of its own; blobs.Folder
// is one.
type Objects interface {
	// Put stores all that r gives, and is durable when it returns nil. check is
	// asked after the last byte; errors of r and check are returned as they are.
	Put(ctx context.Context, key string, r io.Reader, check func(size int64) error) (size int64, err error)
	// Open gives an object's content, or an error when there is none.
	Open(ctx context.Context, key string) (io.ReadCloser, error)
	// Delete removes an object; one that is not there is no error.
	Delete(ctx context.Context, key string) error
	// Each calls do for every object, with the time it was put.
	Each(ctx context.Context, do func(key string, put time.Time) error) error
}
