package eventdb

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"sesame/internal/events"
)

const testMemory = 256 << 20

// TestMain is also the program that the tests kill: see child.
func TestMain(m *testing.M) {
	if path := os.Getenv("EVENTDB_TEST_CHILD"); path != "" {
		child(path)
		return
	}
	os.Exit(m.Run())
}

func openAt(t *testing.T, path string) *DuckDB {
	t.Helper()
	d, err := Open(t.Context(), path, testMemory)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func closeIt(t *testing.T, d *DuckDB) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func TestDuckDB(t *testing.T) {
	defer goleak.VerifyNone(t)
	suite(t, func(t *testing.T) Store { return openAt(t, filepath.Join(t.TempDir(), "events")) })
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	for i := range 3 {
		d := openAt(t, path)
		add(t, d, 1, event(i, events.Send, start, nil))
		if i > 0 {
			add(t, d, 0, event(i-1, events.Send, start, nil))
		}
		if got := total(t, d, Query{Metric: Sends}); got != int64(i+1) {
			t.Errorf("%d events at opening %d", got, i)
		}
		closeIt(t, d)
		closeIt(t, d)
	}
}

// child appends batches from four goroutines until it is killed, on request while it is
// read and checkpoints are done beside, and prints the number of each when it is
// acknowledged. A batch holds again some events of the
// one before, unless that was another child's.
func child(path string) {
	signal.Ignore(syscall.SIGXFSZ)
	first, _ := strconv.Atoi(os.Getenv("EVENTDB_TEST_FIRST"))
	if limit, _ := strconv.ParseUint(os.Getenv("EVENTDB_TEST_LIMIT"), 10, 64); limit > 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			panic(err)
		}
	}
	d, err := open(context.Background(), path, testMemory, 1<<20) // so that many die while it writes its log in place
	if err != nil {
		fmt.Println("open:", err, advice(err))
		return
	}
	var all sync.WaitGroup
	var failed sync.Once
	if os.Getenv("EVENTDB_TEST_BESIDE") != "" {
		if _, err := d.db.ExecContext(context.Background(), "SET GLOBAL debug_checkpoint_sleep_ms = 20"); err != nil {
			fmt.Println("slow checkpoints down:", err)
		}
		all.Go(func() { // checkpoints that others write beside, as those of DropBefore are
			for {
				_ = d.log.run()
				time.Sleep(2 * time.Millisecond)
			}
		})
		all.Go(func() {
			for {
				_ = d.Recipients(context.Background(), source, Mail{From: start.AddDate(-1, 0, 0), To: start.AddDate(1, 0, 0)}, func(*Recipient) error { return nil })
			}
		})
	}
	for g := range 4 {
		all.Go(func() {
			for n := first + g; ; n += 4 {
				if _, err := d.Append(context.Background(), childBatch(first, n)); err != nil {
					failed.Do(func() { fmt.Println("append:", err) })
					return
				}
				fmt.Println(n)
			}
		})
	}
	all.Wait()
	if err := d.Close(); err != nil {
		fmt.Println("close:", err)
	}
}

func childBatchSize(n int) int { return 1 + n*7919%300 }

func childBatch(first, n int) (all []events.Event) {
	for _, b := range []int{n - 4, n} {
		if b < first {
			continue
		}
		for i := range childBatchSize(b) {
			if b == n || i < 5 {
				all = append(all, event(b, events.Open, start.Add(time.Duration(b)*time.Second), func(e *events.Event) {
					e.Destination = fmt.Sprintf("to-%d@x.example", i)
					e.Details = strings.Repeat("d", 200)
				}))
			}
		}
	}
	return all
}

// runChild runs a child until kill, or to its own end when that is 0, and gives
// the batches that were acknowledged and what else it said.
func runChild(t *testing.T, path string, first int, limit int64, kill time.Duration, env ...string) (acknowledged []int, said string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "EVENTDB_TEST_CHILD="+path, fmt.Sprintf("EVENTDB_TEST_FIRST=%d", first), fmt.Sprintf("EVENTDB_TEST_LIMIT=%d", limit))
	cmd.Env = append(cmd.Env, env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // what is not a whole line was not acknowledged
		}
		if n, err := strconv.Atoi(strings.TrimSuffix(line, "\n")); err == nil {
			if len(acknowledged) == 0 && kill > 0 {
				time.AfterFunc(kill, func() { _ = cmd.Process.Kill() })
			}
			acknowledged = append(acknowledged, n)
		} else {
			said += line
		}
	}
	var ended *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	if strings.Contains(stderr.String(), "panic") {
		t.Fatal(stderr.String())
	}
	return acknowledged, said
}

