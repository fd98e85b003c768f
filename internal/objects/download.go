package objects

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"sesame/internal/exporter"
	"sesame/internal/importer"
	"sesame/internal/sigv4"
)

// RefusedURL is a URL from which the list of an import job's refused lines can be
// fetched for 12 hours from the time it is signed at.
func (d *Door) RefusedURL(jobID string, at time.Time) string {
	u := *d.PublicURL
	u.Path = refused + jobID
	return sigv4.Presign(http.MethodGet, &u, d.Credentials, d.scope(), at, urlLife)
}

// MembersURL is a URL from which the members of an account's list, as they are
// then, can be fetched for 12 hours from the time it is signed at. file is what
// clients are to call it; its end says how it is written: .csv or .json, and .gz
// behind that for gzip.
func (d *Door) MembersURL(account, listID, file string, at time.Time) string {
	u := *d.PublicURL
	u.Path = members + account + "/" + listID + "/" + file
	return sigv4.Presign(http.MethodGet, &u, d.Credentials, d.scope(), at, urlLife)
}

// exportLife is how long a URL of an export's file can be used.
const exportLife = 5 * time.Minute

// ExportURL is a URL from which the file of an export job can be fetched for five
// minutes from the time it is signed at.
func (d *Door) ExportURL(jobID, file string, at time.Time) string {
	u := *d.PublicURL
	u.Path = exports + jobID + "/" + file
	return sigv4.Presign(http.MethodGet, &u, d.Credentials, d.scope(), at, exportLife)
}

// body is that of an answer: a client that takes nothing for so long is given up.
type body struct {
	w       http.ResponseWriter
	control *http.ResponseController
	idle    time.Duration
	sent    int64 // bytes so far
	gone    bool  // whether the client could not be sent more
}

func (b *body) Write(p []byte) (int, error) {
	if err := b.control.SetWriteDeadline(time.Now().Add(b.idle)); err != nil {
		return 0, err
	}
	n, err := b.w.Write(p)
	b.sent += int64(n)
	b.gone = err != nil
	return n, err
}

// get answers GET, and HEAD as GET without its body.
func (d *Door) get(w http.ResponseWriter, r *http.Request, id string) {
	start := d.Now()
	out := &body{w: w, control: http.NewResponseController(w), idle: d.Idle}
	what, key, err := d.send(out, r)
	code := "OK"
	var refused *refusal
	switch {
	case err == nil:
	case errors.As(err, &refused):
		code = refused.Code
		refused.write(w, r, id)
	case out.gone || r.Context().Err() != nil:
		code = "ClientGone"
	case out.sent == 0:
		d.Log.Error("download failed", "request_id", id, what, key, "error", err)
		refused = &refusal{Status: http.StatusInternalServerError, Code: "InternalError",
			Message: "Something went wrong inside the server; its log says what under this request id. Try again."}
		code = refused.Code
		refused.write(w, r, id)
	default:
		d.Log.Error("download broken off", "request_id", id, what, key, "error", err)
		code = "BrokenOff"
	}
	d.Log.Info("download", "request_id", id, what, key, "code", code, "bytes", out.sent, "ms", d.Now().Sub(start).Milliseconds())
	if what == "list" && key != "" && r.Method == http.MethodGet {
		source, _, _ := net.SplitHostPort(r.RemoteAddr)
		d.Audit.Info("download", "request_id", id, "list", key, "code", code, "bytes", out.sent, "source", source)
	}
	if err != nil && refused == nil {
		panic(http.ErrAbortHandler) // some of it is on its way: the client must see it broken off
	}
}

// send sends what a URL names. key is "" until the signature has shown that it is
// one and not something that should not be in a log; what says what it is of.
func (d *Door) send(out *body, r *http.Request) (what, key string, err error) {
	what = "job"
	job := strings.TrimPrefix(r.URL.Path, refused)
	named, ofList := strings.CutPrefix(r.URL.Path, members)
	if ofList {
		what = "list"
	}
	if !r.ProtoAtLeast(1, 1) {
		// There the end of the connection is the end of the body, so that a download
		// which breaks off would look whole.
		return what, "", &refusal{Status: http.StatusHTTPVersionNotSupported, Code: "HTTPVersionNotSupported",
			Message: "Downloads need HTTP/1.1 or later. If a proxy is between, have it speak that to the server."}
	}
	signed := *r
	signed.Method = http.MethodGet
	if err := sigv4.VerifyPresigned(&signed, d.Credentials, d.scope(), d.Now(), clockSkew); err != nil {
		return what, "", notSigned(err)
	}
	select {
	case d.Downloads <- struct{}{}:
		defer func() { <-d.Downloads }()
	default:
		return what, "", &refusal{Status: http.StatusServiceUnavailable, Code: "SlowDown", Message: "As many downloads as may run at once are running. Try again."}
	}
	if named, ofExport := strings.CutPrefix(r.URL.Path, exports); ofExport {
		job, file, _ := strings.Cut(named, "/") // signed as ExportURL made it
		return what, job, d.sendExport(r, out, job, file)
	}
	if !ofList {
		return what, job, d.sendRefused(r, out, job)
	}
	account, named, _ := strings.Cut(named, "/")
	list, file, _ := strings.Cut(named, "/") // signed as MembersURL made it
	return what, list, d.sendMembers(r, out, account, list, file)
}

