package exporter

import (
	"context"
	"errors"
	"io"
)

// storeError is trouble of the object store, and not of who gives it a file.
type storeError struct{ err error }

func (e *storeError) Error() string { return "the object store: " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// blamed is Objects that say which errors of Put are their own: a *storeError each.
type blamed struct{ Objects }

func (b blamed) Put(ctx context.Context, key string, r io.Reader, check func(int64) error) (int64, error) {
	source := &heard{r: r}
	size, err := b.Objects.Put(ctx, key, source, func(size int64) error {
		source.err = check(size)
		return source.err
	})
	if err == nil || ctx.Err() != nil || source.err != nil && errors.Is(err, source.err) {
		return size, err
	}
	return size, &storeError{err}
}

// heard keeps the error that a reader ends with.
type heard struct {
	r   io.Reader
	err error
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if err != nil && err != io.EOF {
		h.err = err
	}
	return n, err
}
