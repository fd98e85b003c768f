package metadb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/jobs"
)

func schedule(name string, o events.Source) exporter.Schedule {
	return exporter.Schedule{
		Owner: o, Name: name, Cron: "0 2 * * *", Created: start, Next: start.Add(time.Hour), Until: start,
		Order: exporter.Order{Format: exporter.NDJSON, Compression: exporter.Zstd, RowsPerFile: 5, Destination: "s3://bucket/folder/", Events: &exporter.Mail{
			Include: exporter.Filters{Tags: map[string][]string{"campaign": {"größe*"}}}, Columns: []string{"messageid"},
		}},
	}
}

func (f *fixture) putSchedules(all ...exporter.Schedule) {
	f.Helper()
	for _, s := range all {
		f.is("PutSchedule", f.PutSchedule(f.ctx, s, 100), nil)
	}
}

// schedules gives an owner's, without their versions, which are the store's to choose.
func (f *fixture) schedules(o events.Source) []exporter.Schedule {
	f.Helper()
	all, err := f.Schedules(f.ctx, o)
	f.is("Schedules", err, nil)
	for i := range all {
		all[i].Version = 0
	}
	return all
}

// due gives the one schedule that is due.
func (f *fixture) due() exporter.Schedule {
	f.Helper()
	all, err := f.DueSchedules(f.ctx, f.now)
	f.is("DueSchedules", err, nil)
	if len(all) != 1 {
		f.Fatalf("%d schedules are due: %+v", len(all), all)
	}
	return all[0]
}

