package events

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// node is a JSON value whose objects keep their members in an order that can be
// drawn anew: a string, a number as its text, nil, list or object.
type (
	list   []any
	object []field
	field  struct {
		name  string
		value any
	}
)

// write writes a value with members in a drawn order, drawn white space, and text
// now plain and now escaped.
func write(t *rapid.T, value any) string {
	blank := func() string { return rapid.SampledFrom([]string{"", "", " ", "\n\t", "\r\n  "}).Draw(t, "blank") }
	var b strings.Builder
	open, closing := "[", "]"
	var parts []string
	switch v := value.(type) {
	case string:
		if rapid.Bool().Draw(t, "escaped") {
			b.WriteByte('"')
			for _, r := range v {
				if r < 0x10000 {
					fmt.Fprintf(&b, `\u%04x`, r)
				} else {
					b.WriteRune(r)
				}
			}
			return b.String() + `"`
		}
		quoted, _ := json.Marshal(v)
		return string(quoted)
	case json.Number:
		return string(v)
	case nil:
		return "null"
	case list:
		for _, one := range v {
			parts = append(parts, write(t, one))
		}
	case object:
		open, closing = "{", "}"
		for _, one := range rapid.Permutation(v).Draw(t, "order") {
			name, _ := json.Marshal(one.name)
			parts = append(parts, string(name)+blank()+":"+blank()+write(t, one.value))
		}
	}
	return open + blank() + strings.Join(parts, blank()+","+blank()) + blank() + closing
}

// drawRecord draws a record of a type of the shapes SES gives it.
func drawRecord(t *rapid.T) object {
	text := rapid.SampledFrom([]string{"", "General", "x", "Ünïcödé 日本 😀", `"quoted" \ <b>`, "a\nb"})
	address := rapid.SampledFrom([]string{"a@gmail.com", "B@Yahoo.com", "c@example.org", "ä@bücher.example", "x@simulator.amazonses.com"})
	stamp := func(name string) string {
		ms := rapid.Int64Range(1735689600000, 1767225600000).Draw(t, name)
		return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
	}
	addresses := rapid.SliceOfNDistinct(address, 1, 3, rapid.ID).Draw(t, "destination")
	var destination list
	for _, one := range addresses {
		destination = append(destination, one)
	}
	mail := object{
		{"timestamp", stamp("sent")}, {"messageId", rapid.StringMatching(`01000[0-9a-f]{11}-[0-9a-f]{8}-000000`).Draw(t, "id")},
		{"source", "Sender <sender@example.com>"}, {"sourceArn", "arn:aws:ses:us-east-1:123456789012:identity/example.com"},
		{"sendingAccountId", "123456789012"}, {"destination", destination}, {"callerIdentity", text.Draw(t, "caller")},
		{"tags", object{{"ses:configuration-set", list{"Set"}}, {"campaign", list{text.Draw(t, "tag"), "2"}}, {"a", list{}}}},
	}
	recipients := list{}
	for _, one := range addresses {
		recipients = append(recipients, object{{"emailAddress", one}, {"diagnosticCode", text.Draw(t, "diagnostic")}, {"status", "5.1.1"}})
	}
	at := field{"timestamp", stamp("at")}
	happened := rapid.SampledFrom([]object{
		{{"eventType", "Send"}, {"send", object{}}},
		{{"eventType", "Reject"}, {"reject", object{{"reason", "Bad content"}}}},
		{{"eventType", "Bounce"}, {"bounce", object{at, {"bounceType", "Transient"}, {"bounceSubType", text.Draw(t, "sub")}, {"bouncedRecipients", recipients}, {"feedbackId", text.Draw(t, "feedback")}}}},
		{{"eventType", "Complaint"}, {"complaint", object{at, {"complaintSubType", nil}, {"complainedRecipients", recipients}, {"arrivalDate", text.Draw(t, "arrival")}}}},
		{{"eventType", "Delivery"}, {"delivery", object{at, {"recipients", destination}, {"processingTimeMillis", json.Number("546")}, {"smtpResponse", text.Draw(t, "smtp")}}}},
		{{"eventType", "Open"}, {"open", object{at, {"ipAddress", "192.0.2.1"}, {"userAgent", text.Draw(t, "agent")}, {"isBotEvent", "Likely"}}}},
		{{"eventType", "Click"}, {"click", object{at, {"link", text.Draw(t, "link")}, {"linkTags", object{{"k", list{"v"}}, {"b", list{"w"}}}}}}},
		{{"eventType", "Rendering Failure"}, {"failure", object{{"templateName", "T"}, {"errorMessage", text.Draw(t, "message")}}}},
		{{"eventType", "DeliveryDelay"}, {"deliveryDelay", object{at, {"delayType", text.Draw(t, "delay")}, {"delayedRecipients", recipients}}}},
		{{"eventType", "Subscription"}, {"subscription", object{at, {"contactList", "L"}, {"newTopicPreferences", object{{"unsubscribeAll", nil}, {"a", text.Draw(t, "topic")}}}}}},
		{{"eventType", "Email Archived"}, {"emailArchived", object{at, {"recipients", recipients}, {"where", object{{"z", nil}, {"a", list{object{{"y", "1"}, {"x", "2"}}}}}}}}},
	}).Draw(t, "type")
	return append(object{{"mail", mail}, {"spare", object{{"b", json.Number("1.50")}, {"a", text.Draw(t, "spare")}}}}, happened...)
}

