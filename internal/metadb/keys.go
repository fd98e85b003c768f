package metadb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"sesame/internal/iam"
	"sesame/internal/keyfile"
)

// ErrNoKey is what AccessKeys gives for an access key that is not there.
var ErrNoKey = errors.New("no such access key")

// AccessKeys keeps access keys, their secrets sealed under the key file.
type AccessKeys struct {
	DB   *DB
	File *keyfile.Key
}

const sealAccessKey = "access key secret"

// Add keeps a key. It is durable when Add returns nil. An id that is there
// already is an error.
func (a AccessKeys) Add(ctx context.Context, k iam.Key) error {
	sealed := a.File.Seal(sealAccessKey, []byte(k.Secret), []byte(k.ID))
	_, err := a.DB.write.ExecContext(ctx, "INSERT INTO access_keys (id, account, name, secret, policy, disabled, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
		k.ID, k.Account, k.Name, sealed, k.Policy, k.Disabled, millis(k.Created))
	return err
}

const keyColumns = "id, account, name, secret, policy, disabled, created"

func (a AccessKeys) scan(row interface{ Scan(...any) error }) (iam.Key, error) {
	var k iam.Key
	var sealed []byte
	var created int64
	if err := row.Scan(&k.ID, &k.Account, &k.Name, &sealed, &k.Policy, &k.Disabled, &created); err != nil {
		return iam.Key{}, err
	}
	secret, err := a.File.Unseal(sealAccessKey, sealed, []byte(k.ID))
	if err != nil {
		return iam.Key{}, fmt.Errorf("the secret of access key %s was not sealed under this key file: put back the secret.key that belongs to the data folder", k.ID)
	}
	k.Secret, k.Created = string(secret), fromMillis(created)
	return k, nil
}

// Find gives a key, disabled or not. ErrNoKey.
func (a AccessKeys) Find(ctx context.Context, id string) (iam.Key, error) {
	k, err := a.scan(a.DB.read.QueryRowContext(ctx, "SELECT "+keyColumns+" FROM access_keys WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNoKey
	}
	return k, err
}

// All gives the keys of an account, or of every account when it is "", in order
// of creation.
func (a AccessKeys) All(ctx context.Context, account string) ([]iam.Key, error) {
	rows, err := a.DB.read.QueryContext(ctx, "SELECT "+keyColumns+" FROM access_keys WHERE ?1 = '' OR account = ?1 ORDER BY created, id", account)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var keys []iam.Key
	for rows.Next() {
		k, err := a.scan(rows)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

// Disable makes a key useless from the next request on. ErrNoKey.
func (a AccessKeys) Disable(ctx context.Context, id string) error {
	return a.change(ctx, "UPDATE access_keys SET disabled = 1 WHERE id = ?", id)
}

// Delete removes a key. ErrNoKey.
func (a AccessKeys) Delete(ctx context.Context, id string) error {
	return a.change(ctx, "DELETE FROM access_keys WHERE id = ?", id)
}

func (a AccessKeys) change(ctx context.Context, statement, id string) error {
	done, err := a.DB.write.ExecContext(ctx, statement, id)
	if err != nil {
		return err
	}
	if rows, err := done.RowsAffected(); err != nil || rows == 1 {
		return err
	}
	return ErrNoKey
}
