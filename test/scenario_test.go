package test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"
)

// scenario.json is one conversation with the service, held with three clients:
// the SDK for Go (JSON 1.0), and the SDK for JavaScript in JSON and in CBOR. Each
// client gets what the file wants, and all three get the same.

type step struct {
	About string

	Call   string
	In     map[string]any
	As     string            // whose key: root, limited, elsewhere, unknown, forged
	At     string            // which server: main, aws, slow
	Times  int               // as often, with ${i} counting
	Until  int               // called again until it is refused, at most so often
	Save   map[string]string // variable: member of the output
	Want   map[string]any    // members that the output has, among others
	Absent []string          // members that it has not
	Count  []any             // a list and its length

	Error   string
	Status  []int // over JSON, over CBOR
	Message string
	// Volatile steps need not be the same with every client.
	Volatile bool

	Upload  string
	Body    string
	Refused int

	Wait string
}

type outcome struct {
	Output  map[string]any
	Error   string
	Message string
	Status  int
}

// client is one SDK in one protocol.
type client interface {
	call(endpoint string, c aws.Credentials, operation string, in map[string]any) (outcome, error)
}

type goClient struct{}

func (goClient) call(endpoint string, c aws.Credentials, operation string, in map[string]any) (outcome, error) {
	sdk := mailmanager.New(mailmanager.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
	})
	method := reflect.ValueOf(sdk).MethodByName(operation)
	input := reflect.New(method.Type().In(1).Elem())
	text, err := json.Marshal(in)
	if err != nil {
		return outcome{}, err
	}
	if err := json.Unmarshal(text, input.Interface()); err != nil {
		return outcome{}, err
	}
	results := method.Call([]reflect.Value{reflect.ValueOf(context.Background()), input})
	if err, failed := results[1].Interface().(error); failed {
		var api smithy.APIError
		var response *smithyhttp.ResponseError
		if !errors.As(err, &api) || !errors.As(err, &response) {
			return outcome{}, err
		}
		return outcome{Error: api.ErrorCode(), Message: api.ErrorMessage(), Status: response.HTTPStatusCode()}, nil
	}
	if text, err = json.Marshal(results[0].Interface()); err != nil {
		return outcome{}, err
	}
	var o outcome
	err = json.Unmarshal(text, &o.Output)
	delete(o.Output, "ResultMetadata")
	return o, err
}

// jsClient is the SDK for JavaScript in a process of its own (js/client.mjs).
type jsClient struct {
	in  io.Writer
	out *bufio.Reader
}

func newJSClient(t *testing.T, protocol string) jsClient {
	if err := installModules(); err != nil {
		t.Fatal(err)
	}
	node := exec.Command("node", "client.mjs")
	node.Dir = modules
	node.Env = append(os.Environ(), "PROTOCOL="+protocol)
	node.Stderr = os.Stderr
	in, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		node.Wait()
	})
	return jsClient{in, bufio.NewReader(out)}
}

func (c jsClient) call(endpoint string, credentials aws.Credentials, operation string, in map[string]any) (o outcome, err error) {
	line, err := json.Marshal(map[string]any{"operation": operation, "input": in, "endpoint": endpoint,
		"credentials": map[string]string{"accessKeyId": credentials.AccessKeyID, "secretAccessKey": credentials.SecretAccessKey}})
	if err != nil {
		return o, err
	}
	if _, err := fmt.Fprintf(c.in, "%s\n", line); err != nil {
		return o, err
	}
	answer, err := c.out.ReadBytes('\n')
	if err != nil {
		return o, err
	}
	return o, json.Unmarshal(answer, &o)
}

func TestScenario(t *testing.T) {
	text, err := os.ReadFile("scenario.json")
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	if err := json.Unmarshal(text, &steps); err != nil {
		t.Fatal(err)
	}
	transcripts := map[string][]string{}
	for _, c := range []struct {
		name string
		cbor bool
	}{{"go", false}, {"js-json", false}, {"js-cbor", true}} {
		t.Run(c.name, func(t *testing.T) {
			var sdk client = goClient{}
			if c.name != "go" {
				sdk = newJSClient(t, strings.TrimPrefix(c.name, "js-"))
			}
			transcripts[c.name] = (&scene{t: t, client: sdk, cbor: c.cbor}).play(steps)
		})
	}
	for _, name := range []string{"js-json", "js-cbor"} {
		if diff := cmp.Diff(transcripts["go"], transcripts[name]); diff != "" {
			t.Errorf("the outcome differs between go and %s:\n%s", name, diff)
		}
	}
}

