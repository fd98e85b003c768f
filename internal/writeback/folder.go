package writeback

import (
	"errors"
	"os"
)

// SyncFolder makes the names in the folder at path durable: those of files that were
// made, renamed or removed. The files' bytes are not its business.
func SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
