package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/smithy-go"
)

// exportWhen makes an export one that is done again and again.
type exportWhen struct {
	Schedule string `placeholder:"NAME" help:"Do not export now, but whenever --cron says, each time what is new since the last. A schedule of that name is replaced, and goes on where it was unless it was of another source."`
	Cron     string `placeholder:"'0 2 * * *'" help:"When, in UTC: minute, hour, day of the month, month and day of the week, or @hourly, @daily, @weekly, @monthly or @yearly."`
}

func (w exportWhen) check(c exportTo, ranged bool) error {
	switch {
	case w.Schedule == "" && w.Cron == "":
		return nil
	case w.Schedule == "":
		return errors.New("--cron is for a schedule: give it a name with --schedule")
	case w.Cron == "":
		return errors.New("--schedule needs --cron, such as --cron '0 2 * * *' for every day at 02:00 UTC")
	case ranged:
		return errors.New("a schedule has no --range: each of its exports is of what is new since the last")
	case c.Out != "":
		return errors.New("a schedule has no --out: its files are kept on the server, and with --s3 put into a bucket; `sesame export fetch` fetches them")
	}
	return nil
}

// schedule makes a schedule of the export.
func (w exportWhen) schedule(c client, o output, in source, destination map[string]any) error {
	if _, limited := in.what["MaxResults"]; limited {
		return usageError{errors.New("a schedule has no --limit: each of its exports is of all that is new")}
	}
	delete(in.what, "StartDate")
	delete(in.what, "EndDate")
	ctx, stop := interruptible()
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	err = sesame(ctx, cfg, "PutExportSchedule", map[string]any{
		"Name": w.Schedule, "Cron": w.Cron, "ExportDataSource": map[string]any{in.member: in.what}, "ExportDestination": destination}, &struct{}{})
	if err != nil {
		var api smithy.APIError
		if errors.As(err, &api) && api.ErrorCode() == "ServiceQuotaExceededException" {
			return fmt.Errorf("%s `sesame export schedules` shows them, and `sesame export unschedule` removes one", api.ErrorMessage())
		}
		return c.refusedExport(err)
	}
	fmt.Fprintf(o.err, "The schedule %s exports %s from now on, at %s UTC. `sesame export schedules` shows its last job.\n", w.Schedule, in.name, w.Cron)
	return nil
}

type exportSchedules struct{ client }

// Help is what `sesame export schedules --help` says above the flags.
func (exportSchedules) Help() string {
	return `Lists the schedules: name, when (cron, UTC), what, the next time, and the last time with its job, which sesame export fetch fetches.`
}

// Run lists.
func (c exportSchedules) Run(o output) error {
	ctx, stop := interruptible()
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	var answer struct {
		Schedules []struct {
			Name, Cron, LastJobId string
			NextRun, LastRun      float64 // seconds since 1970
			ExportDataSource      map[string]any
		}
	}
	if err := sesame(ctx, cfg, "ListExportSchedules", struct{}{}, &answer); err != nil {
		return c.kinder(err)
	}
	moment := func(seconds float64) string { return time.Unix(int64(seconds), 0).UTC().Format(time.DateTime) }
	table := tabwriter.NewWriter(o.out, 0, 0, 2, ' ', 0)
	for _, s := range answer.Schedules {
		what := ""
		for member := range s.ExportDataSource {
			what = strings.ToLower(strings.TrimPrefix(strings.TrimSuffix(member, "DataSource"), "Message"))
		}
		last := "-"
		if s.LastJobId != "" {
			last = moment(s.LastRun) + " " + s.LastJobId
		}
		fmt.Fprintf(table, "%s\t%s\t%s\tnext %s\tlast %s\n", s.Name, s.Cron, what, moment(s.NextRun), last)
	}
	return table.Flush()
}

type exportUnschedule struct {
	client
	Name string `arg:"" help:"The schedule, as sesame export schedules shows it."`
}

// Run removes a schedule.
func (c exportUnschedule) Run(o output) error {
	ctx, stop := interruptible()
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	if err := sesame(ctx, cfg, "DeleteExportSchedule", map[string]any{"Name": c.Name}, &struct{}{}); err != nil {
		return c.kinder(err)
	}
	fmt.Fprintf(o.err, "The schedule %s is removed. Its jobs stay.\n", c.Name)
	return nil
}
