package sesv2

import (
	"context"
	"errors"
	"time"

	"sesame/internal/exporter"
	"sesame/internal/wire"
)

// Sesame's own operations on export jobs, under /sesame/v1/: SES's, with more to
// choose from. Listing and cancelling are by SES's.

// SesameOperations are the operations on export jobs that Sesame adds.
func (a *API) SesameOperations() []wire.Operation {
	return append(a.scheduleOperations(),
		wire.Op("CreateExportJob", true, a.creatingSesame, a.createSesameExport, sesameErrors...),
		wire.Op("GetExportReport", false, func(ctx context.Context, c wire.Caller, in *getExportReportInput) (wire.Access, error) {
			return a.ofExport(ctx, c, *in.JobId)
		}, a.getExportReport, sesameErrors...),
	)
}

// The errors of Sesame's own operations.
const (
	accessDenied     = "AccessDeniedException"
	resourceNotFound = "ResourceNotFoundException"
	quotaExceeded    = "ServiceQuotaExceededException"
	throttling       = "ThrottlingException"
	validation       = "ValidationException"
)

var sesameErrors = []string{accessDenied, resourceNotFound, quotaExceeded, throttling, validation}

// createSesameExportInput is what an export is to have.
type createSesameExportInput struct {
	ExportDataSource  *sesameDataSource  `required:"true"`
	ExportDestination *sesameDestination `required:"true"`
}

// sesameDataSource has one of its members. The dates in it are for a job, and not
// for a schedule.
type sesameDataSource struct {
	MessageInsightsDataSource *sesameMailSource
	EventsDataSource          *sesameMailSource
	MetricsDataSource         *sesameMetricsSource
}

type sesameMailSource struct {
	StartDate  *time.Time
	EndDate    *time.Time
	Include    *sesameFilters
	Exclude    *sesameFilters
	MaxResults *int64    `range:"1.."`                            // all when absent
	Columns    []*string `length:"1..200" elementlength:"1..300"` // the usual ones when absent
}

type sesameFilters struct {
	FromEmailAddress    []*string            `length:"..100" elementlength:"1..520" sensitive:"true"`
	Destination         []*string            `length:"..100" elementlength:"1..520" sensitive:"true"`
	Subject             []*string            `length:"..100" elementlength:"1..4100" sensitive:"true"`
	Isp                 []*string            `length:"..100" elementlength:"1..256"`
	LastDeliveryEvent   []*string            `length:"..100" elementenum:"SEND,DELIVERY,TRANSIENT_BOUNCE,PERMANENT_BOUNCE,UNDETERMINED_BOUNCE,COMPLAINT"`
	LastEngagementEvent []*string            `length:"..100" elementenum:"OPEN,CLICK"`
	TenantName          []*string            `length:"..100" elementlength:"1..256"`
	EventType           []*string            `length:"..100" elementlength:"1..64"`
	ConfigurationSet    []*string            `length:"..100" elementlength:"1..256"`
	EmailIdentity       []*string            `length:"..100" elementlength:"1..520"`
	BounceSubType       []*string            `length:"..100" elementlength:"1..300"`
	DiagnosticCode      []*string            `length:"..100" elementlength:"1..4100" sensitive:"true"`
	Tags                map[string][]*string `length:"..100" elementlength:"1..100"`
}

// sesameMetricsSource is metricsDataSource, whose dates may be missing.
type sesameMetricsSource struct {
	Dimensions map[string][]*string `required:"true" length:"1..3" elementlength:"1..10"`
	Namespace  *string              `required:"true" enum:"VDM"`
	Metrics    []*exportMetric      `required:"true" length:"1..10"`
	StartDate  *time.Time
	EndDate    *time.Time
}

type sesameDestination struct {
	DataFormat  *string `required:"true" enum:"CSV,JSON,NDJSON,STRICT_CSV,PARQUET"`
	Compression *string `enum:"NONE,GZIP,ZSTD"` // when absent ZSTD for Parquet, and NONE
	RowsPerFile *int64  `range:"1.."`           // one file of all when absent
	S3Url       *string `length:"1..2048"`
}

func (a *API) creatingSesame(_ context.Context, c wire.Caller, in *createSesameExportInput) (wire.Access, error) {
	source, err := in.ExportDataSource.source()
	return wire.Access{Resource: a.exportARN(c, "*"), ExportSource: string(source)}, err
}

