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
	file := writeFile(t, "blocked.csv", "address\na@example.com\nA@example.com\nno domain\n\nx@@y\n*.z.example\n")
	if out, err := s.sesame("import", file, "--list", "blocked"); err == nil || !strings.Contains(out, `there is no address list "blocked": --create makes it`) {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := s.sesame("import", file, "--list", "blocked", "--create")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"COMPLETED: 3 lines imported of 5", "2 new members", "0 were members before",
		"1 more lines with the same entry", "2 lines refused", "1 domain_character: ", "1 two_at_signs: "} {
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
