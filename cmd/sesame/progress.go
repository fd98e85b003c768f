package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/smithy-go"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// waitForServer is how long a server may be away while a job runs: it may be
// started anew, and goes on with the job then.
const waitForServer = time.Minute

// poll asks for something ten times a second until it has ended, or ctx has, or it is
// clear that it will not. A server that is away is waited for.
func poll(ctx context.Context, p *progress, ask func() (ended bool, err error)) error {
	for answered := time.Now(); ; {
		ended, err := ask()
		pause := 100 * time.Millisecond
		switch {
		case err == nil && ended:
			return nil
		case err == nil:
			answered = time.Now()
		case away(err) && ctx.Err() == nil && time.Since(answered) < waitForServer:
			p.show("the server does not answer, and is waited for", 0, "", 0)
			pause = time.Second
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// away says whether an error may be that of a server that is started anew.
func away(err error) bool {
	var api smithy.APIError
	var lasting lastingError
	return !errors.As(err, &lasting) && (!errors.As(err, &api) || api.ErrorCode() == "ServiceUnavailable")
}

// lastingError is one that waiting for the server does not mend.
type lastingError struct{ error }

func (e lastingError) Unwrap() error { return e.error }

// counted shows how much of r was read.
type counted struct {
	r        io.Reader
	n, total int64 // bytes; total is 0 when it is not known
	what     string
	begun    time.Time
	progress *progress
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	so := time.Since(c.begun)
	detail := fmt.Sprintf("% .1f", decor.SizeB1024(c.n))
	share := 0.0
	if c.total > 0 {
		share = float64(c.n) / float64(c.total)
		detail += fmt.Sprintf(" of % .1f", decor.SizeB1024(c.total))
	}
	c.progress.show(c.what, share, fmt.Sprintf("%s, % .1f/s", detail, decor.SizeB1024(float64(c.n)/max(so.Seconds(), 0.001))), so)
	return n, err
}

// progress is a bar on a terminal, and elsewhere a line every few seconds.
type progress struct {
	w    io.Writer
	last time.Time // when there was a line

	bars *mpb.Progress // nil when w is no terminal
	bar  *mpb.Bar

	mu           sync.Mutex
	what, detail string // of the bar
}

const lineEvery = 5 * time.Second

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, last: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bars = mpb.New(mpb.WithOutput(w))
		text := func(of *string) decor.Decorator {
			return decor.Any(func(decor.Statistics) string {
				p.mu.Lock()
				defer p.mu.Unlock()
				return *of
			})
		}
		p.bar = p.bars.AddBar(barLength, mpb.BarRemoveOnComplete(), mpb.BarWidth(30), mpb.BarFillerMiddleware(sinceBegun),
			mpb.PrependDecorators(text(&p.what)), mpb.AppendDecorators(text(&p.detail)))
	}
	return p
}

// sinceBegun leaves a bar out while nothing of it is done, or known to be.
func sinceBegun(bar mpb.BarFiller) mpb.BarFiller {
	return mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
		if s.Current == 0 {
			return nil
		}
		return bar.Fill(w, s)
	})
}

// barLength is the length of a bar in steps, of which it never makes the last.
const barLength = 10_000

// show says what is done, which share of it (0 to 1; 0 while it is not known),
// more about it, and for how long it has been going on.
func (p *progress) show(what string, share float64, detail string, so time.Duration) {
	if p.bar == nil && time.Since(p.last) < lineEvery {
		return
	}
	if share > 0 {
		detail = strings.TrimSuffix(fmt.Sprintf("%.0f%%, %s", 100*share, detail), ", ")
		if left := time.Duration(float64(so) * (1 - share) / share); left > time.Second {
			detail += fmt.Sprintf(", about %s left", left.Round(time.Second))
		}
	}
	if p.bar == nil {
		p.last = time.Now()
		fmt.Fprintln(p.w, strings.TrimSuffix(what+": "+detail, ": "))
		return
	}
	p.mu.Lock()
	p.what, p.detail = "  "+what+" ", "  "+detail
	p.mu.Unlock()
	p.bar.SetCurrent(min(int64(share*barLength), barLength-1))
}

func (p *progress) end() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.bars.Wait()
	}
}
