package sesv2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"go.uber.org/goleak"

	"sesame/internal/blobs"
	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/exporter"
	"sesame/internal/iam"
	"sesame/internal/insights"
	"sesame/internal/metadb"
	"sesame/internal/sigv4"
	"sesame/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	src = events.Source{Account: "000000000000", Region: "us-east-1"}
	now = time.Date(2026, 11, 23, 12, 30, 0, 0, time.UTC)
)

// world is the API on stores of its own, behind the edge.
type world struct {
	t      *testing.T
	url    string
	store  *eventdb.DuckDB
	domain *insights.Service
	// exports has its jobs done by work. A URL of its files is "URL of JOB/FILE".
	exports *exporter.Service
	client  *sdk.Client
	// The edge's clock, in nanoseconds: how far it has gone, and how far it goes on
	// when it is looked at. That is so far that no limit is met, unless a test says
	// otherwise.
	elapsed, step atomic.Int64
	keys          map[string]iam.Key // by id; their policy is in Policy
	http          *http.Client
}

func newWorld(t *testing.T) *world {
	ctx := context.Background()
	dir := t.TempDir()
	store, err := eventdb.Open(ctx, filepath.Join(dir, "events.duckdb"), 1<<28)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := metadb.Open(ctx, filepath.Join(dir, "sesame.db"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: store, keys: map[string]iam.Key{
		"ROOT":  {Account: src.Account, Name: "root", Policy: iam.AdministratorPolicy},
		"OTHER": {Account: "111111111111", Name: "root", Policy: iam.AdministratorPolicy},
		"LISTS": {Account: src.Account, Name: "lists", Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ses:*","Resource":"arn:aws:ses:us-east-1:000000000000:mailmanager-address-list/*"}}`},
		"READ":  {Account: src.Account, Name: "read", Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["ses:Get*","ses:BatchGet*"],"Resource":"*"}}`},
	}}
	w.step.Store(int64(10 * time.Second))
	w.domain = &insights.Service{Events: store, Settings: settings, Now: func() time.Time { return now }}
	quiet := slog.New(slog.DiscardHandler)
	files, err := blobs.OpenFolder(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	var ids atomic.Int64
	w.exports = &exporter.Service{
		Store: settings, Objects: files, Events: store, Now: func() time.Time { return now }, Wake: func() {}, Log: quiet,
		NewJob: func() string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", ids.Add(1)) },
		NewID:  func(prefix string) string { return fmt.Sprintf("%s-%026d", prefix, ids.Add(1)) },
		Config: exporter.Config{Running: 3, Keep: time.Hour},
	}
	api := &API{
		Region: src.Region, Insights: w.domain, Exports: w.exports, Now: func() time.Time { return now },
		ExportURL: func(job, file string, _ time.Time) string { return "URL of " + job + "/" + file },
	}
	edge := &wire.Edge{
		Services: []*wire.Service{api.Service()},
		Sesame: &wire.Service{
			Namespace: "sesame", IAMPrefix: "sesame", Operations: api.SesameOperations(), Strict: true,
			Errors: map[string]int{accessDenied: 403, resourceNotFound: 404, quotaExceeded: 402, throttling: 429, validation: 400},
		},
		Verifier: sigv4.Verifier{Scope: sigv4.Scope{Region: "us-east-1", Service: "ses"}, MaxBody: 512 << 10, Skew: 15 * time.Minute, Now: time.Now},
		Key: func(_ context.Context, id string) (iam.Key, *iam.Policy, bool, error) {
			k, ok := w.keys[id]
			if !ok {
				return iam.Key{}, nil, false, nil
			}
			k.ID, k.Secret = id, "secret"
			policy, err := iam.Parse([]byte(k.Policy))
			return k, policy, true, err
		},
		Throttle: wire.NewThrottle(0, 0), MaxReading: 100, MaxInFlight: 100,
		Now:   func() time.Time { return now.Add(time.Duration(w.elapsed.Add(w.step.Load()))) },
		NewID: func() string { return "request-1" }, Log: quiet, Audit: quiet, Observe: func(string, string, time.Duration) {},
	}
	server := httptest.NewServer(edge.Handler())
	w.url, w.http = server.URL, server.Client()
	w.client = w.as("ROOT")
	t.Cleanup(func() {
		server.Close()
		if err := errors.Join(store.Close(), settings.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// as is the SDK's client with a key.
func (w *world) as(key string) *sdk.Client {
	return sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: &w.url, Retryer: aws.NopRetryer{}, HTTPClient: w.http,
		Credentials: credentials.NewStaticCredentialsProvider(key, "secret", ""),
	})
}

func (w *world) append(all ...events.Event) {
	w.t.Helper()
	if added, err := w.store.Append(context.Background(), all); err != nil || added != len(all) {
		w.t.Fatalf("Append: %d of %d, %v", added, len(all), err)
	}
}

// decode appends the events of a record as SES publishes it.
func (w *world) decode(record string) {
	w.t.Helper()
	all, err := events.Decode(src, []byte(record))
	if err != nil {
		w.t.Fatalf("%v\n%s", err, record)
	}
	w.append(all...)
}

// refusal is an error as a client sees it.
type refusal struct {
	Status        int
	Code, Message string
}

// asRefusal takes the SDK's error apart; its zero value is for none.
func asRefusal(t *testing.T, err error) refusal {
	t.Helper()
	if err == nil {
		return refusal{}
	}
	var api smithy.APIError
	var response *smithyhttp.ResponseError
	if !errors.As(err, &api) || !errors.As(err, &response) {
		t.Fatalf("not an answer of the service: %v", err)
	}
	return refusal{response.HTTPStatusCode(), api.ErrorCode(), api.ErrorMessage()}
}

// send sends what an SDK would not.
func (w *world) send(method, path, body string) (answer map[string]any, r refusal) {
	w.t.Helper()
	return w.sendAs("ROOT", method, path, body)
}

func (w *world) sendAs(key, method, path, body string) (answer map[string]any, r refusal) {
	w.t.Helper()
	request, err := http.NewRequest(method, w.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key, SecretAccessKey: "secret"}, request, hex.EncodeToString(digest[:]), "ses", "us-east-1", time.Now()); err != nil {
		w.t.Fatal(err)
	}
	response, err := w.http.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		w.t.Fatalf("%s %s: %d %s", method, path, response.StatusCode, text)
	}
	if response.StatusCode == 200 {
		return answer, r
	}
	message, _ := answer["message"].(string)
	code := response.Header.Get("X-Amzn-Errortype")
	if code == "" { // Sesame's own operations say it in the body
		code, _ = answer["__type"].(string)
		code = code[strings.IndexByte(code, '#')+1:]
		message, _ = answer["Message"].(string)
	}
	return nil, refusal{response.StatusCode, code, message}
}
