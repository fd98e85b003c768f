package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager/types"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

type importCmd struct {
	client
	File   string `arg:"" type:"existingfile" help:"CSV or JSON file, plain, gzip or zstd."`
	List   string `required:"" placeholder:"NAME|ID" help:"The address list."`
	Create bool   `help:"Make the list when there is none of that name."`
	Format string `enum:"auto,csv,json" default:"auto" help:"Format of the file: ${enum}. auto goes by its name: .json and .ndjson are JSON."`
	Strict bool   `help:"Exit with status 2 when a line was refused."`
}

// Help is what `sesame import --help` says above the flags.
func (importCmd) Help() string {
	return `Uploads the file, imports it into the list, shows how far it is, and prints what became of its lines. Ctrl-C stops the import; what was imported by then stays.

The exit status is 0 when the import completed, 1 when it did not, and 2 with --strict when it refused a line.

Examples:
  sesame import blocked.csv --list blocked --create
  sesame import blocked.json.gz --list al-01k... --strict`
}

// errRefusedLines is how a --strict import ends that refused a line.
var errRefusedLines = errors.New("lines were refused")

// Run imports.
func (c importCmd) Run(o output) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	mm := mailmanager.NewFromConfig(cfg)
	list, err := listID(ctx, mm, c.List)
	if errors.Is(err, errNoList) && c.Create {
		made, failed := mm.CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: &c.List})
		if failed != nil {
			return c.kinder(failed)
		}
		list, err = *made.AddressListId, nil
		fmt.Fprintf(o.out, "Made the list %s (%s).\n", c.List, list)
	}
	if errors.Is(err, errNoList) {
		return fmt.Errorf("%w: --create makes it", err)
	}
	if err != nil {
		return c.kinder(err)
	}
	job, err := mm.CreateAddressListImportJob(ctx, &mailmanager.CreateAddressListImportJobInput{
		AddressListId: &list, Name: aws.String(jobName(c.File)), ImportDataFormat: &types.ImportDataFormat{ImportDataType: c.format()}})
	if err != nil {
		return c.kinder(err)
	}

	fmt.Fprintf(o.out, "Import job %s of %s\n", *job.JobId, c.File)
	if err := upload(ctx, o.err, c.File, *job.PreSignedUrl); err != nil {
		if ctx.Err() != nil {
			return errors.New("stopped while uploading; nothing was imported")
		}
		return c.kinder(err)
	}
	if _, err := mm.StartAddressListImportJob(ctx, &mailmanager.StartAddressListImportJobInput{JobId: job.JobId}); err != nil {
		return c.kinder(err)
	}
	report, err := watch(ctx, o.err, cfg, *job.JobId)
	if ctx.Err() != nil {
		// The signal ended ctx, and the job is to be stopped all the same.
		ctx = context.WithoutCancel(ctx)
		_, err = mm.StopAddressListImportJob(ctx, &mailmanager.StopAddressListImportJobInput{JobId: job.JobId})
		var ended *types.ConflictException
		if err == nil || errors.As(err, &ended) {
			err = sesame(ctx, cfg, "GetAddressListImportReport", map[string]any{"JobId": *job.JobId}, &report)
		}
	}
	if err != nil {
		return c.kinder(err)
	}
	fmt.Fprint(o.out, report)
	switch {
	case report.Status != "COMPLETED":
		return fmt.Errorf("the import ended as %s", report.Status)
	case c.Strict && report.Invalid > 0:
		return errRefusedLines
	}
	return nil
}

func (c importCmd) format() types.ImportDataType {
	name := strings.ToLower(c.File)
	for _, packing := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, packing)
	}
	if c.Format == "json" || c.Format == "auto" && (strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".ndjson")) {
		return types.ImportDataTypeJson
	}
	return types.ImportDataTypeCsv
}

