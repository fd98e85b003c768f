package importer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sesame/internal/address"
	"sesame/internal/blobs"
	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
	"sesame/internal/metadb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ann = lists.Owner{Account: "111111111111", Region: "us-east-1"}

// world is a Service on real stores in a folder of their own, with one list.
type world struct {
	t       testing.TB
	ctx     context.Context
	dir     string
	db      *metadb.DB
	objects *blobs.Folder
	log     lockedBuffer
	ids     atomic.Int64
	wakes   atomic.Int64
	list    string

	*importer.Service
}

func newWorld(t testing.TB, c importer.Config) *world {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ctx: context.Background(), dir: dir}
	if w.objects, err = blobs.OpenFolder(filepath.Join(dir, "objects")); err != nil {
		t.Fatal(err)
	}
	if c.Members == 0 {
		c.Members = 1_000_000
	}
	c.Running, c.MaxBytes, c.SpillDir = 10, 1<<30, filepath.Join(dir, "spill")
	w.Service = &importer.Service{
		Objects: w.objects, Config: c, Now: time.Now, Wake: func() { w.wakes.Add(1) }, Counted: func(_, _ int64) {},
		NewID: func(prefix string) string { return fmt.Sprintf("%s-%026d", prefix, w.ids.Add(1)) },
		Log:   slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	w.open()
	l := lists.List{Owner: ann, ID: w.NewID("al"), Name: "list", Created: time.Now(), Updated: time.Now()}
	w.list, err = w.db.CreateList(w.ctx, l, lists.ClientToken{}, 10)
	w.must(err)
	return w
}

// open opens the database, again if it was open.
func (w *world) open() {
	w.t.Helper()
	if w.db != nil {
		w.must(w.db.Close())
	}
	db, err := metadb.Open(w.ctx, filepath.Join(w.dir, "sesame.db"))
	w.must(err)
	w.db, w.Store = db, db
}

// close ends the world and removes it. Nothing that a job did may be left in
// the spill folder, and no address in the log.
func (w *world) close() {
	w.t.Helper()
	w.spillIsEmpty()
	w.must(w.db.Close())
	w.must(os.RemoveAll(w.dir))
	if log := w.log.String(); strings.Contains(log, "@") {
		w.t.Errorf("an address is in the log:\n%s", log)
	}
}

func (w *world) spillIsEmpty() {
	w.t.Helper()
	left, err := os.ReadDir(w.Config.SpillDir)
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	for _, e := range left {
		w.t.Errorf("left in the spill folder: %s", e.Name())
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func entryOf(t testing.TB, text string) address.Entry {
	t.Helper()
	e, err := address.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (w *world) register(entries ...string) {
	w.t.Helper()
	for _, text := range entries {
		e, err := address.Parse(text)
		w.must(err)
		w.must(w.db.AddMember(w.ctx, ann, w.list, e, 1_000_000, time.Now()))
	}
}

// started makes a job that waits for a worker.
func (w *world) started(f importfile.Format, file []byte) (job string) {
	w.t.Helper()
	job, _, err := w.Create(w.ctx, ann, w.list, "job", f, lists.ClientToken{})
	w.must(err)
	w.must(w.Upload(w.ctx, job, bytes.NewReader(file), func(int64) error { return nil }))
	w.must(w.Start(w.ctx, ann, job))
	return job
}

// work claims the next job and works on it until its end, or ctx's.
func (w *world) work(ctx context.Context) {
	w.t.Helper()
	work, err := w.Claim(w.ctx)
	w.must(err)
	if work == nil {
		w.t.Fatal("no job waits")
	}
	work(ctx)
	w.spillIsEmpty()
}

func (w *world) job(id string) importer.Job {
	w.t.Helper()
	j, err := w.Get(w.ctx, ann, id)
	w.must(err)
	return j
}

// outcome is all that one can see of an import.
type outcome struct {
	Status           jobs.Status
	Imported, Failed int64
	Error            string
	Members          []string // as shown, in order of key
	Kinds            address.Kinds
}

func (w *world) outcome(job string) outcome {
	w.t.Helper()
	j := w.job(job)
	l, err := w.db.List(w.ctx, ann, w.list)
	w.must(err)
	members, err := w.db.Members(w.ctx, ann, w.list, "", "", 1_000_000)
	w.must(err)
	if l.Members != int64(len(members)) {
		w.t.Errorf("the list says that it has %d members and has %d", l.Members, len(members))
	}
	o := outcome{Status: j.Status, Imported: j.Imported, Failed: j.Failed, Error: j.Error, Kinds: l.Kinds, Members: []string{}}
	for _, m := range members {
		o.Members = append(o.Members, m.Address)
	}
	if j.Status.Ended() == j.Completed.IsZero() {
		w.t.Errorf("the job is %s and was completed at %v", j.Status, j.Completed)
	}
	return o
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
	return keys
}

// bigFile is a CSV file of more entries than two transactions take, not in
// order, with duplicates and bad lines, and what becomes of it.
func bigFile() (file []byte, want outcome) {
	const entries = 22_000
	want = outcome{Status: jobs.Completed, Kinds: address.Exact | address.Domain, Members: make([]string, 0, entries)}
	var b bytes.Buffer
	b.WriteString("address\n")
	for n := range entries {
		// 7919 has no factor in common with 22000, so each number comes once.
		fmt.Fprintf(&b, "user%05d@example.com\n", n*7919%entries)
		want.Members = append(want.Members, fmt.Sprintf("user%05d@example.com", n))
		want.Imported++
		if n%10 == 3 {
			fmt.Fprintf(&b, "USER%05d@Example.com\n", n*7919%entries)
			want.Imported++
		}
		if n%100 == 7 {
			b.WriteString("no address\n")
			want.Failed++
		}
	}
	b.WriteString("example.com\n")
	want.Imported++
	want.Members = slices.Insert(want.Members, 0, "example.com")
	return b.Bytes(), want
}

// linesUpTo gives how many lines of bigFile stand for its first n entries.
func linesUpTo(n int) int64 {
	lines := int64(0)
	if n > 0 {
		lines, n = 1, n-1 // example.com comes first and once
	}
	const entries = 22_000
	twice := map[int]bool{}
	for i := 3; i < entries; i += 10 {
		twice[i*7919%entries] = true
	}
	for user := range n {
		lines++
		if twice[user] {
			lines++
		}
	}
	return lines
}

// interfered is a Store whose batches somebody interferes with.
type interfered struct {
	importer.Store
	batches int // that were to be applied
	// apply is called for each, with its number from 0 and what applies it.
	apply func(n int, do func() error) error
	lost  func() // told when a renewal finds that the lease is lost
}

func (i *interfered) ApplyBatch(ctx context.Context, l jobs.Lease, b importer.Batch) error {
	n := i.batches
	i.batches++
	if i.apply == nil {
		return i.Store.ApplyBatch(ctx, l, b)
	}
	return i.apply(n, func() error { return i.Store.ApplyBatch(ctx, l, b) })
}

func (i *interfered) RenewLease(ctx context.Context, l jobs.Lease, until time.Time, failed int64) error {
	err := i.Store.RenewLease(ctx, l, until, failed)
	if err == jobs.ErrLeaseLost && i.lost != nil {
		i.lost()
	}
	return err
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
