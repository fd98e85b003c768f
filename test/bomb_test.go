package test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager/types"
	"github.com/klauspost/compress/zstd"
)

// bomb is a small file that unpacks to 8 GiB without an entry in them, and so
// keeps a worker busy for seconds.
func bomb(t *testing.T) []byte {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	z.Write([]byte("address\n"))
	blank := bytes.Repeat([]byte("\n"), 1<<20)
	for range 8 << 10 {
		z.Write(blank)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// upload makes a list and a job and uploads a file for it.
func upload(t *testing.T, s *server, name string, body []byte) (job string) {
	t.Helper()
	job, url := newJob(t, s, name, types.ImportDataTypeCsv)
	if status, text, err := put(context.Background(), url, bytes.NewReader(body)); status != 200 || err != nil {
		t.Fatalf("upload: %d %v %s", status, err, text)
	}
	return job
}

func startJob(t *testing.T, s *server, job string) {
	t.Helper()
	if _, err := s.client().StartAddressListImportJob(context.Background(), &mailmanager.StartAddressListImportJobInput{JobId: &job}); err != nil {
		t.Fatal(err)
	}
}

// Under --quotas aws the twenty-first import that would run is refused, to each
// client in its own form.
func TestTooManyRunning(t *testing.T) {
	s := start(t, "--quotas", "aws", "--api-rate", "0", "--import-workers", "1")
	startJob(t, s, upload(t, s, "bomb", bomb(t)))
	for i := range 19 {
		startJob(t, s, upload(t, s, fmt.Sprint("small-", i), []byte("address\na@example.com\n")))
	}
	last := upload(t, s, "one-too-many", []byte("address\na@example.com\n"))
	root := aws.Credentials{AccessKeyID: rootID, SecretAccessKey: rootSecret}
	for _, c := range []struct {
		client
		status int
	}{{goClient{}, 400}, {newJSClient(t, "json"), 400}, {newJSClient(t, "cbor"), 402}} {
		o, err := c.call(s.url, root, "StartAddressListImportJob", map[string]any{"JobId": last})
		if err != nil || o.Error != "ServiceQuotaExceededException" || o.Status != c.status {
			t.Errorf("got %v %v, want status %d", o, err, c.status)
		}
	}
}

// A file that is a bomb can be stopped, and so can the server that reads it.
func TestBombCanBeStopped(t *testing.T) {
	bomb := bomb(t)
	ctx := context.Background()
	s := start(t, "--import-workers", "1")
	begin := func(name string, body []byte) string {
		job := upload(t, s, name, body)
		startJob(t, s, job)
		return job
	}
	claimed := func(job string) {
		for end := time.Now().Add(10 * time.Second); !strings.Contains(s.log.String(), `"msg":"import begins","job":"`+job); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the bomb is not being read")
			}
		}
	}
	first := begin("first", bomb)
	claimed(first)
	if _, err := s.client().StopAddressListImportJob(ctx, &mailmanager.StopAddressListImportJobInput{JobId: &first}); err != nil {
		t.Fatal(err)
	}
	other := begin("other", []byte("address\na@example.com\n"))
	if done := waitForJob(t, s.client(), other, 5*time.Second); done.Status != types.ImportJobStatusCompleted {
		t.Errorf("the other job ended as %s", done.Status)
	}
	second := begin("second", bomb)
	claimed(second)
	s.stop() // fails when it takes more than 10 seconds
	s.restart()
	if _, err := s.client().StopAddressListImportJob(ctx, &mailmanager.StopAddressListImportJobInput{JobId: &second}); err != nil {
		t.Error(err)
	}
}
