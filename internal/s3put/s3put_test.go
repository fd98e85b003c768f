package s3put

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"sesame/internal/exporter"
	"sesame/test/s3server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	bucket = "exports"
	part   = 5 << 20 // the least that S3 allows
)

// small is a configuration for a server, with times that a test can wait for.
func small(endpoint string) Config {
	return Config{
		Endpoint: endpoint, Region: s3server.Region, AccessKeyID: s3server.AccessKeyID, Secret: s3server.Secret,
		Part: part, Stall: 20 * time.Second, Patience: 20 * time.Second, Pause: 200 * time.Millisecond,
	}
}

func open(t *testing.T, c Config) *Store {
	t.Helper()
	s, err := Open(context.Background(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// file makes up a file.
func file(name string, size int) (exporter.File, []byte) {
	content := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(size)}).Read(content)
	return exporter.File{Name: name, Size: int64(size), CRC32C: checksum(content)}, content
}

func checksum(content []byte) string {
	sum := crc32.New(castagnoli)
	sum.Write(content)
	return base64.StdEncoding.EncodeToString(sum.Sum(nil))
}

// wire is a file that does something when it is read beyond a place.
type wire struct {
	io.ReaderAt
	at   int64
	once sync.Once
	do   func()
}

func (w *wire) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= w.at {
		w.once.Do(w.do)
	}
	return w.ReaderAt.ReadAt(p, offset)
}

// has checks that the server has a file whole, and no part of anything.
func has(t *testing.T, server *s3server.Server, key string, f exporter.File, want []byte) *s3.GetObjectOutput {
	t.Helper()
	got, about, err := server.Object(bucket, key)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%q: %d bytes, want %d, %v", key, len(got), len(want), err)
	}
	if aws.ToString(about.ChecksumCRC32C) != f.CRC32C {
		t.Errorf("%q: checksum %q, want %q", key, aws.ToString(about.ChecksumCRC32C), f.CRC32C)
	}
	if _, unfinished := server.Keys(bucket); len(unfinished) > 0 {
		t.Errorf("unfinished uploads: %v", unfinished)
	}
	return about
}

func TestPut(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t, bucket)
	s := open(t, small(server.URL))
	for _, test := range []struct {
		key, contentType string
		size             int
	}{
		{"empty.csv", "text/csv; charset=utf-8", 0},
		{"a/b c/ä+%?&#/one.json", "application/json", 1},
		{"one-part.csv.gz", "application/gzip", part},
		{"two-parts.parquet", "application/vnd.apache.parquet", part + 1},
		{"parts.ndjson.zst", "application/zstd", 6*part + 12_345},
		{"packed.json.gz", "application/gzip", 100},
	} {
		f, content := file(test.key, test.size)
		for range 2 { // the second takes the first one's place
			if err := s.Put(context.Background(), "s3://"+bucket+"/"+test.key, f, bytes.NewReader(content)); err != nil {
				t.Fatalf("%q: %v", test.key, err)
			}
		}
		if about := has(t, server, test.key, f, content); aws.ToString(about.ContentType) != test.contentType {
			t.Errorf("%q is %q", test.key, aws.ToString(about.ContentType))
		}
	}
}

