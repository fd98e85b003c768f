package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager/types"
)

type importCmd struct {
	client
	File   string `arg:"" help:"CSV or JSON file, plain, gzip or zstd."`
	List   string `required:"" placeholder:"NAME|ID" help:"The address list."`
	Create bool   `help:"Make the list when there is none of that name."`
	Mode   string `enum:"append,replace,remove" default:"append" help:"What the entries of the file become: members (append), the only members (replace), or no members any more (remove)."`
	DryRun bool   `name:"dry-run" help:"Say what the import would do, and change nothing."`
	Format string `enum:"auto,csv,json" default:"auto" help:"Format of the file: ${enum}. auto goes by its name: .json, .jsonl and .ndjson are JSON."`
	Strict bool   `help:"Exit with status 2 when a line was refused. The others are imported all the same; --dry-run says so beforehand."`
}

// Help is what `sesame import --help` says above the flags.
func (importCmd) Help() string {
	return `Uploads the file, imports it into the list, shows how far it is, and prints what became of its lines.

The list changes in one step, at the end. Until then it is as it was, and so it stays when the import fails or Ctrl-C stops it.

The exit status is 0 when the import completed, 1 when it did not, and 2 for wrong usage or, with --strict, when it refused a line.

Examples:
  sesame import blocked.csv --list blocked --create
  sesame import all.csv.gz --list blocked --mode replace --dry-run
  sesame import all.csv.gz --list blocked --mode replace
  sesame import returned.csv --list blocked --mode remove
  sesame import blocked.json --list al-01k... --strict`
}

// errRefusedLines is how a --strict import ends that refused a line.
var errRefusedLines = errors.New("lines were refused")

// Run imports.
func (c importCmd) Run(o output) error {
	if c.Create && c.Mode == "remove" {
		return usageError{errors.New("--create and --mode remove do not go together: a new list has no members to remove")}
	}
	file, err := openToUpload(c.File)
	if err != nil {
		return usageError{err}
	}
	defer file.Close()
	ctx, stop := interruptible()
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	mm := mailmanager.NewFromConfig(cfg)
	list, err := listID(ctx, mm, c.List)
	if errors.Is(err, errNoList) && c.Create && c.DryRun {
		return fmt.Errorf("%w, and a dry run does not make it: leave out --dry-run, or make the list first", err)
	}
	if errors.Is(err, errNoList) && c.Create {
		list, err = makeList(ctx, o.out, mm, c.List)
	}
	if errors.Is(err, errNoList) {
		return fmt.Errorf("%w: --create makes it", err)
	}
	if err != nil {
		return c.kinder(err)
	}
	var job struct{ JobId, PreSignedUrl string }
	err = sesame(ctx, cfg, "CreateAddressListImportJob", map[string]any{
		"AddressListId": list, "Name": jobName(c.File), "ImportDataFormat": map[string]any{"ImportDataType": c.format()},
		"Mode": strings.ToUpper(c.Mode), "DryRun": c.DryRun}, &job)
	if err != nil {
		return c.kinder(err)
	}

	fmt.Fprintf(o.out, "Import job %s of %s\n", job.JobId, c.File)
	if err := upload(ctx, o.err, httpClient(cfg), file, job.PreSignedUrl); err != nil {
		if ctx.Err() != nil {
			return errors.New("stopped while uploading: nothing was imported, and the list is as it was")
		}
		return c.kinder(err)
	}
	// A start that is given up may have happened, so it is not: watch sees the signal.
	_, err = mm.StartAddressListImportJob(context.WithoutCancel(ctx), &mailmanager.StartAddressListImportJobInput{JobId: &job.JobId})
	if err != nil {
		return c.kinder(err)
	}
	report, err := watch(ctx, o.err, cfg, job.JobId)
	interrupted := ctx.Err() != nil
	if interrupted {
		// The signal ended ctx, and the job is to be stopped all the same.
		var done func()
		ctx, done = context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer done()
		_, err = mm.StopAddressListImportJob(ctx, &mailmanager.StopAddressListImportJobInput{JobId: &job.JobId})
		var ended *types.ConflictException
		if err == nil || errors.As(err, &ended) {
			err = sesame(ctx, cfg, "GetAddressListImportReport", map[string]any{"JobId": job.JobId}, &report)
		}
	}
	if err != nil {
		return fmt.Errorf("%w (the server may go on with import job %s)", c.kinder(err), job.JobId)
	}
	if interrupted && report.Status == "COMPLETED" {
		fmt.Fprintln(o.out, "The import had just completed when it was to be stopped.")
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
	if c.Format == "json" || c.Format == "auto" && slices.Contains(jsonNames, filepath.Ext(name)) {
		return types.ImportDataTypeJson
	}
	return types.ImportDataTypeCsv
}

// jsonNames are the ends of names of JSON files.
var jsonNames = []string{".json", ".jsonl", ".ndjson"}

// stopWithin is how long a job may take to be stopped.
const stopWithin = 15 * time.Second

// makeList makes a list, or finds the one that somebody else has just made.
func makeList(ctx context.Context, w io.Writer, mm *mailmanager.Client, name string) (id string, err error) {
	made, err := mm.CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: &name})
	var exists *types.ConflictException
	if errors.As(err, &exists) {
		return listID(ctx, mm, name)
	}
	if err != nil {
		return "", err
	}
	fmt.Fprintf(w, "Made the list %s (%s).\n", name, *made.AddressListId)
	return *made.AddressListId, nil
}

// openToUpload opens a file whose size can be told beforehand.
func openToUpload(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s is not a file", name))
	}
	return f, nil
}

