package exporter

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"

	"sesame/internal/eventdb"
	"sesame/internal/events"
)

// all stands for all values of a dimension that there are.
const all = "*"

// dimensionOrder is the order of a file's columns: the service's enum's.
var dimensionOrder = []string{identity, configurationSet, isp, tenant}

const (
	identity         = string(eventdb.ByIdentity)
	configurationSet = string(eventdb.ByConfigurationSet)
	isp              = string(eventdb.ByISP)
	tenant           = "TENANT_NAME" // which no mail is known to be of
)

// columnNames are how the service's files name dimensions, where not as its API does.
var columnNames = map[string]string{identity: "IDENTITY"}

// metrics writes the counts of a job, a row for each combination of values.
func (s *Service) metrics(ctx context.Context, j Job, w io.Writer, progress func(Progress)) (Progress, error) {
	var p Progress
	table := newCounts(j.Order.Metrics)
	wanted := table.metrics()
	for i, metric := range wanted {
		n, err := s.count(ctx, j, metric, table)
		if err != nil {
			return p, err
		}
		if metric == eventdb.Sends {
			p.Processed += n
		}
		p.Share = float64(i+1) / float64(len(wanted)+1)
		progress(p)
	}
	text := table.csv
	if j.Order.Format == JSON {
		text = table.json
	}
	b := text()
	p.Share, p.Exported = 1, int64(len(table.rows))
	_, err := w.Write(b)
	return p, err
}

// count counts a metric for all rows, and gives how much it is in all.
func (s *Service) count(ctx context.Context, j Job, metric eventdb.Metric, t *counts) (total int64, err error) {
	m := j.Order.Metrics
	if len(m.Dimensions[tenant]) > 0 {
		return 0, nil
	}
	q := eventdb.GroupQuery{Metric: metric, From: m.Start, To: m.End, OneRecipient: s.Config.LikeSES}
	if oldest := j.Created.UTC().Truncate(day).AddDate(0, 0, -likeSESMetricDays); s.Config.LikeSES && q.From.Before(oldest) {
		q.From = oldest
	}
	list := func(dimension string) []string {
		if values := m.Dimensions[dimension]; !slices.Contains(values, all) {
			return values
		}
		return nil
	}
	q.ISPs, q.ConfigurationSets = list(isp), list(configurationSet)
	for _, d := range t.dimensions {
		if d != identity || slices.Contains(m.Dimensions[d], all) {
			q.By = append(q.By, eventdb.Dimension(d))
		}
	}
	// An address is also of its domain, so identities that are named are counted one
	// by one.
	identities := list(identity)
	if identities == nil {
		identities = []string{""}
	}
	for _, q.Identity = range identities {
		groups, err := s.Events.Groups(ctx, j.Owner, q)
		if err != nil {
			return 0, err
		}
		for _, g := range groups {
			values := g.Values
			if q.Identity != "" {
				values = slices.Insert(slices.Clone(values), slices.Index(t.dimensions, identity), q.Identity)
			}
			t.add(metric, values, g.Count)
			total += g.Count
		}
	}
	return total, nil
}

// counts are the rows of a file of metrics.
type counts struct {
	dimensions []string
	columns    []Column
	rows       map[string]map[eventdb.Metric]int64 // by the values of dimensions, which have no NUL
}

// newCounts makes the rows that there are even if all is zero.
func newCounts(m *Metrics) *counts {
	t := &counts{columns: m.Columns, rows: map[string]map[eventdb.Metric]int64{}}
	keys := []string{""}
	for _, d := range dimensionOrder {
		values := m.Dimensions[d]
		if len(values) == 0 {
			continue
		}
		if slices.Contains(values, all) {
			values = nil
			if d == isp {
				values = events.ISPs()
			}
		}
		var longer []string
		for _, key := range keys {
			for _, v := range values {
				if len(t.dimensions) > 0 {
					v = key + "\x00" + v
				}
				longer = append(longer, v)
			}
		}
		keys, t.dimensions = longer, append(t.dimensions, d)
	}
	for _, key := range keys {
		t.rows[key] = map[eventdb.Metric]int64{}
	}
	return t
}

// metrics are those that have to be counted: a rate needs SEND too.
func (t *counts) metrics() []eventdb.Metric {
	found := []eventdb.Metric{eventdb.Sends}
	for _, c := range t.columns {
		if !slices.Contains(found, c.Metric) {
			found = append(found, c.Metric)
		}
	}
	return found
}

// add notes a count. What has no value in a dimension is in no row.
func (t *counts) add(metric eventdb.Metric, values []string, n int64) {
	if slices.Contains(values, "") {
		return
	}
	key := strings.Join(values, "\x00")
	if t.rows[key] == nil {
		t.rows[key] = map[eventdb.Metric]int64{}
	}
	t.rows[key][metric] += n
}

func (t *counts) sorted() []string {
	keys := make([]string, 0, len(t.rows))
	for key := range t.rows {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (c Column) name() string {
	if c.Rate {
		return string(c.Metric) + "_RATE"
	}
	return string(c.Metric) + "_VOLUME"
}

// value is a row's value of a column, with four decimals. A rate of nothing sent is
// 0.
func (t *counts) value(c Column, row map[eventdb.Metric]int64) string {
	v := float64(row[c.Metric])
	if c.Rate {
		if row[eventdb.Sends] == 0 {
			v = 0
		} else {
			v /= float64(row[eventdb.Sends])
		}
	}
	return strconv.FormatFloat(v, 'f', 4, 64)
}

func columnName(dimension string) string {
	if name := columnNames[dimension]; name != "" {
		return name
	}
	return dimension
}

// csv has no quotes but where a value needs them.
func (t *counts) csv() []byte {
	var b []byte
	for _, d := range t.dimensions {
		b = append(append(b, columnName(d)...), ',')
	}
	for i, c := range t.columns {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, c.name()...)
	}
	b = append(b, '\n')
	for _, key := range t.sorted() {
		for _, v := range strings.Split(key, "\x00") {
			if strings.ContainsAny(v, "\",\r\n") {
				v = `"` + strings.ReplaceAll(v, `"`, `""`) + `"`
			}
			b = append(append(b, v...), ',')
		}
		for i, c := range t.columns {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, t.value(c, t.rows[key])...)
		}
		b = append(b, '\n')
	}
	return b
}

func (t *counts) json() []byte {
	b := []byte{'['}
	for i, key := range t.sorted() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		for j, v := range strings.Split(key, "\x00") {
			b = appendJSON(b, strings.ToLower(columnName(t.dimensions[j])))
			b = append(appendJSON(append(b, ':'), v), ',')
		}
		b = append(b, `"metrics":{`...)
		for j, c := range t.columns {
			if j > 0 {
				b = append(b, ',')
			}
			b = append(append(appendJSON(b, c.name()), ':'), t.value(c, t.rows[key])...)
		}
		b = append(b, "}}"...)
	}
	return append(b, "]\n"...)
}
