package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

type scheduleCmd struct {
	Put    schedulePut    `cmd:"" help:"Make a schedule, or replace the one of that name."`
	List   scheduleList   `cmd:"" help:"List the schedules, and when each runs next."`
	Delete scheduleDelete `cmd:"" help:"Delete a schedule. Its exports stay."`
}

type schedulePut struct {
	client
	Name        string   `arg:"" name:"NAME" help:"Up to 64 letters, digits, dots, dashes and underscores."`
	Cron        string   `placeholder:"CRON" help:"When, in UTC: minute, hour, day of month, month and day of week, such as '0 2 * * *', or @hourly, @daily, @weekly, @monthly."`
	Source      string   `enum:"events,insights,metrics" default:"events" help:"${enum}; events (the default) is the one that leaves nothing out, however late it comes."`
	Columns     []string `placeholder:"A,B" help:"Columns of the files, in this order, such as messageid,destination,tag:campaign. Default: the usual ones."`
	Format      string   `enum:"csv,ses-csv,json,ndjson,parquet" default:"csv" help:"${enum}. csv (the default) is as other programs read it, ses-csv and json are SES's to the byte."`
	Compression string   `enum:"auto,none,gzip,zstd" default:"auto" help:"${enum}. auto is zstd for parquet, and none."`
	RowsPerFile *int64   `placeholder:"N" help:"Write several files of so many rows."`
	S3          string   `name:"s3" placeholder:"s3://BUCKET/PREFIX/" help:"Have the server put the files there too, if it is allowed to."`
	File        string   `type:"existingfile" placeholder:"FILE" help:"JSON file with ExportDataSource and ExportDestination, as PutExportSchedule takes them and sesame schedules list --json shows them, in place of the flags from --source on; with Cron too, unless --cron is given."`
}

// Help is what `sesame schedules put --help` says above the flags.
func (schedulePut) Help() string {
	return `Each time that it is due the server exports what is new since the last time: of events all that arrived, of insights the messages that were sent, as they stand then, of metrics whole days. The first one begins now; what was before, sesame export has. A run is an export job like any other, with files on the server for as long as it keeps them.

A run that was missed while the server was down is made up. What a run that failed or was cancelled was to have comes with the next. A schedule that is replaced goes on where it is.

Examples:
  sesame schedules put nightly --cron '0 2 * * *' --source events --format parquet --s3 s3://lake/mail/
  sesame schedules put hourly --cron @hourly --source insights --columns messageid,destination,last_delivery_event
  sesame schedules put bounces --cron '*/15 * * * *' --file bounces.json

where bounces.json is
  {"ExportDataSource": {"EventsDataSource": {"Include": {"EventType": ["BOUNCE"]}}},
   "ExportDestination": {"DataFormat": "NDJSON", "Compression": "GZIP"}}`
}

// Run makes the schedule.
func (c schedulePut) Run(o output) error {
	in, err := c.request()
	if err != nil {
		return usageError{err}
	}
	ctx, stop := interruptible()
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	if err := sesame(ctx, cfg, "PutExportSchedule", in, &struct{}{}); err != nil {
		return c.kinder(err)
	}
	all, err := c.schedules()
	if err != nil {
		fmt.Fprintf(o.out, "Schedule %s is made.\n", c.Name) // the key may not list them
		return nil
	}
	for _, s := range all {
		if s.Name == c.Name {
			fmt.Fprintf(o.out, "Schedule %s runs next at %s.\n", s.Name, shownTime(s.NextRun))
		}
	}
	return nil
}

