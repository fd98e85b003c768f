package lists_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sesame/internal/listfile"
	"sesame/internal/lists"
)

// counted checks that as many members are stored as there are, also after a
// restart, and gives them.
func counted(t *testing.T, s *lists.Service, list string) []string {
	t.Helper()
	found := all(t, s, list)
	place, err := s.Store.Place(ctx, ann, list)
	is(t, "Place", err, nil)
	same(t, "how many members are stored", place.Members, int64(len(found)))
	same(t, "the members after a restart", all(t, restarted(t, s), list), found)
	return found
}

// churn registers and deregisters entries that only it touches, until done, and
// gives those that are members in the end. Some entries it makes are patterns.
func churn(t *testing.T, s *lists.Service, list, name string, seed uint64, steps int) map[string]bool {
	random := rand.New(rand.NewPCG(seed, 1))
	members := map[string]bool{}
	for range steps {
		n := random.IntN(20)
		entry := fmt.Sprintf("%s%d@example.com", name, n)
		if n%4 == 0 {
			entry = fmt.Sprintf("*.%s%d.example.com", name, n)
		}
		if random.IntN(3) > 0 {
			is(t, "Register", s.Register(ctx, ann, list, entry), nil)
			members[entry] = true
		} else {
			is(t, "Deregister", s.Deregister(ctx, ann, list, entry), nil)
			delete(members, entry)
		}
		mailbox := strings.Replace(entry, "*.", "someone@x.", 1)
		m, ok, err := s.Match(ctx, ann, list, mailbox)
		is(t, "Match", err, nil)
		if ok != members[entry] || ok && m.Address != entry {
			t.Errorf("%s is a member: %v, and %s is held: %v, by %q", entry, members[entry], mailbox, ok, m.Address)
		}
	}
	return members
}

// Imports come and go while others change, match and list: what they change is
// theirs and stays, what is imported is there.
func TestRebuildsAmongChanges(t *testing.T) {
	s, _, list := newService(t)
	s.Limits.Members = 10_000
	rebuild(t, s, list, lists.Append, "always@example.com")
	fixed := make([]string, 300)
	for n := range fixed {
		fixed[n] = fmt.Sprintf("i%03d@example.com", n)
	}
	var changing, reading sync.WaitGroup
	var done atomic.Bool
	const churners = 3
	var kept [churners]map[string]bool
	for n := range churners {
		changing.Go(func() { kept[n] = churn(t, s, list, fmt.Sprintf("w%d-", n), uint64(n), 120) })
	}
	reading.Go(func() {
		for !done.Load() {
			m, ok, err := s.Match(ctx, ann, list, "always@example.com")
			if err != nil || !ok || m.Address != "always@example.com" {
				t.Errorf("always is held: %v, by %q, error %v", ok, m.Address, err)
				return
			}
			if _, ok, err := s.Match(ctx, ann, list, "never@example.org"); err != nil || ok {
				t.Errorf("never is held: %v, error %v", ok, err)
				return
			}
		}
	})
	reading.Go(func() {
		for !done.Load() {
			// An import is seen whole or not at all.
			page, err := s.Members(ctx, ann, list, "i", "", 1000)
			if err != nil || len(page) != 0 && len(page) != len(fixed) {
				t.Errorf("%d of %d imported members are seen, error %v", len(page), len(fixed), err)
				return
			}
		}
	})
	changing.Go(func() {
		for n := range 12 {
			tally := rebuild(t, s, list, lists.Append, fixed...)
			if tally.Entries != 300 || tally.Added != 300 || tally.Removed != 0 {
				t.Errorf("import %d: %+v", n, tally)
			}
			is(t, "Fold", s.FoldFrom(ctx, 5), nil)
			tally = rebuild(t, s, list, lists.Remove, fixed...)
			if tally.Entries != 300 || tally.Added != 0 || tally.Removed != 300 {
				t.Errorf("removal %d: %+v", n, tally)
			}
			is(t, "Purge", s.Purge(ctx), nil)
		}
		rebuild(t, s, list, lists.Append, fixed...)
	})
	changing.Wait()
	done.Store(true)
	reading.Wait()

	want := append([]string{"always@example.com"}, fixed...)
	for _, members := range kept {
		want = slices.AppendSeq(want, maps.Keys(members))
	}
	slices.Sort(want)
	same(t, "the members", counted(t, s, list), want)
	same(t, "the files", files(t, s), needed(t, s))
}

// versions is how often a list is replaced. The version shows in every entry of
// versioned, and by a prefix of another length in Match: 1 to 19 characters.
const versions = 18

func versioned(version int) (entries []string) {
	entries = []string{strings.Repeat("a", version+1) + "*@example.com"}
	for n := range 100 {
		entries = append(entries, fmt.Sprintf("v%02d-%02d@example.com", n, version))
	}
	return entries
}

