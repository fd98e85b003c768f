package metadb

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"sesame/internal/importer"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// races are what many do at once: half of them with the fixture's store, and half
// with another handle on the same.
var races = []struct {
	name string
	run  func(f *fixture, other store)
}{
	{"one client token makes one list", tokenRace},
	{"a change has one number", changeRace},
	{"one of many moves wins", moveRace},
	{"a list is changed while its changes are purged", purgeRace},
	{"uploads race with each other and with Start", uploadRace},
	{"a job is claimed once", claimRace},
	{"a job is either published or stopped", endRace},
	{"a list is either deleted or imported into", deleteRace},
	{"a schedule is run once", scheduleRace},
}

func tokenRace(f *fixture, other store) {
	token := "token"
	ids := make([]string, 12)
	var all sync.WaitGroup
	for n := range ids {
		l := lists.List{Owner: ann, ID: f.id("al"), Name: "a", Created: f.now, Updated: f.now}
		all.Go(func() {
			var err error
			if ids[n], err = f.either(n, other).CreateList(f.ctx, l, lists.NewClientToken(&token, []byte("params"), f.now), many); err != nil {
				f.Errorf("CreateList: %v", err)
			}
		})
	}
	all.Wait()
	if ids = slices.Compact(ids); len(ids) != 1 {
		f.Fatalf("one token gave %d lists: %v", len(ids), ids)
	}
	made, err := f.Lists(f.ctx, ann, "", many)
	f.is("Lists", err, nil)
	if len(made) != 1 || made[0].ID != ids[0] {
		f.Fatalf("the lists are %v, the token gave %v", made, ids)
	}
}

// either is the fixture's store for every second n, and the other for the rest.
func (f *fixture) either(n int, other store) store {
	if n%2 == 0 {
		return f.store
	}
	return other
}

func changeRace(f *fixture, other store) {
	list := f.newList(ann, "a")
	p := f.place(ann, list)
	for seq := int64(1); seq <= 3; seq++ {
		errs := make([]error, 8)
		var all sync.WaitGroup
		for n := range errs {
			all.Go(func() {
				c := lists.Change{Seq: seq, Key: fmt.Sprintf("%d@example.com", n), Created: f.now}
				errs[n] = f.either(n, other).AddChange(f.ctx, p.N, c, int64(n), f.now)
			})
		}
		all.Wait()
		won := slices.Index(errs, nil)
		if won < 0 || slices.Contains(errs[won+1:], nil) {
			f.Fatalf("of 8 changes with one number these failed: %v", errs)
		}
		made := f.changes(p.N, seq-1)
		f.same("the change with the number", made, []lists.Change{{Seq: seq, Key: fmt.Sprintf("%d@example.com", won), Created: f.now}})
		f.same("the members that the list has then", f.place(ann, list).Members, int64(won))
	}
}

func moveRace(f *fixture, other store) {
	list := f.newList(ann, "a")
	f.add(ann, list, some(9)...)
	for round := range 5 {
		before := f.place(ann, list)
		moves, errs := make([]lists.Move, 8), make([]error, 8)
		var all sync.WaitGroup
		for n := range moves {
			moves[n] = lists.Move{List: before.N, From: before.File, To: f.id(list), Folded: int64(round), Members: int64(n), Now: f.now}
			all.Go(func() { errs[n] = f.either(n, other).Move(f.ctx, moves[n]) })
		}
		all.Wait()
		won := slices.Index(errs, nil)
		if won < 0 {
			f.Fatalf("every move failed: %v", errs)
		}
		for n, err := range errs {
			if n != won {
				f.is("Move of one that came too late", err, lists.ErrMoved)
			}
		}
		m := moves[won]
		f.same("where the list is", f.place(ann, list), lists.Place{N: m.List, File: m.To, Folded: m.Folded, Members: m.Members})
		f.same("the files", f.files(), []string{m.To})
	}
}

func purgeRace(f *fixture, other store) {
	list := f.newList(ann, "a")
	p := f.place(ann, list)
	for n := range 3 {
		gone := f.newList(ann, fmt.Sprint("gone", n))
		f.add(ann, gone, some(10)...)
		_, err := f.DeleteList(f.ctx, ann, gone)
		f.is("DeleteList", err, nil)
	}
	const rounds, each = 4, 10
	var all sync.WaitGroup
	changed := make(chan struct{})
	all.Go(func() {
		defer close(changed)
		file := ""
		for seq := int64(1); seq <= rounds*each; seq++ {
			if err := f.AddChange(f.ctx, p.N, lists.Change{Seq: seq, Key: "k", Created: f.now}, 1, f.now); err != nil {
				f.Errorf("AddChange: %v", err)
			}
			if seq%each == 0 { // all but the last three
				m := lists.Move{List: p.N, From: file, To: fmt.Sprint("file", seq), Folded: seq - 3}
				if err := f.Move(f.ctx, m); err != nil {
					f.Errorf("Move: %v", err)
				}
				file = m.To
			}
		}
	})
	all.Go(func() {
		for last := false; !last; {
			select {
			case <-changed:
				last = true
			default:
			}
			for more := true; more; {
				var err error
				if more, err = other.PurgeChanges(f.ctx, 4); err != nil {
					f.Errorf("PurgeChanges: %v", err)
					return
				}
			}
		}
	})
	all.Wait()
	f.same("the changes that are left", f.seqs(p.N, 0), numbers(rounds*each-2, rounds*each))
}

