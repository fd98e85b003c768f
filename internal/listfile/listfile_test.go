package listfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sesame/internal/address"
)

// fataler is a testing.T, a testing.F or a rapid.T.
type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// hashOf gives a hash and a kind for any key.
func hashOf(key []byte) (uint64, address.Kinds) {
	h := fnv.New64a()
	h.Write(key)
	hash := h.Sum64() * 0x9E3779B97F4A7C15
	hash ^= hash >> 32
	if hash%5 == 0 {
		return hash, address.Prefix(int(hash % 20))
	}
	return hash, address.Exact
}

// write makes a file of the rows and gives its path.
func write(t fataler, dir string, rows []Row) string {
	t.Helper()
	path := filepath.Join(dir, fmt.Sprintf("%d.list", rand.Uint64()))
	w, err := Create(path, Bounds{Exact: int64(len(rows)), Patterns: int64(len(rows) / 4)})
	if err != nil {
		t.Fatal(err)
	}
	var want Summary
	var key, shown []byte
	for _, r := range rows {
		key, shown = append(key[:0], r.Key...), append(shown[:0], r.Shown...)
		hash, kind := hashOf(key)
		if err := w.Add(Row{Key: key, Shown: shown, Created: r.Created}, hash, kind); err != nil {
			t.Fatal(err)
		}
		clear(key) // Add must have copied it
		clear(shown)
		want.Rows++
		want.Kinds |= kind
		if kind != address.Exact {
			want.Patterns++
		}
	}
	got, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	want.Size = info.Size()
	if got != want {
		t.Fatalf("Close gives %+v, want %+v", got, want)
	}
	if got := open(t, path).Summary(); got != want {
		t.Fatalf("the file's summary is %+v, want %+v", got, want)
	}
	return path
}

func open(t fataler, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// sameRow compares; it is for loops that cmp.Diff is too slow for.
func sameRow(a, b Row) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Shown, b.Shown) && (a.Shown == nil) == (b.Shown == nil) && a.Created == b.Created
}

// checkFind looks a key up and compares with the rows.
func checkFind(t fataler, f *File, rows []Row, key []byte) {
	t.Helper()
	i, held := slices.BinarySearchFunc(rows, key, func(r Row, key []byte) int { return bytes.Compare(r.Key, key) })
	got, ok, err := f.Find(key)
	if err != nil {
		t.Fatal(err)
	}
	if ok != held || held && !sameRow(got, rows[i]) || !held && !sameRow(got, Row{}) {
		t.Fatalf("Find(%q) = %v, %v", key, got, ok)
	}
	if !held {
		return
	}
	if hash, kind := hashOf(key); !f.MayHold(hash, kind == address.Exact) {
		t.Fatalf("the filter does not have %q", key)
	}
	// The slices are the caller's own, and do not reach into each other.
	shown := bytes.Clone(got.Shown)
	clear(append(got.Key, "more"...))
	if !bytes.Equal(got.Shown, shown) {
		t.Fatalf("the key and the shown form of %q are not apart", key)
	}
}

