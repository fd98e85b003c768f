package lists_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sesame/internal/listfile"
	"sesame/internal/lists"
)

// numbered gives n entries in order of key.
func numbered(n int) (entries []string) {
	for i := range n {
		entries = append(entries, fmt.Sprintf("%06d@example.com", i))
	}
	return entries
}

// many gives the entries that numbered gives, from one on, without making each first.
func many(from, to int) func() (lists.Entry, error) {
	return func() (lists.Entry, error) {
		if from == to {
			return lists.Entry{}, io.EOF
		}
		from++
		return lists.Entry{Key: fmt.Appendf(nil, "%06d@example.com", from-1)}, nil
	}
}

// A rebuild that comes to nothing leaves the list, the folder and the locks as
// they were, wherever it ends.
func TestRebuildFails(t *testing.T) {
	s, db, list := newService(t)
	s.Limits.Members = 100_000
	rebuild(t, s, list, lists.Append, "a@example.com", "b@example.com")
	register(t, s, list, "c@example.com")

	for _, test := range []struct {
		name  string
		spoil func(p *lists.Plan)
		want  error // nil for any
	}{
		{"Stop at the start", func(p *lists.Plan) { p.Stop = func() error { return errTrouble } }, errTrouble},
		{"Stop in the middle", func(p *lists.Plan) {
			asked := 0
			p.Stop = func() error {
				if asked++; asked == 2 {
					return errTrouble
				}
				return nil
			}
		}, errTrouble},
		{"Next fails at the start", func(p *lists.Plan) { p.Next = func() (lists.Entry, error) { return lists.Entry{}, errTrouble } }, errTrouble},
		{"Next fails late", func(p *lists.Plan) {
			next, asked := p.Next, 0
			p.Next = func() (lists.Entry, error) {
				if asked++; asked == 19_000 {
					return lists.Entry{}, errTrouble
				}
				return next()
			}
		}, errTrouble},
		{"Next gives an entry twice", func(p *lists.Plan) {
			p.Next = func() (lists.Entry, error) { return lists.Entry{Key: []byte("x@example.com")}, nil }
		}, nil},
		{"Commit fails", func(p *lists.Plan) {
			p.Commit = func(context.Context, *lists.Move, lists.Tally) error { return errTrouble }
		}, errTrouble},
		{"Commit of a dry run fails", func(p *lists.Plan) {
			p.DryRun = true
			p.Commit = func(context.Context, *lists.Move, lists.Tally) error { return errTrouble }
		}, errTrouble},
		{"the store fails", func(*lists.Plan) { db.fail("Move", false) }, errTrouble},
		{"the list does not fit", func(*lists.Plan) { s.Limits.Members = 20_002 }, lists.ErrListFull},
	} {
		before, filesBefore := all(t, s, list), files(t, s)
		p := plan(s, lists.Append)
		p.Next, p.Exact = many(0, 20_000), 20_000
		test.spoil(&p)
		_, err := s.Rebuild(ctx, ann, list, p)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.want)
		}
		s.Limits.Members = 100_000
		same(t, test.name+": the files", files(t, s), filesBefore)
		same(t, test.name+": the members", all(t, s, list), before)
		register(t, s, list, "d@example.com") // would wait for ever if change were held
		rebuild(t, s, list, lists.Remove, "d@example.com")
		same(t, test.name+": the members afterwards", all(t, s, list), before)
		same(t, test.name+": the members after a restart", all(t, restarted(t, s), list), before)
	}
}

