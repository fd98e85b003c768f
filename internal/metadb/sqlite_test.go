package metadb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mattn/go-sqlite3"
	"go.uber.org/goleak"

	"sesame/internal/iam"
	"sesame/internal/importer"
	"sesame/internal/jobs"
	"sesame/internal/keyfile"
	"sesame/internal/lists"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openAt(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// The slowest tests run beside each other.

func TestSQLite(t *testing.T) {
	t.Parallel()
	testStore(t, openSQLite)
}

func TestModel(t *testing.T) {
	t.Parallel()
	modelCheck(t, openSQLite)
}

func openSQLite(t *testing.T) (store, func() store) {
	path := filepath.Join(t.TempDir(), "sesame.db")
	db := openAt(t, path)
	return db, func() store {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		db = openAt(t, path)
		return db
	}
}

// Two processes may have the file open: what one commits the other sees.
func TestTwoHandles(t *testing.T) {
	twoHandles := func(t *testing.T) (f *fixture, one, two *DB) {
		path := filepath.Join(t.TempDir(), "sesame.db")
		one, two = openAt(t, path), openAt(t, path)
		t.Cleanup(func() {
			if err := errors.Join(one.Close(), two.Close()); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		return &fixture{T: t, store: one, ctx: context.Background(), now: start}, one, two
	}
	for _, race := range races {
		t.Run(race.name, func(t *testing.T) {
			f, _, two := twoHandles(t)
			race.run(f, two)
		})
	}
	t.Run("by turns", func(t *testing.T) {
		f, one, two := twoHandles(t)
		list := f.newList(ann, "a")
		n := f.place(ann, list).N
		for i := range 20 {
			f.store = []store{one, two}[i%2]
			f.add(ann, list, fmt.Sprintf("%d@example.com", i))
			folded := int64(i / 5 * 5)
			if i%5 == 4 {
				folded = int64(i + 1)
				f.is("Move", f.Move(f.ctx, *f.move(ann, list, folded)), nil)
			}
			f.store = []store{two, one}[i%2]
			f.purgeAll(3)
			f.same("the changes", f.seqs(n, 0), numbers(folded+1, int64(i+1)))
		}
		f.store = one
		f.started(ann, list)
		j, lease := f.claim("w1")
		if j.ID == "" {
			t.Fatal("no job to claim")
		}
		f.store = two
		if j, _ := f.claim("w2"); j.ID != "" {
			t.Error("two handles gave a job to two workers")
		}
		if err := two.ReleaseLeases(f.ctx); err != nil {
			t.Fatal(err)
		}
		f.is("Publish after ReleaseLeases", one.Publish(f.ctx, lease, nil, importer.Progress{}, f.now), jobs.ErrLeaseLost)
		if again, _ := f.claim("w3"); again.ID != j.ID {
			t.Errorf("after ReleaseLeases %q was claimed, want %q", again.ID, j.ID)
		}
		f.is("Ping", two.Ping(f.ctx), nil)
	})
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a b.db", "a%41.db", "a?mode=ro.db", "a#b.db", "a&b;c.db", "ä.db", "'.db"} {
		path := filepath.Join(dir, name)
		db := openAt(t, path)
		if err := db.Close(); err != nil {
			t.Errorf("%s: Close: %v", name, err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	earlier, later := filepath.Join(dir, "earlier.db"), filepath.Join(dir, "later.db")
	for path, version := range map[string]int{earlier: 1, later: 6} {
		db := openAt(t, path)
		if _, err := db.write.Exec(fmt.Sprint("PRAGMA user_version = ", version)); err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is not a database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct{ path, want string }{
		{earlier, "version 1 and this Sesame knows 5: start the Sesame that wrote it"},
		{later, "version 6 and this Sesame knows 5: start the Sesame that wrote it"},
		{text, "not a database"},
		{filepath.Join(dir, "none", "x.db"), "unable to open"},
	} {
		db, err := Open(context.Background(), bad.path)
		if err == nil {
			db.Close()
		}
		if err == nil || !strings.Contains(err.Error(), bad.want) || !strings.Contains(err.Error(), bad.path) {
			t.Errorf("Open %s: error %v, want the path and %q", bad.path, err, bad.want)
		}
	}
}

// A commit is on disk when it returns, and readers do not wait for the writer.
func TestPragmas(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "sesame.db"))
	defer db.Close()
	for _, want := range []struct {
		db     *sql.DB
		pragma string
		want   string
	}{
		{db.write, "journal_mode", "wal"}, {db.write, "synchronous", "2"}, {db.write, "busy_timeout", "10000"},
		{db.read, "query_only", "1"}, {db.read, "busy_timeout", "10000"},
	} {
		var got string
		if err := want.db.QueryRow("PRAGMA " + want.pragma).Scan(&got); err != nil || got != want.want {
			t.Errorf("%s is %q, %v; want %q", want.pragma, got, err, want.want)
		}
	}
	tx, err := db.write.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("INSERT INTO deleted_lists VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := db.Lists(ctx, ann, "", 10); err != nil {
		t.Errorf("a reader beside the writer: %v", err)
	}
}

// A method whose context has ended changes nothing and leaves a store that works.
func TestCancelled(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "sesame.db"))
	f := &fixture{T: t, store: db, ctx: context.Background(), now: start}
	defer db.Close()
	list := f.newList(ann, "a")
	lease := f.working(ann, list)
	before := f.all(ann, list)
	p := f.place(ann, list)
	c := lists.Change{Seq: 1, Key: "a@example.com", Created: f.now}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	_, changesErr := f.Changes(cancelled, p.N, 0)
	_, placeErr := f.Place(cancelled, ann, list)
	_, retireErr := f.Retire(cancelled, f.now.Add(time.Hour), 1)
	for name, err := range map[string]error{
		"AddChange": f.AddChange(cancelled, p.N, c, 1, f.now),
		"Changes":   changesErr,
		"Place":     placeErr,
		"Retire":    retireErr,
		"Move":      f.Move(cancelled, *f.move(ann, list, 1)),
		"Publish":   f.Publish(cancelled, lease, f.move(ann, list, 1), importer.Progress{}, f.now),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v, want %v", name, err, context.Canceled)
		}
	}
	f.same("the list", f.all(ann, list), before)
	f.is("AddChange", f.AddChange(f.ctx, p.N, c, 1, f.now), nil)
	f.same("the changes", f.changes(p.N, 0), []lists.Change{c})
}

// A purge takes little at a time, and the pages come back for others to use.
func TestPurgeFreesSpace(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "sesame.db"))
	defer db.Close()
	f := &fixture{T: t, store: db, ctx: context.Background(), now: start}
	count := func(query string) (n int) {
		t.Helper()
		if err := db.read.QueryRow(query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const changes, free, pages = "SELECT count(*) FROM changes", "PRAGMA freelist_count", "PRAGMA page_count"
	fill := func(n int64, from, to int) {
		t.Helper()
		// As AddChange does, but without its sync for each.
		_, err := db.write.Exec(`WITH RECURSIVE s (seq) AS (VALUES (?2) UNION ALL SELECT seq + 1 FROM s WHERE seq < ?3)
			INSERT INTO changes SELECT ?1, seq, printf('%.250c@example.com', 'a'), '', 0, 0 FROM s`, n, from, to)
		if err != nil {
			t.Fatal(err)
		}
	}
	const gone, folded, kept = 1000, 900, 100
	for n, size := range []int{0, gone, 5} {
		id := f.newList(ann, fmt.Sprint("n", n))
		if size > 0 {
			fill(f.place(ann, id).N, 1, size)
		}
		if _, err := f.DeleteList(f.ctx, ann, id); err != nil {
			t.Fatal(err)
		}
	}
	list := f.newList(ann, "kept")
	p := f.place(ann, list)
	fill(p.N, 1, folded+kept)
	f.is("Move", f.Move(f.ctx, lists.Move{List: p.N, To: "file", Folded: folded}), nil)

	const step = 64
	size, calls := count(pages), 0
	for before, more := count(changes), true; more; calls++ {
		if calls > 200 {
			t.Fatal("PurgeChanges does not come to an end")
		}
		var err error
		if more, err = f.PurgeChanges(f.ctx, step); err != nil {
			t.Fatal(err)
		}
		now := count(changes)
		if before-now > step {
			t.Fatalf("a purge of %d took %d", step, before-now)
		}
		before = now
	}
	if n, lists := count(changes), count("SELECT count(*) FROM deleted_lists"); n != kept || lists != 0 {
		t.Errorf("%d changes and %d deleted lists are left, want %d and 0", n, lists, kept)
	}
	f.same("the changes that are left", f.seqs(p.N, 0), numbers(folded+1, folded+kept))
	// Each change takes some 280 of a page's 4,096 bytes.
	if n, least := count(free), (gone+folded)/20; n < least {
		t.Errorf("%d of %d pages are free after %d purges, want %d or more", n, size, calls, least)
	}
	fill(p.N, 5000, 5000+gone)
	if now := count(pages); now > size {
		t.Errorf("the file grew from %d pages to %d, though pages were free", size, now)
	}
}

// A write-ahead log that readers kept from shrinking is shortened when they have
// gone.
func TestTidy(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "sesame.db")
	db := openAt(t, path)
	defer db.Close()
	if err := db.Tidy(ctx); err != nil {
		t.Errorf("Tidy with nothing to do: %v", err)
	}
	reader, err := db.read.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := reader.QueryRow("SELECT count(*) FROM lists").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if _, err := db.write.Exec("CREATE TABLE ballast AS SELECT zeroblob(?) AS b", largestWAL); err != nil {
		t.Fatal(err)
	}
	if _, err := db.write.Exec("DROP TABLE ballast"); err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if size() < largestWAL {
		t.Fatalf("the log has %d bytes", size())
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := db.Tidy(ctx); err != nil || size() != 0 {
		t.Errorf("after Tidy the log has %d bytes, error %v", size(), err)
	}
}

// recorder is a connection that notes what is asked of it.
type recorder struct {
	*sqlite3.SQLiteConn
	note func(query string, args []driver.NamedValue)
}

func (c recorder) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.note(query, slices.Clone(args))
	return c.SQLiteConn.QueryContext(ctx, query, args)
}

