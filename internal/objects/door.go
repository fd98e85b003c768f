// Package objects is the door for pre-signed URLs, under /objects/: where the
// file of an import job is uploaded, and where the list of its refused lines, the
// members of an address list and the files of an export job are fetched. It speaks as Amazon S3 does, errors
// included.
//
// It promises that a 200 to an upload means that the whole file is durable and
// will be what Start imports, and that anything else changed nothing; and that a
// download is whole, or breaks off so that the client sees it.
//
// It may import sigv4, importer and exporter.
package objects

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"sesame/internal/exporter"
	"sesame/internal/importer"
	"sesame/internal/sigv4"
)

// Door answers under /objects/. Fill in what is exported.
type Door struct {
	PublicURL   *url.URL          // what URLs start with: scheme and host
	Credentials sigv4.Credentials // Sesame's own, of no use for the API
	Region      string
	Uploads     interface {
		// Upload is importer.Service's.
		Upload(ctx context.Context, jobID string, body io.Reader, check func(size int64) error) error
	}
	// Refused is importer.Service's.
	Refused func(ctx context.Context, jobID string) (io.ReadCloser, error)
	// Exported gives a file of an export job by its name. exporter.ErrNotFound.
	Exported func(ctx context.Context, jobID, file string) (exporter.File, io.ReadSeekCloser, error)
	// Members calls do for every member of an account's list as it is shown, in order
	// of key; address is do's until it returns. An error of do's ends it and is
	// given. found is false, and do not called, when there is no such list.
	Members   func(ctx context.Context, account, listID string, do func(address []byte) error) (found bool, err error)
	MaxUpload int64         // bytes
	Idle      time.Duration // an upload that sends nothing, or a download that takes nothing, for so long is given up
	Slots     chan struct{} // one for each upload that may run at once
	Downloads chan struct{} // one for each download that may run at once
	Now       func() time.Time
	NewID     func() string
	Log       *slog.Logger
	Audit     *slog.Logger      // one line for each upload that was kept and each download of members
	Received  func(bytes int64) // told of each upload that was kept

	mu      sync.Mutex
	running map[string]*upload // by job
}

const (
	imports   = "/objects/imports/"
	refused   = "/objects/refused/"
	members   = "/objects/members/"
	exports   = "/objects/exports/"
	urlLife   = 12 * time.Hour
	clockSkew = 15 * time.Minute
)

func (d *Door) scope() sigv4.Scope { return sigv4.Scope{Region: d.Region, Service: "s3"} }

// UploadURL is a URL to which the file of an import job can be PUT for 12 hours
// from the time it is signed at. For the same time it is the same URL.
func (d *Door) UploadURL(jobID string, at time.Time) string {
	u := *d.PublicURL
	u.Path = imports + jobID
	return sigv4.Presign(http.MethodPut, &u, d.Credentials, d.scope(), at, urlLife)
}

// refusal is an error as S3 writes it.
type refusal struct {
	XMLName   xml.Name `xml:"Error"`
	Status    int      `xml:"-"`
	Code      string
	Message   string
	Resource  string
	RequestID string `xml:"RequestId"`
}

func (r *refusal) Error() string { return r.Code + ": " + r.Message }

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := d.Now()
	id := d.NewID()
	w.Header().Set("X-Amz-Request-Id", id)
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				d.Log.Error("panic", "request_id", id, "panic", p, "stack", string(debug.Stack()))
			}
			panic(http.ErrAbortHandler) // the client sees the connection break off
		}
	}()
	download := strings.HasPrefix(r.URL.Path, refused) || strings.HasPrefix(r.URL.Path, members) || strings.HasPrefix(r.URL.Path, exports)
	if download && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		d.get(w, r, id)
		return
	}
	jobID, size, err := d.put(w, r)
	code := "OK"
	var refused *refusal
	switch {
	case err == nil:
		w.WriteHeader(http.StatusOK)
		d.Received(size)
		source, _, _ := net.SplitHostPort(r.RemoteAddr)
		d.Audit.Info("upload", "request_id", id, "job", jobID, "bytes", size, "source", source)
	case errors.As(err, &refused):
	case r.Context().Err() != nil: // the client has gone; a store may say so in its own words
		refused = &refusal{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable",
			Message: "The request was given up before it was answered. Nothing was kept; try again."}
	default:
		d.Log.Error("upload failed", "request_id", id, "error", err)
		refused = &refusal{Status: http.StatusInternalServerError, Code: "InternalError",
			Message: "Something went wrong inside the server; its log says what under this request id. Nothing was kept; try again."}
	}
	if refused != nil {
		code = refused.Code
		refused.write(w, r, id)
	}
	d.Log.Info("upload", "request_id", id, "job", jobID, "code", code, "bytes", size, "ms", d.Now().Sub(start).Milliseconds())
}

