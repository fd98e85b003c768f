package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"

	"sesame/bench/yard"
)

// export is one that is measured.
type export struct {
	name   string
	source *types.ExportDataSource
	query  string        // the same, as DuckDB copies it
	same   bool          // whether the files are to have the same rows
	least  float64       // rows a second; 0 for no target
	most   time.Duration // 0 for no target
	ours   []figures
	theirs []figures
}

// figures are what was measured of one export.
type figures struct {
	took time.Duration // Sesame: from sending CreateExportJob to seeing COMPLETED; DuckDB: of the COPY
	rows int64
	size int64 // bytes
	peak int64 // greatest memory of the process, bytes
}

// exportsOf gives what is measured on a store.
func exportsOf(s yard.EventStore) []export {
	everything := func(from, to time.Time) *types.MessageInsightsDataSource {
		return &types.MessageInsightsDataSource{StartDate: &from, EndDate: new(to.Add(-time.Millisecond)), MaxResults: new(int32(100_000_000))}
	}
	week := everything(s.To.AddDate(0, 0, -7), s.To)
	week.Include = &types.MessageInsightsFilters{Isp: []string{"Yahoo"}}
	newest := everything(s.From, s.To)
	newest.Include, newest.MaxResults = &types.MessageInsightsFilters{Subject: []string{"*half price*"}}, new(int32(10_000))
	from := s.To.AddDate(0, 0, -60)
	var metrics []types.ExportMetric
	for _, m := range types.Metric("").Values() {
		metrics = append(metrics, types.ExportMetric{Name: m, Aggregation: types.MetricAggregationVolume})
	}
	insights := func(q *types.MessageInsightsDataSource) *types.ExportDataSource {
		return &types.ExportDataSource{MessageInsightsDataSource: q}
	}
	return []export{
		{name: "everything", source: insights(everything(s.From, s.To)), query: recipients(s.From, s.To, "", ""), same: true, least: 600_000},
		{name: "one ISP of one week", source: insights(week), query: recipients(*week.StartDate, s.To, "WHERE isp = 'Yahoo'", ""), same: true},
		{name: "the 10,000 newest of a subject pattern", source: insights(newest), same: true, most: 500 * time.Millisecond,
			query: recipients(s.From, s.To, "WHERE contains(subject, 'half price')", "LIMIT 10000")},
		{name: "metrics by ISP over 60 days", most: 2 * time.Second, query: metricsByISP(from, s.To),
			source: &types.ExportDataSource{MetricsDataSource: &types.MetricsDataSource{
				StartDate: &from, EndDate: &s.To, Namespace: types.MetricNamespaceVdm, Dimensions: map[string][]string{"ISP": {"*"}}, Metrics: metrics,
			}}},
	}
}

// recipients is a message insights export in SQL.
func recipients(from, to time.Time, where, limit string) string {
	const rank = "CASE type WHEN 'SEND' THEN 1 WHEN 'BOUNCE' THEN 2 WHEN 'DELIVERY' THEN 3 WHEN 'COMPLAINT' THEN 4 END * 10000000000000 + time"
	const engaged = "CASE type WHEN 'OPEN' THEN 1 WHEN 'CLICK' THEN 2 END * 10000000000000 + time"
	stamp := func(ms string) string {
		return "coalesce(strftime(make_timestamp((" + ms + ") * 1000), '%Y-%m-%d %H:%M:%S.%g UTC'), '')"
	}
	return fmt.Sprintf(`SELECT message_id AS messageid, %s AS sendtimestamp, isp, sender AS fromaddress, destination, subject,
		CASE delivery WHEN 'BOUNCE' THEN bounce_type || '_BOUNCE' ELSE coalesce(delivery, '') END AS last_delivery_event, coalesce(engagement, '') AS last_engagement_event,
		%s AS last_delivery_event_timestamp, %s AS last_engagement_event_timestamp,
		CASE delivery WHEN 'BOUNCE' THEN upper(regexp_replace(sub_type, '([a-z])([A-Z])', '\1_\2', 'g')) ELSE '' END AS bounce_sub_type,
		CASE delivery WHEN 'BOUNCE' THEN diagnostic ELSE '' END AS diagnostic_code
		FROM (SELECT recipient, first(message_id) AS message_id, first(destination) AS destination, first(sent) AS sent, first(isp) AS isp,
			max(sender) AS sender, max(subject) AS subject,
			arg_max(type, %[4]s) AS delivery, max(%[4]s) %% 10000000000000 AS delivered,
			arg_max(bounce_type, %[4]s) AS bounce_type, arg_max(sub_type, %[4]s) AS sub_type, arg_max(diagnostic, %[4]s) AS diagnostic,
			arg_max(type, %[5]s) AS engagement, max(%[5]s) %% 10000000000000 AS engaged
			FROM events WHERE sent >= %[6]d AND sent < %[7]d AND account = '%[8]s' AND region = '%[9]s' GROUP BY recipient)
		%[10]s ORDER BY sent DESC, message_id, destination %[11]s`,
		stamp("sent"), stamp("delivered"), stamp("engaged"), rank, engaged, from.UnixMilli(), to.UnixMilli(), yard.Account, yard.Region, where, limit)
}

// metricsByISP is about a metrics export in SQL: seven of its ten metrics, without
// their finer rules.
func metricsByISP(from, to time.Time) string {
	return fmt.Sprintf(`SELECT isp AS ISP, count(*) FILTER (type = 'SEND') AS sends, count(*) FILTER (type = 'DELIVERY') AS deliveries,
		count(*) FILTER (type = 'BOUNCE' AND bounce_type = 'PERMANENT') AS permanent, count(*) FILTER (type = 'BOUNCE' AND bounce_type <> 'PERMANENT') AS transient,
		count(*) FILTER (type = 'COMPLAINT') AS complaints, count(DISTINCT recipient) FILTER (type = 'OPEN') AS opens, count(DISTINCT recipient) FILTER (type = 'CLICK') AS clicks
		FROM events WHERE time >= %d AND time < %d AND account = '%s' AND region = '%s' GROUP BY isp ORDER BY isp`,
		from.UnixMilli(), to.UnixMilli(), yard.Account, yard.Region)
}

// same compares two files line by line. The service's has a comma at the end of each
// row, which DuckDB's has not.
func same(ours, theirs string) (err error) {
	a, err := os.Open(ours)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(theirs)
	if err != nil {
		return err
	}
	defer b.Close()
	x, y := bufio.NewReaderSize(a, 1<<20), bufio.NewReaderSize(b, 1<<20)
	for n := 1; ; n++ {
		one, err := x.ReadSlice('\n')
		other, err2 := y.ReadSlice('\n')
		if err == io.EOF && err2 == io.EOF && len(one) == 0 && len(other) == 0 {
			return nil
		}
		if err := errors.Join(err, err2); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		// A value can have several lines, which have none.
		if !bytes.Equal(one, other) && !bytes.Equal(bytes.TrimSuffix(one, []byte(",\n")), bytes.TrimSuffix(other, []byte("\n"))) {
			return fmt.Errorf("line %d differs:\n%s%s", n, strings.TrimSpace(string(one)), other)
		}
	}
}
