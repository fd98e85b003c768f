package objects_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sesame/internal/blobs"
	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/lists"
	"sesame/internal/metadb"
	"sesame/internal/objects"
	"sesame/internal/sigv4"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ann = lists.Owner{Account: "111111111111", Region: "us-east-1"}

const maxUpload = 100_000

// house is a Door on a real importer.Service on real stores.
type house struct {
	t       testing.TB
	ctx     context.Context
	db      *metadb.DB
	folder  *blobs.Folder
	imports *importer.Service
	door    *objects.Door
	url     string
	ids     atomic.Int64
	list    string

	mu       sync.Mutex
	now      time.Time
	log      bytes.Buffer
	audit    bytes.Buffer
	received []int64
	served   chan struct{} // one for each request that was served to its end
}

// Write is the log's.
func (h *house) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.Write(p)
}

func (h *house) logged() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.String()
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func newHouse(t testing.TB) *house {
	t.Helper()
	dir := t.TempDir()
	h := &house{t: t, ctx: context.Background(), now: time.Now(), served: make(chan struct{}, 1000)}
	var err error
	h.db, err = metadb.Open(h.ctx, filepath.Join(dir, "sesame.db"))
	h.must(err)
	h.folder, err = blobs.OpenFolder(filepath.Join(dir, "objects"))
	h.must(err)
	id := func(prefix string) string { return fmt.Sprintf("%s-%026d", prefix, h.ids.Add(1)) }
	log := slog.New(slog.NewTextHandler(h, nil))
	h.imports = &importer.Service{
		Store: h.db, Objects: h.folder, Config: importer.Config{Running: 100},
		Now: time.Now, NewID: id, Wake: func() {}, Log: log, Counted: func(_, _ int64) {},
	}
	h.door = &objects.Door{
		Credentials: sigv4.Credentials{AccessKeyID: "SESAME-OBJECTS", SecretAccessKey: "the secret of the door"}, Region: "us-east-1",
		Uploads: h.imports, MaxUpload: maxUpload, Idle: time.Minute, Slots: make(chan struct{}, 64), Downloads: make(chan struct{}, 2),
		NewID: func() string { return id("request") }, Log: log, Audit: slog.New(slog.NewJSONHandler(&h.audit, nil)),
		Now: func() time.Time {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.now
		},
		Received: func(n int64) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.received = append(h.received, n)
		},
	}
	h.list, err = h.db.CreateList(h.ctx, lists.List{Owner: ann, ID: id("al"), Name: "list", Created: h.now, Updated: h.now}, lists.ClientToken{}, 10)
	h.must(err)
	return h
}

// open opens the house for HTTP.
func open(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	server := httptest.NewUnstartedServer(h)
	server.Config.WriteTimeout = time.Minute // which ends the deadlines of the request before
	server.Start()
	h.setURL(server.URL)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.Close()
		h.close()
	})
	return h
}

func (h *house) setURL(text string) {
	u, err := url.Parse(text)
	h.must(err)
	h.url, h.door.PublicURL = text, u
}

func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() { h.served <- struct{}{} }()
	h.door.ServeHTTP(w, r)
}

