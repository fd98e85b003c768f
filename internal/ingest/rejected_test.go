package ingest_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sesame/internal/events"
	"sesame/internal/ingest"
	"sesame/internal/sigv4"
	"sesame/internal/wire"
)

// api answers the operations as the program does.
func (p *place) api() func(operation, body string, status int, into any) {
	edge := &wire.Edge{
		Sesame: &wire.Service{
			Namespace: "sesame", IAMPrefix: "sesame", Strict: true, Operations: p.doors.Operations(),
			Errors: map[string]int{"AccessDeniedException": 403, "ResourceNotFoundException": 404, "ThrottlingException": 429, "ValidationException": 400},
		},
		Verifier: sigv4.Verifier{Scope: sigv4.Scope{Region: east, Service: "ses"}, MaxBody: 1 << 20, Skew: time.Minute, Now: p.clock},
		Key:      p.find, Throttle: wire.NewThrottle(0, 0), MaxReading: 10, MaxInFlight: 10, Now: p.clock, NewID: func() string { return "id" },
		Log: slog.New(slog.DiscardHandler), Audit: slog.New(slog.DiscardHandler), Observe: func(string, string, time.Duration) {},
	}
	key := p.newKey(`{"Statement":{"Effect":"Allow","Action":"sesame:*Rejected*","Resource":"*"}}`)
	handler := edge.Handler()
	return func(operation, body string, status int, into any) {
		p.t.Helper()
		w := httptest.NewRecorder()
		r := p.signed("/sesame/v1/"+operation, body, key, http.Header{"Content-Type": {"application/json"}})
		r.RequestURI, r.Host = r.URL.RequestURI(), r.URL.Host
		handler.ServeHTTP(w, r)
		if w.Code != status {
			p.t.Errorf("%s %s: %d %s, want %d", operation, body, w.Code, w.Body, status)
		}
		if into != nil {
			p.must(json.Unmarshal(w.Body.Bytes(), into))
		}
	}
}

type listed struct {
	Records []struct {
		Id, Door, Reason  string
		ReceivedTimestamp float64
		Bytes             int
	}
	NextToken string
}

