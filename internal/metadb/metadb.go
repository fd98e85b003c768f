// Package metadb is the relational store: lists and what changed in them, import jobs, client
// tokens and access keys. It implements the Store interfaces of the packages
// that own those things, whose comments are its contract.
//
// It may import those packages for their types.
package metadb

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"time"

	_ "github.com/mattn/go-sqlite3" // the engine

	"sesame/internal/importer"
	"sesame/internal/lists"
)

// DB is the store in one SQLite file. Several processes may have it open.
type DB struct {
	path  string
	write *sql.DB // one connection, since SQLite has one writer: the others queue here
	read  *sql.DB // sees what was committed when each query starts
}

var (
	_ lists.Store    = (*DB)(nil)
	_ importer.Store = (*DB)(nil)
)

//go:embed schema.sql
var schema string

// schemaVersion is the user_version of a file with this schema.
const schemaVersion = 5

// Open opens the file at path and makes it if need be.
func Open(ctx context.Context, path string) (*DB, error) {
	// FULL: a commit is on disk when it returns. Readers never wait for the writer.
	// Page caches are small, since each connection has its own: the kernel caches
	// the file for all of them.
	params := "?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=10000&_cache_size=-4096"
	file := (&url.URL{Scheme: "file", Opaque: url.PathEscape(path)}).String()
	write, err := sql.Open("sqlite3", file+params+"&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite3", file+params+"&_query_only=true")
	if err != nil {
		return nil, err
	}
	read.SetMaxOpenConns(4 * runtime.NumCPU())
	read.SetMaxIdleConns(4 * runtime.NumCPU())
	db := &DB{path: path, write: write, read: read}
	if err := db.prepare(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	return db, nil
}

func (db *DB) prepare(ctx context.Context) error {
	err := db.tx(ctx, func(tx *sql.Tx) error {
		var version int
		if err := tx.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		switch version {
		case schemaVersion:
			return nil
		case 0:
			_, err := tx.Exec(schema + fmt.Sprintf("PRAGMA user_version = %d", schemaVersion))
			return err
		}
		return fmt.Errorf("it has version %d and this Sesame knows %d: start the Sesame that wrote it", version, schemaVersion)
	})
	return err
}

// Ping says whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	return db.read.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// Close lets go of the file.
func (db *DB) Close() error {
	return errors.Join(db.read.Close(), db.write.Close())
}

// largestWAL is the size in bytes at which Tidy shortens the write-ahead log.
const largestWAL = 128 << 20

// Tidy shortens the write-ahead log when steady readers have kept SQLite from
// doing so by itself.
func (db *DB) Tidy(ctx context.Context) error {
	info, err := os.Stat(db.path + "-wal")
	if err != nil || info.Size() < largestWAL {
		return nil // nothing to do, or nothing yet
	}
	// It waits for readers up to the busy timeout, and answers busy = 1 then.
	var busy, pages, moved int
	return db.write.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &moved)
}

// ReleaseLeases ends every lease. Only a process that has the store to itself may
// do so: the leases it finds are of one that died.
func (db *DB) ReleaseLeases(ctx context.Context) error {
	_, err := db.write.ExecContext(ctx, `UPDATE import_jobs SET lease_owner = '', lease_until = 0 WHERE lease_owner <> '';
		UPDATE export_jobs SET lease_owner = '', lease_until = 0 WHERE lease_owner <> ''`)
	return err
}

// tx runs do in one transaction that is durable when tx returns nil.
func (db *DB) tx(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing to do after Commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// tokenAnswer gives the answer that a client token had before: the id, and when
// it was given. made is zero when the token is new or none.
func tokenAnswer(tx *sql.Tx, o lists.Owner, operation string, t lists.ClientToken) (id string, made time.Time, err error) {
	if t.Token == "" {
		return "", time.Time{}, nil
	}
	var same bool
	var ms int64
	err = tx.QueryRow("SELECT answer, made, params = ? FROM client_tokens WHERE account = ? AND region = ? AND operation = ? AND token = ? AND made >= ?",
		t.Params, o.Account, o.Region, operation, t.Token, millis(t.Since)).Scan(&id, &ms, &same)
	if errors.Is(err, sql.ErrNoRows) {
		return "", time.Time{}, nil
	}
	if err == nil && !same {
		err = lists.ErrTokenReused
	}
	return id, fromMillis(ms), err
}

// keepToken notes the answer to a client token, and forgets tokens of old.
func keepToken(tx *sql.Tx, o lists.Owner, operation string, t lists.ClientToken, id string, made time.Time) error {
	if t.Token == "" {
		return nil
	}
	if _, err := tx.Exec("DELETE FROM client_tokens WHERE made < ?", millis(t.Since)); err != nil {
		return err
	}
	_, err := tx.Exec("INSERT INTO client_tokens (account, region, operation, token, params, answer, made) VALUES (?, ?, ?, ?, ?, ?, ?)",
		o.Account, o.Region, operation, t.Token, t.Params, id, millis(made))
	return err
}
