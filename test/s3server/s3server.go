// Package s3server runs a real S3 server for tests: Versity's gateway on a folder,
// installed by the first test that wants it. It can be killed and started anew, and
// a line to it can be cut.
package s3server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	module  = "github.com/versity/versitygw/cmd/versitygw"
	version = "v1.8.0"

	// Region is the server's.
	Region = "us-east-1"
	// AccessKeyID and Secret are those of its owner.
	AccessKeyID, Secret = "S3OWNER", "the owner's secret"
	// StrangerID and StrangerSecret are those of who may do nothing.
	StrangerID, StrangerSecret = "S3STRANGER", "the stranger's secret"
)

// install gives the program, in the user's cache folder: building it takes minutes.
var install = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "sesame-tests")
	program := filepath.Join(dir, "versitygw-"+version)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	building, err := os.MkdirTemp(dir, "building-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(building)
	command := exec.Command("go", "install", module+"@"+version)
	command.Env = append(os.Environ(), "GOBIN="+building, "GOFLAGS=")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install %s@%s: %w\n%s", module, version, err, out)
	}
	return program, os.Rename(filepath.Join(building, "versitygw"), program)
})

// Server is a running S3 server.
type Server struct {
	URL    string
	Client *s3.Client // its owner's

	t       testing.TB
	dir     string
	address string
	args    []string
	process *exec.Cmd
}

// Start starts a server with an empty bucket, which ends with the test.
func Start(t testing.TB, bucket string) *Server {
	t.Helper()
	return start(t, "http", bucket, http.DefaultClient)
}

// StartTLS is Start with a certificate that ca, a file, vouches for.
func StartTLS(t testing.TB, bucket string) (s *Server, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	certificate, err := x509.CreateCertificate(rand.Reader, &about, &about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	trusted, dir := x509.NewCertPool(), t.TempDir()
	ca, keyFile := filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	trusted.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
	for file, block := range map[string]*pem.Block{ca: {Type: "CERTIFICATE", Bytes: certificate}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	t.Cleanup(transport.CloseIdleConnections)
	return start(t, "https", bucket, &http.Client{Transport: transport}, "--cert", ca, "--key", keyFile), ca
}

func start(t testing.TB, scheme, bucket string, client *http.Client, args ...string) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("builds an S3 server")
	}
	s := &Server{t: t, dir: t.TempDir(), address: freeAddress(t), args: args}
	s.URL = scheme + "://" + s.address
	s.Client = s3.New(s3.Options{
		Region: Region, BaseEndpoint: &s.URL, UsePathStyle: true, HTTPClient: client, Credentials: credentials.NewStaticCredentialsProvider(AccessKeyID, Secret, ""),
	})
	accounts := fmt.Sprintf(`{"accessAccounts":{"%s":{"access":"%[1]s","secret":"%s","role":"user"}}}`, StrangerID, StrangerSecret)
	for _, name := range []string{"objects", "about", "accounts"} {
		if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.dir, "accounts", "users.json"), []byte(accounts), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	t.Cleanup(s.Kill)
	if _, err := s.Client.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	return s
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Restart starts the server's process, at its address and on its objects, and waits
// until it takes connections.
func (s *Server) Restart() {
	s.t.Helper()
	program, err := install()
	if err != nil {
		s.t.Fatal(err)
	}
	args := append(slices.Clone(s.args), "--port", s.address, "--access", AccessKeyID, "--secret", Secret, "--region", Region, "--keep-alive", "--quiet",
		"--iam-dir", filepath.Join(s.dir, "accounts"), "posix", "--sidecar", filepath.Join(s.dir, "about"), filepath.Join(s.dir, "objects"))
	s.process = exec.Command(program, args...)
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 500 {
		if c, err := net.Dial("tcp", s.address); err == nil {
			c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatal("the S3 server does not take connections")
}

// Kill ends the server's process with SIGKILL.
func (s *Server) Kill() {
	s.process.Process.Kill()
	s.process.Wait()
}

// Object gives the content of an object and what else the server says of it, or an
// error. The SDK compares the content with its checksum.
func (s *Server) Object(bucket, key string) ([]byte, *s3.GetObjectOutput, error) {
	out, err := s.Client.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &bucket, Key: &key, ChecksumMode: "ENABLED"})
	if err != nil {
		return nil, nil, err
	}
	defer out.Body.Close()
	content, err := io.ReadAll(out.Body)
	return content, out, err
}

// Keys gives the keys of all objects, and of all unfinished uploads.
func (s *Server) Keys(bucket string) (whole, unfinished []string) {
	s.t.Helper()
	objects, err := s.Client.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range objects.Contents {
		whole = append(whole, aws.ToString(o.Key))
	}
	uploads, err := s.Client.ListMultipartUploads(context.Background(), &s3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, u := range uploads.Uploads {
		unfinished = append(unfinished, aws.ToString(u.Key))
	}
	return whole, unfinished
}

// Line is a way to a server that can be cut: what is sent on it then goes nowhere, and
// nobody is told.
type Line struct {
	URL string

	to       string
	listener net.Listener
	mu       sync.Mutex
	passing  *sync.Cond
	allowed  int64         // bytes to the server that may pass yet; below 0 for all
	waiting  chan struct{} // closed when something may not pass
	closed   bool
	conns    []net.Conn
	copying  sync.WaitGroup
	pause    time.Duration
}

// Through gives a line to the server, which ends with the test. It pauses after each
// 32 KiB.
func (s *Server) Through(t testing.TB, pause time.Duration) *Line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{URL: "http://" + listener.Addr().String(), to: s.address, listener: listener, allowed: -1, pause: pause}
	l.passing = sync.NewCond(&l.mu)
	l.copying.Go(l.serve)
	t.Cleanup(func() {
		listener.Close()
		l.mu.Lock()
		l.closed = true
		for _, c := range l.conns {
			c.Close()
		}
		l.mu.Unlock()
		l.passing.Broadcast()
		l.copying.Wait()
	})
	return l
}

// CutAfter lets n more bytes pass to the server; below 0, all.
func (l *Line) CutAfter(n int64) {
	l.mu.Lock()
	l.allowed, l.waiting = n, make(chan struct{})
	l.mu.Unlock()
	l.passing.Broadcast()
}

// WaitCut waits until something wants to pass and may not, since the last CutAfter.
func (l *Line) WaitCut() {
	l.mu.Lock()
	waiting := l.waiting
	l.mu.Unlock()
	<-waiting
}

func (l *Line) serve() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		client.(*net.TCPConn).SetReadBuffer(32 << 10) // what waits here seems to have moved
		server, err := net.Dial("tcp", l.to)
		if err != nil {
			client.Close()
			continue
		}
		l.mu.Lock()
		if l.closed {
			client.Close()
			server.Close()
		}
		l.conns = append(l.conns, client, server)
		l.mu.Unlock()
		l.copying.Go(func() {
			defer server.Close()
			defer client.Close()
			io.Copy(gate{l, server}, client)
		})
		l.copying.Go(func() {
			defer client.Close()
			io.Copy(client, server)
		})
	}
}

// gate is the way to the server.
type gate struct {
	*Line
	to io.Writer
}

// Write waits until all of p may pass.
func (g gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	for g.allowed >= 0 && g.allowed < int64(len(p)) && !g.closed {
		select {
		case <-g.waiting:
		default:
			close(g.waiting)
		}
		g.passing.Wait()
	}
	if g.allowed >= 0 {
		g.allowed -= int64(len(p))
	}
	g.mu.Unlock()
	time.Sleep(g.pause)
	return g.to.Write(p)
}
