// Package blobs keeps objects: whole files under a key, written once, never
// changed. It promises that an object is either there complete and durable or
// not there at all.
//
// It may import writeback.
package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"sesame/internal/writeback"
)

// ErrNotFound is what Open gives for a key that has no object.
var ErrNotFound = errors.New("no such object")

// Folder is an object store in a folder of this machine.
type Folder struct {
	root     string // objects, by key
	tmp      string // objects being written
	uncached bool   // whether Put leaves memory to others
}

// OpenFolder makes the folder if need be. What an earlier process was writing
// when it died is removed, so only one process may use the folder.
func OpenFolder(root string) (*Folder, error) {
	f := &Folder{root: filepath.Join(root, "whole"), tmp: filepath.Join(root, "partial")}
	if err := os.RemoveAll(f.tmp); err != nil {
		return nil, fmt.Errorf("clear unfinished objects: %w", err)
	}
	for _, dir := range []string{f.root, f.tmp} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the objects folder: %w", err)
		}
	}
	return f, nil
}

// Uncached gives the same store for large objects that are not read at once. What its
// Put has written to the disk does not stay in the machine's memory, where it would
// take the place of what is needed, and each new page costs time.
func (f *Folder) Uncached() *Folder {
	u := *f
	u.uncached = true
	return &u
}

// Put stores everything r gives under key and returns its length in bytes. When
// it returns nil the object is durable; when it does not, nobody may count on it
// and its key should not be used again. check is asked after the last byte and
// before the object appears: an error from it is returned as it is.
func (f *Folder) Put(ctx context.Context, key string, r io.Reader, check func(size int64) error) (size int64, err error) {
	path, err := f.path(key)
	if err != nil {
		return 0, err
	}
	t, err := os.CreateTemp(f.tmp, "put-*")
	if err != nil {
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	defer func() {
		if err != nil {
			t.Close()
			os.Remove(t.Name())
		}
	}()
	if size, err = io.CopyBuffer(&early{f: t, forget: f.uncached}, struct{ io.Reader }{r}, make([]byte, 256<<10)); err != nil {
		return 0, err // r's own error, or one that names the file
	}
	if err = check(size); err != nil {
		return 0, err
	}
	if err = ctx.Err(); err != nil {
		return 0, err
	}
	if err = t.Sync(); err != nil {
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	if err = t.Close(); err != nil {
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	if err = os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	if err = os.Rename(t.Name(), path); err != nil {
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	// The name is durable when every folder above it is.
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if err = writeback.SyncFolder(dir); err != nil {
			return 0, fmt.Errorf("put %s: %w", key, err)
		}
		if dir == f.root {
			return size, nil
		}
	}
}

// early has what is written go to the disk soon.
type early struct {
	f                *os.File
	forget           bool // what is there
	written, started int64
}

// writeBackEvery is after how many bytes that is begun.
const writeBackEvery = 16 << 20

func (e *early) Write(p []byte) (int, error) {
	n, err := e.f.Write(p)
	e.written += int64(n)
	if more := e.written - e.started; more >= writeBackEvery {
		if e.forget {
			writeback.Forget(e.f, e.started) // all before it, which had time to get to the disk
		}
		writeback.Start(e.f, e.started, more)
		e.started = e.written
	}
	return n, err
}

// Open gives an object's content. ErrNotFound.
func (f *Folder) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	return f.OpenSeeker(ctx, key)
}

// OpenSeeker is Open for who wants parts of an object.
func (f *Folder) OpenSeeker(_ context.Context, key string) (io.ReadSeekCloser, error) {
	return f.open(key)
}

// OpenAt is Open for who wants several parts of an object at once.
func (f *Folder) OpenAt(_ context.Context, key string) (interface {
	io.ReaderAt
	io.Closer
}, error) {
	return f.open(key)
}

func (f *Folder) open(key string) (*os.File, error) {
	path, err := f.path(key)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	return file, err
}

// Delete removes an object; one that is not there is no error.
func (f *Folder) Delete(_ context.Context, key string) error {
	path, err := f.path(key)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Each calls do for every object, with the time it was put, in any order.
func (f *Folder) Each(ctx context.Context, do func(key string, put time.Time) error) error {
	return filepath.WalkDir(f.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		key, err := filepath.Rel(f.root, path)
		if err != nil {
			return err
		}
		return do(filepath.ToSlash(key), info.ModTime())
	})
}

// path is where key's object lies. Keys are made by Sesame; one that would leave
// the folder is a mistake.
func (f *Folder) path(key string) (string, error) {
	if !filepath.IsLocal(filepath.FromSlash(key)) || path.Clean(key) != key || key == "." {
		return "", fmt.Errorf("%q cannot be an object's key", key)
	}
	return filepath.Join(f.root, filepath.FromSlash(key)), nil
}
