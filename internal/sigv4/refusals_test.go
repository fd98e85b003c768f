package sigv4

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// forgery is a request that is signed with this package's own steps, so that a
// test can sign what no SDK would.
type forgery struct {
	method, target, body string
	headers              []string // "Name: value"; not Host, Content-Length, Authorization
	algorithm            string
	credential           string
	signedHeaders        string
	date                 string
	secret               string
	inQuery              bool
	expires              string // X-Amz-Expires, with inQuery; "" for none
}

// honest is a request that verifies at 20150830T123600Z for ses in us-east-1.
func honest() forgery {
	return forgery{
		method: "POST", target: "/v2/email/tags?a=b%20c", body: `{"a":"b"}`,
		headers:       []string{"Content-Type: application/json", "X-Amz-Date: 20150830T123600Z"},
		algorithm:     algorithm,
		credential:    exampleKeyID + "/20150830/us-east-1/ses/aws4_request",
		signedHeaders: "content-type;host;x-amz-date",
		date:          "20150830T123600Z",
		secret:        exampleSecret,
	}
}

// honestQuery is the same with the signature in the query.
func honestQuery() forgery {
	f := honest()
	f.headers = f.headers[:1]
	f.signedHeaders = "content-type;host"
	f.inQuery, f.expires = true, "3600"
	return f
}

func (f forgery) request(t testing.TB) *http.Request {
	t.Helper()
	target := f.target
	if f.inQuery {
		params := []param{{"X-Amz-Algorithm", f.algorithm}, {"X-Amz-Credential", f.credential},
			{"X-Amz-Date", f.date}, {"X-Amz-SignedHeaders", f.signedHeaders}}
		if f.expires != "" {
			params = append(params, param{"X-Amz-Expires", f.expires})
		}
		target += "&" + canonicalQuery(params)
	}
	raw := f.method + " " + target + " HTTP/1.1\r\nHost: localhost:8080\r\n"
	for _, header := range f.headers {
		raw += header + "\r\n"
	}
	raw += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(f.body), f.body)
	r := parseRequest(t, raw)

	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	scope := Scope{"us-east-1", "ses"}
	canonical := canonicalRequest(r, apiPaths(sentPath(r))[0], canonicalQuery(query), strings.Split(f.signedHeaders, ";"), hexSHA256(f.body))
	sum := signature(f.secret, "20150830T123600Z", scope, stringToSign("20150830T123600Z", scope, canonical))
	if f.inQuery {
		r.RequestURI += "&X-Amz-Signature=" + sum
		r.URL.RawQuery += "&X-Amz-Signature=" + sum
	} else {
		r.Header.Set("Authorization", f.algorithm+" Credential="+f.credential+", SignedHeaders="+f.signedHeaders+", Signature="+sum)
	}
	return r
}