func (a *API) createSesameExport(ctx context.Context, c wire.Caller, in *createSesameExportInput) (*createExportJobOutput, error) {
	order, err := in.ExportDataSource.order()
	if err == nil {
		err = in.ExportDestination.apply(&order, a.Exports.Config.Destinations)
	}
	if err == nil {
		err = in.ExportDataSource.span(&order)
	}
	if err != nil {
		return nil, err
	}
	id, err := a.Exports.Create(ctx, a.source(c), order)
	if errors.Is(err, exporter.ErrTooMany) {
		return nil, wire.Errorf(quotaExceeded, "There are as many export jobs of %s running as may be. Cancel one, or wait until one is done.", order.Source())
	}
	if err != nil {
		return nil, err
	}
	return &createExportJobOutput{&id}, nil
}

// source is what the export is of.
func (s *sesameDataSource) source() (exporter.Source, error) {
	var found []exporter.Source
	if s.MessageInsightsDataSource != nil {
		found = append(found, exporter.MessageInsights)
	}
	if s.EventsDataSource != nil {
		found = append(found, exporter.EmailEvents)
	}
	if s.MetricsDataSource != nil {
		found = append(found, exporter.MetricsData)
	}
	if len(found) != 1 {
		return "", wire.Errorf(validation, "The ExportDataSource must have one of MessageInsightsDataSource, EventsDataSource and MetricsDataSource.")
	}
	return found[0], nil
}

// order gives what is to be exported, without the time of it: see span.
func (s *sesameDataSource) order() (o exporter.Order, err error) {
	source, err := s.source()
	if err != nil {
		return o, err
	}
	switch source {
	case exporter.MessageInsights:
		o.Insights = s.MessageInsightsDataSource.mail()
		if s.MessageInsightsDataSource.uses(func(f *sesameFilters) bool { return len(f.EventType) > 0 }) {
			err = wire.Errorf(validation, "Filters of EventType are for the EventsDataSource. Of messages there are LastDeliveryEvent and LastEngagementEvent.")
		}
	case exporter.EmailEvents:
		o.Events = s.EventsDataSource.mail()
		if s.EventsDataSource.uses(func(f *sesameFilters) bool { return len(f.LastDeliveryEvent)+len(f.LastEngagementEvent) > 0 }) {
			err = wire.Errorf(validation, "Filters of LastDeliveryEvent and LastEngagementEvent are for the MessageInsightsDataSource. Of events there is EventType.")
		}
	default:
		o.Metrics, err = metricsTable(s.MetricsDataSource.Dimensions, s.MetricsDataSource.Metrics)
		err = asSesame(err)
	}
	if err == nil {
		if wrong := o.Check(); wrong != nil {
			err = wire.Errorf(validation, "This cannot be exported: %v.", wrong)
		}
	}
	return o, err
}

// uses says whether one of the source's filters does.
func (m *sesameMailSource) uses(has func(*sesameFilters) bool) bool {
	return m.Include != nil && has(m.Include) || m.Exclude != nil && has(m.Exclude)
}

func (m *sesameMailSource) mail() *exporter.Mail {
	mail := &exporter.Mail{Include: m.Include.filters(), Exclude: m.Exclude.filters(), Columns: texts(m.Columns)}
	if m.MaxResults != nil {
		mail.MaxResults = *m.MaxResults
	}
	return mail
}

func (f *sesameFilters) filters() exporter.Filters {
	if f == nil {
		return exporter.Filters{}
	}
	all := exporter.Filters{
		From: texts(f.FromEmailAddress), Destination: texts(f.Destination), Subject: texts(f.Subject), ISP: texts(f.Isp),
		LastDelivery: texts(f.LastDeliveryEvent), LastEngagement: texts(f.LastEngagementEvent), Tenant: texts(f.TenantName),
		EventType: texts(f.EventType), ConfigurationSet: texts(f.ConfigurationSet), Identity: texts(f.EmailIdentity),
		BounceSubType: texts(f.BounceSubType), Diagnostic: texts(f.DiagnosticCode),
	}
	for name, values := range f.Tags {
		if all.Tags == nil {
			all.Tags = map[string][]string{}
		}
		all.Tags[name] = texts(values)
	}
	return all
}

