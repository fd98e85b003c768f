package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

func openFolder(t *testing.T, root string) *Folder {
	t.Helper()
	f, err := OpenFolder(root)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func fine(int64) error { return nil }

func put(t *testing.T, f *Folder, key, content string) {
	t.Helper()
	size, err := f.Put(context.Background(), key, strings.NewReader(content), fine)
	if err != nil || size != int64(len(content)) {
		t.Fatalf("Put %s: %d, %v; want %d", key, size, err, len(content))
	}
}

// content gives an object's, and false when there is none.
func content(t *testing.T, f *Folder, key string) (string, bool) {
	t.Helper()
	r, err := f.Open(context.Background(), key)
	if errors.Is(err, ErrNotFound) {
		return "", false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), true
}

func keys(t *testing.T, f *Folder) []string {
	t.Helper()
	found := []string{}
	err := f.Each(context.Background(), func(key string, put time.Time) error {
		if age := time.Since(put); age < -time.Minute || age > time.Minute {
			t.Errorf("%s was put %v ago", key, age)
		}
		found = append(found, key)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// partial gives how many unfinished objects there are.
func partial(t *testing.T, f *Folder) int {
	t.Helper()
	left, err := os.ReadDir(f.tmp)
	if err != nil {
		t.Fatal(err)
	}
	return len(left)
}

func TestPutOpenDelete(t *testing.T) {
	root := filepath.Join(t.TempDir(), "made", "if", "need be")
	f := openFolder(t, root)
	want := map[string]string{"a": "", "imports/job-1-x": "one", "imports/job-1-y": strings.Repeat("0123456789", 50_000), "imports-2": "a b", "deep/er/and/deeper": "\x00\xff", "ä ö?%#": "odd"}
	for key, text := range want {
		put(t, f, key, text)
	}
	for range 2 {
		for key, text := range want {
			if got, ok := content(t, f, key); !ok || got != text {
				t.Errorf("%s holds %.20q, %v; want %.20q", key, got, ok, text)
			}
		}
		if got := keys(t, f); len(got) != len(want) {
			t.Errorf("Each gave %q", got)
		}
		f = openFolder(t, root) // the next start of the program
	}
	for range 2 { // deleting what is not there is no error
		if err := f.Delete(context.Background(), "imports/job-1-x"); err != nil {
			t.Errorf("Delete: %v", err)
		}
		if _, ok := content(t, f, "imports/job-1-x"); ok {
			t.Error("a deleted object is there")
		}
	}
	if got := keys(t, f); len(got) != len(want)-1 {
		t.Errorf("after Delete Each gave %q", got)
	}
	info, err := os.Stat(filepath.Join(root, "whole", "imports", "job-1-y"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("an object's mode is %v, %v; want it for its owner alone", info.Mode(), err)
	}
}

// Until its last byte, and if anything goes wrong, there is no object.
func TestPutWhole(t *testing.T) {
	f := openFolder(t, t.TempDir())
	trouble := errors.New("trouble")
	cancelled, cancel := context.WithCancel(context.Background())
	for _, bad := range []struct {
		name  string
		ctx   context.Context
		body  io.Reader
		check func(int64) error
		want  error
	}{
		{"cannot be read", context.Background(), iotest.ErrReader(trouble), fine, trouble},
		{"breaks off", context.Background(), io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(trouble)), fine, trouble},
		{"breaks off with its last bytes", context.Background(), iotest.DataErrReader(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(trouble))), fine, trouble},
		{"fails its check", context.Background(), strings.NewReader("abc"), func(n int64) error {
			if n != 3 {
				t.Errorf("check was told %d bytes, want 3", n)
			}
			return trouble
		}, trouble},
		{"is given up", cancelled, strings.NewReader("abc"), func(int64) error { cancel(); return nil }, context.Canceled},
	} {
		size, err := f.Put(bad.ctx, "key", bad.body, bad.check)
		if size != 0 || !errors.Is(err, bad.want) {
			t.Errorf("one that %s: %d, error %v, want %v", bad.name, size, err, bad.want)
		}
		if _, ok := content(t, f, "key"); ok || partial(t, f) != 0 {
			t.Errorf("one that %s is there: %v, with %d unfinished", bad.name, ok, partial(t, f))
		}
	}

	seen := 0
	watch := func() {
		seen++
		if _, ok := content(t, f, "key"); ok || len(keys(t, f)) != 0 {
			t.Error("an unfinished object is there")
		}
	}
	body := io.MultiReader(strings.NewReader("abc"), readerFunc(func([]byte) (int, error) { watch(); return 0, io.EOF }))
	if _, err := f.Put(context.Background(), "key", body, func(int64) error { watch(); return nil }); err != nil || seen != 2 {
		t.Fatalf("Put: %v, looked %d times", err, seen)
	}
	if got, ok := content(t, f, "key"); !ok || got != "abc" {
		t.Errorf("the object holds %q, %v", got, ok)
	}
}

// What is taken out of memory while it is written is all in the file.
func TestUncached(t *testing.T) {
	f := openFolder(t, t.TempDir())
	text := strings.Repeat("a line of an odd number of bytes\n", 5*writeBackEvery/32)
	put(t, f.Uncached(), "key", text)
	if got, ok := content(t, f, "key"); !ok || got != text {
		t.Errorf("the object has %d bytes, %v; want %d", len(got), ok, len(text))
	}
}

type readerFunc func([]byte) (int, error)

func (r readerFunc) Read(p []byte) (int, error) { return r(p) }

// What a process that died was writing goes with the next start.
func TestUnfinished(t *testing.T) {
	root := t.TempDir()
	f := openFolder(t, root)
	put(t, f, "whole", "x")
	left := filepath.Join(f.tmp, "put-1")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	f = openFolder(t, root)
	if partial(t, f) != 0 {
		t.Error("what was unfinished is still there")
	}
	if got := keys(t, f); !slices.Equal(got, []string{"whole"}) {
		t.Errorf("the objects are %q", got)
	}
}

func TestKeys(t *testing.T) {
	root := t.TempDir()
	f := openFolder(t, root)
	outside := filepath.Join(root, "outside")
	if err := os.WriteFile(outside, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", ".", "a/..", "..", "../outside", "a/../../outside", "/outside", outside, "imports/"} {
		if _, err := f.Put(context.Background(), key, strings.NewReader("y"), fine); err == nil {
			t.Errorf("Put took the key %q", key)
		}
		if r, err := f.Open(context.Background(), key); err == nil {
			r.Close()
			t.Errorf("Open took the key %q", key)
		}
		if err := f.Delete(context.Background(), key); err == nil {
			t.Errorf("Delete took the key %q", key)
		}
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "x" {
		t.Errorf("a file outside holds %q, %v", b, err)
	}
	put(t, f, "still", "works")
}

func TestEach(t *testing.T) {
	f := openFolder(t, t.TempDir())
	for n := range 5 {
		put(t, f, fmt.Sprintf("imports/%d", n), "x")
	}
	trouble := errors.New("trouble")
	calls := 0
	if err := f.Each(context.Background(), func(string, time.Time) error { calls++; return trouble }); !errors.Is(err, trouble) || calls != 1 {
		t.Errorf("Each gave %v after %d calls, want do's own error after 1", err, calls)
	}
	ctx, cancel := context.WithCancel(context.Background())
	calls = 0
	if err := f.Each(ctx, func(string, time.Time) error { calls++; cancel(); return nil }); !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("Each gave %v after %d calls, want %v after 1", err, calls, context.Canceled)
	}
	// Objects may go while Each is at it.
	err := f.Each(context.Background(), func(string, time.Time) error {
		for n := range 5 {
			if err := f.Delete(context.Background(), fmt.Sprintf("imports/%d", n)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(keys(t, f)) != 0 {
		t.Errorf("Each gave %v, and left %q", err, keys(t, f))
	}
}

// Many at once, also to one key: each object is one of those that were put.
func TestTogether(t *testing.T) {
	f := openFolder(t, t.TempDir())
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			own, body := fmt.Sprintf("imports/%d", n), bytes.Repeat([]byte{byte('a' + n)}, 10_000)
			for _, key := range []string{own, "shared"} {
				if _, err := f.Put(context.Background(), key, bytes.NewReader(body), fine); err != nil {
					t.Errorf("Put: %v", err)
				}
			}
		})
	}
	all.Wait()
	for _, key := range keys(t, f) {
		got, _ := content(t, f, key)
		if len(got) != 10_000 || strings.Trim(got, got[:1]) != "" {
			t.Errorf("%s is a mixture", key)
		}
	}
	if n := len(keys(t, f)); n != 9 || partial(t, f) != 0 {
		t.Errorf("%d objects and %d unfinished, want 9 and 0", n, partial(t, f))
	}
}
