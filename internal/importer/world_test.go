package importer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"sesame/internal/blobs"
	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/listfile"
	"sesame/internal/lists"
	"sesame/internal/metadb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ann = lists.Owner{Account: "111111111111", Region: "us-east-1"}

const (
	// Memory for sorting: the least that takes every entry of these tests, and one
	// that files of many entries do not fit in.
	small    = 4 << 10
	spilling = 128 << 10

	// Entries of a bigFile: so many that progress is noted in the middle of the
	// reading, and so many that it is also in the middle of the merging.
	many = 6_000
	most = 17_000
)

// When the members before an import were made, and those that it makes.
var (
	before = time.UnixMilli(1_600_000_000_000).UTC()
	during = time.UnixMilli(1_700_000_000_000).UTC()
)

// world is a Service on real stores in a folder of their own, with one list.
type world struct {
	t       testing.TB
	ctx     context.Context
	dir     string
	db      *metadb.DB
	objects *blobs.Folder
	store   *store
	log     lockedBuffer
	ids     atomic.Int64
	wakes   atomic.Int64
	list    string
	now     time.Time // by the lists' clock: what is made a member is made then

	// merging is called once, when the next import that changes the list has read
	// its file and is about to merge.
	merging func()

	*importer.Service
}

func newWorld(t testing.TB, memory int) *world {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ctx: context.Background(), dir: dir, now: before}
	if w.objects, err = blobs.OpenFolder(filepath.Join(dir, "objects")); err != nil {
		t.Fatal(err)
	}
	w.Service = &importer.Service{
		Objects: w.objects, Now: time.Now, NewID: w.newID, Wake: func() { w.wakes.Add(1) }, Counted: func(_, _ int64) {},
		Config: importer.Config{Running: 10, MaxBytes: 1 << 30, Memory: memory, SpillDir: filepath.Join(dir, "spill"), Keep: 24 * time.Hour},
		Log:    slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	w.open()
	w.newList()
	return w
}

func (w *world) newID(prefix string) string { return fmt.Sprintf("%s-%026d", prefix, w.ids.Add(1)) }

// newList makes a list, and it the one to import into.
func (w *world) newList() {
	w.t.Helper()
	id := w.newID("al")
	_, err := w.db.CreateList(w.ctx, lists.List{Owner: ann, ID: id, Name: id, Created: before, Updated: before}, lists.ClientToken{}, 1_000_000)
	w.must(err)
	w.list = id
}

// open starts the server, again if it ran, on what is stored.
func (w *world) open() {
	w.t.Helper()
	limits := lists.Limits{Lists: 10, Members: 1_000_000, Tags: 10}
	if w.db != nil {
		limits = w.Lists.Limits
		w.must(w.db.Close())
	}
	db, err := metadb.Open(w.ctx, filepath.Join(w.dir, "sesame.db"))
	w.must(err)
	w.db = db
	noted := map[string]importer.Progress{}
	if w.store != nil {
		noted = w.store.noted
	}
	w.store = &store{Store: db, t: w.t, noted: noted}
	w.Store = w.store
	w.Lists = w.newLists()
	w.Lists.Limits = limits
	w.Lists.NewID = func(prefix string) string {
		if do := w.merging; do != nil {
			w.merging = nil
			do()
		}
		return w.newID(prefix)
	}
	w.must(w.Lists.Clean(w.ctx))
}

// newLists gives a lists.Service that knows of the lists what is stored.
func (w *world) newLists() *lists.Service {
	return &lists.Service{
		Store: w.db, Dir: filepath.Join(w.dir, "members"), Now: func() time.Time { return w.now }, NewID: w.newID,
		Discard: w.Discard, Log: w.Log,
	}
}

// close ends the world and removes it. Nothing that a job did may be left in
// the spill folder, no file that no list is on, and no address in the log.
func (w *world) close() {
	w.t.Helper()
	w.nothingIsLeft()
	w.must(w.db.Close())
	w.must(os.RemoveAll(w.dir))
	if log := w.log.String(); strings.Contains(log, "@") {
		w.t.Errorf("an address is in the log:\n%s", log)
	}
}

