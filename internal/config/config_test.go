package config

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// good is a configuration that passes.
func good() Server {
	return Server{
		Listen: "127.0.0.1:9025", DataDir: "data", Region: "us-east-1", AccountID: "000000000000", Quotas: "sesame", APIRate: -1,
		MaxUpload: 5 << 30, ImportWorkers: 2, ImportMemory: 128 << 20, ImportKeep: 30, ExportWorkers: 2, ExportKeep: 30, Retention: 400, EventMemory: 512 << 20, LogLevel: "info",
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Server)
		want   string // in the error; "" for none
	}{
		{"as it is", func(*Server) {}, ""},
		{"every address", func(c *Server) { c.Listen = ":9025" }, ""},
		{"any port", func(c *Server) { c.Listen = "[::1]:0" }, ""},
		{"a name", func(c *Server) { c.Listen = "localhost:9025" }, ""},
		{"no address", func(c *Server) { c.Listen = "" }, "--listen"},
		{"no port", func(c *Server) { c.Listen = "127.0.0.1" }, "127.0.0.1:9025 or :9025"},
		{"an empty port", func(c *Server) { c.Listen = "127.0.0.1:" }, "--listen"},
		{"a port too large", func(c *Server) { c.Listen = "127.0.0.1:65536" }, "--listen"},
		{"a port by name", func(c *Server) { c.Listen = "127.0.0.1:http" }, "--listen"},
		{"a port alone", func(c *Server) { c.Listen = "9025" }, "--listen"},
		{"a URL to listen on", func(c *Server) { c.Listen = "http://127.0.0.1:9025" }, "--listen"},

		{"a public URL", func(c *Server) { c.PublicURL = "https://ses.example.com" }, ""},
		{"a public URL with a port", func(c *Server) { c.PublicURL = "http://ses.example.com:8080/" }, ""},
		{"a public URL without a scheme", func(c *Server) { c.PublicURL = "ses.example.com" }, "https://host:port"},
		{"a public URL of another scheme", func(c *Server) { c.PublicURL = "ftp://ses.example.com" }, "--public-url"},
		{"a public URL without a host", func(c *Server) { c.PublicURL = "https:///" }, "--public-url"},
		{"a public URL with a path", func(c *Server) { c.PublicURL = "https://example.com/ses" }, "--public-url"},
		{"a public URL with a query", func(c *Server) { c.PublicURL = "https://example.com?a=b" }, "--public-url"},
		{"a public URL with a fragment", func(c *Server) { c.PublicURL = "https://example.com#a" }, "--public-url"},
		{"a public URL with a user", func(c *Server) { c.PublicURL = "https://user:word@example.com" }, "--public-url"},
		{"a public URL that is none", func(c *Server) { c.PublicURL = "https://%zz" }, "--public-url"},

		{"no export worker", func(c *Server) { c.ExportWorkers = 0 }, "--export-workers"},
		{"files kept for no time", func(c *Server) { c.ExportKeep = 0 }, "--export-retention"},
		{"no retention", func(c *Server) { c.Retention = 0 }, "--retention"},
		{"a retention of centuries", func(c *Server) { c.Retention = 100_000 }, "--retention"},
		{"little memory for events", func(c *Server) { c.EventMemory = 1 << 20 }, "--event-memory"},
		{"a topic", func(c *Server) { c.SNSTopics = []string{"arn:aws:sns:eu-west-1:123456789012:ses-events"} }, ""},
		{"a topic by name", func(c *Server) { c.SNSTopics = []string{"ses-events"} }, "--sns-topics"},
		{"topics in one", func(c *Server) { c.SNSTopics = []string{"arn:aws:sns:a:123456789012:b,arn:aws:sns:a:123456789012:c"} }, "--sns-topics"},

		{"a bucket for exports", func(c *Server) { c.ExportPlaces = []string{"s3://my-bucket.2", "s3://bucket/"} }, ""},
		{"a prefix for exports", func(c *Server) {
			c.ExportPlaces, c.Quotas = []string{"s3://bucket/prefix/", "s3://bucket/a/b c/"}, "aws"
		}, ""},
		{"a store of one's own", func(c *Server) {
			c.ExportPlaces, c.ExportS3URL, c.ExportRegion = []string{"s3://bucket"}, "https://store.example.com:9000/", "eu-west-1"
		}, ""},
		{"a prefix without a slash", func(c *Server) { c.ExportPlaces = []string{"s3://bucket/prefix"} }, "s3://bucket or s3://bucket/prefix/"},
		{"one place after another", func(c *Server) { c.ExportPlaces = []string{"s3://bucket", "bucket"} }, `--export-destinations: "bucket"`},
		{"a place without a bucket", func(c *Server) { c.ExportPlaces = []string{"s3:///prefix/"} }, "--export-destinations"},
		{"a place by HTTPS", func(c *Server) { c.ExportPlaces = []string{"https://bucket.s3.amazonaws.com/"} }, "--export-destinations"},
		{"a bucket in capitals", func(c *Server) { c.ExportPlaces = []string{"s3://Bucket"} }, "--export-destinations"},
		{"a short bucket", func(c *Server) { c.ExportPlaces = []string{"s3://ab"} }, "--export-destinations"},
		{"a long bucket", func(c *Server) { c.ExportPlaces = []string{"s3://" + strings.Repeat("a", 64)} }, "--export-destinations"},
		{"a bucket with two points", func(c *Server) { c.ExportPlaces = []string{"s3://a..b"} }, "--export-destinations"},
		{"an address for a bucket", func(c *Server) { c.ExportPlaces = []string{"s3://192.168.5.4"} }, "--export-destinations"},
		{"a way out of a prefix", func(c *Server) { c.ExportPlaces = []string{"s3://bucket/a/../"} }, "--export-destinations"},
		{"an empty segment", func(c *Server) { c.ExportPlaces = []string{"s3://bucket//"} }, "--export-destinations"},
		{"a control character", func(c *Server) { c.ExportPlaces = []string{"s3://bucket/a\x00/"} }, "--export-destinations"},
		{"a long prefix", func(c *Server) { c.ExportPlaces = []string{"s3://bucket/" + strings.Repeat("a", 512) + "/"} }, "--export-destinations"},
		{"a store that is no URL", func(c *Server) { c.ExportPlaces, c.ExportS3URL = []string{"s3://bucket"}, "store.example.com" }, "--export-s3-endpoint"},
		{"a store with a path", func(c *Server) {
			c.ExportPlaces, c.ExportS3URL = []string{"s3://bucket"}, "https://store.example.com/s3"
		}, "--export-s3-endpoint"},
		{"a store's region in capitals", func(c *Server) { c.ExportPlaces, c.ExportRegion = []string{"s3://bucket"}, "EU" }, "--export-s3-region"},
		{"a store for no destination", func(c *Server) { c.ExportS3URL = "https://store.example.com" }, "--export-destinations"},

		{"a region of one's own", func(c *Server) { c.Region = "home-1" }, ""},
		{"no region", func(c *Server) { c.Region = "" }, "--region"},
		{"a region in capitals", func(c *Server) { c.Region = "US-EAST-1" }, "lower-case"},
		{"a region too long", func(c *Server) { c.Region = strings.Repeat("a", 21) }, "--region"},
		{"a region with a line break", func(c *Server) { c.Region = "us-east-1\n" }, "--region"},
		{"a region with a slash", func(c *Server) { c.Region = "us/east" }, "--region"},

		{"an account too short", func(c *Server) { c.AccountID = "00000000000" }, "--account-id: the account \"00000000000\" is not 12 digits"},
		{"an account too long", func(c *Server) { c.AccountID = "0000000000000" }, "--account-id"},
		{"an account of letters", func(c *Server) { c.AccountID = "00000000000a" }, "--account-id"},
		{"an account of other digits", func(c *Server) { c.AccountID = "٠٠٠٠٠٠٠٠٠٠٠٠" }, "--account-id"},
		{"an account with a line break", func(c *Server) { c.AccountID = "000000000000\n" }, "--account-id"},
		{"no account", func(c *Server) { c.AccountID = "" }, "--account-id"},

		{"TLS", func(c *Server) { c.TLSCert, c.TLSKey = "a", "b" }, ""},
		{"a certificate without a key", func(c *Server) { c.TLSCert = "a" }, "go together"},
		{"a key without a certificate", func(c *Server) { c.TLSKey = "a" }, "go together"},

		{"one worker", func(c *Server) { c.ImportWorkers = 1 }, ""},
		{"64 workers", func(c *Server) { c.ImportWorkers = 64 }, ""},
		{"no workers", func(c *Server) { c.ImportWorkers = 0 }, "--import-workers must be 1 to 64"},
		{"65 workers", func(c *Server) { c.ImportWorkers = 65 }, "--import-workers"},
		{"least memory", func(c *Server) { c.ImportMemory = 1 << 20 }, ""},
		{"too little memory", func(c *Server) { c.ImportMemory = 1<<20 - 1 }, "--import-memory must be at least 1048576"},
		{"memory below nothing", func(c *Server) { c.ImportMemory = -1 }, "--import-memory"},
		{"an upload of a byte", func(c *Server) { c.MaxUpload = 1 }, ""},
		{"no upload", func(c *Server) { c.MaxUpload = 0 }, "--max-upload"},
		{"an upload below nothing", func(c *Server) { c.MaxUpload = -1 }, "--max-upload"},
		{"an upload without end", func(c *Server) { c.MaxUpload = 1<<63 - 1 }, "--max-upload"},
		{"no rate", func(c *Server) { c.APIRate = 0 }, ""},
		{"a rate beyond reason", func(c *Server) { c.APIRate = 1e300 }, "--api-rate"},
	} {
		c := good()
		test.change(&c)
		err := c.Check()
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: error %v, want %q in it", test.name, err, test.want)
		}
	}
}