func (c recorder) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.note(query, slices.Clone(args))
	return c.SQLiteConn.ExecContext(ctx, query, args)
}

type recording struct {
	path string
	note func(string, []driver.NamedValue)
}

func (r recording) Connect(context.Context) (driver.Conn, error) {
	c, err := (&sqlite3.SQLiteDriver{}).Open(r.path)
	if err != nil {
		return nil, err
	}
	return recorder{c.(*sqlite3.SQLiteConn), r.note}, nil
}

func (recording) Driver() driver.Driver { return &sqlite3.SQLiteDriver{} }

// What is asked while mail arrives, what workers ask all the time, and what
// housekeeping asks is found by an index, whatever the size of the tables.
func TestQueryPlans(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "sesame.db")
	db := openAt(t, path)
	defer db.Close()
	f := &fixture{T: t, store: db, ctx: ctx, now: start}
	list := f.newList(ann, "a")
	p := f.add(ann, list, some(3)...)
	lease := f.working(ann, f.newList(ann, "b"))
	report := f.working(ann, f.newList(ann, "c"))
	job := f.started(ann, list)
	if _, err := f.NoteRead(ctx, report, importer.Progress{}, "refused/c"); err != nil {
		t.Fatal(err)
	}
	f.publish(report)

	type statement struct {
		query string
		args  []driver.NamedValue
	}
	var asked []statement
	note := func(query string, args []driver.NamedValue) {
		if query != "" && !strings.HasPrefix(query, "BEGIN") && query != "COMMIT" && query != "ROLLBACK" {
			asked = append(asked, statement{query, args})
		}
	}
	recorded := &DB{
		write: sql.OpenDB(recording{path + "?_txlock=immediate", note}),
		read:  sql.OpenDB(recording{path, note}),
	}
	recorded.write.SetMaxOpenConns(1)
	defer recorded.Close()

	// All that may be walked: what has few rows by its nature.
	few := regexp.MustCompile(`^SCAN ((j|import_jobs) USING INDEX import_jobs_to_do` + // jobs that are PROCESSING
		`|deleted_lists|[0-9]+-ROW VALUES CLAUSE|CONSTANT ROW)$`)
	const byID, listByID = "SEARCH import_jobs USING PRIMARY KEY (id=?)", "SEARCH lists USING INDEX sqlite_autoindex_lists_1 (id=?)"
	for _, call := range []struct {
		name string
		walk string   // a table that may be walked besides
		uses []string // parts of the plan
		do   func() error
	}{
		{"List", "", []string{listByID}, func() error { _, err := recorded.List(ctx, ann, list); return err }},
		{"Lists", "", []string{"SEARCH lists USING INDEX lists_by_owner (account=? AND region=? AND id>?)"}, func() error { _, err := recorded.Lists(ctx, ann, "", 10); return err }},
		{"SetTags", "", []string{listByID}, func() error { return recorded.SetTags(ctx, ann, list, map[string]string{"a": "b"}, nil, many, start) }},
		{"Place", "", []string{listByID}, func() error { _, err := recorded.Place(ctx, ann, list); return err }},
		{"Changes", "", []string{"SEARCH changes USING PRIMARY KEY (list=? AND seq>?)"}, func() error { _, err := recorded.Changes(ctx, p.N, 1); return err }},
		{"AddChange", "", []string{"SEARCH lists USING INTEGER PRIMARY KEY (rowid=?)"}, func() error {
			return recorded.AddChange(ctx, p.N, lists.Change{Seq: 4, Key: "k", Created: start}, 4, start)
		}},
		{"LongLists", "lists", []string{"SEARCH changes USING PRIMARY KEY (list=?)"}, func() error { _, err := recorded.LongLists(ctx, 10); return err }},
		{"Move", "", []string{"SEARCH lists USING INTEGER PRIMARY KEY (rowid=?)"}, func() error {
			return recorded.Move(ctx, lists.Move{List: p.N, To: "file", Folded: 2})
		}},
		{"Move of a list on another file", "", []string{"SEARCH lists USING INTEGER PRIMARY KEY (rowid=?)"}, func() error {
			if err := recorded.Move(ctx, lists.Move{List: p.N, From: "another", To: "x"}); !errors.Is(err, lists.ErrMoved) {
				return fmt.Errorf("error %v, want %v", err, lists.ErrMoved)
			}
			return nil
		}},
		{"Files", "lists", nil, func() error { _, err := recorded.Files(ctx); return err }},
		{"PurgeChanges", "lists", []string{"SEARCH changes USING PRIMARY KEY (list=? AND seq<?)", "SEARCH changes USING PRIMARY KEY (list=? AND seq=?)"}, func() error {
			more, err := recorded.PurgeChanges(ctx, 10)
			if !more {
				return errors.Join(err, errors.New("nothing to purge"))
			}
			return err
		}},
		{"PurgeChanges of a list that is gone", "lists", []string{"SEARCH deleted_lists USING INTEGER PRIMARY KEY (rowid=?)"}, func() error {
			if _, err := recorded.write.Exec("INSERT INTO deleted_lists VALUES (99)"); err != nil {
				return err
			}
			_, err := recorded.PurgeChanges(ctx, 10)
			return err
		}},
		{"Job", "", []string{byID}, func() error { _, err := recorded.Job(ctx, ann, job); return err }},
		{"Jobs", "", []string{"SEARCH import_jobs USING INDEX import_jobs_by_list (list=? AND id<?)"}, func() error { _, err := recorded.Jobs(ctx, ann, list, job+"x", 10); return err }},
		{"Uploadable", "", []string{byID}, func() error { recorded.Uploadable(ctx, job); return nil }},
		{"AttachUpload", "", []string{byID}, func() error {
			_, err := recorded.AttachUpload(ctx, f.newJob(ann, list), "imports/x", 1, f.now)
			return err
		}},
		{"RefusedObject", "", []string{byID}, func() error { _, err := recorded.RefusedObject(ctx, report.Job); return err }},
		{"ObjectNeeded", "", []string{byID}, func() error {
			_, err := recorded.ObjectNeeded(ctx, "imports/"+job+"-1")
			return err
		}},
		{"StartJob", "", []string{byID, "import_jobs_to_do"}, func() error {
			id := f.newJob(ann, list)
			f.upload(id)
			if err := recorded.StartJob(ctx, ann, id, many, start); err != nil {
				return err
			}
			_, err := f.StopJob(ctx, ann, id, start)
			return err
		}},
		{"ClaimJob", "", []string{"j USING INDEX import_jobs_to_do", "SEARCH k USING INDEX import_jobs_to_do (list=?)"}, func() error {
			_, ok, err := recorded.ClaimJob(ctx, "w", f.now, f.now.Add(leaseTime))
			if !ok {
				return errors.Join(err, errors.New("nothing to claim"))
			}
			return err
		}},
		{"RenewLease", "", []string{byID}, func() error { return recorded.RenewLease(ctx, lease, f.now.Add(leaseTime), importer.Progress{}) }},
		{"NoteRead", "", []string{byID}, func() error { _, err := recorded.NoteRead(ctx, lease, importer.Progress{}, ""); return err }},
		{"Publish", "", []string{byID, "SEARCH lists USING INTEGER PRIMARY KEY (rowid=?)"}, func() error {
			return recorded.Publish(ctx, lease, &lists.Move{List: p.N, From: "file", To: "next", Folded: 3, Now: start}, importer.Progress{}, start)
		}},
		{"FinishJob", "", []string{byID}, func() error {
			return recorded.FinishJob(ctx, jobs.Lease{Job: job, Owner: "w"}, jobs.Failed, "", importer.Progress{}, start)
		}},
		{"Retire", "", []string{"SEARCH import_jobs USING INDEX import_jobs_to_retire (<expr><?)", byID}, func() error {
			objects, err := recorded.Retire(ctx, start.Add(time.Hour), 1)
			if len(objects) == 0 {
				return errors.Join(err, errors.New("nothing to retire"))
			}
			return err
		}},
		{"DeleteList", "", []string{"SEARCH import_jobs USING INDEX import_jobs_by_list (list=?)"}, func() error { _, err := recorded.DeleteList(ctx, ann, list); return err }},
		{"a client token", "", []string{"SEARCH client_tokens USING INDEX client_tokens_by_age (made<?)", "SEARCH client_tokens USING PRIMARY KEY (account=? AND region=? AND operation=? AND token=?)"}, func() error {
			token := "token"
			_, err := recorded.CreateList(ctx, lists.List{Owner: ann, ID: f.id("al"), Name: "d", Created: f.now, Updated: f.now}, lists.NewClientToken(&token, []byte("p"), f.now), many)
			return err
		}},
	} {
		asked = nil
		if err := call.do(); err != nil {
			t.Errorf("%s: %v", call.name, err)
		}
		var plan []string
		for _, s := range asked {
			plan = append(plan, explain(t, db.read, s.query, s.args)...)
		}
		text := strings.Join(plan, "\n")
		for _, use := range call.uses {
			if !strings.Contains(text, use) {
				t.Errorf("%s does not do %s, but\n%s", call.name, use, text)
			}
		}
		for _, step := range plan {
			if strings.HasPrefix(step, "SCAN") && !few.MatchString(step) && step != "SCAN "+call.walk {
				t.Errorf("%s does %s\n%s", call.name, step, text)
			}
			if strings.Contains(step, "TEMP B-TREE") && call.name != "ClaimJob" { // which sorts the few jobs that wait
				t.Errorf("%s sorts: %s\n%s", call.name, step, text)
			}
		}
	}
}