// A panic leaves as little as an error does.
func TestRebuildPanics(t *testing.T) {
	s, db, list := newService(t)
	rebuild(t, s, list, lists.Append, "a@example.com")
	panics := func(p lists.Plan) {
		t.Helper()
		defer func() {
			if got := recover(); got != errTrouble {
				t.Errorf("the panic is %v", got)
			}
		}()
		_, err := s.Rebuild(ctx, ann, list, p)
		t.Errorf("no panic, error %v", err)
	}
	for name, spoil := range map[string]func(p *lists.Plan){
		"Next":    func(p *lists.Plan) { p.Next = func() (lists.Entry, error) { panic(errTrouble) } },
		"Stop":    func(p *lists.Plan) { p.Stop = func() error { panic(errTrouble) } },
		"Storing": func(p *lists.Plan) { p.Storing = func() { panic(errTrouble) } },
		"Progress of a dry run": func(p *lists.Plan) {
			p.DryRun, p.Progress = true, func(_, _ int64, _ lists.Tally) { panic(errTrouble) }
		},
		"Commit, with nothing done": func(p *lists.Plan) {
			p.Commit = func(context.Context, *lists.Move, lists.Tally) error { panic(errTrouble) }
		},
	} {
		p := plan(s, lists.Append, "b@example.com")
		spoil(&p)
		panics(p)
		same(t, name+": the members", all(t, s, list), []string{"a@example.com"})
		same(t, name+": the files", files(t, s), needed(t, s))
		register(t, s, list, "c@example.com")
		rebuild(t, s, list, lists.Remove, "c@example.com")
	}
	p := plan(s, lists.Append, "b@example.com")
	p.Commit = func(ctx context.Context, m *lists.Move, _ lists.Tally) error {
		is(t, "Move", db.Move(ctx, *m), nil)
		panic(errTrouble)
	}
	panics(p)
	same(t, "the members after a panic when all was done", all(t, s, list), []string{"a@example.com", "b@example.com"})
	rebuild(t, s, list, lists.Remove, "a@example.com")
	is(t, "Clean", s.Clean(ctx), nil)
	same(t, "the files", files(t, s), needed(t, s))
	same(t, "the members at last", all(t, restarted(t, s), list), []string{"b@example.com"})
}

// What Progress tells never goes back and ends with all of it; Storing comes
// once, after all of it and before Commit.
func TestRebuildTells(t *testing.T) {
	s, _, list := newService(t)
	s.Limits.Members = 100_000
	p := plan(s, lists.Append)
	p.Next = many(0, 10_000)
	_, err := s.Rebuild(ctx, ann, list, p)
	is(t, "Rebuild", err, nil)
	p = plan(s, lists.Replace)
	p.Next, p.Exact = many(5000, 40_000), 35_000
	var told []int64
	var last lists.Tally
	storing := 0
	p.Progress = func(done, of int64, now lists.Tally) {
		told = append(told, done)
		if of != 45_000 || done > of || now.Entries < last.Entries || now.Added < last.Added || now.Removed < last.Removed || storing > 0 {
			t.Errorf("told %d of %d, %+v after %+v", done, of, now, last)
		}
		last = now
	}
	p.Storing = func() { storing++ }
	commit := p.Commit
	p.Commit = func(ctx context.Context, m *lists.Move, tally lists.Tally) error {
		same(t, "calls of Storing before Commit", storing, 1)
		return commit(ctx, m, tally)
	}
	tally, err := s.Rebuild(ctx, ann, list, p)
	is(t, "Rebuild", err, nil)
	same(t, "the counts", tally, lists.Tally{Entries: 35_000, Added: 30_000, Removed: 5000, Members: 35_000})
	same(t, "calls of Storing", storing, 1)
	if len(told) < 3 || !slices.IsSorted(told) || told[len(told)-1] != 40_000 || last.Entries != 35_000 {
		t.Errorf("Progress told %d, at last %+v", told, last)
	}
}

// A list that is longer than it may be, since the limit was lowered, can still
// shrink and be written anew, and takes nothing more.
func TestLimitLowered(t *testing.T) {
	s, _, list := newService(t)
	rebuild(t, s, list, lists.Append, numbered(10)...)
	s.Limits.Members = 5
	is(t, "Register", s.Register(ctx, ann, list, "x@example.com"), lists.ErrListFull)
	rebuild(t, s, list, lists.Append, numbered(3)...)
	is(t, "Deregister", s.Deregister(ctx, ann, list, numbered(1)[0]), nil)
	is(t, "Fold", s.FoldFrom(ctx, 0), nil)
	for _, dry := range []bool{true, false} {
		p := plan(s, lists.Append, "x@example.com")
		p.DryRun = dry
		tally, err := s.Rebuild(ctx, ann, list, p)
		is(t, "Rebuild", err, lists.ErrListFull)
		same(t, "the counts", tally, lists.Tally{Entries: 1, Added: 1, Members: 10, Over: 5})
	}
	same(t, "the counts", rebuild(t, s, list, lists.Remove, numbered(3)...), lists.Tally{Entries: 3, Removed: 2, Members: 7})
	same(t, "the members", all(t, s, list), numbered(10)[3:])
}

