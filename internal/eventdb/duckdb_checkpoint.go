package eventdb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sesame/internal/writeback"
)

// checkpointer does checkpoints: it has DuckDB write what is in its log in its place.
//
// What DuckDB writes then goes to free places, and it changes to it with a page of the
// file's head. But blocks of metadata that have room left are added to and written
// again where they are. A process that is killed within leaves such a block half old
// and half new, and DuckDB then says of the store that it is corrupt and does not open
// it. So what a checkpoint may write over is first kept in a file beside the store, and
// Open puts it back when the checkpoint did not get as far as the head. No checkpoint
// may happen but here.
type checkpointer struct {
	logPath string
	logSize int64 // of a log that is due
	undo    *os.File
	data    *os.File              // of the store
	failed  atomic.Pointer[error] // why the last checkpoint did

	using  sync.Mutex // held for a checkpoint; guards what follows
	reader *reader
	saved  bool // what the next one may write over is kept
}

const (
	// headSize and blockSize are DuckDB's: three pages that tell which blocks count, and
	// behind them the blocks, which are counted from 0.
	headSize, blockSize = 3 * 4096, 256 << 10
	undoSuffix          = ".undo"
)

// newCheckpointer makes what does the checkpoints of the store that is open at path. It
// is to be closed, also when there is an error.
func newCheckpointer(path string, settings url.Values, logSize int64) (c *checkpointer, err error) {
	c = &checkpointer{logPath: path + ".wal", logSize: logSize}
	if c.reader, err = newReader(path, settings); err != nil {
		return c, err
	}
	if c.data, err = os.Open(path); err != nil {
		return c, err
	}
	if c.undo, err = os.OpenFile(path+undoSuffix, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return c, err
	}
	return c, writeback.SyncFolder(filepath.Dir(path))
}

// close must come after DuckDB has closed the store: when a process closes a file, it
// loses its locks of it, by whatever descriptor it has them.
func (c *checkpointer) close() {
	if c.reader != nil {
		c.reader.close()
	}
	if c.data != nil {
		_ = c.data.Close()
	}
	if c.undo != nil {
		_ = c.undo.Close()
	}
}

// due says whether the log is large enough for a checkpoint, or the last one failed.
func (c *checkpointer) due() bool {
	if c.err() != nil {
		return true
	}
	info, err := os.Stat(c.logPath)
	return err == nil && info.Size() >= c.logSize
}

// end does the last checkpoint, so that opening has nothing to read. Nobody may use the
// store any more.
func (c *checkpointer) end() error {
	if info, err := os.Stat(c.logPath); err == nil && info.Size() > 0 {
		if err := c.run(); err != nil {
			return err
		}
	}
	if c.saved {
		return nil
	}
	return os.Remove(c.undo.Name())
}

// run does a checkpoint, after one that is done just now, unless others change tables.
// Nothing is lost by that or by an error: what is in the log stays there for the next.
func (c *checkpointer) run() error {
	c.using.Lock()
	defer c.using.Unlock()
	return c.runLocked()
}

// runIfDue is run when a checkpoint is due and none is done just now.
func (c *checkpointer) runIfDue() {
	if c.due() && c.using.TryLock() {
		defer c.using.Unlock()
		_ = c.runLocked() // err tells; what was to be written is in the log
	}
}

func (c *checkpointer) runLocked() error {
	err := c.checkpoint()
	if errors.Is(err, errOthersWrite) {
		return nil
	}
	if err == nil {
		c.failed.Store(nil)
		return nil
	}
	err = fmt.Errorf("write the log of events in its place: %w%s", err, advice(err))
	c.failed.Store(&err)
	return err
}

var errOthersWrite = errors.New("others change tables just now")

func (c *checkpointer) checkpoint() error {
	if !c.saved {
		if err := c.save(); err != nil {
			return err
		}
		c.saved = true
	}
	err := c.reader.read(context.Background(), "CHECKPOINT", nil, func(rows) error { return nil })
	if err != nil {
		if strings.Contains(err.Error(), "other write transactions") {
			return errOthersWrite
		}
		return err // DuckDB does nothing any more until the store is opened again
	}
	c.saved = false
	return c.undo.Truncate(0)
}