// scene is one client's run through the scenario.
type scene struct {
	t       *testing.T
	client  client
	cbor    bool
	servers map[string]*server
	keys    map[string]aws.Credentials
	values  map[string]string
}

const limitedPolicy = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "ses:CreateConfigurationSet", "Resource": "*"}}`

func (s *scene) play(steps []step) (transcript []string) {
	s.servers = map[string]*server{
		"main": start(s.t), "aws": start(s.t, "--quotas", "aws", "--api-rate", "0"), "slow": start(s.t, "--api-rate", "1"),
	}
	root := aws.Credentials{AccessKeyID: rootID, SecretAccessKey: rootSecret}
	s.keys = map[string]aws.Credentials{
		"root":      root,
		"limited":   s.servers["main"].newKey("000000000000", "limited", limitedPolicy),
		"elsewhere": s.servers["main"].newKey("111111111111", "elsewhere", ""),
		"unknown":   {AccessKeyID: "UNKNOWN", SecretAccessKey: rootSecret},
		"forged":    {AccessKeyID: rootID, SecretAccessKey: "another secret"},
	}
	s.values = map[string]string{}
	for i, st := range steps {
		at := fmt.Sprintf("step %d (%s%s%s)", i, st.Call, st.Upload, st.Wait)
		switch {
		case st.Upload != "":
			s.upload(at, st)
		case st.Wait != "":
			s.wait(at, st)
		case st.Call != "":
			var o outcome
			for n := range max(1, st.Times) {
				s.values["i"] = fmt.Sprint(n)
				o = s.call(at, st)
				s.check(at, st, o)
			}
			if !st.Volatile {
				transcript = append(transcript, at+": "+s.normal(o))
			}
		}
	}
	return transcript
}

func (s *scene) server(st step) *server {
	if st.At == "" {
		return s.servers["main"]
	}
	return s.servers[st.At]
}

func (s *scene) call(at string, st step) (o outcome) {
	who := st.As
	if who == "" {
		who = "root"
	}
	for n := range max(1, st.Until) {
		if st.Until > 0 {
			s.values["i"] = fmt.Sprint(n)
		}
		in, _ := s.fill(st.In).(map[string]any)
		var err error
		if o, err = s.client.call(s.server(st).url, s.keys[who], st.Call, in); err != nil {
			s.t.Fatalf("%s: %v", at, err)
		}
		if st.Until > 0 && o.Error == st.Error {
			break
		}
	}
	return o
}

// fill puts the saved values into an input.
func (s *scene) fill(v any) any {
	switch v := v.(type) {
	case string:
		if v == "200 tags" {
			var tags []any
			for i := range 200 {
				tags = append(tags, map[string]any{"Key": fmt.Sprintf("key-%d", i), "Value": "v"})
			}
			return tags
		}
		for name, value := range s.values {
			v = strings.ReplaceAll(v, "${"+name+"}", value)
		}
		return v
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = s.fill(v[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			out[k] = s.fill(v[k])
		}
		return out
	}
	return v
}

func (s *scene) check(at string, st step, o outcome) {
	s.t.Helper()
	if o.Error != st.Error {
		s.t.Fatalf("%s: got error %q (%s), want %q", at, o.Error, o.Message, st.Error)
	}
	if st.Error != "" {
		status := st.Status[0]
		if s.cbor {
			status = st.Status[1]
		}
		if o.Status != status || o.Message == "" || st.Message != "" && o.Message != st.Message {
			s.t.Errorf("%s: got %d %q, want %d %q", at, o.Status, o.Message, status, st.Message)
		}
		return
	}
	for member, want := range st.Want {
		s.has(at+"."+member, o.Output[member], s.fill(want))
	}
	for _, member := range st.Absent {
		if o.Output[member] != nil {
			s.t.Errorf("%s: has %s", at, member)
		}
	}
	if len(st.Count) == 2 {
		list, _ := o.Output[st.Count[0].(string)].([]any)
		if list == nil || len(list) != int(st.Count[1].(float64)) {
			s.t.Errorf("%s: %v has %d elements, want %v", at, st.Count[0], len(list), st.Count[1])
		}
	}
	for name, member := range st.Save {
		value, ok := o.Output[member].(string)
		if !ok {
			s.t.Fatalf("%s: the output has no %s: %v", at, member, o.Output)
		}
		s.values[name] = value
	}
}

// has checks that got is what is wanted; structures may have more members.
func (s *scene) has(at string, got, want any) {
	s.t.Helper()
	switch want := want.(type) {
	case map[string]any:
		members, ok := got.(map[string]any)
		if !ok {
			s.t.Errorf("%s: got %v, want a structure", at, got)
			return
		}
		for k, v := range want {
			s.has(at+"."+k, members[k], v)
		}
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			s.t.Errorf("%s: got %v, want %v", at, got, want)
			return
		}
		for i := range want {
			s.has(fmt.Sprintf("%s[%d]", at, i), list[i], want[i])
		}
	case string:
		text, _ := got.(string)
		ok := text == want
		switch {
		case want == "TIME":
			when, err := time.Parse(time.RFC3339, text)
			ok = err == nil && time.Since(when).Abs() < 5*time.Minute
		case want == "URL":
			ok = strings.HasPrefix(text, s.servers["main"].url+"/objects/imports/job-") && strings.Contains(text, "X-Amz-Signature=")
		case strings.HasPrefix(want, "~"):
			ok = strings.Contains(text, want[1:])
		}
		if !ok {
			s.t.Errorf("%s: got %q, want %q", at, got, want)
		}
	default:
		if !reflect.DeepEqual(got, want) {
			s.t.Errorf("%s: got %v, want %v", at, got, want)
		}
	}
}

var (
	someID   = regexp.MustCompile(`(al|job)-[0-9a-z]{26}`)
	someTime = regexp.MustCompile(`"\d{4}-\d\d-\d\dT[0-9:.]+Z"`)
	someURL  = regexp.MustCompile(`"http://127[^"]*"`)
	someText = regexp.MustCompile(`"NextToken":"[^"]*"`)
)

