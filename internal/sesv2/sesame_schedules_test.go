package sesv2

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/iam"
)

const (
	putSchedule    = "/sesame/v1/PutExportSchedule"
	listSchedules  = "/sesame/v1/ListExportSchedules"
	deleteSchedule = "/sesame/v1/DeleteExportSchedule"
)

// listed gives the schedules as they are listed.
func (w *world) listed() []any {
	w.t.Helper()
	answer, r := w.send("POST", listSchedules, "{}")
	if r != (refusal{}) {
		w.t.Fatalf("%+v", r)
	}
	return answer["Schedules"].([]any)
}

// What is put is listed member by member, and makes the same order when it is put
// again.
func TestSchedulesListed(t *testing.T) {
	w := newWorld(t)
	w.exports.Config.Destinations = exporter.Destinations{"s3://lake"}
	text := `"FromEmailAddress":["a","b*"],"Destination":["c"],"Subject":["d"],"Isp":["Gmail"],"TenantName":["e"],"ConfigurationSet":["f"],"EmailIdentity":["g"],"BounceSubType":["GENERAL"],"DiagnosticCode":["*h*"],"Tags":{"i":["j","k*"],"l":["m"]}`
	sources := []string{
		`{"MessageInsightsDataSource":{}}`,
		`{"MessageInsightsDataSource":{"Include":{"LastDeliveryEvent":["SEND"],"LastEngagementEvent":["OPEN"],` + text + `},"Exclude":{"Isp":["x"]},"Columns":["messageid","tag:a b"]}}`,
		`{"EventsDataSource":{"Include":{"EventType":["SEND"]},"Exclude":{"EventType":["BOUNCE","UNHEARD_OF"],` + text + `},"Columns":["details"]}}`,
		`{"MetricsDataSource":{"Namespace":"VDM","Dimensions":{"ISP":["*"]},"Metrics":[{"Name":"SEND","Aggregation":"RATE"},{"Name":"OPEN","Aggregation":"VOLUME"}]}}`,
	}
	destinations := []string{
		`{"DataFormat":"CSV","Compression":"NONE"}`, `{"DataFormat":"STRICT_CSV","Compression":"GZIP","RowsPerFile":5000000000}`,
		`{"DataFormat":"PARQUET","Compression":"ZSTD","S3Url":"s3://lake/mail/"}`, `{"DataFormat":"PARQUET","Compression":"NONE"}`,
	}
	var orders []exporter.Order
	for range 2 {
		for i := range sources {
			in := fmt.Sprintf(`{"Name":"schedule-%d","Cron":"0 2 * * *","ExportDataSource":%s,"ExportDestination":%s}`, i, sources[i], destinations[i])
			if answer, r := w.send("POST", putSchedule, in); r != (refusal{}) || len(answer) != 0 {
				t.Fatalf("%s\n%v, %+v", in, answer, r)
			}
		}
		all, err := w.exports.Schedules(context.Background(), src)
		if err != nil || len(all) != len(sources) {
			t.Fatalf("%d schedules, %v", len(all), err)
		}
		for i, listed := range w.listed() {
			want := map[string]any{"Name": fmt.Sprintf("schedule-%d", i), "Cron": "0 2 * * *", "NextRun": float64(time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC).Unix())}
			for name, text := range map[string]string{"ExportDataSource": sources[i], "ExportDestination": destinations[i]} {
				var of map[string]any
				if err := json.Unmarshal([]byte(text), &of); err != nil {
					t.Fatal(err)
				}
				want[name] = of
			}
			if d := cmp.Diff(want, listed, cmpopts.IgnoreMapEntries(func(_ string, v any) bool {
				none, ok := v.(map[string]any) // filters of none
				return ok && len(none) == 0
			})); d != "" {
				t.Error(d)
			}
			for name, to := range map[string]*string{"ExportDataSource": &sources[i], "ExportDestination": &destinations[i]} {
				text, err := json.Marshal(listed.(map[string]any)[name])
				if err != nil {
					t.Fatal(err)
				}
				*to = string(text)
			}
			if orders = append(orders, all[i].Order); len(orders) > len(sources) {
				if d := cmp.Diff(orders[i], all[i].Order); d != "" {
					t.Errorf("put as it was listed:\n%s", d)
				}
			}
		}
	}
}

// A schedule from its making to its end.
func TestScheduleRun(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	at := now
	w.exports.Now = func() time.Time { return at }
	if _, r := w.send("POST", putSchedule, `{"Name":"daily","Cron":"@daily","ExportDataSource":{"MessageInsightsDataSource":{"Columns":["messageid"]}},"ExportDestination":{"DataFormat":"NDJSON"}}`); r != (refusal{}) {
		t.Fatalf("%+v", r)
	}
	w.append(events.Event{Source: src, MessageID: "m", Destination: "a@example.com", Type: events.Send, Time: now.Add(time.Hour), Sent: now.Add(time.Hour)})
	at = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	if err := w.exports.RunSchedules(ctx); err != nil {
		t.Fatal(err)
	}
	w.work()
	s := w.listed()[0].(map[string]any)
	id, _ := s["LastJobId"].(string)
	if s["LastRun"] != float64(at.Unix()) || s["NextRun"] != float64(at.AddDate(0, 0, 1).Unix()) {
		t.Errorf("%v", s)
	}
	report, r := w.send("POST", reportSesame, fmt.Sprintf(`{"JobId":%q}`, id))
	if r != (refusal{}) || report["Schedule"] != "daily" || report["JobStatus"] != "COMPLETED" || report["ExportedRecords"] != 1. {
		t.Errorf("%v, %+v", report, r)
	}
	if _, r := w.send("POST", deleteSchedule, `{"Name":"daily"}`); r != (refusal{}) || len(w.listed()) != 0 {
		t.Errorf("%+v, %v", r, w.listed())
	}
	if _, r := w.send("POST", deleteSchedule, `{"Name":"daily"}`); r != (refusal{404, resourceNotFound, "The schedule of exports was not found."}) {
		t.Errorf("%+v", r)
	}
}

