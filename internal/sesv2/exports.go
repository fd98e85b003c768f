package sesv2

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"sesame/internal/eventdb"
	"sesame/internal/exporter"
	"sesame/internal/insights"
	"sesame/internal/jobs"
	"sesame/internal/wire"
)

func (a *API) exportARN(c wire.Caller, id string) string {
	return "arn:aws:ses:" + a.Region + ":" + c.Account + ":export-job/" + id
}

func (a *API) creating(_ context.Context, c wire.Caller, in *createExportJobInput) (wire.Access, error) {
	source := exporter.MetricsData
	if in.ExportDataSource.MessageInsightsDataSource != nil {
		source = exporter.MessageInsights
	}
	return wire.Access{Resource: a.exportARN(c, "*"), ExportSource: string(source)}, nil
}

func (a *API) listing(_ context.Context, _ wire.Caller, in *listExportJobsInput) (wire.Access, error) {
	access := wire.Access{Resource: "*"}
	if in.ExportSourceType != nil {
		access.ExportSource = *in.ExportSourceType
	}
	return access, nil
}

// ofExport asks for access to a job, which need not be there.
func (a *API) ofExport(ctx context.Context, c wire.Caller, id string) (wire.Access, error) {
	access := wire.Access{Resource: a.exportARN(c, id), Job: id}
	j, err := a.Exports.Get(ctx, a.source(c), id)
	if err == nil {
		access.ExportSource = string(j.Order.Source())
	} else if !errors.Is(err, exporter.ErrNotFound) {
		return access, err
	}
	return access, nil
}

// How many rows a file has when the request does not say, and at most.
const (
	usualResults     = 1000
	mostLikeSES      = 10_000
	mostListed       = 100
	wholeDay         = 24 * time.Hour
	allOfADimension  = "*"
	exportsPageError = "Failed to deserialize token. " // the service's own blank
)

func (a *API) createExportJob(ctx context.Context, c wire.Caller, in *createExportJobInput) (*createExportJobOutput, error) {
	order := exporter.Order{Format: exporter.Format(*in.ExportDestination.DataFormat)}
	order.Destination, _ = destination(in.ExportDestination.S3Url, 0, a.Exports.Config.Destinations) // beforeExport refuses
	var err error
	if m := in.ExportDataSource.MessageInsightsDataSource; m != nil {
		order.Insights, err = a.insightsOrder(m)
	} else {
		order.Metrics, err = metricsOrder(in.ExportDataSource.MetricsDataSource)
	}
	if err != nil {
		return nil, err
	}
	id, err := a.Exports.Create(ctx, a.source(c), order)
	if errors.Is(err, exporter.ErrTooMany) {
		return nil, wire.Errorf(limitExceeded, "There are too many <%s> export jobs running - either cancel one of the jobs or wait for it to complete before resubmitting.", order.Source())
	}
	if err != nil {
		return nil, err
	}
	return &createExportJobOutput{&id}, nil
}

// destination is where an order's files are to go by an S3Url, or the refusal of it.
// Without one they go nowhere: "". rowsPerFile is the order's.
func destination(s3URL *string, rowsPerFile int64, allowed exporter.Destinations) (string, *wire.Error) {
	switch {
	case s3URL == nil:
		return "", nil
	case len(allowed) == 0: // the service's words
		return "", wire.Errorf(badRequest, "Providing a custom S3 URL is not supported")
	}
	if why := allowed.Refuse(*s3URL, rowsPerFile); why != "" {
		return "", wire.Errorf(badRequest, "%s", why)
	}
	return *s3URL, nil
}

func (a *API) insightsOrder(in *messageInsightsDataSource) (*exporter.Mail, error) {
	order := &exporter.Mail{
		Start: *in.StartDate, End: *in.EndDate, Include: filters(in.Include), Exclude: filters(in.Exclude), MaxResults: usualResults,
	}
	if in.MaxResults != nil {
		order.MaxResults = int64(*in.MaxResults)
	}
	if a.Exports.Config.LikeSES && order.MaxResults > mostLikeSES {
		return nil, wire.Errorf(badRequest, "1 validation error detected: Value at 'exportDataSource.messageInsightsDataSource.maxResults' failed to satisfy constraint: Member must have value less than or equal to %d", mostLikeSES)
	}
	if !order.Start.Before(order.End) {
		return nil, wire.Errorf(badRequest, "Invalid date range")
	}
	return order, nil
}

