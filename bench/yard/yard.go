// Package yard has what the benchmarks share: the maker of addresses, Debian's
// postmap, figures, and the file of results.
package yard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Main does a benchmark's work, until Ctrl-C or for as long as limit, which only
// something that hangs reaches, and ends the program with status 1 if it fails.
func Main(name string, limit time.Duration, work func(ctx context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := work(ctx); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

// Say tells how far a benchmark is.
func Say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Folder makes a temporary folder that is on a disk, for the caller to remove. The
// error is also that TMPDIR is in memory.
func Folder() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "sesame-bench-"); err != nil {
		return "", err
	}
	var where syscall.Statfs_t
	err = syscall.Statfs(dir, &where)
	const tmpfs = 0x01021994 // statfs(2)
	if err == nil && where.Type == tmpfs {
		err = fmt.Errorf("%s is in memory: set TMPDIR to a folder on a disk", dir)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	return dir, nil
}

// FileSize gives the length of a file in bytes.
func FileSize(name string) (int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Memory gives one of the sizes that the kernel keeps of a process's memory, such
// as RssAnon, in bytes.
func Memory(pid int, name string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		return 0, fmt.Errorf("the kernel does not say %s of process %d", name, pid)
	}
	kib, err := strconv.ParseInt(string(found[1]), 10, 64)
	return kib << 10, err
}

// Printed gives the first line that a command prints.
func Printed(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first), nil
}

// Publish prints what the benchmark called name has found, under a head that says
// when and where it ran, beside which programs. Unless results is empty it also
// writes that, and raw, each measurement, to a file in this folder.
func Publish(ctx context.Context, results, name, programs string, table, raw []byte) error {
	commit, err := Printed(ctx, "git", "describe", "--always", "--dirty", "--exclude=*")
	if err != nil {
		return err
	}
	date := time.Now().UTC().Format(time.DateOnly)
	facts, err := machine(ctx)
	if err != nil {
		return err
	}
	title := strings.ToUpper(name[:1]) + name[1:]
	text := fmt.Appendf(nil, "%s benchmark of %s at commit %s\n%s; %s\n\n%s", title, date, commit, facts, programs, table)
	if _, err := os.Stdout.Write(text); err != nil || results == "" {
		return err
	}
	if err := os.MkdirAll(results, 0o755); err != nil {
		return err
	}
	text = fmt.Appendf(text, "\nEach measurement\n\n%s", raw)
	return os.WriteFile(filepath.Join(results, name+"-"+date+"-"+commit+".txt"), text, 0o644)
}

// machine gives what the figures depend on, and nothing that names the machine.
func machine(ctx context.Context) (string, error) {
	kernel, err := Printed(ctx, "uname", "-sr")
	if err != nil {
		return "", err
	}
	kernel = regexp.MustCompile(`^\S+ [0-9.]*[0-9]`).FindString(kernel) // without what a distributor or owner calls it
	memory, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "", err
	}
	var kib float64
	if _, err := fmt.Sscanf(string(memory), "MemTotal: %f kB", &kib); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d cores (%s), %.0f GiB memory, %s, %s",
		runtime.NumCPU(), runtime.GOARCH, kib/(1<<20), kernel, runtime.Version()), nil
}