var known = []string{"api-rate", "data-dir", "listen"}

func TestRead(t *testing.T) {
	for _, test := range []struct {
		text string
		want string // in the error; "" for none
	}{
		{`{"listen": "127.0.0.1:1", "api-rate": 5}`, ""},
		{` {} ` + "\n", ""},
		{`{"listne": "127.0.0.1:1"}`, `sets "listne", which is none of: api-rate, data-dir, listen`},
		{`{"Listen": "127.0.0.1:1"}`, `sets "Listen"`},
		{`{"": 1}`, `sets ""`},
		{``, "not a JSON object"},
		{`null`, "not a JSON object"},
		{`[]`, "not a JSON object"},
		{`"listen"`, "not a JSON object"},
		{`{"listen": }`, "not a JSON object"},
		{`{"listen": "127.0.0.1:1"`, "not a JSON object"},
		{`listen = 1`, "not a JSON object"},
		{`{} {}`, "behind its JSON object"},
		{`{} x`, "behind its JSON object"},
		{`{} }`, "behind its JSON object"},
		{`{}]`, "behind its JSON object"},
	} {
		values, err := Read(strings.NewReader(test.text), known)
		switch {
		case test.want == "" && (err != nil || values == nil):
			t.Errorf("%s: %v, error %v", test.text, values, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: error %v, want %q in it", test.text, err, test.want)
		}
	}
	values, err := Read(strings.NewReader(`{"api-rate": 12345678901234567890, "listen": "a", "listen": "b"}`), known)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(values)); !slices.Equal(got, []string{"api-rate", "listen"}) || values["listen"] != "b" {
		t.Errorf("the values are %v", values)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{`{"listen":"a"}`, `{}`, `{"x":1}`, `{} {}`, `null`, ``} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := Read(strings.NewReader(text), known)
		if (values == nil) == (err == nil) {
			t.Fatalf("%v with error %v", values, err)
		}
		for name := range values {
			if !slices.Contains(known, name) {
				t.Fatalf("%q is let in", name)
			}
		}
	})
}

