package address

import (
	"bytes"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// testCase is one line of a file of cases; testdata/README.md says how it is
// written.
type testCase struct {
	where string // file and line
	in    string
	want  []string
}

var repeated = regexp.MustCompile(`\{(\d+) ([^}]+)\}`)

func field(t *testing.T, where, s string) string {
	t.Helper()
	s = repeated.ReplaceAllStringFunc(s, func(m string) string {
		part := repeated.FindStringSubmatch(m)
		n, err := strconv.Atoi(part[1])
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		return strings.Repeat(part[2], n)
	})
	if quoted, ok := strings.CutPrefix(s, "go"); ok && strings.HasPrefix(quoted, `"`) {
		text, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("%s: %q: %v", where, s, err)
		}
		return text
	}
	return s
}

func readCases(t *testing.T, file string) []testCase {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []testCase
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		c := testCase{where: fmt.Sprintf("%s:%d", filepath.Base(file), i+1)}
		in, want, ok := strings.Cut(line, " => ")
		if !ok {
			t.Fatalf("%s: no =>", c.where)
		}
		c.in = field(t, c.where, in)
		for _, w := range strings.Split(want, " | ") {
			// A `!` of matches.txt stands before the field, not in it.
			if not, ok := strings.CutPrefix(w, "!"); ok && strings.HasPrefix(not, "go\"") {
				c.want = append(c.want, "!"+field(t, c.where, not))
				continue
			}
			c.want = append(c.want, field(t, c.where, w))
		}
		cases = append(cases, c)
	}
	if len(cases) == 0 {
		t.Fatalf("%s: no cases", file)
	}
	return cases
}

func kindName(k Kinds) string {
	switch k {
	case Exact:
		return "exact"
	case Domain:
		return "domain"
	case Subdomains:
		return "subdomains"
	case LocalAtSubdomains:
		return "local-at-subdomains"
	}
	return fmt.Sprintf("prefix-%d", bits.TrailingZeros32(uint32(k)))
}

// reporter is what the checks below need of a test, a fuzz target or a property.
type reporter interface {
	Helper()
	Errorf(string, ...any)
}

// checkEntry holds what must be true of every entry that Parse accepts.
func checkEntry(t reporter, in string, e Entry) {
	t.Helper()
	if bits.OnesCount32(uint32(e.Kind)) != 1 || e.Kind&^AllKinds != 0 {
		t.Errorf("%q: kind %b is not one kind", in, e.Kind)
	}
	if _, kind := Hash(e.Key); kind != e.Kind {
		t.Errorf("%q: the kind of %q is %s, by its hash %s", in, e.Key, kindName(e.Kind), kindName(kind))
	}
	for i, form := range [][]byte{e.Key, e.Shown} {
		if i > 0 && bytes.Equal(e.Key, form) {
			break
		}
		if !utf8.Valid(form) || len(form) > maxEntry {
			t.Errorf("%q: %q is not UTF-8 of at most %d octets", in, form, maxEntry)
		}
		again, err := Parse(string(form))
		if err != nil || !bytes.Equal(again.Key, e.Key) || again.Kind != e.Kind {
			t.Errorf("%q: Parse(%q) = %q, %s, %v; want %q, %s", in, form, again.Key, kindName(again.Kind), err, e.Key, kindName(e.Kind))
		}
		if !bytes.Equal(again.Shown, form) {
			t.Errorf("%q: %q is shown as %q", in, form, again.Shown)
		}
	}
}

