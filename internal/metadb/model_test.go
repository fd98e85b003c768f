package metadb

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sesame/internal/address"
	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// modelCheck does the same random things to a store and to plain Go values, and
// looks at both after each.
func modelCheck(t *testing.T, open opener) {
	rapid.Check(t, func(r *rapid.T) {
		s, reopen := open(t)
		m := &model{store: s, ctx: context.Background(), now: start, tokens: map[modelToken]modelAnswer{}}
		defer func() { m.store.Close() }()
		for range rapid.IntRange(0, 3).Draw(r, "jobs under way at the start") {
			m.underWay(r)
		}
		r.Repeat(map[string]func(*rapid.T){
			"":             m.compare,
			"CreateList":   m.createList,
			"DeleteList":   m.deleteList,
			"PurgeMembers": m.purge,
			"SetTags":      m.setTags,
			"AddMember":    m.addMember,
			"AddMember 2":  m.addMember, // the commonest thing is done more often
			"RemoveMember": m.removeMember,
			"Members":      m.someMembers,
			"FindMembers":  m.find,
			"CreateJob":    m.createJob,
			"Uploadable":   m.uploadable,
			"AttachUpload": m.attach,
			"ObjectNeeded": m.needed,
			"StartJob":     m.startJob,
			"StopJob":      m.stopJob,
			"ClaimJob":     m.claim,
			"RenewLease":   m.renew,
			"ReleaseLease": m.release,
			"Reserve":      m.reserve,
			"ApplyBatch":   m.apply,
			"FinishJob":    m.finish,
			"time passes":  m.pass,
			"restart":      func(r *rapid.T) { m.store = reopen() },
		})
	})
}

type model struct {
	store store
	ctx   context.Context
	now   time.Time
	ids   int

	lists   []*modelList // in order of id
	jobs    []*modelJob  // in order of id
	tokens  map[modelToken]modelAnswer
	leases  []jobs.Lease // every one that was given
	objects []string     // every one that was uploaded
	goneIDs []string     // of lists and jobs that are gone
}

type modelList struct {
	lists.List
	members map[string]lists.Member
}

type modelJob struct {
	importer.Job
	list     *modelList
	reserved int64
	lease    string
	until    time.Time
}

type modelToken struct {
	o         lists.Owner
	operation string
	token     string
}

type modelAnswer struct {
	id     string
	params []byte
	made   time.Time
}

// Small limits, so that they are met.
const (
	modelLists   = 3
	modelMembers = 6
	modelTags    = 3
	modelRunning = 2
)

var modelEntries = []string{
	"a@example.com", "A@example.com", "ab@Example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com", "f@example.com",
	"a*@example.com", "*@example.com", "*.example.com", "a@*.example.com", "example.com", "é@example.com", "É@example.com",
	"éa@example.com", "\uFF5E@example.com", "\U0001F600@example.com", `"a b"@example.com`, "a_b@example.com", "a%@example.com",
}

// underWay makes a list and a job that is worked on, without which most of what
// can be done with jobs cannot be done.
func (m *model) underWay(r *rapid.T) {
	o := owners.Draw(r, "owner")
	l := &modelList{List: lists.List{Owner: o, ID: m.id("al"), Name: m.id("name"), Created: m.now, Updated: m.now, Tags: map[string]string{"k": ""}}, members: map[string]lists.Member{}}
	_, err := m.store.CreateList(m.ctx, l.List, lists.ClientToken{}, many)
	is(r, "CreateList", err, nil)
	j := &modelJob{list: l, Job: importer.Job{Owner: o, ID: m.id("job"), ListID: l.ID, Name: "j", Format: importfile.CSV, Status: jobs.Created, Created: m.now}}
	_, _, err = m.store.CreateJob(m.ctx, j.Job, lists.ClientToken{})
	is(r, "CreateJob", err, nil)
	m.lists, m.jobs = append(m.lists, l), append(m.jobs, j)
	j.Object = "imports/" + m.id(j.ID)
	_, err = m.store.AttachUpload(m.ctx, j.ID, j.Object, 0)
	is(r, "AttachUpload", err, nil)
	m.objects = append(m.objects, j.Object)
	is(r, "StartJob", m.store.StartJob(m.ctx, o, j.ID, many, m.now), nil)
	j.Status, j.Started = jobs.Processing, m.now
	m.claim(r)
}

func (m *model) id(prefix string) string {
	m.ids++
	return fmt.Sprintf("%s-%026d", prefix, m.ids)
}

