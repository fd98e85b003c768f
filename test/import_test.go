package test

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/google/go-cmp/cmp"
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
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(out, "FAILED after 0 lines of the file. The list is as it was.") || !strings.Contains(out, "<html>") {
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
	if code := command.ProcessState.ExitCode(); code != 1 || !regexp.MustCompile(`STOPPED after \d+ lines of the file. The list is as it was.`).MatchString(out.String()) {
		t.Errorf("status %d\n%s", code, out)
	}
	lists, err := s.client().ListAddressLists(context.Background(), &mailmanager.ListAddressListsInput{})
	if err != nil || len(lists.AddressLists) != 1 {
		t.Fatal(lists, err)
	}
	jobs, err := s.client().ListAddressListImportJobs(context.Background(), &mailmanager.ListAddressListImportJobsInput{AddressListId: lists.AddressLists[0].AddressListId})
	if err != nil || len(jobs.ImportJobs) != 1 || jobs.ImportJobs[0].Status != "STOPPED" || *jobs.ImportJobs[0].ImportedItemsCount != 0 {
		t.Errorf("the jobs are %v, %v", jobs, err)
	}
	if members := export(t, s, "large"); members != "address\n" {
		t.Errorf("the list has %d bytes of members", len(members))
	}
}

// A server that is killed and started anew while an import is watched is waited
// for, and does the import again.
func TestImportCommandOutlivesTheServer(t *testing.T) {
	s := start(t)
	file := writeFile(t, "large.csv", addresses(1_500_000))
	ended := make(chan string, 1)
	go func() {
		out, err := s.sesame("import", file, "--list", "large", "--create")
		ended <- fmt.Sprint(out, err)
	}()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(s.log.String(), `"msg":"import begins"`); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the import does not begin")
		}
	}
	s.kill()
	s.restart()
	if out := <-ended; !strings.Contains(out, "COMPLETED: 1500000 lines imported of 1500000") || !strings.HasSuffix(out, "<nil>") {
		t.Error(out)
	}
}

// export gives the members of a list as CSV.
func export(t *testing.T, s *server, list string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.csv")
	if says, err := s.sesame("lists", "export", "--list", list, "--out", out); err != nil {
		t.Fatalf("%v\n%s", err, says)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Each mode says in its own words what it did, or in a dry run would do, and does it.
func TestImportModes(t *testing.T) {
	s := start(t)
	const before = "address\na@example.com\nb@example.com\nc@example.com\n"
	file := writeFile(t, "new.csv", "address\nB@example.com\nb@EXAMPLE.com\nnone\nd@example.com\n*.e.example\n")
	for _, c := range []struct {
		args  []string
		says  []string
		after string
	}{
		{[]string{"--mode", "append"}, []string{"COMPLETED: 4 lines imported of 5", "2 new members", "1 were members before\n", "1 more lines with the same entry", "1 lines refused", "The list has 5 members now."},
			"address\n*.e.example\na@example.com\nb@example.com\nc@example.com\nd@example.com\n"},
		{[]string{"--mode", "replace"}, []string{"COMPLETED: 4 lines imported of 5", "2 new members", "1 were members before\n", "2 left the list", "1 more lines with the same entry", "The list has 3 members now."},
			"address\n*.e.example\nb@example.com\nd@example.com\n"},
		{[]string{"--mode", "remove"}, []string{"COMPLETED: 4 lines applied of 5", "1 members removed", "2 entries were no members", "1 more lines with the same entry", "The list has 2 members now."},
			"address\na@example.com\nc@example.com\n"},
		{[]string{"--dry-run"}, []string{"COMPLETED: 4 lines would be imported of 5", "2 would be new members", "1 are members already", "The list would have 5 members. Nothing was changed."}, before},
		{[]string{"--dry-run", "--mode", "replace"}, []string{"2 would be new members", "1 are members already", "2 members would leave", "The list would have 3 members. Nothing was changed."}, before},
		{[]string{"--dry-run", "--mode", "remove"}, []string{"COMPLETED: 4 lines would be applied of 5", "1 members would be removed", "2 entries were no members", "The list would have 2 members. Nothing was changed."}, before},
	} {
		list := strings.Join(append([]string{"list"}, c.args...), "")
		if out, err := s.sesame("import", writeFile(t, "before.csv", before), "--list", list, "--create"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		out, err := s.sesame(append([]string{"import", file, "--list", list}, c.args...)...)
		if err != nil {
			t.Errorf("%v: %v\n%s", c.args, err, out)
		}
		for _, want := range append(c.says, "reading took ", "merging took ", "storing took ") {
			if !strings.Contains(out, want) {
				t.Errorf("%v: without %q:\n%s", c.args, want, out)
			}
		}
		if got := export(t, s, list); got != c.after {
			t.Errorf("%v: the list is\n%swant\n%s", c.args, got, c.after)
		}
	}
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"--create", "--dry-run"}, 1, `there is no address list "absent", and a dry run does not make it`},
		{[]string{"--create", "--mode", "remove"}, 2, "a new list has no members to remove"},
		{[]string{"--mode", "merge"}, 2, "append"},
	} {
		out, err := s.sesame(append([]string{"import", file, "--list", "absent"}, c.args...)...)
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != c.status || !strings.Contains(out, c.says) {
			t.Errorf("%v: %v\n%s", c.args, err, out)
		}
	}
	if out, err := s.sesame("lists", "check", "--list", "absent", "a@example.com"); !strings.Contains(out, "there is no address list") {
		t.Errorf("a list was made: %v\n%s", err, out)
	}
}

