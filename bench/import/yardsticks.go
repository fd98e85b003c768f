package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// measured runs a command to its end. Its disk is left for the caller to fill in.
func measured(c *exec.Cmd) (figures, error) {
	var printed bytes.Buffer
	c.Stdout, c.Stderr = &printed, &printed
	start := time.Now()
	err := c.Run()
	took := time.Since(start)
	if err == nil && printed.Len() > 0 {
		err = errors.New("it had something to say") // a warning, which would be about rows
	}
	if err != nil {
		return figures{}, fmt.Errorf("%s: %w\n%s", c, err, printed.Bytes())
	}
	ended := c.ProcessState
	return figures{
		took: took,
		cpu:  ended.UserTime() + ended.SystemTime(),
		peak: ended.SysUsage().(*syscall.Rusage).Maxrss << 10, // Linux counts KiB
	}, nil
}

// measureSort sorts the addresses into a file, by byte value as Sesame does.
func measureSort(ctx context.Context, dir string, f files) (figures, error) {
	sorted := filepath.Join(dir, "sorted")
	c := exec.CommandContext(ctx, "sort", "-u", "-o", sorted, f.plain)
	c.Env = append(os.Environ(), "LC_ALL=C", "TMPDIR="+dir)
	got, err := measured(c)
	if err != nil {
		return got, err
	}
	lines, size, err := count(sorted)
	if err == nil && lines != f.rows {
		err = fmt.Errorf("%d lines came out of %d", lines, f.rows)
	}
	got.disk = size
	return got, err
}

// count gives a file's lines and bytes. It must not take the file into memory:
// see people.seen.
func count(name string) (lines int, size int64, err error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	text := bufio.NewScanner(file)
	for text.Scan() {
		lines++
		size += int64(len(text.Bytes())) + 1
	}
	return lines, size, text.Err()
}

// measurePostmap makes an LMDB table of the addresses.
func measurePostmap(ctx context.Context, dir string, f files) (figures, error) {
	conf, err := postmapConfig(dir, f.rows)
	if err != nil {
		return figures{}, err
	}
	got, err := measured(exec.CommandContext(ctx, "postmap", "-c", conf, "lmdb:"+f.table))
	if err != nil {
		return got, err
	}
	for _, a := range f.samples {
		if out, err := exec.CommandContext(ctx, "postmap", "-c", conf, "-q", a, "lmdb:"+f.table).CombinedOutput(); err != nil || string(out) != "OK\n" {
			return got, fmt.Errorf("asked for %s, got %q, %v", a, out, err)
		}
	}
	info, err := os.Stat(f.table + ".lmdb")
	if err != nil {
		return got, err
	}
	got.disk = info.Size()
	return got, nil
}

// postmapConfig gives a folder with what postmap wants to read: nearly nothing.
// The map may grow to a kilobyte a row, so that postmap, whose default is 16 MiB
// for all, does not run into the limit and start again, doubled, several times.
func postmapConfig(dir string, rows int) (conf string, err error) {
	conf = filepath.Join(dir, "postfix")
	if err := os.MkdirAll(conf, 0o700); err != nil {
		return "", err
	}
	main := filepath.Join(conf, "main.cf")
	if err := os.WriteFile(main, fmt.Appendf(nil, "lmdb_map_size = %d\n", 16<<20+1024*rows), 0o600); err != nil {
		return "", err
	}
	// Postfix programs sleep for up to two seconds beside a main.cf that has just
	// been written, lest they read half of it.
	long := time.Now().Add(-time.Hour)
	return conf, os.Chtimes(main, long, long)
}

// readyPostmap tries postmap with LMDB and, where that is missing, installs
// Debian's. A Postfix that was not there before is left without configuration,
// which means that it does not run.
func readyPostmap(ctx context.Context, dir string) error {
	conf, err := postmapConfig(dir, 0)
	if err != nil {
		return err
	}
	probe := filepath.Join(dir, "probe")
	if err := os.WriteFile(probe, []byte("a@b.example OK\n"), 0o600); err != nil {
		return err
	}
	try := func() error {
		out, err := exec.CommandContext(ctx, "postmap", "-c", conf, "lmdb:"+probe).CombinedOutput()
		if err != nil {
			return fmt.Errorf("postmap with LMDB: %w\n%s", err, out)
		}
		return nil
	}
	if try() == nil {
		return nil
	}
	say("postmap or its LMDB support is missing: installing the Debian packages postfix and postfix-lmdb")
	for _, c := range [][]string{
		{"debconf-set-selections"},
		{"apt-get", "update"},
		{"apt-get", "install", "-y", "postfix", "postfix-lmdb"},
	} {
		install := exec.CommandContext(ctx, c[0], c[1:]...)
		install.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		install.Stdin = strings.NewReader("postfix postfix/main_mailer_type select No configuration\n")
		if out, err := install.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%sInstall postmap with LMDB support by hand, then run this again", install, err, out)
		}
	}
	return try()
}