func (h *house) close() {
	h.must(h.db.Close())
	if n := len(h.door.Slots) + len(h.door.Downloads); n != 0 {
		h.t.Errorf("%d slots are taken for good", n)
	}
	if log := h.logged(); strings.Contains(log, "X-Amz-Signature") || strings.Contains(log, "@") {
		h.t.Errorf("a signature or an address is in the log:\n%s", log)
	}
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

func (h *house) newJob() string {
	h.t.Helper()
	id, _, err := h.imports.Create(h.ctx, ann, importer.Order{ListID: h.list, Name: "job", Format: importfile.CSV, Mode: lists.Append}, lists.ClientToken{})
	h.must(err)
	return id
}

func (h *house) signed(job string) string { return h.door.UploadURL(job, h.door.Now()) }

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (h *house) send(method, to string, body io.Reader, header http.Header) answer {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.ctx, method, to, body)
	h.must(err)
	for name, values := range header {
		r.Header[name] = values
	}
	got, err := http.DefaultClient.Do(r)
	h.must(err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	h.must(err)
	<-h.served
	return answer{got.StatusCode, got.Header, string(text)}
}

func (h *house) put(to, body string, header http.Header) answer {
	h.t.Helper()
	return h.send(http.MethodPut, to, strings.NewReader(body), header)
}

// chunked is a body whose length the client does not know.
func chunked(body string) io.Reader { return struct{ io.Reader }{strings.NewReader(body)} }

// ok checks that a PUT was taken.
func (h *house) ok(a answer) {
	h.t.Helper()
	if a.status != http.StatusOK || a.body != "" || a.header.Get("X-Amz-Request-Id") == "" {
		h.t.Errorf("the answer is %d %q with request id %q", a.status, a.body, a.header.Get("X-Amz-Request-Id"))
	}
}

// refused checks an answer that is an error as S3 writes it.
func (h *house) refused(a answer, status int, code string) {
	h.t.Helper()
	var e struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		Resource  string
		RequestID string `xml:"RequestId"`
		Rest      []struct {
			XMLName xml.Name
		} `xml:",any"`
	}
	if err := xml.Unmarshal([]byte(a.body), &e); err != nil {
		h.t.Errorf("the answer %d is not XML: %v\n%s", a.status, err, a.body)
		return
	}
	if a.status != status || e.Code != code {
		h.t.Errorf("the answer is %d %s, want %d %s\n%s", a.status, e.Code, status, code, a.body)
	}
	if !strings.HasPrefix(a.body, xml.Header) || a.header.Get("Content-Type") != "application/xml" || e.Message == "" || len(e.Rest) > 0 ||
		!strings.HasPrefix(e.Resource, "/") || e.RequestID == "" || e.RequestID != a.header.Get("X-Amz-Request-Id") {
		h.t.Errorf("the error is not as S3 writes it: %v\n%s", a.header, a.body)
	}
	if strings.Contains(a.body, h.door.Credentials.SecretAccessKey) {
		h.t.Errorf("a secret is in the error\n%s", a.body)
	}
}

// holds checks what a job will import, and that no other upload is left.
func (h *house) holds(job, want string) {
	h.t.Helper()
	j, err := h.imports.Get(h.ctx, ann, job)
	h.must(err)
	if j.Size != int64(len(want)) {
		h.t.Errorf("the upload has a size of %d, want %d", j.Size, len(want))
	}
	r, err := h.folder.Open(h.ctx, j.Object)
	h.must(err)
	defer r.Close()
	got, err := io.ReadAll(r)
	h.must(err)
	if string(got) != want {
		h.t.Errorf("the upload is %.100q, want %.100q", got, want)
	}
	h.kept(1)
}

// kept checks how many uploads there are.
func (h *house) kept(want int) {
	h.t.Helper()
	n := 0
	h.must(h.folder.Each(h.ctx, func(string, time.Time) error { n++; return nil }))
	if n != want {
		h.t.Errorf("%d uploads are kept, want %d", n, want)
	}
}

func TestPut(t *testing.T) {
	h := open(t)
	job := h.newJob()
	to := h.signed(job)
	if h.signed(job) != to || h.signed(h.newJob()) == to {
		t.Error("the URL of a job is not always the same, or that of another is")
	}
	var bytes []int64
	long := strings.Repeat("0123456789", maxUpload/10) // just as long as it may be
	for _, body := range []string{"address\nann@example.com\n", "", "\x1f\x8b\x00", long} {
		h.ok(h.put(to, body, nil))
		h.holds(job, body)
		h.ok(h.send(http.MethodPut, to, chunked(body), nil))
		h.holds(job, body)
		bytes = append(bytes, int64(len(body)), int64(len(body)))
	}
	// What clients send beside it makes no difference.
	h.ok(h.put(to, "z@example.com\n", http.Header{"Content-Type": {"text/csv"}, "Content-Encoding": {"gzip"}, "X-Amz-Acl": {"private"}, "Expect": {"100-continue"}}))
	h.holds(job, "z@example.com\n")
	bytes = append(bytes, 14)
	if fmt.Sprint(h.received) != fmt.Sprint(bytes) {
		t.Errorf("Received was told %v, want %v", h.received, bytes)
	}
	if n := strings.Count(h.audit.String(), job); n != len(bytes) {
		t.Errorf("%d audit lines for %d uploads:\n%s", n, len(bytes), h.audit.String())
	}
	if strings.Contains(h.audit.String(), "X-Amz-Signature") {
		t.Errorf("a signature is in the audit log:\n%s", h.audit.String())
	}

	h.must(h.imports.Start(h.ctx, ann, job))
	h.refused(h.put(to, "late", nil), http.StatusConflict, "OperationAborted")
	h.holds(job, "z@example.com\n")
}

