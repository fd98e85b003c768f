// Package importer owns import jobs: their life from creation to their end, and
// the pipeline that reads an uploaded file, sorts it, and merges it into a list.
//
// It promises that an acknowledged upload or start survives a crash, that a job
// cut off by one is resumed and ends with the members and counts of an
// undisturbed run, that memory does not grow with the file, and that a job that
// cannot fit its list changes nothing (unless others take the room while it is
// applied: then what was applied stays and is counted).
//
// It knows neither HTTP nor SQL nor an AWS shape; of Sesame it may import
// address, lists, jobs, importfile and extsort.
package importer

import (
	"context"
	"errors"
	"io"
	"time"

	"sesame/internal/address"
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

	Imported int64  // valid lines, duplicates included, whose entry has been applied
	Failed   int64  // lines refused
	Cursor   string // greatest key applied
	Error    string // why the job failed

	Lines         int64            // of the file, blank ones left out; 0 until it has been read
	Entries       int64            // different entries applied
	Added         int64            // of those, the ones that were not members before
	RefusedFor    map[string]int64 // lines refused by reason code; empty until the file has been read
	RefusedObject string           // key of a CSV with each refused line; "" when there is none
}

// Batch is a run of entries in order of key, applied in one transaction.
type Batch struct {
	Rows  []Row
	Lines int64         // lines of the file that the rows stand for
	Kinds address.Kinds // every kind of entry in the file
	Now   time.Time
	Until time.Time // the lease is renewed until then
	Limit int64     // members the list may hold
}

// Row is one entry of a Batch.
type Row struct {
	Key   string
	Shown string // "" when it is the key
}

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
	AttachUpload(ctx context.Context, id, object string, size int64) (previous string, err error)
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
	// RenewLease keeps the lease until a later time and notes the lines refused so
	// far. A resumed job reads its file again, so the count is the greatest noted.
	RenewLease(ctx context.Context, l jobs.Lease, until time.Time, failed int64) error
	// NoteRead notes what reading the file found: its lines, those refused in all and
	// by code, and the object that lists them. previous is the object noted before, if any.
	NoteRead(ctx context.Context, l jobs.Lease, lines int64, refusedFor map[string]int64, object string) (previous string, err error)
	// ReleaseLease gives the job back as it stands.
	ReleaseLease(ctx context.Context, l jobs.Lease) error
	// Reserve promises the job room for n more members, in place of what it was
	// promised before. room is how many the list can still take; when that is less
	// than n nothing is promised and ok is false.
	Reserve(ctx context.Context, l jobs.Lease, n, limit int64) (room int64, ok bool, err error)
	// ApplyBatch makes the rows members, counts them, moves the cursor to the last
	// and renews the lease. lists.ErrListFull when a member was removed since it was
	// counted, its place was taken, and b would bring the list over b.Limit.
	ApplyBatch(ctx context.Context, l jobs.Lease, b Batch) error
	// FinishJob ends the job.
	FinishJob(ctx context.Context, l jobs.Lease, status jobs.Status, reason string, failed int64, now time.Time) error
	// FindMembers is lists.Store's.
	FindMembers(ctx context.Context, o lists.Owner, listID string, keys []string) ([]lists.Member, error)
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
