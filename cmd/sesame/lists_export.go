package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
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
	to, err := openDestination(o, c.Out)
	if err != nil {
		return err
	}
	defer to.discard()
	n, err := download(ctx, to.progress, httpClient(cfg), to, answer.Url)
	if ctx.Err() != nil {
		return errors.New("stopped before the list was whole")
	}
	if err != nil {
		return c.kinder(err)
	}
	if err := to.close(); err != nil {
		return err
	}
	if err := to.place(); err != nil {
		return err
	}
	if to.file != nil {
		fmt.Fprintf(o.err, "Wrote %s to %s.\n", bytesText(n), c.Out)
	}
	return nil
}
