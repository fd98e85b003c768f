package sesv2

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"sesame/internal/events"
)

// same compares outputs of the SDK, what it notes of the conversation aside.
var same = cmp.Options{
	cmpopts.IgnoreTypes(middleware.Metadata{}),
	cmpopts.IgnoreUnexported(
		sdk.GetMessageInsightsOutput{}, sdk.BatchGetMetricDataOutput{}, sdk.GetAccountOutput{},
		types.MessageTag{}, types.EmailInsights{}, types.InsightsEvent{}, types.EventDetails{}, types.Bounce{}, types.Complaint{},
		types.MetricDataResult{}, types.SendQuota{}, types.SuppressionAttributes{}, types.VdmAttributes{}, types.DashboardAttributes{}, types.GuardianAttributes{},
	),
}

const messageID = "01000100001000dd-2a19190d-99d4-0000-9f00-deb5bbf2bfbe-000001"

// record is an event as SES publishes it, of the message above.
func record(eventType, at, object string) string {
	name := strings.ToLower(eventType[:1]) + eventType[1:]
	if eventType == "Rendering Failure" {
		name = "failure"
	}
	if object != "" && at != "" {
		object = `"timestamp":"` + at + `",` + object
	}
	return fmt.Sprintf(`{"eventType":%q,"mail":{"timestamp":"2026-11-22T10:00:00.000Z","messageId":%q,"source":"Sender <news@example.com>",
		"sourceArn":"arn:aws:ses:us-east-1:000000000000:identity/example.com","sendingAccountId":"000000000000","destination":["user@gmail.com"],
		"commonHeaders":{"from":["Sender <news@example.com>"],"to":["user@gmail.com"],"messageId":%q,"subject":"Héllo"},
		"tags":{"ses:configuration-set":["news"],"ses:from-domain":["example.com"],"colour":["red","blue"]}},%q:{%s}}`, eventType, messageID, messageID, name, object)
}

func at(t *testing.T, text string) *time.Time {
	t.Helper()
	moment, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return &moment
}

