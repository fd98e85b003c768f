package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/sys/unix"

	"sesame/test/s3server"
)

// exportsOf is an SDK on a server with messages of one recipient, a subject's length
// each.
func exportsOf(t *testing.T, messages, subject int, args ...string) *exports {
	t.Helper()
	e := &exports{T: t, server: start(t, args...), sdk: goSESClient{}, keys: map[string]aws.Credentials{"root": {AccessKeyID: rootID, SecretAccessKey: rootSecret}}}
	at := time.Now().UTC().Add(-time.Hour)
	for part := range slices.Chunk(make([]int, messages), 500) {
		var records []string
		for range part {
			at = at.Add(time.Millisecond)
			records = append(records, fmt.Sprintf(`{"eventType":"Send","mail":{"timestamp":%q,"messageId":"m%d","source":"news@example.com","destination":["a@gmail.com"],"commonHeaders":{"subject":%q}},"send":{}}`,
				at.Format("2006-01-02T15:04:05.000Z"), at.UnixMilli(), strings.Repeat("s", subject)))
		}
		e.ingest(e.keys["root"], records...)
	}
	return e
}

// order asks for all of an hour's messages.
func order(format, s3URL string) map[string]any {
	destination := map[string]any{"DataFormat": format}
	if s3URL != "" {
		destination["S3Url"] = s3URL
	}
	now := time.Now().UTC()
	return map[string]any{"ExportDestination": destination, "ExportDataSource": map[string]any{"MessageInsightsDataSource": map[string]any{
		"StartDate": now.Add(-2 * time.Hour).Format(time.RFC3339), "EndDate": now.Format(time.RFC3339), "MaxResults": 1e6,
	}}}
}

func (e *exports) create(in map[string]any) (id string) {
	e.Helper()
	got := e.call("root", "CreateExportJob", in)
	id, ok := got.Output["JobId"].(string)
	if !ok {
		e.Fatalf("%+v", got)
	}
	return id
}

