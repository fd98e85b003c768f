package extsort

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// drain walks to the end and gives the records as text.
func drain(t interface{ Fatal(...any) }, r *Runs) []string {
	it, err := r.Walk()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for {
		rec, err := it.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%q %q", rec.Key, rec.Value))
	}
	if _, err := it.Next(); err != io.EOF {
		t.Fatal("after the end: ", err)
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	if err := it.Close(); err != nil {
		t.Fatal("closed twice: ", err)
	}
	if _, err := it.Next(); err == nil || err == io.EOF {
		t.Fatal("after Close: ", err)
	}
	return out
}

// model is the sorter as a slice.
type model [][2][]byte

// walk gives what drain gives.
func (m model) walk() []string {
	all := slices.Clone(m)
	slices.SortStableFunc(all, func(a, b [2][]byte) int { return bytes.Compare(a[0], b[0]) })
	// Of equal keys the first is kept.
	all = slices.CompactFunc(all, func(a, b [2][]byte) bool { return bytes.Equal(a[0], b[0]) })
	var out []string
	for _, kv := range all {
		out = append(out, fmt.Sprintf("%q %q", kv[0], kv[1]))
	}
	return out
}

func files(t interface{ Fatal(...any) }, dir string) int {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if ok, _ := filepath.Match("run-*.tmp", e.Name()); !ok {
			t.Fatal("unexpected file ", e.Name())
		}
	}
	return len(entries)
}

// TestModel sorts random records in tables so small that most sorts have many
// runs, in memory, in the file or in both, and some merge in passes.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	var inMemory, both, passes int
	// Keys that begin alike, end inside a block, or differ by a zero byte.
	part := rapid.SampledFrom([]string{"", "a", "b", "\x00", "\xff", "com.example", "com.example.mail", "01234", "0123456", "01234567", "012345678", "\xff\xff\xff\xff\xff"})
	key := rapid.Custom(func(t *rapid.T) []byte {
		k := rapid.SliceOfN(part, 0, 4).Draw(t, "parts")
		return []byte(strings.Join(k, ""))
	})
	long := strings.Repeat("l", 200) // many prefixes
	check := func(t *rapid.T) {
		memory := rapid.SampledFrom([]int{8 << 10, 32 << 10, 1 << 20}).Draw(t, "memory")
		s := New(Config{Dir: dir, Memory: memory})
		s.runs.fanIn = rapid.IntRange(2, 9).Draw(t, "fan-in")
		s.runs.room = rapid.SampledFrom([]int{0, 4 << 10, 64 << 10}).Draw(t, "room for runs")
		var m model
		n := rapid.IntRange(0, 600).Draw(t, "records")
		prefix := rapid.SampledFrom([]string{"", "", long}).Draw(t, "prefix")
		keys := rapid.SliceOfN(key, 1, 100).Draw(t, "keys")
		step := rapid.IntRange(1, 1000).Draw(t, "step")
		for i := range n {
			k := append([]byte(prefix), keys[i*step%len(keys)]...)
			var v []byte // none, or one that says which record it is of
			if i%3 > 0 {
				v = fmt.Appendf(nil, "%d", i)
			}
			m = append(m, [2][]byte{bytes.Clone(k), bytes.Clone(v)})
			if err := s.Add(k, v); err != nil {
				t.Fatal(err)
			}
			clear(k) // Add must have copied it
			clear(v)
		}
		tables := s.tables
		s.wait()
		before := len(s.runs.list)
		r, err := s.Sorted()
		if err != nil {
			t.Fatal(err)
		}
		if got := files(t, dir); got > 1 || (got == 1) != (s.runs.spilled > 0) || len(s.runs.list) > s.runs.fanIn {
			t.Fatalf("%d files with %d bytes; %d runs and a fan-in of %d", got, s.runs.spilled, len(s.runs.list), s.runs.fanIn)
		}
		kept := len(s.runs.mem) > 0
		if tables > 1 && kept && s.runs.spilled == 0 {
			inMemory++
		}
		if kept && s.runs.spilled > 0 {
			both++
		}
		if before > s.runs.fanIn {
			passes++
		}
		for range 2 {
			if diff := gocmp.Diff(m.walk(), drain(t, r)); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := files(t, dir); got != 0 {
			t.Fatalf("%d files after Close", got)
		}
	}
	// Until each kind was drawn, which few draws may leave out.
	for tries := 0; tries < 50 && (tries == 0 || inMemory == 0 || both == 0 || passes == 0); tries++ {
		rapid.Check(t, check)
	}
	if inMemory == 0 || both == 0 || passes == 0 {
		t.Errorf("%d sorts had several tables in memory, %d had runs in memory and in the file, %d merged in passes", inMemory, both, passes)
	}
}

