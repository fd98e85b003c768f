package importer_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"sesame/internal/address"
	"sesame/internal/importfile"
)

// What may stand where an entry should, so few that many come twice.
var (
	locals  = rapid.SampledFrom([]string{"a", "A", "ann", "Ann", "ANN", "b", "é", "É", "ß", "ss", "用户", "x+y", "o'b", `"a b"`, `"A b"`, `"ann"`, `"q\"q"`, `"a,b"`, "zz.z", "𝔞"})
	domains = rapid.SampledFrom([]string{"example.com", "Example.COM", "example.com.", "sub.example.com", "bücher.example", "xn--bcher-kva.example", "BÜCHER.example"})
	entries = rapid.OneOf(
		rapid.Custom(func(t *rapid.T) string { return locals.Draw(t, "local") + "@" + domains.Draw(t, "domain") }),
		rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("user%d@example.com", rapid.IntRange(0, 999).Draw(t, "n")) }),
		rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"*@", "a*@", "A*@", "us*@", "1234567890123456789*@", "*.", "ann@*.", "ANN@*.", ""}).Draw(t, "wildcard") + domains.Draw(t, "domain")
		}),
	)
	values = rapid.OneOf(entries, entries, entries, rapid.SampledFrom([]string{
		"none", "a@b@example.com", "@example.com", "a@localhost", "a@192.0.2.1", "*", "a*b*@example.com", "a@example..com", "a;b@example.com", "a,b@example.com",
		"12345678901234567890*@example.com", "a\x00@example.com", "a b@example.com", strings.Repeat("a", 65) + "@example.com",
		strings.Repeat("a.", 200) + "example.com", "\u00a0x@example.com", "<a@example.com>", "[a]@example.com", noText + "@example.com",
	}))
)

// noText stands in a drawn file for what is no text in the file's encoding.
const noText = "\ue000"

// refusal is a line that is no entry.
type refusal struct {
	Line int64 // from 1, of the text as an editor shows it
	Code string
}

// drawn is a file, and what its lines come to.
type drawn struct {
	*rapid.T
	text    strings.Builder
	line    int64           // that the next byte is on
	entries []address.Entry // in order, with duplicates
	refused []refusal
}

func newDrawn(t *rapid.T) *drawn { return &drawn{T: t, line: 1} }

func (d *drawn) put(text string) {
	d.text.WriteString(text)
	d.line += int64(strings.Count(text, "\n"))
}

// bad notes that what is put next is refused.
func (d *drawn) bad(code string) { d.refused = append(d.refused, refusal{d.line, code}) }

// value notes that what is put next has a value, or is refused for it.
func (d *drawn) value(value string) {
	if strings.Contains(value, noText) {
		d.bad("not_utf8")
		return
	}
	e, err := address.Parse(value)
	if reason, bad := err.(address.Reason); bad {
		d.bad(reason.Code())
		return
	}
	d.entries = append(d.entries, e)
}

// many draws how many lines come, few or more than the sorter's memory takes.
func (d *drawn) many() int { return rapid.SampledFrom([]int{0, 1, 30, 150, 250}).Draw(d.T, "lines") }

func (d *drawn) oneOf(what string, of ...string) string { return rapid.SampledFrom(of).Draw(d.T, what) }

// tooLong is longer than a line may be.
var tooLong = strings.Repeat("x", importfile.DefaultMaxLine+1)

// csv draws a CSV file.
func (d *drawn) csv() {
	end := d.oneOf("line end", "\n", "\r\n")
	sep := d.oneOf("separator", ",", ",", ";", "\t")
	header := d.oneOf("header", "address", "Address", `"E-Mail"`, "name,address", "address,name", "address,email_address,Email", "")
	if !strings.Contains(header, ",") {
		sep = "," // one name does not tell
	}
	if header == "" {
		d.value("first@example.com")
		header = "first@example.com"
	}
	d.put(strings.ReplaceAll(header, ",", sep) + end)
	blank := []string{"", " ", "\t "}
	around := []string{"", " ", "\t"}
	if sep == "\t" {
		blank, around = blank[:2], around[:2]
	}
	for range d.many() {
		before, after := "", ""
		switch header {
		case "name,address":
			before = d.oneOf("name", "Ann", `"Ann, the first"`, "\"Ann;\nthe\tsecond\"", "") + sep
		case "address,name":
			after = sep + "Bob"
		case "address,email_address,Email": // the more telling name wins
			before, after = "1 Main St"+sep, sep+"other@example.com"
		}
		line := func(field string) { d.put(before + field + after) }
		switch kind := rapid.IntRange(0, 39).Draw(d.T, "kind of line"); {
		case kind <= 1:
			d.put(d.oneOf("blank", blank...)) // no line at all
		case kind == 2 && before != "":
			d.bad("missing_column")
			d.put("no second column")
		case kind == 3:
			d.bad("bad_quote")
			d.put(`mis"placed@example.com` + after)
		case kind == 4:
			d.bad("empty")
			line(`""`)
		case kind == 5 && rapid.IntRange(0, 9).Draw(d.T, "too long") == 0:
			d.bad("line_too_long")
			d.put(tooLong)
		default:
			value := values.Draw(d.T, "value")
			d.value(value)
			value = rapid.SampledFrom(around).Draw(d.T, "before it") + value + rapid.SampledFrom(around).Draw(d.T, "behind it")
			if strings.ContainsAny(value, sep+`"`) || kind == 6 {
				value = `"` + strings.ReplaceAll(value, `"`, `""`) + `"`
			}
			line(value)
		}
		d.put(end)
	}
	if d.oneOf("the last line", "ends", "does not end") == "does not end" {
		text := strings.TrimSuffix(d.text.String(), end)
		d.text.Reset()
		d.text.WriteString(text)
	}
}

