package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
	"github.com/klauspost/compress/gzip"
	"github.com/vbauerster/mpb/v8/decor"
)

type ingestCmd struct {
	Send     ingestSend     `cmd:"" default:"withargs" help:"Send a file or a folder of email events to a running server. This is what ingest alone does."`
	Rejected ingestRejected `cmd:"" help:"Records that came in and could not be read as events."`
}

// Help is what `sesame ingest --help` says.
func (ingestCmd) Help() string { return ingestSend{}.Help() }

type ingestSend struct {
	client
	From     string `arg:"" name:"FILE|FOLDER|-" help:"File of events, folder of such files, or - for standard input."`
	Resume   bool   `default:"true" negatable:"" help:"Go on where an earlier run with the same server stopped (the default)."`
	State    string `placeholder:"PATH" help:"Where to note how far it is. Default: FILE.sesame-progress; for standard input, nowhere."`
	Compress bool   `help:"Compress what is sent: for a slow network."`
	Strict   bool   `help:"Exit with status 2 when a record was rejected, or too large to be sent. The others are taken all the same."`
}

// Help is what `sesame ingest --help` says above the flags.
func (ingestSend) Help() string {
	return `Reads email events as SES publishes them, JSON objects one a line or one behind the other, plain, gzip or zstd, whatever the file is called. Of a folder, such as the objects that Firehose left in a bucket, it reads all files, and those in folders in it, in order of their names; names that begin with a dot are left out.

What the server has taken is noted in FILE.sesame-progress (beside it, or FOLDER.sesame-progress). After Ctrl-C or a failure the same command goes on there, and of a folder only what has come since is sent. The note for a file is removed at its end, unless --state names it. Nothing is counted twice even without it: the server knows what it has. --no-resume begins at the beginning.

The server sets aside what it cannot read: "sesame ingest rejected list" shows it.

The exit status is 0 when all was sent (but for records above 4 MiB, which are counted), 1 when not, and 2 for wrong usage or, with --strict, when a record was rejected or too large.

Its flags are shown by "sesame ingest send --help".

Examples:
  sesame ingest events.jsonl
  sesame ingest firehose-bucket/2026
  aws s3 cp s3://bucket/2026-01-31.gz - | sesame ingest -
  sesame ingest rejected list`
}

const (
	requestBytes   = 8 << 20 // of events in one request, unpacked
	requestRecords = 50_000
	largestRecord  = 4 << 20
	inFlight       = 2 // requests: one is stored while the next is sent
	requestTakes   = 3 * time.Minute
	waitForTurn    = 10 * time.Minute // for a server that says that it has too much to do
)

// Run sends.
func (c ingestSend) Run(o output) error {
	files, err := eventFiles(c.From)
	if err != nil {
		return usageError{err}
	}
	ctx, stop := interruptible()
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	key, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	state, err := c.openState(key.AccessKeyID)
	if err != nil {
		return err
	}
	defer state.close()

	run := newIngestRun(c, cfg, files, state, o.err)
	err = run.all(ctx)
	if err == nil || run.records > 0 {
		fmt.Fprint(o.out, run)
	}
	switch {
	case ctx.Err() != nil && state.file != nil:
		return fmt.Errorf("stopped; the same command goes on here (%s)", state.file.Name())
	case ctx.Err() != nil:
		return errors.New("stopped; what was sent is stored, and is not counted twice if it is sent again")
	case err != nil:
		return c.kinder(err)
	case run.unread.Load() > 0:
		return fmt.Errorf("%s could not be read to the end", number(run.unread.Load(), "file"))
	}
	if c.State == "" && files[0].path == c.From {
		state.noted = false // a file has been sent; of a folder more may come
	}
	if c.Strict && run.Rejected+run.tooLarge.Load() > 0 {
		return errRefusedLines
	}
	return nil
}

