package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // the driver

	"sesame/bench/yard"
)

// measured runs a command to its end and gives what it printed too. Its disk is
// left for the caller to fill in.
func measured(c *exec.Cmd) (got figures, printed []byte, err error) {
	// Linux counts the greatest memory of the process that starts a program as the
	// program's. So this process gives back what it does not need and has its own
	// greatest forgotten (proc_pid_clear_refs(5)).
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return got, nil, err
	}
	start := time.Now()
	printed, err = c.CombinedOutput()
	took := time.Since(start)
	if err != nil {
		return got, printed, fmt.Errorf("%s: %w\n%s", c, err, beginning(printed))
	}
	ended := c.ProcessState
	return figures{
		took: took,
		cpu:  ended.UserTime() + ended.SystemTime(),
		peak: ended.SysUsage().(*syscall.Rusage).Maxrss << 10, // Linux counts KiB
	}, printed, nil
}

func beginning(text []byte) []byte { return text[:min(len(text), 4000)] }

// measureSort sorts the lines into a file, by byte value as Sesame does.
func measureSort(ctx context.Context, f files, compressed bool) (figures, error) {
	sorted := filepath.Join(f.dir, "sorted")
	c := exec.CommandContext(ctx, "sort", "-u", "-o", sorted, f.csv)
	if compressed {
		c = exec.CommandContext(ctx, "sh", "-c", `gzip -dc "$1" | sort -u -o "$2"`, "sh", f.gzip, sorted)
	}
	c.Env = append(os.Environ(), "LC_ALL=C", "TMPDIR="+f.dir)
	got, printed, err := measured(c)
	if err == nil && len(printed) > 0 {
		err = fmt.Errorf("%s", beginning(printed))
	}
	if err != nil {
		return got, err
	}
	lines, err := countLines(sorted)
	if want := 1 + f.added + f.bad; err == nil && lines != want { // the header is a line to sort
		err = fmt.Errorf("%d lines came out and not %d", lines, want)
	}
	if err != nil {
		return got, err
	}
	if got.disk, err = yard.FileSize(sorted); err != nil {
		return got, err
	}
	return got, os.Remove(sorted)
}

// countLines gives the lines of a file.
func countLines(name string) (lines int, err error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	text := bufio.NewScanner(file)
	for text.Scan() {
		lines++
	}
	return lines, text.Err()
}

// measurePostmap makes an LMDB table of the lines. Of a key that an earlier line
// had it is to take no notice (-w): a warning for each would be what is measured.
func measurePostmap(ctx context.Context, f files) (figures, error) {
	conf, err := yard.PostmapConfig(f.dir, f.lines)
	if err != nil {
		return figures{}, err
	}
	got, printed, err := measured(exec.CommandContext(ctx, "postmap", "-w", "-c", conf, "lmdb:"+f.table))
	if err != nil {
		return got, err
	}
	// It warns of some of the bad lines. It must have nothing to say of the others.
	if bytes.Count(printed, []byte("\n")) > f.bad {
		return got, fmt.Errorf("it had something to say:\n%s", beginning(printed))
	}
	for _, a := range f.samples {
		if out, err := exec.CommandContext(ctx, "postmap", "-c", conf, "-q", a, "lmdb:"+f.table).CombinedOutput(); err != nil || string(out) != "OK\n" {
			return got, fmt.Errorf("asked for %s, got %q, %v", a, out, err)
		}
	}
	made := f.table + ".lmdb"
	if got.disk, err = yard.FileSize(made); err != nil {
		return got, err
	}
	return got, os.Remove(made)
}

// duckDBChild is the first argument of a process of this program that is to do
// nothing but DuckDB's part, so that memory and CPU time are DuckDB's own.
const duckDBChild = "duckdb-child"

// measureDuckDB makes a table of the different lines in a new database on disk,
// and gives DuckDB's version too.
func measureDuckDB(ctx context.Context, f files, compressed bool) (got figures, version string, err error) {
	file := filepath.Base(f.csv)
	if compressed {
		file = filepath.Base(f.gzip)
	}
	const database = "addresses.duckdb"
	c := exec.CommandContext(ctx, "/proc/self/exe", duckDBChild, database, file)
	c.Dir = f.dir
	got, printed, err := measured(c)
	if err != nil {
		return got, "", err
	}
	var rows int
	if _, err := fmt.Sscan(string(printed), &rows, &version); err != nil {
		return got, "", fmt.Errorf("%w: %s", err, beginning(printed))
	}
	if want := f.added + f.bad - f.notUTF8; rows != want {
		return got, "", fmt.Errorf("%d rows came out and not %d", rows, want)
	}
	made := filepath.Join(f.dir, database)
	if got.disk, err = yard.FileSize(made); err != nil {
		return got, "", err
	}
	return got, version, os.Remove(made)
}

// duckDB is what the child does: it makes the table, with two threads and else
// DuckDB's defaults, and prints its rows and DuckDB's version. What is not UTF-8
// DuckDB cannot keep; such a line is left out, and nothing else is.
func duckDB(database, file string) (err error) {
	db, err := sql.Open("duckdb", database+"?threads=2")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, statement := range []string{
		`CREATE TABLE addresses AS SELECT DISTINCT address FROM read_csv('` + file + `', header = true, auto_detect = false,
			columns = {'address': 'VARCHAR'}, delim = '\t', quote = '', escape = '', ignore_errors = true)`,
		`CHECKPOINT`,
	} {
		if _, err := db.Exec(statement); err != nil {
			return err
		}
	}
	var rows int
	var version string
	if err := db.QueryRow(`SELECT count(*), version() FROM addresses`).Scan(&rows, &version); err != nil {
		return err
	}
	fmt.Println(rows, version)
	return nil
}
