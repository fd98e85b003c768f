package metadb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sesame/internal/exporter"
	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// store is what every backend is.
type store interface {
	lists.Store
	importer.Store
	exporter.Store
	Close() error
}

// opener makes an empty store. reopen closes it and opens it again, as another
// start of the program does.
type opener func(t *testing.T) (s store, reopen func() store)

// testStore holds a backend to what the comments of lists.Store, importer.Store and
// exporter.Store promise.
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
		{"an account has no more lists than it may", limitsLists},
		{"tags are set and unset", tags},
		{"a list's number is never another's", numbersLists},
		{"changes are kept in order", keepsChanges},
		{"a list is put on another file", movesLists},
		{"lists with many changes are found", findsLongLists},
		{"changes that are not needed are purged", purges},
		{"a deleted list is gone at once", deletesLists},
		{"a list is not deleted under an import", deletesNoneInUse},
		{"a job is kept as it was made", keepsJobs},
		{"jobs come newest first, page by page", pagesJobs},
		{"what may be done with a job in each state", states},
		{"an account runs no more jobs than it may", limitsRunning},
		{"an upload takes the place of the one before", uploads},
		{"objects are needed until their job is done", neededObjects},
		{"jobs are claimed in order, one a list", claims},
		{"a lease runs out, is renewed and given back", leases},
		{"without a lease nothing is written", lostLeases},
		{"progress is kept as it was noted", keepsProgress},
		{"what reading found is noted", notesRead},
		{"a job and its list are published together", publishes},
		{"a job fails", failsJobs},
		{"what old jobs hold is given up", retires},
		{"an export is kept as it was made", keepsExports},
		{"exports come newest first, page by page", listsExports},
		{"an export is claimed, worked on and ended", worksExports},
		{"a schedule is kept as it was put", keepsSchedules},
		{"a schedule is run, and goes on from what was completed", runsSchedules},
		{"a schedule is replaced and deleted", replacesSchedules},
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
	for _, race := range races {
		t.Run(race.name, func(t *testing.T) {
			s, _ := open(t)
			defer s.Close()
			race.run(&fixture{T: t, store: s, ctx: context.Background(), now: start}, s)
		})
	}
}

var start = time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)

var (
	ann  = lists.Owner{Account: "111111111111", Region: "us-east-1"}
	bob  = lists.Owner{Account: "222222222222", Region: "us-east-1"}
	anns = lists.Owner{Account: "111111111111", Region: "eu-west-1"} // Ann's in another region
)

const many = 1000 // a limit that is not reached

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

func (f *fixture) place(o lists.Owner, list string) lists.Place {
	f.Helper()
	p, err := f.Place(f.ctx, o, list)
	f.is("Place", err, nil)
	return p
}

// changes gives the changes of the list with number n that came after another.
func (f *fixture) changes(n, after int64) []lists.Change {
	f.Helper()
	found, err := f.Changes(f.ctx, n, after)
	f.is("Changes", err, nil)
	return found
}

// seqs gives the numbers of those changes.
func (f *fixture) seqs(n, after int64) []int64 {
	f.Helper()
	var seqs []int64
	for _, c := range f.changes(n, after) {
		seqs = append(seqs, c.Seq)
	}
	return seqs
}

// numbers are from, from+1, ... to.
func numbers(from, to int64) (all []int64) {
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}

// add makes a change for each key, numbered on, and says where the list is then.
func (f *fixture) add(o lists.Owner, list string, keys ...string) lists.Place {
	f.Helper()
	p := f.place(o, list)
	seq := p.Folded
	for _, c := range f.changes(p.N, p.Folded) {
		seq = c.Seq
	}
	for _, key := range keys {
		seq++
		p.Members++
		f.is("AddChange", f.AddChange(f.ctx, p.N, lists.Change{Seq: seq, Key: key, Created: f.now}, p.Members, f.now), nil)
	}
	return p
}

// some are n keys.
func some(n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprintf("%d@example.com", i))
	}
	return keys
}

// all is everything that is kept of a list, or its error.
func (f *fixture) all(o lists.Owner, list string) []any {
	f.Helper()
	l, err := f.List(f.ctx, o, list)
	if err != nil {
		f.is("List", err, lists.ErrNotFound)
		return []any{"no such list"}
	}
	p := f.place(o, list)
	page, err := f.Jobs(f.ctx, o, list, "", many)
	f.is("Jobs", err, nil)
	return []any{l, p, f.changes(p.N, 0), page}
}

func (f *fixture) files() []string {
	f.Helper()
	files, err := f.Files(f.ctx)
	f.is("Files", err, nil)
	slices.Sort(files)
	return files
}

