package metadb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"

	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/jobs"
)

// AddExport is exporter.Store's.
func (db *DB) AddExport(ctx context.Context, j exporter.Job, limit int) error {
	return db.tx(ctx, func(tx *sql.Tx) error { return addExport(tx, j, limit) })
}

func addExport(tx *sql.Tx, j exporter.Job, limit int) error {
	order, err := json.Marshal(j.Order)
	if err != nil {
		return err
	}
	var running int
	err = tx.QueryRow("SELECT count(*) FROM export_jobs WHERE status = 'PROCESSING' AND account = ? AND region = ? AND source = ?",
		j.Owner.Account, j.Owner.Region, string(j.Order.Source())).Scan(&running)
	if err != nil {
		return err
	}
	if running >= limit {
		return exporter.ErrTooMany
	}
	_, err = tx.Exec("INSERT INTO export_jobs (id, account, region, source, what, status, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
		j.ID, j.Owner.Account, j.Owner.Region, string(j.Order.Source()), string(order), string(j.Status), millis(j.Created))
	return err
}

const exportColumns = "n, account, region, id, what, status, created, completed, progress, error, files"

func scanExport(row interface{ Scan(...any) error }) (j exporter.Job, n int64, err error) {
	var created, completed int64
	var what, progress, files string
	err = row.Scan(&n, &j.Owner.Account, &j.Owner.Region, &j.ID, &what, &j.Status, &created, &completed, &progress, &j.Error, &files)
	if errors.Is(err, sql.ErrNoRows) {
		err = exporter.ErrNotFound
	}
	if err != nil {
		return exporter.Job{}, 0, err
	}
	j.Created, j.Completed = fromMillis(created), fromMillis(completed)
	return j, n, errors.Join(json.Unmarshal([]byte(what), &j.Order), json.Unmarshal([]byte(progress), &j.Progress), json.Unmarshal([]byte(files), &j.Files))
}

const ownedExport = "SELECT " + exportColumns + " FROM export_jobs WHERE account = ? AND region = ? AND id = ?"

// Export is exporter.Store's.
func (db *DB) Export(ctx context.Context, o events.Source, id string) (exporter.Job, error) {
	j, _, err := scanExport(db.read.QueryRowContext(ctx, ownedExport, o.Account, o.Region, id))
	return j, err
}

// Exports is exporter.Store's.
func (db *DB) Exports(ctx context.Context, o events.Source, source exporter.Source, status jobs.Status, cursor string, limit int) (found []exporter.Listed, cursors []string, err error) {
	before := int64(math.MaxInt64)
	if cursor != "" {
		if before, err = strconv.ParseInt(cursor, 10, 64); err != nil {
			return nil, nil, err
		}
	}
	rows, err := db.read.QueryContext(ctx, `SELECT n, id, source, status, created, completed FROM export_jobs
		WHERE account = ?1 AND region = ?2 AND n < ?3 AND (?4 = '' OR source = ?4) AND (?5 = '' OR status = ?5) ORDER BY n DESC LIMIT ?6`,
		o.Account, o.Region, before, string(source), string(status), limit)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var j exporter.Listed
		var n, created, completed int64
		if err := rows.Scan(&n, &j.ID, &j.Source, &j.Status, &created, &completed); err != nil {
			return nil, nil, err
		}
		j.Created, j.Completed = fromMillis(created), fromMillis(completed)
		found, cursors = append(found, j), append(cursors, strconv.FormatInt(n, 10))
	}
	return found, cursors, rows.Err()
}

// CancelExport is exporter.Store's.
func (db *DB) CancelExport(ctx context.Context, o events.Source, id string, now time.Time) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		j, n, err := scanExport(tx.QueryRow(ownedExport, o.Account, o.Region, id))
		if err != nil {
			return err
		}
		if j.Status.Ended() {
			return &exporter.EndedError{Status: j.Status}
		}
		_, err = tx.Exec("UPDATE export_jobs SET status = ?, completed = ?, lease_owner = '', lease_until = 0 WHERE n = ?", string(jobs.Cancelled), millis(now), n)
		return err
	})
}

