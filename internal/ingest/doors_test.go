package ingest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"sesame/internal/iam"
	"sesame/internal/ingest"
)

func TestEventBridge(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	disabled, reader := p.newKey(mayIngest), p.newKey(mayRead)
	p.must(p.keys.Disable(p.ctx, disabled.ID))
	event := func(message, region string) string {
		return `{"version":"0","id":"c1","detail-type":"Email Sent","source":"aws.ses","account":"123456789012","time":"2026-11-20T10:00:00Z","region":"` + region +
			`","resources":["arn:aws:ses:us-east-1:123456789012:identity/shop.example"],"detail":` + sends(message) + `}`
	}
	key := http.Header{"X-Api-Key": {pair(p.key)}}
	p.post("eventbridge", event("m-1", east), key).is(t, "one event", 200)
	p.post("eventbridge", event("m-1", east), key).is(t, "again", 200)
	p.post("eventbridge", " ["+event("m-2", east)+" ,\n"+event("m-3", west)+"] ", key).is(t, "two events", 200)
	p.post("eventbridge", gzipped(sends("m-4")), with(key, "Content-Encoding", "gzip")).is(t, "packed, of its detail only", 200)
	basic := p.request("eventbridge", strings.NewReader(event("m-5", east)), nil)
	basic.SetBasicAuth(p.key.ID, p.key.Secret)
	p.do(basic).is(t, "name and password", 200)
	p.has(ann, east, "m-1", "m-2", "m-4", "m-5")
	p.has(ann, west, "m-3")

	p.post("eventbridge", "["+event("m-6", east)+",{},"+event("m-7", east)+"]", key).is(t, "one of three cannot be read", 200)
	p.post("eventbridge", "["+event("m-8", east)+","+event("m-9", east)[:40], key).is(t, "cut off", 200)
	p.has(ann, east, "m-6", "m-7", "m-8")
	p.setAside(ann, "", "")

	// EventBridge comes again after 401, and not after 403.
	for name, given := range map[string]string{"none": "", "wrong": p.key.ID + ":x", "disabled": pair(disabled), "not allowed": pair(reader)} {
		p.post("eventbridge", event("m-10", east), http.Header{"X-Api-Key": {given}}).is(t, name, 401)
	}
	p.post("eventbridge", gzipped(strings.Repeat(" ", 3<<20+1)), with(key, "Content-Encoding", "gzip")).is(t, "a bomb", 413)
	tooLarge := p.request("eventbridge", io.LimitReader(spaces{}, 3<<20+1), key)
	if a, err := p.client.Do(tooLarge); err == nil { // or the connection has ended while it still sends
		a.Body.Close()
		if a.StatusCode != 413 {
			t.Errorf("too large: %d", a.StatusCode)
		}
	}
	p.sent(ann, east, 7)
}

type spaces struct{}

func (spaces) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// signed is a request as an SDK signs it.
func (p *place) signed(path, body string, k iam.Key, header http.Header) *http.Request {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodPost, p.server.URL+path, strings.NewReader(body))
	p.must(err)
	for name, values := range header {
		r.Header[name] = values
	}
	sum := sha256.Sum256([]byte(body))
	p.must(v4.NewSigner().SignHTTP(p.ctx, sdk.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret}, r, hex.EncodeToString(sum[:]), "ses", east, p.clock()))
	return r
}