// ingestRun is one run of the command. One goroutine reads, some send, and the one
// of all counts.
type ingestRun struct {
	ingestSend
	cfg   aws.Config
	files []eventFile
	state *ingestState
	err   io.Writer
	begun time.Time

	batches chan batch    // from who reads to who sends
	answers chan answered // from who sends to who counts
	free    chan []byte   // bodies to be used again
	reached atomic.Bool   // the server took something

	total int64 // stored bytes of all files

	// Written by who reads.
	unread, tooLarge atomic.Int64
	skipped          atomic.Int64 // stored bytes that earlier runs sent

	// Of what was acknowledged.
	records int64
	ingestCounts
}

// newIngestRun prepares a run that shows on w how far it is.
func newIngestRun(c ingestSend, cfg aws.Config, files []eventFile, state *ingestState, w io.Writer) *ingestRun {
	return &ingestRun{
		ingestSend: c, cfg: cfg, files: files, state: state, err: w, begun: time.Now(),
		batches: make(chan batch), answers: make(chan answered), free: make(chan []byte, inFlight+2),
	}
}

// batch is what goes into one request.
type batch struct {
	number  int
	body    []byte
	records int64
	notes   []fileNote // for the state when it is acknowledged; never none
	stored  int64      // bytes of all files that were read up to its end
}

// answered is a batch that the server has taken, or why not.
type answered struct {
	batch
	counts ingestCounts
	err    error
	waits  bool // for a server that does not answer
}

// String is what is printed at the end.
func (r *ingestRun) String() string {
	so := time.Since(r.begun)
	var b strings.Builder
	fmt.Fprintf(&b, "%s sent in %.1f s (%.0f a second)\n", number(r.records, "record"), so.Seconds(), float64(r.records)/max(so.Seconds(), 0.001))
	fmt.Fprintf(&b, "  %10d events are new\n  %10d events were known\n  %10d records rejected\n", r.Added, r.Duplicates, r.Rejected)
	if r.Rejected > 0 {
		b.WriteString("             see `sesame ingest rejected list`, where each is once\n")
	}
	if r.TooOld > 0 {
		fmt.Fprintf(&b, "  %10d events are of mail from before what the server keeps (--retention), and are not stored\n", r.TooOld)
	}
	if n := r.tooLarge.Load(); n > 0 {
		fmt.Fprintf(&b, "  %10d too large, and not sent\n", n)
	}
	if n := r.skipped.Load(); n > 0 {
		fmt.Fprintf(&b, "The first % .1f were sent before; --no-resume sends them again.\n", decor.SizeB1024(n))
	}
	return b.String()
}

// all reads and sends everything.
func (r *ingestRun) all(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, f := range r.files {
		r.total += f.size
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		r.read(ctx)
	}()
	var sending sync.WaitGroup
	for range inFlight {
		sending.Go(func() { r.send(ctx) })
	}
	go func() {
		sending.Wait()
		close(r.answers)
	}()

	p := newProgress(r.err)
	defer p.end()
	waiting, next := map[int]answered{}, 0
	var failed error
	for a := range r.answers {
		if a.waits {
			p.show("the server does not answer, and is waited for", 0, "", 0)
			continue
		}
		if a.err != nil {
			if failed == nil {
				failed = a.err
			}
			cancel()
			continue
		}
		r.records += a.records
		r.add(a.counts)
		select {
		case r.free <- a.body[:0]:
		default:
		}
		a.body = nil
		for waiting[a.number] = a; ; next++ {
			one, ok := waiting[next]
			if !ok {
				break
			}
			delete(waiting, next)
			if err := r.state.note(one.notes); err != nil && failed == nil {
				failed = err
				cancel()
			}
			so := time.Since(r.begun)
			share := 0.0
			if r.total > 0 {
				share = min(1, float64(one.stored)/float64(r.total))
			}
			p.show("ingesting", share, fmt.Sprintf("% .1f, %.0f records/s", decor.SizeB1024(one.stored), float64(r.records)/max(so.Seconds(), 0.001)), so)
		}
	}
	select {
	case <-read:
	case <-ctx.Done(): // it may wait for standard input for ever
		if failed == nil {
			failed = ctx.Err()
		}
	}
	return failed
}

// read is who reads.
func (r *ingestRun) read(ctx context.Context) {
	defer close(r.batches)
	b := &batcher{run: r, ctx: ctx}
	for _, f := range r.files {
		if err := b.file(f); err != nil && ctx.Err() == nil {
			r.unread.Add(1)
			fmt.Fprintf(r.err, "sesame: %s: %v\n", f.path, err)
		}
		if ctx.Err() != nil {
			return
		}
	}
	b.flush(true)
}

