package lists_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sesame/internal/address"
	"sesame/internal/lists"
	"sesame/internal/metadb"
)

var (
	ctx = context.Background()
	ann = lists.Owner{Account: "111111111111", Region: "us-east-1"}
	now = time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
)

// newService is a Service on a real store, with one list.
func newService(t *testing.T) (s *lists.Service, list string) {
	t.Helper()
	db, err := metadb.Open(ctx, filepath.Join(t.TempDir(), "sesame.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	ids := 0
	s = &lists.Service{
		Store: db, Limits: lists.Limits{Lists: 3, Members: 60, Tags: 2}, Now: func() time.Time { return now },
		NewID:   func(prefix string) string { ids++; return fmt.Sprintf("%s-%026d", prefix, ids) },
		Discard: func(object string) { t.Errorf("%s was discarded", object) },
	}
	list, err = s.Create(ctx, ann, "list", nil, lists.ClientToken{})
	if err != nil {
		t.Fatal(err)
	}
	return s, list
}

func register(t *testing.T, s *lists.Service, list string, entries ...string) {
	t.Helper()
	for _, e := range entries {
		if err := s.Register(ctx, ann, list, e); err != nil {
			t.Fatalf("Register %q: %v", e, err)
		}
	}
}

func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// Each entry of ladder holds user.name@a.b.example.com, and goes before those
// behind it.
var ladder = []string{
	"user.name@a.b.example.com", "a.b.example.com",
	"user.name*@a.b.example.com", "user.nam*@a.b.example.com", "user.*@a.b.example.com", "user*@a.b.example.com", "u*@a.b.example.com", "*@a.b.example.com",
	"user.name@*.b.example.com", "*.b.example.com", "user.name@*.example.com", "*.example.com",
}

func TestMatchOrder(t *testing.T) {
	s, list := newService(t)
	// Neighbours that hold it not, before and behind all of them in order of key.
	register(t, s, list, "user.nam@a.b.example.com", "user.name@b.example.com", "b.example.com", "user.names*@a.b.example.com",
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
		register(t, s, list, strings.ToUpper(e[:1])+e[1:])
		for _, mailbox := range []string{"user.name@a.b.example.com", "User.Name@A.B.EXAMPLE.com."} {
			if m, ok := match(mailbox); !ok || !strings.EqualFold(m, e) {
				t.Errorf("with %s it is held by %q, %v", e, m, ok)
			}
		}
	}
	for n, e := range ladder { // and gives it back when it goes
		if m, ok := match("user.name@a.b.example.com"); !ok || !strings.EqualFold(m, ladder[n]) {
			t.Errorf("it is held by %q, %v; want %q", m, ok, e)
		}
		is(t, "Deregister", s.Deregister(ctx, ann, list, e), nil)
	}
	if m, ok := match("user.name@a.b.example.com"); ok {
		t.Errorf("it is held by %s, and all that held it is gone", m)
	}
}

func TestMatchKinds(t *testing.T) {
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
		s, list := newService(t)
		register(t, s, list, test.entry)
		for _, mailbox := range test.holds {
			if m, ok, err := s.Match(ctx, ann, list, mailbox); !ok || err != nil || m.Created != now {
				t.Errorf("%s holds %s: %v, error %v", test.entry, mailbox, ok, err)
			}
		}
		for _, mailbox := range test.holdsNot {
			if _, ok, err := s.Match(ctx, ann, list, mailbox); ok || err != nil {
				t.Errorf("%s holds %s: %v, error %v", test.entry, mailbox, ok, err)
			}
		}
	}
	s, list := newService(t)
	for mailbox, want := range map[string]error{"none": address.NoDomain, "a@b@example.com": address.TwoAtSigns, "": address.Empty, "*.example.com": address.NoDomain} {
		_, ok, err := s.Match(ctx, ann, list, mailbox)
		is(t, "Match "+mailbox, err, want)
		if ok {
			t.Errorf("%q is held", mailbox)
		}
	}
	_, _, err := s.Match(ctx, ann, "al-none", "a@example.com")
	is(t, "Match in no list", err, lists.ErrNotFound)
}

// few is a Store of one list that notes what it is asked. The methods that Match
// does not need are missing.
type few struct {
	lists.Store
	list    lists.List
	members map[string]lists.Member
	asked   [][]string
}

func (f *few) List(context.Context, lists.Owner, string) (lists.List, error) { return f.list, nil }

func (f *few) FindMembers(_ context.Context, _ lists.Owner, _ string, keys []string) ([]lists.Member, error) {
	f.asked = append(f.asked, keys)
	var found []lists.Member
	for _, key := range slices.Backward(keys) { // in any order
		if m, ok := f.members[key]; ok {
			found = append(found, m)
		}
	}
	return found, nil
}

func (f *few) add(e address.Entry) {
	f.members[string(e.Key)] = lists.Member{Key: string(e.Key), Address: string(e.Shown)}
	f.list.Kinds |= e.Kind
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

// Match does as a walk through all members would, and asks at most once, for at
// most as many keys as the Store takes, whatever the list holds.
func TestMatchAsAWalk(t *testing.T) {
	locals := rapid.SampledFrom([]string{"a", "ab", "abc", "b", "a.b", "a+b", "1234567890123456789", "12345678901234567890"})
	domains := rapid.SampledFrom([]string{"example.com", "x.example.com", "y.x.example.com", "z.y.x.example.com", "example.org", "a.b.c.d.e.f.g.h.i.j.example.com"})
	entries := rapid.Custom(func(t *rapid.T) string {
		local, domain := locals.Draw(t, "local"), domains.Draw(t, "domain")
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
	})
	rapid.Check(t, func(r *rapid.T) {
		f := &few{members: map[string]lists.Member{}}
		for range rapid.IntRange(0, 12).Draw(r, "members") {
			if e, err := address.Parse(entries.Draw(r, "entry")); err == nil {
				f.add(e)
			}
		}
		s := &lists.Service{Store: f}
		mailbox := locals.Draw(r, "local") + "@" + domains.Draw(r, "domain")
		best, want := -1, ""
		for key := range f.members {
			if rank, ok := holds(key, mailbox); ok && rank > best {
				best, want = rank, key
			}
		}
		m, ok, err := s.Match(ctx, ann, "al", mailbox)
		if err != nil || ok != (best >= 0) || m.Key != want {
			r.Fatalf("%s is held by %q, %v, error %v; a walk through %q finds %q", mailbox, m.Key, ok, err, f.members, want)
		}
		if len(f.asked) > 1 || len(f.asked) == 1 && (len(f.asked[0]) == 0 || len(f.asked[0]) > 100) {
			r.Fatalf("the store was asked for %q", f.asked)
		}
	})
}

// A list is asked only for the kinds that it has held.
func TestMatchAsksForItsKinds(t *testing.T) {
	const mailbox = "user.name@a.b.example.com"
	for _, test := range []struct {
		entry string
		keys  []string
	}{
		{"x@example.com", []string{mailbox}},
		{"x.example.com", []string{"a.b.example.com"}},
		{"us*@x.example.com", []string{"us*@a.b.example.com"}},
		{"*.x.example.com", []string{"*.b.example.com", "*.example.com"}},
		{"x@*.x.example.com", []string{"user.name@*.b.example.com", "user.name@*.example.com"}},
	} {
		f := &few{members: map[string]lists.Member{}}
		e, err := address.Parse(test.entry)
		if err != nil {
			t.Fatal(err)
		}
		f.add(e)
		if _, ok, err := (&lists.Service{Store: f}).Match(ctx, ann, "al", mailbox); ok || err != nil {
			t.Errorf("%s holds it: %v, error %v", test.entry, ok, err)
		}
		if diff := cmp.Diff([][]string{test.keys}, f.asked); diff != "" {
			t.Errorf("a list of %s was asked for (-want +got):\n%s", test.entry, diff)
		}
	}
	f := &few{}
	if _, ok, err := (&lists.Service{Store: f}).Match(ctx, ann, "al", mailbox); ok || err != nil || len(f.asked) != 0 {
		t.Errorf("an empty list holds it: %v, error %v, and was asked for %q", ok, err, f.asked)
	}
}

func TestMembers(t *testing.T) {
	s, list := newService(t)
	register(t, s, list, "Ann@Example.com", " ann@example.com. ", "ÉA@example.com", "Straße@example.com", "US*@Bücher.Example")
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
	if diff := cmp.Diff(lists.Member{Key: "ann@example.com", Address: "Ann@example.com", Created: now}, m); diff != "" {
		t.Errorf("the member (-want +got):\n%s", diff)
	}
	_, err = s.Member(ctx, ann, list, "user@bücher.example")
	is(t, "Member applies no wildcard", err, lists.ErrNotMember)
	_, err = s.Member(ctx, ann, "al-none", "ann@example.com")
	is(t, "Member of no list", err, lists.ErrNotFound)

	for prefix, want := range map[string][]string{
		"": {"Ann@example.com", "Straße@example.com", "US*@xn--bcher-kva.example", "ÉA@example.com"}, "ANN@": {"Ann@example.com"}, "an": {"Ann@example.com"},
		"é": {"ÉA@example.com"}, "É": {"ÉA@example.com"}, "E\u0301": {"ÉA@example.com"}, "STRASS": {"Straße@example.com"}, "Straß": {"Straße@example.com"}, "us*": {"US*@xn--bcher-kva.example"},
		"%": nil, "none": nil, "a\U0010ffff": nil,
	} {
		members, err := s.Members(ctx, ann, list, prefix, "", 100)
		is(t, "Members", err, nil)
		var got []string
		for _, m := range members {
			got = append(got, m.Address)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the members that start with %q (-want +got):\n%s", prefix, diff)
		}
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

func TestListsAndTags(t *testing.T) {
	s, list := newService(t)
	token := "token"
	id, err := s.Create(ctx, ann, "second", map[string]string{"a": "1", "b": "2"}, lists.NewClientToken(&token, []byte("p"), now))
	is(t, "Create", err, nil)
	again, err := s.Create(ctx, ann, "second", map[string]string{"a": "1", "b": "2"}, lists.NewClientToken(&token, []byte("p"), now.Add(time.Hour)))
	is(t, "Create again", err, nil)
	if again != id {
		t.Errorf("the token gave %s and then %s", id, again)
	}
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
	if diff := cmp.Diff(lists.List{Owner: ann, ID: id, Name: "second", Created: now, Updated: now, Tags: map[string]string{"b": "3"}}, l); diff != "" {
		t.Errorf("the list (-want +got):\n%s", diff)
	}
	page, err := s.List(ctx, ann, list, 1)
	is(t, "List", err, nil)
	if len(page) != 1 || page[0].ID != id {
		t.Errorf("the page behind the first list is %v", page)
	}
	_, err = s.Get(ctx, ann, "al-none")
	is(t, "Get of none", err, lists.ErrNotFound)
	is(t, "Tag of none", s.Tag(ctx, ann, "al-none", nil), lists.ErrNotFound)
	is(t, "Untag of none", s.Untag(ctx, ann, "al-none", nil), lists.ErrNotFound)
}

// deleting is a Store that deletes, and purges a few times.
type deleting struct {
	lists.Store
	objects []string
	err     error
	purges  int
	then    func()
}

func (d *deleting) DeleteList(context.Context, lists.Owner, string) ([]string, error) {
	return d.objects, d.err
}

func (d *deleting) PurgeMembers(_ context.Context, n int) (bool, error) {
	if n < 1 || n > 10_000 {
		return false, fmt.Errorf("%d members in one transaction", n)
	}
	if d.then != nil {
		d.then()
	}
	d.purges--
	return d.purges > 0, d.err
}

func TestDeleteAndPurge(t *testing.T) {
	var discarded []string
	d := &deleting{objects: []string{"a", "b"}}
	s := &lists.Service{Store: d, Discard: func(object string) { discarded = append(discarded, object) }}
	is(t, "Delete", s.Delete(ctx, ann, "al"), nil)
	if !slices.Equal(discarded, d.objects) {
		t.Errorf("%q were discarded, want %q", discarded, d.objects)
	}
	discarded = nil
	d.err = lists.ErrImportRunning
	is(t, "Delete under an import", s.Delete(ctx, ann, "al"), lists.ErrImportRunning)
	if discarded != nil {
		t.Errorf("%q were discarded and the list is not deleted", discarded)
	}

	is(t, "Purge of a store in trouble", s.Purge(ctx), lists.ErrImportRunning)
	d.err, d.purges = nil, 7
	is(t, "Purge", s.Purge(ctx), nil)
	if d.purges != 0 {
		t.Errorf("Purge ended with %d to go", d.purges)
	}
	ending, end := context.WithCancel(ctx)
	d.purges, d.then = 1_000_000, end
	is(t, "Purge that is ended", s.Purge(ending), nil)
	if d.purges < 999_990 {
		t.Errorf("Purge went on when ctx had ended, to %d", d.purges)
	}
}