// span puts the dates into an order that the source gave.
func (s *sesameDataSource) span(o *exporter.Order) error {
	var start, end *time.Time
	switch {
	case o.Insights != nil:
		start, end = s.MessageInsightsDataSource.StartDate, s.MessageInsightsDataSource.EndDate
	case o.Events != nil:
		start, end = s.EventsDataSource.StartDate, s.EventsDataSource.EndDate
	default:
		start, end = s.MetricsDataSource.StartDate, s.MetricsDataSource.EndDate
	}
	if start == nil || end == nil {
		return wire.Errorf(validation, "The data source must have a StartDate and an EndDate.")
	}
	switch {
	case o.Insights != nil:
		o.Insights.Start, o.Insights.End = *start, *end
	case o.Events != nil:
		o.Events.Start, o.Events.End = *start, *end
	default:
		o.Metrics.Start, o.Metrics.End = *start, *end
		return asSesame(checkDays(*start, *end))
	}
	if !start.Before(*end) {
		return wire.Errorf(validation, "Invalid date range")
	}
	return nil
}

// apply puts into an order how and where it is to be written.
func (d *sesameDestination) apply(o *exporter.Order, allowed exporter.Destinations) error {
	o.Format = exporter.Format(*d.DataFormat)
	switch {
	case d.Compression == nil && o.Format == exporter.Parquet:
		o.Compression = exporter.Zstd
	case d.Compression != nil && *d.Compression != "NONE":
		o.Compression = exporter.Compression(*d.Compression)
	}
	if d.RowsPerFile != nil {
		o.RowsPerFile = *d.RowsPerFile
	}
	var refusal *wire.Error
	if o.Destination, refusal = destination(d.S3Url, o.RowsPerFile, allowed); refusal != nil {
		return asSesame(refusal)
	}
	return nil
}

// asSesame gives SES's refusals the code that Sesame's own operations have.
func asSesame(err error) error {
	var refused *wire.Error
	if errors.As(err, &refused) && refused.Code == badRequest {
		return wire.Errorf(validation, "%s", refused.Message)
	}
	return err
}

type getExportReportInput struct {
	JobId *string `required:"true" length:"1..255"`
}

// exportReport is all that is to be said of an export job.
type exportReport struct {
	JobId              string
	ExportSourceType   string
	JobStatus          string
	ShareDone          float64 // of the time that is asked for, 0 to 1
	ProcessedRecords   int64   // events that were examined
	ExportedRecords    int64   // rows that were written
	Files              []exportedFile
	CreatedTimestamp   time.Time
	CompletedTimestamp *time.Time
	Error              *string
	Schedule           *string
	S3Url              *string
}

// exportedFile is one of a job's files. There are none before the job is COMPLETED.
type exportedFile struct {
	Name           string
	Url            string // for five minutes
	Size           int64  // bytes
	Rows           int64
	ChecksumCrc32c string // base64
}

func (a *API) getExportReport(ctx context.Context, c wire.Caller, in *getExportReportInput) (*exportReport, error) {
	j, err := a.Exports.Get(ctx, a.source(c), *in.JobId)
	if errors.Is(err, exporter.ErrNotFound) {
		return nil, wire.Errorf(resourceNotFound, "The export job was not found.")
	}
	if err != nil {
		return nil, err
	}
	report := &exportReport{
		JobId: j.ID, ExportSourceType: string(j.Order.Source()), JobStatus: string(j.Status),
		ShareDone: j.Progress.Share, ProcessedRecords: j.Progress.Processed, ExportedRecords: j.Progress.Exported,
		Files: []exportedFile{}, CreatedTimestamp: j.Created, CompletedTimestamp: known(j.Completed),
		Error: some(j.Error), Schedule: some(j.Order.Schedule), S3Url: some(j.PutAt()),
	}
	now := a.Now()
	for _, f := range j.Files {
		report.Files = append(report.Files, exportedFile{Name: f.Name, Url: a.ExportURL(j.ID, f.Name, now), Size: f.Size, Rows: f.Rows, ChecksumCrc32c: f.CRC32C})
	}
	return report, nil
}

// some is nil for "".
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
