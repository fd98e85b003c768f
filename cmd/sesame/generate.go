package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/gzip"

	"sesame/internal/config"
	"sesame/internal/generate"
)

type generateCmd struct {
	Events generateEvents `cmd:"" help:"Make up email events, as SES publishes them."`
}

type generateEvents struct {
	Count   int64  `required:"" placeholder:"N" help:"How many records, with the few that come twice."`
	Seed    uint64 `default:"1" help:"The same seed, number and span give the same records (${default})."`
	From    string `placeholder:"DATE" help:"When mail begins: 2026-01-31, or 2026-01-31T12:00:00Z. Default: a year before --to."`
	To      string `placeholder:"DATE" help:"Before when everything happens. Default: the last midnight, UTC."`
	Account string `default:"000000000000" placeholder:"DIGITS" help:"The account that sends (${default})."`
	Region  string `default:"us-east-1" help:"Where it sends from (${default})."`
	Out     string `default:"-" placeholder:"FILE" help:"The file; - is standard output, the default."`
	Gzip    bool   `help:"Compress."`
}

// Help is what `sesame generate events --help` says above the flags.
func (generateEvents) Help() string {
	return `Writes a record a line: a few identities' newsletters, offers, orders, codes and alerts over the span, with the rhythm of days and weeks, and what became of them at each provider: deliveries, delays, bounces, complaints, opens and clicks, most at once and some weeks later. They are in the order in which SES would publish them; about one in a hundred comes late, and one in two hundred and fifty comes twice.

Names of senders and companies are made up; so are the people, but their domains are those of real providers. Send them no mail.

Examples:
  sesame generate events --count 100000 --out events.jsonl
  sesame generate events --count 30000000 --from 2025-01-01 --to 2026-01-01 --gzip --out year.jsonl.gz
  sesame generate events --count 50000 --seed 7 | sesame ingest -`
}

// Run generates.
func (c generateEvents) Run(o output) (err error) {
	options := generate.Options{Seed: c.Seed, Records: c.Count, Account: c.Account, Region: c.Region, To: time.Now().UTC().Truncate(24 * time.Hour)}
	if err := config.CheckAccount(c.Account); err != nil {
		return usageError{fmt.Errorf("--account: %w", err)}
	}
	if c.To != "" {
		if options.To, err = date(c.To); err != nil {
			return usageError{fmt.Errorf("--to: %w", err)}
		}
	}
	options.From = options.To.AddDate(-1, 0, 0)
	if c.From != "" {
		if options.From, err = date(c.From); err != nil {
			return usageError{fmt.Errorf("--from: %w", err)}
		}
	}
	g, err := generate.New(options)
	if err != nil {
		return usageError{err}
	}
	ctx, stop := interruptible()
	defer stop()

	out := o.out
	if c.Out != "-" {
		f, err := os.OpenFile(c.Out, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o666)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		if info, statErr := f.Stat(); statErr == nil && info.Mode().IsRegular() {
			if err := f.Chmod(0o666 &^ userUmask); err != nil {
				return err
			}
		}
		out = f
	}
	w := bufio.NewWriterSize(out, 256<<10)
	lines := io.Writer(w)
	if c.Gzip {
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return err
		}
		// What is written when it is stopped is whole lines, and a whole gzip file.
		defer func() { err = errors.Join(err, z.Close(), w.Flush()) }()
		lines = z
	} else {
		defer func() { err = errors.Join(err, w.Flush()) }()
	}

	begun := time.Now()
	var p *progress
	defer func() {
		if p != nil {
			p.end()
		}
	}()
	var buf []byte
	for {
		if buf, err = g.Next(buf[:0]); err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := lines.Write(append(buf, '\n')); err != nil {
			return err
		}
		if g.Counts.Records%4096 != 0 {
			continue
		}
		if ctx.Err() != nil {
			return fmt.Errorf("stopped after %s", number(g.Counts.Records, "record"))
		}
		if so := time.Since(begun); so > time.Second {
			if p == nil {
				p = newProgress(o.err)
			}
			p.show("generating", float64(g.Counts.Records)/float64(c.Count),
				fmt.Sprintf("%d records, %.0f records/s", g.Counts.Records, float64(g.Counts.Records)/so.Seconds()), so)
		}
	}
}

// date reads a day, which begins at midnight UTC, or a time.
func date(text string) (time.Time, error) {
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		at, err = time.Parse(time.RFC3339, text)
	}
	if err != nil {
		return at, fmt.Errorf("%q is neither a day such as 2026-01-31 nor a time such as 2026-01-31T12:00:00Z", text)
	}
	return at.UTC(), nil
}
