package exporter

import (
	"bufio"
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// table writes rows into one file.
type table interface {
	// row writes a row, whose values are good until it returns.
	row(values []value) error
	// end writes what is left. The file is whole when it returns nil.
	end() error
}

// newTable begins a file.
func newTable(o *Order, columns []header, w io.Writer) (table, error) {
	t := &text{w: w, columns: columns}
	switch {
	case o.Format == Parquet:
		return newParquet(columns, o.Compression, w), nil
	case o.Format == StrictCSV:
		return newStrictCSV(columns, w)
	case o.Format == NDJSON:
		t.format = ndjson
	case o.Format == JSON && o.Metrics != nil:
		t.format = metricsJSON
	case o.Format == JSON:
		t.format = insightsJSON
	case o.Metrics != nil:
		t.format = metricsCSV
	default:
		t.format = insightsCSV
	}
	t.buf = t.begin(t.buf, columns)
	return t, nil
}

// text is a table in a format that is written row by row.
type text struct {
	format
	columns []header
	w       io.Writer
	buf     []byte
	rows    int64
	clock   clock
}

// format is how rows of text are written.
type format struct {
	begin func(b []byte, columns []header) []byte
	row   func(b []byte, columns []header, values []value, first bool, c *clock) []byte
	end   func(b []byte) []byte
}

// bufferSize is what is written at once.
const bufferSize = 512 << 10

func (t *text) row(values []value) error {
	t.buf = t.format.row(t.buf, t.columns, values, t.rows == 0, &t.clock)
	t.rows++
	if len(t.buf) < bufferSize {
		return nil
	}
	_, err := t.w.Write(t.buf)
	t.buf = t.buf[:0]
	return err
}

func (t *text) end() error {
	_, err := t.w.Write(t.format.end(t.buf))
	return err
}

// The service's formats, to the byte. Of a column that the service does not have, the
// value is text there too.
var (
	insightsCSV = format{
		begin: func(b []byte, columns []header) []byte {
			for _, c := range columns {
				b = appendQuoted(b, c.name)
			}
			return append(b, '\n')
		},
		row: func(b []byte, columns []header, values []value, _ bool, c *clock) []byte {
			for i := range values {
				switch v := &values[i]; columns[i].kind {
				case ofTime:
					b = append(b, '"')
					b = append(c.service(b, v.n), `",`...)
				case ofBool:
					b = append(b, '"')
					b = append(strconv.AppendBool(b, v.n != 0), `",`...)
				default:
					b = appendQuoted(b, v.text)
				}
			}
			return append(b, '\n')
		},
		end: func(b []byte) []byte { return b },
	}
	insightsJSON = format{
		begin: func(b []byte, _ []header) []byte { return append(b, "[\n"...) },
		row: func(b []byte, columns []header, values []value, first bool, c *clock) []byte {
			if !first {
				b = append(b, ',')
			}
			return appendObject(b, columns, values, func(b []byte, kind kind, v *value) []byte {
				switch kind {
				case ofTime:
					b = append(b, '"')
					return append(c.service(b, v.n), '"')
				case ofBool:
					b = append(b, '"')
					return append(strconv.AppendBool(b, v.n != 0), '"')
				}
				return appendJSON(b, v.text)
			})
		},
		end: func(b []byte) []byte { return append(b, "]\n"...) },
	}
	metricsCSV = format{ // no quotes but where a value needs them
		begin: func(b []byte, columns []header) []byte {
			for i, c := range columns {
				if i > 0 {
					b = append(b, ',')
				}
				b = append(b, c.name...)
			}
			return append(b, '\n')
		},
		row: func(b []byte, columns []header, values []value, _ bool, _ *clock) []byte {
			for i, v := range values {
				if i > 0 {
					b = append(b, ',')
				}
				switch {
				case columns[i].kind == ofNumber:
					b = appendMetric(b, v.number)
				case strings.ContainsAny(v.text, "\",\r\n"):
					b = append(append(append(b, '"'), strings.ReplaceAll(v.text, `"`, `""`)...), '"')
				default:
					b = append(b, v.text...)
				}
			}
			return append(b, '\n')
		},
		end: func(b []byte) []byte { return b },
	}
	metricsJSON = format{
		begin: func(b []byte, _ []header) []byte { return append(b, '[') },
		row: func(b []byte, columns []header, values []value, first bool, _ *clock) []byte {
			if !first {
				b = append(b, ',')
			}
			b = append(b, '{')
			metrics := false
			for i, v := range values {
				if columns[i].kind != ofNumber {
					b = appendName(b, strings.ToLower(columns[i].name), i > 0)
					b = appendJSON(b, v.text)
					continue
				}
				if !metrics {
					b = append(appendName(b, "metrics", i > 0), '{')
				}
				b = appendMetric(appendName(b, columns[i].name, metrics), v.number)
				metrics = true
			}
			return append(b, "}}"...)
		},
		end: func(b []byte) []byte { return append(b, "]\n"...) },
	}
)

// ndjson is an object a line, without what there is no value of.
var ndjson = format{
	begin: func(b []byte, _ []header) []byte { return b },
	row: func(b []byte, columns []header, values []value, _ bool, c *clock) []byte {
		return appendObject(b, columns, values, func(b []byte, kind kind, v *value) []byte {
			switch kind {
			case ofTime:
				b = append(b, '"')
				return append(c.rfc3339(b, v.n), '"')
			case ofBool:
				return strconv.AppendBool(b, v.n != 0)
			case ofNumber:
				return strconv.AppendFloat(b, v.number, 'f', -1, 64)
			case ofJSON:
				return append(b, v.text...) // as package events writes it, without line breaks
			}
			return appendJSON(b, v.text)
		})
	},
	end: func(b []byte) []byte { return b },
}

// appendObject writes an object of a row's values that there are, and a line feed.
func appendObject(b []byte, columns []header, values []value, appendValue func(b []byte, kind kind, v *value) []byte) []byte {
	b = append(b, '{')
	some := false
	for i := range values {
		if values[i].absent(columns[i].kind) {
			continue
		}
		b = appendValue(appendName(b, columns[i].name, some), columns[i].kind, &values[i])
		some = true
	}
	return append(b, "}\n"...)
}

// absent says whether there is no value.
func (v *value) absent(k kind) bool {
	switch k {
	case ofTime:
		return v.n == never
	case ofBool, ofNumber:
		return false
	}
	return v.text == ""
}

// appendQuoted quotes a value, doubles quotes in it, and puts a comma behind, also
// behind the last one of a row, as the service does.
func appendQuoted(b []byte, v string) []byte {
	b = append(b, '"')
	for {
		i := strings.IndexByte(v, '"')
		if i < 0 {
			break
		}
		b = append(append(b, v[:i]...), `""`...)
		v = v[i+1:]
	}
	return append(append(b, v...), `",`...)
}

// appendMetric writes a metric with four decimals.
func appendMetric(b []byte, v float64) []byte { return strconv.AppendFloat(b, v, 'f', 4, 64) }

// appendName writes the name of a member.
func appendName(b []byte, name string, comma bool) []byte {
	if comma {
		b = append(b, ',')
	}
	return append(appendJSON(b, name), ':')
}

// appendJSON writes a string with no more escapes than JSON wants (RFC 8259,
// section 7).
func appendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&15])
		}
	}
	return append(append(b, s[from:]...), '"')
}