// checkWalk walks over up to most rows and compares with the rows.
func checkWalk(t fataler, f *File, rows []Row, from []byte, after bool, most int) {
	t.Helper()
	i, held := slices.BinarySearchFunc(rows, from, func(r Row, key []byte) int { return bytes.Compare(r.Key, key) })
	if held && after {
		i++
	}
	c := f.Walk(from, after)
	for ; most > 0; most-- {
		r, err := c.Next()
		if i == len(rows) {
			if _, again := c.Next(); err != io.EOF || again != io.EOF || !sameRow(r, Row{}) {
				t.Fatalf("from %q: behind the last row: %v, %v, %v", from, r, err, again)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !sameRow(r, rows[i]) {
			t.Fatalf("from %q: row %d is %v, want %v", from, i, r, rows[i])
		}
		for _, s := range [][]byte{r.Key, r.Shown} {
			start, at := uintptr(unsafe.Pointer(&f.data[0])), uintptr(unsafe.Pointer(unsafe.SliceData(s)))
			if at >= start && at < start+uintptr(len(f.data)) {
				t.Fatalf("from %q: row %d is the mapped memory itself", from, i)
			}
		}
		i++
	}
}

// neighbours gives keys that are close to one.
func neighbours(key []byte) [][]byte {
	out := [][]byte{append(bytes.Clone(key), 0), append(bytes.Clone(key), 0xff)}
	if n := len(key); n > 0 {
		less, more := bytes.Clone(key), bytes.Clone(key)
		less[n-1]--
		more[n-1]++
		out = append(out, less, more, key[:n-1], key[:n/2])
	}
	return out
}

// TestModel writes random rows and compares everything with a sorted slice.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		alphabet := rapid.SampledFrom([]string{"a", "a\x00", "\x00\xff", "ab@.", "abcdefghijklmnopqrstuvwxyz0123456789.@"}).Draw(t, "alphabet")
		longest := rapid.SampledFrom([]int{1, 3, 12, 40, 512}).Draw(t, "longest")
		count := rapid.SampledFrom([]int{0, 1, 2, 31, 40, 300, 2000}).Draw(t, "rows")
		old := rapid.SampledFrom([]int{0, 2, 10}).Draw(t, "of ten keys so many begin as another")
		spread := rapid.SampledFrom([]int64{1, 100, math.MaxInt64}).Draw(t, "spread of created")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))

		byKey := map[string]Row{}
		keys := [][]byte{nil}
		for range count {
			var key []byte
			if rnd.IntN(10) < old {
				key = bytes.Clone(keys[rnd.IntN(len(keys))])
				key = key[:rnd.IntN(len(key)+1)]
			}
			for n := rnd.IntN(longest + 1); len(key) < n; {
				key = append(key, alphabet[rnd.IntN(len(alphabet))])
			}
			r := Row{Key: key, Created: rnd.Int64N(spread) * (1 - 2*rnd.Int64N(2))}
			if rnd.IntN(3) == 0 {
				r.Shown = bytes.Repeat([]byte{'S'}, 1+rnd.IntN(longest))
			}
			byKey[string(key)] = r
			keys = append(keys, key)
		}
		var rows []Row
		for _, r := range byKey {
			rows = append(rows, r)
		}
		slices.SortFunc(rows, func(a, b Row) int { return bytes.Compare(a.Key, b.Key) })
		f := open(t, write(t, dir, rows))
		checkWalk(t, f, rows, nil, false, len(rows)+1)
		for i, r := range rows {
			checkFind(t, f, rows, r.Key)
			if i%7 > 0 && i != len(rows)-1 {
				continue
			}
			for _, k := range neighbours(r.Key) {
				checkFind(t, f, rows, k)
				checkWalk(t, f, rows, k, i%2 == 0, 3)
			}
			checkWalk(t, f, rows, r.Key, false, 40)
			checkWalk(t, f, rows, r.Key, true, 40)
		}
		for _, k := range [][]byte{nil, {}, {0}, {0xff}, bytes.Repeat([]byte{0xff}, 600)} {
			checkFind(t, f, rows, k)
			checkWalk(t, f, rows, k, true, 3)
		}
	})
}

// manyRows look like addresses.
var manyRows = sync.OnceValue(func() []Row {
	rows := make([]Row, 100_000)
	for i := range rows {
		rows[i] = Row{Key: fmt.Appendf(nil, "anna.berg%07d@mail%d.example", i, i%3), Created: 1_780_000_000_000 + int64(i/1000)}
		if i%10 == 0 {
			rows[i].Shown = append([]byte("A"), rows[i].Key[1:]...)
		}
	}
	return rows
})

// numbered gives the first of them.
func numbered(n int) []Row { return manyRows()[:n:n] }

