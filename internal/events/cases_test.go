package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the want files of testdata/cases from what Decode gives")

// ours is whose events the cases are.
var ours = Source{"123456789012", "us-east-1"}

// TestCases decodes every file of testdata/cases: NAME.json is a piece as a door
// receives it, NAME.want.json what comes of each of its records.
func TestCases(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("testdata/cases/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal("no cases", err)
	}
	ran := 0
	for _, name := range names {
		received, isWant := strings.CutSuffix(name, ".want.json")
		if isWant {
			if _, err := os.Stat(received + ".json"); err != nil {
				t.Errorf("%s has no partner", name)
			}
			continue
		}
		wantName := strings.TrimSuffix(name, ".json") + ".want.json"
		got := outcomes(t, readFile(t, name))
		if *update {
			if err := os.WriteFile(wantName, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		ran++
		if want := readFile(t, wantName); !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
	if 2*ran != len(names) {
		t.Errorf("%d cases, %d files", ran, len(names))
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// outcomes gives what comes of each record of a piece: "no event", an error, or its
// events, of which the fields that are not empty are shown.
func outcomes(t *testing.T, data []byte) []byte {
	all := []any{}
	for record := range Records(data) {
		events, err := Decode(ours, record)
		switch {
		case errors.Is(err, ErrNoEvent):
			all = append(all, "no event")
		case err != nil:
			all = append(all, map[string]string{"error": err.Error()})
		default:
			shown := []map[string]any{}
			for _, e := range events {
				shown = append(shown, show(t, e))
			}
			all = append(all, shown)
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(all); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func show(t *testing.T, e Event) map[string]any {
	fields := map[string]any{}
	for field, value := range reflect.ValueOf(e).Fields() {
		switch {
		case value.IsZero():
		case field.Name == "Source":
			if e.Source != ours {
				fields["Source"] = e.Source
			}
		case field.Name == "Tags" || field.Name == "Details":
			if !json.Valid([]byte(value.String())) {
				t.Errorf("%s is no JSON: %q", field.Name, value)
			}
			fields[field.Name] = json.RawMessage(value.String())
		case field.Type == reflect.TypeFor[time.Time]():
			fields[field.Name] = value.Interface().(time.Time).Format("2006-01-02T15:04:05.000Z07:00")
		default:
			fields[field.Name] = value.Interface()
		}
	}
	return fields
}

// TestTogether: records that are decoded at once, and ones decoded later, change
// nothing in events that are there.
func TestTogether(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("testdata/cases/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal("no cases", err)
	}
	pieces := make([][]byte, len(names))
	for i, name := range names {
		pieces[i] = readFile(t, name)
	}
	all := func() (got [][]Event) {
		for _, piece := range pieces {
			for record := range Records(piece) {
				events, _ := Decode(ours, bytes.Clone(record)) // TestCases knows which are refused
				got = append(got, events)
			}
		}
		return got
	}
	first := all()
	shown := fmt.Sprintf("%+v", first)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 5 {
				if got := fmt.Sprintf("%+v", all()); got != shown {
					t.Error("decoded otherwise beside others")
				}
			}
		})
	}
	workers.Wait()
	if again := fmt.Sprintf("%+v", first); again != shown {
		t.Error("events changed later")
	}
}
