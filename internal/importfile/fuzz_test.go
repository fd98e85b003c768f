package importfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"
)

// FuzzCSV and FuzzJSON read any file. It must end, without a panic, with
// lines that never go back and values that keep their promises, and the size
// of the pieces it comes in must not matter.
func FuzzCSV(f *testing.F) {
	f.Add([]byte("address\na@example.com\n\"b@example.com\",x\n"), uint16(64))
	f.Add(gzipped(f, plainCSV), uint16(16))
	f.Add(zstandard(f, plainCSV), uint16(16))
	addCases(f, "csv")
	f.Fuzz(func(t *testing.T, data []byte, maxLine uint16) { fuzzRead(t, data, CSV, maxLine) })
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"items":[{"address":"a@example.com"}]}`), uint16(64))
	f.Add([]byte("{\"address\":\"a@example.com\"}\n{}\n"), uint16(64))
	f.Add([]byte(`["\ud834\udd1e",{"address":"\u0061"},[1.5e-7,null]]`), uint16(16))
	addCases(f, "json")
	f.Fuzz(func(t *testing.T, data []byte, maxLine uint16) {
		fuzzRead(t, data, JSON, maxLine)
		// The nesting limit is the only difference from encoding/json.
		line := bytes.TrimSpace(data)
		if bytes.Count(line, []byte("{"))+bytes.Count(line, []byte("[")) <= maxDepth && isJSON(line) != json.Valid(line) {
			t.Errorf("isJSON is %v, json.Valid %v: %q", isJSON(line), json.Valid(line), line)
		}
	})
}

// addCases makes the case files of a format seeds.
func addCases(f *testing.F, ext string) {
	names, err := filepath.Glob("testdata/cases/*." + ext)
	if err != nil || len(names) == 0 {
		f.Fatal("no cases", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, uint16(256))
	}
}

func fuzzRead(t *testing.T, data []byte, format Format, maxLine uint16) {
	opt := Options{MaxLine: int(maxLine), MaxBytes: 1 << 20, ValidEntry: validEntry}
	rd, err := Open(bytes.NewReader(data), format, opt)
	last, items := int64(0), int64(0)
	for err == nil {
		var it Item
		if it, err = rd.Next(); err != nil {
			break
		}
		if it.Line < max(last, 1) {
			t.Fatalf("line %d came after line %d", it.Line, last)
		}
		last = it.Line
		items++
		switch {
		case it.Bad != "" && len(it.Value) > excerptLen:
			t.Fatalf("line %d: an excerpt of %d bytes", it.Line, len(it.Value))
		case it.Bad == "" && (len(it.Value) == 0 || maxLine > 0 && len(it.Value) > int(maxLine) || !utf8.Valid(it.Value)):
			t.Fatalf("line %d: a value of %d bytes: %q", it.Line, len(it.Value), it.Value)
		}
		if at := rd.Offset(); at < 0 || at > int64(len(data)) {
			t.Fatalf("Offset is %d of %d", at, len(data))
		}
	}
	if rd != nil {
		rd.Close()
	}
	if items > opt.MaxBytes {
		t.Fatalf("%d items", items)
	}
	var fe *FormatError
	if err != io.EOF && !errors.As(err, &fe) {
		t.Fatalf("ended with %v", err)
	}
	if len(data) > 4<<10 {
		return // by the byte is slow
	}
	want := read(chunked("whole", data), format, opt)
	for _, how := range chunkings[1:] {
		if got := read(chunked(how, data), format, opt); got != want {
			t.Fatalf("%s: got\n%s\nwhole:\n%s", how, got, want)
		}
	}
}
