package sesv2

import (
	"context"

	"sesame/internal/insights"
	"sesame/internal/wire"
)

// What GetAccount says of sending, which Sesame does not do and so does not limit:
// -1 is the API's word for no quota, and 14 a second what SES gives new accounts.
const (
	max24HourSend = -1
	maxSendRate   = 14
)

func (a *API) getAccount(ctx context.Context, c wire.Caller, _ *getAccountInput) (*getAccountOutput, error) {
	vdm, err := a.Insights.VDM(ctx, a.source(c))
	if err != nil {
		return nil, err
	}
	sent, err := a.Insights.SentLastDay(ctx, a.source(c))
	if err != nil {
		return nil, refuse(err)
	}
	out := &getAccountOutput{
		DedicatedIpAutoWarmupEnabled: new(false),
		EnforcementStatus:            new("HEALTHY"),
		ProductionAccessEnabled:      new(true),
		SendingEnabled:               new(true),
		SendQuota:                    &sendQuota{Max24HourSend: new(float64(max24HourSend)), MaxSendRate: new(float64(maxSendRate)), SentLast24Hours: new(float64(sent))},
		SuppressionAttributes:        &suppressionAttributes{SuppressedReasons: []string{}},
		VdmAttributes:                &vdmAttributes{VdmEnabled: *status(&vdm.Enabled)},
	}
	if vdm.EngagementMetrics != nil {
		out.VdmAttributes.DashboardAttributes = &dashboardAttributes{status(vdm.EngagementMetrics)}
	}
	if vdm.OptimizedSharedDelivery != nil {
		out.VdmAttributes.GuardianAttributes = &guardianAttributes{status(vdm.OptimizedSharedDelivery)}
	}
	return out, nil
}

func (a *API) putAccountVdmAttributes(ctx context.Context, c wire.Caller, in *putAccountVdmAttributesInput) (*empty, error) {
	asked := in.VdmAttributes
	vdm := insights.VDM{Enabled: *isEnabled(asked.VdmEnabled)}
	if asked.DashboardAttributes != nil {
		vdm.EngagementMetrics = isEnabled(asked.DashboardAttributes.EngagementMetrics)
	}
	if asked.GuardianAttributes != nil {
		vdm.OptimizedSharedDelivery = isEnabled(asked.GuardianAttributes.OptimizedSharedDelivery)
	}
	return &empty{}, a.Insights.PutVDM(ctx, a.source(c), vdm)
}

const enabled, disabled = "ENABLED", "DISABLED"

// status is how the API says on and off; nil is nil.
func status(on *bool) *string {
	if on == nil {
		return nil
	}
	if *on {
		return new(enabled)
	}
	return new(disabled)
}

func isEnabled(status *string) *bool {
	if status == nil {
		return nil
	}
	return new(*status == enabled)
}
