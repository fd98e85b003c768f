package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	_ "github.com/duckdb/duckdb-go/v2" // the driver

	"sesame/bench/yard"
	"sesame/internal/server"
)

// The files of an export, in the temporary folder.
const ourFile, theirFile = "sesame.csv", "duckdb.csv"

// askEvery is how often it is asked at first whether a job has ended; later a hundred
// times in all the time that it has taken.
const askEvery = 10 * time.Millisecond

// measureSesame has a server export, and keeps the file.
func measureSesame(ctx context.Context, binary, data, dir string, e *export) (got figures, err error) {
	err = yard.WithServer(ctx, binary, data, nil, func(pid int, url string) error {
		client := sesv2.New(sesv2.Options{
			BaseEndpoint: &url, Region: yard.Region, Credentials: credentials.NewStaticCredentialsProvider(yard.RootID, yard.RootSecret, ""),
		})
		if _, err := client.GetAccount(ctx, &sesv2.GetAccountInput{}); err != nil { // opens the connection
			return err
		}
		start := time.Now()
		job, err := client.CreateExportJob(ctx, &sesv2.CreateExportJobInput{ExportDataSource: e.source, ExportDestination: &types.ExportDestination{DataFormat: types.DataFormatCsv}})
		if err != nil {
			return err
		}
		var j *sesv2.GetExportJobOutput
		for {
			if j, err = client.GetExportJob(ctx, &sesv2.GetExportJobInput{JobId: job.JobId}); err != nil {
				return err
			}
			if j.JobStatus == types.JobStatusCompleted {
				break
			}
			if j.JobStatus != types.JobStatusProcessing {
				return fmt.Errorf("the job is %s: %s", j.JobStatus, aws.ToString(j.FailureInfo.ErrorMessage))
			}
			time.Sleep(max(askEvery, time.Since(start)/100)) // to ask is work for the server too
		}
		got.took, got.rows = time.Since(start), int64(*j.Statistics.ExportedRecordsCount)
		if got.peak, err = yard.Memory(pid, "VmHWM"); err != nil {
			return err
		}
		got.size, err = fetch(ctx, *j.ExportDestination.S3Url, filepath.Join(dir, ourFile))
		return err
	})
	return got, err
}

// fetch saves what a URL gives.
func fetch(ctx context.Context, url, to string) (size int64, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, errors.New(answer.Status)
	}
	f, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	size, err = io.Copy(f, answer.Body)
	return size, errors.Join(err, f.Close())
}

// duckDBChild is the first argument of a process of this program that is to do
// nothing but DuckDB's part, so that memory is DuckDB's own.
const duckDBChild = "duckdb-child"

// measureDuckDB has DuckDB copy the same into a file, and gives its version too.
func measureDuckDB(ctx context.Context, data, dir string, e *export) (got figures, version string, err error) {
	to := filepath.Join(dir, theirFile)
	child, err := yard.Run(exec.CommandContext(ctx, "/proc/self/exe", duckDBChild, server.EventsPath(data), e.query, to))
	if err != nil {
		return got, "", err
	}
	got.peak = child.Peak
	if _, err := fmt.Sscan(string(child.Printed), &got.took, &got.rows, &version); err != nil {
		return got, "", fmt.Errorf("%w: %s", err, child.Printed)
	}
	got.size, err = yard.FileSize(to)
	return got, version, err
}

// duckDB is what the child does: it copies a query's answer into a file, with two
// threads and else DuckDB's defaults, and prints how long that took, the rows, and
// DuckDB's version.
func duckDB(database, query, to string) (err error) {
	db, err := sql.Open("duckdb", database+"?threads=2&access_mode=read_only")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Ping(); err != nil {
		return err
	}
	start := time.Now()
	done, err := db.Exec("COPY (" + query + ") TO '" + to + "' (FORMAT csv, FORCE_QUOTE *)")
	if err != nil {
		return err
	}
	took := time.Since(start)
	rows, err := done.RowsAffected()
	if err != nil {
		return err
	}
	var version string
	if err := db.QueryRow("SELECT version()").Scan(&version); err != nil {
		return err
	}
	fmt.Println(int64(took), rows, version)
	return nil
}
