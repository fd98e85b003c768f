package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
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

What the server has taken is noted in FILE.sesame-progress (beside it, or FOLDER.sesame-progress). After Ctrl-C or a failure the same command goes on there, and of a folder only what has come since is sent. The note for a file is removed at its end. Nothing is counted twice even without it: the server knows what it has. --no-resume begins at the beginning.

The server sets aside what it cannot read: "sesame ingest rejected list" shows it.

The exit status is 0 when all was sent, 1 when not, and 2 for wrong usage or, with --strict, when a record was rejected.

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
	if c.Strict && run.rejected+run.tooLarge.Load() > 0 {
		return errRefusedLines
	}
	return nil
}

// eventFile is a file to send.
type eventFile struct {
	name string // in a folder, from there on
	path string // "-" for standard input
	size int64  // bytes as stored; 0 when that is not known
}

// eventFiles gives the files that an argument stands for, in order of their names.
func eventFiles(from string) (all []eventFile, err error) {
	if from == "-" {
		return []eventFile{{name: "-", path: "-"}}, nil
	}
	root, err := filepath.EvalSymlinks(from)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		f := eventFile{name: filepath.Base(from), path: from}
		if info.Mode().IsRegular() {
			f.size = info.Size()
		}
		return []eventFile{f}, nil
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case path != root && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.Type().IsRegular() && !strings.HasSuffix(path, progressSuffix):
			info, err := d.Info()
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			all = append(all, eventFile{name: filepath.ToSlash(name), path: path, size: info.Size()})
		}
		return nil
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("there are no files in %s", from)
	}
	return all, err
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
	records, added, duplicates, rejected int64
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
}

