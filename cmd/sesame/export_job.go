package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/smithy-go"
)

// source is what is exported.
type source struct {
	span
	name, member string // as the command line and the operation call it
	what         map[string]any
}

func (s source) called(name, member string) source {
	s.name, s.member = name, member
	return s
}

// exporting is the work with one export job.
type exporting struct {
	client
	output
	cfg aws.Config
	id  string
}

// runExport makes a job, waits for its end, and fetches its files; or makes a schedule.
// ranged says whether a range was given.
func runExport(c client, o output, to exportTo, when exportWhen, ranged bool, read func(now time.Time) (source, error)) error {
	if err := when.check(to, ranged); err != nil {
		return usageError{err}
	}
	in, err := read(time.Now())
	if err != nil {
		return usageError{err}
	}
	request, out, err := to.request(o, when.Schedule != "")
	if err != nil {
		return usageError{err}
	}
	if when.Schedule != "" {
		return when.schedule(c, o, in, request)
	}
	ctx, stop := interruptible()
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	var made struct{ JobId string }
	// A creation that is given up may have happened, so it is not: the job is cancelled then.
	err = sesame(context.WithoutCancel(ctx), cfg, "CreateExportJob", map[string]any{
		"ExportDataSource": map[string]any{in.member: in.what}, "ExportDestination": request}, &made)
	if err != nil {
		return c.refusedExport(err)
	}
	j := exporting{c, o, cfg, made.JobId}
	fmt.Fprintf(o.err, "Export job %s: %s of %s\n", j.id, in.name, in.span)
	report, err := j.watch(ctx)
	if ctx.Err() != nil {
		return j.cancel()
	}
	if err != nil {
		return fmt.Errorf("%w (the server may go on with it: `sesame export fetch %s` looks)", c.kinder(err), j.id)
	}
	return j.deliver(ctx, report, out, to.RowsPerFile != nil)
}

// refusedExport says why there is no job.
func (c client) refusedExport(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return c.kinder(err)
	}
	switch api.ErrorCode() {
	case "ValidationException":
		if strings.Contains(api.ErrorMessage(), "custom S3 URL") { // SES's words
			return usageError{errors.New("this server puts exports into no bucket: whoever runs it allows places with --export-destinations")}
		}
		return usageError{errors.New(api.ErrorMessage())}
	case "ServiceQuotaExceededException":
		return fmt.Errorf("%s `sesame export list` shows them, and `sesame export cancel` ends one", api.ErrorMessage())
	}
	return c.kinder(err)
}

// exportReport is what GetExportReport answers.
type exportReport struct {
	JobStatus        string
	ShareDone        float64
	ProcessedRecords int64
	ExportedRecords  int64
	Files            []struct {
		Name, Url, ChecksumCrc32c string
		Size, Rows                int64
	}
	Error, S3Url string
}

func (j exporting) report(ctx context.Context) (r exportReport, err error) {
	err = sesame(ctx, j.cfg, "GetExportReport", map[string]any{"JobId": j.id}, &r)
	return r, err
}

// watch shows the job's progress until it has ended or ctx has.
func (j exporting) watch(ctx context.Context) (r exportReport, err error) {
	p := newProgress(j.err)
	defer p.end()
	begun := time.Now()
	err = poll(ctx, p, func() (ended bool, err error) {
		if r, err = j.report(ctx); err != nil {
			return false, err
		}
		if r.JobStatus != "PROCESSING" && r.JobStatus != "CREATED" {
			return true, nil
		}
		what, detail, so := "waiting for its turn", "", time.Since(begun)
		if r.ProcessedRecords > 0 {
			what, detail = "exporting", fmt.Sprintf("%d rows, %.0f events/s", r.ExportedRecords, float64(r.ProcessedRecords)/max(so.Seconds(), 0.001))
		}
		p.show(what, r.ShareDone, detail, so)
		return false, nil
	})
	return r, err
}

// deliver puts the files of a job that has ended where they belong: out, unless that is
// "". With split, or when there are several, their names have numbers.
func (j exporting) deliver(ctx context.Context, r exportReport, out string, split bool) error {
	split = split || len(r.Files) > 1
	switch {
	case r.JobStatus != "COMPLETED":
		return fmt.Errorf("the export ended as %s. %s", r.JobStatus, r.Error)
	case len(r.Files) == 0:
		return fmt.Errorf("the server keeps the files of export job %s no more: export anew", j.id)
	case split && out == "-":
		return usageError{fmt.Errorf("the export has %s: name them with --out", number(int64(len(r.Files)), "file"))}
	}
	if r.S3Url != "" {
		for _, f := range r.Files {
			url := r.S3Url
			if strings.HasSuffix(url, "/") {
				url += f.Name
			}
			fmt.Fprintln(j.place(out), url)
		}
	}
	if out == "" {
		return nil
	}
	err := j.fetchAll(ctx, r, out, split)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("stopped while downloading, and no file was written; the export is done, and `sesame export fetch %s` fetches it", j.id)
	case err != nil:
		return fmt.Errorf("%w (the export is done, and `sesame export fetch %s` fetches it)", j.kinder(err), j.id)
	}
	return nil
}

// place is where it is said which files the server has put into a bucket: standard
// output, unless a file goes there.
func (j exporting) place(out string) io.Writer {
	if out == "-" {
		return j.err
	}
	return j.out
}

