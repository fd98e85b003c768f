package lists_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sesame/internal/address"
	"sesame/internal/listfile"
	"sesame/internal/lists"
)

// model is a Service and what it should hold.
type model struct {
	t       *testing.T
	db      *store
	s       *lists.Service
	clock   time.Time
	list    string
	members map[string]lists.Member
	updated time.Time
}

// modelLimit is how many members the list may have: few, so that it is often full.
const modelLimit = 12

// TestModel does with a Service what its callers may do, in any order, and
// compares it with a map. Some of the changes and rebuilds fail, and changes are
// made in the midst of rebuilds.
func TestModel(t *testing.T) {
	db := newStore(t)
	folders := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(folders, "")
		if err != nil {
			r.Fatal(err)
		}
		m := &model{t: t, db: db, clock: now, members: map[string]lists.Member{}}
		m.s = serviceOn(t, db, dir)
		m.s.Limits.Members = modelLimit
		m.s.Now = func() time.Time { return m.clock }
		m.create(r)
		defer func() { // a list that a failed check left would be folded by the next one
			db.fault = nil
			if _, err := db.DB.DeleteList(ctx, ann, m.list); err != nil {
				t.Error(err)
			}
		}()
		r.Repeat(map[string]func(*rapid.T){
			"Register":   func(r *rapid.T) { m.tick(); m.change(r, false) },
			"Deregister": func(r *rapid.T) { m.tick(); m.change(r, true) },
			"Member":     m.member,
			"Members":    m.page,
			"Match":      m.match,
			"Rebuild":    m.rebuild,
			"Fold":       m.fold,
			"Delete":     m.deleteList,
			"Restart":    func(*rapid.T) { m.s = restarted(t, m.s) },
			"Purge":      func(r *rapid.T) { m.is(r, "Purge", m.s.Purge(ctx), nil) },
			"":           m.check,
		})
	})
}