// String is what is printed at the end.
func (r *ingestRun) String() string {
	so := time.Since(r.begun)
	var b strings.Builder
	fmt.Fprintf(&b, "%s stored in %.1f s (%.0f a second)\n", number(r.records, "record"), so.Seconds(), float64(r.records)/max(so.Seconds(), 0.001))
	fmt.Fprintf(&b, "  %10d events are new\n  %10d events were known\n  %10d records rejected\n", r.added, r.duplicates, r.rejected)
	if r.rejected > 0 {
		b.WriteString("             see `sesame ingest rejected list`\n")
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
		if a.err != nil {
			if failed == nil {
				failed = a.err
			}
			cancel()
			continue
		}
		r.records += a.records
		r.added, r.duplicates, r.rejected = r.added+a.counts.Added, r.duplicates+a.counts.Duplicates, r.rejected+a.counts.Rejected
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

// batcher puts records together to batches.
type batcher struct {
	run  *ingestRun
	ctx  context.Context
	next batch

	stored int64 // bytes of the files before the one that is read
}

// file reads a file. What it gives before an error is sent.
func (b *batcher) file(f eventFile) (err error) {
	from := b.run.state.files[f.name]
	in := os.Stdin
	if f.path != "-" {
		if in, err = os.Open(f.path); err != nil {
			return err
		}
	}
	defer in.Close()
	c := &countedBytes{r: in}
	ahead := bufio.NewReaderSize(c, 256<<10)
	first, err := ahead.Peek(headBytes)
	if err != nil && err != io.EOF {
		return err
	}
	digest := sha256.Sum256(first)
	now := fileNote{File: f.name, Head: hex.EncodeToString(digest[:8]), Size: f.size}
	if from.Head != now.Head || f.size < from.Size {
		from = fileNote{} // it is another file by the same name
	}
	if from.Done && f.size > 0 && from.Size == f.size {
		b.stored += f.size
		b.run.skipped.Add(f.size)
		return nil
	}
	text, free, packed, err := unpacked(ahead, first)
	if err != nil {
		return err
	}
	defer free()
	if from.Offset > 0 {
		if !packed && f.size > 0 {
			if c.n, err = in.Seek(from.Offset, io.SeekStart); err != nil {
				return err
			}
			ahead.Reset(c)
		} else if _, err := io.CopyN(io.Discard, text, from.Offset); err != nil {
			return fmt.Errorf("go on at byte %d, unpacked: %w", from.Offset, err)
		}
		b.run.skipped.Add(c.n)
	}
	s := &splitter{r: text, offset: from.Offset}
	if f.size == 0 {
		s.waits = func() { b.flush(false) }
	}
	now.Offset = from.Offset
	for b.ctx.Err() == nil {
		record, err := s.next()
		if errors.Is(err, errTooLarge) {
			b.run.tooLarge.Add(1)
			fmt.Fprintf(b.run.err, "sesame: %s: a record at byte %d has more than %d bytes and is left out\n", f.path, s.begin, largestRecord)
			continue
		}
		if err == io.EOF {
			now.Offset, now.Done = s.passed(), true
			b.add(nil, now, f.size)
			b.stored += f.size
			return nil
		}
		if err != nil {
			b.stored += f.size
			return fmt.Errorf("read on at byte %d, unpacked: %w", s.offset, err)
		}
		now.Offset = s.passed()
		b.add(record, now, min(c.n, f.size))
	}
	return b.ctx.Err()
}

// add adds a record, and how far its file has been read when that is stored.
func (b *batcher) add(record []byte, now fileNote, stored int64) {
	if len(b.next.body)+len(record)+1 > requestBytes || b.next.records >= requestRecords {
		b.flush(true)
	}
	n := &b.next
	if len(record) > 0 {
		if n.body == nil {
			select {
			case n.body = <-b.run.free:
			default:
				n.body = make([]byte, 0, requestBytes)
			}
		}
		at := len(n.body)
		n.body = append(append(n.body, record...), '\n')
		for i, c := range record {
			if c == '\n' || c == '\r' { // between members: a record becomes one line
				n.body[at+i] = ' '
			}
		}
		n.records++
	}
	n.stored = b.stored + stored
	if last := len(n.notes) - 1; last >= 0 && n.notes[last].File == now.File {
		n.notes[last] = now
	} else {
		n.notes = append(n.notes, now)
	}
}

// flush has what was read sent, as soon as somebody can, or if somebody can now.
func (b *batcher) flush(wait bool) {
	if len(b.next.notes) == 0 {
		return
	}
	if wait {
		select {
		case b.run.batches <- b.next:
		case <-b.ctx.Done():
		}
	} else {
		select {
		case b.run.batches <- b.next:
		default:
			return
		}
	}
	b.next = batch{number: b.next.number + 1}
}

// countedBytes counts what is read through it.
type countedBytes struct {
	r io.Reader
	n int64
}

func (c *countedBytes) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// unpacked gives what a file says; by how it begins, it is packed or not.
func unpacked(r io.Reader, first []byte) (text io.Reader, free func(), packed bool, err error) {
	switch {
	case bytes.HasPrefix(first, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, true, fmt.Errorf("unpack gzip: %w", err)
		}
		return z, func() { z.Close() }, true, nil
	case bytes.HasPrefix(first, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20)) // as zstd does
		if err != nil {
			return nil, nil, true, fmt.Errorf("unpack zstd: %w", err)
		}
		return z, z.Close, true, nil
	}
	return r, func() {}, false, nil
}

// errTooLarge is given for a record of more than largestRecord bytes.
var errTooLarge = errors.New("the record is too large")

// splitter takes text apart into records: JSON objects, whatever white space there
// is in them and whatever stands between them, and lines that are none. An object
// that does not end does so where the next line begins with another, so that one
// torn record takes none with it.
type splitter struct {
	r      io.Reader
	waits  func() // called before more is read; may be nil
	buf    []byte
	start  int   // of what of buf is not given out yet
	begin  int64 // where in the text the last record began
	offset int64 // where in the text buf[start] is
	ended  error
	torn   bool // the last record had no end: more of it may come
}

// passed is up to where in the text there are whole records.
func (s *splitter) passed() int64 {
	if s.torn {
		return s.begin
	}
	return s.offset
}

// next gives a record, until its next call.
func (s *splitter) next() ([]byte, error) {
	for {
		for s.start < len(s.buf) && strings.IndexByte(" \t\r\n,[]", s.buf[s.start]) >= 0 {
			s.take(1)
		}
		if s.start < len(s.buf) {
			break
		}
		if !s.more() {
			return nil, s.ended
		}
	}
	s.begin = s.offset
	n, err := s.length()
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(s.take(n), " \t\r\n"), nil
}

func (s *splitter) take(n int) []byte {
	s.start += n
	s.offset += int64(n)
	return s.buf[s.start-n : s.start]
}

// length finds the end of the record that begins at start.
func (s *splitter) length() (n int, err error) {
	object := s.buf[s.start] == '{'
	depth, text, escaped, line := 0, false, false, false
	for ; ; n++ {
		if n > largestRecord {
			return 0, s.leaveOut(n)
		}
		if s.start+n == len(s.buf) && !s.more() {
			if s.ended != io.EOF {
				return 0, s.ended // it may go on where this cannot be read
			}
			s.torn = true
			return n, nil
		}
		c := s.buf[s.start+n]
		switch {
		case !object:
			if c == '\n' {
				return n, nil
			}
		case escaped:
			if escaped = false; c == '\n' { // no text has one
				return n, nil
			}
		case text:
			switch c {
			case '\\':
				escaped = true
			case '"':
				text = false
			case '\n': // no text has one
				return n, nil
			}
		default:
			switch c {
			case '"':
				text = true
			case '{':
				if line {
					return n, nil
				}
				depth++
			case '}':
				if depth--; depth == 0 {
					if n == largestRecord {
						return 0, s.leaveOut(n + 1)
					}
					return n + 1, nil
				}
			}
			line = c == '\n'
		}
	}
}

// leaveOut passes over n bytes and the rest of the line.
func (s *splitter) leaveOut(n int) error {
	s.take(n)
	for {
		if end := bytes.IndexByte(s.buf[s.start:], '\n'); end >= 0 {
			s.take(end)
			return errTooLarge
		}
		s.take(len(s.buf) - s.start)
		if !s.more() {
			return errTooLarge
		}
	}
}

// more reads more of the text behind what there is.
func (s *splitter) more() bool {
	if s.ended != nil {
		return false
	}
	if s.waits != nil {
		s.waits()
	}
	s.buf = append(s.buf[:0], s.buf[s.start:]...)
	s.start = 0
	if cap(s.buf)-len(s.buf) < 64<<10 {
		larger := make([]byte, len(s.buf), 2*cap(s.buf)+256<<10)
		copy(larger, s.buf)
		s.buf = larger
	}
	for range 100 {
		n, err := s.r.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		s.ended = err
		if n > 0 || err != nil {
			return n > 0
		}
	}
	s.ended = io.ErrNoProgress
	return false
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
		select {
		case <-ctx.Done():
			return counts, ctx.Err()
		case <-time.After(max(after, pause/2+rand.N(pause))):
		}
	}
}

