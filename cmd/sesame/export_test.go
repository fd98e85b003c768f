package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// What a command line asks the server for.
func TestExportRequests(t *testing.T) {
	t.Chdir(t.TempDir())
	const week = `"StartDate":"2026-11-14T12:34:56.789Z","EndDate":"2026-11-21T12:34:56.788Z"`
	const metrics = `"StartDate":"2026-11-14T00:00:00Z","EndDate":"2026-11-21T00:00:00Z","Namespace":"VDM",`
	for _, c := range []struct{ args, source, destination, out string }{
		{"insights", `{` + week + `,"Include":{},"Exclude":{}}`, `{"DataFormat":"STRICT_CSV"}`, "-"},
		{"insights --range 2026-11-01..2026-11-02 --limit 10 --columns messageid,tag:campaign --out a.parquet",
			`{"StartDate":"2026-11-01T00:00:00Z","EndDate":"2026-11-02T23:59:59.999Z","MaxResults":10,"Columns":["messageid","tag:campaign"],"Include":{},"Exclude":{}}`, `{"DataFormat":"PARQUET"}`, "a.parquet"},
		{"insights --from *@example.com --from a,b@example.com --to c@example.com --subject a,b --isp Gmail,Yahoo --last-delivery permanent-bounce --last-delivery Delivery --last-engagement OPEN,click " +
			"--configuration-set main --identity example.com --bounce-subtype MailboxFull --diagnostic *5.1.1* --tag a=b --tag a=c=d --tag e= --out A.JSON.GZ",
			`{` + week + `,"Include":{"FromEmailAddress":["*@example.com","a,b@example.com"],"Destination":["c@example.com"],"Subject":["a,b"],"Isp":["Gmail","Yahoo"],"LastDeliveryEvent":["PERMANENT_BOUNCE","DELIVERY"],` +
				`"LastEngagementEvent":["OPEN","CLICK"],"ConfigurationSet":["main"],"EmailIdentity":["example.com"],"BounceSubType":["MAILBOX_FULL"],"DiagnosticCode":["*5.1.1*"],"Tags":{"a":["b","c=d"],"e":[""]}},"Exclude":{}}`,
			`{"DataFormat":"JSON","Compression":"GZIP"}`, "A.JSON.GZ"},
		{"insights --not-isp Gmail --not-tag a=b --isp Yahoo --s3 s3://bucket/a/ --format parquet --rows-per-file 7", `{` + week + `,"Include":{"Isp":["Yahoo"]},"Exclude":{"Isp":["Gmail"],"Tags":{"a":["b"]}}}`,
			`{"DataFormat":"PARQUET","RowsPerFile":7,"S3Url":"s3://bucket/a/"}`, ""},
		{"events --event-type bounce,delivery-delay --not-event-type RenderingFailure --out a.jsonl.zst --rows-per-file 5", `{` + week + `,"Include":{"EventType":["BOUNCE","DELIVERY_DELAY"]},"Exclude":{"EventType":["RENDERING_FAILURE"]}}`,
			`{"DataFormat":"NDJSON","Compression":"ZSTD","RowsPerFile":5}`, "a.jsonl.zst"},
		{"events --format ses-csv --out a.json --compression gzip", `{` + week + `,"Include":{},"Exclude":{}}`, `{"DataFormat":"CSV","Compression":"GZIP"}`, "a.json"},
		{"events --out a.csv.gz --compression none", `{` + week + `,"Include":{},"Exclude":{}}`, `{"DataFormat":"STRICT_CSV","Compression":"NONE"}`, "a.csv.gz"},
		{"metrics --metric send,delivery:rate --out -", `{` + metrics + `"Dimensions":{"ISP":["*"]},"Metrics":[{"Name":"SEND","Aggregation":"VOLUME"},{"Name":"DELIVERY","Aggregation":"RATE"}]}`, `{"DataFormat":"STRICT_CSV"}`, "-"},
		{"metrics --metric PERMANENT_BOUNCE:volume --by isp=Gmail,Yahoo --by identity=example.com --by configuration-set", `{` + metrics + `"Dimensions":{"ISP":["Gmail","Yahoo"],"EMAIL_IDENTITY":["example.com"],"CONFIGURATION_SET":["*"]},` +
			`"Metrics":[{"Name":"PERMANENT_BOUNCE","Aggregation":"VOLUME"}]}`, `{"DataFormat":"STRICT_CSV"}`, "-"},
		{"metrics --metric open --by ISP=* --by ISP=Gmail", `{` + metrics + `"Dimensions":{"ISP":["*","Gmail"]},"Metrics":[{"Name":"OPEN","Aggregation":"VOLUME"}]}`, `{"DataFormat":"STRICT_CSV"}`, "-"},
	} {
		var all exportCmd
		parser, err := kong.New(&all)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(strings.Fields(c.args)); err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		in, to, err := all.Insights.source, all.Insights.exportTo, error(nil)
		switch strings.Fields(c.args)[0] {
		case "events":
			in, to = all.Events.source, all.Events.exportTo
		case "metrics":
			in, to = all.Metrics.source, all.Metrics.exportTo
		}
		source, err := in(noon)
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		destination, out, err := to.request(output{}, false)
		if err != nil || !sameJSON(t, source.what, c.source) || !sameJSON(t, destination, c.destination) || out != c.out {
			t.Errorf("%s: %v, %v, %q, %v", c.args, text(t, source.what), text(t, destination), out, err)
		}
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func sameJSON(t *testing.T, v any, want string) bool {
	t.Helper()
	var tree any
	if err := json.Unmarshal([]byte(want), &tree); err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal([]byte(text(t, v)), &got); err != nil {
		t.Fatal(err)
	}
	return text(t, got) == text(t, tree)
}

// A wrong command line is refused with status 2, before a server is asked, and says
// what to give.
func TestExportUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	for args, want := range map[string]string{
		"insights --range yesterday":              "such as 7d, 36h or 2w",
		"metrics --range 36h":                     "metrics are of whole days",
		"insights --limit=0":                      "--limit 0: give at least 1",
		"events --rows-per-file=-1 --out a":       "--rows-per-file -1: give at least 1",
		"events --rows-per-file 5":                "name them with --out",
		"events --out none/a.csv":                 "there is no folder none for --out",
		"events --out a.parquet.gz":               "call it a.parquet",
		"events --s3 bucket":                      "give s3://BUCKET/PREFIX/",
		"events --last-delivery send":             "unknown flag --last-delivery",
		"insights --event-type send":              "unknown flag --event-type",
		"insights --tag campaign":                 `--tag "campaign": give a name and a value`,
		"insights --not-tag =x":                   `--not-tag "=x"`,
		"insights --last-delivery opened":         "give one of send, delivery, transient-bounce",
		"insights --not-last-engagement delivery": `--not-last-engagement "delivery": give one of open, click`,
		"events --event-type bounced":             "rendering-failure",
		"metrics --metric sent":                   "give one of send, complaint",
		"metrics --metric send:percent":           "and :rate behind it",
		"metrics --by country":                    "give isp, identity or configuration-set",
		"metrics --by isp=":                       "with values as in isp=Gmail,Yahoo",
		"metrics --format xml":                    "must be one of",
		"metrics more":                            "unexpected argument more",
		"insights --endpoint localhost":           "must start with http:// or https://",
	} {
		var out, err bytes.Buffer
		if code := run(append([]string{"export"}, strings.Fields(args)...), &out, &err); code != 2 || !strings.Contains(err.String(), want) {
			t.Errorf("%s: status %d, without %q: %s", args, code, want, &err)
		}
	}
}

func TestNumberedName(t *testing.T) {
	for name, want := range map[string]string{
		"mail.csv": "mail-0012.csv", "a.b/mail": "a.b/mail-0012", "mail.csv.gz": "mail-0012.csv.gz", "v1.2/mail.ndjson.zst": "v1.2/mail-0012.ndjson.zst",
		".csv": ".csv-0012", "a/.csv": "a/.csv-0012", "mail.gz": "mail-0012.gz",
	} {
		if got := numberedName(name, 12); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// A file appears under its name when it is placed, and not before; a link stays one.
func TestDestination(t *testing.T) {
	dir := t.TempDir()
	name, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(name, []byte("before"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	for _, whole := range []bool{false, true} {
		d, err := openDestination(output{}, link)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Write([]byte("after")); err != nil {
			t.Fatal(err)
		}
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(name); err != nil || string(text) != "before" {
			t.Errorf("it was %q, %v", text, err)
		}
		if whole {
			if err := d.place(); err != nil {
				t.Fatal(err)
			}
		}
		d.discard()
		if all, err := os.ReadDir(dir); err != nil || len(all) != 2 {
			t.Errorf("there are %v, %v", all, err)
		}
	}
	info, err := os.Lstat(name)
	text, _ := os.ReadFile(link)
	if err != nil || info.Mode() != 0o640 || string(text) != "after" {
		t.Errorf("%v, %v, %q", info.Mode(), err, text)
	}
	if _, err := openDestination(output{}, filepath.Join(dir, "none", "file")); err == nil || !strings.Contains(err.Error(), "there is no folder") {
		t.Errorf("no folder: %v", err)
	}
}
