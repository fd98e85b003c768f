package lists

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sesame/internal/address"
	"sesame/internal/listfile"
	"sesame/internal/writeback"
)

// Mode is what an import does with the entries of its file.
type Mode string

const (
	Append  Mode = "APPEND"  // they become members; what the service does
	Replace Mode = "REPLACE" // they become the members, and nothing else is one
	Remove  Mode = "REMOVE"  // they are no members any more
)

// Entry is one entry of an import.
type Entry struct {
	Key   []byte
	Shown []byte // empty when it is the key
}

// Plan is how a list is rebuilt.
type Plan struct {
	Mode   Mode
	DryRun bool // count, and change nothing
	// Next gives the entries in ascending order of key, each once, and io.EOF after
	// the last. The slices are its own until the next call.
	Next func() (Entry, error)
	// Exact and Patterns say how many entries there are at most: addresses, and
	// all others.
	Exact, Patterns int64
	// Commit makes the move durable, or gives an error and does nothing. In a dry run
	// it is called with no move, when all has been counted.
	Commit func(ctx context.Context, m *Move, t Tally) error
	// Progress is told from time to time, and at the end, how many rows have been
	// merged, of at most how many, and what became of them so far. It may be nil.
	Progress func(done, of int64, t Tally)
	// Storing is told when all is merged and is made durable. It may be nil.
	Storing func()
	// Stop ends the work with its error. It is asked from time to time, and may be nil.
	Stop func() error
}

// Tally is what became of the entries and the members.
type Tally struct {
	Entries int64 // different ones
	Added   int64 // entries that were no members and are now
	Removed int64 // members that are none any more
	Members int64 // of the list afterwards
	Over    int64 // by how many they exceed the limit; then nothing was changed
}

// newFile is the suffix of files that are being written.
const newFile = ".new"

// Rebuild makes a new file of a list's members and the plan's entries, and puts
// the list on it. Nobody sees a part of it: until Commit has succeeded the list
// is as it was, and then all of it is there, and durable. Changes that others
// make meanwhile are kept, and go over the entries; but a Replace replaces them
// too.
//
// ErrNotFound, also when the list is deleted meanwhile, ErrMoved when it was put
// on another file meanwhile (try again), ErrListFull (with Tally.Over) when the
// list would hold more than it may, what Next, Commit and Stop give, and trouble
// with files. On every error nothing has changed and nothing is left, except that
// a Commit that fails may have succeeded: then what is stored counts.
func (s *Service) Rebuild(ctx context.Context, o Owner, id string, p Plan) (Tally, error) {
	r, err := s.rollToRebuild(ctx, o, id)
	if err != nil {
		return Tally{}, err
	}
	defer func() { <-r.rebuild }()

	before := r.now.Load()
	w := &merge{Service: s, plan: p, before: before}
	if !p.DryRun {
		name := s.NewID(id)
		if err := w.create(filepath.Join(s.Dir, name+newFile), name); err != nil {
			return Tally{}, err
		}
		defer w.abandon()
	}
	if err := w.run(); err != nil {
		return Tally{}, err
	}
	if p.Storing != nil {
		p.Storing()
	}
	if p.DryRun {
		if err := w.overLimit(w.tally.Members); err != nil {
			return w.tally, err
		}
		return w.tally, p.Commit(ctx, nil, w.tally)
	}
	name, err := w.close()
	if err != nil {
		return Tally{}, err
	}
	err = s.move(ctx, o, id, w, name) // completes the tally
	return w.tally, err
}

