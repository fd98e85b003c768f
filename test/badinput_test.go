package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager"
	"github.com/aws/aws-sdk-go-v2/service/mailmanager/types"
	"github.com/fxamacker/cbor/v2"
)

// Sizes of TestBadInput. Every address in its requests is at hiddenDomain, so
// that one that reaches the log is found there.
const (
	badRequests  = 20_000
	warmUp       = 4_000
	hiddenDomain = "hidden-from-the-log.example"
	badMaxUpload = 64 << 10  // bytes
	maxAPIBody   = 512 << 10 // bytes
)

// TestBadInput sends twenty thousand requests that are wrong in some way. Each
// must be refused in its protocol's own form, without a 5xx; the server must not
// log trouble, nor anything secret, nor grow; and afterwards it must work.
// SESAME_BADINPUT_SEED repeats a run; an error names the request by its number.
func TestBadInput(t *testing.T) {
	n := badRequests
	if testing.Short() {
		n = badRequests / 5
	}
	s := start(t, "--api-rate", "0", "--max-upload", strconv.Itoa(badMaxUpload), "--log-level", "debug")
	b := &badInput{t: t, s: s, seed: seed(t, "SESAME_BADINPUT_SEED"), counts: map[string]int{}, client: &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       20 * time.Second,
	}}
	b.prepare()

	// Connections that say nothing more, for as long as the server bears them.
	var slow sync.WaitGroup
	b.stall(&slow)

	b.send(0, min(warmUp, n/2))
	b.overload()
	goroutines, memory := b.size()
	b.send(min(warmUp, n/2), n)
	slow.Wait()
	b.overload()
	moreGoroutines, moreMemory := b.size()
	t.Logf("answers: %v", b.counts)
	t.Logf("after the warm-up %.0f goroutines and %.0f MB, at the end %.0f and %.0f MB", goroutines, memory/1e6, moreGoroutines, moreMemory/1e6)
	if moreGoroutines > goroutines+20 {
		t.Errorf("goroutines grew from %.0f to %.0f", goroutines, moreGoroutines)
	}
	if moreMemory > 1.5*memory+64e6 {
		t.Errorf("memory grew from %.0f to %.0f MB", memory/1e6, moreMemory/1e6)
	}

	for _, code := range []string{
		"AuthorizationQueryParametersError", "BadDigest", "EntityTooLarge", "IncompleteBody", "InvalidDigest", "MethodNotAllowed", "NoSuchKey", "NotImplemented", "SignatureDoesNotMatch", "SlowDown",
		"IncompleteSignatureException", "InvalidSignatureException", "MalformedHttpRequestException", "MissingAuthenticationTokenException", "RequestEntityTooLargeException", "RequestTimeoutException",
		"SerializationException", "ServiceUnavailable", "UnknownOperationException", "UnrecognizedClientException", "ValidationException",
	} {
		if b.counts[code] == 0 {
			t.Errorf("nothing was answered with %s: is the input still bad in every way?", code)
		}
	}

	// It still serves.
	list := s.importAll(t, "afterwards", types.ImportDataTypeCsv, []byte(addresses(1000)), 1000, 0)
	var out struct{ Matches []struct{ Matched bool } }
	s.ask(t, "MatchAddressList", map[string]any{"AddressListId": list, "Addresses": []string{"user7@example7.com", "user7@example8.com"}}, &out)
	if len(out.Matches) != 2 || !out.Matches[0].Matched || out.Matches[1].Matched {
		t.Errorf("after all the bad input: %+v", out)
	}
	b.checkLog()
}

// badInput is TestBadInput's run.
type badInput struct {
	t      *testing.T
	s      *server
	seed   uint64
	client *http.Client

	list    string   // with some members
	started string   // a job that Start and Stop may be called for
	jobs    []string // that take uploads
	uploads []string // their URLs

	mu     sync.Mutex
	counts map[string]int // answers by code
}

func (b *badInput) prepare() {
	b.t.Helper()
	ctx := context.Background()
	sdk := b.s.client()
	b.list = b.s.importAll(b.t, "list", types.ImportDataTypeCsv, []byte("address\nsomeone@"+hiddenDomain+"\n*."+hiddenDomain+"\n"), 2, 0)
	for i := range 100 {
		job, err := sdk.CreateAddressListImportJob(ctx, &mailmanager.CreateAddressListImportJobInput{
			AddressListId: &b.list, Name: aws.String(fmt.Sprintf("job-%d", i)), ImportDataFormat: &types.ImportDataFormat{ImportDataType: types.ImportDataTypeCsv}})
		if err != nil {
			b.t.Fatal(err)
		}
		if i == 0 {
			b.started = *job.JobId
			continue
		}
		b.jobs = append(b.jobs, *job.JobId)
		b.uploads = append(b.uploads, *job.PreSignedUrl)
	}
}

// send sends the requests with these numbers, eight at a time.
func (b *badInput) send(from, to int) {
	var next atomic.Int64
	next.Store(int64(from))
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(to) && !b.t.Failed(); i = next.Add(1) - 1 {
				g := &generator{badInput: b, Rand: rand.New(rand.NewPCG(b.seed, uint64(i)))}
				b.try(int(i), g.request())
			}
		})
	}
	workers.Wait()
	b.client.CloseIdleConnections()
}