func filters(in *messageInsightsFilters) exporter.Filters {
	if in == nil {
		return exporter.Filters{}
	}
	return exporter.Filters{
		From: texts(in.FromEmailAddress), Destination: texts(in.Destination), Subject: texts(in.Subject), ISP: texts(in.Isp),
		LastDelivery: texts(in.LastDeliveryEvent), LastEngagement: texts(in.LastEngagementEvent), Tenant: texts(in.TenantName),
	}
}

func metricsOrder(in *metricsDataSource) (*exporter.Metrics, error) {
	order, err := metricsTable(in.Dimensions, in.Metrics)
	if err != nil {
		return nil, err
	}
	order.Start, order.End = *in.StartDate, *in.EndDate
	return order, checkDays(order.Start, order.End)
}

// metricsTable gives an order without the time of it.
func metricsTable(dimensions map[string][]*string, metrics []*exportMetric) (*exporter.Metrics, error) {
	order := &exporter.Metrics{Dimensions: map[string][]string{}}
	stars, longest := 0, 0
	for _, name := range slices.Sorted(maps.Keys(dimensions)) {
		if !insights.IsDimension(name) {
			return nil, wire.Errorf(badRequest, "Unsupported dimension provided.")
		}
		for _, value := range texts(dimensions[name]) {
			if value == allOfADimension {
				stars++
			} else if err := insights.CheckDimension(name, value); err != nil {
				return nil, refuse(err)
			}
			if !slices.Contains(order.Dimensions[name], value) {
				order.Dimensions[name] = append(order.Dimensions[name], value)
			}
		}
		longest = max(longest, len(order.Dimensions[name]))
	}
	if stars > 1 || stars == 1 && longest > 1 {
		return nil, wire.Errorf(badRequest, "If one dimension has the * value, other dimensions can only contain one value.")
	}
	for _, m := range metrics {
		if m.Name == nil {
			return nil, wire.Errorf(badRequest, "A metric must have a name.")
		}
		column := exporter.Column{Metric: eventdb.Metric(*m.Name), Rate: m.Aggregation != nil && *m.Aggregation == "RATE"}
		if slices.Contains(order.Columns, column) {
			return nil, wire.Errorf(badRequest, "A metric must not be asked for twice with the same aggregation.")
		}
		order.Columns = append(order.Columns, column)
	}
	return order, nil
}

// checkDays refuses a time that is not of whole days.
func checkDays(start, end time.Time) error {
	if !start.Before(end) {
		return wire.Errorf(badRequest, "Invalid date range")
	}
	if !start.Equal(start.Truncate(wholeDay)) || !end.Equal(end.Truncate(wholeDay)) {
		return wire.Errorf(badRequest, "To get daily aggregated data you must not specify partial-day timestamps. Please make your interval go from midnight to midnight UTC.")
	}
	return nil
}

func (a *API) getExportJob(ctx context.Context, c wire.Caller, in *getExportJobInput) (*getExportJobOutput, error) {
	j, err := a.Exports.Get(ctx, a.source(c), *in.JobId)
	if err != nil {
		return nil, refuseExport(err)
	}
	source, status := string(j.Order.Source()), string(j.Status)
	out := &getExportJobOutput{
		JobId: &j.ID, ExportSourceType: &source, JobStatus: &status, CreatedTimestamp: &j.Created, CompletedTimestamp: known(j.Completed),
		ExportDestination: &exportDestinationOutput{DataFormat: string(j.Order.Format)}, ExportDataSource: dataSource(j.Order),
	}
	if url := j.PutAt(); url != "" {
		out.ExportDestination.S3Url = &url
	} else if len(j.Files) == 1 { // of several, Sesame's GetExportReport tells
		url := a.ExportURL(j.ID, j.Files[0].Name, a.Now())
		out.ExportDestination.S3Url = &url
	}
	if j.Error != "" {
		out.FailureInfo = &failureInfo{ErrorMessage: &j.Error}
	}
	out.Statistics = &exportStatistics{ProcessedRecordsCount: count(j.Progress.Processed)}
	if !a.Exports.Config.LikeSES { // the service never says how many rows were written
		out.Statistics.ExportedRecordsCount = count(j.Progress.Exported)
	}
	return out, nil
}

