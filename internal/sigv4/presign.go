package sigv4

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Presign gives the URL of u with a query signature that lets whoever has it
// send method to it until expires after now. It is made as S3 makes it: the path
// is encoded once, the payload is unsigned, and host is the only signed header.
// The same arguments give the same URL.
//
// u needs a host; a path is "/" if empty; its query is kept and signed, less the
// parameters of an older signature and pairs that are badly escaped. The host is
// written as clients send it: lower case, without its scheme's default port.
// expires is cut to whole seconds; VerifyPresigned takes 1 to 604800 of them.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
func Presign(method string, u *url.URL, creds Credentials, scope Scope, now time.Time, expires time.Duration) string {
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	path := objectPath(u.EscapedPath())
	if path == "" {
		path = "/"
	}
	date := now.UTC().Format(basicFormat)

	query, _ := parseQuery(u.RawQuery)
	query = slices.DeleteFunc(query, func(p param) bool {
		return slices.Contains(presignParams(), p.name)
	})
	query = append(query,
		param{"X-Amz-Algorithm", algorithm},
		param{"X-Amz-Credential", creds.AccessKeyID + "/" + scope.string(date[:len(dayFormat)])},
		param{"X-Amz-Date", date},
		param{"X-Amz-Expires", strconv.FormatInt(int64(expires/time.Second), 10)},
		param{"X-Amz-SignedHeaders", "host"},
	)
	rawQuery := canonicalQuery(query)

	canonical := canonicalRequest(&http.Request{Method: method, Host: host}, path, rawQuery, []string{"host"}, unsignedPayload)
	sum := signature(creds.SecretAccessKey, date, scope, stringToSign(date, scope, canonical))
	return u.Scheme + "://" + host + path + "?" + rawQuery + "&X-Amz-Signature=" + sum
}

// VerifyPresigned checks the query signature of a URL as Presign makes it, on
// the request r that a server got for it. It does not touch the body, which such
// a signature leaves open. skew is how far in the future the signature's date
// may lie; its end is not stretched, since the clock that made it is ours.
//
// The error is nil or an *Error with S3's own code and message: AccessDenied,
// AuthorizationQueryParametersError, InvalidAccessKeyId, InvalidArgument,
// InvalidToken, InvalidURI or SignatureDoesNotMatch.
//
// Unlike S3 it lets unsigned x-amz-* headers be. The caller must give them no
// meaning.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func VerifyPresigned(r *http.Request, creds Credentials, scope Scope, now time.Time, skew time.Duration) error {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return &Error{"InvalidURI", "Couldn't parse the specified URI."}
	}
	value := map[string]string{}
	for _, name := range presignParams() {
		text, found, repeated := find(query, name)
		if repeated {
			return badParam(name + " must be given only once")
		}
		if found {
			value[name] = text
		}
	}
	switch _, tokens, _ := find(query, "X-Amz-Security-Token"); {
	case len(value) == 0:
		return &Error{"AccessDenied", "Access Denied"}
	case len(r.Header["Authorization"]) > 0:
		return &Error{"InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified"}
	case len(value) < len(presignParams()):
		return badParam("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
	case tokens:
		// A session token belongs to temporary credentials, and there are none.
		return &Error{"InvalidToken", "The provided token is malformed or otherwise invalid."}
	case value["X-Amz-Algorithm"] != algorithm:
		return badParam(`X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"`)
	}

	c := &claim{signature: value["X-Amz-Signature"], signedHeaders: strings.Split(value["X-Amz-SignedHeaders"], ";")}
	if !c.setDate(value["X-Amz-Date"]) {
		return badParam(`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	}
	lifetime, refusal := readExpires(value["X-Amz-Expires"])
	if refusal != nil {
		return refusal
	}
	parts := strings.Split(value["X-Amz-Credential"], "/")
	if len(parts) != 5 {
		return badParam(`Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`)
	}
	switch day := c.at.Format(dayFormat); {
	case parts[1] != day:
		return badParam(fmt.Sprintf("Invalid credential date %q. This date is not the same as X-Amz-Date: %q.", quote(parts[1]), day))
	case parts[2] != scope.Region:
		return badParam(fmt.Sprintf("Error parsing the X-Amz-Credential parameter; the region '%s' is wrong; expecting '%s'", quote(parts[2]), scope.Region))
	case parts[3] != scope.Service:
		return badParam(fmt.Sprintf("Error parsing the X-Amz-Credential parameter; incorrect service %q. This endpoint belongs to %q.", quote(parts[3]), scope.Service))
	case parts[4] != terminator:
		return badParam(fmt.Sprintf("Error parsing the X-Amz-Credential parameter; incorrect terminal %q. This endpoint uses %q.", quote(parts[4]), terminator))
	}

	switch now = now.UTC().Truncate(time.Second); {
	case c.at.After(now.Add(skew)):
		return &Error{"AccessDenied", "Request is not valid yet"}
	case c.at.Add(lifetime).Before(now):
		return &Error{"AccessDenied", "Request has expired"}
	}
	if checkSignedHeaders(r, c.signedHeaders) != nil {
		return badParam("X-Amz-SignedHeaders must name host, and only headers that the request has, in lower case and alphabetical order")
	}
	if parts[0] != creds.AccessKeyID {
		return &Error{"InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."}
	}
	canonical := canonicalRequest(r, objectPath(sentPath(r)), canonicalQuery(query), c.signedHeaders, unsignedPayload)
	want := signature(creds.SecretAccessKey, c.date, scope, stringToSign(c.date, scope, canonical))
	if subtle.ConstantTimeCompare([]byte(want), []byte(c.signature)) != 1 {
		return &Error{"SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method."}
	}
	return nil
}

// presignParams are what a pre-signed URL must have, each once.
func presignParams() []string {
	return []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"}
}

func badParam(message string) *Error {
	return &Error{"AuthorizationQueryParametersError", message}
}

// readExpires reads X-Amz-Expires: whole seconds, 1 to maxExpires.
func readExpires(text string) (time.Duration, *Error) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return 0, badParam("X-Amz-Expires should be a number")
	case seconds < 0:
		return 0, badParam("X-Amz-Expires must be non-negative")
	case seconds == 0:
		return 0, badParam("X-Amz-Expires must be at least 1 second")
	case seconds > maxExpires:
		return 0, badParam("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	}
	return time.Duration(seconds) * time.Second, nil
}
