package metadb

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/jobs"
)

var exportOwner = events.Source{Account: "111122223333", Region: "us-east-1"}

func exportJob(n int, o events.Source) exporter.Job {
	return exporter.Job{
		Owner: o, ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), Status: jobs.Processing, Created: start.Add(time.Duration(n) * time.Second),
		Order: exporter.Order{Format: exporter.CSV, Insights: &exporter.Mail{
			Start: start.AddDate(0, 0, -7), End: start, MaxResults: 10, Include: exporter.Filters{Subject: []string{`*\**`}}, Exclude: exporter.Filters{ISP: []string{"Gmail"}},
		}},
	}
}

func metricsJob(n int, o events.Source) exporter.Job {
	j := exportJob(n, o)
	j.Order = exporter.Order{Format: exporter.JSON, Metrics: &exporter.Metrics{
		Start: start.AddDate(0, 0, -7), End: start, Dimensions: map[string][]string{"ISP": {"*"}}, Columns: []exporter.Column{{Metric: "SEND", Rate: true}},
	}}
	return j
}

func (f *fixture) addExports(all ...exporter.Job) {
	f.Helper()
	for _, j := range all {
		if err := f.AddExport(f.ctx, j, 100); err != nil {
			f.Fatal(err)
		}
	}
}

func (f *fixture) isExport(want exporter.Job) {
	f.Helper()
	got, err := f.Export(f.ctx, want.Owner, want.ID)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		f.Errorf("%v\n%s", err, diff)
	}
}

func (f *fixture) claimExport(owner string) (exporter.Job, jobs.Lease) {
	f.Helper()
	j, ok, err := f.ClaimExport(f.ctx, owner, f.now, f.now.Add(jobs.LeaseFor))
	if err != nil || !ok {
		f.Fatalf("nothing is claimed: %v", err)
	}
	return j, jobs.Lease{Job: j.ID, Owner: owner}
}

func keepsExports(f *fixture) {
	a, b := exportJob(1, exportOwner), metricsJob(2, exportOwner)
	f.addExports(a, b)
	f.isExport(a)
	f.isExport(b)
	f.reopen()
	f.isExport(a)
	f.isExport(b)
	if _, err := f.Export(f.ctx, events.Source{Account: "444455556666", Region: "us-east-1"}, a.ID); !errors.Is(err, exporter.ErrNotFound) {
		f.Errorf("of another account: %v", err)
	}
	if _, err := f.Export(f.ctx, events.Source{Account: exportOwner.Account, Region: "eu-west-1"}, a.ID); !errors.Is(err, exporter.ErrNotFound) {
		f.Errorf("of another region: %v", err)
	}
	if err := f.AddExport(f.ctx, exportJob(3, exportOwner), 1); !errors.Is(err, exporter.ErrTooMany) {
		f.Errorf("a second one of a source of which there may be one: %v", err)
	}
}

func listsExports(f *fixture) {
	var want []string
	for n := range 7 {
		j := exportJob(n, exportOwner)
		if n%2 == 1 {
			j = metricsJob(n, exportOwner)
		}
		f.addExports(j)
		want = append([]string{j.ID}, want...)
	}
	f.addExports(exportJob(99, events.Source{Account: "444455556666", Region: "us-east-1"}))
	if err := f.CancelExport(f.ctx, exportOwner, want[2], f.now); err != nil {
		f.Fatal(err)
	}
	list := func(source exporter.Source, status jobs.Status) (ids []string) {
		f.Helper()
		for cursor := ""; ; {
			found, cursors, err := f.Exports(f.ctx, exportOwner, source, status, cursor, 2)
			if err != nil || len(found) != len(cursors) {
				f.Fatalf("%v: %d jobs, %d cursors", err, len(found), len(cursors))
			}
			for _, j := range found {
				ids = append(ids, j.ID)
			}
			if len(found) < 2 {
				return ids
			}
			cursor = cursors[1]
		}
	}
	if got := list("", ""); !slices.Equal(got, want) {
		f.Errorf("listed: %v, want %v", got, want)
	}
	if got := list(exporter.MetricsData, ""); !slices.Equal(got, []string{want[1], want[3], want[5]}) {
		f.Errorf("of metrics: %v", got)
	}
	if got := list(exporter.MessageInsights, jobs.Cancelled); !slices.Equal(got, []string{want[2]}) {
		f.Errorf("cancelled: %v", got)
	}
}

