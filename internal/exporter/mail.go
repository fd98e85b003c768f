package exporter

import (
	"context"
	"errors"
	"slices"
	"time"

	"sesame/internal/eventdb"
	"sesame/internal/events"
)

// errEnough ends a walk that has given all rows that were asked for.
var errEnough = errors.New("enough")

// insights writes what became of messages.
func (r *run) insights(ctx context.Context) error {
	q := r.job.Order.Insights
	columns, err := choose(insightsColumns, usualInsights, q.Columns, recipientTags)
	if err != nil {
		return err
	}
	mail := eventdb.Mail{From: q.Start, OneRecipient: r.Config.LikeSES}
	if oldest := r.job.Created.AddDate(0, 0, -likeSESDays); r.Config.LikeSES && mail.From.Before(oldest) {
		mail.From = oldest
	}
	mail.More = q.needsMore() || slices.ContainsFunc(columns, func(c column[*eventdb.Recipient]) bool { return c.more })
	return rows(ctx, r, q, mail, columns, recipientFacts, r.Events.Recipients)
}

// events writes all that happened. SES has no such export, so nothing is left out to
// be like it.
func (r *run) events(ctx context.Context) error {
	q := r.job.Order.Events
	columns, err := choose(eventColumns, usualEvents, q.Columns, eventTags)
	if err != nil {
		return err
	}
	mail := eventdb.Mail{From: q.Start, ArrivedAfter: q.ArrivedAfter, ArrivedUntil: q.ArrivedUntil}
	return rows(ctx, r, q, mail, columns, eventFacts, r.Events.Events)
}

// needsMore says whether a filter needs eventdb.Mail.More.
func (q *Mail) needsMore() bool {
	more := func(f Filters) bool { return len(f.ConfigurationSet)+len(f.Identity)+len(f.Tags) > 0 }
	return more(q.Include) || more(q.Exclude)
}

// rows writes a row for each R that a walk through mail gives and that the filters
// let through, and notes how far it is.
func rows[R any](ctx context.Context, r *run, q *Mail, mail eventdb.Mail, columns []column[R], factsOf func(*maker, *facts, R),
	walk func(context.Context, events.Source, eventdb.Mail, func(R) error) error) error {
	include, exclude := newMatcher(q.Include), newMatcher(q.Exclude)
	var p Progress
	mail.To, mail.Only, mail.Enough = q.End.Add(time.Millisecond), include.only(), q.MaxResults
	mail.Read = func(from time.Time, n int64) {
		p.Processed += n
		if q.ArrivedUntil.IsZero() { // of mail of any time, there is no telling
			p.Share = max(0, 1-max(0, float64(from.Sub(mail.From)))/max(1, float64(mail.To.Sub(mail.From))))
		}
		r.note(p)
	}
	out := r.begin(ctx, headers(columns))
	var m maker
	var known facts
	row := make([]value, len(columns))
	err := walk(ctx, r.job.Owner, mail, func(of R) error {
		if !include.empty || !exclude.empty {
			factsOf(&m, &known, of)
			if !include.match(&known) || !exclude.empty && exclude.match(&known) {
				return nil
			}
		}
		for i := range columns {
			columns[i].put(&m, &row[i], of)
		}
		if err := out.row(row); err != nil {
			return err
		}
		if p.Exported++; p.Exported == q.MaxResults {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	p.Share = 1
	r.note(p)
	return out.end()
}