// Every field of GetMessageInsights, and every type of event, oldest first.
func TestGetMessageInsights(t *testing.T) {
	w := newWorld(t)
	const day = "2026-11-22T"
	w.decode(record("Click", day+"13:00:00.123Z", `"ipAddress":"192.0.2.9","userAgent":"x","link":"https://example.com/","linkTags":{"a":["b"]}`))
	w.decode(record("Open", day+"12:00:00.000Z", `"ipAddress":"192.0.2.9","userAgent":"x"`))
	w.decode(record("Complaint", day+"14:00:00.000Z", `"complainedRecipients":[{"emailAddress":"user@gmail.com"}],"feedbackId":"f2","complaintSubType":null,"complaintFeedbackType":"auth-failure"`))
	w.decode(record("Complaint", day+"15:00:00.000Z", `"complainedRecipients":[{"emailAddress":"user@gmail.com"}],"feedbackId":"f3","complaintSubType":"OnAccountSuppressionList"`))
	w.decode(record("Bounce", day+"11:00:00.000Z", `"bounceType":"Transient","bounceSubType":"MailboxFull","bouncedRecipients":[{"emailAddress":"user@gmail.com","status":"4.2.2","diagnosticCode":"smtp; 452 4.2.2 full"}],"feedbackId":"f1"`))
	w.decode(record("Bounce", day+"11:00:01.000Z", `"bounceType":"Permanent","bounceSubType":"OnAccountSuppressionList","bouncedRecipients":[{"emailAddress":"user@gmail.com"}],"feedbackId":"f4"`))
	w.decode(record("Bounce", day+"11:00:02.000Z", `"bounceType":"Undetermined","bounceSubType":"Undetermined","bouncedRecipients":[{"emailAddress":"user@gmail.com"}],"feedbackId":"f5"`))
	w.decode(record("DeliveryDelay", day+"10:30:00.000Z", `"delayType":"TransientCommunicationFailure","delayedRecipients":[{"emailAddress":"user@gmail.com"}],"expirationTime":"2026-11-23T10:00:00.000Z"`))
	w.decode(record("Delivery", day+"10:00:02.500Z", `"recipients":["user@gmail.com"],"smtpResponse":"250 ok"`))
	w.decode(record("Subscription", day+"16:00:00.000Z", `"contactList":"l","source":"UnsubscribeHeader"`))
	w.decode(record("Rendering Failure", "", `"templateName":"t","errorMessage":"e"`))
	w.decode(record("Reject", "", `"reason":"Bad content"`))
	w.decode(record("Send", "", ""))
	w.decode(record("Something New", day+"17:00:00.000Z", ``)) // of a type that SES may have one day

	got, err := w.client.GetMessageInsights(context.Background(), &sdk.GetMessageInsightsInput{MessageId: aws.String(messageID)})
	if err != nil {
		t.Fatal(err)
	}
	event := func(kind types.EventType, moment string, details *types.EventDetails) types.InsightsEvent {
		return types.InsightsEvent{Type: kind, Timestamp: at(t, day+moment), Details: details}
	}
	bounced := func(kind types.BounceType, sub, diagnostic string) *types.EventDetails {
		b := &types.Bounce{BounceType: kind, BounceSubType: &sub}
		if diagnostic != "" {
			b.DiagnosticCode = &diagnostic
		}
		return &types.EventDetails{Bounce: b}
	}
	want := &sdk.GetMessageInsightsOutput{
		MessageId: aws.String(messageID), FromEmailAddress: aws.String("news@example.com"), Subject: aws.String("Héllo"),
		EmailTags: []types.MessageTag{
			{Name: aws.String("colour"), Value: aws.String("red")}, {Name: aws.String("colour"), Value: aws.String("blue")},
			{Name: aws.String("ses:configuration-set"), Value: aws.String("news")}, {Name: aws.String("ses:from-domain"), Value: aws.String("example.com")},
		},
		Insights: []types.EmailInsights{{
			Destination: aws.String("user@gmail.com"), Isp: aws.String("Gmail"),
			Events: []types.InsightsEvent{
				event("REJECT", "10:00:00Z", nil), event("RENDERING_FAILURE", "10:00:00Z", nil), event("SEND", "10:00:00Z", nil), event("SOMETHING_NEW", "10:00:00Z", nil),
				event("DELIVERY", "10:00:02.5Z", nil), event("DELIVERY_DELAY", "10:30:00Z", nil),
				event("BOUNCE", "11:00:00Z", bounced("TRANSIENT", "MAILBOX_FULL", "smtp; 452 4.2.2 full")),
				event("BOUNCE", "11:00:01Z", bounced("PERMANENT", "ON_ACCOUNT_SUPPRESSION_LIST", "")),
				event("BOUNCE", "11:00:02Z", bounced("UNDETERMINED", "UNDETERMINED", "")),
				event("OPEN", "12:00:00Z", nil), event("CLICK", "13:00:00.123Z", nil),
				event("COMPLAINT", "14:00:00Z", &types.EventDetails{Complaint: &types.Complaint{ComplaintFeedbackType: aws.String("auth-failure")}}),
				event("COMPLAINT", "15:00:00Z", &types.EventDetails{Complaint: &types.Complaint{ComplaintSubType: aws.String("ON_ACCOUNT_SUPPRESSION_LIST")}}),
				event("SUBSCRIPTION", "16:00:00Z", nil),
			},
		}},
	}
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Error(diff)
	}
	for _, known := range types.EventType("").Values() {
		if !slices.ContainsFunc(got.Insights[0].Events, func(e types.InsightsEvent) bool { return e.Type == known }) {
			t.Errorf("no event of type %s", known)
		}
	}

	// Both forms of the path, and timestamps as they are on the wire.
	for _, end := range []string{"", "/"} {
		answer, r := w.send("GET", "/v2/email/insights/"+messageID+end, "")
		if r != (refusal{}) {
			t.Fatalf("%q: %+v", end, r)
		}
		first := answer["Insights"].([]any)[0].(map[string]any)["Events"].([]any)[4].(map[string]any)
		if diff := cmp.Diff(map[string]any{"Type": "DELIVERY", "Timestamp": 1795341602.5}, first); diff != "" {
			t.Errorf("%q: %s", end, diff)
		}
	}
}

// Text that SES did not give is absent, lists are there; mail with two recipients is
// told of by recipient, or like SES not at all.
func TestGetMessageInsightsOfLittle(t *testing.T) {
	w := newWorld(t)
	w.append(events.Event{Source: src, MessageID: "m", Type: events.Complaint, Time: now, Sent: now})
	answer, r := w.send("GET", "/v2/email/insights/m", "")
	want := map[string]any{"MessageId": "m", "EmailTags": []any{}, "Insights": []any{
		map[string]any{"Events": []any{map[string]any{"Type": "COMPLAINT", "Timestamp": float64(now.Unix()), "Details": map[string]any{"Complaint": map[string]any{}}}}},
	}}
	if diff := cmp.Diff(want, answer); diff != "" || r != (refusal{}) {
		t.Errorf("%+v\n%s", r, diff)
	}

	for _, to := range []string{"a@example.com", "b@example.com"} {
		w.append(events.Event{Source: src, MessageID: "two", Destination: to, Type: events.Send, Time: now, Sent: now, Multi: true})
	}
	if answer, _ = w.send("GET", "/v2/email/insights/two", ""); len(answer["Insights"].([]any)) != 2 {
		t.Errorf("%v", answer)
	}
	w.domain.LikeSES = true
	if _, r := w.send("GET", "/v2/email/insights/two", ""); r != (refusal{404, notFound, "Message two not found for account 000000000000"}) {
		t.Errorf("like SES: %+v", r)
	}
}

