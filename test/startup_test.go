package test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager/types"
)

// Starts that must fail: one clear line that says what to do, and a status.
func TestStartsThatMustFail(t *testing.T) {
	running := start(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fresh := filepath.Join(dir, "fresh")
	openKey := filepath.Join(dir, "openkey")
	if err := os.MkdirAll(openKey, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(openKey, "secret.key"), bytes.Repeat([]byte{1}, 32), 0o644); err != nil {
		t.Fatal(err)
	}
	orphaned := filepath.Join(dir, "orphaned")
	if err := os.MkdirAll(filepath.Join(orphaned, "members"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sesame.db", "members/al-1"} {
		if err := os.WriteFile(filepath.Join(orphaned, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		args   []string
		env    string
		status int
		says   string
	}{
		{"members without their database", []string{"--data-dir", orphaned, "--listen", "127.0.0.1:0"}, "", 1, "put the database there that belongs to them"},
		{"folder in use", []string{"--data-dir", running.dir, "--listen", "127.0.0.1:0"}, "", 1, "is in use by another Sesame: stop that one, or choose another folder with --data-dir"},
		{"port taken", []string{"--data-dir", fresh, "--listen", strings.TrimPrefix(running.url, "http://")}, "", 1, "choose another with --listen"},
		{"no such config", []string{"--config", filepath.Join(dir, "none.json")}, "", 2, "none.json"},
		{"config not JSON", []string{"--config", file("a.json", "listen: :9025")}, "", 2, "is not a JSON object"},
		{"config with an unknown member", []string{"--config", file("b.json", `{"lisen": ":9025"}`)}, "", 2, `sets "lisen", which is none of:`},
		{"config with a bad value", []string{"--config", file("c.json", `{"import-workers": "many"}`)}, "", 2, "import-workers"},
		{"bad listen", []string{"--listen", "nowhere"}, "", 2, `--listen "nowhere" is not an address`},
		{"bad region", []string{"--region", "US East"}, "", 2, `--region "US East"`},
		{"bad account", []string{"--account-id", "12"}, "", 2, `the account "12" is not 12 digits`},
		{"bad quotas", []string{"--quotas", "none"}, "", 2, "--quotas"},
		{"bad public URL", []string{"--public-url", "sesame.example.com"}, "", 2, "is not of the form https://host:port"},
		{"half of TLS", []string{"--tls-cert", file("cert.pem", "")}, "", 2, "give both or neither"},
		{"TLS files that are none", []string{"--data-dir", fresh, "--listen", "127.0.0.1:0", "--tls-cert", file("cert.pem", ""), "--tls-key", file("key.pem", "")}, "", 1, "read --tls-cert and --tls-key"},
		{"half a root key", nil, "SESAME_ROOT_ACCESS_KEY_ID=ABCD", 1, "set both SESAME_ROOT_ACCESS_KEY_ID and SESAME_ROOT_SECRET_ACCESS_KEY, or neither"},
		{"key file that others can read", []string{"--data-dir", openKey, "--listen", "127.0.0.1:0"}, "", 1, "chmod 600"},
		{"unknown flag", []string{"--frobnicate"}, "", 2, "unknown flag --frobnicate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			command := exec.Command(binary, append([]string{"serve"}, c.args...)...)
			command.Dir = t.TempDir()
			command.Env = append(os.Environ(), c.env)
			var stderr bytes.Buffer
			command.Stderr = &stderr
			command.Run()
			if code := command.ProcessState.ExitCode(); code != c.status || !strings.Contains(stderr.String(), c.says) || strings.Contains(stderr.String(), "goroutine") {
				t.Errorf("status %d, want %d:\n%s\nwant %q", code, c.status, &stderr, c.says)
			}
		})
	}
}

// Flags go before the environment, the environment before the file, the file
// before the defaults.
func TestConfigurationPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sesame.json")
	if err := os.WriteFile(file, []byte(`{"region": "eu-west-1", "account-id": "222222222222", "import-workers": 3}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SESAME_REGION", "eu-west-2")
	s := start(t, "--config", file)
	arnOf := func(region string) string {
		sdk := mailmanager.New(s.client().Options(), func(o *mailmanager.Options) { o.Region = region })
		list, err := sdk.CreateAddressList(context.Background(), &mailmanager.CreateAddressListInput{AddressListName: aws.String("a" + region)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := sdk.GetAddressList(context.Background(), &mailmanager.GetAddressListInput{AddressListId: list.AddressListId})
		if err != nil {
			t.Fatal(err)
		}
		return *got.AddressListArn
	}
	if arn := arnOf("eu-west-2"); !strings.HasPrefix(arn, "arn:aws:ses:eu-west-2:222222222222:") {
		t.Errorf("the ARN is %s", arn)
	}
	s.stop()
	s.args = append(s.args, "--region", "eu-west-3")
	s.restart()
	if arn := arnOf("eu-west-3"); !strings.HasPrefix(arn, "arn:aws:ses:eu-west-3:222222222222:") {
		t.Errorf("the ARN is %s", arn)
	}
}

var printedKey = regexp.MustCompile(`AWS_ACCESS_KEY_ID=(\S+)\n\s*export AWS_SECRET_ACCESS_KEY=(\S+)`)

// The first start prints a root key once, even when one before it failed; it
// works, also after a restart.
func TestRootKeyIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := exec.Command(binary, "serve", "--listen", taken.Addr().String(), "--data-dir", dir).Run(); err == nil {
		t.Fatal("it starts on a taken port")
	}
	run := func() (*exec.Cmd, string) {
		command := exec.Command(binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", dir)
		out := &lockedBuffer{}
		command.Stdout, command.Stderr = out, out
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); !serves.MatchString(out.String()); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("does not serve:\n%s", out)
			}
		}
		return command, out.String()
	}
	first, out := run()
	key := printedKey.FindStringSubmatch(out)
	if key == nil {
		t.Fatalf("no key is printed:\n%s", out)
	}
	first.Process.Signal(syscall.SIGTERM)
	first.Wait()
	second, out := run()
	defer func() {
		second.Process.Signal(os.Interrupt)
		second.Wait()
	}()
	if strings.Contains(out, "AWS_SECRET_ACCESS_KEY") {
		t.Errorf("the key is printed again:\n%s", out)
	}
	s := server{t: t, url: serves.FindStringSubmatch(out)[1]}
	o, err := goClient{}.call(s.url, aws.Credentials{AccessKeyID: key[1], SecretAccessKey: key[2]}, "ListAddressLists", nil)
	if err != nil || o.Error != "" {
		t.Errorf("the key does not work: %v %v", o, err)
	}
}

// Keys made, disabled and deleted beside a running server count from the next
// request on, and no secret is listed.
func TestKeys(t *testing.T) {
	s := start(t)
	key := s.newKey("333333333333", "reader", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ses:List*","Resource":"*"}]}`)
	try := func(want string) {
		t.Helper()
		if o, err := (goClient{}).call(s.url, key, "ListAddressLists", nil); err != nil || o.Error != want {
			t.Errorf("got %q %v, want %q", o.Error, err, want)
		}
	}
	try("")
	out, err := s.sesame("keys", "list", "--account", "333333333333")
	if err != nil || !strings.Contains(out, key.AccessKeyID) || !strings.Contains(out, "reader") || strings.Contains(out, key.SecretAccessKey) {
		t.Errorf("keys list: %v\n%s", err, out)
	}
	if out, err := s.sesame("keys", "disable", key.AccessKeyID); err != nil {
		t.Errorf("keys disable: %v\n%s", err, out)
	}
	try("UnrecognizedClientException")
	if out, err := s.sesame("keys", "delete", key.AccessKeyID); err != nil {
		t.Errorf("keys delete: %v\n%s", err, out)
	}
	if out, err := s.sesame("keys", "delete", key.AccessKeyID); err == nil || !strings.Contains(out, "no such access key") {
		t.Errorf("deleting again: %v\n%s", err, out)
	}
	policy := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(policy, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":"ses:*","Resource":"*"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.sesame("keys", "create", "--policy", policy); err == nil || !strings.Contains(out, "NotAction") {
		t.Errorf("a policy with NotAction: %v\n%s", err, out)
	}
}

func TestListsCheck(t *testing.T) {
	s := start(t)
	ctx := context.Background()
	list, err := s.client().CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: aws.String("blocked")})
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range []string{"a@example.com", "sales*@example.com", "*.example.net", "example.org"} {
		if _, err := s.client().RegisterMemberToAddressList(ctx, &mailmanager.RegisterMemberToAddressListInput{AddressListId: list.AddressListId, Address: &entry}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := s.sesame("lists", "check", "--list", "blocked", "A@example.com", "sales+1@example.com", "x@a.b.example.net", "x@example.org")
	want := "yes  A@example.com (by a@example.com)\nyes  sales+1@example.com (by sales*@example.com)\n" +
		"yes  x@a.b.example.net (by *.example.net)\nyes  x@example.org (by example.org)\n"
	if err != nil || out != want {
		t.Errorf("%v\n got %q\nwant %q", err, out, want)
	}
	out, err = s.sesame("lists", "check", "--list", *list.AddressListId, "x@example.net", "nobody", "a@example.com")
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 3 || !strings.HasPrefix(out, "no   x@example.net\nno   nobody (") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := s.sesame("lists", "check", "--list", "absent", "x@example.net"); err == nil || !strings.Contains(out, `there is no address list "absent"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

// What operators see: health, readiness, metrics, the audit log.
func TestOperatorsView(t *testing.T) {
	s := start(t)
	ctx := context.Background()
	if _, err := s.client().CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: aws.String("seen")}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ok", "/": "This is Sesame",
		"/metrics": `sesame_requests_total{code="OK",operation="CreateAddressList"} 1`,
	} {
		answer, err := http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != 200 || !strings.Contains(string(text), want) {
			t.Errorf("%s: %d %.200s", path, answer.StatusCode, text)
		}
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	var line map[string]string
	if err := json.Unmarshal(text, &line); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if line["msg"] != "CreateAddressList" || line["caller"] != "arn:aws:iam::000000000000:user/root" || line["result"] != "OK" ||
		line["request_id"] == "" || !strings.HasPrefix(line["resource"], "arn:aws:ses:") || !strings.HasPrefix(line["id"], "al-") || strings.Contains(s.log.String(), `"msg":"CreateAddressList"`) {
		t.Errorf("the audit line is %s", text)
	}
}

// A second signal ends a server that waits for a request at once.
func TestSecondSignal(t *testing.T) {
	s := start(t)
	job, url := newJob(t, s, "slow", types.ImportDataTypeCsv)
	body, feed := io.Pipe()
	defer feed.Close()
	refused := make(chan struct{})
	go func() {
		put(context.Background(), url, body)
		close(refused)
	}()
	if _, err := feed.Write([]byte("address\n")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if partial, _ := os.ReadDir(filepath.Join(s.dir, "objects", "partial")); len(partial) > 0 {
			break // the server is in the middle of the upload
		}
		if time.Now().After(end) {
			t.Fatal("the upload does not begin")
		}
	}
	s.process.Process.Signal(syscall.SIGTERM)
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://")); err != nil {
			break // it has heard the first
		} else {
			c.Close()
		}
		if time.Now().After(end) {
			t.Fatal("still takes connections")
		}
	}
	s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(2 * time.Second):
		t.Error("it did not stop at the second signal")
	}
	if code := s.process.ProcessState.ExitCode(); code != 1 {
		t.Errorf("status %d, want 1", code)
	}
	feed.Close()
	<-refused
	s.restart()
	got, err := s.client().GetAddressListImportJob(context.Background(), &mailmanager.GetAddressListImportJobInput{JobId: &job})
	if err != nil || got.Status != types.ImportJobStatusCreated {
		t.Errorf("after it: %v %v", got, err)
	}
}

// newJob makes a list and a job and gives the job's id and URL.
func newJob(t testing.TB, s *server, name string, format types.ImportDataType) (job, url string) {
	t.Helper()
	ctx := context.Background()
	list, err := s.client().CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: &name})
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.client().CreateAddressListImportJob(ctx, &mailmanager.CreateAddressListImportJobInput{
		AddressListId: list.AddressListId, Name: &name, ImportDataFormat: &types.ImportDataFormat{ImportDataType: format}})
	if err != nil {
		t.Fatal(err)
	}
	return *j.JobId, *j.PreSignedUrl
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sesame"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, "--tls-cert", certFile, "--tls-key", keyFile)
	if !strings.HasPrefix(s.url, "https://") {
		t.Fatalf("serves at %s", s.url)
	}
	parsed, err := x509.ParseCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	sdk := mailmanager.New(s.client().Options(), func(o *mailmanager.Options) {
		o.HTTPClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	})
	if _, err := sdk.ListAddressLists(context.Background(), &mailmanager.ListAddressListsInput{}); err != nil {
		t.Error(err)
	}

	// The commands know a private authority as the AWS CLI does, in every step.
	file := writeFile(t, "a.csv", "address\na@example.com\n")
	if out, err := s.sesame("import", file, "--list", "list", "--create"); err == nil || !strings.Contains(out, "does not answer as it should") {
		t.Errorf("an unknown authority: %v\n%s", err, out)
	}
	t.Setenv("AWS_CA_BUNDLE", certFile)
	if out, err := s.sesame("import", file, "--list", "list", "--create"); err != nil {
		t.Errorf("import: %v\n%s", err, out)
	}
	if got := export(t, s, "list"); got != "address\na@example.com\n" {
		t.Errorf("the members are %q", got)
	}
}
