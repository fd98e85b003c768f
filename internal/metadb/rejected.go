package metadb

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"sesame/internal/events"
	"sesame/internal/ingest"
)

// RejectedRecords keeps the records that the doors for events set aside.
type RejectedRecords struct {
	DB *DB
	// What an account may have; the oldest records go when it has more.
	MostRecords int64
	MostBytes   int64

	mu   sync.Mutex
	size map[string]rejectedSize // of each account's that was added to since the start
}

type rejectedSize struct{ records, bytes int64 }

// What the doors of a server use.
const (
	MostRejectedRecords = 100_000
	MostRejectedBytes   = 1 << 30
)

var _ ingest.RejectedStore = (*RejectedRecords)(nil)

// Add is ingest.RejectedStore's.
func (r *RejectedRecords) Add(ctx context.Context, all []ingest.Rejected) (dropped int64, err error) {
	if len(all) == 0 {
		return 0, nil
	}
	account := all[0].Account
	r.mu.Lock()
	defer r.mu.Unlock()
	size, known := r.size[account]
	if !known { // nobody else changes it while mu is held, so the writer need not wait for this
		err := r.DB.read.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(length(record)), 0) FROM rejected_records WHERE account = ?", account).
			Scan(&size.records, &size.bytes)
		if err != nil {
			return 0, fmt.Errorf("count rejected records: %w", err)
		}
	}
	err = r.DB.tx(ctx, func(tx *sql.Tx) error {
		insert, err := tx.Prepare("INSERT OR IGNORE INTO rejected_records (id, account, region, door, received, reason, record) VALUES (?, ?, ?, ?, ?, ?, ?)")
		if err != nil {
			return err
		}
		defer insert.Close()
		for _, one := range all {
			record := one.Record
			if record == nil {
				record = []byte{} // nil would be NULL
			}
			done, err := insert.Exec(one.ID, one.Account, one.Region, one.Door, millis(one.Received), one.Reason, record)
			if err != nil {
				return err
			}
			rows, err := done.RowsAffected()
			if err != nil {
				return err
			}
			size.records += rows
			size.bytes += rows * int64(len(one.Record))
		}
		if size.records <= r.MostRecords && size.bytes <= r.MostBytes {
			return nil
		}
		dropped, err = r.dropOldest(tx, account, &size)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("keep rejected records: %w", err)
	}
	if r.size == nil {
		r.size = map[string]rejectedSize{}
	}
	r.size[account] = size
	return dropped, nil
}

// dropOldest makes room in an account that has more than it may, and some more, so
// that it need not with each record that comes.
func (r *RejectedRecords) dropOldest(tx *sql.Tx, account string, size *rejectedSize) (dropped int64, err error) {
	rows, err := tx.Query("SELECT id, length(record) FROM rejected_records WHERE account = ? ORDER BY id", account)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	last := ""
	for (size.records > r.MostRecords-r.MostRecords/100 || size.bytes > r.MostBytes-r.MostBytes/100) && rows.Next() {
		var bytes int64
		if err := rows.Scan(&last, &bytes); err != nil {
			return 0, err
		}
		size.records--
		size.bytes -= bytes
		dropped++
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, err
	}
	_, err = tx.Exec("DELETE FROM rejected_records WHERE account = ? AND id <= ?", account, last)
	return dropped, err
}

// List is ingest.RejectedStore's.
func (r *RejectedRecords) List(ctx context.Context, account, before string, limit int) ([]ingest.Rejected, error) {
	rows, err := r.DB.read.QueryContext(ctx, `SELECT id, region, door, received, reason, length(record) FROM rejected_records
		WHERE account = ? AND id < ? ORDER BY id DESC LIMIT ?`, account, cmp.Or(before, "~"), limit) // no id reaches "~"
	if err != nil {
		return nil, fmt.Errorf("list rejected records: %w", err)
	}
	defer rows.Close()
	var all []ingest.Rejected
	for rows.Next() {
		one := ingest.Rejected{Source: events.Source{Account: account}}
		var received int64
		if err := rows.Scan(&one.ID, &one.Region, &one.Door, &received, &one.Reason, &one.Bytes); err != nil {
			return nil, fmt.Errorf("list rejected records: %w", err)
		}
		one.Received = fromMillis(received)
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list rejected records: %w", err)
	}
	return all, nil
}

// Get is ingest.RejectedStore's.
func (r *RejectedRecords) Get(ctx context.Context, account, id string) (ingest.Rejected, error) {
	one := ingest.Rejected{ID: id, Source: events.Source{Account: account}}
	var received int64
	err := r.DB.read.QueryRowContext(ctx, "SELECT region, door, received, reason, record FROM rejected_records WHERE id = ? AND account = ?", id, account).
		Scan(&one.Region, &one.Door, &received, &one.Reason, &one.Record)
	if errors.Is(err, sql.ErrNoRows) {
		return ingest.Rejected{}, ingest.ErrNoRejected
	}
	if err != nil {
		return ingest.Rejected{}, fmt.Errorf("read a rejected record: %w", err)
	}
	one.Received, one.Bytes = fromMillis(received), int64(len(one.Record))
	return one, nil
}

// Delete is ingest.RejectedStore's.
func (r *RejectedRecords) Delete(ctx context.Context, account string, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	var gone rejectedSize
	err = r.DB.tx(ctx, func(tx *sql.Tx) error {
		const those = " FROM rejected_records WHERE id IN (SELECT value FROM json_each(?)) AND account = ?"
		err := tx.QueryRow("SELECT count(*), coalesce(sum(length(record)), 0)"+those, string(list), account).Scan(&gone.records, &gone.bytes)
		if err != nil {
			return err
		}
		_, err = tx.Exec("DELETE"+those, string(list), account)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove rejected records: %w", err)
	}
	if size, known := r.size[account]; known {
		r.size[account] = rejectedSize{size.records - gone.records, size.bytes - gone.bytes}
	}
	return nil
}
