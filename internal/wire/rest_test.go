package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sesame/internal/iam"
	"sesame/internal/sigv4"
)

// lookUp has members in each place where a REST operation may have them.
type lookUp struct {
	Id    *string   `required:"true" length:"1..20"`
	Page  *int32    `query:"page" range:"1..50"`
	Long  *bool     `query:"long"`
	Kinds []*string `query:"kind" length:"..2"`
	Since *time.Time
	Named map[string]*string `length:"1..2"`
	Large *int64
	Part  *float64
	Table [][]*string
}

func beforeLook(_ context.Context, _ Caller, in any) error {
	if id := in.(*lookUp).Id; id != nil && *id == "first" {
		return Errorf("NotFoundException", "It comes before the constraints.")
	}
	return nil
}

type found struct {
	In    *lookUp
	Names map[string]string
	Part  float64
	Large int64
	Table [][]string
	Times []time.Time
}

func restService() *Service {
	free := func(context.Context, Caller, *lookUp) (Access, error) { return Access{Resource: "*"}, nil }
	look := func(_ context.Context, _ Caller, in *lookUp) (*found, error) {
		switch *in.Id {
		case "absent":
			return nil, Errorf("NotFoundException", "There is no such thing.")
		case "broken":
			return nil, errors.New("not for the client")
		}
		return &found{In: in}, nil
	}
	return &Service{
		Prefix: "/v9/", IAMPrefix: "test", Errors: map[string]int{"NotFoundException": 404, "TooManyRequestsException": 429, "BadRequestException": 400},
		Invalid: "BadRequestException", Throttled: "TooManyRequestsException", HideValues: true,
		Operations: []Operation{
			Op("Look", false, free, look, "NotFoundException").At("GET /v9/things/{Id}").Before(beforeLook),
			Op("Change", true, free, look, "NotFoundException").At("PUT /v9/things/{Id}/parts").Before(beforeLook),
			Op("Forbidden", false, free, look).At("POST /v9/forbidden"),
			Op("Limited", false, free, func(context.Context, Caller, *lookUp) (*struct{}, error) { return &struct{}{}, nil }).At("PUT /v9/limited/{Id}").AtMost(1),
		},
	}
}

func restEdge(t *testing.T) string {
	policy, err := iam.Parse([]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["test:Look","test:Change","test:Limited"],"Resource":"*"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	now := time.Now()
	edge := &Edge{
		Services: []*Service{{Target: "Rpc", Namespace: "com.example"}, restService()}, Sesame: &Service{},
		Verifier: sigv4.Verifier{Scope: sigv4.Scope{Region: "us-east-1", Service: "ses"}, MaxBody: 1 << 16, Skew: 15 * time.Minute, Now: time.Now},
		Key: func(_ context.Context, id string) (iam.Key, *iam.Policy, bool, error) {
			return iam.Key{ID: id, Account: "000000000000", Name: "test", Secret: "secret"}, policy, id == "KEY", nil
		},
		Throttle: NewThrottle(0, 0), MaxReading: 10, MaxInFlight: 10, Now: func() time.Time { return now }, NewID: func() string { return "request-1" },
		Log: quiet, Audit: quiet, Observe: func(string, string, time.Duration) {},
	}
	s := httptest.NewServer(edge.Handler())
	t.Cleanup(s.Close)
	return s.URL
}

type restAnswer struct {
	status  int
	code    string // X-Amzn-Errortype
	message string
	body    string
}

// ask sends a request, signed unless the key is "".
func ask(t *testing.T, key, method, url, body string) restAnswer {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(body))
	if key != "" {
		if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key, SecretAccessKey: "secret"}, r, hex.EncodeToString(digest[:]), "ses", "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if w.Header.Get("Content-Type") != "application/json" || w.Header.Get("X-Amzn-Requestid") != "request-1" {
		t.Errorf("%s %s: headers %v", method, url, w.Header)
	}
	a := restAnswer{status: w.StatusCode, code: w.Header.Get("X-Amzn-Errortype"), body: strings.TrimSpace(string(text))}
	if w.StatusCode != 200 {
		var e map[string]string
		if err := json.Unmarshal(text, &e); err != nil || len(e) != 1 {
			t.Errorf("%s %s: the error is %s", method, url, text)
		}
		a.message = e["message"]
	}
	return a
}

