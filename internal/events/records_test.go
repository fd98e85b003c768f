package events

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRecords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		piece string
		want  []string
	}{
		{"", nil},
		{" \r\n\t\n", nil},
		{"\ufeff\n\ufeff[\n]", nil},
		{`{}`, []string{`{}`}},
		{"{}\n{}\r\n\n{}", []string{`{}`, `{}`, `{}`}},
		{`{"a":1}{"b":2} {"c":3}`, []string{`{"a":1}`, `{"b":2}`, `{"c":3}`}},
		{"{\n \"a\": [\n  {}\n ]\n}\n{}", []string{"{\n \"a\": [\n  {}\n ]\n}", `{}`}},
		{"[{},\n {\"a\":\"]\"}]\n{}", []string{`{}`, `{"a":"]"}`, `{}`}},
		{"{}\ufeff{}", []string{`{}`, `{}`}},
		{`{"a":"}\"{\\"}{}`, []string{`{"a":"}\"{\\"}`, `{}`}},
		{"{\"a\":\"\n{}", []string{`{"a":"`, `{}`}},
		{"{\"a\":{\n{}\n{}", []string{`{"a":{`, `{}`, `{}`}},
		{"{\"a\":[\r\n{}", []string{`{"a":[`, `{}`}},
		{"{]\n{}", []string{`{]`, `{}`}},
		{"{\"a\":[1}\n{}", []string{`{"a":[1}`, `{}`}},
		{"{\"a\":{\n{\"b\":1}\n{\"c\":2}\n}}\n{}", []string{`{"a":{`, `{"b":1}`, `{"c":2}`, `}}`, `{}`}},
		{"{\"a\":\n{\"b\":1},\n\"c\":[\n{\"d\":1},\n{}]}{}", []string{"{\"a\":\n{\"b\":1},\n\"c\":[\n{\"d\":1},\n{}]}", `{}`}},
		{"}\n{}", []string{`}`, `{}`}},
		{"junk {} more \n{}", []string{`junk {} more`, `{}`}},
		{"[1,\"a,b\",{},null]{}", []string{`1`, `"a,b"`, `{}`, `null`, `{}`}},
		{"[\"open,{}]\n{}", []string{`"open`, `{}`, `{}`}},
		{"[ERROR] it broke, see {}\n{}", []string{`ERROR`, `it broke, see {}`, `{}`}},
		{"\x00\n{}", []string{"\x00", `{}`}},
		{"\v\n{}", []string{"\v", `{}`}},
		{strings.Repeat(`{"a":`, maxDepth) + "1" + strings.Repeat("}", maxDepth), []string{strings.Repeat(`{"a":`, maxDepth) + "1" + strings.Repeat("}", maxDepth)}},
		{strings.Repeat(`{"a":`, maxDepth+1) + "\n{}", []string{strings.Repeat(`{"a":`, maxDepth+1), `{}`}},
	} {
		var got []string
		for record := range Records([]byte(c.piece)) {
			got = append(got, string(record))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.piece, diff)
		}
	}
}

// TestLongRecords: a record of MaxRecord bytes is one, a longer one is refused, and
// what follows it is not lost.
func TestLongRecords(t *testing.T) {
	t.Parallel()
	record := func(length int) []byte {
		const head, tail = `{"eventType":"Send","mail":{"messageId":"m","timestamp":"2026-03-01T12:00:00Z"},"x":"`, `"}`
		return slices.Concat([]byte(head), bytes.Repeat([]byte("x"), length-len(head)-len(tail)), []byte(tail), []byte("\n"))
	}
	var got []string
	for one := range Records(slices.Concat(record(MaxRecord), record(MaxRecord+1), record(1000))) {
		_, err := Decode(ours, one)
		got = append(got, fmt.Sprint(len(one), " ", err))
	}
	want := []string{"1572864 <nil>", "1572865 the record is longer than 1572864 bytes", "1000 <nil>"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestRecordsOfMalice: pieces made to be looked at again and again take no time that
// matters.
func TestRecordsOfMalice(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	for _, unit := range []string{
		"{\"a\":\n", "{\n", "[", "[\n", "1,", "\"", "\\", "\"\\", "{\"", "{\"}\n", "{\"a\":1\n{}\n",
		"{\"a\":1\n" + strings.Repeat("{}\n", 1000), "{\"a\":\"" + strings.Repeat("x", 30000) + "\",\n",
	} {
		for _, head := range []string{"", "[", "[\""} {
			piece := []byte(head + strings.Repeat(unit, size/len(unit)))
			start := time.Now()
			for range Records(piece) {
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("%q and %.20q…: %v for %d bytes", head, unit, took, len(piece))
			}
		}
	}
}

// TestDetailsOfMany: what is too much to keep for a thousand recipients is written
// once, and what is said of each is kept.
func TestDetailsOfMany(t *testing.T) {
	t.Parallel()
	var recipients []string
	for i := range MaxRecipients {
		recipients = append(recipients, fmt.Sprintf(`{"emailAddress":"u%d@example.com","status":"5.1.%d"}`, i, i))
	}
	record := `{"eventType":"Bounce","mail":{"messageId":"m","timestamp":"2026-03-01T12:00:00Z"},"bounce":{"bouncedRecipients":[` +
		strings.Join(recipients, ",") + `]},"spare":[` + strings.Repeat(`{"b":1,"a":"\u00e4"},`, 40_000) + `0]}`
	start := time.Now()
	events := mustDecode(t, record)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("%v for %d bytes", took, len(record))
	}
	for i, e := range events {
		if want := fmt.Sprintf(`{"bounce":{"bouncedRecipients":[{"status":"5.1.%d"}]},"sesame:cut":{"details":680013}}`, i); e.Details != want {
			t.Fatalf("details %q, want %q", e.Details, want)
		}
	}
	if len(events) != MaxRecipients {
		t.Errorf("%d events", len(events))
	}
}
