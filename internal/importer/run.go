package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sesame/internal/address"
	"sesame/internal/extsort"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// run is one worker's work on one job: read and sort, merge, move the list.
// Nothing of it is kept before the list is moved, so a job that was cut off is
// done again from the start.
type run struct {
	*Service
	job   Job
	lease jobs.Lease

	noting sync.Mutex // is held while progress is noted, so that none is noted over a later one
	mu     sync.Mutex // guards the rest, which RenewLease notes meanwhile
	did    Progress
	began  time.Time // the last of did.Phases
}

// shown is the progress that is noted: what was done on the job before, by another
// worker or in an earlier try, counts until this one is as far, so that no count
// goes back.
func (r *run) shown() Progress {
	if p := r.stands(); p.Share >= r.job.Progress.Share {
		return p
	}
	return r.job.Progress
}

// stands is what this try has done.
func (r *run) stands() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.did
	p.Invalid = maps.Clone(p.Invalid)
	p.Phases = slices.Clone(p.Phases)
	if n := len(p.Phases); n > 0 {
		p.Phases[n-1].Seconds = time.Since(r.began).Seconds()
	}
	return p
}

// phase ends the phase before and begins one.
func (r *run) phase(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.did.Phases); n > 0 {
		r.did.Phases[n-1].Seconds = time.Since(r.began).Seconds()
	}
	r.did.Phases = append(r.did.Phases, Phase{Name: name})
	r.began = time.Now()
}

// note changes the progress; do gets it and its last phase.
func (r *run) note(do func(p *Progress, last *Phase)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do(&r.did, &r.did.Phases[len(r.did.Phases)-1])
}

// readingShare is how much of the work reading is, as measured for a list that
// is new.
const readingShare = 0.6

// renew keeps the lease and notes how far the work is.
func (r *run) renew(ctx context.Context) error {
	r.noting.Lock()
	defer r.noting.Unlock()
	return r.Store.RenewLease(ctx, r.lease, r.Now().Add(jobs.LeaseFor), r.shown())
}

func (r *run) pipeline(ctx context.Context) error {
	dir := filepath.Join(r.Config.SpillDir, r.lease.Owner)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the spill folder: %w", err)
	}
	defer os.RemoveAll(dir)
	sorter := extsort.New(extsort.Config{Dir: dir, Memory: r.Config.Memory, Stop: ctx.Err})
	defer sorter.Close()

	exact, patterns, err := r.read(ctx, sorter, dir)
	if err != nil {
		return err
	}
	sorted, err := sorter.Sorted()
	if err != nil {
		return fmt.Errorf("sort the entries: %w", err)
	}
	defer sorted.Close()
	return r.merge(ctx, sorted, exact, patterns)
}

// merge has the list rebuilt with the entries.
func (r *run) merge(ctx context.Context, sorted *extsort.Runs, exact, patterns int64) error {
	entries, err := sorted.Walk()
	if err != nil {
		return fmt.Errorf("walk the sorted entries: %w", err)
	}
	defer entries.Close()
	r.phase(Merging)
	tally, err := r.Lists.Rebuild(ctx, r.job.Owner, r.job.ListID, lists.Plan{
		Mode: r.job.Mode, DryRun: r.job.DryRun, Exact: exact, Patterns: patterns, Stop: ctx.Err,
		Next: func() (lists.Entry, error) {
			record, err := entries.Next()
			if err != nil && err != io.EOF {
				err = fmt.Errorf("walk the sorted entries: %w", err)
			}
			return lists.Entry{Key: record.Key, Shown: record.Value}, err
		},
		Progress: func(done, of int64, t lists.Tally) {
			r.note(func(p *Progress, last *Phase) {
				last.Rows = done
				p.Share = readingShare + (1-readingShare)*float64(done)/float64(max(of, 1))
				p.Entries, p.Added, p.Removed = t.Entries, t.Added, t.Removed
			})
		},
		Storing: func() { r.phase(Storing) },
		Commit: func(ctx context.Context, m *lists.Move, t lists.Tally) error {
			// Nothing of this is so, or may be noted, before the list is moved.
			p := r.stands()
			p.Share, p.Imported = 1, p.Lines-p.Refused()
			p.Entries, p.Added, p.Removed, p.Members = t.Entries, t.Added, t.Removed, t.Members
			if err := r.Store.Publish(ctx, r.lease, m, p, r.Now()); err != nil {
				return err
			}
			r.note(func(did *Progress, _ *Phase) { *did = p })
			return nil
		},
	})
	if errors.Is(err, lists.ErrListFull) {
		r.note(func(p *Progress, _ *Phase) {
			p.Share = 1 // all was counted
			p.Entries, p.Added, p.Removed, p.Over = tally.Entries, tally.Added, tally.Removed, tally.Over
		})
		return tooMany(r.Lists.Limits.Members, tally.Over)
	}
	return err
}