// jobName is a name for a job, made of a file's, with the characters that one may have.
func jobName(file string) string {
	name := regexp.MustCompile(`[^a-zA-Z0-9_.-]+`).ReplaceAllString(filepath.Base(file), "-")
	return name[:min(len(name), 255)]
}

// report is what GetAddressListImportReport answers.
type report struct {
	Status, Mode                                  string
	DryRun                                        bool
	ShareDone                                     float64
	LinesRead, Lines                              int64
	Imported, Added, AlreadyPresent               int64
	Removed, NotPresent, DuplicateInFile, Members int64
	Invalid                                       int64
	InvalidByReason                               []struct {
		Code, Reason string
		Lines        int64
	}
	Phases                 []phase
	RefusedLinesUrl, Error string
}

type phase struct {
	Name                   string
	Seconds, RowsPerSecond float64
	Rows                   int64
}

// String is a report of a job that has ended, as people read it.
func (r report) String() string {
	var b strings.Builder
	if r.Status == "COMPLETED" {
		r.writeDone(&b)
	} else {
		fmt.Fprintf(&b, "%s after %s of the file. The list is as it was.\n", r.Status, number(r.LinesRead, "line"))
	}
	fmt.Fprintf(&b, "  %10d lines refused\n", r.Invalid)
	for _, reason := range r.InvalidByReason {
		fmt.Fprintf(&b, "    %8d %s: %s\n", reason.Lines, reason.Code, reason.Reason)
	}
	if r.RefusedLinesUrl != "" {
		fmt.Fprintf(&b, "The refused lines, one by one (for 12 hours):\n  curl -fo refused.csv '%s'\n", r.RefusedLinesUrl)
	}
	switch {
	case r.Status != "COMPLETED":
	case r.DryRun:
		fmt.Fprintf(&b, "The list would have %s. Nothing was changed.\n", number(r.Members, "member"))
	default:
		fmt.Fprintf(&b, "The list has %s now.\n", number(r.Members, "member"))
	}
	for i, p := range r.Phases {
		b.WriteString([]string{"", ", "}[min(i, 1)])
		fmt.Fprintf(&b, "%s took %.2f s", strings.ToLower(p.Name), p.Seconds)
		if p.Rows > 0 {
			fmt.Fprintf(&b, " (%.0f rows/s)", p.RowsPerSecond)
		}
	}
	if len(r.Phases) > 0 {
		b.WriteString("\n")
	}
	if r.Error != "" {
		fmt.Fprintf(&b, "%s\n", r.Error)
	}
	return b.String()
}

// writeDone says what became of the lines and the members, in the words of the mode.
func (r report) writeDone(b *strings.Builder) {
	added, stayed, left, absent := "new members", "were members before", "left the list", "entries were no members"
	done := "imported"
	switch {
	case r.Mode == "REMOVE" && r.DryRun:
		left, done = "members would be removed", "would be applied"
	case r.Mode == "REMOVE":
		left, done = "members removed", "applied"
	case r.DryRun:
		added, stayed, left, done = "would be new members", "are members already", "members would leave", "would be imported"
	}
	fmt.Fprintf(b, "%s: %d lines %s of %d\n", r.Status, r.Imported, done, r.Lines)
	count := func(n int64, what string) { fmt.Fprintf(b, "  %10d %s\n", n, what) }
	if r.Mode == "REMOVE" {
		count(r.Removed, left)
		count(r.NotPresent, absent)
	} else {
		count(r.Added, added)
		count(r.AlreadyPresent, stayed)
	}
	if r.Mode == "REPLACE" {
		count(r.Removed, left)
	}
	count(r.DuplicateInFile, "more lines with the same entry as an earlier one")
}

// number is a count of things in words: "1 line", "2 lines".
func number(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// watch shows a job's progress until it has ended or ctx has.
func watch(ctx context.Context, w io.Writer, cfg aws.Config, job string) (r report, err error) {
	p := newProgress(w)
	defer p.end()
	err = poll(ctx, p, func() (ended bool, err error) {
		r = report{}
		if err := sesame(ctx, cfg, "GetAddressListImportReport", map[string]any{"JobId": job}, &r); err != nil {
			return false, err
		}
		if r.Status == "PROCESSING" {
			p.show(r.doing())
			return false, nil
		}
		return true, nil
	})
	return r, err
}

// doing says what is done with a job that runs, and how far it is.
func (r report) doing() (what string, share float64, detail string, so time.Duration) {
	if len(r.Phases) == 0 {
		return "waiting for its turn", 0, "", 0
	}
	for _, p := range r.Phases {
		so += time.Duration(p.Seconds * float64(time.Second))
	}
	last := r.Phases[len(r.Phases)-1]
	if last.Rows > 0 {
		detail = fmt.Sprintf("%d rows, %.0f rows/s", last.Rows, last.RowsPerSecond)
	}
	return strings.ToLower(last.Name), r.ShareDone, detail, so
}

// upload puts a file to a pre-signed URL.
func upload(ctx context.Context, w io.Writer, client aws.HTTPClient, f *os.File, url string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	p := newProgress(w)
	defer p.end()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, url, &counted{r: f, total: info.Size(), what: "uploading", begun: time.Now(), progress: p})
	if err != nil {
		return err
	}
	r.ContentLength = info.Size()
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return refusedBy(answer, "upload")
	}
	return nil
}

// refusedBy is the error that the server answered to what was done with a
// pre-signed URL.
func refusedBy(answer *http.Response, what string) error {
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if found := regexp.MustCompile(`<Message>(.*)</Message>`).FindSubmatch(text); found != nil {
		text = found[1]
	}
	return errors.Join(fmt.Errorf("the %s was refused: %s: %s", what, answer.Status, text), err)
}