// attempt is one request of the generator.
type attempt struct {
	about string
	http  *http.Request // sent by an HTTP client, unless raw is set
	raw   []byte        // sent as it is
	end   ending        // what is done with the connection after raw
	// may are the answers that are right though no 4xx: 501 and 505 are HTTP's
	// own words for what a server does not know.
	may []int
	// unanswered says that the server may close the connection without an answer.
	unanswered bool
	// notHTTP says that net/http refuses it, in its own form, before Sesame sees it.
	notHTTP bool
	// protocol is the one to be answered in: json, cbor, sesame, s3.
	protocol string
}

type ending int

const (
	keep      ending = iota // wait for the answer
	closeHalf               // say that nothing more comes, and wait for the answer
	reset                   // break off
)

// try sends one attempt and checks its answer.
func (b *badInput) try(number int, a attempt) {
	var answer *http.Response
	var err error
	method := "GET"
	if a.raw != nil {
		answer, err = b.sendRaw(a)
		if at := bytes.IndexByte(a.raw, ' '); at > 0 {
			method = string(a.raw[:at])
		}
	} else {
		method = a.http.Method
		answer, err = b.client.Do(a.http)
	}
	problem := ""
	switch {
	case a.end == reset:
		if answer != nil {
			answer.Body.Close()
		}
	case err != nil && !a.unanswered:
		problem = "no answer: " + err.Error()
	case err == nil:
		problem = b.check(a, method, answer)
	default:
		b.count("closed")
	}
	if problem != "" {
		what := a.raw
		if a.http != nil {
			what = fmt.Appendf(nil, "%s %s %v", a.http.Method, a.http.URL, a.http.Header)
		}
		b.t.Errorf("request %d (%s): %s\n%.600q", number, a.about, problem, what)
	}
}

func (b *badInput) count(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts[what]++
}

// sendRaw writes bytes to a connection of their own and reads an answer.
func (b *badInput) sendRaw(a attempt) (*http.Response, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.s.url, "http://"))
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	defer tcp.Close()
	tcp.SetLinger(0) // thousands of connections must not wait about
	tcp.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := tcp.Write(a.raw); err != nil && !a.unanswered {
		return nil, err
	}
	switch a.end {
	case reset:
		return nil, errors.New("broken off")
	case closeHalf:
		tcp.CloseWrite()
	}
	answer, err := http.ReadResponse(bufio.NewReader(tcp), nil)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, err
}

// check says what is wrong with an answer, or "".
func (b *badInput) check(a attempt, method string, answer *http.Response) string {
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 16<<20))
	if err != nil {
		return "the answer breaks off: " + err.Error()
	}
	said := fmt.Sprintf("%d %v %.300q", answer.StatusCode, answer.Header, body)
	if answer.StatusCode >= 500 && !slices.Contains(a.may, answer.StatusCode) || answer.StatusCode/100 == 3 {
		return said
	}
	if len(body) > 4*maxAPIBody {
		return fmt.Sprintf("the answer has %d bytes", len(body))
	}
	requestID := answer.Header.Get("X-Amzn-Requestid") + answer.Header.Get("X-Amz-Request-Id")
	if requestID == "" {
		if a.notHTTP && answer.StatusCode >= 400 && (len(body) == 0 || strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain")) {
			b.count("not HTTP")
			return ""
		}
		return "no request id: " + said
	}
	if method == http.MethodHead {
		b.count("HEAD")
		return ""
	}
	code, problem := readAnswer(a.protocol, answer.StatusCode, answer.Header, body, requestID)
	b.count(code)
	if problem != "" {
		return problem + ": " + said
	}
	return ""
}

// readAnswer gives an answer's code, "OK" or the error's, and says what in it is
// not in its protocol's form, or "".
func readAnswer(protocol string, status int, header http.Header, body []byte, requestID string) (code, problem string) {
	var err error
	if protocol == "s3" {
		if status == http.StatusOK {
			if len(body) > 0 {
				return "OK", "an upload is answered with a body"
			}
			return "OK", ""
		}
		var refused struct {
			XMLName                            xml.Name
			Code, Message, Resource, RequestId string
		}
		if err = xml.Unmarshal(body, &refused); err != nil || refused.XMLName.Local != "Error" || refused.Code == "" ||
			refused.Message == "" || refused.RequestId != requestID || header.Get("Content-Type") != "application/xml" {
			return "", fmt.Sprintf("no error of S3 (%v)", err)
		}
		return refused.Code, ""
	}
	if protocol == "door" { // each has a protocol of its own; these are at none
		if status != http.StatusNotFound || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
			return "", "not the answer of an address without a door"
		}
		return "no door", ""
	}
	contentType := map[string]string{"cbor": "application/cbor", "json": "application/x-amz-json-1.0", "sesame": "application/json", "rest": "application/json"}[protocol]
	if header.Get("Content-Type") != contentType || (header.Get("Smithy-Protocol") == "rpc-v2-cbor") != (protocol == "cbor") {
		return "", "not marked as " + contentType
	}
	var members map[string]any
	if protocol == "cbor" {
		err = cbor.Unmarshal(body, &members)
	} else {
		err = json.Unmarshal(body, &members)
	}
	if err != nil {
		return "", "not in the protocol's form: " + err.Error()
	}
	if status == http.StatusOK {
		return "OK", ""
	}
	if protocol == "rest" {
		message, _ := members["message"].(string)
		if code = header.Get("X-Amzn-Errortype"); code == "" || message == "" {
			return "", "no error of a REST service"
		}
		return code, ""
	}
	shape, _ := members["__type"].(string)
	message, _ := members["Message"].(string)
	if message == "" {
		message, _ = members["message"].(string)
	}
	_, code, _ = strings.Cut(shape, "#")
	if code == "" || message == "" {
		return "", "no error of the service"
	}
	return code, ""
}