// What a list's report says in each mode, by the API alone.
func TestReport(t *testing.T) {
	s := start(t, "--quotas", "aws", "--api-rate", "0")
	ctx := context.Background()
	mm := s.client()
	name := "list"
	list, err := mm.CreateAddressList(ctx, &mailmanager.CreateAddressListInput{AddressListName: &name})
	if err != nil {
		t.Fatal(err)
	}
	type phase struct {
		Name                   string
		Seconds, RowsPerSecond float64
		Rows, Bytes            int64
	}
	type report struct {
		Status, Mode                                        string
		DryRun                                              bool
		ShareDone                                           float64
		LinesRead, Imported, Added, AlreadyPresent, Removed int64
		NotPresent, DuplicateInFile, OverLimit, Invalid     int64
		Lines, Members                                      *int64
		Phases                                              []phase
		Error                                               *string
	}
	n := func(n int64) *int64 { return &n }
	run := func(order map[string]any, file string) (got report, job string) {
		t.Helper()
		order["AddressListId"], order["Name"], order["ImportDataFormat"] = *list.AddressListId, name, map[string]any{"ImportDataType": "CSV"}
		var made struct{ JobId, PreSignedUrl string }
		s.ask(t, "CreateAddressListImportJob", order, &made)
		s.ask(t, "GetAddressListImportReport", map[string]any{"JobId": made.JobId}, &got)
		if want := (report{Status: "CREATED", Mode: got.Mode, DryRun: got.DryRun, Phases: []phase{}}); !cmp.Equal(got, want) {
			t.Errorf("a new job's report: %+v", got)
		}
		if status, text, err := put(ctx, made.PreSignedUrl, strings.NewReader(file)); err != nil || status != 200 {
			t.Fatal(status, text, err)
		}
		if _, err := mm.StartAddressListImportJob(ctx, &mailmanager.StartAddressListImportJobInput{JobId: &made.JobId}); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			got = report{}
			s.ask(t, "GetAddressListImportReport", map[string]any{"JobId": made.JobId}, &got)
			if got.Status != "PROCESSING" {
				return got, made.JobId
			}
			if time.Now().After(end) {
				t.Fatalf("the job does not end: %+v", got)
			}
		}
	}
	for i, c := range []struct {
		order map[string]any
		file  string
		want  report
		items int32 // GetAddressListImportJob's count
	}{
		{map[string]any{}, "a@x.example\nb@x.example\nc@x.example\n",
			report{Status: "COMPLETED", Mode: "APPEND", ShareDone: 1, LinesRead: 3, Lines: n(3), Imported: 3, Added: 3, Members: n(3)}, 3},
		{map[string]any{"Mode": "REPLACE", "DryRun": true}, "address\nb@x.example\nB@x.example\nnone\nd@x.example\n",
			report{Status: "COMPLETED", Mode: "REPLACE", DryRun: true, ShareDone: 1, LinesRead: 4, Lines: n(4), Imported: 3, Added: 1, AlreadyPresent: 1, Removed: 2, DuplicateInFile: 1, Invalid: 1, Members: n(2)}, 0},
		{map[string]any{"Mode": "REMOVE", "DryRun": false}, "address\nb@x.example\nB@x.example\nd@x.example\n",
			report{Status: "COMPLETED", Mode: "REMOVE", ShareDone: 1, LinesRead: 3, Lines: n(3), Imported: 3, Removed: 1, NotPresent: 1, DuplicateInFile: 1, Members: n(2)}, 3},
		{map[string]any{"Mode": "REPLACE"}, "address\na@x.example\nd@x.example\n",
			report{Status: "COMPLETED", Mode: "REPLACE", ShareDone: 1, LinesRead: 2, Lines: n(2), Imported: 2, Added: 1, AlreadyPresent: 1, Removed: 1, Members: n(2)}, 2},
		{map[string]any{"Mode": "APPEND"}, "address\n" + addresses(100_001)[len("address\n"):] + "none\n",
			report{Status: "FAILED", Mode: "APPEND", LinesRead: 100_002, Lines: n(100_002), Invalid: 1, OverLimit: 3}, 0},
		{map[string]any{"DryRun": true}, addresses(100_001),
			report{Status: "FAILED", Mode: "APPEND", DryRun: true, LinesRead: 100_001, Lines: n(100_001), OverLimit: 3}, 0},
		{map[string]any{"Mode": "REPLACE"}, addresses(100_000),
			report{Status: "COMPLETED", Mode: "REPLACE", ShareDone: 1, LinesRead: 100_000, Lines: n(100_000), Imported: 100_000, Added: 100_000, Removed: 2, Members: n(100_000)}, 100_000},
	} {
		got, job := run(c.order, c.file)
		var names []string
		for _, p := range got.Phases {
			names = append(names, p.Name)
			if (p.Seconds > 0 && p.Rows > 0) != (p.RowsPerSecond > 0) || p.Name == "READING" && (p.Rows != got.LinesRead || p.Bytes != int64(len(c.file))) {
				t.Errorf("%d: phase %+v", i, p)
			}
		}
		if !strings.HasPrefix("READING MERGING STORING", strings.Join(names, " ")) || len(names) < 2 {
			t.Errorf("%d: the phases are %v", i, names)
		}
		if (got.Error != nil) != (got.Status == "FAILED") || got.Error != nil && !strings.Contains(*got.Error, "3 more than the 100000 that it may hold. Nothing was imported.") {
			t.Errorf("%d: %v", i, got.Error)
		}
		if got.Status == "FAILED" {
			got.ShareDone = 0
		}
		got.Phases, got.Error = nil, nil
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%d (-want +got):\n%s", i, diff)
		}
		j, err := mm.GetAddressListImportJob(ctx, &mailmanager.GetAddressListImportJobInput{JobId: &job})
		if err != nil || *j.ImportedItemsCount != c.items || *j.FailedItemsCount != int32(c.want.Invalid) {
			t.Errorf("%d: %v %v", i, j, err)
		}
	}
}

