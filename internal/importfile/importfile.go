// Package importfile reads the file behind an address list import job: it
// turns the stored object into a stream of values with line numbers.
//
// It promises:
//
//   - memory that does not depend on the file: a few buffers of
//     Options.MaxLine, plus, if the file is compressed, the window of the
//     decompressor and 384 KiB that it unpacks ahead into, in a goroutine of
//     its own;
//   - a bad line costs that line and nothing else, and is reported under the
//     physical line number an editor would show;
//   - a file that is not what it should be gives a *FormatError whose text
//     tells its owner what to change.
//
// It knows nothing of what an entry is: it is told by Options.ValidEntry. It
// imports the standard library, the gzip and zstd decoders of
// klauspost/compress, and the UTF-16 decoder of golang.org/x/text.
package importfile

import (
	"fmt"
	"io"
	"unicode"
)

// Format is how the file is written, in the words of the service's
// ImportDataType.
type Format string

// The formats of the service.
const (
	CSV  Format = "CSV"
	JSON Format = "JSON"
)

// Code says what is wrong with one line or value. The empty Code means that
// nothing is. Codes are stable: they stand in logs.
type Code string

// What can be wrong with a line before anybody asks whether it is an entry.
const (
	LineTooLong    Code = "line_too_long"
	BadQuote       Code = "bad_quote"
	MissingColumn  Code = "missing_column"
	Empty          Code = "empty"
	NotUTF8        Code = "not_utf8"
	NotJSON        Code = "not_json"
	NotAnObject    Code = "not_an_object"
	MissingAddress Code = "missing_address"
	NotAString     Code = "not_a_string"
)

// Codes gives every code, in a fixed order, in a new slice.
func Codes() []Code {
	return []Code{LineTooLong, BadQuote, MissingColumn, Empty, NotUTF8, NotJSON, NotAnObject, MissingAddress, NotAString}
}

// Error gives the code in plain words, without the value it is about.
func (c Code) Error() string {
	switch c {
	case LineTooLong:
		return "the line or value is longer than allowed"
	case BadQuote:
		return "a double quote is misplaced or not closed"
	case MissingColumn:
		return "the row has too few columns"
	case Empty:
		return "the value is empty"
	case NotUTF8:
		return "the value is not valid Unicode text"
	case NotJSON:
		return "the line is not a JSON value"
	case NotAnObject:
		return "the item is not a JSON object"
	case MissingAddress:
		return "the object has no member \"address\""
	case NotAString:
		return "the address is not a JSON string"
	}
	return string(c)
}

// Item is one value of the file that should be an entry.
type Item struct {
	// Line is the physical line, from 1, on which the value's record or JSON
	// element starts. It never decreases from one item to the next.
	Line int64
	// Value is what should be an entry, decoded and without surrounding
	// blanks. If Bad is set it is instead the beginning of the offending line
	// or JSON value, at most 100 bytes, not necessarily valid UTF-8. Value is
	// valid until the next call of Next or Close.
	Value []byte
	// Bad is empty, or what is wrong with the line itself.
	Bad Code
}

// excerptLen is how much of a bad line is kept for a report or an error:
// bytes for Item.Value, characters for a FormatError.
const excerptLen = 100

// FormatError says that the file as a whole, or the rest of it, cannot be
// read. Its text is meant for the owner of the file.
type FormatError struct {
	// Line is the physical line where reading failed, or 0 if unknown.
	Line int64
	// Offset is the position in the text in bytes from 0, counted after
	// decompression and in UTF-8; -1 if it says nothing.
	Offset int64
	// Reason is what was expected and what was found.
	Reason string
}

// Error gives the reason and, where known, the line and byte offset.
func (e *FormatError) Error() string {
	switch {
	case e.Line > 0 && e.Offset >= 0:
		return fmt.Sprintf("line %d, byte offset %d: %s", e.Line, e.Offset, e.Reason)
	case e.Line > 0:
		return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
	}
	return e.Reason
}

// Defaults of Options.
const (
	DefaultMaxLine  = 64 << 10
	DefaultMaxBytes = 64 << 30
)