func TestGone(t *testing.T) {
	h := open(t)
	job := h.newJob()
	h.refused(h.put(h.signed("job-00000000000000000000000000"), "x", nil), http.StatusNotFound, "NoSuchKey")
	objects, err := h.db.DeleteList(h.ctx, ann, h.list)
	h.must(err)
	if len(objects) != 0 {
		t.Fatalf("nothing was uploaded, and DeleteList gave %v", objects)
	}
	h.refused(h.put(h.signed(job), "x", nil), http.StatusNotFound, "NoSuchKey")
	h.kept(0)
}

// Start that comes while an upload is on its way takes the upload before it.
func TestStartOvertakes(t *testing.T) {
	h := open(t)
	job := h.newJob()
	h.ok(h.put(h.signed(job), "first", nil))
	body, w := io.Pipe()
	go func() {
		io.WriteString(w, "sec")
		h.must(h.imports.Start(h.ctx, ann, job))
		io.WriteString(w, "ond")
		w.Close()
	}()
	h.refused(h.send(http.MethodPut, h.signed(job), body, nil), http.StatusConflict, "OperationAborted")
	h.holds(job, "first")
}

// The check values are those of the CRC catalogue, RFC 1321, RFC 3174 and FIPS
// 180-4 implementations for the text "123456789".
func TestChecksums(t *testing.T) {
	h := open(t)
	job := h.newJob()
	const body = "123456789"
	right := http.Header{}
	for _, sum := range []struct{ header, check string }{
		{"Content-Md5", "25f9e794323b453885f5181f1b624d0b"},
		{"X-Amz-Checksum-Crc32", "cbf43926"},
		{"X-Amz-Checksum-Crc32c", "e3069283"},
		{"X-Amz-Checksum-Crc64nvme", "ae8b14860a799888"},
		{"X-Amz-Checksum-Sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"},
		{"X-Amz-Checksum-Sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"},
	} {
		value, err := hex.DecodeString(sum.check)
		h.must(err)
		b64 := base64.StdEncoding.EncodeToString(value)
		right.Set(sum.header, b64)
		with := func(value string) http.Header { return http.Header{sum.header: {value}} }
		for _, length := range []string{"known", "unknown"} {
			send := func(header http.Header, body string) answer {
				if length == "unknown" {
					return h.send(http.MethodPut, h.signed(job), chunked(body), header)
				}
				return h.put(h.signed(job), body, header)
			}
			h.ok(send(nil, "before"))
			h.refused(send(with(b64), "123456780"), http.StatusBadRequest, "BadDigest")
			h.refused(send(with(b64), ""), http.StatusBadRequest, "BadDigest")
			for _, malformed := range []string{"!", sum.check, b64[:len(b64)-1], base64.StdEncoding.EncodeToString(value[1:]), base64.StdEncoding.EncodeToString(append(value, 0)), strings.TrimRight(b64, "=") + "*"} {
				h.refused(send(with(malformed), body), http.StatusBadRequest, "InvalidDigest")
			}
			h.holds(job, "before")
			h.ok(send(with(b64), body))
			h.holds(job, body)
		}
	}
	h.ok(h.put(h.signed(job), body, right)) // all at once
	h.ok(h.put(h.signed(job), "before", nil))
	right.Set("X-Amz-Checksum-Crc32", base64.StdEncoding.EncodeToString([]byte{0, 0, 0, 0}))
	h.refused(h.put(h.signed(job), body, right), http.StatusBadRequest, "BadDigest")
	h.holds(job, "before")
}

