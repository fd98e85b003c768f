package test

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// exportCommand is `sesame export` of a server with made-up mail of ten days.
type exportCommand struct {
	*server
	events int // how many there are of this mail
}

const mailRange = "2026-11-01..2026-11-10"

func startWithMail(t *testing.T, records int, args ...string) *exportCommand {
	t.Helper()
	s := start(t, args...)
	return &exportCommand{s, s.ingestMail(t, records, 1)}
}

// ingestMail makes up mail of ten days and what became of it, and gives how many events
// were new.
func (s *server) ingestMail(t *testing.T, records, seed int) int {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mail.jsonl")
	if out, err := s.sesame("generate", "events", "--count", strconv.Itoa(records), "--seed", strconv.Itoa(seed), "--from", "2026-11-01", "--to", "2026-11-11", "--out", file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := s.sesame("ingest", file)
	added := regexp.MustCompile(`(\d+) events are new`).FindStringSubmatch(out)
	if err != nil || added == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	events, _ := strconv.Atoi(added[1])
	return events
}

// command is one of the program's, in a folder.
func (e *exportCommand) command(dir string, args ...string) *exec.Cmd {
	c := exec.Command(binary, append([]string{"export"}, args...)...)
	c.Dir = dir
	c.Env = append(withoutAWS(os.Environ()), "SESAME_ENDPOINT="+e.url, "AWS_ACCESS_KEY_ID="+rootID, "AWS_SECRET_ACCESS_KEY="+rootSecret)
	return c
}

// run runs `sesame export`, and wants it to end with a status.
func (e *exportCommand) run(t *testing.T, want int, dir string, args ...string) (out, said string) {
	t.Helper()
	c := e.command(dir, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); c.ProcessState == nil || c.ProcessState.ExitCode() != want {
		t.Fatalf("%s: %v, want status %d\n%.500s\n%.1000s", args, err, want, &stdout, &stderr)
	}
	return stdout.String(), stderr.String()
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		all = append(all, f.Name())
	}
	return all
}

// rows reads a CSV as other programs do, and gives it without its header.
func rows(t *testing.T, text string) [][]string {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(all) == 0 {
		t.Fatalf("%v\n%.300s", err, text)
	}
	return all[1:]
}

func lineCount(text string) int { return strings.Count(text, "\n") }