// rollToRebuild gives a list's members with rebuild held.
func (s *Service) rollToRebuild(ctx context.Context, o Owner, id string) (*roll, error) {
	for {
		r, err := s.roll(ctx, o, id)
		if err != nil {
			return nil, err
		}
		select {
		case r.rebuild <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		r.change.Lock()
		gone := r.gone
		r.change.Unlock()
		if !gone {
			return r, nil
		}
		<-r.rebuild
	}
}

// move puts a list on the file that w has written. The list may have been read
// anew since; the file is good as long as the list is on the one it was made of.
func (s *Service) move(ctx context.Context, o Owner, id string, w *merge, name string) error {
	moved := false
	defer func() {
		if !moved {
			s.removeUnneeded(ctx, name)
		}
	}()
	after := &state{}
	if err := after.setFile(s.Dir, name); err != nil {
		return err
	}
	r, err := s.lockedRoll(ctx, o, id)
	if err != nil {
		return err
	}
	defer r.change.Unlock()
	last := r.now.Load()
	if last.name != w.before.name {
		return ErrMoved
	}
	after.folded, after.seq = w.before.seq, last.seq
	if w.plan.Mode == Replace {
		after.folded = last.seq
	}
	after.members = after.file.Summary().Rows
	after.changes = last.since(after.folded)
	for _, c := range after.changes {
		_, inFile, err := after.file.Find([]byte(c.Key))
		if err != nil {
			return err
		}
		if inFile && c.Removed {
			after.members--
		} else if !inFile && !c.Removed {
			after.members++
		}
		_, kind := address.Hash([]byte(c.Key))
		after.kinds |= kind
	}
	after.filter = filterOf(after.changes)
	w.tally.Members = after.members
	if err := w.overLimit(after.members); err != nil {
		return err
	}
	m := Move{List: r.n, From: last.name, To: name, Folded: after.folded, Members: after.members, Now: s.Now()}
	defer func() {
		if !moved {
			s.forget(r) // Commit may have succeeded all the same: what is so is read again
		}
	}()
	if err := w.plan.Commit(ctx, &m, w.tally); err != nil {
		return err
	}
	moved = true
	r.now.Store(after)
	s.removeFile(last.name)
	return nil
}

// overLimit gives ErrListFull when an import makes the list too long.
func (w *merge) overLimit(members int64) error {
	if limit := w.Limits.Members; members > limit && members > w.before.members {
		w.tally.Over = members - limit
		return ErrListFull
	}
	return nil
}

// removeFile removes a file that no list is on any more. Who reads it reads on.
func (s *Service) removeFile(name string) {
	if name == "" {
		return
	}
	if err := os.Remove(filepath.Join(s.Dir, name)); err != nil {
		s.Log.Warn("remove a file of members that is not needed any more", "file", name, "error", err)
	}
}

// removeUnneeded removes a file unless a list is on it after all. When that
// cannot be told the file stays, until Clean.
func (s *Service) removeUnneeded(ctx context.Context, name string) {
	files, err := s.Store.Files(context.WithoutCancel(ctx))
	if err != nil {
		return
	}
	for _, f := range files {
		if f == name {
			return
		}
	}
	s.removeFile(name)
}

// Clean removes the files that a crash has left: those no list is on. It must
// not run while a list is rebuilt.
func (s *Service) Clean(ctx context.Context) error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of members: %w", err)
	}
	if err := writeback.SyncFolder(filepath.Dir(s.Dir)); err != nil {
		return fmt.Errorf("sync the folder above that of members: %w", err)
	}
	files, err := s.Store.Files(ctx)
	if err != nil {
		return err
	}
	needed := make(map[string]bool, len(files))
	for _, f := range files {
		needed[f] = true
	}
	there, err := os.ReadDir(s.Dir)
	if err != nil {
		return fmt.Errorf("read the folder of members: %w", err)
	}
	for _, f := range there {
		if !needed[f.Name()] {
			s.removeFile(f.Name())
		}
	}
	return nil
}

// A list is folded when it has more changes since its file than foldAt, and than a
// foldPart of its rows, up to foldMost: enough that little is written anew for
// each, and few enough to be kept in memory.
const (
	foldAt   = 20_000
	foldPart = 500
	foldMost = 100_000
)

// Fold makes new files of the lists with many changes.
func (s *Service) Fold(ctx context.Context) error { return s.fold(ctx, foldAt) }

func (s *Service) fold(ctx context.Context, more int64) error {
	long, err := s.Store.LongLists(ctx, more)
	if err != nil {
		return err
	}
	var all error
	for _, l := range long {
		if r, err := s.roll(ctx, l.Owner, l.ID); err == nil {
			now := r.now.Load()
			if len(r.rebuild) > 0 || now.seq-now.folded <= min(now.rows().Rows/foldPart, foldMost) {
				continue // what is rebuilt is folded by that
			}
		}
		none := func() (Entry, error) { return Entry{}, io.EOF }
		commit := func(ctx context.Context, m *Move, _ Tally) error {
			m.Now = time.Time{}
			return s.Store.Move(ctx, *m)
		}
		_, err := s.Rebuild(ctx, l.Owner, l.ID, Plan{Mode: Append, Next: none, Commit: commit, Stop: ctx.Err})
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrMoved) {
			all = errors.Join(all, fmt.Errorf("make a new file of a list's members: %w", err)) // the other lists need theirs too
		}
	}
	return all
}

