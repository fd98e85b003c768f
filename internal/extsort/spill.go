package extsort

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
)

// spill is the files of one sorter: sorted runs of distinct keys. Runs stand
// in the order in which their records were added.
//
// A run is a row of records: the length of the key, the length of the value
// and the count, as uvarints; then the key and the value.
type spill struct {
	dir    string
	stop   func() error // Config.Stop
	buffer int          // bytes for reading or writing one run
	fanIn  int          // runs merged at once at most, two or more
	runs   []string
	closed bool
}

// readBuffer gives the buffer of one run so that those of a whole merge take
// less than half of memory.
func readBuffer(memory int) int { return min(max(memory/(2*maxFanIn), 4<<10), 256<<10) }

// write adds a run.
func (s *spill) write(in records) error {
	name, err := s.writeFile(in)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, name)
	return nil
}

// writeFile writes a run and gives its name. After an error there is no file.
func (s *spill) writeFile(in records) (name string, err error) {
	f, err := os.CreateTemp(s.dir, "run-*.tmp")
	if err != nil {
		return "", fmt.Errorf("extsort: create run %d: %w", len(s.runs)+1, err)
	}
	err = s.encode(f, in)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("extsort: write run %d: %w", len(s.runs)+1, err)
	}
	return f.Name(), nil
}

func (s *spill) encode(f io.Writer, in records) error {
	w := bufio.NewWriterSize(f, s.buffer)
	var head []byte
	for {
		r, err := in.next()
		if err == io.EOF {
			return w.Flush()
		} else if err != nil {
			return err
		}
		head = binary.AppendUvarint(head[:0], uint64(len(r.Key)))
		head = binary.AppendUvarint(head, uint64(len(r.Value)))
		head = binary.AppendUvarint(head, uint64(r.Count))
		w.Write(head)
		w.Write(r.Key)
		if _, err := w.Write(r.Value); err != nil {
			return err // bufio.Writer gives the first error of all again
		}
	}
}

// narrow merges neighbouring runs until at most fanIn are left. It merges no
// more than is needed, and fresh runs last.
func (s *spill) narrow() error {
	for at := 0; len(s.runs) > s.fanIn; at++ {
		n := min(s.fanIn, len(s.runs)-s.fanIn+1)
		if at+n > len(s.runs) {
			at = 0
		}
		group := s.runs[at : at+n]
		m, err := s.merge(group)
		if err != nil {
			return err
		}
		name, err := s.writeFile(m)
		m.close()
		if err != nil {
			return err
		}
		for _, old := range group {
			if e := os.Remove(old); e != nil && err == nil {
				err = fmt.Errorf("extsort: remove a merged run: %w", e)
			}
		}
		s.runs = slices.Replace(s.runs, at, at+n, name)
		if err != nil {
			return err
		}
	}
	return nil
}

// close removes all runs. Those that cannot be removed are tried again by the
// next close.
func (s *spill) close() error {
	s.closed = true
	var failed error
	s.runs = slices.DeleteFunc(s.runs, func(name string) bool {
		err := os.Remove(name)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return true
		}
		failed = fmt.Errorf("extsort: remove a run: %w", err)
		return false
	})
	return failed
}

// stoppable is a run that can be told to stop being read.
type stoppable struct {
	r    io.Reader
	stop func() error
}

func (s stoppable) Read(p []byte) (int, error) {
	if s.stop != nil {
		if err := s.stop(); err != nil {
			return 0, err
		}
	}
	return s.r.Read(p)
}

// merge opens runs to be read as one.
func (s *spill) merge(runs []string) (*merge, error) {
	m := &merge{tree: make([]int, len(runs))}
	for _, name := range runs {
		f, err := os.Open(name)
		if err != nil {
			m.close()
			return nil, fmt.Errorf("extsort: open a run: %w", err)
		}
		c := &cursor{file: f, r: bufio.NewReaderSize(stoppable{f, s.stop}, s.buffer)}
		m.cursors = append(m.cursors, c)
		if err := c.advance(); err != nil {
			m.close()
			return nil, err
		}
	}
	for i := range m.tree {
		m.tree[i] = -1
	}
	for i := range m.cursors {
		m.replay(i)
	}
	return m, nil
}

// merge reads sorted runs as one sorted whole of distinct keys, by a loser
// tree (Knuth, The Art of Computer Programming, volume 3, section 5.4.1):
// tree[0] is the run with the least key, tree[p] the loser of the match at the
// inner node p, whose children are the nodes 2p and 2p+1, where the nodes from
// len(cursors) on are the runs.
type merge struct {
	cursors    []*cursor
	tree       []int
	key, value []byte // of the record given last
}

// cursor is the record at the front of one run.
type cursor struct {
	file       *os.File
	r          *bufio.Reader
	done       bool
	prefix     uint64
	key, value []byte
	count      int64
}

func (m *merge) next() (Record, error) {
	if len(m.cursors) == 0 || m.cursors[m.tree[0]].done {
		return Record{}, io.EOF
	}
	// Of equal keys the earliest run wins, which has the value added first.
	c := m.cursors[m.tree[0]]
	m.key = append(m.key[:0], c.key...)
	m.value = append(m.value[:0], c.value...)
	first, count := c.prefix, int64(0)
	for !c.done && c.prefix == first && bytes.Equal(c.key, m.key) {
		count += c.count
		if err := c.advance(); err != nil {
			return Record{}, err
		}
		m.replay(m.tree[0])
		c = m.cursors[m.tree[0]]
	}
	return Record{Key: m.key, Value: m.value, Count: count}, nil
}

// replay plays the matches of run i, whose record is new, up to the root. The
// first to come to an empty match waits there.
func (m *merge) replay(i int) {
	for p := (i + len(m.cursors)) / 2; p > 0; p /= 2 {
		other := m.tree[p]
		if other < 0 {
			m.tree[p] = i
			return
		}
		if m.less(other, i) {
			m.tree[p], i = i, other
		}
	}
	m.tree[0] = i
}

// less says whether run a goes before run b.
func (m *merge) less(a, b int) bool {
	ca, cb := m.cursors[a], m.cursors[b]
	if ca.done || cb.done {
		return !ca.done
	}
	if ca.prefix != cb.prefix {
		return ca.prefix < cb.prefix
	}
	if c := bytes.Compare(ca.key, cb.key); c != 0 {
		return c < 0
	}
	return a < b
}

func (m *merge) close() error {
	var failed error
	for _, c := range m.cursors {
		if err := c.file.Close(); err != nil && failed == nil {
			failed = fmt.Errorf("extsort: close a run: %w", err)
		}
	}
	m.cursors = nil
	return failed
}

// advance reads the next record of the run.
func (c *cursor) advance() error {
	var value, count uint64
	key, err := binary.ReadUvarint(c.r)
	if err == io.EOF {
		c.done = true
		return nil
	}
	if err == nil {
		value, err = binary.ReadUvarint(c.r)
	}
	if err == nil {
		count, err = binary.ReadUvarint(c.r)
	}
	if err == nil && max(key, value) > math.MaxUint32 {
		err = errors.New("the run is damaged")
	}
	if err == nil {
		c.key = slices.Grow(c.key[:0], int(key))[:key]
		_, err = io.ReadFull(c.r, c.key)
	}
	if err == nil {
		c.value = slices.Grow(c.value[:0], int(value))[:value]
		_, err = io.ReadFull(c.r, c.value)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("extsort: read %s: %w", c.file.Name(), err)
	}
	c.prefix = prefix(c.key)
	c.count = int64(count)
	return nil
}