func TestTooLarge(t *testing.T) {
	h := open(t)
	job := h.newJob()
	h.ok(h.put(h.signed(job), "before", nil))
	long := strings.Repeat("x", maxUpload+1)
	h.refused(h.put(h.signed(job), long, nil), http.StatusBadRequest, "EntityTooLarge")
	h.refused(h.send(http.MethodPut, h.signed(job), chunked(long), nil), http.StatusBadRequest, "EntityTooLarge")
	h.holds(job, "before")

	// What says that it is too large is refused before any of it has come.
	c := h.raw(h.signed(job), fmt.Sprintf("Content-Length: %d", maxUpload+1), "")
	h.refused(h.read(c), http.StatusBadRequest, "EntityTooLarge")
	c.Close()
	<-h.served

	// What never ends is not read to its end.
	body, w := io.Pipe()
	stopped := make(chan int)
	go func() {
		n := 0
		for {
			wrote, err := w.Write(make([]byte, 64<<10))
			if n += wrote; err != nil || n > 64<<20 {
				w.Close()
				stopped <- n
				return
			}
		}
	}()
	r, err := http.NewRequestWithContext(h.ctx, http.MethodPut, h.signed(job), body)
	h.must(err)
	if got, err := http.DefaultClient.Do(r); err == nil { // or the connection was cut while the client wrote
		text, _ := io.ReadAll(got.Body)
		got.Body.Close()
		h.refused(answer{got.StatusCode, got.Header, string(text)}, http.StatusBadRequest, "EntityTooLarge")
	}
	if n := <-stopped; n > 64<<20 {
		t.Error("an upload without end was read on and on")
	}
	<-h.served
	h.holds(job, "before")
}

func TestTime(t *testing.T) {
	h := open(t)
	job := h.newJob()
	to := h.signed(job)
	h.pass(-14 * time.Minute) // the clock of whoever signed may be ahead
	h.ok(h.put(to, "ahead", nil))
	h.pass(-2 * time.Minute)
	h.refused(h.put(to, "too far ahead", nil), http.StatusForbidden, "AccessDenied")
	h.pass(16*time.Minute + 12*time.Hour - 2*time.Second)
	h.ok(h.put(to, "last", nil))
	h.pass(4 * time.Second)
	h.refused(h.put(to, "expired", nil), http.StatusForbidden, "AccessDenied")
	h.holds(job, "last")
	h.ok(h.put(h.signed(job), "signed anew", nil))
}

func TestRefusals(t *testing.T) {
	h := open(t)
	job, other := h.newJob(), h.newJob()
	to := h.signed(job)
	h.ok(h.put(to, "before", nil))
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		a := h.send(method, to, nil, nil)
		h.refused(a, http.StatusMethodNotAllowed, "MethodNotAllowed")
		if a.header.Get("Allow") != http.MethodPut {
			t.Errorf("%s: Allow is %q", method, a.header.Get("Allow"))
		}
	}
	if a := h.send(http.MethodHead, to, nil, nil); a.status != http.StatusMethodNotAllowed || a.body != "" {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}

	path, query, _ := strings.Cut(strings.TrimPrefix(to, h.url), "?")
	signature := query[strings.LastIndex(query, "=")+1:]
	for _, bad := range []struct {
		name, path, query string
		status            int
		code              string
	}{
		{"another job", strings.Replace(path, job, other, 1), query, 403, "SignatureDoesNotMatch"},
		{"another job, escaped", strings.Replace(path, job, "%6Aob-", 1), query, 403, "SignatureDoesNotMatch"},
		{"a parameter more", path, query + "&x=1", 403, "SignatureDoesNotMatch"},
		{"a longer life", path, strings.Replace(query, "Expires=43200", "Expires=604800", 1), 403, "SignatureDoesNotMatch"},
		{"another signature", path, strings.Replace(query, signature, strings.Repeat("0", 64), 1), 403, "SignatureDoesNotMatch"},
		{"no signature's value", path, strings.Replace(query, signature, "", 1), 403, "SignatureDoesNotMatch"},
		{"no signature", path, query[:strings.LastIndex(query, "&")], 400, "AuthorizationQueryParametersError"},
		{"a life without end", path, strings.Replace(query, "Expires=43200", "Expires=99999999", 1), 400, "AuthorizationQueryParametersError"},
		{"another region", path, strings.Replace(query, "us-east-1", "eu-west-1", 1), 400, "AuthorizationQueryParametersError"},
		{"another key", path, strings.Replace(query, "SESAME-OBJECTS", "AKIDEXAMPLE", 1), 403, "InvalidAccessKeyId"},
		{"nothing signed", path, "", 403, "AccessDenied"},
		{"no job", "/objects/imports/", query, 404, "NoSuchKey"},
		{"no imports", "/objects/exports/x", query, 404, "NoSuchKey"},
		{"a folder more", path + "/x", query, 404, "NoSuchKey"},
		{"another folder", "/objects/imports/../imports/" + job, query, 404, "NoSuchKey"},
		{"what XML must escape", "/objects/%3C&%22%3E%00%ff/x", query, 404, "NoSuchKey"},
	} {
		if bad.path+"?"+bad.query == path+"?"+query {
			t.Fatalf("%s: nothing was changed", bad.name)
		}
		r, err := http.NewRequestWithContext(h.ctx, http.MethodPut, h.url, strings.NewReader("x"))
		h.must(err)
		r.URL.Opaque, r.URL.RawQuery = "//"+r.URL.Host+bad.path, bad.query // as it is, not cleaned
		got, err := http.DefaultClient.Do(r)
		h.must(err)
		text, err := io.ReadAll(got.Body)
		h.must(err)
		got.Body.Close()
		<-h.served
		before := t.Failed()
		h.refused(answer{got.StatusCode, got.Header, string(text)}, bad.status, bad.code)
		if t.Failed() && !before {
			t.Fatalf("that was: %s", bad.name)
		}
	}

	// A name for the server that it was not signed for.
	r, err := http.NewRequestWithContext(h.ctx, http.MethodPut, to, strings.NewReader("x"))
	h.must(err)
	r.Host = "elsewhere.example"
	got, err := http.DefaultClient.Do(r)
	h.must(err)
	got.Body.Close()
	<-h.served
	if got.StatusCode != http.StatusForbidden {
		t.Errorf("with another Host: %d", got.StatusCode)
	}

	for _, encoding := range [][]string{{"aws-chunked"}, {"AWS-Chunked"}, {"gzip,aws-chunked"}, {"aws-chunked, gzip"}, {"gzip", "aws-chunked"}} {
		h.refused(h.put(to, "5;chunk-signature=0\r\n", http.Header{"Content-Encoding": encoding}), http.StatusNotImplemented, "NotImplemented")
	}
	h.refused(h.put(to, "5;chunk-signature=0\r\n", http.Header{"X-Amz-Content-Sha256": {"STREAMING-UNSIGNED-PAYLOAD-TRAILER"}}), http.StatusNotImplemented, "NotImplemented")
	h.holds(job, "before")
}

