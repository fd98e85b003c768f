package yard

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The root key of a server that is measured, and its region and account.
const (
	RootID     = "BENCH"
	RootSecret = "root secret of the benchmark"
	Region     = "us-east-1"
	Account    = "000000000000"
)

// Build builds the server into dir.
func Build(ctx context.Context, dir string) (binary string, err error) {
	Say("building the server")
	binary = filepath.Join(dir, "sesame")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "sesame/cmd/sesame").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return binary, nil
}

// WithServer starts `sesame serve` on the folder data, with nothing but its
// defaults and flags, has it used, and stops it.
func WithServer(ctx context.Context, binary, data string, flags []string, use func(pid int, url string) error) error {
	log := &tail{}
	server := exec.CommandContext(ctx, binary, append([]string{"serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--region", Region, "--account-id", Account}, flags...)...)
	server.Env = []string{"SESAME_ROOT_ACCESS_KEY_ID=" + RootID, "SESAME_ROOT_SECRET_ACCESS_KEY=" + RootSecret}
	server.Stderr = log
	stdout, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	url, err := servesAt(stdout)
	if err == nil {
		err = use(server.Process.Pid, url)
	}
	server.Process.Signal(syscall.SIGTERM) // one that has ended already says why by Wait
	io.Copy(io.Discard, stdout)
	if err = errors.Join(err, server.Wait()); err != nil {
		return fmt.Errorf("%w\nThe server's log ends:\n%s", err, log.text)
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4000
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-most):]
	return len(p), nil
}

// servesAt reads what a server prints until it says where it serves.
func servesAt(stdout io.Reader) (url string, err error) {
	serves := regexp.MustCompile(`serves at (\S+)`)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if found := serves.FindStringSubmatch(lines.Text()); found != nil {
			return found[1], nil
		}
	}
	return "", errors.Join(errors.New("the server ended before it served"), lines.Err())
}

// CPUTime gives how long a process has had a CPU, in user and in system mode.
func CPUTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything. Behind it the times are the 12th
	// and 13th field, in hundredths of a second (proc_pid_stat(5)).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("the kernel does not say how long the server had a CPU")
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// FolderSize gives the lengths of all files below dir together.
func FolderSize(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}

// Child is what was measured of a command that ran to its end.
type Child struct {
	Took, CPU time.Duration
	Peak      int64 // greatest resident memory, bytes; at least about this process's own
	Printed   []byte
}

// Run runs a command to its end.
func Run(c *exec.Cmd) (got Child, err error) {
	// Linux counts the greatest memory of the process that starts a program as the
	// program's. So this process gives back what it does not need and has its own
	// greatest forgotten (proc_pid_clear_refs(5)).
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return got, err
	}
	start := time.Now()
	got.Printed, err = c.CombinedOutput()
	got.Took = time.Since(start)
	if err != nil {
		return got, fmt.Errorf("%s: %w\n%s", c, err, got.Printed[:min(len(got.Printed), 4000)])
	}
	ended := c.ProcessState
	got.CPU = ended.UserTime() + ended.SystemTime()
	got.Peak = ended.SysUsage().(*syscall.Rusage).Maxrss << 10 // Linux counts KiB
	return got, nil
}

// Verdict is a line that says whether a target was met: got must be at most, or at
// least, want. A figure that is not a number is a miss.
func Verdict(what, format string, got float64, atMost bool, want float64) string {
	verdict, bound := "MISS", "at least"
	if atMost {
		bound = "at most"
	}
	if atMost && got <= want || !atMost && got >= want {
		verdict = "pass"
	}
	return English.Sprintf("%s  "+format+", %s "+format+": %s\n", verdict, got, bound, want, what)
}