func mustDecode(t interface{ Fatalf(string, ...any) }, record string) []Event {
	events, err := Decode(ours, []byte(record))
	if err != nil {
		t.Fatalf("%v: %s", err, record)
	}
	return events
}

func keysOf(events []Event) (keys []uint64) {
	for _, e := range events {
		keys = append(keys, e.Key())
	}
	return keys
}

// TestSameEvent: the order of members, white space, escapes, and the way by which a
// record comes change nothing; the message's header fields change no key.
func TestSameEvent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		record := drawRecord(t)
		first := mustDecode(t, write(t, record))
		again := write(t, record)
		switch rapid.SampledFrom([]string{"firehose", "sns", "eventbridge"}).Draw(t, "way") {
		case "sns":
			again = write(t, object{{"Type", "Notification"}, {"MessageId", "m"}, {"Message", again}, {"Signature", "x"}})
		case "eventbridge":
			again = write(t, object{{"detail-type", "Email"}, {"source", "aws.ses"}, {"region", ours.Region}, {"account", ours.Account}, {"detail", record}})
		}
		if diff := cmp.Diff(first, mustDecode(t, again)); diff != "" {
			t.Fatalf("the same record again (-first +again):\n%s%s", diff, again)
		}

		mail := slices.Clone(record[0].value.(object))
		mail = append(mail, field{"headersTruncated", "true"}, field{"headers", list{object{{"name", "X"}, {"value", "y"}}}},
			field{"commonHeaders", object{{"subject", "Hi"}, {"from", list{"Other <other@example.net>"}}, {"date", "today"}}})
		withHeaders := slices.Clone(record)
		withHeaders[0].value = mail
		if diff := cmp.Diff(keysOf(first), keysOf(mustDecode(t, write(t, withHeaders)))); diff != "" {
			t.Fatalf("keys with headers:\n%s", diff)
		}
	})
}

