package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"

	"sesame/internal/events"
)

type exportCmd struct {
	Insights exportInsights `cmd:"" help:"What became of each message and recipient, a row each."`
	Events   exportEvents   `cmd:"" help:"Everything that happened, a row an event."`
	Metrics  exportMetrics  `cmd:"" help:"Counts and rates by provider, identity or configuration set."`
	List     exportList     `cmd:"" help:"List export jobs, the newest first."`
	Fetch    exportFetch    `cmd:"" help:"Fetch the files of an export job, when it has ended."`
	Cancel   exportCancel   `cmd:"" help:"Cancel an export job."`

	Schedules  exportSchedules  `cmd:"" help:"List the schedules of exports."`
	Unschedule exportUnschedule `cmd:"" help:"Remove a schedule of exports."`
}

// What the help of all three sources says.
const (
	exportHelp = `Makes an export job on the server, shows how far it is, and writes its file. Ctrl-C cancels the job and leaves no file (but those that are whole in a bucket by then); a server that is started anew meanwhile is waited for. FILE is put in its place when it is whole and its checksum is right: an export that fails leaves what was there before.

`
	exportStatus = `The exit status is 0 when all was written, 1 when not, and 2 for wrong usage.

`
)

type exportInsights struct {
	client
	exportRange
	Include insightsFilters `embed:"" group:"Only mail that has one of the values of each of these:"`
	Exclude insightsFilters `embed:"" prefix:"not-" group:"Leave out mail that has one of the values of each of these:"`
	Columns []string        `placeholder:"A,B" help:"Columns of the file, in this order, such as messageid,destination,tag:campaign. Default: those of SES."`
	Limit   *int64          `placeholder:"N" help:"At most so many rows, the newest. Default: all."`
	exportTo
	exportWhen
}

// Help is what `sesame export insights --help` says above the flags.
func (exportInsights) Help() string {
	return `What became of each message, a row for each of its recipients, the newest first: the last thing a mail server did, and the last thing the recipient did.

` + exportHelp + exportStatus + `Examples:
  sesame export insights --range 7d --out week.csv
  sesame export insights --range 2026-11-01..2026-11-20 --last-delivery permanent-bounce --not-isp Gmail
  sesame export insights --from '*@example.com' --tag 'campaign=newsletter-*' --columns messageid,destination,tag:campaign --out spring.parquet
  sesame export insights --range 2w --out mail.ndjson.zst --rows-per-file 1000000`
}

// Run exports.
func (c exportInsights) Run(o output) error {
	return runExport(c.client, o, c.exportTo, c.exportWhen, c.Range != "", c.source)
}

func (c exportInsights) source(now time.Time) (source, error) {
	in, err := c.mail(now, c.Columns, c.Limit, c.Include, c.Exclude)
	return in.called("insights", "MessageInsightsDataSource"), err
}

type exportEvents struct {
	client
	exportRange
	Include eventFilters `embed:"" group:"Only events that have one of the values of each of these:"`
	Exclude eventFilters `embed:"" prefix:"not-" group:"Leave out events that have one of the values of each of these:"`
	Columns []string     `placeholder:"A,B" help:"Columns of the file, in this order, such as messageid,destination,tag:campaign. Default: the usual ones."`
	Limit   *int64       `placeholder:"N" help:"At most so many rows, of the newest mail. Default: all."`
	exportTo
	exportWhen
}

// Help is what `sesame export events --help` says above the flags.
func (exportEvents) Help() string {
	return `Every event of the mail that was sent in the range, a row each, those of the newest mail first. An open of today belongs to mail of last week: what counts is when the mail was sent.

` + exportHelp + exportStatus + `Examples:
  sesame export events --range 7d --out week.ndjson.gz
  sesame export events --range 2026-11-20 --event-type bounce,complaint | grep -c example.com
  sesame export events --range 2026-11-01..2026-11-20 --not-event-type send --out november.parquet
  sesame export events --schedule nightly --cron '0 2 * * *' --format parquet --s3 s3://archive/mail/`
}

// Run exports.
func (c exportEvents) Run(o output) error {
	return runExport(c.client, o, c.exportTo, c.exportWhen, c.Range != "", c.source)
}

func (c exportEvents) source(now time.Time) (source, error) {
	in, err := c.mail(now, c.Columns, c.Limit, c.Include, c.Exclude)
	return in.called("events", "EventsDataSource"), err
}

