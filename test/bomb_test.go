package test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager/types"
	"github.com/klauspost/compress/zstd"
)

// A small file that unpacks to gigabytes without an entry in them can be
// stopped, and so can the server that reads it.
func TestBombCanBeStopped(t *testing.T) {
	var bomb bytes.Buffer
	z, err := zstd.NewWriter(&bomb, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	z.Write([]byte("address\n"))
	blank := bytes.Repeat([]byte("\n"), 1<<20)
	for range 8 << 10 { // 8 GiB
		z.Write(blank)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	s := start(t, "--import-workers", "1")
	begin := func(name string, body []byte) string {
		job, url := newJob(t, s, name, types.ImportDataTypeCsv)
		if status, text, err := put(ctx, url, bytes.NewReader(body)); status != 200 || err != nil {
			t.Fatalf("upload: %d %v %s", status, err, text)
		}
		if _, err := s.client().StartAddressListImportJob(ctx, &mailmanager.StartAddressListImportJobInput{JobId: &job}); err != nil {
			t.Fatal(err)
		}
		return job
	}
	claimed := func(job string) {
		for end := time.Now().Add(10 * time.Second); !strings.Contains(s.log.String(), `"msg":"import begins","job":"`+job); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the bomb is not being read")
			}
		}
	}
	first := begin("first", bomb.Bytes())
	claimed(first)
	if _, err := s.client().StopAddressListImportJob(ctx, &mailmanager.StopAddressListImportJobInput{JobId: &first}); err != nil {
		t.Fatal(err)
	}
	other := begin("other", []byte("address\na@example.com\n"))
	if done := waitForJob(t, s.client(), other, 5*time.Second); done.Status != types.ImportJobStatusCompleted {
		t.Errorf("the other job ended as %s", done.Status)
	}
	second := begin("second", bomb.Bytes())
	claimed(second)
	s.stop() // fails when it takes more than 10 seconds
	s.restart()
	if _, err := s.client().StopAddressListImportJob(ctx, &mailmanager.StopAddressListImportJobInput{JobId: &second}); err != nil {
		t.Error(err)
	}
}