// clock writes times, and remembers the day of the last one: time.Format takes
// longer than everything else that is done for a row.
type clock struct {
	day  int64  // since 1970, of date
	date string // "2006-01-02"
}

// service writes milliseconds as the service does, "2006-01-02 15:04:05.000 UTC";
// nothing for never.
func (c *clock) service(b []byte, ms int64) []byte {
	if ms == never {
		return b
	}
	return append(c.moment(b, ms, ' '), " UTC"...)
}

// rfc3339 writes "2006-01-02T15:04:05.000Z"; nothing for never.
func (c *clock) rfc3339(b []byte, ms int64) []byte {
	if ms == never {
		return b
	}
	return append(c.moment(b, ms, 'T'), 'Z')
}

func (c *clock) moment(b []byte, ms int64, between byte) []byte {
	const perDay = 24 * 60 * 60 * 1000
	day := ms / perDay
	if ms %= perDay; ms < 0 {
		day, ms = day-1, ms+perDay
	}
	if c.date == "" || day != c.day {
		c.day, c.date = day, time.UnixMilli(day*perDay).UTC().Format(time.DateOnly)
	}
	h, min, sec := ms/3_600_000, ms/60_000%60, ms/1000%60
	ms %= 1000
	b = append(b, c.date...)
	return append(b, between, byte('0'+h/10), byte('0'+h%10), ':', byte('0'+min/10), byte('0'+min%10), ':', byte('0'+sec/10), byte('0'+sec%10),
		'.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
}

// strictCSV is as RFC 4180 has it: no comma behind the last value, and quotes only
// where a value needs them. Lines end in a line feed alone, which all readers take,
// and line breaks in values stay as they are.
type strictCSV struct {
	w       *bufio.Writer // csv's too
	csv     *csv.Writer
	columns []header
	cells   []string
	text    []byte // of a row's times and numbers
	clock   clock
}

func newStrictCSV(columns []header, w io.Writer) (*strictCSV, error) {
	t := &strictCSV{w: bufio.NewWriterSize(w, bufferSize), columns: columns, cells: make([]string, len(columns))}
	t.csv = csv.NewWriter(t.w)
	for i, c := range columns {
		t.cells[i] = c.name
	}
	return t, t.csv.Write(t.cells)
}

func (t *strictCSV) row(values []value) error {
	t.text = t.text[:0]
	for i := range values {
		from := len(t.text)
		switch v := &values[i]; t.columns[i].kind {
		case ofTime:
			t.text = t.clock.rfc3339(t.text, v.n)
		case ofBool:
			t.text = strconv.AppendBool(t.text, v.n != 0)
		case ofNumber:
			t.text = strconv.AppendFloat(t.text, v.number, 'f', -1, 64)
		default:
			t.cells[i] = v.text
			continue
		}
		// Should text move when it grows, then what was there stays for its cells.
		t.cells[i] = unsafe.String(unsafe.SliceData(t.text[from:]), len(t.text)-from)
	}
	if len(t.cells) == 1 && t.cells[0] == "" { // or the line were empty, and readers pass over it
		_, err := t.w.WriteString("\"\"\n")
		return err
	}
	return t.csv.Write(t.cells)
}

func (t *strictCSV) end() error { return t.w.Flush() }