type exportMetrics struct {
	client
	Range  string   `placeholder:"DAYS" help:"Whole days, UTC: 7d (the default) or 2w for the last that are over, 2026-11-20, or 2026-11-01..2026-11-20, both included, either of which may be missing."`
	Metric []string `default:"send,delivery,permanent-bounce,transient-bounce,complaint,open,click" placeholder:"NAME" help:"What is counted; NAME:rate is its share of what was sent (${default})."`
	By     []string `sep:"none" default:"isp" placeholder:"DIMENSION=VALUE,..." help:"A row for each value of isp, identity or configuration-set; without values, for each there is (${default}). May be given again for others; beside one without values, each of the others has one value."`
	exportTo
	exportWhen
}

// Help is what `sesame export metrics --help` says above the flags.
func (exportMetrics) Help() string {
	return `How much was sent, delivered, bounced, complained about, opened and clicked, over the whole range: a row for each value of the dimensions, as SES counts it, but with mail to several recipients and to the simulator unless the server runs with --quotas aws. Days are UTC's.

` + exportHelp + exportStatus + `Examples:
  sesame export metrics
  sesame export metrics --range 2026-11-01..2026-11-20 --metric send,delivery,delivery:rate --out isps.csv
  sesame export metrics --by isp=Gmail,Yahoo,Outlook --range 2w
  sesame export metrics --by configuration-set --by identity=example.com --out sets.json`
}

// Run exports.
func (c exportMetrics) Run(o output) error {
	return runExport(c.client, o, c.exportTo, c.exportWhen, c.Range != "", c.source)
}

func (c exportMetrics) source(now time.Time) (source, error) {
	s, err := parseSpan(cmp.Or(c.Range, "7d"), now, true)
	if err != nil {
		return source{}, err
	}
	var metrics []map[string]any
	for _, m := range c.Metric {
		name, aggregation, rated := strings.Cut(upperSnake(m), ":")
		if !rated {
			aggregation = "VOLUME"
		}
		if !slices.Contains(types.Metric("").Values(), types.Metric(name)) || aggregation != "VOLUME" && aggregation != "RATE" {
			return source{}, fmt.Errorf("--metric %q: give one of %s, and :rate behind it for its share of what was sent", m, lowerDashed(types.Metric("").Values()))
		}
		metrics = append(metrics, map[string]any{"Name": name, "Aggregation": aggregation})
	}
	dimensions := map[string][]string{}
	for _, by := range c.By {
		name, values, some := strings.Cut(by, "=")
		dimension, known := map[string]string{"ISP": "ISP", "IDENTITY": "EMAIL_IDENTITY", "EMAIL_IDENTITY": "EMAIL_IDENTITY", "CONFIGURATION_SET": "CONFIGURATION_SET"}[upperSnake(name)]
		if !known || some && slices.Contains(strings.Split(values, ","), "") {
			return source{}, fmt.Errorf("--by %q: give isp, identity or configuration-set, alone or with values as in isp=Gmail,Yahoo", by)
		}
		if !some {
			values = "*"
		}
		dimensions[dimension] = append(dimensions[dimension], strings.Split(values, ",")...)
	}
	in := source{span: s, what: map[string]any{"StartDate": s.From, "EndDate": s.To, "Namespace": "VDM", "Metrics": metrics, "Dimensions": dimensions}}
	return in.called("metrics", "MetricsDataSource"), nil
}

// exportRange is the time of what is exported of mail.
type exportRange struct {
	Range string `placeholder:"SPAN" help:"When the mail was sent, UTC: 7d (the default), 36h or 2w until now, 2026-11-20, 2026-11-01..2026-11-20 (both included), 2026-11-01T10:00..2026-11-01T12:30 (before 12:30), 2026-11-01.. (until now) or ..2026-11-01."`
}

// filters are insightsFilters or eventFilters.
type filters interface {
	// request gives them as the operation takes them. prefix is what the flags' names
	// have in front.
	request(prefix string) (map[string]any, error)
}

// mail is a source of mail.
func (c exportRange) mail(now time.Time, columns []string, limit *int64, include, exclude filters) (source, error) {
	s, err := parseSpan(cmp.Or(c.Range, "7d"), now, false)
	if err != nil {
		return source{}, err
	}
	// Both ends are included there.
	in := source{span: s, what: map[string]any{"StartDate": s.From, "EndDate": s.To.Add(-time.Millisecond)}}
	if limit != nil {
		if *limit < 1 {
			return source{}, fmt.Errorf("--limit %d: give at least 1, or leave it out for all rows", *limit)
		}
		in.what["MaxResults"] = *limit
	}
	if len(columns) > 0 {
		in.what["Columns"] = columns
	}
	if in.what["Include"], err = include.request(""); err == nil {
		in.what["Exclude"], err = exclude.request("not-")
	}
	return in, err
}

