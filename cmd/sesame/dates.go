package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// span is a time from From on and before To, in UTC and whole milliseconds; it is never
// empty.
type span struct{ From, To time.Time }

// String is the span as --range takes it.
func (s span) String() string {
	const form = "2006-01-02T15:04:05.999Z"
	return s.From.Format(form) + ".." + s.To.Format(form)
}

const wholeDay = 24 * time.Hour

// The years that can be asked for, and how many days there can be before now.
const (
	firstYear    = 1970
	lastYear     = 9999
	longestDays  = 20_000
	spanExamples = "give a span that ends now, such as 7d, 36h or 2w; a day, such as 2026-11-20; the first and the last day, such as 2026-11-01..2026-11-20, either of which may be missing; " +
		"or times, such as 2026-11-01T10:00..2026-11-01T12:30 (all UTC unless they say otherwise)"
	daysExamples = "metrics are of whole days (UTC): give a number of days, such as 7d or 2w, for the last ones that are over; a day, such as 2026-11-20; " +
		"or the first and the last day, such as 2026-11-01..2026-11-20, either of which may be missing"
)

// parseSpan reads what --range says at a time. With days, the span is of whole days, of
// which the last is over unless it is named.
func parseSpan(text string, now time.Time, days bool) (span, error) {
	now = now.UTC().Truncate(time.Millisecond)
	examples := spanExamples
	if days {
		now, examples = now.Truncate(wholeDay), daysExamples
	}
	wrong := func(why string) (span, error) {
		return span{}, fmt.Errorf("--range %.60q %s: %s", text, why, examples)
	}
	s := span{From: time.Unix(0, 0).UTC(), To: now}
	first, last, two := strings.Cut(text, "..")
	switch {
	case two && first == "" && last == "":
		return wrong("says neither when it begins nor when it ends")
	case two:
		if first != "" {
			from, _, ok := parseDate(first)
			if !ok {
				return wrong(fmt.Sprintf("begins with %.40q, which is no date", first))
			}
			s.From = from
		}
		if last != "" {
			to, day, ok := parseDate(last)
			if !ok {
				return wrong(fmt.Sprintf("ends with %.40q, which is no date", last))
			}
			if day {
				to = to.AddDate(0, 0, 1)
			}
			s.To = to
		}
	default:
		if ago, ok := parseAgo(text); ok {
			s.From = now.Add(-ago)
			break
		}
		from, day, ok := parseDate(text)
		if !ok {
			return wrong("is no span of time")
		}
		if !day {
			return wrong("is one moment")
		}
		s = span{from, from.AddDate(0, 0, 1)}
	}
	switch {
	case !s.From.Before(s.To):
		return wrong("ends before it begins, or where it does")
	case s.To.Year() > lastYear:
		return wrong("ends too late")
	case days && (!s.From.Equal(s.From.Truncate(wholeDay)) || !s.To.Equal(s.To.Truncate(wholeDay))):
		return wrong("has a part of a day")
	}
	return s, nil
}

// parseAgo reads a number of hours, days or weeks.
func parseAgo(text string) (time.Duration, bool) {
	unit, ok := map[byte]time.Duration{'h': time.Hour, 'd': wholeDay, 'w': 7 * wholeDay}[lastByte(text)]
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 32)
	if err != nil || n == 0 || time.Duration(n) > longestDays*wholeDay/unit {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

func lastByte(s string) byte {
	if s == "" {
		return 0
	}
	return s[len(s)-1]
}

// parseDate reads a day, or a moment; day says which.
func parseDate(text string) (t time.Time, day, ok bool) {
	for _, form := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", time.RFC3339} {
		t, err := time.Parse(form, text)
		if t = t.UTC(); err == nil && t.Year() >= firstYear && t.Equal(t.Truncate(time.Millisecond)) {
			return t, form == time.DateOnly, true
		}
	}
	return time.Time{}, false, false
}
