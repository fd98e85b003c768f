package sesv2

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/google/go-cmp/cmp"

	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/iam"
)

const (
	createSesame = "/sesame/v1/CreateExportJob"
	reportSesame = "/sesame/v1/GetExportReport"
)

// create makes a job of that JSON, and gives its id.
func (w *world) create(body string) string {
	w.t.Helper()
	answer, r := w.send("POST", createSesame, body)
	if r != (refusal{}) {
		w.t.Fatalf("%+v\n%s", r, body)
	}
	return answer["JobId"].(string)
}

// work has the next job done.
func (w *world) work() {
	w.t.Helper()
	work, err := w.exports.Claim(context.Background())
	if err != nil || work == nil {
		w.t.Fatal("no job waits", err)
	}
	work(context.Background())
}

// What is asked for is what the domain is told to do, member by member.
func TestCreateSesameExport(t *testing.T) {
	w := newWorld(t)
	from, to := now.AddDate(0, 0, -7), now
	dates := fmt.Sprintf(`"StartDate":%d,"EndDate":%q`, from.Unix(), to.Format(time.RFC3339))
	days := `"StartDate":"2026-11-01T00:00:00Z","EndDate":"2026-11-02T00:00:00Z"`
	text := `"FromEmailAddress":["a","b*"],"Destination":["c"],"Subject":["d"],"Isp":["Gmail"],"TenantName":["e"],"ConfigurationSet":["f"],"EmailIdentity":["g"],"BounceSubType":["GENERAL"],"DiagnosticCode":["*h*"],"Tags":{"i":["j","k*"],"l":["m"]}`
	filters := exporter.Filters{
		From: []string{"a", "b*"}, Destination: []string{"c"}, Subject: []string{"d"}, ISP: []string{"Gmail"}, Tenant: []string{"e"}, ConfigurationSet: []string{"f"}, Identity: []string{"g"},
		BounceSubType: []string{"GENERAL"}, Diagnostic: []string{"*h*"}, Tags: map[string][]string{"i": {"j", "k*"}, "l": {"m"}},
	}
	ofMessages, ofEvents := filters, filters
	ofMessages.LastDelivery, ofMessages.LastEngagement = []string{"SEND"}, []string{"OPEN"}
	ofEvents.EventType = []string{"BOUNCE", "UNHEARD_OF"}
	for _, c := range []struct {
		in   string
		want exporter.Order
	}{
		{`{"ExportDataSource":{"MessageInsightsDataSource":{` + dates + `}},"ExportDestination":{"DataFormat":"CSV"}}`,
			exporter.Order{Format: exporter.CSV, Insights: &exporter.Mail{Start: from, End: to}}},
		{`{"ExportDataSource":{"MessageInsightsDataSource":{` + dates + `,"Include":{"LastDeliveryEvent":["SEND"],"LastEngagementEvent":["OPEN"],` + text + `},"Exclude":{"Isp":["x"]},"MaxResults":3000000000,"Columns":["messageid","tag:a b"]}},
			"ExportDestination":{"DataFormat":"STRICT_CSV","Compression":"GZIP","RowsPerFile":5000000000}}`,
			exporter.Order{Format: exporter.StrictCSV, Compression: exporter.Gzip, RowsPerFile: 5_000_000_000, Insights: &exporter.Mail{
				Start: from, End: to, Include: ofMessages, Exclude: exporter.Filters{ISP: []string{"x"}}, MaxResults: 3_000_000_000, Columns: []string{"messageid", "tag:a b"},
			}}},
		{`{"ExportDataSource":{"EventsDataSource":{` + dates + `,"Exclude":{"EventType":["BOUNCE","UNHEARD_OF"],` + text + `},"Columns":["details"]}},"ExportDestination":{"DataFormat":"NDJSON","Compression":"ZSTD"}}`,
			exporter.Order{Format: exporter.NDJSON, Compression: exporter.Zstd, Events: &exporter.Mail{Start: from, End: to, Exclude: ofEvents, Columns: []string{"details"}}}},
		{`{"ExportDataSource":{"EventsDataSource":{` + dates + `}},"ExportDestination":{"DataFormat":"PARQUET"}}`,
			exporter.Order{Format: exporter.Parquet, Compression: exporter.Zstd, Events: &exporter.Mail{Start: from, End: to}}},
		{`{"ExportDataSource":{"EventsDataSource":{` + dates + `}},"ExportDestination":{"DataFormat":"PARQUET","Compression":"NONE"}}`,
			exporter.Order{Format: exporter.Parquet, Events: &exporter.Mail{Start: from, End: to}}},
		{`{"ExportDataSource":{"MetricsDataSource":{` + days + `,"Namespace":"VDM","Dimensions":{"ISP":["*"]},"Metrics":[{"Name":"SEND","Aggregation":"RATE"},{"Name":"OPEN"}]}},"ExportDestination":{"DataFormat":"JSON","Compression":"NONE"}}`,
			exporter.Order{Format: exporter.JSON, Metrics: &exporter.Metrics{
				Start: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), Dimensions: map[string][]string{"ISP": {"*"}},
				Columns: []exporter.Column{{Metric: eventdb.Sends, Rate: true}, {Metric: eventdb.Opens}},
			}}},
	} {
		id := w.create(c.in)
		j, err := w.exports.Get(context.Background(), src, id)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, j.Order); d != "" {
			t.Errorf("%s\n%s", c.in, d)
		}
		w.work()
		if j, err = w.exports.Get(context.Background(), src, id); err != nil || j.Status != "COMPLETED" {
			t.Errorf("%s\n%+v, %v", c.in, j, err)
		}
	}
}

