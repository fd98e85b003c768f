package listfile

import (
	"bytes"
	"io"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	// A walk that has come so many leaves far is taken for a long one, and the
	// kernel is told to read ahead so many bytes.
	longWalk  = 16
	readAhead = 2 << 20
)

// Cursor gives rows in order. It is for one goroutine; several cursors may walk
// a File at once.
type Cursor struct {
	f       *File
	leaf    []byte // the rows of the leaf that is being read
	i       int    // where the next row stands in it
	next    uint64 // where the next leaf is
	leaves  int    // how many were read
	advised uint64 // where the part ends that is being read ahead

	key, shown []byte // of the row that was read last
	created    int64
	buffer     []byte // for shown
	waiting    bool   // that row has still to be given
	err        error
}

// Walk gives a cursor on the rows whose key is not less than from, or greater
// than from if after is true.
func (f *File) Walk(from []byte, after bool) *Cursor {
	c := &Cursor{f: f}
	c.next, c.err = f.leafOf(from)
	for c.err == nil && !c.waiting {
		if c.err = c.step(); c.err == nil {
			order := bytes.Compare(c.key, from)
			c.waiting = order > 0 || order == 0 && !after
		}
	}
	runtime.KeepAlive(f)
	return c
}

// Next gives the next row, whose slices are valid until the next call. The error
// is io.EOF after the last row, or ErrDamaged, and every later call gives it
// again.
func (c *Cursor) Next() (Row, error) {
	if c.waiting {
		c.waiting = false
	} else if c.err == nil {
		c.err = c.step()
		runtime.KeepAlive(c.f)
	}
	if c.err != nil {
		return Row{}, c.err
	}
	return Row{Key: c.key, Shown: c.shown, Created: c.created}, nil
}

// step reads the next row.
func (c *Cursor) step() error {
	for c.i == len(c.leaf) {
		if err := c.nextLeaf(); err != nil {
			return err
		}
	}
	shared, rest, created, shown, end := nextRow(c.leaf, c.i)
	if end < 0 || shared > uint64(len(c.key)) {
		return c.f.damaged("a row of the leaf that ends at %d", c.next)
	}
	c.i = end
	c.key = append(c.key[:shared], rest...)
	c.created += created
	c.shown = nil
	if shown != nil {
		c.buffer = append(c.buffer[:0], shown...)
		c.shown = c.buffer
	}
	return nil
}

// nextLeaf goes to the next leaf, or gives io.EOF.
func (c *Cursor) nextLeaf() error {
	f, at := c.f, c.next
	if at == f.leavesEnd {
		return io.EOF
	}
	c.leaves++
	if c.leaves > longWalk && c.advised <= at+readAhead/2 && c.advised < f.leavesEnd {
		from, to := max(at, c.advised), min(at+readAhead, f.leavesEnd)
		f.advise(from, to, unix.MADV_WILLNEED)
		c.advised = to
	}
	var err error
	if c.leaf, c.next, err = f.leaf(at); err != nil {
		return err
	}
	c.i, c.key, c.created = 0, c.key[:0], f.base
	return nil
}