func TestLines(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	disabled, reader := p.newKey(mayIngest), p.newKey(mayRead)
	p.must(p.keys.Disable(p.ctx, disabled.ID))
	lines := sends("m-1") + "\r\n\n" + sends("m-2") + "\n{]\n" + sends("m-1")
	for _, c := range []struct {
		name, body string
		packed     bool
		want       string
	}{
		{"lines", lines, false, `{"Added":2,"Duplicates":1,"Rejected":1,"TooOld":0}`},
		{"again", lines, false, `{"Added":0,"Duplicates":3,"Rejected":1,"TooOld":0}`},
		{"an array", "[" + sends("m-3") + "," + sends("m-1") + "]", false, `{"Added":1,"Duplicates":1,"Rejected":0,"TooOld":0}`},
		{"packed", sends("m-4"), true, `{"Added":1,"Duplicates":0,"Rejected":0,"TooOld":0}`},
		{"nothing", "", false, `{"Added":0,"Duplicates":0,"Rejected":0,"TooOld":0}`},
		{"an empty array", "[]", false, `{"Added":0,"Duplicates":0,"Rejected":0,"TooOld":0}`},
	} {
		body, header := c.body, http.Header{"Content-Type": {"application/x-ndjson"}}
		if c.packed {
			body = gzipped(body)
			header.Set("Content-Encoding", "gzip")
		}
		if a := p.do(p.signed("/ingest/events", body, p.key, header)).is(t, c.name, 200); a.body != c.want {
			t.Errorf("%s: %s, want %s", c.name, a.body, c.want)
		}
	}
	p.has(ann, east, "m-1", "m-2", "m-3", "m-4")

	refused := func(what string, a answer, status int, code string) {
		t.Helper()
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != status || e.Type != "com.amazon.coral.service#"+code || e.Message == "" {
			t.Errorf("%s: %d %s, want %d %s", what, a.status, a.body, status, code)
		}
	}
	body := sends("m-5")
	refused("no signature", p.post("events", body, nil), 403, "MissingAuthenticationTokenException")
	refused("another body", p.do(withBody(p.signed("/ingest/events", body, p.key, nil), body+" ")), 403, "InvalidSignatureException")
	refused("another's secret", p.do(p.signed("/ingest/events", body, iam.Key{ID: p.key.ID, Secret: reader.Secret}, nil)), 403, "InvalidSignatureException")
	refused("disabled", p.do(p.signed("/ingest/events", body, disabled, nil)), 403, "UnrecognizedClientException")
	refused("unknown", p.do(p.signed("/ingest/events", body, iam.Key{ID: "SKAAAAAAAAAAAAAAAAAA", Secret: "x"}, nil)), 403, "UnrecognizedClientException")
	refused("not allowed", p.do(p.signed("/ingest/events", body, reader, nil)), 403, "AccessDeniedException")
	refused("not packed", p.do(p.signed("/ingest/events", body, p.key, http.Header{"Content-Encoding": {"gzip"}})), 400, "MalformedHttpRequestException")
	refused("cut off", p.do(p.signed("/ingest/events", gzipped(body)[:50], p.key, http.Header{"Content-Encoding": {"gzip"}})), 400, "MalformedHttpRequestException")
	refused("a bomb", p.do(p.signed("/ingest/events", gzipped(strings.Repeat("\n", 3<<20+1)), p.key, http.Header{"Content-Encoding": {"gzip"}})), 413, "RequestEntityTooLargeException")
	refused("records", p.do(p.signed("/ingest/events", strings.Repeat("1\n", 2001), p.key, nil)), 413, "RequestEntityTooLargeException")
	large := p.signed("/ingest/events", body, p.key, http.Header{"Expect": {"100-continue"}})
	large.ContentLength = 16<<20 + 1
	refused("too large", p.do(large), 413, "RequestEntityTooLargeException")
	old := p.signed("/ingest/events", body, p.key, nil)
	p.pass(16 * time.Minute)
	refused("an old signature", p.do(old), 403, "InvalidSignatureException")
	p.sent(ann, east, 4)
}

func withBody(r *http.Request, body string) *http.Request {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	return r
}

// A sender who has not proved anything yet cannot have all there is in hand.
func TestLinesInHand(t *testing.T) {
	t.Parallel()
	p := open(t, func(d *ingest.Doors) { d.InHand = 4 << 20 })
	body := strings.Repeat("\n", 1<<20)
	// A sender who is refused while it sends can find the connection closed before it
	// has read why; the next time it will have.
	var a answer
	for range 20 {
		r, err := p.client.Do(p.signed("/ingest/events", body, p.key, nil))
		if err == nil {
			text, _ := io.ReadAll(r.Body)
			r.Body.Close()
			a = answer{r.StatusCode, r.Header, string(text)}
			break
		}
	}
	a.is(t, "more than strangers may have", 503)
	if !strings.Contains(a.body, "ServiceUnavailable") || a.header.Get("Retry-After") == "" {
		t.Errorf("%+v", a)
	}
	p.do(p.signed("/ingest/events", body[:1<<18], p.key, nil)).is(t, "less", 200)
}

func TestLimits(t *testing.T) {
	want := map[string]ingest.Limits{
		"firehose": {Stored: 64 << 20, Unpacked: 64 << 20, Records: 200_000}, "sns": {Stored: 1 << 20, Unpacked: 1 << 20, Records: 200_000},
		"eventbridge": {Stored: 16 << 20, Unpacked: 64 << 20, Records: 200_000}, "events": {Stored: 16 << 20, Unpacked: 64 << 20, Records: 200_000},
	}
	if diff := cmp.Diff(want, ingest.RealLimits); diff != "" {
		t.Error(diff)
	}
}

// What a batch of Firehose is read as is what encoding/json reads.
func FuzzFirehoseBatch(f *testing.F) {
	f.Add([]byte(batch("id", "a", "")))
	f.Add([]byte(`{"records":[{"x":{"data":"e30="},"data":"e3\u00300="}],"requestId":"a\"b","timestamp":1e3}`))
	f.Add([]byte(` { } `))
	f.Fuzz(func(t *testing.T, body []byte) {
		var want struct {
			RequestID *string `json:"requestId"`
			Records   []struct {
				Data *[]byte `json:"data"`
			} `json:"records"`
		}
		var got [][]byte
		_, err := ingest.FirehoseBatch(body, func(data []byte, ok bool) error {
			if ok {
				got = append(got, bytes.Clone(data))
			}
			return nil
		})
		if !json.Valid(body) || json.Unmarshal(body, &want) != nil || bytes.Count(body, []byte("data")) != len(want.Records) || bytes.Count(body, []byte("ecords")) != 1 {
			return // it need not be read, and must not panic
		}
		for i, r := range want.Records {
			if r.Data == nil {
				return
			}
			if err == nil && (i >= len(got) || !bytes.Equal(got[i], *r.Data)) {
				t.Fatalf("%s: record %d is not as encoding/json reads it", body, i)
			}
		}
	})
}