// A list is replaced again and again. Every answer is that of one version, and
// no later one is older. What was registered before a replacement is gone, what
// was registered after it stays.
func TestReplacements(t *testing.T) {
	s, _, list := newService(t)
	s.Limits.Members = 10_000
	rebuild(t, s, list, lists.Append, versioned(0)...)
	var done atomic.Bool
	var others sync.WaitGroup
	others.Go(func() {
		last := 0
		for !done.Load() {
			m, ok, err := s.Match(ctx, ann, list, "aaaaaaaaaaaaaaaaaaaa@example.com")
			version := strings.Index(m.Key, "*") - 1
			if err != nil || !ok || version < last {
				t.Errorf("after version %d it is held: %v, by %q, error %v", last, ok, m.Key, err)
				return
			}
			last = version
		}
	})
	others.Go(func() {
		last := ""
		for !done.Load() {
			page, err := s.Members(ctx, ann, list, "v", "", 1000)
			if err != nil || len(page) != 100 {
				t.Errorf("a page has %d members, error %v", len(page), err)
				return
			}
			version := page[0].Key[len("v00-"):]
			if version < last {
				t.Errorf("after version %s a page has version %s", last, version)
				return
			}
			last = version
			for _, m := range page {
				if !strings.HasSuffix(m.Key, version) {
					t.Errorf("a page has %s beside version %s", m.Key, version)
					return
				}
			}
		}
	})
	const registrars = 2
	var registered [registrars]int
	for n := range registrars {
		others.Go(func() {
			for ; !done.Load(); registered[n]++ {
				is(t, "Register", s.Register(ctx, ann, list, fmt.Sprintf("r%d-%06d@example.com", n, registered[n])), nil)
			}
		})
	}
	for version := 1; version <= versions; version++ {
		register(t, s, list, "before@example.com")
		rebuild(t, s, list, lists.Replace, versioned(version)...)
		if _, err := s.Member(ctx, ann, list, "before@example.com"); !errors.Is(err, lists.ErrNotMember) {
			t.Errorf("a member registered before version %d is there after it: error %v", version, err)
		}
		register(t, s, list, "after@example.com")
		if _, err := s.Member(ctx, ann, list, "after@example.com"); err != nil {
			t.Errorf("a member registered after version %d: error %v", version, err)
		}
	}
	done.Store(true)
	others.Wait()

	left := counted(t, s, list)
	for n, made := range registered {
		var mine []string
		for _, e := range left {
			if strings.HasPrefix(e, fmt.Sprintf("r%d-", n)) {
				mine = append(mine, e)
			}
		}
		var want []string // the last of those it made
		for at := made - len(mine); at < made; at++ {
			want = append(want, fmt.Sprintf("r%d-%06d@example.com", n, at))
		}
		same(t, fmt.Sprintf("what registrar %d has left of %d", n, made), mine, want)
		left = slices.DeleteFunc(left, func(e string) bool { return slices.Contains(mine, e) })
	}
	same(t, "the other members", left, slices.Insert(versioned(versions), 1, "after@example.com"))
}

// Changes fail while the list is rebuilt and read, some after they were made:
// what is stored is what everybody sees in the end.
func TestTroubleAmongRebuilds(t *testing.T) {
	s, db, list := newService(t)
	s.Limits.Members = 10_000
	var calls atomic.Int64
	db.fault = func(method string, do func() error) error {
		if method != "AddChange" {
			return do()
		}
		switch calls.Add(1) % 4 {
		case 0:
			return errTrouble
		case 1:
			if err := do(); err != nil {
				return err
			}
			return errTrouble
		}
		return do()
	}
	var working sync.WaitGroup
	for n := range 3 {
		working.Go(func() {
			for at := range 60 {
				entry := fmt.Sprintf("w%d-%d@example.com", n, at%20)
				for { // until it succeeds
					err := s.Register(ctx, ann, list, entry)
					if err == nil {
						break
					}
					is(t, "Register", err, errTrouble)
				}
				if _, err := s.Member(ctx, ann, list, entry); err != nil {
					t.Errorf("Member %s: %v", entry, err)
				}
				if at%3 == 0 {
					for s.Deregister(ctx, ann, list, entry) != nil {
					}
				}
			}
		})
	}
	working.Go(func() {
		for n := range 15 {
			entry := fmt.Sprintf("i%02d@example.com", n)
			for {
				_, err := s.Rebuild(ctx, ann, list, plan(s, lists.Append, entry))
				if err == nil {
					break
				}
				is(t, "Rebuild", err, nil)
			}
		}
	})
	working.Wait()
	db.fault = nil
	var want []string
	for n := range 15 {
		want = append(want, fmt.Sprintf("i%02d@example.com", n))
	}
	for n := range 3 {
		for at := range 20 {
			if (40+at)%3 != 0 { // of its third and last turn
				want = append(want, fmt.Sprintf("w%d-%d@example.com", n, at))
			}
		}
	}
	slices.Sort(want)
	same(t, "the members", counted(t, s, list), want)
	same(t, "the files", files(t, s), needed(t, s))
}

