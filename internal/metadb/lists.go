package metadb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"sesame/internal/address"
	"sesame/internal/lists"
)

// CreateList is lists.Store's.
func (db *DB) CreateList(ctx context.Context, l lists.List, token lists.ClientToken, limit int) (id string, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		first, made, err := tokenAnswer(tx, l.Owner, "CreateAddressList", token)
		if err != nil {
			return err
		}
		if !made.IsZero() {
			id = first
			return nil
		}
		var have int
		var taken bool
		err = tx.QueryRow("SELECT count(*), coalesce(max(name = ?), 0) FROM lists WHERE account = ? AND region = ?",
			l.Name, l.Owner.Account, l.Owner.Region).Scan(&have, &taken)
		if err != nil {
			return err
		}
		if taken {
			return lists.ErrNameTaken
		}
		if have >= limit {
			return lists.ErrTooManyLists
		}
		tags, err := json.Marshal(l.Tags)
		if err != nil {
			return err
		}
		_, err = tx.Exec("INSERT INTO lists (account, region, id, name, created, updated, tags) VALUES (?, ?, ?, ?, ?, ?, ?)",
			l.Owner.Account, l.Owner.Region, l.ID, l.Name, millis(l.Created), millis(l.Updated), string(tags))
		if err != nil {
			return err
		}
		id = l.ID
		return keepToken(tx, l.Owner, "CreateAddressList", token, id, l.Created)
	})
	return id, err
}

const listColumns = "account, region, id, name, created, updated, tags, members, kinds"

func scanList(row interface{ Scan(...any) error }) (lists.List, error) {
	var l lists.List
	var created, updated int64
	var tags string
	err := row.Scan(&l.Owner.Account, &l.Owner.Region, &l.ID, &l.Name, &created, &updated, &tags, &l.Members, &l.Kinds)
	if err != nil {
		return l, err
	}
	l.Created, l.Updated = fromMillis(created), fromMillis(updated)
	return l, json.Unmarshal([]byte(tags), &l.Tags)
}

// List is lists.Store's.
func (db *DB) List(ctx context.Context, o lists.Owner, id string) (lists.List, error) {
	l, err := scanList(db.read.QueryRowContext(ctx,
		"SELECT "+listColumns+" FROM lists WHERE account = ? AND region = ? AND id = ?", o.Account, o.Region, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = lists.ErrNotFound
	}
	return l, err
}

// Lists is lists.Store's.
func (db *DB) Lists(ctx context.Context, o lists.Owner, after string, n int) ([]lists.List, error) {
	rows, err := db.read.QueryContext(ctx,
		"SELECT "+listColumns+" FROM lists WHERE account = ? AND region = ? AND id > ? ORDER BY id LIMIT ?", o.Account, o.Region, after, n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []lists.List
	for rows.Next() {
		l, err := scanList(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, l)
	}
	return found, rows.Err()
}

// listNumber gives the n of a list.
func listNumber(ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, o lists.Owner, id string) (n int64, err error) {
	err = q.QueryRowContext(ctx, "SELECT n FROM lists WHERE account = ? AND region = ? AND id = ?", o.Account, o.Region, id).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		err = lists.ErrNotFound
	}
	return n, err
}

// DeleteList is lists.Store's.
func (db *DB) DeleteList(ctx context.Context, o lists.Owner, id string) (objects []string, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		n, err := listNumber(ctx, tx, o, id)
		if errors.Is(err, lists.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		rows, err := tx.Query("DELETE FROM import_jobs WHERE list = ? RETURNING object, refused_object, status", n)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var object, refused, status string
			if err := rows.Scan(&object, &refused, &status); err != nil {
				return err
			}
			if status == "PROCESSING" {
				return lists.ErrImportRunning
			}
			for _, key := range []string{object, refused} {
				if key != "" {
					objects = append(objects, key)
				}
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if _, err := tx.Exec("DELETE FROM lists WHERE n = ?", n); err != nil {
			return err
		}
		_, err = tx.Exec("INSERT INTO deleted_lists (n) VALUES (?)", n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return objects, nil
}

// PurgeMembers is lists.Store's.
func (db *DB) PurgeMembers(ctx context.Context, limit int) (more bool, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		var n int64
		err := tx.QueryRow("SELECT n FROM deleted_lists LIMIT 1").Scan(&n)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		more = true
		done, err := tx.Exec("DELETE FROM members WHERE list = ?1 AND key IN (SELECT key FROM members WHERE list = ?1 LIMIT ?2)", n, limit)
		if err != nil {
			return err
		}
		if gone, err := done.RowsAffected(); err != nil || gone > 0 {
			return err
		}
		_, err = tx.Exec("DELETE FROM deleted_lists WHERE n = ?", n)
		return err
	})
	return more, err
}

// SetTags is lists.Store's.
func (db *DB) SetTags(ctx context.Context, o lists.Owner, id string, set map[string]string, unset []string, limit int, now time.Time) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		l, err := scanList(tx.QueryRow("SELECT "+listColumns+" FROM lists WHERE account = ? AND region = ? AND id = ?", o.Account, o.Region, id))
		if errors.Is(err, sql.ErrNoRows) {
			return lists.ErrNotFound
		}
		if err != nil {
			return err
		}
		tags := map[string]string{}
		maps.Copy(tags, l.Tags)
		maps.Copy(tags, set)
		for _, key := range unset {
			delete(tags, key)
		}
		if len(tags) > limit {
			return lists.ErrTooManyTags
		}
		if maps.Equal(tags, l.Tags) {
			return nil
		}
		text, err := json.Marshal(tags)
		if err != nil {
			return err
		}
		_, err = tx.Exec("UPDATE lists SET tags = ?, updated = ? WHERE id = ?", string(text), millis(now), id)
		return err
	})
}