func TestGetMessageInsightsRefusals(t *testing.T) {
	w := newWorld(t)
	w.append(events.Event{Source: src, MessageID: "m", Type: events.Send, Time: now, Sent: now})
	get := func(key, id string) refusal {
		t.Helper()
		_, err := w.as(key).GetMessageInsights(context.Background(), &sdk.GetMessageInsightsInput{MessageId: &id})
		return asRefusal(t, err)
	}
	for _, c := range []struct {
		key, id string
		want    refusal
	}{
		{"ROOT", "m", refusal{}},
		{"READ", "m", refusal{}},
		{"ROOT", "none", refusal{404, notFound, "Message none not found for account 000000000000"}},
		{"ROOT", "a/b ü%", refusal{404, notFound, "Message a/b ü% not found for account 000000000000"}},
		{"ROOT", "a\x00b", refusal{404, notFound, "Message a\x00b not found for account 000000000000"}},
		{"OTHER", "m", refusal{404, notFound, "Message m not found for account 111111111111"}},
		{"LISTS", "m", refusal{403, "AccessDeniedException", "User: arn:aws:iam::000000000000:user/lists is not authorized to perform: ses:GetMessageInsights on resource: * because no identity-based policy allows the ses:GetMessageInsights action"}},
		{"NOBODY", "m", refusal{403, "UnrecognizedClientException", "The security token included in the request is invalid."}},
	} {
		if got := get(c.key, c.id); got != c.want {
			t.Errorf("%s asks for %q:\n got %+v\nwant %+v", c.key, c.id, got, c.want)
		}
	}
	if _, r := w.send("GET", "/v2/email/insights/", ""); r.Status != 404 || r.Code != "UnknownOperationException" {
		t.Errorf("no id: %+v", r)
	}

	// One a second, of each account.
	w.step.Store(0)
	for i, want := range []int{200, 429, 429} {
		r := get("OTHER", "none")
		if (i == 0) != (r.Status == 404) || i > 0 && r != (refusal{want, tooMany, "Rate exceeded"}) {
			t.Errorf("request %d: %+v", i, r)
		}
	}
	w.elapsed.Add(int64(time.Second))
	if r := get("OTHER", "none"); r.Status != 404 {
		t.Errorf("a second later: %+v", r)
	}
}

func query(id string, change ...func(*types.BatchGetMetricDataQuery)) types.BatchGetMetricDataQuery {
	start, end := now.Truncate(24*time.Hour).AddDate(0, 0, -7), now.Truncate(24*time.Hour)
	q := types.BatchGetMetricDataQuery{Id: &id, Namespace: types.MetricNamespaceVdm, Metric: types.MetricSend, StartDate: &start, EndDate: &end}
	for _, c := range change {
		c(&q)
	}
	return q
}