// More lists than are kept in memory are used at once: none loses a change, and
// memory is given back.
func TestMoreListsThanInMemory(t *testing.T) {
	const most = 256
	s, _, first := newService(t)
	s.KeepRolls(most)
	all := []string{first}
	for n := range most + 40 {
		all = append(all, create(t, s, fmt.Sprintf("list-%d", n)))
	}
	const workers = 4
	var want [workers][]map[string]bool
	var working sync.WaitGroup
	for w := range workers {
		want[w] = make([]map[string]bool, len(all))
		working.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 2))
			for range 300 {
				n := random.IntN(len(all))
				if random.IntN(2) == 0 {
					n %= 8 // some are used by all
				}
				if want[w][n] == nil {
					want[w][n] = map[string]bool{}
				}
				entry := fmt.Sprintf("w%d-%d@example.com", w, random.IntN(6))
				change := [...]struct {
					member bool
					do     func() error
				}{
					{true, func() error { return s.Register(ctx, ann, all[n], entry) }},
					{false, func() error { return s.Deregister(ctx, ann, all[n], entry) }},
					{true, func() error {
						_, err := s.Rebuild(ctx, ann, all[n], plan(s, lists.Append, entry))
						return err
					}},
				}[random.IntN(3)]
				is(t, "change", change.do(), nil)
				delete(want[w][n], entry)
				if change.member {
					want[w][n][entry] = true
				}
				if _, ok, err := s.Match(ctx, ann, all[n], entry); err != nil || ok != change.member {
					t.Errorf("%s in list %d is held: %v, want %v, error %v", entry, n, ok, change.member, err)
				}
			}
		})
	}
	working.Wait()
	for n, list := range all {
		var members []string
		for w := range workers {
			members = slices.AppendSeq(members, maps.Keys(want[w][n]))
		}
		slices.Sort(members)
		var got []string
		is(t, "Each", s.Each(ctx, ann, list, func(r listfile.Row) error { got = append(got, string(r.Key)); return nil }), nil)
		same(t, fmt.Sprintf("the members of list %d", n), got, members)
		place, err := s.Store.Place(ctx, ann, list)
		is(t, "Place", err, nil)
		same(t, "how many are stored", place.Members, int64(len(members)))
	}
	same(t, "lists in memory", s.Rolls(), most)
	same(t, "the files", files(t, s), needed(t, s))
}

// Lists are made, changed, rebuilt, folded and deleted at once. Whoever is told
// that there is no such list was told the truth.
func TestListsComeAndGo(t *testing.T) {
	s, _, _ := newService(t)
	var current atomic.Pointer[string]
	list := create(t, s, "comes and goes")
	current.Store(&list)
	var done atomic.Bool
	var others sync.WaitGroup
	use := func(name string, do func(ctx context.Context, list string) error) {
		others.Go(func() {
			for !done.Load() {
				list := *current.Load()
				err := do(ctx, list)
				if err != nil && !errors.Is(err, lists.ErrNotFound) {
					t.Errorf("%s: %v", name, err)
					return
				}
				if err != nil && *current.Load() == list {
					// The next list is named before this one is deleted.
					t.Errorf("%s: %v, and it is there", name, err)
					return
				}
			}
		})
	}
	use("Register", func(ctx context.Context, list string) error {
		if err := s.Register(ctx, ann, list, "a@example.com"); err != nil {
			return err
		}
		return s.Deregister(ctx, ann, list, "a@example.com")
	})
	use("Rebuild", func(ctx context.Context, list string) error {
		_, err := s.Rebuild(ctx, ann, list, plan(s, lists.Append, "b@example.com"))
		return err
	})
	use("Fold", func(ctx context.Context, _ string) error { return s.FoldFrom(ctx, 1) })
	use("Match", func(ctx context.Context, list string) error {
		m, ok, err := s.Match(ctx, ann, list, "b@example.com")
		if ok && m.Key != "b@example.com" {
			t.Errorf("it is held by %s", m.Key)
		}
		return err
	})
	use("Each", func(ctx context.Context, list string) error {
		return s.Each(ctx, ann, list, func(listfile.Row) error { return nil })
	})
	for n := range 12 {
		old := *current.Load()
		next := create(t, s, fmt.Sprintf("next %d", n))
		current.Store(&next)
		rebuild(t, s, old, lists.Append, "c@example.com")
		is(t, "Delete", s.Delete(ctx, ann, old), nil)
	}
	done.Store(true)
	others.Wait()
	is(t, "Purge", s.Purge(ctx), nil)
	same(t, "the files", files(t, s), needed(t, s))
}