// A job by Sesame's operation, as its report and SES's operations show it.
func TestExportReport(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	for i := range 3 {
		w.append(events.Event{Source: src, MessageID: fmt.Sprint("m", i), Destination: "a@example.com", Type: events.Send, Time: now.Add(-time.Hour), Sent: now.Add(-time.Hour)})
	}
	dates := fmt.Sprintf(`"StartDate":%d,"EndDate":%d`, now.AddDate(0, 0, -1).Unix(), now.Unix())
	id := w.create(`{"ExportDataSource":{"EventsDataSource":{` + dates + `}},"ExportDestination":{"DataFormat":"NDJSON","RowsPerFile":2,"Compression":"GZIP"}}`)
	report := func() map[string]any {
		t.Helper()
		answer, r := w.send("POST", reportSesame, `{"JobId":"`+id+`"}`)
		if r != (refusal{}) {
			t.Fatalf("%+v", r)
		}
		return answer
	}
	want := map[string]any{
		"JobId": id, "ExportSourceType": "EVENTS", "JobStatus": "PROCESSING", "ShareDone": 0., "ProcessedRecords": 0., "ExportedRecords": 0., "Files": []any{}, "CreatedTimestamp": float64(now.Unix()),
	}
	if d := cmp.Diff(want, report()); d != "" {
		t.Error(d)
	}
	w.work()
	got := report()
	files := got["Files"].([]any)
	delete(got, "Files")
	delete(want, "Files")
	want["JobStatus"], want["ShareDone"], want["ProcessedRecords"], want["ExportedRecords"], want["CompletedTimestamp"] = "COMPLETED", 1., 3., 3., float64(now.Unix())
	if d := cmp.Diff(want, got); d != "" || len(files) != 2 {
		t.Error(d, files)
	}
	for i, f := range files {
		f := f.(map[string]any)
		name := f["Name"].(string)
		if !strings.HasSuffix(name, fmt.Sprintf("_%05d.ndjson.gz", i+1)) || f["Url"] != "URL of "+id+"/"+name || f["Rows"] != []any{2., 1.}[i] || f["Size"].(float64) < 20 || len(f["ChecksumCrc32c"].(string)) != 8 {
			t.Errorf("%v", f)
		}
	}

	// SES's operations tell what they can of it.
	job, err := w.client.GetExportJob(ctx, &sdk.GetExportJobInput{JobId: &id})
	if err != nil || job.ExportSourceType != "EVENTS" || job.ExportDataSource != nil || job.ExportDestination.DataFormat != "NDJSON" || job.ExportDestination.S3Url != nil || job.JobStatus != types.JobStatusCompleted {
		t.Errorf("%+v, %v", job, err)
	}
	listed, err := w.client.ListExportJobs(ctx, &sdk.ListExportJobsInput{})
	if err != nil || len(listed.ExportJobs) != 1 || *listed.ExportJobs[0].JobId != id || listed.ExportJobs[0].ExportSourceType != "EVENTS" {
		t.Errorf("%+v, %v", listed, err)
	}
	id = w.create(`{"ExportDataSource":{"MessageInsightsDataSource":{` + dates + `}},"ExportDestination":{"DataFormat":"PARQUET"}}`)
	w.work()
	job, err = w.client.GetExportJob(ctx, &sdk.GetExportJobInput{JobId: &id})
	if err != nil || job.ExportDataSource.MessageInsightsDataSource.MaxResults != nil || job.ExportDestination.DataFormat != "PARQUET" || *job.ExportDestination.S3Url != "URL of "+id+"/"+report()["Files"].([]any)[0].(map[string]any)["Name"].(string) {
		t.Errorf("%+v, %v", job, err)
	}
	id = w.create(`{"ExportDataSource":{"EventsDataSource":{` + dates + `}},"ExportDestination":{"DataFormat":"CSV"}}`)
	if _, err := w.client.CancelExportJob(ctx, &sdk.CancelExportJobInput{JobId: &id}); err != nil {
		t.Error(err)
	}
	if got := report(); got["JobStatus"] != "CANCELLED" || len(got["Files"].([]any)) != 0 {
		t.Errorf("%v", got)
	}
}

