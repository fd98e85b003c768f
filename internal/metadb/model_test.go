package metadb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// modelCheck does the same random things to a store and to plain Go values, and
// looks at both after every few.
func modelCheck(t *testing.T, open opener) {
	rapid.Check(t, func(r *rapid.T) {
		s, reopen := open(t)
		m := &model{store: s, ctx: context.Background(), now: start, tokens: map[modelToken]modelAnswer{}}
		defer func() { m.store.Close() }()
		for range rapid.IntRange(0, 3).Draw(r, "jobs under way at the start") {
			m.underWay(r)
		}
		r.Repeat(map[string]func(*rapid.T){
			"":              m.compareSometimes,
			"CreateList":    m.createList,
			"DeleteList":    m.deleteList,
			"SetTags":       m.setTags,
			"Place":         m.somePlace,
			"AddChange":     m.addChange,
			"AddChange 2":   m.addChange, // the commonest thing is done more often
			"Changes":       m.someChanges,
			"Move":          m.move,
			"PurgeChanges":  m.purge,
			"LongLists":     m.longLists,
			"CreateJob":     m.createJob,
			"Uploadable":    m.uploadable,
			"AttachUpload":  m.attach,
			"RefusedObject": m.refusedObject,
			"ObjectNeeded":  m.needed,
			"StartJob":      m.startJob,
			"StopJob":       m.stopJob,
			"ClaimJob":      m.claim,
			"RenewLease":    m.renew,
			"NoteRead":      m.noteRead,
			"ReleaseLease":  m.release,
			"Publish":       m.publish,
			"FinishJob":     m.finish,
			"Retire":        m.retire,
			"time passes":   m.pass,
			"restart":       func(r *rapid.T) { m.store = reopen() },
		})
		m.compare(r)
	})
}

type model struct {
	store store
	ctx   context.Context
	now   time.Time
	ids   int
	steps int

	lists   []*modelList // in order of id
	jobs    []*modelJob  // in order of id
	tokens  map[modelToken]modelAnswer
	leases  []jobs.Lease // every one that was given
	objects []string     // every one that a job had
	goneIDs []string     // of lists and jobs that are gone
	numbers []int64      // of every list that there ever was
}

type modelList struct {
	lists.List
	place   lists.Place
	changes []lists.Change // that were not purged
}

// since gives the changes after the one with a number.
func (l *modelList) since(after int64) (found []lists.Change) {
	for _, c := range l.changes {
		if c.Seq > after {
			found = append(found, c)
		}
	}
	return found
}

// last is the number of the last change.
func (l *modelList) last() int64 {
	if n := len(l.changes); n > 0 {
		return l.changes[n-1].Seq
	}
	return l.place.Folded // what was purged was in the file
}

type modelJob struct {
	importer.Job
	list  *modelList
	lease string
	until time.Time

	uploaded time.Time
}

// holds are the objects that a job has.
func (j *modelJob) holds() (objects []string) {
	for _, object := range []string{j.Object, j.RefusedObject} {
		if object != "" {
			objects = append(objects, object)
		}
	}
	return objects
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
	modelTags    = 3
	modelRunning = 2
)

// progresses are what workers note, with all that JSON tells apart.
var progresses = rapid.Custom(func(r *rapid.T) importer.Progress {
	p := importer.Progress{Share: rapid.Float64Range(0, 1).Draw(r, "share"), Read: rapid.Bool().Draw(r, "read")}
	for _, n := range []*int64{&p.Lines, &p.Imported, &p.Entries, &p.Added, &p.Removed, &p.Members, &p.Over} {
		*n = rapid.Int64().Draw(r, "count")
	}
	codes := rapid.SampledFrom([]string{"empty", "no_domain", "", "\"größe\" <&>"})
	p.Invalid = rapid.OneOf(rapid.Just(map[string]int64(nil)), rapid.MapOfN(codes, rapid.Int64(), 0, 2)).Draw(r, "invalid")
	phases := rapid.Custom(func(r *rapid.T) importer.Phase {
		return importer.Phase{
			Name: rapid.SampledFrom([]string{importer.Reading, importer.Merging, importer.Storing}).Draw(r, "phase"), Seconds: rapid.Float64Min(0).Draw(r, "seconds"),
			Rows: rapid.Int64().Draw(r, "rows"), Bytes: rapid.Int64().Draw(r, "bytes"),
		}
	})
	p.Phases = rapid.OneOf(rapid.Just([]importer.Phase(nil)), rapid.SliceOfN(phases, 0, 2)).Draw(r, "phases")
	return p
})

