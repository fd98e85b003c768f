package lists_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sesame/internal/address"
	"sesame/internal/importer"
	"sesame/internal/listfile"
	"sesame/internal/lists"
	"sesame/internal/metadb"
)

var (
	ctx = context.Background()
	ann = lists.Owner{Account: "111111111111", Region: "us-east-1"}
	bob = lists.Owner{Account: "222222222222", Region: "us-east-1"}
	now = time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)

	errTrouble = errors.New("the disk is on fire")
)

// store is the real store, which can be made to fail.
type store struct {
	*metadb.DB
	// fault, unless it is nil, is called instead of a method that is named below, and
	// says how it goes; do is the method itself.
	fault func(method string, do func() error) error
}

var _ lists.Store = (*store)(nil)

func (f *store) call(method string, do func() error) error {
	if f.fault == nil {
		return do()
	}
	return f.fault(method, do)
}

func (f *store) Place(ctx context.Context, o lists.Owner, id string) (p lists.Place, err error) {
	err = f.call("Place", func() (err error) { p, err = f.DB.Place(ctx, o, id); return err })
	return p, err
}

func (f *store) AddChange(ctx context.Context, n int64, c lists.Change, members int64, now time.Time) error {
	return f.call("AddChange", func() error { return f.DB.AddChange(ctx, n, c, members, now) })
}

func (f *store) Move(ctx context.Context, m lists.Move) error {
	return f.call("Move", func() error { return f.DB.Move(ctx, m) })
}

func (f *store) DeleteList(ctx context.Context, o lists.Owner, id string) (objects []string, err error) {
	err = f.call("DeleteList", func() (err error) { objects, err = f.DB.DeleteList(ctx, o, id); return err })
	return objects, err
}

func (f *store) LongLists(ctx context.Context, n int64) (found []lists.List, err error) {
	err = f.call("LongLists", func() (err error) { found, err = f.DB.LongLists(ctx, n); return err })
	return found, err
}

func (f *store) PurgeChanges(ctx context.Context, n int) (more bool, err error) {
	err = f.call("PurgeChanges", func() (err error) { more, err = f.DB.PurgeChanges(ctx, n); return err })
	return more, err
}

// fail has one method fail the next time, with or without having been done.
func (f *store) fail(method string, done bool) {
	f.fault = func(called string, do func() error) error {
		if called != method {
			return do()
		}
		f.fault = nil
		if done {
			if err := do(); err != nil {
				return err
			}
		}
		return errTrouble
	}
}

