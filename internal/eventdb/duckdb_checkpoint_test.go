package eventdb

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	acknowledged := map[int]bool{}
	for n := range 60 {
		if _, err := d.Append(t.Context(), childBatch(0, n)); err != nil {
			t.Fatal(err)
		}
		acknowledged[n] = true
		if n%10 == 9 && n < 50 {
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
	if !bytes.Equal(before[:headSize], after[:headSize]) {
		t.Fatal("the checkpoint changed the head")
	}

	r := rand.New(rand.NewPCG(5, 5))
	torn := 0
	for i := range images {
		image := bytes.Clone(after)
		for at := headSize; at < len(before); at += blockSize {
			here, old := image[at:min(at+blockSize, len(image))], before[at:min(at+blockSize, len(before))]
			switch cut := r.IntN(blockSize/4096 + 1); {
			case bytes.Equal(here, old):
			case i%2 == 0: // a write that ended early
				copy(here[min(cut*4096, len(here)):], old[min(cut*4096, len(old)):])
			default: // pages that came to the disk in no order
				for page := 0; page < len(old); page += 4096 {
					if r.IntN(2) == 0 {
						copy(here[page:], old[page:page+4096])
					}
				}
			}
		}
		opens := func(undo []byte) error {
			path := filepath.Join(t.TempDir(), "events")
			for suffix, data := range map[string][]byte{"": image, ".wal": log, undoSuffix: undo} {
				if err := os.WriteFile(path+suffix, data, 0o600); err != nil {
					t.Fatal(err)
				}
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
	t.Logf("%d of %d images do not open as DuckDB has them", torn, images)
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
			if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
				t.Fatal(err)
			}
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

// A store whose making was cut off is made anew; another file is left alone.
func TestHalfMade(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "events")
	closeIt(t, openAt(t, whole))
	head := readFile(t, whole)
	for _, size := range []int{0, 4096, 8192} {
		path := filepath.Join(t.TempDir(), "events")
		if err := os.WriteFile(path, head[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		closeIt(t, openAt(t, path))
		if err := os.WriteFile(path, head[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".wal", []byte("what a store had"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), path, testMemory); err == nil || len(readFile(t, path)) != size {
			t.Errorf("with a log, %d bytes of a store were made anew", size)
		}
	}
	path := filepath.Join(t.TempDir(), "events")
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, testMemory); err == nil || string(readFile(t, path)) != "something else" {
		t.Errorf("another file was taken for a store: %v", err)
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
