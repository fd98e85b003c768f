package sesv2

import (
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

// Precheck is wire.Prechecked's: the service looks at ids and names of dimensions
// when it has seen that there are not too many queries, and before all else.
func (in *batchGetMetricDataInput) Precheck() *wire.Error {
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

// empty is the output of operations that answer nothing.
type empty struct{}