// ingestCounts is what the server answers.
type ingestCounts struct{ Added, Duplicates, Rejected int64 }

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

// progressSuffix is what the name of a state's file ends in.
const progressSuffix = ".sesame-progress"

// ingestState is what a server has taken, by the names of files. It is kept as
// lines, of which the last of each file counts, so that a crash costs one at most.
type ingestState struct {
	files map[string]fileNote // by name, from earlier runs
	file  *os.File            // nil when nothing is kept
	noted bool                // something was sent, now or before
}

// fileNote says how far a file was sent.
type fileNote struct {
	Server string `json:",omitempty"` // of the first line: whose files these are
	File   string `json:",omitempty"`
	Head   string `json:",omitempty"` // of how it begins, to tell it from another by its name
	Size   int64  `json:",omitempty"` // as stored, when it was opened
	Offset int64  `json:",omitempty"` // of the text that it holds, unpacked
	Done   bool   `json:",omitempty"` // there was no more
}

// headBytes is of how much of a file fileNote.Head is.
const headBytes = 512

// openState reads what earlier runs noted, and begins anew when that was of another
// server or is not wanted.
func (c ingestSend) openState(key string) (*ingestState, error) {
	s := &ingestState{files: map[string]fileNote{}}
	path := c.State
	if path == "" {
		if c.From == "-" || !c.Resume {
			return s, nil
		}
		path = filepath.Clean(c.From) + progressSuffix
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666&^userUmask)
	if err != nil {
		return nil, fmt.Errorf("note how far it is: %w: choose another place with --state, or --no-resume", err)
	}
	s.file = f
	fail := func(err error) (*ingestState, error) {
		return nil, errors.Join(fmt.Errorf("read how far it was from %s: %w", path, err), f.Close())
	}
	server := fmt.Sprintf("%s %s %s", c.Endpoint, c.Region, key)
	whole, lines := int64(0), bufio.NewReader(f)
	for first := true; c.Resume; first = false {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			break // and what does not end was cut off
		}
		if err != nil {
			return fail(err)
		}
		var n fileNote
		if err := json.Unmarshal(line, &n); err != nil {
			return fail(fmt.Errorf("%w: is it another program's?", err))
		}
		if first && n.Server != server {
			break
		}
		whole += int64(len(line))
		s.files[n.File] = n
	}
	if err := f.Truncate(whole); err != nil {
		return fail(err)
	}
	if _, err := f.Seek(whole, io.SeekStart); err != nil {
		return fail(err)
	}
	if whole == 0 {
		if err := s.note([]fileNote{{Server: server}}); err != nil {
			return fail(err)
		}
	}
	s.noted = whole > 0
	return s, nil
}

