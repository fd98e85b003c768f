package importer_test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// created makes a job that waits for its upload.
func (w *world) created() (job string) {
	w.t.Helper()
	job, _, err := w.Create(w.ctx, ann, importer.Order{ListID: w.list, Name: "job", Format: importfile.CSV, Mode: lists.Append}, lists.ClientToken{})
	w.must(err)
	return job
}

func TestUpload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	defer w.close()
	upload := func(job, text string) error { return w.Upload(w.ctx, job, strings.NewReader(text), fine) }
	job := w.created()
	if err := w.Start(w.ctx, ann, job); !errors.Is(err, importer.ErrNothingUploaded) {
		t.Errorf("Start before the upload: error %v, want %v", err, importer.ErrNothingUploaded)
	}
	same(t, "how often the runner was woken", w.wakes.Load(), int64(0))

	w.must(upload(job, "a@example.com\n"))
	first := w.job(job).Object
	for _, bad := range []struct {
		name  string
		body  io.Reader
		check func(int64) error
	}{
		{"whose check fails", strings.NewReader("b@example.com\n"), func(int64) error { return errTrouble }},
		{"that breaks off", io.MultiReader(strings.NewReader("b@example.com\n"), failing{}), fine},
	} {
		if err := w.Upload(w.ctx, job, bad.body, bad.check); !errors.Is(err, errTrouble) {
			t.Errorf("an upload %s: error %v", bad.name, err)
		}
		same(t, "the upload after one "+bad.name, w.job(job).Object, first)
		same(t, "the uploads after one "+bad.name, w.uploaded(), []string{first})
		same(t, "the unfinished uploads after one "+bad.name, w.folder(filepath.Join(w.dir, "objects", "partial")), []string{})
	}

	var size int64
	w.must(w.Upload(w.ctx, job, strings.NewReader("c@example.com\n"), func(n int64) error { size = n; return nil }))
	same(t, "the size that check was told", size, int64(14))
	second := w.job(job)
	same(t, "the size of the upload", second.Size, int64(14))
	same(t, "the uploads after a second", w.uploaded(), []string{second.Object})

	if err := upload("job-none", "x"); !errors.Is(err, importer.ErrNotFound) {
		t.Errorf("an upload for no job: error %v, want %v", err, importer.ErrNotFound)
	}
	// Start wins the race against an upload that is on its way.
	err := w.Upload(w.ctx, job, strings.NewReader("late@example.com\n"), func(int64) error { return w.Start(w.ctx, ann, job) })
	if !errors.Is(err, importer.ErrStarted) {
		t.Errorf("an upload that Start overtook: error %v, want %v", err, importer.ErrStarted)
	}
	if err := upload(job, "later@example.com\n"); !errors.Is(err, importer.ErrStarted) {
		t.Errorf("an upload after Start: error %v, want %v", err, importer.ErrStarted)
	}
	same(t, "the uploads after Start", w.uploaded(), []string{second.Object})
	same(t, "how often the runner was woken", w.wakes.Load(), int64(1))
	w.must(w.Start(w.ctx, ann, job)) // again
	w.work(w.ctx)
	same(t, "the members", w.members(), []member{{"c@example.com", true}})
}

// Sweep deletes what no job needs and nothing else, young uploads least of all.
func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	defer w.close()
	put := func(key string) {
		_, err := w.objects.Put(w.ctx, key, strings.NewReader("x"), fine)
		w.must(err)
	}
	job := w.created()
	w.must(w.Upload(w.ctx, job, bytes.NewReader(nil), fine))
	needed := w.job(job).Object
	lost := "imports/" + w.NewID(job)
	put(lost)
	put("exports/of-another")

	// A list of refused lines that is needed, and one that is not.
	refusing := w.started(importfile.CSV, []byte("address\nnone\n"))
	w.work(w.ctx)
	report := w.job(refusing).RefusedObject
	lostReport := "refused/" + w.NewID(refusing)
	put(lostReport)

	// The deletion of what a stopped job had uploaded fails, and is made up for.
	stopped := w.started(importfile.CSV, []byte("a@example.com\n"))
	left := w.job(stopped).Object
	w.Objects = &troubled{Objects: w.objects, deleteErr: errTrouble}
	w.must(w.Stop(w.ctx, ann, stopped))
	w.Objects = w.objects

	there := func() (keys []string) {
		w.must(w.objects.Each(w.ctx, func(key string, _ time.Time) error { keys = append(keys, key); return nil }))
		return sorted(keys)
	}
	all := sorted([]string{"exports/of-another", needed, left, lost, report, lostReport})
	w.must(w.Sweep(w.ctx))
	same(t, "what is left while all is young", there(), all)
	w.Now = func() time.Time { return time.Now().Add(59 * time.Minute) }
	w.must(w.Sweep(w.ctx))
	same(t, "what is left after 59 minutes", there(), all)
	w.Now = func() time.Time { return time.Now().Add(61 * time.Minute) }
	w.must(w.Sweep(w.ctx))
	same(t, "what is left after 61 minutes", there(), sorted([]string{"exports/of-another", needed, report}))
}