// The command writes what it is asked for, in every form, to a file and through a pipe.
func TestExportCommand(t *testing.T) {
	e := startWithMail(t, 20_000)
	dir := t.TempDir()

	_, said := e.run(t, 0, dir, "insights", "--range", mailRange, "--out", "mail.csv")
	mail := read(t, dir, "mail.csv")
	all := rows(t, mail)
	if want := fmt.Sprintf("Wrote %d rows, ", len(all)); !strings.Contains(said, want) || !strings.Contains(said, " to mail.csv.") ||
		!strings.Contains(said, "insights of 2026-11-01T00:00:00Z..2026-11-11T00:00:00Z\n") || len(all) < 5000 {
		t.Errorf("%d rows; it said\n%s", len(all), said)
	}
	if piped, _ := e.run(t, 0, dir, "insights", "--range", mailRange); piped != mail {
		t.Errorf("through a pipe come %d bytes, and the file has %d", len(piped), len(mail))
	}
	if info, err := os.Stat(filepath.Join(dir, "mail.csv")); err != nil || info.Mode().Perm()&0o600 != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	// Compressed, by the name of the file.
	e.run(t, 0, dir, "insights", "--range", mailRange, "--out", "mail.csv.gz")
	e.run(t, 0, dir, "insights", "--range", mailRange, "--out", "mail.csv.zst")
	unzipped, err := gzip.NewReader(strings.NewReader(read(t, dir, "mail.csv.gz")))
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := zstd.NewReader(strings.NewReader(read(t, dir, "mail.csv.zst")))
	if err != nil {
		t.Fatal(err)
	}
	defer unpacked.Close()
	for name, r := range map[string]io.Reader{"gzip": unzipped, "zstd": unpacked} {
		if text, err := io.ReadAll(r); err != nil || string(text) != mail {
			t.Errorf("%s: %d bytes, %v; it is %d", name, len(text), err, len(mail))
		}
	}

	// Several files. That there is one more of an earlier export is told.
	parts := (len(all) + 999) / 1000
	earlier := fmt.Sprintf("part-%04d.csv", parts+1)
	if err := os.WriteFile(filepath.Join(dir, earlier), []byte("earlier"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, said = e.run(t, 0, dir, "insights", "--range", mailRange, "--rows-per-file", "1000", "--out", "part.csv")
	if want := fmt.Sprintf("to %d files, part-0001.csv to part-%04d.csv.\n%s was there before", parts, parts, earlier); !strings.Contains(said, want) {
		t.Errorf("it said %s, without %s", said, want)
	}
	header, joined := mail[:strings.IndexByte(mail, '\n')+1], ""
	for i := range parts {
		part := strings.TrimPrefix(read(t, dir, fmt.Sprintf("part-%04d.csv", i+1)), header)
		if i < parts-1 && len(rows(t, header+part)) != 1000 {
			t.Errorf("part %d has %d rows", i+1, len(rows(t, header+part)))
		}
		joined += part
	}
	if header+joined != mail {
		t.Errorf("the parts have %d bytes together, and the file %d", len(joined)+len(header), len(mail))
	}

	// Filters, columns, and the other formats.
	bounced, _ := e.run(t, 0, dir, "insights", "--range", mailRange, "--last-delivery", "permanent-bounce", "--not-isp", "Gmail", "--columns", "destination,isp,last_delivery_event", "--limit", "20")
	for _, row := range rows(t, bounced) {
		if len(row) != 3 || row[1] == "Gmail" || row[2] != "PERMANENT_BOUNCE" {
			t.Errorf("%q", row)
		}
	}
	if n := len(rows(t, bounced)); n != 20 {
		t.Errorf("%d rows bounced", n)
	}
	asJSON, _ := e.run(t, 0, dir, "insights", "--range", mailRange, "--format", "json")
	var objects []map[string]any
	if err := json.Unmarshal([]byte(asJSON), &objects); err != nil || len(objects) != len(all) {
		t.Errorf("%d objects, %v; there are %d rows", len(objects), err, len(all))
	}
	ofSES, _ := e.run(t, 0, dir, "insights", "--range", mailRange, "--format", "ses-csv")
	if !strings.HasPrefix(ofSES, `"messageid",`) || !strings.HasSuffix(ofSES, ",\n") || lineCount(ofSES) < len(all) {
		t.Errorf("SES's CSV: %.200s", ofSES)
	}
	e.run(t, 0, dir, "insights", "--range", mailRange, "--out", "mail.parquet")
	if text := read(t, dir, "mail.parquet"); !strings.HasPrefix(text, "PAR1") || !strings.HasSuffix(text, "PAR1") {
		t.Error("that is no Parquet")
	}

	// Events: all of them, each an object a line.
	events, _ := e.run(t, 0, dir, "events", "--range", mailRange, "--format", "ndjson")
	if n := lineCount(events); n != e.events {
		t.Errorf("%d events, and %d came in", n, e.events)
	}
	e.run(t, 0, dir, "events", "--range", mailRange, "--event-type", "send", "--out", "sends.csv")
	sends := len(rows(t, read(t, dir, "sends.csv")))

	// Metrics: what was sent to all providers is what was sent.
	counts, _ := e.run(t, 0, dir, "metrics", "--range", mailRange, "--metric", "send,delivery:rate")
	sent := 0.
	for _, row := range rows(t, counts) {
		n, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			t.Errorf("%q: %v", row, err)
		}
		sent += n
	}
	if int(sent) != sends || sends == 0 {
		t.Errorf("metrics say that %v were sent, and there are %d events of that", sent, sends)
	}

	// A job that is there can be fetched again.
	list, _ := e.run(t, 0, dir, "list")
	job := regexp.MustCompile(`(?m)^(\S{36})  \S+ \S+  COMPLETED   insights$`).FindAllStringSubmatch(list, -1)
	if len(job) < 5 {
		t.Fatalf("listed are\n%s", list)
	}
	if again, _ := e.run(t, 0, dir, "fetch", job[len(job)-1][1]); again != mail {
		t.Errorf("fetched again come %d bytes, and the file has %d", len(again), len(mail))
	}
	if _, said := e.run(t, 1, dir, "cancel", job[0][1]); !strings.Contains(said, "COMPLETED") {
		t.Errorf("cancelled though it has ended: %s", said)
	}
	for _, name := range names(t, dir) {
		if strings.HasPrefix(name, ".") {
			t.Errorf("%s was left behind", name)
		}
	}
}

// What goes wrong is said in words that help, and leaves the file that was there.
func TestExportCommandRefused(t *testing.T) {
	e := startWithMail(t, 100)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mail.csv"), []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	mayNot := e.newKey("000000000000", "may-not", `{"Statement":{"Effect":"Allow","Action":"ses:GetAccount","Resource":"*"}}`)
	for _, c := range []struct {
		about  string
		env    []string
		args   string
		status int
		want   string
	}{
		{"a wrong flag", nil, "insights --last-delivery lost", 2, "give one of send, delivery"},
		{"a wrong date", nil, "events --range 2026-13-01", 2, "such as 7d, 36h or 2w"},
		{"an unknown flag", nil, "insights --event-type send", 2, "unknown flag"},
		{"no such column", nil, "insights --columns messageid,nothing --out mail.csv", 2, `"nothing"`},
		{"no such job", nil, "fetch 00000000-0000-0000-0000-000000000000", 1, "not found"},
		{"not allowed", []string{"AWS_ACCESS_KEY_ID=" + mayNot.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + mayNot.SecretAccessKey}, "insights --out mail.csv", 1, "use a key that may"},
		{"a wrong secret", []string{"AWS_SECRET_ACCESS_KEY=wrong"}, "insights --out mail.csv", 1, "check AWS_SECRET_ACCESS_KEY"},
		{"no credentials", []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "HOME=/nonexistent"}, "insights --out mail.csv", 1, "there are no credentials"},
		{"nobody there", []string{"SESAME_ENDPOINT=http://127.0.0.1:1"}, "insights --out mail.csv", 1, "start a server with `sesame serve`"},
	} {
		command := e.command(dir, strings.Fields(c.args)...)
		command.Env = append(command.Env, c.env...)
		out, _ := command.CombinedOutput()
		if code := command.ProcessState.ExitCode(); code != c.status || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: status %d, want %d and %q:\n%s", c.about, code, c.status, c.want, out)
		}
	}
	if all := names(t, dir); len(all) != 1 || read(t, dir, "mail.csv") != "before" {
		t.Errorf("there are %v, and the file has %q", all, read(t, dir, "mail.csv"))
	}
}