func is(r *rapid.T, what string, got, want error) {
	r.Helper()
	if !errors.Is(got, want) || want == nil && got != nil {
		r.Fatalf("%s: error %v, the model says %v", what, got, want)
	}
}

func same(r *rapid.T, what string, got, want any) {
	r.Helper()
	if diff := gocmp.Diff(want, got); diff != "" {
		r.Fatalf("%s (-model +store):\n%s", what, diff)
	}
}

var owners = rapid.SampledFrom([]lists.Owner{ann, ann, ann, bob, anns})

// aList draws the id of a list, mostly one that is there, and an owner, mostly its.
func (m *model) aList(r *rapid.T) (o lists.Owner, id string, l *modelList) {
	o = owners.Draw(r, "owner")
	if len(m.lists) > 0 && rapid.IntRange(0, 9).Draw(r, "there") > 0 {
		some := rapid.SampledFrom(m.lists).Draw(r, "list")
		if rapid.IntRange(0, 9).Draw(r, "own") > 0 {
			o = some.Owner
		}
		if some.Owner == o {
			return o, some.ID, some
		}
		return o, some.ID, nil
	}
	return o, m.goneID(r), nil
}

func (m *model) goneID(r *rapid.T) string {
	if len(m.goneIDs) > 0 && rapid.Bool().Draw(r, "was there") {
		return rapid.SampledFrom(m.goneIDs).Draw(r, "gone")
	}
	return m.id("none")
}

func (m *model) aJob(r *rapid.T) (o lists.Owner, id string, j *modelJob) {
	o = owners.Draw(r, "owner")
	if len(m.jobs) > 0 && rapid.IntRange(0, 9).Draw(r, "there") > 0 {
		some := rapid.SampledFrom(m.jobs).Draw(r, "job")
		if rapid.IntRange(0, 9).Draw(r, "own") > 0 {
			o = some.Owner
		}
		if some.Owner == o {
			return o, some.ID, some
		}
		return o, some.ID, nil
	}
	return o, m.goneID(r), nil
}

// aLease draws a lease, mostly one that is held, and gives the job it is on, or
// nil when it is lost.
func (m *model) aLease(r *rapid.T) (jobs.Lease, *modelJob) {
	if len(m.leases) == 0 {
		r.Skip("no lease was given yet")
	}
	l := m.leases[len(m.leases)-1]
	if rapid.IntRange(0, 3).Draw(r, "last lease") == 0 {
		l = rapid.SampledFrom(m.leases).Draw(r, "lease")
	}
	for _, j := range m.jobs {
		if j.ID == l.Job && j.lease == l.Owner && j.Status == jobs.Processing {
			return l, j
		}
	}
	return l, nil
}

func (m *model) aToken(r *rapid.T, o lists.Owner, operation string) (lists.ClientToken, modelToken, *modelAnswer) {
	if rapid.IntRange(0, 2).Draw(r, "with token") > 0 {
		return lists.ClientToken{}, modelToken{}, nil
	}
	token := rapid.SampledFrom([]string{"t1", "t2"}).Draw(r, "token")
	params := rapid.SampledFrom([]string{"p1", "p1", "p2"}).Draw(r, "params")
	t := lists.NewClientToken(&token, []byte(params), m.now)
	key := modelToken{o, operation, token}
	if a, ok := m.tokens[key]; ok && !a.made.Before(t.Since) {
		return t, key, &a
	}
	return t, key, nil
}

// compare looks at everything that can be read.
func (m *model) compare(r *rapid.T) {
	for _, o := range []lists.Owner{ann, bob, anns} {
		got, err := m.store.Lists(m.ctx, o, "", 100)
		is(r, "Lists", err, nil)
		var want []lists.List
		for _, l := range m.lists {
			if l.Owner == o {
				want = append(want, l.List)
			}
		}
		same(r, "the lists", got, want)
	}
	for _, l := range m.lists {
		members, err := m.store.Members(m.ctx, l.Owner, l.ID, "", "", 100)
		is(r, "Members", err, nil)
		same(r, "the members", members, l.sorted(""))
		if int64(len(members)) != l.List.Members || len(members) > modelMembers {
			r.Fatalf("%d members in a list that says %d and may hold %d", len(members), l.List.Members, modelMembers)
		}
		all, err := m.store.Jobs(m.ctx, l.Owner, l.ID, "", 100)
		is(r, "Jobs", err, nil)
		var want []importer.Job
		for _, j := range slices.Backward(m.jobs) {
			if j.list == l {
				want = append(want, j.Job)
			}
		}
		same(r, "the jobs", all, want)
	}
}

