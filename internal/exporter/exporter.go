// Package exporter owns export jobs: what became of every message, and the metrics
// of it, as a file; and the schedules by which they are made again and again.
//
// It promises that a job that is begun anew writes the same file, as far as the
// events are the same, that nobody sees a part of one, that memory does not grow with the time that
// is asked for, and that a job that was cancelled leaves no file.
//
// It knows neither HTTP nor SQL nor an AWS shape; of Sesame it may import events,
// eventdb and jobs.
package exporter

import (
	"context"
	"errors"
	"io"
	"path"
	"time"

	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/jobs"
)

// Source is what an export is of, as SES v2's ExportSourceType spells it.
type Source string

// The sources of SES v2, and Sesame's own.
const (
	MessageInsights Source = "MESSAGE_INSIGHTS" // a row for each message and recipient
	MetricsData     Source = "METRICS_DATA"     // a row for each value of dimensions
	EmailEvents     Source = "EVENTS"           // a row for each event
)

// Format is a file's, as SES v2's DataFormat spells it.
type Format string

// The formats of SES v2, and Sesame's own.
const (
	CSV       Format = "CSV"
	JSON      Format = "JSON"
	NDJSON    Format = "NDJSON"
	StrictCSV Format = "STRICT_CSV" // as RFC 4180 has it
	Parquet   Format = "PARQUET"
)

// Compression is how files are packed.
type Compression string

// The compressions. Those of a Parquet file are inside it.
const (
	Plain Compression = ""
	Gzip  Compression = "GZIP"
	Zstd  Compression = "ZSTD"
)

// What can be wrong. A Store gives ErrNotFound and ErrTooMany too.
var (
	ErrNotFound = errors.New("no such export job")
	ErrTooMany  = errors.New("as many export jobs of that source as may be are waiting or running")
)

// EndedError is given for the cancelling of a job that has ended.
type EndedError struct{ Status jobs.Status }

func (e *EndedError) Error() string { return "the export job has ended as " + string(e.Status) }

// Order is what a job is to export: one of Insights, Events and Metrics is set.
type Order struct {
	Insights *Mail    `json:",omitempty"` // what became of messages, newest first
	Events   *Mail    `json:",omitempty"` // all that happened, the newest messages first
	Metrics  *Metrics `json:",omitempty"`

	Format      Format
	Compression Compression `json:",omitempty"`
	RowsPerFile int64       `json:",omitempty"` // 0 for one file of all
	Destination string      `json:",omitempty"` // where the files go too, as Destinations.Refuse has it; "" for nowhere
	Schedule    string      `json:",omitempty"` // the name of the schedule whose run it is
}

// Source is what the order is of.
func (o Order) Source() Source {
	switch {
	case o.Insights != nil:
		return MessageInsights
	case o.Events != nil:
		return EmailEvents
	}
	return MetricsData
}

// Mail asks for messages, or for their events.
type Mail struct {
	Start, End       time.Time // of sending, both inclusive
	Include, Exclude Filters
	MaxResults       int64    // rows; 0 for all
	Columns          []string `json:",omitempty"` // their names; none for the usual ones
	// Of Events only: those that the store got after the one time and not after the
	// other, unless these are zero.
	ArrivedAfter, ArrivedUntil time.Time
}

// Filters are values of which one must be met, of each kind that has any. From,
// Destination, Subject, Diagnostic and values of Tags may begin and end with * for
// anything; \* and \\ stand for * and \.
type Filters struct {
	From, Destination, Subject []string            `json:",omitempty"`
	ISP                        []string            `json:",omitempty"`
	LastDelivery               []string            `json:",omitempty"` // of Insights: as SES v2's DeliveryEventType spells it
	LastEngagement             []string            `json:",omitempty"` // of Insights: "OPEN", "CLICK"
	Tenant                     []string            `json:",omitempty"` // met by no mail: SES's events do not say of which tenant they are
	EventType                  []string            `json:",omitempty"` // of Events: as SES v2's EventType spells it
	ConfigurationSet, Identity []string            `json:",omitempty"`
	BounceSubType              []string            `json:",omitempty"` // of bounces: "MAILBOX_FULL"
	Diagnostic                 []string            `json:",omitempty"` // what a mail server said
	Tags                       map[string][]string `json:",omitempty"` // message tags: each name must have one of its values
}

// Metrics asks for counts over a time.
type Metrics struct {
	Start, End time.Time           // of what is counted, from Start on and before End; midnights UTC
	Dimensions map[string][]string // names of package insights; "*" alone for all values that there are
	Columns    []Column
}

// Column is a metric of a file.
type Column struct {
	Metric eventdb.Metric
	Rate   bool // relative to SEND, and not a number
}

// Job is an export job.
type Job struct {
	Owner events.Source
	ID    string // a UUID
	Order Order

	Status             jobs.Status
	Created, Completed time.Time // Completed is when it ended, also as FAILED or CANCELLED; zero before
	Progress           Progress
	Error              string // why the job failed

	Files []File // none before the job is COMPLETED, and when they are kept no more
}

