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

func TestSQLite(t *testing.T) {
	testStore(t, func(t *testing.T) (store, func() store) {
		path := filepath.Join(t.TempDir(), "sesame.db")
		db := openAt(t, path)
		return db, func() store {
			if err := db.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			db = openAt(t, path)
			return db
		}
	})
}

// Two processes may have the file open: what one commits the other sees.
func TestTwoHandles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sesame.db")
	one, two := openAt(t, path), openAt(t, path)
	defer one.Close()
	defer two.Close()
	f := &fixture{T: t, store: one, ctx: context.Background(), now: start}
	list := f.newList(ann, "a")
	for n := range 20 {
		f.add(ann, list, fmt.Sprintf("%d@example.com", n))
		f.store = map[bool]store{true: one, false: two}[n%2 == 0]
		f.same("how many members there are", len(f.all(ann, list)), n+1)
	}
	f.started(ann, list)
	j, _ := f.claim("w1")
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
	if again, _ := f.claim("w3"); again.ID != j.ID {
		t.Errorf("after ReleaseLeases %q was claimed, want %q", again.ID, j.ID)
	}
	if err := two.Ping(f.ctx); err != nil {
		t.Errorf("Ping: %v", err)
	}
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

	later := filepath.Join(dir, "later.db")
	db := openAt(t, later)
	if _, err := db.write.Exec("PRAGMA user_version = 2"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is not a database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct{ path, want string }{
		{later, "version 2 and this Sesame knows 1: start the Sesame that wrote it"},
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
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.AddMember(cancelled, ann, list, entry(t, "a@example.com"), far, f.now); !errors.Is(err, context.Canceled) {
		t.Errorf("AddMember: error %v, want %v", err, context.Canceled)
	}
	if _, err := f.Members(cancelled, ann, list, "", "", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Members: error %v, want %v", err, context.Canceled)
	}
	f.same("the members", f.all(ann, list), []string{})
	f.add(ann, list, "a@example.com")
	f.same("the members", f.all(ann, list), []string{"a@example.com"})
}

func TestPurgeFreesSpace(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "sesame.db"))
	defer db.Close()
	f := &fixture{T: t, store: db, ctx: context.Background(), now: start}
	count := func(query string) (n int) {
		if err := db.read.QueryRow(query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for n, size := range []int{0, 23, 5} {
		id := f.newList(ann, fmt.Sprint("n", n))
		for m := range size {
			f.add(ann, id, fmt.Sprintf("%d@example.com", m))
		}
		if _, err := f.DeleteList(f.ctx, ann, id); err != nil {
			t.Fatal(err)
		}
	}
	f.add(ann, f.newList(ann, "kept"), "a@example.com")
	for before := count("SELECT count(*) FROM members"); ; {
		more, err := f.PurgeMembers(f.ctx, 4)
		if err != nil {
			t.Fatal(err)
		}
		now := count("SELECT count(*) FROM members")
		if before-now > 4 {
			t.Fatalf("a purge of 4 took %d", before-now)
		}
		before = now
		if !more {
			break
		}
	}
	if n, lists := count("SELECT count(*) FROM members"), count("SELECT count(*) FROM deleted_lists"); n != 1 || lists != 0 {
		t.Errorf("%d members and %d deleted lists are left, want 1 and 0", n, lists)
	}
}

// A write-ahead log that readers kept from shrinking is shortened when they have
// gone.
func TestTidy(t *testing.T) {
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

func (c recorder) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	c.note(query, nil)
	return c.SQLiteConn.PrepareContext(ctx, query)
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

// What is asked while mail arrives, and what workers ask all the time, is found
// by an index, whatever the size of the tables.
func TestQueryPlans(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "sesame.db")
	db := openAt(t, path)
	defer db.Close()
	f := &fixture{T: t, store: db, ctx: ctx, now: start}
	list := f.newList(ann, "a")
	f.add(ann, list, "a@example.com")
	lease := f.working(ann, f.newList(ann, "b"))
	job := f.started(ann, list)

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
	if err := recorded.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	defer recorded.Close()
	prepared := asked[len(asked)-1]
	if !strings.Contains(prepared.query, "json_each") {
		t.Fatalf("what is prepared is %q", prepared.query)
	}

	// All that may be walked: what has few rows by its nature.
	few := regexp.MustCompile(`^SCAN (json_each VIRTUAL TABLE INDEX 1:` + // the keys that are asked for
		`|(j|import_jobs) USING INDEX import_jobs_to_do` + // jobs that are PROCESSING
		`|deleted_lists|[0-9]+-ROW VALUES CLAUSE)$`)
	for _, call := range []struct {
		name string
		uses []string // parts of the plan
		do   func() error
	}{
		{"ListNumber and Members", []string{"SEARCH lists USING INDEX sqlite_autoindex_lists_1 (id=?)", "SEARCH members USING PRIMARY KEY (list=? AND key>? AND key<?)"}, func() error {
			_, err := recorded.Members(ctx, ann, list, "a", "", 10)
			return err
		}},
		{"Members behind a cursor", []string{"SEARCH members USING PRIMARY KEY (list=? AND key>? AND key<?)"}, func() error {
			_, err := recorded.Members(ctx, ann, list, "", "a", 10)
			return err
		}},
		{"FindMembers", []string{"SEARCH members USING PRIMARY KEY (list=? AND key=?)"}, func() error {
			note(prepared.query, []driver.NamedValue{{Ordinal: 1, Value: int64(1)}, {Ordinal: 2, Value: `["a@example.com"]`}})
			return nil
		}},
		{"List", []string{"SEARCH lists USING INDEX"}, func() error { _, err := recorded.List(ctx, ann, list); return err }},
		{"Lists", []string{"SEARCH lists USING INDEX lists_by_owner (account=? AND region=? AND id>?)"}, func() error { _, err := recorded.Lists(ctx, ann, "", 10); return err }},
		{"AddMember", []string{"SEARCH lists USING INTEGER PRIMARY KEY (rowid=?)", "import_jobs_to_do (list=?)"}, func() error {
			return recorded.AddMember(ctx, ann, list, entry(t, "b@example.com"), far, start)
		}},
		{"RemoveMember", []string{"SEARCH members USING PRIMARY KEY (list=? AND key=?)"}, func() error { return recorded.RemoveMember(ctx, ann, list, "b@example.com", start) }},
		{"Job", []string{"SEARCH import_jobs USING PRIMARY KEY (id=?)"}, func() error { _, err := recorded.Job(ctx, ann, job); return err }},
		{"Jobs", []string{"SEARCH import_jobs USING INDEX import_jobs_by_list (list=?"}, func() error { _, err := recorded.Jobs(ctx, ann, list, job+"x", 10); return err }},
		{"Uploadable", []string{"SEARCH import_jobs USING PRIMARY KEY (id=?)"}, func() error { recorded.Uploadable(ctx, job); return nil }},
		{"ObjectNeeded", []string{"SEARCH import_jobs USING PRIMARY KEY (id=?)"}, func() error {
			_, err := recorded.ObjectNeeded(ctx, "imports/"+job+"-1")
			return err
		}},
		{"StartJob", []string{"SEARCH import_jobs USING PRIMARY KEY (id=?)"}, func() error { return recorded.StartJob(ctx, ann, job, many, start) }},
		{"ClaimJob", []string{"j USING INDEX import_jobs_to_do", "SEARCH k USING INDEX import_jobs_to_do (list=?)"}, func() error {
			_, ok, err := recorded.ClaimJob(ctx, "w", f.now, f.now.Add(leaseTime))
			if !ok {
				return errors.New("nothing to claim")
			}
			return err
		}},
		{"RenewLease", []string{"SEARCH import_jobs USING PRIMARY KEY (id=?)"}, func() error { return recorded.RenewLease(ctx, lease, f.now.Add(leaseTime), 0) }},
		{"Reserve", []string{"import_jobs_to_do (list=?)"}, func() error { _, _, err := recorded.Reserve(ctx, lease, 1, far); return err }},
		{"ApplyBatch", []string{"SEARCH lists USING INTEGER PRIMARY KEY (rowid=?)"}, func() error { return recorded.ApplyBatch(ctx, lease, f.batch("x@example.com")) }},
		{"PurgeMembers", []string{"SEARCH members USING PRIMARY KEY (list=? AND key=?)"}, func() error {
			if _, err := recorded.write.Exec("INSERT INTO deleted_lists VALUES (99)"); err != nil {
				return err
			}
			_, err := recorded.PurgeMembers(ctx, 10)
			return err
		}},
		{"DeleteList", []string{"import_jobs_by_list (list=?)"}, func() error {
			if _, err := recorded.StopJob(ctx, ann, job, start); err != nil {
				return err
			}
			_, err := recorded.DeleteList(ctx, ann, list)
			return err
		}},
		{"a client token", []string{"SEARCH client_tokens USING INDEX client_tokens_by_age (made<?)", "SEARCH client_tokens USING PRIMARY KEY (account=? AND region=? AND operation=? AND token=?)"}, func() error {
			token := "token"
			_, err := recorded.CreateList(ctx, lists.List{Owner: ann, ID: f.id("al"), Name: "c", Created: f.now, Updated: f.now}, lists.NewClientToken(&token, []byte("p"), f.now), many)
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
			if strings.HasPrefix(step, "SCAN") && !few.MatchString(step) {
				t.Errorf("%s does %s\n%s", call.name, step, text)
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
	for range strings.Count(query, "?") * min(1, max(0, 1-len(named))) { // prepared: the values do not matter
		args = append(args, "x")
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
