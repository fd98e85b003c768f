package eventdb

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sesame/internal/events"
)

// A store that a checkpoint was writing when its process or machine went away opens
// with all that was acknowledged, whatever of the checkpoint's bytes are there.
func TestTornCheckpoint(t *testing.T) {
	images := 24
	if testing.Short() {
		images = 8
	}
	path := filepath.Join(t.TempDir(), "events")
	d, err := open(t.Context(), path, testMemory, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	var wide []string
	for i := range 400 {
		wide = append(wide, fmt.Sprintf("a_column_that_is_there_for_its_name_%d BIGINT", i))
	}
	acknowledged := map[int]bool{}
	for n := range 60 {
		if _, err := d.Append(t.Context(), childBatch(0, n)); err != nil {
			t.Fatal(err)
		}
		acknowledged[n] = true
		if n%10 == 9 && n < 50 {
			for i := range 5 { // so that there are several blocks of metadata
				table := fmt.Sprintf("wide_%d_%d", n, i)
				_, err := d.db.ExecContext(t.Context(), "CREATE TABLE "+table+" ("+strings.Join(wide, ", ")+"); INSERT INTO "+table+" DEFAULT VALUES")
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := d.log.run(); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := readFile(t, path)
	if _, err := d.db.ExecContext(t.Context(), "SET GLOBAL debug_checkpoint_abort = 'AFTER_FREE_LIST_WRITE'"); err != nil {
		t.Fatal(err)
	}
	if err := d.log.run(); err == nil || d.Ping(t.Context()) == nil {
		t.Fatalf("the checkpoint gave %v", err)
	}
	after, log, undo := readFile(t, path), readFile(t, path+".wal"), readFile(t, path+undoSuffix)
	_ = d.Close() // it tells of the checkpoint again
	blocks := 0
	for at := headSize; at+undoBlock < len(undo); at += undoBlock {
		if in := binary.LittleEndian.Uint64(undo[at:]); !bytes.Equal(before[in:in+blockSize], after[in:in+blockSize]) {
			blocks++
		}
	}
	if blocks < 2 {
		t.Errorf("the checkpoint wrote over %d blocks of metadata", blocks)
	}
	if !bytes.Equal(before[:headSize], after[:headSize]) {
		t.Fatal("the checkpoint changed the head")
	}

	r := rand.New(rand.NewPCG(5, 5))
	torn := 0
	for i := range images {
		image := tear(r, before, after, i%2 == 0)
		opens := func(undo []byte) error {
			path := filepath.Join(t.TempDir(), "events")
			for suffix, data := range map[string][]byte{"": image, ".wal": log, undoSuffix: undo} {
				writeFile(t, path+suffix, data)
			}
			d, err := Open(context.Background(), path, testMemory)
			if err != nil {
				return err
			}
			check(t, d, acknowledged)
			closeIt(t, d)
			if _, err := os.Stat(path + undoSuffix); err == nil {
				t.Error("what was kept is still there after the store was closed")
			}
			closeIt(t, openAt(t, path))
			return nil
		}
		if err := opens(undo); err != nil {
			t.Fatalf("image %d: %v", i, err)
		}
		if err := opens(nil); err != nil {
			if !strings.Contains(err.Error(), "checksum") {
				t.Fatal(err)
			}
			torn++
		}
	}
	if torn < images/4 {
		t.Errorf("only %d of %d images were torn", torn, images)
	}
	t.Logf("a checkpoint wrote over %d blocks; %d of %d images of it do not open as DuckDB has them", blocks, torn, images)
}

// tear gives a store as it is while after is written over before: of each block that
// differs its first pages, when it is a process that ends, or any, when a machine does.
func tear(r *rand.Rand, before, after []byte, first bool) []byte {
	image := bytes.Clone(after)
	for at := headSize; at < len(before); at += blockSize {
		here, old := image[at:at+blockSize], before[at:at+blockSize]
		if bytes.Equal(here, old) {
			continue
		}
		cut := r.IntN(blockSize/4096 + 1)
		for page := range blockSize / 4096 {
			if first && page >= cut || !first && r.IntN(2) == 0 {
				copy(here[page*4096:], old[page*4096:(page+1)*4096])
			}
		}
	}
	return image
}

// What is kept is put back only when it is whole and of the checkpoint that was cut
// off.
func TestPutBackOnlyWhatFits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	d := openAt(t, path)
	defer closeIt(t, d)
	checkpoint := func(n int) {
		t.Helper()
		if _, err := d.Append(t.Context(), childBatch(n, n)); err != nil {
			t.Fatal(err)
		}
		if err := d.log.run(); err != nil {
			t.Fatal(err)
		}
	}
	checkpoint(1)
	if err := d.log.save(); err != nil {
		t.Fatal(err)
	}
	data, undo := readFile(t, path), readFile(t, path+undoSuffix)
	checkpoint(2)
	later := readFile(t, path)

	damaged := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at]++
		return b
	}
	for name, c := range map[string]struct{ data, undo, want []byte }{
		"what fits":              {damaged(data, headSize+5000), undo, data},
		"of another checkpoint":  {damaged(later, headSize+5000), undo, nil},
		"changed":                {damaged(data, headSize+5000), damaged(undo, headSize+10_000), nil},
		"changed where it goes":  {damaged(data, headSize+5000), damaged(undo, headSize+2), nil},
		"without its end":        {damaged(data, headSize+5000), undo[:len(undo)-1], nil},
		"without its last block": {damaged(data, headSize+5000), undo[:len(undo)-undoBlock], nil},
		"without most of it":     {damaged(data, headSize+5000), undo[:100], nil},
		"empty, as it mostly is": {damaged(data, headSize+5000), nil, nil},
		"what is there already":  {data, undo, nil},
	} {
		path := filepath.Join(t.TempDir(), "events")
		for suffix, b := range map[string][]byte{"": c.data, undoSuffix: c.undo} {
			writeFile(t, path+suffix, b)
		}
		if err := mend(path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.want == nil {
			c.want = c.data
		}
		if !bytes.Equal(readFile(t, path), c.want) {
			t.Errorf("%s: the store is another than it should be", name)
		}
	}
}

// A store whose making was cut off is made anew; anything else is left alone.
func TestHalfMade(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "events")
	closeIt(t, openAt(t, whole))
	head := readFile(t, whole)
	for _, size := range []int{0, 4096, 8192} {
		path := filepath.Join(t.TempDir(), "events")
		writeFile(t, path, head[:size])
		closeIt(t, openAt(t, path))
	}
	for name, c := range map[string]struct {
		data   []byte
		beside string
	}{
		"with a log":                   {head[:4096], ".wal"},
		"with a log of a checkpoint":   {head[:4096], laterLogSuffix},
		"with what a checkpoint kept":  {nil, undoSuffix},
		"cut where making is not":      {head[:5000], ".txt"},
		"something else":               {[]byte("text"), ".txt"},
		"something else of one page":   {bytes.Repeat([]byte("text"), 1024), ".txt"},
		"a whole store, but no blocks": {head[:headSize-1], ".txt"},
	} {
		path := filepath.Join(t.TempDir(), "events")
		writeFile(t, path, c.data)
		writeFile(t, path+c.beside, []byte("kept"))
		if d, err := Open(t.Context(), path, testMemory); err == nil {
			closeIt(t, d)
			t.Errorf("%s: it was made anew", name)
		}
		if !bytes.Equal(readFile(t, path), c.data) {
			t.Errorf("%s: it was changed", name)
		}
	}
}

// Logs that were begun and have nothing in them yet are no reason not to open.
func TestBegunLogs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	d := openAt(t, path)
	add(t, d, 1, event(1, events.Send, start, nil))
	if err := d.log.run(); err != nil {
		t.Fatal(err)
	}
	data := readFile(t, path)
	add(t, d, 1, event(2, events.Send, start, nil))
	log := readFile(t, path+".wal")
	if _, err := d.db.ExecContext(t.Context(), "SET GLOBAL debug_checkpoint_abort = 'AFTER_FREE_LIST_WRITE'"); err != nil {
		t.Fatal(err)
	}
	if err := d.log.run(); err == nil {
		t.Fatal("the checkpoint was done")
	}
	marked, undo := readFile(t, path+".wal"), readFile(t, path+undoSuffix) // the log says that a checkpoint was begun
	if bytes.Equal(marked, log) {
		t.Fatal("the log does not say that a checkpoint was begun")
	}
	_ = d.Close()               // it tells of the checkpoint again
	zeros := make([]byte, 1000) // the machine went down before their pages came to the disk
	for n := 0; n <= 2*leastLog; n += 4 {
		for name, beside := range map[string]map[string][]byte{
			"the log":               {".wal": log[:n]},
			"the later of two logs": {".wal": marked, undoSuffix: undo, laterLogSuffix: log[:n]},
			"zeros for the later":   {".wal": marked, undoSuffix: undo, laterLogSuffix: zeros[:8*n]},
		} {
			path := filepath.Join(t.TempDir(), "events")
			writeFile(t, path, data)
			for suffix, b := range beside {
				writeFile(t, path+suffix, b)
			}
			want := int64(1)
			if len(beside) > 1 {
				want = 2
			}
			d, err := Open(t.Context(), path, testMemory)
			if err != nil {
				t.Errorf("%s of %d bytes: %v", name, n, err)
				continue
			}
			if got := total(t, d, Query{Metric: Sends}); got != want {
				t.Errorf("%s of %d bytes: %d events, want %d", name, n, got, want)
			}
			closeIt(t, d)
		}
	}
}