// TestOtherEvent: each fact that makes an event another one changes its key, and
// what does not leaves it.
func TestOtherEvent(t *testing.T) {
	t.Parallel()
	facts := map[string]func(*Event){
		"account": func(e *Event) { e.Account += "1" }, "region": func(e *Event) { e.Region += "1" },
		"message": func(e *Event) { e.MessageID += "1" }, "destination": func(e *Event) { e.Destination += "1" },
		"type": func(e *Event) { e.Type = "x" + e.Type }, "time": func(e *Event) { e.Time = e.Time.Add(time.Millisecond) },
		"bounce type": func(e *Event) { e.BounceType += "1" }, "sub-type": func(e *Event) { e.SubType += "1" },
		"feedback": func(e *Event) { e.FeedbackID += "1" }, "delay": func(e *Event) { e.DelayType += "1" },
		"link": func(e *Event) { e.Link += "1" }, "user agent": func(e *Event) { e.UserAgent += "1" }, "ip": func(e *Event) { e.IP += "1" },
	}
	rapid.Check(t, func(t *rapid.T) {
		for _, e := range mustDecode(t, write(t, drawRecord(t))) {
			seen := map[uint64]string{e.Key(): "the event"}
			for name, change := range facts {
				other := e
				change(&other)
				if same, ok := seen[other.Key()]; ok {
					t.Fatalf("another %s: the key of %s", name, same)
				}
				seen[other.Key()] = name
			}
			// Text that moves from one field to the next is other text.
			moved := e
			moved.Link, moved.UserAgent = e.Link+e.UserAgent, ""
			if e.UserAgent != "" && moved.Key() == e.Key() {
				t.Fatal("the user agent as part of the link: the same key")
			}
			same := e
			same.Sent = e.Sent.Add(time.Hour)
			same.From, same.Subject, same.Tags, same.Diagnostic = "x", "x", "x", "x"
			same.ISP, same.Identity, same.ConfigurationSet, same.Multi = "x", "x", "x", !e.Multi
			if same.Key() != e.Key() {
				t.Fatal("what is of the message changed the key")
			}
			same.Details += " "
			if known := e.Type != "Email Archived"; (same.Key() == e.Key()) != known {
				t.Fatalf("%s: other details, the same key: %v", e.Type, !known)
			}
		}
	})
}

func TestTwoClicksInOneMillisecond(t *testing.T) {
	t.Parallel()
	click := func(link string) string {
		return `{"eventType":"Click","mail":{"messageId":"m","timestamp":"2026-03-01T12:00:00Z","destination":["a@gmail.com"]},` +
			`"click":{"timestamp":"2026-03-01T12:05:00.001Z","ipAddress":"192.0.2.1","userAgent":"Mozilla","link":"` + link + `"}}`
	}
	long := strings.Repeat("x", 9000)
	keys := map[uint64]bool{}
	links := []string{"https://example.com/1", "https://example.com/2", long + "1", long + "2", strings.Repeat("ü", 5000) + "1", strings.Repeat("ü", 5000) + "2"}
	for _, link := range links {
		e := mustDecode(t, click(link))[0]
		keys[e.Key()] = true
		if len(e.Link) > maxLink {
			t.Errorf("a link of %d bytes", len(e.Link))
		}
	}
	if len(keys) != len(links) {
		t.Errorf("%d links, %d keys", len(links), len(keys))
	}
}

// TestKeyStays: a key of today is one of the events that are stored.
func TestKeyStays(t *testing.T) {
	t.Parallel()
	e := Event{
		Source: ours, MessageID: "0100019ca9c2e07b-0a1b2c3d-000000", Destination: "a@gmail.com", Type: Click,
		Time: time.UnixMilli(1772366405001).UTC(), Link: "https://example.com", UserAgent: "Mozilla", IP: "192.0.2.1",
	}
	if got, want := e.Key(), uint64(0xcda823f436b52c4f); got != want {
		t.Errorf("key %#x, was %#x", got, want)
	}
}

func TestMessageNumber(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]int64{
		"0100019ca9c2e07b-0a1b2c3d-0000-4000-8000-00000000c0de-000000": 0x019ca9c2e07b,
		"ffff019ca9c2e07b-0a": 0x019ca9c2e07b,
		"01000125d3be4000-x":  -1, // in 2009
		"010003bb2cc3d800-x":  -1, // in 2100
		"0100019CA9C2E07B-x":  -1,
		"0100019ca9c2e07b-":   -1,
		"0100019ca9c2e07bx0":  -1,
		"EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000": -1,
		"": -1,
	} {
		if got := MessageNumber(id); got != want && (want >= 0 || got >= 0) {
			t.Errorf("%q: %d, want %d", id, got, want)
		}
	}
	if MessageNumber("one") == MessageNumber("two") {
		t.Error("ids of another form all have one number")
	}
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(1262304000000, 4102444800000-1)
		a, b := ms.Draw(t, "a"), ms.Draw(t, "b")
		id := func(ms int64) string {
			return fmt.Sprintf("%04x%012x-%08x-000000", rapid.Uint16().Draw(t, "region"), ms, rapid.Uint32().Draw(t, "rest"))
		}
		if (MessageNumber(id(a)) < MessageNumber(id(b))) != (a < b) {
			t.Fatalf("numbers are not in the order of time: %d, %d", a, b)
		}
	})
}
