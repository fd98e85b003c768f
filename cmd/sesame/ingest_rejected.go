package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

type ingestRejected struct {
	List   rejectedList   `cmd:"" help:"List them, newest first."`
	Show   rejectedShow   `cmd:"" help:"Print one as it came."`
	Retry  rejectedRetry  `cmd:"" help:"Try to read them again, after an update for instance. Those that can be read leave the list."`
	Delete rejectedDelete `cmd:"" help:"Remove them for good."`
}

type rejectedList struct {
	client
	Limit int `default:"100" help:"How many (${default}); 0 for all."`
}

// rejectedRecord is what ListRejectedRecords and GetRejectedRecord say of one.
type rejectedRecord struct {
	Id, Door, Reason, Record string
	ReceivedTimestamp        float64 // seconds since 1970
	Bytes                    int64
}

func (r rejectedRecord) received() string {
	return time.UnixMilli(int64(1000 * r.ReceivedTimestamp)).UTC().Format("2006-01-02 15:04:05Z")
}

// Run lists.
func (c rejectedList) Run(o output) error {
	ctx := context.Background()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	shown := 0
	for token := ""; ; {
		in := map[string]any{}
		if c.Limit > 0 {
			in["PageSize"] = min(c.Limit-shown, 1000)
		}
		if token != "" {
			in["NextToken"] = token
		}
		var page struct {
			Records   []rejectedRecord
			NextToken string
		}
		if err := sesame(ctx, cfg, "ListRejectedRecords", in, &page); err != nil {
			return c.kinder(err)
		}
		for _, r := range page.Records {
			fmt.Fprintf(o.out, "%s  %s  %-11s  %8d bytes  %s\n", r.Id, r.received(), r.Door, r.Bytes, r.Reason)
		}
		shown += len(page.Records)
		token = page.NextToken
		switch {
		case shown == 0:
			fmt.Fprintln(o.err, "There are no rejected records.")
			return nil
		case token == "":
			return nil
		case c.Limit > 0 && shown >= c.Limit:
			fmt.Fprintln(o.err, "There are more: --limit 0 lists all.")
			return nil
		}
	}
}

type rejectedShow struct {
	client
	ID string `arg:"" name:"ID" help:"As list says it."`
}

// Run shows.
func (c rejectedShow) Run(o output) error {
	ctx := context.Background()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	var r rejectedRecord
	if err := sesame(ctx, cfg, "GetRejectedRecord", map[string]any{"Id": c.ID}, &r); err != nil {
		return c.kinder(err)
	}
	fmt.Fprintf(o.err, "%s by the door %s: %s\n", r.received(), r.Door, r.Reason)
	_, err = fmt.Fprintln(o.out, strings.TrimRight(r.Record, "\n"))
	return err
}

type rejectedRetry struct {
	client
	IDs []string `arg:"" optional:"" name:"ID" help:"As list says them."`
	All bool     `help:"All of them."`
}

// idsAtOnce is how many ids an operation takes.
const idsAtOnce = 100

// some calls one of the operations that take ids of records, or none for all of them,
// until all are done. answered gives whether the operation says that there are more.
func (c client) some(operation string, all bool, ids []string, answer any, answered func() (more bool)) error {
	if all == (len(ids) > 0) {
		return usageError{errors.New("give the ids of records, or --all")}
	}
	ctx := context.Background()
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	for more := true; more; {
		in := map[string]any{}
		if !all {
			n := min(len(ids), idsAtOnce)
			in["Ids"] = ids[:n]
			ids = ids[n:]
		}
		if err := sesame(ctx, cfg, operation, in, answer); err != nil {
			return c.kinder(err)
		}
		more = answered() && all || len(ids) > 0
	}
	return nil
}

// Run tries again.
func (c rejectedRetry) Run(o output) error {
	var sum ingestCounts
	var a struct {
		ingestCounts
		More bool
	}
	err := c.some("RetryRejectedRecords", c.All, c.IDs, &a, func() bool {
		sum.add(a.ingestCounts)
		return a.More
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(o.out, "%10d events are new\n%10d events were known\n%10d records still cannot be read\n", sum.Added, sum.Duplicates, sum.Rejected)
	if sum.TooOld > 0 {
		fmt.Fprintf(o.out, "%10d events are of mail from before what the server keeps\n", sum.TooOld)
	}
	return nil
}

type rejectedDelete struct {
	client
	IDs []string `arg:"" optional:"" name:"ID" help:"As list says them."`
	All bool     `help:"All of them."`
}

// Run deletes.
func (c rejectedDelete) Run(o output) error {
	deleted := int64(0)
	var a struct {
		Deleted int64
		More    bool
	}
	err := c.some("DeleteRejectedRecords", c.All, c.IDs, &a, func() bool {
		deleted += a.Deleted
		return a.More
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(o.out, "%s deleted\n", number(deleted, "record"))
	return nil
}