// element draws a JSON value that should hold an entry; bare says that it may be
// the entry alone.
func (d *drawn) element(bare bool) {
	type bad struct{ text, code string }
	switch rapid.IntRange(0, 9).Draw(d.T, "kind of element") {
	case 0:
		b := rapid.SampledFrom([]bad{
			{"5", "not_an_object"}, {"null", "not_an_object"}, {"[]", "not_an_object"}, {`{"addr":"a@example.com"}`, "missing_address"},
			{`{"address":7}`, "not_a_string"}, {`{"address":""}`, "empty"}, {`{"address":"\ud800@example.com"}`, "not_utf8"},
		}).Draw(d.T, "bad")
		d.bad(b.code)
		d.put(b.text)
		return
	case 1:
		if rapid.IntRange(0, 9).Draw(d.T, "too long") == 0 {
			d.bad("line_too_long")
			d.put(`{"address":"a@example.com","note":"` + tooLong + `"}`)
			return
		}
	}
	value := values.Draw(d.T, "value")
	d.value(value)
	text, err := json.Marshal(value)
	if err != nil {
		d.Fatal(err)
	}
	if bare && rapid.Bool().Draw(d.T, "bare") {
		d.put(string(text))
		return
	}
	form := d.oneOf("form", `{"address":%s}`, `{"x":{"address":"no@example.com"},"address" : %s , "y":[1,"}"]}`, `{"address":"old@example.com","address":%s}`)
	d.put(fmt.Sprintf(form, text))
}

// document draws a JSON document.
func (d *drawn) document() {
	space := d.oneOf("space", "", "\n", " \r\n\t")
	open, shut := "[", "]"
	switch d.oneOf("document", "items", "more than items", "an array") {
	case "items":
		open, shut = `{"items":[`, "]}"
	case "more than items":
		open, shut = `{"v":[{}],"items":[`, `],"more":{"items":[]}}`
	}
	d.put(space + open + space)
	for n := range d.many() {
		if n > 0 {
			d.put(space + "," + space)
		}
		d.element(true)
	}
	d.put(space + shut + space)
}

// jsonLines draws a file of one JSON object a line.
func (d *drawn) jsonLines() {
	end := d.oneOf("line end", "\n", "\r\n")
	d.value("first@example.com")
	d.put(`{"address":"first@example.com"}` + end)
	for range d.many() {
		switch rapid.IntRange(0, 14).Draw(d.T, "kind of line") {
		case 0: // none
		case 1:
			d.bad("not_json")
			d.put(d.oneOf("broken", `{"address":`, "a@example.com", `{"address":"a@example.com"} x`, "}"))
		case 2:
			d.bad("not_an_object")
			d.put(`"a@example.com"`)
		default:
			d.element(false)
		}
		d.put(end)
	}
}

// encoded gives the file's bytes.
func (d *drawn) encoded() []byte {
	text := d.text.String()
	switch d.oneOf("encoding", "UTF-8", "UTF-8", "UTF-8 with a mark", "UTF-16LE", "UTF-16BE") {
	case "UTF-8 with a mark":
		text = "\ufeff" + text
	case "UTF-16LE":
		return wide(text, binary.LittleEndian)
	case "UTF-16BE":
		return wide(text, binary.BigEndian)
	}
	return []byte(strings.ReplaceAll(text, noText, "\xff"))
}

func wide(text string, order binary.AppendByteOrder) []byte {
	b := order.AppendUint16(nil, 0xfeff)
	for _, unit := range utf16.Encode([]rune(text)) {
		if unit == 0xe000 {
			unit = 0xd800 // one half of a pair
		}
		b = order.AppendUint16(b, unit)
	}
	return b
}

// packed gives what is stored of a file.
func (d *drawn) packed(file []byte) []byte {
	switch d.oneOf("packing", "none", "none", "gzip", "gzip in two parts", "zstd") {
	case "gzip":
		return packed(file)
	case "gzip in two parts":
		cut := rapid.IntRange(0, len(file)).Draw(d.T, "cut")
		return append(packed(file[:cut]), packed(file[cut:])...)
	case "zstd":
		z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstd.MinWindowSize), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			d.Fatal(err)
		}
		defer z.Close()
		return z.EncodeAll(file, nil)
	}
	return file
}

// packed gives a file in gzip.
func packed(file []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // a level that there is
	z.Write(file)                                   // to memory: no error
	z.Close()
	return b.Bytes()
}