// All ten metrics by their definitions, and the dimensions.
func TestBatchGetMetricData(t *testing.T) {
	w := newWorld(t)
	midnight := func(daysAgo int) time.Time { return now.Truncate(24*time.Hour).AddDate(0, 0, -daysAgo) }
	n := 0
	mail := func(daysAgo int, kind events.Type, change func(*events.Event)) {
		n++
		e := events.Event{
			Source: src, MessageID: fmt.Sprint("m", n), Destination: "x@yahoo.com", ISP: "Yahoo", Type: kind,
			Time: midnight(daysAgo).Add(time.Hour), Sent: midnight(daysAgo).Add(time.Hour), From: "news@example.com", Identity: "example.com", ConfigurationSet: "news",
		}
		if change != nil {
			change(&e)
		}
		w.append(e)
	}
	id := func(id string) func(*events.Event) { return func(e *events.Event) { e.MessageID = id } }
	bounce := func(kind, sub string) func(*events.Event) {
		return func(e *events.Event) { e.BounceType, e.SubType = kind, sub }
	}
	for range 5 {
		mail(2, events.Send, nil)
	}
	mail(4, events.Send, nil)
	mail(2, events.Delivery, nil)
	mail(2, events.Delivery, nil)
	mail(2, events.Delivery, func(e *events.Event) { e.ISP, e.ConfigurationSet = "Gmail", "bills" }) // no feedback loop, nothing tracked
	mail(2, events.Complaint, nil)
	mail(2, events.Complaint, func(e *events.Event) { e.SubType = "OnAccountSuppressionList" })
	mail(2, events.Bounce, bounce("PERMANENT", "General"))
	mail(2, events.Bounce, bounce("PERMANENT", "OnAccountSuppressionList"))
	mail(2, events.Bounce, bounce("TRANSIENT", "General"))
	mail(2, events.Bounce, bounce("UNDETERMINED", "Undetermined"))
	for hour := range 3 { // the same message opened three times, clicked twice
		mail(2, events.Open, func(e *events.Event) { id("o")(e); e.Time = e.Time.Add(time.Duration(hour) * time.Hour) })
	}
	mail(1, events.Open, func(e *events.Event) { id("o")(e); e.Sent = midnight(2).Add(time.Hour) })
	mail(2, events.Open, id("p"))
	mail(2, events.Click, id("o"))
	mail(1, events.Click, func(e *events.Event) { id("o")(e); e.Sent = midnight(2).Add(time.Hour) })
	mail(2, events.Send, func(e *events.Event) { e.Multi = true })
	mail(2, events.Send, func(e *events.Event) { e.Simulator = true })

	counts := map[types.Metric]int64{
		"SEND": 7, "DELIVERY": 3, "COMPLAINT": 1, "PERMANENT_BOUNCE": 1, "TRANSIENT_BOUNCE": 2, "OPEN": 2, "CLICK": 1,
		"DELIVERY_OPEN": 2, "DELIVERY_CLICK": 2, "DELIVERY_COMPLAINT": 2,
	}
	for _, w.domain.LikeSES = range []bool{false, true} {
		if w.domain.LikeSES {
			counts["SEND"] = 5
		}
		in := &sdk.BatchGetMetricDataInput{}
		want := &sdk.BatchGetMetricDataOutput{Errors: []types.MetricDataError{}}
		for _, metric := range types.Metric("").Values() {
			in.Queries = append(in.Queries, query(string(metric), func(q *types.BatchGetMetricDataQuery) { q.Metric = metric }))
			r := types.MetricDataResult{Id: aws.String(string(metric)), Timestamps: []time.Time{midnight(2)}, Values: []int64{counts[metric]}}
			if metric == "SEND" {
				r.Timestamps, r.Values = []time.Time{midnight(4), midnight(2)}, []int64{1, counts[metric]}
			}
			want.Results = append(want.Results, r)
		}
		if len(in.Queries) != 10 {
			t.Fatalf("the SDK has %d metrics", len(in.Queries))
		}
		got, err := w.client.BatchGetMetricData(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Errorf("like SES %v:\n%s", w.domain.LikeSES, diff)
		}
	}

	for _, c := range []struct {
		dimensions map[string]string
		want       int64 // deliveries
	}{
		{map[string]string{"ISP": "Gmail"}, 1},
		{map[string]string{"ISP": "Yahoo"}, 2},
		{map[string]string{"CONFIGURATION_SET": "bills"}, 1},
		{map[string]string{"EMAIL_IDENTITY": "example.com"}, 3},
		{map[string]string{"EMAIL_IDENTITY": "NEWS@example.com"}, 3},
		{map[string]string{"EMAIL_IDENTITY": "other.example"}, 0},
		{map[string]string{"ISP": "Yahoo", "EMAIL_IDENTITY": "example.com"}, 2},
		{map[string]string{"ISP": "Yahoo", "CONFIGURATION_SET": "bills"}, 0},
		{map[string]string{"ISP": "Gmail", "CONFIGURATION_SET": "bills", "EMAIL_IDENTITY": "example.com"}, 1},
		{map[string]string{"TENANT_NAME": "no-such-tenant"}, 0},
	} {
		out, err := w.client.BatchGetMetricData(context.Background(), &sdk.BatchGetMetricDataInput{Queries: []types.BatchGetMetricDataQuery{
			query("q", func(q *types.BatchGetMetricDataQuery) { q.Metric, q.Dimensions = "DELIVERY", c.dimensions }),
		}})
		if err != nil {
			t.Errorf("%v: %v", c.dimensions, err)
			continue
		}
		total := int64(0)
		for _, value := range out.Results[0].Values {
			total += value
		}
		if total != c.want || len(out.Results[0].Timestamps) != len(out.Results[0].Values) || out.Results[0].Values == nil || out.Results[0].Timestamps == nil {
			t.Errorf("%v: %v %v, want %d", c.dimensions, out.Results[0].Timestamps, out.Results[0].Values, c.want)
		}
	}

	// As AWS's command line sample has it: dates as text, and members always there.
	answer, r := w.send("POST", "/v2/email/metrics/batch", `{"Queries":[{"Id":"a","Namespace":"VDM","Metric":"SEND","StartDate":"2026-11-19T00:00:00","EndDate":1795392000}]}`)
	if r != (refusal{400, "SerializationException", "STRING_VALUE can not be converted to a Timestamp"}) {
		t.Errorf("a date without zone: %v %+v", answer, r)
	}
	answer, r = w.send("POST", "/v2/email/metrics/batch", `{"Queries":[{"Id":"a","Namespace":"VDM","Metric":"SEND","StartDate":"2026-11-19T00:00:00Z","EndDate":1795219200.000},{"Id":"b","Namespace":"VDM","Metric":"OPEN","StartDate":0,"EndDate":1}]}`)
	want := map[string]any{"Errors": []any{}, "Results": []any{
		map[string]any{"Id": "a", "Timestamps": []any{1795046400.}, "Values": []any{1.}},
		map[string]any{"Id": "b", "Timestamps": []any{}, "Values": []any{}},
	}}
	if diff := cmp.Diff(want, answer); diff != "" || r != (refusal{}) {
		t.Errorf("%+v\n%s", r, diff)
	}
}

