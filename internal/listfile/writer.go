package listfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"

	"sesame/internal/address"
)

const (
	writeSize     = 1 << 20 // bytes a write
	writeBackSize = 8 << 20 // bytes after which the disk is set to work
)

var errClosed = errors.New("listfile: the writer is closed")

// Writer makes a file. It is for one goroutine. Besides the filters it takes
// little memory, however many rows there are.
type Writer struct {
	f     *os.File
	path  string
	ended bool  // the file is complete or removed
	err   error // what every later call gives

	out     []byte // what is still to be written; it ends with the leaf
	leaf    int    // where the leaf starts in out
	written int64  // bytes written to the file
	started int64  // bytes whose write-back has been started

	last    []byte // key of the last row
	created int64  // of the last row of the leaf, or base
	base    int64
	rows    int      // in the leaf
	leaves  children // those before

	exact, patterns filling
	sum             Summary
}

// children are leaves or index blocks of one level, packed: where it is, as
// uint64, the length of the separator, as uint16, and the separator.
type children []byte

func (c *children) add(at int64, separator []byte) {
	*c = binary.LittleEndian.AppendUint64(*c, uint64(at))
	*c = binary.LittleEndian.AppendUint16(*c, uint16(len(separator)))
	*c = append(*c, separator...)
}

func (c *children) next() (at uint64, separator []byte) {
	b := *c
	end := 10 + int(binary.LittleEndian.Uint16(b[8:]))
	*c = b[end:]
	return binary.LittleEndian.Uint64(b), b[10:end]
}

// Create makes a new file for this writer alone. The error is that it is there
// already, or could not be made. Nothing is durable before Close.
func Create(path string, b Bounds) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("listfile: create: %w", err)
	}
	w := &Writer{
		f:        f,
		path:     path,
		out:      make([]byte, 0, writeSize+64<<10),
		exact:    newFilling(b.Exact),
		patterns: newFilling(b.Patterns),
	}
	w.out = append(w.out, magic...)
	w.out = binary.LittleEndian.AppendUint32(w.out, version)
	w.out = binary.LittleEndian.AppendUint32(w.out, 0)
	return w, nil
}

// Add adds a row, and copies what it needs of it. hash is the hash of the key
// that MayHold will be asked for, kind has exactly one bit. The error is a key
// that is not greater than the last, a key or shown form of more than 512
// bytes, or a failed write; after any of them every later call gives it, so
// that no file can come to be that lacks a row.
func (w *Writer) Add(r Row, hash uint64, kind address.Kinds) error {
	if w.err != nil {
		return w.err
	}
	if len(r.Key) > maxLength || len(r.Shown) > maxLength {
		return w.fail(fmt.Errorf("listfile: a key of %d bytes and a shown form of %d: the limit is %d", len(r.Key), len(r.Shown), maxLength))
	}
	shared := commonPrefix(w.last, r.Key)
	if w.sum.Rows > 0 && (shared == len(r.Key) || shared < len(w.last) && r.Key[shared] < w.last[shared]) {
		return w.fail(fmt.Errorf("listfile: the key %q comes after %q", r.Key, w.last))
	}
	w.last = append(w.last[:shared], r.Key[shared:]...)
	if w.rows == 0 {
		separator := r.Key[:0]
		if w.sum.Rows == 0 {
			w.base = r.Created
		} else {
			separator = r.Key[:shared+1]
		}
		w.leaves.add(w.written+int64(len(w.out)), separator)
		w.leaf = len(w.out)
		w.out = append(w.out, 0, 0) // its length will stand here
		w.created = w.base
		shared = 0
	}
	hasShown := uint64(0)
	if len(r.Shown) > 0 {
		hasShown = 1
	}
	out := binary.AppendUvarint(w.out, uint64(shared))
	out = binary.AppendUvarint(out, uint64(len(r.Key)-shared)<<1|hasShown)
	out = append(out, r.Key[shared:]...)
	out = binary.AppendUvarint(out, zigzag(r.Created-w.created))
	if hasShown == 1 {
		out = binary.AppendUvarint(out, uint64(len(r.Shown)))
		out = append(out, r.Shown...)
	}
	w.out = out
	w.created = r.Created

	if kind == address.Exact {
		w.exact.add(hash)
	} else {
		w.patterns.add(hash)
		w.sum.Patterns++
	}
	w.sum.Kinds |= kind
	w.sum.Rows++
	w.rows++
	if w.rows < leafRows {
		return nil
	}
	w.endLeaf()
	if len(w.out) < writeSize {
		return nil
	}
	if err := w.flush(); err != nil {
		return w.fail(fmt.Errorf("listfile: %w", err))
	}
	return nil
}

// fail makes err the answer of every later call.
func (w *Writer) fail(err error) error {
	w.err = err
	return err
}