func (e *refusal) write(w http.ResponseWriter, r *http.Request, id string) {
	e.Resource, e.RequestID = r.URL.Path, id
	w.Header().Del("Content-Disposition")
	w.Header().Set("Content-Type", "application/xml")
	// What is left of the body is not read, however much it is.
	w.Header().Set("Connection", "close")
	w.WriteHeader(e.Status)
	if r.Method != http.MethodHead {
		io.WriteString(w, xml.Header)
		xml.NewEncoder(w).Encode(e)
	}
}

// put takes an upload. jobID is "" until the signature has shown that it is one
// and not something that should not be in a log.
func (d *Door) put(w http.ResponseWriter, r *http.Request) (jobID string, size int64, err error) {
	named, ok := strings.CutPrefix(r.URL.Path, imports)
	if !ok || named == "" || strings.Contains(named, "/") {
		return "", 0, &refusal{Status: http.StatusNotFound, Code: "NoSuchKey", Message: "The specified key does not exist."}
	}
	if r.Method != http.MethodPut {
		w.Header().Set("Allow", http.MethodPut)
		return "", 0, &refusal{Status: http.StatusMethodNotAllowed, Code: "MethodNotAllowed", Message: "The URL is signed for PUT and for nothing else."}
	}
	if err := sigv4.VerifyPresigned(r, d.Credentials, d.scope(), d.Now(), clockSkew); err != nil {
		return "", 0, notSigned(err)
	}
	jobID = named
	// Names of codings have no case (RFC 9110, section 8.4.1); clients give either
	// header, or both.
	encoding := strings.ToLower(strings.Join(r.Header.Values("Content-Encoding"), ","))
	if strings.Contains(encoding, "aws-chunked") || strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return jobID, 0, &refusal{Status: http.StatusNotImplemented, Code: "NotImplemented",
			Message: "The aws-chunked encoding is not one that this URL takes. Send the file as it is; HTTP's own chunked transfer is fine."}
	}
	tooLarge := &refusal{Status: http.StatusBadRequest, Code: "EntityTooLarge",
		Message: fmt.Sprintf("The upload exceeds the %d bytes that it may have.", d.MaxUpload)}
	if r.ContentLength > d.MaxUpload {
		return jobID, 0, tooLarge
	}
	sums, err := checksums(r.Header)
	if err != nil {
		return jobID, 0, err
	}
	select {
	case d.Slots <- struct{}{}:
		defer func() { <-d.Slots }()
	default:
		return jobID, 0, &refusal{Status: http.StatusServiceUnavailable, Code: "SlowDown", Message: "As many uploads as may run at once are running. Try again."}
	}

	u := &upload{body: r.Body, left: d.MaxUpload, tooLarge: tooLarge, idle: d.Idle, begun: time.Now(), control: http.NewResponseController(w)}
	d.begin(jobID, u)
	defer d.end(jobID, u) // also if Upload panics
	body := io.Reader(u)
	for _, s := range sums {
		body = io.TeeReader(body, s.hash)
	}
	err = d.Uploads.Upload(r.Context(), jobID, body, func(n int64) error {
		size = n
		for _, s := range sums {
			if err := s.check(); err != nil {
				return err
			}
		}
		return nil
	})
	d.end(jobID, u) // from here on nobody gives it up
	if u.givenUp {
		// What it was given up by would end the connection's next request too.
		w.Header().Set("Connection", "close")
	}
	// Making it durable may have taken longer than the deadlines allow for.
	u.control.SetWriteDeadline(time.Now().Add(d.Idle)) // or the client is gone, and the upload kept all the same
	switch {
	case errors.Is(err, importer.ErrNotFound):
		err = &refusal{Status: http.StatusNotFound, Code: "NoSuchKey", Message: "The import job does not exist any more."}
	case errors.Is(err, importer.ErrStarted):
		err = &refusal{Status: http.StatusConflict, Code: "OperationAborted", Message: "The import job was started, and takes no upload any more."}
	case err != nil:
		if taken := u.arm(); errors.As(taken, new(*refusal)) {
			err = taken // given up after its last byte, which ended the request's context
		}
	}
	return jobID, size, err
}