// Every message of BatchGetMetricData, and their order.
func TestBatchGetMetricDataRefusals(t *testing.T) {
	w := newWorld(t)
	w.domain.LikeSES = true
	const fine = `{"Id":"f","Namespace":"VDM","Metric":"SEND","StartDate":1795046400,"EndDate":1795219200}`
	with := func(changes ...string) string { // pairs of a member and its JSON, "" for none
		members := map[string]string{"Id": `"q"`, "Namespace": `"VDM"`, "Metric": `"SEND"`, "StartDate": "1795046400", "EndDate": "1795219200", "Dimensions": ""}
		for i := 0; i < len(changes); i += 2 {
			members[changes[i]] = changes[i+1]
		}
		var all []string
		for name, value := range members {
			if value != "" {
				all = append(all, fmt.Sprintf("%q:%s", name, value))
			}
		}
		return "{" + strings.Join(all, ",") + "}"
	}
	violation := func(what ...string) string {
		noun := "error"
		if len(what) > 1 {
			noun = "errors"
		}
		return fmt.Sprintf("%d validation %s detected: Value at '%s", len(what), noun, strings.Join(what, "; Value at '"))
	}
	const (
		metrics    = "' failed to satisfy constraint: Member must satisfy enum value set: [DELIVERY_COMPLAINT, CLICK, SEND, OPEN, COMPLAINT, DELIVERY, DELIVERY_OPEN, PERMANENT_BOUNCE, DELIVERY_CLICK, TRANSIENT_BOUNCE]"
		namespaces = "' failed to satisfy constraint: Member must satisfy enum value set: [VDM]"
		null       = "' failed to satisfy constraint: Member must not be null"
		least      = "' failed to satisfy constraint: Member must have length greater than or equal to 1"
		most       = "' failed to satisfy constraint: Member must have length less than or equal to "
		allowed    = ": only alphanumeric ASCII characters, '_', and '-' are allowed."
	)
	reversed, badIdentity := with("StartDate", "1795219200", "EndDate", "1795046400"), with("Dimensions", `{"EMAIL_IDENTITY":""}`)
	eleven := make([]string, 11)
	for i := range eleven {
		eleven[i] = fine // the same id, too, which is not told of
	}
	for _, c := range []struct{ queries, want string }{
		{fine, ""},
		{"", violation("queries" + least)},
		{strings.Join(eleven, ","), violation("queries" + most + "10")},
		{"null", violation("queries.1.member" + null)},
		{fine + "," + fine, "All queries must have a unique identifier."},
		{with() + "," + with("Dimensions", `{"X":"y"}`, "Metric", `"NONE"`), "All queries must have a unique identifier."},
		{reversed + "," + reversed, "All queries must have a unique identifier."},
		{with("Id", `""`) + "," + with("Id", `""`), "All queries must have a unique identifier."},
		{with("Dimensions", `{"X":"y"}`), "Unsupported dimension provided."},
		{with("Dimensions", `{"isp":"Gmail"}`), "Unsupported dimension provided."},
		{with("Dimensions", `{"X":null}`, "Metric", `"NONE"`), "Unsupported dimension provided."},
		{with("Metric", `"NONE"`), violation("queries.1.member.metric" + metrics)},
		{with("Namespace", `"vdm"`), violation("queries.1.member.namespace" + namespaces)},
		{with("Id", `""`), violation("queries.1.member.id" + least)},
		{with("Id", `"`+strings.Repeat("x", 256)+`"`), violation("queries.1.member.id" + most + "255")},
		{with("Id", `"`+strings.Repeat("é", 255)+`"`), ""},
		{with("Dimensions", `{}`), violation("queries.1.member.dimensions" + least)},
		{with("Dimensions", `{"ISP":"a","EMAIL_IDENTITY":"b","CONFIGURATION_SET":"c","TENANT_NAME":"d"}`), violation("queries.1.member.dimensions" + most + "3")},
		{with("Dimensions", `{"ISP":null}`), violation("queries.1.member.dimensions' failed to satisfy constraint: Member must satisfy constraint: [Member must not be null]")},
		{with("Metric", "", "Namespace", "", "Id", "", "StartDate", "", "EndDate", "null"),
			violation("queries.1.member.metric"+null, "queries.1.member.namespace"+null, "queries.1.member.id"+null, "queries.1.member.startDate"+null, "queries.1.member.endDate"+null)},
		{with("Id", `""`, "Namespace", `"NOT"`, "Metric", `"NOT"`, "StartDate", "2", "EndDate", "1"),
			violation("queries.1.member.metric"+metrics, "queries.1.member.namespace"+namespaces, "queries.1.member.id"+least)},
		{fine + "," + with("Metric", `"NOT"`) + "," + badIdentity[:1] + `"Id":"r",` + `"Namespace":"NOT","Metric":"SEND","StartDate":2,"EndDate":1}`,
			violation("queries.2.member.metric"+metrics, "queries.3.member.namespace"+namespaces)},
		{with("Metric", `"NOT"`, "Dimensions", `{"EMAIL_IDENTITY":""}`), violation("queries.1.member.metric" + metrics)},
		{badIdentity, "Invalid email identity provided."},
		{with("Dimensions", `{"ISP":"Gmail.com"}`), "Invalid ISP name provided."},
		{with("Dimensions", `{"CONFIGURATION_SET":""}`), "The configuration set name must be specified."},
		{with("Dimensions", `{"CONFIGURATION_SET":"has space"}`), "Invalid configuration set name <has space>" + allowed},
		{with("Dimensions", `{"TENANT_NAME":""}`), "TenantName cannot be empty"},
		{with("Dimensions", `{"TENANT_NAME":"*"}`), "Invalid tenant name <*>" + allowed},
		{with("Dimensions", `{"EMAIL_IDENTITY":"UPPER@Example.COM","ISP":"Not-An_Isp","CONFIGURATION_SET":"a_B-9"}`), ""},
		{strings.Replace(reversed, `"q"`, `"r"`, 1) + "," + badIdentity, "Invalid email identity provided."},
		{reversed, "Expected start date to be before the end date."},
		{with("StartDate", "1795046400", "EndDate", "1795046400"), "Expected start date to be before the end date."},
		{with("StartDate", "1790035199.999"), "Invalid interval, can request at most 60 days. Please partition your requested interval."},
		{with("StartDate", "1790035200"), ""},
		{with("StartDate", "1795046400.5", "EndDate", "1795100000"), ""}, // parts of days
	} {
		answer, r := w.send("POST", "/v2/email/metrics/batch", `{"Queries":[`+c.queries+`]}`)
		want := refusal{400, badRequest, c.want}
		if c.want == "" {
			want = refusal{}
		}
		if r != want || c.want == "" && answer["Results"] == nil {
			t.Errorf("%.300s:\n got %+v\nwant %+v", c.queries, r, want)
		}
	}
	for body, want := range map[string]refusal{
		``:                  {400, badRequest, violation("queries" + null)},
		`{}`:                {400, badRequest, violation("queries" + null)},
		`{"Queries":{}}`:    {400, "SerializationException", "Start of structure or map found where not expected."},
		`{"Queries":["a"]}`: {400, "SerializationException", "Expected null"},
		`{"Queries":[` + with("Dimensions", `[]`) + `]}`:              {400, "SerializationException", "Start of list found where not expected"},
		`{"Queries":[` + with("Dimensions", `{"ISP":7}`) + `]}`:       {400, "SerializationException", "NUMBER_VALUE can not be converted to a String"},
		`{"Queries":[` + with("Id", `7`) + `]}`:                       {400, "SerializationException", "NUMBER_VALUE can not be converted to a String"},
		`{"Queries":[` + with("EndDate", `"soon"`) + `]}`:             {400, "SerializationException", "STRING_VALUE can not be converted to a Timestamp"},
		`{"Queries":[` + with("EndDate", `999999999999999999`) + `]}`: {400, "SerializationException", "NUMBER_VALUE can not be converted to a Timestamp"},
		`{"Queries":`: {400, "SerializationException", "The request body is malformed."},
	} {
		if _, r := w.send("POST", "/v2/email/metrics/batch", body); r != want {
			t.Errorf("%.300s:\n got %+v\nwant %+v", body, r, want)
		}
	}
	if _, r := w.send("GET", "/v2/email/metrics/batch", ""); r.Status != 404 || r.Code != "UnknownOperationException" {
		t.Errorf("GET: %+v", r)
	}
	w.domain.LikeSES = false
	if _, r := w.send("POST", "/v2/email/metrics/batch", `{"Queries":[`+with("StartDate", "0")+`]}`); r != (refusal{}) {
		t.Errorf("any interval is fine with Sesame's own limits: %+v", r)
	}
}