// TestSizes has leaves and index blocks that are just full, or have one more or
// less.
func TestSizes(t *testing.T) {
	const block = leafRows * indexChildren
	for n, height := range map[int]int{
		0: 0, 1: 0, leafRows - 1: 0, leafRows: 0, leafRows + 1: 1,
		block - 1: 1, block: 1, block + 1: 2, 2*block - 1: 2, 2 * block: 2, 2*block + 1: 2,
		block*indexChildren - 1: 2, block * indexChildren: 2, block*indexChildren + 1: 3,
	} {
		rows := numbered(n)
		f := open(t, write(t, t.TempDir(), rows))
		if f.height != height {
			t.Errorf("%d rows: %d levels, want %d", n, f.height, height)
		}
		checkWalk(t, f, rows, nil, false, n+1)
		for i, r := range rows {
			// All around the ends of the leaves, and some of the others.
			if at := i % leafRows; n < 5000 && (at < 2 || at > leafRows-2) || i%101 == 0 {
				checkFind(t, f, rows, r.Key)
				checkFind(t, f, rows, r.Key[:len(r.Key)-1])
			}
		}
		checkFind(t, f, rows, []byte("a"))
		checkFind(t, f, rows, []byte("b"))
		if n > 0 {
			checkWalk(t, f, rows, rows[n-1].Key, true, 2)
			checkWalk(t, f, rows, rows[n/2].Key, false, 3*leafRows)
		}
	}
}

// TestFormat holds the bytes of the format fast. Whoever must change them raises
// the version.
func TestFormat(t *testing.T) {
	path := write(t, t.TempDir(), []Row{
		{Key: []byte("anna@example.com"), Created: 1_780_000_000_000},
		{Key: []byte("anne@example.com"), Shown: []byte("Anne@example.com"), Created: 1_780_000_000_003},
	})
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	leaf := "\x3a\x00" +
		"\x00\x20anna@example.com\x00" +
		"\x03\x1be@example.com\x06\x10Anne@example.com"
	want := "sesamelf\x01\x00\x00\x00\x00\x00\x00\x00" + leaf +
		string(binary.LittleEndian.AppendUint32(nil, crc32.Checksum([]byte(leaf), castagnoli)))
	if diff := cmp.Diff(want, string(got[:len(want)])); diff != "" {
		t.Error(diff)
	}
	if len(got) != 4096+2*lineSize+footerSize {
		t.Errorf("%d bytes", len(got))
	}
	// Two levels of index as well.
	got, err = os.ReadFile(write(t, t.TempDir(), numbered(2000)))
	if err != nil {
		t.Fatal(err)
	}
	if sum := crc32.Checksum(got, castagnoli); sum != 0x85e946ee {
		t.Errorf("the checksum of 2000 rows is %#x", sum)
	}
}

