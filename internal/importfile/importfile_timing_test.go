package importfile

import (
	"bytes"
	"fmt"
	"golang.org/x/text/encoding/unicode"
	"io"
	"testing"
)

// BenchmarkNext reads a file of a million items and shows items a second.
func BenchmarkNext(b *testing.B) {
	const items = 1_000_000
	file := func(head, line, between, tail string) []byte {
		var out bytes.Buffer
		out.WriteString(head)
		for i := range items {
			if i > 0 {
				out.WriteString(between)
			}
			fmt.Fprintf(&out, line, i)
		}
		out.WriteString(tail)
		return out.Bytes()
	}
	csv := file("address\n", "user%08d@example.com\n", "", "") // 25 bytes a line
	for _, c := range []struct {
		name   string
		format Format
		data   []byte
	}{
		{"csv", CSV, csv},
		{"csv-second-column", CSV, file("id,email,note\n", "17,user%08d@example.com,x\n", "", "")},
		{"csv-quoted", CSV, file("address,note\n", "\"user%08d@example.com\",\"x, y\"\n", "", "")},
		{"csv-gzip", CSV, gzipped(b, string(csv))},
		{"csv-zstd", CSV, zstandard(b, string(csv))},
		{"csv-utf16", CSV, utf16Text(b, unicode.BigEndian, string(csv))},
		{"json-document", JSON, file(`{"items":[`, `{"address":"user%08d@example.com"}`, ",", "]}")},
		{"json-strings", JSON, file("[", `"user%08d@example.com"`, ",\n", "]")},
		{"json-lines", JSON, file("", `{"address":"user%08d@example.com"}`, "\n", "")},
		{"json-escapes", JSON, file("[", `{"id":7,"address":"user\u0030%08d@example.com"}`, ",", "]")},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.data)))
			b.ReportAllocs()
			for b.Loop() {
				rd, err := Open(bytes.NewReader(c.data), c.format, Options{})
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for ; ; n++ {
					it, err := rd.Next()
					if err == io.EOF {
						break
					} else if err != nil || it.Bad != "" {
						b.Fatal(it.Bad, err)
					}
				}
				rd.Close()
				if n != items {
					b.Fatalf("%d items", n)
				}
			}
			b.ReportMetric(items*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mitems/s")
		})
	}
}
