package sigv4

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	algorithm       = "AWS4-HMAC-SHA256"
	terminator      = "aws4_request"
	unsignedPayload = "UNSIGNED-PAYLOAD"

	// basicFormat is ISO 8601's basic format, the only one that the string to
	// sign knows.
	basicFormat = "20060102T150405Z"
	dayFormat   = "20060102"

	// maxExpires is how long a query signature may live, in seconds: 7 days.
	maxExpires = 604800
)

// string is the part of a credential after the key id.
func (s Scope) string(day string) string {
	return day + "/" + s.Region + "/" + s.Service + "/" + terminator
}

// canonicalRequest puts r into the form that is signed. path and query are
// canonical already. Every name in signedHeaders is one that headerValue finds.
func canonicalRequest(r *http.Request, path, query string, signedHeaders []string, payloadHash string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + path + "\n" + query + "\n")
	for _, name := range signedHeaders {
		value, _ := headerValue(r, name)
		b.WriteString(name + ":" + value + "\n")
	}
	b.WriteString("\n" + strings.Join(signedHeaders, ";") + "\n" + payloadHash)
	return b.String()
}

// stringToSign takes date in basicFormat.
func stringToSign(date string, scope Scope, canonical string) string {
	return algorithm + "\n" + date + "\n" + scope.string(date[:len("20060102")]) + "\n" + hexSHA256(canonical)
}

// signature derives the key of the string's day and scope from secret and signs
// with it. It answers 64 lower-case hexadecimal digits.
func signature(secret, date string, scope Scope, toSign string) string {
	key := hmacSHA256([]byte("AWS4"+secret), date[:len("20060102")])
	key = hmacSHA256(key, scope.Region)
	key = hmacSHA256(key, scope.Service)
	key = hmacSHA256(key, terminator)
	return hex.EncodeToString(hmacSHA256(key, toSign))
}

func hmacSHA256(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

func hexSHA256[T string | []byte](data T) string {
	sum := sha256.Sum256([]byte(data))
	return hex.EncodeToString(sum[:])
}

// headerValue is the canonical value of the header that SignedHeaders calls
// name (lower case): runs of spaces are one space, repeats are joined by commas
// in the order they came. found is false when r has no such header.
//
// net/http takes Host and Transfer-Encoding out of the header map, and may leave
// Content-Length only in its field, so these are put back here.
func headerValue(r *http.Request, name string) (value string, found bool) {
	values := r.Header[http.CanonicalHeaderKey(name)]
	switch {
	case name == "host":
		values = []string{r.Host}
	case name == "transfer-encoding" && len(values) == 0:
		values = r.TransferEncoding
	case name == "content-length" && len(values) == 0 && r.ContentLength >= 0:
		values = []string{strconv.FormatInt(r.ContentLength, 10)}
	}
	if len(values) == 0 {
		return "", false
	}
	trimmed := make([]string, len(values))
	for i, v := range values {
		v = strings.Trim(v, " \t")
		for strings.Contains(v, "  ") {
			v = strings.ReplaceAll(v, "  ", " ")
		}
		trimmed[i] = v
	}
	return strings.Join(trimmed, ","), true
}

// sentPath is the path of a server request byte for byte as it stood in the
// request line. URL.EscapedPath is not that: it re-encodes what it would have
// written differently.
func sentPath(r *http.Request) string {
	if r.RequestURI == "" { // built by hand, not read from a connection
		return r.URL.EscapedPath()
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if strings.HasPrefix(path, "/") {
		return path
	}
	// "GET http://host/path HTTP/1.1", which RFC 9112, 3.2.2 obliges us to take.
	_, path, _ = strings.Cut(path, "://")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[i:]
	}
	return "/"
}

// apiPaths are the canonical paths that an API request may have been signed
// with. All services but S3 encode the path that was sent a second time, after
// taking out dot segments and empty segments. botocore and @smithy/signature-v4
// do so; aws-sdk-go-v2 encodes but does not take out, so where that makes a
// difference there are two answers. Either way the signature names one path, up
// to segments that mean nothing.
func apiPaths(sent string) []string {
	normal, asSent := encode(normalPath(sent), "/"), encode(sent, "/")
	if normal == asSent {
		return []string{normal}
	}
	return []string{normal, asSent}
}

// normalPath takes out "." and empty segments, and ".." with the segment before
// it. A trailing slash stays, but "/a/." and "/a/b/.." get none: that is not
// RFC 3986, 5.2.4 to the letter but what the SDKs sign.
func normalPath(path string) string {
	var kept []string
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, segment)
		}
	}
	normal := "/" + strings.Join(kept, "/")
	if len(kept) > 0 && strings.HasSuffix(path, "/") {
		normal += "/"
	}
	return normal
}

// objectPath is S3's canonical path: encoded once, and strictly, whatever the
// client left bare ("@" or "+", say), nothing taken out. An encoded slash stays
// apart from a slash, so that no two paths that a router could tell apart share
// a signature.
func objectPath(sent string) string {
	segments := strings.Split(sent, "/")
	for i, segment := range segments {
		if plain, err := url.PathUnescape(segment); err == nil {
			segment = plain
		}
		segments[i] = encode(segment, "")
	}
	return strings.Join(segments, "/")
}

// encode percent-encodes every byte of s but RFC 3986's unreserved ones and
// those in keep.
func encode(s, keep string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			strings.IndexByte("-_.~", c) >= 0, strings.IndexByte(keep, c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// param is one pair of a query, decoded.
type param struct{ name, value string }

// parseQuery splits a raw query into its pairs in order. Like url.ParseQuery it
// goes on past a pair that is badly escaped and answers the first such error;
// unlike it, a semicolon is a character like any other. A bare "+" is a space:
// no SDK sends one, and a handler that reads URL.Query sees a space, so the
// signature must cover that and not "%2B".
func parseQuery(raw string) ([]param, error) {
	var params []param
	var firstErr error
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			firstErr = cmp.Or(firstErr, err)
			continue
		}
		params = append(params, param{name, value})
	}
	return params, firstErr
}

// find answers the one value of a parameter. found is false if it is missing,
// and repeated is true if it comes more than once: then neither value may be
// trusted, because somebody else may read the other one.
func find(params []param, name string) (value string, found, repeated bool) {
	for _, p := range params {
		if p.name == name {
			repeated = found
			value, found = p.value, true
			if repeated {
				return "", true, true
			}
		}
	}
	return value, found, false
}

// canonicalQuery encodes the pairs strictly and sorts what comes out by name,
// then value. The signature cannot cover itself, so it is left out.
func canonicalQuery(params []param) string {
	var encoded []param
	for _, p := range params {
		if p.name != "X-Amz-Signature" {
			encoded = append(encoded, param{encode(p.name, ""), encode(p.value, "")})
		}
	}
	slices.SortFunc(encoded, func(a, b param) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	})
	var b strings.Builder
	for i, p := range encoded {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + p.value)
	}
	return b.String()
}

// quote makes client input fit for an error message: short, without a signature
// that was run into it by a wrong separator, and UTF-8, which a CBOR text string
// must be.
func quote(s string) string {
	const most = 200
	if before, _, found := strings.Cut(s, "Signature="); found {
		s = before + "..."
	}
	if len(s) > most {
		s = s[:most] + "..."
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}
