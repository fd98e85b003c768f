// Package extsort sorts key/value records of any number in fixed memory.
//
// It promises: sorting goes on in the background while records are added; what
// does not fit in memory is spilled to a file in sorted runs, and merged from
// there; records of equal key come out as one, with the value that was added
// first; when everything fits, nothing is written; and after Close no file and
// no goroutine is left.
//
// The file holds scratch data: nothing is synced, and nothing can be read
// again by another process. The package imports the standard library only.
package extsort

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// Config says where and in how much memory to sort.
type Config struct {
	// Dir is a folder made by the caller and used by this sorter alone. What
	// does not fit in memory is written there, to one file run-*.tmp.
	Dir string
	// Memory is how much is used in bytes: records, their index, sorted runs
	// and buffers. It is taken as records come. While merging, what was taken
	// for adding is given back and the buffers of the merge take less than it,
	// if Memory is at least 1 MiB. 0 means DefaultMemory.
	Memory int
	// Stop is asked from time to time while runs are sorted, written or merged,
	// also by a goroutine of the sorter's. Its error ends the work and is what
	// Add, Sorted or Next gives. nil means that nothing stops it.
	Stop func() error
}

// DefaultMemory is Config.Memory if none is given, in bytes.
const DefaultMemory = 64 << 20

// maxKey is the longest key in bytes.
const maxKey = 1<<15 - 1

// Record is one distinct key. Its slices are valid until the next call of the
// iterator that gave it.
type Record struct {
	Key, Value []byte // of the record of this key that was added first
}

var (
	errClosed = errors.New("extsort: it is closed")
	errSorted = errors.New("extsort: the adding has ended")
)

// Sorter takes records. It is for one goroutine.
//
// The records are added to a table. A full table goes to the background, which
// sorts it and makes it a run, while adding goes on with another table.
type Sorter struct {
	size    int    // of a table in bytes
	filling *table // takes what is added; nil before the first record
	tables  int    // how many were made
	runs    *runs  // the background's until it has ended
	err     error  // what every later call gives

	full, free chan *table           // to the background and back
	ended      chan struct{}         // closed when the background has; nil if it never began
	failed     atomic.Pointer[error] // of the background: it goes on giving tables back
	closed     atomic.Bool           // the background is to end soon
}

// maxTables is one table to be filled, one to be sorted, and one that waits, so
// that neither side waits for every unevenness of the other.
const maxTables = 3

// tableSize gives the size of a table of a sorter. Its sorting at the end is
// waited for, and goes the faster the more of it the processor's caches hold;
// but each table makes a run.
func tableSize(memory int) int { return min(memory/8, 8<<20) }

// New gives an empty Sorter. It touches no file; memory is taken with the
// first record.
func New(cfg Config) *Sorter {
	if cfg.Memory <= 0 {
		cfg.Memory = DefaultMemory
	}
	size := tableSize(cfg.Memory)
	return &Sorter{
		size: size,
		runs: newRuns(cfg),
		full: make(chan *table, maxTables),
		free: make(chan *table, maxTables),
	}
}

// Add takes a record; it copies key and value. The value may be empty. The
// error is that of Stop or of the writing of an earlier record, after which the
// sorter is of no use; or the record is refused because its key is longer than
// 32,767 bytes or because it is too large. Key and value of together at most a
// sixteenth of the memory and 5 MiB always fit, if Memory is at least 1 KiB.
func (s *Sorter) Add(key, value []byte) error {
	if s.err != nil {
		return s.err
	}
	if failed := s.failed.Load(); failed != nil {
		s.err = *failed
		return s.err
	}
	if s.filling == nil {
		s.filling, s.tables = newTable(s.size), 1
	}
	if s.filling.add(key, value) {
		return nil
	}
	if !s.filling.fits(0, key, value) {
		return fmt.Errorf("extsort: a record with a key of %d bytes and a value of %d is too large", len(key), len(value))
	}
	if s.ended == nil {
		s.ended = make(chan struct{})
		go s.background()
	}
	s.full <- s.filling
	if s.tables < maxTables {
		s.filling = newTable(s.size)
		s.tables++
	} else {
		s.filling = <-s.free
	}
	s.filling.add(key, value)
	return nil
}

// background makes full tables runs, until there will be no more.
func (s *Sorter) background() {
	defer close(s.ended)
	for t := range s.full {
		if s.failed.Load() == nil && !s.closed.Load() {
			if err := s.makeRun(t); err != nil {
				s.failed.Store(&err)
			}
		}
		t.reset()
		s.free <- t
	}
}

func (s *Sorter) makeRun(t *table) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	t.sort()
	return s.runs.add(t)
}

// panicked makes a panic an error. Where it happened nobody could recover it.
func panicked(p any) error { return fmt.Errorf("extsort: panic: %v\n%s", p, debug.Stack()) }

// wait ends the background, after what it still has to do.
func (s *Sorter) wait() {
	if s.ended != nil && s.full != nil {
		close(s.full)
		<-s.ended
		s.full = nil
	}
}

// Sorted ends the adding and gives the sorted records. It may be called once.
// The error is that of Stop, or a failed read or write of a run.
func (s *Sorter) Sorted() (*Runs, error) {
	if s.err != nil {
		return nil, s.err
	}
	// The last table is sorted while the background still sorts the one before.
	last := s.filling
	s.filling, s.err = nil, errSorted
	if last != nil {
		if s.ended == nil {
			s.runs.room = last.bound() // there will be no other
		}
		last.sort()
	}
	s.wait()
	if failed := s.failed.Load(); failed != nil {
		s.err = *failed
		return nil, s.err
	}
	if last != nil {
		if err := s.runs.add(last); err != nil {
			s.err = err
			return nil, err
		}
	}
	s.free = nil // the memory is given back before merging takes buffers
	if err := s.runs.narrow(); err != nil {
		s.err = err
		return nil, err
	}
	return &Runs{runs: s.runs}, nil
}

// Close ends the adding and removes the file, also that behind the Runs that
// Sorted gave. It waits for the background, which takes no longer than the
// sorting of a table. It may be called at any time, and twice. The error is a
// file that could not be removed.
func (s *Sorter) Close() error {
	s.closed.Store(true)
	s.wait()
	s.filling, s.free, s.err = nil, nil, errClosed
	return s.runs.close()
}

// Runs is the sorted whole. It can be walked any number of times, also by
// several goroutines, one an Iterator.
type Runs struct{ runs *runs }

// Walk gives an iterator that starts at the first key. The error is a run that
// cannot be read. The caller must Close the Iterator.
func (r *Runs) Walk() (*Iterator, error) {
	if r.runs.closed {
		return nil, errClosed
	}
	return newIterator(r.runs)
}

// Close removes the file. It may be called twice, and before or after the
// sorter's Close. Iterators must not be used afterwards, except to close them.
func (r *Runs) Close() error { return r.runs.close() }