// stall opens connections that begin a request and fall silent. They must be
// closed, or answered well, within the server's time limits.
func (b *badInput) stall(done *sync.WaitGroup) {
	g := &generator{badInput: b, Rand: rand.New(rand.NewPCG(b.seed, 1<<40))}
	for i := range 12 {
		a := g.api("json", "GetAddressList", []byte(`{"AddressListId":"`+b.list+`"}`))
		g.sign(&a)
		whole := g.wireForm(a)
		cut := len(whole) / 2 // within the headers
		if i%2 == 1 {
			cut = len(whole) - 5 // within the body
		}
		done.Go(func() {
			conn, err := net.Dial("tcp", strings.TrimPrefix(b.s.url, "http://"))
			if err != nil {
				b.t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(50 * time.Second))
			conn.Write(whole[:cut])
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				b.t.Error("a silent connection was never closed")
			} else if err == nil {
				if problem := b.check(a, "POST", answer); problem != "" {
					b.t.Errorf("a request that broke off: %s", problem)
				}
			}
		})
	}
}

// overload holds requests open until the server takes no more. The one too many
// must be told so in its own form, and when they are gone one must be served.
func (b *badInput) overload() {
	b.t.Helper()
	g := &generator{badInput: b, Rand: rand.New(rand.NewPCG(b.seed, 1<<41))}
	last := len(b.uploads) - 1
	for _, kind := range []struct {
		code string
		most int
		make func(i int) attempt // the i-th; a URL takes one upload at once
	}{
		{"SlowDown", last, func(i int) attempt { return g.put(b.uploads[i], []byte("address\n")) }},
		{"ServiceUnavailable", 5000, func(int) attempt {
			a := g.api("cbor", "ListAddressLists", []byte{0xa0})
			g.sign(&a)
			return a
		}},
	} {
		var open []*net.TCPConn
		for refused := false; !refused; {
			if len(open) == kind.most {
				b.t.Fatalf("the server takes %d requests at once, and no %s", len(open), kind.code)
			}
			whole := g.wireForm(kind.make(len(open)))
			conn, err := net.Dial("tcp", strings.TrimPrefix(b.s.url, "http://"))
			if err != nil {
				b.t.Fatal(err)
			}
			open = append(open, conn.(*net.TCPConn))
			conn.Write(whole[:len(whole)-1])
			refused = strings.Contains(b.ask(kind.make(last)), kind.code)
		}
		for _, conn := range open {
			conn.SetLinger(0)
			conn.Close()
		}
		// The server notices in its own time that they are gone.
		for end := time.Now().Add(20 * time.Second); strings.Contains(b.ask(kind.make(last)), kind.code); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				b.t.Fatalf("%s though nobody is there any more", kind.code)
			}
		}
	}
}