func TestHonestRequestsVerify(t *testing.T) {
	unsignedType := honest()
	unsignedType.signedHeaders = "host;x-amz-date"
	noExpiry := honestQuery()
	noExpiry.expires = ""
	proxied := honest()
	proxied.headers = append(proxied.headers, "X-Amz-Cf-Id: added by a proxy, unsigned")
	httpDate := honest()
	httpDate.headers = []string{"Date: Sun, 30 Aug 2015 12:36:00 GMT"}
	httpDate.signedHeaders = "date;host"
	mailDate := httpDate
	mailDate.headers = []string{"Date: Sun, 30 Aug 2015 14:36:00 +0200"}
	basicDate := httpDate
	basicDate.headers = []string{"Date: 20150830T123600Z"}
	hashed := honest()
	hashed.headers = append(hashed.headers, "X-Amz-Content-Sha256: "+hexSHA256(hashed.body))
	absolute := honest()
	absolute.target = "http://localhost:8080/v2/email/tags?a=b%20c"
	empty := honest()
	empty.body = ""

	for name, f := range map[string]forgery{
		"header": honest(), "query": honestQuery(), "query without expiry": noExpiry,
		"unsigned content type": unsignedType, "unsigned x-amz header": proxied,
		"HTTP date": httpDate, "mail date": mailDate, "basic date": basicDate,
		"content hash": hashed, "absolute request target": absolute, "empty body": empty,
	} {
		t.Run(name, func(t *testing.T) {
			id, body, err := newVerifier(t, "20150830T124000Z", Scope{"us-east-1", "ses"}).Verify(f.request(t))
			if id != exampleKeyID || string(body) != f.body || err != nil {
				t.Errorf("Verify = %q, %q, %v", id, body, err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	const (
		mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
		badToken = "The security token included in the request is invalid."
		cred     = "Credential=AKIDEXAMPLE/20150830/us-east-1/ses/aws4_request"
		signed   = "SignedHeaders=content-type;host;x-amz-date"
	)
	authorization := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", value) }
	}
	setQuery := func(old, new string) func(*http.Request) {
		return func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, old, new, 1) }
	}

	for _, test := range []struct {
		name    string
		now     string              // "" for 20150830T123600Z
		query   bool                // sign in the query
		forge   func(*forgery)      // before signing; nil for none
		tamper  func(*http.Request) // after signing; nil for none
		code    string
		message string
	}{
		// Nothing to check.
		{name: "no signature", tamper: func(r *http.Request) { r.Header.Del("Authorization") },
			code: "MissingAuthenticationTokenException", message: "Missing Authentication Token"},
		{name: "empty header", tamper: authorization(""),
			code: "MissingAuthenticationTokenException", message: "Missing Authentication Token"},
		{name: "basic", tamper: authorization("Basic dXNlcjpwYXNzd29yZA=="),
			code: "MissingAuthenticationTokenException", message: "Missing Authentication Token"},
		{name: "bearer", tamper: authorization("Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2ln"),
			code: "MissingAuthenticationTokenException", message: "Missing Authentication Token"},
		{name: "signature version 2", tamper: authorization("AWS AKIDEXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg="),
			code: "MissingAuthenticationTokenException", message: "Missing Authentication Token"},

		// More than one signature.
		{name: "two headers", tamper: func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) },
			code: "IncompleteSignatureException", message: "The request has more than one 'Authorization' header."},
		{name: "header and query", query: true, tamper: authorization(algorithm + " " + cred),
			code: "InvalidSignatureException", message: "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."},
		{name: "header and bare query signature", tamper: setQuery("a=b", "X-Amz-Signature=00&a=b"),
			code: "InvalidSignatureException", message: "Found both 'X-Amz-Signature' as a query-string param and 'Authorization' as HTTP header."},
		{name: "two credentials", tamper: authorization(algorithm + " " + cred + ", " + cred + ", " + signed + ", Signature=00"),
			code: "IncompleteSignatureException", message: "Authorization header has more than one 'Credential' parameter."},
		{name: "two signatures", tamper: authorization(algorithm + " " + cred + ", " + signed + ", Signature=00, Signature=11"),
			code: "IncompleteSignatureException", message: "Authorization header has more than one 'Signature' parameter."},
		{name: "two lists of headers", tamper: authorization(algorithm + " " + cred + ", " + signed + ", " + signed + ", Signature=11"),
			code: "IncompleteSignatureException", message: "Authorization header has more than one 'SignedHeaders' parameter."},
		{name: "two query credentials", query: true, tamper: setQuery("a=b", "X-Amz-Credential=x&a=b"),
			code: "IncompleteSignatureException", message: "AWS query-string parameters must include 'X-Amz-Credential' only once. Re-examine the query-string parameters."},

		// Something missing.
		{name: "scheme alone", tamper: func(r *http.Request) {
			r.Header.Set("Authorization", algorithm)
			r.Header.Del("X-Amz-Date")
		}, code: "IncompleteSignatureException", message: "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256"},
		{name: "no credential", tamper: authorization(algorithm + " " + signed + ", Signature=5ec1e7"),
			code: "IncompleteSignatureException", message: "Authorization header requires 'Credential' parameter. Authorization=AWS4-HMAC-SHA256 SignedHeaders=content-type;host;x-amz-date"},
		{name: "no signature parameter", tamper: authorization(algorithm + " " + cred + ", " + signed),
			code: "IncompleteSignatureException", message: "Authorization header requires 'Signature' parameter. Authorization=AWS4-HMAC-SHA256 " + cred + " " + signed},
		{name: "no signed headers", tamper: authorization(algorithm + " " + cred + ", Signature=5ec1e7"),
			code: "IncompleteSignatureException", message: "Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256 " + cred},
		{name: "no date", tamper: func(r *http.Request) { r.Header.Del("X-Amz-Date") },
			code: "IncompleteSignatureException", message: "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256 " + cred + " " + signed},
		{name: "no equals sign", tamper: authorization(algorithm + " Credential= AKIDEXAMPLE/x, " + signed + ", Signature=5ec1e7"),
			code: "IncompleteSignatureException", message: "Not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 " + signed + "'."},
		{name: "wrong separator runs the signature into the credential", tamper: authorization(algorithm + " " + cred + ";Signature=5ec1e7"),
			code: "IncompleteSignatureException", message: "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256 " + cred + ";..."},
		{name: "query without date", query: true, tamper: setQuery("X-Amz-Date=20150830T123600Z&", ""),
			code: "IncompleteSignatureException", message: "AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters."},
		{name: "query with nothing but the algorithm", tamper: func(r *http.Request) {
			r.Header.Del("Authorization")
			r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256"
		}, code: "IncompleteSignatureException", message: "AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include 'X-Amz-Signature'. AWS query-string parameters must include 'X-Amz-SignedHeaders'. AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters."},
		{name: "bad escape in the query", tamper: setQuery("b%20c", "b%2"),
			code: "MalformedHttpRequestException", message: "The query string is not validly percent-encoded."},

		// Dates.
		{name: "date in another format", tamper: func(r *http.Request) { r.Header.Set("X-Amz-Date", "2015-08-30T12:36:00Z") },
			code: "IncompleteSignatureException", message: "Date must be in ISO-8601 'basic format'. Got '2015-08-30T12:36:00Z'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{name: "date with a fraction", tamper: func(r *http.Request) { r.Header.Set("X-Amz-Date", "20150830T123600.5Z") },
			code: "IncompleteSignatureException", message: "Date must be in ISO-8601 'basic format'. Got '20150830T123600.5Z'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{name: "two dates", tamper: func(r *http.Request) { r.Header.Add("X-Amz-Date", "20150830T123600Z") },
			code: "IncompleteSignatureException", message: "Date must be in ISO-8601 'basic format'. Got '20150830T123600Z,20150830T123600Z'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{name: "no date at all in Date", forge: func(f *forgery) { f.headers[1], f.signedHeaders = "Date: yesterday", "date;host" },
			code: "IncompleteSignatureException", message: "Date must be in ISO-8601 'basic format'. Got 'yesterday'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{name: "bad query date", query: true, tamper: setQuery("20150830T123600Z", "20150830"),
			code: "IncompleteSignatureException", message: "Date must be in ISO-8601 'basic format'. Got '20150830'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{name: "expired", now: "20150830T130000Z",
			code: "InvalidSignatureException", message: "Signature expired: 20150830T123600Z is now earlier than 20150830T124500Z (20150830T130000Z - 15 min.)"},
		{name: "expired by a second", now: "20150830T125101Z",
			code: "InvalidSignatureException", message: "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)"},
		{name: "not yet current", now: "20150830T122000Z",
			code: "InvalidSignatureException", message: "Signature not yet current: 20150830T123600Z is still later than 20150830T123500Z (20150830T122000Z + 15 min.)"},
		{name: "query expired", now: "20150830T123731Z", query: true, forge: func(f *forgery) { f.expires = "90" },
			code: "InvalidSignatureException", message: "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T123731Z - 90 sec.)"},
		{name: "query without expiry expired", now: "20150830T125101Z", query: true, forge: func(f *forgery) { f.expires = "" },
			code: "InvalidSignatureException", message: "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)"},
		{name: "query not yet current", now: "20150830T122000Z", query: true,
			code: "InvalidSignatureException", message: "Signature not yet current: 20150830T123600Z is still later than 20150830T123500Z (20150830T122000Z + 15 min.)"},
		{name: "expiry of nothing", query: true, forge: func(f *forgery) { f.expires = "0" },
			code: "IncompleteSignatureException", message: "'X-Amz-Expires' must be one number of seconds from 1 to 604800."},
		{name: "expiry over a week", query: true, forge: func(f *forgery) { f.expires = "604801" },
			code: "IncompleteSignatureException", message: "'X-Amz-Expires' must be one number of seconds from 1 to 604800."},
		{name: "expiry in words", query: true, forge: func(f *forgery) { f.expires = "an hour" },
			code: "IncompleteSignatureException", message: "'X-Amz-Expires' must be one number of seconds from 1 to 604800."},
		{name: "two expiries", query: true, tamper: setQuery("a=b", "X-Amz-Expires=604800&a=b"),
			code: "IncompleteSignatureException", message: "'X-Amz-Expires' must be one number of seconds from 1 to 604800."},

		// Signed headers.
		{name: "host not signed", forge: func(f *forgery) { f.signedHeaders = "content-type;x-amz-date" },
			code: "InvalidSignatureException", message: "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{name: "date not signed", forge: func(f *forgery) { f.signedHeaders = "content-type;host" },
			code: "InvalidSignatureException", message: "'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization."},
		{name: "Date not signed", forge: func(f *forgery) {
			f.headers[1], f.signedHeaders = "Date: Sun, 30 Aug 2015 12:36:00 GMT", "host"
		}, code: "InvalidSignatureException", message: "'Date' must be a 'SignedHeader' in the AWS Authorization."},
		{name: "target not signed", forge: func(f *forgery) { f.headers = append(f.headers, "X-Amz-Target: MailManagerSvc.ListAddressLists") },
			code: "InvalidSignatureException", message: "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."},
		{name: "target not signed with a query signature", query: true, forge: func(f *forgery) { f.headers = append(f.headers, "X-Amz-Target: MailManagerSvc.ListAddressLists") },
			code: "InvalidSignatureException", message: "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."},
		{name: "signed header missing", forge: func(f *forgery) { f.signedHeaders += ";x-amz-meta" },
			code: "InvalidSignatureException", message: "The signed header 'x-amz-meta' is not in the request."},
		{name: "signed headers out of order", forge: func(f *forgery) { f.signedHeaders = "host;content-type;x-amz-date" },
			code: "IncompleteSignatureException", message: "'SignedHeaders' must be lower-case header names in alphabetical order, each once, separated by semicolons."},
		{name: "signed headers in capitals", forge: func(f *forgery) { f.signedHeaders = "Content-Type;Host;X-Amz-Date" },
			code: "IncompleteSignatureException", message: "'SignedHeaders' must be lower-case header names in alphabetical order, each once, separated by semicolons."},

		// Algorithm and credential.
		{name: "unknown algorithm", forge: func(f *forgery) { f.algorithm = "AWS4-HMAC-SHA512" },
			code: "IncompleteSignatureException", message: "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512' (only AWS4-HMAC-SHA256 for now)."},
		{name: "four parts", forge: func(f *forgery) { f.credential = "AKIDEXAMPLE/20150830/us-east-1/ses" },
			code: "IncompleteSignatureException", message: "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDEXAMPLE/20150830/us-east-1/ses'"},
		{name: "other region", forge: func(f *forgery) { f.credential = "AKIDEXAMPLE/20150830/eu-west-1/ses/aws4_request" },
			code: "InvalidSignatureException", message: "Credential should be scoped to a valid region, not 'eu-west-1'."},
		{name: "other service", forge: func(f *forgery) { f.credential = "AKIDEXAMPLE/20150830/us-east-1/s3/aws4_request" },
			code: "InvalidSignatureException", message: "Credential should be scoped to correct service: 'ses'."},
		{name: "other terminator", forge: func(f *forgery) { f.credential = "AKIDEXAMPLE/20150830/us-east-1/ses/aws5_request" },
			code: "InvalidSignatureException", message: "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."},
		{name: "other day", forge: func(f *forgery) { f.credential = "AKIDEXAMPLE/20150829/us-east-1/ses/aws4_request" },
			code: "InvalidSignatureException", message: "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150829' != '20150830', from '20150830T123600Z'."},
		{name: "all wrong at once", forge: func(f *forgery) { f.credential = "a/b/c/d/e" },
			code: "InvalidSignatureException", message: "Credential should be scoped to a valid region, not 'c'. Credential should be scoped to correct service: 'ses'. Credential should be scoped with a valid terminator: 'aws4_request', not 'e'. Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: 'b' != '20150830', from '20150830T123600Z'."},
		{name: "unknown key", forge: func(f *forgery) { f.credential = "AKIDNOBODY/20150830/us-east-1/ses/aws4_request" },
			code: "UnrecognizedClientException", message: badToken},
		{name: "key id too long", forge: func(f *forgery) {
			f.credential = strings.Repeat("A", 129) + "/20150830/us-east-1/ses/aws4_request"
		}, code: "UnrecognizedClientException", message: badToken},
		{name: "empty key id", forge: func(f *forgery) { f.credential = "/20150830/us-east-1/ses/aws4_request" },
			code: "UnrecognizedClientException", message: badToken},
		{name: "session token", forge: func(f *forgery) {
			f.headers = append(f.headers, "X-Amz-Security-Token: token")
			f.signedHeaders += ";x-amz-security-token"
		}, code: "UnrecognizedClientException", message: badToken},
		{name: "session token in the query", query: true, forge: func(f *forgery) { f.target += "&X-Amz-Security-Token=token" },
			code: "UnrecognizedClientException", message: badToken},

		// Body.
		{name: "body too large by Content-Length", forge: func(f *forgery) { f.body = strings.Repeat("x", 1<<20+1) },
			code: "RequestEntityTooLargeException", message: "The request body must be at most 1048576 bytes."},
		{name: "body too large without Content-Length", tamper: func(r *http.Request) {
			r.ContentLength, r.Body = -1, io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<20+1)))
		}, code: "RequestEntityTooLargeException", message: "The request body must be at most 1048576 bytes."},
		{name: "unsigned payload", forge: func(f *forgery) { f.headers = append(f.headers, "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD") },
			code: "InvalidSignatureException", message: "The 'X-Amz-Content-Sha256' header must be the SHA-256 of the request body, in lower-case hexadecimal."},
		{name: "hash of another body", forge: func(f *forgery) { f.headers = append(f.headers, "X-Amz-Content-Sha256: "+hexSHA256("")) },
			code: "InvalidSignatureException", message: "The 'X-Amz-Content-Sha256' header must be the SHA-256 of the request body, in lower-case hexadecimal."},

		// Signature.
		{name: "other secret", forge: func(f *forgery) { f.secret = "another" },
			code: "InvalidSignatureException", message: mismatch},
		{name: "other secret in the query", query: true, forge: func(f *forgery) { f.secret = "another" },
			code: "InvalidSignatureException", message: mismatch},
		{name: "signature of the wrong length", tamper: authorization(algorithm + " " + cred + ", " + signed + ", Signature=00"),
			code: "InvalidSignatureException", message: mismatch},
		{name: "capital signature", tamper: func(r *http.Request) {
			name, sum, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
			r.Header.Set("Authorization", name+"Signature="+strings.ToUpper(sum))
		}, code: "InvalidSignatureException", message: mismatch},
		{name: "other method", tamper: func(r *http.Request) { r.Method = "PUT" },
			code: "InvalidSignatureException", message: mismatch},
		{name: "other path", tamper: func(r *http.Request) { r.RequestURI = "/v2/email/tagz" },
			code: "InvalidSignatureException", message: mismatch},
		{name: "more query", tamper: func(r *http.Request) { r.URL.RawQuery += "&c=d" },
			code: "InvalidSignatureException", message: mismatch},
		{name: "other host", tamper: func(r *http.Request) { r.Host = "localhost:8081" },
			code: "InvalidSignatureException", message: mismatch},
		{name: "other content type", tamper: func(r *http.Request) { r.Header.Set("Content-Type", "application/cbor") },
			code: "InvalidSignatureException", message: mismatch},
		{name: "other body", tamper: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"a":"c"}`)) },
			code: "InvalidSignatureException", message: mismatch},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := honest()
			if test.query {
				f = honestQuery()
			}
			if test.forge != nil {
				test.forge(&f)
			}
			r := f.request(t)
			if test.tamper != nil {
				test.tamper(r)
			}
			now := test.now
			if now == "" {
				now = "20150830T123600Z"
			}
			id, body, err := newVerifier(t, now, Scope{"us-east-1", "ses"}).Verify(r)
			want := &Error{test.code, test.message}
			if got := (*Error)(nil); !errors.As(err, &got) || *got != *want {
				t.Errorf("Verify:\n got %v\nwant %v", err, want)
			}
			if id != "" || body != nil {
				t.Errorf("Verify refused, but gave key %q and body %q", id, body)
			}
		})
	}
}

// TestTroubleIsNoRefusal: what goes wrong on our side or on the connection must
// not look like a wrong signature.
func TestTroubleIsNoRefusal(t *testing.T) {
	trouble := errors.New("trouble")
	v := newVerifier(t, "20150830T123600Z", Scope{"us-east-1", "ses"})
	r := honest().request(t)
	r.Body = io.NopCloser(iotest.ErrReader(trouble))
	if _, _, err := v.Verify(r); !errors.Is(err, trouble) || errors.As(err, new(*Error)) {
		t.Errorf("body cannot be read: %v", err)
	}
	v.Secret = func(context.Context, string) (string, bool, error) { return "", false, trouble }
	if _, _, err := v.Verify(honest().request(t)); !errors.Is(err, trouble) || errors.As(err, new(*Error)) {
		t.Errorf("secret cannot be looked up: %v", err)
	}
}

// TestTooLargeBodyIsNotRead: a body that says it is too large is refused before
// a byte of it is read.
func TestTooLargeBodyIsNotRead(t *testing.T) {
	r := honest().request(t)
	r.ContentLength = 1<<20 + 1
	r.Body = io.NopCloser(iotest.ErrReader(errors.New("was read")))
	if _, _, err := newVerifier(t, "20150830T123600Z", Scope{"us-east-1", "ses"}).Verify(r); codeOf(err) != "RequestEntityTooLargeException" {
		t.Error(err)
	}
}

// TestSignedHeadersThatNetHTTPMoves signs each header that net/http keeps
// elsewhere than in the header map.
func TestSignedHeadersThatNetHTTPMoves(t *testing.T) {
	f := honest()
	f.signedHeaders = "content-length;content-type;host;x-amz-date"
	v := newVerifier(t, "20150830T123600Z", Scope{"us-east-1", "ses"})
	r := f.request(t)
	r.Header.Del("Content-Length") // as in a request of HTTP/2 without one
	if _, _, err := v.Verify(r); err != nil {
		t.Errorf("content-length: %v", err)
	}

	chunked := parseRequest(t, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	if value, found := headerValue(chunked, "transfer-encoding"); value != "chunked" || !found {
		t.Errorf("transfer-encoding = %q, %v", value, found)
	}
	if value, found := headerValue(chunked, "content-length"); found {
		t.Errorf("content-length of a chunked body = %q", value)
	}
}

// TestSkewIsInclusive: a signature of exactly the oldest or newest time is good.
func TestSkewIsInclusive(t *testing.T) {
	noExpiry := honestQuery()
	noExpiry.expires = ""
	for _, test := range []struct {
		name, now string
		f         forgery
	}{
		{"oldest", "20150830T125100Z", honest()},
		{"newest", "20150830T122100Z", honest()},
		{"oldest query", "20150830T133600Z", honestQuery()},
		{"oldest query without expiry", "20150830T125100Z", noExpiry},
		{"newest query", "20150830T122100Z", honestQuery()},
	} {
		if _, _, err := newVerifier(t, test.now, Scope{"us-east-1", "ses"}).Verify(test.f.request(t)); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestLongKeyIDIsNotLookedUp: what cannot be a key id does not reach the store.
func TestLongKeyIDIsNotLookedUp(t *testing.T) {
	v := newVerifier(t, "20150830T123600Z", Scope{"us-east-1", "ses"})
	var asked []string
	v.Secret = func(_ context.Context, id string) (string, bool, error) {
		asked = append(asked, id)
		return "", false, nil
	}
	longest := strings.Repeat("A", maxKeyID)
	for _, id := range []string{longest, longest + "A"} {
		f := honest()
		f.credential = id + "/20150830/us-east-1/ses/aws4_request"
		if _, _, err := v.Verify(f.request(t)); codeOf(err) != "UnrecognizedClientException" {
			t.Error(err)
		}
	}
	if len(asked) != 1 || asked[0] != longest {
		t.Errorf("looked up %q", asked)
	}
}

func TestQuote(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"a/b é", "a/b é"},
		{"a;Signature=5ec1e7", "a;..."},
		{"a\xffb", "a\uFFFDb"},
		{strings.Repeat("x", 200), strings.Repeat("x", 200)},
		{strings.Repeat("x", 201), strings.Repeat("x", 200) + "..."},
		{strings.Repeat("x", 199) + "é", strings.Repeat("x", 199) + "\uFFFD..."},
	} {
		if got := quote(test.in); got != test.want {
			t.Errorf("quote(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

// TestHeaderValue: HTTP/1 readers trim values, but not every reader need.
func TestHeaderValue(t *testing.T) {
	r := &http.Request{Host: "h", ContentLength: -1, Header: http.Header{"X-A": {"  a   b ", "\tc", ""}}}
	if value, found := headerValue(r, "x-a"); value != "a b,c," || !found {
		t.Errorf("headerValue = %q, %v", value, found)
	}
	if value, found := headerValue(r, "x-b"); found {
		t.Errorf("headerValue of what is missing = %q", value)
	}
}