func TestREST(t *testing.T) {
	url := restEdge(t)
	const nothing = `,"Large":0,"Part":0}`
	for _, c := range []struct {
		name, method, path, body string
		want                     string // the body
	}{
		{"a label", "GET", "/v9/things/abc", "", `{"In":{"Id":"abc"}` + nothing},
		{"a slash at the end", "GET", "/v9/things/abc/", "", `{"In":{"Id":"abc"}` + nothing},
		{"escapes", "GET", "/v9/things/a%2Fb%20%C3%A9%25", "", `{"In":{"Id":"a/b é%"}` + nothing},
		{"dots that are no segment of their own", "GET", "/v9/things/...", "", `{"In":{"Id":"..."}` + nothing},
		{"a GET has no body", "GET", "/v9/things/abc", `{"Large":`, `{"In":{"Id":"abc"}` + nothing},
		{"query parameters", "GET", "/v9/things/abc?page=7&long=true&kind=x&kind=y&other=1", "", `{"In":{"Id":"abc","Kinds":["x","y"],"Long":true,"Page":7}` + nothing},
		{"the address goes before the body", "PUT", "/v9/things/abc/parts?page=2", `{"Id":"other","Page":3,"Long":true,"Large":9007199254740993}`, `{"In":{"Id":"abc","Large":9007199254740993,"Page":2}` + nothing},
		{"an empty body", "PUT", "/v9/things/abc/parts", "", `{"In":{"Id":"abc"}` + nothing},
		{"epoch seconds", "PUT", "/v9/things/abc/parts", `{"Since":1795309323.4567}`, `{"In":{"Id":"abc","Since":1795309323.457}` + nothing},
		{"RFC 3339", "PUT", "/v9/things/abc/parts", `{"Since":"2026-11-22T02:02:03.456+01:00"}`, `{"In":{"Id":"abc","Since":1795309323.456}` + nothing},
		{"a map, a double, a list of lists", "PUT", "/v9/things/abc/parts", `{"Named":{"k":"v","":""},"Part":-1.5e-3,"Table":[["a"],[],["b","c"]]}`,
			`{"In":{"Id":"abc","Named":{"":"","k":"v"},"Part":-0.0015,"Table":[["a"],[],["b","c"]]}` + nothing},
		{"an empty output", "PUT", "/v9/limited/abc", "", `{}`},
	} {
		if got := ask(t, "KEY", c.method, url+c.path, c.body); got.status != 200 || got.body != c.want {
			t.Errorf("%s:\n got %d %s %s\nwant %s", c.name, got.status, got.code, got.body, c.want)
		}
	}
}