func (f *fixture) newJob(o lists.Owner, list string) string {
	f.Helper()
	j := importer.Job{Owner: o, ID: f.id("job"), ListID: list, Name: "import", Format: importfile.CSV, Mode: lists.Append, Status: jobs.Created, Created: f.now}
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
	_, err := f.AttachUpload(f.ctx, job, object, 7, f.now)
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

// move is a move of a list from where it is, with all its changes, to a file of
// its own with so many members.
func (f *fixture) move(o lists.Owner, list string, members int64) *lists.Move {
	f.Helper()
	p := f.place(o, list)
	m := &lists.Move{List: p.N, From: p.File, To: f.id(list), Folded: p.Folded, Members: members, Now: f.now}
	for _, c := range f.changes(p.N, p.Folded) {
		m.Folded = c.Seq
	}
	return m
}

// publish ends a job and leaves its list alone.
func (f *fixture) publish(l jobs.Lease) {
	f.Helper()
	f.is("Publish", f.Publish(f.ctx, l, nil, importer.Progress{}, f.now), nil)
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
	before := f.all(ann, list)
	f.tick(time.Second)
	for _, other := range []lists.Owner{bob, anns} {
		_, err := f.List(f.ctx, other, list)
		f.is("List", err, lists.ErrNotFound)
		of, err := f.Lists(f.ctx, other, "", many)
		f.is("Lists", err, nil)
		f.same("Lists", len(of), 0)
		f.is("SetTags", f.SetTags(f.ctx, other, list, map[string]string{"a": "b"}, nil, many, f.now), lists.ErrNotFound)
		_, err = f.Place(f.ctx, other, list)
		f.is("Place", err, lists.ErrNotFound)
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
	f.same("the list after what others did", f.all(ann, list), before)
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

func numbersLists(f *fixture) {
	seen := map[int64]bool{}
	for n := range 6 {
		list := f.newList([]lists.Owner{ann, bob, anns}[n%3], fmt.Sprint("n", n))
		o := []lists.Owner{ann, bob, anns}[n%3]
		p := f.place(o, list)
		f.same("where a new list is", p, lists.Place{N: p.N})
		if seen[p.N] {
			f.Fatalf("the number %d is given twice", p.N)
		}
		seen[p.N] = true
		f.add(o, list, "a@example.com")
		if n%2 == 0 {
			continue
		}
		// The list with the greatest number goes, and all that was kept of it.
		_, err := f.DeleteList(f.ctx, o, list)
		f.is("DeleteList", err, nil)
		_, err = f.Place(f.ctx, o, list)
		f.is("Place of what is gone", err, lists.ErrNotFound)
		f.purgeAll(many)
		f.reopen()
	}
	_, err := f.Place(f.ctx, ann, f.id("al"))
	f.is("Place of what is not there", err, lists.ErrNotFound)
}

// purgeAll purges at most n changes at a time, and says how often that was done.
func (f *fixture) purgeAll(n int) (calls int) {
	f.Helper()
	for more := true; more; calls++ {
		if calls > 1000 {
			f.Fatal("PurgeChanges does not come to an end")
		}
		var err error
		more, err = f.PurgeChanges(f.ctx, n)
		f.is("PurgeChanges", err, nil)
	}
	return calls
}

// hard are keys that a store could change or put in the wrong place: characters
// that mean something in patterns, JSON or SQL, and code points whose order
// differs between UTF-8 and UTF-16 or that stand at the end of their kind.
var hard = []string{
	"b@example.com", "a@example.com", "a%b@example.com", "a_b@example.com", "a?b@example.com", "a'b@example.com", "NULL", "1",
	"a*@example.com", "*@example.com", "*.example.com", "a@*.example.com", "example.com",
	`"a\"b"@example.com`, `"a\\b"@example.com`, `"a<b>&c"@example.com`, `"a[b]"@example.com`, `" "@example.com`,
	"~@example.com", "{@example.com", "é@example.com", "ß@example.com", "ÿ@example.com", "用户@example.com",
	"\uFF5E@example.com", "\U0001F600@example.com", "\uFFFC@example.com", "\uD7FF@example.com", "\uE000@example.com",
	"\U0010FFFD@example.com", "*.bücher.example", "\u007Fz@example.com", "a\x00b@example.com",
}

func keepsChanges(f *fixture) {
	list, other := f.newList(ann, "a"), f.newList(ann, "b")
	f.add(ann, other, "a@example.com", "b@example.com")
	otherBefore := f.all(ann, other)
	p := f.place(ann, list)
	f.same("the changes of a new list", len(f.changes(p.N, 0)), 0)
	var want []lists.Change
	for n, key := range hard {
		f.tick(time.Millisecond)
		c := lists.Change{Seq: int64(n + 1), Key: key, Created: f.now.Add(-time.Hour), Removed: n%3 == 2}
		if n%2 == 0 {
			c.Shown = strings.ToUpper(key)
		}
		want = append(want, c)
		f.is("AddChange", f.AddChange(f.ctx, p.N, c, int64(100+n), f.now), nil)
		f.same("the members after a change", f.place(ann, list).Members, int64(100+n))
		f.same("when the list was changed", f.getList(ann, list).Updated, f.now)
	}
	f.same("the changes", f.changes(p.N, 0), want)
	f.reopen()
	for after := range len(want) {
		f.same("the changes after one", f.changes(p.N, int64(after)), want[after:])
	}
	f.same("the changes after the last", len(f.changes(p.N, int64(len(want)))), 0)
	f.same("another list", f.all(ann, other), otherBefore)

	// A number is used once, and a change that fails changes nothing.
	before := f.all(ann, list)
	f.tick(time.Second)
	if err := f.AddChange(f.ctx, p.N, lists.Change{Seq: 2, Key: "late@example.com", Created: f.now}, 7, f.now); err == nil {
		f.Error("a number was used for two changes")
	}
	f.same("the list after a change that failed", f.all(ann, list), before)

	none := p.N + 1000
	c := lists.Change{Seq: 1, Key: "a@example.com", Created: f.now}
	f.is("AddChange to what is not there", f.AddChange(f.ctx, none, c, 1, f.now), lists.ErrNotFound)
	f.same("the changes of what is not there", len(f.changes(none, 0)), 0)
	_, err := f.DeleteList(f.ctx, ann, list)
	f.is("DeleteList", err, nil)
	c.Seq = 1000
	f.is("AddChange to what is gone", f.AddChange(f.ctx, p.N, c, 1, f.now), lists.ErrNotFound)
}

func movesLists(f *fixture) {
	list, other := f.newList(ann, "a"), f.newList(bob, "b")
	f.same("the files when no list is on one", f.files(), []string(nil))
	f.add(bob, other, "a@example.com")
	p := f.add(ann, list, some(5)...)
	otherBefore := f.all(bob, other)

	f.tick(time.Second)
	m := lists.Move{List: p.N, To: "file-1", Folded: 3, Members: 1 << 40, Now: f.now}
	f.is("Move", f.Move(f.ctx, m), nil)
	onFirst := lists.Place{N: p.N, File: "file-1", Folded: 3, Members: 1 << 40}
	for range 2 {
		f.same("where the list is", f.place(ann, list), onFirst)
		f.same("when the list was changed", f.getList(ann, list).Updated, f.now)
		f.same("the changes since", f.seqs(p.N, 3), numbers(4, 5))
		f.same("the files", f.files(), []string{"file-1"})
		f.reopen()
	}

	// A list that is on another file, or that is gone, is not moved.
	before := f.all(ann, list)
	f.tick(time.Second)
	for _, from := range []string{"", "file-2", "FILE-1", "file-1 "} {
		m := lists.Move{List: p.N, From: from, To: "file-3", Folded: 5, Members: 9, Now: f.now}
		f.is(fmt.Sprintf("Move from %q", from), f.Move(f.ctx, m), lists.ErrMoved)
		m.List = p.N + 1000
		f.is("Move of what is not there", f.Move(f.ctx, m), lists.ErrNotFound)
	}
	f.same("the list that was not moved", f.all(ann, list), before)
	f.same("the files", f.files(), []string{"file-1"})

	// Updated stays when the members do, and never goes back.
	updated := f.getList(ann, list).Updated
	for n, now := range []time.Time{{}, updated.Add(-time.Hour), updated, f.now} {
		m := lists.Move{List: p.N, From: f.place(ann, list).File, To: fmt.Sprint("again-", n), Folded: 4, Members: 8, Now: now}
		f.is("Move", f.Move(f.ctx, m), nil)
		f.same("where the list is", f.place(ann, list), lists.Place{N: p.N, File: m.To, Folded: 4, Members: 8})
		if now.After(updated) {
			updated = now
		}
		f.same(fmt.Sprintf("when the list was changed, after a move at %v", now), f.getList(ann, list).Updated, updated)
	}
	f.same("another list", f.all(bob, other), otherBefore)

	q := f.place(bob, other)
	f.is("Move of another list", f.Move(f.ctx, lists.Move{List: q.N, To: "bobs", Folded: 1, Members: 1, Now: f.now}), nil)
	f.same("the files", f.files(), []string{"again-3", "bobs"})
	_, err := f.DeleteList(f.ctx, ann, list)
	f.is("DeleteList", err, nil)
	f.same("the files after DeleteList", f.files(), []string{"bobs"})
	f.is("Move of what is gone", f.Move(f.ctx, lists.Move{List: p.N, From: "again-3", To: "late", Now: f.now}), lists.ErrNotFound)
	f.same("the files after a move of what is gone", f.files(), []string{"bobs"})
}

func findsLongLists(f *fixture) {
	long := func(n int64, want ...string) {
		f.Helper()
		found, err := f.LongLists(f.ctx, n)
		f.is("LongLists", err, nil)
		var ids []string
		for _, l := range found {
			ids = append(ids, l.ID)
			f.same("a long list", l, f.getList(l.Owner, l.ID))
		}
		slices.Sort(ids)
		f.same(fmt.Sprintf("the lists with more than %d changes", n), ids, want)
	}
	long(0)
	f.newList(ann, "none")
	two, five, gone := f.newList(ann, "two"), f.newList(bob, "five"), f.newList(anns, "gone")
	f.add(ann, two, some(2)...)
	p := f.add(bob, five, some(5)...)
	f.add(anns, gone, some(9)...)
	long(0, two, five, gone)
	long(2, five, gone)
	long(4, five, gone)
	_, err := f.DeleteList(f.ctx, anns, gone)
	f.is("DeleteList", err, nil)
	long(4, five)
	long(5)
	f.is("Move", f.Move(f.ctx, lists.Move{List: p.N, To: "file", Folded: 3}), nil)
	for range 2 { // what is in the file does not count, purged or not
		long(0, two, five)
		long(1, two, five)
		long(2)
		f.purgeAll(many)
		f.reopen()
	}
	f.is("Move", f.Move(f.ctx, lists.Move{List: p.N, From: "file", To: "next", Folded: 5}), nil)
	for range 2 {
		long(0, two)
		f.purgeAll(many)
	}
	f.add(bob, five, "again@example.com")
	long(0, two, five)
}

func purges(f *fixture) {
	f.same("how often nothing is purged", f.purgeAll(10), 1)
	untouched, part, whole := f.newList(ann, "untouched"), f.newList(bob, "part"), f.newList(anns, "whole")
	u := f.add(ann, untouched, some(6)...)
	p := f.add(bob, part, some(12)...)
	w := f.add(anns, whole, some(12)...)
	f.same("how often nothing is purged of lists that are on no file", f.purgeAll(10), 1)
	f.is("Move", f.Move(f.ctx, lists.Move{List: p.N, To: "part", Folded: 7, Members: 12}), nil)
	f.is("Move", f.Move(f.ctx, lists.Move{List: w.N, To: "whole", Folded: 12, Members: 12}), nil)
	for n := range 3 {
		id := f.newList(ann, fmt.Sprint("gone", n))
		g := f.add(ann, id, some(12)...)
		if n == 1 { // it was on a file
			f.is("Move", f.Move(f.ctx, lists.Move{List: g.N, To: "gone", Folded: 4}), nil)
		}
		_, err := f.DeleteList(f.ctx, ann, id)
		f.is("DeleteList", err, nil)
	}
	places := []any{f.getList(bob, part), f.place(bob, part), f.getList(anns, whole), f.place(anns, whole), f.all(ann, untouched)}

	const not = 7 + 12 + 3*12 // needed
	calls := f.purgeAll(5)
	if calls < not/5+1 || calls > not/5+2*5+1 {
		f.Errorf("%d changes were purged 5 at a time in %d calls", not, calls)
	}
	for range 2 {
		f.same("the lists", []any{f.getList(bob, part), f.place(bob, part), f.getList(anns, whole), f.place(anns, whole), f.all(ann, untouched)}, places)
		f.same("the changes of the list partly on its file", f.seqs(p.N, 0), numbers(8, 12))
		f.same("the changes of the list all on its file", f.seqs(w.N, 0), numbers(1, 0))
		f.same("the changes of the list on no file", f.seqs(u.N, 0), numbers(1, 6))
		f.same("how often nothing is purged", f.purgeAll(5), 1)
		f.reopen()
	}
	f.add(anns, whole, "new@example.com")
	f.same("the changes numbered on", f.seqs(w.N, 0), numbers(13, 13))
}

func deletesLists(f *fixture) {
	id, kept := f.newList(ann, "a"), f.newList(ann, "b")
	p := f.add(ann, id, "a@example.com", "b@example.com")
	f.is("Move", f.Move(f.ctx, *f.move(ann, id, 2)), nil)
	f.add(ann, kept, "a@example.com")
	uploaded, none, keptJob := f.newJob(ann, id), f.newJob(ann, id), f.newJob(ann, kept)
	replaced := f.upload(uploaded)
	object := f.upload(uploaded)
	f.upload(keptJob)
	stopped := f.started(ann, id)
	stoppedObject, err := f.StopJob(f.ctx, ann, stopped, f.now)
	f.is("StopJob", err, nil)
	failed := f.working(ann, id)
	report := "refused/" + f.id(failed.Job)
	_, err = f.NoteRead(f.ctx, failed, importer.Progress{}, report)
	f.is("NoteRead", err, nil)
	f.is("FinishJob", f.FinishJob(f.ctx, failed, jobs.Failed, "reason", importer.Progress{}, f.now), nil)
	failedObject := f.getJob(ann, failed.Job).Object
	keptBefore := f.all(ann, kept)

	objects, err := f.DeleteList(f.ctx, ann, id)
	f.is("DeleteList", err, nil)
	want := []string{object, stoppedObject, failedObject, report} // without what was replaced
	slices.Sort(want)
	slices.Sort(objects)
	f.same("the objects of the list", objects, want)
	if slices.Contains(objects, replaced) {
		f.Errorf("DeleteList gave %s, which was replaced", replaced)
	}
	for range 2 {
		_, err = f.List(f.ctx, ann, id)
		f.is("List", err, lists.ErrNotFound)
		_, err = f.Place(f.ctx, ann, id)
		f.is("Place", err, lists.ErrNotFound)
		f.is("AddChange", f.AddChange(f.ctx, p.N, lists.Change{Seq: 3, Key: "c@example.com", Created: f.now}, 3, f.now), lists.ErrNotFound)
		f.is("SetTags", f.SetTags(f.ctx, ann, id, map[string]string{"a": "b"}, nil, many, f.now), lists.ErrNotFound)
		f.same("the files", f.files(), []string(nil))
		_, err = f.Jobs(f.ctx, ann, id, "", 10)
		f.is("Jobs", err, lists.ErrNotFound)
		for _, job := range []string{uploaded, none, stopped, failed.Job} {
			_, err = f.Job(f.ctx, ann, job)
			f.is("Job", err, importer.ErrNotFound)
			f.is("Uploadable", f.Uploadable(f.ctx, job), importer.ErrNotFound)
			_, err = f.AttachUpload(f.ctx, job, "imports/late", 1, f.now)
			f.is("AttachUpload", err, importer.ErrNotFound)
			_, err = f.RefusedObject(f.ctx, job)
			f.is("RefusedObject", err, importer.ErrNotFound)
			f.is("StartJob", f.StartJob(f.ctx, ann, job, many, f.now), importer.ErrNotFound)
			_, err = f.StopJob(f.ctx, ann, job, f.now)
			f.is("StopJob", err, importer.ErrNotFound)
		}
		f.reopen()
	}
	objects, err = f.DeleteList(f.ctx, ann, id)
	f.is("DeleteList again", err, nil)
	f.same("what DeleteList gives again", len(objects), 0)

	// A new list of the name has nothing of the old, purged or not.
	again := f.place(ann, f.newList(ann, "a"))
	f.same("where a new list of the name is", again, lists.Place{N: again.N})
	f.same("the changes of a new list of the name", len(f.changes(again.N, 0)), 0)
	f.same("another list", f.all(ann, kept), keptBefore)
	f.is("StartJob of another list", f.StartJob(f.ctx, ann, keptJob, many, f.now), nil)
}

func deletesNoneInUse(f *fixture) {
	id := f.newList(ann, "a")
	f.add(ann, id, "a@example.com")
	idle, waiting := f.newJob(ann, id), f.started(ann, id)
	before := f.all(ann, id)
	for range 2 { // waiting, and worked on
		objects, err := f.DeleteList(f.ctx, ann, id)
		f.is("DeleteList", err, lists.ErrImportRunning)
		f.same("the objects", len(objects), 0)
		f.same("the list", f.all(ann, id), before)
		f.claim("worker")
	}
	f.is("Uploadable", f.Uploadable(f.ctx, idle), nil)
	_, err := f.StopJob(f.ctx, ann, waiting, f.now)
	f.is("StopJob", err, nil)
	_, err = f.DeleteList(f.ctx, ann, id)
	f.is("DeleteList after StopJob", err, nil)
}

func keepsJobs(f *fixture) {
	list := f.newList(ann, "a")
	for _, mode := range []lists.Mode{lists.Append, lists.Replace, lists.Remove} {
		for _, dryRun := range []bool{false, true} {
			want := importer.Job{Owner: ann, ID: f.id("job"), ListID: list, Name: "Import.1_-", Format: importfile.JSON, Mode: mode, DryRun: dryRun,
				Status: jobs.Created, Created: start.Add(123 * time.Millisecond)}
			id, created, err := f.CreateJob(f.ctx, want, lists.ClientToken{})
			f.is("CreateJob", err, nil)
			f.same("the id", id, want.ID)
			f.same("when it was made", created, want.Created)
			f.same("the job", f.getJob(ann, id), want)
			want.Object, want.Size = "imports/x", 5<<40
			_, err = f.AttachUpload(f.ctx, id, want.Object, want.Size, f.now)
			f.is("AttachUpload", err, nil)
			f.reopen()
			f.same("the job after a restart", f.getJob(ann, id), want)
			page, err := f.Jobs(f.ctx, ann, list, "", 1)
			f.is("Jobs", err, nil)
			f.same("the job on a page", page, []importer.Job{want})
		}
	}
	_, err := f.Job(f.ctx, ann, f.id("job"))
	f.is("Job that is not there", err, importer.ErrNotFound)
	_, _, err = f.CreateJob(f.ctx, importer.Job{Owner: ann, ID: f.id("job"), ListID: f.id("al"), Status: jobs.Created, Created: f.now}, lists.ClientToken{})
	f.is("CreateJob for a list that is not there", err, lists.ErrNotFound)
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
		case "COMPLETED":
			err = f.Publish(f.ctx, lease, nil, importer.Progress{}, f.now)
		case "STOPPED":
			_, err = f.StopJob(f.ctx, ann, lease.Job, f.now)
		default:
			err = f.FinishJob(f.ctx, lease, jobs.Status(state), "", importer.Progress{}, f.now)
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
			{"AttachUpload", row.upload, func(id string) error { _, err := f.AttachUpload(f.ctx, id, "imports/again", 9, f.now); return err }, ""},
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
		previous, err := f.AttachUpload(f.ctx, id, object, int64(n), f.now)
		f.is("AttachUpload", err, nil)
		f.same("the upload before", previous, before)
		j := f.getJob(ann, id)
		f.same("the upload", j.Object, object)
		f.same("its size", j.Size, int64(n))
		before = object
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
	f.publish(lease)
	needed(second, false)

	failed := f.working(ann, list)
	failedObject := f.getJob(ann, failed.Job).Object
	f.is("FinishJob", f.FinishJob(f.ctx, failed, jobs.Failed, "reason", importer.Progress{}, f.now), nil)
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
	f.publish(first)
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

func leases(f *fixture) {
	list := f.newList(ann, "a")
	id := f.started(ann, list)
	_, lease := f.claim("w1")
	f.reopen() // a lease survives a restart of the store
	f.tick(leaseTime - time.Millisecond)
	j, _ := f.claim("w2")
	f.same("what is to claim while the lease lives", j.ID, "")
	for _, lines := range []int64{3, 2} { // the worker decides, also to go back
		p := importer.Progress{Lines: lines}
		f.is("RenewLease", f.RenewLease(f.ctx, lease, f.now.Add(leaseTime), p), nil)
		f.same("the progress", f.getJob(ann, id).Progress, p)
	}
	f.tick(leaseTime)
	j, _ = f.claim("w2")
	f.same("what is to claim while the renewed lease lives", j.ID, "")
	_, err := f.NoteRead(f.ctx, lease, importer.Progress{Lines: 5}, "")
	f.is("NoteRead", err, nil)
	f.tick(time.Millisecond)
	want := f.getJob(ann, id)
	j, second := f.claim("w2")
	f.same("the job whose lease ran out, as it stood", j, want)
	f.is("RenewLease of the one before", f.RenewLease(f.ctx, lease, f.now.Add(leaseTime), importer.Progress{}), jobs.ErrLeaseLost)
	f.is("ReleaseLease", f.ReleaseLease(f.ctx, second), nil)
	j, third := f.claim("w3")
	f.same("the job that was given back, as it stood", j, want)
	// Who is late but was not replaced works on.
	f.tick(2 * leaseTime)
	f.is("RenewLease of a lease that ran out", f.RenewLease(f.ctx, third, f.now.Add(leaseTime), importer.Progress{}), nil)
	j, _ = f.claim("w4")
	f.same("what is to claim while that lease lives", j.ID, "")
	f.publish(third)
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
		{"published", func(_ string, l jobs.Lease) jobs.Lease {
			f.publish(l)
			return l
		}},
		{"failed", func(_ string, l jobs.Lease) jobs.Lease {
			f.is("FinishJob", f.FinishJob(f.ctx, l, jobs.Failed, "early", importer.Progress{Lines: 2}, f.now), nil)
			return l
		}},
		{"of nobody", func(_ string, l jobs.Lease) jobs.Lease { return jobs.Lease{Job: l.Job, Owner: ""} }},
		{"of somebody else", func(_ string, l jobs.Lease) jobs.Lease { return jobs.Lease{Job: l.Job, Owner: "somebody"} }},
		{"of no job", func(_ string, l jobs.Lease) jobs.Lease { return jobs.Lease{Job: f.id("job"), Owner: l.Owner} }},
		{"of another's job", func(list string, l jobs.Lease) jobs.Lease {
			f.publish(l)
			another := f.working(ann, list)
			return jobs.Lease{Job: another.Job, Owner: l.Owner}
		}},
		{"of a job that is gone", func(list string, l jobs.Lease) jobs.Lease {
			_, err := f.StopJob(f.ctx, ann, l.Job, f.now)
			f.is("StopJob", err, nil)
			_, err = f.DeleteList(f.ctx, ann, list)
			f.is("DeleteList", err, nil)
			return l
		}},
	} {
		late := importer.Progress{Share: 1, Lines: 99, Invalid: map[string]int64{"late": 9}}
		for _, try := range []struct {
			name string
			do   func(l jobs.Lease, m *lists.Move) error
		}{
			{"RenewLease", func(l jobs.Lease, _ *lists.Move) error {
				return f.RenewLease(f.ctx, l, f.now.Add(time.Hour), late)
			}},
			{"NoteRead", func(l jobs.Lease, _ *lists.Move) error {
				_, err := f.NoteRead(f.ctx, l, late, "refused/late")
				return err
			}},
			{"ReleaseLease", func(l jobs.Lease, _ *lists.Move) error { return f.ReleaseLease(f.ctx, l) }},
			{"Publish", func(l jobs.Lease, m *lists.Move) error { return f.Publish(f.ctx, l, m, late, f.now) }},
			{"Publish of no move", func(l jobs.Lease, _ *lists.Move) error { return f.Publish(f.ctx, l, nil, late, f.now) }},
			{"FinishJob", func(l jobs.Lease, _ *lists.Move) error {
				return f.FinishJob(f.ctx, l, jobs.Failed, "late", late, f.now)
			}},
		} {
			list := f.newList(ann, f.id("name"))
			f.add(ann, list, "early@example.com")
			lease := f.working(ann, list)
			_, err := f.NoteRead(f.ctx, lease, importer.Progress{Lines: 1}, "refused/early")
			f.is("NoteRead", err, nil)
			m := f.move(ann, list, 50)
			lost := way.lose(list, lease)
			before, files := f.all(ann, list), f.files()
			f.tick(time.Millisecond)
			what := try.name + " with a lease that is " + way.name
			f.is(what, try.do(lost, m), jobs.ErrLeaseLost)
			f.same(what+": the list and its jobs", f.all(ann, list), before)
			f.same(what+": the files", f.files(), files)

			// A lease of another is still his: nobody can claim what he works on.
			want := ""
			if way.name == "given back" {
				want = lost.Job
			}
			j, _ := f.claim("late")
			f.same(what+": the job that can be claimed", j.ID, want)
			for _, job := range []string{lease.Job, lost.Job} { // out of the way of the next
				if j, err := f.Job(f.ctx, ann, job); err == nil && j.Status == jobs.Processing {
					_, err := f.StopJob(f.ctx, ann, job, f.now)
					f.is("StopJob", err, nil)
				}
			}
		}
	}
}

// keepsProgress tries what JSON and SQL could change.
func keepsProgress(f *fixture) {
	all := importer.Progress{
		Share: 1.0 / 3, Lines: 1 << 53, Invalid: map[string]int64{"empty": 1<<53 + 1, "größe \"1\" <&>\u2028": -1, "": 0}, Read: true,
		Imported: math.MaxInt64, Entries: math.MaxInt64 - 1, Added: math.MinInt64, Removed: 4, Members: 5, Over: 6,
		Phases: []importer.Phase{
			{Name: importer.Reading, Seconds: 0.1 + 0.2, Rows: math.MaxInt64, Bytes: 1<<53 + 1},
			{Name: importer.Merging, Seconds: math.SmallestNonzeroFloat64},
			{Name: importer.Merging, Seconds: math.MaxFloat64, Rows: -1},
			{Name: importer.Storing},
		},
	}
	for _, p := range []importer.Progress{
		{},
		{Invalid: map[string]int64{}, Phases: []importer.Phase{}},
		{Invalid: map[string]int64{}},
		{Phases: []importer.Phase{}},
		{Share: 1e-300, Phases: []importer.Phase{{}}},
		all,
	} {
		for _, note := range []struct {
			name string
			do   func(l jobs.Lease) error
		}{
			{"RenewLease", func(l jobs.Lease) error { return f.RenewLease(f.ctx, l, f.now.Add(leaseTime), p) }},
			{"NoteRead", func(l jobs.Lease) error { _, err := f.NoteRead(f.ctx, l, p, ""); return err }},
			{"Publish", func(l jobs.Lease) error { return f.Publish(f.ctx, l, nil, p, f.now) }},
			{"FinishJob", func(l jobs.Lease) error { return f.FinishJob(f.ctx, l, jobs.Failed, "", p, f.now) }},
		} {
			list := f.newList(ann, f.id("name"))
			lease := f.working(ann, list)
			f.same("the progress before", f.getJob(ann, lease.Job).Progress, importer.Progress{})
			before := importer.Progress{Lines: 1, Invalid: map[string]int64{"before": 1}, Phases: []importer.Phase{{Name: "before"}}}
			f.is("RenewLease", f.RenewLease(f.ctx, lease, f.now.Add(leaseTime), before), nil)
			f.is(note.name, note.do(lease), nil)
			f.same("the progress by "+note.name, f.getJob(ann, lease.Job).Progress, p)
			page, err := f.Jobs(f.ctx, ann, list, "", 1)
			f.is("Jobs", err, nil)
			f.same("the progress by "+note.name+" on a page", page[0].Progress, p)
		}
		f.reopen()
	}
}

func notesRead(f *fixture) {
	list := f.newList(ann, "list")
	lease := f.working(ann, list)
	_, err := f.RefusedObject(f.ctx, lease.Job)
	f.is("RefusedObject before", err, importer.ErrNotFound)

	want := f.getJob(ann, lease.Job)
	read := importer.Progress{Share: 0.5, Lines: 10, Invalid: map[string]int64{"empty": 2, "no_domain": 3}, Read: true}
	first := "refused/" + f.id(lease.Job)
	previous, err := f.NoteRead(f.ctx, lease, read, first)
	f.is("NoteRead", err, nil)
	f.same("the object before the first", previous, "")
	want.Progress, want.RefusedObject = read, first
	f.same("the job", f.getJob(ann, lease.Job), want)

	// A job that is done again reads its file again.
	second := "refused/" + f.id(lease.Job)
	previous, err = f.NoteRead(f.ctx, lease, read, second)
	f.is("NoteRead again", err, nil)
	f.same("the object before", previous, first)
	for object, want := range map[string]bool{first: false, second: true} {
		needed, err := f.ObjectNeeded(f.ctx, object)
		f.is("ObjectNeeded", err, nil)
		f.same("whether "+object+" is needed", needed, want)
	}

	f.publish(lease)
	f.reopen()
	needed, err := f.ObjectNeeded(f.ctx, second)
	f.is("ObjectNeeded", err, nil)
	f.same("whether the list of an ended job is needed", needed, true)
	object, err := f.RefusedObject(f.ctx, lease.Job)
	f.is("RefusedObject", err, nil)
	f.same("the list", object, second)

	// Nothing may be refused any more when a file is read again.
	lease = f.working(ann, list)
	third := "refused/" + f.id(lease.Job)
	for _, step := range []struct{ object, previous string }{{third, ""}, {"", third}, {"", ""}} {
		previous, err = f.NoteRead(f.ctx, lease, read, step.object)
		f.is("NoteRead", err, nil)
		f.same("the object before", previous, step.previous)
	}
	_, err = f.RefusedObject(f.ctx, lease.Job)
	f.is("RefusedObject of none", err, importer.ErrNotFound)
	_, err = f.RefusedObject(f.ctx, f.id("job"))
	f.is("RefusedObject of no job", err, importer.ErrNotFound)
}

func publishes(f *fixture) {
	for _, before := range []int{0, 3} { // changes
		list, other := f.newList(ann, f.id("name")), f.newList(ann, f.id("name"))
		f.add(ann, list, some(before)...)
		f.add(ann, other, "a@example.com")
		lease := f.working(ann, list)
		working, otherBefore := f.all(ann, list), f.all(ann, other)
		f.tick(time.Second)
		done := importer.Progress{Share: 1, Lines: 9, Read: true, Imported: 9, Entries: 8, Added: 7, Members: 7}
		m := f.move(ann, list, 7)

		// A list that cannot be moved leaves the job as it is, and its worker's.
		for _, bad := range []struct {
			name string
			m    lists.Move
			want error
		}{
			{"from another file", lists.Move{List: m.List, From: "other", To: m.To, Folded: m.Folded, Members: 7, Now: f.now}, lists.ErrMoved},
			{"of what is not there", lists.Move{List: m.List + 1000, From: m.From, To: m.To, Folded: m.Folded, Members: 7, Now: f.now}, lists.ErrNotFound},
		} {
			f.is("Publish "+bad.name, f.Publish(f.ctx, lease, &bad.m, done, f.now), bad.want)
			f.same("the list and its job after Publish "+bad.name, f.all(ann, list), working)
			f.reopen()
			f.same("the list and its job after a restart", f.all(ann, list), working)
			f.is("RenewLease after Publish "+bad.name, f.RenewLease(f.ctx, lease, f.now.Add(leaseTime), importer.Progress{}), nil)
		}

		want := f.getJob(ann, lease.Job)
		want.Status, want.Completed, want.Progress = jobs.Completed, f.now, done
		f.is("Publish", f.Publish(f.ctx, lease, m, done, f.now), nil)
		for range 2 {
			f.same("the job that was published", f.getJob(ann, lease.Job), want)
			f.same("where its list is", f.place(ann, list), lists.Place{N: m.List, File: m.To, Folded: int64(before), Members: 7})
			f.same("when its list was changed", f.getList(ann, list).Updated, f.now)
			f.same("the changes since", len(f.changes(m.List, m.Folded)), 0)
			f.reopen()
		}
		f.is("Publish again", f.Publish(f.ctx, lease, m, done, f.now), jobs.ErrLeaseLost)
		f.same("another list", f.all(ann, other), otherBefore)

		// A dry run ends likewise and leaves its list alone.
		dry := f.working(ann, list)
		l, p := f.getList(ann, list), f.place(ann, list)
		want = f.getJob(ann, dry.Job)
		f.tick(time.Second)
		want.Status, want.Completed, want.Progress = jobs.Completed, f.now, done
		f.is("Publish of no move", f.Publish(f.ctx, dry, nil, done, f.now), nil)
		f.same("the job that was published", f.getJob(ann, dry.Job), want)
		f.same("its list", []any{f.getList(ann, list), f.place(ann, list)}, []any{l, p})
	}
}

func failsJobs(f *fixture) {
	for _, reason := range []string{"", "It does not fit: 3 > 2 \"größe\"."} {
		list := f.newList(ann, f.id("name"))
		f.add(ann, list, "a@example.com")
		lease := f.working(ann, list)
		l, p := f.getList(ann, list), f.place(ann, list)
		want := f.getJob(ann, lease.Job)
		f.tick(time.Second)
		did := importer.Progress{Share: 0.7, Lines: 7, Over: 1}
		f.is("FinishJob", f.FinishJob(f.ctx, lease, jobs.Failed, reason, did, f.now), nil)
		want.Status, want.Error, want.Progress, want.Completed = jobs.Failed, reason, did, f.now
		for range 2 {
			f.same("the job at its end", f.getJob(ann, lease.Job), want)
			f.same("its list", []any{f.getList(ann, list), f.place(ann, list)}, []any{l, p})
			f.reopen()
		}
	}
}

func retires(f *fixture) {
	retire := func(before time.Time, n int, want ...string) {
		f.Helper()
		objects, err := f.Retire(f.ctx, before, n)
		f.is("Retire", err, nil)
		slices.Sort(objects)
		slices.Sort(want)
		f.same(fmt.Sprintf("what is given up by jobs of before %v", before), objects, want)
	}
	retire(f.now, 10)

	// A job in each state, all made at the start; those that ended did so later.
	ended := start.Add(time.Hour)
	jobIn := func(state string) importer.Job {
		o := []lists.Owner{ann, bob, anns}[f.ids%3]
		list := f.newList(o, f.id("name"))
		var id string
		switch state {
		case "CREATED, empty":
			id = f.newJob(o, list)
		case "CREATED":
			id = f.newJob(o, list)
			f.upload(id)
		case "waiting": // and last to be claimed
			id = f.newJob(o, list)
			f.upload(id)
			f.is("StartJob", f.StartJob(f.ctx, o, id, many, ended), nil)
		default:
			lease := f.working(o, list)
			id = lease.Job
			if !strings.HasSuffix(state, "without a report") {
				_, err := f.NoteRead(f.ctx, lease, importer.Progress{Lines: 3, Invalid: map[string]int64{"empty": 3}}, "refused/"+f.id(id))
				f.is("NoteRead", err, nil)
			}
			var err error
			switch jobs.Status(strings.Fields(state)[0]) {
			case jobs.Completed:
				err = f.Publish(f.ctx, lease, nil, importer.Progress{Lines: 3}, ended)
			case jobs.Failed:
				err = f.FinishJob(f.ctx, lease, jobs.Failed, "reason", importer.Progress{Lines: 3}, ended)
			case jobs.Stopped:
				_, err = f.StopJob(f.ctx, o, id, ended)
			}
			f.is("bring a job into the state "+state, err, nil)
		}
		return f.getJob(o, id)
	}
	var all []importer.Job
	var objects []string // of those that ended
	for _, state := range []string{"CREATED, empty", "waiting", "working", "COMPLETED", "COMPLETED without a report", "FAILED", "STOPPED", "STOPPED without a report"} {
		j := jobIn(state)
		all = append(all, j)
		if !j.Status.Ended() {
			continue
		}
		objects = append(objects, j.Object)
		if j.RefusedObject != "" {
			objects = append(objects, j.RefusedObject)
		}
	}
	f.same("how many objects there are", len(objects), 5+3)
	idle := jobIn("CREATED")
	all = append(all, idle)

	retire(start, 100)
	retire(start.Add(time.Millisecond), 100, idle.Object)
	retire(ended, 100)
	retire(ended.Add(time.Millisecond), 100, objects...)
	f.reopen()
	retire(ended.Add(1000*time.Hour), 100) // neither a second time nor from who runs
	for _, j := range all {
		if j.Status != jobs.Processing {
			for _, object := range []string{j.Object, j.RefusedObject} {
				needed, err := f.ObjectNeeded(f.ctx, object)
				f.is("ObjectNeeded", err, nil)
				f.same("whether "+object+" is needed", needed, false)
			}
			j.Object, j.RefusedObject = "", ""
			_, err := f.RefusedObject(f.ctx, j.ID)
			f.is("RefusedObject of what was given up", err, importer.ErrNotFound)
		}
		f.same("a job afterwards", f.getJob(j.Owner, j.ID), j)
	}

	// A job that was never started can be given something again, and started.
	f.is("StartJob of what was given up", f.StartJob(f.ctx, idle.Owner, idle.ID, many, f.now), importer.ErrNothingUploaded)
	again := f.upload(idle.ID)
	retire(start.Add(time.Millisecond), 100, again)
	again = f.upload(idle.ID)
	f.is("StartJob", f.StartJob(f.ctx, idle.Owner, idle.ID, many, f.now), nil)
	retire(ended.Add(1000*time.Hour), 100)
	_, err := f.StopJob(f.ctx, idle.Owner, idle.ID, ended)
	f.is("StopJob", err, nil)
	retire(ended.Add(time.Millisecond), 100, again)

	// At most n jobs, each with all that it has.
	left := map[string]string{} // object to the other object of its job
	for range 7 {
		j := jobIn("FAILED")
		left[j.Object], left[j.RefusedObject] = j.RefusedObject, j.Object
	}
	for _, n := range []int{1, 3, 3, 3} {
		want := min(n, len(left)/2)
		got, err := f.Retire(f.ctx, ended.Add(time.Hour), n)
		f.is("Retire", err, nil)
		f.same(fmt.Sprintf("how many objects %d jobs give up", n), len(got), 2*want)
		for _, object := range got {
			if !slices.Contains(got, left[object]) {
				f.Errorf("%s was given up without %q", object, left[object])
			}
		}
		for _, object := range got {
			delete(left, object)
		}
	}
	f.same("what is left", len(left), 0)
}