// merge is one rebuild's merging of members and entries.
type merge struct {
	*Service
	plan   Plan
	before *state
	tally  Tally

	writer *listfile.Writer // nil in a dry run
	path   string
	name   string
}

func (w *merge) create(path, name string) (err error) {
	var most listfile.Bounds
	if w.plan.Mode != Replace {
		old, changes := w.before.rows(), int64(len(w.before.changes))
		most.Exact, most.Patterns = old.Rows-old.Patterns+changes, old.Patterns+changes
	}
	if w.plan.Mode != Remove {
		most.Exact += w.plan.Exact
		most.Patterns += w.plan.Patterns
	}
	w.path, w.name = path, name
	w.writer, err = listfile.Create(path, most)
	if err != nil {
		return fmt.Errorf("make a new file of members: %w", err)
	}
	return nil
}

func (w *merge) abandon() {
	if err := w.writer.Abandon(); err != nil {
		w.Log.Warn("remove a new file of members", "error", err)
	}
}

// close ends the new file: it is durable under its name.
func (w *merge) close() (name string, err error) {
	if _, err := w.writer.Close(); err != nil {
		return "", fmt.Errorf("write the new file of members: %w", err)
	}
	if err := os.Rename(w.path, filepath.Join(w.Dir, w.name)); err != nil {
		return "", errors.Join(fmt.Errorf("name the new file of members: %w", err), os.Remove(w.path))
	}
	if err := writeback.SyncFolder(w.Dir); err != nil {
		w.removeFile(w.name)
		return "", fmt.Errorf("sync the folder of members: %w", err)
	}
	return w.name, nil
}

// add writes a row of the new file.
func (w *merge) add(r listfile.Row) error {
	w.tally.Members++
	if w.writer == nil {
		return nil
	}
	hash, kind := address.Hash(r.Key)
	return w.writer.Add(r, hash, kind)
}

// toldEvery is how many rows are merged between two calls of Progress and Stop.
const toldEvery = 1 << 14

// nextMember gives the list's next member as it was. One that is replaced may be
// damaged: what cannot be read leaves uncounted.
func (w *merge) nextMember(members *walker) (listfile.Row, error) {
	row, err := members.next()
	if err != nil && err != io.EOF && w.plan.Mode == Replace {
		w.Log.Warn("a list that cannot be read is replaced: not all that leave are counted", "error", err)
		err = io.EOF
	}
	return row, err
}

// run merges: both sides come in order of key.
func (w *merge) run() error {
	members := w.before.walk(nil, false)
	created := w.Now().UnixMilli()
	of := w.before.members + w.plan.Exact + w.plan.Patterns
	old, oldErr := w.nextMember(members)
	entry, entryErr := w.plan.Next()
	for n := int64(0); ; n++ {
		done := oldErr == io.EOF && entryErr == io.EOF
		if w.plan.Stop != nil && n%toldEvery == 0 {
			if err := w.plan.Stop(); err != nil {
				return err
			}
		}
		if w.plan.Progress != nil && (n%toldEvery == 0 || done) {
			w.plan.Progress(n, of, w.tally)
		}
		if done {
			return nil
		}
		for _, err := range []error{oldErr, entryErr} {
			if err != nil && err != io.EOF {
				return err
			}
		}
		var order int // of the next member and the next entry
		switch {
		case oldErr != nil:
			order = 1
		case entryErr != nil:
			order = -1
		default:
			order = bytes.Compare(old.Key, entry.Key)
		}

		var err error
		switch {
		case order < 0 && w.plan.Mode == Replace || order == 0 && w.plan.Mode == Remove:
			w.tally.Removed++
		case order <= 0:
			err = w.add(old) // a member that is imported again stays as it was
		case w.plan.Mode != Remove:
			w.tally.Added++
			row := listfile.Row{Key: entry.Key, Created: created}
			if len(entry.Shown) > 0 {
				row.Shown = entry.Shown
			}
			err = w.add(row)
		}
		if err != nil {
			return fmt.Errorf("write the new file of members: %w", err)
		}
		if order <= 0 {
			old, oldErr = w.nextMember(members)
		}
		if order >= 0 {
			w.tally.Entries++
			entry, entryErr = w.plan.Next()
		}
	}
}
