package eventdb

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"sesame/internal/events"
)

// condition is a part of a query, and what stands for its question marks.
type condition struct {
	sql  []string
	args []any
}

func (c *condition) and(sql string, args ...any) {
	c.sql = append(c.sql, sql)
	c.args = append(c.args, args...)
}

// in wants a column to have one of the values, if there are any.
func (c *condition) in(column string, values []string) {
	if len(values) > 0 {
		c.and(column+" IN (SELECT unnest(?::VARCHAR[]))", values)
	}
}

func (c condition) String() string { return strings.Join(c.sql, " AND ") }

const day = 24 * 60 * 60 * 1000 // milliseconds

// tracking is how long before and after what is counted an open or click shows
// that those of a configuration set are tracked.
const tracking = 30 * day

// suppressed are the sub-types of bounces and complaints that SES gives itself,
// for addresses on the account's suppression list.
const suppressed = "('OnAccountSuppressionList', 'ON_ACCOUNT_SUPPRESSION_LIST')"

// Daily is Store's.
func (d *DuckDB) Daily(ctx context.Context, src events.Source, q Query) (days []Day, err error) {
	g := GroupQuery{Metric: q.Metric, From: q.From, To: q.To, Identity: q.Identity, OneRecipient: q.OneRecipient}
	if q.ISP != "" {
		g.ISPs = []string{q.ISP}
	}
	if q.ConfigurationSet != "" {
		g.ConfigurationSets = []string{q.ConfigurationSet}
	}
	err = d.count(ctx, src, g, []string{fmt.Sprintf("time // %d", day)}, nil, func(rows *sql.Rows) error {
		var number, count int64
		if err := rows.Scan(&number, &count); err != nil {
			return err
		}
		days = append(days, Day{time.UnixMilli(number * day).UTC(), count})
		return nil
	})
	return days, err
}

// columnOf says where an event has the values of a dimension.
var columnOf = map[Dimension]string{ByISP: "isp", ByConfigurationSet: "configuration_set", ByIdentity: "identity"}

// Groups is Store's.
func (d *DuckDB) Groups(ctx context.Context, src events.Source, q GroupQuery) (groups []Group, err error) {
	var by []string
	for _, dimension := range q.By {
		column, known := columnOf[dimension]
		if !known {
			return nil, fmt.Errorf("count events: %q is no dimension", dimension)
		}
		by = append(by, column)
	}
	err = d.count(ctx, src, q, by, by, func(rows *sql.Rows) error {
		g := Group{Values: make([]string, len(by))}
		into := []any{}
		for i := range g.Values {
			into = append(into, &g.Values[i])
		}
		if err := rows.Scan(append(into, &g.Count)...); err != nil {
			return err
		}
		if g.Count > 0 { // without dimensions there is a row for nothing
			groups = append(groups, g)
		}
		return nil
	})
	return groups, err
}

// count counts by expressions over columns, which are of isp, configuration_set,
// identity and time, and calls do with each row of the answer.
func (d *DuckDB) count(ctx context.Context, src events.Source, q GroupQuery, by, columns []string, do func(*sql.Rows) error) error {
	done, err := d.use()
	if err != nil {
		return err
	}
	defer done()
	from, where, err := d.counted(ctx, src, q, columns)
	if err == nil && from != "" {
		err = d.countFrom(ctx, from, where, by, do)
	}
	if err != nil {
		return fmt.Errorf("count events: %w%s", err, advice(err))
	}
	return nil
}

