package sesv2

import (
	"context"
	"errors"
	"time"

	"sesame/internal/events"
	"sesame/internal/insights"
	"sesame/internal/wire"
)

func (a *API) getMessageInsights(ctx context.Context, c wire.Caller, in *getMessageInsightsInput) (*getMessageInsightsOutput, error) {
	m, err := a.Insights.Message(ctx, a.source(c), *in.MessageId)
	if errors.Is(err, insights.ErrNotFound) {
		return nil, wire.Errorf(notFound, "Message %s not found for account %s", *in.MessageId, c.Account)
	}
	if err != nil {
		return nil, refuse(err)
	}
	out := &getMessageInsightsOutput{
		MessageId: &m.ID, FromEmailAddress: said(m.From), Subject: said(m.Subject),
		EmailTags: make([]messageTag, len(m.Tags)), Insights: make([]emailInsights, len(m.Recipients)),
	}
	for i, t := range m.Tags {
		out.EmailTags[i] = messageTag(t)
	}
	for i, r := range m.Recipients {
		out.Insights[i] = emailInsights{Destination: said(r.Address), Isp: said(r.ISP), Events: make([]insightsEvent, len(r.Events))}
		for j, e := range r.Events {
			out.Insights[i].Events[j] = event(e)
		}
	}
	return out, nil
}

func event(e events.Event) insightsEvent {
	kind := events.UpperSnake(string(e.Type)) // the known ones are that already
	out := insightsEvent{Timestamp: &e.Time, Type: &kind}
	switch e.Type {
	case events.Bounce:
		out.Details = &eventDetails{Bounce: &bounce{
			BounceType: said(e.BounceType), BounceSubType: said(events.UpperSnake(e.SubType)), DiagnosticCode: said(e.Diagnostic),
		}}
	case events.Complaint:
		out.Details = &eventDetails{Complaint: &complaint{
			ComplaintSubType: said(events.UpperSnake(e.SubType)), ComplaintFeedbackType: said(e.FeedbackType),
		}}
	}
	return out
}

func (a *API) batchGetMetricData(ctx context.Context, c wire.Caller, in *batchGetMetricDataInput) (*batchGetMetricDataOutput, error) {
	queries := make([]insights.Query, len(in.Queries))
	for i, q := range in.Queries {
		queries[i] = insights.Query{Metric: *q.Metric, Start: *q.StartDate, End: *q.EndDate, Dimensions: map[string]string{}}
		for name, value := range q.Dimensions {
			queries[i].Dimensions[name] = *value
		}
	}
	answers, err := a.Insights.Metrics(ctx, a.source(c), queries)
	if err != nil {
		return nil, refuse(err)
	}
	// Errors is for single queries; here all of them have an answer or none has.
	out := &batchGetMetricDataOutput{Results: make([]metricDataResult, len(answers)), Errors: []metricDataError{}}
	for i, days := range answers {
		r := metricDataResult{Id: in.Queries[i].Id, Timestamps: make([]time.Time, len(days)), Values: make([]int64, len(days))}
		for j, d := range days {
			r.Timestamps[j], r.Values[j] = d.Start, d.Count
		}
		out.Results[i] = r
	}
	return out, nil
}

// said is nil for what SES did not say.
func said(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
