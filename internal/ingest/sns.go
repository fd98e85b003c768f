package ingest

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// sns takes what SNS posts to an HTTPS subscription.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
func (v *visit) sns() error {
	h := v.r.Header
	v.foreignID = shortened(h.Get("X-Amz-Sns-Message-Id"))
	if h.Get("X-Amz-Sns-Rawdelivery") == "true" {
		return v.rawSNS()
	}
	// The header proves nothing, but who does not even know a topic need not be read.
	topic := h.Get("X-Amz-Sns-Topic-Arn")
	if topic == "" {
		return refuse(notAllowed, "The request has no X-Amz-Sns-Topic-Arn header: it is not from SNS.")
	}
	if !slices.Contains(v.SNSTopics, topic) {
		return otherTopic(topic)
	}
	body, err := v.read(&v.notices)
	if err != nil {
		return err
	}
	var n notification
	if err := json.Unmarshal(body, &n); err != nil {
		return refuse(malformed, "The request body is not a message of SNS.")
	}
	if !slices.Contains(v.SNSTopics, n.TopicArn) {
		return otherTopic(n.TopicArn)
	}
	if region := regionOf(n.TopicArn, "sns"); region != "" {
		v.src.Region = region
	}
	if err := v.verify(&n); err != nil {
		return err
	}
	switch n.Type {
	case "Notification":
		return v.storing(func(b *batch) error { return b.data(v.r.Context(), []byte(n.Message)) })
	case "SubscriptionConfirmation":
		return v.confirm(&n)
	}
	v.Log.Warn("a subscription to an SNS topic was ended", "request_id", v.id, "topic", n.TopicArn)
	return nil
}

func otherTopic(topic string) error {
	return refuse(notAllowed, "The topic %q is not one whose messages this server takes: see --sns-topics.", shortened(topic))
}

// rawSNS takes a message as it is, which has no signature: a key stands for it.
func (v *visit) rawSNS() error {
	id, secret, _ := v.r.BasicAuth()
	if err := v.prove(id, secret); err != nil {
		return err
	}
	if region := regionOf(v.r.Header.Get("X-Amz-Sns-Topic-Arn"), "sns"); region != "" {
		v.src.Region = region
	}
	body, err := v.read(&v.proved)
	if err != nil {
		return err
	}
	return v.storing(func(b *batch) error { return b.data(v.r.Context(), body) })
}

// notification is a message of SNS, of any type.
type notification struct {
	Type, MessageId, TopicArn, Message, Timestamp string
	Subject                                       *string
	Token, SubscribeURL                           string // of confirmations
	SignatureVersion, Signature, SigningCertURL   string
}

// signed gives what the signature is of; ok is false when the type is unknown.
// https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
func (n *notification) signed() (text string, ok bool) {
	var b strings.Builder
	add := func(name, value string) { b.WriteString(name + "\n" + value + "\n") }
	add("Message", n.Message)
	add("MessageId", n.MessageId)
	switch n.Type {
	case "Notification":
		if n.Subject != nil {
			add("Subject", *n.Subject)
		}
		add("Timestamp", n.Timestamp)
	case "SubscriptionConfirmation", "UnsubscribeConfirmation":
		add("SubscribeURL", n.SubscribeURL)
		add("Timestamp", n.Timestamp)
		add("Token", n.Token)
	default:
		return "", false
	}
	add("TopicArn", n.TopicArn)
	add("Type", n.Type)
	return b.String(), true
}

// verify says whether SNS has signed a message.
func (v *visit) verify(n *notification) error {
	text, ok := n.signed()
	if !ok {
		return refuse(malformed, "The message of SNS has a Type that is unknown.")
	}
	var hash crypto.Hash
	var digest []byte
	switch n.SignatureVersion {
	case "1":
		sum := sha1.Sum([]byte(text))
		hash, digest = crypto.SHA1, sum[:]
	case "2":
		sum := sha256.Sum256([]byte(text))
		hash, digest = crypto.SHA256, sum[:]
	default:
		return refuse(forged, "The SignatureVersion is neither 1 nor 2.")
	}
	signature, err := base64.StdEncoding.DecodeString(n.Signature)
	if err != nil {
		return refuse(forged, "The Signature is not base64.")
	}
	u, ok := ofSNS(n.SigningCertURL)
	if !ok || !strings.HasSuffix(u.Path, ".pem") || u.RawQuery != "" || len(n.SigningCertURL) > 1024 {
		return refuse(forged, "The SigningCertURL is not of SNS.")
	}
	key, err := v.certificates.key(v.r.Context(), v.Doors, n.SigningCertURL)
	if err != nil {
		return err
	}
	if rsa.VerifyPKCS1v15(key, hash, digest, signature) != nil {
		return refuse(forged, "The Signature is not SNS's for this message.")
	}
	return nil
}

// snsHost is what AWS's own validators take for a host of SNS, but for what is no
// region: sns.s3-us-west-2.amazonaws.com, which they take, is somebody's bucket.
var snsHost = regexp.MustCompile(`^sns\.[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}\.amazonaws\.com(\.cn)?$`)

