package exporter

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
	"unsafe"

	"sesame/internal/eventdb"
	"sesame/internal/events"
)

// sesColumns are those of the service's file, in order.
var sesColumns = []string{
	"messageid", "sendtimestamp", "isp", "fromaddress", "destination", "subject", "last_delivery_event", "last_engagement_event",
	"last_delivery_event_timestamp", "last_engagement_event_timestamp", "bounce_sub_type", "diagnostic_code",
}

// rowMaker makes rows of what became of a message. What it gives is good until the
// next one.
type rowMaker struct {
	row   []string
	times []byte // text of times
	day   int64  // since 1970, of date
	date  string // "2006-01-02 "
}

// insights gives the values of sesColumns.
func (m *rowMaker) insights(r *eventdb.Recipient) []string {
	m.times = m.times[:0]
	m.row = append(m.row[:0], r.MessageID, m.timestamp(r.Sent), r.ISP, r.From, r.Destination, r.Subject, lastDelivery(r), string(r.Engagement),
		m.timestamp(r.DeliveryTime), m.timestamp(r.EngagementTime), events.UpperSnake(r.SubType), r.Diagnostic)
	return m.row
}

// timestamp gives a time as "2006-01-02 15:04:05.000 UTC", "" for the zero time.
// time.Format takes longer than everything else that is done for a row.
func (m *rowMaker) timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	ms := t.UnixMilli()
	const perDay = 24 * 60 * 60 * 1000
	day := ms / perDay
	if ms < 0 {
		return t.UTC().Format("2006-01-02 15:04:05.000 UTC")
	}
	if m.date == "" || day != m.day {
		m.day, m.date = day, t.UTC().Format("2006-01-02 ")
	}
	from := len(m.times)
	ms -= day * perDay
	h, min, sec := ms/3_600_000, ms/60_000%60, ms/1000%60
	ms %= 1000
	m.times = append(m.times, m.date...)
	m.times = append(m.times, byte('0'+h/10), byte('0'+h%10), ':', byte('0'+min/10), byte('0'+min%10), ':', byte('0'+sec/10), byte('0'+sec%10),
		'.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	m.times = append(m.times, " UTC"...)
	return unsafe.String(&m.times[from], len(m.times)-from)
}

// errEnough ends a walk that has given all rows that were asked for.
var errEnough = errors.New("enough")

// insights writes the rows of a job, and tells progress how far it is.
func (s *Service) insights(ctx context.Context, j Job, w io.Writer, progress func(Progress)) (Progress, error) {
	q := j.Order.Insights
	start := q.Start
	if oldest := j.Created.AddDate(0, 0, -likeSESDays); s.Config.LikeSES && start.Before(oldest) {
		start = oldest
	}
	include, exclude := newMatcher(q.Include), newMatcher(q.Exclude)
	format := formats[j.Order.Format]
	var p Progress
	buf := format.begin(nil, sesColumns)
	maker := rowMaker{times: make([]byte, 0, 128)} // room for three times, so that it does not move
	mail := eventdb.Mail{From: start, To: q.End.Add(time.Millisecond), OneRecipient: s.Config.LikeSES}
	mail.Read = func(from time.Time, n int64) {
		p.Processed += n
		p.Share = 1 - max(0, float64(from.Sub(start)))/max(1, float64(mail.To.Sub(start)))
		progress(p)
	}
	err := s.Events.Recipients(ctx, j.Owner, mail, func(r *eventdb.Recipient) error {
		if !include.match(r) || !exclude.empty && exclude.match(r) {
			return nil
		}
		buf = format.row(buf, sesColumns, maker.insights(r), p.Exported == 0)
		p.Exported++
		if len(buf) > 256<<10 {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		if p.Exported == q.MaxResults {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return p, err
	}
	p.Share = 1
	_, err = w.Write(format.end(buf))
	return p, err
}

// format is how rows of text are written.
type format struct {
	begin func(b []byte, columns []string) []byte
	row   func(b []byte, columns, values []string, first bool) []byte
	end   func(b []byte) []byte
}

// formats are the service's, to the byte.
var formats = map[Format]format{
	CSV: {
		begin: func(b []byte, columns []string) []byte { return appendCSV(b, columns) },
		row:   func(b []byte, _, values []string, _ bool) []byte { return appendCSV(b, values) },
		end:   func(b []byte) []byte { return b },
	},
	JSON: {
		begin: func(b []byte, _ []string) []byte { return append(b, "[\n"...) },
		row: func(b []byte, columns, values []string, first bool) []byte {
			if !first {
				b = append(b, ',')
			}
			b = append(b, '{')
			some := false
			for i, v := range values {
				if v == "" {
					continue
				}
				if some {
					b = append(b, ',')
				}
				some = true
				b = append(b, '"')
				b = append(b, columns[i]...)
				b = append(b, `":`...)
				b = appendJSON(b, v)
			}
			return append(b, "}\n"...)
		},
		end: func(b []byte) []byte { return append(b, "]\n"...) },
	},
}

// appendCSV quotes every value, doubles quotes, and ends the line with a comma, as
// the service does.
func appendCSV(b []byte, values []string) []byte {
	for _, v := range values {
		b = append(b, '"')
		for {
			i := strings.IndexByte(v, '"')
			if i < 0 {
				break
			}
			b = append(append(b, v[:i]...), `""`...)
			v = v[i+1:]
		}
		b = append(append(b, v...), `",`...)
	}
	return append(b, '\n')
}

// appendJSON writes a string with no more escapes than JSON wants (RFC 8259,
// section 7).
func appendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < ' ':
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