// A list is deleted in the midst of a rebuild and of walks: the rebuild finds it
// gone and leaves nothing, the walks go on with what they began.
func TestDeletedMeanwhile(t *testing.T) {
	for _, anew := range []bool{false, true} {
		s, _, list := newService(t)
		s.Limits.Members = 10_000
		entries := numbered(2000)
		rebuild(t, s, list, lists.Append, entries...)
		register(t, s, list, "z@example.com")
		var other string
		p := plan(s, lists.Append, "x@example.com")
		next := p.Next
		p.Next = func() (lists.Entry, error) {
			if other == "" {
				other = "none"
				var walked []string
				err := s.Each(ctx, ann, list, func(r listfile.Row) error {
					if len(walked) == 1000 {
						is(t, "Delete", s.Delete(ctx, ann, list), nil)
						if anew {
							other = create(t, s, "list")
							rebuild(t, s, other, lists.Append, "other@example.com")
						}
					}
					walked = append(walked, string(r.Key))
					return nil
				})
				is(t, "Each", err, nil)
				same(t, "what was walked", walked, append(slices.Clone(entries), "z@example.com"))
			}
			return next()
		}
		_, err := s.Rebuild(ctx, ann, list, p)
		is(t, "Rebuild", err, lists.ErrNotFound)
		_, err = s.Member(ctx, ann, list, "x@example.com")
		is(t, "Member", err, lists.ErrNotFound)
		same(t, "the files", files(t, s), needed(t, s))
		if anew {
			same(t, "the members of the list made anew", all(t, s, other), []string{"other@example.com"})
		}
	}
}

// Two rebuilds of one list come one after the other, and who waits for the first
// does so no longer than its ctx.
func TestRebuildsWait(t *testing.T) {
	s, _, list := newService(t)
	p := plan(s, lists.Append, "a@example.com")
	next, second := p.Next, make(chan error)
	var begun bool
	p.Next = func() (lists.Entry, error) {
		if !begun {
			begun = true
			ending, end := context.WithCancel(ctx)
			waits := make(chan error)
			go func() {
				_, err := s.Rebuild(ending, ann, list, plan(s, lists.Append, "b@example.com"))
				waits <- err
			}()
			end()
			is(t, "Rebuild that is ended", <-waits, context.Canceled)
			go func() {
				_, err := s.Rebuild(ctx, ann, list, plan(s, lists.Append, "c@example.com"))
				second <- err
			}()
		}
		return next()
	}
	_, err := s.Rebuild(ctx, ann, list, p)
	is(t, "the first Rebuild", err, nil)
	is(t, "the second Rebuild", <-second, nil)
	same(t, "the members", all(t, s, list), []string{"a@example.com", "c@example.com"})
	same(t, "the files", files(t, s), needed(t, s))
}

// A list that is read anew while it is rebuilt can be rebuilt again meanwhile:
// then the first rebuild comes too late and says so.
func TestRebuildTooLate(t *testing.T) {
	s, db, list := newService(t)
	p := plan(s, lists.Append, "a@example.com")
	next, begun := p.Next, false
	p.Next = func() (lists.Entry, error) {
		if !begun {
			begun = true
			db.fail("AddChange", false)
			is(t, "Register in trouble", s.Register(ctx, ann, list, "x@example.com"), errTrouble)
			rebuild(t, s, list, lists.Append, "b@example.com")
		}
		return next()
	}
	_, err := s.Rebuild(ctx, ann, list, p)
	is(t, "Rebuild", err, lists.ErrMoved)
	same(t, "the members", all(t, s, list), []string{"b@example.com"})
	same(t, "the files", files(t, s), needed(t, s))
}

// Fold folds the lists that have more changes than it is asked for, and is not
// kept from the rest by a list that is deleted meanwhile or whose file is damaged.
func TestFold(t *testing.T) {
	s, db, short := newService(t)
	register(t, s, short, "a@example.com", "b@example.com")
	deleted, damaged, long := create(t, s, "deleted"), create(t, s, "damaged"), create(t, s, "long")
	rebuild(t, s, damaged, lists.Append, "a@example.com")
	for _, list := range []string{deleted, damaged, long} {
		register(t, s, list, "x@example.com", "y@example.com", "z@example.com")
	}
	file := func(list string) string {
		t.Helper()
		place, err := db.DB.Place(ctx, ann, list)
		is(t, "Place", err, nil)
		return place.File
	}
	path := filepath.Join(s.Dir, file(damaged))
	content, err := os.ReadFile(path)
	is(t, "ReadFile", err, nil)
	content[len(content)-1] ^= 1
	is(t, "Remove", os.Remove(path), nil) // who has it mapped keeps what it was
	is(t, "WriteFile", os.WriteFile(path, content, 0o600), nil)

	s = restarted(t, s)
	s.Log = slog.New(slog.DiscardHandler) // it is said that the damaged one cannot be read
	db.fault = func(method string, do func() error) error {
		err := do()
		if method == "LongLists" {
			db.fault = nil
			is(t, "Delete", s.Delete(ctx, ann, deleted), nil)
		}
		return err
	}
	is(t, "Fold", s.FoldFrom(ctx, 2), listfile.ErrDamaged)
	if file(short) != "" || file(long) == "" {
		t.Errorf("the short list has file %q, the long one %q", file(short), file(long))
	}
	same(t, "the members of the long list", all(t, s, long), []string{"x@example.com", "y@example.com", "z@example.com"})
	same(t, "the files", files(t, s), needed(t, s))
	_, _, err = s.Match(ctx, ann, damaged, "a@example.com")
	is(t, "Match in a damaged list", err, listfile.ErrDamaged)
	before := needed(t, s)
	is(t, "Fold of few", s.Fold(ctx), nil)
	same(t, "the files when no list is long", needed(t, s), before)

	db.fail("LongLists", false)
	is(t, "Fold in trouble", s.Fold(ctx), errTrouble)
}