// ofSNS reads a URL; ok is false when it is not one of SNS, by HTTPS on its own
// port.
func ofSNS(text string) (u *neturl.URL, ok bool) {
	u, err := neturl.Parse(text)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" || u.Fragment != "" || !snsHost.MatchString(u.Host) {
		return nil, false
	}
	return u, true
}

// confirm asks SNS for the subscription that it offers.
func (v *visit) confirm(n *notification) error {
	u, ok := ofSNS(n.SubscribeURL)
	if !ok {
		return refuse(forged, "The SubscribeURL is not of SNS.")
	}
	if q := u.Query(); q.Get("Action") != "ConfirmSubscription" || q.Get("TopicArn") != n.TopicArn {
		return refuse(forged, "The SubscribeURL does not confirm a subscription to the topic.")
	}
	_, err := v.get(v.r.Context(), n.SubscribeURL, 64<<10)
	if permanent := new(gone); errors.As(err, &permanent) {
		return &refusal{kind: notAllowed, message: "SNS does not confirm the subscription; its token may be too old.", cause: err}
	}
	if err != nil {
		return &refusal{kind: busy, message: "SNS could not be asked for the subscription. Try again.", cause: err}
	}
	v.Log.Info("subscribed to an SNS topic", "request_id", v.id, "topic", n.TopicArn)
	return nil
}

// fetchWithin is how long SNS may take to answer, so that it does not give up
// itself: after 15 s.
const fetchWithin = 5 * time.Second

// gone is an answer that will be no other the next time.
type gone struct{ status int }

func (g *gone) Error() string { return fmt.Sprintf("the answer has status %d", g.status) }

// get asks SNS for something. Redirects are not followed, wherever they go.
func (d *Doors) get(ctx context.Context, url string, most int64) ([]byte, error) {
	client := http.Client{}
	if d.Client != nil {
		client = *d.Client
	} else {
		transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		client.Transport = transport
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if said := new(neturl.Error); errors.As(err, &said) {
		return nil, said.Err // without the address, in which a token may stand
	}
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusNotFound, answer.StatusCode == http.StatusGone, answer.StatusCode == http.StatusBadRequest:
		return nil, &gone{answer.StatusCode}
	case answer.StatusCode != http.StatusOK: // also of a proxy between, which can be put right
		return nil, fmt.Errorf("the answer has status %d", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, most+1))
	if err == nil && int64(len(body)) > most {
		err = fmt.Errorf("the answer has more than %d bytes", most)
	}
	return body, err
}

// What is kept of SNS's certificates. It has one for all topics of a region, and a
// new one now and then.
const (
	mostCertificates   = 64
	largestCertificate = 64 << 10 // bytes
)

// certificates are those that SNS signs with, each fetched once.
type certificates struct {
	mu    sync.Mutex
	byURL map[string]*x509.Certificate
	turn  chan struct{} // one at a time is fetched, since forged messages name any number
}

// key gives the public key of a certificate of SNS that is valid now.
func (c *certificates) key(ctx context.Context, d *Doors, url string) (*rsa.PublicKey, error) {
	cert, turn := c.known(url)
	if !valid(cert, d.Now()) {
		ctx, cancel := context.WithTimeout(ctx, fetchWithin)
		defer cancel()
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return nil, refuse(busy, "The certificates of other messages are being fetched. Try again.")
		}
		if cert, _ = c.known(url); !valid(cert, d.Now()) { // another may have fetched it
			var err error
			if cert, err = fetchCertificate(ctx, d, url); err != nil {
				return nil, err
			}
			c.keep(url, cert)
		}
	}
	return cert.PublicKey.(*rsa.PublicKey), nil
}

func (c *certificates) known(url string) (*x509.Certificate, chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byURL == nil {
		c.byURL, c.turn = map[string]*x509.Certificate{}, make(chan struct{}, 1)
	}
	return c.byURL[url], c.turn
}

func (c *certificates) keep(url string, cert *x509.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.byURL) >= mostCertificates {
		clear(c.byURL) // those in use come back
	}
	c.byURL[url] = cert
}

func valid(cert *x509.Certificate, now time.Time) bool {
	return cert != nil && !now.Before(cert.NotBefore) && !now.After(cert.NotAfter)
}

// fetchCertificate gets a certificate from SNS. That it comes from there by HTTPS is
// why it is believed.
func fetchCertificate(ctx context.Context, d *Doors, url string) (*x509.Certificate, error) {
	text, err := d.get(ctx, url, largestCertificate)
	if permanent := new(gone); errors.As(err, &permanent) {
		return nil, &refusal{kind: forged, message: "SNS does not have the certificate that the SigningCertURL names.", cause: err}
	}
	if err != nil {
		return nil, &refusal{kind: busy, message: "The certificate of SNS cannot be fetched. Try again.", cause: err}
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, refuse(forged, "What the SigningCertURL names is not a certificate.")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, refuse(forged, "What the SigningCertURL names is not a certificate.")
	}
	if key, ok := cert.PublicKey.(*rsa.PublicKey); !ok || key.N.BitLen() < 2048 {
		return nil, refuse(forged, "The certificate that the SigningCertURL names has no RSA key of 2048 bits.")
	}
	if !valid(cert, d.Now()) {
		return nil, refuse(forged, "The certificate that the SigningCertURL names is not valid now.")
	}
	return cert, nil
}