// AddMember is lists.Store's.
func (db *DB) AddMember(ctx context.Context, o lists.Owner, id string, e address.Entry, limit int64, now time.Time) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		n, err := listNumber(ctx, tx, o, id)
		if err != nil {
			return err
		}
		added, err := tx.Exec("INSERT INTO members (list, key, shown, created) VALUES (?, ?, nullif(?, ?2), ?) ON CONFLICT DO NOTHING",
			n, string(e.Key), string(e.Shown), millis(now))
		if err != nil {
			return err
		}
		if rows, err := added.RowsAffected(); err != nil || rows == 0 {
			return err
		}
		var have int64
		err = tx.QueryRow(`UPDATE lists SET members = members + 1, kinds = kinds | ?, updated = ? WHERE n = ?3
			RETURNING members + (SELECT coalesce(sum(reserved), 0) FROM import_jobs WHERE list = ?3 AND status = 'PROCESSING')`,
			int64(e.Kind), millis(now), n).Scan(&have)
		if err == nil && have > limit {
			err = lists.ErrListFull
		}
		return err
	})
}

// RemoveMember is lists.Store's.
func (db *DB) RemoveMember(ctx context.Context, o lists.Owner, id, key string, now time.Time) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		n, err := listNumber(ctx, tx, o, id)
		if err != nil {
			return err
		}
		removed, err := tx.Exec("DELETE FROM members WHERE list = ? AND key = ?", n, key)
		if err != nil {
			return err
		}
		if rows, err := removed.RowsAffected(); err != nil || rows == 0 {
			return err
		}
		_, err = tx.Exec("UPDATE lists SET members = members - 1, updated = ? WHERE n = ?", millis(now), n)
		return err
	})
}

// Members is lists.Store's.
func (db *DB) Members(ctx context.Context, o lists.Owner, id, prefix, after string, limit int) ([]lists.Member, error) {
	n, err := listNumber(ctx, db.read, o, id)
	if err != nil {
		return nil, err
	}
	// One lower bound, for of two SQLite would search by the first and filter by the
	// other. No text that starts with prefix is greater than prefix and the last
	// code point.
	from, bound := "key > ?", after
	if prefix > after {
		from, bound = "key >= ?", prefix
	}
	rows, err := db.read.QueryContext(ctx,
		"SELECT key, coalesce(shown, key), created FROM members WHERE list = ? AND "+from+" AND key < ? || char(0x10ffff) ORDER BY key LIMIT ?",
		n, bound, prefix, limit)
	return scanMembers(rows, err)
}

// FindMembers is lists.Store's.
func (db *DB) FindMembers(ctx context.Context, o lists.Owner, id string, keys []string) ([]lists.Member, error) {
	n, err := listNumber(ctx, db.read, o, id)
	if err != nil {
		return nil, err
	}
	set, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	rows, err := db.findMembers.QueryContext(ctx, n, string(set))
	return scanMembers(rows, err)
}

func scanMembers(rows *sql.Rows, err error) ([]lists.Member, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var members []lists.Member
	for rows.Next() {
		var m lists.Member
		var created int64
		if err := rows.Scan(&m.Key, &m.Address, &created); err != nil {
			return nil, err
		}
		m.Created = fromMillis(created)
		members = append(members, m)
	}
	return members, rows.Err()
}
