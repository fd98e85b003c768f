package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// download writes what a pre-signed URL gives to out, shows on w how far it is,
// and says how many bytes there were.
func download(ctx context.Context, w io.Writer, client aws.HTTPClient, out io.Writer, url string) (int64, error) {
	body, err := get(ctx, client, url, 0)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	p := newProgress(w)
	defer p.end()
	n, err := io.Copy(out, &counted{r: body, what: "exporting", begun: time.Now(), progress: p})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the server broke the export off after % .1f: run it again", decor.SizeB1024(n))
	}
	return n, err
}

// get gives what a pre-signed URL does from a byte on.
func get(ctx context.Context, client aws.HTTPClient, url string, from int64) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept-Encoding", "identity") // bytes are counted
	if from > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	switch {
	case answer.StatusCode == http.StatusPartialContent && from > 0:
	case answer.StatusCode == http.StatusOK: // what is between may have left the range out
		_, err = io.CopyN(io.Discard, answer.Body, from)
	default:
		err = refusedBy(answer, "export")
		if answer.StatusCode < http.StatusInternalServerError {
			err = lastingError{err}
		}
	}
	if err != nil {
		answer.Body.Close()
		return nil, err
	}
	return answer.Body, nil
}

// fetch is a file that is fetched to w, in as many pieces as it takes.
type fetch struct {
	w io.Writer
	n int64  // bytes that w has
	c uint32 // their CRC32C
	// failed is what w said: a server that is waited for does not mend it.
	failed error
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (f *fetch) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	f.n, f.c, f.failed = f.n+int64(n), crc32.Update(f.c, castagnoli, b[:n]), err
	return n, err
}

// more fetches what is missing of size bytes. When that breaks off it gives no error
// if something came, so that it is worth going on.
func (f *fetch) more(ctx context.Context, p *progress, client aws.HTTPClient, url string, size int64, begun time.Time) error {
	had := f.n
	body, err := get(ctx, client, url, had)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(f, &counted{r: body, n: had, total: size, what: "downloading", begun: begun, progress: p})
	switch {
	case f.failed != nil:
		return lastingError{f.failed}
	case err == nil && f.n != size:
		return lastingError{fmt.Errorf("%d bytes came, and the file has %d", f.n, size)}
	case f.n > had:
		return nil
	}
	return err
}

// destination is where a command writes a file: standard output, a pipe or a device,
// or a file that gets its name when it is whole.
type destination struct {
	io.Writer
	progress io.Writer // where to show how far it is
	name     string    // as the user gave it
	file     *os.File  // nil for standard output
	path     string    // what the file is to be called; "" when it has its name
}

// openDestination opens what the user called name; "-" is standard output. It is to be
// closed, and then placed when it is whole; discard leaves what was there before.
func openDestination(o output, name string) (*destination, error) {
	d := &destination{Writer: o.out, progress: o.err, name: name}
	if name == "-" {
		if f, ok := o.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			d.progress = io.Discard // what is written shows how far it is
		}
		return d, nil
	}
	var err error
	if info, e := os.Stat(name); e == nil && !info.Mode().IsRegular() {
		d.file, err = os.OpenFile(name, os.O_WRONLY, 0) // a pipe or a device stays what it is
		d.Writer = d.file
		return d, err
	}
	d.path = name
	if to, err := filepath.EvalSymlinks(name); err == nil {
		d.path = to // a link stays what it is
	}
	d.file, err = os.CreateTemp(filepath.Dir(d.path), "."+filepath.Base(d.path)+".*")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no folder %s for --out", filepath.Dir(d.path))
	}
	d.Writer = d.file
	return d, err
}

// close makes durable what was written.
func (d *destination) close() error {
	if d.file == nil {
		return nil
	}
	var err error
	if d.path != "" {
		mode := 0o666 &^ userUmask
		if info, err := os.Stat(d.path); err == nil {
			mode = info.Mode().Perm()
		}
		err = errors.Join(d.file.Chmod(mode), d.file.Sync())
	}
	return errors.Join(err, d.file.Close())
}

// place gives a closed file its name.
func (d *destination) place() error {
	if d.path == "" {
		return nil
	}
	err := os.Rename(d.file.Name(), d.path)
	if err == nil {
		d.path = ""
	}
	return err
}

// discard removes what has not got its name.
func (d *destination) discard() {
	if d.path != "" {
		d.file.Close() // if it is not
		os.Remove(d.file.Name())
	}
}

// bytesText is a number of bytes as people read it.
func bytesText(n int64) string {
	if n >= 1024 {
		return fmt.Sprintf("% .1f", decor.SizeB1024(n))
	}
	return number(n, "byte")
}
