package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager/types"

	"sesame/bench/yard"
)

// The root key of the server that is measured, and its region.
const (
	rootID     = "BENCH"
	rootSecret = "root secret of the benchmark"
	region     = "us-east-1"
)

// measureSesame imports upload, which is one of the forms of f, into a new server.
func measureSesame(ctx context.Context, binary string, f files, upload string) (got figures, err error) {
	data := filepath.Join(f.dir, "data")
	err = withServer(ctx, binary, data, func(pid int, c client) error {
		list, err := c.createList(ctx, "bench")
		if err != nil {
			return err
		}
		start := time.Now()
		job, err := c.upload(ctx, list, upload)
		if err != nil {
			return err
		}
		got.upload = time.Since(start)
		syscall.Sync()

		before, err := yard.CPUTime(pid)
		if err != nil {
			return err
		}
		anonymous := watchMemory(pid)
		got.took, err = c.runJob(ctx, job, f)
		got.anonymous = anonymous()
		if err != nil {
			return err
		}
		after, err := yard.CPUTime(pid)
		if err != nil {
			return err
		}
		got.cpu = after - before
		if got.peak, err = yard.Memory(pid, "VmHWM"); err != nil {
			return err
		}
		return c.checkMembers(ctx, list, f.samples)
	})
	if err != nil {
		return got, err
	}
	// Measured when it has stopped: what its writer had in hand is settled then.
	if got.disk, err = yard.FolderSize(data); err != nil {
		return got, err
	}
	return got, os.RemoveAll(data)
}

// withServer starts `sesame serve` with nothing but its defaults on the new folder
// data, has it used, and stops it.
func withServer(ctx context.Context, binary, data string, use func(pid int, c client) error) error {
	var log bytes.Buffer
	server := exec.CommandContext(ctx, binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", data)
	server.Env = []string{"SESAME_ROOT_ACCESS_KEY_ID=" + rootID, "SESAME_ROOT_SECRET_ACCESS_KEY=" + rootSecret}
	server.Stderr = &log
	stdout, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	url, err := servesAt(stdout)
	if err == nil {
		err = use(server.Process.Pid, newClient(url))
	}
	server.Process.Signal(syscall.SIGTERM) // one that has ended already says why by Wait
	io.Copy(io.Discard, stdout)
	if err = errors.Join(err, server.Wait()); err != nil {
		const end = 4000
		return fmt.Errorf("%w\nThe server's log ends:\n%s", err, log.Bytes()[max(0, log.Len()-end):])
	}
	return nil
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

// client calls one server.
type client struct {
	*mailmanager.Client
	url string
}

func newClient(url string) client {
	return client{url: url, Client: mailmanager.New(mailmanager.Options{
		Region: region, BaseEndpoint: aws.String(url),
		Credentials: credentials.NewStaticCredentialsProvider(rootID, rootSecret, ""),
	})}
}

func (c client) createList(ctx context.Context, name string) (id string, err error) {
	list, err := c.CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: &name})
	if err != nil {
		return "", err
	}
	return *list.AddressListId, nil
}

// upload makes an import job for a list and uploads a file to it.
func (c client) upload(ctx context.Context, list, file string) (job string, err error) {
	made, err := c.CreateAddressListImportJob(ctx, &mailmanager.CreateAddressListImportJobInput{
		AddressListId: &list, Name: aws.String("bench"),
		ImportDataFormat: &types.ImportDataFormat{ImportDataType: types.ImportDataTypeCsv},
	})
	if err != nil {
		return "", err
	}
	if err := put(ctx, *made.PreSignedUrl, file); err != nil {
		return "", fmt.Errorf("upload %s: %w", file, err)
	}
	return *made.JobId, nil
}

// put uploads a file to a pre-signed URL.
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
	_, err = answer(r)
	return err
}

// answer sends a request and gives the body of the answer, which must be OK.
func answer(r *http.Request) ([]byte, error) {
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return text, err
}

// askEvery is short beside an import and long beside an answer.
const askEvery = 25 * time.Millisecond

// runJob starts a job, waits until it is complete and reported, and checks that
// the report says of f, none of whose addresses were members before, what is so. It
// gives the time from Start to the report.
func (c client) runJob(ctx context.Context, id string, f files) (took time.Duration, err error) {
	start := time.Now()
	if _, err := c.StartAddressListImportJob(ctx, &mailmanager.StartAddressListImportJobInput{JobId: &id}); err != nil {
		return 0, err
	}
	for {
		job, err := c.GetAddressListImportJob(ctx, &mailmanager.GetAddressListImportJobInput{JobId: &id})
		if err != nil {
			return 0, err
		}
		if job.Status != types.ImportJobStatusProcessing {
			break
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(askEvery):
		}
	}
	got, err := c.report(ctx, id)
	took = time.Since(start)
	if err != nil {
		return took, err
	}
	want := report{Status: "COMPLETED", Lines: f.lines, Added: f.added, DuplicateInFile: f.duplicates, Invalid: f.bad}
	if got != want {
		return took, fmt.Errorf("the import is reported as\n%+v and not as\n%+v", got, want)
	}
	return took, nil
}

// report is what GetAddressListImportReport says of a job, as far as it is checked.
type report struct {
	Status, Error                                          string
	Lines, Added, AlreadyPresent, DuplicateInFile, Invalid int
}

// report asks for the report of a job. The operation is Sesame's own, so no SDK
// has it; the request is signed as the SDK's are.
func (c client) report(ctx context.Context, job string) (got report, err error) {
	body, err := json.Marshal(map[string]string{"JobId": job})
	if err != nil {
		return got, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/sesame/v1/GetAddressListImportReport", bytes.NewReader(body))
	if err != nil {
		return got, err
	}
	r.Header.Set("Content-Type", "application/json")
	digest := sha256.Sum256(body)
	key := aws.Credentials{AccessKeyID: rootID, SecretAccessKey: rootSecret}
	if err := v4.NewSigner().SignHTTP(ctx, key, r, hex.EncodeToString(digest[:]), "ses", region, time.Now()); err != nil {
		return got, err
	}
	text, err := answer(r)
	if err != nil {
		return got, err
	}
	return got, json.Unmarshal(text, &got)
}

// checkMembers sees that the samples are members and another address is not.
func (c client) checkMembers(ctx context.Context, list string, samples []string) error {
	for _, a := range samples {
		m, err := c.GetMemberOfAddressList(ctx, &mailmanager.GetMemberOfAddressListInput{AddressListId: &list, Address: &a})
		if err != nil {
			return fmt.Errorf("ask for %s: %w", a, err)
		}
		if *m.Address != a {
			return fmt.Errorf("asked for %s, got %s", a, *m.Address)
		}
	}
	_, err := c.GetMemberOfAddressList(ctx, &mailmanager.GetMemberOfAddressListInput{AddressListId: &list, Address: aws.String("nobody@nowhere.invalid")})
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) {
		return fmt.Errorf("asked for an address that is not in the list, got %v", err)
	}
	return nil
}

// watchMemory looks again and again how much memory a process has that is not a
// file's, until stop is called, which gives the most that was seen, in bytes; 0
// when the kernel does not say.
func watchMemory(pid int) (stop func() int64) {
	done, most := make(chan struct{}), make(chan int64)
	go func() {
		var seen int64
		for {
			now, err := yard.Memory(pid, "RssAnon")
			if err == nil {
				seen = max(seen, now)
			}
			select {
			case <-done:
				most <- seen
				return
			case <-time.After(askEvery):
			}
		}
	}()
	return func() int64 {
		close(done)
		return <-most
	}
}