// Over TLS the store must have a certificate that AWS_CA_BUNDLE, or the system, vouches
// for.
func TestTLS(t *testing.T) {
	server, ca := s3server.StartTLS(t, bucket)
	f, content := file("f.csv", 2*part)
	err := open(t, small(server.URL)).Put(context.Background(), "s3://"+bucket+"/f.csv", f, bytes.NewReader(content))
	if destination := new(exporter.DestinationError); !errors.As(err, &destination) || !strings.Contains(destination.Why, "certificate") {
		t.Errorf("a stranger's certificate: %v", err)
	}
	t.Setenv("AWS_CA_BUNDLE", ca)
	if err := open(t, small(server.URL)).Put(context.Background(), "s3://"+bucket+"/f.csv", f, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	has(t, server, "f.csv", f, content)
}

// What the store will never take fails at once, and says what to do.
func TestRefused(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t, bucket)
	for _, test := range []struct {
		name, url string
		change    func(*Config)
		want      string
	}{
		{"no bucket", "s3://missing/f.csv", func(*Config) {}, "the bucket does not exist"},
		{"another secret", "s3://exports/f.csv", func(c *Config) { c.Secret = "wrong" }, "does not accept the server's credentials (SignatureDoesNotMatch)"},
		{"no such key", "s3://exports/f.csv", func(c *Config) { c.AccessKeyID = "NOBODY" }, "does not accept the server's credentials (InvalidAccessKeyId)"},
		{"who may nothing", "s3://exports/f.csv", func(c *Config) { c.AccessKeyID, c.Secret = s3server.StrangerID, s3server.StrangerSecret }, "need s3:PutObject"},
		{"another region", "s3://exports/f.csv", func(c *Config) { c.Region = "eu-west-1" }, "not in the region eu-west-1"},
	} {
		for _, size := range []int{10, 2 * part} {
			t.Run(fmt.Sprintf("%s, %d bytes", test.name, size), func(t *testing.T) {
				c := small(server.URL)
				test.change(&c)
				f, content := file("f.csv", size)
				began := time.Now()
				err := open(t, c).Put(context.Background(), test.url, f, bytes.NewReader(content))
				var destination *exporter.DestinationError
				if !errors.As(err, &destination) || !strings.Contains(destination.Why, test.want) || !strings.HasSuffix(destination.Why, ".") {
					t.Errorf("%v", err)
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("after %v", took)
				}
			})
		}
	}
	if whole, unfinished := server.Keys(bucket); len(whole)+len(unfinished) > 0 {
		t.Errorf("left: %v, %v", whole, unfinished)
	}
}

func TestNoCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	c := small("http://127.0.0.1:1")
	c.AccessKeyID, c.Secret, c.Stall = "", "", time.Second
	f, content := file("f.csv", 10)
	err := open(t, c).Put(context.Background(), "s3://"+bucket+"/f.csv", f, bytes.NewReader(content))
	if destination := new(exporter.DestinationError); !errors.As(err, &destination) || !strings.Contains(destination.Why, "has no credentials for it, or could not get them") {
		t.Error(err)
	}
}

// A put that is given up midway ends within a second, and leaves what was there.
func TestCancelled(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t, bucket)
	s := open(t, small(server.URL))
	old, oldContent := file("f.csv", 100)
	if err := s.Put(context.Background(), "s3://exports/f.csv", old, bytes.NewReader(oldContent)); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 1, 2 * part, 6*part - 1} {
		ctx, cancel := context.WithCancel(context.Background())
		f, content := file("f.csv", 8*part)
		var cancelled time.Time
		err := s.Put(ctx, "s3://exports/f.csv", f, &wire{ReaderAt: bytes.NewReader(content), at: at, do: func() {
			cancelled = time.Now()
			cancel()
		}})
		if !errors.Is(err, context.Canceled) || time.Since(cancelled) > time.Second {
			t.Errorf("cancelled at %d: %v after %v", at, err, time.Since(cancelled))
		}
		has(t, server, "f.csv", old, oldContent)
	}
}

// A server that dies while it gets a file and comes back has it in the end.
func TestKilledAndBack(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 8 * part} {
		server := s3server.Start(t, bucket)
		f, content := file("f.csv", size)
		var back sync.WaitGroup
		err := open(t, small(server.URL)).Put(context.Background(), "s3://exports/f.csv", f, &wire{ReaderAt: bytes.NewReader(content), at: int64(size / 2 / part * part), do: func() {
			server.Kill()
			back.Go(func() {
				time.Sleep(time.Second)
				server.Restart()
			})
		}})
		back.Wait()
		if err != nil {
			t.Fatal(err)
		}
		has(t, server, "f.csv", f, content)
	}
}

