package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"sesame/internal/config"
	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/ingest"
	"sesame/internal/insights"
	"sesame/internal/keyfile"
	"sesame/internal/metadb"
	"sesame/internal/obs"
	"sesame/internal/sesv2"
	"sesame/internal/wire"
)

// Bounds on what comes through the doors for events.
const (
	ingestInHand = 256 << 20 // bytes of bodies in hand at once
	ingestIdle   = 30 * time.Second
)

// EventsPath is where a data folder has its store of events.
func EventsPath(dataDir string) string { return filepath.Join(dataDir, "events.duckdb") }

// eventParts are what a server has for email events.
type eventParts struct {
	store     *eventdb.DuckDB
	doors     *ingest.Doors
	api       *sesv2.API
	retention time.Duration
	log       *slog.Logger
}

// openEvents opens the store of events and connects what is around it. The store
// is to be closed after them.
func openEvents(ctx context.Context, c config.Server, db *metadb.DB, key *keyfile.Key, callers *callers, metrics *obs.Metrics, log *slog.Logger) (*eventParts, error) {
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
	return &eventParts{
		store: store,
		doors: &ingest.Doors{
			Events: into, Rejected: &metadb.RejectedRecords{DB: db, MostRecords: metadb.MostRejectedRecords, MostBytes: metadb.MostRejectedBytes}, Key: callers.find, Account: c.AccountID, Region: c.Region, SNSTopics: c.SNSTopics,
			Oldest: func() time.Time { return time.Now().Add(-retention) },
			InHand: ingestInHand, Idle: ingestIdle, Pages: wire.Pages{Seal: key.Seal, Unseal: key.Unseal},
			Now: time.Now, NewID: newRequestID, Log: log, Counted: metrics.Events,
		},
		api: &sesv2.API{
			Region:   c.Region,
			Insights: &insights.Service{Events: store, Settings: db, Now: time.Now, LikeSES: c.Quotas == "aws"},
		},
		retention: retention, log: log,
	}, nil
}

func readMXTable(path string) (events.MXTable, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return events.MXTable{}, err
	}
	return events.ReadMXTable(string(text))
}

// retire removes events that were kept for as long as they are.
func (e *eventParts) retire(ctx context.Context) error {
	dropped, err := e.store.DropBefore(ctx, time.Now().Add(-e.retention))
	if dropped > 0 {
		e.log.Info("old events were removed", "events", dropped)
	}
	return err
}

// housekeep removes old events from time to time, until ctx ends.
func (e *eventParts) housekeep(ctx context.Context) {
	for {
		if err := e.retire(ctx); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			e.log.Error("housekeeping of events", "error", fmt.Errorf("remove old events: %w", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Hour):
		}
	}
}