func TestRootFromEnvironment(t *testing.T) {
	for _, test := range []struct {
		id, secret string
		ok         bool
		want       string // in the error
	}{
		{"", "", false, ""},
		{"AKIDEXAMPLE", "12345678", true, ""},
		{"a_B9", "long enough, with blanks", true, ""},
		{strings.Repeat("A", 128), "12345678", true, ""},
		{"AKIDEXAMPLE", "", false, "both"},
		{"", "12345678", false, "both"},
		{"AKI", "12345678", false, "SESAME_ROOT_ACCESS_KEY_ID must have"},
		{strings.Repeat("A", 129), "12345678", false, "SESAME_ROOT_ACCESS_KEY_ID"},
		{"AKID/EXAMPLE", "12345678", false, "SESAME_ROOT_ACCESS_KEY_ID"},
		{"AKIDEXAMPLE\n", "12345678", false, "SESAME_ROOT_ACCESS_KEY_ID"},
		{"AKIDEXAMPLE", "1234567", false, "at least 8"},
	} {
		t.Setenv("SESAME_ROOT_ACCESS_KEY_ID", test.id)
		t.Setenv("SESAME_ROOT_SECRET_ACCESS_KEY", test.secret)
		root, ok, err := RootFromEnvironment()
		if ok != test.ok || ok && root != (Root{test.id, test.secret}) {
			t.Errorf("%q, %q: %v, %v", test.id, test.secret, root, ok)
		}
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%q, %q: error %v, want %q in it", test.id, test.secret, err, test.want)
		}
		if err != nil && len(test.secret) > 0 && strings.Contains(err.Error(), test.secret) {
			t.Errorf("the secret is in the error %v", err)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		quotas string
		rate   float64
		want   Limits
	}{
		{"sesame", -1, Limits{Lists: 1000, Members: 100_000_000, Tags: 200, RunningImports: 1000, RunningExports: 1000, Rate: 500, Burst: 1000}},
		{"aws", -1, Limits{Lists: 100, Members: 100_000, Tags: 200, RunningImports: 20, RunningExports: 20, Rate: 1, Burst: 1}},
		{"aws", 50, Limits{Lists: 100, Members: 100_000, Tags: 200, RunningImports: 20, RunningExports: 20, Rate: 50, Burst: 100}},
		{"sesame", 0.25, Limits{Lists: 1000, Members: 100_000_000, Tags: 200, RunningImports: 1000, RunningExports: 1000, Rate: 0.25, Burst: 1}},
		{"sesame", 0, Limits{Lists: 1000, Members: 100_000_000, Tags: 200, RunningImports: 1000, RunningExports: 1000, Rate: 0, Burst: 1}},
	} {
		c := good()
		c.Quotas, c.APIRate = test.quotas, test.rate
		if got := c.Limits(); got != test.want {
			t.Errorf("--quotas %s --api-rate %v: %+v, want %+v", test.quotas, test.rate, got, test.want)
		}
	}
}

func TestClientURL(t *testing.T) {
	for _, test := range []struct {
		addr string
		tls  bool
		want string
	}{
		{"127.0.0.1:9025", false, "http://127.0.0.1:9025"},
		{"192.0.2.1:443", true, "https://192.0.2.1:443"},
		{":9025", false, "http://127.0.0.1:9025"},
		{"0.0.0.0:9025", false, "http://127.0.0.1:9025"},
		{"[::]:9025", false, "http://127.0.0.1:9025"},
		{"[::1]:9025", false, "http://[::1]:9025"},
		{"localhost:9025", true, "https://localhost:9025"},
	} {
		if got := ClientURL(test.addr, test.tls); got != test.want {
			t.Errorf("ClientURL(%q, %v) is %s, want %s", test.addr, test.tls, got, test.want)
		}
	}
}
