package metadb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sesame/internal/address"
	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// store is what every backend is.
type store interface {
	lists.Store
	importer.Store
	Close() error
}

// opener makes an empty store. reopen closes it and opens it again, as another
// start of the program does.
type opener func(t *testing.T) (s store, reopen func() store)

// testStore holds a backend to what the comments of lists.Store and
// importer.Store promise.
func testStore(t *testing.T, open opener) {
	for _, test := range []struct {
		name string
		run  func(*fixture)
	}{
		{"a list is kept as it was made", keepsLists},
		{"lists come in order of id, page by page", pagesLists},
		{"names are unique to their owner", uniqueNames},
		{"owners are kept apart", ownersApart},
		{"a client token gives the first answer", listTokens},
		{"a client token gives the first job", jobTokens},
		{"one client token makes one list", tokenRace},
		{"an account has no more lists than it may", limitsLists},
		{"tags are set and unset", tags},
		{"a member is added once", addsMembers},
		{"a member is removed", removesMembers},
		{"a list holds no more members than it may", limitsMembers},
		{"members come in order of key, by prefix, page by page", ordersMembers},
		{"members are found by key", findsMembers},
		{"many add the same and different members", addsTogether},
		{"a deleted list is gone at once", deletesLists},
		{"a list is not deleted under an import", deletesNoneInUse},
		{"the members of deleted lists are purged", purges},
		{"a job is kept as it was made", keepsJobs},
		{"jobs come newest first, page by page", pagesJobs},
		{"what may be done with a job in each state", states},
		{"an account runs no more jobs than it may", limitsRunning},
		{"an upload takes the place of the one before", uploads},
		{"uploads race with each other and with Start", uploadRace},
		{"objects are needed until their job is done", neededObjects},
		{"jobs are claimed in order, one a list", claims},
		{"a job is claimed once", claimRace},
		{"a lease runs out, is renewed and given back", leases},
		{"without a lease nothing is written", lostLeases},
		{"room is promised", reserves},
		{"a batch is applied", applies},
		{"a batch does not bring a list over its limit", applyLimit},
		{"a job ends", finishes},
		{"what reading found is noted", notesRead},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, reopen := open(t)
			f := &fixture{T: t, store: s, ctx: context.Background(), now: start}
			f.reopen = func() { f.store = reopen() }
			defer func() {
				if err := f.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			test.run(f)
		})
	}
	t.Run("it does as the model does", func(t *testing.T) { modelCheck(t, open) })
}

var start = time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)

var (
	ann  = lists.Owner{Account: "111111111111", Region: "us-east-1"}
	bob  = lists.Owner{Account: "222222222222", Region: "us-east-1"}
	anns = lists.Owner{Account: "111111111111", Region: "eu-west-1"} // Ann's in another region
)

const (
	many = 1000 // a limit that is not reached
	far  = int64(1_000_000)
)

// fixture is a store and what a test needs beside it.
type fixture struct {
	*testing.T
	store
	reopen func()
	ctx    context.Context
	now    time.Time
	ids    int
}

func (f *fixture) tick(d time.Duration) time.Time {
	f.now = f.now.Add(d)
	return f.now
}

// id makes ids of the form and order of the program's.
func (f *fixture) id(prefix string) string {
	f.ids++
	return fmt.Sprintf("%s-%026d", prefix, f.ids)
}

