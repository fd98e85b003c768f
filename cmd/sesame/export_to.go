package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"
)

// exportTo says how an export is written, and where.
type exportTo struct {
	Out         string `placeholder:"FILE" help:"The file; - is standard output, the default unless there is an --s3."`
	Format      string `enum:"auto,csv,ses-csv,json,ndjson,parquet" default:"auto" help:"${enum}. csv is as other programs read it, ses-csv and json are SES's to the byte. auto goes by FILE's name (.csv, .json, .ndjson, .jsonl, .parquet), and is csv otherwise."`
	Compression string `enum:"auto,none,gzip,zstd" default:"auto" help:"${enum}. auto goes by FILE's name (.gz, .zst); a Parquet file is packed inside, with zstd unless this says otherwise."`
	RowsPerFile *int64 `placeholder:"N" help:"Write several files of so many rows. Their numbers come into FILE's name, before its extension: mail-0001.csv, mail-0002.csv."`
	S3          string `name:"s3" placeholder:"s3://BUCKET/PREFIX/" help:"Have the server put the files into a bucket that it has the credentials of. They are fetched too if there is an --out."`
}

// request gives the ExportDestination, and where the file is to be ("" = nowhere, as
// those of a schedule).
func (c exportTo) request(o output, scheduled bool) (request map[string]any, out string, err error) {
	if out = c.Out; out == "" && c.S3 == "" && !scheduled {
		out = "-"
	}
	name := strings.ToLower(out)
	compression := map[string]string{".gz": "GZIP", ".zst": "ZSTD"}[filepath.Ext(name)]
	if compression != "" {
		name = strings.TrimSuffix(name, filepath.Ext(name))
	}
	format, known := map[string]string{".csv": "STRICT_CSV", ".json": "JSON", ".ndjson": "NDJSON", ".jsonl": "NDJSON", ".parquet": "PARQUET"}[filepath.Ext(name)]
	if !known {
		format = "STRICT_CSV"
	}
	if c.Format != "auto" {
		format = map[string]string{"csv": "STRICT_CSV", "ses-csv": "CSV", "json": "JSON", "ndjson": "NDJSON", "parquet": "PARQUET"}[c.Format]
	}
	if format == "PARQUET" && compression != "" {
		return nil, "", fmt.Errorf("a Parquet file is compressed inside: call it %s", strings.TrimSuffix(out, filepath.Ext(out)))
	}
	if c.Compression != "auto" {
		compression = strings.ToUpper(c.Compression)
	}
	f, ok := o.out.(*os.File)
	switch toTerminal := out == "-" && ok && term.IsTerminal(int(f.Fd())); {
	case toTerminal && (format == "PARQUET" || compression == "GZIP" || compression == "ZSTD"):
		return nil, "", errors.New("what is not text is not written to a terminal: name a file with --out")
	case c.RowsPerFile != nil && *c.RowsPerFile < 1:
		return nil, "", fmt.Errorf("--rows-per-file %d: give at least 1, or leave it out for one file", *c.RowsPerFile)
	case c.RowsPerFile != nil && out == "-":
		return nil, "", errors.New("--rows-per-file makes several files: name them with --out")
	case c.S3 != "" && !strings.HasPrefix(c.S3, "s3://"):
		return nil, "", fmt.Errorf("--s3 %q: give s3://BUCKET/PREFIX/", c.S3)
	}
	if folder, err := os.Stat(filepath.Dir(out)); out != "" && (err != nil || !folder.IsDir()) {
		return nil, "", fmt.Errorf("there is no folder %s for --out", filepath.Dir(out))
	}
	if info, err := os.Stat(out); err == nil && info.IsDir() {
		return nil, "", fmt.Errorf("--out %s is a folder: name a file in it", out)
	}
	request = map[string]any{"DataFormat": format}
	if compression != "" {
		request["Compression"] = compression
	}
	if c.RowsPerFile != nil {
		request["RowsPerFile"] = c.RowsPerFile
	}
	if c.S3 != "" {
		request["S3Url"] = c.S3
	}
	return request, out, nil
}

// numberedName is the name of the file of that number, from 1 on.
func numberedName(name string, number int) string {
	end := len(name)
	if ext := filepath.Ext(name); ext == ".gz" || ext == ".zst" {
		end -= len(ext)
	}
	if ext := filepath.Ext(name[:end]); ext != filepath.Base(name[:end]) { // and not all of the name
		end -= len(ext)
	}
	return fmt.Sprintf("%s-%04d%s", name[:end], number, name[end:])
}
