package test

import (
	"context"
	"io"
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
)

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var refusedURL = regexp.MustCompile(`'(http[^']*/objects/refused/[^']*)'`)

// sesame import uploads, imports, and says what became of each line.
func TestImportCommand(t *testing.T) {
	s := start(t)
	file := writeFile(t, "blocked.csv", "address\na@example.com\nA@example.com\nno domain\n\nx@@y\n*.z.example\n\"open\n")
	if out, err := s.sesame("import", file, "--list", "blocked"); err == nil || !strings.Contains(out, `there is no address list "blocked": --create makes it`) {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := s.sesame("import", file, "--list", "blocked", "--create")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"COMPLETED: 3 lines imported of 6", "2 new members", "0 were members before",
		"1 more lines with the same entry", "3 lines refused", "1 bad_quote: a double quote is misplaced or not closed", "1 domain_character: ", "1 two_at_signs: "} {
		if !strings.Contains(out, want) {
			t.Errorf("without %q:\n%s", want, out)
		}
	}
	url := refusedURL.FindStringSubmatch(out)
	if url == nil {
		t.Fatalf("no URL:\n%s", out)
	}
	for _, c := range []struct {
		method, url string
		status      int
		says        string
	}{
		{"GET", url[1], 200, "line,value,code,reason\n4,no domain,domain_character,"},
		{"PUT", url[1], 404, "NoSuchKey"},
		{"DELETE", url[1], 404, "NoSuchKey"},
		{"GET", url[1] + "0", 403, "SignatureDoesNotMatch"},
		{"GET", strings.Replace(url[1], "/refused/", "/imports/", 1), 405, "MethodNotAllowed"},
	} {
		r, err := http.NewRequest(c.method, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != c.status || !strings.Contains(string(text), c.says) || err != nil {
			t.Errorf("%s %.60s: %d %v %s", c.method, c.url, answer.StatusCode, err, text)
		}
	}

	out, err = s.sesame("import", file, "--list", "blocked", "--strict")
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 || !strings.Contains(out, "0 new members") || !strings.Contains(out, "2 were members before") {
		t.Errorf("--strict: %v\n%s", err, out)
	}
	out, err = s.sesame("import", writeFile(t, "list.json", `["b@example.com"]`), "--list", "blocked", "--strict")
	if err != nil || !strings.Contains(out, "1 new members") || refusedURL.MatchString(out) {
		t.Errorf("JSON: %v\n%s", err, out)
	}
	out, err = s.sesame("import", writeFile(t, "page.csv", "<html>\n"), "--list", "blocked")
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(out, "FAILED: 0 lines imported") || !strings.Contains(out, "<html>") {
		t.Errorf("a page: %v\n%s", err, out)
	}
}

// Ctrl-C stops the job and says where it stands.
func TestImportCommandInterrupted(t *testing.T) {
	s := start(t)
	file := writeFile(t, "large.csv", addresses(1_500_000))
	command := exec.Command(binary, "import", file, "--list", "large", "--create")
	command.Env = append(os.Environ(), "SESAME_ENDPOINT="+s.url, "AWS_ACCESS_KEY_ID="+rootID, "AWS_SECRET_ACCESS_KEY="+rootSecret)
	out := &lockedBuffer{}
	command.Stdout, command.Stderr = out, out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); !strings.Contains(s.log.String(), `"msg":"import begins"`); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the import does not begin:\n%s", out)
		}
	}
	command.Process.Signal(syscall.SIGINT)
	command.Wait()
	if code := command.ProcessState.ExitCode(); code != 1 || !regexp.MustCompile(`STOPPED: \d+ lines imported`).MatchString(out.String()) {
		t.Errorf("status %d\n%s", code, out)
	}
	lists, err := s.client().ListAddressLists(context.Background(), &mailmanager.ListAddressListsInput{})
	if err != nil || len(lists.AddressLists) != 1 {
		t.Fatal(lists, err)
	}
	jobs, err := s.client().ListAddressListImportJobs(context.Background(), &mailmanager.ListAddressListImportJobsInput{AddressListId: lists.AddressLists[0].AddressListId})
	if err != nil || len(jobs.ImportJobs) != 1 || jobs.ImportJobs[0].Status != "STOPPED" {
		t.Errorf("the jobs are %v, %v", jobs, err)
	}
}