// fetchAll fetches the files, and gives them their names when all are whole.
func (j exporting) fetchAll(ctx context.Context, r exportReport, out string, split bool) error {
	var size, rows int64
	var all []*destination
	for i := range r.Files {
		name := out
		if split {
			name = numberedName(out, i+1)
		}
		to, err := openDestination(j.output, name)
		if err != nil {
			return err
		}
		defer to.discard()
		if err := j.fetch(ctx, i, to); err != nil {
			return err
		}
		if err := to.close(); err != nil {
			return err
		}
		all, size, rows = append(all, to), size+r.Files[i].Size, rows+r.Files[i].Rows
	}
	for _, to := range all {
		if err := to.place(); err != nil {
			return err
		}
	}
	wrote := number(rows, "row") + ", " + bytesText(size)
	switch {
	case out == "-":
		fmt.Fprintf(j.err, "Wrote %s.\n", wrote)
	case split:
		fmt.Fprintf(j.err, "Wrote %s to %s, %s to %s.\n", wrote, number(int64(len(all)), "file"), all[0].name, all[len(all)-1].name)
		if next := numberedName(out, len(all)+1); exists(next) {
			fmt.Fprintf(j.err, "%s was there before, and is not of this export.\n", next)
		}
	default:
		fmt.Fprintf(j.err, "Wrote %s to %s.\n", wrote, out)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// fetch fetches a file of the job, whole and as the server wrote it. It goes on where
// it was broken off, for as long as a server is waited for.
func (j exporting) fetch(ctx context.Context, i int, to *destination) error {
	p := newProgress(to.progress)
	defer p.end()
	f := &fetch{w: to}
	begun := time.Now()
	return poll(ctx, p, func() (ended bool, err error) {
		r, err := j.report(ctx) // its URLs live for five minutes
		if err != nil {
			return false, err
		}
		if i >= len(r.Files) {
			return false, lastingError{errors.New("the server keeps the file no more")}
		}
		file := r.Files[i]
		if err := f.more(ctx, p, httpClient(j.cfg), file.Url, file.Size, begun); err != nil || f.n < file.Size {
			return false, err
		}
		sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, f.c))
		if sum != file.ChecksumCrc32c {
			return false, lastingError{fmt.Errorf("what came of %s is not what the server wrote: its CRC32C is %s and not %s", file.Name, sum, file.ChecksumCrc32c)}
		}
		return true, nil
	})
}

// cancel ends the job, for which nobody waits any more.
func (j exporting) cancel() error {
	ctx, done := context.WithTimeout(context.Background(), stopWithin)
	defer done()
	_, err := sesv2.NewFromConfig(j.cfg).CancelExportJob(ctx, &sesv2.CancelExportJobInput{JobId: &j.id})
	if err == nil {
		return fmt.Errorf("stopped: export job %s was cancelled, and no file was written", j.id)
	}
	if r, e := j.report(ctx); e == nil && r.JobStatus == "COMPLETED" {
		return fmt.Errorf("stopped, and no file was written; the export was done just before, and `sesame export fetch %s` fetches it", j.id)
	}
	return fmt.Errorf("stopped, and no file was written, but export job %s could not be cancelled: %w (`sesame export cancel` tries again)", j.id, j.kinder(err))
}

type exportList struct{ client }

// Run lists.
func (c exportList) Run(o output) error {
	ctx, stop := interruptible()
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	pages := sesv2.NewListExportJobsPaginator(sesv2.NewFromConfig(cfg), &sesv2.ListExportJobsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return c.kinder(err)
		}
		for _, j := range page.ExportJobs {
			source := strings.TrimSuffix(strings.TrimPrefix(string(j.ExportSourceType), "MESSAGE_"), "_DATA")
			fmt.Fprintf(o.out, "%s  %s  %-10s  %s\n", aws.ToString(j.JobId), aws.ToTime(j.CreatedTimestamp).UTC().Format(time.DateTime), j.JobStatus, strings.ToLower(source))
		}
	}
	return nil
}

type exportFetch struct {
	client
	Job string `arg:"" name:"JOB-ID" help:"The job, as sesame export list shows it."`
	Out string `default:"-" placeholder:"FILE" help:"The file; - is standard output, the default. Of several files, the names have numbers: mail-0001.csv."`
}

// Help is what `sesame export fetch --help` says above the flags.
func (exportFetch) Help() string {
	return `Waits for the end of the job, and writes its files as they are on the server, for as long as it keeps them (its --export-retention). Ctrl-C leaves no file, and the job as it is.

Example:
  sesame export fetch 1b4e28ba-2fa1-41d2-883f-0016d3cca427 --out mail.csv`
}

// Run fetches.
func (c exportFetch) Run(o output) error {
	ctx, stop := interruptible()
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	j := exporting{c.client, o, cfg, c.Job}
	report, err := j.watch(ctx)
	if ctx.Err() != nil {
		return errors.New("stopped: no file was written, and the job is as it was")
	}
	if err != nil {
		return c.kinder(err)
	}
	return j.deliver(ctx, report, c.Out, false)
}

type exportCancel struct {
	client
	Job string `arg:"" name:"JOB-ID" help:"The job, as sesame export list shows it."`
}

// Run cancels.
func (c exportCancel) Run(o output) error {
	ctx, stop := interruptible()
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	if _, err := sesv2.NewFromConfig(cfg).CancelExportJob(ctx, &sesv2.CancelExportJobInput{JobId: &c.Job}); err != nil {
		return c.kinder(err)
	}
	fmt.Fprintf(o.out, "Cancelled export job %s.\n", c.Job)
	return nil
}
