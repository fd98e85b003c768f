// Package sesv2 is the SES v2 API as far as Sesame has it: its shapes, its
// operation table, and for each operation a handler that translates between the
// shapes and the domain. The API's pages and model are what it follows; where they
// are silent, COMPATIBILITY.md says what was chosen.
//
// It may import wire and the domain packages, and of stores the names of metrics in
// eventdb.
package sesv2

import (
	"context"
	"errors"
	"time"

	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/insights"
	"sesame/internal/wire"
)

// API is what the handlers need.
type API struct {
	Region   string
	Insights *insights.Service
	Exports  *exporter.Service
	// ExportURL gives a URL from which the file of a job can be fetched for five minutes.
	ExportURL func(jobID, file string, at time.Time) string
	Pages     wire.Pages
	Now       func() time.Time
}

// The errors of the model.
const (
	badRequest      = "BadRequestException"
	internalFailure = "InternalServiceErrorException"
	notFound        = "NotFoundException"
	tooMany         = "TooManyRequestsException"
	limitExceeded   = "LimitExceededException"
)

// Service is the API's table. Names, paths and declared errors are the model's; the
// limits are those of the operations' pages.
func (a *API) Service() *wire.Service {
	return &wire.Service{
		Namespace: "com.amazonaws.sesv2",
		Prefix:    "/v2/email/",
		IAMPrefix: "ses",
		Errors:    map[string]int{badRequest: 400, internalFailure: 500, notFound: 404, tooMany: 429, limitExceeded: 400},
		// SES v2 has no ValidationException, and repeats no value.
		Invalid: badRequest, Throttled: tooMany, HideValues: true,
		Operations: []wire.Operation{
			wire.Op("GetMessageInsights", false, everything, a.getMessageInsights, notFound, tooMany, badRequest).
				At("GET /v2/email/insights/{MessageId}").AtMost(1),
			wire.Op("BatchGetMetricData", false, everything, a.batchGetMetricData, badRequest, internalFailure, tooMany, notFound).
				At("POST /v2/email/metrics/batch").Before(beforeQueries).AtMost(16), // and so 160 queries, the other limit
			wire.Op("GetAccount", false, everything, a.getAccount, tooMany, badRequest).
				At("GET /v2/email/account"),
			wire.Op("PutAccountVdmAttributes", true, everything, a.putAccountVdmAttributes, badRequest, tooMany).
				At("PUT /v2/email/account/vdm").AtMost(1),
			wire.Op("CreateExportJob", true, a.creating, a.createExportJob, badRequest, tooMany, notFound, limitExceeded).
				At("POST /v2/email/export-jobs").Before(a.beforeExport).AtMost(1),
			wire.Op("GetExportJob", false, func(ctx context.Context, c wire.Caller, in *getExportJobInput) (wire.Access, error) {
				return a.ofExport(ctx, c, *in.JobId)
			}, a.getExportJob, badRequest, notFound, tooMany).
				At("GET /v2/email/export-jobs/{JobId}"),
			wire.Op("ListExportJobs", false, a.listing, a.listExportJobs, tooMany, badRequest).
				At("POST /v2/email/list-export-jobs"),
			wire.Op("CancelExportJob", true, func(ctx context.Context, c wire.Caller, in *cancelExportJobInput) (wire.Access, error) {
				return a.ofExport(ctx, c, *in.JobId)
			}, a.cancelExportJob, notFound, badRequest, tooMany).
				At("PUT /v2/email/export-jobs/{JobId}/cancel"),
		},
	}
}

// everything asks for access to "*": these operations have no resource.
func everything[I any](context.Context, wire.Caller, *I) (wire.Access, error) {
	return wire.Access{Resource: "*"}, nil
}

func (a *API) source(c wire.Caller) events.Source {
	return events.Source{Account: c.Account, Region: a.Region}
}

// refuse gives the model's error for what the domain says.
func refuse(err error) error {
	var invalid insights.Invalid
	switch {
	case errors.Is(err, insights.ErrBusy):
		return wire.Errorf(tooMany, "As much is counted as can be at once. Try again.")
	case errors.Is(err, insights.ErrVDMDisabled):
		return wire.Errorf(notFound, "To use this feature you must enable Virtual Deliverability Manager")
	case errors.As(err, &invalid):
		return wire.Errorf(badRequest, "%s", string(invalid))
	}
	return err
}