// spell gives the keys of a mailbox's candidates, and holds what must be true of
// every candidate.
func spell(t reporter, m Mailbox, has Kinds) []string {
	t.Helper()
	var keys []string
	candidates := m.Candidates(has, make([]Candidate, 1))[1:]
	if len(candidates) > MaxCandidates {
		t.Errorf("%q: %d candidates", m.key, len(candidates))
	}
	for _, c := range candidates {
		key, after := bytes.CutPrefix(m.AppendKey([]byte("before "), c), []byte("before "))
		if !after {
			t.Errorf("%q: a candidate's key is not appended", m.key)
		}
		hash, kind := Hash(key)
		if hash != c.Hash {
			t.Errorf("%q: candidate %q has the hash %016x, its key %016x", m.key, key, c.Hash, hash)
		}
		if kind&has == 0 || c.Exact != (kind == Exact) {
			t.Errorf("%q: candidate %q, exact: %v, is of kind %s; wanted are %b", m.key, key, c.Exact, kindName(kind), has)
		}
		keys = append(keys, string(key))
	}
	return keys
}

func TestEntries(t *testing.T) {
	files, err := filepath.Glob("testdata/entries/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no files of cases", err)
	}
	unseen := map[string]bool{}
	for _, r := range Reasons() {
		unseen[r.Code()] = true
	}
	var p Parser
	for _, file := range files {
		for _, c := range readCases(t, file) {
			delete(unseen, c.want[0])
			var got []string
			e, err := p.Parse([]byte(c.in))
			if err != nil {
				got = []string{err.(Reason).Code()}
			} else {
				got = []string{string(e.Key), string(e.Shown), kindName(e.Kind)}
				checkEntry(t, c.in, e)
			}
			if len(c.want) == 3 && c.want[1] == "=" {
				c.want[1] = c.want[0]
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: %q (-want +got)\n%s", c.where, c.in, diff)
			}
			// The key and the shown form are the same bytes exactly when they are equal.
			if err == nil && bytes.Equal(e.Key, e.Shown) != (&e.Key[0] == &e.Shown[0]) {
				t.Errorf("%s: %q: equal forms are kept twice", c.where, c.in)
			}
			if own, ownErr := Parse(c.in); ownErr != err || !cmp.Equal(own, e) {
				t.Errorf("%s: %q: Parse and Parser.Parse differ", c.where, c.in)
			}
		}
	}
	for code := range unseen {
		t.Errorf("no case for the reason %s", code)
	}
}

