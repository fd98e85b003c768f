package ingest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sesame/internal/ingest"
)

const (
	topic      = "arn:aws:sns:us-east-1:123456789012:ses-events"
	chinaTopic = "arn:aws-cn:sns:cn-north-1:123456789012:ses-events"
	certURL    = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
)

// aws stands where SNS serves its certificates and confirms subscriptions.
type aws struct {
	t      testing.TB
	key    *rsa.PrivateKey
	server *httptest.Server

	mu    sync.Mutex
	pages map[string]http.HandlerFunc // by URL without query
	asked map[string]int              // how often each URL was asked for
}

var snsKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newAWS(t testing.TB, now time.Time) *aws {
	a := &aws{t: t, key: snsKey(), pages: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := *r.URL
		u.Scheme, u.Host = "https", r.Host
		a.mu.Lock()
		a.asked[u.String()]++
		u.RawQuery = ""
		page := a.pages[u.String()]
		a.mu.Unlock()
		if page == nil {
			http.NotFound(w, r)
			return
		}
		page(w, r)
	}))
	good := a.certificate(&a.key.PublicKey, now.Add(-time.Hour), now.Add(24*time.Hour))
	a.page(certURL, good)
	a.page(strings.Replace(certURL, "us-east-1.amazonaws.com", "cn-north-1.amazonaws.com.cn", 1), good)
	a.page("https://sns.us-east-1.amazonaws.com/", []byte(`<ConfirmSubscriptionResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"/>`))
	return a
}

func (a *aws) close() { a.server.Close() }

func (a *aws) page(url string, body []byte) {
	a.handle(url, func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })
}

func (a *aws) handle(url string, h http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pages[url] = h
}

func (a *aws) times(url string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[url]
}

func (a *aws) total() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range a.asked {
		n += one
	}
	return n
}

// client is one for which every host is this one.
func (a *aws) client() *http.Client {
	to, err := url.Parse(a.server.URL)
	if err != nil {
		a.t.Fatal(err)
	}
	return &http.Client{Transport: redirected{to}}
}

type redirected struct{ to *url.URL }

func (d redirected) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host, r.URL.Scheme, r.URL.Host, r.Close = r.URL.Host, d.to.Scheme, d.to.Host, true
	return http.DefaultTransport.RoundTrip(r)
}

func (a *aws) certificate(key any, from, to time.Time) []byte {
	a.t.Helper()
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key, ca)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

type message map[string]string

// with is a copy with a member that is another.
func (m message) with(name, value string) message {
	m = maps.Clone(m)
	m[name] = value
	return m
}

func (m message) without(name string) message {
	m = maps.Clone(m)
	delete(m, name)
	return m
}

