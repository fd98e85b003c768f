package metadb

import (
	"context"
	"database/sql"
	"errors"
)

// VDM gives an account's Virtual Deliverability Manager attributes in a region, in
// the form that PutVDM was given them; "" when it never was.
func (db *DB) VDM(ctx context.Context, account, region string) (attributes string, err error) {
	err = db.read.QueryRowContext(ctx, "SELECT vdm FROM account_settings WHERE account = ? AND region = ?", account, region).Scan(&attributes)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return attributes, err
}

// PutVDM keeps an account's Virtual Deliverability Manager attributes in a region,
// JSON, in place of those before. They are durable when it returns nil.
func (db *DB) PutVDM(ctx context.Context, account, region, attributes string) error {
	_, err := db.write.ExecContext(ctx, "INSERT INTO account_settings (account, region, vdm) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET vdm = excluded.vdm",
		account, region, attributes)
	return err
}
