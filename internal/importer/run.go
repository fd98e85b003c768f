package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	"sesame/internal/address"
	"sesame/internal/extsort"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
)

// run is one worker's work on one job: read and sort, see that it fits, apply.
//
// Reading and sorting keep nothing, so a resumed job does them again; they give
// the same entries in the same order. Applying goes in order of key and leaves
// the cursor with each batch, so a resumed job goes on behind it.
type run struct {
	*Service
	job   Job
	lease jobs.Lease

	failed atomic.Int64 // lines refused so far
	kinds  address.Kinds
}

// batchRows is how many entries one transaction applies: enough to make the cost
// of a commit small, few enough that a RegisterMember need not wait long.
const batchRows = 10_000

// underLease does the work and keeps the lease meanwhile. It gives
// jobs.ErrLeaseLost as soon as the lease is, a failure, or the server's trouble.
func (r *run) underLease(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(renewEvery):
			}
			err := r.Store.RenewLease(ctx, r.lease, r.Now().Add(leaseFor), r.failed.Load())
			if errors.Is(err, jobs.ErrLeaseLost) {
				cancel(err)
				return
			}
			// Any other trouble is met by the work itself, or is over before the lease runs out.
		}
	}()
	err := r.safePipeline(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, jobs.ErrLeaseLost) {
		err = cause
	}
	cancel(nil)
	<-renewed
	return err
}

// safePipeline makes a panic an error, so that a file that finds a mistake of
// ours fails its job and not the server.
func (r *run) safePipeline(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return r.pipeline(ctx)
}

func (r *run) pipeline(ctx context.Context) error {
	dir := filepath.Join(r.Config.SpillDir, r.lease.Owner)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the spill folder: %w", err)
	}
	defer os.RemoveAll(dir)
	sorter := extsort.New(extsort.Config{Dir: dir, Memory: r.Config.Memory, Stop: ctx.Err})
	defer sorter.Close()

	lines, err := r.read(ctx, sorter, dir)
	if err != nil {
		return err
	}
	sorted, err := sorter.Sorted()
	if err != nil {
		return fmt.Errorf("sort the entries: %w", err)
	}
	defer sorted.Close()
	if err := r.fit(ctx, sorted, lines); err != nil {
		return err
	}
	return r.apply(ctx, sorted)
}

// read gives every valid line of the upload to the sorter and says how many
// there were.
func (r *run) read(ctx context.Context, sorter *extsort.Sorter, dir string) (lines int64, err error) {
	object, err := r.Objects.Open(ctx, r.job.Object)
	if err != nil {
		return 0, fmt.Errorf("open the upload: %w", err)
	}
	defer object.Close()
	var parser address.Parser
	file, err := importfile.Open(object, r.job.Format, importfile.Options{
		MaxBytes:   r.Config.MaxBytes,
		Stop:       ctx.Err,
		ValidEntry: func(b []byte) bool { _, err := parser.Parse(b); return err == nil },
	})
	if err != nil {
		return 0, asFailure(err)
	}
	defer file.Close()

	r.kinds = 0
	list := refusals{dir: dir, counts: map[string]int64{}}
	defer list.close()
	defer func() { r.failed.Store(list.lines) }()
	for n := 0; ; n++ {
		if n%4096 == 0 {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			r.failed.Store(list.lines)
		}
		item, err := file.Next()
		if err == io.EOF {
			r.Counted(0, list.lines)
			return lines, r.noteRead(ctx, lines+list.lines, &list)
		}
		if err != nil {
			return 0, asFailure(err)
		}
		if item.Bad != "" {
			if err := list.add(item.Line, item.Value, string(item.Bad), item.Bad.Error()); err != nil {
				return 0, err
			}
			continue
		}
		entry, err := parser.Parse(item.Value)
		if err != nil {
			if err := list.add(item.Line, item.Value, code(err), err.Error()); err != nil {
				return 0, err
			}
			continue
		}
		shown := entry.Shown
		if string(shown) == string(entry.Key) {
			shown = nil
		}
		if err := sorter.Add(entry.Key, shown); err != nil {
			return 0, fmt.Errorf("sort the entries: %w", err)
		}
		r.kinds |= entry.Kind
		lines++
	}
}

