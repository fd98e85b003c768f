package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

type listsExport struct {
	client
	List   string `required:"" placeholder:"NAME|ID" help:"The address list."`
	Format string `enum:"auto,csv,json" default:"auto" help:"Format of the file: ${enum}. auto goes by its name: .json, .jsonl and .ndjson are JSON, all else CSV."`
	Gzip   bool   `help:"Compress the file. A name that ends in .gz says so too."`
	Out    string `default:"-" placeholder:"FILE" help:"The file; - is standard output, the default."`
}

// Help is what `sesame lists export --help` says above the flags.
func (listsExport) Help() string {
	return `Writes every member of the list, in order, in the form that an import reads: what comes out of one list can be imported into another. The members are those of the moment in which the export begins; changes made meanwhile are not among them.

FILE is put in its place when it is whole: an export that fails or is stopped leaves what was there before.

Examples:
  sesame lists export --list blocked --out blocked.csv
  sesame lists export --list blocked --out blocked.json.gz
  sesame lists export --list blocked | grep -c '@example.com$'`
}

// Run exports.
func (c listsExport) Run(o output) error {
	ctx, stop := interruptible()
	defer stop()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	id, err := listID(ctx, mailmanager.NewFromConfig(cfg), c.List)
	if err != nil {
		return c.kinder(err)
	}
	name, packed := strings.CutSuffix(strings.ToLower(c.Out), ".gz")
	format, compression := "CSV", "NONE"
	if c.Format == "json" || c.Format == "auto" && slices.Contains(jsonNames, filepath.Ext(name)) {
		format = "JSON"
	}
	if c.Gzip || packed {
		compression = "GZIP"
	}
	var answer struct{ Url string }
	if err := sesame(ctx, cfg, "ExportAddressList", map[string]any{"AddressListId": id, "Format": format, "Compression": compression}, &answer); err != nil {
		return c.kinder(err)
	}
	err = c.save(ctx, o, httpClient(cfg), answer.Url)
	if ctx.Err() != nil {
		return errors.New("stopped before the list was whole")
	}
	return c.kinder(err)
}

// save writes what a URL gives to where it belongs.
func (c listsExport) save(ctx context.Context, o output, client aws.HTTPClient, url string) error {
	if c.Out == "-" {
		w := o.err
		if f, ok := o.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			w = io.Discard // the members themselves show how far it is
		}
		_, err := download(ctx, w, client, o.out, url)
		return err
	}
	if info, err := os.Stat(c.Out); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(c.Out, os.O_WRONLY, 0) // a pipe or a device stays what it is
		if err != nil {
			return err
		}
		_, err = download(ctx, o.err, client, f, url)
		return errors.Join(err, f.Close())
	}
	path, mode := c.Out, 0o666&^userUmask
	if to, err := filepath.EvalSymlinks(path); err == nil {
		path = to // a link stays what it is
	}
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no folder %s for --out", filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // when it has not got its name
	n, err := download(ctx, o.err, client, f, url)
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	size := number(n, "byte")
	if n >= 1024 {
		size = fmt.Sprintf("% .1f", decor.SizeB1024(n))
	}
	fmt.Fprintf(o.err, "Wrote %s to %s.\n", size, c.Out)
	return nil
}

// download writes what a pre-signed URL gives to out, shows on w how far it is,
// and says how many bytes there were.
func download(ctx context.Context, w io.Writer, client aws.HTTPClient, out io.Writer, url string) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, refusedBy(answer, "export")
	}
	p := newProgress(w)
	defer p.end()
	n, err := io.Copy(out, &counted{r: answer.Body, what: "exporting", begun: time.Now(), progress: p})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the server broke the export off after % .1f: run it again", decor.SizeB1024(n))
	}
	return n, err
}
