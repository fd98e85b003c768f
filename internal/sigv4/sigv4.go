// Package sigv4 says who signed a request: it checks AWS Signature Version 4 on
// API requests and on pre-signed object URLs, and makes such URLs.
//
// It promises that a nil error means the holder of the secret signed this very
// method, path, query, signed headers and (for API requests) body, for this
// region and service, within the time allowed; that signatures are compared in
// constant time; that an unknown key is refused before the body is read, so that
// an answer tells which keys exist, as the service's does; and that neither a secret nor a signature appears in an error.
// It keeps no state: a request may be sent again while its signature is valid,
// as with the service itself.
//
// It imports nothing but the standard library.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
package sigv4

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Scope is what a credential scope must name.
type Scope struct {
	Region  string // such as "us-east-1"
	Service string // the signing name, such as "ses"
}

// Credentials are one access key.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
}

// Error is a refusal, with the service's own code and message. The message
// holds no signature and no secret.
type Error struct {
	Code    string // such as "InvalidSignatureException"
	Message string
}

// Error gives code and message on one line.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ErrBody is what Verify gives, wrapped, for a body that breaks off or does not
// come in time: the client's or the connection's doing, and not a refusal.
var ErrBody = errors.New("read request body")

// Verifier checks API requests. All its fields must be set.
type Verifier struct {
	Scope   Scope
	MaxBody int64            // bytes; a larger body is refused
	Skew    time.Duration    // how far a request's date may lie from Now, either way; 15 minutes at AWS
	Now     func() time.Time // the clock

	// Secret gives the secret of an access key id. ok is false when there is no
	// usable key (unknown or disabled). An error is the server's own trouble.
	Secret func(ctx context.Context, accessKeyID string) (secret string, ok bool, err error)
}

const (
	codeMissingToken  = "MissingAuthenticationTokenException"
	codeIncomplete    = "IncompleteSignatureException"
	codeInvalid       = "InvalidSignatureException"
	codeUnrecognized  = "UnrecognizedClientException"
	codeTooLarge      = "RequestEntityTooLargeException"
	codeMalformedHTTP = "MalformedHttpRequestException"

	// maxKeyID is how long IAM lets an access key id be.
	// https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html
	maxKeyID = 128
)

// Verify checks r's Authorization header or its query signature, reads the whole
// body and gives it back with the access key id that signed. r.Body is used up.
// r must be as the server received it: method, RequestURI, URL.RawQuery, Host and
// headers unchanged. What is read here as the path is what the request line said,
// so a path with dot or empty segments may have been signed as a shorter one;
// such a path must not be routed to anything that the shorter one would not be.
//
// A refusal is an *Error, with one of the codes MissingAuthenticationToken-,
// IncompleteSignature-, InvalidSignature-, UnrecognizedClient-,
// RequestEntityTooLarge- and MalformedHttpRequestException. Any other error is
// from reading the body (ErrBody) or from Secret, wrapped. The checks come in the order
// that the service has been seen to make them in.
func (v *Verifier) Verify(r *http.Request) (accessKeyID string, body []byte, err error) {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return "", nil, &Error{codeMalformedHTTP, "The query string is not validly percent-encoded."}
	}
	c, refusal := readClaim(r, query)
	if refusal == nil {
		refusal = v.check(r, c)
	}
	if refusal != nil {
		return "", nil, refusal
	}
	if _, found, _ := find(query, "X-Amz-Security-Token"); found || len(r.Header["X-Amz-Security-Token"]) > 0 {
		// A session token belongs to temporary credentials, and there are none.
		return "", nil, unrecognized()
	}

	// The key is looked up before the body is read, so that a stranger cannot make
	// the server wait for, or hold, a body. That an answer tells which keys exist
	// is so with the service too.
	var secret string
	var known bool
	if len(c.keyID) <= maxKeyID {
		secret, known, err = v.Secret(r.Context(), c.keyID)
		if err != nil {
			return "", nil, fmt.Errorf("look up the secret of access key %q: %w", c.keyID, err)
		}
	}
	if !known {
		return "", nil, unrecognized()
	}
	body, err = v.readBody(r)
	if err != nil {
		return "", nil, err
	}
	payloadHash := hexSHA256(body)
	// The JavaScript SDK sends this header to SES, aws-sdk-go-v2 and botocore do
	// not. Where it is there it must be true, which also refuses UNSIGNED-PAYLOAD
	// and the streaming kinds: they would leave the body open to change.
	if said, found := headerValue(r, "x-amz-content-sha256"); found && said != payloadHash {
		return "", nil, &Error{codeInvalid, "The 'X-Amz-Content-Sha256' header must be the SHA-256 of the request body, in lower-case hexadecimal."}
	}

	match := 0
	for _, path := range apiPaths(sentPath(r)) {
		canonical := canonicalRequest(r, path, canonicalQuery(query), c.signedHeaders, payloadHash)
		want := signature(secret, c.date, v.Scope, stringToSign(c.date, v.Scope, canonical))
		match |= subtle.ConstantTimeCompare([]byte(want), []byte(c.signature))
	}
	if match != 1 {
		return "", nil, &Error{codeInvalid, "The request signature we calculated does not match the signature you provided. " +
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
	}
	return c.keyID, body, nil
}