// normal is an outcome without what differs from run to run, and without the
// status, which the protocols differ in.
func (s *scene) normal(o outcome) string {
	text, err := json.Marshal([]any{withoutNulls(o.Output), o.Error, o.Message})
	if err != nil {
		s.t.Fatal(err)
	}
	line := string(text)
	for _, r := range []struct {
		re *regexp.Regexp
		by string
	}{{someURL, `"URL"`}, {someID, "$1-ID"}, {someTime, `"TIME"`}, {someText, `"NextToken":"TOKEN"`}} {
		line = r.re.ReplaceAllString(line, r.by)
	}
	return line
}

func withoutNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			if v[k] != nil {
				out[k] = withoutNulls(v[k])
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = withoutNulls(v[i])
		}
		return out
	}
	return v
}

// addresses is a CSV file of n different addresses.
func addresses(n int) string {
	var b strings.Builder
	b.WriteString("address\n")
	for i := range n {
		fmt.Fprintf(&b, "user%d@example%d.com\n", i, i%1000)
	}
	return b.String()
}

func (s *scene) upload(at string, st step) {
	s.t.Helper()
	body := st.Body
	var n int
	if _, err := fmt.Sscanf(body, "%d addresses", &n); err == nil {
		body = addresses(n)
	}
	status, text, err := put(context.Background(), s.fill(st.Upload).(string), strings.NewReader(body))
	want := 200
	if st.Refused != 0 {
		want = st.Refused
	}
	if err != nil || status != want {
		s.t.Fatalf("%s: %d %v\n%s", at, status, err, text)
	}
}

func (s *scene) wait(at string, st step) {
	s.t.Helper()
	job := s.fill(st.Wait).(string)
	waitForJob(s.t, s.server(st).client(), job, time.Minute)
}

// waitForJob polls until a job has ended, as any client must.
func waitForJob(t testing.TB, sdk *mailmanager.Client, job string, most time.Duration) *mailmanager.GetAddressListImportJobOutput {
	t.Helper()
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		j, err := sdk.GetAddressListImportJob(context.Background(), &mailmanager.GetAddressListImportJobInput{JobId: &job})
		if err != nil {
			t.Fatal(err)
		}
		if j.Status != "CREATED" && j.Status != "PROCESSING" {
			return j
		}
	}
	t.Fatalf("job %s did not end within %v", job, most)
	return nil
}