func TestUnordered(t *testing.T) {
	for _, c := range [][2]string{{"b", "a"}, {"b", "b"}, {"ab", "a"}, {"", ""}, {"a", ""}, {"\xff", "\x7f"}} {
		w, err := Create(filepath.Join(t.TempDir(), "list"), Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add(Row{Key: []byte(c[0])}, 1, address.Exact); err != nil {
			t.Fatal(err)
		}
		refused := w.Add(Row{Key: []byte(c[1])}, 1, address.Exact)
		if refused == nil {
			t.Fatalf("%q was taken after %q", c[1], c[0])
		}
		// A file that lacks a row must not come to be.
		if err := w.Add(Row{Key: []byte("c")}, 1, address.Exact); err != refused {
			t.Errorf("the next Add gives %v", err)
		}
		if _, err := w.Close(); err != refused {
			t.Errorf("Close gives %v", err)
		}
		if err := w.Abandon(); err != nil {
			t.Error(err)
		}
	}
}

func TestTooLong(t *testing.T) {
	for _, r := range []Row{{Key: make([]byte, maxLength+1)}, {Key: []byte("a"), Shown: make([]byte, maxLength+1)}} {
		w, err := Create(filepath.Join(t.TempDir(), "list"), Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add(r, 1, address.Exact); err == nil {
			t.Errorf("a key of %d bytes and a shown form of %d were taken", len(r.Key), len(r.Shown))
		}
		if err := w.Abandon(); err != nil {
			t.Error(err)
		}
	}
}

func TestCreate(t *testing.T) {
	path := write(t, t.TempDir(), numbered(3))
	if _, err := Create(path, Bounds{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create gives %v for a file that is there", err)
	}
	checkWalk(t, open(t, path), numbered(3), nil, false, 4)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("the mode is %v", info.Mode())
	}
}

// TestAbandon ends writers at every stage.
func TestAbandon(t *testing.T) {
	exists := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	for _, n := range []int{0, 1, 60_000} {
		path := filepath.Join(t.TempDir(), "list")
		w, err := Create(path, Bounds{Exact: int64(n)})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range numbered(n) {
			if err := w.Add(r, 1, address.Exact); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := w.Abandon(); err != nil || exists(path) {
				t.Errorf("after %d rows: %v, the file is there: %v", n, err, exists(path))
			}
		}
		if err := w.Add(Row{Key: []byte("z")}, 1, address.Exact); err == nil {
			t.Error("Add after Abandon gives no error")
		}
		if _, err := w.Close(); err == nil {
			t.Error("Close after Abandon gives no error")
		}
	}
	t.Run("after Close", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "list")
		w, err := Create(path, Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := w.Abandon(); err != nil || !exists(path) {
			t.Errorf("%v, the file is there: %v", err, exists(path))
		}
		if _, err := w.Close(); err == nil {
			t.Error("the second Close gives no error")
		}
	})
	t.Run("without the file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "list")
		w, err := Create(path, Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := w.Abandon(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Abandon gives %v", err)
		}
	})
}

// TestFailedWrite takes the file away from under the writer.
func TestFailedWrite(t *testing.T) {
	for _, n := range []int{0, 10, 60_000} { // the last are more than what is written at once
		path := filepath.Join(t.TempDir(), "list")
		w, err := Create(path, Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.f.Close(); err != nil {
			t.Fatal(err)
		}
		var failed error
		for _, r := range numbered(n) {
			err := w.Add(r, 1, address.Exact)
			if failed != nil && err != failed {
				t.Fatalf("Add gives %v after %v", err, failed)
			}
			failed = err
		}
		if (failed != nil) != (n == 60_000) {
			t.Errorf("%d rows: %v", n, failed)
		}
		if _, err := w.Close(); !errors.Is(err, os.ErrClosed) || failed != nil && err != failed {
			t.Errorf("%d rows: Close gives %v", n, err)
		}
		if err := w.Abandon(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Abandon: %v", err)
		}
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	rows := numbered(10_000)
	w, err := Create(filepath.Join(t.TempDir(), "list"), Bounds{Exact: int64(len(rows))})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(len(rows)-1, func() {
		if err := w.Add(rows[0], 1, address.Exact); err != nil {
			t.Fatal(err)
		}
		rows = rows[1:]
	}); n != 0 {
		t.Errorf("%v allocations a row", n)
	}
	if err := w.Abandon(); err != nil {
		t.Error(err)
	}
}

// TestFilters asks for hashes that are not there.
func TestFilters(t *testing.T) {
	const n = 100_000
	for _, c := range []struct {
		kind   address.Kinds
		exact  bool
		bounds Bounds
	}{
		{address.Exact, true, Bounds{Exact: n}},
		{address.Domain, false, Bounds{Patterns: n}},
	} {
		w, err := Create(filepath.Join(t.TempDir(), "list"), c.bounds)
		if err != nil {
			t.Fatal(err)
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		hashes := make([]uint64, n)
		for i, r := range numbered(n) {
			hashes[i] = rnd.Uint64()
			if err := w.Add(r, hashes[i], c.kind); err != nil {
				t.Fatal(err)
			}
		}
		sum, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		if c.exact != (sum.Patterns == 0) {
			t.Errorf("%+v", sum)
		}
		f := open(t, w.path)
		for _, h := range hashes {
			if !f.MayHold(h, c.exact) {
				t.Fatalf("the filter does not have %x", h)
			}
		}
		wrong := 0
		for range n {
			if f.MayHold(rnd.Uint64(), c.exact) {
				wrong++
			}
		}
		if f.MayHold(hashes[0], !c.exact) {
			t.Error("the other filter is not empty")
		}
		if wrong == 0 || wrong > n/500 {
			t.Errorf("of %d hashes that are not there the filter lets %d through", n, wrong)
		}
	}
}

func TestFilterSize(t *testing.T) {
	for rows, want := range map[int64]int64{
		math.MinInt64: lineSize, 0: lineSize, 1: lineSize, 32: lineSize, 33: 2 * lineSize, 10_000_000: 20_000_000,
		1 << 26: maxFilter, 1<<26 + 1: maxFilter, math.MaxInt64: maxFilter,
	} {
		if got := filterSize(rows); got != want {
			t.Errorf("%d rows: %d bytes, want %d", rows, got, want)
		}
	}
	// More rows than were announced are no error, nor are fewer, and all are found.
	for _, bounds := range []Bounds{{Exact: -1, Patterns: -1}, {Exact: 6_000_000}} {
		w, err := Create(filepath.Join(t.TempDir(), "list"), bounds)
		if err != nil {
			t.Fatal(err)
		}
		rows := numbered(1000)
		for _, r := range rows {
			hash, kind := hashOf(r.Key)
			if err := w.Add(r, hash, kind); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		f := open(t, w.path)
		for _, r := range rows {
			checkFind(t, f, rows, r.Key)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("a folder was opened")
	}
	for _, n := range []int64{0, 1, headerSize + footerSize - 1, headerSize + footerSize, 10_000} {
		path := filepath.Join(dir, "zeros")
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, n)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%d zeros: %v", n, err)
		}
	}
	path := write(t, dir, numbered(1))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[8] = 7
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "version 7") {
		t.Errorf("another version: %v", err)
	}
}

// TestConcurrent has several goroutines read one File.
func TestConcurrent(t *testing.T) {
	rows := numbered(3000)
	f := open(t, write(t, t.TempDir(), rows))
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Go(func() {
			for i := g; i < len(rows); i += 2 {
				r := rows[i*7%len(rows)]
				hash, kind := hashOf(r.Key)
				got, ok, err := f.Find(r.Key)
				if err != nil || !ok || !sameRow(got, r) || !f.MayHold(hash, kind == address.Exact) {
					t.Errorf("Find(%q) = %v, %v, %v", r.Key, got, ok, err)
				}
			}
			n := 0
			for c := f.Walk(nil, false); ; n++ {
				if _, err := c.Next(); err == io.EOF {
					break
				} else if err != nil {
					t.Error(err)
					break
				}
			}
			if n != len(rows) {
				t.Errorf("%d rows", n)
			}
		})
	}
	wait.Wait()
}

// An index of more than a megabyte is kept aside in a file until the leaves are
// written, and nothing of that is left; the same when the file is given up.
func TestLargeIndex(t *testing.T) {
	const rows = 100_000
	// Both sides of the border of two leaves begin alike, so separators are long.
	long := strings.Repeat("x", 400)
	key := func(i int) []byte {
		return fmt.Appendf(nil, "%06d%s%02d", (i+leafRows/2)/leafRows, long, (i+leafRows/2)%leafRows)
	}
	for _, abandon := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "list")
		w, err := Create(path, Bounds{Exact: rows})
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			if err := w.Add(Row{Key: key(i), Created: int64(i)}, uint64(i), address.Exact); err != nil {
				t.Fatal(err)
			}
		}
		if w.index.f == nil || len(w.index.buf) >= writeSize {
			t.Fatalf("of %d bytes of index %d are in memory", w.index.size, len(w.index.buf))
		}
		if abandon {
			err = w.Abandon()
		} else {
			_, err = w.Close()
		}
		if err != nil || w.index.f != nil {
			t.Fatalf("at the end: error %v, the file aside is %v", err, w.index.f)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 1 || abandon && len(left) > 0 {
			t.Fatalf("left in the folder: %v, error %v", left, err)
		}
		if abandon {
			continue
		}
		f := open(t, path)
		for i := 0; i < rows; i += 97 {
			got, ok, err := f.Find(key(i))
			if err != nil || !ok || got.Created != int64(i) {
				t.Fatalf("Find of row %d: %+v, %v, %v", i, got, ok, err)
			}
		}
		for i := range rows - 1 { // between two rows there is none
			if i%997 == 0 {
				if _, ok, err := f.Find(append(key(i), 'x')); ok || err != nil {
					t.Fatalf("Find behind row %d: %v, %v", i, ok, err)
				}
			}
		}
		c := f.Walk(nil, false)
		for i := range rows {
			row, err := c.Next()
			if err != nil || row.Created != int64(i) {
				t.Fatalf("row %d of the walk: %+v, %v", i, row, err)
			}
		}
	}
}