// TestSortModel sorts one large table, so that all ways through the radix sort
// are taken, and compares with a stable sort.
func TestSortModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alphabet := rapid.SampledFrom([]string{"a", "ab", "a\x00", "\x00\xff", "abcdefghijklmnop"}).Draw(t, "alphabet")
		longest := rapid.SampledFrom([]int{3, 9, 30, 400}).Draw(t, "longest")
		seed := rapid.Uint32().Draw(t, "seed")
		next := func(n int) int { // a small generator: rapid's is slow for so many
			seed = seed*1664525 + 1013904223
			return int(seed>>8) % n
		}
		tab := newTable(1 << 20)
		var want [][]byte
		for range rapid.SampledFrom([]int{0, 1, 100, 1000}).Draw(t, "records") {
			k := bytes.Repeat([]byte{alphabet[0]}, next(longest+1))
			for i := range k {
				if next(4) == 0 {
					k[i] = alphabet[next(len(alphabet))]
				}
			}
			if !tab.add(k, nil) {
				t.Fatal("the table is full")
			}
			want = append(want, k)
		}
		slices.SortStableFunc(want, bytes.Compare)
		tab.sort()
		for i, it := range tab.index {
			if !bytes.Equal(tab.key(it), want[i]) {
				t.Fatalf("item %d is %q, want %q", i, tab.key(it), want[i])
			}
			if i > 0 && bytes.Equal(want[i], want[i-1]) && cmp.Compare(tab.index[i-1].at, it.at) >= 0 {
				t.Fatalf("items %d and %d are not in the order they arrived", i-1, i)
			}
		}
	})
}

