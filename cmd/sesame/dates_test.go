package main

import (
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 21, 12, 34, 56, 789_012_345, time.UTC)

// What --range may be, and what is meant by it.
func TestSpan(t *testing.T) {
	const days, any = true, false
	for _, c := range []struct {
		text string
		days bool
		want string
	}{
		{"7d", any, "2026-11-14T12:34:56.789Z..2026-11-21T12:34:56.789Z"},
		{"36h", any, "2026-11-20T00:34:56.789Z..2026-11-21T12:34:56.789Z"},
		{"2w", any, "2026-11-07T12:34:56.789Z..2026-11-21T12:34:56.789Z"},
		{"20000d", any, "1972-02-18T12:34:56.789Z..2026-11-21T12:34:56.789Z"},
		{"2026-11-20", any, "2026-11-20T00:00:00Z..2026-11-21T00:00:00Z"},
		{"2026-11-21", any, "2026-11-21T00:00:00Z..2026-11-22T00:00:00Z"},
		{"2026-11-01..2026-11-20", any, "2026-11-01T00:00:00Z..2026-11-21T00:00:00Z"},
		{"2026-11-20..2026-11-20", any, "2026-11-20T00:00:00Z..2026-11-21T00:00:00Z"},
		{"2026-11-01T10:00..2026-11-01T12:30", any, "2026-11-01T10:00:00Z..2026-11-01T12:30:00Z"},
		{"2026-11-01T10:00:01.5+02:00..2026-11-01", any, "2026-11-01T08:00:01.5Z..2026-11-02T00:00:00Z"},
		{"2026-11-01T10:00Z..2026-11-01T10:00-01:30", any, "2026-11-01T10:00:00Z..2026-11-01T11:30:00Z"},
		{"2026-11-01..", any, "2026-11-01T00:00:00Z..2026-11-21T12:34:56.789Z"},
		{"..2026-11-01", any, "1970-01-01T00:00:00Z..2026-11-02T00:00:00Z"},
		{"7d", days, "2026-11-14T00:00:00Z..2026-11-21T00:00:00Z"},
		{"1w", days, "2026-11-14T00:00:00Z..2026-11-21T00:00:00Z"},
		{"48h", days, "2026-11-19T00:00:00Z..2026-11-21T00:00:00Z"},
		{"2026-11-21", days, "2026-11-21T00:00:00Z..2026-11-22T00:00:00Z"},
		{"2026-11-01..2026-11-20", days, "2026-11-01T00:00:00Z..2026-11-21T00:00:00Z"},
		{"2026-11-01..", days, "2026-11-01T00:00:00Z..2026-11-21T00:00:00Z"},
		{"2026-11-01T00:00..2026-11-02T00:00", days, "2026-11-01T00:00:00Z..2026-11-02T00:00:00Z"},
		// What is wrong says why, and what to give.
		{"", any, `--range "" is no span of time: give`},
		{"7", any, `--range "7" is no span of time: give`},
		{"d", any, `is no span`},
		{"0d", any, `is no span`},
		{"-7d", any, `is no span`},
		{"+7d", any, `is no span`},
		{"20001d", any, `is no span`},
		{"99999999999999999999w", any, `is no span`},
		{"last week", any, `is no span`},
		{"2026-02-30", any, `is no span`},
		{"1969-12-31", any, `is no span`},
		{"9999-12-31", any, `ends too late`},
		{"2026-11-20T10:00", any, `is one moment: give`},
		{"..", any, `says neither`},
		{"7d..", any, `begins with "7d", which is no date`},
		{"2026-11-01...2026-11-02", any, `ends with ".2026-11-02", which is no date`},
		{"2026-11-01..20", any, `ends with "20", which is no date`},
		{"2026-11-20..2026-11-01", any, `ends before it begins`},
		{"2026-11-20T10:00..2026-11-20T10:00", any, `ends before it begins, or where it does`},
		{"2026-11-22..", any, `ends before it begins`},
		{"2026-11-21..", days, `ends before it begins`},
		{"36h", days, `has a part of a day: metrics are of whole days`},
		{"2026-11-20T10:00..2026-11-21", days, `has a part of a day`},
		{strings.Repeat("x", 1000), any, `is no span`},
	} {
		got, err := parseSpan(c.text, noon, c.days)
		said := got.String()
		if err != nil {
			said = err.Error()
		}
		if wrong := strings.HasPrefix(c.want, "--range") || !strings.Contains(c.want, ".."); (err != nil) != wrong || !strings.Contains(said, c.want) || len(said) > 600 {
			t.Errorf("%q, days %v: %s, want %s", c.text, c.days, said, c.want)
		}
	}
}

// Whatever --range says, the span is one that can be asked for, and reads the same again.
func FuzzSpan(f *testing.F) {
	for _, text := range []string{"7d", "36h", "2w", "2026-11-20", "2026-11-01..2026-11-20", "2026-11-01T10:00..2026-11-01T12:30:01.5+02:00", "..2026-11-01", "2026-11-01.."} {
		f.Add(text, false)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, days bool) {
		s, err := parseSpan(text, noon, days)
		if err != nil {
			if s != (span{}) || !strings.HasPrefix(err.Error(), "--range ") || len(err.Error()) > 1500 {
				t.Fatalf("%q: %v, %v", text, s, err)
			}
			return
		}
		if !s.From.Before(s.To) || s.To.Year() > lastYear || s.From.Year() < firstYear {
			t.Fatalf("%q is %s", text, s)
		}
		if days && (s.From.UnixMilli()%wholeDay.Milliseconds() != 0 || s.To.UnixMilli()%wholeDay.Milliseconds() != 0) {
			t.Fatalf("%q has a part of a day: %s", text, s)
		}
		if again, err := parseSpan(s.String(), noon.AddDate(1, 0, 0), days); err != nil || again != s {
			t.Fatalf("%q is %s, and that is %s, %v", text, s, again, err)
		}
	})
}
