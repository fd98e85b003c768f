// Package ingest is the doors that email events come in by, under /ingest/: the
// Firehose HTTP delivery protocol, SNS notifications, EventBridge API destinations
// and lines of JSON.
//
// It promises that a 200 means that every event of the request is durable, and
// that every record that could not be read is durably set aside with its reason;
// that the same request again changes nothing; that no event is taken from who has
// not proved to be allowed; and that one sender's size, slowness or malice costs
// the others nothing but their turn.
//
// It may import events, iam, sigv4 and wire.
package ingest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"sesame/internal/events"
	"sesame/internal/iam"
	"sesame/internal/wire"
)

// EventStore is where events go.
type EventStore interface {
	// Append adds the events that are not there yet, and says how many that were. They
	// are durable when it returns nil, and appending them again after an error is
	// right. The slice is the caller's again when it returns.
	Append(ctx context.Context, all []events.Event) (added int, err error)
}

// Doors answers under /ingest/. Fill in what is exported.
type Doors struct {
	Events   EventStore
	Rejected RejectedStore
	// Key finds a usable access key and its policy, as for wire.Edge; ok is false when
	// there is none.
	Key       func(ctx context.Context, id string) (key iam.Key, policy *iam.Policy, ok bool, err error)
	Account   string   // whose events signed SNS notifications bring, which have no key
	Region    string   // of events whose request names no other
	SNSTopics []string // ARNs of the topics whose signed notifications are taken
	// Oldest is when mail was sent whose events are still kept: older ones are counted
	// and not stored. nil: all are.
	Oldest func() time.Time
	// Client fetches SNS's certificates and confirms subscriptions; nil for one that
	// asks SNS itself. Whichever it is, redirects are not followed.
	Client *http.Client
	// InHand is how many bytes of bodies, as they come and unpacked, all requests
	// together may have in memory; a quarter of it more is for each of the two doors
	// whose senders cannot prove themselves before their body is read. Who comes when it is used up is told to
	// come back.
	InHand  int64
	Idle    time.Duration // a sender who is silent for so long is given up
	Pages   wire.Pages
	Now     func() time.Time
	NewID   func() string // request ids
	Log     *slog.Logger  // one line a request
	Counted func(door string, added, duplicates, rejected int)

	proved       gate
	strangers    gate // senders of lines, until their signature is proved
	notices      gate // senders of SNS's messages, which are proved when they are read
	certificates certificates
	retries      retries
	foreign      sync.Map // regions but the server's that events came from
}

// action is what the policy of a key must allow, on "*".
const action = "sesame:IngestEvents"

// door is one way in.
type door struct {
	name     string
	stored   int64         // bytes that a body may have as it is sent
	unpacked int64         // bytes that it may have unpacked
	records  int           // that a request may bring, lines included
	within   time.Duration // a body must come in this time
	statuses [kinds]int    // of each kind of refusal
	take     func(*visit) error
	answer   func(v *visit, refused *refusal)
}

// kind is why a request is refused.
type kind int

const (
	noKey      kind = iota // no access key, an unknown or disabled one, or not its secret
	notAllowed             // its policy does not let it, or the topic is not one that is taken
	forged                 // a signature of SNS is not one
	malformed              // the body is not of the protocol
	tooLarge               // more than the protocol or Sesame allows
	broken                 // the body broke off, or came too slowly
	busy                   // the server has as much in hand as it can
	failed                 // the server's own trouble
	kinds
)

