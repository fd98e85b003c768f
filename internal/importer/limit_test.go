package importer_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// A job fits or changes nothing, at the limit to the entry; a dry run says which.
func TestLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	defer w.close()
	for _, test := range []struct {
		name   string
		mode   lists.Mode
		limit  int64
		had    string
		file   string
		failed string // the job's Error
		over   int64
	}{
		{"just fits", lists.Append, 3, "a@example.com", "b@example.com\nc@example.com\n", "", 0},
		{"one too many", lists.Append, 3, "a@example.com", "b@example.com\nc@example.com\nd@example.com\n",
			"The file would bring the list to 4 members, 1 more than the 3 that it may hold. Nothing was imported.", 1},
		{"far too many", lists.Append, 1, "", "a@example.com\nb@example.com\nc@example.com\nd@example.com\n",
			"The file would bring the list to 4 members, 3 more than the 1 that it may hold. Nothing was imported.", 3},
		{"more lines than room, but duplicates", lists.Append, 2, "", strings.Repeat("a@example.com\nB@example.com\nA@example.com\nb@example.com\n", 30), "", 0},
		{"more lines than room, but members", lists.Append, 3, "a@example.com b@example.com", "A@example.com\nB@example.com\nc@example.com\n", "", 0},
		{"a full list and nothing new", lists.Append, 2, "a@example.com b@example.com", "a@example.com\nb@example.com\na@example.com\n", "", 0},
		{"a full list and one new", lists.Append, 2, "a@example.com b@example.com", "a@example.com\nb@example.com\nc@example.com\n",
			"The file would bring the list to 3 members, 1 more than the 2 that it may hold. Nothing was imported.", 1},
		{"a list over its limit and nothing new", lists.Append, 1, "a@example.com b@example.com", "a@example.com\n", "", 0},
		{"a list over its limit, of which some leave", lists.Remove, 1, "a@example.com b@example.com c@example.com", "a@example.com\n", "", 0},
		{"a list over its limit, replaced by as many", lists.Replace, 1, "a@example.com b@example.com", "c@example.com\nd@example.com\n", "", 0},
		{"a full list that is replaced", lists.Replace, 2, "a@example.com b@example.com", "c@example.com\nd@example.com\n", "", 0},
		{"a full list that is replaced by too many", lists.Replace, 2, "a@example.com b@example.com", "c@example.com\nd@example.com\na@example.com\n",
			"The file would bring the list to 3 members, 1 more than the 2 that it may hold. Nothing was imported.", 1},
		{"bad lines take no room", lists.Append, 1, "", "none\nnone\na@example.com\nnone\n", "", 0},
	} {
		for _, dry := range []bool{true, false} {
			name := test.name
			if dry {
				name += ", dry run"
			}
			t.Run(name, func(t *testing.T) {
				w.newList()
				w.now, w.Lists.Limits.Members = before, 1_000_000
				w.register(strings.Fields(test.had)...)
				w.Lists.Limits.Members = test.limit
				job := w.ordered(importer.Order{Format: importfile.CSV, Mode: test.mode, DryRun: dry}, []byte("address\n"+test.file))
				w.work(w.ctx)
				got := w.outcome(job)
				same(t, "the Error", got.Error, test.failed)
				same(t, "how many are over the limit", got.Progress.Over, test.over)
				if dry || test.failed != "" {
					same(t, "the members", got.Members, old(strings.Fields(test.had)...))
				}
				if test.failed != "" {
					same(t, "the state", got.Status, jobs.Failed)
					same(t, "the lines imported", got.Progress.Imported, int64(0))
					same(t, "the members that the list has", got.Progress.Members, int64(0))
					return
				}
				same(t, "the state", got.Status, jobs.Completed)
				if n := int64(len(got.Members)); !dry && got.Progress.Members != n || n > max(test.limit, int64(len(strings.Fields(test.had)))) {
					t.Errorf("the list may hold %d members, and holds %d, and the job says %d", test.limit, n, got.Progress.Members)
				}
			})
		}
	}
}

// Members that come and go while an import runs do not bring a list over its limit.
func TestLimitWhileMembersChange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		meanwhile func(w *world)
		failed    string
		members   []member
	}{
		{"a place is taken", func(w *world) { w.register("z@example.com") },
			"The file would bring the list to 4 members, 1 more than the 3 that it may hold. Nothing was imported.",
			[]member{{"a@example.com", false}, {"b@example.com", false}, {"z@example.com", true}}},
		{"a place is taken and another given back", func(w *world) {
			w.must(w.Lists.Deregister(w.ctx, ann, w.list, "A@example.com"))
			w.register("z@example.com")
		}, "", []member{{"b@example.com", false}, {"c@example.com", true}, {"z@example.com", true}}},
		{"the new one comes by itself", func(w *world) { w.register("C@example.com") }, "",
			[]member{{"a@example.com", false}, {"b@example.com", false}, {"C@example.com", true}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, small)
			defer w.close()
			w.Lists.Limits.Members = 3
			w.register("a@example.com")
			w.fold()
			w.register("b@example.com")
			w.merging = func() { test.meanwhile(w) }
			job := w.started(importfile.CSV, []byte("b@example.com\nc@example.com\n"))
			w.work(w.ctx)
			got := w.outcome(job)
			same(t, "the Error", got.Error, test.failed)
			same(t, "the members", got.Members, test.members)
			if test.failed != "" {
				same(t, "how many are over the limit", got.Progress.Over, int64(1))
			} else {
				same(t, "the members that the job says", got.Progress.Members, int64(3))
			}
		})
	}
}

// What the worker before had done does not hide what a job fails for.
func TestLimitAfterAnotherWorker(t *testing.T) {
	t.Parallel()
	bubble(t, "done again", func(t *testing.T) {
		w := newWorld(t, spilling)
		defer w.close()
		file, want := bigFile(most)
		w.Lists.Limits.Members = int64(len(want.Members))
		job := w.started(importfile.CSV, file)
		ctx, stop := context.WithCancel(w.ctx)
		w.in(importer.Storing, file, func() {
			time.Sleep(time.Second) // the progress is noted
			stop()
		})
		w.work(ctx)
		w.asBefore(job)
		w.register("z@example.com") // of so many more to merge, less is done when the counting ends
		w.work(w.ctx)
		j := w.job(job)
		same(t, "the state", j.Status, jobs.Failed)
		same(t, "how many are over the limit", j.Progress.Over, int64(1))
		same(t, "the entries", j.Progress.Entries, want.Progress.Entries)
		w.checkPhases(t, job, len(file), want.Progress.Entries+1)
		same(t, "the lines refused", j.Progress.Invalid, want.Progress.Invalid)
	})
}