func unrecognized() *Error {
	return &Error{codeUnrecognized, "The security token included in the request is invalid."}
}

// claim is what a request says of its own signature, before any of it is
// believed.
type claim struct {
	algorithm     string
	credential    string // keyid/day/region/service/terminator
	keyID         string // of credential; set by check
	signedHeaders []string
	signature     string
	date          string        // in basicFormat, if it could be read
	at            time.Time     // the same
	dateHeader    string        // the lower-case header it was in; "" for a query signature
	lifetime      time.Duration // X-Amz-Expires; 0 if there was none
}

// readClaim takes the claim from the header or the query. All its errors say
// that something is missing, doubled or unreadable.
func readClaim(r *http.Request, query []param) (*claim, *Error) {
	headers := r.Header["Authorization"]
	inQuery := ""
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"} {
		if _, found, _ := find(query, name); found {
			inQuery = name
			break
		}
	}
	switch {
	case len(headers) > 0 && inQuery != "":
		return nil, &Error{codeInvalid, fmt.Sprintf("Found both '%s' as a query-string param and 'Authorization' as HTTP header.", inQuery)}
	case len(headers) > 1:
		return nil, &Error{codeIncomplete, "The request has more than one 'Authorization' header."}
	case len(headers) == 1:
		return readHeaderClaim(r, headers[0])
	case inQuery != "":
		return readQueryClaim(query)
	}
	return nil, missingToken()
}

func missingToken() *Error {
	return &Error{codeMissingToken, "Missing Authentication Token"}
}

