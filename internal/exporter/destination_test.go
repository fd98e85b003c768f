package exporter_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/jobs"
	"sesame/internal/s3put"
	"sesame/test/s3server"
)

func TestRefuse(t *testing.T) {
	folderOf := func(n int) string { return "s3://whole/" + strings.Repeat("x", n-1) + "/" }
	for _, test := range []struct {
		url         string
		rowsPerFile int64
		want        string // in why; "" when it is allowed
	}{
		{"s3://whole", 0, ""},
		{"s3://whole/", 0, ""},
		{"s3://whole/any/file.csv", 0, ""},
		{"s3://whole/any/folder/", 10, ""},
		{"s3://part/a/b/", 0, ""},
		{"s3://part/a/b/c/", 0, ""},
		{"s3://part/a/b/c", 0, ""},
		{"s3://part/a/b/c d/ä", 0, ""},
		{folderOf(1024 - 128), 0, ""},
		{"s3://whole/" + strings.Repeat("x", 1024), 0, ""},

		{"", 0, "s3://bucket/folder/"},
		{"whole/a", 0, "s3://bucket/folder/"},
		{"https://whole/a", 0, "s3://bucket/folder/"},
		{"S3://whole/a", 0, "s3://bucket/folder/"},
		{"s3:///a", 0, "s3://bucket/folder/"},
		{"s3://wholes", 0, "only below s3://whole, s3://part/a/b/."},
		{"s3://wholes/a", 0, "only below"},
		{"s3://whol/e", 0, "only below"},
		{"s3://part", 0, "only below"},
		{"s3://part/", 0, "only below"},
		{"s3://part/a/", 0, "only below"},
		{"s3://part/a/b", 0, "only below"},
		{"s3://part/a/bc/", 0, "only below"},
		{"s3://part/A/B/", 0, "only below"},
		{"s3://part/a/b/../c/", 0, "segment"},
		{"s3://part/a/b/..", 0, "segment"},
		{"s3://whole/./a", 0, "segment"},
		{"s3://whole//a", 0, "segment"},
		{"s3://whole//", 0, "segment"},
		{"s3://part/a//b/", 0, "segment"},
		{"s3://whole/a\nb", 0, "control"},
		{"s3://whole/a\x00", 0, "control"},
		{"s3://whole/a\x7f", 0, "control"},
		{"s3://whole/\xff", 0, "UTF-8"},
		{"s3://whole/file.csv", 1, "must end with a slash"},
		{folderOf(1025 - 128), 0, "there may be 896"},
		{"s3://whole/" + strings.Repeat("x", 1025), 0, "there may be 1024"},
	} {
		why := exporter.Destinations{"s3://whole", "s3://part/a/b/"}.Refuse(test.url, test.rowsPerFile)
		if (why == "") != (test.want == "") || !strings.Contains(why, test.want) {
			t.Errorf("%q: %q, want %q", test.url, why, test.want)
		}
	}
	if why := (exporter.Destinations{}).Refuse("s3://whole/", 0); why != "This server puts exports nowhere." {
		t.Errorf("with no destinations: %s", why)
	}
}

const bucket = "exports"

