package test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"
)

// exports is an SDK that asks for exports, on a server of its own.
type exports struct {
	*testing.T
	*server
	sdk  client
	keys map[string]aws.Credentials
}

func (e *exports) call(as, operation string, in map[string]any) outcome {
	e.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		got, err := e.sdk.call(e.url, e.keys[as], operation, in)
		if err != nil {
			e.Fatalf("%s: %v", operation, err)
		}
		if got.Status != http.StatusTooManyRequests || time.Now().After(deadline) {
			return got
		}
	}
}

// ended waits for the end of a job.
func (e *exports) ended(id string) map[string]any {
	e.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		got := e.call("root", "GetExportJob", map[string]any{"JobId": id})
		if got.Error != "" {
			e.Fatalf("%+v", got)
		}
		if got.Output["JobStatus"] != "PROCESSING" {
			return plain(got.Output).(map[string]any)
		}
	}
	e.Fatal("the job does not end")
	return nil
}

// fetch is a plain HTTP client.
func (e *exports) fetch(method, url string, header ...string) (int, http.Header, string) {
	e.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		e.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		e.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		e.Fatal(err)
	}
	return a.StatusCode, a.Header, string(text)
}

// Export jobs by the SDKs for Go and for JavaScript: every operation, field and
// error, and the files fetched with plain HTTP.
func TestExports(t *testing.T) {
	today := time.Now().UTC().Truncate(24 * time.Hour)
	sent := today.AddDate(0, 0, -2).Add(10*time.Hour + 123*time.Millisecond)
	stamp := sent.Format("2006-01-02 15:04:05.000 UTC")
	record := func(id, kind, to, object string) string {
		return fmt.Sprintf(`{"eventType":%q,"mail":{"timestamp":%q,"messageId":%q,"source":"news@example.com","sendingAccountId":"000000000000",`+
			`"destination":[%q],"commonHeaders":{"subject":"Hello"},"tags":{"ses:configuration-set":["news"]}},%s}`,
			kind, sent.Format("2006-01-02T15:04:05.000Z"), id, to, object)
	}
	for _, language := range []string{"go", "js"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			e := &exports{T: t, server: start(t), sdk: goSESClient{}}
			if language == "js" {
				e.sdk = newJSClient(t, "rest")
			}
			arn := "arn:aws:ses:us-east-1:000000000000:export-job/*"
			e.keys = map[string]aws.Credentials{
				"root": {AccessKeyID: rootID, SecretAccessKey: rootSecret}, "elsewhere": e.newKey("111111111111", "elsewhere", ""),
				"metrics": e.newKey("000000000000", "metrics", `{"Statement":{"Effect":"Allow","Action":["ses:CreateExportJob","ses:GetExportJob"],"Resource":"`+arn+`","Condition":{"StringEquals":{"ses:ExportSourceType":"METRICS_DATA"}}}}`),
			}
			e.ingest(e.keys["root"], record("m1", "Send", "a@gmail.com", `"send":{}`), record("m1", "Delivery", "a@gmail.com", `"delivery":{"timestamp":"`+sent.Add(time.Second).Format("2006-01-02T15:04:05.000Z")+`"}`),
				record("m2", "Send", "b@yahoo.com", `"send":{}`))

			day := func(ago int) string { return today.AddDate(0, 0, -ago).Format(time.RFC3339Nano) }
			insights := func(more map[string]any) map[string]any {
				source := map[string]any{"StartDate": day(7), "EndDate": day(0)}
				for name, value := range more {
					source[name] = value
				}
				return map[string]any{"MessageInsightsDataSource": source}
			}
			metrics := func(more map[string]any) map[string]any {
				source := map[string]any{"StartDate": day(7), "EndDate": day(0), "Namespace": "VDM", "Dimensions": map[string]any{"ISP": []any{"Gmail", "Yahoo"}},
					"Metrics": []any{map[string]any{"Name": "SEND", "Aggregation": "VOLUME"}, map[string]any{"Name": "DELIVERY", "Aggregation": "RATE"}}}
				for name, value := range more {
					source[name] = value
				}
				return map[string]any{"MetricsDataSource": source}
			}
			job := func(source map[string]any, format string) map[string]any {
				return map[string]any{"ExportDataSource": source, "ExportDestination": map[string]any{"DataFormat": format}}
			}
			create := func(as string, in map[string]any) string {
				t.Helper()
				got := e.call(as, "CreateExportJob", in)
				id, ok := got.Output["JobId"].(string)
				if !ok {
					t.Fatalf("%+v", got)
				}
				return id
			}

			filters := map[string]any{"FromEmailAddress": []any{"*@example.com"}, "LastDeliveryEvent": []any{"DELIVERY", "SEND"}}
			source := insights(map[string]any{"Include": filters, "MaxResults": 10.})
			id := create("root", job(source, "CSV"))
			got := e.ended(id)
			url, _ := got["ExportDestination"].(map[string]any)["S3Url"].(string)
			delete(got["ExportDestination"].(map[string]any), "S3Url")
			for _, name := range []string{"CreatedTimestamp", "CompletedTimestamp"} {
				if at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(got[name])); err != nil || time.Since(at).Abs() > time.Minute {
					t.Errorf("%s: %v", name, got[name])
				}
				delete(got, name)
			}
			want := map[string]any{
				"JobId": id, "ExportSourceType": "MESSAGE_INSIGHTS", "JobStatus": "COMPLETED", "ExportDestination": map[string]any{"DataFormat": "CSV"}, "ExportDataSource": source,
				"Statistics": map[string]any{"ProcessedRecordsCount": 3., "ExportedRecordsCount": 2.},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			file := `"messageid","sendtimestamp","isp","fromaddress","destination","subject","last_delivery_event","last_engagement_event","last_delivery_event_timestamp","last_engagement_event_timestamp","bounce_sub_type","diagnostic_code",
"m1","` + stamp + `","Gmail","news@example.com","a@gmail.com","Hello","DELIVERY","","` + sent.Add(time.Second).Format("2006-01-02 15:04:05.000 UTC") + `","","","",
"m2","` + stamp + `","Yahoo","news@example.com","b@yahoo.com","Hello","SEND","","` + stamp + `","","","",
`
			status, header, text := e.fetch("GET", url)
			if status != 200 || text != file || header.Get("Content-Length") != fmt.Sprint(len(file)) || !strings.Contains(header.Get("Content-Disposition"), ".csv") ||
				len(header.Get("X-Amz-Checksum-Crc32c")) != 8 || header.Get("Content-Type") != "text/csv; charset=utf-8" {
				t.Errorf("the file: %d %v\n%s", status, header, cmp.Diff(file, text))
			}
			if status, header, text := e.fetch("HEAD", url); status != 200 || text != "" || header.Get("Content-Length") != fmt.Sprint(len(file)) {
				t.Errorf("HEAD: %d %v %q", status, header, text)
			}
			if status, header, text := e.fetch("GET", url, "Range", "bytes=1-9"); status != 206 || text != file[1:10] || header.Get("Content-Range") != fmt.Sprintf("bytes 1-9/%d", len(file)) {
				t.Errorf("a range: %d %v %q", status, header, text)
			}
			if status, _, _ := e.fetch("GET", strings.Replace(url, "m", "n", 1)+"0"); status != 403 && status != 400 {
				t.Errorf("a URL that was changed: %d", status)
			}
			if status, _, _ := e.fetch("PUT", url); status == 200 {
				t.Error("the file can be written")
			}

			ofMetrics := e.ended(create("metrics", job(metrics(nil), "JSON")))
			_, _, text = e.fetch("GET", ofMetrics["ExportDestination"].(map[string]any)["S3Url"].(string))
			if want := `[{"isp":"Gmail","metrics":{"SEND_VOLUME":1.0000,"DELIVERY_RATE":1.0000}},{"isp":"Yahoo","metrics":{"SEND_VOLUME":1.0000,"DELIVERY_RATE":0.0000}}]` + "\n"; text != want {
				t.Errorf("metrics: %s, want %s", text, want)
			}

			page := e.call("root", "ListExportJobs", map[string]any{"PageSize": 1.})
			listed := page.Output["ExportJobs"].([]any)
			next := e.call("root", "ListExportJobs", map[string]any{"PageSize": 1., "NextToken": page.Output["NextToken"]})
			if len(listed) != 1 || listed[0].(map[string]any)["JobId"] != ofMetrics["JobId"] || len(next.Output["ExportJobs"].([]any)) != 1 || next.Output["NextToken"] != nil {
				t.Errorf("listed: %+v, then %+v", page, next)
			}
			paged := e.call("root", "ListExportJobsPages", map[string]any{})
			if all := paged.Output["ExportJobs"].([]any); len(all) != 2 || all[0].(map[string]any)["JobId"] != ofMetrics["JobId"] || all[1].(map[string]any)["JobId"] != id {
				t.Errorf("by the paginator: %+v", paged)
			}
			filtered := e.call("root", "ListExportJobs", map[string]any{"ExportSourceType": "MESSAGE_INSIGHTS", "JobStatus": "COMPLETED"})
			if all := filtered.Output["ExportJobs"].([]any); len(all) != 1 || all[0].(map[string]any)["JobId"] != id {
				t.Errorf("filtered: %+v", filtered)
			}

			bad := func(message string) outcome {
				return outcome{Error: "BadRequestException", Status: 400, Message: message}
			}
			denied := func(user, action, resource string) outcome {
				return outcome{Error: "AccessDeniedException", Status: 403, Message: "User: arn:aws:iam::000000000000:user/" + user + " is not authorized to perform: ses:" + action + " on resource: " + resource +
					" because no identity-based policy allows the ses:" + action + " action"}
			}
			token := map[string]any{"NextToken": page.Output["NextToken"], "ExportSourceType": "METRICS_DATA"}
			custom := job(insights(nil), "CSV")
			custom["ExportDestination"].(map[string]any)["S3Url"] = "s3://bucket/key"
			both := insights(nil)
			both["MetricsDataSource"] = metrics(nil)["MetricsDataSource"]
			get := func(id string) map[string]any { return map[string]any{"JobId": id} }
			for _, q := range []question{
				{"no source", "root", "CreateExportJob", job(map[string]any{}, "CSV"), bad("One data source must be provided")},
				{"both sources", "root", "CreateExportJob", job(both, "CSV"), bad("One data source must be provided")},
				{"a format", "root", "CreateExportJob", job(insights(nil), "XML"), bad("1 validation error detected: Value at 'exportDestination.dataFormat' failed to satisfy constraint: Member must satisfy enum value set: [CSV, JSON]")},
				{"a URL", "root", "CreateExportJob", custom, bad("Providing a custom S3 URL is not supported")},
				{"dates", "root", "CreateExportJob", job(insights(map[string]any{"EndDate": day(7)}), "CSV"), bad("Invalid date range")},
				{"dates of metrics", "root", "CreateExportJob", job(metrics(map[string]any{"EndDate": day(8)}), "CSV"), bad("Invalid date range")},
				{"a part of a day", "root", "CreateExportJob", job(metrics(map[string]any{"EndDate": today.Add(-time.Second).Format(time.RFC3339Nano)}), "CSV"),
					bad("To get daily aggregated data you must not specify partial-day timestamps. Please make your interval go from midnight to midnight UTC.")},
				{"two stars", "root", "CreateExportJob", job(metrics(map[string]any{"Dimensions": map[string]any{"ISP": []any{"*"}, "CONFIGURATION_SET": []any{"*"}}}), "CSV"),
					bad("If one dimension has the * value, other dimensions can only contain one value.")},
				{"too many results", "root", "CreateExportJob", job(insights(map[string]any{"MaxResults": 0.}), "CSV"),
					bad("1 validation error detected: Value at 'exportDataSource.messageInsightsDataSource.maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1")},
				{"not of that source", "metrics", "CreateExportJob", job(insights(nil), "CSV"), denied("metrics", "CreateExportJob", arn)},
				{"no job", "root", "GetExportJob", get("none"), bad("Invalid JobId")},
				{"another's job", "elsewhere", "GetExportJob", get(id), bad("Invalid JobId")},
				{"a job of another source", "metrics", "GetExportJob", get(id), denied("metrics", "GetExportJob", strings.TrimSuffix(arn, "*")+id)},
				{"no job to cancel", "root", "CancelExportJob", get("none"), bad("Invalid JobId")},
				{"an ended job", "root", "CancelExportJob", get(id), bad("Cannot cancel an export job that has a <COMPLETED> status.")},
				{"a page", "root", "ListExportJobs", map[string]any{"PageSize": 101.}, bad("PageSize must be between 1 and 100")},
				{"a token", "root", "ListExportJobs", map[string]any{"NextToken": "x"}, bad("Failed to deserialize token. ")},
				{"another listing's token", "root", "ListExportJobs", token, bad("Failed to deserialize token. ")},
				{"a source", "root", "ListExportJobs", map[string]any{"ExportSourceType": "X"}, bad("1 validation error detected: Value at 'exportSourceType' failed to satisfy constraint: Member must satisfy enum value set: [METRICS_DATA, MESSAGE_INSIGHTS]")},
				{"a status", "root", "ListExportJobs", map[string]any{"JobStatus": "X"}, bad("1 validation error detected: Value at 'jobStatus' failed to satisfy constraint: Member must satisfy enum value set: [CREATED, PROCESSING, COMPLETED, FAILED, CANCELLED]")},
				{"VDM off", "root", "PutAccountVdmAttributes", map[string]any{"VdmAttributes": map[string]any{"VdmEnabled": "DISABLED"}}, outcome{Output: map[string]any{}}},
				{"with VDM off", "root", "CreateExportJob", job(insights(map[string]any{"EndDate": day(7), "MaxResults": 0.}), "CSV"), bad("To use this feature you must enable Virtual Deliverability Manager")},
				{"a URL with VDM off", "root", "CreateExportJob", custom, bad("Providing a custom S3 URL is not supported")},
			} {
				if diff := cmp.Diff(q.want, e.call(q.as, q.operation, q.in)); diff != "" {
					t.Errorf("%s:\n%s", q.about, diff)
				}
			}
		})
	}
}