func (l *modelList) sorted(prefix string) []lists.Member {
	var sorted []lists.Member
	for _, key := range slices.Sorted(maps.Keys(l.members)) {
		if strings.HasPrefix(key, prefix) {
			sorted = append(sorted, l.members[key])
		}
	}
	return sorted
}

func (m *model) createList(r *rapid.T) {
	o := owners.Draw(r, "owner")
	name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(r, "name")
	token, key, answer := m.aToken(r, o, "list")
	l := lists.List{Owner: o, ID: m.id("al"), Name: name, Created: m.now, Updated: m.now, Tags: map[string]string{"k": name}}
	id, err := m.store.CreateList(m.ctx, l, token, modelLists)
	if answer != nil {
		if !bytes.Equal(answer.params, token.Params) {
			is(r, "CreateList", err, lists.ErrTokenReused)
			return
		}
		is(r, "CreateList", err, nil)
		same(r, "the id", id, answer.id)
		return
	}
	have := 0
	for _, other := range m.lists {
		if other.Owner != o {
			continue
		}
		if have++; other.Name == name {
			is(r, "CreateList", err, lists.ErrNameTaken)
			return
		}
	}
	if have >= modelLists {
		is(r, "CreateList", err, lists.ErrTooManyLists)
		return
	}
	is(r, "CreateList", err, nil)
	same(r, "the id", id, l.ID)
	m.lists = append(m.lists, &modelList{List: l, members: map[string]lists.Member{}})
	if token.Token != "" {
		m.tokens[key] = modelAnswer{l.ID, token.Params, m.now}
	}
}

func (m *model) deleteList(r *rapid.T) {
	o, id, l := m.aList(r)
	objects, err := m.store.DeleteList(m.ctx, o, id)
	if l == nil {
		is(r, "DeleteList", err, nil)
		same(r, "the objects", len(objects), 0)
		return
	}
	var want []string
	for _, j := range m.jobs {
		if j.list == l && j.Status == jobs.Processing {
			is(r, "DeleteList", err, lists.ErrImportRunning)
			return
		}
		if j.list == l && j.Object != "" {
			want = append(want, j.Object)
		}
	}
	is(r, "DeleteList", err, nil)
	slices.Sort(objects)
	slices.Sort(want)
	same(r, "the objects", objects, want)
	m.jobs = slices.DeleteFunc(m.jobs, func(j *modelJob) bool {
		if j.list == l {
			m.goneIDs = append(m.goneIDs, j.ID)
		}
		return j.list == l
	})
	m.lists = slices.DeleteFunc(m.lists, func(other *modelList) bool { return other == l })
	m.goneIDs = append(m.goneIDs, id)
}

func (m *model) purge(r *rapid.T) {
	_, err := m.store.PurgeMembers(m.ctx, rapid.IntRange(1, 5).Draw(r, "n"))
	is(r, "PurgeMembers", err, nil)
}

func (m *model) setTags(r *rapid.T) {
	o, id, l := m.aList(r)
	key := rapid.SampledFrom([]string{"a", "b", "c", "d", "k"})
	set := rapid.MapOfN(key, rapid.SampledFrom([]string{"", "1", "2"}), 0, 2).Draw(r, "set")
	unset := rapid.SliceOfN(key, 0, 2).Draw(r, "unset")
	err := m.store.SetTags(m.ctx, o, id, set, unset, modelTags, m.now)
	if l == nil {
		is(r, "SetTags", err, lists.ErrNotFound)
		return
	}
	tags := maps.Clone(l.Tags)
	maps.Copy(tags, set)
	for _, key := range unset {
		delete(tags, key)
	}
	if len(tags) > modelTags {
		is(r, "SetTags", err, lists.ErrTooManyTags)
		return
	}
	is(r, "SetTags", err, nil)
	if !maps.Equal(tags, l.Tags) {
		l.Tags, l.Updated = tags, m.now
	}
}

// promised is the room that l's running jobs but one were promised.
func (m *model) promised(l *modelList, but *modelJob) (n int64) {
	for _, j := range m.jobs {
		if j.list == l && j != but && j.Status == jobs.Processing {
			n += j.reserved
		}
	}
	return n
}

