package mailmanager

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/fxamacker/cbor/v2"

	"sesame/internal/iam"
	"sesame/internal/sigv4"
	"sesame/internal/wire"
)

// testEdge serves the API's table to one administrator. Input that is refused
// for its form never reaches the domain, so there is none.
func testEdge(t *testing.T) *httptest.Server {
	policy, err := iam.Parse([]byte(iam.AdministratorPolicy))
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	edge := &wire.Edge{
		Services: []*wire.Service{(&API{Region: "us-east-1"}).Service()}, Sesame: &wire.Service{},
		Verifier: sigv4.Verifier{Scope: sigv4.Scope{Region: "us-east-1", Service: "ses"}, MaxBody: 1 << 20, Skew: 15 * time.Minute, Now: time.Now},
		Key: func(_ context.Context, id string) (iam.Key, *iam.Policy, bool, error) {
			switch id {
			case "NOBODY":
				return iam.Key{}, nil, false, nil
			case "PANIC":
				panic("while a key is looked up")
			}
			return iam.Key{ID: id, Account: "000000000000", Name: "test", Secret: "secret"}, policy, true, nil
		},
		Throttle: wire.NewThrottle(0, 0), MaxReading: 10, MaxInFlight: 10, Now: time.Now, NewID: func() string { return "request-1" },
		Log: quiet, Audit: quiet, Observe: func(string, string, time.Duration) {},
	}
	s := httptest.NewServer(edge.Handler())
	t.Cleanup(s.Close)
	return s
}

// send sends a signed request and gives the answer.
func send(t *testing.T, url string, headers map[string]string, body []byte) (status int, header http.Header, answer []byte) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	digest := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: "KEY", SecretAccessKey: "secret"}
	if err := v4.NewSigner().SignHTTP(context.Background(), credentials, r, hex.EncodeToString(digest[:]), "ses", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	answer, err = io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.StatusCode, w.Header, answer
}

func sendJSON(t *testing.T, url, operation string, in any) (status int, code, message string) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	status, _, answer := send(t, url, map[string]string{"X-Amz-Target": "MailManagerSvc." + operation, "Content-Type": "application/x-amz-json-1.0"}, body)
	var e map[string]string
	if err := json.Unmarshal(answer, &e); err != nil {
		t.Fatalf("%s: %s", err, answer)
	}
	return status, e["__type"], e["Message"] + e["message"]
}

func sendCBOR(t *testing.T, url, operation string, in any) (status int, code, message string) {
	t.Helper()
	body, err := cbor.Marshal(integers(in))
	if err != nil {
		t.Fatal(err)
	}
	status, header, answer := send(t, url+"/service/MailManagerSvc/operation/"+operation,
		map[string]string{"Smithy-Protocol": "rpc-v2-cbor", "Content-Type": "application/cbor", "Accept": "application/cbor"}, body)
	if header.Get("Smithy-Protocol") != "rpc-v2-cbor" {
		t.Errorf("%s: the answer has no Smithy-Protocol", operation)
	}
	var e map[string]string
	if err := cbor.Unmarshal(answer, &e); err != nil {
		t.Fatalf("%s: %x", err, answer)
	}
	return status, e["__type"], e["Message"] + e["message"]
}

// integers makes whole numbers, which JSON decodes as floats, integers again.
func integers(v any) any {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) {
			return int64(v)
		}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = integers(v[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			out[k] = integers(v[k])
		}
		return out
	}
	return v
}

type constraintCase struct {
	Operation, Member string
	Input             any
	Code, Message     string
}

