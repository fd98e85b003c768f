package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sesame/internal/eventdb"
	"sesame/internal/events"
	"sesame/internal/iam"
	"sesame/internal/ingest"
	"sesame/internal/keyfile"
	"sesame/internal/metadb"
	"sesame/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ann   = "111111111111"
	house = "000000000000" // the server's own account
	east  = "us-east-1"
	west  = "eu-west-1"

	mayIngest = `{"Statement":{"Effect":"Allow","Action":"sesame:IngestEvents","Resource":"*"}}`
	mayRead   = `{"Statement":{"Effect":"Allow","Action":"ses:Get*","Resource":"*"}}`
)

// place is Doors on real stores, behind a real HTTP server.
type place struct {
	t        testing.TB
	ctx      context.Context
	db       *metadb.DB
	events   *eventdb.DuckDB
	rejected *metadb.RejectedRecords
	keys     metadb.AccessKeys
	doors    *ingest.Doors
	aws      *aws
	server   *httptest.Server
	client   *http.Client
	ids      atomic.Int64

	key iam.Key // that may bring in events

	mu      sync.Mutex
	now     time.Time
	log     bytes.Buffer
	counted map[string][3]int
}

// Write is the log's.
func (p *place) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *place) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *place) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *place) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

func (p *place) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// open makes a place; change, if any, is made to its doors before they open.
func open(t testing.TB, change func(*ingest.Doors)) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{t: t, ctx: context.Background(), now: time.Now().UTC().Truncate(time.Millisecond), counted: map[string][3]int{}, client: &http.Client{
		Transport:     &http.Transport{ExpectContinueTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	var err error
	p.db, err = metadb.Open(p.ctx, filepath.Join(dir, "sesame.db"))
	p.must(err)
	p.events, err = eventdb.Open(p.ctx, filepath.Join(dir, "events.duckdb"), 256<<20)
	p.must(err)
	file, err := keyfile.Open(filepath.Join(dir, "secret.key"))
	p.must(err)
	p.keys = metadb.AccessKeys{DB: p.db, File: file}
	p.rejected = &metadb.RejectedRecords{DB: p.db, MostRecords: metadb.MostRejectedRecords, MostBytes: metadb.MostRejectedBytes}
	p.aws = newAWS(t, p.now)
	p.key = p.newKey(mayIngest)
	p.doors = &ingest.Doors{
		Events: p.events, Rejected: p.rejected, Key: p.find, Account: house, Region: east, SNSTopics: []string{topic, chinaTopic}, Client: p.aws.client(),
		InHand: 512 << 20, Idle: 5 * time.Second, Pages: wire.Pages{Seal: file.Seal, Unseal: file.Unseal}, Now: p.clock,
		NewID: func() string { return fmt.Sprintf("request-%d", p.ids.Add(1)) },
		Log:   slog.New(slog.NewTextHandler(p, nil)),
		Counted: func(door string, added, duplicates, rejected int) {
			p.mu.Lock()
			defer p.mu.Unlock()
			c := p.counted[door]
			p.counted[door] = [3]int{c[0] + added, c[1] + duplicates, c[2] + rejected}
		},
	}
	if change != nil {
		change(p.doors)
	}
	p.server = httptest.NewUnstartedServer(p.doors)
	p.server.Config.ReadTimeout, p.server.Config.WriteTimeout = 10*time.Second, time.Minute // as the program has them
	p.server.Start()
	t.Cleanup(p.close)
	return p
}

func (p *place) close() {
	p.client.CloseIdleConnections()
	p.server.Close()
	p.aws.close()
	p.must(errors.Join(p.events.Close(), p.db.Close()))
	if n := p.doors.Held(); n != 0 {
		p.t.Errorf("%d bytes are in hand for good", n)
	}
	log := p.logged()
	for _, private := range []string{"@", "Subject", "2336412f37", p.key.Secret} {
		if strings.Contains(log, private) {
			p.t.Errorf("%q is in the log:\n%s", private, log)
		}
	}
}

// find is as the program's.
func (p *place) find(ctx context.Context, id string) (iam.Key, *iam.Policy, bool, error) {
	k, err := p.keys.Find(ctx, id)
	if errors.Is(err, metadb.ErrNoKey) || err == nil && k.Disabled {
		return iam.Key{}, nil, false, nil
	}
	if err != nil {
		return iam.Key{}, nil, false, err
	}
	policy, err := iam.Parse([]byte(k.Policy))
	return k, policy, err == nil, err
}

func (p *place) newKey(policy string) iam.Key {
	p.t.Helper()
	k, err := iam.NewKey(rand.Reader, ann, "feed", policy, p.now)
	p.must(err)
	p.must(p.keys.Add(p.ctx, k))
	return k
}

func pair(k iam.Key) string { return k.ID + ":" + k.Secret }

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (p *place) request(door string, body io.Reader, header http.Header) *http.Request {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.ctx, http.MethodPost, p.server.URL+"/ingest/"+door, body)
	p.must(err)
	for name, values := range header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	return r
}

func (p *place) do(r *http.Request) answer {
	p.t.Helper()
	got, err := p.client.Do(r)
	if err != nil {
		p.t.Error(err)
		return answer{header: http.Header{}}
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		p.t.Error(err)
	}
	if fmt.Sprint(len(text)) != got.Header.Get("Content-Length") || got.Header.Get("Content-Encoding") != "" {
		p.t.Errorf("the answer has %d bytes and headers %v", len(text), got.Header)
	}
	return answer{got.StatusCode, got.Header, string(text)}
}

func (p *place) post(door, body string, header http.Header) answer {
	p.t.Helper()
	return p.do(p.request(door, strings.NewReader(body), header))
}

// is checks an answer's status.
func (a answer) is(t testing.TB, what string, status int) answer {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: the answer is %d %s, want %d", what, a.status, a.body, status)
	}
	return a
}

