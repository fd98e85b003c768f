package metadb

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"sesame/internal/importer"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// CreateJob is importer.Store's.
func (db *DB) CreateJob(ctx context.Context, j importer.Job, token lists.ClientToken) (id string, created time.Time, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		first, made, err := tokenAnswer(tx, j.Owner, "CreateAddressListImportJob", token)
		if err != nil {
			return err
		}
		if !made.IsZero() {
			id, created = first, made
			return nil
		}
		n, err := listNumber(ctx, tx, j.Owner, j.ListID)
		if err != nil {
			return err
		}
		_, err = tx.Exec("INSERT INTO import_jobs (id, account, region, list, list_id, name, format, mode, dry_run, status, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			j.ID, j.Owner.Account, j.Owner.Region, n, j.ListID, j.Name, string(j.Format), string(j.Mode), j.DryRun, string(j.Status), millis(j.Created))
		if err != nil {
			return err
		}
		id, created = j.ID, j.Created
		return keepToken(tx, j.Owner, "CreateAddressListImportJob", token, id, created)
	})
	return id, created, err
}

const jobColumns = "account, region, id, list_id, name, format, mode, dry_run, status, object, size, created, started, completed, error, progress, refused_object"

func scanJob(row interface{ Scan(...any) error }) (importer.Job, error) {
	var j importer.Job
	var created, started, completed int64
	var progress string
	err := row.Scan(&j.Owner.Account, &j.Owner.Region, &j.ID, &j.ListID, &j.Name, &j.Format, &j.Mode, &j.DryRun, &j.Status, &j.Object, &j.Size,
		&created, &started, &completed, &j.Error, &progress, &j.RefusedObject)
	if errors.Is(err, sql.ErrNoRows) {
		return importer.Job{}, importer.ErrNotFound
	}
	if err != nil {
		return importer.Job{}, err
	}
	j.Created, j.Started, j.Completed = fromMillis(created), fromMillis(started), fromMillis(completed)
	return j, json.Unmarshal([]byte(progress), &j.Progress)
}

const ownedJob = "SELECT " + jobColumns + " FROM import_jobs WHERE account = ? AND region = ? AND id = ?"

// Job is importer.Store's.
func (db *DB) Job(ctx context.Context, o lists.Owner, id string) (importer.Job, error) {
	return scanJob(db.read.QueryRowContext(ctx, ownedJob, o.Account, o.Region, id))
}

// Jobs is importer.Store's.
func (db *DB) Jobs(ctx context.Context, o lists.Owner, listID, before string, limit int) ([]importer.Job, error) {
	n, err := listNumber(ctx, db.read, o, listID)
	if err != nil {
		return nil, err
	}
	rows, err := db.read.QueryContext(ctx,
		"SELECT "+jobColumns+" FROM import_jobs WHERE list = ? AND id < ? ORDER BY id DESC LIMIT ?", n, cmp.Or(before, "~"), limit) // no id reaches "~"
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []importer.Job
	for rows.Next() {
		j, err := scanJob(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, j)
	}
	return found, rows.Err()
}

// Uploadable is importer.Store's.
func (db *DB) Uploadable(ctx context.Context, id string) error {
	var status jobs.Status
	err := db.read.QueryRowContext(ctx, "SELECT status FROM import_jobs WHERE id = ?", id).Scan(&status)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return importer.ErrNotFound
	case err == nil && status != jobs.Created:
		return importer.ErrStarted
	}
	return err
}

// AttachUpload is importer.Store's.
func (db *DB) AttachUpload(ctx context.Context, id, object string, size int64, now time.Time) (previous string, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		var status jobs.Status
		err := tx.QueryRow("SELECT object, status FROM import_jobs WHERE id = ?", id).Scan(&previous, &status)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return importer.ErrNotFound
		case err != nil:
			return err
		case status != jobs.Created:
			return importer.ErrStarted
		}
		_, err = tx.Exec("UPDATE import_jobs SET object = ?, size = ?, uploaded = ? WHERE id = ?", object, size, millis(now), id)
		return err
	})
	return previous, err
}

// ObjectNeeded is importer.Store's.
func (db *DB) ObjectNeeded(ctx context.Context, object string) (needed bool, err error) {
	// imports/{job id}-{26 characters} and refused/...: the job is found by its key.
	_, id, _ := strings.Cut(object, "/")
	if cut := strings.LastIndexByte(id, '-'); cut > 0 {
		id = id[:cut]
	}
	err = db.read.QueryRowContext(ctx,
		"SELECT count(*) FROM import_jobs WHERE id = ?1 AND (object = ?2 AND status IN ('CREATED', 'PROCESSING', 'FAILED') OR refused_object = ?2)", id, object).Scan(&needed)
	return needed, err
}

// StartJob is importer.Store's.
func (db *DB) StartJob(ctx context.Context, o lists.Owner, id string, limit int, now time.Time) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		j, err := scanJob(tx.QueryRow(ownedJob, o.Account, o.Region, id))
		switch {
		case err != nil:
			return err
		case j.Status == jobs.Processing:
			return nil
		case j.Status.Ended():
			return importer.ErrEnded
		case j.Object == "":
			return importer.ErrNothingUploaded
		}
		var running int
		err = tx.QueryRow("SELECT count(*) FROM import_jobs WHERE status = 'PROCESSING' AND account = ? AND region = ?", o.Account, o.Region).Scan(&running)
		if err != nil {
			return err
		}
		if running >= limit {
			return importer.ErrTooManyRunning
		}
		_, err = tx.Exec("UPDATE import_jobs SET status = ?, started = ? WHERE id = ?", string(jobs.Processing), millis(now), id)
		return err
	})
}