// noteRead keeps the list of refused lines, if there are any, and what was found.
// From then on the count of refused lines is exact, also if the job is stopped.
func (r *run) noteRead(ctx context.Context, lines int64, list *refusals) error {
	object := ""
	if list.lines > 0 {
		content, err := list.content()
		if err != nil {
			return err
		}
		object = refused + r.NewID(r.job.ID)
		if _, err := r.Objects.Put(ctx, object, content, func(int64) error { return nil }); err != nil {
			return fmt.Errorf("keep the list of refused lines: %w", err)
		}
	}
	previous, err := r.Store.NoteRead(ctx, r.lease, lines, list.counts, object)
	if err != nil {
		if object != "" {
			r.discardUnneeded(object)
		}
		return err
	}
	if previous != "" {
		r.Discard(previous)
	}
	r.job.RefusedFor = list.counts
	return nil
}

// code is the code of what a parser says of an entry.
func code(err error) string {
	var reason address.Reason
	errors.As(err, &reason)
	return reason.Code()
}

// asFailure makes what is wrong with the file the job's Error.
func asFailure(err error) error {
	var f *importfile.FormatError
	if errors.As(err, &f) {
		return failure(f.Error())
	}
	return fmt.Errorf("read the upload: %w", err)
}

// fit promises the job the room it needs, or fails it. Lines bound the new
// members from above; only when that is too many are they counted.
func (r *run) fit(ctx context.Context, sorted *extsort.Runs, lines int64) error {
	_, ok, err := r.Store.Reserve(ctx, r.lease, lines, r.Config.Members)
	if err != nil || ok {
		return err
	}
	fresh, err := r.countNew(ctx, sorted)
	if err != nil {
		return err
	}
	room, ok, err := r.Store.Reserve(ctx, r.lease, fresh, r.Config.Members)
	if err != nil || ok {
		return err
	}
	return tooMany(r.Config.Members, room, fresh, r.job.Imported)
}

// countNew counts the entries behind the cursor that are not members yet.
func (r *run) countNew(ctx context.Context, sorted *extsort.Runs) (fresh int64, err error) {
	entries, err := sorted.Walk([]byte(r.job.Cursor))
	if err != nil {
		return 0, fmt.Errorf("walk the sorted entries: %w", err)
	}
	defer entries.Close()
	keys := make([]string, 0, 100)
	for {
		record, err := entries.Next()
		if err != nil && err != io.EOF {
			return 0, fmt.Errorf("walk the sorted entries: %w", err)
		}
		end := err == io.EOF
		if !end {
			keys = append(keys, string(record.Key))
		}
		if len(keys) == cap(keys) || end {
			found, err := r.Store.FindMembers(ctx, r.job.Owner, r.job.ListID, keys)
			if err != nil {
				return 0, fmt.Errorf("count the new members: %w", err)
			}
			fresh += int64(len(keys) - len(found))
			keys = keys[:0]
		}
		if end {
			return fresh, nil
		}
	}
}

// apply makes the entries behind the cursor members, in order of key.
func (r *run) apply(ctx context.Context, sorted *extsort.Runs) error {
	entries, err := sorted.Walk([]byte(r.job.Cursor))
	if err != nil {
		return fmt.Errorf("walk the sorted entries: %w", err)
	}
	defer entries.Close()
	batch := Batch{Rows: make([]Row, 0, batchRows), Kinds: r.kinds, Limit: r.Config.Members}
	for {
		record, err := entries.Next()
		if err != nil && err != io.EOF {
			return fmt.Errorf("walk the sorted entries: %w", err)
		}
		end := err == io.EOF
		if !end {
			batch.Rows = append(batch.Rows, Row{Key: string(record.Key), Shown: string(record.Value)})
			batch.Lines += record.Count
		}
		if len(batch.Rows) == batchRows || end && len(batch.Rows) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			batch.Now = r.Now()
			batch.Until = batch.Now.Add(leaseFor)
			if err := r.Store.ApplyBatch(ctx, r.lease, batch); err != nil {
				return err
			}
			r.job.Cursor = batch.Rows[len(batch.Rows)-1].Key
			r.job.Imported += batch.Lines
			r.Counted(batch.Lines, 0)
			batch.Rows, batch.Lines = batch.Rows[:0], 0
		}
		if end {
			return nil
		}
	}
}
