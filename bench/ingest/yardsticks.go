package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // the driver

	"sesame/bench/yard"
)

// event is what of an event the standard library decodes: the members that Sesame
// keeps in columns, and nothing of the header fields.
type event struct {
	EventType string
	Mail      struct {
		Timestamp, MessageID, Source, SourceARN string
		SendingAccountID                        string
		Destination                             []string
		CommonHeaders                           struct {
			From    []string
			Subject string
		}
		Tags map[string][]string
	}
	Bounce *struct {
		BounceType, BounceSubType, Timestamp, FeedbackID, ReportingMTA string
		BouncedRecipients                                              []recipient
	}
	Complaint *struct {
		ComplaintSubType                                        *string
		Timestamp, FeedbackID, UserAgent, ComplaintFeedbackType string
		ComplainedRecipients                                    []recipient
	}
	Delivery *struct {
		Timestamp, SMTPResponse, RemoteMtaIP, ReportingMTA string
		ProcessingTimeMillis                               int64
		Recipients                                         []string
	}
	DeliveryDelay *struct {
		Timestamp, DelayType, ExpirationTime, ReportingMTA string
		DelayedRecipients                                  []recipient
	}
	Open, Click *struct {
		Timestamp, IPAddress, UserAgent, Link, IsBotEvent string
		LinkTags                                          map[string][]string
	}
	Reject       *struct{ Reason string }
	Failure      *struct{ TemplateName, ErrorMessage string }
	Subscription *struct{ ContactList, Timestamp, Source string }
}

type recipient struct{ EmailAddress, Action, Status, DiagnosticCode string }

// measureJSON decodes the events, which are in memory beforehand, and keeps nothing
// of them.
func measureJSON(f files, goroutines int) (got figures, err error) {
	text, err := os.ReadFile(f.lines)
	if err != nil {
		return got, err
	}
	before, err := ownCPU()
	if err != nil {
		return got, err
	}
	start := time.Now()
	counts, errs := make([]int, goroutines), make([]error, goroutines)
	var all sync.WaitGroup
	for i := range goroutines {
		from, to := i*len(text)/goroutines, (i+1)*len(text)/goroutines
		if from > 0 {
			from += bytes.IndexByte(text[from:], '\n') + 1
		}
		to += bytes.IndexByte(text[to-1:], '\n')
		all.Go(func() {
			for line := range bytes.Lines(text[from:to]) {
				var e event
				if errs[i] = json.Unmarshal(line, &e); errs[i] != nil {
					return
				}
				if e.Mail.MessageID != "" {
					counts[i]++
				}
			}
		})
	}
	all.Wait()
	got.took = time.Since(start)
	after, err := ownCPU()
	if err != nil {
		return got, err
	}
	got.cpu = after - before
	for _, n := range counts {
		got.events += n
	}
	if err := errors.Join(errs...); err != nil {
		return got, err
	}
	if got.events != f.events {
		return got, fmt.Errorf("%d events were decoded and not %d", got.events, f.events)
	}
	return got, nil
}

// ownCPU gives how long this process has had a CPU.
func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// duckDBChild is the first argument of a process of this program that is to do
// nothing but DuckDB's part, so that memory and CPU time are DuckDB's own.
const duckDBChild = "duckdb-child"

// measureDuckDB copies the events into a table in a new database on disk, and gives
// DuckDB's version too.
func measureDuckDB(ctx context.Context, dir string, f files) (got figures, version string, err error) {
	const database = "yardstick.duckdb"
	c := exec.CommandContext(ctx, "/proc/self/exe", duckDBChild, database, filepath.Base(f.lines))
	c.Dir = dir
	child, err := yard.Run(c)
	if err != nil {
		return got, "", err
	}
	got = figures{took: child.Took, cpu: child.CPU, peak: child.Peak}
	if _, err := fmt.Sscan(string(child.Printed), &got.events, &version); err != nil {
		return got, "", fmt.Errorf("%w: %s", err, child.Printed)
	}
	if got.events != f.events {
		return got, "", fmt.Errorf("%d rows came out and not %d", got.events, f.events)
	}
	made := filepath.Join(dir, database)
	if got.disk, err = yard.FileSize(made); err != nil {
		return got, "", err
	}
	return got, version, os.Remove(made)
}

// duckDB is what the child does: it copies the file into a table with a column for
// each member of an event, with two threads and else DuckDB's defaults, and prints
// the rows and DuckDB's version.
func duckDB(database, file string) (err error) {
	db, err := sql.Open("duckdb", database+"?threads=2")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, statement := range []string{
		`CREATE TABLE events (
			"eventType" VARCHAR,
			mail STRUCT("timestamp" TIMESTAMP, source VARCHAR, "sourceArn" VARCHAR, "sendingAccountId" VARCHAR, "messageId" VARCHAR, destination VARCHAR[],
				"headersTruncated" BOOLEAN, "commonHeaders" STRUCT("from" VARCHAR[], date VARCHAR, "to" VARCHAR[], "messageId" VARCHAR, subject VARCHAR),
				tags MAP(VARCHAR, VARCHAR[])),
			send JSON, delivery JSON, "deliveryDelay" JSON, bounce JSON, complaint JSON, reject JSON, failure JSON, open JSON, click JSON, subscription JSON)`,
		`COPY events FROM '` + file + `' (FORMAT json)`,
		`CHECKPOINT`,
	} {
		if _, err := db.Exec(statement); err != nil {
			return err
		}
	}
	var rows int
	var version string
	if err := db.QueryRow(`SELECT count(*), version() FROM events`).Scan(&rows, &version); err != nil {
		return err
	}
	fmt.Println(rows, version)
	return nil
}