func worksExports(f *fixture) {
	other := events.Source{Account: "444455556666", Region: "us-east-1"}
	f.addExports(exportJob(1, exportOwner), exportJob(2, exportOwner), exportJob(3, other))
	first, lease := f.claimExport("worker-1")
	second, _ := f.claimExport("worker-2") // of the account that has none in hand
	third, _ := f.claimExport("worker-3")
	if got := []string{first.ID, second.ID, third.ID}; !slices.Equal(got, []string{exportJob(1, other).ID, exportJob(3, other).ID, exportJob(2, other).ID}) {
		f.Errorf("claimed in the order %v", got)
	}
	if _, ok, err := f.ClaimExport(f.ctx, "worker-4", f.now, f.now.Add(time.Minute)); ok || err != nil {
		f.Errorf("a job is claimed twice: %v", err)
	}
	p := exporter.Progress{Share: 0.5, Processed: 7, Exported: 3}
	if err := f.RenewExport(f.ctx, lease, f.now.Add(time.Minute), p); err != nil {
		f.Fatal(err)
	}
	first.Progress = p
	f.isExport(first)
	if err := f.ReleaseExport(f.ctx, lease); err != nil {
		f.Fatal(err)
	}
	if again, newLease := f.claimExport("worker-5"); again.ID != first.ID {
		f.Errorf("given back, and %s is claimed", again.ID)
	} else if err := f.RenewExport(f.ctx, lease, f.now, p); !errors.Is(err, jobs.ErrLeaseLost) {
		f.Errorf("the lease before is good: %v", err)
	} else {
		lease = newLease
	}
	file := exporter.File{Object: "exports/" + first.ID + "-1", Name: "x.csv", Size: 9, CRC32C: "AAAAAA=="}
	if _, err := f.ExportFile(f.ctx, first.ID, file.Name); !errors.Is(err, exporter.ErrNotFound) {
		f.Errorf("the file of a job that runs: %v", err)
	}
	f.now = f.now.Add(time.Second)
	if err := f.FinishExport(f.ctx, lease, jobs.Completed, "", p, []exporter.File{file}, f.now); err != nil {
		f.Fatal(err)
	}
	first.Status, first.Files, first.Completed = jobs.Completed, []exporter.File{file}, f.now
	f.isExport(first)
	f.reopen()
	f.isExport(first)
	if got, err := f.ExportFile(f.ctx, first.ID, file.Name); err != nil || got != file {
		f.Errorf("%+v, %v", got, err)
	}
	for object, want := range map[string]bool{file.Object: true, "exports/" + first.ID + "-2": false} {
		if needed, err := f.ExportObjectNeeded(f.ctx, first.ID, object); err != nil || needed != want {
			f.Errorf("%s is needed: %v, %v", object, needed, err)
		}
	}
	for id, want := range map[string]bool{first.ID: false, second.ID: true, "none": false} {
		if runs, err := f.ExportRuns(f.ctx, id); err != nil || runs != want {
			f.Errorf("%s runs: %v, %v", id, runs, err)
		}
	}
	var ended *exporter.EndedError
	if err := f.CancelExport(f.ctx, exportOwner, first.ID, f.now); !errors.As(err, &ended) || ended.Status != jobs.Completed {
		f.Errorf("cancelled after its end: %v", err)
	}
	if err := f.FinishExport(f.ctx, lease, jobs.Failed, "x", p, []exporter.File{file}, f.now); !errors.Is(err, jobs.ErrLeaseLost) {
		f.Errorf("ended twice: %v", err)
	}
	if err := f.CancelExport(f.ctx, other, second.ID, f.now); err != nil {
		f.Fatal(err)
	}
	if err := f.RenewExport(f.ctx, jobs.Lease{Job: second.ID, Owner: "worker-2"}, f.now, p); !errors.Is(err, jobs.ErrLeaseLost) {
		f.Errorf("the lease of a cancelled job is good: %v", err)
	}
	if objects, err := f.RetireExports(f.ctx, f.now, 10); err != nil || len(objects) > 0 {
		f.Errorf("retired too soon: %v, %v", objects, err)
	}
	if objects, err := f.RetireExports(f.ctx, f.now.Add(time.Millisecond), 10); err != nil || !slices.Equal(objects, []string{file.Object}) {
		f.Errorf("retired: %v, %v", objects, err)
	}
	if _, err := f.ExportFile(f.ctx, first.ID, file.Name); !errors.Is(err, exporter.ErrNotFound) {
		f.Errorf("the file of a retired job: %v", err)
	}
}