// A server that dies and stays away is given up, with words that say for how long it
// was tried.
func TestKilledForGood(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 8 * part} {
		server := s3server.Start(t, bucket)
		c := small(server.URL)
		c.Patience = 2 * time.Second
		f, content := file("f.csv", size)
		began := time.Now()
		err := open(t, c).Put(context.Background(), "s3://exports/f.csv", f, &wire{ReaderAt: bytes.NewReader(content), at: int64(size / 2 / part * part), do: server.Kill})
		var destination *exporter.DestinationError
		if !errors.As(err, &destination) || !strings.Contains(destination.Why, "it was tried for 2") || !strings.Contains(destination.Why, "at last the connection to it failed") {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("after %v", took)
		}
		server.Restart()
		if whole, _ := server.Keys(bucket); len(whole) > 0 {
			t.Errorf("there is %v", whole)
		}
	}
}

// A line on which nothing moves is given up and tried again; one that is slow is not.
func TestStalled(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t, bucket)
	f, content := file("f.csv", 3*part)

	t.Run("for good", func(t *testing.T) {
		line := server.Through(t, 0)
		line.CutAfter(7 << 20)
		c := small(line.URL)
		c.Stall, c.Patience = 500*time.Millisecond, 2*time.Second
		began := time.Now()
		err := open(t, c).Put(context.Background(), "s3://exports/lost.csv", f, bytes.NewReader(content))
		var destination *exporter.DestinationError
		if !errors.As(err, &destination) || !strings.Contains(destination.Why, "at last nothing moved for 500ms") {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("after %v", took)
		}
		if whole, _ := server.Keys(bucket); len(whole) > 0 {
			t.Errorf("there is %v", whole)
		}
	})
	t.Run("for a while", func(t *testing.T) {
		line := server.Through(t, 0)
		line.CutAfter(7 << 20)
		time.AfterFunc(3*time.Second, func() { line.CutAfter(-1) })
		c := small(line.URL)
		c.Stall = time.Second
		if err := open(t, c).Put(context.Background(), "s3://exports/while.csv", f, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if got, _, err := server.Object(bucket, "while.csv"); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("slow", func(t *testing.T) {
		f, content := file("f.csv", 24<<20)
		c := small(server.Through(t, 10*time.Millisecond).URL) // 3 MB a second
		c.Stall, c.Patience, c.Part = 5*time.Second, time.Second, 32<<20
		began := time.Now()
		if err := open(t, c).Put(context.Background(), "s3://exports/slow.csv", f, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 6*time.Second {
			t.Errorf("it was not slow: %v", took)
		}
		if got, _, err := server.Object(bucket, "slow.csv"); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// A file that is not what was written does not get to the store.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t, bucket)
	for _, size := range []int{100, 2*part + 5} {
		c := small(server.URL)
		c.Patience = time.Second
		f, content := file("f.csv", size)
		content[size/2] ^= 1
		if err := open(t, c).Put(context.Background(), "s3://exports/f.csv", f, bytes.NewReader(content)); err == nil {
			t.Errorf("%d bytes were taken", size)
		}
		if err := open(t, c).Put(context.Background(), "s3://exports/f.csv", f, bytes.NewReader(content[:size-1])); err == nil || errors.As(err, new(*exporter.DestinationError)) {
			t.Errorf("of %d bytes one is missing: %v", size, err)
		}
	}
	if whole, unfinished := server.Keys(bucket); len(whole)+len(unfinished) > 0 {
		t.Errorf("left: %v, %v", whole, unfinished)
	}
}

// Parts are as few as S3 takes, and as large.
func TestPartSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 5<<40).Draw(t, "size")
		got := partSize(size, 16<<20)
		if parts := (size + got - 1) / got; parts > mostParts || got > 5<<30 || got%(1<<20) != 0 || got > 16<<20 && parts < mostParts/2 {
			t.Fatalf("%d bytes in %d parts of %d", size, parts, got)
		}
	})
}
