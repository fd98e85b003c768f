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
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drain walks to the end and gives the records as text.
func drain(t interface{ Fatal(...any) }, r *Runs, after []byte) []string {
	it, err := r.Walk(after)
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
		out = append(out, fmt.Sprintf("%q %q %d", rec.Key, rec.Value, rec.Count))
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
func (m model) walk(after []byte) []string {
	all := slices.Clone(m)
	slices.SortStableFunc(all, func(a, b [2][]byte) int { return bytes.Compare(a[0], b[0]) })
	var out []string
	for len(all) > 0 {
		n := 1
		for n < len(all) && bytes.Equal(all[n][0], all[0][0]) {
			n++
		}
		if after == nil || bytes.Compare(all[0][0], after) > 0 {
			out = append(out, fmt.Sprintf("%q %q %d", all[0][0], all[0][1], n))
		}
		all = all[n:]
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

// TestModel sorts random records in memory so small that most sorts spill and
// some merge in passes.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	spilled, passes := 0, 0
	// Keys that begin alike, end inside a prefix, or differ by a zero byte.
	part := rapid.SampledFrom([]string{"", "a", "b", "\x00", "\xff", "com.example", "com.example.mail", "0123456", "01234567", "012345678"})
	key := rapid.Custom(func(t *rapid.T) []byte {
		k := rapid.SliceOfN(part, 0, 4).Draw(t, "parts")
		return []byte(strings.Join(k, ""))
	})
	long := strings.Repeat("l", 200) // beyond fewLevels
	rapid.Check(t, func(t *rapid.T) {
		memory := rapid.SampledFrom([]int{2 << 10, 8 << 10, 1 << 20}).Draw(t, "memory")
		s := New(Config{Dir: dir, Memory: memory})
		s.spill.fanIn = rapid.IntRange(2, 4).Draw(t, "fan-in")
		var m model
		n := rapid.IntRange(0, 600).Draw(t, "records")
		prefix := rapid.SampledFrom([]string{"", "", long}).Draw(t, "prefix")
		keys := rapid.SliceOfN(key, 1, 100).Draw(t, "keys")
		step := rapid.IntRange(1, 1000).Draw(t, "step")
		for i := range n {
			k := append([]byte(prefix), keys[i*step%len(keys)]...)
			v := fmt.Appendf(nil, "%d", i)[:i%3]
			m = append(m, [2][]byte{bytes.Clone(k), bytes.Clone(v)})
			if err := s.Add(k, v); err != nil {
				t.Fatal(err)
			}
			clear(k) // Add must have copied it
			clear(v)
		}
		before := len(s.spill.runs)
		r, err := s.Sorted()
		if err != nil {
			t.Fatal(err)
		}
		if got := files(t, dir); got != len(s.spill.runs) || got > s.spill.fanIn {
			t.Fatalf("%d files for %d runs and a fan-in of %d", got, len(s.spill.runs), s.spill.fanIn)
		}
		if before > 0 {
			spilled++
		}
		if before > s.spill.fanIn {
			passes++
		}
		for _, after := range [][]byte{nil, {}, []byte(prefix), []byte(prefix + "b"), append([]byte(prefix), keys[0]...), {0xff, 0xff, 0xff, 0xff, 0xff}} {
			if diff := gocmp.Diff(m.walk(after), drain(t, r, after)); diff != "" {
				t.Fatalf("after %q (-want +got):\n%s", after, diff)
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
	})
	if spilled == 0 || passes == 0 {
		t.Errorf("%d sorts spilled, %d merged in passes", spilled, passes)
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
	for _, k := range []string{"b", "", "a", "b"} {
		if err := s.Add([]byte(k), []byte("v"+k)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Sorted()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`"" "v" 1`, `"a" "va" 1`, `"b" "vb" 2`}
	for range 2 {
		if diff := gocmp.Diff(want, drain(t, r, nil)); diff != "" {
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
	if got := drain(t, r, nil); got != nil {
		t.Errorf("got %q", got)
	}
	if got := drain(t, r, []byte("a")); got != nil {
		t.Errorf("got %q", got)
	}
}

// spilling gives a sorter that has written a few runs.
func spilling(t *testing.T) (s *Sorter, dir string) {
	dir = t.TempDir()
	s = New(Config{Dir: dir, Memory: 4 << 10})
	for i := range 1000 {
		if err := s.Add(fmt.Appendf(nil, "key%d", i%700), []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.spill.runs) < 3 {
		t.Fatalf("%d runs", len(s.spill.runs))
	}
	return s, dir
}

// TestClose closes at every stage: no file must be left and every later call
// must give an error.
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
		if got := len(drain(t, r, nil)); got != 700 {
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
		if _, err := r.Walk(nil); err == nil {
			t.Error("Walk gave no error")
		}
	})
	t.Run("a sorter that never added", func(t *testing.T) {
		if err := New(Config{Dir: t.TempDir()}).Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("a file that cannot be removed", func(t *testing.T) {
		s, _ := spilling(t)
		name := s.spill.runs[0]
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

func TestErrors(t *testing.T) {
	t.Run("no folder", func(t *testing.T) {
		s := New(Config{Dir: filepath.Join(t.TempDir(), "none"), Memory: 4 << 10})
		var err error
		for i := 0; err == nil && i < 10000; i++ {
			err = s.Add(fmt.Appendf(nil, "%d", i), nil)
		}
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "extsort: create run 1: ") {
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
	t.Run("no folder for the last run", func(t *testing.T) {
		s, dir := spilling(t)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Sorted(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Sorted gave %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close gave %v", err)
		}
	})
	t.Run("full disk", func(t *testing.T) {
		full := errors.New("no space left on device")
		s, dir := spilling(t)
		var whole bytes.Buffer
		if err := s.spill.encode(&whole, &failing{after: 3, err: io.EOF}); err != nil {
			t.Fatal(err)
		}
		for room := range whole.Len() {
			if err := s.spill.encode(&disk{room: room, err: full}, &failing{after: 3, err: io.EOF}); err != full {
				t.Errorf("with room for %d of %d bytes: %v", room, whole.Len(), err)
			}
		}
		// An error while writing leaves no half file.
		before := files(t, dir)
		if err := s.spill.write(&failing{after: 3, err: full}); !errors.Is(err, full) || !strings.Contains(err.Error(), "extsort: write run ") {
			t.Errorf("write gave %v", err)
		}
		if got := files(t, dir); got != before {
			t.Errorf("%d files, %d before", got, before)
		}
	})
	t.Run("record larger than the memory", func(t *testing.T) {
		s := New(Config{Dir: t.TempDir(), Memory: 1 << 10})
		if err := s.Add([]byte("a"), nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Add([]byte("b"), make([]byte, 1<<10)); err == nil {
			t.Error("Add gave no error")
		}
		if err := s.Add([]byte("c"), nil); err != nil {
			t.Errorf("the next Add gave %v", err)
		}
		r, err := s.Sorted()
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff([]string{`"a" "" 1`, `"c" "" 1`}, drain(t, r, nil)); diff != "" {
			t.Error(diff)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("run cut short", func(t *testing.T) {
		s, _ := spilling(t)
		r, err := s.Sorted()
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(s.spill.runs[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(s.spill.runs[1], info.Size()-3); err != nil {
			t.Fatal(err)
		}
		it, err := r.Walk(nil)
		for err == nil {
			_, err = it.Next()
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the walk ended with %v", err)
		}
		if err := it.Close(); err != nil {
			t.Error(err)
		}
		if err := os.Remove(s.spill.runs[1]); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Walk(nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Walk without a run gave %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
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
	return Record{Key: fmt.Appendf(nil, "a key of some length %d", f.n), Value: []byte("value"), Count: 1}, nil
}

func (f *failing) close() error { return nil }

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

// TestMemory sorts forty times what fits and checks that what was allocated
// in all, garbage included, is a few times Config.Memory, and that no more
// files stay open at once than are merged at once.
func TestMemory(t *testing.T) {
	const memory = 1 << 20
	dir := t.TempDir()
	s := New(Config{Dir: dir, Memory: memory})
	s.spill.fanIn = 8
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	key := make([]byte, 26)
	seed := uint64(1)
	const n = 1_000_000
	for range n {
		for i := range key {
			seed = seed*6364136223846793005 + 1442695040888963407
			key[i] = byte(seed >> 56)
		}
		if err := s.Add(key, nil); err != nil {
			t.Fatal(err)
		}
	}
	spilled := len(s.spill.runs)
	r, err := s.Sorted()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.spill.runs) > 8 {
		t.Errorf("%d runs are left", len(s.spill.runs))
	}
	it, err := r.Walk(nil)
	if err != nil {
		t.Fatal(err)
	}
	count := int64(0)
	for {
		rec, err := it.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		count += rec.Count
	}
	runtime.ReadMemStats(&after)
	if count != n || spilled < 40 {
		t.Errorf("%d records, %d runs", count, spilled)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 4*memory {
		t.Errorf("%d bytes were allocated with a memory of %d", grown, memory)
	}
	if err := errors.Join(it.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}
