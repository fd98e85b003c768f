package wire

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

// everything has each kind of member and each constraint.
type everything struct {
	Name   *string    `required:"true" length:"1..5" pattern:"^[a-z]+$"`
	Secret *string    `required:"true" length:"3..6" sensitive:"true"`
	Kind   *string    `enum:"CSV,JSON"`
	Size   *int32     `range:"1..50"`
	On     *bool      ``
	Tags   []*element `length:"0..2"`
	Keys   []*string  `length:"..2" elementlength:"1..3" elementpattern:"^[a-z]*$"`
	Inner  *inner     `required:"true"`
	At     *time.Time
	Names  map[string]*string `length:"1..2"`
	Large  *int64             `range:"..9000000000"`
	Part   *float64
	Table  [][]*string
}

type element struct {
	Key *string `required:"true" length:"1..3"`
}

type inner struct {
	Type *string `required:"true"`
}

func operationOnEverything() *Service {
	return &Service{Operations: []Operation{Op("Everything", false,
		func(context.Context, Caller, *everything) (Access, error) { return Access{}, nil },
		func(context.Context, Caller, *everything) (*everything, error) { return nil, nil },
	)}}
}

// input decodes a JSON body as the edge does.
func input(t *testing.T, body string) (*everything, *Error) {
	t.Helper()
	tree, err := newJSON10().decode([]byte(body))
	if err != nil {
		t.Fatalf("decode %s: %v", body, err)
	}
	in := new(everything)
	if refusal := bind(tree, reflect.ValueOf(in).Elem()); refusal != nil {
		return nil, refusal
	}
	return in, check(in, patternsOf([]*Service{operationOnEverything()}), false)
}

const fine = `"Name":"abc","Secret":"topsec","Inner":{"Type":"x"}`