// The commonest mistakes of a user of the commands, in plain words.
func TestClientMistakes(t *testing.T) {
	s := start(t)
	file := writeFile(t, "a.csv", "address\na@example.com\n")
	for _, c := range []struct {
		name   string
		env    []string
		args   []string
		status int
		says   string
	}{
		{"no server", []string{"SESAME_ENDPOINT=http://127.0.0.1:1"}, nil, 1, "nothing answers at http://127.0.0.1:1: start a server"},
		{"no scheme", []string{"SESAME_ENDPOINT=127.0.0.1:9025"}, nil, 2, "must start with http:// or https://"},
		{"no credentials", []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}, nil, 1, "there are no credentials: set AWS_ACCESS_KEY_ID"},
		{"unknown key", []string{"AWS_ACCESS_KEY_ID=NOBODY"}, nil, 1, "the server does not know this access key"},
		{"wrong secret", []string{"AWS_SECRET_ACCESS_KEY=wrong"}, nil, 1, "check AWS_SECRET_ACCESS_KEY"},
		{"wrong region", []string{"SESAME_REGION=eu-west-1"}, nil, 1, "not 'eu-west-1'"},
		{"no such list", nil, nil, 1, `there is no address list "absent": --create makes it`},
		{"no such file", nil, []string{"import", file + ".none", "--list", "absent"}, 2, ".none"},
		{"no list", nil, []string{"import", file}, 2, "--list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := c.args
			if args == nil {
				args = []string{"import", file, "--list", "absent"}
			}
			command := exec.Command(binary, args...)
			command.Env = append(append(withoutAWS(os.Environ()), "HOME="+t.TempDir(), "SESAME_ENDPOINT="+s.url,
				"AWS_ACCESS_KEY_ID="+rootID, "AWS_SECRET_ACCESS_KEY="+rootSecret), c.env...)
			out, _ := command.CombinedOutput()
			if code := command.ProcessState.ExitCode(); code != c.status || !strings.Contains(string(out), c.says) || strings.Contains(string(out), rootSecret) {
				t.Errorf("status %d, want %d, and %q in\n%s", code, c.status, c.says, out)
			}
		})
	}
}

// A report is asked for by whoever may ask for the job's list, before the job
// runs too, and by nobody else.
func TestReportAccess(t *testing.T) {
	s := start(t)
	job, _ := newJob(t, s, "list", "CSV")
	root := aws.Credentials{AccessKeyID: rootID, SecretAccessKey: rootSecret}
	reader := s.newKey("000000000000", "reader", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sesame:GetAddressListImportReport","Resource":"arn:aws:ses:us-east-1:000000000000:mailmanager-address-list/*"}}`)
	limited := s.newKey("000000000000", "limited", limitedPolicy)
	elsewhere := s.newKey("111111111111", "elsewhere", "")
	for _, c := range []struct {
		name   string
		key    aws.Credentials
		job    string
		status int
		says   string
	}{
		{"root", root, job, 200, `"Status":"CREATED"`},
		{"reader", reader, job, 200, `"InvalidByReason":[]`},
		{"limited", limited, job, 403, "#AccessDeniedException"},
		{"another account", elsewhere, job, 404, "#ResourceNotFoundException"},
		{"no such job", root, "job-00000000000000000000000000", 404, "#ResourceNotFoundException"},
		{"no id", root, "job", 400, "#ValidationException"},
	} {
		body := `{"JobId":"` + c.job + `"}`
		r, err := http.NewRequest(http.MethodPost, s.url+"/sesame/v1/GetAddressListImportReport", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := sign(r, []byte(body), c.key); err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != c.status || !strings.Contains(string(text), c.says) || strings.Contains(string(text), `"Lines":0`) {
			t.Errorf("%s: %d %s %v", c.name, answer.StatusCode, text, err)
		}
	}
}