// watched tells when an upload is past the checks and about to be read.
type watched struct {
	*importer.Service
	begun chan string // the job
}

func (w watched) Upload(ctx context.Context, jobID string, body io.Reader, check func(int64) error) error {
	w.begun <- jobID
	return w.Service.Upload(ctx, jobID, body, check)
}

func TestSlots(t *testing.T) {
	h := open(t)
	job, other := h.newJob(), h.newJob()
	h.door.Slots = make(chan struct{}, 1)
	begun := make(chan string, 10)
	h.door.Uploads = watched{h.imports, begun}
	body, w := io.Pipe()
	done := make(chan answer)
	go func() { done <- h.send(http.MethodPut, h.signed(job), body, nil) }()
	<-begun
	h.refused(h.put(h.signed(other), "x", nil), http.StatusServiceUnavailable, "SlowDown")
	w.Close()
	h.ok(<-done)
	h.ok(h.put(h.signed(other), "x", nil))
}

// broken is a Service in trouble.
type broken struct{ err error }

func (b broken) Upload(context.Context, string, io.Reader, func(int64) error) error { return b.err }

func TestTrouble(t *testing.T) {
	h := open(t)
	h.door.Uploads = broken{errors.New("the disk /secret/path is full")}
	a := h.put(h.signed(h.newJob()), "x", nil)
	h.refused(a, http.StatusInternalServerError, "InternalError")
	if strings.Contains(a.body, "secret") || !strings.Contains(h.logged(), "/secret/path is full") || !strings.Contains(h.logged(), a.header.Get("X-Amz-Request-Id")) {
		t.Errorf("the client is told %s\nthe log says %s", a.body, h.logged())
	}
}

// raw sends the beginning of a PUT on a connection of its own.
func (h *house) raw(to, header, body string) net.Conn {
	h.t.Helper()
	u, err := url.Parse(to)
	h.must(err)
	c, err := net.Dial("tcp", u.Host)
	h.must(err)
	_, err = fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n%s", u.RequestURI(), u.Host, header, body)
	h.must(err)
	return c
}