// busy gives a server's only worker so many exports to do.
func (e *exportCommand) busy(t *testing.T, exports int) {
	t.Helper()
	for range exports {
		var made struct{ JobId string }
		e.ask(t, "CreateExportJob", map[string]any{
			"ExportDataSource":  map[string]any{"EventsDataSource": map[string]any{"StartDate": "2026-11-01T00:00:00Z", "EndDate": "2026-11-11T00:00:00Z"}},
			"ExportDestination": map[string]any{"DataFormat": "NDJSON", "Compression": "ZSTD"}}, &made)
	}
}

// begin starts a command and waits until it has a job.
func (e *exportCommand) begin(t *testing.T, dir string, args ...string) (c *exec.Cmd, job string, said *lockedBuffer) {
	t.Helper()
	c, said = e.command(dir, args...), &lockedBuffer{}
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	began := regexp.MustCompile(`Export job (\S+):`)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if found := began.FindStringSubmatch(said.String()); found != nil {
			return c, found[1], said
		}
	}
	c.Process.Kill()
	t.Fatalf("the export does not begin:\n%s", said)
	return nil, "", nil
}

// Ctrl-C cancels the job and leaves what was there.
func TestExportCommandInterrupted(t *testing.T) {
	e := startWithMail(t, 40_000, "--export-workers", "1")
	dir := t.TempDir()
	e.busy(t, 15) // so that it is not done before it is interrupted
	c, job, said := e.begin(t, dir, "events", "--range", mailRange, "--out", "mail.csv")
	c.Process.Signal(syscall.SIGINT)
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 1 || !strings.Contains(said.String(), "stopped: export job "+job+" was cancelled, and no file was written") {
		t.Errorf("status %d\n%s", code, said)
	}
	if all := names(t, dir); len(all) > 0 {
		t.Errorf("it left %v", all)
	}
	if list, _ := e.run(t, 0, dir, "list"); !regexp.MustCompile(`(?m)^` + job + `  \S+ \S+  CANCELLED   events$`).MatchString(list) {
		t.Errorf("listed are\n%s", list)
	}
}

