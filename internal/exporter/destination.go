package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"sesame/internal/jobs"
)

// Destination is where files go beside the object store; s3put.Store is one.
type Destination interface {
	// Put puts content at a URL, "s3://bucket/key", in place of what is there. It is
	// durable and whole there when Put returns nil; otherwise what was there stays, or
	// content is whole there and nobody heard of it. A store that cannot be reached can
	// be left with parts that nobody sees. It tries again what can help; a *DestinationError is
	// what is left then. It ends within a second when ctx does, or three when nobody answers.
	Put(ctx context.Context, url string, f File, content io.ReaderAt) error
}

// DestinationError is why a file could not be put at its destination.
type DestinationError struct {
	Why string // for who made the job, to follow a colon; ends with a full stop
	Err error  // for the log
}

func (e *DestinationError) Error() string { return e.Why + " " + e.Err.Error() }

// Unwrap gives the cause.
func (e *DestinationError) Unwrap() error { return e.Err }

// Destinations are where orders may have their files put: "s3://bucket" or
// "s3://bucket/prefix/" each. None: nowhere.
type Destinations []string

const (
	longestKey  = 1024 // bytes: S3's
	longestName = 128  // bytes, more than a file's name has
)

// Refuse says why an order may not have a URL as its Destination, "" when it may. A
// URL that ends with "/", or a bucket alone, is a folder for files of any number; any
// other is the one file itself. rowsPerFile is the order's.
func (d Destinations) Refuse(url string, rowsPerFile int64) (why string) {
	path, ok := strings.CutPrefix(url, "s3://")
	bucket, key, inside := strings.Cut(path, "/")
	longest := longestKey
	if folder(url) {
		longest -= longestName
	}
	switch {
	case !ok || bucket == "":
		return "The S3 URL must be of the form s3://bucket/folder/."
	case !utf8.ValidString(url) || strings.ContainsFunc(url, unicode.IsControl):
		return "The S3 URL must be UTF-8 text without control characters."
	case len(key) > longest:
		return fmt.Sprintf("What follows the bucket in the S3 URL has %d bytes; there may be %d.", len(key), longest)
	case rowsPerFile > 0 && !folder(url):
		return "With rows per file there can be several files, so the S3 URL must name a folder: it must end with a slash."
	}
	if !inside {
		url += "/"
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		if key != "" && segment == "" || segment == "." || segment == ".." {
			return "The S3 URL must have no empty segment, and none that is . or .. alone."
		}
	}
	for _, allowed := range d {
		if strings.HasPrefix(url, strings.TrimSuffix(allowed, "/")+"/") {
			return ""
		}
	}
	if len(d) == 0 {
		return "This server puts exports nowhere."
	}
	return "This server puts exports only below " + strings.Join(d, ", ") + "."
}

// folder says whether a Destination names a folder, and not the one file.
func folder(url string) bool {
	return strings.HasSuffix(url, "/") || !strings.Contains(strings.TrimPrefix(url, "s3://"), "/")
}

// at is the URL of a file at a Destination.
func at(destination, name string) string {
	if folder(destination) {
		return strings.TrimSuffix(destination, "/") + "/" + name
	}
	return destination
}

// PutAt gives where a job that COMPLETED put its file, or the folder with its files if
// it was to have several: "" when it put none anywhere.
func (j Job) PutAt() string {
	switch {
	case j.Order.Destination == "" || j.Status != jobs.Completed:
		return ""
	case j.Order.RowsPerFile == 0:
		return at(j.Order.Destination, j.name(1))
	}
	return at(j.Order.Destination, "")
}

// put puts the files at the order's destination, each once, if that is still allowed:
// a schedule's order, or one from before a restart, can be old.
func (r *run) put(ctx context.Context) error {
	if why := r.Config.Destinations.Refuse(r.job.Order.Destination, r.job.Order.RowsPerFile); why != "" {
		return &DestinationError{Why: why, Err: errors.New("the configuration does not allow it any more")}
	}
	for _, f := range r.files[r.putFiles:] {
		if err := r.putFile(ctx, f); err != nil {
			return err
		}
		r.putFiles++
	}
	return nil
}

func (r *run) putFile(ctx context.Context, f File) error {
	content, err := r.Objects.OpenAt(ctx, f.Object)
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	defer content.Close()
	return r.Destination.Put(ctx, at(r.job.Order.Destination, f.Name), f, content)
}
