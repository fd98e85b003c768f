package ingest_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sesame/internal/events"
	"sesame/internal/ingest"
)

const requestID = "ed4acda5-034f-9f42-bba1-f29aea6d7d8f"

// hose is the header of a request of Firehose.
func (p *place) hose() http.Header {
	return http.Header{
		"X-Amz-Firehose-Protocol-Version":  {"1.0"},
		"X-Amz-Firehose-Request-Id":        {requestID},
		"X-Amz-Firehose-Source-Arn":        {"arn:aws:firehose:us-east-1:123456789012:deliverystream/ses"},
		"X-Amz-Firehose-Access-Key":        {pair(p.key)},
		"X-Amz-Firehose-Common-Attributes": {`{"commonAttributes":{"deployment":"test"}}`},
		"Content-Type":                     {"application/json"},
		"User-Agent":                       {"Amazon Kinesis Data Firehose Agent/1.0"},
	}
}

func with(h http.Header, name, value string) http.Header {
	h = h.Clone()
	h.Set(name, value)
	return h
}

// firehose checks that an answer has the form that Firehose demands.
func (p *place) firehose(what string, a answer, status int) {
	p.t.Helper()
	a.is(p.t, what, status)
	var out struct {
		RequestID    *string `json:"requestId"`
		Timestamp    *int64  `json:"timestamp"`
		ErrorMessage *string `json:"errorMessage"`
	}
	d := json.NewDecoder(strings.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil || out.RequestID == nil || out.Timestamp == nil {
		p.t.Errorf("%s: the answer %q is not of the protocol: %v", what, a.body, err)
		return
	}
	if *out.RequestID != requestID || *out.Timestamp != p.clock().UnixMilli() || a.header.Get("Content-Type") != "application/json" {
		p.t.Errorf("%s: the answer is %s with %v", what, a.body, a.header)
	}
	if (status == 200) != (out.ErrorMessage == nil) || out.ErrorMessage != nil && (*out.ErrorMessage == "" || len(*out.ErrorMessage) > 8192) {
		p.t.Errorf("%s: the answer %d has the message %q", what, status, a.body)
	}
}

func TestFirehose(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	one := batch(requestID, sends("m-1")+"\n", sends("m-2")+"\n"+sends("m-3")+"\n")
	p.firehose("a batch", p.post("firehose", one, p.hose()), 200)
	p.has(ann, east, "m-1", "m-2", "m-3")
	p.firehose("again", p.post("firehose", one, p.hose()), 200)
	p.sent(ann, east, 3)
	if got, want := p.counted["firehose"], [3]int{3, 3, 0}; got != want {
		t.Errorf("counted %v, want %v", got, want)
	}

	packed := with(p.hose(), "Content-Encoding", "gzip")
	p.firehose("packed", p.post("firehose", gzipped(batch(requestID, sends("m-4"))), packed), 200)
	unknownLength := p.request("firehose", struct{ io.Reader }{strings.NewReader(batch(requestID, sends("m-5")))}, p.hose())
	p.firehose("chunked", p.do(unknownLength), 200)
	elsewhere := with(p.hose(), "X-Amz-Firehose-Source-Arn", "arn:aws:firehose:eu-west-1:123456789012:deliverystream/ses")
	p.firehose("another region", p.post("firehose", batch(requestID, sends("m-6")), elsewhere), 200)
	p.has(ann, west, "m-6")
	noARN := with(p.hose(), "X-Amz-Firehose-Source-Arn", "arn:aws:firehose:NO/REGION:1:x")
	p.firehose("no region", p.post("firehose", batch(requestID, sends("m-7")), noARN), 200)
	p.firehose("no records", p.post("firehose", batch(requestID), p.hose()), 200)
	notice := batch(requestID, "Successfully validated SNS topic for Amazon SES event publishing.", "", "\n\n")
	p.firehose("a notice", p.post("firehose", notice, p.hose()), 200)
	spaced := "\n{ \"records\" : [ { \"more\" : [1,{\"a\":\"]}\\\"\"}] , \"data\" : \"" + strings.ReplaceAll(base64.StdEncoding.EncodeToString([]byte(sends("m-8"))), "=", `\u003d`) +
		"\" } ] , \"timestamp\" : 1 , \"requestId\" : \"" + requestID + "\" }\n"
	p.firehose("spaced", p.post("firehose", spaced, p.hose()), 200)
	p.has(ann, east, "m-4", "m-5", "m-7", "m-8")
	noID := p.hose()
	noID.Del("X-Amz-Firehose-Request-Id")
	p.firehose("the request id in the body", p.post("firehose", one, noID), 200)
	p.setAside(ann)
}

// A record that cannot be read is set aside, once, and holds up nothing.
func TestFirehoseSetsAside(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	long := `{"a":"` + strings.Repeat("x", 1_600_000) + `"}`
	body := batch(requestID, sends("m-1"), "{", sends("m-2")+"\nnonsense about a@example.com\n"+sends("m-3"), `{"eventType":"Send"}`, long)
	body = strings.Replace(body, `"records":[`, `"records":[{"data":"!!!"},`, 1)
	for range 2 {
		p.firehose("a batch", p.post("firehose", body, p.hose()), 200)
		p.pass(time.Hour)
	}
	p.has(ann, east, "m-1", "m-2", "m-3")
	if got, want := p.counted["firehose"], [3]int{3, 3, 10}; got != want {
		t.Errorf("counted %v, want %v", got, want)
	}
	for _, r := range p.setAside(ann, "not base64", "not JSON", "not JSON", "mail", "only its beginning is kept") {
		if r.Door != "firehose" || r.Region != east || r.Received.After(p.clock().Add(-time.Hour)) {
			t.Errorf("set aside as %+v", r)
		}
	}
}

func TestFirehoseKeys(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	disabled, reader := p.newKey(mayIngest), p.newKey(mayRead)
	p.must(p.keys.Disable(p.ctx, disabled.ID))
	for _, c := range []struct {
		name, key string
		status    int
	}{
		{"none", "", 401},
		{"no secret", p.key.ID, 401},
		{"an empty secret", p.key.ID + ":", 401},
		{"no id", ":" + p.key.Secret, 401},
		{"another's secret", p.key.ID + ":" + reader.Secret, 401},
		{"the beginning of the secret", pair(p.key)[:50], 401},
		{"more than the secret", pair(p.key) + "x", 401},
		{"unknown", "SKAAAAAAAAAAAAAAAAAA:" + p.key.Secret, 401},
		{"unknown, without a secret", "SKAAAAAAAAAAAAAAAAAA:", 401},
		{"disabled", pair(disabled), 401},
		{"long", strings.Repeat("x", 4096), 401},
		{"not allowed", pair(reader), 403},
	} {
		// The client waits for leave to send the body, and must not get it.
		body := &watched{in: strings.NewReader(batch(requestID, sends("m-1")))}
		r := p.request("firehose", body, with(with(p.hose(), "X-Amz-Firehose-Access-Key", c.key), "Expect", "100-continue"))
		p.firehose(c.name, p.do(r), c.status)
		if body.read.Load() {
			t.Errorf("%s: the body was read", c.name)
		}
	}
	p.sent(ann, east, 0)
	allowed := p.request("firehose", strings.NewReader(batch(requestID, sends("m-1"))), with(p.hose(), "Expect", "100-continue"))
	p.firehose("allowed", p.do(allowed), 200)
	p.must(p.keys.Disable(p.ctx, p.key.ID))
	p.firehose("disabled since", p.post("firehose", batch(requestID, sends("m-2")), p.hose()), 401)
	p.sent(ann, east, 1)
}

type watched struct {
	in   io.Reader
	read atomic.Bool
}

func (w *watched) Read(b []byte) (int, error) {
	w.read.Store(true)
	return w.in.Read(b)
}

// What Firehose does with a status decides whether events are lost: 413 ends a
// batch, all others but 200 bring it again.
func TestFirehoseRefuses(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	packed := with(p.hose(), "Content-Encoding", "gzip")
	good := batch(requestID, sends("m-1"))
	many := strings.TrimSuffix(strings.Repeat(`{"data":""},`, 10_001), ",")
	for _, c := range []struct {
		name   string
		body   string
		header http.Header
		status int
	}{
		{"empty", "", p.hose(), 400},
		{"cut off", good[:len(good)-20], p.hose(), 400},
		{"without its end", strings.TrimSuffix(good, "}"), p.hose(), 400},
		{"with more behind", good + "x", p.hose(), 400},
		{"an array", "[" + good + "]", p.hose(), 400},
		{"no records", `{"requestId":"` + requestID + `","timestamp":1}`, p.hose(), 400},
		{"records that are none", `{"records":{"data":""}}`, p.hose(), 400},
		{"a record that is none", `{"records":["e30="]}`, p.hose(), 400},
		{"a record without data", `{"records":[{"date":""}]}`, p.hose(), 400},
		{"data that is no text", `{"records":[{"data":1}]}`, p.hose(), 400},
		{"packed and not said", gzipped(good), p.hose(), 400},
		{"said and not packed", good, packed, 400},
		{"packed, cut off", gzipped(good)[:60], packed, 400},
		{"packed, without its sum", gzipped(good)[:len(gzipped(good))-5], packed, 400},
		{"packed otherwise", good, with(p.hose(), "Content-Encoding", "br"), 400},
		{"packed twice", gzipped(gzipped(good)), with(p.hose(), "Content-Encoding", "gzip, gzip"), 400},
		{"another version", good, with(p.hose(), "X-Amz-Firehose-Protocol-Version", "2.0"), 400},
		{"10,001 records", `{"records":[` + many + `]}`, p.hose(), 413},
		{"2001 lines", batch(requestID, strings.Repeat("x\n", 2001)), p.hose(), 413},
		{"a bomb", gzipped(strings.Repeat(" ", 3<<20+1)), packed, 413},
	} {
		p.firehose(c.name, p.post("firehose", c.body, c.header), c.status)
	}
	p.setAside(ann)

	// Of what says itself to be too large nothing is read.
	body := &watched{in: strings.NewReader(good)}
	r := p.request("firehose", body, with(p.hose(), "Expect", "100-continue"))
	r.ContentLength = 3<<20 + 1
	p.firehose("too large", p.do(r), 413)
	if body.read.Load() {
		t.Error("the body was read")
	}
	if a := p.do(mustRequest(t, http.MethodGet, p.server.URL+"/ingest/firehose")); a.status != 405 || a.header.Get("Allow") != "POST" {
		t.Errorf("GET: %+v", a)
	}
	p.post("nothing", "", nil).is(t, "no door", 404)
	p.post("firehose/", "", p.hose()).is(t, "no door either", 404)
	p.post("", "", nil).is(t, "no door at all", 404)
}

func mustRequest(t *testing.T, method, url string) *http.Request {
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// begin sends the head of a request and a part of its body.
func (p *place) begin(door string, h http.Header, length int, part string) net.Conn {
	p.t.Helper()
	c, err := net.Dial("tcp", p.server.Listener.Addr().String())
	p.must(err)
	fmt.Fprintf(c, "POST /ingest/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", door, length)
	p.must(h.Write(c))
	_, err = io.WriteString(c, "\r\n"+part)
	p.must(err)
	return c
}

func (p *place) finish(c net.Conn) answer {
	p.t.Helper()
	got, err := http.ReadResponse(bufio.NewReader(c), nil)
	p.must(err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	p.must(err)
	p.must(c.Close())
	return answer{got.StatusCode, got.Header, string(text)}
}

func TestSlowAndBroken(t *testing.T) {
	t.Parallel()
	p := open(t, func(d *ingest.Doors) {
		d.Idle = 100 * time.Millisecond
		store := d.Events
		d.Events = appending(func(ctx context.Context, all []events.Event) (int, error) {
			// A store that takes longer than senders may is none of their doing.
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-time.After(300 * time.Millisecond):
			}
			return store.Append(ctx, all)
		})
	})
	body := batch(requestID, sends("m-1"))
	c := p.begin("firehose", p.hose(), len(body), body[:50])
	p.firehose("a sender who falls silent", p.finish(c), 400)
	c = p.begin("firehose", p.hose(), len(body), body[:50])
	p.must(c.(*net.TCPConn).CloseWrite())
	p.firehose("a sender who breaks off", p.finish(c), 400)
	packed := gzipped(body)
	c = p.begin("firehose", with(p.hose(), "Content-Encoding", "gzip"), len(packed), packed[:50])
	p.must(c.(*net.TCPConn).CloseWrite())
	p.firehose("a sender of gzip who breaks off", p.finish(c), 400)
	c = p.begin("eventbridge", http.Header{"X-Api-Key": {pair(p.key)}}, 100, "{")
	p.finish(c).is(t, "EventBridge breaks off", 503)
	p.sent(ann, east, 0)

	// Slow and steady is another matter.
	c = p.begin("firehose", p.hose(), len(body), "")
	for _, b := range []byte(body[:8]) {
		time.Sleep(20 * time.Millisecond)
		_, err := c.Write([]byte{b})
		p.must(err)
	}
	_, err := io.WriteString(c, body[8:])
	p.must(err)
	p.firehose("a slow sender", p.finish(c), 200)
	p.sent(ann, east, 1)
}

// Who comes when as much is in hand as may be is told to come back, and can.
func TestInHand(t *testing.T) {
	t.Parallel()
	p := open(t, func(d *ingest.Doors) { d.InHand = 1 << 20 })
	small := batch(requestID, sends("m-1"))
	large := batch(requestID, strings.Repeat(" ", 700_000))
	c := p.begin("firehose", p.hose(), 900_000, strings.Repeat(" ", 1000))
	for p.doors.Held() == 0 {
		time.Sleep(time.Millisecond)
	}
	a := p.post("firehose", large, p.hose())
	p.firehose("while another is read", a, 503)
	if a.header.Get("Retry-After") == "" {
		t.Error("nothing says when to come back")
	}
	p.firehose("a small one", p.post("firehose", small, p.hose()), 200)
	// Strangers have a place of their own, and no more.
	h, _ := p.aws.notification("x")
	p.post("sns", strings.Repeat(" ", 1<<20), h).is(t, "a stranger", 503)
	p.must(c.Close())
	for p.doors.Held() != 0 {
		time.Sleep(time.Millisecond)
	}
	p.firehose("a large one", p.post("firehose", batch(requestID, strings.Repeat(" ", 200_000)), p.hose()), 200)
}

// appending is a store that something happens before.
type appending func(context.Context, []events.Event) (int, error)

func (a appending) Append(ctx context.Context, all []events.Event) (int, error) { return a(ctx, all) }

// What goes wrong in one request is that request's trouble, and the next try
// brings everything.
func TestTrouble(t *testing.T) {
	t.Parallel()
	var turn int
	p := open(t, func(d *ingest.Doors) {
		store := d.Events
		d.Events = appending(func(ctx context.Context, all []events.Event) (int, error) {
			switch turn++; turn {
			case 1:
				return 0, errors.New("the disk is on fire")
			case 2:
				panic("the disk has burnt")
			}
			return store.Append(ctx, all)
		})
	})
	body := batch(requestID, sends("m-1"), "{")
	for range 2 {
		a := p.post("firehose", body, p.hose())
		p.firehose("in trouble", a, 500)
		if strings.Contains(a.body, "disk") {
			t.Errorf("the sender is told %s", a.body)
		}
	}
	p.setAside(ann)
	if got := p.counted["firehose"]; got != [3]int{} {
		t.Errorf("counted %v", got)
	}
	p.firehose("afterwards", p.post("firehose", body, p.hose()), 200)
	p.has(ann, east, "m-1")
	p.setAside(ann, "not JSON")
	for _, said := range []string{"the disk is on fire", "the disk has burnt", "goroutine"} {
		if !strings.Contains(p.logged(), said) {
			t.Errorf("the log does not say %q:\n%s", said, p.logged())
		}
	}
}

// Senders who each send every batch until it is taken, and some of it twice or in
// another's batch too, bring every event in once.
func TestSendersAtOnce(t *testing.T) {
	t.Parallel()
	var appends atomic.Int64
	p := open(t, func(d *ingest.Doors) {
		store := d.Events
		d.Events = appending(func(ctx context.Context, all []events.Event) (int, error) {
			if appends.Add(1)%5 == 0 {
				return 0, errors.New("now and then")
			}
			return store.Append(ctx, all)
		})
	})
	const senders, batches, records, all = 6, 8, 40, 1000
	said := map[int]bool{}
	var mu sync.Mutex
	var running sync.WaitGroup
	for s := range senders {
		running.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(s)))
			for range batches {
				var data []string
				for range records {
					n := random.IntN(all)
					data = append(data, sends(fmt.Sprintf("m-%d", n)))
					mu.Lock()
					said[n] = true
					mu.Unlock()
				}
				body, h := batch(requestID, data...), p.hose()
				if random.IntN(2) == 0 {
					body, h = gzipped(body), with(h, "Content-Encoding", "gzip")
				}
				for tries := 0; p.post("firehose", body, h).status != 200; tries++ {
					if tries == 20 {
						t.Error("a batch was refused twenty times")
						return
					}
				}
				p.post("firehose", body, h) // its answer was lost
			}
		})
	}
	running.Wait()
	p.sent(ann, east, int64(len(said)))
	if c := p.counted["firehose"]; c[0] != len(said) || c[2] != 0 {
		t.Errorf("counted %v, want %d new ones", c, len(said))
	}
}
