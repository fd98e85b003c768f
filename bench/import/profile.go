package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"

	"github.com/alecthomas/kong"

	"sesame/bench/yard"
	"sesame/internal/config"
	"sesame/internal/obs"
	"sesame/internal/server"
)

// profile imports once into a server in this process and writes the CPU profile
// of the import, upload and checks left out. The server's settings are the
// defaults, and what SESAME_ variables say.
func profile(ctx context.Context, w wants, dir string) (err error) {
	for name, value := range map[string]string{"SESAME_ROOT_ACCESS_KEY_ID": rootID, "SESAME_ROOT_SECRET_ACCESS_KEY": rootSecret} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	var c config.Server
	flags, err := kong.New(&c)
	if err != nil {
		return err
	}
	if _, err := flags.Parse([]string{"--listen", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "data")}); err != nil {
		return err
	}
	log, err := obs.NewLog(os.Stderr, "warn", "text")
	if err != nil {
		return err
	}
	f, err := writeFiles(filepath.Join(dir, "files"), w.rows[0], false, w.seed)
	if err != nil {
		return fmt.Errorf("make the addresses: %w", err)
	}
	s, err := server.Start(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop(context.Background())) }()
	calls := newClient(s.URL)
	list, err := calls.createList(ctx, "bench")
	if err != nil {
		return err
	}
	job, err := calls.upload(ctx, list, f.csv)
	if err != nil {
		return err
	}
	out, err := os.Create(w.pprof)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	took, err := calls.runJob(ctx, job, f)
	pprof.StopCPUProfile()
	if err != nil {
		return err
	}
	yard.Say("%d rows in %.2f s; look at it with `go tool pprof -http=: %s`", f.lines, took.Seconds(), w.pprof)
	return calls.checkMembers(ctx, list, f.samples)
}
