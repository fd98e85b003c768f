package importfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// chunked gives the same bytes in pieces of another size.
func chunked(how string, data []byte) io.Reader {
	r := bytes.NewReader(data)
	switch how {
	case "byte":
		return iotest.OneByteReader(r)
	case "half":
		return iotest.HalfReader(r)
	case "data and EOF":
		return iotest.DataErrReader(r)
	}
	return r
}

var chunkings = []string{"whole", "byte", "half", "data and EOF"}

// modelCSV reads the whole text of a file with the header "id<sep>address" one
// byte at a time, and gives what read gives.
func modelCSV(text string, sep byte, maxLine int) string {
	var out strings.Builder
	item := func(line int, code Code, value string) {
		if code == "" {
			if value = strings.Trim(value, " \t"); value == "" {
				panic("an empty value without a code")
			}
			fmt.Fprintf(&out, "%d value %q\n", line, value)
			return
		}
		fmt.Fprintf(&out, "%d %s %q\n", line, string(code), value[:min(len(value), excerptLen, maxLine)])
	}
	for number, at := 1, 0; at < len(text); {
		line, _, _ := strings.Cut(text[at:], "\n")
		next := min(at+len(line)+1, len(text))
		fields, end := modelRecord(text, at, sep, maxLine)
		shown := strings.TrimRight(line, "\r")
		switch {
		case len(line) > maxLine:
			item(number, LineTooLong, line)
		case strings.Trim(shown, map[bool]string{true: " ", false: " \t"}[sep == '\t']) == "":
		case fields == nil:
			item(number, BadQuote, shown)
		default:
			lines := strings.Count(text[at:end], "\n")
			shown = strings.TrimRight(text[at:end], "\r\n")
			switch {
			case number == 1 && at == 0:
				// the header
			case len(fields) < 2:
				item(number, MissingColumn, shown)
			case strings.Trim(fields[1], " \t") == "":
				item(number, Empty, shown)
			case !utf8.ValidString(fields[1]):
				item(number, NotUTF8, strings.Trim(fields[1], " \t"))
			default:
				item(number, "", fields[1])
			}
			number, at = number+lines, end
			continue
		}
		number, at = number+1, next
	}
	return out.String() + "end\n"
}

// modelRecord gives the fields of the record at a position and where the next
// one begins, or nil if its quotes are wrong.
func modelRecord(text string, at int, sep byte, maxLine int) ([]string, int) {
	isBlank := func(c byte) bool { return c == ' ' || c == '\t' && sep != '\t' }
	var fields []string
	var field []byte
	state := "start"
	for i := at; ; i++ {
		if i-at > maxLine {
			return nil, 0
		}
		end := i == len(text)
		var c byte
		if !end {
			c = text[i]
		}
		over := end || c == '\n'
		switch state {
		case "start", "bare":
			switch {
			case over:
				fields = append(fields, strings.TrimRight(string(field), "\r"))
				return fields, min(i+1, len(text))
			case c == sep:
				fields, field, state = append(fields, string(field)), nil, "start"
			case c == '"' && state == "start":
				field, state = nil, "quoted"
			case c == '"':
				return nil, 0
			default:
				field = append(field, c)
				if !isBlank(c) {
					state = "bare"
				}
			}
		case "quoted":
			switch {
			case end:
				return nil, 0
			case c == '"':
				state = "quote"
			default:
				field = append(field, c)
			}
		case "quote", "after", "return":
			switch {
			case over:
				return append(fields, string(field)), min(i+1, len(text))
			case c == '\r':
				state = "return"
			case state == "return":
				return nil, 0
			case c == '"' && state == "quote":
				field, state = append(field, c), "quoted"
			case c == sep:
				fields, field, state = append(fields, string(field)), nil, "start"
			case isBlank(c):
				state = "after"
			default:
				return nil, 0
			}
		}
	}
}

