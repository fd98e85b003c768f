package importer_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sesame/internal/address"
	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
)

// What may stand where an entry should, so few that many come twice.
var (
	locals  = rapid.SampledFrom([]string{"a", "A", "ann", "Ann", "ANN", "b", "é", "É", "ß", "ss", "用户", "x+y", "o'b", `"a b"`, `"A b"`, `"ann"`, `"q\"q"`, "a,b", "zz.z"})
	domains = rapid.SampledFrom([]string{"example.com", "Example.COM", "example.com.", "sub.example.com", "bücher.example", "xn--bcher-kva.example", "BÜCHER.example"})
	values  = rapid.OneOf(
		rapid.Custom(func(t *rapid.T) string { return locals.Draw(t, "local") + "@" + domains.Draw(t, "domain") }),
		rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("user%d@example.com", rapid.IntRange(0, 999).Draw(t, "n")) }),
		rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"*@", "a*@", "A*@", "us*@", "1234567890123456789*@", "*.", "ann@*.", "ANN@*.", ""}).Draw(t, "wildcard") + domains.Draw(t, "domain")
		}),
		rapid.SampledFrom([]string{"none", "a@b@example.com", "@example.com", "a@localhost", "a@192.0.2.1", "*", "a*b*@example.com", "a@example..com",
			"12345678901234567890*@example.com", "a\x00@example.com", "a b@example.com", strings.Repeat("a", 65) + "@example.com",
			strings.Repeat("a.", 200) + "example.com", "\u00a0x@example.com", "<a@example.com>", "[a]@example.com"}),
	)
)

// expected is what an import should come to, kept as plainly as can be.
type expected struct {
	shown  map[string]string
	kinds  address.Kinds
	lines  int64
	failed int64
}

// add counts a value, and says whether it is an entry.
func (x *expected) add(value string) bool {
	e, err := address.Parse(strings.Trim(value, " \t"))
	if err != nil || !utf8.ValidString(value) {
		x.failed++
		return false
	}
	x.lines++
	x.kinds |= e.Kind
	if _, there := x.shown[string(e.Key)]; !there {
		x.shown[string(e.Key)] = string(e.Shown)
	}
	return true
}

func (x *expected) members() []string {
	keys := []string{}
	for key := range x.shown {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for n, key := range keys {
		keys[n] = x.shown[key]
	}
	return keys
}

// csvFile draws a CSV file and counts its lines.
func csvFile(t *rapid.T, x *expected) []byte {
	end := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "line end")
	header := rapid.SampledFrom([]string{"address", "\ufeffAddress", `"E-Mail"`, "name,address", "address,name", ""}).Draw(t, "header")
	var b strings.Builder
	if header != "" {
		b.WriteString(header + end)
	} else {
		first := "first@example.com"
		x.add(first)
		b.WriteString(first + end)
	}
	before, after := "", ""
	switch header {
	case "name,address":
		before = `"Ann, the first",`
	case "address,name":
		after = ",Bob"
	}
	for range rapid.SampledFrom([]int{0, 1, 30, 200, 300}).Draw(t, "lines") {
		kind := rapid.IntRange(0, 19).Draw(t, "kind of line")
		switch {
		case kind == 0:
			b.WriteString(rapid.SampledFrom([]string{"", " ", "\t "}).Draw(t, "blank")) // no line at all
		case kind == 1 && before != "":
			b.WriteString("no second column")
			x.failed++
		case kind == 1:
			b.WriteString(before + `mis"placed@example.com` + after)
			x.failed++
		case kind == 2:
			b.WriteString(before + `""` + after)
			x.failed++
		case kind == 3:
			b.WriteString(before + "\xff\xfe@example.com" + after)
			x.failed++
		default:
			value := values.Draw(t, "value")
			x.add(value)
			if kind == 4 {
				value = " " + value + "\t"
			}
			if strings.ContainsAny(value, `,"`) || kind == 5 {
				value = `"` + strings.ReplaceAll(value, `"`, `""`) + `"`
			}
			b.WriteString(before + value + after)
		}
		b.WriteString(end)
	}
	return []byte(strings.TrimSuffix(b.String(), rapid.SampledFrom([]string{"", end}).Draw(t, "cut from the end")))
}

