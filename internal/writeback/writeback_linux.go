// Package writeback gets files onto the disk: it has the kernel write a file while it
// is still being made, so that the sync at its end is short, and syncs folders.
//
// It imports nothing of Sesame.
package writeback

import (
	"os"

	"golang.org/x/sys/unix"
)

// Start has the kernel begin to write n bytes of the file from at on to the disk. It
// is for speed only, so its error does not matter: the sync at the end tells.
func Start(f *os.File, at, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), at, n, unix.SYNC_FILE_RANGE_WRITE)
}

// Forget has the kernel take the first n bytes of the file out of memory, as far as
// they are on the disk already. It is for speed only, like Start.
func Forget(f *os.File, n int64) {
	if n > 0 { // to the kernel, 0 is all
		_ = unix.Fadvise(int(f.Fd()), 0, n, unix.FADV_DONTNEED)
	}
}
