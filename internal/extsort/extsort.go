// Package extsort sorts key/value records of any number in fixed memory.
//
// It promises: what does not fit in memory is spilled to a folder as sorted
// runs, and merged from there; records of equal key come out as one, with the
// value that was added first and a count; when everything fits, nothing is
// written; and after Close no file is left.
//
// The files hold scratch data: nothing is synced, and nothing can be read
// again by another process. The package imports the standard library only.
package extsort

import (
	"bytes"
	"errors"
	"fmt"
)

// Config says where and in how much memory to sort.
type Config struct {
	// Dir is a folder made by the caller and used by this sorter alone. Runs
	// are written there as run-*.tmp.
	Dir string
	// Memory is the size of the in-memory part in bytes: records and their
	// index. While merging it is given back and the buffers of a merge take
	// less than it, if it is at least 1 MiB. 0 means DefaultMemory.
	Memory int
	// Stop is asked from time to time while runs are merged or passed over. Its
	// error ends the work and is what Sorted or Next gives. nil means that
	// nothing stops it.
	Stop func() error
}

// DefaultMemory is Config.Memory if none is given, in bytes.
const DefaultMemory = 64 << 20

// maxFanIn is how many runs are merged at once. It bounds open files and
// buffers.
const maxFanIn = 128

// Record is one distinct key. Its slices are valid until the next call of the
// iterator that gave it.
type Record struct {
	Key, Value []byte // of the record of this key that was added first
	Count      int64  // how many records of this key were added
}

var (
	errClosed = errors.New("extsort: it is closed")
	errSorted = errors.New("extsort: the adding has ended")
)

// Sorter takes records. It is for one goroutine.
type Sorter struct {
	mem   *table
	spill *spill
	err   error // what every later call gives
}

// New gives an empty Sorter. It touches no file; memory is taken with the
// first record.
func New(cfg Config) *Sorter {
	if cfg.Memory <= 0 {
		cfg.Memory = DefaultMemory
	}
	return &Sorter{mem: newTable(cfg.Memory), spill: &spill{dir: cfg.Dir, stop: cfg.Stop, buffer: readBuffer(cfg.Memory), fanIn: maxFanIn}}
}

// Add takes a record; it copies key and value. The value may be empty. The
// error is a failed write of a run, or a record larger than two thirds of the
// memory; the sorter is of no use after the former.
func (s *Sorter) Add(key, value []byte) error {
	if s.err != nil {
		return s.err
	}
	if s.mem.add(key, value) {
		return nil
	}
	if s.mem.len() > 0 {
		if err := s.flush(); err != nil {
			return err
		}
		if s.mem.add(key, value) {
			return nil
		}
	}
	return fmt.Errorf("extsort: a record of %d bytes does not fit in the memory of %d bytes", len(key)+len(value), s.mem.size)
}

// flush writes what is in memory as a run.
func (s *Sorter) flush() error {
	s.mem.sort()
	if err := s.spill.write(s.mem.walk(nil)); err != nil {
		s.err = err
		return err
	}
	s.mem.reset()
	return nil
}

// Sorted ends the adding and gives the sorted records. It may be called once.
// The error is a failed read or write of a run.
func (s *Sorter) Sorted() (*Runs, error) {
	if s.err != nil {
		return nil, s.err
	}
	if len(s.spill.runs) == 0 {
		s.mem.sort()
		r := &Runs{mem: s.mem, spill: s.spill}
		s.mem, s.err = nil, errSorted
		return r, nil
	}
	if s.mem.len() > 0 {
		if err := s.flush(); err != nil {
			return nil, err
		}
	}
	// The memory is given back before merging takes buffers.
	s.mem, s.err = nil, errSorted
	if err := s.spill.narrow(); err != nil {
		s.err = err
		return nil, err
	}
	return &Runs{spill: s.spill}, nil
}

// Close ends the adding and removes every file, also those behind the Runs
// that Sorted gave. It may be called at any time, and twice. The error is a
// file that could not be removed.
func (s *Sorter) Close() error {
	s.mem, s.err = nil, errClosed
	return s.spill.close()
}

// Runs is the sorted whole. It can be walked any number of times, also by
// several goroutines, one an Iterator.
type Runs struct {
	mem   *table // nil if the records are in files
	spill *spill
}

// Walk gives an iterator that starts at the first key greater than after, or
// at the first of all if after is nil. When records were spilled, what comes
// before is read and passed over. The error is a run that cannot be read.
func (r *Runs) Walk(after []byte) (*Iterator, error) {
	if r.spill.closed {
		return nil, errClosed
	}
	if r.mem != nil {
		return &Iterator{in: r.mem.walk(after)}, nil
	}
	m, err := r.spill.merge(r.spill.runs)
	if err != nil {
		return nil, err
	}
	return &Iterator{in: m, after: bytes.Clone(after), skip: after != nil}, nil
}

// Close removes every file. It may be called twice, and before or after the
// sorter's Close. Iterators must not be used afterwards, except to close them.
func (r *Runs) Close() error {
	r.mem = nil
	return r.spill.close()
}

// records gives records in ascending order of key (bytes.Compare).
type records interface {
	next() (Record, error) // io.EOF at the end
	close() error
}

// Iterator gives the distinct records in ascending order of key. It is for one
// goroutine.
type Iterator struct {
	in     records
	after  []byte
	skip   bool // records up to after are still to be passed over
	closed bool
}

// Next gives the next record, io.EOF after the last, or what went wrong with
// reading a run.
func (it *Iterator) Next() (Record, error) {
	if it.closed {
		return Record{}, errClosed
	}
	for {
		r, err := it.in.next()
		if err != nil {
			return Record{}, err
		}
		if it.skip && bytes.Compare(r.Key, it.after) <= 0 {
			continue
		}
		it.skip = false
		return r, nil
	}
}

// Close closes the files that the iterator reads. It may be called twice.
func (it *Iterator) Close() error {
	it.closed = true
	return it.in.close()
}