// A server that is killed and started anew while an export is waited for does it again.
func TestExportCommandOutlivesTheServer(t *testing.T) {
	e := startWithMail(t, 40_000, "--export-workers", "1")
	dir := t.TempDir()
	e.busy(t, 3)
	c, job, said := e.begin(t, dir, "events", "--range", mailRange, "--out", "mail.ndjson")
	e.kill()
	e.restart()
	if err := c.Wait(); err != nil {
		t.Fatalf("export job %s: %v\n%s", job, err, said)
	}
	if n := lineCount(read(t, dir, "mail.ndjson")); n != e.events {
		t.Errorf("%d events, and %d came in\n%s", n, e.events, said)
	}
}

// between starts a server whose files are fetched through a connection of the test's:
// pass is given what the server answers.
func between(t *testing.T, pass func(client io.Writer, server io.Reader), asked func(line string)) *exportCommand {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := startWithMail(t, 20_000, "--public-url", "http://"+listener.Addr().String())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
			if err != nil {
				client.Close()
				continue
			}
			all.Go(func() {
				pass(client, server)
				client.Close()
				server.Close()
			})
			all.Go(func() {
				for lines := bufio.NewScanner(io.TeeReader(client, server)); lines.Scan(); {
					asked(lines.Text())
				}
				server.Close()
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		all.Wait()
	})
	return e
}

// A download that breaks off goes on where it did, and gives the whole file.
func TestExportCommandDownloadBreaksOff(t *testing.T) {
	var ranges, cut atomic.Int64
	e := between(t, func(client io.Writer, server io.Reader) {
		if n, _ := io.CopyN(client, server, 400_000); n == 400_000 {
			cut.Add(1)
		}
	}, func(line string) {
		if strings.HasPrefix(line, "Range: bytes=") {
			ranges.Add(1)
		}
	})
	dir := t.TempDir()
	_, said := e.run(t, 0, dir, "events", "--range", mailRange, "--out", "mail.ndjson")
	if n := lineCount(read(t, dir, "mail.ndjson")); n != e.events || cut.Load() < 3 || ranges.Load() < 3 {
		t.Errorf("%d events, and %d came in; it was broken off %d times, and went on %d times\n%s", n, e.events, cut.Load(), ranges.Load(), said)
	}
}

// What is changed on its way is not kept.
func TestExportCommandDownloadChanged(t *testing.T) {
	e := between(t, func(client io.Writer, server io.Reader) {
		if _, err := io.CopyN(client, server, 100_000); err != nil {
			return
		}
		one := make([]byte, 1)
		if _, err := io.ReadFull(server, one); err != nil {
			return
		}
		one[0] ^= 1
		client.Write(one)
		io.Copy(client, server)
	}, func(string) {})
	dir := t.TempDir()
	_, said := e.run(t, 1, dir, "events", "--range", mailRange, "--out", "mail.ndjson")
	if all := names(t, dir); len(all) > 0 || !strings.Contains(said, "is not what the server wrote") || !strings.Contains(said, "`sesame export fetch ") {
		t.Errorf("it left %v, and said\n%s", all, said)
	}
}

// Ctrl-C while a file is fetched leaves none, and says how to get it.
func TestExportCommandDownloadInterrupted(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	e := between(t, func(client io.Writer, server io.Reader) {
		io.CopyN(client, server, 200_000)
		once.Do(func() { close(begun) })
		<-release
	}, func(string) {})
	defer close(release)
	dir := t.TempDir()
	c, job, said := e.begin(t, dir, "events", "--range", mailRange, "--out", "mail.ndjson")
	<-begun
	c.Process.Signal(syscall.SIGINT)
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 1 || !strings.Contains(said.String(), "stopped while downloading, and no file was written; the export is done, and `sesame export fetch "+job+"`") {
		t.Errorf("status %d\n%s", code, said)
	}
	if all := names(t, dir); len(all) > 0 {
		t.Errorf("it left %v", all)
	}
}