func (m *model) addMember(r *rapid.T) {
	o, id, l := m.aList(r)
	e, err := address.Parse(rapid.SampledFrom(modelEntries).Draw(r, "entry"))
	is(r, "Parse", err, nil)
	err = m.store.AddMember(m.ctx, o, id, e, modelMembers, m.now)
	if l == nil {
		is(r, "AddMember", err, lists.ErrNotFound)
		return
	}
	if _, there := l.members[string(e.Key)]; there {
		is(r, "AddMember", err, nil)
		return
	}
	if l.List.Members+m.promised(l, nil) >= modelMembers {
		is(r, "AddMember", err, lists.ErrListFull)
		return
	}
	is(r, "AddMember", err, nil)
	l.add(string(e.Key), string(e.Shown), m.now)
	l.Kinds |= e.Kind
	l.Updated = m.now
}

func (l *modelList) add(key, shown string, now time.Time) {
	l.members[key] = lists.Member{Key: key, Address: shown, Created: now}
	l.List.Members++
}

func (m *model) removeMember(r *rapid.T) {
	o, id, l := m.aList(r)
	e, err := address.Parse(rapid.SampledFrom(modelEntries).Draw(r, "entry"))
	is(r, "Parse", err, nil)
	err = m.store.RemoveMember(m.ctx, o, id, string(e.Key), m.now)
	if l == nil {
		is(r, "RemoveMember", err, lists.ErrNotFound)
		return
	}
	is(r, "RemoveMember", err, nil)
	if _, there := l.members[string(e.Key)]; there {
		delete(l.members, string(e.Key))
		l.List.Members--
		l.Updated = m.now
	}
}

func (m *model) someMembers(r *rapid.T) {
	o, id, l := m.aList(r)
	prefix := rapid.SampledFrom([]string{"", "a", "a@", "*", "é", "é@", "\uFF5E", "\"", "a_", "a%", "zz"}).Draw(r, "prefix")
	after := rapid.SampledFrom([]string{"", "", "a@example.com", "b", "é@example.com", "\uFF5E", "zz"}).Draw(r, "after")
	n := rapid.IntRange(1, 5).Draw(r, "n")
	got, err := m.store.Members(m.ctx, o, id, prefix, after, n)
	if l == nil {
		is(r, "Members", err, lists.ErrNotFound)
		return
	}
	is(r, "Members", err, nil)
	var want []lists.Member
	for _, member := range l.sorted(prefix) {
		if member.Key > after && len(want) < n {
			want = append(want, member)
		}
	}
	same(r, "the members", got, want)
}

func (m *model) find(r *rapid.T) {
	o, id, l := m.aList(r)
	keys := rapid.SliceOfN(rapid.SampledFrom(append(modelEntries, "", "none@example.com")), 0, 12).Draw(r, "keys")
	got, err := m.store.FindMembers(m.ctx, o, id, keys)
	if l == nil {
		is(r, "FindMembers", err, lists.ErrNotFound)
		return
	}
	is(r, "FindMembers", err, nil)
	slices.Sort(keys)
	var want []lists.Member
	for _, key := range slices.Compact(keys) {
		if member, there := l.members[key]; there {
			want = append(want, member)
		}
	}
	slices.SortFunc(got, func(a, b lists.Member) int { return cmp.Compare(a.Key, b.Key) })
	same(r, "the members found", got, want)
}

func (m *model) createJob(r *rapid.T) {
	o, list, l := m.aList(r)
	token, key, answer := m.aToken(r, o, "job")
	j := importer.Job{Owner: o, ID: m.id("job"), ListID: list, Name: "j", Format: importfile.CSV, Status: jobs.Created, Created: m.now}
	id, created, err := m.store.CreateJob(m.ctx, j, token)
	switch {
	case answer != nil && !bytes.Equal(answer.params, token.Params):
		is(r, "CreateJob", err, lists.ErrTokenReused)
	case answer != nil:
		is(r, "CreateJob", err, nil)
		same(r, "the id", id, answer.id)
		same(r, "when it was made", created, answer.made)
	case l == nil:
		is(r, "CreateJob", err, lists.ErrNotFound)
	default:
		is(r, "CreateJob", err, nil)
		same(r, "the id", id, j.ID)
		same(r, "when it was made", created, m.now)
		m.jobs = append(m.jobs, &modelJob{Job: j, list: l})
		if token.Token != "" {
			m.tokens[key] = modelAnswer{j.ID, token.Params, m.now}
		}
	}
}