// TestCSVModel reads random files made of what matters to the grammar, with
// lines around the longest, and compares with the model.
func TestCSVModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sep := rapid.SampledFrom([]string{",", ";", "\t"}).Draw(t, "separator")
		maxLine := rapid.SampledFrom([]int{16, 40, 200}).Draw(t, "MaxLine")
		part := rapid.SampledFrom([]string{"a@b.c", "x", " ", "\t", "\"", "\"\"", sep, sep, sep + "\"", "\"" + sep, "\n", "\n", "\r\n", "\r", ",",
			"\"\n", "\n\"", "\xff", "\u00e9", "\x00", "0123456789", strings.Repeat("y", 100), strings.Repeat("z\n", 30)})
		parts := rapid.SliceOfN(part, 0, rapid.SampledFrom([]int{10, 100, 2000}).Draw(t, "parts")).Draw(t, "text")
		text := "id" + sep + "address\n" + strings.Join(parts, "")
		want := modelCSV(text, sep[0], maxLine)
		for _, how := range chunkings {
			if got := read(chunked(how, []byte(text)), CSV, Options{MaxLine: maxLine}); got != want {
				t.Fatalf("%s: %q\ngot\n%s\nwant\n%s", how, text, got, want)
			}
		}
	})
}

// jsonParts are values, right and wrong, for random JSON.
var jsonParts = []string{`{"address":"a@b.c"}`, `{"address":"\u0061@b.c","n":{"address":[1]}}`, `{ "a" : 1 , "address" : " b@c.d " }`, `"c@d.e"`, `{}`, `null`,
	`[{"address":"x"}]`, `{"address":1.5e-7}`, `{"address":null}`, `{"address":""}`, "{\"address\":\"\xff\"}", `{"address":"\ud834\udd1e"}`,
	`{"address":"\udd1e"}`, `{"address":"a","address":"b"}`, `{"address":"` + strings.Repeat("q", 60) + `"}`, "{\n\"address\"\n:\n\"m@l.i\"\n}", `-0`, `true`}

// jsonItem gives what one JSON value stands for, by encoding/json.
func jsonItem(line int, raw string, maxLine int, strings_ bool) string {
	code, value := Code(""), ""
	var object map[string]json.RawMessage
	var text string
	address := json.RawMessage(raw)
	switch {
	case len(raw) > maxLine:
		code = LineTooLong
	case raw[0] == '"' && strings_:
	case raw[0] != '{':
		code = NotAnObject
	default:
		if err := json.Unmarshal([]byte(raw), &object); err != nil {
			panic(err)
		}
		if address = object["address"]; address == nil {
			code = MissingAddress
		} else if address[0] != '"' {
			code = NotAString
		}
	}
	if value = raw; code == "" {
		if err := json.Unmarshal(address, &text); err != nil {
			panic(err)
		}
		value = string(address)
		switch text = strings.TrimSpace(text); {
		case text == "":
			code = Empty
		case strings.Contains(text, "\ufffd"):
			code = NotUTF8
		default:
			return fmt.Sprintf("%d value %q\n", line, text)
		}
	}
	return fmt.Sprintf("%d %s %q\n", line, string(code), value[:min(len(value), excerptLen, maxLine)])
}

// TestJSONModel reads random documents and compares with encoding/json.
func TestJSONModel(t *testing.T) {
	space := rapid.SampledFrom([]string{"", "", " ", "\n", "\r\n", "\t\n \n"})
	rapid.Check(t, func(t *rapid.T) {
		maxLine := rapid.SampledFrom([]int{16, 40, 200}).Draw(t, "MaxLine")
		values := rapid.SliceOfN(rapid.SampledFrom(jsonParts), 0, rapid.SampledFrom([]int{3, 300}).Draw(t, "items")).Draw(t, "values")
		var text strings.Builder
		put := func(s string) {
			text.WriteString(s)
			text.WriteString(space.Draw(t, "space"))
		}
		put("")
		object := rapid.Bool().Draw(t, "object")
		if object {
			put("{")
			for range rapid.IntRange(0, 2).Draw(t, "members before") {
				put(`"` + rapid.SampledFrom([]string{"Items", "item\\u0073s", strings.Repeat("n", 300)}).Draw(t, "name") + `"`)
				put(":")
				put(rapid.SampledFrom(jsonParts).Draw(t, "value"))
				put(",")
			}
			put(rapid.SampledFrom([]string{`"items"`, `"\u0069tems"`}).Draw(t, "items name"))
			put(":")
		}
		put("[")
		want := ""
		for i, v := range values {
			if i > 0 {
				put(",")
			}
			want += jsonItem(1+strings.Count(text.String(), "\n"), v, maxLine, true)
			put(v)
		}
		put("]")
		if object {
			for range rapid.IntRange(0, 2).Draw(t, "members after") {
				put(`,`)
				put(`"x"`)
				put(`:`)
				put(rapid.SampledFrom(jsonParts).Draw(t, "value"))
			}
			put("}")
		}
		for _, how := range chunkings {
			if got := read(chunked(how, []byte(text.String())), JSON, Options{MaxLine: maxLine}); got != want+"end\n" {
				t.Fatalf("%s: %q\ngot\n%s\nwant\n%send", how, text.String(), got, want)
			}
		}
		// A document cut anywhere before its last byte is never a whole one.
		whole := strings.TrimSpace(text.String())
		cut := rapid.IntRange(1, len(whole)-1).Draw(t, "cut")
		if got := read(strings.NewReader(whole[:cut]), JSON, Options{MaxLine: maxLine}); !strings.Contains(got, "format error: ") {
			t.Fatalf("%q was read without an error:\n%s", whole[:cut], got)
		}
	})
}