// doors says for each kind of refusal what status tells its sender to do what is
// right: to come back where that may help, and not where it never will.
//
// Firehose gives a batch up at 413 and sends it again after everything else, until
// the stream's retry duration is over and the batch goes to its bucket. So 413 is
// for what is larger than the protocol allows and will be so every time. A key can
// be put right while Firehose keeps trying, and what reads as no body of the
// protocol was damaged on its way, since Firehose makes none such.
// https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html
//
// SNS tries again after 5XX and 429 and gives a message up after any other 4XX.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
//
// EventBridge tries again after 401, 407, 409, 429 and 5XX, so that 401 stands for
// a policy too, which can be put right like a key.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-api-destinations.html
var doors = map[string]*door{
	"/ingest/firehose": {
		name: "firehose", stored: 64 << 20, unpacked: 64 << 20, records: mostRecords, within: 3 * time.Minute,
		statuses: [kinds]int{noKey: 401, notAllowed: 403, malformed: 400, tooLarge: 413, broken: 400, busy: 503, failed: 500},
		take:     (*visit).firehose, answer: (*visit).answerFirehose,
	},
	"/ingest/sns": {
		name: "sns", stored: 1 << 20, unpacked: 1 << 20, records: mostRecords, within: 15 * time.Second,
		statuses: [kinds]int{noKey: 401, notAllowed: 403, forged: 403, malformed: 400, tooLarge: 413, broken: 503, busy: 503, failed: 500},
		take:     (*visit).sns, answer: (*visit).answerText,
	},
	"/ingest/eventbridge": {
		name: "eventbridge", stored: 16 << 20, unpacked: 64 << 20, records: mostRecords, within: 30 * time.Second,
		statuses: [kinds]int{noKey: 401, notAllowed: 401, malformed: 400, tooLarge: 413, broken: 503, busy: 503, failed: 500},
		take:     (*visit).eventbridge, answer: (*visit).answerText,
	},
	"/ingest/events": {
		name: "events", stored: 16 << 20, unpacked: 64 << 20, records: mostRecords, within: 3 * time.Minute,
		statuses: [kinds]int{noKey: 403, notAllowed: 403, malformed: 400, tooLarge: 413, broken: 408, busy: 503, failed: 500},
		take:     (*visit).lines, answer: (*visit).answerLines,
	},
}

// refusal is why a request was not taken.
type refusal struct {
	kind    kind
	message string // for the sender
	code    string // the door events'; "" for the kind's own
	cause   error  // what the operator should know and the sender should not
}

func (r *refusal) Error() string {
	if r.cause != nil {
		return r.message + ": " + r.cause.Error()
	}
	return r.message
}

func refuse(k kind, format string, args ...any) error {
	return &refusal{kind: k, message: fmt.Sprintf(format, args...)}
}

// visit is one request.
type visit struct {
	*Doors
	door    *door
	w       http.ResponseWriter
	r       *http.Request
	id      string
	control *http.ResponseController
	held    map[*gate]int64 // bytes in hand

	src       events.Source
	accessKey string
	foreignID string // the sender's own id of the request
	bytes     int64  // of the body as it was sent
	counts    counts
}

// counts says what became of records and events.
type counts struct {
	Added      int // events that are new
	Duplicates int // events that were there
	Rejected   int // records set aside
	TooOld     int // events that would be removed again at once
	notices    int // records that are no events, such as SES's trial of a destination
}

// ServeHTTP answers one request.
func (d *Doors) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := d.Now()
	v := &visit{
		Doors: d, door: doors[r.URL.Path], w: w, r: r, id: d.NewID(), control: http.NewResponseController(w), held: map[*gate]int64{},
		src: events.Source{Account: d.Account, Region: d.Region},
	}
	w.Header().Set("X-Amzn-RequestId", v.id)
	if v.door == nil || r.Method != http.MethodPost {
		w.Header().Set("Connection", "close") // what is left of the body is not read
		status := http.StatusNotFound
		if v.door != nil {
			w.Header().Set("Allow", http.MethodPost)
			status = http.StatusMethodNotAllowed
		}
		http.Error(w, http.StatusText(status)+": events are POSTed to /ingest/firehose, /ingest/sns, /ingest/eventbridge or /ingest/events", status)
		d.Log.Warn("ingest refused", "request_id", v.id, "status", status, "method", shortened(r.Method), "path", shortened(r.URL.Path))
		return
	}
	err := v.take()
	for g, n := range v.held {
		g.give(n)
	}
	var refused *refusal
	switch {
	case err == nil:
	case errors.As(err, &refused):
	case r.Context().Err() != nil: // the sender has gone; a store may say so in its own words
		refused = &refusal{kind: broken, message: "The request was given up before it was answered."}
	default:
		refused = &refusal{kind: failed, cause: err,
			message: fmt.Sprintf("Something went wrong inside the server; its log says what under request id %s. Try again.", v.id)}
	}
	status := http.StatusOK
	if refused != nil {
		status = v.door.statuses[refused.kind]
		w.Header().Set("Connection", "close")
		if refused.kind == busy {
			w.Header().Set("Retry-After", "1")
		}
	}
	// Making it durable may have taken longer than the server's deadline allows for.
	v.control.SetWriteDeadline(time.Now().Add(d.Idle)) // or the sender is gone, and will come again
	v.door.answer(v, refused)
	v.report(status, refused, d.Now().Sub(start))
}