func TestConstraints(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"nothing wrong", `{` + fine + `}`, ""},
		{"everything there", `{` + fine + `,"Kind":"CSV","Size":50,"On":true,"Tags":[{"Key":"abc"}],"Keys":["a","b"],"At":1.5,"Names":{"a":"b"},"Large":9000000000,"Part":0.5,"Table":[["a"],[]]}`, ""},
		{"unknown members", `{` + fine + `,"Other":{"a":[1]}}`, ""},
		{"null is absent", `{` + fine + `,"Kind":null}`, ""},
		{"nothing there", `{}`, "3 validation errors detected: " +
			"Value null at 'name' failed to satisfy constraint: Member must not be null; " +
			"Value at 'secret' failed to satisfy constraint: Member must not be null; " +
			"Value null at 'inner' failed to satisfy constraint: Member must not be null"},
		{"too short breaks the pattern too", `{` + strings.Replace(fine, `"abc"`, `""`, 1) + `}`, "2 validation errors detected: " +
			"Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1; " +
			"Value '' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-z]+$"},
		{"too long", `{` + strings.Replace(fine, `"abc"`, `"abcdef"`, 1) + `}`, "1 validation error detected: " +
			"Value 'abcdef' at 'name' failed to satisfy constraint: Member must have length less than or equal to 5"},
		{"a final newline is no match", `{` + strings.Replace(fine, `"abc"`, `"abc\n"`, 1) + `}`, "1 validation error detected: " +
			"Value 'abc\n' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-z]+$"},
		{"length counts characters", `{` + strings.Replace(fine, `"topsec"`, `"éééééé"`, 1) + `}`, ""},
		{"sensitive is not echoed", `{` + strings.Replace(fine, `"topsec"`, `"hidden!"`, 1) + `}`, "1 validation error detected: " +
			"Value at 'secret' failed to satisfy constraint: Member must have length less than or equal to 6"},
		{"enum", `{` + fine + `,"Kind":"XML"}`, "1 validation error detected: " +
			"Value 'XML' at 'kind' failed to satisfy constraint: Member must satisfy enum value set: [CSV, JSON]"},
		{"below the range", `{` + fine + `,"Size":0}`, "1 validation error detected: " +
			"Value '0' at 'size' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"above the range", `{` + fine + `,"Size":51}`, "1 validation error detected: " +
			"Value '51' at 'size' failed to satisfy constraint: Member must have value less than or equal to 50"},
		{"a large number", `{` + fine + `,"Large":9000000001}`, "1 validation error detected: " +
			"Value '9000000001' at 'large' failed to satisfy constraint: Member must have value less than or equal to 9000000000"},
		{"too many names", `{` + fine + `,"Names":{"a":"","b":"","c":""}}`, "1 validation error detected: " +
			"Value at 'names' failed to satisfy constraint: Member must have length less than or equal to 2"},
		{"within an element", `{` + fine + `,"Tags":[{"Key":"a"},{"Key":"abcd"}]}`, "1 validation error detected: " +
			"Value 'abcd' at 'tags.2.member.key' failed to satisfy constraint: Member must have length less than or equal to 3"},
		{"missing in an element", `{` + fine + `,"Tags":[{}]}`, "1 validation error detected: " +
			"Value null at 'tags.1.member.key' failed to satisfy constraint: Member must not be null"},
		{"a null element", `{` + fine + `,"Tags":[null]}`, "1 validation error detected: " +
			"Value null at 'tags.1.member' failed to satisfy constraint: Member must not be null"},
		{"too many elements", `{` + fine + `,"Tags":[{"Key":"a"},{"Key":"b"},{"Key":"c"}]}`, "1 validation error detected: " +
			"Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 2"},
		{"too many strings", `{` + fine + `,"Keys":["a","b","c"]}`, "1 validation error detected: " +
			"Value '[a, b, c]' at 'keys' failed to satisfy constraint: Member must have length less than or equal to 2"},
		{"a bad string in a list", `{` + fine + `,"Keys":["A"]}`, "1 validation error detected: " +
			"Value 'A' at 'keys.1.member' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-z]*$"},
		{"within a structure", `{` + strings.Replace(fine, `{"Type":"x"}`, `{}`, 1) + `}`, "1 validation error detected: " +
			"Value null at 'inner.type' failed to satisfy constraint: Member must not be null"},
	} {
		_, refusal := input(t, c.body)
		got := ""
		if refusal != nil {
			if refusal.Code != "ValidationException" {
				t.Errorf("%s: %v", c.name, refusal)
			}
			got = refusal.Message
		}
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestWrongTypes(t *testing.T) {
	for body, want := range map[string]string{
		`[]`:                             "Start of list found where not expected",
		`"text"`:                         "Expected null",
		`{"Name":1}`:                     "NUMBER_VALUE can not be converted to a String",
		`{"Name":true}`:                  "TRUE_VALUE can not be converted to a String",
		`{"Name":false}`:                 "FALSE_VALUE can not be converted to a String",
		`{"Name":["a"]}`:                 "Start of list found where not expected",
		`{"Name":{"a":1}}`:               "Start of structure or map found where not expected.",
		`{"Size":"1"}`:                   "STRING_VALUE can not be converted to an Integer",
		`{"Size":1.5}`:                   "NUMBER_VALUE can not be converted to an Integer",
		`{"Size":2147483648}`:            "NUMBER_VALUE can not be converted to an Integer",
		`{"Size":1e99999}`:               "NUMBER_VALUE can not be converted to an Integer",
		`{"Size":-99999999999999999999}`: "NUMBER_VALUE can not be converted to an Integer",
		`{"On":"yes"}`:                   "STRING_VALUE can not be converted to an Boolean",
		`{"Tags":{}}`:                    "Start of structure or map found where not expected.",
		`{"Tags":"a"}`:                   "Expected list or null",
		`{"Tags":["a"]}`:                 "Expected null",
		`{"Inner":[]}`:                   "Start of list found where not expected",
	} {
		_, refusal := input(t, body)
		if refusal == nil || refusal.Code != "SerializationException" || refusal.Message != want {
			t.Errorf("%s: got %v, want %q", body, refusal, want)
		}
	}
}

func TestMalformedBodies(t *testing.T) {
	for _, body := range []string{`{`, `{}{}`, `{"a":}`, "\x00", "{\"a\":\"\xff\"}", `{"a":1}x`, strings.Repeat("[", 20000)} {
		if v, err := newJSON10().decode([]byte(body)); err == nil {
			t.Errorf("JSON %.20q: decoded as %v", body, v)
		}
	}
	for _, body := range []string{"a1", "a16161", "ff", "a1616101" + "00", "a2616101616102", "61ff", strings.Repeat("81", 100) + "01", "9b7fffffffffffffff"} {
		b, err := hex.DecodeString(body)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := newCBOR().decode(b); err == nil {
			t.Errorf("CBOR %.20q: decoded as %v", body, v)
		}
	}
	for name, c := range map[string]codec{"JSON": newJSON10(), "CBOR": newCBOR()} {
		if v, err := c.decode(nil); v != nil || err != nil {
			t.Errorf("%s: an empty body is %v, %v", name, v, err)
		}
	}
}

// What CBOR may say in several ways is read in each of them.
func TestCBORForms(t *testing.T) {
	for name, body := range map[string]string{
		"definite":   "a1" + "6453697a65" + "05",
		"indefinite": "bf" + "7f" + "6253697a65"[:6] + "627a65" + "ff" + "05" + "ff",
		"wide":       "b90001" + "6453697a65" + "1b0000000000000005",
	} {
		b, err := hex.DecodeString(body)
		if err != nil {
			t.Fatal(err)
		}
		v, err := newCBOR().decode(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		in := new(everything)
		if refusal := bind(v, reflect.ValueOf(in).Elem()); refusal != nil || in.Size == nil || *in.Size != 5 {
			t.Errorf("%s: %v, %v", name, in, refusal)
		}
	}
}

type answer struct {
	Text    string
	None    *string
	Some    *int32
	At      time.Time
	Never   *time.Time
	List    []answer
	NoList  []string
	Untaken struct{ A string }
}

func TestOutput(t *testing.T) {
	n := int32(7)
	at := time.Date(2026, 11, 22, 1, 2, 3, 456_000_000, time.UTC)
	out := &answer{Text: "a<b>&\"é", Some: &n, At: at, List: []answer{}}

	w := httptest.NewRecorder()
	newJSON10().output(w, out)
	want := `{"At":1795309323.456,"List":[],"Some":7,"Text":"a<b>&\"é","Untaken":{"A":""}}` + "\n"
	if got := w.Body.String(); got != want || w.Code != 200 || w.Header().Get("Content-Type") != "application/x-amz-json-1.0" {
		t.Errorf("JSON: %d %v\n got %s\nwant %s", w.Code, w.Header(), got, want)
	}

	w = httptest.NewRecorder()
	newCBOR().output(w, out)
	var got map[string]any
	if err := cbor.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	wantTree := map[string]any{"At": at, "List": []any{}, "Some": uint64(7), "Text": "a<b>&\"é", "Untaken": map[any]any{"A": ""}}
	if moment, ok := got["At"].(time.Time); ok {
		got["At"] = moment.UTC().Round(time.Millisecond)
	}
	if diff := cmp.Diff(wantTree, got); diff != "" || w.Header().Get("Smithy-Protocol") != "rpc-v2-cbor" || w.Header().Get("Content-Type") != "application/cbor" {
		t.Errorf("CBOR: %v\n%s", w.Header(), diff)
	}
}

func TestErrorStatuses(t *testing.T) {
	s := &Service{Namespace: "com.example", Errors: map[string]int{"ConflictException": 409, "ThrottlingException": 429, "AccessDeniedException": 403}}
	for _, c := range []struct {
		code         string
		json10, cbor int
	}{
		{"ConflictException", 400, 409},
		{"ThrottlingException", 400, 429},
		{"AccessDeniedException", 400, 403},
		{"SerializationException", 400, 400},
		{"InvalidSignatureException", 400, 403},
		{"UnknownOperationException", 400, 404},
		{"RequestEntityTooLargeException", 413, 413},
		{"InternalFailure", 500, 500},
		{"ServiceUnavailable", 503, 503},
	} {
		w := httptest.NewRecorder()
		newJSON10().refuse(w, s, Errorf(c.code, "why"))
		var body map[string]string
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		if w.Code != c.json10 {
			t.Errorf("JSON %s: status %d, want %d", c.code, w.Code, c.json10)
		}
		if !strings.HasSuffix(body["__type"], "#"+c.code) || body["Message"]+body["message"] != "why" {
			t.Errorf("JSON %s: body %v", c.code, body)
		}
		w = httptest.NewRecorder()
		newCBOR().refuse(w, s, Errorf(c.code, "why"))
		if w.Code != c.cbor {
			t.Errorf("CBOR %s: status %d, want %d", c.code, w.Code, c.cbor)
		}
	}
}

func TestThrottle(t *testing.T) {
	now := time.Unix(1e9, 0)
	throttle := NewThrottle(2, 3)
	op, other := &Operation{Name: "Op"}, &Operation{Name: "Other"}
	for i, want := range []bool{true, true, true, false} {
		if got := throttle.allow("a", op, now); got != want {
			t.Errorf("request %d: %v", i, got)
		}
	}
	if !throttle.allow("b", op, now) || !throttle.allow("a", other, now) {
		t.Error("another account or operation is not touched")
	}
	if now = now.Add(500 * time.Millisecond); !throttle.allow("a", op, now) || throttle.allow("a", op, now) {
		t.Error("half a second brings one more")
	}
	for range 1000 {
		if !NewThrottle(0, 0).allow("a", op, now) {
			t.Fatal("0 is no limit")
		}
	}
}

// An operation's own limit holds whatever the edge allows.
func TestOwnLimit(t *testing.T) {
	now := time.Unix(1e9, 0)
	op := Operation{Name: "Op"}.AtMost(4)
	for name, throttle := range map[string]*Throttle{"no limit": NewThrottle(0, 0), "1 a second": NewThrottle(1, 1), "1000 a second": NewThrottle(1000, 1000)} {
		allowed := 0
		for range 10 {
			if throttle.allow("a", &op, now) {
				allowed++
			}
		}
		if allowed != 4 {
			t.Errorf("%s: %d calls were allowed at once, want 4", name, allowed)
		}
		if later := now.Add(250 * time.Millisecond); !throttle.allow("a", &op, later) || throttle.allow("a", &op, later) {
			t.Errorf("%s: a quarter of a second brings one more", name)
		}
		if !throttle.allow("b", &op, now) {
			t.Errorf("%s: another account is not touched", name)
		}
	}
}

func fuzzDecode(f *testing.F, c codec) {
	patterns := patternsOf([]*Service{operationOnEverything()})
	f.Fuzz(func(t *testing.T, body []byte) {
		tree, err := c.decode(body)
		if err != nil {
			return
		}
		in := new(everything)
		if refusal := bind(tree, reflect.ValueOf(in).Elem()); refusal != nil {
			return
		}
		unknownMember(tree, reflect.TypeFor[everything]())
		if refusal := check(in, patterns, false); refusal != nil {
			if in.Secret != nil && len(*in.Secret) > 8 && strings.Contains(refusal.Message, *in.Secret) &&
				(in.Name == nil || !strings.Contains(*in.Name, *in.Secret)) && in.Kind == nil && in.Keys == nil && in.Tags == nil {
				t.Errorf("a sensitive value is echoed: %s", refusal.Message)
			}
			return
		}
		// What passes satisfies what the tags say.
		if in.Name == nil || len(*in.Name) < 1 || len(*in.Name) > 5 || in.Inner == nil || in.Size != nil && (*in.Size < 1 || *in.Size > 50) ||
			in.Names != nil && (len(in.Names) < 1 || len(in.Names) > 2) || in.At != nil && (in.At.Year() < 1 || in.At.Year() > 9999) {
			t.Errorf("passed: %+v", in)
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{}`, `{` + fine + `}`, `{"Size":1e3}`, `{"Tags":[{"Key":"a"},null],"Keys":["a"]}`, `{"Name":"\ud800"}`,
		`{"At":1795309323.456,"Names":{"a":"b"},"Large":9223372036854775807,"Part":1e-3,"Table":[["a"],[null]]}`, `{"At":"2026-11-22T01:02:03+01:00","Names":{}}`} {
		f.Add([]byte(seed))
	}
	fuzzDecode(f, newJSON10())
}

func FuzzCBOR(f *testing.F) {
	for _, seed := range []any{
		map[string]any{},
		map[string]any{"Name": "abc", "Secret": "topsec", "Inner": map[string]any{"Type": "x"}},
		map[string]any{"Size": 5, "On": true, "Tags": []any{map[string]any{"Key": "a"}, nil}, "Keys": []string{"a"}},
		map[string]any{"Name": cbor.Tag{Number: 1, Content: 1.5}, "At": cbor.Tag{Number: 1, Content: 1.5}},
		map[string]any{"At": cbor.Tag{Number: 0, Content: "2026-11-22T01:02:03Z"}, "Names": map[string]any{"a": "b"}, "Table": []any{[]string{"a"}}, "Part": 0.5, "Large": -1},
	} {
		b, err := cbor.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	fuzzDecode(f, newCBOR())
}
