package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"

	"sesame/internal/events"
	"sesame/internal/generate"
)

// mailRecords is how many records of events the demo makes up.
const mailRecords = 30_000

// mail feeds a week of made-up mail in, and asks for a message's story and the
// week's numbers.
func (d demo) mail(ctx context.Context, cfg aws.Config) error {
	to := time.Now().UTC().Truncate(24 * time.Hour)
	from := to.AddDate(0, 0, -7)
	file := filepath.Join(filepath.Dir(d.file), "mail.jsonl")
	message, err := writeMail(file, from, to)
	if err != nil {
		return err
	}
	files, err := eventFiles(file)
	if err != nil {
		return err
	}
	run := newIngestRun(ingestSend{From: file}, cfg, files, &ingestState{}, d.out)
	if err := run.all(ctx); err != nil {
		return err
	}
	d.say("9. A week of mail, as SES publishes what becomes of it: %d events came in, durable, in %.2f s; %d came twice, and count once.",
		run.Added, time.Since(run.begun).Seconds(), run.Duplicates)

	ses := sesv2.NewFromConfig(cfg)
	story, err := ses.GetMessageInsights(ctx, &sesv2.GetMessageInsightsInput{MessageId: &message})
	if err != nil {
		return err
	}
	d.say("10. GetMessageInsights %s:", message)
	d.say("     %q from %s", aws.ToString(story.Subject), aws.ToString(story.FromEmailAddress))
	for _, one := range story.Insights {
		d.say("     to %s (%s)", aws.ToString(one.Destination), aws.ToString(one.Isp))
		for _, e := range one.Events {
			d.say("       %s  %s", e.Timestamp.UTC().Format("Mon 15:04:05"), e.Type)
		}
	}

	metrics := []types.Metric{types.MetricSend, types.MetricDelivery, types.MetricPermanentBounce, types.MetricOpen, types.MetricClick, types.MetricComplaint}
	var queries []types.BatchGetMetricDataQuery
	for _, m := range metrics {
		queries = append(queries, types.BatchGetMetricDataQuery{
			Id: aws.String(string(m)), Namespace: types.MetricNamespaceVdm, Metric: m, StartDate: &from, EndDate: &to})
	}
	week, err := ses.BatchGetMetricData(ctx, &sesv2.BatchGetMetricDataInput{Queries: queries})
	if err != nil {
		return err
	}
	d.say("11. BatchGetMetricData, the week by day:")
	line := fmt.Sprintf("     %-16s", "")
	for at := from; at.Before(to); at = at.AddDate(0, 0, 1) {
		line += at.Format("   Mon")
	}
	d.say("%s", line)
	for _, m := range metrics {
		at := slices.IndexFunc(week.Results, func(r types.MetricDataResult) bool { return *r.Id == string(m) })
		if at < 0 {
			return fmt.Errorf("there is no result for %s", m)
		}
		counts := map[string]int64{}
		for i, day := range week.Results[at].Timestamps {
			counts[day.UTC().Format(time.DateOnly)] = week.Results[at].Values[i]
		}
		line := fmt.Sprintf("     %-16s", strings.ReplaceAll(strings.ToLower(string(m)), "_", " "))
		for at := from; at.Before(to); at = at.AddDate(0, 0, 1) {
			line += fmt.Sprintf("%6d", counts[at.Format(time.DateOnly)])
		}
		d.say("%s", line)
	}
	d.say("     (opens and clicks are each recipient's first; what was neither delivered nor bounced for good bounced for a time)")
	return d.exports(ctx, cfg, ses, from, to)
}

// exports has the week's bounces and its metrics exported, and shows how the files
// begin.
func (d demo) exports(ctx context.Context, cfg aws.Config, ses *sesv2.Client, from, to time.Time) error {
	all := int32(1_000_000)
	for _, e := range []struct {
		what   string
		source types.ExportDataSource
	}{
		{"12. CreateExportJob, every message that bounced for good", types.ExportDataSource{MessageInsightsDataSource: &types.MessageInsightsDataSource{
			StartDate: &from, EndDate: &to, MaxResults: &all,
			Include: &types.MessageInsightsFilters{LastDeliveryEvent: []types.DeliveryEventType{types.DeliveryEventTypePermanentBounce}},
		}}},
		{"13. CreateExportJob, the week's metrics by provider", types.ExportDataSource{MetricsDataSource: &types.MetricsDataSource{
			StartDate: &from, EndDate: &to, Namespace: types.MetricNamespaceVdm, Dimensions: map[string][]string{"ISP": {"Gmail", "Outlook", "Yahoo"}},
			Metrics: []types.ExportMetric{{Name: types.MetricSend, Aggregation: types.MetricAggregationVolume}, {Name: types.MetricDelivery, Aggregation: types.MetricAggregationRate},
				{Name: types.MetricOpen, Aggregation: types.MetricAggregationRate}},
		}}},
	} {
		job, took, err := exportJob(ctx, ses, e.source)
		if err != nil {
			return err
		}
		var file bytes.Buffer
		if _, err := download(ctx, io.Discard, httpClient(cfg), &file, aws.ToString(job.ExportDestination.S3Url)); err != nil {
			return err
		}
		d.say("%s: %d rows, %d bytes, in %.2f s:", e.what, aws.ToInt32(job.Statistics.ExportedRecordsCount), file.Len(), took.Seconds())
		lines := strings.SplitAfterN(file.String(), "\n", 5)
		for _, line := range lines[:min(4, len(lines))] {
			if line = strings.TrimSuffix(line, "\n"); len(line) > 150 {
				line = line[:147] + "..."
			}
			d.say("     %s", line)
		}
	}
	return nil
}

// exportJob makes an export job and waits for its end, and says how long that took.
func exportJob(ctx context.Context, ses *sesv2.Client, source types.ExportDataSource) (job *sesv2.GetExportJobOutput, took time.Duration, err error) {
	made, err := ses.CreateExportJob(ctx, &sesv2.CreateExportJobInput{ExportDataSource: &source, ExportDestination: &types.ExportDestination{DataFormat: types.DataFormatCsv}})
	if err != nil {
		return nil, 0, err
	}
	for begun := time.Now(); ; {
		job, err = ses.GetExportJob(ctx, &sesv2.GetExportJobInput{JobId: made.JobId})
		switch {
		case err != nil:
			return nil, 0, err
		case job.JobStatus == types.JobStatusCompleted:
			return job, time.Since(begun), nil
		case job.JobStatus != types.JobStatusProcessing && job.JobStatus != types.JobStatusCreated:
			return nil, 0, fmt.Errorf("the export ended as %s", job.JobStatus)
		}
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// writeMail writes made-up events, and gives the id of a message of which there is
// much to tell: one that was clicked in.
func writeMail(path string, from, to time.Time) (message string, err error) {
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	g, err := generate.New(generate.Options{Seed: 1, Records: mailRecords, From: from, To: to, Account: "000000000000", Region: "us-east-1"})
	if err != nil {
		return "", err
	}
	w := bufio.NewWriter(f)
	var buf []byte
	for {
		if buf, err = g.Next(buf[:0]); err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
		if message == "" {
			all, err := events.Decode(events.Source{}, buf)
			if err == nil && len(all) == 1 && all[0].Type == events.Click {
				message = all[0].MessageID
			}
		}
		w.Write(append(buf, '\n')) // an error stays until Flush
	}
	if message == "" {
		return "", fmt.Errorf("nobody clicked in any of %d messages", g.Messages)
	}
	return message, w.Flush()
}