// nothingIsLeft says whether the folders hold what is needed and no more.
func (w *world) nothingIsLeft() {
	w.t.Helper()
	same(w.t, "the spill folder", w.folder(w.Config.SpillDir), []string{})
	files, err := w.db.Files(w.ctx)
	w.must(err)
	same(w.t, "the folder of members", w.folder(w.Lists.Dir), append([]string{}, sorted(files)...))
}

// folder gives the names in a folder, none when it is not there.
func (w *world) folder(path string) []string {
	w.t.Helper()
	there, err := os.ReadDir(path)
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	names := []string{}
	for _, e := range there {
		names = append(names, e.Name())
	}
	return names
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) register(entries ...string) {
	w.t.Helper()
	for _, text := range entries {
		w.must(w.Lists.Register(w.ctx, ann, w.list, text))
	}
}

// fold puts the list on a file with all its members, and leaves no changes.
func (w *world) fold() {
	w.t.Helper()
	w.rebuild(func() (lists.Entry, error) { return lists.Entry{}, io.EOF })
}

// rebuild puts the list on a file with all its members and more.
func (w *world) rebuild(next func() (lists.Entry, error)) {
	w.t.Helper()
	_, err := w.Lists.Rebuild(w.ctx, ann, w.list, lists.Plan{
		Mode: lists.Append, Next: next, Exact: 100, Patterns: 100,
		Commit: func(ctx context.Context, m *lists.Move, _ lists.Tally) error { return w.db.Move(ctx, *m) },
	})
	w.must(err)
}

// started makes a job that waits for a worker and adds to the list.
func (w *world) started(f importfile.Format, file []byte) (job string) {
	w.t.Helper()
	return w.ordered(importer.Order{Format: f, Mode: lists.Append}, file)
}

// ordered makes a job for the list that waits for a worker.
func (w *world) ordered(o importer.Order, file []byte) (job string) {
	w.t.Helper()
	o.ListID, o.Name = w.list, "job"
	job, _, err := w.Create(w.ctx, ann, o, lists.ClientToken{})
	w.must(err)
	w.must(w.Upload(w.ctx, job, bytes.NewReader(file), fine))
	w.must(w.Start(w.ctx, ann, job))
	return job
}

func fine(int64) error { return nil }

// work claims the next job and works on it until its end, or ctx's. What it makes
// members is made during.
func (w *world) work(ctx context.Context) {
	w.t.Helper()
	work, err := w.Claim(w.ctx)
	w.must(err)
	if work == nil {
		w.t.Fatal("no job waits")
	}
	w.now = during
	work(ctx)
	w.nothingIsLeft()
}

// idle says that no job waits.
func (w *world) idle() {
	w.t.Helper()
	if work, err := w.Claim(w.ctx); work != nil || err != nil {
		w.t.Errorf("there is work %v, error %v", work != nil, err)
	}
}

func (w *world) job(id string) importer.Job {
	w.t.Helper()
	j, err := w.Get(w.ctx, ann, id)
	w.must(err)
	return j
}

// outcome is all that one can see of an import, but for its phases.
type outcome struct {
	Status   jobs.Status
	Error    string
	Progress importer.Progress
	Members  []member // in order of key
}

// member is one of a list.
type member struct {
	Address string // as shown
	New     bool   // made by an import, and not before
}

// old gives members that were there before.
func old(shown ...string) []member {
	members := []member{}
	for _, s := range shown {
		members = append(members, member{Address: s})
	}
	return members
}

// outcome gives that of a job. Its phases are left to whom they matter.
func (w *world) outcome(job string) outcome {
	w.t.Helper()
	j := w.job(job)
	if j.Status.Ended() == j.Completed.IsZero() {
		w.t.Errorf("the job is %s and was completed at %v", j.Status, j.Completed)
	}
	if j.Status == jobs.Completed && j.Progress.Share != 1 {
		w.t.Errorf("the job is completed and %v of it is done", j.Progress.Share)
	}
	j.Progress.Share, j.Progress.Phases = 0, nil
	if len(j.Progress.Invalid) == 0 {
		j.Progress.Invalid = nil
	}
	return outcome{Status: j.Status, Error: j.Error, Progress: j.Progress, Members: w.members()}
}

