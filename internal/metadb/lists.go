package metadb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"time"

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

const listColumns = "account, region, id, name, created, updated, tags"

func scanList(row interface{ Scan(...any) error }) (lists.List, error) {
	var l lists.List
	var created, updated int64
	var tags string
	err := row.Scan(&l.Owner.Account, &l.Owner.Region, &l.ID, &l.Name, &created, &updated, &tags)
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
	return db.lists(ctx, "account = ? AND region = ? AND id > ? ORDER BY id LIMIT ?", o.Account, o.Region, after, n)
}

func (db *DB) lists(ctx context.Context, where string, args ...any) ([]lists.List, error) {
	rows, err := db.read.QueryContext(ctx, "SELECT "+listColumns+" FROM lists WHERE "+where, args...)
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

// PurgeChanges is lists.Store's.
func (db *DB) PurgeChanges(ctx context.Context, limit int) (more bool, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		// One list at a time: a deleted one, or one whose file has some of its changes.
		var n, upTo int64
		err := tx.QueryRow(`SELECT n, ? FROM deleted_lists UNION ALL
			SELECT n, folded FROM lists WHERE EXISTS (SELECT 1 FROM changes WHERE list = n AND seq <= folded) LIMIT 1`, math.MaxInt64).Scan(&n, &upTo)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		more = true
		done, err := tx.Exec("DELETE FROM changes WHERE list = ?1 AND seq IN (SELECT seq FROM changes WHERE list = ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3)", n, upTo, limit)
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

// Place is lists.Store's.
func (db *DB) Place(ctx context.Context, o lists.Owner, id string) (p lists.Place, err error) {
	err = db.read.QueryRowContext(ctx, "SELECT n, file, folded, members FROM lists WHERE account = ? AND region = ? AND id = ?",
		o.Account, o.Region, id).Scan(&p.N, &p.File, &p.Folded, &p.Members)
	if errors.Is(err, sql.ErrNoRows) {
		err = lists.ErrNotFound
	}
	return p, err
}

// Changes is lists.Store's.
func (db *DB) Changes(ctx context.Context, n, after int64) ([]lists.Change, error) {
	rows, err := db.read.QueryContext(ctx, "SELECT seq, key, shown, created, removed FROM changes WHERE list = ? AND seq > ? ORDER BY seq", n, after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []lists.Change
	for rows.Next() {
		var c lists.Change
		var created int64
		if err := rows.Scan(&c.Seq, &c.Key, &c.Shown, &created, &c.Removed); err != nil {
			return nil, err
		}
		c.Created = fromMillis(created)
		found = append(found, c)
	}
	return found, rows.Err()
}

// AddChange is lists.Store's.
func (db *DB) AddChange(ctx context.Context, n int64, c lists.Change, members int64, now time.Time) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		done, err := tx.Exec("UPDATE lists SET members = ?, updated = ? WHERE n = ?", members, millis(now), n)
		if err != nil {
			return err
		}
		if rows, err := done.RowsAffected(); err != nil || rows == 0 {
			return errors.Join(err, lists.ErrNotFound)
		}
		_, err = tx.Exec("INSERT INTO changes (list, seq, key, shown, created, removed) VALUES (?, ?, ?, ?, ?, ?)",
			n, c.Seq, c.Key, c.Shown, millis(c.Created), c.Removed)
		return err
	})
}

// Move is lists.Store's.
func (db *DB) Move(ctx context.Context, m lists.Move) error {
	return db.tx(ctx, func(tx *sql.Tx) error { return move(tx, m) })
}

func move(tx *sql.Tx, m lists.Move) error {
	done, err := tx.Exec("UPDATE lists SET file = ?, folded = ?, members = ?, updated = max(updated, ?) WHERE n = ? AND file = ?",
		m.To, m.Folded, m.Members, millis(m.Now), m.List, m.From)
	if err != nil {
		return err
	}
	if rows, err := done.RowsAffected(); err != nil || rows == 1 {
		return err
	}
	var there bool
	if err := tx.QueryRow("SELECT count(*) FROM lists WHERE n = ?", m.List).Scan(&there); err != nil {
		return err
	}
	if !there {
		return lists.ErrNotFound
	}
	return lists.ErrMoved
}

// LongLists is lists.Store's.
func (db *DB) LongLists(ctx context.Context, n int64) ([]lists.List, error) {
	return db.lists(ctx, "coalesce((SELECT max(seq) FROM changes WHERE list = lists.n), 0) - folded > ?", n)
}

// Files is lists.Store's.
func (db *DB) Files(ctx context.Context) ([]string, error) {
	rows, err := db.read.QueryContext(ctx, "SELECT file FROM lists WHERE file <> ''")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		found = append(found, name)
	}
	return found, rows.Err()
}
