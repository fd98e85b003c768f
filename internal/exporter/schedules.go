package exporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"

	"sesame/internal/events"
	"sesame/internal/jobs"
)

// Schedule has an order done again and again, each time of what is new. A run is a
// job, and there is one at a time. What it is of begins where the last run ended that
// has COMPLETED, so what a run was to have that fails, is cancelled, or is
// missed, the next one has too. It ends with the last time that the schedule was due,
// and is of
//
//   - all events that arrived since, of mail of any time, each in one run;
//   - the messages that were sent since and before, as they stand when the run is
//     worked on;
//   - the metrics of all days UTC since that are over. When there is no new one, there
//     is no run.
//
// The first run begins with when the schedule was made, and of metrics with that day.
type Schedule struct {
	Owner   events.Source
	Name    string
	Cron    string    // five fields in UTC, or @daily and the like
	Order   Order     // of each run, but for its times and Schedule
	Created time.Time // by the first Put of that name
	Next    time.Time // when it is due
	Until   time.Time // where what the runs that have COMPLETED were of ends, and the next begins
	LastRun time.Time // when the last run was made; zero when there was none
	LastJob string    // its job; "" when there was none
	Version int64     // given by the store, and new with each Put
}

// MostSchedules is how many schedules an account may have in a region: they are listed
// all at once.
const MostSchedules = 100

// What can be wrong with schedules. The text behind ErrCron says what is.
var (
	ErrNoSchedule       = errors.New("no such schedule of exports")
	ErrTooManySchedules = fmt.Errorf("there are %d schedules of exports, as many as may be", MostSchedules)
	ErrScheduleChanged  = errors.New("the schedule of exports is not as it was read")
	ErrScheduleFile     = errors.New("the runs of a schedule of exports would put their files over each other: the destination must be a folder")
	ErrCron             = errors.New("not five cron fields in UTC, or @hourly, @daily, @weekly, @monthly or @yearly")
)

// ScheduleStore keeps schedules. Each method that changes something is one
// transaction, durable when it returns nil.
type ScheduleStore interface {
	// PutSchedule adds a schedule, unless its owner has limit of them, or replaces the
	// one of that name. Of that Created stays, and, if both are of one source, Until,
	// LastRun and LastJob. ErrTooManySchedules.
	PutSchedule(ctx context.Context, s Schedule, limit int) error
	// Schedules gives all of an owner, in order of their names.
	Schedules(ctx context.Context, o events.Source) ([]Schedule, error)
	// DeleteSchedule removes a schedule; its jobs stay. ErrNoSchedule.
	DeleteSchedule(ctx context.Context, o events.Source, name string) error
	// DueSchedules gives those whose Next is now or before and whose last job has ended,
	// which waits longest first.
	DueSchedules(ctx context.Context, now time.Time) ([]Schedule, error)
	// RunSchedule adds a job as AddExport does, and makes it the last one of s, which is
	// due again at next; what the job is of ends at until. Without a job, s is only due
	// again. ErrTooMany, ErrScheduleChanged: nothing is changed.
	RunSchedule(ctx context.Context, s Schedule, j *Job, until, next time.Time, limit int) error
	// ScheduledUntil gives the latest time at which what a run is of ends; zero when there
	// was no run.
	ScheduledUntil(ctx context.Context) (time.Time, error)
}

// PutSchedule makes a schedule, or replaces the one of that name, which goes on from
// where it is if it is of the same source. order has no times. It is durable when
// PutSchedule returns nil. ErrCron, ErrScheduleFile, ErrTooManySchedules.
func (s *Service) PutSchedule(ctx context.Context, src events.Source, name, cron string, order Order) error {
	now := s.Now()
	times, err := parseCron(cron)
	if err != nil {
		return err
	}
	next := times.Next(now.UTC())
	if next.IsZero() {
		return fmt.Errorf("%w: %q is never due", ErrCron, cron)
	}
	if order.Destination != "" && !folder(order.Destination) {
		return ErrScheduleFile
	}
	made := Schedule{Owner: src, Name: name, Cron: cron, Order: order, Created: now, Next: next, Until: now}
	switch order.Source() {
	case EmailEvents:
		made.Until = s.Events.Settle(now)
	case MetricsData:
		made.Until = now.Truncate(day)
	}
	return s.Store.PutSchedule(ctx, made, MostSchedules)
}

