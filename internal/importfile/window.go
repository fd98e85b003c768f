package importfile

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/bits"
	"unicode/utf8"
)

// window is a fixed buffer that slides over the text and counts its lines.
// Slices of it are valid until the next call that may fill it.
type window struct {
	r       io.Reader
	maxLine int
	utf16   bool  // see source
	line    int64 // physical line of the byte at the front, from 1
	buf     []byte
	lo, hi  int   // buf[lo:hi] is what was read and not passed
	base    int64 // offset in the text of buf[0]
	err     error // what r ended with

	quote, sep, high nearest // what they seek is the reader's: a quote, a separator, a byte of 0x80 or more

	mark  int    // where the line given by nextLine began
	start []byte // for the beginning of a line too long to hold
}

func newWindow(src *source, maxLine int) *window {
	// Four times the longest line makes the bytes moved by fill a fraction of
	// the bytes read, and leaves room for the longest line and its end.
	return &window{r: src, utf16: src.utf16, maxLine: maxLine, line: 1, buf: make([]byte, max(4*maxLine, 4<<10)),
		start: make([]byte, min(excerptLen, maxLine))}
}

// nearest says that buf has none of what is sought before this index, and if it
// is not hi has one there; or nothing, if it is less than lo. So a stretch of text
// that has none is searched once, and not again for each line in it.
type nearest int

// fill reads at least one more byte. It gives io.EOF or what else ended the
// text. The caller must not hold more than maxLine+1 bytes.
func (w *window) fill() error {
	w.quote, w.sep, w.high = -1, -1, -1
	if w.lo == w.hi {
		w.base += int64(w.lo)
		w.lo, w.hi = 0, 0
	} else if w.hi == len(w.buf) {
		w.base += int64(w.lo)
		w.hi = copy(w.buf, w.buf[w.lo:w.hi])
		w.lo = 0
	}
	for tries := 0; w.err == nil; tries++ {
		if tries == 100 {
			w.err = io.ErrNoProgress
			break
		}
		var n int
		n, w.err = w.r.Read(w.buf[w.hi:])
		w.hi += n
		if n > 0 {
			return nil
		}
	}
	return w.err
}

// peek gives the n bytes at the front, or all that is left, without moving; n
// is at most maxLine+1. What it gives does not depend on how much the window
// holds by chance. It gives no io.EOF.
func (w *window) peek(n int) ([]byte, error) {
	for w.hi-w.lo < n {
		if err := w.fill(); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
	}
	return w.buf[w.lo:min(w.hi, w.lo+n)], nil
}

// pass moves past the first n bytes, a number of whole lines.
func (w *window) pass(n int) {
	passed := w.buf[w.lo : w.lo+n]
	w.line += int64(bytes.Count(passed, []byte{'\n'}))
	if n > 0 && passed[n-1] != '\n' {
		w.line++ // the last line, without a line feed
	}
	w.lo += n
}

// skipBlank moves to the first byte that is neither a blank nor a line end.
func (w *window) skipBlank() error {
	for {
		for ; w.lo < w.hi; w.lo++ {
			switch w.buf[w.lo] {
			case '\n':
				w.line++
			case ' ', '\t', '\r':
			default:
				return nil
			}
		}
		if err := w.fill(); err != nil {
			return err
		}
	}
}

// offset gives the position of the front in the text.
func (w *window) offset() int64 { return w.base + int64(w.lo) }

// nextLine gives the line at the front without its end, which is a line feed,
// carriage returns before it, or the end of the text, and moves past it. A
// line longer than maxLine is skipped: long is true and line is its beginning.
// At the end it gives io.EOF.
func (w *window) nextLine() (line []byte, long bool, err error) {
	for scanned := 0; ; {
		i := bytes.IndexByte(w.buf[w.lo+scanned:w.hi], '\n')
		if i >= 0 {
			w.mark = w.lo
			line = w.buf[w.lo : w.lo+scanned+i]
			w.lo += scanned + i + 1
			break
		}
		scanned = w.hi - w.lo
		if scanned > w.maxLine {
			return w.skipLine()
		}
		if err := w.fill(); err == io.EOF && scanned > 0 {
			w.mark = w.lo
			line = w.buf[w.lo:w.hi]
			w.lo = w.hi
			break
		} else if err != nil {
			return nil, false, err
		}
	}
	w.line++
	if len(line) > w.maxLine {
		return line[:len(w.start)], true, nil
	}
	for len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	return line, false, nil
}

// has says whether buf[from:to], where from is not before that of any earlier
// call, has such a byte as n is about.
func (w *window) has(n *nearest, c byte, from, to int) bool {
	if int(*n) < from {
		*n = nearest(w.hi)
		if i := bytes.IndexByte(w.buf[from:w.hi], c); i >= 0 {
			*n = nearest(from + i)
		}
	}
	return int(*n) < to
}

// isASCII says whether buf[from:to] is ASCII. It is has for the bytes that are
// not.
func (w *window) isASCII(from, to int) bool {
	if int(w.high) < from {
		w.high = nearest(from + ascii(w.buf[from:w.hi]))
	}
	return int(w.high) >= to
}

// ascii gives how many bytes of ASCII text begins with.
func ascii(text []byte) int {
	n := 0
	for ; n+8 <= len(text); n += 8 {
		if x := binary.LittleEndian.Uint64(text[n:]) & 0x8080808080808080; x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
	}
	for n < len(text) && text[n] < 0x80 {
		n++
	}
	return n
}

// rewind makes the line just given by nextLine, if it was not long, the one at
// the front again.
func (w *window) rewind() {
	w.lo = w.mark
	w.line--
}

// skipLine drops the line at the front, which does not fit the window, and
// gives its beginning.
func (w *window) skipLine() ([]byte, bool, error) {
	start := w.start[:copy(w.start, w.buf[w.lo:w.hi])]
	for {
		if i := bytes.IndexByte(w.buf[w.lo:w.hi], '\n'); i >= 0 {
			w.lo += i + 1
			break
		}
		w.lo = w.hi
		if err := w.fill(); err == io.EOF {
			break
		} else if err != nil {
			return nil, false, err
		}
	}
	w.line++
	return start, true, nil
}

// trim takes blanks off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// isText says whether a value is text: valid UTF-8 and, if the file was
// UTF-16, without the mark of what could not be decoded.
func (w *window) isText(value []byte) bool {
	return utf8.Valid(value) && !(w.utf16 && bytes.Contains(value, []byte("\uFFFD")))
}