// A second log that cannot be read is not taken for one that has nothing in it.
func TestUnreadableLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	d := openAt(t, path)
	add(t, d, 1, event(1, events.Send, start, nil))
	closeIt(t, d)
	unreadable := "/proc/self/mem" // nothing is mapped at its beginning
	if err := os.Symlink(unreadable, path+laterLogSuffix); err != nil {
		t.Fatal(err)
	}
	if d, err := Open(t.Context(), path, testMemory); err == nil || !strings.Contains(err.Error(), "input/output error") {
		if err == nil {
			closeIt(t, d)
		}
		t.Errorf("opening gave %v", err)
	}
	if _, err := os.Lstat(path + laterLogSuffix); err != nil {
		t.Errorf("the log: %v", err)
	}
}

// Opening that is given up writes no log in its place.
func TestOpenCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	d := openAt(t, path)
	add(t, d, 1, event(1, events.Send, start, nil))
	data, log := readFile(t, path), readFile(t, path+".wal")
	closeIt(t, d)
	writeFile(t, path, data)
	writeFile(t, path+".wal", log)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d, err := Open(ctx, path, testMemory); err == nil {
		closeIt(t, d)
		t.Error("it was opened")
	}
	if !bytes.Equal(readFile(t, path), data) || !bytes.Equal(readFile(t, path+".wal"), log) {
		t.Error("the store was changed")
	}
}