// Listed is what a list says of a job.
type Listed struct {
	ID                 string
	Source             Source
	Status             jobs.Status
	Created, Completed time.Time // as Job's
}

// Progress is what a job has done.
type Progress struct {
	Share     float64 // of the time that is asked for, or of the metrics: 0 to 1; of what arrived in a time, 0 until the end
	Processed int64   // events that were examined; of metrics, the sends counted
	Exported  int64   // rows that were written
}

// File is what a job has written, or a part of it.
type File struct {
	Object string // its key in the object store
	Name   string // as it is offered; no two of a job have the same
	Size   int64  // bytes
	Rows   int64
	CRC32C string // base64, as S3 gives it
}

// ContentType is by the file's name. Packed files are no other content than they are:
// clients are to store them so.
func (f File) ContentType() string {
	switch path.Ext(f.Name) {
	case ".json":
		return "application/json"
	case ".ndjson":
		return "application/x-ndjson"
	case ".parquet":
		return "application/vnd.apache.parquet"
	case ".gz":
		return "application/gzip"
	case ".zst":
		return "application/zstd"
	}
	return "text/csv; charset=utf-8"
}

// Store keeps jobs. Each method that changes something is one transaction, durable
// when it returns nil. Methods that take a lease give jobs.ErrLeaseLost when it is
// not held.
type Store interface {
	ScheduleStore

	// AddExport adds a PROCESSING job, unless its owner has limit of them of that
	// source. ErrTooMany.
	AddExport(ctx context.Context, j Job, limit int) error
	// Export gives one job. ErrNotFound.
	Export(ctx context.Context, o events.Source, id string) (Job, error)
	// Exports gives at most n jobs, newest first, that were made before the one that
	// cursor stands for ("" = all), and the cursor of each.
	Exports(ctx context.Context, o events.Source, source Source, status jobs.Status, cursor string, n int) (found []Listed, cursors []string, err error)
	// CancelExport makes a PROCESSING job CANCELLED, whoever works on it. ErrNotFound,
	// *EndedError.
	CancelExport(ctx context.Context, o events.Source, id string, now time.Time) error
	// ExportFile gives the file of a job that has that name, whoever owns it. ErrNotFound
	// when there is none.
	ExportFile(ctx context.Context, id, name string) (File, error)
	// ExportObjectNeeded says whether an object, of a key that begins with the id of
	// its job, is one of the job's files.
	ExportObjectNeeded(ctx context.Context, id, object string) (bool, error)
	// ExportRuns says whether a job is PROCESSING, whoever owns it; false when there is none.
	ExportRuns(ctx context.Context, id string) (bool, error)

	// ClaimExport gives a PROCESSING job that has no live lease, and leases it to
	// owner: of the account with the fewest jobs in hand, the one that waits longest.
	// ok is false when there is none.
	ClaimExport(ctx context.Context, owner string, now, until time.Time) (j Job, ok bool, err error)
	// RenewExport keeps the lease until a later time and notes how far the work is.
	RenewExport(ctx context.Context, l jobs.Lease, until time.Time, p Progress) error
	// ReleaseExport gives the job back as it stands.
	ReleaseExport(ctx context.Context, l jobs.Lease) error
	// FinishExport ends the job. If it is COMPLETED and the last run of a schedule, that
	// has had all until the end of the run from then on.
	FinishExport(ctx context.Context, l jobs.Lease, status jobs.Status, reason string, p Progress, files []File, now time.Time) error
	// RetireExports takes the files from at most n jobs that ended before a time, and
	// gives the objects' keys.
	RetireExports(ctx context.Context, before time.Time, n int) (objects []string, err error)
}

// Objects keeps files; blobs.Folder is one.
type Objects interface {
	// Put stores all that r gives, and is durable when it returns nil. check is
	// asked after the last byte; errors of r and check are returned as they are.
	Put(ctx context.Context, key string, r io.Reader, check func(size int64) error) (size int64, err error)
	// OpenAt gives an object's content, to be closed.
	OpenAt(ctx context.Context, key string) (interface {
		io.ReaderAt
		io.Closer
	}, error)
	// Delete removes an object; one that is not there is no error.
	Delete(ctx context.Context, key string) error
	// Each calls do for every object, with the time it was put.
	Each(ctx context.Context, do func(key string, put time.Time) error) error
}

// Events is what is exported; eventdb.Store's methods are the contract.
type Events interface {
	Recipients(ctx context.Context, src events.Source, q eventdb.Mail, do func(*eventdb.Recipient) error) error
	Events(ctx context.Context, src events.Source, q eventdb.Mail, do func(*events.Event) error) error
	Groups(ctx context.Context, src events.Source, q eventdb.GroupQuery) ([]eventdb.Group, error)
	Settle(t time.Time) time.Time
}