func newStore(t testing.TB) *store {
	t.Helper()
	db, err := metadb.Open(ctx, filepath.Join(t.TempDir(), "sesame.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &store{DB: db}
}

// loud makes whatever is logged an error: nothing goes wrong that Service only
// logs, unless a test sees to it.
type loud struct{ t testing.TB }

func (l loud) Write(line []byte) (int, error) {
	l.t.Errorf("logged: %s", line)
	return len(line), nil
}

// ids gives numbers that are never given again.
var ids atomic.Int64

func newID(prefix string) string { return fmt.Sprintf("%s-%026d", prefix, ids.Add(1)) }

// serviceOn is a Service on a store, as the server makes one when it starts.
func serviceOn(t testing.TB, db *store, dir string) *lists.Service {
	t.Helper()
	s := &lists.Service{
		Store: db, Dir: dir, Limits: lists.Limits{Lists: 1000, Members: 60, Tags: 2},
		Now: func() time.Time { return now }, NewID: newID,
		Discard: func(object string) { t.Errorf("%s was discarded", object) },
		Log:     slog.New(slog.NewTextHandler(loud{t}, nil)),
	}
	if err := s.Clean(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// newService is a Service on a store of its own, with one list.
func newService(t testing.TB) (s *lists.Service, db *store, list string) {
	t.Helper()
	db = newStore(t)
	s = serviceOn(t, db, filepath.Join(t.TempDir(), "members"))
	return s, db, create(t, s, "list")
}

func create(t testing.TB, s *lists.Service, name string) (list string) {
	t.Helper()
	list, err := s.Create(ctx, ann, name, nil, lists.ClientToken{})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// restarted is what a Service is after a restart: it has the same store and files,
// and nothing in memory.
func restarted(t testing.TB, s *lists.Service) *lists.Service {
	t.Helper()
	again := serviceOn(t, s.Store.(*store), s.Dir)
	again.Limits, again.Now, again.Discard, again.Log = s.Limits, s.Now, s.Discard, s.Log
	return again
}

func register(t testing.TB, s *lists.Service, list string, entries ...string) {
	t.Helper()
	for _, e := range entries {
		if err := s.Register(ctx, ann, list, e); err != nil {
			t.Fatalf("Register %q: %v", e, err)
		}
	}
}

func is(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// same says what differs.
func same(t interface {
	Helper()
	Errorf(string, ...any)
}, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// sorted gives entries as an import does: in order of key, each once, and in
// memory that is used again by the next call.
func sorted(entries []string) func() (lists.Entry, error) {
	byKey := map[string]string{}
	for _, text := range entries {
		e, err := address.Parse(text)
		if err != nil {
			panic(err)
		}
		byKey[string(e.Key)] = string(e.Shown)
	}
	keys := slices.Sorted(maps.Keys(byKey))
	var key, shown []byte
	return func() (lists.Entry, error) {
		for _, b := range [][]byte{key, shown} { // whoever still holds them sees it
			for i := range b {
				b[i] = '?'
			}
		}
		if len(keys) == 0 {
			return lists.Entry{}, io.EOF
		}
		key, shown = append(key[:0], keys[0]...), append(shown[:0], byKey[keys[0]]...)
		keys = keys[1:]
		e := lists.Entry{Key: key, Shown: shown}
		if string(key) == string(shown) {
			e.Shown = nil
		}
		return e, nil
	}
}

// plan is an import of some entries.
func plan(s *lists.Service, mode lists.Mode, entries ...string) lists.Plan {
	return lists.Plan{
		Mode: mode, Next: sorted(entries), Exact: int64(len(entries)), Patterns: int64(len(entries)),
		Commit: func(ctx context.Context, m *lists.Move, _ lists.Tally) error { return s.Store.Move(ctx, *m) },
	}
}

func rebuild(t testing.TB, s *lists.Service, list string, mode lists.Mode, entries ...string) lists.Tally {
	t.Helper()
	tally, err := s.Rebuild(ctx, ann, list, plan(s, mode, entries...))
	if err != nil {
		t.Fatalf("Rebuild: %v", err)
	}
	return tally
}

// all gives the members of a list as they are shown.
func all(t testing.TB, s *lists.Service, list string) (shown []string) {
	t.Helper()
	err := s.Each(ctx, ann, list, func(r listfile.Row) error {
		if r.Shown != nil {
			shown = append(shown, string(r.Shown))
		} else {
			shown = append(shown, string(r.Key))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Each: %v", err)
	}
	return shown
}

// files gives what is in a Service's folder.
func files(t testing.TB, s *lists.Service) (names []string) {
	t.Helper()
	there, err := os.ReadDir(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range there {
		names = append(names, f.Name())
	}
	return names
}

// needed gives the files that lists are on.
func needed(t testing.TB, s *lists.Service) []string {
	t.Helper()
	names, err := s.Store.Files(ctx)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// Each entry of ladder holds user.name@a.b.example.com, and goes before those
// behind it.
var ladder = []string{
	"user.name@a.b.example.com", "a.b.example.com",
	"user.name*@a.b.example.com", "user.nam*@a.b.example.com", "user.*@a.b.example.com", "user*@a.b.example.com", "u*@a.b.example.com", "*@a.b.example.com",
	"user.name@*.b.example.com", "*.b.example.com", "user.name@*.example.com", "*.example.com",
}

// It is the same whether members are in the file or registered since.
func TestMatchOrder(t *testing.T) {
	for _, inFile := range []bool{false, true} {
		s, _, list := newService(t)
		change := func(mode lists.Mode, entries ...string) {
			t.Helper()
			if inFile {
				rebuild(t, s, list, mode, entries...)
				return
			}
			for _, e := range entries {
				do := s.Register
				if mode == lists.Remove {
					do = s.Deregister
				}
				is(t, "change", do(ctx, ann, list, e), nil)
			}
		}
		// Neighbours that hold it not, before and behind all of them in order of key.
		change(lists.Append, "user.nam@a.b.example.com", "user.name@b.example.com", "b.example.com", "user.names*@a.b.example.com",
			"user.name@*.a.b.example.com", "*.a.b.example.com", "user.name@*.b.example.net", "a.b.example.com.zz", "user@*.example.com")
		match := func(mailbox string) (string, bool) {
			t.Helper()
			m, ok, err := s.Match(ctx, ann, list, mailbox)
			is(t, "Match", err, nil)
			return m.Address, ok
		}
		if m, ok := match("user.name@a.b.example.com"); ok {
			t.Errorf("it is held by %s", m)
		}
		for _, e := range slices.Backward(ladder) { // worse ones first: each takes the place of those before
			change(lists.Append, strings.ToUpper(e[:1])+e[1:])
			for _, mailbox := range []string{"user.name@a.b.example.com", "User.Name@A.B.EXAMPLE.com."} {
				if m, ok := match(mailbox); !ok || !strings.EqualFold(m, e) {
					t.Errorf("with %s it is held by %q, %v", e, m, ok)
				}
			}
		}
		for _, e := range ladder { // and gives it back when it goes
			if m, ok := match("user.name@a.b.example.com"); !ok || !strings.EqualFold(m, e) {
				t.Errorf("it is held by %q, %v; want %q", m, ok, e)
			}
			change(lists.Remove, e)
		}
		if m, ok := match("user.name@a.b.example.com"); ok {
			t.Errorf("it is held by %s, and all that held it is gone", m)
		}
	}
}

func TestMatchKinds(t *testing.T) {
	s, _, list := newService(t)
	for _, test := range []struct {
		entry    string
		holds    []string
		holdsNot []string
	}{
		{"user@example.com", []string{"user@example.com", "USER@Example.Com"}, []string{"user+tag@example.com", "users@example.com", "user@sub.example.com", "us@example.com"}},
		{"example.com", []string{"a@example.com", `"a b"@example.com`}, []string{"a@sub.example.com", "a@example.com.org", "a@xexample.com"}},
		{"us*@example.com", []string{"us@example.com", "user@example.com", "us+tag@example.com", "US*@example.com"}, []string{"u@example.com", "xus@example.com", "us@sub.example.com"}},
		{"*@example.com", []string{"a@example.com", "é@example.com"}, []string{"a@sub.example.com"}},
		{"*.example.com", []string{"a@x.example.com", "a@x.y.z.example.com"}, []string{"a@example.com", "a@xexample.com", "a@example.org"}},
		{"user@*.example.com", []string{"user@x.example.com", "User@x.y.example.com"}, []string{"user@example.com", "users@x.example.com"}},
		{"1234567890123456789*@example.com", []string{"1234567890123456789@example.com", "12345678901234567890@example.com"}, []string{"123456789012345678@example.com"}},
		{"É*@bücher.example", []string{"éa@xn--bcher-kva.example", "É@BÜCHER.example"}, []string{"e@xn--bcher-kva.example"}},
	} {
		check := func(where string) {
			t.Helper()
			for _, mailbox := range test.holds {
				if m, ok, err := s.Match(ctx, ann, list, mailbox); !ok || err != nil || !m.Created.Equal(now) {
					t.Errorf("%s %s holds %s: %v, made %v, error %v", test.entry, where, mailbox, ok, m.Created, err)
				}
			}
			for _, mailbox := range test.holdsNot {
				if m, ok, err := s.Match(ctx, ann, list, mailbox); ok || err != nil {
					t.Errorf("%s %s holds %s: %v by %s, error %v", test.entry, where, mailbox, ok, m.Address, err)
				}
			}
		}
		register(t, s, list, test.entry)
		check("registered")
		s = restarted(t, s)
		check("read again")
		rebuild(t, s, list, lists.Append)
		check("in the file")
		rebuild(t, s, list, lists.Replace)
	}
	for mailbox, want := range map[string]error{"none": address.NoDomain, "a@b@example.com": address.TwoAtSigns, "": address.Empty, "*.example.com": address.NoDomain} {
		_, ok, err := s.Match(ctx, ann, list, mailbox)
		is(t, "Match "+mailbox, err, want)
		if ok {
			t.Errorf("%q is held", mailbox)
		}
	}
}

// holds says whether an entry holds a mailbox, and how well, most first. It goes
// by what the Developer Guide says of each kind and looks at the text only.
func holds(key, mailbox string) (rank int, ok bool) {
	local, domain, _ := strings.Cut(mailbox, "@")
	entryLocal, entryDomain, address := strings.Cut(key, "@")
	below := func(of string) bool { return strings.HasSuffix(domain, "."+of) }
	switch {
	case key == mailbox:
		return 10_000, true
	case key == domain:
		return 9_000, true
	case !address:
		above, wildcard := strings.CutPrefix(key, "*.")
		return 2 * len(above), wildcard && below(above)
	case strings.HasSuffix(entryLocal, "*"):
		return 5_000 + len(entryLocal), entryDomain == domain && strings.HasPrefix(local, strings.TrimSuffix(entryLocal, "*"))
	}
	above, wildcard := strings.CutPrefix(entryDomain, "*.")
	return 2*len(above) + 1, wildcard && entryLocal == local && below(above)
}

// best gives the key of the member that holds a mailbox best, "" for none: what
// Match gives, found by a walk through all members.
func best(members map[string]lists.Member, mailbox string) string {
	most, found := -1, ""
	for key := range members {
		if rank, ok := holds(key, mailbox); ok && rank > most {
			most, found = rank, key
		}
	}
	return found
}

var (
	locals  = rapid.SampledFrom([]string{"a", "ab", "abc", "b", "a.b", "a+b", "1234567890123456789", "12345678901234567890"})
	domains = rapid.SampledFrom([]string{"example.com", "x.example.com", "y.x.example.com", "z.y.x.example.com", "example.org", "a.b.c.d.e.f.g.h.i.j.example.com"})
)

// entries gives entries as they are written.
var entries = rapid.Custom(func(t *rapid.T) string {
	local, domain := locals.Draw(t, "local"), domains.Draw(t, "domain")
	if rapid.IntRange(0, 3).Draw(t, "case") == 0 {
		local = strings.ToUpper(local)
	}
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		return domain
	case 1:
		return local[:min(len(local), 19)] + "*@" + domain
	case 2:
		return "*@" + domain
	case 3:
		return "*." + domain
	case 4:
		return local + "@*." + domain
	}
	return local + "@" + domain
}).Filter(func(e string) bool {
	_, err := address.Parse(e) // some would have more levels than a wildcard may
	return err == nil
})

func TestMembers(t *testing.T) {
	s, _, list := newService(t)
	register(t, s, list, "Ann@Example.com", " ann@example.com. ", "ÉA@example.com")
	rebuild(t, s, list, lists.Append, "ANN@example.com", "US*@Bücher.Example", "Zoe@example.com")
	register(t, s, list, "Straße@example.com")
	is(t, "Deregister", s.Deregister(ctx, ann, list, "zoe@example.com"), nil)
	for _, bad := range []struct {
		entry string
		want  error
	}{{"none@", address.NoDomain}, {"a*b@example.com", address.WildcardMisplaced}, {"", address.Empty}} {
		is(t, "Register", s.Register(ctx, ann, list, bad.entry), bad.want)
		is(t, "Deregister", s.Deregister(ctx, ann, list, bad.entry), bad.want)
		_, err := s.Member(ctx, ann, list, bad.entry)
		is(t, "Member", err, bad.want)
	}
	m, err := s.Member(ctx, ann, list, "ANN@example.com")
	is(t, "Member", err, nil)
	same(t, "the member", m, lists.Member{Key: "ann@example.com", Address: "Ann@example.com", Created: now})
	_, err = s.Member(ctx, ann, list, "user@bücher.example")
	is(t, "Member applies no wildcard", err, lists.ErrNotMember)

	for prefix, want := range map[string][]string{
		"": {"Ann@example.com", "Straße@example.com", "US*@xn--bcher-kva.example", "ÉA@example.com"}, "ANN@": {"Ann@example.com"}, "an": {"Ann@example.com"},
		"é": {"ÉA@example.com"}, "É": {"ÉA@example.com"}, "E\u0301": {"ÉA@example.com"}, "STRASS": {"Straße@example.com"}, "Straß": {"Straße@example.com"}, "us*": {"US*@xn--bcher-kva.example"},
		"%": nil, "none": nil, "a\U0010ffff": nil, "z": nil,
	} {
		members, err := s.Members(ctx, ann, list, prefix, "", 100)
		is(t, "Members", err, nil)
		var got []string
		for _, m := range members {
			got = append(got, m.Address)
		}
		same(t, fmt.Sprintf("the members that start with %q", prefix), got, want)
	}

	for range 2 { // deregistering what is no member succeeds
		is(t, "Deregister", s.Deregister(ctx, ann, list, "ANN@EXAMPLE.COM"), nil)
		_, err = s.Member(ctx, ann, list, "ann@example.com")
		is(t, "Member of one that is gone", err, lists.ErrNotMember)
	}
	for n := range 57 {
		register(t, s, list, fmt.Sprintf("%d@example.com", n))
	}
	is(t, "Register over the limit", s.Register(ctx, ann, list, "late@example.com"), lists.ErrListFull)
	is(t, "Register of a member of a full list", s.Register(ctx, ann, list, "5@example.com"), nil)
}

// Each ends with its caller's error and calls it no more.
func TestEachEnds(t *testing.T) {
	s, _, list := newService(t)
	register(t, s, list, "a@example.com", "b@example.com", "c@example.com")
	calls := 0
	is(t, "Each", s.Each(ctx, ann, list, func(listfile.Row) error {
		calls++
		if calls == 2 {
			return errTrouble
		}
		return nil
	}), errTrouble)
	same(t, "calls", calls, 2)
}

// Nobody finds a list that is not there or another's, whether or not it is in
// memory.
func TestNoSuchList(t *testing.T) {
	s, _, list := newService(t)
	check := func(o lists.Owner, id string) {
		t.Helper()
		_, err := s.Get(ctx, o, id)
		is(t, "Get", err, lists.ErrNotFound)
		is(t, "Tag", s.Tag(ctx, o, id, nil), lists.ErrNotFound)
		is(t, "Untag", s.Untag(ctx, o, id, nil), lists.ErrNotFound)
		is(t, "Register", s.Register(ctx, o, id, "a@example.com"), lists.ErrNotFound)
		is(t, "Deregister", s.Deregister(ctx, o, id, "a@example.com"), lists.ErrNotFound)
		_, err = s.Member(ctx, o, id, "a@example.com")
		is(t, "Member", err, lists.ErrNotFound)
		_, err = s.Members(ctx, o, id, "", "", 1)
		is(t, "Members", err, lists.ErrNotFound)
		_, _, err = s.Match(ctx, o, id, "a@example.com")
		is(t, "Match", err, lists.ErrNotFound)
		is(t, "Each", s.Each(ctx, o, id, func(listfile.Row) error { return nil }), lists.ErrNotFound)
		_, err = s.Rebuild(ctx, o, id, plan(s, lists.Append))
		is(t, "Rebuild", err, lists.ErrNotFound)
		is(t, "Delete", s.Delete(ctx, o, id), nil)
	}
	check(ann, "al-none")
	check(bob, list)
	register(t, s, list, "a@example.com")
	rebuild(t, s, list, lists.Append, "b@example.com")
	check(bob, list)
	same(t, "the members", all(t, s, list), []string{"a@example.com", "b@example.com"})
	is(t, "Delete", s.Delete(ctx, ann, list), nil)
	check(ann, list)
}

func TestListsAndTags(t *testing.T) {
	s, _, list := newService(t)
	s.Limits.Lists = 3
	token := "token"
	id, err := s.Create(ctx, ann, "second", map[string]string{"a": "1", "b": "2"}, lists.NewClientToken(&token, []byte("p"), now))
	is(t, "Create", err, nil)
	again, err := s.Create(ctx, ann, "second", map[string]string{"a": "1", "b": "2"}, lists.NewClientToken(&token, []byte("p"), now.Add(time.Hour)))
	is(t, "Create again", err, nil)
	same(t, "what the token gives", again, id)
	if none := lists.NewClientToken(nil, []byte("p"), now); none.Token != "" {
		t.Errorf("no token is %v", none)
	}
	_, err = s.Create(ctx, ann, "third", map[string]string{"a": "", "b": "", "c": ""}, lists.ClientToken{})
	is(t, "Create with too many tags", err, lists.ErrTooManyTags)
	_, err = s.Create(ctx, ann, "list", nil, lists.ClientToken{})
	is(t, "Create with a name in use", err, lists.ErrNameTaken)
	_, err = s.Create(ctx, ann, "third", nil, lists.ClientToken{})
	is(t, "Create", err, nil)
	_, err = s.Create(ctx, ann, "fourth", nil, lists.ClientToken{})
	is(t, "Create over the limit", err, lists.ErrTooManyLists)

	is(t, "Tag", s.Tag(ctx, ann, id, map[string]string{"b": "3"}), nil)
	is(t, "Tag over the limit", s.Tag(ctx, ann, id, map[string]string{"c": "3"}), lists.ErrTooManyTags)
	is(t, "Untag", s.Untag(ctx, ann, id, []string{"a", "none"}), nil)
	l, err := s.Get(ctx, ann, id)
	is(t, "Get", err, nil)
	same(t, "the list", l, lists.List{Owner: ann, ID: id, Name: "second", Created: now, Updated: now, Tags: map[string]string{"b": "3"}})
	page, err := s.List(ctx, ann, list, 1)
	is(t, "List", err, nil)
	if len(page) != 1 || page[0].ID != id {
		t.Errorf("the page behind the first list is %v", page)
	}
}

// A list takes with it its members, its file, and what its jobs have uploaded;
// one that is imported into stays, with all of that.
func TestDelete(t *testing.T) {
	s, db, list := newService(t)
	var discarded []string
	s.Discard = func(object string) { discarded = append(discarded, object) }
	register(t, s, list, "a@example.com")
	rebuild(t, s, list, lists.Append, "b@example.com")
	register(t, s, list, "c@example.com")
	job := importer.Job{Owner: ann, ID: "job-1", ListID: list, Format: "CSV", Status: "CREATED", Mode: lists.Append, Created: now}
	_, _, err := db.CreateJob(ctx, job, lists.ClientToken{})
	is(t, "CreateJob", err, nil)
	_, err = db.AttachUpload(ctx, "job-1", "imports/job-1-x", 1, now)
	is(t, "AttachUpload", err, nil)
	is(t, "StartJob", db.StartJob(ctx, ann, "job-1", 1, now), nil)

	is(t, "Delete under an import", s.Delete(ctx, ann, list), lists.ErrImportRunning)
	same(t, "what was discarded", discarded, []string(nil))
	same(t, "the members", all(t, s, list), []string{"a@example.com", "b@example.com", "c@example.com"})
	same(t, "the files", files(t, s), needed(t, s))

	_, err = db.StopJob(ctx, ann, "job-1", now)
	is(t, "StopJob", err, nil)
	is(t, "Delete", s.Delete(ctx, ann, list), nil)
	same(t, "what was discarded", discarded, []string{"imports/job-1-x"})
	same(t, "the files", files(t, s), []string(nil))
	again := create(t, s, "list")
	same(t, "the members of a list of the same name", all(t, s, again), []string(nil))

	// A store that fails may have deleted it: then it is gone, and its file is cleared
	// away later.
	for _, done := range []bool{false, true} {
		list := create(t, s, "troubled")
		rebuild(t, s, list, lists.Append, "a@example.com")
		db.fail("DeleteList", done)
		is(t, "Delete in trouble", s.Delete(ctx, ann, list), errTrouble)
		_, err := s.Member(ctx, ann, list, "a@example.com")
		want := error(nil)
		if done {
			want = lists.ErrNotFound
		}
		is(t, "Member", err, want)
		is(t, "Delete again", s.Delete(ctx, ann, list), nil)
		is(t, "Clean", s.Clean(ctx), nil)
		same(t, "the files", files(t, s), []string(nil))
	}
}

// Purge leaves the changes that are needed and no others, and ends when it is told to.
func TestPurge(t *testing.T) {
	s, db, list := newService(t)
	changes := func(list string, n int64) (seqs []int64) {
		t.Helper()
		found, err := db.Changes(ctx, n, 0)
		is(t, "Changes", err, nil)
		for _, c := range found {
			seqs = append(seqs, c.Seq)
		}
		return seqs
	}
	place, err := db.Place(ctx, ann, list)
	is(t, "Place", err, nil)
	register(t, s, list, "a@example.com", "b@example.com")
	rebuild(t, s, list, lists.Append)
	register(t, s, list, "c@example.com")
	gone := create(t, s, "gone")
	goneAt, err := db.Place(ctx, ann, gone)
	is(t, "Place", err, nil)
	register(t, s, gone, "a@example.com")
	is(t, "Delete", s.Delete(ctx, ann, gone), nil)
	is(t, "Purge", s.Purge(ctx), nil)
	same(t, "the changes", changes(list, place.N), []int64{3})
	same(t, "the changes of a deleted list", changes(gone, goneAt.N), []int64(nil))
	register(t, s, list, "d@example.com")
	s = restarted(t, s)
	same(t, "the members", all(t, s, list), []string{"a@example.com", "b@example.com", "c@example.com", "d@example.com"})

	db.fail("PurgeChanges", false)
	is(t, "Purge in trouble", s.Purge(ctx), errTrouble)

	for range 3 { // lists to be purged one by one
		list := create(t, s, "gone")
		register(t, s, list, "a@example.com")
		is(t, "Delete", s.Delete(ctx, ann, list), nil)
	}
	ending, end := context.WithCancel(ctx)
	defer end()
	calls := 0
	db.fault = func(_ string, do func() error) error {
		calls++
		err := do()
		end()
		return err
	}
	is(t, "Purge that is ended", s.Purge(ending), nil)
	same(t, "calls of PurgeChanges", calls, 1)
}