// err gives why the last checkpoint failed.
func (c *checkpointer) err() error {
	if err := c.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// save keeps what a checkpoint may write over: the head, each block of metadata behind
// its place in the file, and a sum of it all. It is on the disk then.
func (c *checkpointer) save() error {
	var blocks []int64
	err := c.reader.read(context.Background(), "SELECT block_id::BIGINT FROM pragma_metadata_info()", nil, func(r rows) error {
		blocks = append(blocks, column[int64](r, 0)...)
		return nil
	})
	if err == nil {
		err = c.undo.Truncate(0)
	}
	if err == nil {
		_, err = c.undo.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	sum := sha256.New()
	w := io.MultiWriter(c.undo, sum)
	if _, err := io.Copy(w, io.NewSectionReader(c.data, 0, headSize)); err != nil {
		return err
	}
	block := make([]byte, undoBlock)
	for _, id := range blocks {
		at := headSize + id*blockSize
		binary.LittleEndian.PutUint64(block, uint64(at))
		_, err := c.data.ReadAt(block[8:], at)
		if err == io.EOF {
			continue // it has not been written yet
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(block); err != nil {
			return err
		}
	}
	if _, err := c.undo.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return c.undo.Sync()
}

// undoBlock is how many bytes a block takes in the file of what is kept.
const undoBlock = 8 + blockSize

var errOpenElsewhere = errors.New("another process has it open; end that one first")

// mend mends the store at path, which must not be open, after a process was killed. It
// puts back what a checkpoint wrote over, and removes what was not made yet and DuckDB
// does not read: a store without its head, and the log of what was committed while a
// checkpoint went on, without its own.
func mend(path string) error {
	data, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer data.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK} // DuckDB's own
	if err := unix.FcntlFlock(data.Fd(), unix.F_SETLK, &lock); errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errOpenElsewhere
	} else if err != nil {
		return err
	}
	var head [headSize]byte
	if n, err := data.ReadAt(head[:], 0); err == io.EOF {
		if isHalfMade(path, head[:n]) {
			return os.Remove(path)
		}
		return nil
	} else if err != nil {
		return err
	}
	begun, err := isBegun(path + laterLogSuffix)
	if err == nil && begun {
		err = os.Remove(path + laterLogSuffix)
	}
	if err != nil {
		return err
	}
	undo, err := os.Open(path + undoSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer undo.Close()
	return putBack(data, undo, head[:])
}

const (
	// laterLogSuffix is of the log that DuckDB writes while it does a checkpoint.
	laterLogSuffix = ".wal.checkpoint"
	// leastLog is how many bytes a log has before a transaction's end can be in it.
	leastLog = 56
)

// isBegun says whether there is a log at path that has nothing in it yet: it is too
// short, or its beginning is not on the disk.
func isBegun(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	var first [leastLog]byte
	if _, err := io.ReadFull(f, first[:]); err == io.EOF || err == io.ErrUnexpectedEOF {
		return true, nil
	} else if err != nil {
		return false, err
	}
	return first == [leastLog]byte{}, nil
}

// isHalfMade says whether what is at path, which has so much of a head, is a store
// whose making was cut off: nothing is in it, and as it was never open nothing is
// beside it.
func isHalfMade(path string, head []byte) bool {
	for _, suffix := range [...]string{".wal", laterLogSuffix, undoSuffix} {
		if _, err := os.Lstat(path + suffix); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular() && len(head)%4096 == 0 && (len(head) == 0 || string(head[8:12]) == "DUCK")
}

// putBack writes what is kept in undo to its place in data, if it is whole and of this
// head: a checkpoint that was not begun leaves it in part, and one that came to its end
// has changed the head.
func putBack(data, undo *os.File, head []byte) error {
	info, err := undo.Stat()
	if err != nil {
		return err
	}
	size := info.Size() - sha256.Size
	if size < headSize || (size-headSize)%undoBlock != 0 {
		return nil
	}
	sum, kept := sha256.New(), make([]byte, headSize)
	if _, err := io.Copy(sum, io.NewSectionReader(undo, 0, size)); err != nil {
		return err
	}
	if _, err := undo.ReadAt(kept, 0); err != nil {
		return err
	}
	want := make([]byte, sha256.Size)
	if _, err := undo.ReadAt(want, size); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), want) || !bytes.Equal(kept, head) {
		return nil
	}
	block := make([]byte, undoBlock)
	for at := int64(headSize); at < size; at += undoBlock {
		if _, err := undo.ReadAt(block, at); err != nil {
			return err
		}
		if _, err := data.WriteAt(block[8:], int64(binary.LittleEndian.Uint64(block))); err != nil {
			return err
		}
	}
	return data.Sync()
}