func TestRESTRefusals(t *testing.T) {
	url := restEdge(t)
	invalid := func(what string) string {
		return "1 validation error detected: Value at " + what
	}
	unknown := "The operation is not one that Sesame has."
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code, message            string
	}{
		{"no such path", "GET", "/v9/other", "", 404, "UnknownOperationException", unknown},
		{"the prefix alone", "GET", "/v9/", "", 404, "UnknownOperationException", unknown},
		{"another method", "POST", "/v9/things/abc", "", 404, "UnknownOperationException", unknown},
		{"an empty label", "GET", "/v9/things//", "", 404, "UnknownOperationException", unknown},
		{"no label", "GET", "/v9/things/", "", 404, "UnknownOperationException", unknown},
		{"two slashes at the end", "GET", "/v9/things/abc//", "", 404, "UnknownOperationException", unknown},
		{"an empty segment", "GET", "/v9//things/abc", "", 404, "UnknownOperationException", unknown},
		{"a dot segment", "GET", "/v9/things/.", "", 404, "UnknownOperationException", unknown},
		{"two dots", "GET", "/v9/things/..", "", 404, "UnknownOperationException", unknown},
		{"a label that is not UTF-8", "GET", "/v9/things/%ff", "", 404, "UnknownOperationException", unknown},
		{"a target does not matter here", "GET", "/v9/Rpc.Look", "", 404, "UnknownOperationException", unknown},
		{"a constraint, its value hidden", "GET", "/v9/things/aaaaaaaaaaaaaaaaaaaaa", "", 400, "BadRequestException", invalid("'id' failed to satisfy constraint: Member must have length less than or equal to 20")},
		{"missing, its null hidden", "POST", "/v9/forbidden", "{}", 400, "BadRequestException", invalid("'id' failed to satisfy constraint: Member must not be null")},
		{"a query parameter's constraint", "GET", "/v9/things/abc?page=51", "", 400, "BadRequestException", invalid("'page' failed to satisfy constraint: Member must have value less than or equal to 50")},
		{"too many of a parameter", "GET", "/v9/things/abc?kind=1&kind=2&kind=3", "", 400, "BadRequestException", invalid("'kinds' failed to satisfy constraint: Member must have length less than or equal to 2")},
		{"an empty map", "PUT", "/v9/things/abc/parts", `{"Named":{}}`, 400, "BadRequestException", invalid("'named' failed to satisfy constraint: Member must have length greater than or equal to 1")},
		{"a large map", "PUT", "/v9/things/abc/parts", `{"Named":{"a":"","b":"","c":""}}`, 400, "BadRequestException", invalid("'named' failed to satisfy constraint: Member must have length less than or equal to 2")},
		{"null in a map", "PUT", "/v9/things/abc/parts", `{"Named":{"a":null}}`, 400, "BadRequestException", invalid("'named' failed to satisfy constraint: Member must satisfy constraint: [Member must not be null]")},
		{"null in a list of lists", "PUT", "/v9/things/abc/parts", `{"Table":[["a",null]]}`, 400, "BadRequestException", invalid("'table.1.member.2.member' failed to satisfy constraint: Member must not be null")},
		{"what comes before", "PUT", "/v9/things/first/parts", `{"Named":{}}`, 404, "NotFoundException", "It comes before the constraints."},
		{"no number", "GET", "/v9/things/abc?page=x", "", 400, "SerializationException", "STRING_VALUE can not be converted to an Integer"},
		{"no boolean", "GET", "/v9/things/abc?long=1", "", 400, "SerializationException", "STRING_VALUE can not be converted to an Boolean"},
		{"malformed", "PUT", "/v9/things/abc/parts", `{"Large":`, 400, "SerializationException", "The request body is malformed."},
		{"not allowed", "POST", "/v9/forbidden", `{"Id":"abc"}`, 403, "AccessDeniedException", "User: arn:aws:iam::000000000000:user/test is not authorized to perform: test:Forbidden on resource: * because no identity-based policy allows the test:Forbidden action"},
		{"a modelled error", "GET", "/v9/things/absent", "", 404, "NotFoundException", "There is no such thing."},
		{"the server's own trouble", "GET", "/v9/things/broken", "", 500, "InternalFailure", "Something went wrong inside the server; its log says what under request id request-1."},
		{"too large", "PUT", "/v9/things/abc/parts", strings.Repeat(" ", 1<<16+1), 413, "RequestEntityTooLargeException", ""},
	} {
		got := ask(t, "KEY", c.method, url+c.path, c.body)
		if got.status != c.status || got.code != c.code || c.message != "" && got.message != c.message {
			t.Errorf("%s:\n got %d %s %s\nwant %d %s %s", c.name, got.status, got.code, got.message, c.status, c.code, c.message)
		}
	}
	for key, code := range map[string]string{"": "MissingAuthenticationTokenException", "OTHER": "UnrecognizedClientException"} {
		if got := ask(t, key, "GET", url+"/v9/things/abc", ""); got.status != 403 || got.code != code || got.message == "" {
			t.Errorf("key %q: %d %s %s", key, got.status, got.code, got.message)
		}
	}
	for i, status := range []int{200, 429, 429} {
		got := ask(t, "KEY", "PUT", url+"/v9/limited/abc", "")
		if got.status != status || status == 429 && (got.code != "TooManyRequestsException" || got.message != "Rate exceeded") {
			t.Errorf("limited, request %d: %d %s %s", i, got.status, got.code, got.message)
		}
	}
}

// A REST service has no other protocol, not even under an empty name.
func TestRESTIsNotRPC(t *testing.T) {
	url := restEdge(t)
	for name, headers := range map[string][2]string{"JSON": {"X-Amz-Target", ".Look"}, "CBOR": {"Smithy-Protocol", "rpc-v2-cbor"}} {
		path := "/"
		if name == "CBOR" {
			path = "/service//operation/Look"
		}
		r, err := http.NewRequest(http.MethodPost, url+path, bytes.NewReader(nil))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(headers[0], headers[1])
		digest := sha256.Sum256(nil)
		if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: "KEY", SecretAccessKey: "secret"}, r, hex.EncodeToString(digest[:]), "ses", "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(w.Body)
		w.Body.Close()
		if err != nil || !bytes.Contains(text, []byte("UnknownOperationException")) {
			t.Errorf("%s: %d %s %v", name, w.StatusCode, text, err)
		}
	}
}

