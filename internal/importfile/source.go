package importfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/unicode"
)

// maxZstdWindow is the largest zstd window that is accepted: what RFC 8878
// section 3.1.1.1.2 asks every decoder to support.
const maxZstdWindow = 8 << 20

// source is the file as UTF-8 text: stored bytes, unpacked, limited, decoded.
type source struct {
	stored   *counter
	ahead    *bufio.Reader // over stored
	unpacker *unpacker     // over ahead; nil if the file is not compressed
	text     io.Reader
	free     func() // releases the decompressor
	utf16    bool   // the text was UTF-16: what could not be decoded is U+FFFD
}

// openSource looks at the first bytes of r and builds what decodes them.
func openSource(r io.Reader, maxBytes int64, stop func() error) (*source, error) {
	s := &source{stored: &counter{r: r, stop: stop}, free: func() {}}
	s.ahead = bufio.NewReaderSize(s.stored, 64<<10)
	magic, err := s.ahead.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	plain := &limited{r: s.ahead, left: maxBytes, max: maxBytes, stored: s.stored, stop: stop}
	text := bufio.NewReaderSize(plain, 4<<10) // only to look at the byte order mark
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(s.ahead)
		if err != nil {
			return nil, unpackError("gzip", err, s.stored)
		}
		plain.packing = "gzip"
		s.unpack(z, func() { z.Close() })
		plain.r = s.unpacker
	case isZstd(magic):
		// One decoder and no goroutine: it runs in one of ours.
		z, err := zstd.NewReader(s.ahead, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderMaxMemory(maxZstdWindow))
		if err != nil {
			return nil, unpackError("zstd", err, s.stored)
		}
		plain.packing = "zstd"
		s.unpack(z, z.Close)
		plain.r = s.unpacker
	}

	mark, err := text.Peek(3)
	if err != nil && err != io.EOF {
		s.free()
		return nil, err
	}
	s.text = text
	switch {
	case bytes.HasPrefix(mark, []byte{0xef, 0xbb, 0xbf}):
		text.Discard(3)
	case bytes.HasPrefix(mark, []byte{0xff, 0xfe}), bytes.HasPrefix(mark, []byte{0xfe, 0xff}):
		// "Unicode text" as spreadsheet programs save it.
		s.text = unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder().Reader(text)
		s.utf16 = true
	}
	return s, nil
}

func (s *source) Read(p []byte) (int, error) { return s.text.Read(p) }

// unpack begins to read z, which is freed when the source is closed.
func (s *source) unpack(z io.Reader, free func()) {
	s.unpacker = unpackAhead(z, func() int64 { return s.stored.n - int64(s.ahead.Buffered()) })
	s.free = func() {
		s.unpacker.close()
		free()
	}
}

// consumed gives how many stored bytes were read for what was read of the text.
func (s *source) consumed() int64 {
	if s.unpacker != nil {
		return s.unpacker.piece.consumed
	}
	return s.stored.n - int64(s.ahead.Buffered())
}

func (s *source) close() {
	s.free()
	s.free = func() {}
}

// isZstd tells a zstd frame or a skippable frame (RFC 8878 sections 3.1.1 and
// 3.1.2), which parallel compressors write first.
func isZstd(b []byte) bool {
	return bytes.Equal(b, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(b) == 4 && b[0]&0xf0 == 0x50 && bytes.Equal(b[1:], []byte{0x2a, 0x4d, 0x18})
}

// counter counts the stored bytes and keeps the error of the store, or of stop, so
// that it is not mistaken for a corrupt file.
type counter struct {
	r    io.Reader
	stop func() error // may be nil
	n    int64
	err  error
}

func (c *counter) Read(p []byte) (int, error) {
	// It is asked here too, since packed data can go on for long without any text.
	if c.stop != nil {
		if c.err = c.stop(); c.err != nil {
			return 0, c.err
		}
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// limited gives the unpacked bytes: at most max of them, and with errors that
// say whose fault it is.
type limited struct {
	r         io.Reader
	packing   string // "", "gzip" or "zstd"
	left, max int64
	stored    *counter
	stop      func() error // may be nil
}

func (l *limited) Read(p []byte) (int, error) {
	if l.stop != nil {
		if err := l.stop(); err != nil {
			return 0, err
		}
	}
	// One byte more than allowed is asked for, to tell a file of just the
	// allowed size from a larger one.
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if int64(n) > l.left {
		reason := fmt.Sprintf("the file is larger than the limit of %d bytes", l.max)
		if l.packing != "" {
			reason = fmt.Sprintf("the %s data unpacks to more than the limit of %d bytes", l.packing, l.max)
		}
		return int(l.left), &FormatError{Offset: -1, Reason: reason}
	}
	l.left -= int64(n)
	if err != nil && err != io.EOF && l.packing != "" {
		err = unpackError(l.packing, err, l.stored)
	}
	return n, err
}

// unpackError tells an error of the store from a bad file.
func unpackError(packing string, err error, stored *counter) error {
	if stored.err != nil {
		return stored.err
	}
	e := &FormatError{Offset: -1, Reason: fmt.Sprintf("the %s data is corrupt: %v", packing, err)}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		e.Reason = fmt.Sprintf("the %s data is truncated: the file ends before its end mark", packing)
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		e.Reason = fmt.Sprintf("the zstd data needs a window of more than %d MiB: compress it without --ultra and --long", maxZstdWindow>>20)
	}
	return e
}