func TestSesameExportRefusals(t *testing.T) {
	w := newWorld(t)
	const arn = "arn:aws:ses:us-east-1:000000000000:export-job/*"
	w.keys["EVENTS"] = iam.Key{Account: src.Account, Name: "events", Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sesame:*","Resource":"` + arn + `","Condition":{"StringEquals":{"ses:ExportSourceType":"EVENTS"}}}}`}
	const dates = `"StartDate":1,"EndDate":2`
	job := func(source, destination string) string {
		return `{"ExportDataSource":{` + source + `},"ExportDestination":{` + destination + `}}`
	}
	const csv = `"DataFormat":"CSV"`
	insights := func(more string) string { return `"MessageInsightsDataSource":{` + dates + more + `}` }
	eventsOf := func(more string) string { return `"EventsDataSource":{` + dates + more + `}` }
	metrics := func(dates string) string {
		return `"MetricsDataSource":{"Namespace":"VDM","Dimensions":{"ISP":["Gmail"]},"Metrics":[{"Name":"SEND"}]` + dates + `}`
	}
	one := "The ExportDataSource must have one of MessageInsightsDataSource, EventsDataSource and MetricsDataSource."
	constraint := func(path, must string) string {
		return "1 validation error detected: Value at '" + path + "' failed to satisfy constraint: Member must " + must
	}
	for _, c := range []struct{ in, want string }{
		{job("", csv), one},
		{job(insights("")+","+eventsOf(""), csv), one},
		{job(insights(""), csv+`,"S3Url":"s3://bucket/prefix/"`), "Providing a custom S3 URL is not supported"},
		{job(`"EventsDataSource":{}`, csv), "The data source must have a StartDate and an EndDate."},
		{job(`"EventsDataSource":{"StartDate":2}`, csv), "The data source must have a StartDate and an EndDate."},
		{job(`"EventsDataSource":{"StartDate":2,"EndDate":2}`, csv), "Invalid date range"},
		{job(metrics(""), csv), "The data source must have a StartDate and an EndDate."},
		{job(metrics(`,"StartDate":86400,"EndDate":0`), csv), "Invalid date range"},
		{job(metrics(`,"StartDate":0,"EndDate":5`), csv), "To get daily aggregated data you must not specify partial-day timestamps. Please make your interval go from midnight to midnight UTC."},
		{job(insights(`,"Include":{"EventType":["SEND"]}`), csv), "Filters of EventType are for the EventsDataSource. Of messages there are LastDeliveryEvent and LastEngagementEvent."},
		{job(eventsOf(`,"Exclude":{"LastEngagementEvent":["OPEN"]}`), csv), "Filters of LastDeliveryEvent and LastEngagementEvent are for the MessageInsightsDataSource. Of events there is EventType."},
		{job(eventsOf(`,"Columns":["isp","isp"]`), csv), `This cannot be exported: the column "isp" is asked for twice.`},
		{job(insights(`,"Columns":["link"]`), csv), `This cannot be exported: there is no column "link"; there are messageid, sendtimestamp, isp, fromaddress, destination, subject, last_delivery_event, last_engagement_event, ` +
			`last_delivery_event_timestamp, last_engagement_event_timestamp, bounce_sub_type, diagnostic_code, configuration_set, identity, tags, multiple_recipients, simulator, bounce_type, and tag:NAME for the values of a message tag.`},
		{job(insights(`,"Colums":["link"]`), csv), `The input has no member "Colums"; names have their case.`},
		{job(insights(`,"Include":{"Subject":[]},"MaxResults":0`), csv), "1 validation error detected: Value '0' at 'exportDataSource.messageInsightsDataSource.maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{job(insights(`,"Include":{"Subject":["`+strings.Repeat(`x","`, 100)+`"]}`), csv), constraint("exportDataSource.messageInsightsDataSource.include.subject", "have length less than or equal to 100")},
		{job(insights(`,"Include":{"Tags":{"a":[]}}`), csv), "1 validation error detected: Value '[]' at 'exportDataSource.messageInsightsDataSource.include.tags.a.member' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{job(insights(""), `"DataFormat":"XML"`), "1 validation error detected: Value 'XML' at 'exportDestination.dataFormat' failed to satisfy constraint: Member must satisfy enum value set: [CSV, JSON, NDJSON, STRICT_CSV, PARQUET]"},
		{job(insights(""), csv+`,"Compression":"BROTLI"`), "1 validation error detected: Value 'BROTLI' at 'exportDestination.compression' failed to satisfy constraint: Member must satisfy enum value set: [NONE, GZIP, ZSTD]"},
		{job(insights(""), csv+`,"RowsPerFile":0`), "1 validation error detected: Value '0' at 'exportDestination.rowsPerFile' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{`{}`, "2 validation errors detected: Value null at 'exportDataSource' failed to satisfy constraint: Member must not be null; Value null at 'exportDestination' failed to satisfy constraint: Member must not be null"},
	} {
		if _, r := w.send("POST", createSesame, c.in); r != (refusal{400, validation, c.want}) {
			t.Errorf("%s\n got %+v\nwant %s", c.in, r, c.want)
		}
	}

	denied := func(action, resource string) refusal {
		return refusal{403, accessDenied, "User: arn:aws:iam::000000000000:user/events is not authorized to perform: sesame:" + action + " on resource: " + resource + " because no identity-based policy allows the sesame:" + action + " action"}
	}
	if _, r := w.sendAs("EVENTS", "POST", createSesame, job(insights(""), csv)); r != denied("CreateExportJob", arn) {
		t.Errorf("a source that the key may not export: %+v", r)
	}
	mail := w.create(job(insights(""), csv))
	if _, r := w.sendAs("EVENTS", "POST", reportSesame, `{"JobId":"`+mail+`"}`); r != denied("GetExportReport", strings.TrimSuffix(arn, "*")+mail) {
		t.Errorf("a report that the key may not see: %+v", r)
	}
	answer, r := w.sendAs("EVENTS", "POST", createSesame, job(eventsOf(""), csv))
	if r != (refusal{}) {
		t.Fatalf("%+v", r)
	}
	if _, r := w.sendAs("EVENTS", "POST", reportSesame, fmt.Sprintf(`{"JobId":%q}`, answer["JobId"])); r != (refusal{}) {
		t.Errorf("%+v", r)
	}
	for key, id := range map[string]string{"ROOT": "none", "OTHER": mail} {
		if _, r := w.sendAs(key, "POST", reportSesame, `{"JobId":"`+id+`"}`); r != (refusal{404, resourceNotFound, "The export job was not found."}) {
			t.Errorf("%s asks for %s: %+v", key, id, r)
		}
	}
	w.create(job(eventsOf(""), csv))
	w.create(job(eventsOf(""), csv))
	if _, r := w.send("POST", createSesame, job(eventsOf(""), csv)); r != (refusal{402, quotaExceeded, "There are as many export jobs of EVENTS running as may be. Cancel one, or wait until one is done."}) {
		t.Errorf("a fourth one: %+v", r)
	}
}