// TestJSONLinesModel reads random newline-delimited files and compares with
// encoding/json.
func TestJSONLinesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxLine := rapid.SampledFrom([]int{30, 60, 200}).Draw(t, "MaxLine")
		broken := []string{"", "  ", "{", "a@b.c", `{"address":"x"} {}`, `{"address":"x"},`, "{\"address\":\"\x01\"}", `{"address":01}`, strings.Repeat("x", 300)}
		line := rapid.SampledFrom(append(broken, jsonParts...))
		lines := rapid.SliceOfN(line, 0, rapid.SampledFrom([]int{3, 300}).Draw(t, "lines")).Draw(t, "text")
		text := `{"address":"first@b.c"}` + "\n" + strings.Join(lines, "\r\n")
		want := ""
		for i, l := range strings.Split(text, "\n") {
			raw := strings.TrimRight(l, "\r")
			switch {
			case len(l) > maxLine:
				want += fmt.Sprintf("%d line_too_long %q\n", i+1, strings.TrimRight(l[:min(len(l), excerptLen, maxLine)], " \t"))
			case strings.TrimSpace(raw) == "":
			case !json.Valid([]byte(raw)):
				raw = strings.TrimSpace(raw)
				want += fmt.Sprintf("%d not_json %q\n", i+1, raw[:min(len(raw), excerptLen)])
			default:
				want += jsonItem(i+1, strings.TrimSpace(raw), maxLine, false)
			}
		}
		for _, how := range chunkings {
			if got := read(chunked(how, []byte(text)), JSON, Options{MaxLine: maxLine}); got != want+"end\n" {
				t.Fatalf("%s: %q\ngot\n%s\nwant\n%send", how, text, got, want)
			}
		}
	})
}

// TestScannerModel compares the grammar with encoding/json's, on text that is
// nearly JSON and comes in two pieces.
func TestScannerModel(t *testing.T) {
	part := rapid.SampledFrom([]string{"{", "}", "[", "]", ",", ":", `"a"`, `"`, `\`, `\n`, `\u00e9`, `\u00g9`, "0", "1", "-", "+", ".", "e", "E", "12",
		"true", "false", "null", "nul", "l", " ", "\n", "\t", "\x01", "\xff", `"a":`, `[1,`, `{"a":1}`, `"b":[]`})
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(strings.Join(rapid.SliceOfN(part, 0, 12).Draw(t, "text"), ""))
		cut := rapid.IntRange(0, len(text)).Draw(t, "cut")
		var s scanner
		n, err := s.feed(text[:cut])
		if err == nil {
			var m int
			if m, err = s.feed(text[n:]); n < cut && m != 0 {
				t.Fatalf("%q: %d bytes were taken after the end", text, m)
			}
			n += m
		}
		ok := err == nil && s.finish() && len(bytes.TrimSpace(text[n:])) == 0
		if ok != json.Valid(text) {
			t.Fatalf("%q: got %v, %v", text, ok, err)
		}
	})
}
