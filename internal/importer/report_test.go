package importer_test

import (
	"encoding/csv"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// fatal is what *testing.T and *rapid.T have in common.
type fatal interface {
	Helper()
	Fatalf(string, ...any)
}

// checkPhases checks what a job that has read its file of so many bytes, and merged
// so many members and entries, says of its phases.
func (w *world) checkPhases(t fatal, job string, size int, merged int64) {
	t.Helper()
	p := w.job(job).Progress
	if p.Share != 1 || len(p.Phases) != 3 {
		t.Fatalf("%v of the job is done and its phases are %+v", p.Share, p.Phases)
	}
	for i, want := range []importer.Phase{
		{Name: importer.Reading, Rows: p.Lines, Bytes: int64(size)},
		{Name: importer.Merging, Rows: merged},
		{Name: importer.Storing},
	} {
		got := p.Phases[i]
		if got.Seconds < 0 || got.Seconds > 60 {
			t.Fatalf("%s took %v seconds", got.Name, got.Seconds)
		}
		got.Seconds = 0
		if got != want {
			t.Fatalf("a phase was %+v, want %+v", got, want)
		}
	}
}

// checkRefused checks the list of the lines that a job has refused.
func (w *world) checkRefused(t fatal, job string, want []refusal) {
	t.Helper()
	content, err := w.Service.Refused(w.ctx, job)
	if len(want) == 0 {
		if !errors.Is(err, importer.ErrNotFound) {
			t.Fatalf("nothing was refused, and there is a list: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("the list of refused lines: %v", err)
	}
	defer content.Close()
	rows, err := csv.NewReader(content).ReadAll()
	if err != nil || len(rows) == 0 {
		t.Fatalf("the list of refused lines has %d rows, error %v", len(rows), err)
	}
	got := []refusal{}
	for _, row := range rows[1:] {
		got = append(got, refusal{number(row[0]), row[2]})
		if row[1] == "" && row[2] != "empty" || row[3] == "" {
			t.Fatalf("a refused line is listed as %q", row)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the list of refused lines (-want +got):\n%s", head(diff))
	}
}

// number gives a number, -1 when it is none.
func number(text string) (n int64) {
	for _, c := range text {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int64(c-'0')
	}
	return n
}

func TestReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	defer w.close()
	w.register("old@example.com")
	file := "name,address\nA,new@example.com\nB,no domain\nC,OLD@example.com\n\nD\nE,New@example.com\nF,\"a\"\"b\"\n"
	job := w.started(importfile.CSV, []byte(file))
	w.work(w.ctx)
	same(t, "the import", w.outcome(job), outcome{
		Status: jobs.Completed,
		Progress: importer.Progress{
			Lines: 6, Invalid: map[string]int64{"domain_character": 2, "missing_column": 1}, Read: true,
			Imported: 3, Entries: 2, Added: 1, Members: 2,
		},
		Members: []member{{"new@example.com", true}, {"old@example.com", false}},
	})
	w.checkPhases(t, job, len(file), 2)
	content, err := w.Service.Refused(w.ctx, job)
	w.must(err)
	defer content.Close()
	rows, err := csv.NewReader(content).ReadAll()
	w.must(err)
	want := [][]string{{"line", "value", "code"}, {"3", "no domain", "domain_character"}, {"6", "D", "missing_column"}, {"8", `a"b`, "domain_character"}}
	for i := range rows {
		rows[i] = rows[i][:3]
	}
	same(t, "the list of refused lines", rows, want)
	// The list goes with its address list.
	objects, err := w.db.DeleteList(w.ctx, ann, w.list)
	if err != nil || len(objects) != 2 {
		t.Errorf("deleting the list gives the objects %v, %v", objects, err)
	}
	w.must(w.Lists.Clean(w.ctx))
}

// A file with nothing but its header is an import of nothing, which in REPLACE
// leaves an empty list.
func TestNothingToImport(t *testing.T) {
	t.Parallel()
	for mode, want := range map[lists.Mode][]member{lists.Append: old("a@example.com"), lists.Remove: old("a@example.com"), lists.Replace: old()} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t, small)
			defer w.close()
			w.register("a@example.com")
			job := w.ordered(importer.Order{Format: importfile.CSV, Mode: mode}, []byte("address\n"))
			w.work(w.ctx)
			same(t, "the import", w.outcome(job), outcome{
				Status: jobs.Completed, Members: want,
				Progress: importer.Progress{Read: true, Members: int64(len(want)), Removed: int64(1 - len(want))},
			})
			w.checkPhases(t, job, len("address\n"), 1)
		})
	}
}

func TestBigFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, spilling)
	defer w.close()
	file, want := bigFile(most)
	var imported, failed int64
	w.Counted = func(i, f int64) { imported, failed = imported+i, failed+f }
	job := w.started(importfile.CSV, file)
	w.work(w.ctx)
	same(t, "the import", w.outcome(job), want)
	w.checkPhases(t, job, len(file), want.Progress.Entries)
	same(t, "the uploads left", w.uploaded(), []string(nil))
	same(t, "the lines counted", []int64{imported, failed}, []int64{want.Progress.Imported, want.Progress.Refused()})
	w.idle()

	// All of it again, and then all of it away.
	for i := range want.Members {
		want.Members[i].New = true
	}
	again := w.started(importfile.CSV, file)
	w.work(w.ctx)
	want.Progress.Added = 0
	same(t, "the second import", w.outcome(again), want)
	away := w.ordered(importer.Order{Format: importfile.CSV, Mode: lists.Remove}, file)
	w.work(w.ctx)
	want.Progress.Removed, want.Progress.Members, want.Members = want.Progress.Entries, 0, old()
	same(t, "the import that removes", w.outcome(away), want)
}

// While a job runs it says how far it is, and every phase takes the time it takes.
func TestProgressWhileRunning(t *testing.T) {
	t.Parallel()
	bubble(t, "each phase", func(t *testing.T) {
		w := newWorld(t, spilling)
		defer w.close()
		file, want := bigFile(most)
		var job string
		look := func(phases ...string) importer.Progress {
			time.Sleep(2 * time.Second) // several renewals
			j := w.job(job)
			names := []string{}
			for _, p := range j.Progress.Phases {
				names = append(names, p.Name)
			}
			same(t, "the phases", strings.Join(names, " "), strings.Join(phases, " "))
			if last := j.Progress.Phases[len(phases)-1]; last.Seconds < 1 {
				t.Errorf("%s has taken %v seconds after more than one", last.Name, last.Seconds)
			}
			same(t, "the state", j.Status, jobs.Processing)
			return j.Progress
		}
		w.inTheMiddle(file, func() {
			p := look(importer.Reading)
			if p.Share <= 0.3 || p.Share > 0.45 || p.Read || p.Lines < 5000 || p.Lines >= want.Progress.Lines || p.Refused() == 0 {
				t.Errorf("a part of the file was read, and the progress is %+v", p)
			}
		})
		w.merging = func() {
			p := look(importer.Reading, importer.Merging)
			if p.Share != 0.6 || !p.Read || p.Lines != want.Progress.Lines || p.Refused() != want.Progress.Refused() || p.Entries != 0 {
				t.Errorf("all of the file was read, and the progress is %+v", p)
			}
		}
		w.store.publish = func(do func() error) error {
			p := look(importer.Reading, importer.Merging, importer.Storing)
			if p.Share <= 0.6 || p.Imported != 0 || p.Members != 0 || p.Entries < 16_000 {
				t.Errorf("all was merged, and the progress is %+v", p)
			}
			return do()
		}
		job = w.started(importfile.CSV, file)
		w.work(w.ctx)
		same(t, "the import", w.outcome(job), want)
		for _, p := range w.job(job).Progress.Phases[:2] { // the third ends with what is noted here
			if p.Seconds < 2 || p.Seconds > 20 {
				t.Errorf("%s took %v seconds", p.Name, p.Seconds)
			}
		}
	})
}

// What a slow renewal knows of a job is not noted over what is known later: once
// the file is read, the counts of its lines are exact.
func TestNotedInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, spilling)
	defer w.close()
	file, want := bigFile(many)
	renewing, noted := make(chan struct{}), make(chan struct{})
	var first sync.Once
	w.store.renew = func(do func() error) error {
		first.Do(func() {
			close(renewing)
			select {
			case <-noted: // never, when progress is noted in order
			case <-time.After(200 * time.Millisecond):
			}
		})
		return do()
	}
	w.store.read = func(do func() error) error {
		err := do()
		close(noted)
		return err
	}
	w.inTheMiddle(file, func() { <-renewing })
	job := w.started(importfile.CSV, file)
	w.work(w.ctx) // the store sees to it that nothing goes back
	same(t, "the import", w.outcome(job), want)
}
