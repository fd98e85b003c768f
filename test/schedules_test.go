package test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	_ "github.com/mattn/go-sqlite3" // to have a schedule due without waiting for it
)

// A schedule's runs have each event once, though the server is killed before each is
// due: they are made up when it is started again.
func TestSchedules(t *testing.T) {
	e := &exports{T: t, server: start(t), sdk: goSESClient{}}
	e.keys = map[string]aws.Credentials{"root": {AccessKeyID: rootID, SecretAccessKey: rootSecret}}
	n := 0
	ingest := func(count int) {
		t.Helper()
		var records []string
		for range count {
			// Of mail of any time: what counts is when it comes.
			sent := time.Now().UTC().Add(-time.Duration(n) * 100 * time.Hour).Format("2006-01-02T15:04:05.000Z")
			records = append(records, fmt.Sprintf(`{"eventType":"Send","mail":{"timestamp":%q,"messageId":"m%d","source":"news@example.com","sendingAccountId":"000000000000",`+
				`"destination":["a@gmail.com"]},"send":{}}`, sent, n))
			n++
		}
		e.ingest(e.keys["root"], records...)
	}
	// due has the time come for the schedule, while the server is down.
	due := func() {
		t.Helper()
		e.kill()
		db, err := sql.Open("sqlite3", filepath.Join(e.dir, "sesame.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("UPDATE export_schedules SET next = ?", time.Now().UnixMilli()); err != nil {
			t.Fatal(err)
		}
		e.restart()
	}
	command := func(args ...string) string {
		t.Helper()
		out, err := e.sesame(append([]string{"schedules"}, args...)...)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return out
	}
	job := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)
	last := ""
	// run waits for another run and gives the messages that it has.
	run := func() (found []string) {
		t.Helper()
		for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			if id := job.FindString(command("list")); id != last && id != "" {
				last = id
				break
			}
			if time.Since(begun) > 30*time.Second {
				t.Fatal("there is no run")
			}
		}
		if got := e.ended(last); got["JobStatus"] != "COMPLETED" || got["ExportSourceType"] != "EVENTS" {
			t.Fatalf("%v", got)
		}
		var report struct {
			Schedule string
			Files    []struct{ Url string }
		}
		e.ask("GetExportReport", fmt.Sprintf(`{"JobId":%q}`, last), &report)
		if report.Schedule != "nightly" || len(report.Files) != 1 {
			t.Fatalf("%+v", report)
		}
		answer, err := http.Get(report.Files[0].Url)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		rows := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		slices.Sort(rows[1:])
		return rows[1:]
	}

	ingest(2)
	if out := command("put", "nightly", "--cron", "0 2 * * *", "--columns", "messageid"); !regexp.MustCompile(`^Schedule nightly runs next at \d{4}-\d\d-\d\d 02:00:00Z\.\n$`).MatchString(out) {
		t.Error(out)
	}
	ingest(3)
	due()
	if got := run(); !slices.Equal(got, []string{"m2", "m3", "m4"}) {
		t.Errorf("the first run has %v", got)
	}
	ingest(2)
	due()
	ingest(1) // perhaps before it runs, and after it was due
	got := run()
	due()
	got = append(got, run()...)
	if !slices.Equal(got, []string{"m5", "m6", "m7"}) {
		t.Errorf("the second and third have %v", got)
	}

	// What is listed can be put again.
	var listed map[string]any
	if err := json.Unmarshal([]byte(command("list", "--json")), &listed); err != nil {
		t.Fatal(err)
	}
	if want := []string{"Cron", "ExportDataSource", "ExportDestination", "LastJobId", "LastRun", "Name", "NextRun"}; !slices.Equal(slices.Sorted(maps.Keys(listed)), want) || listed["LastJobId"] != last {
		t.Errorf("%v", listed)
	}
	listed["ExportDestination"].(map[string]any)["DataFormat"] = "CSV"
	text, err := json.Marshal(listed)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "nightly.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	command("put", "nightly", "--file", file)
	ingest(1)
	due()
	if got := run(); !slices.Equal(got, []string{`"m8",`}) {
		t.Errorf("the fourth run has %v", got)
	}
	for _, wrong := range [][]string{
		{"put", "nightly"},
		{"put", "nightly", "--cron", "@daily", "--file", file, "--source", "insights"},
		{"put", "nightly", "--cron", "@daily", "--file", file, "--format", "json"},
		{"put", "nightly", "--cron", "@daily", "--source", "metrics", "--columns", "isp"},
		{"put", "nightly", "--cron", "61 * * * *"},
		{"put", "nightly", "--cron", "@daily", "--s3", "s3://nowhere/"},
		{"delete", "another"},
	} {
		if out, err := e.sesame(append([]string{"schedules"}, wrong...)...); err == nil {
			t.Errorf("%v: %s", wrong, out)
		}
	}
	if out := command("put", "days", "--cron", "@daily", "--source", "metrics", "--format", "json"); !strings.Contains(out, "Schedule days runs next at") {
		t.Error(out)
	}
	for _, name := range []string{"nightly", "days"} {
		if out := command("delete", name); out != "Deleted schedule "+name+".\n" {
			t.Error(out)
		}
	}
	if out := command("list"); out != "There are no schedules.\n" {
		t.Error(out)
	}
}
