package importfile

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"
)

// repeated gives head, then n bytes of part over and over, then tail.
func repeated(head, part string, n int64, tail string) io.Reader {
	return io.MultiReader(strings.NewReader(head), io.LimitReader(&endless{part: part}, n), strings.NewReader(tail))
}

type endless struct {
	part string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		c := copy(p[n:], e.part[e.at:])
		n += c
		e.at = (e.at + c) % len(e.part)
	}
	return n, nil
}

// TestMemory reads files made to be held in memory. What is allocated from
// Open to Close, garbage included, must not depend on their size.
func TestMemory(t *testing.T) {
	const size, bound = 8 << 20, 1 << 20
	bomb := gzipped(t, strings.Repeat("a", size))
	for _, c := range []struct {
		name   string
		format Format
		r      io.Reader
		want   string // code of the first item, or part of the error
		items  int64
	}{
		{"csv line", CSV, repeated("address\n", "a", size, "\nb@example.com\n"), string(LineTooLong), 2},
		{"csv header", CSV, repeated("", "address,", size, "\n"), `found "address,address`, 0},
		{"csv quoted field", CSV, repeated("address\n\"", "a", size, "\"\n"), string(LineTooLong), 1},
		{"csv quoted field of lines", CSV, repeated("address\n\"", "0123456789abcde\n", size, "\"\n"), string(BadQuote), size/16 + 1},
		{"csv unclosed quotes", CSV, repeated("address\n", "\"\n"+strings.Repeat("0123456789abcd\n", 5000), size/75002*75002, ""), string(BadQuote), size / 75002 * 5001},
		{"csv separators", CSV, repeated("address\n", ",", size, ""), string(LineTooLong), 1},
		{"csv blank lines", CSV, repeated("", "\n", size, "address\nb@example.com\n"), "", 1},
		{"json string", JSON, repeated(`["`, "a", size, `","b@example.com"]`), string(LineTooLong), 2},
		{"json unclosed string", JSON, repeated(`["`, "a", size, ""), "too early", 0},
		{"json address", JSON, repeated(`{"items":[{"address":"`, `\u0061`, size/6*6, `"}]}`), string(LineTooLong), 1},
		{"json member before", JSON, repeated(`{"x":[`, `{"a":[1,2]},`, size/12*12, `0],"items":["b@example.com"]}`), "", 1},
		{"json name", JSON, repeated(`{"`, "x", size, `":1,"items":["b@example.com"]}`), "", 1},
		{"json nesting", JSON, repeated("", "[", size, ""), "nested more than 100 deep", 0},
		{"json nested objects", JSON, repeated(`{"items":[`, `{"a":`, size, ""), "nested more than 100 deep", 0},
		{"json number", JSON, repeated("[1", "0", size, "]"), string(LineTooLong), 1},
		{"json blanks", JSON, repeated(`{"items":[`, " \n", size, `"b@example.com"]}`), "", 1},
		{"json line", JSON, repeated("{\"address\":\"b@example.com\"}\n{\"address\":\"", "a", size, "\"}\n"), "", 2},
		{"gzip bomb", CSV, bytes.NewReader(bomb), "unpacks to more than the limit", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, items := "", int64(0)
			opt := Options{ValidEntry: validEntry}
			if c.name == "gzip bomb" {
				opt.MaxBytes = size / 2
			}
			rd, err := Open(c.r, c.format, opt)
			for err == nil {
				var it Item
				if it, err = rd.Next(); err == nil {
					if items++; items == 1 {
						got = string(it.Bad)
					}
				}
			}
			if rd != nil {
				rd.Close()
			}
			runtime.ReadMemStats(&after)
			if err != io.EOF {
				got += err.Error()
			}
			if items != c.items || c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %d items and %q, want %d and %q", items, got, c.items, c.want)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > bound {
				t.Errorf("%d bytes were allocated for a file of %d", grown, size)
			}
		})
	}
}
