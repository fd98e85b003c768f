package exporter

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"sesame/internal/jobs"
)

// mostFiles bounds how many files a job has: each is a line of its report, and takes
// the disk a moment of its own.
const mostFiles = 1000

// errTooManyFiles fails a job.
var errTooManyFiles = fmt.Errorf("there are rows for more than %d files", mostFiles)

// output puts rows into files, one after the other. Each is complete in itself.
type output struct {
	*run
	ctx     context.Context
	columns []header
	now     *file // that is written; nil between files
	done    []File
}

// file is one that is written. What is put into table goes through the packer, if
// there is one, and then into the object store and the checksum.
type file struct {
	table  table
	packer io.Closer
	packed *bufio.Writer // what the packer gives
	pipe   *io.PipeWriter
	object string
	sum    hash.Hash32 // a cryptographic one takes as long as all else
	rows   int64
	put    chan error // what came of putting it there, once size is known
	size   int64
}

// begin begins the output of a run, once it is known which columns it has.
func (r *run) begin(ctx context.Context, columns []header) *output {
	r.out = &output{run: r, ctx: ctx, columns: columns}
	return r.out
}

func (o *output) row(values []value) error {
	if o.now != nil && o.now.rows == o.job.Order.RowsPerFile && o.now.rows > 0 {
		if err := o.finish(); err != nil {
			return err
		}
	}
	if o.now == nil {
		if err := o.open(); err != nil {
			return err
		}
	}
	o.now.rows++
	return o.now.table.row(values)
}

// end ends the last file. There is one even without rows.
func (o *output) end() error {
	if o.now == nil {
		if err := o.open(); err != nil {
			return err
		}
	}
	return o.finish()
}

// open begins a file, which is put into the object store while it is written.
func (o *output) open() (err error) {
	if len(o.done) == mostFiles {
		return errTooManyFiles
	}
	reader, writer := io.Pipe()
	f := &file{pipe: writer, object: objects + o.NewID(o.job.ID), sum: crc32.New(crc32.MakeTable(crc32.Castagnoli)), put: make(chan error, 1)}
	o.now = f
	go func() {
		err := jobs.Safely(o.ctx, func(ctx context.Context) (err error) {
			f.size, err = o.Objects.Put(ctx, f.object, reader, func(int64) error { return ctx.Err() })
			return err
		})
		if err != nil {
			reader.CloseWithError(err)
		} else {
			reader.CloseWithError(errors.New("the file is not wanted any more"))
		}
		f.put <- err
	}()
	into := io.MultiWriter(f.sum, writer)
	if o.job.Order.Format != Parquet && o.job.Order.Compression != Plain {
		f.packed = bufio.NewWriterSize(into, bufferSize)
		packer, err := newPacker(o.job.Order.Compression, f.packed)
		if err != nil {
			return err
		}
		f.packer, into = packer, packer
	}
	f.table, err = newTable(&o.job.Order, o.columns, into)
	return err
}

// newPacker gives what packs a text. The levels are those that keep up with the rows.
func newPacker(c Compression, w io.Writer) (io.WriteCloser, error) {
	if c == Gzip {
		return gzip.NewWriterLevel(w, gzip.BestSpeed)
	}
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1)) // no goroutine of its own
}

// finish ends the file that is written. It is durable when finish returns nil.
func (o *output) finish() error {
	f := o.now
	if err := f.table.end(); err != nil {
		return err
	}
	if f.packer != nil {
		if err := errors.Join(f.packer.Close(), f.packed.Flush()); err != nil {
			return err
		}
	}
	f.pipe.Close()
	err := <-f.put
	f.put <- err // for abandon
	if err != nil {
		return err
	}
	o.now = nil
	o.done = append(o.done, File{
		Object: f.object, Name: o.job.name(len(o.done) + 1), Size: f.size, Rows: f.rows, CRC32C: base64.StdEncoding.EncodeToString(f.sum.Sum(nil)),
	})
	return nil
}

// abandon removes all files after an error, and gives that error with what else went
// wrong.
func (o *output) abandon(err error) error {
	ctx := context.WithoutCancel(o.ctx)
	if f := o.now; f != nil {
		f.pipe.CloseWithError(err)
		if cause := <-f.put; cause != nil && !errors.Is(cause, err) && !errors.Is(err, cause) {
			err = errors.Join(err, cause)
		}
		// It can be there all the same, and nobody counts on it.
		err = errors.Join(err, o.Objects.Delete(ctx, f.object))
	}
	for _, f := range o.done {
		err = errors.Join(err, o.Objects.Delete(ctx, f.Object))
	}
	o.now, o.done = nil, nil
	return err
}