func (d *DuckDB) countFrom(ctx context.Context, from string, where condition, by []string, do func(*sql.Rows) error) error {
	query := "SELECT " + strings.Join(append(by[:len(by):len(by)], "count(*)"), ", ") + " FROM " + from + " WHERE " + where.String()
	if len(by) > 0 {
		query += " GROUP BY ALL ORDER BY ALL"
	}
	rows, err := d.db.QueryContext(ctx, query, where.args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// counted gives what is to be counted: what stands after FROM and after WHERE. from
// is "" when there is nothing.
func (d *DuckDB) counted(ctx context.Context, src events.Source, q GroupQuery, columns []string) (from string, where condition, err error) {
	where.and("account = ? AND region = ?", src.Account, src.Region)
	where.in("isp", q.ISPs)
	where.in("configuration_set", q.ConfigurationSets)
	if identity := strings.ToLower(q.Identity); strings.Contains(identity, "@") {
		where.and("(lower(identity) = ? OR lower(sender) = ?)", identity, identity)
	} else if identity != "" {
		where.and("(lower(identity) = ? OR ends_with(lower(sender), ?))", identity, "@"+identity)
	}
	if q.OneRecipient {
		where.and("NOT multi AND NOT simulator")
	}
	from = mailTable
	switch q.Metric {
	case Sends:
		where.and("type = 'SEND'")
	case Deliveries, DeliveryOpens, DeliveryClicks:
		where.and("type = 'DELIVERY'")
	case Complaints:
		from = recipientTable
		where.and("type = 'COMPLAINT' AND sub_type NOT IN " + suppressed)
	case PermanentBounces:
		where.and("type = 'BOUNCE' AND bounce_type = 'PERMANENT' AND sub_type NOT IN " + suppressed)
	case TransientBounces:
		where.and("type = 'BOUNCE' AND bounce_type <> 'PERMANENT'")
	case DeliveryComplaints:
		where.and("type = 'DELIVERY'")
		where.in("isp", events.FeedbackLoops())
	case Opens:
		where.and("type = 'OPEN'")
		return d.firstTimes(ctx, where, q, columns)
	case Clicks:
		where.and("type = 'CLICK'")
		return d.firstTimes(ctx, where, q, columns)
	default:
		return "", where, fmt.Errorf("%q is no metric", q.Metric)
	}
	if shows, ok := shownBy[q.Metric]; ok {
		sets, err := d.configurationSets(ctx, src, shows, q)
		if err != nil || len(sets) == 0 {
			return "", where, err
		}
		where.in("configuration_set", sets)
	}
	where.and("time >= ? AND time < ?", q.From.UnixMilli(), q.To.UnixMilli())
	return from, where, nil
}

// shownBy gives the events that show that those of a configuration set are tracked.
var shownBy = map[Metric]events.Type{DeliveryOpens: events.Open, DeliveryClicks: events.Click}

// configurationSets gives those of which there are events of a type around the time
// that is asked for.
func (d *DuckDB) configurationSets(ctx context.Context, src events.Source, t events.Type, q GroupQuery) (sets []string, err error) {
	rows, err := d.db.QueryContext(ctx, "SELECT DISTINCT configuration_set FROM "+tableOf(t)+" WHERE account = ? AND region = ? AND type = ? AND time BETWEEN ? AND ?",
		src.Account, src.Region, string(t), q.From.UnixMilli()-tracking, q.To.UnixMilli()+tracking)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var set string
		if err := rows.Scan(&set); err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	return sets, rows.Err()
}

// firstTimes gives the first event of each recipient of a message, as counted does.
// One that had its first before q.From is not counted, so earlier events are looked
// at too, of the messages that there can be in question.
func (d *DuckDB) firstTimes(ctx context.Context, where condition, q GroupQuery, columns []string) (from string, outer condition, err error) {
	begin, end := q.From.UnixMilli(), q.To.UnixMilli()
	inside := condition{append([]string{}, where.sql...), append([]any{}, where.args...)}
	inside.and("time >= ? AND time < ?", begin, end)
	var oldest sql.NullInt64
	if err := d.db.QueryRowContext(ctx, "SELECT min(sent) FROM "+recipientTable+" WHERE "+inside.String(), inside.args...).Scan(&oldest); err != nil || !oldest.Valid {
		return "", outer, err
	}
	where.and("time < ? AND sent >= ?", end, oldest.Int64)
	values := "min(time) AS time"
	for _, c := range columns {
		values += ", any_value(" + c + ") AS " + c
	}
	outer.args = where.args
	outer.and("time >= ?", begin)
	return "(SELECT " + values + " FROM " + recipientTable + " WHERE " + where.String() + " GROUP BY recipient)", outer, nil
}