func (m message) body() string {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// sign signs a message as SNS does.
func (a *aws) sign(m message) message {
	a.t.Helper()
	m = maps.Clone(m)
	var text strings.Builder
	for _, name := range []string{"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"} {
		if value, ok := m[name]; ok {
			fmt.Fprintf(&text, "%s\n%s\n", name, value)
		}
	}
	var signature []byte
	var err error
	if m["SignatureVersion"] == "1" {
		digest := sha1.Sum([]byte(text.String()))
		signature, err = rsa.SignPKCS1v15(nil, a.key, crypto.SHA1, digest[:])
	} else {
		digest := sha256.Sum256([]byte(text.String()))
		signature, err = rsa.SignPKCS1v15(nil, a.key, crypto.SHA256, digest[:])
	}
	if err != nil {
		a.t.Fatal(err)
	}
	m["Signature"] = base64.StdEncoding.EncodeToString(signature)
	return m
}

func head(m message) http.Header {
	h := http.Header{
		"Content-Type": {"text/plain; charset=UTF-8"}, "User-Agent": {"Amazon Simple Notification Service Agent"},
		"X-Amz-Sns-Message-Type": {m["Type"]}, "X-Amz-Sns-Message-Id": {m["MessageId"]}, "X-Amz-Sns-Topic-Arn": {m["TopicArn"]},
	}
	if m["Type"] != "SubscriptionConfirmation" {
		h.Set("X-Amz-Sns-Subscription-Arn", m["TopicArn"]+":2bcfbf39-05c3-41de-beaa-fcfcc21c8f55")
	}
	return h
}

// notification is one of SNS about what happened to mail, not signed yet.
func (a *aws) notification(text string) (http.Header, message) {
	m := message{
		"Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": topic, "Subject": "Amazon SES Email Event Notification",
		"Message": text, "Timestamp": "2026-11-20T10:00:01.000Z", "SignatureVersion": "2", "SigningCertURL": certURL,
		"UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=" + topic + ":2bcfbf39",
	}
	return head(m), m
}

const subscribe = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=2336412f37"

func (a *aws) confirmation() message {
	return message{
		"Type": "SubscriptionConfirmation", "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b", "Token": "2336412f37", "TopicArn": topic,
		"Message":      "You have chosen to subscribe to the topic " + topic + ".\nTo confirm the subscription, visit the SubscribeURL included in this message.",
		"SubscribeURL": subscribe, "Timestamp": "2026-11-20T09:00:01.000Z", "SignatureVersion": "1", "SigningCertURL": certURL,
	}
}

func TestSNS(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	confirmation := p.aws.sign(p.aws.confirmation())
	p.post("sns", confirmation.body(), head(confirmation)).is(t, "confirmation", 200)
	if p.aws.times(subscribe) != 1 {
		t.Error("the subscription was not confirmed")
	}
	for i, version := range []string{"1", "2"} {
		h, m := p.aws.notification(sends(fmt.Sprintf("m-%d", i)))
		m = p.aws.sign(m.with("SignatureVersion", version))
		for range 2 { // it tries again
			p.post("sns", m.body(), h).is(t, "version "+version, 200)
		}
	}
	h, m := p.aws.notification(sends("m-2") + "\n")
	p.post("sns", p.aws.sign(m.without("Subject")).body(), h).is(t, "without a subject", 200)
	p.post("sns", gzipped(p.aws.sign(m.with("Message", sends("m-3"))).body()), with(h, "Content-Encoding", "gzip")).is(t, "packed", 200)
	p.has(house, east, "m-0", "m-1", "m-2", "m-3")
	p.sent(house, east, 4)

	china := m.with("TopicArn", chinaTopic).with("Message", sends("m-4")).
		with("SigningCertURL", strings.Replace(certURL, "us-east-1.amazonaws.com", "cn-north-1.amazonaws.com.cn", 1))
	p.post("sns", p.aws.sign(china).body(), head(china)).is(t, "China", 200)
	p.has(house, "cn-north-1", "m-4")

	for _, notice := range []string{"Successfully validated SNS topic for Amazon SES event publishing.", `{"notificationType":"AmazonSnsSubscriptionSucceeded","message":"x"}`} {
		p.post("sns", p.aws.sign(m.with("Message", notice)).body(), h).is(t, "a notice", 200)
	}
	p.post("sns", p.aws.sign(m.with("Message", "hello")).body(), h).is(t, "what is no event", 200)
	p.setAside(house, "not JSON")

	goodbye := p.aws.confirmation().with("Type", "UnsubscribeConfirmation")
	p.post("sns", p.aws.sign(goodbye).body(), head(goodbye)).is(t, "goodbye", 200)
	if !strings.Contains(p.logged(), "ended") || p.aws.times(subscribe) != 1 {
		t.Errorf("an ended subscription is not logged, or was confirmed:\n%s", p.logged())
	}
	if n := p.aws.times(certURL); n != 1 {
		t.Errorf("the certificate was fetched %d times", n)
	}
	if got, want := p.counted["sns"], [3]int{5, 2, 1}; got != want {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// Each member that is signed is; whatever is changed is refused and asks nobody
// for anything.
func TestSNSForged(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	h, m := p.aws.notification(sends("m-1"))
	good := p.aws.sign(m)
	p.post("sns", good.body(), h).is(t, "as it is", 200)
	for _, name := range []string{"Message", "MessageId", "Subject", "Timestamp"} {
		p.post("sns", good.with(name, m[name]+" ").body(), h).is(t, name+" is another", 403)
	}
	for _, name := range []string{"Message", "MessageId", "Subject", "Timestamp", "Signature", "SignatureVersion", "SigningCertURL", "TopicArn"} {
		p.post("sns", good.without(name).body(), h).is(t, name+" is missing", 403)
	}
	p.post("sns", p.aws.sign(m.without("Subject")).with("Subject", "x").body(), h).is(t, "Subject is new", 403)
	p.post("sns", good.with("TopicArn", chinaTopic).body(), h).is(t, "another topic that is taken", 403)
	p.post("sns", good.with("Type", "SubscriptionConfirmation").body(), h).is(t, "another type", 403)
	p.post("sns", good.with("Type", "Notice").body(), h).is(t, "an unknown type", 400)
	p.post("sns", good.with("SignatureVersion", "1").body(), h).is(t, "another version", 403)
	p.post("sns", p.aws.sign(m.with("SignatureVersion", "3")).body(), h).is(t, "an unknown version", 403)
	p.post("sns", good.with("Signature", "!").body(), h).is(t, "a signature that is none", 403)
	p.post("sns", good.with("Signature", "").body(), h).is(t, "an empty signature", 403)

	confirmation := p.aws.sign(p.aws.confirmation())
	for _, name := range []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token"} {
		p.post("sns", confirmation.with(name, confirmation[name]+"x").body(), head(confirmation)).is(t, "confirmation: "+name, 403)
	}
	p.sent(house, east, 1)
	if p.aws.total() != 1 {
		t.Errorf("SNS was asked for %v", p.aws.asked)
	}

	// A topic that is not on the list, though SNS has signed it.
	other := p.aws.sign(m.with("TopicArn", topic+"-2"))
	p.post("sns", other.body(), head(other)).is(t, "another topic", 403)
	p.post("sns", other.body(), h).is(t, "another topic than the header has", 403)
	body := &watched{in: strings.NewReader(good.body())}
	p.do(p.request("sns", body, http.Header{"Expect": {"100-continue"}})).is(t, "no topic", 403)
	if body.read.Load() {
		t.Error("the body of who knows no topic was read")
	}
	for name, body := range map[string]string{"empty": "", "cut off": good.body()[:100], "an array": "[]", "a number": `{"Type":1}`} {
		if status := p.post("sns", body, h).status; status != 400 {
			t.Errorf("%s: %d", name, status)
		}
	}
	p.post("sns", `"`+strings.Repeat("x", 1<<20)+`"`, h).is(t, "too large", 413)
	p.post("sns", gzipped(strings.Repeat(" ", 3<<20)), with(h, "Content-Encoding", "gzip")).is(t, "a bomb", 413)
	p.sent(house, east, 1)
}

// Whoever can be made to answer for SNS can sign for it.
func TestSNSHosts(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	h, m := p.aws.notification(sends("m-1"))
	for _, bad := range []string{
		"", "x", "//sns.us-east-1.amazonaws.com/a.pem", "sns.us-east-1.amazonaws.com/a.pem",
		"http://sns.us-east-1.amazonaws.com/a.pem", "HTTPS:sns.us-east-1.amazonaws.com/a.pem", "file:///etc/a.pem",
		"https://sns.us-east-1.amazonaws.com/a.pem.txt", "https://sns.us-east-1.amazonaws.com/a?b=.pem", "https://sns.us-east-1.amazonaws.com/a#.pem",
		"https://sns.us-east-1.amazonaws.com/a.pem?x", "https://sns.us-east-1.amazonaws.com/a.pem#x",
		"https://sns.us-east-1.amazonaws.com:443/a.pem", "https://sns.us-east-1.amazonaws.com:8443/a.pem", "https://sns.us-east-1.amazonaws.com:/a.pem",
		"https://user@sns.us-east-1.amazonaws.com/a.pem", "https://sns.us-east-1.amazonaws.com@evil.example/a.pem", "https://sns.us-east-1.amazonaws.com:x@evil.example/a.pem",
		"https://@sns.us-east-1.amazonaws.com/a.pem", `https://evil.example\@sns.us-east-1.amazonaws.com/a.pem`, `https://evil.example\.sns.us-east-1.amazonaws.com/a.pem`,
		"https://SNS.us-east-1.amazonaws.com/a.pem", "https://sns.US-EAST-1.amazonaws.com/a.pem", "https://sns.us-east-1.AMAZONAWS.COM/a.pem",
		"https://sns.us-east-1.amazonaws.com./a.pem", "https://sns.us-east-1.amazonaws.com.evil.example/a.pem", "https://sns.us-east-1.amazonaws.com.cn.evil/a.pem",
		"https://evil.sns.us-east-1.amazonaws.com/a.pem", "https://sns.evil.us-east-1.amazonaws.com/a.pem", "https://xsns.us-east-1.amazonaws.com/a.pem",
		"https://sns.amazonaws.com/a.pem", "https://sns.us.amazonaws.com/a.pem", "https://sns.us-east-1-amazonaws.com/a.pem", "https://sns.us-east-1.amazonaws.comx/a.pem",
		"https://sns.s3-us-west-2.amazonaws.com/a.pem", "https://sns.s3.amazonaws.com/a.pem", "https://sns.us-east-1.amazonaws.cn/a.pem",
		"https://sns.us-east-1.amazonaws.com\n.evil.example/a.pem", "https://sns.us-east-1.amazonaws.com%2eevil.example/a.pem", "https://[::1]/a.pem",
		"https://sns.us-east-1.amazonaws.com%00/a.pem", "https://ｓns.us-east-1.amazonaws.com/a.pem", "https://sns.us-east-1.amazonaws.com/" + strings.Repeat("a", 2000) + ".pem",
	} {
		p.post("sns", p.aws.sign(m.with("SigningCertURL", bad)).body(), h).is(t, bad, 403)
	}
	confirmation := p.aws.confirmation()
	for _, bad := range []string{
		"", "http" + strings.TrimPrefix(subscribe, "https"), strings.Replace(subscribe, ".com/", ".com:443/", 1), strings.Replace(subscribe, "https://", "https://a@", 1),
		strings.Replace(subscribe, "sns.us-east-1.amazonaws.com", "evil.example", 1), strings.Replace(subscribe, "amazonaws.com", "amazonaws.com.evil.example", 1),
		strings.Replace(subscribe, "sns.us-east-1.amazonaws.com", "169.254.169.254", 1), strings.Replace(subscribe, "ConfirmSubscription", "Unsubscribe", 1),
		strings.Replace(subscribe, topic, chinaTopic, 1),
	} {
		p.post("sns", p.aws.sign(confirmation.with("SubscribeURL", bad)).body(), head(confirmation)).is(t, bad, 403)
	}
	if p.aws.total() != 1 { // the certificate
		t.Errorf("SNS was asked for %v", p.aws.asked)
	}
	p.sent(house, east, 0)
}

// What SNS's own trouble brings about comes again; what never will be right does
// not.
func TestSNSCertificates(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	h, m := p.aws.notification(sends("m-1"))
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	p.must(err)
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p.must(err)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	p.must(err)
	from, to := p.now.Add(-time.Hour), p.now.Add(time.Hour)
	good := p.aws.certificate(&p.aws.key.PublicKey, from, to)
	at := func(name string) string { return "https://sns.us-east-1.amazonaws.com/" + name + ".pem" }
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", certURL)
			w.WriteHeader(code)
			w.Write(good)
		}
	}
	for _, c := range []struct {
		name   string
		page   http.HandlerFunc
		status int
	}{
		{"missing", nil, 403},
		{"forbidden", status(403), 503},
		{"elsewhere", status(301), 503},
		{"elsewhere-now", status(307), 503},
		{"in-trouble", status(503), 503},
		{"too-many", status(429), 503},
		{"broken-off", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "10000"); w.Write(good) }, 503},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(good)
			w.Write(make([]byte, 65<<10))
		}, 503},
		{"text", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, 403},
		{"key", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(p.aws.key)}))
		}, 403},
		{"garbage", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("garbage")}))
		}, 403},
		{"expired", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(p.aws.certificate(&p.aws.key.PublicKey, from, p.now.Add(-time.Minute)))
		}, 403},
		{"to-come", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(p.aws.certificate(&p.aws.key.PublicKey, p.now.Add(time.Minute), to))
		}, 403},
		{"weak", func(w http.ResponseWriter, _ *http.Request) { w.Write(p.aws.certificate(&weak.PublicKey, from, to)) }, 403},
		{"elliptic", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(p.aws.certificate(&elliptic.PublicKey, from, to))
		}, 403},
		{"others", func(w http.ResponseWriter, _ *http.Request) { w.Write(p.aws.certificate(&other.PublicKey, from, to)) }, 403},
		{"good", status(200), 200},
	} {
		if c.page != nil {
			p.aws.handle(at(c.name), c.page)
		}
		p.post("sns", p.aws.sign(m.with("SigningCertURL", at(c.name))).body(), h).is(t, c.name, c.status)
	}
	if p.aws.times(certURL) != 0 {
		t.Error("a redirect was followed")
	}
	p.sent(house, east, 1)

	// One that was good is asked for again when it has expired, and may be another.
	p.pass(2 * time.Hour)
	again := p.aws.sign(m.with("SigningCertURL", at("good")))
	p.post("sns", again.body(), h).is(t, "expired since", 403)
	p.aws.page(at("good"), p.aws.certificate(&p.aws.key.PublicKey, p.clock().Add(-time.Hour), p.clock().Add(time.Hour)))
	p.post("sns", again.body(), h).is(t, "renewed", 200)

	// Many at once fetch it once.
	var running sync.WaitGroup
	for range 10 {
		running.Go(func() {
			p.post("sns", p.aws.sign(m).body(), h).is(t, "one of many", 200)
		})
	}
	running.Wait()
	if n := p.aws.times(certURL); n != 1 {
		t.Errorf("the certificate was fetched %d times", n)
	}
	// And those that have been fetched have a bound.
	for i := range 70 {
		p.aws.page(at(fmt.Sprint(i)), good)
		p.post("sns", p.aws.sign(m.with("SigningCertURL", at(fmt.Sprint(i)))).body(), h)
	}
	p.post("sns", p.aws.sign(m).body(), h).is(t, "after many", 200)

	// A confirmation that SNS cannot take now comes again; one that it will not, not.
	confirmation := p.aws.sign(p.aws.confirmation())
	for code, want := range map[int]int{500: 503, 429: 503, 403: 503, 302: 503, 400: 403, 404: 403, 200: 200} {
		p.aws.handle("https://sns.us-east-1.amazonaws.com/", status(code))
		p.post("sns", confirmation.body(), head(confirmation)).is(t, fmt.Sprint("confirmation is answered with ", code), want)
	}
}

