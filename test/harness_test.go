// Package test runs the built program and talks to it from outside: with the
// AWS SDKs for Go and JavaScript, with plain HTTP, and with kill -9.
package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
)

// binary is the built program, and modules the folder with the npm packages.
var binary, modules string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sesame-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "sesame")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/sesame").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		return 1
	}
	modules = filepath.Join(dir, "js")
	return m.Run()
}

// installModules puts the npm packages that the tests use into a temporary
// folder, once.
var installModules = sync.OnceValue(func() error {
	if err := os.CopyFS(modules, os.DirFS("js")); err != nil {
		return err
	}
	npm := exec.Command("npm", "ci", "--no-audit", "--no-fund")
	npm.Dir = modules
	if out, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
})

// server is a running sesame serve.
type server struct {
	t    testing.TB
	dir  string
	url  string
	args []string

	process *exec.Cmd
	log     *lockedBuffer
	exited  chan struct{}
}

const (
	rootID     = "ROOTKEYID"
	rootSecret = "root secret of the tests"
)

// start starts a server on a fresh data folder and stops it when the test ends.
func start(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: filepath.Join(t.TempDir(), "data"), args: args}
	s.restart()
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			log := s.log.String()
			t.Logf("the server's log ends:\n%s", log[max(0, len(log)-1500):])
		}
	})
	return s
}

var serves = regexp.MustCompile(`serves at (\S+)`)

// restart starts the program, on the port it had before if it had one.
func (s *server) restart() {
	s.t.Helper()
	listen := "127.0.0.1:0"
	if s.url != "" {
		listen = strings.TrimPrefix(s.url, "http://")
	}
	s.process = exec.Command(binary, append([]string{"serve", "--listen", listen, "--data-dir", s.dir, "--log-format", "json"}, s.args...)...)
	s.process.Env = append(os.Environ(), "SESAME_ROOT_ACCESS_KEY_ID="+rootID, "SESAME_ROOT_SECRET_ACCESS_KEY="+rootSecret)
	if s.log == nil {
		s.log = &lockedBuffer{}
	}
	s.process.Stderr = s.log
	stdout, err := s.process.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if found := serves.FindStringSubmatch(lines.Text()); found != nil {
			s.url = found[1]
			break
		}
	}
	s.exited = make(chan struct{})
	go func() {
		io.Copy(io.Discard, stdout)
		s.process.Wait()
		close(s.exited)
	}()
	if s.url == "" || lines.Err() != nil {
		<-s.exited
		s.t.Fatalf("the server did not start:\n%s", s.log)
	}
}

// stop asks the server to stop and checks that it does in time.
func (s *server) stop() {
	s.t.Helper()
	s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
		if code := s.process.ProcessState.ExitCode(); code > 0 {
			s.t.Errorf("the server stopped with status %d", code)
		}
	case <-time.After(10 * time.Second):
		s.t.Error("the server did not stop within 10 seconds")
		s.kill()
	}
}

// kill ends the server as kill -9 does.
func (s *server) kill() {
	s.process.Process.Kill()
	<-s.exited
}

// client is the SDK's client with the root key.
func (s *server) client() *mailmanager.Client {
	return mailmanager.New(mailmanager.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.url),
		Credentials: credentials.NewStaticCredentialsProvider(rootID, rootSecret, ""),
	})
}

// sign signs a request with this body for the service's API.
func sign(r *http.Request, body []byte, c aws.Credentials) error {
	digest := sha256.Sum256(body)
	return v4.NewSigner().SignHTTP(context.Background(), c, r, hex.EncodeToString(digest[:]), "ses", "us-east-1", time.Now())
}

// sesame runs the program on the server's data folder and gives what it printed.
func (s *server) sesame(args ...string) (string, error) {
	command := exec.Command(binary, args...)
	command.Env = append(os.Environ(), "SESAME_DATA_DIR="+s.dir, "SESAME_ENDPOINT="+s.url,
		"AWS_ACCESS_KEY_ID="+rootID, "AWS_SECRET_ACCESS_KEY="+rootSecret)
	out, err := command.CombinedOutput()
	return string(out), err
}

var exported = regexp.MustCompile(`AWS_ACCESS_KEY_ID=(\S+)\nexport AWS_SECRET_ACCESS_KEY=(\S+)`)

// newKey makes an access key with a policy ("" = everything).
func (s *server) newKey(account, name, policy string) aws.Credentials {
	s.t.Helper()
	args := []string{"keys", "create", "--account", account, "--name", name}
	if policy != "" {
		file := filepath.Join(s.t.TempDir(), "policy.json")
		if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
			s.t.Fatal(err)
		}
		args = append(args, "--policy", file)
	}
	out, err := s.sesame(args...)
	found := exported.FindStringSubmatch(out)
	if err != nil || found == nil {
		s.t.Fatalf("keys create: %v\n%s", err, out)
	}
	return aws.Credentials{AccessKeyID: found[1], SecretAccessKey: found[2]}
}

// put uploads a body and gives the answer's status and text.
func put(ctx context.Context, url string, body io.Reader) (status int, text string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, url, body)
	if err != nil {
		return 0, "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b), err
}

// seed gives the seed of a random test: that of the environment variable, to
// repeat a run, or one of now. It is logged under that name.
func seed(t testing.TB, variable string) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(variable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", variable, err)
		}
	}
	t.Logf("%s=%d", variable, seed)
	return seed
}

// lockedBuffer is a buffer that a process writes while the test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