// read gives every valid line of the upload to the sorter and says how many of
// them are addresses and how many are patterns or domains.
func (r *run) read(ctx context.Context, sorter *extsort.Sorter, dir string) (exact, patterns int64, err error) {
	object, err := r.Objects.Open(ctx, r.job.Object)
	if err != nil {
		return 0, 0, fmt.Errorf("open the upload: %w", err)
	}
	defer object.Close()
	var parser address.Parser
	file, err := importfile.Open(object, r.job.Format, importfile.Options{
		MaxBytes:   r.Config.MaxBytes,
		Stop:       ctx.Err,
		ValidEntry: func(b []byte) bool { _, err := parser.Parse(b); return err == nil },
	})
	if err != nil {
		return 0, 0, asFailure(err)
	}
	defer file.Close()

	r.mu.Lock()
	r.did = Progress{}
	r.mu.Unlock()
	r.phase(Reading)
	list := refusals{dir: dir, counts: map[string]int64{}}
	defer list.close()
	stands := func() {
		lines, consumed := exact+patterns+list.lines, file.Offset()
		r.note(func(p *Progress, last *Phase) {
			p.Lines, p.Invalid = lines, maps.Clone(list.counts)
			p.Share = readingShare * float64(consumed) / float64(max(r.job.Size, 1))
			last.Rows, last.Bytes = lines, consumed
		})
	}
	for n := 1; ; n++ {
		if n%4096 == 0 {
			if err := ctx.Err(); err != nil {
				return 0, 0, err
			}
			stands()
		}
		item, err := file.Next()
		if err == io.EOF {
			stands()
			return exact, patterns, r.noteRead(ctx, &list)
		}
		if err != nil {
			stands()
			return 0, 0, asFailure(err)
		}
		if item.Bad != "" {
			if err := list.add(item.Line, item.Value, string(item.Bad), item.Bad.Error()); err != nil {
				return 0, 0, err
			}
			continue
		}
		entry, err := parser.Parse(item.Value)
		if err != nil {
			if err := list.add(item.Line, item.Value, code(err), err.Error()); err != nil {
				return 0, 0, err
			}
			continue
		}
		shown := entry.Shown
		if string(shown) == string(entry.Key) {
			shown = nil
		}
		if err := sorter.Add(entry.Key, shown); err != nil {
			return 0, 0, fmt.Errorf("sort the entries: %w", err)
		}
		if entry.Kind == address.Exact {
			exact++
		} else {
			patterns++
		}
	}
}

// noteRead keeps the list of refused lines, if there are any, and what was found.
// From then on the count of refused lines is exact, also if the job is stopped.
func (r *run) noteRead(ctx context.Context, list *refusals) error {
	object := ""
	if list.lines > 0 {
		content, err := list.content()
		if err != nil {
			return err
		}
		object = refused + r.NewID(r.job.ID)
		if _, err := r.Objects.Put(ctx, object, whileOn{ctx, content}, func(int64) error { return nil }); err != nil {
			return fmt.Errorf("keep the list of refused lines: %w", err)
		}
	}
	r.note(func(p *Progress, _ *Phase) { p.Read = true })
	r.noting.Lock()
	previous, err := r.Store.NoteRead(ctx, r.lease, r.shown(), object)
	r.noting.Unlock()
	if err != nil {
		if object != "" {
			r.discardUnneeded(object)
		}
		return err
	}
	if previous != "" {
		r.Discard(previous)
	}
	return nil
}

// whileOn reads as long as ctx goes on.
type whileOn struct {
	ctx context.Context
	r   io.Reader
}

func (w whileOn) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
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