func uploadRace(f *fixture, other store) {
	for range 5 {
		id := f.newJob(ann, f.newList(ann, f.id("name")))
		first := f.upload(id)
		const uploads = 8
		results := make([]struct {
			object, previous string
			err              error
		}, uploads)
		var all sync.WaitGroup
		for n := range results {
			results[n].object = "imports/" + f.id(id)
			all.Go(func() {
				r := &results[n]
				r.previous, r.err = f.either(n, other).AttachUpload(f.ctx, id, r.object, 1, f.now)
			})
			if n == uploads/2 {
				all.Go(func() {
					if err := other.StartJob(f.ctx, ann, id, many, f.now); err != nil {
						f.Errorf("StartJob: %v", err)
					}
				})
			}
		}
		all.Wait()
		// The uploads that won follow each other without a gap, so that each that
		// was replaced is deleted by exactly one, and the last is the job's.
		next := map[string]string{}
		won := 0
		for _, r := range results {
			switch {
			case r.err == nil:
				if _, twice := next[r.previous]; twice {
					f.Errorf("%s was replaced twice", r.previous)
				}
				next[r.previous] = r.object
				won++
			case !errors.Is(r.err, importer.ErrStarted):
				f.Errorf("AttachUpload: %v", r.err)
			}
		}
		last := first
		for range won {
			last = next[last]
		}
		f.same("the upload of the job", f.getJob(ann, id).Object, last)
		if _, stopErr := f.StopJob(f.ctx, ann, id, f.now); stopErr != nil {
			f.Fatalf("StopJob: %v", stopErr)
		}
	}
}

func claimRace(f *fixture, other store) {
	for range 3 {
		list := f.newList(ann, f.id("name"))
		for range 2 {
			f.started(ann, list)
		}
	}
	claimed := make([]importer.Job, 10)
	var all sync.WaitGroup
	for n := range claimed {
		all.Go(func() {
			var err error
			if claimed[n], _, err = f.either(n, other).ClaimJob(f.ctx, fmt.Sprint("w", n), f.now, f.now.Add(leaseTime)); err != nil {
				f.Errorf("ClaimJob: %v", err)
			}
		})
	}
	all.Wait()
	took := map[string]int{}
	for _, j := range claimed {
		took[j.ListID]++
	}
	delete(took, "")
	for list, n := range took {
		if n != 1 {
			f.Errorf("%d jobs of list %s were claimed", n, list)
		}
	}
	f.same("how many lists' jobs were claimed", len(took), 3)
}

func endRace(f *fixture, other store) {
	for round := range 12 {
		list := f.newList(ann, f.id("name"))
		lease := f.working(ann, list)
		before := f.place(ann, list)
		m := f.move(ann, list, 5)
		var publishErr, stopErr error
		var all sync.WaitGroup
		all.Go(func() {
			publishErr = f.either(round, other).Publish(f.ctx, lease, m, importer.Progress{Members: 5}, f.now)
		})
		all.Go(func() { _, stopErr = f.either(round+1, other).StopJob(f.ctx, ann, lease.Job, f.now) })
		all.Wait()
		status, p, place := jobs.Completed, importer.Progress{Members: 5}, lists.Place{N: m.List, File: m.To, Folded: m.Folded, Members: 5}
		if publishErr == nil {
			f.is("StopJob of what was published", stopErr, importer.ErrEnded)
		} else {
			f.is("StopJob", stopErr, nil)
			f.is("Publish of what was stopped", publishErr, jobs.ErrLeaseLost)
			status, p, place = jobs.Stopped, importer.Progress{}, before
		}
		j := f.getJob(ann, lease.Job)
		f.same("how the job ended", []any{j.Status, j.Progress}, []any{status, p})
		f.same("where the list is", f.place(ann, list), place)
	}
}

func deleteRace(f *fixture, other store) {
	for round := range 12 {
		list := f.newList(ann, f.id("name"))
		job := f.newJob(ann, list)
		object := f.upload(job)
		var objects []string
		var deleteErr, startErr error
		var all sync.WaitGroup
		all.Go(func() { objects, deleteErr = f.either(round, other).DeleteList(f.ctx, ann, list) })
		all.Go(func() { startErr = f.either(round+1, other).StartJob(f.ctx, ann, job, many, f.now) })
		all.Wait()
		if deleteErr == nil {
			f.is("StartJob of what was deleted", startErr, importer.ErrNotFound)
			f.same("the objects of the list", objects, []string{object})
			continue
		}
		f.is("StartJob", startErr, nil)
		f.is("DeleteList of what is imported into", deleteErr, lists.ErrImportRunning)
		f.same("the state of the job", f.getJob(ann, job).Status, jobs.Processing)
	}
}
