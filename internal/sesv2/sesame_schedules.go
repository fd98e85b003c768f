package sesv2

import (
	"context"
	"errors"
	"time"

	"sesame/internal/exporter"
	"sesame/internal/wire"
)

// Sesame's own operations on schedules of exports, under /sesame/v1/.

func (a *API) scheduleOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("PutExportSchedule", true, a.puttingSchedule, a.putExportSchedule, sesameErrors...),
		wire.Op("ListExportSchedules", false, everything, a.listExportSchedules, sesameErrors...),
		wire.Op("DeleteExportSchedule", true, func(_ context.Context, c wire.Caller, in *deleteExportScheduleInput) (wire.Access, error) {
			return wire.Access{Resource: a.scheduleARN(c, *in.Name)}, nil
		}, a.deleteExportSchedule, sesameErrors...),
	}
}

// putExportScheduleInput is createSesameExportInput without dates, and when it is
// done.
type putExportScheduleInput struct {
	Name              *string            `required:"true" length:"1..64" pattern:"^[A-Za-z0-9_.-]+$"`
	Cron              *string            `required:"true" length:"1..200"`
	ExportDataSource  *sesameDataSource  `required:"true"`
	ExportDestination *sesameDestination `required:"true"`
}

type deleteExportScheduleInput struct {
	Name *string `required:"true" length:"1..64" pattern:"^[A-Za-z0-9_.-]+$"`
}

type listExportSchedulesOutput struct {
	Schedules []exportSchedule
}

// exportSchedule is a schedule with its last run.
type exportSchedule struct {
	Name              string
	Cron              string
	NextRun           time.Time
	LastRun           *time.Time
	LastJobId         *string
	ExportDataSource  *sesameDataSource
	ExportDestination *sesameDestination
}

func (a *API) scheduleARN(c wire.Caller, name string) string {
	return "arn:aws:ses:" + a.Region + ":" + c.Account + ":export-schedule/" + name
}

func (a *API) puttingSchedule(_ context.Context, c wire.Caller, in *putExportScheduleInput) (wire.Access, error) {
	source, err := in.ExportDataSource.source()
	return wire.Access{Resource: a.scheduleARN(c, *in.Name), ExportSource: string(source)}, err
}

func (a *API) putExportSchedule(ctx context.Context, c wire.Caller, in *putExportScheduleInput) (*empty, error) {
	if in.ExportDataSource.limited() {
		return nil, wire.Errorf(validation, "The data source of a schedule has no StartDate, EndDate and MaxResults: each run is of all that is new since the last.")
	}
	order, err := in.ExportDataSource.order()
	if err == nil {
		err = in.ExportDestination.apply(&order, a.Exports.Config.Destinations)
	}
	if err != nil {
		return nil, err
	}
	switch err := a.Exports.PutSchedule(ctx, a.source(c), *in.Name, *in.Cron, order); {
	case errors.Is(err, exporter.ErrCron):
		return nil, wire.Errorf(validation, "The Cron is wrong: %s.", err.Error())
	case errors.Is(err, exporter.ErrScheduleFile):
		return nil, wire.Errorf(validation, "The S3Url of a schedule must name a folder, and so end with a slash: each run has files of its own.")
	case errors.Is(err, exporter.ErrTooManySchedules):
		return nil, wire.Errorf(quotaExceeded, "The account has %d schedules of exports, as many as it may have. Delete one.", exporter.MostSchedules)
	case err != nil:
		return nil, err
	}
	return &empty{}, nil
}

// limited says whether the source has what a schedule's may not have.
func (s *sesameDataSource) limited() bool {
	for _, m := range []*sesameMailSource{s.MessageInsightsDataSource, s.EventsDataSource} {
		if m != nil && (m.StartDate != nil || m.EndDate != nil || m.MaxResults != nil) {
			return true
		}
	}
	m := s.MetricsDataSource
	return m != nil && (m.StartDate != nil || m.EndDate != nil)
}

func (a *API) listExportSchedules(ctx context.Context, c wire.Caller, _ *empty) (*listExportSchedulesOutput, error) {
	all, err := a.Exports.Schedules(ctx, a.source(c))
	if err != nil {
		return nil, err
	}
	out := &listExportSchedulesOutput{Schedules: []exportSchedule{}}
	for _, s := range all {
		shown := exportSchedule{Name: s.Name, Cron: s.Cron, NextRun: s.Next, LastRun: known(s.LastRun), LastJobId: some(s.LastJob)}
		shown.ExportDataSource, shown.ExportDestination = shownOrder(s.Order)
		out.Schedules = append(out.Schedules, shown)
	}
	return out, nil
}

// shownOrder gives the source and the destination that make such an order without
// times.
func shownOrder(o exporter.Order) (*sesameDataSource, *sesameDestination) {
	source := &sesameDataSource{}
	switch {
	case o.Insights != nil:
		source.MessageInsightsDataSource = shownMail(o.Insights)
	case o.Events != nil:
		source.EventsDataSource = shownMail(o.Events)
	default:
		m := dataSource(o).MetricsDataSource
		source.MetricsDataSource = &sesameMetricsSource{Dimensions: m.Dimensions, Namespace: m.Namespace, Metrics: m.Metrics}
	}
	compression := "NONE"
	if o.Compression != exporter.Plain {
		compression = string(o.Compression)
	}
	destination := &sesameDestination{DataFormat: new(string(o.Format)), Compression: &compression, S3Url: some(o.Destination)}
	if o.RowsPerFile != 0 {
		destination.RowsPerFile = &o.RowsPerFile
	}
	return source, destination
}

func shownMail(m *exporter.Mail) *sesameMailSource {
	return &sesameMailSource{Include: shownSesameFilters(m.Include), Exclude: shownSesameFilters(m.Exclude), Columns: pointers(m.Columns)}
}

func shownSesameFilters(f exporter.Filters) *sesameFilters {
	shown := &sesameFilters{
		FromEmailAddress: pointers(f.From), Destination: pointers(f.Destination), Subject: pointers(f.Subject), Isp: pointers(f.ISP),
		LastDeliveryEvent: pointers(f.LastDelivery), LastEngagementEvent: pointers(f.LastEngagement), TenantName: pointers(f.Tenant),
		EventType: pointers(f.EventType), ConfigurationSet: pointers(f.ConfigurationSet), EmailIdentity: pointers(f.Identity),
		BounceSubType: pointers(f.BounceSubType), DiagnosticCode: pointers(f.Diagnostic),
	}
	for name, values := range f.Tags {
		if shown.Tags == nil {
			shown.Tags = map[string][]*string{}
		}
		shown.Tags[name] = pointers(values)
	}
	return shown
}

func (a *API) deleteExportSchedule(ctx context.Context, c wire.Caller, in *deleteExportScheduleInput) (*empty, error) {
	err := a.Exports.DeleteSchedule(ctx, a.source(c), *in.Name)
	if errors.Is(err, exporter.ErrNoSchedule) {
		return nil, wire.Errorf(resourceNotFound, "The schedule of exports was not found.")
	}
	if err != nil {
		return nil, err
	}
	return &empty{}, nil
}
