package sesv2

import (
	"context"
	"errors"
	"time"

	"sesame/internal/insights"
	"sesame/internal/wire"
)

// The shapes of the service model, member for member; see wire/constraints.go
// for the tags. Inputs are all pointers, so that absent and empty differ.

type getMessageInsightsInput struct {
	MessageId *string `required:"true"`
}

type getMessageInsightsOutput struct {
	MessageId        *string
	FromEmailAddress *string
	Subject          *string
	EmailTags        []messageTag
	Insights         []emailInsights
}

type messageTag struct {
	Name  string
	Value string
}

type emailInsights struct {
	Destination *string
	Isp         *string
	Events      []insightsEvent
}

type insightsEvent struct {
	Timestamp *time.Time
	Type      *string
	Details   *eventDetails
}

type eventDetails struct {
	Bounce    *bounce
	Complaint *complaint
}

type bounce struct {
	BounceType     *string
	BounceSubType  *string
	DiagnosticCode *string
}

type complaint struct {
	ComplaintSubType      *string
	ComplaintFeedbackType *string
}

type batchGetMetricDataInput struct {
	Queries []*metricDataQuery `required:"true" length:"1..10"`
}

// metricDataQuery has its members, and the enum its values, in the order in which
// the service has been seen to tell of them.
type metricDataQuery struct {
	Metric     *string            `required:"true" enum:"DELIVERY_COMPLAINT,CLICK,SEND,OPEN,COMPLAINT,DELIVERY,DELIVERY_OPEN,PERMANENT_BOUNCE,DELIVERY_CLICK,TRANSIENT_BOUNCE"`
	Namespace  *string            `required:"true" enum:"VDM"`
	Id         *string            `required:"true" length:"1..255"`
	Dimensions map[string]*string `length:"1..3"`
	StartDate  *time.Time         `required:"true"`
	EndDate    *time.Time         `required:"true"`
}

// beforeQueries is the operation's Before: the service looks at ids and names of
// dimensions when it has seen that there are not too many queries, and before all else.
func beforeQueries(_ context.Context, _ wire.Caller, input any) error {
	in := input.(*batchGetMetricDataInput)
	if len(in.Queries) > 10 {
		return nil // the constraints tell of it
	}
	ids := map[string]bool{}
	for _, q := range in.Queries {
		if q == nil || q.Id == nil {
			continue
		}
		if ids[*q.Id] {
			return wire.Errorf(badRequest, "All queries must have a unique identifier.")
		}
		ids[*q.Id] = true
	}
	for _, q := range in.Queries {
		if q == nil {
			continue
		}
		for name := range q.Dimensions {
			if !insights.IsDimension(name) {
				return wire.Errorf(badRequest, "Unsupported dimension provided.")
			}
		}
	}
	return nil
}

type batchGetMetricDataOutput struct {
	Results []metricDataResult
	Errors  []metricDataError
}

type metricDataResult struct {
	Id         *string
	Timestamps []time.Time
	Values     []int64
}

type metricDataError struct {
	Id      *string
	Code    *string
	Message *string
}

type getAccountInput struct{}

// getAccountOutput has no Details and no PricingAttributes: Sesame has neither a
// contact nor a price.
type getAccountOutput struct {
	DedicatedIpAutoWarmupEnabled *bool
	EnforcementStatus            *string
	ProductionAccessEnabled      *bool
	SendQuota                    *sendQuota
	SendingEnabled               *bool
	SuppressionAttributes        *suppressionAttributes
	VdmAttributes                *vdmAttributes
}

type sendQuota struct {
	Max24HourSend   *float64
	MaxSendRate     *float64
	SentLast24Hours *float64
}

// suppressionAttributes has no ValidationAttributes: Sesame validates no address.
type suppressionAttributes struct {
	SuppressedReasons []string
}

type vdmAttributes struct {
	VdmEnabled          string
	DashboardAttributes *dashboardAttributes
	GuardianAttributes  *guardianAttributes
}

type dashboardAttributes struct {
	EngagementMetrics *string
}

type guardianAttributes struct {
	OptimizedSharedDelivery *string
}

type putAccountVdmAttributesInput struct {
	VdmAttributes *vdmAttributesInput `required:"true"`
}

type vdmAttributesInput struct {
	VdmEnabled          *string `required:"true" enum:"ENABLED,DISABLED"`
	DashboardAttributes *dashboardAttributesInput
	GuardianAttributes  *guardianAttributesInput
}

type dashboardAttributesInput struct {
	EngagementMetrics *string `enum:"ENABLED,DISABLED"`
}

type guardianAttributesInput struct {
	OptimizedSharedDelivery *string `enum:"ENABLED,DISABLED"`
}

// createExportJobInput has its constraints looked at behind beforeExport.
type createExportJobInput struct {
	ExportDataSource  *exportDataSource  `required:"true"`
	ExportDestination *exportDestination `required:"true"`
}

type exportDataSource struct {
	MetricsDataSource         *metricsDataSource
	MessageInsightsDataSource *messageInsightsDataSource
}