// ask sends a good request, which may be one too many, and gives the answer's body.
func (b *badInput) ask(a attempt) string {
	b.t.Helper()
	a.may = []int{503}
	answer, err := b.client.Do(a.http)
	if err != nil {
		b.t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	if problem := b.check(a, a.http.Method, answer); problem != "" {
		b.t.Fatalf("overload: %s", problem)
	}
	if answer.StatusCode != 200 && answer.StatusCode != 503 {
		b.t.Fatalf("overload: %d %s", answer.StatusCode, body)
	}
	return string(body)
}

var metricLine = regexp.MustCompile(`(?m)^(go_goroutines|process_resident_memory_bytes) (\S+)$`)

// size gives the number of the server's goroutines, when they have come down to
// it, and its resident memory in bytes.
func (b *badInput) size() (goroutines, memory float64) {
	b.t.Helper()
	b.client.CloseIdleConnections()
	lowest, since := 1e9, time.Now()
	for time.Since(since) < time.Second {
		answer, err := b.client.Get(b.s.url + "/metrics")
		if err != nil {
			b.t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			b.t.Fatal(err)
		}
		values := map[string]float64{}
		for _, line := range metricLine.FindAllStringSubmatch(string(text), -1) {
			if values[line[1]], err = strconv.ParseFloat(line[2], 64); err != nil {
				b.t.Fatal(err)
			}
		}
		goroutines, memory = values["go_goroutines"], values["process_resident_memory_bytes"]
		if goroutines == 0 || memory == 0 {
			b.t.Fatalf("/metrics does not say:\n%s", text)
		}
		if goroutines < lowest {
			lowest, since = goroutines, time.Now()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return lowest, memory
}

// checkLog looks for trouble and for secrets in what the server has logged.
func (b *badInput) checkLog() {
	b.t.Helper()
	audit, err := os.ReadFile(filepath.Join(b.s.dir, "audit.log"))
	if err != nil {
		b.t.Fatal(err)
	}
	lines := 0
	for _, line := range strings.Split(b.s.log.String()+string(audit), "\n") {
		if line == "" {
			continue
		}
		var entry struct{ Level string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			b.t.Errorf("this in the log is no line of it: %.300s", line)
			continue
		}
		if entry.Level == "ERROR" || strings.Contains(line, "panic") {
			b.t.Fatalf("the server logged: %.2000s", line)
		}
		if entry.Level == "DEBUG" {
			continue
		}
		lines++
		for _, secret := range []string{rootSecret, hiddenDomain, "X-Amz-Signature", "Signature="} {
			if strings.Contains(strings.ToLower(line), strings.ToLower(secret)) {
				b.t.Fatalf("%q is in the log: %.600s", secret, line)
			}
		}
	}
	if lines < warmUp/2 {
		b.t.Errorf("the log has %d lines: is it all of it?", lines)
	}
}

// generator makes one request out of its random numbers.
type generator struct {
	*badInput
	*rand.Rand
}

func pick[T any](g *generator, of []T) T { return of[g.IntN(len(of))] }

// operations are those of the API and their members.
var operations = map[string][]string{
	"CreateAddressList":               {"AddressListName", "ClientToken", "Tags"},
	"GetAddressList":                  {"AddressListId"},
	"ListAddressLists":                {"NextToken", "PageSize"},
	"DeleteAddressList":               {"AddressListId"},
	"RegisterMemberToAddressList":     {"AddressListId", "Address"},
	"DeregisterMemberFromAddressList": {"AddressListId", "Address"},
	"GetMemberOfAddressList":          {"AddressListId", "Address"},
	"ListMembersOfAddressList":        {"AddressListId", "Filter", "NextToken", "PageSize"},
	"CreateAddressListImportJob":      {"AddressListId", "Name", "ClientToken", "ImportDataFormat"},
	"StartAddressListImportJob":       {"JobId"},
	"StopAddressListImportJob":        {"JobId"},
	"GetAddressListImportJob":         {"JobId"},
	"ListAddressListImportJobs":       {"AddressListId", "NextToken", "PageSize"},
	"TagResource":                     {"ResourceArn", "Tags"},
	"UntagResource":                   {"ResourceArn", "TagKeys"},
	"ListTagsForResource":             {"ResourceArn"},
	"MatchAddressList":                {"AddressListId", "Addresses"},
}

var operationNames = slices.Sorted(maps.Keys(operations))

// operation picks an operation and the protocol to ask for it in.
func (g *generator) operation() (protocol, name string) {
	name = pick(g, operationNames)
	switch {
	case name == "MatchAddressList":
		return "sesame", name
	case g.IntN(2) == 0:
		return "cbor", name
	}
	return "json", name
}

// input is a valid input of an operation.
func (g *generator) input(operation string) map[string]any {
	in := map[string]any{}
	for _, member := range operations[operation] {
		in[member] = map[string]any{
			"AddressListName": fmt.Sprintf("list-%x", g.Uint32()), "ClientToken": fmt.Sprintf("token-%x", g.Uint32()),
			"Tags": []any{map[string]any{"Key": "k", "Value": "v"}}, "TagKeys": []any{"k"},
			"AddressListId": g.list, "Address": g.address(), "Addresses": []any{g.address(), g.address()},
			"Filter": map[string]any{"AddressPrefix": g.address()}, "PageSize": 1 + g.IntN(50),
			"NextToken": base64.RawURLEncoding.EncodeToString(g.bytes(60)), "Name": "job", "JobId": g.started,
			"ImportDataFormat": map[string]any{"ImportDataType": "CSV"},
			"ResourceArn":      "arn:aws:ses:us-east-1:000000000000:mailmanager-address-list/" + g.list,
		}[member]
	}
	switch operation {
	case "DeleteAddressList": // never the list that the others ask about
		in["AddressListId"] = "al-00000000000000000000000000"
	case "ListAddressLists", "ListMembersOfAddressList", "ListAddressListImportJobs":
		if g.IntN(2) == 0 {
			delete(in, "NextToken")
		}
	}
	return in
}

func (g *generator) address() string {
	return fmt.Sprintf("%s%x@%s%s", pick(g, []string{"user", "USER", "ü", "a.b", `"q`, "*"}), g.IntN(100),
		pick(g, []string{"", "*.", "sub.", "xn--"}), hiddenDomain)
}

func (g *generator) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

// length is a length that is mostly small and sometimes up to most.
func (g *generator) length(most int) int {
	return min(most, 1+g.IntN(1<<(1+g.IntN(20))))
}

// odd is a value that no member wants.
func (g *generator) odd(depth int) any {
	switch g.IntN(14) {
	case 0:
		return nil
	case 1:
		return g.IntN(2) == 0
	case 2:
		return pick(g, []any{0, -1, 1 << 40, 0.5, 1e300, 2147483648, uint64(1 << 63)})
	case 3:
		return strings.Repeat(pick(g, []string{"a", "\x00", "ü", "😀", "*", "@", "'", "%", "\u202e", "\uffff", "\u0600"}), g.length(100_000)) + "@" + hiddenDomain
	case 4, 5:
		list := make([]any, g.IntN(5))
		for i := range list {
			if depth > 0 {
				list[i] = g.odd(depth - 1)
			}
		}
		return list
	case 6, 7:
		structure := map[string]any{}
		for range g.IntN(5) {
			if depth > 0 {
				structure[pick(g, []string{"Key", "Value", "AddressPrefix", "ImportDataType", "", "__type", "\x00"})] = g.odd(depth - 1)
			}
		}
		return structure
	case 8:
		many := make([]any, g.length(30_000))
		for i := range many {
			many[i] = pick(g, []any{nil, "", "a", 1})
		}
		return many
	case 9:
		many := make([]any, g.length(30_000))
		for i := range many {
			many[i] = map[string]any{}
		}
		return many
	case 10:
		return ""
	case 11:
		return pick(g, []any{g.started, "al-", "al-'; DROP TABLE lists; --", "../../../etc/passwd", "$(reboot)", "al-" + strings.Repeat("0", 252)})
	case 12:
		return pick(g, []any{"a b", "a\nb", "a\x00b", "{}", "null", "<a>", "\ufeff", "CSV "})
	}
	return g.address()
}

// api is a request for an operation, not signed.
func (g *generator) api(protocol, operation string, body []byte) attempt {
	r, err := http.NewRequest(http.MethodPost, g.s.url+"/", bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	switch protocol {
	case "json":
		r.Header.Set("X-Amz-Target", "MailManagerSvc."+operation)
		r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	case "cbor":
		r.URL.Path = "/service/MailManagerSvc/operation/" + operation
		r.Header.Set("Smithy-Protocol", "rpc-v2-cbor")
		r.Header.Set("Content-Type", "application/cbor")
		r.Header.Set("Accept", "application/cbor")
	case "sesame":
		r.URL.Path = "/sesame/v1/" + operation
		r.Header.Set("Content-Type", "application/json")
	}
	return attempt{http: r, protocol: protocol}
}

func (g *generator) sign(a *attempt) {
	g.signAs(a, aws.Credentials{AccessKeyID: rootID, SecretAccessKey: rootSecret})
}

func (g *generator) signAs(a *attempt, c aws.Credentials) {
	if err := sign(a.http, g.bodyOf(a.http), c); err != nil {
		panic(err)
	}
}

func (g *generator) bodyOf(r *http.Request) []byte {
	if r.GetBody == nil {
		return nil
	}
	body, err := r.GetBody()
	if err != nil {
		panic(err)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		panic(err)
	}
	return text
}

// wireForm is an attempt as it goes over the wire.
func (g *generator) wireForm(a attempt) []byte {
	var b bytes.Buffer
	if err := a.http.Write(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func (g *generator) encode(protocol string, v any) []byte {
	encode := json.Marshal
	if protocol == "cbor" {
		encode = cbor.Marshal
	}
	body, err := encode(v)
	if err != nil {
		panic(err)
	}
	return body
}

func (g *generator) uploadURL() string { return pick(g, g.uploads) }

func (g *generator) put(address string, body []byte) attempt {
	r, err := http.NewRequest(http.MethodPut, address, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	return attempt{http: r, protocol: "s3"}
}

// request makes one request of any kind.
func (g *generator) request() attempt {
	kinds := []struct {
		weight int
		name   string
		make   func() attempt
	}{
		{30, "broken body", g.brokenBody},
		{40, "mutated body", g.mutatedBody},
		{40, "odd members", g.oddMembers},
		{4, "huge body", g.hugeBody},
		{10, "wrong headers", g.wrongHeaders},
		{25, "wrong signature", g.wrongSignature},
		{15, "any address", g.anyAddress},
		{25, "object URL", g.objectURL},
		{15, "upload", g.badUpload},
		{15, "not HTTP", g.notHTTP},
		{10, "broken off", g.brokenOff},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	n := g.IntN(total)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			a := k.make()
			a.about = k.name
			return a
		}
	}
	panic("unreachable")
}

var (
	brokenJSON = []string{
		"{", "}", "[]", `"x"`, "nul", "true", "1", `{"a":}`, `{"a" 1}`, `{a:1}`, `{'a':1}`, `{"a":1,}`, "{}{}", "{} x", "\ufeff{}",
		"\x00", `{"a":"` + "\x00" + `"}`, `{"a":"` + "\xff\xfe" + `"}`, `{"a":"\ud800"}`, `{"a":"\u00"}`, `{"a":1e999}`, `{"a":NaN}`, `{"a":01}`,
		"{\"a\":\"b\nc\"}", "// c\n{}", "{\x00\"\x00a\x00", "<a/>", "a=b", "   ", "\xa0", "--",
	}
	brokenCBOR = []string{
		"\xa1", "\xa1\x61a", "\xa0\xa0", "\x80", "\xf6", "\xf7", "\xff", "\xbf", "\xbf\xff\xff", "\x9f", "\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
		"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", "\x7b\x00\x00\x00\x01\x00\x00\x00\x00", "\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", "\xbb\x7f\xff\xff\xff\xff\xff\xff\xff",
		"\x9a\xff\xff\xff\xff", "\xba\x00\xff\xff\xff", "\xa1\x01\x02", "\xa1\x41a\x01", "\xa2\x61a\x01\x61a\x02", "\x61\xff", "\xa1\x61\xff\x01", "\xc1\x61a", "\xc0\x00",
		"\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00", "\xd9\xd9\xf7\xa0", "\xf9\x7e\x00", "\xfa\x7f\x80\x00\x00", "\xf8\x10", "\xfc", "\x1c", "\x7f\x61a\x41b\xff", "\xa1\x6dAddressListId\xc1\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00",
	}
)

func (g *generator) brokenBody() attempt {
	protocol, operation := g.operation()
	var body string
	deep := 1 << (1 + g.IntN(18))
	switch member := pick(g, operations[operation]); {
	case protocol == "cbor" && g.IntN(3) == 0:
		key := string(g.encode("cbor", member))
		body = pick(g, []string{
			strings.Repeat("\x81", deep), strings.Repeat("\x9f", deep), strings.Repeat("\xc1", deep), "\xa1" + key + strings.Repeat("\xbf\x61a", deep),
			"\xa1" + key + strings.Repeat("\x81", deep) + "\x01", strings.Repeat("\xa1"+key, deep),
		})
	case protocol == "cbor":
		body = pick(g, brokenCBOR)
	case g.IntN(3) == 0:
		body = pick(g, []string{
			strings.Repeat("[", deep), strings.Repeat(`{"a":`, deep), `{"` + member + `":` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + "}",
			`{"` + member + `":` + strings.Repeat(`{"Key":`, deep) + "1" + strings.Repeat("}", deep) + "}",
		})
	default:
		body = pick(g, brokenJSON)
	}
	a := g.api(protocol, operation, []byte(body[:min(len(body), maxAPIBody)]))
	g.sign(&a)
	return a
}

func (g *generator) mutatedBody() attempt {
	protocol, operation := g.operation()
	body := g.mutate(g.encode(protocol, g.input(operation)))
	a := g.api(protocol, operation, body)
	g.sign(&a)
	return a
}

func (g *generator) mutate(b []byte) []byte {
	for range 1 + g.IntN(4) {
		if len(b) == 0 {
			return b
		}
		at := g.IntN(len(b))
		switch g.IntN(6) {
		case 0:
			b[at] ^= 1 << g.IntN(8)
		case 1:
			b[at] = byte(g.Uint32())
		case 2:
			b = slices.Delete(b, at, at+1)
		case 3:
			b = slices.Insert(b, at, g.bytes(1+g.IntN(4))...)
		case 4:
			b = b[:at]
		case 5:
			b = slices.Insert(b, at, slices.Clone(b[at:])...)
		}
	}
	return b
}

func (g *generator) oddMembers() attempt {
	protocol, operation := g.operation()
	in := g.input(operation)
	for range 1 + g.IntN(2) {
		member := pick(g, operations[operation])
		if g.IntN(4) == 0 {
			delete(in, member)
		} else {
			in[member] = g.odd(4)
		}
	}
	body := g.encode(protocol, in)
	if len(body) > maxAPIBody {
		body = body[:maxAPIBody]
	}
	a := g.api(protocol, operation, body)
	g.sign(&a)
	return a
}

// hugeBody is larger than a request may be, with and without saying so.
func (g *generator) hugeBody() attempt {
	protocol, operation := g.operation()
	body := bytes.Repeat([]byte(" "), maxAPIBody+1+g.IntN(1<<20))
	a := g.api(protocol, operation, body)
	g.sign(&a)
	if g.IntN(2) == 0 {
		a.http.ContentLength = -1
		a.http.Body = io.NopCloser(bytes.NewReader(body))
	}
	a.unanswered = true // the answer can be lost when the server closes on what is still sent
	return a
}

func (g *generator) wrongHeaders() attempt {
	protocol, operation := g.operation()
	a := g.api(protocol, operation, g.encode(protocol, g.input(operation)))
	h := a.http.Header
	for range 1 + g.IntN(3) {
		switch g.IntN(9) {
		case 0:
			h.Set("Content-Type", pick(g, []string{"", "text/plain", "application/json", "application/cbor", "application/x-amz-json-1.1", "multipart/form-data; boundary=x", "\xff", ";;;"}))
		case 1:
			h.Set("X-Amz-Target", pick(g, []string{"", ".", "MailManagerSvc", "MailManagerSvc.", "MailManagerSvc.Nothing", "SimpleEmailService_v2.SendEmail", "mailmanagersvc." + operation, strings.Repeat("A", 9000), "MailManagerSvc." + operation}))
		case 2:
			h.Set("Smithy-Protocol", pick(g, []string{"", "rpc-v2-cbor", "rpc-v2-json", "RPC-V2-CBOR", "x"}))
		case 3:
			h.Set("Content-Encoding", pick(g, []string{"gzip", "aws-chunked", "br"}))
		case 4:
			h.Set("Accept", pick(g, []string{"text/html", "", "*/*;q=0"}))
		case 5:
			h.Set("X-Amz-Security-Token", "token")
		case 6:
			h.Set("X-Http-Method-Override", "DELETE")
		case 7:
			h.Set("X-Amz-Content-Sha256", pick(g, []string{"UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "", "0", strings.Repeat("0", 64)}))
		case 8:
			h.Set(fmt.Sprintf("X-Odd-%d", g.IntN(100)), string(bytes.Map(func(r rune) rune { return max(r, ' ') }, g.bytes(30))))
		}
	}
	for name, values := range h { // an HTTP client sends what may stand in a header
		for i, v := range values {
			values[i] = strings.Map(func(r rune) rune {
				if r == 0x7f || r < ' ' {
					return ' '
				}
				return r
			}, v)
		}
		h[name] = values
	}
	g.sign(&a)
	a.protocol = protocolOf(a.http)
	return a
}

// protocolOf is the protocol that a request asks in, and is to be answered in.
func protocolOf(r *http.Request) string {
	switch {
	case strings.HasPrefix(r.URL.Path, "/objects/"):
		return "s3"
	case strings.HasPrefix(r.URL.Path, "/sesame/v1/"):
		return "sesame"
	case strings.HasPrefix(r.URL.Path, "/v2/email/"):
		return "rest"
	case strings.HasPrefix(r.URL.Path, "/ingest/"):
		return "door"
	case r.Header.Get("Smithy-Protocol") == "rpc-v2-cbor" && r.Header.Get("X-Amz-Target") == "":
		return "cbor"
	}
	return "json"
}

func (g *generator) wrongSignature() attempt {
	protocol, operation := g.operation()
	a := g.api(protocol, operation, g.encode(protocol, g.input(operation)))
	h := a.http.Header
	switch g.IntN(10) {
	case 0: // none
		return a
	case 1:
		g.signAs(&a, aws.Credentials{AccessKeyID: rootID, SecretAccessKey: "another"})
	case 2:
		g.signAs(&a, aws.Credentials{AccessKeyID: pick(g, []string{"UNKNOWN", strings.Repeat("A", 2000), "a'b", "a b", "someone@" + hiddenDomain}), SecretAccessKey: rootSecret})
	case 3:
		g.sign(&a)
		h.Set("Authorization", string(headerBytes(g.mutate([]byte(h.Get("Authorization"))))))
	case 4:
		g.sign(&a)
		h.Set("X-Amz-Date", pick(g, []string{"", "now", "20200101T000000Z", "99991231T235959Z", "20260101T000000.5Z", "-1"}))
	case 5:
		h.Set("Authorization", pick(g, []string{"", "Basic dXNlcjpwYXNz", "Bearer " + rootSecret, "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 ,,,", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=x",
			"AWS4-ECDSA-P256-SHA256 Credential=a, SignedHeaders=host, Signature=x", "AWS4-HMAC-SHA256 Credential=" + rootSecret, "AWS4-HMAC-SHA256 \xff\xfe=\xff"}))
	case 6:
		g.sign(&a)
		h.Add("Authorization", h.Get("Authorization"))
	case 7: // changed after it was signed
		g.sign(&a)
		body := g.mutate(slices.Clone(g.bodyOf(a.http)))
		changed := g.api(protocol, operation, body)
		changed.http.Header = h
		return changed
	case 8:
		g.sign(&a)
		a.http.URL.RawQuery = pick(g, []string{"X-Amz-Signature=x", "X-Amz-Algorithm=AWS4-HMAC-SHA256", "%zz", "a=b&a=c", ";", strings.Repeat("a&", 1000)})
	case 9:
		g.sign(&a)
		h.Set("Authorization", strings.Replace(h.Get("Authorization"), "/us-east-1/ses/", pick(g, []string{"/eu-west-1/ses/", "/us-east-1/s3/", "//ses/", "/"}), 1))
	}
	return a
}

// headerBytes is b without what may not stand in a header's value.
func headerBytes(b []byte) []byte {
	return slices.DeleteFunc(b, func(c byte) bool { return c < ' ' || c == 0x7f })
}

func (g *generator) anyAddress() attempt {
	protocol, operation := g.operation()
	a := g.api(protocol, operation, g.encode(protocol, g.input(operation)))
	a.http.Method = pick(g, []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "POST", "X"})
	path := pick(g, []string{
		"/x", "//", "/../", "/./", "/service/", "/service/MailManagerSvc/operation/", "/service/Other/operation/" + operation, "/a/b/service/MailManagerSvc/operation/" + operation,
		"/service/com.amazonaws.mailmanager.MailManagerSvc/operation/" + operation, "/sesame/v1/", "/sesame/v1/" + operation, "/sesame/v1//", "/sesame/v1/../", "/sesame/", "/v2/email/identities", "/v2/email/export-jobs", "/v2/email/insights/x", "/v2/email/insights//", "/v2/email/account", "/v2/email/", "/ingest/x",
		"/objects", "/objects/", "/objects/../", "/objects//imports/" + g.jobs[0], "/objects/imports/", "/objects/imports/%00", "/console/", "/ingest/", "/debug/pprof/", "/metrics/x", "/.git/config", "/index.php",
		"/%2e%2e/%2e%2e/etc/passwd", "/\xff", "/%ff", "/" + strings.Repeat("a", 20_000), "/" + strings.Repeat("a/", 5000), "/a;b", "/a b", "/someone@" + hiddenDomain,
		"/service//MailManagerSvc/operation/" + operation, "/service/MailManagerSvc/operation/" + operation + "/", "/" + url.PathEscape(string(g.bytes(20))),
	})
	var err error
	if a.http.URL, err = url.Parse(g.s.url + "/"); err != nil {
		panic(err)
	}
	if raw, err := url.PathUnescape(path); err == nil {
		a.http.URL.Path, a.http.URL.RawPath = raw, path
	} else {
		a.http.URL.Path = path
	}
	if g.IntN(2) == 0 {
		g.sign(&a)
	}
	a.protocol = protocolOf(a.http)
	return a
}

func (g *generator) objectURL() attempt {
	u, err := url.Parse(g.uploadURL())
	if err != nil {
		panic(err)
	}
	query := u.Query()
	names := slices.Sorted(maps.Keys(query))
	name := pick(g, names)
	method := http.MethodPut
	switch g.IntN(9) {
	case 0:
		query.Set(name, string(g.mutate([]byte(query.Get(name)))))
	case 1:
		query.Del(name)
	case 2:
		query.Add(name, pick(g, []string{query.Get(name), "", "x"}))
	case 3:
		query.Set(pick(g, []string{"partNumber", "uploadId", "acl", "x-amz-acl", "X-Amz-Security-Token", "versionId"}), "1")
	case 4:
		query.Set("X-Amz-Expires", pick(g, []string{"0", "-1", "604801", "99999999999999999999", "1e9", "x"}))
	case 5:
		query.Set("X-Amz-Date", pick(g, []string{"20200101T000000Z", "99990101T000000Z", "x", ""}))
	case 6:
		u.Path = pick(g, []string{
			"/objects/imports/" + g.started, "/objects/imports/job-00000000000000000000000000", "/objects/imports/" + strings.ToUpper(g.jobs[0]), u.Path + "/", u.Path + "/x", "/objects/exports/x",
			"/objects/imports/../imports/" + g.jobs[0], u.Path + "\x00", u.Path + "?X-Amz-Signature=" + query.Get("X-Amz-Signature"), "/objects/imports/someone@" + hiddenDomain, "/objects//imports/" + g.jobs[0], "/objects/imports/\xff",
		})
	case 7:
		method = pick(g, []string{"GET", "HEAD", "POST", "DELETE", "PATCH", "OPTIONS", "PROPFIND"})
	case 8: // as it is, and with another header of the signer's
		a := g.put(u.String(), []byte("address\nsomeone@"+hiddenDomain+"\n"))
		a.http.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=x")
		return a
	}
	u.RawQuery = query.Encode()
	a := g.put(g.s.url+"/", []byte("address\nsomeone@"+hiddenDomain+"\n"))
	a.http.Method, a.http.URL = method, u
	return a
}

func (g *generator) badUpload() attempt {
	body := g.bytes(g.IntN(2000))
	a := g.put(g.uploadURL(), body)
	h := a.http.Header
	sum := sha256.Sum256(body)
	switch g.IntN(7) {
	case 0, 6:
		size := map[string]int{"Content-MD5": 16, "X-Amz-Checksum-Crc32": 4, "X-Amz-Checksum-Crc32c": 4, "X-Amz-Checksum-Crc64nvme": 8, "X-Amz-Checksum-Sha1": 20, "X-Amz-Checksum-Sha256": 32}
		name := pick(g, slices.Sorted(maps.Keys(size)))
		h.Set(name, pick(g, []string{"", "x", "====", base64.StdEncoding.EncodeToString(g.bytes(size[name])), base64.StdEncoding.EncodeToString(g.bytes(size[name])),
			base64.StdEncoding.EncodeToString(g.bytes(size[name] + 1)), base64.StdEncoding.EncodeToString(sum[:])}))
	case 1:
		a = g.put(g.uploadURL(), make([]byte, badMaxUpload+1+g.IntN(badMaxUpload)))
		a.unanswered = true
	case 2: // too long, and does not say so
		a = g.put(g.uploadURL(), nil)
		a.http.Body, a.http.ContentLength = io.NopCloser(io.LimitReader(zeros{}, badMaxUpload+1+g.Int64N(badMaxUpload))), -1
		a.unanswered = true
	case 3:
		h.Set("Content-Encoding", pick(g, []string{"aws-chunked", "aws-chunked,gzip", "gzip"}))
		a.may = []int{http.StatusNotImplemented}
	case 4:
		h.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
		h.Set("X-Amz-Copy-Source", "/other/object")
		a.may = []int{http.StatusNotImplemented}
	case 5:
		a = g.put(g.uploadURL(), nil) // nothing
	}
	return a
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// notHTTP is what net/http should refuse, or just bears.
func (g *generator) notHTTP() attempt {
	const host = "Host: sesame\r\n"
	const none = "Connection: close\r\n\r\n"
	a := attempt{protocol: "json", notHTTP: true, unanswered: true, end: closeHalf, may: []int{http.StatusNotImplemented, http.StatusHTTPVersionNotSupported}}
	a.raw = []byte(pick(g, []string{
		"\r\n\r\n\r\n", "GET\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/9.9\r\n" + host + none, "GET / HTTP/1.1\r\n" + none, "POST / HTTP/1.1\r\n" + host + host + none, "POST / HTTP/1.0\r\n\r\n",
		"P\x00ST / HTTP/1.1\r\n" + host + none, "POST /\x00 HTTP/1.1\r\n" + host + none, "POST / HTTP/1.1\r\nHost: a\x00b\r\n" + none, "POST / HTTP/1.1\r\nHost : x\r\n" + none, "POST / HTTP/1.1\r\n" + host + "X: a\x00b\r\n" + none,
		"POST / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n" + none, "POST / HTTP/1.1\r\n" + host + "no colon\r\n" + none, "POST / HTTP/1.1\n\n", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n" + none,
		"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" + none + "0\r\n\r\n", "POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n" + none, "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n" + none + "ab",
		"POST / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n" + none, "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n" + none + "zz\r\n", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n" + none + "ffffffffffffffffff\r\n",
		"POST / HTTP/1.1\r\n" + host + "Expect: tea\r\n" + none, "OPTIONS * HTTP/1.1\r\n" + host + none, "CONNECT example.com:443 HTTP/1.1\r\n" + host + none, "POST http://elsewhere.example/ HTTP/1.1\r\n" + host + none, "POST x HTTP/1.1\r\n" + host + none,
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET / HTTP/1.1\r\n" + host + strings.Repeat("X: y\r\n", 20_000) + none, "GET /" + strings.Repeat("a", 100_000) + " HTTP/1.1\r\n" + host + none,
		"POST /objects/imports/x HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n" + none, "POST / HTTP/1.1\r\nHost: \xff\r\n" + none, "POST / HTTP/1.1\r\nHost: a b\r\n" + none, string(g.bytes(1 + g.IntN(300))),
	}))
	if bytes.Contains(a.raw, []byte(" /objects/")) {
		a.protocol = "s3"
	}
	return a
}

// brokenOff is a good request whose connection ends before its body does.
func (g *generator) brokenOff() attempt {
	a := g.put(g.uploadURL(), []byte("address\n"+strings.Repeat("someone@"+hiddenDomain+"\n", 1+g.IntN(500))))
	if g.IntN(2) == 0 {
		protocol, operation := g.operation()
		a = g.api(protocol, operation, g.encode(protocol, g.input(operation)))
		g.sign(&a)
	}
	if g.IntN(3) == 0 {
		a.http.ContentLength = -1 // chunked
	}
	whole := g.wireForm(a)
	head := bytes.Index(whole, []byte("\r\n\r\n")) + 4
	a.raw = whole[:head+g.IntN(len(whole)-head)]
	a.end = closeHalf
	switch g.IntN(4) {
	case 0:
		a.end = reset
	case 1:
		a.raw, a.end = whole, reset // all is there, and nobody to take the answer
	case 2: // in chunks whose lengths are wrong
		if a.http.ContentLength < 0 {
			a.raw = slices.Concat(whole[:head], g.bytes(4), []byte("\r\n"))
		}
	}
	return a
}