// members gives those of the list as the Service has them in memory, and holds
// them to what is stored.
func (w *world) members() []member {
	w.t.Helper()
	read := func(s *lists.Service) []member {
		found := []member{}
		w.must(s.Each(w.ctx, ann, w.list, func(r listfile.Row) error {
			m := member{Address: string(r.Key)}
			if r.Shown != nil {
				m.Address = string(r.Shown)
			}
			switch r.Created {
			case before.UnixMilli():
			case during.UnixMilli():
				m.New = true
			default:
				w.t.Errorf("a member was made at %d", r.Created)
			}
			found = append(found, m)
			return nil
		}))
		return found
	}
	members := read(w.Lists)
	same(w.t, "the members that are stored", read(w.newLists()), members)
	place, err := w.db.Place(w.ctx, ann, w.list)
	w.must(err)
	same(w.t, "how many members are stored", place.Members, int64(len(members)))
	return members
}

// uploaded gives the keys of the objects there are, but for lists of refused lines.
func (w *world) uploaded() (keys []string) {
	w.t.Helper()
	w.must(w.objects.Each(w.ctx, func(key string, _ time.Time) error {
		if !strings.HasPrefix(key, "refused/") {
			keys = append(keys, key)
		}
		return nil
	}))
	return sorted(keys)
}

// bubble runs a test in which waiting takes no time, and which fails if a
// goroutine is left at its end.
func bubble(t *testing.T, name string, run func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, run) })
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if reflect.DeepEqual(got, want) { // is quick where cmp is not
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, head(diff))
	}
}

func head(s string) string { return s[:min(len(s), 2000)] }

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// bigFile is a CSV file of so many addresses and a domain, not in order, with
// duplicates and bad lines, and what becomes of it when the list is empty.
func bigFile(entries int) (file []byte, want outcome) {
	want = outcome{Status: jobs.Completed, Members: make([]member, 0, entries+1)}
	p := &want.Progress
	p.Invalid, p.Read = map[string]int64{}, true
	want.Members = append(want.Members, member{"example.com", true})
	var b bytes.Buffer
	b.WriteString("address\n")
	for n := range entries {
		// 7919 is prime and entries no multiple of it, so each number comes once.
		fmt.Fprintf(&b, "user%05d@example.com\n", n*7919%entries)
		want.Members = append(want.Members, member{fmt.Sprintf("user%05d@example.com", n), true})
		p.Imported++
		if n%10 == 3 {
			fmt.Fprintf(&b, "USER%05d@Example.com\n", n*7919%entries)
			p.Imported++
		}
		if n%100 == 7 {
			b.WriteString("no address\n")
			p.Invalid["domain_character"]++
		}
	}
	b.WriteString("example.com\n")
	p.Imported++
	p.Lines = p.Imported + p.Refused()
	p.Entries = int64(len(want.Members))
	p.Added, p.Members = p.Entries, p.Entries
	return b.Bytes(), want
}

// store is the real Store. It listens to what is noted of jobs, which must never
// go back, and lets tests stand in the way.
type store struct {
	importer.Store
	t testing.TB

	mu    sync.Mutex
	noted map[string]importer.Progress // of each job, the last

	renew   func(do func() error) error // in the way of RenewLease
	read    func(do func() error) error // of NoteRead
	publish func(do func() error) error // of Publish
	finish  func(do func() error) error // of FinishJob
	lost    func()                      // told when a renewal finds that the lease is lost
	dead    atomic.Bool                 // whether it answers no worker any more
}

var errTrouble = errors.New("the store is in trouble at /secret/path")

// call does what a worker asks for.
func (s *store) call(way func(do func() error) error, do func() error) error {
	if s.dead.Load() {
		return errTrouble
	}
	if way == nil {
		return do()
	}
	return way(func() error {
		if s.dead.Load() { // by now
			return errTrouble
		}
		return do()
	})
}

