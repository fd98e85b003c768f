package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"

	"github.com/alecthomas/kong"

	"sesame/internal/config"
	"sesame/internal/obs"
	"sesame/internal/server"
)

// profile imports once into a server in this process and writes the CPU profile
// of the import, upload and checks left out. The server's settings are the
// defaults, and what SESAME_ variables say. SQLite is C, of which Go's profiler
// sees only that it is called; `perf record -g` on this mode sees inside.
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
	f, err := writeFiles(dir, w.rows, w.seed)
	if err != nil {
		return fmt.Errorf("make the addresses: %w", err)
	}
	s, err := server.Start(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop(context.Background())) }()
	out, err := os.Create(w.pprof)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	got, err := importOnce(ctx, s.URL, f, func(imported func() error) error {
		if err := pprof.StartCPUProfile(out); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
		return imported()
	})
	if err != nil {
		return err
	}
	say("%d rows in %.2f s; look at it with `go tool pprof -http=: %s`", w.rows, got.took.Seconds(), w.pprof)
	return nil
}