// Clean removes what no list is on and nothing else.
func TestClean(t *testing.T) {
	s, _, list := newService(t)
	rebuild(t, s, list, lists.Append, "a@example.com")
	for _, name := range []string{"al-1-2", "al-1-2.new", needed(t, s)[0] + ".new"} {
		is(t, "WriteFile", os.WriteFile(filepath.Join(s.Dir, name), []byte("x"), 0o600), nil)
	}
	is(t, "Clean", s.Clean(ctx), nil)
	same(t, "the files", files(t, s), needed(t, s))
	same(t, "the members", all(t, restarted(t, s), list), []string{"a@example.com"})
}

// A folder that is gone fails a rebuild and not the list.
func TestNoFolder(t *testing.T) {
	s, _, list := newService(t)
	register(t, s, list, "a@example.com")
	is(t, "Remove", os.Remove(s.Dir), nil)
	_, err := s.Rebuild(ctx, ann, list, plan(s, lists.Append, "b@example.com"))
	is(t, "Rebuild", err, os.ErrNotExist)
	is(t, "Clean", s.Clean(ctx), nil)
	rebuild(t, s, list, lists.Append, "c@example.com")
	same(t, "the members", all(t, s, list), []string{"a@example.com", "c@example.com"})

	// A file that somebody else removed is reported and does no harm.
	var log bytes.Buffer
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	name := needed(t, s)[0]
	is(t, "Remove", os.Remove(filepath.Join(s.Dir, name)), nil)
	rebuild(t, s, list, lists.Remove, "a@example.com")
	same(t, "the members", all(t, s, list), []string{"c@example.com"})
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), name) {
		t.Errorf("logged: %s", &log)
	}
}

// A filter is as large as its rows need, whatever list they replace.
func TestFilterSize(t *testing.T) {
	s, _, list := newService(t)
	s.Limits.Members = 100_000
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(filepath.Join(s.Dir, needed(t, s)[0]))
		is(t, "Stat", err, nil)
		return info.Size()
	}
	rebuild(t, s, list, lists.Append, "a@example.com")
	small := size()
	p := plan(s, lists.Append)
	p.Next, p.Exact = many(0, 20_000), 20_000
	_, err := s.Rebuild(ctx, ann, list, p)
	is(t, "Rebuild", err, nil)
	rebuild(t, s, list, lists.Replace, "a@example.com")
	same(t, "the size of the file of one member", size(), small)
}

// Each sees the list as it was when it began.
func TestEachSeesOneMoment(t *testing.T) {
	s, _, list := newService(t)
	rebuild(t, s, list, lists.Append, "b@example.com", "d@example.com")
	register(t, s, list, "c@example.com")
	var seen []string
	is(t, "Each", s.Each(ctx, ann, list, func(r listfile.Row) error {
		if len(seen) == 0 {
			register(t, s, list, "e@example.com")
			is(t, "Deregister", s.Deregister(ctx, ann, list, "c@example.com"), nil)
			rebuild(t, s, list, lists.Replace, "x@example.com")
			register(t, s, list, "y@example.com")
		}
		seen = append(seen, string(r.Key))
		return nil
	}), nil)
	same(t, "what Each saw", seen, []string{"b@example.com", "c@example.com", "d@example.com"})
	same(t, "the members", all(t, s, list), []string{"x@example.com", "y@example.com"})
}
