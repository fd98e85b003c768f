package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sesame/internal/config"
	"sesame/internal/obs"
	"sesame/internal/server"
)

type serveCmd struct {
	config.Server
}

// Help is what `sesame serve --help` says above the flags.
func (serveCmd) Help() string {
	return `Serves until SIGTERM or SIGINT, then finishes the requests in hand and stops within 10 seconds; a second signal stops at once.

The root access key comes from SESAME_ROOT_ACCESS_KEY_ID and SESAME_ROOT_SECRET_ACCESS_KEY. Without them the first start makes one, prints it once and keeps it.

Examples:
  sesame serve
  sesame serve --listen :9025 --public-url https://sesame.example.com --data-dir /var/lib/sesame
  sesame serve --config sesame.json`
}

// drain is how long requests in hand may take when the server stops; with what
// comes after it, stopping stays under 10 seconds.
const drain = 7 * time.Second

// Run serves.
func (c serveCmd) Run(o output) error {
	if err := c.Check(); err != nil {
		return usageError{err}
	}
	log, err := obs.NewLog(o.err, c.LogLevel, c.LogFormat)
	if err != nil {
		return usageError{err}
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)

	s, err := server.Start(context.Background(), c.Server, log)
	if err != nil {
		return err
	}
	if s.NewRoot.AccessKeyID != "" {
		fmt.Fprintf(o.out, `This is the root access key. It is shown once; keep it. For a client on this machine:

  export AWS_ENDPOINT_URL=%s AWS_REGION=%s AWS_DEFAULT_REGION=%[2]s
  export AWS_ACCESS_KEY_ID=%s
  export AWS_SECRET_ACCESS_KEY=%s

`, s.URL, c.Region, s.NewRoot.AccessKeyID, s.NewRoot.SecretAccessKey)
	}
	fmt.Fprintf(o.out, "Sesame serves at %s (region %s, data in %s)\n", s.URL, c.Region, c.DataDir)

	var failed error
	select {
	case <-signals:
	case failed = <-s.Served():
		failed = fmt.Errorf("serving ended: %w", failed)
	}
	go func() {
		<-signals
		fmt.Fprintln(o.err, "sesame: stopped at once, at the second signal")
		os.Exit(1)
	}()
	fmt.Fprintln(o.out, "Stopping; a second signal stops at once.")
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	if err := errors.Join(failed, s.Stop(ctx)); err != nil {
		return err
	}
	fmt.Fprintln(o.out, "Stopped.")
	return nil
}
