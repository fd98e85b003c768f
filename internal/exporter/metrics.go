package exporter

import (
	"context"
	"slices"
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
func (r *run) metrics(ctx context.Context) error {
	var p Progress
	table := newCounts(r.job.Order.Metrics)
	wanted := table.metrics()
	for i, metric := range wanted {
		n, err := r.count(ctx, r.job, metric, table)
		if err != nil {
			return err
		}
		if metric == eventdb.Sends {
			p.Processed += n
		}
		p.Share = float64(i+1) / float64(len(wanted)+1)
		r.note(p)
	}
	out := r.begin(ctx, table.headers())
	row := make([]value, len(table.headers()))
	for _, key := range table.sorted() {
		values := strings.Split(key, "\x00")
		for i, v := range values {
			row[i].text = v
		}
		for i, c := range table.columns {
			row[len(values)+i].number = table.value(c, table.rows[key])
		}
		if err := out.row(row); err != nil {
			return err
		}
	}
	p.Share, p.Exported = 1, int64(len(table.rows))
	r.note(p)
	return out.end()
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

// value is a row's value of a column. A rate of nothing sent is 0.
func (t *counts) value(c Column, row map[eventdb.Metric]int64) float64 {
	v := float64(row[c.Metric])
	if !c.Rate {
		return v
	}
	if row[eventdb.Sends] == 0 {
		return 0
	}
	return v / float64(row[eventdb.Sends])
}

// headers are the columns of the file.
func (t *counts) headers() (all []header) {
	for _, d := range t.dimensions {
		name := columnNames[d]
		if name == "" {
			name = d
		}
		all = append(all, header{name, ofText})
	}
	for _, c := range t.columns {
		all = append(all, header{c.name(), ofNumber})
	}
	return all
}