// runOf is the job of a run.
func (f *fixture) runOf(s exporter.Schedule) *exporter.Job {
	f.ids++
	order := s.Order
	order.Schedule = s.Name
	return &exporter.Job{Owner: s.Owner, ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", f.ids), Status: jobs.Processing, Created: f.now, Order: order}
}

func (f *fixture) finishExport(status jobs.Status) {
	f.Helper()
	_, lease := f.claimExport(f.id("worker"))
	f.is("FinishExport", f.FinishExport(f.ctx, lease, status, "", exporter.Progress{}, nil, f.now), nil)
}

func keepsSchedules(f *fixture) {
	other := events.Source{Account: exportOwner.Account, Region: "eu-west-1"}
	b, a, others := schedule("b", exportOwner), schedule("a", exportOwner), schedule("a", other)
	a.Order = metricsJob(1, exportOwner).Order
	f.putSchedules(b, a, others)
	for range 2 {
		f.same("an account's schedules", f.schedules(exportOwner), []exporter.Schedule{a, b})
		f.same("those of another region", f.schedules(other), []exporter.Schedule{others})
		f.reopen()
	}
	f.is("a third of at most two", f.PutSchedule(f.ctx, schedule("c", exportOwner), 2), exporter.ErrTooManySchedules)
	a.Cron, a.Next = "@daily", start.Add(2*time.Hour)
	f.is("one of two in place of itself", f.PutSchedule(f.ctx, a, 2), nil)
	f.same("an account's schedules", f.schedules(exportOwner), []exporter.Schedule{a, b})
	f.is("DeleteSchedule", f.DeleteSchedule(f.ctx, exportOwner, "a"), nil)
	f.is("DeleteSchedule again", f.DeleteSchedule(f.ctx, exportOwner, "a"), exporter.ErrNoSchedule)
	f.same("an account's schedules", f.schedules(exportOwner), []exporter.Schedule{b})
	f.same("those of another region", f.schedules(other), []exporter.Schedule{others})
}

func runsSchedules(f *fixture) {
	until, err := f.ScheduledUntil(f.ctx)
	f.is("ScheduledUntil", err, nil)
	f.same("how far no schedule is", until, time.Time{})
	want := schedule("a", exportOwner)
	f.putSchedules(want)
	f.now = want.Next.Add(-time.Millisecond)
	if all, err := f.DueSchedules(f.ctx, f.now); err != nil || len(all) > 0 {
		f.Fatalf("due too soon: %+v, %v", all, err)
	}

	// The first run.
	f.tick(time.Millisecond)
	s := f.due()
	end, next := f.now, f.now.Add(24*time.Hour)
	j := f.runOf(s)
	f.is("a run over the limit", f.RunSchedule(f.ctx, s, j, end, next, 0), exporter.ErrTooMany)
	f.same("a schedule whose run was over the limit", f.due(), s)
	f.is("RunSchedule", f.RunSchedule(f.ctx, s, j, end, next, 1), nil)
	f.is("RunSchedule of what was read before", f.RunSchedule(f.ctx, s, f.runOf(s), end, next, 5), exporter.ErrScheduleChanged)
	want.Next, want.LastRun, want.LastJob = next, j.Created, j.ID
	f.reopen()
	f.same("the schedule", f.schedules(exportOwner), []exporter.Schedule{want})
	f.isExport(*j)
	until, err = f.ScheduledUntil(f.ctx)
	f.is("ScheduledUntil", err, nil)
	f.same("how far runs are, also one that runs", until, end)

	// It is not due while it runs, and goes on from where a completed one ended.
	f.now = next
	if all, err := f.DueSchedules(f.ctx, f.now); err != nil || len(all) > 0 {
		f.Fatalf("due while it runs: %+v, %v", all, err)
	}
	f.finishExport(jobs.Completed)
	want.Until = end
	f.same("the schedule", f.schedules(exportOwner), []exporter.Schedule{want})

	// One that fails, and one that is cancelled, count for nothing.
	for _, status := range []jobs.Status{jobs.Failed, jobs.Cancelled} {
		s = f.due()
		next = f.now.Add(time.Hour)
		j = f.runOf(s)
		f.is("RunSchedule", f.RunSchedule(f.ctx, s, j, f.now, next, 1), nil)
		if status == jobs.Failed {
			f.finishExport(status)
		} else {
			f.is("CancelExport", f.CancelExport(f.ctx, exportOwner, j.ID, f.now), nil)
		}
		want.Next, want.LastRun, want.LastJob = next, j.Created, j.ID
		f.same("the schedule after a run "+string(status), f.schedules(exportOwner), []exporter.Schedule{want})
		f.now = next
	}

	// Without a job it is only due later.
	s = f.due()
	next = f.now.Add(time.Hour)
	f.is("RunSchedule without a job", f.RunSchedule(f.ctx, s, nil, time.Time{}, next, 0), nil)
	f.is("RunSchedule of what was read before", f.RunSchedule(f.ctx, s, nil, time.Time{}, next, 0), exporter.ErrScheduleChanged)
	want.Next = next
	f.same("the schedule after no run", f.schedules(exportOwner), []exporter.Schedule{want})
}

func replacesSchedules(f *fixture) {
	want := schedule("a", exportOwner)
	f.putSchedules(want)
	f.now = want.Next
	s := f.due()
	j := f.runOf(s)
	end := f.now
	f.is("RunSchedule", f.RunSchedule(f.ctx, s, j, end, f.now.Add(time.Hour), 1), nil)

	// One of the same source keeps what it had, and what runs counts.
	f.tick(time.Minute)
	again := schedule("a", exportOwner)
	again.Cron, again.Created, again.Until, again.Next, again.Order.Format = "@hourly", f.now, f.now, f.now, exporter.CSV
	f.putSchedules(again)
	again.Created, again.Until, again.LastRun, again.LastJob = want.Created, want.Until, j.Created, j.ID
	f.same("the schedule in its place", f.schedules(exportOwner), []exporter.Schedule{again})
	f.finishExport(jobs.Completed)
	again.Until = end
	f.same("it, when the run of before has ended", f.schedules(exportOwner), []exporter.Schedule{again})

	// What was read before it was put again, or deleted, is not run.
	for _, change := range []func(){
		func() { f.putSchedules(again) },
		func() { f.is("DeleteSchedule", f.DeleteSchedule(f.ctx, exportOwner, "a"), nil) },
		func() {
			f.is("DeleteSchedule", f.DeleteSchedule(f.ctx, exportOwner, "a"), nil)
			f.putSchedules(again)
		},
	} {
		f.putSchedules(again)
		s := f.due()
		change()
		before := f.schedules(exportOwner)
		j := f.runOf(s)
		f.is("RunSchedule of what is not there so any more", f.RunSchedule(f.ctx, s, j, f.now, f.now.Add(time.Hour), 5), exporter.ErrScheduleChanged)
		f.same("the schedules", f.schedules(exportOwner), before)
		_, err := f.Export(f.ctx, exportOwner, j.ID)
		f.is("its job", err, exporter.ErrNotFound)
	}

	// One of another source begins anew, whatever still runs.
	s = f.due()
	f.is("RunSchedule", f.RunSchedule(f.ctx, s, f.runOf(s), f.now, f.now.Add(time.Hour), 1), nil)
	f.tick(time.Minute)
	other := again
	other.Order, other.Until, other.LastRun, other.LastJob = exportJob(1, exportOwner).Order, f.now, time.Time{}, ""
	f.putSchedules(other)
	f.finishExport(jobs.Completed)
	other.Created = f.schedules(exportOwner)[0].Created
	f.same("the schedule of another source", f.schedules(exportOwner), []exporter.Schedule{other})
}

// scheduleRace has several run the same schedule at once: one does.
func scheduleRace(f *fixture, other store) {
	f.putSchedules(schedule("a", exportOwner))
	f.now = start.Add(time.Hour)
	for range 20 {
		s := f.due()
		next := f.now.Add(time.Hour)
		var all sync.WaitGroup
		results := make(chan error, 6)
		for i := range 6 {
			on, j := f.either(i, other), f.runOf(s)
			all.Go(func() { results <- on.RunSchedule(context.Background(), s, j, f.now, next, 100) })
		}
		all.Wait()
		close(results)
		ran := 0
		for err := range results {
			if err == nil {
				ran++
			} else if !errors.Is(err, exporter.ErrScheduleChanged) {
				f.Errorf("RunSchedule: %v", err)
			}
		}
		if ran != 1 {
			f.Errorf("it was run %d times", ran)
		}
		f.finishExport(jobs.Completed)
		if _, ok, err := f.ClaimExport(f.ctx, "nobody", f.now, f.now); ok || err != nil {
			f.Errorf("there is another job, %v", err)
		}
		f.now = next
	}
}