func readHeaderClaim(r *http.Request, header string) (*claim, *Error) {
	parts := strings.FieldsFunc(header, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })
	if len(parts) == 0 || !strings.HasPrefix(parts[0], "AWS4-") {
		return nil, missingToken() // Basic, Bearer and the like; not echoed
	}
	c := &claim{algorithm: parts[0]}
	var signedHeaders string
	var haveSignedHeaders, noEquals bool
	for _, part := range parts[1:] {
		name, value, hasEquals := strings.Cut(part, "=")
		twice := false
		switch {
		case !hasEquals:
			noEquals = true
		case name == "Credential":
			twice, c.credential = c.credential != "", value
		case name == "SignedHeaders":
			twice, signedHeaders, haveSignedHeaders = haveSignedHeaders, value, true
		case name == "Signature":
			twice, c.signature = c.signature != "", value
		}
		if twice {
			return nil, &Error{codeIncomplete, fmt.Sprintf("Authorization header has more than one '%s' parameter.", name)}
		}
	}

	// The service echoes the header. We echo only the parts of it that are known
	// not to be secret, so never the signature, nor what we could not read.
	echo := quote(c.algorithm)
	if c.credential != "" {
		echo += " Credential=" + quote(c.credential)
	}
	if haveSignedHeaders {
		echo += " SignedHeaders=" + quote(signedHeaders)
	}
	if noEquals {
		return nil, &Error{codeIncomplete, fmt.Sprintf("Not a valid key=value pair (missing equal-sign) in Authorization header: '%s'.", echo)}
	}

	dateText, found := headerValue(r, "x-amz-date")
	c.dateHeader = "x-amz-date"
	if !found {
		dateText, found = headerValue(r, "date")
		c.dateHeader = "date"
	}
	var missing []string
	if c.credential == "" {
		missing = append(missing, "Authorization header requires 'Credential' parameter.")
	}
	if c.signature == "" {
		missing = append(missing, "Authorization header requires 'Signature' parameter.")
	}
	if !haveSignedHeaders {
		missing = append(missing, "Authorization header requires 'SignedHeaders' parameter.")
	}
	if !found {
		missing = append(missing, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if len(missing) > 0 {
		return nil, &Error{codeIncomplete, strings.Join(missing, " ") + " Authorization=" + echo}
	}

	// X-Amz-Date has one format; Date has HTTP's three (RFC 9110, 5.6.7), RFC
	// 5322's, and the basic format, which the service takes there too.
	ok := c.setDate(dateText)
	if !ok && c.dateHeader == "date" {
		at, err := http.ParseTime(dateText)
		if err != nil {
			at, err = time.Parse(time.RFC1123Z, dateText)
		}
		ok = err == nil && c.setDate(at.UTC().Format(basicFormat))
	}
	if !ok {
		return nil, badDate(dateText)
	}
	c.signedHeaders = strings.Split(signedHeaders, ";")
	return c, nil
}

func readQueryClaim(query []param) (*claim, *Error) {
	c := &claim{}
	var signedHeaders, dateText string
	var missing []string
	for _, p := range []struct {
		name string
		into *string
	}{
		{"X-Amz-Algorithm", &c.algorithm},
		{"X-Amz-Credential", &c.credential},
		{"X-Amz-Signature", &c.signature},
		{"X-Amz-SignedHeaders", &signedHeaders},
		{"X-Amz-Date", &dateText},
	} {
		value, _, repeated := find(query, p.name)
		if repeated {
			return nil, &Error{codeIncomplete, fmt.Sprintf("AWS query-string parameters must include '%s' only once. Re-examine the query-string parameters.", p.name)}
		}
		if value == "" {
			missing = append(missing, fmt.Sprintf("AWS query-string parameters must include '%s'.", p.name))
		}
		*p.into = value
	}
	if len(missing) > 0 {
		return nil, &Error{codeIncomplete, strings.Join(missing, " ") + " Re-examine the query-string parameters."}
	}
	if !c.setDate(dateText) {
		return nil, badDate(dateText)
	}
	// S3 demands X-Amz-Expires; elsewhere it may be left out, and then the
	// signature lives as long as one in a header.
	if text, found, repeated := find(query, "X-Amz-Expires"); found {
		seconds, err := strconv.ParseUint(text, 10, 32)
		if err != nil || repeated || seconds < 1 || seconds > maxExpires {
			return nil, &Error{codeIncomplete, fmt.Sprintf("'X-Amz-Expires' must be one number of seconds from 1 to %d.", maxExpires)}
		}
		c.lifetime = time.Duration(seconds) * time.Second
	}
	c.signedHeaders = strings.Split(signedHeaders, ";")
	return c, nil
}

// setDate takes a date in basicFormat and answers whether it is one. time.Parse
// would let fractions of a second through, so the text is compared too.
func (c *claim) setDate(text string) bool {
	at, err := time.Parse(basicFormat, text)
	if err != nil || at.Format(basicFormat) != text {
		return false
	}
	c.date, c.at = text, at
	return true
}

func badDate(text string) *Error {
	return &Error{codeIncomplete, fmt.Sprintf("Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", quote(text))}
}

// check refuses what can be refused without the secret and the body, and sets
// c.keyID.
func (v *Verifier) check(r *http.Request, c *claim) *Error {
	now := v.Now().UTC().Truncate(time.Second)
	lifetime := v.Skew
	if c.lifetime > 0 {
		lifetime = c.lifetime
	}
	if oldest := now.Add(-lifetime); c.at.Before(oldest) {
		return &Error{codeInvalid, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %s.)",
			c.date, oldest.Format(basicFormat), now.Format(basicFormat), span(lifetime))}
	}
	if newest := now.Add(v.Skew); c.at.After(newest) {
		return &Error{codeInvalid, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + %s.)",
			c.date, newest.Format(basicFormat), now.Format(basicFormat), span(v.Skew))}
	}

	if refusal := checkSignedHeaders(r, c.signedHeaders); refusal != nil {
		return refusal
	}
	// AWS asks that every x-amz-* header be signed. We demand those that change
	// what a request means: the date (the string to sign holds it too, but the
	// rule costs nothing), and x-amz-target, which names the operation of a JSON
	// 1.0 request: unsigned, whoever carries a ListX could make it a DeleteX. The
	// rest are let be, since proxies add x-amz-* headers of their own (such as
	// x-amz-cf-id). Content-Type need not be signed; when it is, as SDKs do, it is
	// bound like any other header.
	if c.dateHeader != "" && !slices.Contains(c.signedHeaders, c.dateHeader) {
		return mustBeSigned(http.CanonicalHeaderKey(c.dateHeader))
	}
	if _, found := r.Header["X-Amz-Target"]; found && !slices.Contains(c.signedHeaders, "x-amz-target") {
		return mustBeSigned("X-Amz-Target")
	}
	if c.algorithm != algorithm {
		return &Error{codeIncomplete, fmt.Sprintf("Unsupported AWS 'algorithm': '%s' (only %s for now).", quote(c.algorithm), algorithm)}
	}

	parts := strings.Split(c.credential, "/")
	if len(parts) != 5 {
		return &Error{codeIncomplete, fmt.Sprintf("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", quote(c.credential))}
	}
	keyID, day, region, service, term := parts[0], parts[1], parts[2], parts[3], parts[4]
	var wrong []string
	if region != v.Scope.Region {
		wrong = append(wrong, fmt.Sprintf("Credential should be scoped to a valid region, not '%s'.", quote(region)))
	}
	if service != v.Scope.Service {
		wrong = append(wrong, fmt.Sprintf("Credential should be scoped to correct service: '%s'.", v.Scope.Service))
	}
	if term != terminator {
		wrong = append(wrong, fmt.Sprintf("Credential should be scoped with a valid terminator: '%s', not '%s'.", terminator, quote(term)))
	}
	if want := c.at.Format(dayFormat); day != want {
		wrong = append(wrong, fmt.Sprintf("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.",
			quote(day), want, c.date))
	}
	if len(wrong) > 0 {
		return &Error{codeInvalid, strings.Join(wrong, " ")}
	}
	c.keyID = keyID
	return nil
}

