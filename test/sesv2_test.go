package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"
)

// goSESClient is the SDK for Go's client of SES v2.
type goSESClient struct{}

func (goSESClient) call(endpoint string, c aws.Credentials, operation string, in map[string]any) (outcome, error) {
	sdk := sesv2.New(sesv2.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
	})
	if operation == "ListExportJobsPages" { // the SDK's own paginator gets all pages
		var all []any
		pages := sesv2.NewListExportJobsPaginator(sdk, &sesv2.ListExportJobsInput{PageSize: aws.Int32(1)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(context.Background())
			if err != nil {
				return outcome{}, err
			}
			for _, j := range page.ExportJobs {
				all = append(all, map[string]any{"JobId": *j.JobId})
			}
		}
		return outcome{Output: map[string]any{"ExportJobs": all}}, nil
	}
	method := reflect.ValueOf(sdk).MethodByName(operation)
	input := reflect.New(method.Type().In(1).Elem())
	text, err := json.Marshal(in)
	if err != nil {
		return outcome{}, err
	}
	if err := json.Unmarshal(text, input.Interface()); err != nil {
		return outcome{}, err
	}
	results := method.Call([]reflect.Value{reflect.ValueOf(context.Background()), input})
	if err, failed := results[1].Interface().(error); failed {
		var api smithy.APIError
		var response *smithyhttp.ResponseError
		if !errors.As(err, &api) || !errors.As(err, &response) {
			return outcome{}, err
		}
		return outcome{Error: api.ErrorCode(), Message: api.ErrorMessage(), Status: response.HTTPStatusCode()}, nil
	}
	if text, err = json.Marshal(results[0].Interface()); err != nil {
		return outcome{}, err
	}
	var o outcome
	err = json.Unmarshal(text, &o.Output)
	delete(o.Output, "ResultMetadata")
	return o, err
}

// plain makes the outputs of both SDKs alike: what is absent is null or "" in one
// and not there in the other, and times have two forms.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, member := range v {
			if member != nil && member != "" {
				out[name] = plain(member)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case string:
		if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return at.UTC().Format(time.RFC3339Nano)
		}
	}
	return v
}

