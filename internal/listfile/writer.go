package listfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"

	"sesame/internal/address"
	"sesame/internal/writeback"
)

const (
	writeSize     = 1 << 20 // bytes a write
	writeBackSize = 8 << 20 // bytes after which the disk is set to work
)

var errClosed = errors.New("listfile: the writer is closed")

// Writer makes a file. It is for one goroutine. It takes the memory of the
// filters, 2 bytes a row and at most 128 MiB each, and some megabytes beside.
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
	leaves  children // those that are in no index block yet
	blocks  children // those above leaves, with their places in index
	index   aside    // those blocks

	exact, patterns filling
	sum             Summary
}

// children are leaves or index blocks of one level, packed: where each is, as
// uint64, the length of its separator, as uint16, and the separator.
type children struct {
	packed []byte
	n      int
}

func (c *children) add(at int64, separator []byte) {
	c.packed = binary.LittleEndian.AppendUint64(c.packed, uint64(at))
	c.packed = binary.LittleEndian.AppendUint16(c.packed, uint16(len(separator)))
	c.packed = append(c.packed, separator...)
	c.n++
}

func (c *children) next() (at uint64, separator []byte) {
	end := 10 + int(binary.LittleEndian.Uint16(c.packed[8:]))
	at, separator = binary.LittleEndian.Uint64(c.packed), c.packed[10:end]
	c.packed = c.packed[end:]
	c.n--
	return at, separator
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
		index:    aside{path: path + ".index"},
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
		return w.fail(errors.New("listfile: a key comes after one that is not smaller"))
	}
	w.last = append(w.last[:shared], r.Key[shared:]...)
	if w.rows == 0 {
		separator := r.Key[:0]
		if w.sum.Rows == 0 {
			w.base = r.Created
		} else {
			separator = r.Key[:shared+1]
		}
		if w.leaves.n == indexChildren {
			if err := w.endBlock(); err != nil {
				return w.fail(fmt.Errorf("listfile: %w", err))
			}
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
		writeback.Start(w.f, w.started, n)
		w.started = w.written
	}
	return err
}

// endBlock puts the leaves that are in no block yet into one.
func (w *Writer) endBlock() error {
	packed := w.leaves.packed
	at := w.index.size
	block, first := appendBlock(nil, &w.leaves, 0)
	w.blocks.add(at, first)
	w.leaves.packed = packed[:0]
	return w.index.write(block)
}

// appendBlock takes up to indexChildren children, whose places count from from,
// appends the index block above them to out, and gives its separator.
func appendBlock(out []byte, below *children, from uint64) (with, separator []byte) {
	var places [indexChildren]uint64
	var separators [indexChildren][]byte
	n := min(below.n, indexChildren)
	for i := range n {
		places[i], separators[i] = below.next()
		places[i] += from
	}
	first, last := separators[0], separators[n-1]
	prefix := commonPrefix(first, last) // and so of all between
	out = append(out, byte(n))
	out = binary.LittleEndian.AppendUint16(out, uint16(prefix))
	out = binary.LittleEndian.AppendUint64(out, places[0])
	out = append(out, first[:prefix]...)
	for _, s := range separators[:n] {
		out = binary.LittleEndian.AppendUint64(out, head(s[prefix:]))
	}
	for _, p := range places[:n] {
		out = binary.LittleEndian.AppendUint32(out, uint32(p-places[0]))
	}
	end := 0
	for _, s := range separators[:n] {
		end += len(s) - prefix
		out = binary.LittleEndian.AppendUint16(out, uint16(end))
	}
	for _, s := range separators[:n] {
		out = append(out, s[prefix:]...)
	}
	return out, first
}

// writeIndex writes the index behind the leaves, and gives where its root is and
// how many levels it has. sum becomes the checksum of what it writes.
func (w *Writer) writeIndex(sum *uint32) (root uint64, height int, err error) {
	if w.blocks.n == 0 && w.leaves.n <= 1 {
		if w.leaves.n == 1 {
			root, _ = w.leaves.next() // an only leaf is the root
		}
		return root, 0, nil
	}
	if err := w.endBlock(); err != nil {
		return 0, 0, err
	}
	at := w.written
	err = w.index.each(func(part []byte) error {
		*sum = crc32.Update(*sum, castagnoli, part)
		return w.write(part)
	})
	if err != nil {
		return 0, 0, err
	}
	// Those above are a thousandth as many, and are made here.
	level, from := w.blocks, uint64(at)
	for height = 1; level.n > 1; height++ {
		var above children
		for level.n > 0 {
			place := w.written + int64(len(w.out))
			var first []byte
			w.out, first = appendBlock(w.out, &level, from)
			above.add(place, first)
		}
		level, from = above, 0
	}
	root, _ = level.next()
	*sum = crc32.Update(*sum, castagnoli, w.out)
	return root + from, height, w.flush()
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
	w.index.close()
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
	tailSum := uint32(0)
	root, height, err := w.writeIndex(&tailSum)
	if err != nil {
		return err
	}
	indexEnd := w.written
	w.out = append(w.out, make([]byte, -indexEnd&(alignment-1))...)
	tailSum = crc32.Update(tailSum, castagnoli, w.out)
	if err := w.flush(); err != nil {
		return err
	}
	filtersAt := w.written
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
	w.index.close()
	w.f.Close() // again, if Close failed: then its error means nothing
	if err := os.Remove(w.path); err != nil {
		return fmt.Errorf("listfile: abandon: %w", err)
	}
	return nil
}

// aside is what is written later: in memory, and beyond writeSize in a file that
// has no name.
type aside struct {
	path string
	f    *os.File // nil for none
	buf  []byte
	size int64 // of all
}

func (a *aside) write(b []byte) error {
	a.size += int64(len(b))
	a.buf = append(a.buf, b...)
	if len(a.buf) < writeSize {
		return nil
	}
	if a.f == nil {
		f, err := os.OpenFile(a.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		a.f = f
		if err := os.Remove(a.path); err != nil {
			return err
		}
	}
	_, err := a.f.Write(a.buf)
	a.buf = a.buf[:0]
	return err
}

// each calls do with all of it, part by part.
func (a *aside) each(do func(part []byte) error) error {
	part := make([]byte, writeSize)
	for at := int64(0); at < a.size-int64(len(a.buf)); {
		n, err := a.f.ReadAt(part[:min(writeSize, a.size-int64(len(a.buf))-at)], at)
		if err == nil {
			err = do(part[:n])
		}
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return do(a.buf)
}

func (a *aside) close() {
	if a.f != nil {
		a.f.Close() // it was only for now: no error matters
		a.f = nil
	}
}