// take does what the door does. A panic is an internal failure of this request
// alone.
func (v *visit) take() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return v.door.take(v)
}

func (v *visit) report(status int, refused *refusal, d time.Duration) {
	v.Counted(v.door.name, v.counts.Added, v.counts.Duplicates, v.counts.Rejected)
	source, _, _ := net.SplitHostPort(v.r.RemoteAddr)
	attrs := []any{
		"request_id", v.id, "door", v.door.name, "status", status, "account", v.src.Account, "region", v.src.Region, "access_key", v.accessKey, "source", source,
		"sender_request_id", v.foreignID, "bytes", v.bytes,
		"added", v.counts.Added, "duplicates", v.counts.Duplicates, "rejected", v.counts.Rejected, "too_old", v.counts.TooOld, "notices", v.counts.notices,
		"ms", float64(d.Microseconds()) / 1000,
	}
	if refused == nil {
		v.Log.Info("ingest", attrs...)
		if _, told := v.foreign.LoadOrStore(v.src.Region, true); v.src.Region != v.Region && !told {
			v.Log.Warn("events of another region are stored, and this server does not answer for it", "region", v.src.Region, "answers for", v.Region)
		}
		return
	}
	attrs = append(attrs, "reason", refused.message)
	if refused.cause != nil {
		attrs = append(attrs, "error", refused.cause)
	}
	level := slog.LevelWarn
	if refused.kind == failed {
		level = slog.LevelError
	}
	v.Log.Log(v.r.Context(), level, "ingest refused", attrs...)
}

// write sends an answer of one piece, whose length is told.
func (v *visit) write(status int, contentType string, body []byte) {
	v.w.Header().Set("Content-Type", contentType)
	v.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	v.w.WriteHeader(status)
	v.w.Write(body)
}

func (v *visit) writeJSON(status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		panic("ingest: an answer does not encode: " + err.Error())
	}
	v.write(status, "application/json", body)
}

// answerText says nothing, or in plain words what is wrong.
func (v *visit) answerText(refused *refusal) {
	if refused == nil {
		v.write(http.StatusOK, "text/plain; charset=utf-8", nil)
		return
	}
	if refused.kind == noKey {
		// SNS gives the name and password of a subscription's URL when it is asked.
		v.w.Header().Set("WWW-Authenticate", `Basic realm="Sesame"`)
	}
	v.write(v.door.statuses[refused.kind], "text/plain; charset=utf-8", []byte(refused.message+"\n"))
}

// prove finds out whose key it is and whether it may bring events in.
func (v *visit) prove(id, secret string) error {
	if id == "" || len(id) > 128 {
		return refuse(noKey, "The request has no access key of Sesame: give ACCESSKEYID:SECRET.")
	}
	v.accessKey = shortened(id)
	key, policy, ok, err := v.Key(v.r.Context(), id)
	if err != nil {
		return fmt.Errorf("look up access key: %w", err)
	}
	given, right := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(key.Secret))
	if same := subtle.ConstantTimeCompare(given[:], right[:]) == 1; !ok || !same || key.Secret == "" {
		return refuse(noKey, "The access key is unknown or disabled, or its secret is another.")
	}
	return v.allow(key, policy)
}

// allow lets a key in whose holder has proved to be that.
func (v *visit) allow(key iam.Key, policy *iam.Policy) error {
	v.accessKey, v.src.Account = key.ID, key.Account
	if policy.Decide(iam.Request{Action: action, Resource: "*"}) != iam.Allow {
		return &refusal{kind: notAllowed, message: fmt.Sprintf("User: %s is not authorized to perform: %s on resource: *", key.ARN(), action)}
	}
	return nil
}

var regionForm = regexp.MustCompile(`^[a-z0-9-]{1,20}$`)

// regionOf gives the region of an ARN of a service; "" when it is none.
func regionOf(arn, service string) string {
	// arn:partition:service:region:account:resource
	fields := strings.SplitN(arn, ":", 6)
	if len(fields) < 6 || fields[0] != "arn" || fields[2] != service || !regionForm.MatchString(fields[3]) {
		return ""
	}
	return fields[3]
}

// shortened makes a sender's text fit for a log line or an answer.
func shortened(s string) string { return strings.ToValidUTF8(s[:min(len(s), 256)], "?") }