// send is one of who send.
func (r *ingestRun) send(ctx context.Context) {
	for {
		select {
		case b, ok := <-r.batches:
			if !ok {
				return
			}
			a := answered{batch: b}
			a.counts, a.err = r.post(ctx, b.body)
			r.answers <- a
		case <-ctx.Done():
			return
		}
	}
}

// post sends a batch until the server takes it, or it is clear that it will not.
func (r *ingestRun) post(ctx context.Context, body []byte) (counts ingestCounts, err error) {
	if len(body) == 0 {
		return counts, nil
	}
	if r.Compress {
		var packed bytes.Buffer
		z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
		if err != nil {
			return counts, err
		}
		if _, err := z.Write(body); err != nil {
			return counts, err
		}
		if err := z.Close(); err != nil {
			return counts, err
		}
		body = packed.Bytes()
	}
	begun := time.Now()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		counts, after, err := r.try(ctx, body)
		if err == nil {
			r.reached.Store(true)
			return counts, nil
		}
		patience := time.Duration(0)
		var api smithy.APIError
		switch {
		case ctx.Err() != nil:
			return counts, ctx.Err()
		case errors.Is(err, errBusy):
			patience = waitForTurn
		case !errors.As(err, &api) && r.reached.Load(): // the server may be started anew
			patience = waitForServer
		}
		if time.Since(begun) > patience {
			return counts, err
		}
		if !errors.Is(err, errBusy) && pause > time.Second {
			r.answers <- answered{waits: true}
		}
		select {
		case <-ctx.Done():
			return counts, ctx.Err()
		case <-time.After(max(after, pause/2+rand.N(pause))):
		}
	}
}

// ingestCounts is what the server answers.
type ingestCounts struct{ Added, Duplicates, Rejected, TooOld int64 }

func (c *ingestCounts) add(more ingestCounts) {
	c.Added, c.Duplicates, c.Rejected, c.TooOld = c.Added+more.Added, c.Duplicates+more.Duplicates, c.Rejected+more.Rejected, c.TooOld+more.TooOld
}

// errBusy is when a server says to come back.
var errBusy = errors.New("the server has more to do than it can")

// longestWait is for how long a server can say to wait.
const longestWait = time.Minute

// try sends a batch. With errBusy it says after what time it is to be sent again.
func (r *ingestRun) try(ctx context.Context, body []byte) (counts ingestCounts, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTakes)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(*r.cfg.BaseEndpoint, "/")+"/ingest/events", bytes.NewReader(body))
	if err != nil {
		return counts, 0, err
	}
	q.Header.Set("Content-Type", "application/x-ndjson")
	if r.Compress {
		q.Header.Set("Content-Encoding", "gzip")
	}
	key, err := r.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return counts, 0, err
	}
	digest := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, key, q, hex.EncodeToString(digest[:]), "ses", r.cfg.Region, time.Now()); err != nil {
		return counts, 0, err
	}
	answer, err := httpClient(r.cfg).Do(q)
	if err != nil {
		return counts, 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return counts, 0, err
	}
	switch answer.StatusCode {
	case http.StatusOK:
		if err := json.Unmarshal(text, &counts); err != nil {
			return counts, 0, fmt.Errorf("the server answers what this program does not understand: %w", err)
		}
		return counts, 0, nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After")) // else it is for this program to choose
		return counts, min(time.Duration(seconds)*time.Second, longestWait), errBusy
	}
	if answer.StatusCode >= 500 {
		return counts, 0, fmt.Errorf("the server answers %s: its log says why", answer.Status)
	}
	var refused struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(text, &refused); err != nil || refused.Type == "" {
		return counts, 0, &smithy.GenericAPIError{Code: answer.Status, Message: "is there a Sesame that takes events at this address?"}
	}
	return counts, 0, &smithy.GenericAPIError{Code: refused.Type[strings.IndexByte(refused.Type, '#')+1:], Message: refused.Message}
}
