package listfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteBack has the kernel begin to write a part of the file to the disk.
// It is for speed only, so its error does not matter: the sync at the end tells.
func startWriteBack(f *os.File, at, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), at, n, unix.SYNC_FILE_RANGE_WRITE)
}