func TestScheduleRefusals(t *testing.T) {
	w := newWorld(t)
	w.exports.Config.Destinations = exporter.Destinations{"s3://lake/mail/"}
	const arn = "arn:aws:ses:us-east-1:000000000000:export-schedule/"
	w.keys["EVENTS"] = iam.Key{Account: src.Account, Name: "events", Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sesame:*","Resource":"` + arn + `team-*","Condition":{"StringEqualsIfExists":{"ses:ExportSourceType":"EVENTS"}}}}`}
	put := func(name, cron, source, destination string) string {
		return fmt.Sprintf(`{"Name":%q,"Cron":%q,"ExportDataSource":{%s},"ExportDestination":{"DataFormat":"CSV"%s}}`, name, cron, source, destination)
	}
	const (
		all   = `"EventsDataSource":{}`
		mail  = `"MessageInsightsDataSource":{}`
		limit = "The data source of a schedule has no StartDate, EndDate and MaxResults: each run is of all that is new since the last."
		cron  = "The Cron is wrong: not five cron fields in UTC, or @hourly, @daily, @weekly, @monthly or @yearly"
	)
	for _, c := range []struct{ in, want string }{
		{put("a", "0 2 * *", all, ""), cron + ": expected exactly 5 fields, found 4: [0 2 * *]."},
		{put("a", "@every 5m", all, ""), cron + "."},
		{put("a", "0 0 31 2 *", all, ""), cron + `: "0 0 31 2 *" is never due.`},
		{put("a b", "@daily", all, ""), "1 validation error detected: Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[A-Za-z0-9_.-]+$"},
		{put("a", "@daily", `"EventsDataSource":{"StartDate":1}`, ""), limit},
		{put("a", "@daily", `"MessageInsightsDataSource":{"MaxResults":1}`, ""), limit},
		{put("a", "@daily", `"MetricsDataSource":{"Namespace":"VDM","Dimensions":{"ISP":["Gmail"]},"Metrics":[{"Name":"SEND"}],"EndDate":86400}`, ""), limit},
		{put("a", "@daily", all+","+mail, ""), "The ExportDataSource must have one of MessageInsightsDataSource, EventsDataSource and MetricsDataSource."},
		{put("a", "@daily", `"EventsDataSource":{"Columns":["isp","isp"]}`, ""), `This cannot be exported: the column "isp" is asked for twice.`},
		{put("a", "@daily", all, `,"S3Url":"s3://other/"`), "This server puts exports only below s3://lake/mail/."},
		{put("a", "@daily", all, `,"S3Url":"s3://lake/mail/x.csv"`), "The S3Url of a schedule must name a folder, and so end with a slash: each run has files of its own."},
		{put("a", "@daily", `"EventsDataSource":{"Include":{"Subject":["`+strings.Repeat(strings.Repeat("x", 4000)+`","`, 9)+`x"]}}`, ""), "This cannot be exported: the filters and columns are too many: together they may take 32 KiB."},
	} {
		if _, r := w.send("POST", putSchedule, c.in); r != (refusal{400, validation, c.want}) {
			t.Errorf("%.300s\n got %+v\nwant %s", c.in, r, c.want)
		}
	}

	denied := func(action, resource string) refusal {
		return refusal{403, accessDenied, "User: arn:aws:iam::000000000000:user/events is not authorized to perform: sesame:" + action + " on resource: " + resource + " because no identity-based policy allows the sesame:" + action + " action"}
	}
	for _, c := range []struct {
		operation, in string
		want          refusal
	}{
		{putSchedule, put("team-a", "@daily", all, ""), refusal{}},
		{putSchedule, put("team-a", "@daily", mail, ""), denied("PutExportSchedule", arn+"team-a")},
		{putSchedule, put("other", "@daily", all, ""), denied("PutExportSchedule", arn+"other")},
		{listSchedules, "{}", denied("ListExportSchedules", "*")},
		{deleteSchedule, `{"Name":"other"}`, denied("DeleteExportSchedule", arn+"other")},
		{deleteSchedule, `{"Name":"team-a"}`, refusal{}},
	} {
		if _, r := w.sendAs("EVENTS", "POST", c.operation, c.in); r != c.want {
			t.Errorf("%s %s\n got %+v\nwant %+v", c.operation, c.in, r, c.want)
		}
	}

	for i := range exporter.MostSchedules {
		if _, r := w.send("POST", putSchedule, put(fmt.Sprint(i), "@daily", all, "")); r != (refusal{}) {
			t.Fatalf("%+v", r)
		}
	}
	if _, r := w.send("POST", putSchedule, put("one-more", "@daily", all, "")); r != (refusal{402, quotaExceeded, "The account has 100 schedules of exports, as many as it may have. Delete one."}) {
		t.Errorf("%+v", r)
	}
	if answer, r := w.sendAs("OTHER", "POST", listSchedules, "{}"); r != (refusal{}) || len(answer["Schedules"].([]any)) != 0 {
		t.Errorf("another account sees %v, %+v", answer, r)
	}
}