func explain(t *testing.T, db *sql.DB, query string, named []driver.NamedValue) (steps []string) {
	t.Helper()
	var args []any
	for _, a := range named {
		args = append(args, a.Value)
	}
	rows, err := db.Query("EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	return steps
}

func newKeys(t *testing.T) (keys AccessKeys, path string) {
	t.Helper()
	dir := t.TempDir()
	file, err := keyfile.Open(filepath.Join(dir, "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "sesame.db")
	return AccessKeys{DB: openAt(t, path), File: file}, path
}

func newKey(t *testing.T, account, name string, created time.Time) iam.Key {
	t.Helper()
	k, err := iam.NewKey(rand.Reader, account, name, iam.AdministratorPolicy, created)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// fields are an access key's, which shows as its ID only.
func fields(k iam.Key) []any {
	return []any{k.ID, k.Account, k.Name, k.Policy, k.Disabled, k.Created, k.Secret}
}

func TestAccessKeys(t *testing.T) {
	ctx := context.Background()
	keys, _ := newKeys(t)
	defer keys.DB.Close()
	second := newKey(t, ann.Account, "second", start.Add(time.Second))
	first := newKey(t, ann.Account, "first", start)
	other := newKey(t, bob.Account, "", start.Add(2*time.Second))
	disabled := newKey(t, bob.Account, "disabled", start.Add(3*time.Second))
	disabled.Disabled = true
	for _, k := range []iam.Key{second, first, other, disabled} {
		if err := keys.Add(ctx, k); err != nil {
			t.Fatal(err)
		}
	}
	if err := keys.Add(ctx, first); err == nil {
		t.Error("a key was added twice")
	}
	for _, want := range []iam.Key{first, second, other, disabled} {
		got, err := keys.Find(ctx, want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fields(want), fields(got)); diff != "" {
			t.Errorf("the key (-want +got):\n%s", diff)
		}
	}
	all := func(account string) (ids []string) {
		found, err := keys.All(ctx, account)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range found {
			ids = append(ids, k.ID)
		}
		return ids
	}
	for _, want := range []struct {
		account string
		ids     []string
	}{
		{ann.Account, []string{first.ID, second.ID}},
		{bob.Account, []string{other.ID, disabled.ID}},
		{"", []string{first.ID, second.ID, other.ID, disabled.ID}},
		{"333333333333", nil},
	} {
		if diff := cmp.Diff(want.ids, all(want.account)); diff != "" {
			t.Errorf("the keys of %q (-want +got):\n%s", want.account, diff)
		}
	}
	for range 2 {
		if err := keys.Disable(ctx, first.ID); err != nil {
			t.Errorf("Disable: %v", err)
		}
	}
	if k, err := keys.Find(ctx, first.ID); err != nil || !k.Disabled {
		t.Errorf("a key that was disabled: %v, %v", k.Disabled, err)
	}
	if k, err := keys.Find(ctx, second.ID); err != nil || k.Disabled {
		t.Errorf("another key: %v, %v", k.Disabled, err)
	}
	if err := keys.Delete(ctx, first.ID); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if diff := cmp.Diff([]string{second.ID}, all(ann.Account)); diff != "" {
		t.Errorf("the keys after Delete (-want +got):\n%s", diff)
	}
	for name, err := range map[string]error{
		"Find":    func() error { _, err := keys.Find(ctx, first.ID); return err }(),
		"Disable": keys.Disable(ctx, first.ID),
		"Delete":  keys.Delete(ctx, first.ID),
	} {
		if !errors.Is(err, ErrNoKey) {
			t.Errorf("%s of a key that is gone: error %v, want %v", name, err, ErrNoKey)
		}
	}
}

// Whoever has the database and not the key file has no secret.
func TestAccessKeysAreSealed(t *testing.T) {
	ctx := context.Background()
	keys, path := newKeys(t)
	k, moved := newKey(t, ann.Account, "k", start), newKey(t, ann.Account, "moved", start)
	for _, k := range []iam.Key{k, moved} {
		if err := keys.Add(ctx, k); err != nil {
			t.Fatal(err)
		}
	}
	found := func() (secret, id bool) {
		files, err := filepath.Glob(path + "*")
		if err != nil || len(files) == 0 {
			t.Fatalf("the files of the database are %v, %v", files, err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			secret = secret || strings.Contains(string(b), k.Secret)
			id = id || strings.Contains(string(b), k.ID)
		}
		return secret, id
	}
	if secret, id := found(); secret || !id {
		t.Errorf("in the log: the secret %v, the id %v; want false, true", secret, id)
	}
	if _, err := keys.DB.write.Exec("UPDATE access_keys SET secret = (SELECT secret FROM access_keys WHERE id = ?) WHERE id = ?", k.ID, moved.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Find(ctx, moved.ID); err == nil {
		t.Error("a sealed secret was moved to another key")
	}
	keys.DB.Close()
	if secret, id := found(); secret || !id {
		t.Errorf("in the file: the secret %v, the id %v; want false, true", secret, id)
	}

	other, err := keyfile.Open(filepath.Join(t.TempDir(), "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	stolen := AccessKeys{DB: openAt(t, path), File: other}
	defer stolen.DB.Close()
	_, err = stolen.Find(ctx, k.ID)
	_, allErr := stolen.All(ctx, "")
	for _, err := range []error{err, allErr} {
		if err == nil || !strings.Contains(err.Error(), "put back the secret.key that belongs to the data folder") || errors.Is(err, ErrNoKey) {
			t.Errorf("with another key file: error %v", err)
		}
	}
}