// What Config.Keep says goes, by how a job stands; the jobs and their counts stay.
func TestRetire(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	defer w.close()
	file := []byte("address\na@example.com\nnone\n")
	broken := []byte(`{"items":["a@example.com","none",`)

	completed := w.started(importfile.CSV, file)
	w.work(w.ctx)
	failed := w.started(importfile.JSON, broken)
	w.work(w.ctx)
	w.Lists.Limits.Members = 1
	full := w.started(importfile.CSV, []byte("address\nb@example.com\nc@example.com\nnone\n"))
	w.work(w.ctx)
	stopped := w.started(importfile.CSV, file)
	w.in(importer.Merging, file, func() { w.must(w.Stop(w.ctx, ann, stopped)) })
	w.work(w.ctx)
	created := w.created()
	w.must(w.Upload(w.ctx, created, bytes.NewReader(file), fine))
	empty := w.created()
	running := w.started(importfile.CSV, file)
	late := w.created() // as long ago, but its upload is younger
	w.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	w.must(w.Upload(w.ctx, late, bytes.NewReader(file), fine))

	all := []string{completed, failed, full, stopped, created, empty, running, late}
	type has struct{ upload, report bool }
	look := func() map[string]has {
		found := map[string]has{}
		keys := w.uploaded()
		for _, id := range all {
			j := w.job(id)
			content, err := w.Service.Refused(w.ctx, id)
			if err == nil {
				content.Close()
			}
			found[id] = has{j.Object != "" && slices.Contains(keys, j.Object), err == nil}
		}
		return found
	}
	counts := func() (all []importer.Progress) {
		for _, id := range []string{completed, failed, full, stopped} {
			all = append(all, w.job(id).Progress)
		}
		return all
	}
	before, wereCounts := look(), counts()
	same(t, "what is there at first", before, map[string]has{
		completed: {false, true}, failed: {true, false}, full: {true, true}, stopped: {false, true}, created: {true, false}, empty: {}, running: {true, false}, late: {true, false},
	})

	w.Now = func() time.Time { return time.Now().Add(23 * time.Hour) }
	w.must(w.Retire(w.ctx))
	same(t, "what is there after 23 hours", look(), before)
	w.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	w.must(w.Retire(w.ctx))
	same(t, "what is there after 25 hours", look(), map[string]has{
		completed: {}, failed: {}, full: {}, stopped: {}, created: {}, empty: {}, running: {true, false}, late: {true, false},
	})
	same(t, "the counts after 25 hours", counts(), wereCounts)
	left := []string{}
	w.must(w.objects.Each(w.ctx, func(key string, _ time.Time) error { left = append(left, key); return nil }))
	same(t, "the objects after 25 hours", sorted(left), sorted([]string{w.job(running).Object, w.job(late).Object}))

	if err := w.Start(w.ctx, ann, created); !errors.Is(err, importer.ErrNothingUploaded) {
		t.Errorf("Start of a job whose upload is gone: error %v, want %v", err, importer.ErrNothingUploaded)
	}
	w.must(w.Upload(w.ctx, created, bytes.NewReader(file), fine)) // and it may be uploaded again
	w.must(w.Start(w.ctx, ann, created))
	w.work(w.ctx)
	w.work(w.ctx)
	same(t, "the state of the job that waited", w.job(running).Status, jobs.Completed)
	same(t, "the state of the job that was uploaded again", w.job(created).Status, jobs.Completed)
}