func TestRejectedOperations(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	call := p.api()
	var got listed
	call("ListRejectedRecords", "{}", 200, &got)
	if len(got.Records) != 0 || got.NextToken != "" {
		t.Errorf("at first: %+v", got)
	}
	for i := range 5 {
		p.post("firehose", batch(requestID, fmt.Sprintf(`{"eventType":"Send","n":%d}`, i)), p.hose()).is(t, "a bad record", 200)
		p.pass(time.Second)
	}
	p.post("eventbridge", "\xff\xfe nonsense", http.Header{"X-Api-Key": {pair(p.key)}}).is(t, "nonsense", 200)
	elsewhere := p.aws.confirmation() // of the server's own account
	elsewhere = p.aws.sign(elsewhere.with("Type", "Notification").with("Message", "x").without("Token").without("SubscribeURL"))
	p.post("sns", elsewhere.body(), head(elsewhere)).is(t, "of another account", 200)

	var ids []string
	token := ""
	for range 4 {
		var page listed
		call("ListRejectedRecords", `{"PageSize":2`+token+`}`, 200, &page)
		for _, r := range page.Records {
			ids = append(ids, r.Id)
			if r.Door == "firehose" && (r.Bytes != 26 || !strings.Contains(r.Reason, "mail")) || r.ReceivedTimestamp == 0 {
				t.Errorf("listed as %+v", r)
			}
		}
		if page.NextToken == "" {
			break
		}
		token = `,"NextToken":"` + page.NextToken + `"`
	}
	if len(ids) != 6 || !slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Fatalf("listed are %q", ids)
	}
	var one struct {
		Id, Door, Reason, Record string
		ReceivedTimestamp        float64
	}
	call("GetRejectedRecord", `{"Id":"`+ids[0]+`"}`, 200, &one)
	if one.Door != "eventbridge" || one.Record != "\ufffd nonsense" && one.Record != "\ufffd\ufffd nonsense" || one.ReceivedTimestamp != float64(p.clock().UnixMilli())/1000 {
		t.Errorf("%+v", one)
	}
	call("GetRejectedRecord", `{"Id":"`+ids[5]+`"}`, 200, &one)
	if one.Record != `{"eventType":"Send","n":0}` || one.Id != ids[5] {
		t.Errorf("%+v", one)
	}
	theirs := p.setAside(house, "")
	for _, refused := range []struct {
		operation, body string
		status          int
	}{
		{"ListRejectedRecords", `{"PageSize":0}`, 400},
		{"ListRejectedRecords", `{"PageSize":1001}`, 400},
		{"ListRejectedRecords", `{"NextToken":"x"}`, 400},
		{"GetRejectedRecord", `{}`, 400},
		{"GetRejectedRecord", `{"Id":"x"}`, 400},
		{"GetRejectedRecord", `{"Id":"rej-00000000000000000000000000"}`, 404},
		{"GetRejectedRecord", `{"Id":"` + theirs[0].ID + `"}`, 404},
		{"RetryRejectedRecords", `{"Ids":[]}`, 400},
		{"RetryRejectedRecords", `{"Ids":["x"]}`, 400},
		{"RetryRejectedRecords", `{"Ids":["` + ids[0] + `","` + theirs[0].ID + `"]}`, 404},
	} {
		call(refused.operation, refused.body, refused.status, nil)
	}

	call("DeleteRejectedRecords", `{"Ids":["`+ids[0]+`","`+theirs[0].ID+`"]}`, 404, nil)
	var deleted struct {
		Deleted int
		More    bool
	}
	call("DeleteRejectedRecords", `{"Ids":["`+ids[0]+`"]}`, 200, &deleted)
	call("GetRejectedRecord", `{"Id":"`+ids[0]+`"}`, 404, nil)
	if deleted.Deleted != 1 || deleted.More {
		t.Errorf("one was deleted: %+v", deleted)
	}
	call("DeleteRejectedRecords", `{}`, 200, &deleted)
	if deleted.Deleted != 5 || deleted.More {
		t.Errorf("all were deleted: %+v", deleted)
	}
	p.setAside(ann)
	if got := p.setAside(house, ""); len(got) != len(theirs) {
		t.Errorf("%d records of another account are left of %d", len(got), len(theirs))
	}
}

// A record whose events for many recipients are far larger than itself is set aside.
func TestWideRecord(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	wide := func(recipients int) string {
		to := make([]string, recipients)
		for i := range to {
			to[i] = fmt.Sprintf("%q", fmt.Sprintf("reader-%d@example.com", i))
		}
		return `{"eventType":"Send","mail":{"timestamp":"2026-11-20T10:00:00.000Z","messageId":"wide-` + fmt.Sprint(recipients) + `","destination":[` + strings.Join(to, ",") +
			`],"tags":{"a":["` + strings.Repeat("x", 30_000) + `"]}}}`
	}
	a := p.do(p.signed("/ingest/events", wide(900)+"\n"+wide(50), p.key, nil)).is(t, "a wide record", 200)
	if want := `{"Added":50,"Duplicates":0,"Rejected":1,"TooOld":0}`; a.body != want {
		t.Errorf("%s, want %s", a.body, want)
	}
	p.setAside(ann, "its events for 900 recipients are longer than 8388608 bytes")
	many := ""
	for i := range 20 {
		many += strings.Replace(wide(200), "wide-200", fmt.Sprint("wide-", i), 1) + "\n"
	}
	p.do(p.signed("/ingest/events", many, p.key, nil)).is(t, "many wide records", 413)
}