// note notes what was acknowledged.
func (s *ingestState) note(notes []fileNote) error {
	if s.file == nil {
		return nil
	}
	var lines []byte
	for _, n := range notes {
		line, err := json.Marshal(n)
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	_, err := s.file.Write(lines)
	s.noted = true
	return err
}

// close ends the notes. The file stays for the next run when there is something in
// it.
func (s *ingestState) close() {
	if s.file == nil {
		return
	}
	s.file.Close()
	if !s.noted {
		os.Remove(s.file.Name())
	}
}

type ingestRejected struct {
	List  rejectedList  `cmd:"" help:"List them, newest first."`
	Show  rejectedShow  `cmd:"" help:"Print one as it came."`
	Retry rejectedRetry `cmd:"" help:"Try to read them again, after an update for instance. Those that can be read leave the list."`
}

type rejectedList struct {
	client
	Limit int `default:"100" help:"How many (${default}); 0 for all."`
}

// rejectedRecord is what ListRejectedRecords and GetRejectedRecord say of one.
type rejectedRecord struct {
	Id, Door, Reason, Record string
	ReceivedTimestamp        float64 // seconds since 1970
	Bytes                    int64
}

func (r rejectedRecord) received() string {
	return time.UnixMilli(int64(1000 * r.ReceivedTimestamp)).UTC().Format("2006-01-02 15:04:05Z")
}

// Run lists.
func (c rejectedList) Run(o output) error {
	ctx := context.Background()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	shown := 0
	for token := ""; ; {
		in := map[string]any{}
		if c.Limit > 0 {
			in["PageSize"] = min(c.Limit-shown, 1000)
		}
		if token != "" {
			in["NextToken"] = token
		}
		var page struct {
			Records   []rejectedRecord
			NextToken string
		}
		if err := sesame(ctx, cfg, "ListRejectedRecords", in, &page); err != nil {
			return c.kinder(err)
		}
		for _, r := range page.Records {
			fmt.Fprintf(o.out, "%s  %s  %-11s  %8d bytes  %s\n", r.Id, r.received(), r.Door, r.Bytes, r.Reason)
		}
		shown += len(page.Records)
		token = page.NextToken
		switch {
		case shown == 0:
			fmt.Fprintln(o.err, "There are no rejected records.")
			return nil
		case token == "":
			return nil
		case c.Limit > 0 && shown >= c.Limit:
			fmt.Fprintln(o.err, "There are more: --limit 0 lists all.")
			return nil
		}
	}
}

type rejectedShow struct {
	client
	ID string `arg:"" name:"ID" help:"As list says it."`
}

// Run shows.
func (c rejectedShow) Run(o output) error {
	ctx := context.Background()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	var r rejectedRecord
	if err := sesame(ctx, cfg, "GetRejectedRecord", map[string]any{"Id": c.ID}, &r); err != nil {
		return c.kinder(err)
	}
	fmt.Fprintf(o.err, "%s by the door %s: %s\n", r.received(), r.Door, r.Reason)
	_, err = fmt.Fprintln(o.out, strings.TrimRight(r.Record, "\n"))
	return err
}

type rejectedRetry struct {
	client
	IDs []string `arg:"" optional:"" name:"ID" help:"As list says them."`
	All bool     `help:"All of them."`
}

// retryAtOnce is how many ids the operation takes.
const retryAtOnce = 100

// Run tries again.
func (c rejectedRetry) Run(o output) error {
	if c.All == (len(c.IDs) > 0) {
		return usageError{errors.New("give the ids of records, or --all")}
	}
	ctx := context.Background()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	var sum ingestCounts
	for ids, more := c.IDs, true; more; {
		in := map[string]any{}
		if !c.All {
			n := min(len(ids), retryAtOnce)
			in["Ids"] = ids[:n]
			ids = ids[n:]
		}
		var a struct {
			ingestCounts
			More bool
		}
		if err := sesame(ctx, cfg, "RetryRejectedRecords", in, &a); err != nil {
			return c.kinder(err)
		}
		sum.Added, sum.Duplicates, sum.Rejected = sum.Added+a.Added, sum.Duplicates+a.Duplicates, sum.Rejected+a.Rejected
		more = c.All && a.More || len(ids) > 0
	}
	fmt.Fprintf(o.out, "%10d events are new\n%10d events were known\n%10d records still cannot be read\n", sum.Added, sum.Duplicates, sum.Rejected)
	return nil
}