// note holds what is noted of a job to what was noted before.
func (s *store) note(job string, p importer.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.noted[job]
	back := p.Share < last.Share || p.Lines < last.Lines || p.Refused() < last.Refused() || p.Entries < last.Entries || last.Read && !p.Read
	if back || p.Share > 1 {
		s.t.Errorf("%+v was noted of a job after %+v", p, last)
	}
	names := []string{importer.Reading, importer.Merging, importer.Storing}
	for i, phase := range p.Phases {
		if i >= len(names) || phase.Name != names[i] || phase.Seconds < 0 {
			s.t.Errorf("the phases %+v were noted", p.Phases)
		}
	}
	s.noted[job] = p
}

func (s *store) RenewLease(ctx context.Context, l jobs.Lease, until time.Time, p importer.Progress) error {
	err := s.call(s.renew, func() error { return s.Store.RenewLease(ctx, l, until, p) })
	if err == nil {
		s.note(l.Job, p)
		if p.Imported != 0 || p.Members != 0 {
			s.t.Errorf("%+v was noted before the list was changed", p)
		}
	}
	if err == jobs.ErrLeaseLost && s.lost != nil {
		s.lost()
	}
	return err
}

func (s *store) NoteRead(ctx context.Context, l jobs.Lease, p importer.Progress, object string) (previous string, err error) {
	err = s.call(s.read, func() error {
		previous, err = s.Store.NoteRead(ctx, l, p, object)
		if err == nil {
			s.note(l.Job, p)
		}
		return err
	})
	return previous, err
}

func (s *store) Publish(ctx context.Context, l jobs.Lease, m *lists.Move, p importer.Progress, now time.Time) error {
	return s.call(s.publish, func() error {
		err := s.Store.Publish(ctx, l, m, p, now)
		if err == nil {
			s.note(l.Job, p)
		}
		return err
	})
}

func (s *store) FinishJob(ctx context.Context, l jobs.Lease, status jobs.Status, reason string, p importer.Progress, now time.Time) error {
	return s.call(s.finish, func() error {
		err := s.Store.FinishJob(ctx, l, status, reason, p, now)
		if err == nil {
			s.note(l.Job, p)
		}
		return err
	})
}

func (s *store) ReleaseLease(ctx context.Context, l jobs.Lease) error {
	return s.call(nil, func() error { return s.Store.ReleaseLease(ctx, l) })
}

// troubled are Objects that somebody interferes with.
type troubled struct {
	importer.Objects
	open      func(n int, key string) (io.ReadCloser, error)
	opened    int
	deleteErr error
}

func (o *troubled) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	n := o.opened
	o.opened++
	if o.open == nil {
		return o.Objects.Open(ctx, key)
	}
	return o.open(n, key)
}

func (o *troubled) Delete(ctx context.Context, key string) error {
	if o.deleteErr != nil {
		return o.deleteErr
	}
	return o.Objects.Delete(ctx, key)
}

// inTheMiddle has do called once, when two thirds of file, the next upload to be
// opened, have been read: more than is read before the first line is given.
func (w *world) inTheMiddle(file []byte, do func()) {
	w.Objects = &troubled{Objects: w.objects, open: func(_ int, key string) (io.ReadCloser, error) {
		w.Objects = w.objects
		r, err := w.objects.Open(w.ctx, key)
		return &paused{ReadCloser: r, after: len(file) / 3 * 2, pause: do}, err
	}}
}

// in has do called once, while the next job, of file, is in a phase: in the
// middle of the file, when the merging begins, and when all is stored but for the
// list's being moved.
func (w *world) in(phase string, file []byte, do func()) {
	switch phase {
	case importer.Reading:
		w.inTheMiddle(file, do)
	case importer.Merging:
		w.merging = do
	case importer.Storing:
		w.store.publish = func(publish func() error) error {
			w.store.publish = nil
			do()
			return publish()
		}
	}
}

var phases = []string{importer.Reading, importer.Merging, importer.Storing}

// paused is a reader that pauses once.
type paused struct {
	io.ReadCloser
	after int
	pause func()
}

func (p *paused) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b[:min(len(b), 4<<10)])
	if p.after -= n; p.after < 0 && p.pause != nil {
		do := p.pause
		p.pause = nil
		do()
	}
	return n, err
}

// lockedBuffer is a log that workers write while the test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