// underWay makes a list and a job that is worked on, without which most of what
// can be done with jobs cannot be done.
func (m *model) underWay(r *rapid.T) {
	o := owners.Draw(r, "owner")
	l := &modelList{List: lists.List{Owner: o, ID: m.id("al"), Name: m.id("name"), Created: m.now, Updated: m.now, Tags: map[string]string{"k": ""}}}
	_, err := m.store.CreateList(m.ctx, l.List, lists.ClientToken{}, many)
	is(r, "CreateList", err, nil)
	m.newList(r, l)
	j := &modelJob{list: l, Job: m.newJob(r, o, l.ID)}
	_, _, err = m.store.CreateJob(m.ctx, j.Job, lists.ClientToken{})
	is(r, "CreateJob", err, nil)
	m.jobs = append(m.jobs, j)
	j.Object = "imports/" + m.id(j.ID)
	_, err = m.store.AttachUpload(m.ctx, j.ID, j.Object, 0, m.now)
	is(r, "AttachUpload", err, nil)
	m.objects = append(m.objects, j.Object)
	is(r, "StartJob", m.store.StartJob(m.ctx, o, j.ID, many, m.now), nil)
	j.Status, j.Started = jobs.Processing, m.now
	m.claim(r)
}

// newList notes a list that was made, and that its number is new.
func (m *model) newList(r *rapid.T, l *modelList) {
	p, err := m.store.Place(m.ctx, l.Owner, l.ID)
	is(r, "Place", err, nil)
	if slices.Contains(m.numbers, p.N) {
		r.Fatalf("the number %d is another list's", p.N)
	}
	l.place = lists.Place{N: p.N}
	m.lists, m.numbers = append(m.lists, l), append(m.numbers, p.N)
}