// checkSignedHeaders demands of the names in SignedHeaders that host be one, so
// that a signature for one server is no good at another, and that each be there.
func checkSignedHeaders(r *http.Request, names []string) *Error {
	if !slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, "host") }) {
		return mustBeSigned("Host' or ':authority")
	}
	for i, name := range names {
		if name != strings.ToLower(name) || i > 0 && name <= names[i-1] {
			return &Error{codeIncomplete, "'SignedHeaders' must be lower-case header names in alphabetical order, each once, separated by semicolons."}
		}
		// A header that is missing would otherwise be signed like an empty one.
		if _, found := headerValue(r, name); !found {
			return &Error{codeInvalid, fmt.Sprintf("The signed header '%s' is not in the request.", quote(name))}
		}
	}
	return nil
}

func mustBeSigned(header string) *Error {
	return &Error{codeInvalid, fmt.Sprintf("'%s' must be a 'SignedHeader' in the AWS Authorization.", header)}
}

// span is how the service writes a time span: "15 min".
func span(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d sec", d/time.Second)
}

// readBody reads all of r's body, and nothing of one that says it is too large.
func (v *Verifier) readBody(r *http.Request) ([]byte, error) {
	tooLarge := &Error{codeTooLarge, fmt.Sprintf("The request body must be at most %d bytes.", v.MaxBody)}
	if r.ContentLength > v.MaxBody {
		return nil, tooLarge
	}
	if r.Body == nil { // built by hand, not read from a connection
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, v.MaxBody))
	if maxErr := (*http.MaxBytesError)(nil); errors.As(err, &maxErr) {
		return nil, tooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBody, err)
	}
	return body, nil
}