// check holds the store to what children were told: each batch is there whole or
// not at all, once, and those acknowledged are there.
func check(t *testing.T, d *DuckDB, acknowledged map[int]bool) (next int) {
	t.Helper()
	rows, err := d.db.QueryContext(t.Context(), "SELECT message_id, count(*), count(DISTINCT destination) FROM events GROUP BY message_id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	there := map[string]int{}
	for rows.Next() {
		var id string
		var count, distinct int
		if err := rows.Scan(&id, &count, &distinct); err != nil {
			t.Fatal(err)
		}
		if count != distinct {
			t.Errorf("of %s, %d events are there %d times", id, distinct, count)
		}
		there[id] = count
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for n := range acknowledged {
		if got := there[messageID(start, n)]; got != childBatchSize(n) {
			t.Errorf("batch %d was acknowledged; %d of its %d events are there", n, got, childBatchSize(n))
		}
		next = max(next, n+4)
	}
	for n := range next + 8 {
		got, size := there[messageID(start, n)], childBatchSize(n)
		if got != 0 && got != size {
			t.Errorf("batch %d is torn: %d of %d events", n, got, size)
		}
		delete(there, messageID(start, n))
		if got != 0 {
			next = max(next, n+1)
		}
	}
	if len(there) > 0 {
		t.Errorf("nobody appended %v", there)
	}
	return (next + 3) / 4 * 4
}

func TestKill(t *testing.T) {
	kills := 100
	if testing.Short() {
		kills = 8
	}
	r := rand.New(rand.NewPCG(9, 9))
	path := filepath.Join(t.TempDir(), "events")
	acknowledged := map[int]bool{}
	next, within, beside := 0, 0, 0
	var longest time.Duration
	for i := range kills {
		var env []string
		if i%2 == 1 {
			env = append(env, "EVENTDB_TEST_BESIDE=1")
		}
		some, said := runChild(t, path, next, 0, time.Duration(r.IntN(300_000))*time.Microsecond, env...)
		if said != "" || len(some) == 0 {
			t.Fatalf("the child acknowledged %d batches and said %q", len(some), said)
		}
		for _, n := range some {
			acknowledged[n] = true
		}
		if undo := readFile(t, path+undoSuffix); len(undo) > headSize && bytes.Equal(undo[:headSize], readFile(t, path)[:headSize]) {
			within++
		}
		if _, err := os.Stat(path + laterLogSuffix); err == nil {
			beside++
		}
		begun := time.Now()
		d := openAt(t, path)
		longest = max(longest, time.Since(begun))
		next = check(t, d, acknowledged)
		closeIt(t, d)
	}
	t.Logf("%d batches acknowledged before %d kills, %d within a checkpoint, %d with a log beside it; opening took %v at most", len(acknowledged), kills, within, beside, longest)
}

func TestOpenAfterKillWithFullLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	d := openAt(t, path)
	s := newSample(1, start, time.Second)
	size := int64(110 << 20) // near logSize
	if testing.Short() {
		size = 10 << 20
	}
	for info, err := os.Stat(path + ".wal"); err != nil || info.Size() < size; info, err = os.Stat(path + ".wal") {
		if _, err := d.Append(t.Context(), s.batch(5000)); err != nil {
			t.Fatal(err)
		}
	}
	copied := filepath.Join(t.TempDir(), "events") // as a crash leaves it
	for _, suffix := range []string{"", ".wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	closeIt(t, d)
	begun := time.Now()
	d = openAt(t, copied)
	t.Logf("opening with a log of %d MB took %v", size>>20, time.Since(begun))
	closeIt(t, d)
}

func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	acknowledged := map[int]bool{}
	some, said := runChild(t, path, 0, 3<<20, 0)
	if !strings.Contains(said, "append:") || len(some) == 0 {
		t.Fatalf("the child acknowledged %d batches and said %q", len(some), said)
	}
	t.Logf("after %d batches: %s", len(some), said)
	for _, n := range some {
		acknowledged[n] = true
	}
	d := openAt(t, path)
	check(t, d, acknowledged)
	add(t, d, 1, event(1, events.Click, start, nil))
	closeIt(t, d)
}

func TestOpenElsewhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	d := openAt(t, path)
	if _, said := runChild(t, path, 0, 0, 0); !strings.Contains(said, "another process has it open") {
		t.Errorf("opening a store that is open elsewhere: %q", said)
	}
	closeIt(t, d)
}

func TestOpenDamaged(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "events")
	d := openAt(t, whole)
	s := newSample(1, start, time.Second)
	if _, err := d.Append(t.Context(), s.batch(20_000)); err != nil {
		t.Fatal(err)
	}
	closeIt(t, d)
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"another kind of file": func([]byte) []byte { return bytes.Repeat([]byte("no store of events\n"), 1000) },
		"cut":                  func(b []byte) []byte { return b[:len(b)/2] },
		"first header":         func(b []byte) []byte { return append(bytes.Repeat([]byte{7}, 4096), b[4096:]...) },
		"other headers":        func(b []byte) []byte { copy(b[4096:12288], bytes.Repeat([]byte{7}, 8192)); return b },
		"all after the headers": func(b []byte) []byte {
			copy(b[12288:], bytes.Repeat([]byte{7}, len(b)-12288))
			return b
		},
	} {
		path := filepath.Join(t.TempDir(), "events")
		if err := os.WriteFile(path, damage(bytes.Clone(data)), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(t.Context(), path, testMemory)
		if err == nil {
			var all any
			if err = d.db.QueryRowContext(t.Context(), "SELECT sum(hash(e)) FROM events e").Scan(&all); err != nil {
				err = errors.New(err.Error() + advice(err))
			}
			closeIt(t, d)
		}
		if err == nil || !strings.Contains(err.Error(), "put a copy of the store in its place") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "no folder", "events"), testMemory); err == nil {
		t.Error("a store in a folder that is not there was opened")
	}
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "what?"), testMemory); err == nil {
		t.Error("a path that DuckDB reads otherwise was taken")
	}
}