// mailFilters are those that both sources of mail have.
type mailFilters struct {
	From             []string `sep:"none" placeholder:"ADDRESS" help:"The sender; * stands for anything at either end: '*@example.com'."`
	To               []string `sep:"none" placeholder:"ADDRESS" help:"The recipient, likewise."`
	Subject          []string `sep:"none" placeholder:"TEXT" help:"The subject, likewise: '*invoice*'."`
	ISP              []string `name:"isp" placeholder:"NAME" help:"The recipient's provider, such as Gmail."`
	ConfigurationSet []string `placeholder:"NAME" help:"The configuration set that it was sent with."`
	Identity         []string `placeholder:"NAME" help:"The identity that it was sent by: a domain or an address."`
	BounceSubtype    []string `name:"bounce-subtype" placeholder:"NAME" help:"How it bounced, such as mailbox-full."`
	Diagnostic       []string `sep:"none" placeholder:"TEXT" help:"What the mail server said, with * as above: '*5.1.1*'."`
	Tag              []string `sep:"none" placeholder:"NAME=VALUE" help:"A message tag, with * in its value as above: campaign=spring."`
}

type insightsFilters struct {
	mailFilters
	LastDelivery   []string `placeholder:"KIND" help:"The last thing a mail server did: send, delivery, transient-bounce, permanent-bounce, undetermined-bounce or complaint."`
	LastEngagement []string `placeholder:"KIND" help:"The last thing the recipient did: open or click."`
}

type eventFilters struct {
	mailFilters
	EventType []string `placeholder:"KIND" help:"What happened: send, reject, bounce, complaint, delivery, open, click, rendering-failure, delivery-delay or subscription."`
}

func (f mailFilters) request(prefix string) (map[string]any, error) {
	request := map[string]any{}
	for name, values := range map[string][]string{
		"FromEmailAddress": f.From, "Destination": f.To, "Subject": f.Subject, "Isp": knownISPs(f.ISP), "ConfigurationSet": f.ConfigurationSet,
		"EmailIdentity": f.Identity, "BounceSubType": spelled(f.BounceSubtype), "DiagnosticCode": f.Diagnostic,
	} {
		if len(values) > 0 {
			request[name] = values
		}
	}
	tags := map[string][]string{}
	for _, tag := range f.Tag {
		name, value, ok := strings.Cut(tag, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--%stag %q: give a name and a value, as in campaign=spring", prefix, tag)
		}
		tags[name] = append(tags[name], value)
	}
	if len(tags) > 0 {
		request["Tags"] = tags
	}
	return request, nil
}

func (f insightsFilters) request(prefix string) (map[string]any, error) {
	request, err := f.mailFilters.request(prefix)
	if err == nil {
		err = addKinds(request, "LastDeliveryEvent", prefix+"last-delivery", f.LastDelivery, types.DeliveryEventType("").Values())
	}
	if err == nil {
		err = addKinds(request, "LastEngagementEvent", prefix+"last-engagement", f.LastEngagement, types.EngagementEventType("").Values())
	}
	return request, err
}

func (f eventFilters) request(prefix string) (map[string]any, error) {
	request, err := f.mailFilters.request(prefix)
	if err == nil {
		err = addKinds(request, "EventType", prefix+"event-type", f.EventType, types.EventType("").Values())
	}
	return request, err
}

// knownISPs gives the names of providers that are known in their own case.
func knownISPs(names []string) []string {
	all := slices.Clone(names)
	for i, name := range all {
		if at := slices.IndexFunc(events.ISPs(), func(known string) bool { return strings.EqualFold(known, name) }); at >= 0 {
			all[i] = events.ISPs()[at]
		}
	}
	return all
}

// addKinds adds to a request values of a flag that may have only some.
func addKinds[T ~string](request map[string]any, member, flag string, values []string, known []T) error {
	if len(values) == 0 {
		return nil
	}
	kinds := spelled(values)
	for i, kind := range kinds {
		if !slices.Contains(known, T(kind)) {
			return fmt.Errorf("--%s %q: give one of %s", flag, values[i], lowerDashed(known))
		}
	}
	request[member] = kinds
	return nil
}

// upperSnake spells what a user may write in several ways as the API does:
// permanent-bounce is PERMANENT_BOUNCE there.
func upperSnake(s string) string { return events.UpperSnake(strings.TrimSpace(s)) }

func spelled(values []string) []string {
	all := make([]string, len(values))
	for i := range values {
		all[i] = upperSnake(values[i])
	}
	return all
}

// lowerDashed lists names as the command line has them.
func lowerDashed[T ~string](names []T) string {
	all := make([]string, len(names))
	for i := range names {
		all[i] = strings.ReplaceAll(strings.ToLower(string(names[i])), "_", "-")
	}
	return strings.Join(all, ", ")
}