// SNS that cannot be reached is asked again.
func TestSNSOutOfReach(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	h, m := p.aws.notification(sends("m-1"))
	p.post("sns", p.aws.sign(m).body(), h).is(t, "SNS is there", 200)
	p.aws.server.Close()
	p.post("sns", p.aws.sign(m).body(), h).is(t, "its certificate is known", 200)
	p.post("sns", p.aws.sign(m.with("SigningCertURL", certURL+".pem")).body(), h).is(t, "another is not", 503)
	confirmation := p.aws.sign(p.aws.confirmation())
	p.post("sns", confirmation.body(), head(confirmation)).is(t, "nobody confirms", 503)
	none := open(t, func(d *ingest.Doors) { d.SNSTopics = nil })
	none.post("sns", p.aws.sign(m).body(), h).is(t, "no topics", 403)
	h.Set("X-Amz-Sns-Topic-Arn", "")
	none.post("sns", p.aws.sign(m.with("TopicArn", "")).body(), h).is(t, "an empty topic", 403)
}

func TestRawSNS(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	disabled, reader := p.newKey(mayIngest), p.newKey(mayRead)
	p.must(p.keys.Disable(p.ctx, disabled.ID))
	send := func(user, password string) answer {
		body := &watched{in: strings.NewReader(sends("m-1"))}
		r := p.request("sns", body, http.Header{
			"X-Amz-Sns-Rawdelivery": {"true"}, "X-Amz-Sns-Message-Type": {"Notification"}, "X-Amz-Sns-Message-Id": {"m"},
			"X-Amz-Sns-Topic-Arn": {"arn:aws:sns:eu-west-1:123456789012:any"}, "Content-Type": {"text/plain; charset=UTF-8"}, "Expect": {"100-continue"},
		})
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		a := p.do(r)
		if a.status != 200 && body.read.Load() {
			t.Error("the body was read")
		}
		return a
	}
	// Asked so, SNS gives what its subscription's URL has.
	if a := send("", "").is(t, "no key", 401); !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic realm=") {
		t.Errorf("no challenge: %v", a.header)
	}
	send(p.key.ID, disabled.Secret).is(t, "another's secret", 401)
	send(disabled.ID, disabled.Secret).is(t, "disabled", 401)
	send(reader.ID, reader.Secret).is(t, "not allowed", 403)
	send(p.key.ID, p.key.Secret).is(t, "allowed", 200)
	p.has(ann, west, "m-1")
}