func TestMailboxes(t *testing.T) {
	for _, c := range readCases(t, "testdata/mailboxes.txt") {
		var got []string
		m, err := ParseMailbox(c.in)
		if err != nil {
			got = []string{err.(Reason).Code()}
		} else {
			got = spell(t, m, AllKinds)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %q (-want +got)\n%s", c.where, c.in, diff)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range readCases(t, "testdata/matches.txt") {
		e, err := Parse(c.in)
		if err != nil {
			t.Errorf("%s: %q: %v", c.where, c.in, err)
			continue
		}
		for _, w := range c.want {
			mailbox, not := strings.CutPrefix(w, "!")
			m, err := ParseMailbox(mailbox)
			if err != nil {
				t.Errorf("%s: %q: %v", c.where, mailbox, err)
				continue
			}
			for _, has := range []Kinds{AllKinds, e.Kind} {
				if got := holds(t, m, has, map[string]bool{string(e.Key): true}); got == not {
					t.Errorf("%s: %q holds %q: %v", c.where, c.in, mailbox, got)
				}
			}
		}
	}
}

// holds answers as a list does: by looking the candidates up.
func holds(t reporter, m Mailbox, has Kinds, keys map[string]bool) bool {
	t.Helper()
	for _, k := range spell(t, m, has) {
		if keys[k] {
			return true
		}
	}
	return false
}

func TestZeroMailbox(t *testing.T) {
	if got := (Mailbox{}).Candidates(AllKinds, nil); got != nil {
		t.Errorf("candidates of no mailbox: %v", got)
	}
}

func TestMostCandidates(t *testing.T) {
	m, err := ParseMailbox(strings.Repeat("a", 64) + "@a.b.c.d.e.f.g.h.i.j")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(spell(t, m, AllKinds)); got != 38 || MaxCandidates != 38 {
		t.Errorf("%d candidates, at most %d", got, MaxCandidates)
	}
}

func TestPrefixKinds(t *testing.T) {
	all := Exact | Domain | Subdomains | LocalAtSubdomains
	for n := range 20 {
		if Prefix(n) != 1<<n {
			t.Errorf("Prefix(%d) = %b", n, Prefix(n))
		}
		all |= Prefix(n)
	}
	if all != AllKinds {
		t.Errorf("AllKinds = %b, the kinds together %b", AllKinds, all)
	}
	if Prefix(-1) != 0 || Prefix(20) != 0 {
		t.Error("Prefix of a length that no prefix has is not empty")
	}
}

func TestReasons(t *testing.T) {
	snake := regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*$`)
	codes, sentences := map[string]bool{}, map[string]bool{}
	for _, r := range Reasons() {
		if !snake.MatchString(r.Code()) || codes[r.Code()] {
			t.Errorf("%d: code %q", r, r.Code())
		}
		if !strings.HasSuffix(r.Error(), ".") || sentences[r.Error()] {
			t.Errorf("%s: sentence %q", r.Code(), r.Error())
		}
		codes[r.Code()], sentences[r.Error()] = true, true
	}
	if len(codes) != int(reasons)-1 {
		t.Errorf("%d codes for %d reasons", len(codes), reasons-1)
	}
	for _, r := range []Reason{0, reasons, 255} {
		if r.Code() != "" || r.Error() == "" {
			t.Errorf("Reason(%d): %q, %q", r, r.Code(), r.Error())
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	var p Parser
	for _, in := range []string{
		"user@example.com", "User@Example.COM.", " example.com ", "us*@example.com", "*.example.com",
		"User@*.example.com", `"john doe"@example.com`, "no one@example.com", "user@localhost", "{", "",
	} {
		b := []byte(in)
		if n := testing.AllocsPerRun(100, func() { _, _ = p.Parse(b) }); n != 0 {
			t.Errorf("%q: %v allocations", in, n)
		}
	}
}

func TestLookUpAllocatesNothing(t *testing.T) {
	var p Parser
	candidates := make([]Candidate, 0, MaxCandidates)
	key := make([]byte, 0, maxEntry)
	for _, in := range []string{
		"user@example.com", "First.Last+tag@Sub.Mail.Example.COM.", `"john doe"@mail.example.com`,
		strings.Repeat("a", maxLocal) + "@a.b.c.d.e.f.g.h.i.j", "user@localhost",
	} {
		b := []byte(in)
		if n := testing.AllocsPerRun(100, func() {
			m, err := p.Mailbox(b)
			if err != nil {
				return
			}
			candidates = m.Candidates(AllKinds, candidates[:0])
			for _, c := range candidates {
				key = m.AppendKey(key[:0], c)
				Hash(key)
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations", in, n)
		}
	}
}

// A prefix in any case asks for the keys of the entries that begin with it.
func TestKeyPrefix(t *testing.T) {
	for _, c := range []struct{ prefix, entry string }{
		{"JOHN", "john.doe@example.com"},
		{"John.Doe@EX", "john.doe@example.com"},
		{"*.EX", "*.example.com"},
		{"stra\u00dfe@", "STRASSE@x.example"},
		{"\u03bf\u03b4\u03bf\u03c2@", "\u039f\u0394\u039f\u03a3@x.example"},
		{"e\u0301t", "\u00c9t\u00e9@x.example"},
		{"", "a@example.com"},
	} {
		e, err := Parse(c.entry)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(e.Key), KeyPrefix(c.prefix)) {
			t.Errorf("the prefix %q asks for %q, which %q does not begin with", c.prefix, KeyPrefix(c.prefix), e.Key)
		}
		if strings.HasPrefix(string(e.Key), KeyPrefix(c.prefix+"z")) {
			t.Errorf("the prefix %q fits %q", c.prefix+"z", e.Key)
		}
	}
}