// jobName is a name for a job, made of a file's, with the characters that one may have.
func jobName(file string) string {
	name := regexp.MustCompile(`[^a-zA-Z0-9_.-]+`).ReplaceAllString(filepath.Base(file), "-")
	return name[:min(len(name), 255)]
}

// report is what GetAddressListImportReport answers.
type report struct {
	Status                                                           string
	Lines, Imported, Added, AlreadyPresent, DuplicateInFile, Invalid int64
	InvalidByReason                                                  []struct {
		Code, Reason string
		Lines        int64
	}
	RefusedLinesUrl, Error string
}

// String is a report as people read it.
func (r report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d lines imported", r.Status, r.Imported)
	if r.Lines > 0 {
		fmt.Fprintf(&b, " of %d", r.Lines)
	}
	fmt.Fprintf(&b, "\n  %10d new members\n  %10d were members before\n  %10d more lines with the same entry as an earlier one\n  %10d lines refused\n",
		r.Added, r.AlreadyPresent, r.DuplicateInFile, r.Invalid)
	for _, reason := range r.InvalidByReason {
		fmt.Fprintf(&b, "    %8d %s: %s\n", reason.Lines, reason.Code, reason.Reason)
	}
	if r.RefusedLinesUrl != "" {
		fmt.Fprintf(&b, "The refused lines, one by one (for 12 hours):\n  curl -fo refused.csv '%s'\n", r.RefusedLinesUrl)
	}
	if r.Error != "" {
		fmt.Fprintf(&b, "%s\n", r.Error)
	}
	return b.String()
}

// watch shows a job's progress until it has ended or ctx has.
func watch(ctx context.Context, w io.Writer, cfg aws.Config, job string) (report, error) {
	p := newProgress(w, "importing", decor.CountersNoUnit("%d / %d lines"))
	defer p.end()
	for {
		var r report
		if err := sesame(ctx, cfg, "GetAddressListImportReport", map[string]any{"JobId": job}, &r); err != nil {
			return r, err
		}
		p.show(r.Imported+r.Invalid, r.Lines)
		if r.Status != "PROCESSING" {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// upload puts a file to a pre-signed URL.
func upload(ctx context.Context, w io.Writer, file, url string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	p := newProgress(w, "uploading", decor.CountersKibiByte("% .1f / % .1f"))
	defer p.end()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, url, &counted{r: f, total: info.Size(), progress: p})
	if err != nil {
		return err
	}
	r.ContentLength = info.Size()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
		if found := regexp.MustCompile(`<Message>(.*)</Message>`).FindSubmatch(text); found != nil {
			text = found[1]
		}
		return errors.Join(fmt.Errorf("the upload was refused: %s: %s", answer.Status, text), err)
	}
	return nil
}

type counted struct {
	r        io.Reader
	n, total int64
	progress *progress
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.progress.show(c.n, c.total)
	return n, err
}

// progress is a bar on a terminal, and elsewhere a line every few seconds.
type progress struct {
	what string
	w    io.Writer
	last time.Time

	bars *mpb.Progress // nil when w is no terminal
	bar  *mpb.Bar
}

const lineEvery = 5 * time.Second

func newProgress(w io.Writer, what string, counters decor.Decorator) *progress {
	p := &progress{what: what, w: w, last: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bars = mpb.New(mpb.WithOutput(w))
		p.bar = p.bars.AddBar(0, mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name("  "+what+" "), counters),
			mpb.AppendDecorators(decor.Percentage(), decor.Name("  "), decor.AverageETA(decor.ET_STYLE_GO)))
	}
	return p
}

// show says that done of total is done; total is 0 while it is not known.
func (p *progress) show(done, total int64) {
	if p.bar != nil {
		p.bar.SetTotal(max(total, done+1), false)
		p.bar.SetCurrent(done)
	} else if time.Since(p.last) >= lineEvery {
		p.last = time.Now()
		fmt.Fprintf(p.w, "%s: %d of %d\n", p.what, done, total)
	}
}

func (p *progress) end() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.bars.Wait()
	}
}