// read reads the answer on a connection.
func (h *house) read(c net.Conn) answer {
	h.t.Helper()
	got, err := http.ReadResponse(bufio.NewReader(c), nil)
	h.must(err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	h.must(err)
	if got.Close {
		got.Header.Set("Connection", "close") // which ReadResponse took out
	}
	return answer{got.StatusCode, got.Header, string(text)}
}

func TestAborted(t *testing.T) {
	h := open(t)
	job := h.newJob()
	for n, before := range []string{"", "before"} {
		if before != "" {
			h.ok(h.put(h.signed(job), before, nil))
		}
		for _, abort := range []struct{ header, body string }{
			{"Content-Length: 1000", strings.Repeat("x", 999)},
			{"Content-Length: 1000", ""},
			{"Transfer-Encoding: chunked", "5\r\nhello\r\n"},
			{"Transfer-Encoding: chunked", "5\r\nhel"},
			{"Transfer-Encoding: chunked", "zz\r\nhello"},
		} {
			c := h.raw(h.signed(job), abort.header, abort.body)
			h.must(c.(*net.TCPConn).CloseWrite()) // and reads on, to see what it is told
			a := h.read(c)
			c.Close()
			<-h.served
			h.refused(a, http.StatusBadRequest, "IncompleteBody")
			if n == 0 {
				h.kept(0)
			} else {
				h.holds(job, before)
			}
			c = h.raw(h.signed(job), abort.header, abort.body)
			c.Close() // and is gone
			<-h.served
			h.kept(n)
		}
	}
}

// One that tries again means the new upload.
func TestAnotherUpload(t *testing.T) {
	h := open(t)
	job := h.newJob()
	begun := make(chan string, 10)
	h.door.Uploads = watched{h.imports, begun}
	body, w := io.Pipe()
	defer w.Close()
	done := make(chan answer)
	go func() { done <- h.send(http.MethodPut, h.signed(job), body, nil) }()
	<-begun
	io.WriteString(w, "first")
	h.ok(h.put(h.signed(job), "second", nil))
	first := <-done
	h.refused(first, http.StatusConflict, "OperationAborted")
	h.holds(job, "second")
}

// slow is a Service whose first upload takes until it is let go, after its last
// byte or after it was kept.
type slow struct {
	watched
	first *atomic.Bool // it has come
	kept  bool
	letGo chan struct{}
}

func (s slow) Upload(ctx context.Context, jobID string, body io.Reader, check func(int64) error) error {
	wait := func() {
		if s.first.CompareAndSwap(false, true) {
			s.begun <- jobID
			<-s.letGo
		}
	}
	err := s.Service.Upload(ctx, jobID, body, func(n int64) error {
		if !s.kept {
			wait()
		}
		return check(n)
	})
	wait()
	return err
}

// An upload whose place is taken after its last byte is kept or refused, and the
// next request on its connection does not suffer for it.
func TestAnotherUploadAfterTheLastByte(t *testing.T) {
	for _, kept := range []bool{false, true} {
		h := open(t)
		job, other := h.newJob(), h.newJob()
		s := slow{watched{h.imports, make(chan string, 10)}, &atomic.Bool{}, kept, make(chan struct{})}
		h.door.Uploads = s
		c := h.raw(h.signed(job), "Content-Length: 5", "first")
		defer c.Close()
		<-s.begun
		h.ok(h.put(h.signed(job), "second", nil))
		close(s.letGo)
		a := h.read(c)
		<-h.served
		if !kept {
			h.refused(a, http.StatusConflict, "OperationAborted")
			h.holds(job, "second")
			continue
		}
		h.ok(a)
		h.holds(job, "second")
		if a.header.Get("Connection") == "close" {
			continue
		}
		u, err := url.Parse(h.signed(other))
		h.must(err)
		_, err = fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 4\r\n\r\nnext", u.RequestURI(), u.Host)
		h.must(err)
		h.ok(h.read(c))
		<-h.served
	}
}

func TestManyUploads(t *testing.T) {
	h := open(t)
	job := h.newJob()
	to := h.signed(job)
	var all sync.WaitGroup
	var mu sync.Mutex
	taken := map[string]bool{}
	for n := range 16 {
		all.Go(func() {
			body := strings.Repeat(string(rune('a'+n)), 50_000)
			r, err := http.NewRequestWithContext(h.ctx, http.MethodPut, to, strings.NewReader(body))
			h.must(err)
			got, err := http.DefaultClient.Do(r)
			if err != nil {
				return // refused, and the connection cut, while the client wrote
			}
			defer got.Body.Close()
			text, err := io.ReadAll(got.Body)
			h.must(err)
			if got.StatusCode == http.StatusOK {
				mu.Lock()
				defer mu.Unlock()
				taken[body] = true
				return
			}
			h.refused(answer{got.StatusCode, got.Header, string(text)}, http.StatusConflict, "OperationAborted")
		})
	}
	all.Wait()
	j, err := h.imports.Get(h.ctx, ann, job)
	h.must(err)
	r, err := h.folder.Open(h.ctx, j.Object)
	h.must(err)
	defer r.Close()
	got, err := io.ReadAll(r)
	h.must(err)
	if !taken[string(got)] {
		t.Errorf("the job holds %.10q..., which is none of the %d that were taken", got, len(taken))
	}
	h.kept(1)
}

// pipes is a listener whose connections are in memory, so that their deadlines
// are of a bubble's clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// bubble runs a test on a house whose connections and clock are a bubble's.
func bubble(t *testing.T, name string, run func(h *house, client net.Conn)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			defer h.close()
			h.setURL("http://sesame.test")
			listener := pipes{make(chan net.Conn), make(chan struct{})}
			server := &http.Server{Handler: h, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute}
			ended := make(chan error)
			go func() { ended <- server.Serve(listener) }()
			client, conn := net.Pipe()
			listener.conns <- conn
			run(h, client)
			client.Close()
			server.Close()
			<-ended
		})
	})
}