// count is a number as the API's integers hold it.
func count(n int64) *int32 { return new(int32(min(n, math.MaxInt32))) }

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// dataSource is what SES's shapes can say of an order: nothing of one of events.
func dataSource(o exporter.Order) *exportDataSource {
	if o.Events != nil {
		return nil
	}
	if q := o.Insights; q != nil {
		shown := &messageInsightsDataSource{StartDate: &q.Start, EndDate: &q.End, Include: shownFilters(q.Include), Exclude: shownFilters(q.Exclude)}
		if q.MaxResults > 0 {
			shown.MaxResults = count(q.MaxResults)
		}
		return &exportDataSource{MessageInsightsDataSource: shown}
	}
	m := &metricsDataSource{Dimensions: map[string][]*string{}, Namespace: new("VDM"), StartDate: &o.Metrics.Start, EndDate: &o.Metrics.End}
	for name, values := range o.Metrics.Dimensions {
		m.Dimensions[name] = pointers(values)
	}
	for _, column := range o.Metrics.Columns {
		shown := &exportMetric{Name: new(string(column.Metric)), Aggregation: new("VOLUME")}
		if column.Rate {
			*shown.Aggregation = "RATE"
		}
		m.Metrics = append(m.Metrics, shown)
	}
	return &exportDataSource{MetricsDataSource: m}
}

func shownFilters(f exporter.Filters) *messageInsightsFilters {
	shown := &messageInsightsFilters{
		FromEmailAddress: pointers(f.From), Destination: pointers(f.Destination), Subject: pointers(f.Subject), Isp: pointers(f.ISP),
		LastDeliveryEvent: pointers(f.LastDelivery), LastEngagementEvent: pointers(f.LastEngagement), TenantName: pointers(f.Tenant),
	}
	if len(f.From)+len(f.Destination)+len(f.Subject)+len(f.ISP)+len(f.LastDelivery)+len(f.LastEngagement)+len(f.Tenant) == 0 {
		return nil
	}
	return shown
}

func texts(all []*string) (values []string) {
	for _, s := range all {
		values = append(values, *s)
	}
	return values
}

func pointers(values []string) (all []*string) {
	for i := range values {
		all = append(all, &values[i])
	}
	return all
}

func (a *API) listExportJobs(ctx context.Context, c wire.Caller, in *listExportJobsInput) (*listExportJobsOutput, error) {
	size := mostListed
	if in.PageSize != nil {
		if size = int(*in.PageSize); size < 1 || size > mostListed {
			return nil, wire.Errorf(badRequest, "PageSize must be between 1 and %d", mostListed)
		}
	}
	var source, status string
	if in.ExportSourceType != nil {
		source = *in.ExportSourceType
	}
	if in.JobStatus != nil {
		status = *in.JobStatus
	}
	listing := []string{a.Region, source, status}
	cursor, err := a.Pages.Cursor(c, "ListExportJobs", listing, in.NextToken)
	if err != nil || in.NextToken != nil && *in.NextToken == "" {
		return nil, wire.Errorf(badRequest, exportsPageError)
	}
	found, next, err := a.Exports.List(ctx, a.source(c), exporter.Source(source), jobs.Status(status), cursor, size)
	if err != nil {
		return nil, err
	}
	out := &listExportJobsOutput{ExportJobs: []exportJobSummary{}, NextToken: a.Pages.Token(c, "ListExportJobs", listing, next)}
	for _, j := range found {
		out.ExportJobs = append(out.ExportJobs, exportJobSummary{
			JobId: &j.ID, ExportSourceType: new(string(j.Source)), JobStatus: new(string(j.Status)),
			CreatedTimestamp: &j.Created, CompletedTimestamp: known(j.Completed),
		})
	}
	return out, nil
}

func (a *API) cancelExportJob(ctx context.Context, c wire.Caller, in *cancelExportJobInput) (*empty, error) {
	if err := a.Exports.Cancel(ctx, a.source(c), *in.JobId); err != nil {
		return nil, refuseExport(err)
	}
	return &empty{}, nil
}

func refuseExport(err error) error {
	var ended *exporter.EndedError
	switch {
	case errors.Is(err, exporter.ErrNotFound):
		return wire.Errorf(badRequest, "Invalid JobId")
	case errors.As(err, &ended):
		return wire.Errorf(badRequest, "Cannot cancel an export job that has a <%s> status.", ended.Status)
	}
	return err
}