// testdata/constraints.jsonl has, for every member of every operation's input,
// a value for each way to break each of its constraints, and the message.
func TestConstraintMessages(t *testing.T) {
	f, err := os.Open("testdata/constraints.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := testEdge(t)
	covered := map[string]int{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var c constraintCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		covered[c.Operation+" "+c.Member]++
		for protocol, send := range map[string]func(*testing.T, string, string, any) (int, string, string){"JSON": sendJSON, "CBOR": sendCBOR} {
			status, code, message := send(t, s.URL, c.Operation, c.Input)
			if status != 400 || !strings.HasSuffix(code, "#"+c.Code) || message != c.Message {
				t.Errorf("line %d: %s %s over %s:\n got %d %s %.300s\nwant 400 %s %.300s", n, c.Operation, c.Member, protocol, status, code, message, c.Code, c.Message)
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	for _, op := range (&API{}).Service().Operations {
		for _, member := range members(op.Input, "") {
			if covered[op.Name+" "+member] < 2 {
				t.Errorf("%s: %s has %d cases", op.Name, member, covered[op.Name+" "+member])
			}
		}
	}
}

// members gives the paths of every member of an input.
func members(t reflect.Type, at string) (paths []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		path := at + strings.ToLower(f.Name[:1]) + f.Name[1:]
		paths = append(paths, path)
		element, step := f.Type.Elem(), "."
		if f.Type.Kind() == reflect.Slice {
			element, step = element.Elem(), ".1.member."
		}
		if element.Kind() == reflect.Struct {
			paths = append(paths, members(element, path+step)...)
		}
	}
	return paths
}

func TestRouting(t *testing.T) {
	s := testEdge(t)
	json10 := map[string]string{"X-Amz-Target": "MailManagerSvc.GetAddressList", "Content-Type": "application/x-amz-json-1.0"}
	rpc := map[string]string{"Smithy-Protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}
	missing := "1 validation error detected: Value null at 'addressListId' failed to satisfy constraint: Member must not be null"
	for _, c := range []struct {
		name, path string
		headers    map[string]string
		status     int
		want       string
	}{
		{"JSON", "/", json10, 400, missing},
		{"CBOR", "/service/MailManagerSvc/operation/GetAddressList", rpc, 400, missing},
		{"CBOR, prefix", "/some/prefix/service/MailManagerSvc/operation/GetAddressList", rpc, 400, missing},
		{"CBOR, absolute service", "/service/com.amazonaws.mailmanager.MailManagerSvc/operation/GetAddressList", rpc, 400, missing},
		{"JSON, other path", "/other", json10, 400, "UnknownOperationException"},
		{"JSON, unknown operation", "/", map[string]string{"X-Amz-Target": "MailManagerSvc.GetRuleSet"}, 400, "UnknownOperationException"},
		{"JSON, other service", "/", map[string]string{"X-Amz-Target": "DynamoDB_20120810.GetItem"}, 400, "UnknownOperationException"},
		{"CBOR, unknown operation", "/service/MailManagerSvc/operation/GetRuleSet", rpc, 404, "UnknownOperationException"},
		{"CBOR, other service", "/service/Other/operation/GetAddressList", rpc, 404, "UnknownOperationException"},
		{"CBOR with a target", "/service/MailManagerSvc/operation/GetAddressList", map[string]string{"Smithy-Protocol": "rpc-v2-cbor", "X-Amz-Target": "MailManagerSvc.GetAddressList"}, 400, "UnknownOperationException"},
		{"no protocol", "/service/MailManagerSvc/operation/GetAddressList", nil, 400, "UnknownOperationException"},
	} {
		status, header, answer := send(t, s.URL+c.path, c.headers, nil)
		if status != c.status || !bytes.Contains(answer, []byte(c.want)) {
			t.Errorf("%s: got %d %q, want %d %q", c.name, status, answer, c.status, c.want)
		}
		if header.Get("X-Amzn-Requestid") != "request-1" {
			t.Errorf("%s: request id %q", c.name, header.Get("X-Amzn-Requestid"))
		}
	}
}

// A message does not grow with what is wrong in a long list.
func TestMessagesAreBounded(t *testing.T) {
	s := testEdge(t)
	elements := make([]map[string]string, 100_000)
	for i := range elements {
		elements[i] = map[string]string{}
	}
	few := []map[string]string{{"Key": strings.Repeat("k", 200_000)}}
	for range 199 {
		few = append(few, map[string]string{})
	}
	for name, tags := range map[string]any{"a list that is too long": elements, "a long value, many violations": few} {
		status, code, message := sendJSON(t, s.URL, "CreateAddressList", map[string]any{"AddressListName": "name", "Tags": tags})
		if status != 400 || !strings.HasSuffix(code, "#ValidationException") || len(message) > 30_000 {
			t.Errorf("%s: %d %s, %d bytes", name, status, code, len(message))
		}
	}
}

// Strangers who announce a body and send none hold no place.
func TestStrangersHoldNoPlace(t *testing.T) {
	s := testEdge(t)
	address := strings.TrimPrefix(s.URL, "http://")
	now := time.Now().UTC()
	for range 30 { // three times as many as may be read at once
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(now.Add(20 * time.Second))
		_, err = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: %s\r\nX-Amz-Target: MailManagerSvc.ListAddressLists\r\nX-Amz-Date: %s\r\nContent-Length: 5\r\n"+
			"Authorization: AWS4-HMAC-SHA256 Credential=NOBODY/%s/us-east-1/ses/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=%064d\r\n\r\n",
			address, now.Format("20060102T150405Z"), now.Format("20060102"), 0)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(answer.Body); !bytes.Contains(text, []byte("UnrecognizedClientException")) {
			t.Fatalf("got %s", text)
		}
	}
	if status, _, message := sendJSON(t, s.URL, "GetAddressList", map[string]any{}); status != 400 || !strings.Contains(message, "addressListId") {
		t.Errorf("meanwhile: %d %s", status, message)
	}
}

// A panic is a 500 of its own request, in its protocol, wherever it happens: the
// edge has no domain behind it, so valid input makes the handlers panic.
func TestPanicsAreAnswered(t *testing.T) {
	s := testEdge(t)
	in := map[string]any{"AddressListId": "al-00000000000000000000000000"}
	for protocol, send := range map[string]func(*testing.T, string, string, any) (int, string, string){"JSON": sendJSON, "CBOR": sendCBOR} {
		if status, code, message := send(t, s.URL, "GetAddressList", in); status != 500 || !strings.HasSuffix(code, "#InternalFailure") || !strings.Contains(message, "request-1") {
			t.Errorf("in a handler, over %s: %d %s %s", protocol, status, code, message)
		}
	}
	r, err := http.NewRequest(http.MethodPost, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "MailManagerSvc.ListAddressLists")
	digest := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: "PANIC", SecretAccessKey: "secret"}, r, hex.EncodeToString(digest[:]), "ses", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	if text, err := io.ReadAll(w.Body); err != nil || w.StatusCode != 500 || !bytes.Contains(text, []byte("#InternalFailure")) {
		t.Errorf("while proving: %d %s %v", w.StatusCode, text, err)
	}
}