// putTo has the world put files at an S3 server.
func (w *world) putTo(t *testing.T, endpoint string) {
	t.Helper()
	s, err := s3put.Open(context.Background(), s3put.Config{
		Endpoint: endpoint, Region: s3server.Region, AccessKeyID: s3server.AccessKeyID, Secret: s3server.Secret, Stall: time.Minute, Patience: 2 * time.Second, Pause: 200 * time.Millisecond,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w.Destination, w.Config.Destinations = s, exporter.Destinations{"s3://" + bucket, "s3://missing"}
}

// sent are n messages.
func (w *world) sent(n int) {
	w.t.Helper()
	var all []events.Event
	for i := range n {
		all = append(all, event(fmt.Sprintf("m%06d", i), "a@gmail.com", events.Send, start.Add(time.Duration(i)*time.Second), 0, nil))
	}
	w.append(all...)
}

// Files are at the destination as they are in the object store.
func TestDestination(t *testing.T) {
	server := s3server.Start(t, bucket)
	w := newWorld(t)
	w.putTo(t, server.URL)
	w.sent(100)
	for _, test := range []struct {
		url         string
		rowsPerFile int64
		files       int
	}{
		{"s3://exports/folder/", 0, 1},
		{"s3://exports", 0, 1},
		{"s3://exports/the/file.csv", 0, 1},
		{"s3://exports/many/", 30, 4},
	} {
		o := insights(exporter.StrictCSV)
		o.Insights.MaxResults, o.Destination, o.RowsPerFile = 0, test.url, test.rowsPerFile
		j, _ := w.export(o)
		at := j.PutAt()
		if len(j.Files) != test.files || test.files > 1 && at != test.url || test.files == 1 && !strings.HasPrefix(at, test.url) {
			t.Fatalf("%s: %d files at %s", test.url, len(j.Files), at)
		}
		for _, f := range j.Files {
			url := at
			if test.files > 1 {
				url += f.Name
			}
			got, about, err := server.Object(bucket, strings.TrimPrefix(url, "s3://exports/"))
			if err != nil || string(got) != w.content(f.Object) || *about.ChecksumCRC32C != f.CRC32C || *about.ContentType != "text/csv; charset=utf-8" {
				t.Errorf("%s: %d bytes of %d, %+v, %v", url, len(got), f.Size, about, err)
			}
		}
	}
}

// A destination that does not take the file fails the job, with words that help and
// without a file.
func TestDestinationRefuses(t *testing.T) {
	server := s3server.Start(t, bucket)
	w := newWorld(t)
	w.putTo(t, server.URL)
	w.sent(1)
	fails := func(url, want string) {
		t.Helper()
		o := insights(exporter.CSV)
		o.Destination = url
		id, err := w.Create(context.Background(), src, o)
		if err != nil || !w.work(context.Background()) {
			t.Fatal("no work", err)
		}
		j, err := w.Get(context.Background(), src, id)
		if err != nil || j.Status != jobs.Failed || !strings.HasPrefix(j.Error, "The export could not be put at "+url+": "+want) || len(j.Files) > 0 || len(w.objects()) > 0 || j.PutAt() != "" {
			t.Errorf("%+v, %v, %v", j, w.objects(), err)
		}
	}
	fails("s3://missing/folder/", "the bucket does not exist. ")
	fails("s3://forbidden/", "This server puts exports only below s3://exports, s3://missing.")
	server.Kill()
	fails("s3://exports/folder/", "the store did not take it though it was tried for 2")
}

// A job that is cancelled while its file is put stops soon, and leaves no file; one
// that is given back is put by who takes it next.
func TestDestinationStops(t *testing.T) {
	server := s3server.Start(t, bucket)
	line := server.Through(t, 0)
	w := newWorld(t)
	w.putTo(t, line.URL)
	w.sent(20_000)
	o := insights(exporter.CSV)
	o.Insights.MaxResults, o.Destination = 0, "s3://exports/f.csv"
	// begin works on a new job until ctx ends, and gives it when it is stuck at the line.
	begin := func(ctx context.Context) (id string, ended chan struct{}) {
		line.CutAfter(1 << 20)
		id, err := w.Create(ctx, src, o)
		if err != nil {
			t.Fatal(err)
		}
		ended = make(chan struct{})
		go func() {
			defer close(ended)
			w.work(ctx)
		}()
		line.WaitCut()
		return id, ended
	}
	soon := func(ended chan struct{}) {
		t.Helper()
		select {
		case <-ended:
		case <-time.After(3 * time.Second):
			t.Fatal("the work goes on")
		}
		line.CutAfter(-1)
		if whole, unfinished := server.Keys(bucket); len(whole)+len(unfinished)+len(w.objects()) > 0 {
			t.Errorf("left: %v, %v, %v", whole, unfinished, w.objects())
		}
	}

	id, ended := begin(context.Background())
	if err := w.Cancel(context.Background(), src, id); err != nil {
		t.Fatal(err)
	}
	soon(ended)

	stopping, stop := context.WithCancel(context.Background())
	id, ended = begin(stopping)
	stop()
	soon(ended)
	if !w.work(context.Background()) {
		t.Fatal("the job does not wait")
	}
	j, err := w.Get(context.Background(), src, id)
	if err != nil || j.Status != jobs.Completed {
		t.Fatalf("%+v, %v", j, err)
	}
	if got, _, err := server.Object(bucket, "f.csv"); err != nil || string(got) != w.content(j.Files[0].Object) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