// Options are the limits of a Reader and what it must be told.
type Options struct {
	// MaxLine is the longest line, CSV record or JSON value in bytes, without
	// the line feed. A longer one is skipped to its end and given as a bad
	// item. 0 means DefaultMaxLine.
	MaxLine int
	// MaxBytes is how large the file may be after decompression, in bytes: a
	// guard against decompression bombs. 0 means DefaultMaxBytes.
	MaxBytes int64
	// ValidEntry says whether a value is an entry. It is asked once, about
	// the first field of a CSV file without a header, which is read as a
	// one-column list if it is. nil means that a header is required.
	ValidEntry func([]byte) bool
	// Stop is asked before each read of the file, packed and unpacked, by two
	// goroutines if it is packed. Its error ends the reading and is what Open or
	// Next gives, however little the file has of items. nil means that nothing
	// stops it.
	Stop func() error
}

// Reader gives the items of one file. It is for one goroutine.
type Reader struct {
	src   *source
	items items
	item  Item  // the last
	err   error // what ended the stream; given again by every later Next
}

// items gives the items of one kind of file.
type items interface {
	// next sets it to the next item, or gives io.EOF or what else ended the
	// stream. Item is too large for Go to pass it in registers without copying it
	// to and fro, which takes longer than finding a plain line.
	next(it *Item) error
}

// Open looks at the beginning of the file and decides how to read it:
// compression (gzip, RFC 1952; zstd, RFC 8878), encoding (UTF-8, or UTF-16
// with a byte order mark), CSV header and separator, kind of JSON.
//
// The error is a *FormatError that says what was expected and what was found,
// or the error of r. The caller keeps r and must Close the Reader, before it
// does anything else with r: a compressed file is read ahead.
func Open(r io.Reader, f Format, opt Options) (*Reader, error) {
	if opt.MaxLine <= 0 {
		opt.MaxLine = DefaultMaxLine
	}
	if opt.MaxBytes <= 0 {
		opt.MaxBytes = DefaultMaxBytes
	}
	src, err := openSource(r, opt.MaxBytes, opt.Stop)
	if err != nil {
		return nil, err
	}
	w := newWindow(src, opt.MaxLine)
	rd := &Reader{src: src}
	switch f {
	case CSV:
		rd.items, err = openCSV(w, opt.ValidEntry)
	case JSON:
		rd.items, err = openJSON(w)
	default:
		err = fmt.Errorf("importfile: unknown format %q", string(f))
	}
	if err != nil {
		src.close()
		return nil, err
	}
	return rd, nil
}

// Next gives the next item. It gives io.EOF at the end of the file, a
// *FormatError if the rest cannot be read, or the error of the reader given to
// Open; and the same error again if called again.
func (r *Reader) Next() (Item, error) {
	r.advance()
	return r.item, r.err
}

func (r *Reader) advance() {
	err := r.err
	if err == nil {
		err = r.items.next(&r.item)
	}
	if err != nil {
		r.item, r.err = Item{}, err
	}
}

// Close releases the decompressor and ends its goroutine; it waits for a read of
// the reader given to Open that is under way, and that reader is not touched
// afterwards. It may be called twice. It does not close that reader.
func (r *Reader) Close() {
	r.src.close()
	if r.err == nil {
		r.err = fmt.Errorf("importfile: the reader is closed")
	}
}

// Offset gives how many bytes of the stored, possibly compressed, object were
// consumed so far: a share of the object's size that never goes back and at the
// end is all of it. It runs ahead of the items by what is buffered: less than a
// few times MaxLine, and what 256 KiB of the unpacked text were packed to. It
// costs next to nothing. Call it from the goroutine that calls Next.
func (r *Reader) Offset() int64 { return r.src.consumed() }

// bad makes an item out of a line that cannot be read.
func bad(line int64, text []byte, code Code) Item {
	return Item{Line: line, Value: text[:min(len(text), excerptLen)], Bad: code}
}

// printable gives the first excerptLen characters of text, with a full stop
// for everything that does not print.
func printable(text []byte) string {
	out := make([]rune, 0, excerptLen)
	for _, c := range string(text[:min(len(text), 4*excerptLen)]) {
		if len(out) == excerptLen {
			break
		}
		if !unicode.IsPrint(c) || c == unicode.ReplacementChar {
			c = '.'
		}
		out = append(out, c)
	}
	return string(out)
}