// request is what the operation takes.
func (c schedulePut) request() (map[string]any, error) {
	in := map[string]any{"Name": c.Name}
	if c.File != "" {
		if c.Source != "events" || len(c.Columns) > 0 || c.Format != "csv" || c.Compression != "auto" || c.RowsPerFile != nil || c.S3 != "" {
			return nil, errors.New("--file says what --source, --columns, --format, --compression, --rows-per-file and --s3 say: leave these out")
		}
		text, err := os.ReadFile(c.File)
		if err != nil {
			return nil, err
		}
		var of map[string]json.RawMessage
		if err := json.Unmarshal(text, &of); err != nil {
			return nil, fmt.Errorf("%s is not a JSON object: %w", c.File, err)
		}
		for _, member := range []string{"Cron", "ExportDataSource", "ExportDestination"} {
			if of[member] != nil {
				in[member] = of[member]
			}
		}
		if in["ExportDataSource"] == nil || in["ExportDestination"] == nil {
			return nil, fmt.Errorf("%s must have ExportDataSource and ExportDestination: --help has an example", c.File)
		}
	} else {
		source, destination := map[string]any{}, map[string]any{
			"DataFormat": map[string]string{"csv": "STRICT_CSV", "ses-csv": "CSV", "json": "JSON", "ndjson": "NDJSON", "parquet": "PARQUET"}[c.Format],
		}
		if len(c.Columns) > 0 {
			source["Columns"] = c.Columns
		}
		if c.Compression != "auto" {
			destination["Compression"] = strings.ToUpper(c.Compression)
		}
		if c.RowsPerFile != nil {
			destination["RowsPerFile"] = *c.RowsPerFile
		}
		if c.S3 != "" {
			destination["S3Url"] = c.S3
		}
		name := map[string]string{"events": "EventsDataSource", "insights": "MessageInsightsDataSource", "metrics": "MetricsDataSource"}[c.Source]
		if c.Source == "metrics" {
			if len(c.Columns) > 0 {
				return nil, errors.New("the columns of metrics are not by --columns: give what is counted with --file")
			}
			var metrics []map[string]any
			for _, m := range []string{"SEND", "DELIVERY", "PERMANENT_BOUNCE", "TRANSIENT_BOUNCE", "COMPLAINT", "OPEN", "CLICK"} {
				metrics = append(metrics, map[string]any{"Name": m, "Aggregation": "VOLUME"})
			}
			source = map[string]any{"Namespace": "VDM", "Dimensions": map[string][]string{"ISP": {"*"}}, "Metrics": metrics}
		}
		in["ExportDataSource"], in["ExportDestination"] = map[string]any{name: source}, destination
	}
	if c.Cron != "" {
		in["Cron"] = c.Cron
	}
	if in["Cron"] == nil {
		return nil, errors.New("give --cron, such as --cron '0 2 * * *' for two o'clock every night, UTC")
	}
	return in, nil
}

// listedSchedule is what ListExportSchedules says of one.
type listedSchedule struct {
	Name, Cron, LastJobId string
	NextRun, LastRun      float64 // seconds since 1970; 0 for never
	ExportDataSource      json.RawMessage
	ExportDestination     json.RawMessage
}

func (c client) schedules() ([]listedSchedule, error) {
	ctx, stop := interruptible()
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return nil, err
	}
	var answer struct{ Schedules []listedSchedule }
	if err := sesame(ctx, cfg, "ListExportSchedules", struct{}{}, &answer); err != nil {
		return nil, c.kinder(err)
	}
	return answer.Schedules, nil
}

func shownTime(seconds float64) string {
	return time.UnixMilli(int64(1000 * seconds)).UTC().Format("2006-01-02 15:04:05Z")
}

type scheduleList struct {
	client
	JSON bool `name:"json" help:"Print what each is of too: a JSON object a line."`
}

// Run lists.
func (c scheduleList) Run(o output) error {
	all, err := c.schedules()
	if err != nil {
		return err
	}
	if c.JSON {
		for _, s := range all {
			shown := map[string]any{"Name": s.Name, "Cron": s.Cron, "NextRun": shownTime(s.NextRun), "ExportDataSource": s.ExportDataSource, "ExportDestination": s.ExportDestination}
			if s.LastJobId != "" {
				shown["LastRun"], shown["LastJobId"] = shownTime(s.LastRun), s.LastJobId
			}
			text, err := json.Marshal(shown)
			if err != nil {
				return err
			}
			fmt.Fprintf(o.out, "%s\n", text)
		}
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(o.err, "There are no schedules.")
		return nil
	}
	table := tabwriter.NewWriter(o.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tCRON\tNEXT RUN\tLAST RUN\tITS JOB")
	for _, s := range all {
		last, job := "-", "-"
		if s.LastJobId != "" {
			last, job = shownTime(s.LastRun), s.LastJobId
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", s.Name, s.Cron, shownTime(s.NextRun), last, job)
	}
	return table.Flush()
}

type scheduleDelete struct {
	client
	Name string `arg:"" name:"NAME" help:"The schedule."`
}

// Run deletes.
func (c scheduleDelete) Run(o output) error {
	ctx, stop := interruptible()
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	if err := sesame(ctx, cfg, "DeleteExportSchedule", map[string]any{"Name": c.Name}, &struct{}{}); err != nil {
		return c.kinder(err)
	}
	fmt.Fprintf(o.out, "Deleted schedule %s.\n", c.Name)
	return nil
}