// endLeaf ends the leaf.
func (w *Writer) endLeaf() {
	leaf := w.out[w.leaf:]
	binary.LittleEndian.PutUint16(leaf, uint16(len(leaf)+4))
	w.out = binary.LittleEndian.AppendUint32(w.out, crc32.Checksum(leaf, castagnoli))
	w.rows = 0
}

// flush writes out to the file. It is called between two leaves, as the length
// of a leaf is set at its end.
func (w *Writer) flush() error {
	err := w.write(w.out)
	w.out = w.out[:0]
	return err
}

func (w *Writer) write(b []byte) error {
	n, err := w.f.Write(b)
	w.written += int64(n)
	if n := w.written - w.started; n >= writeBackSize {
		startWriteBack(w.f, w.started, n)
		w.started = w.written
	}
	return err
}

// appendIndex appends the index blocks above the children to out, which will
// stand at a place of the file, and gives them as the children of the next level.
func appendIndex(out []byte, at int64, below children) (with []byte, above children) {
	var places []uint64
	var separators [][]byte
	for len(below) > 0 {
		places, separators = places[:0], separators[:0]
		for len(below) > 0 && len(places) < indexChildren {
			place, separator := below.next()
			places, separators = append(places, place), append(separators, separator)
		}
		first, last := separators[0], separators[len(separators)-1]
		above.add(at+int64(len(out)), first)
		prefix := commonPrefix(first, last) // and so of all between
		out = append(out, byte(len(places)))
		out = binary.LittleEndian.AppendUint16(out, uint16(prefix))
		out = binary.LittleEndian.AppendUint64(out, places[0])
		out = append(out, first[:prefix]...)
		for _, s := range separators {
			out = binary.LittleEndian.AppendUint64(out, head(s[prefix:]))
		}
		for _, p := range places {
			out = binary.LittleEndian.AppendUint32(out, uint32(p-places[0]))
		}
		end := 0
		for _, s := range separators {
			end += len(s) - prefix
			out = binary.LittleEndian.AppendUint16(out, uint16(end))
		}
		for _, s := range separators {
			out = append(out, s[prefix:]...)
		}
	}
	return out, above
}

// Close writes the rest, syncs, and closes the file. When it returns nil the
// content is durable; that the name is, is the caller's part. After an error
// the file is of no use, and Abandon removes it.
func (w *Writer) Close() (Summary, error) {
	if w.err != nil {
		return Summary{}, w.err
	}
	if err := w.finish(); err != nil {
		return Summary{}, w.fail(fmt.Errorf("listfile: %w", err))
	}
	w.sum.Size = w.written
	w.ended, w.err = true, errClosed
	return w.sum, nil
}

func (w *Writer) finish() error {
	if w.rows > 0 {
		w.endLeaf()
	}
	if err := w.flush(); err != nil {
		return err
	}
	indexAt := w.written
	root, height := uint64(0), 0
	for level := w.leaves; len(level) > 0; height++ {
		below := level
		if root, _ = level.next(); len(level) == 0 {
			break // an only child is the root
		}
		w.out, level = appendIndex(w.out, w.written, below)
	}
	indexEnd := w.written + int64(len(w.out))
	w.out = append(w.out, make([]byte, -indexEnd&(alignment-1))...)
	filtersAt := w.written + int64(len(w.out))
	tailSum := crc32.Checksum(w.out, castagnoli)
	if err := w.flush(); err != nil {
		return err
	}
	for _, f := range []*filling{&w.exact, &w.patterns} {
		f.settle()
		for part := range slices.Chunk(f.lines, writeBackSize) {
			tailSum = crc32.Update(tailSum, castagnoli, part)
			if err := w.write(part); err != nil {
				return err
			}
		}
	}
	foot := w.out
	for _, n := range []uint64{
		uint64(w.sum.Rows), uint64(w.sum.Patterns), uint64(w.base),
		root, uint64(indexAt), uint64(indexEnd),
		uint64(filtersAt), uint64(len(w.exact.lines) / lineSize), uint64(len(w.patterns.lines) / lineSize),
	} {
		foot = binary.LittleEndian.AppendUint64(foot, n)
	}
	for _, n := range []uint32{uint32(w.sum.Kinds), uint32(height), tailSum} {
		foot = binary.LittleEndian.AppendUint32(foot, n)
	}
	foot = binary.LittleEndian.AppendUint32(foot, crc32.Checksum(foot, castagnoli))
	if err := w.write(foot); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	return w.f.Close()
}

// Abandon closes and removes the file. After a Close that returned nil, or when
// called again, it does nothing. The error is that the file could not be
// removed.
func (w *Writer) Abandon() error {
	if w.ended {
		return nil
	}
	w.ended, w.err = true, errClosed
	w.f.Close() // again, if Close failed: then its error means nothing
	if err := os.Remove(w.path); err != nil {
		return fmt.Errorf("listfile: abandon: %w", err)
	}
	return nil
}