// Schedules gives the schedules of an account, in order of their names.
func (s *Service) Schedules(ctx context.Context, src events.Source) ([]Schedule, error) {
	return s.Store.Schedules(ctx, src)
}

// DeleteSchedule removes a schedule. Its jobs stay, also one that runs. ErrNoSchedule.
func (s *Service) DeleteSchedule(ctx context.Context, src events.Source, name string) error {
	return s.Store.DeleteSchedule(ctx, src, name)
}

// parseCron gives when a schedule is due, in UTC.
func parseCron(text string) (cron.Schedule, error) {
	// With this one, a time zone of the text's own is a field too many.
	times, err := cron.ParseStandard("CRON_TZ=UTC " + text)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCron, err)
	}
	if _, ok := times.(*cron.SpecSchedule); !ok { // "@every 5m": since when?
		return nil, ErrCron
	}
	return times, nil
}

// ResumeSchedules has what arrives from now on arrive after what runs have had, also
// if the clock was set back while the server was down. Call it before the first event
// is taken.
func (s *Service) ResumeSchedules(ctx context.Context) error {
	until, err := s.Store.ScheduledUntil(ctx)
	if err != nil {
		return fmt.Errorf("look how far scheduled exports are: %w", err)
	}
	if until.IsZero() {
		return nil
	}
	if s.Events.Settle(until); until.After(s.Now()) {
		s.Log.Warn("scheduled exports have had what arrived until a time to come: was the clock set back?", "until", until)
	}
	return nil
}

// RunSchedules makes the jobs of all schedules that are due. One that finds as many
// jobs as may be is due at the next call again.
func (s *Service) RunSchedules(ctx context.Context) error {
	due, err := s.Store.DueSchedules(ctx, s.Now())
	if err != nil {
		return fmt.Errorf("look for schedules of exports that are due: %w", err)
	}
	type kind struct {
		owner  events.Source
		source Source
	}
	full := map[kind]bool{}
	var failed []error
	for _, one := range due {
		k := kind{one.Owner, one.Order.Source()}
		if full[k] {
			continue
		}
		switch err := s.runSchedule(ctx, one); {
		case errors.Is(err, ErrTooMany):
			full[k] = true
		case errors.Is(err, ErrScheduleChanged): // it is looked at again
		case err != nil:
			failed = append(failed, fmt.Errorf("run the schedule %s of exports of %s: %w", one.Name, one.Owner.Account, err))
		}
	}
	return errors.Join(failed...)
}

// Mail of any time is sent between them.
var (
	earliest = time.UnixMilli(0).UTC()
	latest   = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

// runSchedule makes the next job of a schedule that is due.
func (s *Service) runSchedule(ctx context.Context, one Schedule) error {
	times, err := parseCron(one.Cron)
	if err != nil {
		return err
	}
	// Of several times that were missed, the last one is made up.
	due, next, now := one.Next, times.Next(one.Next), s.Now()
	for !next.After(now) {
		due, next = next, times.Next(next)
	}
	order, until := one.Order, due
	order.Schedule = one.Name
	switch {
	case order.Events != nil:
		// When the clock was set back, times of arrival are ahead of it and of when the
		// schedule is due.
		if settled := s.Events.Settle(due); settled.After(s.Now()) {
			until = settled
		}
		mail := *order.Events
		mail.Start, mail.End, mail.ArrivedAfter, mail.ArrivedUntil = earliest, latest, one.Until, until
		order.Events = &mail
	case order.Insights != nil:
		mail := *order.Insights
		mail.Start, mail.End = one.Until, due.Add(-time.Millisecond)
		order.Insights = &mail
	default:
		until = due.Truncate(day)
		metrics := *order.Metrics
		metrics.Start, metrics.End = one.Until, until
		order.Metrics = &metrics
	}
	if !until.After(one.Until) {
		return s.Store.RunSchedule(ctx, one, nil, time.Time{}, next, 0)
	}
	j := Job{Owner: one.Owner, ID: s.NewJob(), Order: order, Status: jobs.Processing, Created: now}
	if err := s.Store.RunSchedule(ctx, one, &j, until, next, s.Config.Running); err != nil {
		return err
	}
	s.Log.Info("a scheduled export was made", "schedule", one.Name, "job", j.ID, "source", order.Source(), "after", one.Until, "until", until)
	s.Wake()
	return nil
}