type metricsDataSource struct {
	Dimensions map[string][]*string `required:"true" length:"1..3" elementlength:"1..10"`
	Namespace  *string              `required:"true" enum:"VDM"`
	Metrics    []*exportMetric      `required:"true" length:"1..10"`
	StartDate  *time.Time           `required:"true"`
	EndDate    *time.Time           `required:"true"`
}

type exportMetric struct {
	Name        *string `enum:"SEND,COMPLAINT,PERMANENT_BOUNCE,TRANSIENT_BOUNCE,OPEN,CLICK,DELIVERY,DELIVERY_OPEN,DELIVERY_CLICK,DELIVERY_COMPLAINT"`
	Aggregation *string `enum:"RATE,VOLUME"`
}

// messageInsightsDataSource lets MaxResults be larger than the service does, unless
// Sesame is to be like it.
type messageInsightsDataSource struct {
	StartDate  *time.Time `required:"true"`
	EndDate    *time.Time `required:"true"`
	Include    *messageInsightsFilters
	Exclude    *messageInsightsFilters
	MaxResults *int32 `range:"1..100000000"`
}

type messageInsightsFilters struct {
	FromEmailAddress    []*string `length:"..5" elementlength:"1..320" sensitive:"true"`
	Destination         []*string `length:"..5" elementlength:"1..320" sensitive:"true"`
	Subject             []*string `length:"..1" elementlength:"1..998" sensitive:"true"`
	Isp                 []*string `length:"..5"`
	LastDeliveryEvent   []*string `length:"..5" elementenum:"SEND,DELIVERY,TRANSIENT_BOUNCE,PERMANENT_BOUNCE,UNDETERMINED_BOUNCE,COMPLAINT"`
	LastEngagementEvent []*string `length:"..2" elementenum:"OPEN,CLICK"`
	TenantName          []*string `length:"..5" elementlength:"1.."`
}

type exportDestination struct {
	DataFormat *string `required:"true" enum:"CSV,JSON"`
	S3Url      *string
}

// beforeExport is the operation's Before: the service looks at the source, then at
// the destination, at whether VDM is on, and then at all else.
func (a *API) beforeExport(ctx context.Context, c wire.Caller, input any) error {
	in := input.(*createExportJobInput)
	source, to := in.ExportDataSource, in.ExportDestination
	switch {
	case source == nil || (source.MetricsDataSource == nil) == (source.MessageInsightsDataSource == nil):
		return wire.Errorf(badRequest, "One data source must be provided")
	case to == nil || to.DataFormat == nil:
		return nil // the constraints tell of it
	case *to.DataFormat != "CSV" && *to.DataFormat != "JSON":
		return wire.Errorf(badRequest, "1 validation error detected: Value at 'exportDestination.dataFormat' failed to satisfy constraint: Member must satisfy enum value set: [CSV, JSON]")
	}
	if _, refusal := destination(to.S3Url, 0, a.Exports.Config.Destinations); refusal != nil {
		return refusal
	}
	err := a.Insights.MustBeEnabled(ctx, a.source(c))
	if errors.Is(err, insights.ErrVDMDisabled) {
		return wire.Errorf(badRequest, "To use this feature you must enable Virtual Deliverability Manager")
	}
	return err
}

type createExportJobOutput struct {
	JobId *string
}

// Made is wire.Maker's.
func (o *createExportJobOutput) Made() string { return *o.JobId }

type getExportJobInput struct {
	JobId *string `required:"true" length:"1.."`
}

type getExportJobOutput struct {
	JobId              *string
	ExportSourceType   *string
	JobStatus          *string
	ExportDestination  *exportDestinationOutput
	ExportDataSource   *exportDataSource
	CreatedTimestamp   *time.Time
	CompletedTimestamp *time.Time
	FailureInfo        *failureInfo
	Statistics         *exportStatistics
}

type exportDestinationOutput struct {
	DataFormat string
	S3Url      *string
}

type failureInfo struct {
	FailedRecordsS3Url *string
	ErrorMessage       *string
}

type exportStatistics struct {
	ProcessedRecordsCount *int32
	ExportedRecordsCount  *int32
}

// listExportJobsInput has its page size and token looked at by the operation, which
// has messages of its own for them.
type listExportJobsInput struct {
	NextToken        *string
	PageSize         *int32
	ExportSourceType *string `enum:"METRICS_DATA,MESSAGE_INSIGHTS"`
	JobStatus        *string `enum:"CREATED,PROCESSING,COMPLETED,FAILED,CANCELLED"`
}

type listExportJobsOutput struct {
	ExportJobs []exportJobSummary
	NextToken  *string
}

type exportJobSummary struct {
	JobId              *string
	ExportSourceType   *string
	JobStatus          *string
	CreatedTimestamp   *time.Time
	CompletedTimestamp *time.Time
}

type cancelExportJobInput struct {
	JobId *string `required:"true" length:"1.."`
}

// empty is the output of operations that answer nothing.
type empty struct{}