// Members that the operations of Sesame's own do not take, and who may call them.
func TestOwnOperationsRefuse(t *testing.T) {
	s := start(t)
	name := "list"
	made, err := s.client().CreateAddressList(context.Background(), &mailmanager.CreateAddressListInput{AddressListName: &name})
	if err != nil {
		t.Fatal(err)
	}
	list := *made.AddressListId
	job := `"AddressListId":"` + list + `","Name":"job","ImportDataFormat":{"ImportDataType":"CSV"}`
	root := aws.Credentials{AccessKeyID: rootID, SecretAccessKey: rootSecret}
	exporter := s.newKey("000000000000", "exporter", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sesame:ExportAddressList","Resource":"arn:aws:ses:us-east-1:000000000000:mailmanager-address-list/`+list+`"}}`)
	service := s.newKey("000000000000", "service", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ses:*","Resource":"*"}}`)
	elsewhere := s.newKey("111111111111", "elsewhere", "")
	for _, c := range []struct {
		operation, body string
		key             aws.Credentials
		status          int
		says            string
	}{
		{"CreateAddressListImportJob", `{` + job + `}`, root, 200, `"PreSignedUrl"`},
		{"CreateAddressListImportJob", `{` + job + `,"Mode":null,"DryRun":null}`, root, 200, `"JobId"`},
		{"CreateAddressListImportJob", `{` + job + `,"Mode":"append"}`, root, 400, "APPEND, REPLACE, REMOVE"},
		{"CreateAddressListImportJob", `{` + job + `,"Mode":""}`, root, 400, "#ValidationException"},
		{"CreateAddressListImportJob", `{` + job + `,"Mode":1}`, root, 400, "#SerializationException"},
		{"CreateAddressListImportJob", `{` + job + `,"DryRun":"true"}`, root, 400, "#SerializationException"},
		{"CreateAddressListImportJob", `{` + job + `,"dryrun":true}`, root, 400, `has no member \"dryrun\"`},
		{"CreateAddressListImportJob", `{"AddressListId":"` + list + `","Name":"job","ImportDataFormat":{"ImportDataType":"CSV","Strict":true}}`, root, 400, `has no member \"Strict\"`},
		{"CreateAddressListImportJob", `{"Mode":"REPLACE"}`, root, 400, "#ValidationException"},
		{"CreateAddressListImportJob", `{` + job + `}`, exporter, 403, "#AccessDeniedException"},
		{"CreateAddressListImportJob", `{` + job + `}`, service, 403, "#AccessDeniedException"},
		{"CreateAddressListImportJob", `{` + job + `}`, elsewhere, 404, "#ResourceNotFoundException"},
		{"ExportAddressList", `{"AddressListId":"` + list + `"}`, exporter, 200, `/list.csv?`},
		{"ExportAddressList", `{"AddressListId":"` + list + `","Format":"JSON","Compression":"GZIP"}`, root, 200, `/list.json.gz?`},
		{"ExportAddressList", `{"AddressListId":"` + list + `","Format":"json"}`, root, 400, "CSV, JSON"},
		{"ExportAddressList", `{"AddressListId":"` + list + `","Compression":"ZSTD"}`, root, 400, "NONE, GZIP"},
		{"ExportAddressList", `{}`, root, 400, "#ValidationException"},
		{"ExportAddressList", `{"AddressListId":"list"}`, root, 400, "#ValidationException"},
		{"ExportAddressList", `{"AddressListId":"al-00000000000000000000000000"}`, root, 404, "#ResourceNotFoundException"},
		{"ExportAddressList", `{"AddressListId":"` + list + `"}`, service, 403, "#AccessDeniedException"},
		{"ExportAddressList", `{"AddressListId":"` + list + `"}`, elsewhere, 404, "#ResourceNotFoundException"},
	} {
		r, err := http.NewRequest(http.MethodPost, s.url+"/sesame/v1/"+c.operation, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if err := sign(r, []byte(c.body), c.key); err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != c.status || !strings.Contains(string(text), c.says) {
			t.Errorf("%s %s: %d %s %v", c.operation, c.body, answer.StatusCode, text, err)
		}
	}
}

// A list that is exported and imported into another gives an equal list, in
// every form; and what an export cannot finish leaves no file.
func TestExportRoundTrip(t *testing.T) {
	s := start(t)
	entries := "address\n" + strings.Join([]string{"MiXed@example.com", "example.org", "*.wild.example", "*@all.example", "pre*@some.example", "local@*.deep.example",
		`"""a, b""@example.com"`, `"""back\\slash""@example.com"`, `"""semi;colon""@example.com"`, "=1+2@example.com", "+x@example.com", "-x@example.com",
		"Üñï@bücher.example", "名前@例え.テスト"}, "\n") + "\n" + addresses(5000)[len("address\n"):]
	if out, err := s.sesame("import", writeFile(t, "in.csv", entries), "--list", "first", "--create", "--strict"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := export(t, s, "first")
	if n := strings.Count(want, "\n"); n != 1+14+5000 {
		t.Errorf("%d lines", n)
	}
	dir := t.TempDir()
	for i, name := range []string{"out.csv", "out.csv.gz", "out.json", "OUT.JSON.GZ"} {
		file, list := filepath.Join(dir, name), fmt.Sprintf("copy%d", i)
		if out, err := s.sesame("lists", "export", "--list", "first", "--out", file); err != nil || !strings.Contains(out, "Wrote ") {
			t.Fatalf("%v\n%s", err, out)
		}
		text, err := os.ReadFile(file)
		if err != nil || strings.HasPrefix(string(text), "\x1f\x8b") != strings.HasSuffix(strings.ToLower(name), ".gz") {
			t.Errorf("%s begins %.20q: %v", name, text, err)
		}
		if out, err := s.sesame("import", file, "--list", list, "--create", "--strict"); err != nil || !strings.Contains(out, "5014 new members") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if got := export(t, s, list); got != want {
			t.Errorf("%s: the lists differ: %d bytes, want %d", name, len(got), len(want))
		}
	}
	out, err := s.sesame("lists", "export", "--list", "first", "--format", "json", "--out", "-")
	if err != nil || !strings.HasPrefix(out, "{\"items\":[\n{\"address\":") {
		t.Errorf("to standard output: %v %.50s", err, out)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	piped := make(chan string, 1)
	go func() {
		text, err := os.ReadFile(pipe)
		piped <- fmt.Sprint(string(text), err)
	}()
	if out, err := s.sesame("lists", "export", "--list", "first", "--out", pipe); err != nil || <-piped != want+"<nil>" {
		t.Errorf("to a pipe: %v\n%s", err, out)
	}
	// A link stays one, and what is replaced keeps who may read it.
	target, link := filepath.Join(t.TempDir(), "target.csv"), filepath.Join(t.TempDir(), "link.csv")
	if err := errors.Join(os.WriteFile(target, nil, 0o600), os.Chmod(target, 0o664), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	out, err = s.sesame("lists", "export", "--list", "first", "--out", link)
	text, readErr := os.ReadFile(target)
	info, statErr := os.Stat(target)
	if err := errors.Join(err, readErr, statErr); err != nil || string(text) != want || info.Mode().Perm() != 0o664 {
		t.Errorf("through a link: %v\n%s%d bytes, %v", err, out, len(text), info)
	}
	out, err = s.sesame("lists", "export", "--list", "absent", "--out", filepath.Join(dir, "absent.csv"))
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(out, `there is no address list "absent"`) {
		t.Errorf("no list: %v\n%s", err, out)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 4 {
		t.Errorf("the folder has %v, %v", files, err)
	}

	// A URL outlives its list, and then finds nothing.
	var answer struct{ Url string }
	lists, err := s.client().ListAddressLists(context.Background(), &mailmanager.ListAddressListsInput{})
	if err != nil {
		t.Fatal(err)
	}
	id := lists.AddressLists[0].AddressListId
	s.ask(t, "ExportAddressList", map[string]any{"AddressListId": *id}, &answer)
	if _, err := s.client().DeleteAddressList(context.Background(), &mailmanager.DeleteAddressListInput{AddressListId: id}); err != nil {
		t.Fatal(err)
	}
	gone, err := http.Get(answer.Url)
	if err != nil {
		t.Fatal(err)
	}
	text, err = io.ReadAll(gone.Body)
	gone.Body.Close()
	if err != nil || gone.StatusCode != 404 || !strings.Contains(string(text), "<Code>NoSuchKey</Code>") {
		t.Errorf("%d %s %v", gone.StatusCode, text, err)
	}
	if log := s.log.String(); strings.Contains(log, "example.com") || strings.Contains(log, "X-Amz-Signature") {
		t.Error("an address or a signature is in the log")
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
		{"a folder", nil, []string{"import", filepath.Dir(file), "--list", "absent"}, 2, "is not a file"},
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

// An export that breaks off says so, and leaves what was there before.
func TestExportBreaksOff(t *testing.T) {
	s := start(t)
	if out, err := s.sesame("import", writeFile(t, "in.csv", addresses(300_000)), "--list", "list", "--create"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "members", "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	f, err := os.OpenFile(files[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var at [1]byte
	const middle = 2_000_000
	if _, err := f.ReadAt(at[:], middle); err != nil {
		t.Fatal(err)
	}
	at[0] ^= 0x55
	if _, err := f.WriteAt(at[:], middle); err != nil {
		t.Fatal(err)
	}
	out := writeFile(t, "out.csv", "what was there before")
	says, err := s.sesame("lists", "export", "--list", "list", "--out", out)
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(says, "the server broke the export off after ") {
		t.Errorf("%v\n%s", err, says)
	}
	text, err := os.ReadFile(out)
	beside, failed := os.ReadDir(filepath.Dir(out))
	if string(text) != "what was there before" || err != nil || len(beside) != 1 || failed != nil {
		t.Errorf("the file holds %.50q beside %v: %v, %v", text, beside, err, failed)
	}
	if log := s.log.String(); !strings.Contains(log, "the file is damaged") || strings.Contains(log, "@") {
		t.Error("the log does not say why, or holds an address")
	}
}