// element draws a JSON value that should hold an entry, and counts it.
func element(t *rapid.T, x *expected, bare bool) string {
	if rapid.IntRange(0, 9).Draw(t, "bad") == 0 {
		x.failed++
		return rapid.SampledFrom([]string{"5", "null", "[]", `{"addr":"a@example.com"}`, `{"address":7}`, `{"address":""}`, `{"address":"\ud800@example.com"}`}).Draw(t, "what")
	}
	value := values.Draw(t, "value")
	x.add(value)
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if bare && rapid.Bool().Draw(t, "bare") {
		return string(text)
	}
	form := rapid.SampledFrom([]string{`{"address":%s}`, `{"x":{"address":"no@example.com"},"address" : %s , "y":[1,"}"]}`, `{"address":"old@example.com","address":%s}`}).Draw(t, "form")
	return fmt.Sprintf(form, text)
}

func jsonDocument(t *rapid.T, x *expected) []byte {
	space := rapid.SampledFrom([]string{"", "\n", " \r\n\t"}).Draw(t, "space")
	var items []string
	for range rapid.SampledFrom([]int{0, 1, 30, 200, 300}).Draw(t, "items") {
		items = append(items, element(t, x, true))
	}
	array := "[" + space + strings.Join(items, space+","+space) + space + "]"
	form := rapid.SampledFrom([]string{`{"items":%s}`, `{"v":[{}],"items":%s,"more":{"items":[]}}`, "%s"}).Draw(t, "document")
	return []byte(space + fmt.Sprintf(form, array) + space)
}

func jsonLines(t *rapid.T, x *expected) []byte {
	x.add("first@example.com")
	var b strings.Builder
	b.WriteString(`{"address":"first@example.com"}` + "\n")
	for range rapid.SampledFrom([]int{0, 1, 30, 200, 300}).Draw(t, "lines") {
		switch rapid.IntRange(0, 14).Draw(t, "kind of line") {
		case 0:
		case 1:
			x.failed++
			b.WriteString(rapid.SampledFrom([]string{`{"address":`, "a@example.com", `"a@example.com"`, `{"address":"a@example.com"} x`, "}"}).Draw(t, "broken"))
		default:
			b.WriteString(element(t, x, false))
		}
		b.WriteString("\n")
	}
	return []byte(b.String())
}

// Whatever the file, an import comes to what plain Go comes to that holds it all
// in memory; and one that does not fit changes nothing and says by how much.
func TestImportsAsTheModel(t *testing.T) {
	spilled := 0
	rapid.Check(t, func(r *rapid.T) {
		x := &expected{shown: map[string]string{}}
		had := []string{}
		for range rapid.IntRange(0, 5).Draw(r, "members before") {
			value := values.Draw(r, "member")
			if x.add(value) {
				had = append(had, value)
			}
		}
		before := outcome{Members: x.members(), Kinds: x.kinds}
		x.lines, x.failed = 0, 0

		format := importfile.JSON
		var file []byte
		switch rapid.IntRange(0, 2).Draw(r, "format") {
		case 0:
			format, file = importfile.CSV, csvFile(r, x)
		case 1:
			file = jsonDocument(r, x)
		case 2:
			file = jsonLines(r, x)
		}
		if rapid.IntRange(0, 4).Draw(r, "packed") == 0 {
			file = packed(file)
		}
		want := outcome{Status: jobs.Completed, Imported: x.lines, Failed: x.failed, Members: x.members(), Kinds: x.kinds}
		total := int64(len(want.Members))
		limit := max(total+rapid.Int64Range(-3, 3).Draw(r, "room"), 1)
		if limit < total {
			want = before
			want.Status, want.Failed = jobs.Failed, x.failed
			want.Error = fmt.Sprintf("The file would bring the list to %d members, %d more than the %d that it may hold. Nothing was imported.", total, total-limit, limit)
		}

		w := newWorld(t, importer.Config{Members: limit, Memory: 4 << 10})
		defer w.close()
		w.register(had...)
		job := w.started(format, file)
		w.work(w.ctx)
		if diff := cmp.Diff(want, w.outcome(job)); diff != "" {
			r.Fatalf("the import (-model +Sesame):\n%s\nof the %s file\n%q", diff, format, file)
		}
		fresh := total - int64(len(before.Members))
		if want.Status == jobs.Failed {
			fresh = 0
		}
		w.checkReport(r, job, x.lines, x.failed, fresh)
		if x.lines > 85 {
			spilled++
		}
		if left := len(w.uploaded()); (left == 0) != (want.Status == jobs.Completed) {
			r.Fatalf("the job is %s and %d uploads are left", want.Status, left)
		}
	})
	if spilled == 0 && !t.Failed() {
		t.Error("no file was larger than the memory")
	}
}

func packed(file []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(file)
	z.Close()
	return b.Bytes()
}
