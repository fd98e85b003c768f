package extsort

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// runs are the sorted runs of one sorter, each of distinct keys. They stand in
// the order in which their records were added.
//
// Runs lie in memory one behind another as long as there is room, and then in
// one file, also one behind another.
//
// A run is a row of records, each with the beginning left out that its key
// shares with the key before: the length of what is shared and twice the length
// of the rest, as uvarints; the rest; and, if the record has a value, which one
// added to the second length says, then its length, as a uvarint, and the value.
type runs struct {
	dir     string
	stop    func() error // Config.Stop, or one that never stops
	room    int          // bytes for runs in memory
	buffers int          // bytes for the buffers of a merge
	chunk   int          // bytes written at once, or a little more
	fanIn   int          // runs merged at once at most, two or more
	list    []run
	mem     []byte
	file    *os.File // nil if nothing was written
	spilled int64    // bytes written to the file
	buf     []byte   // what is to be written
	closed  bool
}

// run is one of them, in memory or in the file.
type run struct {
	mem      []byte
	file     *os.File // nil if it is in memory
	from, to int64    // where it lies in the file
}

const (
	maxFanIn    = 512       // bounds the buffers of a merge, and its depth
	leastBuffer = 4 << 10   // of one run in a file
	mostBuffer  = 256 << 10 // more reads no faster
)

func newRuns(cfg Config) *runs {
	stop := cfg.Stop
	if stop == nil {
		stop = func() error { return nil }
	}
	size := tableSize(cfg.Memory)
	buffers := maxTables*size - batches*batchMemory // the tables are free by then
	return &runs{
		dir: cfg.Dir, stop: stop,
		room: cfg.Memory - maxTables*size - size/2, buffers: buffers, chunk: min(size/4, mostBuffer),
		fanIn: min(max(buffers/leastBuffer, 2), maxFanIn),
	}
}

// records gives records of distinct keys in ascending order (bytes.Compare).
type records interface {
	// next gives io.EOF at the end. The key is valid until the next call but
	// one, the value until the next.
	next() (Record, error)
}

// add makes a sorted table a run.
func (r *runs) add(t *table) error {
	if err := r.stop(); err != nil {
		return err
	}
	if t.bound() > r.room-len(r.mem) {
		return r.write(t.walk())
	}
	if r.mem == nil {
		r.mem = make([]byte, 0, r.room)
	}
	from := len(r.mem)
	var err error
	r.mem, err = r.encode(r.mem, t.walk(), nil)
	r.list = append(r.list, run{mem: r.mem[from:len(r.mem):len(r.mem)]})
	return err
}

// write adds a run to the file. After an error nothing may follow.
func (r *runs) write(in records) error {
	if r.file == nil {
		f, err := os.CreateTemp(r.dir, "run-*.tmp")
		if err != nil {
			return fmt.Errorf("extsort: create the file of runs: %w", err)
		}
		r.file = f
	}
	from := r.spilled
	var err error
	r.buf, err = r.encode(r.buf[:0], in, r.flush)
	if err == nil {
		err = r.flush(r.buf)
	}
	if err != nil {
		return fmt.Errorf("extsort: write run %d: %w", len(r.list)+1, err)
	}
	r.list = append(r.list, run{file: r.file, from: from, to: r.spilled})
	return nil
}

// flush writes to the end of the file.
func (r *runs) flush(b []byte) error {
	n, err := r.file.Write(b)
	r.spilled += int64(n)
	return err
}

// encode appends records to dst. If flush is not nil it is given what was
// appended, whenever it is much.
func (r *runs) encode(dst []byte, in records, flush func([]byte) error) ([]byte, error) {
	var last []byte
	for {
		rec, err := in.next()
		if err == io.EOF {
			return dst, nil
		} else if err != nil {
			return dst, err
		}
		shared := common(last, rec.Key)
		rest := rec.Key[shared:]
		last = rec.Key
		dst = binary.AppendUvarint(dst, uint64(shared))
		if len(rec.Value) == 0 {
			dst = binary.AppendUvarint(dst, uint64(len(rest))<<1)
			dst = append(dst, rest...)
		} else {
			dst = binary.AppendUvarint(dst, uint64(len(rest))<<1|1)
			dst = append(dst, rest...)
			dst = binary.AppendUvarint(dst, uint64(len(rec.Value)))
			dst = append(dst, rec.Value...)
		}
		if flush != nil && len(dst) >= r.chunk {
			if err := flush(dst); err != nil {
				return dst, err
			}
			dst = dst[:0]
		}
	}
}

// narrow merges neighbouring runs until at most fanIn are left. It merges no
// more than is needed, and fresh runs last.
func (r *runs) narrow() error {
	m := &merge{buffers: r.buffers, stop: r.stop}
	for at := 0; len(r.list) > r.fanIn; at++ {
		n := min(r.fanIn, len(r.list)-r.fanIn+1)
		if at+n > len(r.list) {
			at = 0
		}
		if err := m.open(r.list[at : at+n]); err != nil {
			return err
		}
		if err := r.write(m); err != nil {
			return err
		}
		end := len(r.list) - 1
		r.list = slices.Replace(r.list[:end], at, at+n, r.list[end])
	}
	return nil
}

// close gives the memory back and removes the file. If that fails the next
// close tries again.
func (r *runs) close() error {
	r.closed = true
	r.list, r.mem, r.buf = nil, nil, nil
	if r.file == nil {
		return nil
	}
	r.file.Close() // nothing in it is needed
	if err := os.Remove(r.file.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("extsort: remove the file of runs: %w", err)
	}
	r.file = nil
	return nil
}
