package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

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

// mostOdd is after how many lines that are no objects a file is taken for another
// kind of file. Such lines in between are the server's to set aside.
const mostOdd = 100

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
	var odd [][]byte // what the file begins with, as long as it is no object
	oddBytes, begins := 0, from.Offset == 0
	for b.ctx.Err() == nil {
		record, err := s.next()
		if errors.Is(err, errTooLarge) {
			b.run.tooLarge.Add(1)
			fmt.Fprintf(b.run.err, "sesame: %s: a record at byte %d has more than %d bytes and is left out\n", f.path, s.begin, largestRecord)
			continue
		}
		if begins && err == nil && record[0] != '{' {
			odd, oddBytes = append(odd, bytes.Clone(record)), oddBytes+len(record)
			if len(odd) == mostOdd || oddBytes > largestRecord {
				b.stored += f.size
				return fmt.Errorf("this is no file of events: it begins with %s that are no JSON objects; nothing of it was sent", number(int64(len(odd)), "line"))
			}
			continue
		}
		for _, one := range odd {
			b.add(one, now, min(c.n, f.size))
		}
		begins, odd = false, nil
		if err == io.EOF {
			now.Offset, now.Done = s.passed(), true
			b.add(nil, now, f.size)
			b.stored += f.size
			return nil
		}
		if err != nil {
			b.stored += f.size
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return fmt.Errorf("it ends in the middle, at byte %d, unpacked; what is before that was sent; get the file whole, and the same command goes on there", s.offset)
			}
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
		for s.start < len(s.buf) && (strings.IndexByte(" \t\r\n,[]", s.buf[s.start]) >= 0 || s.offset < 3 && strings.IndexByte("\xef\xbb\xbf", s.buf[s.start]) >= 0) {
			s.take(1) // what stands between records, and a byte order mark
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
	var inside []byte // '{' and '[' that have not ended
	text, escaped := false, false
	last, before := byte(0), byte(0) // byte that was no white space, and byte
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
			case '{', '[':
				// An object that begins a line where no value can be is the next record.
				if before == '\n' && c == '{' && len(inside) > 0 {
					inObject := inside[len(inside)-1] == '{'
					if inObject && last != ':' || !inObject && last != ',' && last != '[' {
						return n, nil
					}
				}
				inside = append(inside, c)
			case '}', ']':
				if inside = inside[:len(inside)-1]; len(inside) == 0 {
					if n == largestRecord {
						return 0, s.leaveOut(n + 1)
					}
					return n + 1, nil
				}
			}
		}
		if before = c; strings.IndexByte(" \t\r\n", c) < 0 {
			last = c
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