func TestTypesOfREST(t *testing.T) {
	for body, want := range map[string]string{
		`{"Since":"yesterday"}`:            "STRING_VALUE can not be converted to a Timestamp",
		`{"Since":"0000-12-31T00:00:00Z"}`: "STRING_VALUE can not be converted to a Timestamp",
		`{"Since":999999999999999999}`:     "NUMBER_VALUE can not be converted to a Timestamp",
		`{"Since":1e999}`:                  "NUMBER_VALUE can not be converted to a Timestamp",
		`{"Since":true}`:                   "TRUE_VALUE can not be converted to a Timestamp",
		`{"Since":{}}`:                     "Start of structure or map found where not expected.",
		`{"Named":[]}`:                     "Start of list found where not expected",
		`{"Named":"x"}`:                    "Expected null",
		`{"Named":{"a":1}}`:                "NUMBER_VALUE can not be converted to a String",
		`{"Large":1.5}`:                    "NUMBER_VALUE can not be converted to a Long",
		`{"Large":9223372036854775808}`:    "NUMBER_VALUE can not be converted to a Long",
		`{"Part":"1"}`:                     "STRING_VALUE can not be converted to a Double",
		`{"Part":1e999}`:                   "NUMBER_VALUE can not be converted to a Double",
		`{"Table":["a"]}`:                  "Expected list or null",
		`{"Table":[[1]]}`:                  "NUMBER_VALUE can not be converted to a String",
	} {
		tree, err := newREST().decode([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		refusal := bind(tree, reflect.ValueOf(new(lookUp)).Elem())
		if refusal == nil || refusal.Code != "SerializationException" || refusal.Message != want {
			t.Errorf("%s: got %v, want %q", body, refusal, want)
		}
	}
}

// A timestamp is the same moment in every form that it may be written in.
func TestTimestampForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := time.UnixMilli(rapid.Int64Range(-62135596800000, 253402300799000).Draw(t, "ms")).UTC()
		seconds, err := json.Marshal(jsonTimestamp(want))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(want.In(time.FixedZone("", rapid.IntRange(-11, 11).Draw(t, "zone")*3600)).Format(time.RFC3339Nano))
		if err != nil {
			t.Fatal(err)
		}
		tagged, err := cbor.Marshal(map[string]any{"Since": cborTimestamp(want)})
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []struct {
			codec codec
			body  []byte
		}{{newREST(), []byte(`{"Since":` + string(seconds) + `}`)}, {newREST(), []byte(`{"Since":` + string(text) + `}`)}, {newCBOR(), tagged}} {
			if strings.Contains(string(form.body), `:"-`) || want.Year() < 2 || want.Year() > 9998 {
				continue // a zone brings it out of the years that RFC 3339 writes
			}
			tree, err := form.codec.decode(form.body)
			if err != nil {
				t.Fatalf("%s: %v", form.body, err)
			}
			in := new(lookUp)
			if refusal := bind(tree, reflect.ValueOf(in).Elem()); refusal != nil || math.Abs(float64(in.Since.Sub(want))) > float64(time.Millisecond) {
				t.Fatalf("%s is %v, want %v (%v)", form.body, in.Since, want, refusal)
			}
		}
	})
}

func TestOutputOfREST(t *testing.T) {
	w := httptest.NewRecorder()
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	newREST().output(w, &found{Names: map[string]string{"a": "<b>"}, Part: -1, Large: math.MaxInt64, Table: [][]string{{}, {"x"}}, Times: []time.Time{at, at.Add(time.Millisecond)}, In: &lookUp{}})
	want := `{"In":{},"Large":9223372036854775807,"Names":{"a":"<b>"},"Part":-1,"Table":[[],["x"]],"Times":[1795305600,1795305600.001]}` + "\n"
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Error(diff)
	}
}

// What a path has for a label is what a client put there, and one path has one
// reading.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/v9/things/abc", "/v9/things/abc/parts/", "/v9/things/%2e%2e", "/v9/things/..", "/v9/things/a%2fb", "/v9//things/x", "/v9/things/%ff", ""} {
		f.Add(seed)
	}
	s := restService()
	f.Fuzz(func(t *testing.T, path string) {
		op, labels := s.operationAt("GET", path)
		if op == nil {
			return
		}
		again := strings.Replace(op.Path, "{Id}", url.PathEscape(labels["Id"]), 1)
		if labels["Id"] == "" || !utf8.ValidString(labels["Id"]) || !strings.HasPrefix(path, "/v9/things/") || strings.Count(again, "/") != strings.Count(strings.TrimSuffix(path, "/"), "/") {
			t.Errorf("%q has %q for its label", path, labels["Id"])
		}
		// A label of nothing but dots is only there when its dots were escaped.
		if labels["Id"] == "." || labels["Id"] == ".." {
			if !strings.Contains(strings.ToLower(path), "%2e") {
				t.Errorf("%q is read as one with a label", path)
			}
		} else if same, l := s.operationAt("GET", again); same != op || l["Id"] != labels["Id"] {
			t.Errorf("%q, written again as %q, has %q", path, again, l["Id"])
		}
	})
}