// However mail is sliced, every recipient is given once, in the same order, with the
// same end.
func TestSlices(t *testing.T) {
	d := openAt(t, filepath.Join(t.TempDir(), "events"))
	defer closeIt(t, d)
	_, all := drawn(rand.New(rand.NewPCG(8, 8)), 8_000)
	for i := range 300 { // a burst, and mail of long before and long after
		at := start
		switch i % 100 {
		case 0:
			at = start.AddDate(-20, 0, i)
		case 1:
			at = start.AddDate(70, 0, i)
		}
		all = append(all, event(10_000+i, events.Open, at.Add(time.Hour), func(e *events.Event) {
			e.Sent, e.Subject = at, strings.Repeat("long", 500)+strconv.Itoa(i) // so that it is text that makes slices crowded
		}))
	}
	if _, err := d.Append(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	type recipient struct{ id, to string }
	want := map[recipient]bool{}
	for _, e := range all {
		if e.Source == source {
			want[recipient{e.MessageID, e.Destination}] = true
		}
	}
	read := func() (found []Recipient, read int64) {
		t.Helper()
		q := Mail{From: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), More: true, Read: func(_ time.Time, n int64) { read += n }}
		found = recipients(t, d, source, q)
		return found, read
	}
	whole, events := read()
	if len(whole) != len(want) {
		t.Errorf("%d recipients, want %d", len(whole), len(want))
	}
	for i, r := range whole {
		if !want[recipient{r.MessageID, r.Destination}] || i > 0 && r.Sent > whole[i-1].Sent {
			t.Fatalf("number %d is %+v", i, r)
		}
		delete(want, recipient{r.MessageID, r.Destination})
	}
	for _, d.slice = range []int64{10, 100, 300, 1000} {
		if got, n := read(); n != events || diff.Diff(whole, got) != "" {
			t.Errorf("in slices of %d: %d recipients of %d events, want %d of %d", d.slice, len(got), n, len(whole), events)
		}
	}
	d.slice = 100
	for _, wanted := range []int64{1, 50, math.MaxInt64} {
		n := 0
		q := Mail{From: start.AddDate(-30, 0, 0), To: start.AddDate(90, 0, 0), Enough: wanted}
		if err := d.Recipients(t.Context(), source, q, func(*Recipient) error { n++; return nil }); err != nil || n != len(whole) {
			t.Errorf("when %d are enough, %d of %d are given, %v", wanted, n, len(whole), err)
		}
	}
	enough, n := errors.New("enough"), 0
	if err := d.Recipients(t.Context(), source, Mail{From: start.AddDate(-30, 0, 0), To: start.AddDate(90, 0, 0)}, func(*Recipient) error {
		n++
		return enough
	}); !errors.Is(err, enough) || n != 1 {
		t.Errorf("a walk that was ended: %d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Recipients(ctx, source, Mail{From: start, To: start.AddDate(0, 0, 1)}, func(*Recipient) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("under a cancelled context: %v", err)
	}
}

// A store of before there were two tables is not taken for an empty one.
func TestOpenOldForm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	db, err := sql.Open("duckdb", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE events (sent BIGINT)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err := Open(t.Context(), path, testMemory); err == nil || !strings.Contains(err.Error(), "in another form: move it away") {
		if err == nil {
			closeIt(t, d)
		}
		t.Errorf("it opens: %v", err)
	}
}

// Space that events had is used again after they were dropped.
func TestSpaceComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	d := openAt(t, path)
	perDay, kept := 20_000, 5
	if testing.Short() {
		perDay, kept = 4_000, 3
	}
	s := newSample(1, start, 24*time.Hour/time.Duration(perDay*2/5))
	var full int64
	for i := range 4 * kept {
		if _, err := d.Append(t.Context(), s.batch(perDay)); err != nil {
			t.Fatal(err)
		}
		if i < kept {
			continue
		}
		if _, err := d.DropBefore(t.Context(), s.now.AddDate(0, 0, -kept)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if i == kept {
			full = info.Size()
		}
		if i == 4*kept-1 && info.Size() > 2*full {
			t.Errorf("the file has %d bytes, and had %d when it held as much", info.Size(), full)
		}
	}
	closeIt(t, d)
}
