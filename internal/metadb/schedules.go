package metadb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"sesame/internal/events"
	"sesame/internal/exporter"
)

const scheduleColumns = "n, account, region, name, cron, what, created, next, until, last_run, last_job"

func scanSchedule(row interface{ Scan(...any) error }) (s exporter.Schedule, err error) {
	var what string
	var created, next, until, lastRun int64
	err = row.Scan(&s.Version, &s.Owner.Account, &s.Owner.Region, &s.Name, &s.Cron, &what, &created, &next, &until, &lastRun, &s.LastJob)
	if err != nil {
		return exporter.Schedule{}, err
	}
	s.Created, s.Next, s.Until, s.LastRun = fromMillis(created), fromMillis(next), fromMillis(until), fromMillis(lastRun)
	return s, json.Unmarshal([]byte(what), &s.Order)
}

func (db *DB) schedules(ctx context.Context, where string, args ...any) (found []exporter.Schedule, err error) {
	rows, err := db.read.QueryContext(ctx, "SELECT "+scheduleColumns+" FROM export_schedules AS s WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		s, err := scanSchedule(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	return found, rows.Err()
}

// PutSchedule is exporter.Store's.
func (db *DB) PutSchedule(ctx context.Context, s exporter.Schedule, limit int) error {
	what, err := json.Marshal(s.Order)
	if err != nil {
		return err
	}
	return db.tx(ctx, func(tx *sql.Tx) error {
		old, err := scanSchedule(tx.QueryRow("SELECT "+scheduleColumns+" FROM export_schedules WHERE account = ? AND region = ? AND name = ?",
			s.Owner.Account, s.Owner.Region, s.Name))
		lastUntil := int64(0)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			var there int
			err := tx.QueryRow("SELECT count(*) FROM export_schedules WHERE account = ? AND region = ?", s.Owner.Account, s.Owner.Region).Scan(&there)
			if err != nil {
				return err
			}
			if there >= limit {
				return exporter.ErrTooManySchedules
			}
		case err != nil:
			return err
		default:
			s.Created = old.Created
			if old.Order.Source() != s.Order.Source() {
				break
			}
			s.Until, s.LastRun, s.LastJob = old.Until, old.LastRun, old.LastJob
			if err := tx.QueryRow("SELECT last_until FROM export_schedules WHERE n = ?", old.Version).Scan(&lastUntil); err != nil {
				return err
			}
		}
		_, err = tx.Exec("REPLACE INTO export_schedules (account, region, name, cron, what, created, next, until, last_run, last_job, last_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			s.Owner.Account, s.Owner.Region, s.Name, s.Cron, string(what), millis(s.Created), millis(s.Next), millis(s.Until), millis(s.LastRun), s.LastJob, lastUntil)
		return err
	})
}

// Schedules is exporter.Store's.
func (db *DB) Schedules(ctx context.Context, o events.Source) ([]exporter.Schedule, error) {
	return db.schedules(ctx, "account = ? AND region = ? ORDER BY name", o.Account, o.Region)
}

// DeleteSchedule is exporter.Store's.
func (db *DB) DeleteSchedule(ctx context.Context, o events.Source, name string) error {
	done, err := db.write.ExecContext(ctx, "DELETE FROM export_schedules WHERE account = ? AND region = ? AND name = ?", o.Account, o.Region, name)
	if err != nil {
		return err
	}
	if rows, err := done.RowsAffected(); err != nil || rows == 1 {
		return err
	}
	return exporter.ErrNoSchedule
}

// DueSchedules is exporter.Store's.
func (db *DB) DueSchedules(ctx context.Context, now time.Time) ([]exporter.Schedule, error) {
	return db.schedules(ctx, "next <= ? AND NOT EXISTS (SELECT 1 FROM export_jobs WHERE id = s.last_job AND status = 'PROCESSING') ORDER BY next, n", millis(now))
}

// RunSchedule is exporter.Store's.
func (db *DB) RunSchedule(ctx context.Context, s exporter.Schedule, j *exporter.Job, until, next time.Time, limit int) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		// Each run has it due later, so one that was run meanwhile has another Next.
		done, err := tx.Exec("UPDATE export_schedules SET next = ? WHERE n = ? AND next = ?", millis(next), s.Version, millis(s.Next))
		if err != nil {
			return err
		}
		if rows, err := done.RowsAffected(); err != nil {
			return err
		} else if rows != 1 {
			return exporter.ErrScheduleChanged
		}
		if j == nil {
			return nil
		}
		if err := addExport(tx, *j, limit); err != nil {
			return err
		}
		_, err = tx.Exec("UPDATE export_schedules SET last_run = ?, last_job = ?, last_until = ? WHERE n = ?", millis(j.Created), j.ID, millis(until), s.Version)
		return err
	})
}

// ScheduledUntil is exporter.Store's.
func (db *DB) ScheduledUntil(ctx context.Context) (time.Time, error) {
	var until int64
	err := db.read.QueryRowContext(ctx, "SELECT coalesce(max(max(until, last_until)), 0) FROM export_schedules").Scan(&until)
	return fromMillis(until), err
}