// What keeps a checkpoint from being done is told, and the checkpoint is done when that
// is over, also when no more events come.
func TestCheckpointFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	if err := os.Mkdir(path+undoSuffix, 0o700); err != nil {
		t.Fatal(err)
	}
	if d, err := Open(t.Context(), path, testMemory); err == nil || !strings.Contains(err.Error(), "is a directory") {
		if err == nil {
			closeIt(t, d)
		}
		t.Errorf("with a folder in its way: %v", err)
	}
	if err := os.Remove(path + undoSuffix); err != nil {
		t.Fatal(err)
	}
	d, err := open(t.Context(), path, testMemory, 1)
	if err != nil {
		t.Fatal(err)
	}
	add(t, d, 1, event(1, events.Send, start, nil))
	undo := func(flag int) {
		t.Helper()
		d.log.using.Lock()
		defer d.log.using.Unlock()
		_ = d.log.undo.Close()
		if d.log.undo, err = os.OpenFile(path+undoSuffix, flag, 0); err != nil {
			t.Fatal(err)
		}
	}
	isWell := func() {
		t.Helper()
		for begun := time.Now(); d.Ping(t.Context()) != nil; time.Sleep(time.Millisecond) {
			if time.Since(begun) > time.Minute {
				t.Fatal(d.Ping(t.Context()))
			}
		}
	}
	undo(os.O_RDONLY)
	add(t, d, 1, event(2, events.Send, start, nil))
	for begun := time.Now(); d.Ping(t.Context()) == nil; time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("Ping does not tell of a checkpoint that failed")
		}
	}
	add(t, d, 1, event(3, events.Send, start, nil)) // no events are refused for it
	undo(os.O_RDWR)
	isWell()
	if got := total(t, d, Query{Metric: Sends}); got != 3 {
		t.Errorf("%d events are there", got)
	}
	closeIt(t, d)

	d = openAt(t, path) // its log never is as large as for a checkpoint
	defer closeIt(t, d)
	undo(os.O_RDONLY)
	if n, err := d.DropBefore(t.Context(), start.Add(time.Hour)); n != 3 || err != nil || d.Ping(t.Context()) == nil {
		t.Errorf("%d events dropped: %v; Ping: %v", n, err, d.Ping(t.Context()))
	}
	undo(os.O_RDWR)
	isWell()
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
