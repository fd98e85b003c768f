package importfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
	"golang.org/x/text/encoding/unicode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// validEntry stands for the entry grammar.
func validEntry(b []byte) bool {
	return bytes.Count(b, []byte("@")) == 1 && !bytes.ContainsAny(b, ",;")
}

// read gives all items of a file as text, one a line: line number, what is
// wrong, value. The last line says how it ended.
func read(r io.Reader, f Format, opt Options) string {
	var out strings.Builder
	rd, err := Open(r, f, opt)
	if err != nil {
		return kind(err) + " " + err.Error() + "\n"
	}
	defer rd.Close()
	for {
		it, err := rd.Next()
		if err == io.EOF {
			return out.String() + "end\n"
		} else if err != nil {
			return out.String() + kind(err) + " " + err.Error() + "\n"
		}
		word := string(it.Bad)
		if word == "" {
			word = "value"
		}
		fmt.Fprintf(&out, "%d %s %q\n", it.Line, word, it.Value)
	}
}

func kind(err error) string {
	var fe *FormatError
	if errors.As(err, &fe) {
		return "format error:"
	}
	return "error:"
}

// TestCases reads every file of testdata/cases, whose name says its format,
// with lines of at most 256 bytes, and compares with the .want beside it.
func TestCases(t *testing.T) {
	names, err := filepath.Glob("testdata/cases/*.*")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range names {
		format := Format(strings.ToUpper(strings.TrimPrefix(filepath.Ext(name), ".")))
		if format == "WANT" {
			continue
		}
		seen++
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(name + ".want")
			if err != nil {
				t.Fatal(err)
			}
			opt := Options{MaxLine: 256, ValidEntry: validEntry}
			for how, r := range map[string]io.Reader{
				"whole":       bytes.NewReader(data),
				"by the byte": iotest.OneByteReader(bytes.NewReader(data)),
				"EOF at once": iotest.DataErrReader(bytes.NewReader(data)),
			} {
				if diff := cmp.Diff(string(want), read(r, format, opt)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", how, diff)
				}
			}
		})
	}
	if seen < 50 {
		t.Errorf("only %d cases", seen)
	}
}

const plainCSV = "address\nj\u00f6rg@example.com\nb@example.com\n"

const plainCSVItems = "2 value \"j\u00f6rg@example.com\"\n3 value \"b@example.com\"\nend\n"