// Events of mail from before what is kept are counted and not stored.
func TestTooOld(t *testing.T) {
	t.Parallel()
	p := open(t, func(d *ingest.Doors) {
		d.Oldest = func() time.Time { return time.Date(2026, 11, 20, 10, 0, 0, 1e6, time.UTC) }
	})
	late := strings.Replace(sends("young"), "10:00:00.000Z", "10:00:00.001Z", 1)
	a := p.do(p.signed("/ingest/events", sends("old")+"\n"+late, p.key, nil)).is(t, "old and young", 200)
	if want := `{"Added":1,"Duplicates":0,"Rejected":0,"TooOld":1}`; a.body != want {
		t.Errorf("%s, want %s", a.body, want)
	}
	p.has(ann, east, "young")
	if found, err := p.events.Message(p.ctx, events.Source{Account: ann, Region: east}, "old"); err != nil || len(found) > 0 {
		t.Errorf("what is too old is stored: %v, %v", found, err)
	}
}

type retried struct {
	Added, Duplicates, Rejected int
	More                        bool
}

// What can be read now is appended and goes; the rest stays, and is not in the way.
func TestRetry(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	call := p.api()
	var all []ingest.Rejected
	add := func(i int, region, record string) string {
		id := fmt.Sprintf("rej-%010d%016d", i, i)
		all = append(all, ingest.Rejected{ID: id, Source: events.Source{Account: ann, Region: region}, Door: "firehose", Received: p.now, Reason: "a mistake", Record: []byte(record)})
		return id
	}
	add(1, east, sends("m-1"))
	add(2, west, sends("m-2")+"\n"+sends("m-3"))
	add(3, east, sends("m-4")+"\n{") // all of it or nothing
	add(4, east, "Successfully validated SNS topic")
	add(5, east, "{")
	p.must2(p.rejected.Add(p.ctx, all))
	var got retried
	call("RetryRejectedRecords", "{}", 200, &got)
	if diff := cmp.Diff(retried{3, 0, 2, false}, got); diff != "" {
		t.Error(diff)
	}
	p.has(ann, east, "m-1")
	p.has(ann, west, "m-2", "m-3")
	p.sent(ann, east, 1)
	p.setAside(ann, "a mistake", "a mistake")

	// By id, and what was delivered again meanwhile.
	good, bad := add(6, east, sends("m-1")), add(7, east, "[")
	p.must2(p.rejected.Add(p.ctx, all[5:]))
	call("RetryRejectedRecords", `{"Ids":["`+good+`","`+bad+`"]}`, 200, &got)
	if diff := cmp.Diff(retried{0, 1, 1, false}, got); diff != "" {
		t.Error(diff)
	}
	p.setAside(ann, "a mistake", "a mistake", "a mistake")

	// Many that stay do not keep one from its turn.
	all = nil
	for i := range 2500 {
		record := "{"
		if i == 0 || i == 1600 {
			record = sends(fmt.Sprintf("late-%d", i))
		}
		add(100+i, east, record)
	}
	p.must2(p.rejected.Add(p.ctx, all))
	var sum retried
	calls := 0
	for more := true; more; more = got.More {
		if calls++; calls > 10 {
			t.Fatal("it does not end")
		}
		call("RetryRejectedRecords", "{}", 200, &got)
		sum.Added, sum.Rejected = sum.Added+got.Added, sum.Rejected+got.Rejected
	}
	if calls != 3 || sum.Added != 2 || sum.Rejected != 2501 {
		t.Errorf("%d calls: %+v", calls, sum)
	}
	p.has(ann, east, "late-0", "late-1600")

	// Who stopped asking begins anew after a while.
	call("RetryRejectedRecords", "{}", 200, &got)
	p.pass(2 * time.Minute)
	calls = 0
	for more := true; more; more = got.More {
		calls++
		call("RetryRejectedRecords", "{}", 200, &got)
	}
	if calls != 3 {
		t.Errorf("%d calls", calls)
	}
}

func (p *place) must2(_ int64, err error) {
	p.t.Helper()
	p.must(err)
}