// anyones gives the job with an id, whoever's it is.
func (m *model) anyones(id string) *modelJob {
	for _, j := range m.jobs {
		if j.ID == id {
			return j
		}
	}
	return nil
}

func (m *model) uploadable(r *rapid.T) {
	_, id, _ := m.aJob(r)
	err := m.store.Uploadable(m.ctx, id)
	switch j := m.anyones(id); {
	case j == nil:
		is(r, "Uploadable", err, importer.ErrNotFound)
	case j.Status != jobs.Created:
		is(r, "Uploadable", err, importer.ErrStarted)
	default:
		is(r, "Uploadable", err, nil)
	}
}

func (m *model) attach(r *rapid.T) {
	_, id, _ := m.aJob(r)
	object := "imports/" + m.id(id)
	size := rapid.Int64Range(0, 1<<40).Draw(r, "size")
	previous, err := m.store.AttachUpload(m.ctx, id, object, size)
	m.objects = append(m.objects, object)
	switch j := m.anyones(id); {
	case j == nil:
		is(r, "AttachUpload", err, importer.ErrNotFound)
	case j.Status != jobs.Created:
		is(r, "AttachUpload", err, importer.ErrStarted)
	default:
		is(r, "AttachUpload", err, nil)
		same(r, "the upload before", previous, j.Object)
		j.Object, j.Size = object, size
	}
}

func (m *model) needed(r *rapid.T) {
	if len(m.objects) == 0 {
		r.Skip("nothing was uploaded yet")
	}
	object := rapid.SampledFrom(m.objects).Draw(r, "object")
	got, err := m.store.ObjectNeeded(m.ctx, object)
	is(r, "ObjectNeeded", err, nil)
	want := slices.ContainsFunc(m.jobs, func(j *modelJob) bool {
		return j.Object == object && j.Status != jobs.Completed && j.Status != jobs.Stopped
	})
	same(r, "whether the object is needed", got, want)
}

func (m *model) startJob(r *rapid.T) {
	o, id, j := m.aJob(r)
	err := m.store.StartJob(m.ctx, o, id, modelRunning, m.now)
	running := 0
	for _, other := range m.jobs {
		if other.Owner == o && other.Status == jobs.Processing {
			running++
		}
	}
	switch {
	case j == nil:
		is(r, "StartJob", err, importer.ErrNotFound)
	case j.Status == jobs.Processing:
		is(r, "StartJob", err, nil)
	case j.Status.Ended():
		is(r, "StartJob", err, importer.ErrEnded)
	case j.Object == "":
		is(r, "StartJob", err, importer.ErrNothingUploaded)
	case running >= modelRunning:
		is(r, "StartJob", err, importer.ErrTooManyRunning)
	default:
		is(r, "StartJob", err, nil)
		j.Status, j.Started = jobs.Processing, m.now
	}
}

func (m *model) stopJob(r *rapid.T) {
	o, id, j := m.aJob(r)
	object, err := m.store.StopJob(m.ctx, o, id, m.now)
	switch {
	case j == nil:
		is(r, "StopJob", err, importer.ErrNotFound)
	case j.Status == jobs.Stopped:
		is(r, "StopJob", err, nil)
	case j.Status == jobs.Created:
		is(r, "StopJob", err, importer.ErrNotStarted)
	case j.Status.Ended():
		is(r, "StopJob", err, importer.ErrEnded)
	default:
		is(r, "StopJob", err, nil)
		same(r, "the object", object, j.Object)
		j.end(jobs.Stopped, m.now)
	}
}

func (j *modelJob) end(s jobs.Status, now time.Time) {
	j.Status, j.Completed, j.reserved, j.lease, j.until = s, now, 0, "", time.Time{}
}

func (m *model) claim(r *rapid.T) {
	owner := m.id("worker")
	until := m.now.Add(leaseTime)
	var want *modelJob
	for _, j := range m.jobs {
		taken := slices.ContainsFunc(m.jobs, func(other *modelJob) bool {
			return other.list == j.list && other.Status == jobs.Processing && !other.until.Before(m.now)
		})
		if j.Status == jobs.Processing && !taken && (want == nil || j.Started.Before(want.Started)) {
			want = j
		}
	}
	got, ok, err := m.store.ClaimJob(m.ctx, owner, m.now, until)
	is(r, "ClaimJob", err, nil)
	same(r, "whether there is a job to claim", ok, want != nil)
	if want == nil {
		return
	}
	same(r, "the job claimed", got, want.Job)
	want.lease, want.until = owner, until
	m.leases = append(m.leases, jobs.Lease{Job: want.ID, Owner: owner})
}

