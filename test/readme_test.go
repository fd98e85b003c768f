package test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var shellBlock = regexp.MustCompile("(?s)\n##+ ([^\n]+)\n[^#]*?```bash\n(.*?)```")

// The README's first session works as pasted. The AWS CLI and boto3 cannot be
// installed from everywhere, so their parts run where they are; the others run
// always.
func TestReadmeSession(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t)
	exports := regexp.MustCompile(`(?m)^export AWS_ENDPOINT_URL=\S+ .*$`).FindString(string(text))
	exports = strings.Replace(exports, "http://127.0.0.1:9025", s.url, 1)
	if !strings.Contains(exports, s.url) {
		t.Fatal("the README does not say where the server is")
	}
	exports += "\nexport AWS_ACCESS_KEY_ID=" + rootID + "\nexport AWS_SECRET_ACCESS_KEY='" + rootSecret + "'\n"
	blocks := shellBlock.FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 11 {
		t.Fatalf("the README has %d sessions, want 11", len(blocks))
	}
	cli := exec.Command("aws", "mailmanager", "help").Run() == nil
	boto := exec.Command("python3", "-c", "import boto3; boto3.client('mailmanager', region_name='us-east-1')").Run() == nil
	ran := map[string]bool{}
	for _, block := range blocks {
		name, script := block[1], block[2]
		if name == "AWS CLI" && !cli || name == "Python (boto3)" && !boto || (strings.HasPrefix(name, "Who is in") || strings.HasPrefix(name, "A message") || strings.HasPrefix(name, "What became")) && !ran["AWS CLI"] {
			t.Logf("%s is not on this machine, or too old for Mail Manager", name)
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		shell := exec.CommandContext(ctx, "bash", "-uo", "pipefail", "-c", exports+script)
		shell.Dir = t.TempDir()
		if err := os.Symlink(filepath.Dir(binary), filepath.Join(shell.Dir, "bin")); err != nil {
			t.Fatal(err)
		}
		shell.Env = append(withoutAWS(os.Environ()), "GOFLAGS=-mod=mod")
		out, err := shell.CombinedOutput()
		cancel()
		ran[name] = true
		want := []string{`COMPLETED\s+3\s+0\b`, `spam@example\.com`}
		switch {
		case strings.HasPrefix(name, "Who is in"):
			want = []string{regexp.QuoteMeta("yes  someone@mail.example.net (by *.example.net)\nyes  sales+june@example.org (by sales*@example.org)\nno   friend@example.com\n")}
			if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() == 3 {
				err = nil
			}
		case strings.HasPrefix(name, "Replace a list"):
			// What the README quotes of the dry run, what is done after it, and the end.
			said := regexp.MustCompile("(?s)says, among other things,\n\n```\n(.*?\\n)(The list would.*?)```").FindStringSubmatch(string(text))
			if said == nil {
				t.Fatal("the README does not say what a dry run says")
			}
			want = []string{regexp.QuoteMeta(said[1]), regexp.QuoteMeta(said[2]), `1 left the list`, `1 members removed\n\s+1 entries were no members`, `The list has 2 members now\.`}
		case strings.HasPrefix(name, "One command"):
			said := regexp.MustCompile("(?s)It prints\n\n```\n(Made the list.*?)The refused lines").FindStringSubmatch(string(text))
			if said == nil {
				t.Fatal("the README does not say what an import prints")
			}
			// Ids are cut short there.
			want = []string{strings.ReplaceAll(regexp.QuoteMeta(said[1]), `06h0\.\.\.`, `\w+`), `The list has 2 members now\.`}
		case strings.HasPrefix(name, "A message"):
			want = []string{`\d+ events are new`, `(?m)^\S+\s+SEND$`, `(?m)^\S+\s+CLICK$`, `(?s)"sent",\s+\[[^\]]*\],\s+\[(\s+[1-9]\d*,?){7}\s+\]`, `"opened"`}
		case strings.HasPrefix(name, "What became"):
			want = []string{`^"messageid","sendtimestamp",.*,\n"01`, `,"PERMANENT_BOUNCE",`}
		case strings.HasPrefix(name, "The same with"):
			want = []string{`Wrote [1-9]\d* rows, .* to bounced\.csv\.`, `Wrote [1-9]\d* rows, .* to clicks\.parquet\.`, `\nCONFIGURATION_SET,SEND_VOLUME,DELIVERY_RATE,OPEN_RATE\n`, `\nmarketing,[1-9]\d*,0\.9\d+,0\.\d+\n`}
		case strings.HasPrefix(name, "Take a list out"):
			want = []string{`Wrote .* to daily\.csv\.`, `2 new members`, `\naddress\nc@example\.com\nd@example\.com\n$`}
		}
		for _, part := range want {
			if err != nil || !regexp.MustCompile(part).Match(out) {
				t.Errorf("%s: %v, without %q:\n%s", name, err, part, out)
				break
			}
		}
	}
	if !ran["Go"] || !ran["JavaScript"] || !ran["The same with one command"] {
		t.Errorf("ran %v", ran)
	}
}

// withoutAWS is an environment that says nothing of AWS, as a new user's.
func withoutAWS(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "AWS_") })
}
