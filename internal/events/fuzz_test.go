package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// addCases makes the case files seeds, beside the files in testdata/fuzz.
func addCases(f *testing.F) {
	names, err := filepath.Glob("testdata/cases/*.json")
	if err != nil || len(names) == 0 {
		f.Fatal("no cases", err)
	}
	for _, name := range names {
		data := readFile(f, name)
		if !strings.HasSuffix(name, ".want.json") && len(data) < 16<<10 {
			f.Add(data)
		}
	}
}

// FuzzDecode: no panic, and what must be true of every event.
func FuzzDecode(f *testing.F) {
	addCases(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		events, err := Decode(ours, data)
		if !bytes.Equal(before, data) {
			t.Fatal("Decode changed the record")
		}
		if err != nil {
			if len(events) > 0 || err.Error() == "" || len(err.Error()) > 200 {
				t.Fatalf("%d events and error %q", len(events), err)
			}
			return
		}
		if len(events) == 0 || len(events) > MaxRecipients {
			t.Fatalf("%d events", len(events))
		}
		for i := range data {
			data[i] = '#' // nothing may refer to it
		}
		for _, e := range events {
			checkEvent(t, &e)
		}
		again, err := Decode(ours, before)
		if diff := cmp.Diff(events, again); diff != "" || err != nil {
			t.Fatalf("decoded again: %v\n%s", err, diff)
		}
	})
}

func checkEvent(t *testing.T, e *Event) {
	t.Helper()
	for what, most := range map[*string]int{
		&e.Account: 12, &e.Region: 32, &e.MessageID: maxMessageID, &e.Destination: maxAddress, (*string)(&e.Type): maxType, &e.From: maxAddress,
		&e.Subject: maxText, &e.ConfigurationSet: maxName, &e.Identity: maxAddress, &e.ISP: 32, &e.Tags: maxTags, &e.BounceType: 2 * maxName,
		&e.SubType: maxName, &e.Diagnostic: maxText, &e.FeedbackType: maxName, &e.DelayType: maxName, &e.Link: maxLink, &e.UserAgent: maxText,
		&e.IP: maxName, &e.FeedbackID: maxName, &e.Details: maxDetails,
	} {
		if !utf8.ValidString(*what) || strings.Contains(*what, "\x00") || len(*what) > most {
			t.Fatalf("a text of %d bytes, %d at most: %q", len(*what), most, *what)
		}
	}
	if e.MessageID == "" || e.Type == "" || e.Time.Year() < 1990 || e.Sent.Year() < 1990 || !e.Time.Equal(e.Time.UTC().Truncate(1e6)) || e.ISP == "" {
		t.Fatalf("an event without what each has: %+v", e)
	}
	var tags map[string][]string
	if e.Tags != "" && (json.Unmarshal([]byte(e.Tags), &tags) != nil || len(tags) == 0) {
		t.Fatalf("tags %q", e.Tags)
	}
	var details map[string]any
	decoder := json.NewDecoder(strings.NewReader(e.Details))
	decoder.UseNumber()
	if e.Details != "" && (decoder.Decode(&details) != nil || len(details) == 0) {
		t.Fatalf("details %q", e.Details)
	}
}

// FuzzRecords: no panic, records are parts of the piece and in order, and nothing
// but what stands between records is left out. Of a stream of objects, or a list of
// them, each is one.
func FuzzRecords(f *testing.F) {
	addCases(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		rest := data
		var got []string
		for record := range Records(data) {
			between, after, found := bytes.Cut(rest, record)
			if !found || len(record) == 0 || !isBetween(between) {
				t.Fatalf("%q after %q", record, between)
			}
			got = append(got, string(record))
			rest = after
		}
		if !isBetween(rest) {
			t.Fatalf("%q is left", rest)
		}
		if want, ok := objects(data); ok && !slices.Equal(got, want) {
			t.Fatalf("got %q\nwant %q", got, want)
		}
		for range Records(data) {
			break
		}
	})
}

func isBetween(b []byte) bool {
	return len(bytes.Trim(bytes.ReplaceAll(b, byteOrderMark, nil), " \t\r\n,[]")) == 0
}

// objects gives the objects of a stream that holds objects and lists of objects
// only, as encoding/json finds them.
func objects(data []byte) (all []string, ok bool) {
	if bytes.Count(data, []byte("{"))+bytes.Count(data, []byte("[")) > maxDepth {
		return nil, false // that may be too deep
	}
	stream := json.NewDecoder(bytes.NewReader(data))
	for {
		var value json.RawMessage
		if err := stream.Decode(&value); errors.Is(err, io.EOF) {
			return all, true
		} else if err != nil {
			return nil, false
		}
		values := []json.RawMessage{value}
		if value[0] == '[' && json.Unmarshal(value, &values) != nil {
			return nil, false
		}
		for _, one := range values {
			if one[0] != '{' {
				return nil, false
			}
			all = append(all, string(one))
		}
	}
}