// TestNothingWritten sorts what fits in memory, in a folder that is none.
func TestNothingWritten(t *testing.T) {
	s := New(Config{Dir: filepath.Join(t.TempDir(), "none"), Memory: 1 << 20})
	for i, k := range []string{"b", "", "a", "b"} {
		if err := s.Add([]byte(k), fmt.Appendf(nil, "v%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Sorted()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`"" "v1"`, `"a" "v2"`, `"b" "v0"`}
	for range 2 {
		if diff := gocmp.Diff(want, drain(t, r)); diff != "" {
			t.Error(diff)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestEmpty(t *testing.T) {
	s := New(Config{Dir: t.TempDir()})
	r, err := s.Sorted()
	if err != nil {
		t.Fatal(err)
	}
	if got := drain(t, r); got != nil {
		t.Errorf("got %q", got)
	}
}

// spilling gives a sorter that has written a few runs.
func spilling(t *testing.T) (s *Sorter, dir string) {
	dir = t.TempDir()
	s = New(Config{Dir: dir, Memory: 32 << 10})
	s.runs.room = 0
	for i := range 1000 {
		if err := s.Add(fmt.Appendf(nil, "key%d", i%700), []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	// Add went on with tables that the background had written.
	if got := files(t, dir); got != 1 {
		t.Fatalf("%d files while adding", got)
	}
	return s, dir
}

// TestClose closes at every stage: no file and no goroutine must be left and
// every later call must give an error.
func TestClose(t *testing.T) {
	t.Run("while adding", func(t *testing.T) {
		s, dir := spilling(t)
		for range 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if got := files(t, dir); got != 0 {
			t.Errorf("%d files are left", got)
		}
		if err := s.Add([]byte("a"), nil); err == nil {
			t.Error("Add gave no error")
		}
		if _, err := s.Sorted(); err == nil {
			t.Error("Sorted gave no error")
		}
	})
	t.Run("after sorting", func(t *testing.T) {
		s, dir := spilling(t)
		r, err := s.Sorted()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Add([]byte("a"), nil); err == nil {
			t.Error("Add after Sorted gave no error")
		}
		if _, err := s.Sorted(); err == nil {
			t.Error("a second Sorted gave no error")
		}
		if got := len(drain(t, r)); got != 700 {
			t.Errorf("%d records", got)
		}
		for range 2 {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if got := files(t, dir); got != 0 {
			t.Errorf("%d files are left", got)
		}
		if _, err := r.Walk(); err == nil {
			t.Error("Walk gave no error")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("before an iterator", func(t *testing.T) {
		s, _ := spilling(t)
		s.runs.buffers = 0 // so that the iterator has not read all
		r, err := s.Sorted()
		if err != nil {
			t.Fatal(err)
		}
		it, err := r.Walk()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Close(), it.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Run("a sorter that never added", func(t *testing.T) {
		if err := New(Config{Dir: t.TempDir()}).Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("a file that cannot be removed", func(t *testing.T) {
		s, _ := spilling(t)
		s.wait()
		name := s.runs.file.Name()
		if err := errors.Join(os.Remove(name), os.MkdirAll(filepath.Join(name, "in the way"), 0o700)); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err == nil {
			t.Error("Close gave no error")
		}
		if err := os.Remove(filepath.Join(name, "in the way")); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("the second Close: %v", err)
		}
	})
}

// addUntil adds records until Add gives an error, which it must.
func addUntil(t *testing.T, s *Sorter) error {
	for i := range 1_000_000 {
		if err := s.Add(fmt.Appendf(nil, "%d", i), nil); err != nil {
			return err
		}
	}
	t.Fatal("Add gave no error")
	return nil
}

// TestBackgroundErrors lets the background fail: the error must come out of an
// Add, and of every later call.
func TestBackgroundErrors(t *testing.T) {
	stopped := errors.New("stopped")
	var asked atomic.Int64
	for _, c := range []struct {
		name string
		cfg  Config
		want func(error) bool
	}{
		{"no folder", Config{Dir: filepath.Join(t.TempDir(), "none")},
			func(err error) bool {
				return errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(err.Error(), "extsort: create the file of runs: ")
			}},
		{"stopped", Config{Dir: t.TempDir(), Stop: func() error {
			if asked.Add(1) > 3 {
				return stopped
			}
			return nil
		}}, func(err error) bool { return err == stopped }},
		{"panic", Config{Dir: t.TempDir(), Stop: func() error { panic("at the disco") }},
			func(err error) bool { return strings.Contains(err.Error(), "panic: at the disco\n") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Memory = 32 << 10
			s := New(c.cfg)
			s.runs.room = 0
			err := addUntil(t, s)
			if !c.want(err) {
				t.Errorf("Add gave %v", err)
			}
			if again := s.Add([]byte("a"), nil); again != err {
				t.Errorf("the next Add gave %v", again)
			}
			if _, again := s.Sorted(); again != err {
				t.Errorf("Sorted gave %v", again)
			}
			if err := s.Close(); err != nil {
				t.Errorf("Close gave %v", err)
			}
		})
	}
	t.Run("out of Sorted", func(t *testing.T) {
		s := New(Config{Memory: 32 << 10, Dir: t.TempDir(), Stop: func() error { return stopped }})
		for i := range s.size { // the last table is full and no Add comes after it
			if err := s.Add(fmt.Appendf(nil, "%d", i), nil); err != nil {
				t.Fatal(err)
			}
			if s.tables == 2 {
				break
			}
		}
		if _, err := s.Sorted(); err != stopped {
			t.Errorf("Sorted gave %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close gave %v", err)
		}
	})
}

// TestStop stops a walk and a merge in passes.
func TestStop(t *testing.T) {
	stopped := errors.New("stopped")
	var stop atomic.Bool
	sorter := func() *Sorter {
		stop.Store(false)
		s := New(Config{Dir: t.TempDir(), Memory: 1 << 20, Stop: func() error {
			if stop.Load() {
				return stopped
			}
			return nil
		}})
		for i := range 40_000 {
			if err := s.Add(fmt.Appendf(nil, "%d", i), nil); err != nil {
				t.Fatal(err)
			}
		}
		s.wait()
		return s
	}
	s := sorter()
	r, err := s.Sorted()
	if err != nil {
		t.Fatal(err)
	}
	stop.Store(true)
	it, err := r.Walk()
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = it.Next()
	}
	if _, again := it.Next(); err != stopped || again != stopped {
		t.Errorf("the walk ended with %v, and then %v", err, again)
	}
	if err := errors.Join(it.Close(), s.Close()); err != nil {
		t.Error(err)
	}

	s = sorter()
	s.runs.fanIn = 2
	s.filling = nil // its making a run would ask too
	stop.Store(true)
	if _, err := s.Sorted(); !errors.Is(err, stopped) {
		t.Errorf("Sorted gave %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	t.Run("no folder for the last run", func(t *testing.T) {
		dir := t.TempDir()
		s := New(Config{Dir: dir, Memory: 32 << 10})
		s.runs.room = 0
		if err := errors.Join(s.Add([]byte("a"), nil), os.RemoveAll(dir)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Sorted(); err != nil {
			t.Errorf("Sorted of what fits gave %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close gave %v", err)
		}
	})
	t.Run("full disk", func(t *testing.T) {
		full := errors.New("no space left on device")
		r := newRuns(Config{Dir: t.TempDir(), Memory: 32 << 10})
		r.chunk = 64
		var whole bytes.Buffer
		write := func(w io.Writer) error {
			flush := func(b []byte) error { _, err := w.Write(b); return err }
			rest, err := r.encode(nil, &failing{after: 30, err: io.EOF}, flush)
			if err == nil {
				err = flush(rest)
			}
			return err
		}
		if err := write(&whole); err != nil || whole.Len() < 3*r.chunk {
			t.Fatalf("%d bytes in chunks of %d, %v", whole.Len(), r.chunk, err)
		}
		for room := range whole.Len() {
			if err := write(&disk{room: room, err: full}); err != full {
				t.Errorf("with room for %d of %d bytes: %v", room, whole.Len(), err)
			}
		}
		if err := r.write(&failing{after: 3, err: full}); !errors.Is(err, full) || !strings.Contains(err.Error(), "extsort: write run ") {
			t.Errorf("write gave %v", err)
		}
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("record too large", func(t *testing.T) {
		s := New(Config{Dir: t.TempDir(), Memory: 1 << 20})
		if err := s.Add([]byte("a"), nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Add([]byte("b"), make([]byte, 1<<20/12)); err == nil {
			t.Error("Add of a large value gave no error")
		}
		if err := s.Add(make([]byte, maxKey+1), nil); err == nil {
			t.Error("Add of a long key gave no error")
		}
		if err := errors.Join(s.Add([]byte("c"), make([]byte, 1<<20/13)), s.Add(make([]byte, maxKey), nil)); err != nil {
			t.Errorf("then Add gave %v", err)
		}
		r, err := s.Sorted()
		if err != nil {
			t.Fatal(err)
		}
		if got := drain(t, r); len(got) != 3 || got[1] != `"a" ""` {
			t.Errorf("got %d records", len(got))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("record that always fits", func(t *testing.T) {
		for _, memory := range []int{1 << 10, 1<<20 - 1, 16 << 20, 128 << 20} {
			s := New(Config{Memory: memory})
			if err := s.Add(nil, make([]byte, min(memory/16, 5<<20))); err != nil {
				t.Errorf("with a memory of %d: %v", memory, err)
			}
		}
	})
	t.Run("record larger than the buffer of its run", func(t *testing.T) {
		s := New(Config{Dir: t.TempDir(), Memory: 1 << 20})
		s.runs.room, s.runs.buffers = 0, 0
		value := bytes.Repeat([]byte("v"), 10*leastBuffer)
		for i := range 10 {
			if err := s.Add(fmt.Appendf(nil, "%d", i), value); err != nil {
				t.Fatal(err)
			}
		}
		r, err := s.Sorted()
		if err != nil {
			t.Fatal(err)
		}
		if got := drain(t, r); len(got) != 10 || got[9] != fmt.Sprintf("%q %q", "9", value) {
			t.Errorf("got %d records, the last %.20s...", len(got), got[9])
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("file cut short", func(t *testing.T) {
		s, _ := spilling(t)
		s.runs.buffers = 0
		r, err := s.Sorted()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.runs.file.Truncate(s.runs.spilled - 3); err != nil {
			t.Fatal(err)
		}
		it, err := r.Walk()
		if err == nil {
			for err == nil {
				_, err = it.Next()
			}
			if err := it.Close(); err != nil {
				t.Error(err)
			}
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the walk ended with %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestDamage reads runs with any one byte changed, and runs cut short anywhere:
// it must end, without a panic.
func TestDamage(t *testing.T) {
	r := newRuns(Config{Memory: 1 << 20})
	whole, err := r.encode(nil, &failing{after: 5, err: io.EOF}, nil)
	if err != nil {
		t.Fatal(err)
	}
	read := func(data []byte) error {
		m := merge{stop: r.stop}
		err := m.open([]run{{mem: data}})
		for err == nil {
			_, err = m.next()
		}
		return err
	}
	if err := read(whole); err != io.EOF {
		t.Errorf("whole: %v", err)
	}
	found := 0
	for i := range whole {
		if err := read(whole[:i]); err != nil && err != io.EOF {
			found++
		}
		for bit := range 8 {
			damaged := bytes.Clone(whole)
			damaged[i] ^= 1 << bit
			if err := read(damaged); err != io.EOF {
				found++
			}
		}
	}
	if found < len(whole) {
		t.Errorf("%d errors", found)
	}
}

// failing gives some records, then an error.
type failing struct {
	n, after int
	err      error
}

func (f *failing) next() (Record, error) {
	if f.n == f.after {
		return Record{}, f.err
	}
	f.n++
	return Record{Key: fmt.Appendf(nil, "a key of some length %d", f.n), Value: []byte("value")}, nil
}

// disk has room for some bytes.
type disk struct {
	room int
	err  error
}

func (d *disk) Write(p []byte) (int, error) {
	if len(p) > d.room {
		return d.room, d.err
	}
	d.room -= len(p)
	return len(p), nil
}

// TestFits sorts a twelfth of a million records in a twelfth of 128 MiB: they
// must all stay in memory, as more than a few runs.
func TestFits(t *testing.T) {
	s := New(Config{Dir: filepath.Join(t.TempDir(), "none"), Memory: 128 << 20 / 12})
	const n = 1_000_000 / 12
	for i := range n {
		if err := s.Add(fmt.Appendf(nil, "%022d@some.where.example", i*999_983%n), nil); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Sorted()
	if err != nil {
		t.Fatal(err)
	}
	if s.runs.spilled != 0 || len(s.runs.list) < 3 {
		t.Errorf("%d bytes were spilled, %d runs", s.runs.spilled, len(s.runs.list))
	}
	// Two walk at the same time.
	var walks sync.WaitGroup
	for range 2 {
		walks.Go(func() {
			it, err := r.Walk()
			if err != nil {
				t.Error(err)
				return
			}
			defer it.Close()
			for i := range n {
				if rec, err := it.Next(); err != nil || string(rec.Key) != fmt.Sprintf("%022d@some.where.example", i) {
					t.Errorf("record %d: %q, %v", i, rec.Key, err)
					return
				}
			}
			if _, err := it.Next(); err != io.EOF {
				t.Error(err)
			}
		})
	}
	walks.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestMemory sorts ten times what fits and checks that what was allocated in
// all, garbage included, is a small multiple of Config.Memory.
func TestMemory(t *testing.T) {
	const memory = 1 << 20
	dir := t.TempDir()
	s := New(Config{Dir: dir, Memory: memory})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	key := make([]byte, 26)
	seed := uint64(1)
	const n = 300_000
	for range n {
		for i := range key {
			seed = seed*6364136223846793005 + 1442695040888963407
			key[i] = byte(seed >> 56)
		}
		if err := s.Add(key, nil); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Sorted()
	if err != nil {
		t.Fatal(err)
	}
	it, err := r.Walk()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for {
		if _, err := it.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		count++
	}
	runtime.ReadMemStats(&after)
	if count != n || s.runs.spilled < 8*memory {
		t.Errorf("%d records, %d bytes spilled", count, s.runs.spilled)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 3*memory {
		t.Errorf("%d bytes were allocated with a memory of %d", grown, memory)
	}
	if err := errors.Join(it.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}
