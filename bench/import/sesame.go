package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager/types"
)

// The root key of the server that is measured.
const (
	rootID     = "BENCH"
	rootSecret = "root secret of the benchmark"
)

// measureSesame imports into a new server, started as `sesame serve` with
// nothing but its defaults.
func measureSesame(ctx context.Context, binary, dir string, f files) (figures, error) {
	data := filepath.Join(dir, "data")
	var log bytes.Buffer
	server := exec.CommandContext(ctx, binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", data)
	server.Env = []string{"SESAME_ROOT_ACCESS_KEY_ID=" + rootID, "SESAME_ROOT_SECRET_ACCESS_KEY=" + rootSecret}
	server.Stderr = &log
	stdout, err := server.StdoutPipe()
	if err != nil {
		return figures{}, err
	}
	if err := server.Start(); err != nil {
		return figures{}, err
	}
	var got figures
	url, err := servesAt(stdout)
	if err == nil {
		got, err = importInto(ctx, server.Process.Pid, url, f)
	}
	server.Process.Signal(syscall.SIGTERM) // one that has ended already says why by Wait
	io.Copy(io.Discard, stdout)
	if err = errors.Join(err, server.Wait()); err != nil {
		const end = 4000
		return figures{}, fmt.Errorf("%w\nThe server's log ends:\n%s", err, log.Bytes()[max(0, log.Len()-end):])
	}
	// Measured when it has stopped: what its writer had in hand is settled then.
	got.disk, err = folderSize(data)
	return got, err
}

// importInto imports into the server at url and adds what its process took.
func importInto(ctx context.Context, pid int, url string, f files) (figures, error) {
	var cpu time.Duration
	got, err := importOnce(ctx, url, f, func(imported func() error) error {
		before, err := cpuTime(pid)
		if err != nil {
			return err
		}
		if err := imported(); err != nil {
			return err
		}
		after, err := cpuTime(pid)
		cpu = after - before
		return err
	})
	if err != nil {
		return got, err
	}
	got.cpu = cpu
	got.peak, err = peakMemory(pid)
	return got, err
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

// importOnce uploads f into a new list of the server at url, has it imported,
// and checks that all of it arrived. around is called with what is measured.
func importOnce(ctx context.Context, url string, f files, around func(imported func() error) error) (got figures, err error) {
	mm := mailmanager.New(mailmanager.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(url),
		Credentials: credentials.NewStaticCredentialsProvider(rootID, rootSecret, ""),
	})
	list, err := mm.CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: aws.String("bench")})
	if err != nil {
		return got, err
	}
	job, err := mm.CreateAddressListImportJob(ctx, &mailmanager.CreateAddressListImportJobInput{
		AddressListId: list.AddressListId, Name: aws.String("bench"),
		ImportDataFormat: &types.ImportDataFormat{ImportDataType: types.ImportDataTypeCsv},
	})
	if err != nil {
		return got, err
	}
	start := time.Now()
	if err := put(ctx, *job.PreSignedUrl, f.csv); err != nil {
		return got, fmt.Errorf("upload the file: %w", err)
	}
	got.upload = time.Since(start)
	syscall.Sync()

	var ended *mailmanager.GetAddressListImportJobOutput
	err = around(func() error {
		start = time.Now()
		ended, err = runJob(ctx, mm, job.JobId)
		got.took = time.Since(start)
		return err
	})
	if err != nil {
		return got, err
	}
	if ended.Status != types.ImportJobStatusCompleted || *ended.ImportedItemsCount != int32(f.rows) || *ended.FailedItemsCount != 0 {
		return got, fmt.Errorf("the import of %d addresses ended as %s with %d imported and %d failed: %s",
			f.rows, ended.Status, *ended.ImportedItemsCount, *ended.FailedItemsCount, aws.ToString(ended.Error))
	}
	return got, checkMembers(ctx, mm, list.AddressListId, f.samples)
}

// put uploads a file.
func put(ctx context.Context, url, file string) error {
	body, err := os.Open(file)
	if err != nil {
		return err
	}
	defer body.Close()
	info, err := body.Stat()
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, url, body)
	if err != nil {
		return err
	}
	r.ContentLength = info.Size()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return err
}

// askEvery is short beside an import and long beside an answer.
const askEvery = 25 * time.Millisecond

// runJob starts a job and waits for its end.
func runJob(ctx context.Context, mm *mailmanager.Client, id *string) (*mailmanager.GetAddressListImportJobOutput, error) {
	if _, err := mm.StartAddressListImportJob(ctx, &mailmanager.StartAddressListImportJobInput{JobId: id}); err != nil {
		return nil, err
	}
	for {
		job, err := mm.GetAddressListImportJob(ctx, &mailmanager.GetAddressListImportJobInput{JobId: id})
		if err != nil || job.Status != types.ImportJobStatusProcessing {
			return job, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(askEvery):
		}
	}
}

// checkMembers sees that the samples are members and another address is not.
func checkMembers(ctx context.Context, mm *mailmanager.Client, list *string, samples []string) error {
	for _, a := range samples {
		m, err := mm.GetMemberOfAddressList(ctx, &mailmanager.GetMemberOfAddressListInput{AddressListId: list, Address: aws.String(a)})
		if err != nil {
			return fmt.Errorf("ask for %s: %w", a, err)
		}
		if *m.Address != a {
			return fmt.Errorf("asked for %s, got %s", a, *m.Address)
		}
	}
	_, err := mm.GetMemberOfAddressList(ctx, &mailmanager.GetMemberOfAddressListInput{AddressListId: list, Address: aws.String("nobody@nowhere.invalid")})
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) {
		return fmt.Errorf("asked for an address that is not in the list, got %v", err)
	}
	return nil
}

// peakMemory gives the most memory that a process has had resident, in bytes.
func peakMemory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		return 0, errors.New("the kernel does not say how much memory the server took")
	}
	kib, err := strconv.ParseInt(string(found[1]), 10, 64)
	return kib << 10, err
}

// cpuTime gives how long a process has had a CPU, in user and in system mode.
func cpuTime(pid int) (time.Duration, error) {
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

// folderSize gives the lengths of all files below dir together.
func folderSize(dir string) (size int64, err error) {
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