func gzipped(t testing.TB, parts ...string) []byte {
	var out bytes.Buffer
	for _, p := range parts {
		z := gzip.NewWriter(&out)
		if _, err := io.WriteString(z, p); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func zstandard(t testing.TB, s string, opts ...zstd.EOption) []byte {
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(z, s); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func utf16Text(t testing.TB, order unicode.Endianness, s string) []byte {
	b, err := unicode.UTF16(order, unicode.UseBOM).NewEncoder().Bytes([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPackingAndEncoding(t *testing.T) {
	little := utf16Text(t, unicode.LittleEndian, plainCSV)
	skippable := append([]byte{0x5a, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 7, 7}, zstandard(t, plainCSV)...)
	packed, long := gzipped(t, plainCSV), zstandard(t, strings.Repeat(plainCSV, 20000))
	broken := bytes.Clone(packed)
	broken[len(broken)-8]++ // the checksum
	for _, c := range []struct {
		name string
		data []byte
		want string // the whole, or its end
	}{
		{"gzip", packed, plainCSVItems},
		{"gzip of two members", gzipped(t, plainCSV[:20], plainCSV[20:]), plainCSVItems},
		{"zstd", zstandard(t, plainCSV), plainCSVItems},
		{"zstd of two frames", append(zstandard(t, plainCSV[:20]), zstandard(t, plainCSV[20:])...), plainCSVItems},
		{"zstd after a skippable frame", skippable, plainCSVItems},
		{"UTF-16 little endian", little, plainCSVItems},
		{"UTF-16 big endian", utf16Text(t, unicode.BigEndian, plainCSV), plainCSVItems},
		{"UTF-16 in gzip", gzipped(t, string(little)), plainCSVItems},
		{"UTF-16 cut inside a character", little[:len(little)-5], "3 not_utf8 \"b@example.c\ufffd\"\nend\n"},
		{"UTF-16 with half a pair", []byte("\xff\xfea\x00d\x00d\x00r\x00e\x00s\x00s\x00\n\x00a\x00@\x00\x00\xd8\n\x00"), "2 not_utf8 \"a@\ufffd\"\nend\n"},
		{"gzip cut short", packed[:len(packed)-4], "format error: the gzip data is truncated: the file ends before its end mark\n"},
		{"gzip cut in its header", packed[:5], "format error: the gzip data is truncated: the file ends before its end mark\n"},
		{"gzip with a wrong checksum", broken, "format error: the gzip data is corrupt: gzip: invalid checksum\n"},
		{"gzip with something after it", append(bytes.Clone(packed), "more"...), "format error: the gzip data is truncated: the file ends before its end mark\n"},
		{"zstd cut short", long[:len(long)-8], "the zstd data is truncated: the file ends before its end mark\n"},
		{"zstd with a large window", []byte("\x28\xb5\x2f\xfd\x00\x88\x01\x00\x00"),
			"format error: the zstd data needs a window of more than 8 MiB: compress it without --ultra and --long\n"},
		{"zstd that is none", []byte("\x28\xb5\x2f\xfdaddress and more that is no frame at all"), ""},
		{"compressed twice", gzipped(t, string(packed)), "which looks like data that was compressed twice\n"},
		{"empty gzip", gzipped(t, ""), "format error: the file is empty\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"whole":       bytes.NewReader(c.data),
				"by the byte": iotest.OneByteReader(bytes.NewReader(c.data)),
			} {
				got := read(r, CSV, Options{})
				if !strings.HasSuffix(got, c.want) || c.want == plainCSVItems && got != c.want {
					t.Errorf("%s: got\n%swant\n%s", how, got, c.want)
				}
				if c.want == "" && !strings.HasPrefix(got, "format error: the zstd data is corrupt: ") {
					t.Errorf("%s: got %s", how, got)
				}
			}
		})
	}
}

// TestMaxBytes reads files of just the allowed size and of one byte more.
func TestMaxBytes(t *testing.T) {
	n := int64(len(plainCSV))
	for _, c := range []struct {
		name string
		data []byte
		max  int64
		want string
	}{
		{"plain that fits", []byte(plainCSV), n, "end\n"},
		{"plain", []byte(plainCSV), n - 1, "format error: the file is larger than the limit of 39 bytes\n"},
		{"gzip that fits", gzipped(t, plainCSV), n, "end\n"},
		{"gzip", gzipped(t, plainCSV), n - 1, "format error: the gzip data unpacks to more than the limit of 39 bytes\n"},
		{"zstd that fits", zstandard(t, plainCSV), n, "end\n"},
		{"zstd", zstandard(t, plainCSV), n - 1, "format error: the zstd data unpacks to more than the limit of 39 bytes\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := read(bytes.NewReader(c.data), CSV, Options{MaxBytes: c.max}); !strings.HasSuffix(got, c.want) {
				t.Errorf("got\n%swant ... %s", got, c.want)
			}
		})
	}
}

// TestReadErrors lets the store fail at every byte: the error must come
// through as it is and must never be taken for the end of the file.
func TestReadErrors(t *testing.T) {
	failure := errors.New("connection reset")
	for name, data := range map[string][]byte{
		"plain":  []byte(plainCSV),
		"gzip":   gzipped(t, plainCSV),
		"zstd":   zstandard(t, plainCSV),
		"UTF-16": utf16Text(t, unicode.LittleEndian, plainCSV),
	} {
		for n := range len(data) + 1 {
			r := io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(failure))
			if got := read(r, CSV, Options{}); !strings.HasSuffix(got, "error: connection reset\n") || strings.Contains(got, "format") {
				t.Errorf("%s failing after %d bytes: got\n%s", name, n, got)
			}
		}
	}
	if got := read(iotest.ErrReader(io.ErrUnexpectedEOF), JSON, Options{}); got != "error: unexpected EOF\n" {
		t.Errorf("got %s", got)
	}
}

func TestReaderEnds(t *testing.T) {
	rd, err := Open(strings.NewReader(plainCSV), CSV, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := rd.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := rd.Next(); err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
	}
	if got := rd.Offset(); got != int64(len(plainCSV)) {
		t.Errorf("Offset at the end is %d, want %d", got, len(plainCSV))
	}
	rd.Close()
	rd.Close()

	if rd, err = Open(bytes.NewReader(zstandard(t, plainCSV)), CSV, Options{}); err != nil {
		t.Fatal(err)
	}
	rd.Close()
	if _, err := rd.Next(); err == nil || err == io.EOF {
		t.Errorf("after Close: %v", err)
	}
	if _, err := Open(strings.NewReader(plainCSV), "csv", Options{}); err == nil {
		t.Error("an unknown format was opened")
	}
}

// TestOffset checks that Offset counts stored bytes and grows to their number.
func TestOffset(t *testing.T) {
	data := zstandard(t, "address\n"+strings.Repeat("someone@example.com\n", 200000))
	rd, err := Open(bytes.NewReader(data), CSV, Options{MaxLine: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	last := int64(0)
	for n := 0; ; n++ {
		at := rd.Offset()
		if at < last || at > int64(len(data)) {
			t.Fatalf("Offset went from %d to %d of %d", last, at, len(data))
		}
		if last = at; n == 100000 && (at == 0 || at == int64(len(data))) {
			t.Errorf("Offset is %d of %d half-way", at, len(data))
		}
		if _, err := rd.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if last != int64(len(data)) {
		t.Errorf("Offset ended at %d of %d", last, len(data))
	}
}

func TestCodes(t *testing.T) {
	for _, c := range []Code{LineTooLong, BadQuote, MissingColumn, Empty, NotUTF8, NotJSON, NotAnObject, MissingAddress, NotAString} {
		if c.Error() == string(c) {
			t.Errorf("%s has no words", string(c))
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "",
		"a\x00\tb\u00f6\xff\u200b.":       "a..b\u00f6...",
		strings.Repeat("\u00f6", 99):      strings.Repeat("\u00f6", 99),
		strings.Repeat("\u00f6", 500):     strings.Repeat("\u00f6", 100),
		strings.Repeat("\U0001f600", 101): strings.Repeat("\U0001f600", 100),
	} {
		if got := printable([]byte(in)); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}
