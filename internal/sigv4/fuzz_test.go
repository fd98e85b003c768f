package sigv4

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// fuzzVerifier knows every key by a secret that no seed was signed with, and
// that changes from run to run: whatever verifies with it is a hole.
func fuzzVerifier(f *testing.F) *Verifier {
	v := newVerifier(f, "20150830T123600Z", Scope{"us-east-1", "ses"})
	v.Secret = secretIs(rand.Text())
	return v
}

// checkRefusal fails the test unless err is a refusal fit to be sent.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	refusal := (*Error)(nil)
	if !errors.As(err, &refusal) {
		t.Fatalf("not refused, but: %v", err)
	}
	if refusal.Code == "" || refusal.Message == "" || !utf8.ValidString(refusal.Message) || len(refusal.Message) > 4096 {
		t.Fatalf("refusal %q: %q", refusal.Code, refusal.Message)
	}
}

// FuzzAuthorizationHeader throws Authorization and date headers at Verify.
func FuzzAuthorizationHeader(f *testing.F) {
	f.Add(honest().request(f).Header.Get("Authorization"), "20150830T123600Z", "")
	f.Add("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/ses/aws4_request,SignedHeaders=date;host,Signature=00", "", "Sun, 30 Aug 2015 12:36:00 GMT")
	v := fuzzVerifier(f)
	f.Fuzz(func(t *testing.T, authorization, amzDate, date string) {
		r := honest().request(t)
		r.Header.Set("Authorization", authorization)
		r.Header.Del("X-Amz-Date")
		if amzDate != "" {
			r.Header.Set("X-Amz-Date", amzDate)
		}
		if date != "" {
			r.Header.Set("Date", date)
		}
		id, body, err := v.Verify(r)
		checkRefusal(t, err)
		if id != "" || body != nil {
			t.Fatalf("refused, but gave key %q and body %q", id, body)
		}
		// No signature in an error: a run of its length that the header holds.
		for _, part := range strings.FieldsFunc(authorization, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' }) {
			if sum, found := strings.CutPrefix(part, "Signature="); found && len(sum) >= 64 && !strings.Contains(strings.Replace(authorization, sum, "", 1), sum) && strings.Contains(err.Error(), sum) {
				t.Fatalf("signature %q is in the error %q", sum, err)
			}
		}
	})
}

// FuzzQuery throws raw queries at both ways of verifying, and checks that the
// canonical form says what a handler would read.
func FuzzQuery(f *testing.F) {
	f.Add(honestQuery().request(f).URL.RawQuery)
	f.Add(strings.SplitN(Presign("POST", &url.URL{Scheme: "http", Host: "h", Path: "/v2/email/tags"}, exampleCredentials(), Scope{"us-east-1", "ses"}, presignTime(), time.Hour), "?", 2)[1])
	v := fuzzVerifier(f)
	secret, _, _ := v.Secret(context.Background(), exampleKeyID)
	f.Fuzz(func(t *testing.T, raw string) {
		read := func() *http.Request {
			r := honestQuery().request(t)
			r.URL.RawQuery = raw
			r.RequestURI = "/v2/email/tags?" + raw
			return r
		}
		_, _, err := v.Verify(read())
		checkRefusal(t, err)
		checkRefusal(t, VerifyPresigned(read(), Credentials{exampleKeyID, secret}, v.Scope, v.Now(), v.Skew))

		params, err := parseQuery(raw)
		values, stdErr := url.ParseQuery(raw)
		if strings.Contains(raw, ";") {
			return // url.ParseQuery leaves such pairs out
		}
		if (err == nil) != (stdErr == nil) {
			t.Fatalf("parseQuery: %v, url.ParseQuery: %v", err, stdErr)
		}
		delete(values, "X-Amz-Signature")
		canonical := canonicalQuery(params)
		again, err := url.ParseQuery(canonical)
		if err != nil || !sameValues(values, again) {
			t.Fatalf("%q reads as %v, its canonical form %q as %v, %v", raw, values, canonical, again, err)
		}
		reparsed, err := parseQuery(canonical)
		if err != nil || canonicalQuery(reparsed) != canonical {
			t.Fatalf("the canonical form %q is not its own", canonical)
		}
		for name := range values {
			if _, found, repeated := find(params, name); !found || repeated != (len(values[name]) > 1) {
				t.Fatalf("find(%q) = %v, %v of %v", name, found, repeated, values)
			}
		}
	})
}
