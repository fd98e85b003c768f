package lists_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sesame/internal/lists"
)

// A list whose file cannot be read says so to everybody who asks about members,
// and can be deleted, and replaced: then it is whole again.
func TestBrokenFile(t *testing.T) {
	damages := map[string]func(t *testing.T, path string, content []byte) error{
		"no file":      func(t *testing.T, path string, _ []byte) error { return os.Remove(path) },
		"a short file": func(t *testing.T, path string, content []byte) error { return os.WriteFile(path, content[:50], 0o600) },
		"a wrong footer": func(t *testing.T, path string, content []byte) error {
			content[len(content)-3] ^= 1
			return os.WriteFile(path, content, 0o600)
		},
		"a damaged block": func(t *testing.T, path string, content []byte) error {
			content[40] ^= 1
			return os.WriteFile(path, content, 0o600)
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			s, db, list := newService(t)
			rebuild(t, s, list, lists.Append, numbered(20)...)
			register(t, s, list, "later@example.com")
			place, err := db.DB.Place(ctx, ann, list)
			is(t, "Place", err, nil)
			path := filepath.Join(s.Dir, place.File)
			content, err := os.ReadFile(path)
			is(t, "ReadFile", err, nil)
			is(t, "damage", damage(t, path, content), nil)

			s = restarted(t, s)
			s.Log = slog.New(slog.DiscardHandler)
			if _, _, err := s.Match(ctx, ann, list, numbered(1)[0]); err == nil {
				t.Error("Match gives an answer")
			}
			if _, err := s.Members(ctx, ann, list, "", "", 100); err == nil {
				t.Error("Members gives an answer")
			}
			if err := s.Register(ctx, ann, list, numbered(1)[0]); err == nil {
				t.Error("Register succeeds, and nobody knows whether it is a member")
			}
			if _, err := s.Rebuild(ctx, ann, list, plan(s, lists.Append, "x@example.com")); err == nil {
				t.Error("an APPEND succeeds")
			}
			same(t, "the file that the list is on", needed(t, s), []string{place.File})

			rebuild(t, s, list, lists.Replace, "x@example.com", "y@example.com")
			same(t, "the members after REPLACE", all(t, s, list), []string{"x@example.com", "y@example.com"})
			_, matched, err := s.Match(ctx, ann, list, "x@example.com")
			is(t, "Match after REPLACE", err, nil)
			same(t, "Match after REPLACE", matched, true)
			same(t, "the files", files(t, s), needed(t, s))
		})
		t.Run(name+", deleted", func(t *testing.T) {
			s, db, list := newService(t)
			rebuild(t, s, list, lists.Append, numbered(20)...)
			place, err := db.DB.Place(ctx, ann, list)
			is(t, "Place", err, nil)
			path := filepath.Join(s.Dir, place.File)
			content, err := os.ReadFile(path)
			is(t, "ReadFile", err, nil)
			is(t, "damage", damage(t, path, content), nil)
			s = restarted(t, s)
			s.Log = slog.New(slog.DiscardHandler)
			is(t, "Delete", s.Delete(ctx, ann, list), nil)
			_, err = s.Get(ctx, ann, list)
			is(t, "Get after Delete", err, lists.ErrNotFound)
			same(t, "the files", len(files(t, s)), 0)
		})
	}
}

// Who gives up before a change is stored changes nothing; who gives up while it is
// stored does not throw the list out of memory.
func TestChangeGivenUp(t *testing.T) {
	s, db, list := newService(t)
	register(t, s, list, "a@example.com")
	gone, giveUp := context.WithCancel(ctx)
	db.fault = func(method string, do func() error) error {
		if method == "AddChange" {
			giveUp()
		}
		return do()
	}
	is(t, "Register that is given up while it is stored", s.Register(gone, ann, list, "b@example.com"), nil)
	db.fault = nil
	is(t, "Register that is given up before", s.Register(gone, ann, list, "c@example.com"), context.Canceled)
	same(t, "lists in memory", s.Rolls(), 1)
	same(t, "the members", all(t, s, list), []string{"a@example.com", "b@example.com"})
	same(t, "the members after a restart", all(t, restarted(t, s), list), []string{"a@example.com", "b@example.com"})
}

// A list that is slow to read holds up those who ask for it, for as long as they
// will wait, and nobody else; and it is read once for all of them.
func TestLoadingHoldsUpNobodyElse(t *testing.T) {
	s, db, slow := newService(t)
	quick := create(t, s, "quick")
	register(t, s, slow, "a@example.com")
	s = restarted(t, s)
	reading, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	reads := 0
	db.fault = func(method string, do func() error) error {
		if method == "Place" {
			first := false
			once.Do(func() { first = true; reads++; close(reading); <-goOn })
			if !first {
				reads++
			}
		}
		return do()
	}
	answers := make(chan error, 9)
	ask := func(ctx context.Context) {
		_, matched, err := s.Match(ctx, ann, slow, "a@example.com")
		if err == nil && !matched {
			err = fmt.Errorf("a member does not match")
		}
		answers <- err
	}
	short, giveUp := context.WithCancel(ctx)
	go ask(short)
	<-reading
	for range 8 {
		go ask(ctx)
	}
	giveUp()
	is(t, "the first, who gives up", <-answers, context.Canceled)
	db.fault = nil // only the first read of the slow list is held up
	_, _, err := s.Match(ctx, ann, quick, "a@example.com")
	is(t, "Match in another list meanwhile", err, nil)
	_, _, err = s.Match(ctx, bob, slow, "a@example.com")
	is(t, "Match of somebody else's", err, lists.ErrNotFound)
	select {
	case err := <-answers:
		t.Fatalf("an answer before the list is read: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	for range 8 {
		is(t, "Match when it is read", <-answers, nil)
	}
	same(t, "how often it was read", reads, 1)
}

// A large list is folded when its changes are many for its size; one that is
// rebuilt already is passed over.
func TestFoldBySize(t *testing.T) {
	s, db, large := newService(t)
	s.Limits.Members = 10_000
	p := plan(s, lists.Append)
	p.Next, p.Exact = many(0, 2000), 2000 // 4 changes are a 500th of it
	_, err := s.Rebuild(ctx, ann, large, p)
	is(t, "Rebuild", err, nil)
	file := func() string {
		t.Helper()
		place, err := db.DB.Place(ctx, ann, large)
		is(t, "Place", err, nil)
		return place.File
	}
	before := file()
	register(t, s, large, "a@example.org", "b@example.org", "c@example.org", "d@example.org")
	is(t, "Fold", s.FoldFrom(ctx, 1), nil)
	same(t, "the file after few changes", file(), before)
	register(t, s, large, "e@example.org")

	p = plan(s, lists.Append, "f@example.org")
	next := p.Next
	p.Next = func() (lists.Entry, error) {
		is(t, "Fold while it is rebuilt", s.FoldFrom(ctx, 1), nil)
		return next()
	}
	_, err = s.Rebuild(ctx, ann, large, p)
	is(t, "Rebuild", err, nil)
	rebuilt := file()
	register(t, s, large, "g@example.org", "h@example.org", "i@example.org", "j@example.org", "k@example.org")
	is(t, "Fold", s.FoldFrom(ctx, 1), nil)
	if now := file(); now == rebuilt || rebuilt == before {
		t.Errorf("the files were %q, %q and %q", before, rebuilt, now)
	}
	same(t, "the members", len(all(t, s, large)), 2011)
}