// StopJob is importer.Store's.
func (db *DB) StopJob(ctx context.Context, o lists.Owner, id string, now time.Time) (object string, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		j, err := scanJob(tx.QueryRow(ownedJob, o.Account, o.Region, id))
		switch {
		case err != nil:
			return err
		case j.Status == jobs.Stopped:
			return nil
		case j.Status == jobs.Created:
			return importer.ErrNotStarted
		case j.Status.Ended():
			return importer.ErrEnded
		}
		object = j.Object
		_, err = tx.Exec("UPDATE import_jobs SET status = ?, completed = ?, lease_owner = '', lease_until = 0 WHERE id = ?",
			string(jobs.Stopped), millis(now), id)
		return err
	})
	return object, err
}

// ClaimJob is importer.Store's.
func (db *DB) ClaimJob(ctx context.Context, owner string, now, until time.Time) (j importer.Job, ok bool, err error) {
	// Most looks find nothing, and need not trouble the writer.
	const waiting = `SELECT id FROM import_jobs AS j WHERE status = 'PROCESSING' AND lease_until < ?1
		AND NOT EXISTS (SELECT 1 FROM import_jobs AS k WHERE k.list = j.list AND k.status = 'PROCESSING' AND k.lease_until >= ?1)
		ORDER BY started, id LIMIT 1`
	var id string
	err = db.read.QueryRowContext(ctx, waiting, millis(now)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return importer.Job{}, false, nil
	}
	if err != nil {
		return importer.Job{}, false, err
	}
	j, err = scanJob(db.write.QueryRowContext(ctx, "UPDATE import_jobs SET lease_owner = ?2, lease_until = ?3 WHERE id = ("+waiting+") RETURNING "+jobColumns,
		millis(now), owner, millis(until)))
	if errors.Is(err, importer.ErrNotFound) {
		return importer.Job{}, false, nil
	}
	return j, err == nil, err
}

// underLease runs an UPDATE of import_jobs or export_jobs whose last two parameters
// are the lease's job and owner.
func underLease(ctx context.Context, q interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, table string, l jobs.Lease, set string, args ...any) error {
	done, err := q.ExecContext(ctx, "UPDATE "+table+" SET "+set+" WHERE id = ? AND lease_owner = ? AND status = 'PROCESSING'",
		append(args, l.Job, l.Owner)...)
	if err != nil {
		return err
	}
	if rows, err := done.RowsAffected(); err != nil || rows == 1 {
		return err
	}
	return jobs.ErrLeaseLost
}

// RenewLease is importer.Store's.
func (db *DB) RenewLease(ctx context.Context, l jobs.Lease, until time.Time, p importer.Progress) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return underLease(ctx, db.write, "import_jobs", l, "lease_until = ?, progress = ?", millis(until), string(text))
}

// NoteRead is importer.Store's.
func (db *DB) NoteRead(ctx context.Context, l jobs.Lease, p importer.Progress, object string) (previous string, err error) {
	text, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	err = db.tx(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRow("SELECT refused_object FROM import_jobs WHERE id = ?", l.Job).Scan(&previous); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		return underLease(ctx, tx, "import_jobs", l, "progress = ?, refused_object = ?", string(text), object)
	})
	return previous, err
}

// RefusedObject is importer.Store's.
func (db *DB) RefusedObject(ctx context.Context, id string) (object string, err error) {
	err = db.read.QueryRowContext(ctx, "SELECT refused_object FROM import_jobs WHERE id = ? AND refused_object <> ''", id).Scan(&object)
	if errors.Is(err, sql.ErrNoRows) {
		err = importer.ErrNotFound
	}
	return object, err
}

// ReleaseLease is importer.Store's.
func (db *DB) ReleaseLease(ctx context.Context, l jobs.Lease) error {
	return underLease(ctx, db.write, "import_jobs", l, "lease_owner = '', lease_until = 0")
}

// Publish is importer.Store's.
func (db *DB) Publish(ctx context.Context, l jobs.Lease, m *lists.Move, p importer.Progress, now time.Time) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		if err := finish(ctx, tx, l, jobs.Completed, "", p, now); err != nil || m == nil {
			return err
		}
		return move(tx, *m)
	})
}

// FinishJob is importer.Store's.
func (db *DB) FinishJob(ctx context.Context, l jobs.Lease, status jobs.Status, reason string, p importer.Progress, now time.Time) error {
	return db.tx(ctx, func(tx *sql.Tx) error { return finish(ctx, tx, l, status, reason, p, now) })
}

func finish(ctx context.Context, tx *sql.Tx, l jobs.Lease, status jobs.Status, reason string, p importer.Progress, now time.Time) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return underLease(ctx, tx, "import_jobs", l, "status = ?, error = ?, progress = ?, completed = ?, lease_owner = '', lease_until = 0",
		string(status), reason, string(text), millis(now))
}

// Retire is importer.Store's.
func (db *DB) Retire(ctx context.Context, before time.Time, n int) (objects []string, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		// The conditions are import_jobs_to_retire's, so that jobs with nothing left are not looked at.
		rows, err := tx.Query(`SELECT id, object, refused_object FROM import_jobs
			WHERE status <> 'PROCESSING' AND object || refused_object <> '' AND max(uploaded, completed) < ?
			ORDER BY max(uploaded, completed) LIMIT ?`, millis(before), n)
		if err != nil {
			return err
		}
		defer rows.Close()
		var ids []string
		for rows.Next() {
			var id, object, refused string
			if err := rows.Scan(&id, &object, &refused); err != nil {
				return err
			}
			ids = append(ids, id)
			for _, key := range []string{object, refused} {
				if key != "" {
					objects = append(objects, key)
				}
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for _, id := range ids {
			if _, err := tx.Exec("UPDATE import_jobs SET object = '', refused_object = '' WHERE id = ?", id); err != nil {
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