func (m *model) renew(r *rapid.T) {
	l, j := m.aLease(r)
	failed := rapid.Int64Range(0, 99).Draw(r, "failed")
	err := m.store.RenewLease(m.ctx, l, m.now.Add(leaseTime), failed)
	if j == nil {
		is(r, "RenewLease", err, jobs.ErrLeaseLost)
		return
	}
	is(r, "RenewLease", err, nil)
	j.until, j.Failed = m.now.Add(leaseTime), max(j.Failed, failed)
}

func (m *model) release(r *rapid.T) {
	l, j := m.aLease(r)
	err := m.store.ReleaseLease(m.ctx, l)
	if j == nil {
		is(r, "ReleaseLease", err, jobs.ErrLeaseLost)
		return
	}
	is(r, "ReleaseLease", err, nil)
	j.lease, j.until = "", time.Time{}
}

func (m *model) reserve(r *rapid.T) {
	l, j := m.aLease(r)
	n := rapid.Int64Range(0, modelMembers+1).Draw(r, "n")
	room, ok, err := m.store.Reserve(m.ctx, l, n, modelMembers)
	if j == nil {
		is(r, "Reserve", err, jobs.ErrLeaseLost)
		return
	}
	is(r, "Reserve", err, nil)
	same(r, "the room", room, modelMembers-j.list.List.Members-m.promised(j.list, j))
	same(r, "whether it is enough", ok, room >= n)
	if ok {
		j.reserved = n
	}
}

func (m *model) apply(r *rapid.T) {
	l, j := m.aLease(r)
	b := importer.Batch{Now: m.now, Until: m.now.Add(leaseTime), Limit: modelMembers}
	for _, text := range rapid.SliceOfN(rapid.SampledFrom(modelEntries), 1, 4).Draw(r, "entries") {
		e, err := address.Parse(text)
		is(r, "Parse", err, nil)
		b.Lines++
		b.Kinds |= e.Kind
		row := importer.Row{Key: string(e.Key)}
		if string(e.Shown) != row.Key {
			row.Shown = string(e.Shown)
		}
		if !slices.ContainsFunc(b.Rows, func(other importer.Row) bool { return other.Key == row.Key }) {
			b.Rows = append(b.Rows, row)
		}
	}
	slices.SortFunc(b.Rows, func(a, b importer.Row) int { return cmp.Compare(a.Key, b.Key) })
	err := m.store.ApplyBatch(m.ctx, l, b)
	if j == nil {
		is(r, "ApplyBatch", err, jobs.ErrLeaseLost)
		return
	}
	fresh := int64(0)
	for _, row := range b.Rows {
		if _, there := j.list.members[row.Key]; !there {
			fresh++
		}
	}
	if j.list.List.Members+fresh > modelMembers {
		is(r, "ApplyBatch", err, lists.ErrListFull)
		return
	}
	is(r, "ApplyBatch", err, nil)
	for _, row := range b.Rows {
		if _, there := j.list.members[row.Key]; !there {
			j.list.add(row.Key, cmp.Or(row.Shown, row.Key), m.now)
		}
		j.Cursor = row.Key
	}
	j.list.Kinds |= b.Kinds
	j.list.Updated = m.now
	j.Imported += b.Lines
	j.Entries += int64(len(b.Rows))
	j.Added += fresh
	j.reserved = max(j.reserved-fresh, 0)
	j.until = b.Until
}

func (m *model) finish(r *rapid.T) {
	l, j := m.aLease(r)
	status := rapid.SampledFrom([]jobs.Status{jobs.Completed, jobs.Failed}).Draw(r, "status")
	failed := rapid.Int64Range(0, 99).Draw(r, "failed")
	err := m.store.FinishJob(m.ctx, l, status, "reason", failed, m.now)
	if j == nil {
		is(r, "FinishJob", err, jobs.ErrLeaseLost)
		return
	}
	is(r, "FinishJob", err, nil)
	j.end(status, m.now)
	j.Error, j.Failed = "reason", max(j.Failed, failed)
}

func (m *model) pass(r *rapid.T) {
	m.now = m.now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 11 * time.Second, 5 * time.Hour}).Draw(r, "time"))
}
