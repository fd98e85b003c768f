package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

// split gives the records of a text, and "too large" for each that is.
func split(t interface{ Fatal(...any) }, r io.Reader) (all []string) {
	s := &splitter{r: r}
	for {
		record, err := s.next()
		switch {
		case err == io.EOF:
			return all
		case errors.Is(err, errTooLarge):
			all = append(all, "too large")
		case err != nil:
			t.Fatal(err)
		default:
			all = append(all, string(record))
		}
	}
}

func TestSplitter(t *testing.T) {
	large := `{"a":"` + strings.Repeat("x", largestRecord) + `"}`
	most := `{"a":"` + strings.Repeat("x", largestRecord-8) + `"}`
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"nothing":                        {"", nil},
		"blank lines":                    {" \n\r\n\t", nil},
		"lines":                          {"{\"a\":1}\n{\"a\":2}\n", []string{`{"a":1}`, `{"a":2}`}},
		"no line feed at the end":        {"{\"a\":1}\r\n{\"a\":2}", []string{`{"a":1}`, `{"a":2}`}},
		"one behind the other":           {`{"a":{"b":"}{"}}{"a":"\"}{"} {}`, []string{`{"a":{"b":"}{"}}`, `{"a":"\"}{"}`, `{}`}},
		"an array":                       {"[{\"a\":1},\n {\"a\":[2]}]\n", []string{`{"a":1}`, `{"a":[2]}`}},
		"over several lines":             {"{\n  \"a\": {\n    \"b\": 1\n  }\n}\n{\n}", []string{"{\n  \"a\": {\n    \"b\": 1\n  }\n}", "{\n}"}},
		"a torn record among others":     {"{\"a\":1}\n{\"a\":{\"b\n{\"a\":2}\n{\"a\":{\n{\"a\":3}\n", []string{`{"a":1}`, `{"a":{"b`, `{"a":2}`, `{"a":{`, `{"a":3}`}},
		"objects of a list begin lines":  {"{\n\"a\":[\n{\n\"b\":1\n},\n{\n\"b\":2\n}\n]\n}\n{}", []string{"{\n\"a\":[\n{\n\"b\":1\n},\n{\n\"b\":2\n}\n]\n}", "{}"}},
		"torn in a list":                 {"{\"a\":[\"b\n{\"a\":2}\n{\"a\":[1\n{\"a\":3}\n", []string{`{"a":["b`, `{"a":2}`, `{"a":[1`, `{"a":3}`}},
		"a byte order mark":              {"\xef\xbb\xbf{\n\"a\":1}\n{}", []string{"{\n\"a\":1}", "{}"}},
		"a torn record at the end":       {"{\"a\":1}\n{\"a\":{\"b\":", []string{`{"a":1}`, `{"a":{"b":`}},
		"torn behind a backslash":        {"{\"a\":\"\\\n{\"a\":2}\n", []string{`{"a":"\`, `{"a":2}`}},
		"lines that are no objects":      {"Successfully validated\n{\"a\":1}\n\"text\"\n}\n", []string{"Successfully validated", `{"a":1}`, `"text"`, "}"}},
		"a record that is too large":     {"{\"a\":1}\n" + large + "\n{\"a\":2}\n", []string{`{"a":1}`, "too large", `{"a":2}`}},
		"a torn one that is too large":   {large[:len(large)-2] + "\n{\"a\":2}\n", []string{"too large", `{"a":2}`}},
		"a line that is too large":       {strings.Repeat("x", largestRecord+1) + "\n{}", []string{"too large", "{}"}},
		"too large and the end":          {large, []string{"too large"}},
		"as large as may be":             {most + most + "\n", []string{most, most}},
		"brackets that nothing opened":   {"}}\n]]{\"a\":1}", []string{"}}", `{"a":1}`}},
		"an escape at the end of a text": {`{"a":"\\"}{"b":1}`, []string{`{"a":"\\"}`, `{"b":1}`}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, split(t, strings.NewReader(c.text))); d != "" {
				t.Errorf("want -, got +:\n%.2000s", d)
			}
			if len(c.text) < 1000 {
				if d := cmp.Diff(c.want, split(t, iotest.OneByteReader(strings.NewReader(c.text)))); d != "" {
					t.Errorf("byte by byte, want -, got +:\n%s", d)
				}
			}
		})
	}
}

// Whatever the text is, it does not matter in which pieces it is read, and going on
// where a record began gives the rest.
func TestSplitterDrawn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"{", "}", `"`, `\`, "\n", "\n{", " ", "a", ",", "[", "]", `{"a":1}`, `{"a":"}"}`}), 0, 40).Draw(t, "text"), "")
		all := split(t, strings.NewReader(text))
		if d := cmp.Diff(all, split(t, iotest.OneByteReader(strings.NewReader(text)))); d != "" {
			t.Fatalf("byte by byte:\n%s", d)
		}
		s := &splitter{r: strings.NewReader(text)}
		for i := range all {
			if _, err := s.next(); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(all[i+1:], split(t, strings.NewReader(text[s.offset:])), cmpEmpty); d != "" {
				t.Fatalf("from byte %d on:\n%s", s.offset, d)
			}
		}
	})
}