func (d *Door) sendRefused(r *http.Request, out *body, jobID string) error {
	content, err := d.Refused(r.Context(), jobID)
	if errors.Is(err, importer.ErrNotFound) {
		return &refusal{Status: http.StatusNotFound, Code: "NoSuchKey", Message: "The import job does not exist any more, or refused no line, or its list of them was kept for as long as it is."}
	}
	if err != nil {
		return err
	}
	defer content.Close()
	out.head("text/csv; charset=utf-8", jobID+"-refused.csv")
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = io.CopyBuffer(out, struct{ io.Reader }{content}, make([]byte, 64<<10))
	return err
}

// sendExport sends the file of an export job, or the ranges of it that are asked for.
func (d *Door) sendExport(r *http.Request, out *body, jobID, file string) error {
	f, content, err := d.Exported(r.Context(), jobID, file)
	if errors.Is(err, exporter.ErrNotFound) {
		return &refusal{Status: http.StatusNotFound, Code: "NoSuchKey", Message: "The export job has no file, or it was kept for as long as it is."}
	}
	if err != nil {
		return err
	}
	defer content.Close()
	out.head(f.ContentType(), f.Name)
	h := out.w.Header()
	h.Set("ETag", `"`+jobID+"-"+f.CRC32C+`"`)
	h.Set("X-Amz-Checksum-Crc32c", f.CRC32C)
	noted := &notedReader{ReadSeeker: content}
	http.ServeContent(out, r, "", time.Time{}, noted)
	if out.gone {
		return errors.New("the client took no more")
	}
	return noted.err
}

// notedReader notes an error of reading, which http.ServeContent does not tell.
type notedReader struct {
	io.ReadSeeker
	err error
}

func (n *notedReader) Read(p []byte) (int, error) {
	size, err := n.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		n.err = err
	}
	return size, err
}

// Header is http.ResponseWriter's.
func (b *body) Header() http.Header { return b.w.Header() }

// WriteHeader is http.ResponseWriter's.
func (b *body) WriteHeader(status int) { b.w.WriteHeader(status) }

func (b *body) head(contentType, file string) {
	b.w.Header().Set("Content-Type", contentType)
	b.w.Header().Set("Content-Disposition", `attachment; filename="`+file+`"`)
}

// errNoMore ends the walk through a list of which only the head was asked for.
var errNoMore = errors.New("no more is asked for")

func (d *Door) sendMembers(r *http.Request, out *body, account, listID, file string) error {
	plain := strings.TrimSuffix(file, ".gz")
	f := csvFile
	if strings.HasSuffix(plain, ".json") {
		f = jsonFile
	}
	contentType := f.contentType
	packed := bufio.NewWriterSize(out, 64<<10)
	text := packed
	var packer *gzip.Writer
	if plain != file {
		contentType = "application/gzip"
		packer, _ = gzip.NewWriterLevel(packed, gzip.BestSpeed) // the level is one
		text = bufio.NewWriterSize(packer, 64<<10)
	}
	out.head(contentType, file)

	text.WriteString(f.begin) // an error stays with text until it is flushed
	between := ""
	var line []byte
	found, err := d.Members(r.Context(), account, listID, func(address []byte) error {
		if r.Method == http.MethodHead {
			return errNoMore
		}
		line = append(line[:0], between...)
		line = f.append(line, address)
		between = f.between
		_, err := text.Write(line)
		return err
	})
	switch {
	case !found:
		return &refusal{Status: http.StatusNotFound, Code: "NoSuchKey", Message: "The address list does not exist any more."}
	case errors.Is(err, errNoMore):
		return nil
	case err != nil:
		return err
	}
	text.WriteString(f.end)
	if err := text.Flush(); err != nil {
		return err
	}
	if packer != nil {
		if err := packer.Close(); err != nil {
			return err
		}
	}
	return packed.Flush()
}

// fileFormat is how members are written to a file that an import reads.
type fileFormat struct {
	contentType         string
	begin, between, end string
	append              func(line, address []byte) []byte
}

var (
	csvFile = fileFormat{"text/csv; charset=utf-8", "address\n", "", "", func(line, address []byte) []byte {
		if !bytes.ContainsAny(address, "\",\r\n") { // RFC 4180, section 2, 6
			line = append(line, address...)
			return append(line, '\n')
		}
		line = append(line, '"')
		line = append(line, bytes.ReplaceAll(address, []byte(`"`), []byte(`""`))...)
		return append(line, "\"\n"...)
	}}
	jsonFile = fileFormat{"application/json", `{"items":[`, ",", "\n]}\n", func(line, address []byte) []byte {
		text, _ := json.Marshal(string(address)) // a string can be written
		line = append(line, "\n{\"address\":"...)
		line = append(line, text...)
		return append(line, '}')
	}}
)