func (m *model) newJob(r *rapid.T, o lists.Owner, list string) importer.Job {
	return importer.Job{
		Owner: o, ID: m.id("job"), ListID: list, Name: "j", Format: importfile.CSV, Status: jobs.Created, Created: m.now,
		Mode: rapid.SampledFrom([]lists.Mode{lists.Append, lists.Replace, lists.Remove}).Draw(r, "mode"), DryRun: rapid.Bool().Draw(r, "dry run"),
	}
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
	if reflect.DeepEqual(got, want) { // much the quicker of the two
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
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

// compareSometimes compares after every sixth step: what is wrong stays wrong,
// and looking takes longer than doing.
func (m *model) compareSometimes(r *rapid.T) {
	if m.steps++; m.steps%6 == 0 {
		m.compare(r)
	}
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
	var files []string
	for _, l := range m.lists {
		place, err := m.store.Place(m.ctx, l.Owner, l.ID)
		is(r, "Place", err, nil)
		same(r, "where the list is", place, l.place)
		changes, err := m.store.Changes(m.ctx, place.N, place.Folded)
		is(r, "Changes", err, nil)
		same(r, "the changes", changes, l.since(place.Folded))
		if l.place.File != "" {
			files = append(files, l.place.File)
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
	got, err := m.store.Files(m.ctx)
	is(r, "Files", err, nil)
	slices.Sort(got)
	slices.Sort(files)
	same(r, "the files", got, files)
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
	m.newList(r, &modelList{List: l})
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
		if j.list == l {
			want = append(want, j.holds()...)
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

func (m *model) somePlace(r *rapid.T) {
	o, id, l := m.aList(r)
	p, err := m.store.Place(m.ctx, o, id)
	if l == nil {
		is(r, "Place", err, lists.ErrNotFound)
		return
	}
	is(r, "Place", err, nil)
	same(r, "where the list is", p, l.place)
}

// aNumber draws the number of a list, mostly of one that is there.
func (m *model) aNumber(r *rapid.T) (int64, *modelList) {
	if len(m.lists) > 0 && rapid.IntRange(0, 9).Draw(r, "there") > 0 {
		l := rapid.SampledFrom(m.lists).Draw(r, "list")
		return l.place.N, l
	}
	n := rapid.SampledFrom(append(slices.Clone(m.numbers), 0, -1, 1000)).Draw(r, "number")
	for _, l := range m.lists {
		if l.place.N == n {
			return n, l
		}
	}
	return n, nil
}

func (m *model) addChange(r *rapid.T) {
	n, l := m.aNumber(r)
	c := lists.Change{
		Seq: 1, Key: rapid.SampledFrom(hard).Draw(r, "key"), Shown: rapid.SampledFrom(append([]string{"", ""}, hard...)).Draw(r, "shown"),
		Created: m.now.Add(-time.Second), Removed: rapid.Bool().Draw(r, "removed"),
	}
	if l != nil {
		c.Seq = l.last() + 1
	}
	members := rapid.Int64Range(0, 1<<40).Draw(r, "members")
	err := m.store.AddChange(m.ctx, n, c, members, m.now)
	if l == nil {
		is(r, "AddChange", err, lists.ErrNotFound)
		return
	}
	is(r, "AddChange", err, nil)
	l.changes = append(l.changes, c)
	l.place.Members, l.Updated = members, m.now
}

func (m *model) someChanges(r *rapid.T) {
	_, l := m.aNumber(r)
	if l == nil {
		r.Skip("what is left of a list that is gone is nobody's")
	}
	after := rapid.Int64Range(l.place.Folded, l.last()+1).Draw(r, "after")
	got, err := m.store.Changes(m.ctx, l.place.N, after)
	is(r, "Changes", err, nil)
	same(r, "the changes", got, l.since(after))
}

// aMove draws a move, mostly one that can be made, of l or else of any list, and
// gives the list that it moves or the error that it meets.
func (m *model) aMove(r *rapid.T, l *modelList) (lists.Move, *modelList, error) {
	v := lists.Move{To: m.id("file"), Members: rapid.Int64Range(0, 1<<40).Draw(r, "members")}
	v.Now = rapid.SampledFrom([]time.Time{{}, m.now, m.now.Add(-time.Second)}).Draw(r, "now")
	if l == nil || rapid.IntRange(0, 9).Draw(r, "another list") == 0 {
		v.List, l = m.aNumber(r)
	}
	if l == nil {
		return v, nil, lists.ErrNotFound
	}
	v.List, v.From = l.place.N, l.place.File
	v.Folded = rapid.Int64Range(l.place.Folded, l.last()).Draw(r, "folded")
	if rapid.IntRange(0, 5).Draw(r, "from elsewhere") == 0 {
		v.From = "elsewhere"
		return v, nil, lists.ErrMoved
	}
	return v, l, nil
}

func (l *modelList) moved(v lists.Move) {
	l.place = lists.Place{N: v.List, File: v.To, Folded: v.Folded, Members: v.Members}
	if v.Now.After(l.Updated) {
		l.Updated = v.Now
	}
}

func (m *model) move(r *rapid.T) {
	v, l, want := m.aMove(r, nil)
	is(r, "Move", m.store.Move(m.ctx, v), want)
	if want == nil {
		l.moved(v)
	}
}

func (m *model) purge(r *rapid.T) {
	n := rapid.IntRange(1, 5).Draw(r, "n")
	more, err := m.store.PurgeChanges(m.ctx, n)
	is(r, "PurgeChanges", err, nil)
	gone := 0
	for _, l := range m.lists {
		got, err := m.store.Changes(m.ctx, l.place.N, 0)
		is(r, "Changes", err, nil)
		left := map[int64]bool{}
		for _, c := range got {
			left[c.Seq] = true
		}
		var want []lists.Change
		for _, c := range l.changes {
			if left[c.Seq] || c.Seq > l.place.Folded {
				want = append(want, c)
			}
		}
		same(r, "the changes after a purge", got, want)
		gone += len(l.changes) - len(want)
		l.changes = want
		if !more && len(want) > 0 && want[0].Seq <= l.place.Folded {
			r.Fatalf("change %d is left, but there is no more to purge up to %d", want[0].Seq, l.place.Folded)
		}
	}
	if gone > n {
		r.Fatalf("a purge of %d took %d", n, gone)
	}
}

func (m *model) longLists(r *rapid.T) {
	n := rapid.Int64Range(0, 4).Draw(r, "n")
	got, err := m.store.LongLists(m.ctx, n)
	is(r, "LongLists", err, nil)
	var want []lists.List
	for _, l := range m.lists {
		if l.last()-l.place.Folded > n {
			want = append(want, l.List)
		}
	}
	slices.SortFunc(got, func(a, b lists.List) int { return strings.Compare(a.ID, b.ID) })
	same(r, "the lists with many changes", got, want)
}

func (m *model) createJob(r *rapid.T) {
	o, list, l := m.aList(r)
	token, key, answer := m.aToken(r, o, "job")
	j := m.newJob(r, o, list)
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
	previous, err := m.store.AttachUpload(m.ctx, id, object, size, m.now)
	m.objects = append(m.objects, object)
	switch j := m.anyones(id); {
	case j == nil:
		is(r, "AttachUpload", err, importer.ErrNotFound)
	case j.Status != jobs.Created:
		is(r, "AttachUpload", err, importer.ErrStarted)
	default:
		is(r, "AttachUpload", err, nil)
		same(r, "the upload before", previous, j.Object)
		j.Object, j.Size, j.uploaded = object, size, m.now
	}
}

func (m *model) refusedObject(r *rapid.T) {
	_, id, _ := m.aJob(r)
	got, err := m.store.RefusedObject(m.ctx, id)
	if j := m.anyones(id); j == nil || j.RefusedObject == "" {
		is(r, "RefusedObject", err, importer.ErrNotFound)
	} else {
		is(r, "RefusedObject", err, nil)
		same(r, "the list of refused lines", got, j.RefusedObject)
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
		return j.RefusedObject == object || j.Object == object && j.Status != jobs.Completed && j.Status != jobs.Stopped
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
	j.Status, j.Completed, j.lease, j.until = s, now, "", time.Time{}
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
	p := progresses.Draw(r, "progress")
	err := m.store.RenewLease(m.ctx, l, m.now.Add(leaseTime), p)
	if j == nil {
		is(r, "RenewLease", err, jobs.ErrLeaseLost)
		return
	}
	is(r, "RenewLease", err, nil)
	j.until, j.Progress = m.now.Add(leaseTime), p
}

func (m *model) noteRead(r *rapid.T) {
	l, j := m.aLease(r)
	p := progresses.Draw(r, "progress")
	object := ""
	if rapid.IntRange(0, 3).Draw(r, "refused lines") > 0 {
		object = "refused/" + m.id(l.Job)
		m.objects = append(m.objects, object)
	}
	previous, err := m.store.NoteRead(m.ctx, l, p, object)
	if j == nil {
		is(r, "NoteRead", err, jobs.ErrLeaseLost)
		return
	}
	is(r, "NoteRead", err, nil)
	same(r, "the object before", previous, j.RefusedObject)
	j.Progress, j.RefusedObject = p, object
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

func (m *model) publish(r *rapid.T) {
	l, j := m.aLease(r)
	p := progresses.Draw(r, "progress")
	var v *lists.Move
	var list *modelList
	var want error
	if rapid.IntRange(0, 3).Draw(r, "move") > 0 {
		var of *modelList
		if j != nil {
			of = j.list
		}
		v = new(lists.Move)
		*v, list, want = m.aMove(r, of)
	}
	if j == nil {
		want = jobs.ErrLeaseLost
	}
	is(r, "Publish", m.store.Publish(m.ctx, l, v, p, m.now), want)
	if want != nil {
		return
	}
	j.end(jobs.Completed, m.now)
	j.Progress = p
	if v != nil {
		list.moved(*v)
	}
}

func (m *model) finish(r *rapid.T) {
	l, j := m.aLease(r)
	p := progresses.Draw(r, "progress")
	err := m.store.FinishJob(m.ctx, l, jobs.Failed, "reason", p, m.now)
	if j == nil {
		is(r, "FinishJob", err, jobs.ErrLeaseLost)
		return
	}
	is(r, "FinishJob", err, nil)
	j.end(jobs.Failed, m.now)
	j.Error, j.Progress = "reason", p
}

func (m *model) retire(r *rapid.T) {
	before := m.now.Add(-rapid.SampledFrom([]time.Duration{-time.Millisecond, 0, time.Second, time.Hour}).Draw(r, "age"))
	n := rapid.IntRange(1, 3).Draw(r, "n")
	got, err := m.store.Retire(m.ctx, before, n)
	is(r, "Retire", err, nil)
	old := 0
	var took []*modelJob
	var want []string
	for _, j := range m.jobs {
		over := j.Status.Ended() && j.Completed.Before(before) || j.Status == jobs.Created && j.uploaded.Before(before)
		if !over || len(j.holds()) == 0 {
			continue
		}
		old++
		if slices.Contains(got, j.holds()[0]) {
			took = append(took, j)
			want = append(want, j.holds()...)
		}
	}
	same(r, "how many jobs were retired", len(took), min(n, old))
	slices.Sort(got)
	slices.Sort(want)
	same(r, "what they gave up", got, want)
	for _, j := range took {
		j.Object, j.RefusedObject = "", ""
	}
}

func (m *model) pass(r *rapid.T) {
	m.now = m.now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 11 * time.Second, 5 * time.Hour}).Draw(r, "time"))
}