// sesameOperation is a plain client of Sesame's own operations.
func (e *exports) sesameOperation(name string, in map[string]any) (status int, out map[string]any) {
	e.Helper()
	for range 200 {
		if status, out = e.callSesame(name, in); status != http.StatusTooManyRequests {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return status, out
}

func (e *exports) callSesame(name string, in map[string]any) (status int, out map[string]any) {
	e.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		e.Fatal(err)
	}
	r, err := http.NewRequest("POST", e.url+"/sesame/v1/"+name, bytes.NewReader(body))
	if err != nil {
		e.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if err := sign(r, body, e.keys["root"]); err != nil {
		e.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		e.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		e.Fatalf("%s: %v", text, err)
	}
	return answer.StatusCode, out
}

// Exports are put into a real object store, through kill -9 on either side, and where
// it is not allowed they are refused.
func TestExportDestination(t *testing.T) {
	const messages = 4000
	t.Setenv("SESAME_EXPORT_S3_ACCESS_KEY_ID", s3server.AccessKeyID)
	t.Setenv("SESAME_EXPORT_S3_SECRET_ACCESS_KEY", s3server.Secret)
	store := s3server.Start(t, "exports")
	line := store.Through(t, 0)
	e := exportsOf(t, messages, 100, "--export-destinations", "s3://exports/daily/,s3://other", "--export-s3-endpoint", line.URL, "--export-s3-region", s3server.Region)

	late := order("CSV", "s3://exports/weekly/")
	late["ExportDataSource"].(map[string]any)["MessageInsightsDataSource"].(map[string]any)["MaxResults"] = 0.
	for _, test := range []struct {
		in   map[string]any
		want string
	}{
		{order("CSV", "s3://exports/"), "This server puts exports only below s3://exports/daily/, s3://other."},
		{order("CSV", "s3://exports/daily/../weekly/"), "The S3 URL must have no empty segment, and none that is . or .. alone."},
		{order("XML", "s3://exports/"), "1 validation error detected: Value at 'exportDestination.dataFormat' failed to satisfy constraint: Member must satisfy enum value set: [CSV, JSON]"},
		{late, "This server puts exports only below s3://exports/daily/, s3://other."},
	} {
		if got := e.call("root", "CreateExportJob", test.in); got.Error != "BadRequestException" || got.Message != test.want {
			t.Errorf("%+v, want %s", got, test.want)
		}
	}

	// put checks that a job's file is where the job says.
	put := func(id, url string) {
		t.Helper()
		got := e.ended(id)
		at, _ := got["ExportDestination"].(map[string]any)["S3Url"].(string)
		if got["JobStatus"] != "COMPLETED" || !strings.HasPrefix(at, url) {
			t.Fatalf("%+v", got)
		}
		_, report := e.sesameOperation("GetExportReport", map[string]any{"JobId": id})
		file := report["Files"].([]any)[0].(map[string]any)
		_, _, want := e.fetch("GET", file["Url"].(string))
		text, about, err := store.Object("exports", strings.TrimPrefix(at, "s3://exports/"))
		if err != nil || string(text) != want || strings.Count(want, "\n") != messages+1 || aws.ToString(about.ChecksumCRC32C) != file["ChecksumCrc32c"] || report["S3Url"] == nil {
			t.Errorf("%s: %d bytes of %d, %+v, %v", at, len(text), len(want), report, err)
		}
		if _, unfinished := store.Keys("exports"); len(unfinished) > 0 {
			t.Errorf("unfinished: %v", unfinished)
		}
	}
	put(e.create(order("CSV", "s3://exports/daily/")), "s3://exports/daily/")
	put(e.create(order("CSV", "s3://exports/daily/the.csv")), "s3://exports/daily/the.csv")

	line.CutAfter(200 << 10)
	id := e.create(order("CSV", "s3://exports/daily/killed.csv"))
	line.WaitCut()
	e.kill()
	line.CutAfter(-1)
	e.restart()
	put(id, "s3://exports/daily/killed.csv")

	line.CutAfter(200 << 10)
	id = e.create(order("CSV", "s3://exports/daily/store-killed.csv"))
	line.WaitCut()
	store.Kill()
	line.CutAfter(-1)
	store.Restart()
	put(id, "s3://exports/daily/store-killed.csv")

	got := e.ended(e.create(order("CSV", "s3://other/")))
	if failed, _ := got["FailureInfo"].(map[string]any); got["JobStatus"] != "FAILED" || failed["ErrorMessage"] != "The export could not be put at s3://other/: the bucket does not exist. Have it made, or name another." {
		t.Errorf("%+v", got)
	}

	many := order("NDJSON", "s3://exports/daily/many")
	many["ExportDestination"].(map[string]any)["RowsPerFile"] = 1500
	if status, out := e.sesameOperation("CreateExportJob", many); status != 400 || !strings.Contains(fmt.Sprint(out), "must end with a slash") {
		t.Errorf("several files at one object: %d %v", status, out)
	}
	many["ExportDestination"].(map[string]any)["S3Url"] = "s3://exports/daily/many/"
	status, out := e.sesameOperation("CreateExportJob", many)
	if status != 200 {
		t.Fatalf("%d %v", status, out)
	}
	if got := e.ended(out["JobId"].(string)); got["ExportDestination"].(map[string]any)["S3Url"] != "s3://exports/daily/many/" {
		t.Errorf("%+v", got)
	}
	whole, _ := store.Keys("exports")
	if n := len(slices.DeleteFunc(whole, func(key string) bool { return !strings.HasPrefix(key, "daily/many/") })); n != 3 {
		t.Errorf("%d files of 3: %v", n, whole)
	}
}

// Without --export-destinations an S3Url is refused as the service does.
func TestNoExportDestination(t *testing.T) {
	t.Parallel()
	e := exportsOf(t, 1, 1)
	status, out := e.sesameOperation("CreateExportJob", order("CSV", "s3://exports/daily/"))
	if status != 400 || out["Message"] != "Providing a custom S3 URL is not supported" {
		t.Errorf("%d %v", status, out)
	}
}

// When the system takes no more of a file, whatever byte it is at, the job says so and
// has no file; when it takes it again, so does the server.
func TestExportFileTooLarge(t *testing.T) {
	t.Parallel()
	e := exportsOf(t, 4000, 4000) // 16 MB
	limit := uint64(6<<20 + rand.Int64N(9<<20))
	t.Logf("files may have %d bytes", limit)
	var usual unix.Rlimit
	if err := unix.Prlimit(e.process.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: unix.RLIM_INFINITY}, &usual); err != nil {
		t.Fatal(err)
	}
	id := e.create(order("CSV", ""))
	got := e.ended(id)
	failed, _ := got["FailureInfo"].(map[string]any)
	message, _ := failed["ErrorMessage"].(string)
	if got["JobStatus"] != "FAILED" || !strings.HasPrefix(message, "The server could not store the file; it tried 5 times in 1") || !strings.Contains(message, id) || !strings.Contains(e.log.String(), "file too large") {
		t.Errorf("%+v", got)
	}
	if _, report := e.sesameOperation("GetExportReport", map[string]any{"JobId": id}); len(report["Files"].([]any)) > 0 {
		t.Errorf("%+v", report)
	}
	if err := unix.Prlimit(e.process.Process.Pid, unix.RLIMIT_FSIZE, &usual, nil); err != nil {
		t.Fatal(err)
	}
	id = e.create(order("CSV", ""))
	url := e.ended(id)["ExportDestination"].(map[string]any)["S3Url"].(string)
	if _, _, text := e.fetch("GET", url); strings.Count(text, "\n") != 4001 {
		t.Errorf("%d bytes", len(text))
	}
}