// sends is the event of a mail that was sent, as SES publishes it.
func sends(message string) string {
	return `{"eventType":"Send","mail":{"timestamp":"2026-11-20T10:00:00.000Z","messageId":"` + message + `","source":"Shop <news@shop.example>",` +
		`"destination":["reader@example.com"],"commonHeaders":{"subject":"A Subject of its own"},"tags":{"ses:configuration-set":["main"]}},"send":{}}`
}

// has checks which messages an owner has one event of.
func (p *place) has(account, region string, messages ...string) {
	p.t.Helper()
	for _, m := range messages {
		found, err := p.events.Message(p.ctx, events.Source{Account: account, Region: region}, m)
		p.must(err)
		if len(found) != 1 {
			p.t.Errorf("message %s of %s in %s has %d events", m, account, region, len(found))
		}
	}
}

// sent is how many events there are of an account in a region.
func (p *place) sent(account, region string, want int64) {
	p.t.Helper()
	day := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	days, err := p.events.Daily(p.ctx, events.Source{Account: account, Region: region}, eventdb.Query{Metric: eventdb.Sends, From: day, To: day.AddDate(0, 0, 1)})
	p.must(err)
	n := int64(0)
	for _, d := range days {
		n += d.Count
	}
	if n != want {
		p.t.Errorf("%s has %d events in %s, want %d", account, n, region, want)
	}
}

// setAside checks which records an account has that were set aside, newest first,
// by a part of their reasons.
func (p *place) setAside(account string, reasons ...string) []ingest.Rejected {
	p.t.Helper()
	all, err := p.rejected.List(p.ctx, account, "", 1000)
	p.must(err)
	fit := len(all) == len(reasons)
	for i := 0; fit && i < len(all); i++ {
		found := false
		for _, r := range all {
			found = found || strings.Contains(r.Reason, reasons[i])
		}
		fit = found
	}
	if !fit {
		p.t.Errorf("set aside: %+v, want %q", all, reasons)
	}
	return all
}

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.String()
}

// batch is the body of a request of Firehose.
func batch(requestID string, data ...string) string {
	type record struct {
		Data string `json:"data"`
	}
	body := struct {
		RequestID string   `json:"requestId"`
		Timestamp int64    `json:"timestamp"`
		Records   []record `json:"records"`
	}{requestID, 1578090901599, []record{}}
	for _, d := range data {
		body.Records = append(body.Records, record{base64.StdEncoding.EncodeToString([]byte(d))})
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return string(text)
}