func notSigned(err error) error {
	var refused *sigv4.Error
	if !errors.As(err, &refused) {
		return err
	}
	status := http.StatusForbidden
	if refused.Code == "AuthorizationQueryParametersError" {
		status = http.StatusBadRequest
	}
	return &refusal{Status: status, Code: refused.Code, Message: refused.Message}
}

// begin makes u the upload of its job. One that runs already is given up: a
// client that tries again means the new one, and a URL gets one place, not all.
func (d *Door) begin(jobID string, u *upload) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running == nil {
		d.running = map[string]*upload{}
	}
	if earlier := d.running[jobID]; earlier != nil {
		earlier.giveUp()
	}
	d.running[jobID] = u
}

func (d *Door) end(jobID string, u *upload) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running[jobID] == u {
		delete(d.running, jobID)
	}
}

// leastRate is what an upload must bring, in bytes a second, once it has run for
// as long as it may be idle.
const leastRate = 10_000

// upload is a request's body, with an end to its length, to its silences and to
// its slowness.
type upload struct {
	body     io.Reader
	left     int64
	tooLarge error
	idle     time.Duration
	begun    time.Time
	came     int64 // bytes so far
	control  *http.ResponseController

	mu      sync.Mutex
	givenUp bool
}

// giveUp ends the upload, also while it waits for bytes.
func (u *upload) giveUp() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.givenUp = true
	u.control.SetReadDeadline(time.Now()) // a connection that cannot be told is gone
}

// arm sets the deadlines of the next read, about the real clock, whatever Now says.
func (u *upload) arm() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.givenUp {
		return &refusal{Status: http.StatusConflict, Code: "OperationAborted", Message: "Another upload to the same URL took the place of this one. Nothing of this one was kept."}
	}
	now := time.Now()
	by := now.Add(u.idle)
	if slow := u.begun.Add(u.idle + time.Duration(u.came)*time.Second/leastRate); slow.Before(by) {
		by = slow
	}
	if err := u.control.SetReadDeadline(by); err != nil {
		return fmt.Errorf("set the read deadline: %w", err)
	}
	if err := u.control.SetWriteDeadline(now.Add(2 * u.idle)); err != nil {
		return fmt.Errorf("set the write deadline: %w", err)
	}
	return nil
}

func (u *upload) Read(p []byte) (int, error) {
	if err := u.arm(); err != nil {
		return 0, err
	}
	n, err := u.body.Read(p)
	u.came += int64(n)
	if u.left -= int64(n); u.left < 0 {
		return n, u.tooLarge
	}
	if err == nil || err == io.EOF {
		return n, err
	}
	if late := u.arm(); late != nil {
		return n, late // given up
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, &refusal{Status: http.StatusBadRequest, Code: "RequestTimeout",
			Message: fmt.Sprintf("Too little came for too long: an upload must bring %d bytes a second. Nothing was kept.", leastRate)}
	}
	return n, &refusal{Status: http.StatusBadRequest, Code: "IncompleteBody", Message: "The upload broke off before its end. Nothing was kept."}
}

// checksum is one that the request gives for its body.
type checksum struct {
	header string
	hash   hash.Hash
	want   []byte
}

func (c checksum) check() error {
	if string(c.hash.Sum(nil)) == string(c.want) {
		return nil
	}
	return &refusal{Status: http.StatusBadRequest, Code: "BadDigest", Message: "The " + c.header + " you specified did not match what we received. Nothing was kept."}
}

// checksums gives those of the request's headers that S3 knows.
func checksums(h http.Header) ([]checksum, error) {
	var sums []checksum
	for _, known := range []checksum{
		{header: "Content-MD5", hash: md5.New()},
		{header: "x-amz-checksum-crc32", hash: crc32.NewIEEE()},
		{header: "x-amz-checksum-crc32c", hash: crc32.New(crc32.MakeTable(crc32.Castagnoli))},
		{header: "x-amz-checksum-crc64nvme", hash: crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5))},
		{header: "x-amz-checksum-sha1", hash: sha1.New()},
		{header: "x-amz-checksum-sha256", hash: sha256.New()},
	} {
		value := h.Get(known.header)
		if value == "" {
			continue
		}
		want, err := base64.StdEncoding.DecodeString(value)
		if err != nil || len(want) != known.hash.Size() {
			return nil, &refusal{Status: http.StatusBadRequest, Code: "InvalidDigest", Message: "The " + known.header + " you specified is not valid."}
		}
		known.want = want
		sums = append(sums, known)
	}
	return sums, nil
}
