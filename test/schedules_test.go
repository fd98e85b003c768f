package test

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
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
		out, err := e.sesame(append([]string{"export"}, args...)...)
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
			if id := job.FindString(command("schedules")); id != last && id != "" {
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
	command("events", "--schedule", "nightly", "--cron", "0 2 * * *", "--columns", "messageid")
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

	command("events", "--schedule", "nightly", "--cron", "@daily", "--columns", "messageid", "--format", "ses-csv")
	ingest(1)
	due()
	if got := run(); !slices.Equal(got, []string{`"m8",`}) {
		t.Errorf("the fourth run, of a schedule that was put again, has %v", got)
	}
	for _, wrong := range [][]string{
		{"events", "--schedule", "nightly"},
		{"events", "--cron", "@daily"},
		{"events", "--schedule", "nightly", "--cron", "@daily", "--range", "7d"},
		{"events", "--schedule", "nightly", "--cron", "@daily", "--out", "mail.csv"},
		{"events", "--schedule", "nightly", "--cron", "@daily", "--limit", "5"},
		{"metrics", "--schedule", "nightly", "--cron", "61 * * * *"},
		{"insights", "--schedule", "night/ly", "--cron", "@daily"},
		{"insights", "--schedule", "nightly", "--cron", "@daily", "--s3", "s3://nowhere/"},
		{"unschedule", "another"},
	} {
		if out, err := e.sesame(append([]string{"export"}, wrong...)...); err == nil {
			t.Errorf("%v: %s", wrong, out)
		}
	}
	command("metrics", "--schedule", "days", "--cron", "@daily", "--format", "json")
	if out := command("schedules"); !regexp.MustCompile(`^days +@daily +metrics +next \S+ 00:00:00 +last -\nnightly +@daily +events +next \S+ 00:00:00 +last \S+ \S+ ` + last + `\n$`).MatchString(out) {
		t.Error(out)
	}
	for _, name := range []string{"nightly", "days"} {
		command("unschedule", name)
	}
	if out := command("schedules"); out != "" {
		t.Error(out)
	}
}