var cmpEmpty = cmp.Comparer(func(a, b []string) bool { return slices.Equal(a, b) })

// door takes events as the server's does, or does not.
type door struct {
	mu      sync.Mutex
	taken   map[string]int
	refuses func(request int) (status int) // 200 to take it
	asked   int
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			panic(err)
		}
		body = z
	}
	text, err := io.ReadAll(body)
	if err != nil || r.URL.Path != "/ingest/events" || !strings.Contains(r.Header.Get("Authorization"), "SignedHeaders=") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if status := d.refuses(d.asked); status != http.StatusOK {
		w.WriteHeader(status)
		return
	}
	added, known := 0, 0
	for line := range bytes.Lines(text) {
		d.taken[string(bytes.TrimSpace(line))]++
		if d.taken[string(bytes.TrimSpace(line))] == 1 {
			added++
		} else {
			known++
		}
	}
	fmt.Fprintf(w, `{"Added":%d,"Duplicates":%d,"Rejected":0}`, added, known)
}

func newDoor(t *testing.T, refuses func(request int) int) *door {
	d := &door{taken: map[string]int{}, refuses: refuses}
	s := httptest.NewServer(d)
	t.Cleanup(s.Close)
	t.Setenv("SESAME_ENDPOINT", s.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "TEST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret of the test")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	return d
}

func ok(int) int { return http.StatusOK }

// numbered makes records of about so many bytes.
func numbered(from, to, size int) (lines string, records []string) {
	var b strings.Builder
	for i := from; i < to; i++ {
		r := fmt.Sprintf(`{"record":%d,"of":%q}`, i, strings.Repeat("x", size))
		records = append(records, r)
		b.WriteString(r + "\n")
	}
	return b.String(), records
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func gzipped(t *testing.T, text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// once checks that each record was taken once and nothing else was.
func (d *door) once(t *testing.T, records ...[]string) {
	t.Helper()
	n := 0
	for _, some := range records {
		n += len(some)
		for _, r := range some {
			if d.taken[r] != 1 {
				t.Fatalf("%.40s was taken %d times", r, d.taken[r])
			}
		}
	}
	if len(d.taken) != n {
		t.Errorf("%d records were taken, there are %d", len(d.taken), n)
	}
}

func runIngest(t *testing.T, want int, args ...string) (out string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(append([]string{"ingest"}, args...), &stdout, &stderr); code != want {
		t.Fatalf("sesame ingest %v ends with %d:\n%s%s", args, code, &stdout, &stderr)
	}
	return stdout.String() + stderr.String()
}

// A folder is sent in whatever ways its files are packed, and later what has come
// to it since.
func TestIngestFolder(t *testing.T) {
	d := newDoor(t, ok)
	dir := filepath.Join(t.TempDir(), "bucket")
	plain, a := numbered(0, 100, 1000)
	packed, b := numbered(100, 200, 1000)
	dense, c := numbered(200, 300, 1000)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "2026/01/b"), gzipped(t, packed))
	write(t, filepath.Join(dir, "2026/01/a"), plain)
	write(t, filepath.Join(dir, "2026/02/c"), string(z.EncodeAll([]byte(dense), nil)))
	write(t, filepath.Join(dir, "2026/.hidden"), "no event")
	if out := runIngest(t, 0, dir); !strings.Contains(out, "300 events are new") {
		t.Errorf("it says\n%s", out)
	}
	d.once(t, a, b, c)

	more, e := numbered(300, 400, 1000)
	write(t, filepath.Join(dir, "2025/late"), gzipped(t, more))
	longer, f := numbered(400, 410, 1000)
	write(t, filepath.Join(dir, "2026/01/a"), plain+longer)
	if out := runIngest(t, 0, dir, "--compress"); !strings.Contains(out, "110 records sent") {
		t.Errorf("it says\n%s", out)
	}
	d.once(t, a, b, c, e, f)
	if out := runIngest(t, 0, dir, "--no-resume"); !strings.Contains(out, "410 events were known") {
		t.Errorf("it says\n%s", out)
	}
	write(t, filepath.Join(dir, "2026/03/table"), strings.Repeat("name;age\n", 1000))
	if out := runIngest(t, 1, dir); !strings.Contains(out, "0 records sent") || !strings.Contains(out, "this is no file of events") {
		t.Errorf("of another kind of file it says\n%s", out)
	}
}