// ingest brings records of events, as SES publishes them, to the server.
func (s *server) ingest(c aws.Credentials, records ...string) {
	s.t.Helper()
	var body bytes.Buffer
	for _, record := range records {
		body.WriteString(record + "\n")
	}
	r, err := http.NewRequest(http.MethodPost, s.url+"/ingest/events", bytes.NewReader(body.Bytes()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	if err := sign(r, body.Bytes(), c); err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		s.t.Fatalf("ingest: %d %s %v", answer.StatusCode, text, err)
	}
}

// question is a call of SES v2 and what is expected of it.
type question struct {
	about, as, operation string
	in                   map[string]any
	want                 outcome // its Output is compared whole
}

// One conversation with the SES v2 questions, held with the SDKs for Go and for
// JavaScript, on a server with Sesame's own limits and on one with --quotas aws.
func TestSESv2(t *testing.T) {
	today := time.Now().UTC().Truncate(24 * time.Hour)
	sent := today.AddDate(0, 0, -2).Add(10 * time.Hour)
	old := today.AddDate(0, 0, -70).Add(10 * time.Hour)
	at := func(d time.Duration) string { return sent.Add(d).Format("2006-01-02T15:04:05.000Z") }
	record := func(id, kind, to string, sent time.Time, object string) string {
		return fmt.Sprintf(`{"eventType":%q,"mail":{"timestamp":%q,"messageId":%q,"source":"news@example.com","sourceArn":"arn:aws:ses:us-east-1:000000000000:identity/example.com",`+
			`"sendingAccountId":"000000000000","destination":[%s],"commonHeaders":{"subject":"Hello"},"tags":{"ses:configuration-set":["news"],"colour":["red"]}},%s}`,
			kind, sent.Format("2006-01-02T15:04:05.000Z"), id, to, object)
	}
	const one, two = `"a@gmail.com"`, `"a@gmail.com","b@gmail.com"`
	records := []string{
		record("m1", "Send", one, sent, `"send":{}`),
		record("m1", "Bounce", one, sent, `"bounce":{"bounceType":"Permanent","bounceSubType":"OnAccountSuppressionList","bouncedRecipients":[{"emailAddress":"a@gmail.com","diagnosticCode":"smtp; 550"}],"timestamp":"`+at(2*time.Second)+`","feedbackId":"f"}`),
		record("m1", "Complaint", one, sent, `"complaint":{"complainedRecipients":[{"emailAddress":"a@gmail.com"}],"complaintFeedbackType":"abuse","timestamp":"`+at(3*time.Second)+`","feedbackId":"g"}`),
		record("m2", "Send", two, sent, `"send":{}`),
		record("m3", "Send", one, old, `"send":{}`),
	}

	day := func(daysAgo int) string { return today.AddDate(0, 0, -daysAgo).Format(time.RFC3339Nano) }
	ask := func(id, metric string, from, to int, dimensions map[string]any) map[string]any {
		q := map[string]any{"Id": id, "Namespace": "VDM", "Metric": metric, "StartDate": day(from), "EndDate": day(to)}
		if dimensions != nil {
			q["Dimensions"] = dimensions
		}
		return q
	}
	batch := func(queries ...any) map[string]any { return map[string]any{"Queries": queries} }
	result := func(id string, pairs ...any) any {
		timestamps, values := []any{}, []any{}
		for i := 0; i < len(pairs); i += 2 {
			timestamps, values = append(timestamps, pairs[i]), append(values, pairs[i+1])
		}
		return map[string]any{"Id": id, "Timestamps": timestamps, "Values": values}
	}
	results := func(all ...any) outcome { return outcome{Output: map[string]any{"Results": all, "Errors": []any{}}} }
	badRequest := func(message string) outcome {
		return outcome{Error: "BadRequestException", Status: 400, Message: message}
	}
	notFound := func(message string) outcome {
		return outcome{Error: "NotFoundException", Status: 404, Message: message}
	}
	event := func(kind string, after time.Duration, details map[string]any) any {
		e := map[string]any{"Type": kind, "Timestamp": sent.Add(after).Format(time.RFC3339Nano)}
		if details != nil {
			e["Details"] = details
		}
		return e
	}
	insights := outcome{Output: map[string]any{
		"MessageId": "m1", "FromEmailAddress": "news@example.com", "Subject": "Hello",
		"EmailTags": []any{map[string]any{"Name": "colour", "Value": "red"}, map[string]any{"Name": "ses:configuration-set", "Value": "news"}},
		"Insights": []any{map[string]any{"Destination": "a@gmail.com", "Isp": "Gmail", "Events": []any{
			event("SEND", 0, nil),
			event("BOUNCE", 2*time.Second, map[string]any{"Bounce": map[string]any{"BounceType": "PERMANENT", "BounceSubType": "ON_ACCOUNT_SUPPRESSION_LIST", "DiagnosticCode": "smtp; 550"}}),
			event("COMPLAINT", 3*time.Second, map[string]any{"Complaint": map[string]any{"ComplaintFeedbackType": "abuse"}}),
		}}},
	}}
	account := func(vdm map[string]any) outcome {
		return outcome{Output: map[string]any{
			"DedicatedIpAutoWarmupEnabled": false, "EnforcementStatus": "HEALTHY", "ProductionAccessEnabled": true, "SendingEnabled": true,
			"SendQuota":             map[string]any{"Max24HourSend": -1., "MaxSendRate": 14., "SentLast24Hours": 0.},
			"SuppressionAttributes": map[string]any{"SuppressedReasons": []any{}}, "VdmAttributes": vdm,
		}}
	}
	vdm := func(status string) map[string]any {
		return map[string]any{"VdmAttributes": map[string]any{"VdmEnabled": status}}
	}
	done := outcome{Output: map[string]any{}}
	off := notFound("To use this feature you must enable Virtual Deliverability Manager")
	message := func(id string) map[string]any { return map[string]any{"MessageId": id} }
	vdmAtFirst := map[string]any{"VdmEnabled": "ENABLED", "DashboardAttributes": map[string]any{"EngagementMetrics": "ENABLED"}, "GuardianAttributes": map[string]any{"OptimizedSharedDelivery": "DISABLED"}}

	always := []question{
		{"every field", "root", "GetMessageInsights", message("m1"), insights},
		{"not there", "root", "GetMessageInsights", message("m9"), notFound("Message m9 not found for account 000000000000")},
		{"another account's", "elsewhere", "GetMessageInsights", message("m1"), notFound("Message m1 not found for account 111111111111")},
		{"an unknown key", "unknown", "GetMessageInsights", message("m1"), outcome{Error: "UnrecognizedClientException", Status: 403, Message: "The security token included in the request is invalid."}},
		{"metrics", "root", "BatchGetMetricData", batch(ask("b", "PERMANENT_BOUNCE", 7, 0, nil), ask("c", "COMPLAINT", 7, 0, map[string]any{"ISP": "Gmail"}), ask("d", "COMPLAINT", 7, 0, map[string]any{"ISP": "Yahoo"})),
			results(result("b"), result("c", day(2), 1.), result("d"))},
		{"one id twice", "root", "BatchGetMetricData", batch(ask("b", "SEND", 7, 0, nil), ask("b", "OPEN", 7, 0, nil)), badRequest("All queries must have a unique identifier.")},
		{"no such dimension", "root", "BatchGetMetricData", batch(ask("b", "SEND", 7, 0, map[string]any{"X": "y"})), badRequest("Unsupported dimension provided.")},
		{"no such metric", "root", "BatchGetMetricData", batch(ask("b", "NONE", 7, 0, nil)), badRequest("1 validation error detected: Value at 'queries.1.member.metric' failed to satisfy constraint: " +
			"Member must satisfy enum value set: [DELIVERY_COMPLAINT, CLICK, SEND, OPEN, COMPLAINT, DELIVERY, DELIVERY_OPEN, PERMANENT_BOUNCE, DELIVERY_CLICK, TRANSIENT_BOUNCE]")},
		{"a bad value", "root", "BatchGetMetricData", batch(ask("b", "SEND", 7, 0, map[string]any{"EMAIL_IDENTITY": "user@"})), badRequest("Invalid email identity provided.")},
		{"dates in the wrong order", "root", "BatchGetMetricData", batch(ask("b", "SEND", 0, 7, nil)), badRequest("Expected start date to be before the end date.")},
		{"an account", "root", "GetAccount", nil, account(vdmAtFirst)},
		{"switched off", "root", "PutAccountVdmAttributes", vdm("DISABLED"), done},
		{"it is off", "root", "GetAccount", nil, account(map[string]any{"VdmEnabled": "DISABLED"})},
		{"off, insights", "root", "GetMessageInsights", message("m9"), off},
		{"off, metrics", "root", "BatchGetMetricData", batch(ask("b", "SEND", 7, 0, nil)), off},
		{"switched on as it was", "root", "PutAccountVdmAttributes", map[string]any{"VdmAttributes": vdmAtFirst}, done},
	}
	for name, c := range map[string]struct {
		args      []string
		questions []question
	}{
		"sesame": {nil, []question{
			{"two recipients", "root", "GetMessageInsights", message("m2"), outcome{Output: map[string]any{
				"MessageId": "m2", "FromEmailAddress": "news@example.com", "Subject": "Hello", "EmailTags": insights.Output["EmailTags"],
				"Insights": []any{
					map[string]any{"Destination": "a@gmail.com", "Isp": "Gmail", "Events": []any{event("SEND", 0, nil)}},
					map[string]any{"Destination": "b@gmail.com", "Isp": "Gmail", "Events": []any{event("SEND", 0, nil)}},
				},
			}}},
			{"each of them counts, and a long time", "root", "BatchGetMetricData", batch(ask("a", "SEND", 100, 0, nil)), results(result("a", day(70), 1., day(2), 3.))},
		}},
		"aws": {[]string{"--quotas", "aws"}, []question{
			{"two recipients", "root", "GetMessageInsights", message("m2"), notFound("Message m2 not found for account 000000000000")},
			{"too old", "root", "GetMessageInsights", message("m3"), notFound("Message m3 not found for account 000000000000")},
			{"one recipient only", "root", "BatchGetMetricData", batch(ask("a", "SEND", 60, 0, nil)), results(result("a", day(2), 1.))},
			{"too long a time", "root", "BatchGetMetricData", batch(ask("a", "SEND", 61, 0, nil)), badRequest("Invalid interval, can request at most 60 days. Please partition your requested interval.")},
			{"too long ago", "root", "BatchGetMetricData", batch(ask("a", "SEND", 100, 65, nil)), results(result("a"))},
		}},
	} {
		for _, language := range []string{"go", "js"} {
			t.Run(name+"-"+language, func(t *testing.T) {
				t.Parallel() // most of the time is waiting for limits of one a second
				var sdk client = goSESClient{}
				if language == "js" {
					sdk = newJSClient(t, "rest")
				}
				s := start(t, c.args...)
				keys := map[string]aws.Credentials{
					"root": {AccessKeyID: rootID, SecretAccessKey: rootSecret}, "elsewhere": s.newKey("111111111111", "elsewhere", ""),
					"unknown": {AccessKeyID: "UNKNOWN", SecretAccessKey: "x"},
				}
				s.ingest(keys["root"], records...)
				for _, q := range append(c.questions, always...) {
					got, err := sdk.call(s.url, keys[q.as], q.operation, q.in)
					for deadline := time.Now().Add(10 * time.Second); err == nil && got.Status == http.StatusTooManyRequests && time.Now().Before(deadline); {
						time.Sleep(50 * time.Millisecond)
						got, err = sdk.call(s.url, keys[q.as], q.operation, q.in)
					}
					if err != nil {
						t.Fatalf("%s: %v", q.about, err)
					}
					if q.want.Output != nil {
						got.Output = plain(got.Output).(map[string]any)
					}
					if diff := cmp.Diff(q.want, got); diff != "" {
						t.Errorf("%s:\n%s", q.about, diff)
					}
				}
			})
		}
	}
}

// The documented limits hold, also where no limit of Sesame's own does.
func TestSESv2Limits(t *testing.T) {
	s := start(t, "--api-rate", "0")
	root := aws.Credentials{AccessKeyID: rootID, SecretAccessKey: rootSecret}
	refused := 0
	for range 20 {
		got, err := goSESClient{}.call(s.url, root, "GetMessageInsights", map[string]any{"MessageId": "none"})
		if err != nil {
			t.Fatal(err)
		}
		if got.Error == "TooManyRequestsException" && got.Status == http.StatusTooManyRequests && got.Message == "Rate exceeded" {
			refused++
		} else if got.Error != "NotFoundException" {
			t.Errorf("%+v", got)
		}
	}
	if refused < 10 {
		t.Errorf("%d of 20 calls at once were refused", refused)
	}
}