// is fails the test unless err is want.
func (f *fixture) is(what string, err, want error) {
	f.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		f.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

func (f *fixture) same(what string, got, want any) {
	f.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		f.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func (f *fixture) newList(o lists.Owner, name string) string {
	f.Helper()
	l := lists.List{Owner: o, ID: f.id("al"), Name: name, Created: f.now, Updated: f.now}
	id, err := f.CreateList(f.ctx, l, lists.ClientToken{}, many)
	f.is("CreateList", err, nil)
	return id
}

func (f *fixture) getList(o lists.Owner, id string) lists.List {
	f.Helper()
	l, err := f.List(f.ctx, o, id)
	f.is("List", err, nil)
	return l
}

func entry(t testing.TB, text string) address.Entry {
	t.Helper()
	e, err := address.Parse(text)
	if err != nil {
		t.Fatalf("%q is no entry: %v", text, err)
	}
	return e
}

func (f *fixture) add(o lists.Owner, list string, entries ...string) {
	f.Helper()
	for _, text := range entries {
		f.is("AddMember "+text, f.AddMember(f.ctx, o, list, entry(f, text), far, f.now), nil)
	}
}

// all gives the members of a list as shown, and holds its count to them.
func (f *fixture) all(o lists.Owner, list string) []string {
	f.Helper()
	members, err := f.Members(f.ctx, o, list, "", "", 100_000)
	f.is("Members", err, nil)
	if l := f.getList(o, list); l.Members != int64(len(members)) {
		f.Fatalf("the list says that it has %d members and has %d", l.Members, len(members))
	}
	shown := []string{}
	for _, m := range members {
		shown = append(shown, m.Address)
	}
	return shown
}

func (f *fixture) newJob(o lists.Owner, list string) string {
	f.Helper()
	j := importer.Job{Owner: o, ID: f.id("job"), ListID: list, Name: "import", Format: importfile.CSV, Status: jobs.Created, Created: f.now}
	id, _, err := f.CreateJob(f.ctx, j, lists.ClientToken{})
	f.is("CreateJob", err, nil)
	return id
}

func (f *fixture) getJob(o lists.Owner, id string) importer.Job {
	f.Helper()
	j, err := f.Job(f.ctx, o, id)
	f.is("Job", err, nil)
	return j
}

// upload gives a job something to import and says what.
func (f *fixture) upload(job string) string {
	f.Helper()
	object := "imports/" + f.id(job)
	_, err := f.AttachUpload(f.ctx, job, object, 7)
	f.is("AttachUpload", err, nil)
	return object
}

// started makes a job that waits for a worker.
func (f *fixture) started(o lists.Owner, list string) string {
	f.Helper()
	id := f.newJob(o, list)
	f.upload(id)
	f.is("StartJob", f.StartJob(f.ctx, o, id, many, f.now), nil)
	return id
}

const leaseTime = 10 * time.Second

// claim gives the next job that waits, or "".
func (f *fixture) claim(owner string) (importer.Job, jobs.Lease) {
	f.Helper()
	j, ok, err := f.ClaimJob(f.ctx, owner, f.now, f.now.Add(leaseTime))
	f.is("ClaimJob", err, nil)
	if ok != (j.ID != "") {
		f.Fatalf("ClaimJob gave job %q with %v", j.ID, ok)
	}
	return j, jobs.Lease{Job: j.ID, Owner: owner}
}

// working makes a job under a lease.
func (f *fixture) working(o lists.Owner, list string) jobs.Lease {
	f.Helper()
	id := f.started(o, list)
	j, lease := f.claim(f.id("worker"))
	f.same("the job that was claimed", j.ID, id)
	return lease
}

// batch makes a batch of entries, each of one line.
func (f *fixture) batch(entries ...string) importer.Batch {
	f.Helper()
	b := importer.Batch{Lines: int64(len(entries)), Now: f.now, Until: f.now.Add(leaseTime), Limit: far}
	for _, text := range entries {
		e := entry(f, text)
		row := importer.Row{Key: string(e.Key)}
		if string(e.Shown) != row.Key {
			row.Shown = string(e.Shown)
		}
		b.Rows = append(b.Rows, row)
		b.Kinds |= e.Kind
	}
	slices.SortFunc(b.Rows, func(a, b importer.Row) int { return strings.Compare(a.Key, b.Key) })
	return b
}

func keepsLists(f *fixture) {
	want := lists.List{
		Owner: ann, ID: f.id("al"), Name: "deny.list_1-a", Created: start.Add(123 * time.Millisecond), Updated: start.Add(456 * time.Millisecond),
		Tags: map[string]string{"alchemy::id": "größe \"1\" <&>", "empty": ""},
	}
	id, err := f.CreateList(f.ctx, want, lists.ClientToken{}, many)
	f.is("CreateList", err, nil)
	f.same("the id", id, want.ID)
	f.same("the list", f.getList(ann, id), want)
	f.reopen()
	f.same("the list after a restart", f.getList(ann, id), want)
	_, err = f.List(f.ctx, ann, f.id("al"))
	f.is("List of what is not there", err, lists.ErrNotFound)
}

func pagesLists(f *fixture) {
	var want []string
	for n := range 7 {
		want = append(want, f.newList(ann, fmt.Sprint("n", 7-n)))
		f.newList(bob, fmt.Sprint("n", n))
	}
	for n := 1; n <= 8; n++ {
		var got []string
		for after := ""; ; {
			page, err := f.Lists(f.ctx, ann, after, n)
			f.is("Lists", err, nil)
			if len(page) > n {
				f.Fatalf("Lists gave %d for %d", len(page), n)
			}
			if len(page) == 0 {
				break
			}
			for _, l := range page {
				got = append(got, l.ID)
			}
			after = got[len(got)-1]
		}
		f.same(fmt.Sprintf("the lists by pages of %d", n), got, want)
	}
}

func uniqueNames(f *fixture) {
	first := f.newList(ann, "name")
	for _, o := range []lists.Owner{bob, anns} {
		f.newList(o, "name")
	}
	_, err := f.CreateList(f.ctx, lists.List{Owner: ann, ID: f.id("al"), Name: "name", Created: f.now, Updated: f.now}, lists.ClientToken{}, many)
	f.is("CreateList with a name in use", err, lists.ErrNameTaken)
	all, err := f.Lists(f.ctx, ann, "", many)
	f.is("Lists", err, nil)
	f.same("how many lists there are", len(all), 1)
	_, err = f.DeleteList(f.ctx, ann, first)
	f.is("DeleteList", err, nil)
	f.newList(ann, "name") // free again
}

func ownersApart(f *fixture) {
	list := f.newList(ann, "of ann")
	f.add(ann, list, "ann@example.com")
	job := f.started(ann, list)
	listBefore, jobBefore := f.getList(ann, list), f.getJob(ann, job)
	f.tick(time.Second)
	for _, other := range []lists.Owner{bob, anns} {
		_, err := f.List(f.ctx, other, list)
		f.is("List", err, lists.ErrNotFound)
		of, err := f.Lists(f.ctx, other, "", many)
		f.is("Lists", err, nil)
		f.same("Lists", len(of), 0)
		f.is("SetTags", f.SetTags(f.ctx, other, list, map[string]string{"a": "b"}, nil, many, f.now), lists.ErrNotFound)
		f.is("AddMember", f.AddMember(f.ctx, other, list, entry(f, "new@example.com"), far, f.now), lists.ErrNotFound)
		f.is("RemoveMember", f.RemoveMember(f.ctx, other, list, "ann@example.com", f.now), lists.ErrNotFound)
		_, err = f.Members(f.ctx, other, list, "", "", 10)
		f.is("Members", err, lists.ErrNotFound)
		_, err = f.FindMembers(f.ctx, other, list, []string{"ann@example.com"})
		f.is("FindMembers", err, lists.ErrNotFound)
		objects, err := f.DeleteList(f.ctx, other, list)
		f.is("DeleteList", err, nil)
		f.same("the objects of DeleteList", len(objects), 0)

		_, _, err = f.CreateJob(f.ctx, importer.Job{Owner: other, ID: f.id("job"), ListID: list, Status: jobs.Created, Created: f.now}, lists.ClientToken{})
		f.is("CreateJob", err, lists.ErrNotFound)
		_, err = f.Job(f.ctx, other, job)
		f.is("Job", err, importer.ErrNotFound)
		_, err = f.Jobs(f.ctx, other, list, "", 10)
		f.is("Jobs", err, lists.ErrNotFound)
		f.is("StartJob", f.StartJob(f.ctx, other, job, many, f.now), importer.ErrNotFound)
		_, err = f.StopJob(f.ctx, other, job, f.now)
		f.is("StopJob", err, importer.ErrNotFound)
	}
	f.same("the list after what others did", f.getList(ann, list), listBefore)
	f.same("the job after what others did", f.getJob(ann, job), jobBefore)
	f.same("the members after what others did", f.all(ann, list), []string{"ann@example.com"})
}

func listTokens(f *fixture) {
	create := func(o lists.Owner, name, token, params string) (string, error) {
		return f.CreateList(f.ctx, lists.List{Owner: o, ID: f.id("al"), Name: name, Created: f.now, Updated: f.now},
			lists.NewClientToken(&token, []byte(params), f.now), 2)
	}
	first, err := create(ann, "a", "token", "params a")
	f.is("CreateList", err, nil)
	// The names of the rest are taken and the limit is reached, but an answer
	// that was given is given again.
	second, err := create(ann, "b", "other", "params b")
	f.is("CreateList with another token", err, nil)
	f.tick(time.Hour)
	for range 2 {
		again, err := create(ann, "a", "token", "params a")
		f.is("CreateList again", err, nil)
		f.same("the id given again", again, first)
		_, err = create(ann, "a", "token", "params b")
		f.is("CreateList with other parameters", err, lists.ErrTokenReused)
		f.reopen()
	}
	for _, o := range []lists.Owner{bob, anns} {
		id, err := create(o, "a", "token", "params of another")
		f.is("CreateList of another owner with the token", err, nil)
		if id == first {
			f.Fatal("the token gave another owner's list")
		}
	}
	_, err = f.DeleteList(f.ctx, ann, first)
	f.is("DeleteList", err, nil)
	again, err := create(ann, "a", "token", "params a")
	f.is("CreateList again after DeleteList", err, nil)
	f.same("the id given again after DeleteList", again, first)

	// A request that failed leaves its token free.
	_, err = create(ann, "b", "third", "params b")
	f.is("CreateList with a name in use", err, lists.ErrNameTaken)
	third, err := create(ann, "c", "third", "params c")
	f.is("CreateList with the token of one that failed", err, nil)
	_, err = create(ann, "d", "fourth", "params d")
	f.is("CreateList over the limit", err, lists.ErrTooManyLists)
	_, err = f.DeleteList(f.ctx, ann, third)
	f.is("DeleteList", err, nil)

	f.now = start.Add(8 * time.Hour)
	again, err = create(ann, "b", "other", "params b")
	f.is("CreateList again after 8 hours", err, nil)
	f.same("the id given again after 8 hours", again, second)
	f.tick(time.Millisecond)
	_, err = create(ann, "b", "other", "params b")
	f.is("CreateList with a token forgotten and a name in use", err, lists.ErrNameTaken)
	fresh, err := create(ann, "e", "token", "params b")
	f.is("CreateList with a token forgotten", err, nil)
	again, err = create(ann, "e", "token", "params b")
	f.is("CreateList again with a token forgotten once", err, nil)
	f.same("the id given again", again, fresh)
}

func jobTokens(f *fixture) {
	list := f.newList(ann, "a")
	create := func(listID, token, params string) (string, time.Time, error) {
		return f.CreateJob(f.ctx, importer.Job{Owner: ann, ID: f.id("job"), ListID: listID, Name: "j", Format: importfile.JSON, Status: jobs.Created, Created: f.now},
			lists.NewClientToken(&token, []byte(params), f.now))
	}
	// Tokens of one operation are not those of another.
	token := "token"
	_, err := f.CreateList(f.ctx, lists.List{Owner: ann, ID: f.id("al"), Name: "b", Created: f.now, Updated: f.now}, lists.NewClientToken(&token, []byte("params of a list"), f.now), many)
	f.is("CreateList", err, nil)

	_, _, err = create(f.id("al"), token, "params")
	f.is("CreateJob for a list that is not there", err, lists.ErrNotFound)
	f.tick(time.Millisecond)
	first, created, err := create(list, token, "params")
	f.is("CreateJob", err, nil)
	f.same("when it was made", created, f.now)
	f.tick(time.Hour)
	for range 2 {
		again, when, err := create(list, token, "params")
		f.is("CreateJob again", err, nil)
		f.same("the id given again", again, first)
		f.same("when it was made", when, created)
		_, _, err = create(list, token, "other params")
		f.is("CreateJob with other parameters", err, lists.ErrTokenReused)
		f.reopen()
	}
	page, err := f.Jobs(f.ctx, ann, list, "", many)
	f.is("Jobs", err, nil)
	f.same("how many jobs there are", len(page), 1)

	_, err = f.DeleteList(f.ctx, ann, list)
	f.is("DeleteList", err, nil)
	again, when, err := create(list, token, "params")
	f.is("CreateJob again after DeleteList", err, nil)
	f.same("the id given again", again, first)
	f.same("when it was made", when, created)
	f.now = created.Add(8*time.Hour + time.Millisecond)
	_, _, err = create(list, token, "params")
	f.is("CreateJob for a list that is gone, with a token forgotten", err, lists.ErrNotFound)
}

func tokenRace(f *fixture) {
	token := "token"
	ids := make([]string, 12)
	var all sync.WaitGroup
	for n := range ids {
		l := lists.List{Owner: ann, ID: f.id("al"), Name: "a", Created: f.now, Updated: f.now}
		all.Go(func() {
			var err error
			if ids[n], err = f.CreateList(f.ctx, l, lists.NewClientToken(&token, []byte("params"), f.now), many); err != nil {
				f.Errorf("CreateList: %v", err)
			}
		})
	}
	all.Wait()
	if ids = slices.Compact(ids); len(ids) != 1 {
		f.Fatalf("one token gave %d lists: %v", len(ids), ids)
	}
	made, err := f.Lists(f.ctx, ann, "", many)
	f.is("Lists", err, nil)
	if len(made) != 1 || made[0].ID != ids[0] {
		f.Fatalf("the lists are %v, the token gave %v", made, ids)
	}
}

func limitsLists(f *fixture) {
	create := func(o lists.Owner, name string) error {
		_, err := f.CreateList(f.ctx, lists.List{Owner: o, ID: f.id("al"), Name: name, Created: f.now, Updated: f.now}, lists.ClientToken{}, 2)
		return err
	}
	f.is("CreateList", create(ann, "a"), nil)
	f.is("CreateList", create(ann, "b"), nil)
	f.is("CreateList over the limit", create(ann, "c"), lists.ErrTooManyLists)
	for _, o := range []lists.Owner{bob, anns} {
		f.is("CreateList of another owner", create(o, "a"), nil)
	}
	all, err := f.Lists(f.ctx, ann, "", many)
	f.is("Lists", err, nil)
	_, err = f.DeleteList(f.ctx, ann, all[0].ID)
	f.is("DeleteList", err, nil)
	f.is("CreateList within the limit again", create(ann, "c"), nil)
}

func tags(f *fixture) {
	id := f.newList(ann, "a")
	other := f.newList(ann, "b")
	for _, step := range []struct {
		set     map[string]string
		unset   []string
		err     error
		want    map[string]string
		updated bool
	}{
		{set: map[string]string{"a": "1", "b": "2"}, want: map[string]string{"a": "1", "b": "2"}, updated: true},
		{set: map[string]string{"b": "3"}, want: map[string]string{"a": "1", "b": "3"}, updated: true},
		{set: map[string]string{"b": "3"}, want: map[string]string{"a": "1", "b": "3"}},
		{unset: []string{"none"}, want: map[string]string{"a": "1", "b": "3"}},
		{set: map[string]string{"c": "", "d": "4"}, err: lists.ErrTooManyTags, want: map[string]string{"a": "1", "b": "3"}},
		{set: map[string]string{"c": ""}, want: map[string]string{"a": "1", "b": "3", "c": ""}, updated: true},
		{unset: []string{"a", "b", "none"}, want: map[string]string{"c": ""}, updated: true},
		{unset: []string{"c"}, want: map[string]string{}, updated: true},
	} {
		before := f.getList(ann, id)
		f.tick(time.Second)
		f.is("SetTags", f.SetTags(f.ctx, ann, id, step.set, step.unset, 3, f.now), step.err)
		got := f.getList(ann, id)
		f.same(fmt.Sprintf("the tags after setting %v and unsetting %v", step.set, step.unset), got.Tags, step.want)
		if got.Updated.After(before.Updated) != step.updated {
			f.Errorf("setting %v and unsetting %v moved Updated from %v to %v", step.set, step.unset, before.Updated, got.Updated)
		}
	}
	f.is("SetTags of what is not there", f.SetTags(f.ctx, ann, f.id("al"), nil, []string{"a"}, 3, f.now), lists.ErrNotFound)
	if l := f.getList(ann, other); len(l.Tags) != 0 {
		f.Errorf("another list has tags %v", l.Tags)
	}
}

func addsMembers(f *fixture) {
	id := f.newList(ann, "a")
	f.add(ann, id, "Ann@Example.com")
	made := f.now
	f.tick(time.Second)
	f.add(ann, id, "aNN@example.com") // stays as it was
	if l := f.getList(ann, id); !l.Updated.Equal(made) {
		f.Errorf("adding a member again moved Updated to %v", l.Updated)
	}
	got, err := f.FindMembers(f.ctx, ann, id, []string{"ann@example.com"})
	f.is("FindMembers", err, nil)
	f.same("the member", got, []lists.Member{{Key: "ann@example.com", Address: "Ann@example.com", Created: made}})

	kinds := address.Exact
	for _, e := range []string{"*.example.com", "bob@*.example.com", "example.com", "*@example.com", "1234567890123456789*@example.com"} {
		f.tick(time.Second)
		f.add(ann, id, e)
		kinds |= entry(f, e).Kind
		l := f.getList(ann, id)
		f.same("the kinds of the list", l.Kinds, kinds)
		f.same("when it was changed", l.Updated, f.now)
	}
	f.is("AddMember to what is not there", f.AddMember(f.ctx, ann, f.id("al"), entry(f, "a@example.com"), far, f.now), lists.ErrNotFound)
	want := f.all(ann, id)
	f.same("how many members there are", len(want), 6)
	f.reopen()
	f.same("the members after a restart", f.all(ann, id), want)
}

func removesMembers(f *fixture) {
	id, other := f.newList(ann, "a"), f.newList(ann, "b")
	for _, list := range []string{id, other} {
		f.add(ann, list, "a@example.com", "b@example.com")
	}
	made := f.now
	f.tick(time.Second)
	f.is("RemoveMember of none", f.RemoveMember(f.ctx, ann, id, "c@example.com", f.now), nil)
	f.same("when it was changed", f.getList(ann, id).Updated, made)
	f.is("RemoveMember", f.RemoveMember(f.ctx, ann, id, "a@example.com", f.now), nil)
	f.same("when it was changed", f.getList(ann, id).Updated, f.now)
	f.is("RemoveMember again", f.RemoveMember(f.ctx, ann, id, "a@example.com", f.now), nil)
	f.same("the members", f.all(ann, id), []string{"b@example.com"})
	f.same("the members of another list", f.all(ann, other), []string{"a@example.com", "b@example.com"})
	f.is("RemoveMember from what is not there", f.RemoveMember(f.ctx, ann, f.id("al"), "a@example.com", f.now), lists.ErrNotFound)
}

func limitsMembers(f *fixture) {
	id := f.newList(ann, "a")
	add := func(text string) error { return f.AddMember(f.ctx, ann, id, entry(f, text), 2, f.now) }
	f.is("AddMember", add("a@example.com"), nil)
	f.is("AddMember", add("b@example.com"), nil)
	before := f.getList(ann, id)
	f.tick(time.Second)
	f.is("AddMember over the limit", add("*.example.com"), lists.ErrListFull)
	f.same("the list after one too many", f.getList(ann, id), before)
	f.is("AddMember of a member of a full list", add("B@example.com"), nil)
	f.same("the members", f.all(ann, id), []string{"a@example.com", "b@example.com"})
	f.is("RemoveMember", f.RemoveMember(f.ctx, ann, id, "a@example.com", f.now), nil)
	f.is("AddMember within the limit again", add("*.example.com"), nil)

	// And when many try at once.
	id = f.newList(ann, "b")
	var all sync.WaitGroup
	var mu sync.Mutex
	added := 0
	for n := range 12 {
		all.Go(func() {
			err := f.AddMember(f.ctx, ann, id, entry(f, fmt.Sprintf("%d@example.com", n)), 5, f.now)
			if err != nil && !errors.Is(err, lists.ErrListFull) {
				f.Errorf("AddMember: %v", err)
			}
			if err == nil {
				mu.Lock()
				added++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	f.same("how many of 12 were added to a list of 5", added, 5)
	f.same("how many members there are", len(f.all(ann, id)), 5)
}

// hard are entries that a store could put in the wrong place: characters that
// mean something in patterns, JSON or SQL, and code points whose order differs
// between UTF-8 and UTF-16 or that stand at the end of their kind.
var hard = []string{
	"a@example.com", "a%b@example.com", "a_b@example.com", "ab@example.com", "a?b@example.com", "a'b@example.com",
	"a*@example.com", "*@example.com", "*.example.com", "a@*.example.com", "example.com", "examples.com",
	`"a\"b"@example.com`, `"a\\b"@example.com`, `"a<b>&c"@example.com`, `"a[b]"@example.com`, `" "@example.com`,
	"~@example.com", "{@example.com", "é@example.com", "éa@example.com", "ß@example.com", "ÿ@example.com", "用户@example.com", "用@example.com",
	"\uFF5E@example.com", "\U0001F600@example.com", "\U0001F600a@example.com", "\uFFFC@example.com", "\uD7FF@example.com", "\uE000@example.com",
	"\U0010FFFD@example.com", "\U0010FFFD\U0010FFFD@example.com", "a\U0010FFFD@example.com", "a\U0010FFFDb@example.com", "b@example.com",
	"bücher.example", "*.bücher.example", "\u007Fz@example.com",
}

func ordersMembers(f *fixture) {
	id, other := f.newList(ann, "a"), f.newList(ann, "b")
	f.add(ann, other, "a@example.net", "é@example.net")
	var keys []string
	for _, text := range hard {
		if e, err := address.Parse(text); err == nil {
			f.add(ann, id, text)
			keys = append(keys, string(e.Key))
		}
	}
	if len(keys) < 35 {
		f.Fatalf("only %d of the entries are entries", len(keys))
	}
	slices.Sort(keys)

	prefixes := []string{"", "none", "a%", "a_", "\U0010FFFD", "zzz"}
	for _, key := range keys {
		for i := range key { // at every code point
			if i > 0 && i <= 12 {
				prefixes = append(prefixes, key[:i])
			}
		}
		prefixes = append(prefixes, key, key+"x")
	}
	slices.Sort(prefixes)
	for _, prefix := range slices.Compact(prefixes) {
		var want []string
		for _, key := range keys {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key)
			}
		}
		for _, n := range []int{1, 3, len(keys) + 1} {
			var got []string
			for after := ""; ; {
				page, err := f.Members(f.ctx, ann, id, prefix, after, n)
				f.is("Members", err, nil)
				if len(page) > n {
					f.Fatalf("Members gave %d for %d", len(page), n)
				}
				if len(page) == 0 {
					break
				}
				for _, m := range page {
					got = append(got, m.Key)
				}
				after = got[len(got)-1]
			}
			f.same(fmt.Sprintf("the members that start with %q by pages of %d", prefix, n), got, want)
		}
	}
	// After is any text, whether a member or not, before the prefix or behind it.
	for _, after := range []string{"", "a", "a@", "a@example.com\x00", "b", "é", "\U0010FFFD", "\xff"} {
		for _, prefix := range []string{"", "a", "é"} {
			var want []string
			for _, key := range keys {
				if strings.HasPrefix(key, prefix) && key > after {
					want = append(want, key)
				}
			}
			page, err := f.Members(f.ctx, ann, id, prefix, after, many)
			f.is("Members", err, nil)
			var got []string
			for _, m := range page {
				got = append(got, m.Key)
			}
			f.same(fmt.Sprintf("the members that start with %q after %q", prefix, after), got, want)
		}
	}
	_, err := f.Members(f.ctx, ann, f.id("al"), "", "", 1)
	f.is("Members of what is not there", err, lists.ErrNotFound)
}

func findsMembers(f *fixture) {
	id, other := f.newList(ann, "a"), f.newList(ann, "b")
	var in, out []string
	for n, text := range hard {
		e, err := address.Parse(text)
		if err != nil {
			continue
		}
		if n%2 == 0 {
			f.add(ann, id, text)
			in = append(in, string(e.Key))
		} else {
			f.add(ann, other, text)
			out = append(out, string(e.Key))
		}
	}
	find := func(keys []string) []string {
		members, err := f.FindMembers(f.ctx, ann, id, keys)
		f.is("FindMembers", err, nil)
		found := []string{}
		for _, m := range members {
			found = append(found, m.Key)
		}
		slices.Sort(found)
		return found
	}
	slices.Sort(in)
	f.same("what is found of all", find(slices.Concat(out, in)), in)
	f.same("what is found of those of another list", find(out), []string{})
	f.same("what is found of nothing", find(nil), []string{})
	f.same("what is found of one key twice", find([]string{in[0], in[0]}), in[:1])
	for _, key := range in {
		f.same("what is found of one key", find([]string{key}), []string{key})
	}
	f.same("what is found of no keys of anything", find([]string{"", "a%", "null", "0"}), []string{})
	keys := make([]string, 100)
	for n := range keys {
		keys[n] = fmt.Sprintf("%d@example.com", n)
		if n%3 == 0 {
			f.add(ann, id, keys[n])
		}
	}
	f.same("how many are found of 100", len(find(keys)), 34)
	_, err := f.FindMembers(f.ctx, ann, f.id("al"), keys)
	f.is("FindMembers of what is not there", err, lists.ErrNotFound)
}

func addsTogether(f *fixture) {
	id := f.newList(ann, "a")
	const workers, each = 8, 12
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for n := range each {
				own, shared := fmt.Sprintf("%d.%d@example.com", w, n), fmt.Sprintf("shared.%d@example.com", n)
				for _, text := range []string{own, shared} {
					if err := f.AddMember(f.ctx, ann, id, entry(f, text), far, f.now); err != nil {
						f.Errorf("AddMember: %v", err)
					}
				}
				if n%3 == 0 { // each worker takes some of its own away again
					if err := f.RemoveMember(f.ctx, ann, id, own, f.now); err != nil {
						f.Errorf("RemoveMember: %v", err)
					}
				}
			}
		})
	}
	all.Wait()
	f.same("how many members there are", len(f.all(ann, id)), workers*each*2/3+each)
}

func deletesLists(f *fixture) {
	id, kept := f.newList(ann, "a"), f.newList(ann, "b")
	f.add(ann, id, "a@example.com", "b@example.com")
	f.add(ann, kept, "a@example.com")
	uploaded, none, keptJob := f.newJob(ann, id), f.newJob(ann, id), f.newJob(ann, kept)
	replaced := f.upload(uploaded)
	object := f.upload(uploaded)
	f.upload(keptJob)
	stopped := f.started(ann, id)
	_, err := f.StopJob(f.ctx, ann, stopped, f.now)
	f.is("StopJob", err, nil)
	failed := f.working(ann, id)
	f.is("FinishJob", f.FinishJob(f.ctx, failed, jobs.Failed, "reason", 0, f.now), nil)
	failedObject := f.getJob(ann, failed.Job).Object

	objects, err := f.DeleteList(f.ctx, ann, id)
	f.is("DeleteList", err, nil)
	for _, o := range []string{object, failedObject} {
		if !slices.Contains(objects, o) {
			f.Errorf("DeleteList gave %v, without %s", objects, o)
		}
	}
	if slices.Contains(objects, replaced) || slices.Contains(objects, "") || slices.Contains(objects, f.getJob(ann, keptJob).Object) {
		f.Errorf("DeleteList gave %v, and some are not the list's", objects)
	}
	for range 2 {
		_, err = f.List(f.ctx, ann, id)
		f.is("List", err, lists.ErrNotFound)
		_, err = f.Members(f.ctx, ann, id, "", "", 10)
		f.is("Members", err, lists.ErrNotFound)
		_, err = f.FindMembers(f.ctx, ann, id, []string{"a@example.com"})
		f.is("FindMembers", err, lists.ErrNotFound)
		f.is("AddMember", f.AddMember(f.ctx, ann, id, entry(f, "c@example.com"), far, f.now), lists.ErrNotFound)
		f.is("RemoveMember", f.RemoveMember(f.ctx, ann, id, "a@example.com", f.now), lists.ErrNotFound)
		_, err = f.Jobs(f.ctx, ann, id, "", 10)
		f.is("Jobs", err, lists.ErrNotFound)
		for _, job := range []string{uploaded, none, stopped, failed.Job} {
			_, err = f.Job(f.ctx, ann, job)
			f.is("Job", err, importer.ErrNotFound)
			f.is("Uploadable", f.Uploadable(f.ctx, job), importer.ErrNotFound)
			_, err = f.AttachUpload(f.ctx, job, "imports/late", 1)
			f.is("AttachUpload", err, importer.ErrNotFound)
			f.is("StartJob", f.StartJob(f.ctx, ann, job, many, f.now), importer.ErrNotFound)
		}
		f.reopen()
	}
	objects, err = f.DeleteList(f.ctx, ann, id)
	f.is("DeleteList again", err, nil)
	f.same("what DeleteList gives again", len(objects), 0)

	// A new list of the name has none of the members, purged or not.
	f.same("the members of a new list of the name", f.all(ann, f.newList(ann, "a")), []string{})
	f.same("the members of another list", f.all(ann, kept), []string{"a@example.com"})
	f.is("StartJob of another list", f.StartJob(f.ctx, ann, keptJob, many, f.now), nil)
}

func deletesNoneInUse(f *fixture) {
	id := f.newList(ann, "a")
	f.add(ann, id, "a@example.com")
	idle, waiting := f.newJob(ann, id), f.started(ann, id)
	before, err := f.Jobs(f.ctx, ann, id, "", 10)
	f.is("Jobs", err, nil)
	for range 2 { // waiting, and worked on
		objects, err := f.DeleteList(f.ctx, ann, id)
		f.is("DeleteList", err, lists.ErrImportRunning)
		f.same("the objects", len(objects), 0)
		f.same("the members", f.all(ann, id), []string{"a@example.com"})
		after, err := f.Jobs(f.ctx, ann, id, "", 10)
		f.is("Jobs", err, nil)
		f.same("the jobs", after, before)
		f.claim("worker")
	}
	f.is("Uploadable", f.Uploadable(f.ctx, idle), nil)
	_, err = f.StopJob(f.ctx, ann, waiting, f.now)
	f.is("StopJob", err, nil)
	_, err = f.DeleteList(f.ctx, ann, id)
	f.is("DeleteList after StopJob", err, nil)
}

func purges(f *fixture) {
	more, err := f.PurgeMembers(f.ctx, 10)
	f.is("PurgeMembers", err, nil)
	f.same("whether there is more of nothing", more, false)
	kept := f.newList(ann, "kept")
	for n := range 3 {
		id := f.newList(ann, fmt.Sprint("gone", n))
		for m := range 12 {
			f.add(ann, id, fmt.Sprintf("%d@example.com", m))
		}
		_, err := f.DeleteList(f.ctx, ann, id)
		f.is("DeleteList", err, nil)
	}
	f.add(ann, kept, "0@example.com", "1@example.com")
	calls := 0
	for more := true; more; calls++ {
		if calls > 36/5+2*3+1 {
			f.Fatal("PurgeMembers does not come to an end")
		}
		more, err = f.PurgeMembers(f.ctx, 5)
		f.is("PurgeMembers", err, nil)
	}
	if calls < 36/5+1 {
		f.Errorf("36 members were purged 5 at a time in %d calls", calls)
	}
	f.same("the members of another list", f.all(ann, kept), []string{"0@example.com", "1@example.com"})
}

func keepsJobs(f *fixture) {
	list := f.newList(ann, "a")
	want := importer.Job{Owner: ann, ID: f.id("job"), ListID: list, Name: "Import.1_-", Format: importfile.JSON, Status: jobs.Created, Created: start.Add(123 * time.Millisecond)}
	id, created, err := f.CreateJob(f.ctx, want, lists.ClientToken{})
	f.is("CreateJob", err, nil)
	f.same("the id", id, want.ID)
	f.same("when it was made", created, want.Created)
	f.same("the job", f.getJob(ann, id), want)
	want.Object, want.Size = "imports/x", 5<<40
	_, err = f.AttachUpload(f.ctx, id, want.Object, want.Size)
	f.is("AttachUpload", err, nil)
	f.reopen()
	f.same("the job after a restart", f.getJob(ann, id), want)
	_, err = f.Job(f.ctx, ann, f.id("job"))
	f.is("Job that is not there", err, importer.ErrNotFound)
}

func pagesJobs(f *fixture) {
	list, other := f.newList(ann, "a"), f.newList(ann, "b")
	var want []string
	for range 7 {
		want = append([]string{f.newJob(ann, list)}, want...)
		f.newJob(ann, other)
	}
	for n := 1; n <= 8; n++ {
		var got []string
		for before := ""; ; {
			page, err := f.Jobs(f.ctx, ann, list, before, n)
			f.is("Jobs", err, nil)
			if len(page) > n {
				f.Fatalf("Jobs gave %d for %d", len(page), n)
			}
			if len(page) == 0 {
				break
			}
			for _, j := range page {
				got = append(got, j.ID)
			}
			before = got[len(got)-1]
		}
		f.same(fmt.Sprintf("the jobs by pages of %d", n), got, want)
	}
	_, err := f.Jobs(f.ctx, ann, f.id("al"), "", 1)
	f.is("Jobs of what is not there", err, lists.ErrNotFound)
}

// states is the table of importer.Store's comments: what Start, Stop and an
// upload do to a job in each state.
func states(f *fixture) {
	inState := func(state string) string {
		list := f.newList(ann, strings.ReplaceAll(state, " ", ".")+f.id(""))
		switch state {
		case "no job":
			return f.id("job")
		case "CREATED, empty":
			return f.newJob(ann, list)
		case "CREATED":
			id := f.newJob(ann, list)
			f.upload(id)
			return id
		}
		lease := f.working(ann, list)
		var err error
		switch state {
		case "PROCESSING":
		case "STOPPED":
			_, err = f.StopJob(f.ctx, ann, lease.Job, f.now)
		default:
			err = f.FinishJob(f.ctx, lease, jobs.Status(state), "", 0, f.now)
		}
		f.is("bring a job into the state "+state, err, nil)
		return lease.Job
	}
	for _, row := range []struct {
		state       string
		start, stop error
		upload      error
	}{
		{"no job", importer.ErrNotFound, importer.ErrNotFound, importer.ErrNotFound},
		{"CREATED, empty", importer.ErrNothingUploaded, importer.ErrNotStarted, nil},
		{"CREATED", nil, importer.ErrNotStarted, nil},
		{"PROCESSING", nil, nil, importer.ErrStarted},
		{"COMPLETED", importer.ErrEnded, importer.ErrEnded, importer.ErrStarted},
		{"FAILED", importer.ErrEnded, importer.ErrEnded, importer.ErrStarted},
		{"STOPPED", importer.ErrEnded, nil, importer.ErrStarted},
	} {
		for _, do := range []struct {
			name  string
			want  error
			do    func(id string) error
			after jobs.Status // where it stands then, if that is another state
		}{
			{"Start", row.start, func(id string) error { return f.StartJob(f.ctx, ann, id, many, f.now) }, jobs.Processing},
			{"Stop", row.stop, func(id string) error { _, err := f.StopJob(f.ctx, ann, id, f.now); return err }, jobs.Stopped},
			{"Uploadable", row.upload, func(id string) error { return f.Uploadable(f.ctx, id) }, ""},
			{"AttachUpload", row.upload, func(id string) error { _, err := f.AttachUpload(f.ctx, id, "imports/again", 9); return err }, ""},
		} {
			id := inState(row.state)
			before, _ := f.Job(f.ctx, ann, id)
			f.tick(time.Second)
			f.is(do.name+" in state "+row.state, do.do(id), do.want)
			after, _ := f.Job(f.ctx, ann, id)
			want := before
			switch {
			case do.want != nil || do.after == before.Status: // nothing changes
			case do.name == "Start":
				want.Status, want.Started = jobs.Processing, f.now
			case do.name == "Stop":
				want.Status, want.Completed = jobs.Stopped, f.now
			case do.name == "AttachUpload":
				want.Object, want.Size = "imports/again", 9
			}
			f.same(do.name+" in state "+row.state, after, want)
			f.tick(2 * leaseTime)
			if after.Status == jobs.Processing { // out of the way of the next
				_, err := f.StopJob(f.ctx, ann, id, f.now)
				f.is("StopJob", err, nil)
			}
		}
	}
	job := f.started(ann, f.newList(ann, "objects"))
	object := f.getJob(ann, job).Object
	got, err := f.StopJob(f.ctx, ann, job, f.now)
	f.is("StopJob", err, nil)
	f.same("the object that StopJob gives", got, object)
}

func limitsRunning(f *fixture) {
	newStart := func(o lists.Owner) error {
		list := f.newList(o, f.id("name"))
		id := f.newJob(o, list)
		f.upload(id)
		return f.StartJob(f.ctx, o, id, 2, f.now)
	}
	f.is("StartJob", newStart(ann), nil)
	second := f.started(ann, f.newList(ann, "second"))
	f.is("StartJob of one that runs", f.StartJob(f.ctx, ann, second, 2, f.now), nil)
	f.is("StartJob over the limit", newStart(ann), importer.ErrTooManyRunning)
	for _, o := range []lists.Owner{bob, anns} {
		f.is("StartJob of another owner", newStart(o), nil)
	}
	_, err := f.StopJob(f.ctx, ann, second, f.now)
	f.is("StopJob", err, nil)
	f.is("StartJob within the limit again", newStart(ann), nil)
}

func uploads(f *fixture) {
	id := f.newJob(ann, f.newList(ann, "a"))
	before := ""
	for n, object := range []string{"imports/1", "imports/2", "imports/3"} {
		previous, err := f.AttachUpload(f.ctx, id, object, int64(n))
		f.is("AttachUpload", err, nil)
		f.same("the upload before", previous, before)
		j := f.getJob(ann, id)
		f.same("the upload", j.Object, object)
		f.same("its size", j.Size, int64(n))
		before = object
	}
}

func uploadRace(f *fixture) {
	for range 5 {
		id := f.newJob(ann, f.newList(ann, f.id("name")))
		first := f.upload(id)
		const uploads = 8
		results := make([]struct {
			object, previous string
			err              error
		}, uploads)
		var all sync.WaitGroup
		for n := range results {
			results[n].object = "imports/" + f.id(id)
			all.Go(func() {
				r := &results[n]
				r.previous, r.err = f.AttachUpload(f.ctx, id, r.object, 1)
			})
			if n == uploads/2 {
				all.Go(func() {
					if err := f.StartJob(f.ctx, ann, id, many, f.now); err != nil {
						f.Errorf("StartJob: %v", err)
					}
				})
			}
		}
		all.Wait()
		// The uploads that won follow each other without a gap, so that each that
		// was replaced is deleted by exactly one, and the last is the job's.
		next := map[string]string{}
		won := 0
		for _, r := range results {
			switch {
			case r.err == nil:
				if _, twice := next[r.previous]; twice {
					f.Errorf("%s was replaced twice", r.previous)
				}
				next[r.previous] = r.object
				won++
			case !errors.Is(r.err, importer.ErrStarted):
				f.Errorf("AttachUpload: %v", r.err)
			}
		}
		last := first
		for range won {
			last = next[last]
		}
		f.same("the upload of the job", f.getJob(ann, id).Object, last)
		if _, stopErr := f.StopJob(f.ctx, ann, id, f.now); stopErr != nil {
			f.Fatalf("StopJob: %v", stopErr)
		}
	}
}

func neededObjects(f *fixture) {
	needed := func(object string, want bool) {
		f.Helper()
		got, err := f.ObjectNeeded(f.ctx, object)
		f.is("ObjectNeeded "+object, err, nil)
		if got != want {
			f.Errorf("ObjectNeeded %s: %v, want %v", object, got, want)
		}
	}
	for _, none := range []string{"", "imports", "imports/", "imports/x", "imports/job-1", "imports/" + f.id(f.id("job")), "exports/a-b-c", "/", "-"} {
		needed(none, false)
	}
	list := f.newList(ann, "a")
	id := f.newJob(ann, list)
	lost := "imports/" + f.id(id)
	first := f.upload(id)
	needed(first, true)
	needed(lost, false)
	second := f.upload(id)
	needed(first, false)
	needed(second, true)
	f.is("StartJob", f.StartJob(f.ctx, ann, id, many, f.now), nil)
	needed(second, true)
	_, lease := f.claim("worker")
	needed(second, true)
	f.is("FinishJob", f.FinishJob(f.ctx, lease, jobs.Completed, "", 0, f.now), nil)
	needed(second, false)

	failed := f.working(ann, list)
	failedObject := f.getJob(ann, failed.Job).Object
	f.is("FinishJob", f.FinishJob(f.ctx, failed, jobs.Failed, "reason", 0, f.now), nil)
	needed(failedObject, true)
	stopped := f.started(ann, list)
	stoppedObject := f.getJob(ann, stopped).Object
	_, err := f.StopJob(f.ctx, ann, stopped, f.now)
	f.is("StopJob", err, nil)
	needed(stoppedObject, false)
	_, err = f.DeleteList(f.ctx, ann, list)
	f.is("DeleteList", err, nil)
	needed(failedObject, false)
}

func claims(f *fixture) {
	one, two := f.newList(ann, "one"), f.newList(bob, "two")
	f.newJob(ann, one) // never started
	a := f.started(ann, one)
	f.tick(time.Millisecond)
	b := f.started(ann, one)
	f.tick(time.Millisecond)
	c := f.started(bob, two)
	d := f.started(bob, two)
	f.tick(time.Second)

	want := f.getJob(ann, a)
	j, first := f.claim("w1")
	f.same("the job that waits longest", j, want)
	j, _ = f.claim("w2")
	f.same("the next job, of another list", j.ID, c)
	j, _ = f.claim("w3")
	f.same("what is left while both lists are taken", j.ID, "")
	f.is("FinishJob", f.FinishJob(f.ctx, first, jobs.Completed, "", 0, f.now), nil)
	j, second := f.claim("w1")
	f.same("the next job of the list", j.ID, b)
	_, err := f.StopJob(f.ctx, bob, c, f.now)
	f.is("StopJob", err, nil)
	j, _ = f.claim("w2")
	f.same("the next job of the list whose job was stopped", j.ID, d)
	f.is("ReleaseLease", f.ReleaseLease(f.ctx, second), nil)
	j, _ = f.claim("w4")
	f.same("the job that was given back", j.ID, b)
}

func claimRace(f *fixture) {
	for range 3 {
		list := f.newList(ann, f.id("name"))
		for range 2 {
			f.started(ann, list)
		}
	}
	claimed := make([]importer.Job, 10)
	var all sync.WaitGroup
	for n := range claimed {
		all.Go(func() {
			var err error
			if claimed[n], _, err = f.ClaimJob(f.ctx, fmt.Sprint("w", n), f.now, f.now.Add(leaseTime)); err != nil {
				f.Errorf("ClaimJob: %v", err)
			}
		})
	}
	all.Wait()
	took := map[string]int{}
	for _, j := range claimed {
		took[j.ListID]++
	}
	delete(took, "")
	for list, n := range took {
		if n != 1 {
			f.Errorf("%d jobs of list %s were claimed", n, list)
		}
	}
	f.same("how many lists' jobs were claimed", len(took), 3)
}

func leases(f *fixture) {
	list := f.newList(ann, "a")
	id := f.started(ann, list)
	_, lease := f.claim("w1")
	f.reopen() // a lease survives a restart of the store
	f.tick(leaseTime - time.Millisecond)
	j, _ := f.claim("w2")
	f.same("what is to claim while the lease lives", j.ID, "")
	f.is("RenewLease", f.RenewLease(f.ctx, lease, f.now.Add(leaseTime), 3), nil)
	f.same("the lines refused so far", f.getJob(ann, id).Failed, int64(3))
	f.is("RenewLease", f.RenewLease(f.ctx, lease, f.now.Add(leaseTime), 2), nil)
	f.same("the lines refused so far, read again by a job that is resumed", f.getJob(ann, id).Failed, int64(3))
	f.tick(leaseTime - time.Millisecond)
	j, _ = f.claim("w2")
	f.same("what is to claim while the renewed lease lives", j.ID, "")
	f.is("ApplyBatch", f.ApplyBatch(f.ctx, lease, f.batch("a@example.com")), nil)
	f.tick(leaseTime - time.Millisecond)
	j, _ = f.claim("w2")
	f.same("what is to claim after a batch renewed the lease", j.ID, "")
	f.tick(2 * time.Millisecond)
	want := f.getJob(ann, id)
	j, second := f.claim("w2")
	f.same("the job whose lease ran out, as it stood", j, want)
	f.is("RenewLease of the one before", f.RenewLease(f.ctx, lease, f.now.Add(leaseTime), 4), jobs.ErrLeaseLost)
	f.is("ReleaseLease", f.ReleaseLease(f.ctx, second), nil)
	j, third := f.claim("w3")
	f.same("the job that was given back, as it stood", j, want)
	f.is("FinishJob", f.FinishJob(f.ctx, third, jobs.Completed, "", 3, f.now), nil)
	f.tick(2 * leaseTime)
	j, _ = f.claim("w4")
	f.same("what is to claim when the job has ended", j.ID, "")
}

// lostLeases tries every method that takes a lease after the lease was lost in
// every way it can be.
func lostLeases(f *fixture) {
	for _, way := range []struct {
		name string
		lose func(list string, l jobs.Lease) jobs.Lease
	}{
		{"stopped", func(_ string, l jobs.Lease) jobs.Lease {
			_, err := f.StopJob(f.ctx, ann, l.Job, f.now)
			f.is("StopJob", err, nil)
			return l
		}},
		{"run out and claimed by another", func(_ string, l jobs.Lease) jobs.Lease {
			f.tick(leaseTime + time.Millisecond)
			j, _ := f.claim(f.id("other"))
			f.same("the job claimed by another", j.ID, l.Job)
			return l
		}},
		{"given back", func(_ string, l jobs.Lease) jobs.Lease {
			f.is("ReleaseLease", f.ReleaseLease(f.ctx, l), nil)
			return l
		}},
		{"given back and claimed by another", func(_ string, l jobs.Lease) jobs.Lease {
			f.is("ReleaseLease", f.ReleaseLease(f.ctx, l), nil)
			f.claim(f.id("other"))
			return l
		}},
		{"ended", func(_ string, l jobs.Lease) jobs.Lease {
			f.is("FinishJob", f.FinishJob(f.ctx, l, jobs.Completed, "", 2, f.now), nil)
			return l
		}},
		{"of nobody", func(_ string, l jobs.Lease) jobs.Lease { return jobs.Lease{Job: l.Job, Owner: ""} }},
		{"of somebody else", func(_ string, l jobs.Lease) jobs.Lease { return jobs.Lease{Job: l.Job, Owner: "somebody"} }},
		{"of another job", func(_ string, l jobs.Lease) jobs.Lease { return jobs.Lease{Job: f.id("job"), Owner: l.Owner} }},
		{"of a job that is gone", func(list string, l jobs.Lease) jobs.Lease {
			_, err := f.StopJob(f.ctx, ann, l.Job, f.now)
			f.is("StopJob", err, nil)
			_, err = f.DeleteList(f.ctx, ann, list)
			f.is("DeleteList", err, nil)
			return l
		}},
	} {
		for _, try := range []struct {
			name string
			do   func(jobs.Lease) error
		}{
			{"RenewLease", func(l jobs.Lease) error { return f.RenewLease(f.ctx, l, f.now.Add(time.Hour), 99) }},
			{"ReleaseLease", func(l jobs.Lease) error { return f.ReleaseLease(f.ctx, l) }},
			{"Reserve", func(l jobs.Lease) error { _, _, err := f.Reserve(f.ctx, l, 5, far); return err }},
			{"Reserve without room", func(l jobs.Lease) error { _, _, err := f.Reserve(f.ctx, l, 5, 3); return err }},
			{"ApplyBatch", func(l jobs.Lease) error { return f.ApplyBatch(f.ctx, l, f.batch("late@example.com", "*.example.com")) }},
			{"FinishJob", func(l jobs.Lease) error { return f.FinishJob(f.ctx, l, jobs.Failed, "late", 99, f.now) }},
			{"NoteRead", func(l jobs.Lease) error {
				_, err := f.NoteRead(f.ctx, l, 9, map[string]int64{"empty": 9}, "refused/late")
				return err
			}},
		} {
			list := f.newList(ann, f.id("name"))
			lease := f.working(ann, list)
			f.is("ApplyBatch", f.ApplyBatch(f.ctx, lease, f.batch("early@example.com")), nil)
			lost := way.lose(list, lease)
			listBefore, listErr := f.List(f.ctx, ann, list)
			jobBefore, jobErr := f.Job(f.ctx, ann, lease.Job)
			what := try.name + " with a lease that is " + way.name
			f.is(what, try.do(lost), jobs.ErrLeaseLost)
			listAfter, err := f.List(f.ctx, ann, list)
			f.is(what+": List", err, listErr)
			f.same(what+": the list", listAfter, listBefore)
			jobAfter, err := f.Job(f.ctx, ann, lease.Job)
			f.is(what+": Job", err, jobErr)
			f.same(what+": the job", jobAfter, jobBefore)
			if listErr == nil {
				f.same(what+": the members", f.all(ann, list), []string{"early@example.com"})
				// A lease of another is still his: nobody can claim what he works on.
				held := way.name == "run out and claimed by another" || way.name == "given back and claimed by another" || strings.HasPrefix(way.name, "of ")
				j, _ := f.claim("late")
				waits := way.name == "given back"
				if (j.ID == lease.Job) != waits || held && j.ID != "" {
					f.Errorf("%s: then job %q can be claimed", what, j.ID)
				}
			}
			if jobAfter.Status == jobs.Processing { // out of the way of the next
				_, err := f.StopJob(f.ctx, ann, lease.Job, f.now)
				f.is("StopJob", err, nil)
			}
		}
	}
}

func reserves(f *fixture) {
	list := f.newList(ann, "a")
	f.add(ann, list, "a@example.com", "b@example.com")
	reserve := func(l jobs.Lease, n, wantRoom int64, wantOK bool) {
		f.Helper()
		room, ok, err := f.Reserve(f.ctx, l, n, 10)
		f.is("Reserve", err, nil)
		if room != wantRoom || ok != wantOK {
			f.Fatalf("Reserve %d: room %d, %v; want %d, %v", n, room, ok, wantRoom, wantOK)
		}
	}
	add := func(text string) error { return f.AddMember(f.ctx, ann, list, entry(f, text), 10, f.now) }
	first := f.working(ann, list)
	reserve(first, 9, 8, false)
	reserve(first, 8, 8, true)
	f.is("AddMember while all room is promised", add("c@example.com"), lists.ErrListFull)
	f.is("AddMember of a member while all room is promised", add("a@example.com"), nil)
	reserve(first, 5, 8, true) // in place of the 8
	f.is("AddMember", add("c@example.com"), nil)
	reserve(first, 0, 7, true)
	reserve(first, 6, 7, true)
	reserve(first, 99, 7, false) // promises nothing more
	f.is("AddMember", add("d@example.com"), nil)
	f.is("AddMember beside the promise", add("e@example.com"), lists.ErrListFull)

	// New members are taken from the promise, others are not.
	f.is("ApplyBatch", f.ApplyBatch(f.ctx, first, f.batch("a@example.com", "x1@example.com", "x2@example.com")), nil)
	f.is("AddMember beside the rest of the promise", add("e@example.com"), lists.ErrListFull)
	f.same("how many members there are", len(f.all(ann, list)), 6)

	// The promise outlives the lease, and another job must respect it.
	f.is("ReleaseLease", f.ReleaseLease(f.ctx, first), nil)
	f.is("AddMember beside the promise of a job given back", add("e@example.com"), lists.ErrListFull)
	f.reopen()
	f.is("AddMember beside the promise after a restart", add("e@example.com"), lists.ErrListFull)
	f.now = f.now.Add(-time.Minute)
	earlier := f.working(ann, list) // waits longer, so it is claimed first
	f.tick(time.Minute)
	f.is("RenewLease", f.RenewLease(f.ctx, earlier, f.now.Add(leaseTime), 0), nil)
	reserve(earlier, 1, 0, false)
	other := f.newList(ann, "other")
	otherLease := f.working(ann, other)
	reserve(otherLease, 10, 10, true) // of another list

	_, err := f.StopJob(f.ctx, ann, first.Job, f.now)
	f.is("StopJob", err, nil)
	reserve(earlier, 4, 4, true)
	f.is("AddMember", add("e@example.com"), lists.ErrListFull)
	f.is("FinishJob", f.FinishJob(f.ctx, earlier, jobs.Failed, "reason", 0, f.now), nil)
	f.is("AddMember when nothing is promised any more", add("e@example.com"), nil)
}

func applies(f *fixture) {
	for _, rows := range []int{1, 2, 199, 200, 201, 400, 401, 1003} {
		list := f.newList(ann, f.id("name"))
		var entries, want []string
		for n := range rows {
			entries = append(entries, fmt.Sprintf("User%04d@example.com", n))
			want = append(want, fmt.Sprintf("User%04d@example.com", n))
		}
		old := f.now
		f.add(ann, list, "USER0000@example.com")
		want[0] = "USER0000@example.com" // stays as it was
		lease := f.working(ann, list)
		f.tick(time.Second)
		b := f.batch(entries...)
		b.Kinds |= address.Subdomains
		b.Lines = int64(rows) + 5 // five are duplicates
		f.is("ApplyBatch", f.ApplyBatch(f.ctx, lease, b), nil)
		f.same(fmt.Sprintf("the members after %d rows", rows), f.all(ann, list), want)
		l := f.getList(ann, list)
		f.same("the kinds of the list", l.Kinds, address.Exact|address.Subdomains)
		f.same("when it was changed", l.Updated, f.now)
		j := f.getJob(ann, lease.Job)
		f.same("the lines imported", j.Imported, int64(rows)+5)
		f.same("the cursor", j.Cursor, fmt.Sprintf("user%04d@example.com", rows-1))
		f.same("the state", j.Status, jobs.Processing)
		members, err := f.FindMembers(f.ctx, ann, list, []string{"user0000@example.com"})
		f.is("FindMembers", err, nil)
		f.same("when the old member was made", members[0].Created, old)

		f.is("ApplyBatch", f.ApplyBatch(f.ctx, lease, f.batch("v@example.com")), nil)
		j = f.getJob(ann, lease.Job)
		f.same("the lines imported", j.Imported, int64(rows)+6)
		f.same("the cursor", j.Cursor, "v@example.com")
		members, err = f.FindMembers(f.ctx, ann, list, []string{"v@example.com"})
		f.is("FindMembers", err, nil)
		f.same("when the new member was made", members[0].Created, f.now)
		f.reopen()
		f.same("how many members there are after a restart", len(f.all(ann, list)), rows+1)
		f.is("FinishJob", f.FinishJob(f.ctx, lease, jobs.Completed, "", 0, f.now), nil)
	}
}

// applyLimit: a member that an import counted as there can be removed before
// the import comes to it, and its place be taken by another.
func applyLimit(f *fixture) {
	list := f.newList(ann, "a")
	f.add(ann, list, "a@example.com", "b@example.com")
	lease := f.working(ann, list)
	const limit = 3
	_, ok, err := f.Reserve(f.ctx, lease, 1, limit) // for c: a and b are there
	f.is("Reserve", err, nil)
	f.same("whether there is room", ok, true)
	f.is("RemoveMember", f.RemoveMember(f.ctx, ann, list, "a@example.com", f.now), nil)
	// The room may go to z, or be kept for the import: never to both.
	if err := f.AddMember(f.ctx, ann, list, entry(f, "z@example.com"), limit, f.now); err != nil {
		f.is("AddMember", err, lists.ErrListFull)
	}
	members := f.all(ann, list)
	before := f.getJob(ann, lease.Job)
	b := f.batch("a@example.com", "b@example.com", "c@example.com")
	b.Limit = limit
	if err := f.ApplyBatch(f.ctx, lease, b); err != nil {
		f.is("ApplyBatch", err, lists.ErrListFull)
		f.same("the members after a batch that did not fit", f.all(ann, list), members)
		f.same("the job after a batch that did not fit", f.getJob(ann, lease.Job), before)
	}
	if got := f.all(ann, list); len(got) > limit {
		f.Errorf("the list may hold %d members and holds %q", limit, got)
	}
	f.is("RemoveMember", f.RemoveMember(f.ctx, ann, list, "z@example.com", f.now), nil)
	f.is("ApplyBatch that just fits", f.ApplyBatch(f.ctx, lease, b), nil)
	f.same("the members", f.all(ann, list), []string{"a@example.com", "b@example.com", "c@example.com"})
}

func finishes(f *fixture) {
	for _, end := range []struct {
		status jobs.Status
		reason string
	}{{jobs.Completed, ""}, {jobs.Failed, "It does not fit: 3 > 2."}} {
		list := f.newList(ann, f.id("name"))
		lease := f.working(ann, list)
		f.is("ApplyBatch", f.ApplyBatch(f.ctx, lease, f.batch("a@example.com")), nil)
		want := f.getJob(ann, lease.Job)
		f.tick(time.Second)
		f.is("FinishJob", f.FinishJob(f.ctx, lease, end.status, end.reason, 7, f.now), nil)
		want.Status, want.Error, want.Failed, want.Completed = end.status, end.reason, 7, f.now
		f.same("the job at its end", f.getJob(ann, lease.Job), want)
		f.reopen()
		f.same("the job at its end after a restart", f.getJob(ann, lease.Job), want)
	}
}

func notesRead(f *fixture) {
	list := f.newList(ann, "list")
	lease := f.working(ann, list)
	_, err := f.RefusedObject(f.ctx, lease.Job)
	f.is("RefusedObject before", err, importer.ErrNotFound)

	first := "refused/" + f.id(lease.Job)
	previous, err := f.NoteRead(f.ctx, lease, 10, map[string]int64{"empty": 2, "no_domain": 3}, first)
	f.is("NoteRead", err, nil)
	f.same("the object before the first", previous, "")
	j := f.getJob(ann, lease.Job)
	f.same("lines and refusals", []any{j.Lines, j.Failed, j.RefusedFor, j.RefusedObject}, []any{int64(10), int64(5), map[string]int64{"empty": 2, "no_domain": 3}, first})

	// A resumed job reads its file again.
	second := "refused/" + f.id(lease.Job)
	previous, err = f.NoteRead(f.ctx, lease, 10, map[string]int64{"empty": 2, "no_domain": 3}, second)
	f.is("NoteRead again", err, nil)
	f.same("the object before", previous, first)
	for object, want := range map[string]bool{first: false, second: true} {
		needed, err := f.ObjectNeeded(f.ctx, object)
		f.is("ObjectNeeded", err, nil)
		f.same("whether "+object+" is needed", needed, want)
	}

	f.is("ApplyBatch", f.ApplyBatch(f.ctx, lease, f.batch("a@example.com", "b@example.com")), nil)
	f.is("FinishJob", f.FinishJob(f.ctx, lease, jobs.Completed, "", 5, f.now), nil)
	f.reopen()
	j = f.getJob(ann, lease.Job)
	f.same("what the job says in the end", []int64{j.Lines, j.Failed, j.Imported, j.Entries, j.Added}, []int64{10, 5, 2, 2, 2})
	needed, err := f.ObjectNeeded(f.ctx, second)
	f.is("ObjectNeeded", err, nil)
	f.same("whether the list of an ended job is needed", needed, true)
	object, err := f.RefusedObject(f.ctx, lease.Job)
	f.is("RefusedObject", err, nil)
	f.same("the list", object, second)

	objects, err := f.DeleteList(f.ctx, ann, list)
	f.is("DeleteList", err, nil)
	f.same("the objects of the job", len(objects), 2)
	_, err = f.RefusedObject(f.ctx, lease.Job)
	f.is("RefusedObject of a job that is gone", err, importer.ErrNotFound)
}