// 16 calls, and so 160 queries, a second.
func TestBatchGetMetricDataLimits(t *testing.T) {
	w := newWorld(t)
	w.step.Store(0)
	in := &sdk.BatchGetMetricDataInput{}
	for i := range 10 {
		in.Queries = append(in.Queries, query(fmt.Sprint("q", i), func(q *types.BatchGetMetricDataQuery) { q.Dimensions = map[string]string{"TENANT_NAME": "none"} }))
	}
	answered := func(key string, calls int) (n int) {
		t.Helper()
		for range calls {
			_, err := w.as(key).BatchGetMetricData(context.Background(), in)
			switch r := asRefusal(t, err); r {
			case refusal{}:
				n++
			case refusal{429, tooMany, "Rate exceeded"}:
			default:
				t.Errorf("%+v", r)
			}
		}
		return n
	}
	if n := answered("ROOT", 20); n != 16 {
		t.Errorf("%d calls were answered at once", n)
	}
	if n := answered("OTHER", 1); n != 1 {
		t.Error("another account was refused")
	}
	w.elapsed.Add(int64(time.Second / 8))
	if n := answered("ROOT", 4); n != 2 {
		t.Errorf("an eighth of a second brought %d more", n)
	}
}

func TestAccount(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	w.append(
		events.Event{Source: src, MessageID: "m", Type: events.Send, Time: now.Add(-time.Hour), Sent: now.Add(-time.Hour)},
		events.Event{Source: src, MessageID: "n", Type: events.Send, Time: now.Add(-25 * time.Hour), Sent: now.Add(-25 * time.Hour)},
	)
	want := &sdk.GetAccountOutput{
		EnforcementStatus: aws.String("HEALTHY"), ProductionAccessEnabled: true, SendingEnabled: true,
		SendQuota:             &types.SendQuota{Max24HourSend: -1, MaxSendRate: 14, SentLast24Hours: 1},
		SuppressionAttributes: &types.SuppressionAttributes{SuppressedReasons: []types.SuppressionListReason{}},
		VdmAttributes: &types.VdmAttributes{
			VdmEnabled:          "ENABLED",
			DashboardAttributes: &types.DashboardAttributes{EngagementMetrics: "ENABLED"},
			GuardianAttributes:  &types.GuardianAttributes{OptimizedSharedDelivery: "DISABLED"},
		},
	}
	is := func(what string) {
		t.Helper()
		got, err := w.client.GetAccount(ctx, &sdk.GetAccountInput{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
	}
	is("never set")
	put := func(key string, v *types.VdmAttributes) refusal {
		t.Helper()
		_, err := w.as(key).PutAccountVdmAttributes(ctx, &sdk.PutAccountVdmAttributesInput{VdmAttributes: v})
		return asRefusal(t, err)
	}
	for _, v := range []*types.VdmAttributes{
		{VdmEnabled: "DISABLED"},
		{VdmEnabled: "ENABLED", DashboardAttributes: &types.DashboardAttributes{EngagementMetrics: "DISABLED"}},
		{VdmEnabled: "ENABLED", GuardianAttributes: &types.GuardianAttributes{OptimizedSharedDelivery: "ENABLED"}},
		{VdmEnabled: "DISABLED", DashboardAttributes: &types.DashboardAttributes{EngagementMetrics: "ENABLED"}, GuardianAttributes: &types.GuardianAttributes{OptimizedSharedDelivery: "DISABLED"}},
	} {
		if r := put("ROOT", v); r != (refusal{}) {
			t.Fatalf("%+v: %+v", v, r)
		}
		want.VdmAttributes = v
		is("as it was put")
	}
	if r := put("READ", &types.VdmAttributes{VdmEnabled: "ENABLED"}); r.Status != 403 || r.Code != "AccessDeniedException" || !strings.Contains(r.Message, "ses:PutAccountVdmAttributes on resource: *") {
		t.Errorf("not allowed: %+v", r)
	}
	if _, err := w.as("LISTS").GetAccount(ctx, &sdk.GetAccountInput{}); asRefusal(t, err).Code != "AccessDeniedException" {
		t.Errorf("not allowed: %v", err)
	}
	is("after a refusal")
	if out, err := w.as("OTHER").GetAccount(ctx, &sdk.GetAccountInput{}); err != nil || out.VdmAttributes.VdmEnabled != "ENABLED" || out.SendQuota.SentLast24Hours != 0 {
		t.Errorf("another account: %+v, %v", out, err)
	}

	// Switched off, it is told of before the message is looked for, and before the
	// queries' values are.
	off := refusal{404, notFound, "To use this feature you must enable Virtual Deliverability Manager"}
	for _, id := range []string{"m", "none"} {
		_, err := w.client.GetMessageInsights(ctx, &sdk.GetMessageInsightsInput{MessageId: &id})
		if r := asRefusal(t, err); r != off {
			t.Errorf("insights of %s: %+v", id, r)
		}
	}
	badDates := query("q", func(q *types.BatchGetMetricDataQuery) { q.StartDate = q.EndDate })
	_, err := w.client.BatchGetMetricData(ctx, &sdk.BatchGetMetricDataInput{Queries: []types.BatchGetMetricDataQuery{badDates}})
	if r := asRefusal(t, err); r != off {
		t.Errorf("metrics: %+v", r)
	}

	const enums = "' failed to satisfy constraint: Member must satisfy enum value set: [ENABLED, DISABLED]"
	for body, message := range map[string]string{
		`{}`:                   "1 validation error detected: Value at 'vdmAttributes' failed to satisfy constraint: Member must not be null",
		`{"VdmAttributes":{}}`: "1 validation error detected: Value at 'vdmAttributes.vdmEnabled' failed to satisfy constraint: Member must not be null",
		`{"VdmAttributes":{"VdmEnabled":"on","DashboardAttributes":{"EngagementMetrics":""},"GuardianAttributes":{"OptimizedSharedDelivery":"enabled"}}}`: "3 validation errors detected: Value at 'vdmAttributes.vdmEnabled" + enums +
			"; Value at 'vdmAttributes.dashboardAttributes.engagementMetrics" + enums + "; Value at 'vdmAttributes.guardianAttributes.optimizedSharedDelivery" + enums,
	} {
		if _, r := w.send("PUT", "/v2/email/account/vdm", body); r != (refusal{400, badRequest, message}) {
			t.Errorf("%s: %+v", body, r)
		}
	}
	is("after refusals")

	// On the wire an answer of nothing is {}; and members that say nothing are not kept.
	if answer, r := w.send("PUT", "/v2/email/account/vdm", `{"VdmAttributes":{"VdmEnabled":"ENABLED","DashboardAttributes":{}}}`); len(answer) != 0 || answer == nil || r != (refusal{}) {
		t.Errorf("%v, %+v", answer, r)
	}
	want.VdmAttributes = &types.VdmAttributes{VdmEnabled: "ENABLED"}
	is("switched on again")
	w.step.Store(0)
	put("OTHER", &types.VdmAttributes{VdmEnabled: "ENABLED"})
	if r := put("OTHER", &types.VdmAttributes{VdmEnabled: "ENABLED"}); r != (refusal{429, tooMany, "Rate exceeded"}) {
		t.Errorf("twice in a second: %+v", r)
	}
}

// The store's trouble is a 500 without its words.
func TestInternalFailure(t *testing.T) {
	w := newWorld(t)
	w.append(events.Event{Source: src, MessageID: "m", Type: events.Send, Time: now, Sent: now, Tags: "{"})
	if _, r := w.send("GET", "/v2/email/insights/m", ""); r.Status != 500 || r.Code != "InternalFailure" || strings.Contains(r.Message, "tags") {
		t.Errorf("%+v", r)
	}
}

func TestOtherOperations(t *testing.T) {
	w := newWorld(t)
	if _, err := w.client.ListEmailIdentities(context.Background(), &sdk.ListEmailIdentitiesInput{}); asRefusal(t, err) != (refusal{404, "UnknownOperationException", "The operation is not one that Sesame has."}) {
		t.Errorf("%+v", asRefusal(t, err))
	}
}

func TestUpperSnake(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "General": "GENERAL", "NoEmail": "NO_EMAIL", "OnAccountSuppressionList": "ON_ACCOUNT_SUPPRESSION_LIST",
		"ON_ACCOUNT_SUPPRESSION_LIST": "ON_ACCOUNT_SUPPRESSION_LIST", "EmailValidationSuppressed": "EMAIL_VALIDATION_SUPPRESSED",
		"BYOIPHostNameLookupUnavailable": "BYOIP_HOST_NAME_LOOKUP_UNAVAILABLE", "IPFailure": "IP_FAILURE", "Rendering Failure": "RENDERING_FAILURE",
		"auth-failure": "AUTH_FAILURE", "V2Thing": "V2_THING", "Ünïcode": "ÜNÏCODE",
	} {
		if got := events.UpperSnake(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[A-Z][a-z]{1,8}`), 1, 5).Draw(t, "words")
		want := strings.ToUpper(strings.Join(words, "_"))
		if got := events.UpperSnake(strings.Join(words, "")); got != want {
			t.Fatalf("%v is %q", words, got)
		}
		if got := events.UpperSnake(want); got != want {
			t.Fatalf("%q is %q", want, got)
		}
	})
}