func (m *model) is(r *rapid.T, what string, err, want error) {
	r.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		r.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

func (m *model) tick() { m.clock = m.clock.Add(time.Second) }

func (m *model) create(r *rapid.T) {
	id, err := m.s.Create(ctx, ann, "model", nil, lists.ClientToken{})
	m.is(r, "Create", err, nil)
	m.list, m.updated = id, m.clock
	clear(m.members)
}

// sortedMembers gives the members in order of key.
func (m *model) sortedMembers() []lists.Member {
	found := slices.Collect(maps.Values(m.members))
	sort.Slice(found, func(i, j int) bool { return found[i].Key < found[j].Key })
	return found
}

// check compares all of the list, what the store says of it, and its folder.
func (m *model) check(r *rapid.T) {
	var got []lists.Member
	err := m.s.Each(ctx, ann, m.list, func(row listfile.Row) error {
		member := lists.Member{Key: string(row.Key), Address: string(row.Key), Created: time.UnixMilli(row.Created).UTC()}
		if row.Shown != nil {
			member.Address = string(row.Shown)
		}
		got = append(got, member)
		return nil
	})
	m.is(r, "Each", err, nil)
	same(r, "the members", got, m.sortedMembers())
	place, err := m.db.DB.Place(ctx, ann, m.list)
	m.is(r, "Place", err, nil)
	same(r, "how many there are", place.Members, int64(len(m.members)))
	l, err := m.s.Get(ctx, ann, m.list)
	m.is(r, "Get", err, nil)
	same(r, "when it was updated", l.Updated, m.updated)
	same(r, "the files", files(m.t, m.s), needed(m.t, m.s))
}

// change registers or deregisters an entry, or tries. It gives the key if that
// changed the list, and "" otherwise.
func (m *model) change(r *rapid.T, remove bool) (key string) {
	text := entries.Draw(r, "entry")
	e, err := address.Parse(text)
	m.is(r, "Parse", err, nil)
	key = string(e.Key)
	_, there := m.members[key]

	var want error
	changes := there == remove
	if !remove && changes && len(m.members) >= modelLimit {
		want, changes = lists.ErrListFull, false
	}
	if fate := rapid.IntRange(0, 11).Draw(r, "fate"); fate < 2 && changes {
		m.db.fail("AddChange", fate == 1)
		want, changes = errTrouble, fate == 1
	}
	do := m.s.Register
	if remove {
		do = m.s.Deregister
	}
	m.is(r, "change of "+text, do(ctx, ann, m.list, text), want)
	if !changes {
		return ""
	}
	m.updated = m.clock
	if remove {
		delete(m.members, key)
	} else {
		m.members[key] = lists.Member{Key: key, Address: string(e.Shown), Created: m.clock}
	}
	return key
}

func (m *model) member(r *rapid.T) {
	text := entries.Draw(r, "entry")
	e, err := address.Parse(text)
	m.is(r, "Parse", err, nil)
	want, there := m.members[string(e.Key)]
	var wantErr error
	if !there {
		wantErr = lists.ErrNotMember
	}
	got, err := m.s.Member(ctx, ann, m.list, text)
	m.is(r, "Member", err, wantErr)
	if there {
		same(r, "the member "+text, got, want)
	}
}

// page asks for all members with a prefix, page after page, or from anywhere.
func (m *model) page(r *rapid.T) {
	text := entries.Draw(r, "entry")
	prefix := text[:rapid.IntRange(0, len(text)).Draw(r, "prefix")]
	if rapid.Bool().Draw(r, "upper") {
		prefix = strings.ToUpper(prefix)
	}
	n := rapid.IntRange(1, 5).Draw(r, "page size")
	after := ""
	if rapid.Bool().Draw(r, "from the midst") {
		after = strings.ToLower(entries.Draw(r, "after"))
	}
	var want []lists.Member
	for _, member := range m.sortedMembers() {
		if strings.HasPrefix(member.Key, strings.ToLower(prefix)) && member.Key > after {
			want = append(want, member)
		}
	}
	var got []lists.Member
	for {
		page, err := m.s.Members(ctx, ann, m.list, prefix, after, n)
		m.is(r, "Members", err, nil)
		got = append(got, page...)
		if len(page) < n {
			break
		}
		after = page[n-1].Key
	}
	same(r, fmt.Sprintf("the members that start with %q", prefix), got, want)
}

func (m *model) match(r *rapid.T) {
	mailbox := locals.Draw(r, "local") + "@" + domains.Draw(r, "domain")
	want := best(m.members, mailbox)
	if rapid.Bool().Draw(r, "upper") {
		mailbox = strings.ToUpper(mailbox)
	}
	got, ok, err := m.s.Match(ctx, ann, m.list, mailbox)
	m.is(r, "Match", err, nil)
	if ok != (want != "") {
		r.Fatalf("%s is held by %q, a walk through all finds %q", mailbox, got.Key, want)
	}
	if ok {
		same(r, "what holds "+mailbox, got, m.members[want])
	}
}

func (m *model) deleteList(r *rapid.T) {
	if rapid.IntRange(0, 3).Draw(r, "really") > 0 {
		return
	}
	m.tick()
	m.is(r, "Delete", m.s.Delete(ctx, ann, m.list), nil)
	m.create(r)
}

// fold leaves everything as it is, but for the file.
func (m *model) fold(r *rapid.T) {
	m.tick()
	m.is(r, "Fold", m.s.FoldFrom(ctx, rapid.Int64Range(0, 3).Draw(r, "from")), nil)
}

// The ways in which a rebuild ends.
const (
	well         = "well"
	noCommit     = "Commit fails"
	commitUnseen = "Commit fails after all was done"
	noNext       = "Next fails"
	panicNext    = "Next panics"
	noStop       = "Stop ends it"
)

func (m *model) rebuild(r *rapid.T) {
	m.tick()
	mode := rapid.SampledFrom([]lists.Mode{lists.Append, lists.Replace, lists.Remove}).Draw(r, "mode")
	dry := rapid.IntRange(0, 4).Draw(r, "dry run") == 0
	ending := rapid.SampledFrom([]string{well, well, well, well, noCommit, commitUnseen, noNext, panicNext, noStop}).Draw(r, "ending")
	texts := rapid.SliceOfN(entries, 0, 14).Draw(r, "entries")

	// What the list would be, and the counts.
	began, before := m.clock, len(m.members)
	after := map[string]lists.Member{}
	if mode != lists.Replace {
		after = maps.Clone(m.members)
	}
	want := lists.Tally{}
	for next := sorted(texts); ; {
		e, err := next()
		if err == io.EOF {
			break
		}
		want.Entries++
		key := string(e.Key)
		old, there := m.members[key]
		switch {
		case mode == lists.Remove:
			if there {
				want.Removed++
			}
			delete(after, key)
			continue
		case !there:
			want.Added++
			old = lists.Member{Key: key, Address: key, Created: began}
			if len(e.Shown) > 0 {
				old.Address = string(e.Shown)
			}
		}
		after[key] = old
	}
	if mode == lists.Replace {
		want.Removed = int64(before) - (want.Entries - want.Added)
	}

	p := plan(m.s, mode, texts...)
	p.DryRun = dry
	// Between two entries others change the list; a Replace replaces that too.
	meanwhile := rapid.SliceOfN(rapid.IntRange(0, len(texts)), 0, 3).Draw(r, "changes before entry")
	failAt := rapid.IntRange(0, int(want.Entries)).Draw(r, "ends at")
	next, asked := p.Next, 0
	p.Next = func() (lists.Entry, error) {
		for _, at := range meanwhile {
			if at != asked {
				continue
			}
			m.tick()
			key := m.change(r, rapid.Bool().Draw(r, "remove"))
			if key == "" || mode == lists.Replace || dry {
				continue
			}
			if member, there := m.members[key]; there {
				after[key] = member
			} else {
				delete(after, key)
			}
		}
		if asked == failAt {
			switch ending {
			case noNext:
				return lists.Entry{}, errTrouble
			case panicNext:
				panic(errTrouble)
			}
		}
		asked++
		return next()
	}
	if ending == noStop {
		p.Stop = func() error { return errTrouble }
	}
	committed := false
	p.Commit = func(ctx context.Context, move *lists.Move, t lists.Tally) error {
		want.Members = int64(len(after)) // nothing changes it any more
		same(r, "the counts at Commit", t, want)
		if dry != (move == nil) {
			r.Fatalf("a dry run: %v, and the move is %v", dry, move)
		}
		if ending == noCommit {
			return errTrouble
		}
		committed = true
		if move != nil {
			m.is(r, "Move", m.db.Move(ctx, *move), nil)
		}
		if ending == commitUnseen {
			return errTrouble
		}
		return nil
	}
	run := func() (t lists.Tally, err error) {
		defer func() {
			if p := recover(); p != nil {
				if e, ok := p.(error); !ok || e != errTrouble {
					panic(p)
				}
				err = errTrouble
			}
		}()
		return m.s.Rebuild(ctx, ann, m.list, p)
	}

	got, err := run()
	want.Members = int64(len(after))
	switch {
	case ending == noNext || ending == panicNext || ending == noStop:
		m.is(r, "Rebuild", err, errTrouble)
	case len(after) > modelLimit && len(after) > before:
		want.Over = want.Members - modelLimit
		m.is(r, "Rebuild", err, lists.ErrListFull)
		same(r, "the counts of what does not fit", got, want)
	case ending == well:
		m.is(r, "Rebuild", err, nil)
		same(r, "the counts", got, want)
	default:
		m.is(r, "Rebuild", err, errTrouble)
	}
	if committed && !dry {
		m.members, m.updated = after, m.clock
	}
	if ending == commitUnseen {
		m.is(r, "Clean", m.s.Clean(ctx), nil) // as when the server starts again
	}
}