// However long the store takes to make an upload durable, its client is told.
func TestSlowStore(t *testing.T) {
	bubble(t, "after a slow upload", func(h *house, client net.Conn) {
		s := slow{watched{h.imports, make(chan string, 10)}, &atomic.Bool{}, false, make(chan struct{})}
		h.door.Uploads = s
		job := h.newJob()
		u, err := url.Parse(h.signed(job))
		h.must(err)
		go func() {
			fmt.Fprintf(client, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 10\r\n\r\n", u.RequestURI(), u.Host)
			time.Sleep(59 * time.Second)
			io.WriteString(client, "0123456789")
			<-s.begun
			time.Sleep(3 * time.Minute)
			close(s.letGo)
		}()
		h.ok(h.read(client))
		<-h.served
		h.holds(job, "0123456789")
	})
}

// An upload that sends nothing for Idle is given up, and one that sends too
// little; one that is merely slow is not.
func TestIdle(t *testing.T) {
	for _, test := range []struct {
		name    string
		piece   int // bytes
		every   time.Duration
		pieces  int // before it falls silent
		refused string
		after   time.Duration // at most
	}{
		{"silent from the beginning", 0, 0, 0, "RequestTimeout", 61 * time.Second},
		{"falls silent", 2_000, time.Second / 10, 20, "RequestTimeout", 63 * time.Second},
		{"a trickle", 1, time.Second, 10_000, "RequestTimeout", 62 * time.Second},
		{"slow", 3_000, time.Second / 4, 33, "", 10 * time.Second},
		{"with pauses", 30_000, 50 * time.Second, 1, "", 60 * time.Second},
	} {
		bubble(t, test.name, func(h *house, client net.Conn) {
			job := h.newJob()
			size := test.piece * test.pieces
			if test.refused != "" {
				size++
			}
			u, err := url.Parse(h.signed(job))
			h.must(err)
			begin := time.Now()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				fmt.Fprintf(client, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", u.RequestURI(), u.Host, size)
				for range test.pieces {
					time.Sleep(test.every)
					if _, err := client.Write(make([]byte, test.piece)); err != nil {
						return
					}
				}
			}()
			a := h.read(client)
			if took := time.Since(begin); took > test.after {
				h.t.Errorf("it took %v, want at most %v", took, test.after)
			}
			if test.refused == "" {
				h.ok(a)
				h.kept(1)
			} else {
				h.refused(a, http.StatusBadRequest, test.refused)
				h.kept(0)
			}
			client.Close()
			<-sent
			<-h.served
		})
	}
}