// ExportFile is exporter.Store's.
func (db *DB) ExportFile(ctx context.Context, id, name string) (exporter.File, error) {
	var text string
	err := db.read.QueryRowContext(ctx, "SELECT f.value FROM export_jobs AS j, json_each(j.files) AS f WHERE j.id = ? AND f.value ->> 'Name' = ?", id, name).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return exporter.File{}, exporter.ErrNotFound
	}
	var f exporter.File
	if err == nil {
		err = json.Unmarshal([]byte(text), &f)
	}
	return f, err
}

// ExportObjectNeeded is exporter.Store's.
func (db *DB) ExportObjectNeeded(ctx context.Context, id, object string) (needed bool, err error) {
	err = db.read.QueryRowContext(ctx, "SELECT count(*) FROM export_jobs AS j, json_each(j.files) AS f WHERE j.id = ? AND f.value ->> 'Object' = ?", id, object).Scan(&needed)
	return needed, err
}

// ExportRuns is exporter.Store's.
func (db *DB) ExportRuns(ctx context.Context, id string) (runs bool, err error) {
	err = db.read.QueryRowContext(ctx, "SELECT count(*) FROM export_jobs WHERE id = ? AND status = 'PROCESSING'", id).Scan(&runs)
	return runs, err
}

// ClaimExport is exporter.Store's.
func (db *DB) ClaimExport(ctx context.Context, owner string, now, until time.Time) (j exporter.Job, ok bool, err error) {
	// Most looks find nothing, and need not trouble the writer.
	const waiting = `SELECT n FROM export_jobs AS j WHERE status = 'PROCESSING' AND lease_until < ?1
		ORDER BY (SELECT count(*) FROM export_jobs AS k WHERE k.status = 'PROCESSING' AND k.account = j.account AND k.lease_until >= ?1), n LIMIT 1`
	var n int64
	err = db.read.QueryRowContext(ctx, waiting, millis(now)).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return exporter.Job{}, false, nil
	}
	if err != nil {
		return exporter.Job{}, false, err
	}
	j, _, err = scanExport(db.write.QueryRowContext(ctx, "UPDATE export_jobs SET lease_owner = ?2, lease_until = ?3 WHERE n = ("+waiting+") RETURNING "+exportColumns,
		millis(now), owner, millis(until)))
	if errors.Is(err, exporter.ErrNotFound) {
		return exporter.Job{}, false, nil
	}
	return j, err == nil, err
}

// RenewExport is exporter.Store's.
func (db *DB) RenewExport(ctx context.Context, l jobs.Lease, until time.Time, p exporter.Progress) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return underLease(ctx, db.write, "export_jobs", l, "lease_until = ?, progress = ?", millis(until), string(text))
}

// ReleaseExport is exporter.Store's.
func (db *DB) ReleaseExport(ctx context.Context, l jobs.Lease) error {
	return underLease(ctx, db.write, "export_jobs", l, "lease_owner = '', lease_until = 0")
}

// FinishExport is exporter.Store's.
func (db *DB) FinishExport(ctx context.Context, l jobs.Lease, status jobs.Status, reason string, p exporter.Progress, files []exporter.File, now time.Time) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	list, err := json.Marshal(files)
	if err != nil {
		return err
	}
	return db.tx(ctx, func(tx *sql.Tx) error {
		err := underLease(ctx, tx, "export_jobs", l, "status = ?, error = ?, progress = ?, files = ?, completed = ?, lease_owner = '', lease_until = 0",
			string(status), reason, string(text), string(list), millis(now))
		if err == nil && status == jobs.Completed {
			_, err = tx.Exec("UPDATE export_schedules SET until = last_until WHERE last_job = ?", l.Job)
		}
		return err
	})
}

// RetireExports is exporter.Store's.
func (db *DB) RetireExports(ctx context.Context, before time.Time, limit int) (objects []string, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		rows, err := tx.Query("SELECT n, files FROM export_jobs WHERE files <> 'null' AND completed < ? ORDER BY completed LIMIT ?", millis(before), limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		var found []int64
		for rows.Next() {
			var n int64
			var text string
			var files []exporter.File
			if err := rows.Scan(&n, &text); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(text), &files); err != nil {
				return err
			}
			found = append(found, n)
			for _, f := range files {
				objects = append(objects, f.Object)
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for _, n := range found {
			if _, err := tx.Exec("UPDATE export_jobs SET files = 'null' WHERE n = ?", n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return objects, nil
}
