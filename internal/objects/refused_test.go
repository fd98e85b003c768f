package objects_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"sesame/internal/importer"
)

// The list of a job's refused lines is fetched by a signed URL, for 12 hours, and
// is never cut short without the client seeing it.
func TestRefusedLines(t *testing.T) {
	const list = "line,value,code,reason\n2,x,no_domain,why\n"
	trouble := errors.New("the store is away")
	content := map[string]struct {
		r   io.Reader
		err error
	}{
		"job-whole":  {strings.NewReader(list), nil},
		"job-long":   {strings.NewReader(strings.Repeat(list, 10_000)), nil},
		"job-none":   {nil, importer.ErrNotFound},
		"job-away":   {nil, trouble},
		"job-breaks": {io.MultiReader(strings.NewReader(strings.Repeat(list, 10_000)), iotest.ErrReader(trouble)), nil},
	}
	for _, c := range []struct {
		name, job string
		after     time.Duration // from signing to fetching
		status    int           // 0: the answer breaks off
		says      string
	}{
		{"whole", "job-whole", 0, 200, list},
		{"long", "job-long", 0, 200, strings.Repeat(list, 10_000)},
		{"late", "job-whole", 13 * time.Hour, 403, "AccessDenied"},
		{"none", "job-none", 0, 404, "NoSuchKey"},
		{"store away", "job-away", 0, 500, "InternalError"},
		{"store breaks off", "job-breaks", 0, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			h.door.Refused = func(_ context.Context, job string) (io.ReadCloser, error) {
				return io.NopCloser(content[job].r), content[job].err
			}
			to := h.door.RefusedURL(c.job, h.door.Now())
			h.mu.Lock()
			h.now = h.now.Add(c.after)
			h.mu.Unlock()
			got, err := http.Get(to)
			h.must(err)
			defer got.Body.Close()
			text, err := io.ReadAll(got.Body)
			if c.status == 0 {
				if err == nil {
					t.Errorf("%d bytes came as if they were all", len(text))
				}
				return
			}
			h.must(err)
			if got.StatusCode != c.status || !strings.Contains(string(text), c.says) || got.Header.Get("X-Amz-Request-Id") == "" {
				t.Errorf("got %d %.300s", got.StatusCode, text)
			}
			head, err := http.Head(to)
			h.must(err)
			head.Body.Close()
			if head.StatusCode != c.status {
				t.Errorf("HEAD: %d", head.StatusCode)
			}
			if c.status == 200 && (string(text) != c.says || !strings.Contains(got.Header.Get("Content-Disposition"), c.job+"-refused.csv")) {
				t.Errorf("got %d bytes, want %d; %v", len(text), len(c.says), got.Header)
			}
			if logged := h.logged(); (c.status == 500) != strings.Contains(logged, "the store is away") || strings.Contains(logged, "X-Amz-Signature") {
				t.Errorf("the log:\n%s", logged)
			}
		})
	}
}
