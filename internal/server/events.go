package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"sesame/internal/blobs"
	"sesame/internal/config"
	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/ingest"
	"sesame/internal/insights"
	"sesame/internal/jobs"
	"sesame/internal/keyfile"
	"sesame/internal/metadb"
	"sesame/internal/obs"
	"sesame/internal/s3put"
	"sesame/internal/sesv2"
	"sesame/internal/wire"
)

// Bounds on what comes through the doors for events.
const (
	ingestInHand = 256 << 20 // bytes of bodies in hand at once
	ingestIdle   = 30 * time.Second
)

// scheduleEvery is how often is looked whether a scheduled export is due: a look
// finds nothing, as a rule, and costs no more than a worker's for a job.
const scheduleEvery = time.Second

// EventsPath is where a data folder has its store of events.
func EventsPath(dataDir string) string { return filepath.Join(dataDir, "events.duckdb") }

// eventParts are what a server has for email events.
type eventParts struct {
	store     *eventdb.DuckDB
	doors     *ingest.Doors
	api       *sesv2.API
	exports   *exporter.Service
	exporting *jobs.Runner
	retention time.Duration
	log       *slog.Logger
}

// openEvents opens the store of events and connects what is around it. The store
// is to be closed after them.
func openEvents(ctx context.Context, c config.Server, db *metadb.DB, files *blobs.Folder, key *keyfile.Key, callers *callers, metrics *obs.Metrics, log *slog.Logger) (*eventParts, error) {
	store, err := eventdb.Open(ctx, EventsPath(c.DataDir), c.EventMemory)
	if err != nil {
		return nil, err
	}
	retention := time.Duration(c.Retention) * 24 * time.Hour
	into := ingest.EventStore(store)
	if c.ISPMX != "" {
		table, err := readMXTable(c.ISPMX)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--isp-mx %s: %w", c.ISPMX, err), store.Close())
		}
		into = &ingest.ByMX{Events: store, Table: table, Now: time.Now}
	}
	likeSES, pages := c.Quotas == "aws", wire.Pages{Seal: key.Seal, Unseal: key.Unseal}
	exporting := &jobs.Runner{Workers: c.ExportWorkers, Poll: time.Second, Log: log}
	exports := &exporter.Service{
		Store: db, Objects: files.Uncached(), Events: store, Now: time.Now, NewJob: newRequestID, NewID: newID, Wake: exporting.Wake, Log: log,
		Config: exporter.Config{Running: c.Limits().RunningExports, Keep: time.Duration(c.ExportKeep) * 24 * time.Hour, LikeSES: likeSES, Destinations: c.ExportPlaces},
	}
	if len(c.ExportPlaces) > 0 {
		if exports.Destination, err = openDestination(ctx, c, log); err != nil {
			return nil, errors.Join(err, store.Close())
		}
	}
	exporting.Claim = exports.Claim
	if err := exports.ResumeSchedules(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &eventParts{
		store: store, exports: exports, exporting: exporting,
		doors: &ingest.Doors{
			Events: into, Rejected: &metadb.RejectedRecords{DB: db, MostRecords: metadb.MostRejectedRecords, MostBytes: metadb.MostRejectedBytes}, Key: callers.find, Account: c.AccountID, Region: c.Region, SNSTopics: c.SNSTopics,
			Oldest: func() time.Time { return time.Now().Add(-retention) },
			InHand: ingestInHand, Idle: ingestIdle, Pages: pages,
			Now: time.Now, NewID: newRequestID, Log: log, Counted: metrics.Events,
		},
		api: &sesv2.API{
			Region: c.Region, Exports: exports, Pages: pages, Now: time.Now,
			Insights: &insights.Service{Events: store, Settings: db, Now: time.Now, LikeSES: likeSES},
		},
		retention: retention, log: log,
	}, nil
}

// openDestination prepares to put exports where --export-destinations allows.
func openDestination(ctx context.Context, c config.Server, log *slog.Logger) (*s3put.Store, error) {
	key, err := config.ExportS3KeyFromEnvironment()
	if err != nil {
		return nil, err
	}
	return s3put.Open(ctx, s3put.Config{Endpoint: c.ExportS3URL, Region: cmp.Or(c.ExportRegion, c.Region), AccessKeyID: key.AccessKeyID, Secret: key.SecretAccessKey}, log)
}

func readMXTable(path string) (events.MXTable, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return events.MXTable{}, err
	}
	return events.ReadMXTable(string(text))
}

// exported opens a file of an export job.
func exported(exports *exporter.Service, files *blobs.Folder) func(ctx context.Context, job, file string) (exporter.File, io.ReadSeekCloser, error) {
	return func(ctx context.Context, job, file string) (exporter.File, io.ReadSeekCloser, error) {
		f, err := exports.File(ctx, job, file)
		if err != nil {
			return f, nil, err
		}
		content, err := files.OpenSeeker(ctx, f.Object)
		if errors.Is(err, blobs.ErrNotFound) {
			err = exporter.ErrNotFound
		}
		return f, content, err
	}
}

// retire removes events that were kept for as long as they are.
func (e *eventParts) retire(ctx context.Context) error {
	dropped, err := e.store.DropBefore(ctx, time.Now().Add(-e.retention))
	if dropped > 0 {
		e.log.Info("old events were removed", "events", dropped)
	}
	return err
}

// schedule makes the export jobs that are due, until ctx ends.
func (e *eventParts) schedule(ctx context.Context) {
	for {
		if err := e.exports.RunSchedules(ctx); err != nil && ctx.Err() == nil {
			e.log.Error("schedules of exports", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(scheduleEvery):
		}
	}
}

// housekeep removes old events from time to time, until ctx ends.
func (e *eventParts) housekeep(ctx context.Context) {
	for {
		if err := errors.Join(e.retire(ctx), e.exports.Retire(ctx), e.exports.Sweep(ctx)); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			e.log.Error("housekeeping of events", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Hour):
		}
	}
}