// After a failure the same command sends the rest and nothing else, and a busy
// server is waited for.
func TestIngestResumes(t *testing.T) {
	const size, records = 10_000, 2_600 // four requests
	text, all := numbered(0, records, size)
	for name, packed := range map[string]bool{"plain": false, "gzip": true} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, func(request int) int {
				switch {
				case request == 3:
					return http.StatusServiceUnavailable
				case request > 4:
					return http.StatusForbidden
				}
				return http.StatusOK
			})
			file := filepath.Join(t.TempDir(), "events")
			content := text
			if packed {
				content = gzipped(t, text)
			}
			write(t, file, content)
			runIngest(t, 1, file)
			before := len(d.taken)
			if before == 0 || before == records {
				t.Fatalf("%d records were taken before it failed", before)
			}
			d.refuses = ok
			if out := runIngest(t, 0, file); !strings.Contains(out, "sent before") {
				t.Errorf("it says\n%s", out)
			}
			if len(d.taken) != records {
				t.Errorf("%d records were taken of %d", len(d.taken), records)
			}
			twice := 0
			for _, r := range all {
				if d.taken[r] == 0 {
					t.Fatalf("%.40s was not taken", r)
				}
				twice += d.taken[r] - 1
			}
			// A request that was taken while the one before it was not is sent again.
			if twice > requestBytes/size {
				t.Errorf("%d records were sent twice", twice)
			}
			if _, err := os.Stat(file + progressSuffix); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the note is still there: %v", err)
			}
		})
	}
}

// A file that cannot be read to its end does not hold the others up, and is tried
// again.
func TestIngestDamaged(t *testing.T) {
	d := newDoor(t, ok)
	dir := filepath.Join(t.TempDir(), "bucket")
	one, a := numbered(0, 1000, 1000)
	two, b := numbered(1000, 1100, 1000)
	packed := gzipped(t, one)
	write(t, filepath.Join(dir, "a.gz"), packed[:len(packed)-8])
	write(t, filepath.Join(dir, "b"), two)
	if out := runIngest(t, 1, dir); !strings.Contains(out, "a.gz") || !strings.Contains(out, "1 file could not be read to the end") {
		t.Errorf("it says\n%s", out)
	}
	write(t, filepath.Join(dir, "a.gz"), packed)
	runIngest(t, 0, dir)
	d.once(t, a, b)
}

// Another file by the same name is sent from its beginning.
func TestIngestAnotherFile(t *testing.T) {
	d := newDoor(t, ok)
	file := filepath.Join(t.TempDir(), "events")
	one, a := numbered(0, 1000, 1000)
	two, b := numbered(5000, 7000, 1000)
	state := filepath.Join(filepath.Dir(file), "state")
	write(t, file, one)
	runIngest(t, 0, file, "--state", state)
	write(t, file, two)
	runIngest(t, 0, file, "--state", state)
	d.once(t, a, b)
	runIngest(t, 0, file, "--state", state)
	d.once(t, a, b)
}

func TestIngestStrict(t *testing.T) {
	d := newDoor(t, ok)
	file := filepath.Join(t.TempDir(), "events")
	lines, a := numbered(0, 10, 1000)
	write(t, file, lines+strings.Repeat("x", largestRecord+1)+"\n")
	if out := runIngest(t, 2, "--strict", file); !strings.Contains(out, "too large") {
		t.Errorf("it says\n%s", out)
	}
	d.once(t, a)
	runIngest(t, 2, filepath.Join(t.TempDir(), "nothing"))
	runIngest(t, 2, "rejected", "retry")
}

// A file of a folder that was caught in the middle of a record goes on with that
// record.
func TestIngestGrowing(t *testing.T) {
	d := newDoor(t, ok)
	dir := filepath.Join(t.TempDir(), "bucket")
	text, all := numbered(0, 3, 1000)
	begun := len(text) / 2
	write(t, filepath.Join(dir, "events"), text[:begun])
	runIngest(t, 0, dir)
	write(t, filepath.Join(dir, "events"), text)
	runIngest(t, 0, dir)
	for _, r := range all {
		if d.taken[r] != 1 {
			t.Errorf("%.40s was taken %d times", r, d.taken[r])
		}
	}
	if len(d.taken) != len(all)+1 { // and what there was of the one in the middle
		t.Errorf("%d records were taken", len(d.taken))
	}
}
