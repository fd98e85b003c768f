package sigv4

import (
	"bufio"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"
)

func presignTime() time.Time { return time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC) }

func exampleCredentials() Credentials { return Credentials{exampleKeyID, exampleSecret} }

func objectScope() Scope { return Scope{"us-east-1", "s3"} }

// fetch is the request that a server gets when a client sends method to rawURL.
func fetch(t failer, method, rawURL string) *http.Request {
	t.Helper()
	_, rest, _ := strings.Cut(rawURL, "://")
	host, target, _ := strings.Cut(rest, "/")
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " /" + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")))
	if err != nil {
		t.Fatalf("read request for %s: %v", rawURL, err)
	}
	return r
}

// TestPresignDocumentedExample is the example of S3's page on query signatures:
// the same URL, to the byte.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
func TestPresignDocumentedExample(t *testing.T) {
	creds := Credentials{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	now := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	u := &url.URL{Scheme: "https", Host: "examplebucket.s3.amazonaws.com", Path: "/test.txt"}
	got := Presign("GET", u, creds, objectScope(), now, 24*time.Hour)
	want := "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256" +
		"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" +
		"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host" +
		"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
	if got != want {
		t.Errorf("Presign:\n got %s\nwant %s", got, want)
	}
}

func TestPresignWritesWhatClientsSend(t *testing.T) {
	for _, test := range []struct{ url, want string }{
		{"https://Host.Example:443/a", "https://host.example/a?"},
		{"http://host.example:80/a", "http://host.example/a?"},
		{"http://host.example:443/a", "http://host.example:443/a?"},
		{"http://[::1]:8080/a", "http://[::1]:8080/a?"},
		{"http://h", "http://h/?"},
		{"http://user:pass@h/a#fragment", "http://h/a?"},
		{"http://h/a+b@c/é d", "http://h/a%2Bb%40c/%C3%A9%20d?"},
		{"http://h/a%2Fb//../c/", "http://h/a%2Fb//../c/?"},
		{"http://h/a?b=c+d&X-Amz-Expires=9&X-Amz-Signature=0&bad=%zz", "http://h/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&"},
	} {
		u, err := url.Parse(test.url)
		if err != nil {
			t.Fatal(err)
		}
		got := Presign("PUT", u, exampleCredentials(), objectScope(), presignTime(), time.Hour+time.Millisecond)
		if !strings.HasPrefix(got, test.want) || strings.Count(got, "X-Amz-Expires=3600&") != 1 || strings.Count(got, "X-Amz-Signature=") != 1 {
			t.Errorf("Presign(%s) = %s", test.url, got)
		}
		if err := VerifyPresigned(fetch(t, "PUT", got), exampleCredentials(), objectScope(), presignTime(), 0); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
}

func TestVerifyPresigned(t *testing.T) {
	const skew = 15 * time.Minute
	u := &url.URL{Scheme: "http", Host: "localhost:8080", Path: "/objects/imports/a b+c.csv", RawQuery: "part=1"}
	good := Presign("PUT", u, exampleCredentials(), objectScope(), presignTime(), time.Hour)
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	const (
		mismatch   = "SignatureDoesNotMatch: The request signature we calculated does not match the signature you provided. Check your key and signing method."
		badParams  = "AuthorizationQueryParametersError: "
		allNeeded  = badParams + "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
		parsing    = badParams + "Error parsing the X-Amz-Credential parameter; "
		badHeaders = badParams + "X-Amz-SignedHeaders must name host, and only headers that the request has, in lower case and alphabetical order"
	)
	for _, test := range []struct {
		name   string
		method string // "" for PUT
		url    string // "" for good
		after  time.Duration
		header [2]string
		want   string // "" for no error
	}{
		{name: "at once"},
		{name: "in the last second", after: time.Hour},
		{name: "clock behind by the skew", after: -skew},
		{name: "path in another spelling", url: replace("a%20b%2Bc.csv", "%61%20b+c.csv")},
		{name: "query in another order", url: replace("&part=1", "") + "&part=1"},
		{name: "unsigned header", header: [2]string{"X-Amz-Meta-Anything", "x"}},
		{name: "content type", header: [2]string{"Content-Type", "text/csv"}},

		{name: "expired", after: time.Hour + time.Second, want: "AccessDenied: Request has expired"},
		{name: "not yet", after: -skew - time.Second, want: "AccessDenied: Request is not valid yet"},
		{name: "other method", method: "GET", want: mismatch},
		{name: "other path", url: replace("imports", "exports"), want: mismatch},
		{name: "encoded slash", url: replace("objects/imports", "objects%2Fimports"), want: mismatch},
		{name: "empty segment", url: replace("objects/imports", "objects//imports"), want: mismatch},
		{name: "other query", url: replace("part=1", "part=2"), want: mismatch},
		{name: "less query", url: replace("&part=1", ""), want: mismatch},
		{name: "more query", url: good + "&x=y", want: mismatch},
		{name: "longer life", url: replace("X-Amz-Expires=3600", "X-Amz-Expires=3601"), want: mismatch},
		{name: "later date", url: replace("20150830T123600Z", "20150830T123601Z"), want: mismatch},
		{name: "other host", url: replace("localhost:8080", "localhost:8081"), want: mismatch},
		{name: "no value of signature", url: good[:len(good)-64], want: mismatch},

		{name: "bare URL", url: "http://localhost:8080/objects/a", want: "AccessDenied: Access Denied"},
		{name: "bad escape", url: good + "&%zz", want: "InvalidURI: Couldn't parse the specified URI."},
		{name: "authorization header too", header: [2]string{"Authorization", "AWS4-HMAC-SHA256 x"}, want: "InvalidArgument: Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified"},
		{name: "session token", url: good + "&X-Amz-Security-Token=x", want: "InvalidToken: The provided token is malformed or otherwise invalid."},
		{name: "no algorithm", url: replace("X-Amz-Algorithm=AWS4-HMAC-SHA256&", ""), want: allNeeded},
		{name: "no date", url: replace("X-Amz-Date=20150830T123600Z&", ""), want: allNeeded},
		{name: "no expiry", url: replace("X-Amz-Expires=3600&", ""), want: allNeeded},
		{name: "no signed headers", url: replace("X-Amz-SignedHeaders=host&", ""), want: allNeeded},
		{name: "no signature", url: replace("&X-Amz-Signature=", "&z="), want: allNeeded},
		{name: "two dates", url: good + "&X-Amz-Date=20150830T123600Z", want: badParams + "X-Amz-Date must be given only once"},
		{name: "two signatures", url: good + "&X-Amz-Signature=x", want: badParams + "X-Amz-Signature must be given only once"},
		{name: "other algorithm", url: replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), want: badParams + `X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"`},
		{name: "bad date", url: replace("20150830T123600Z", "2015-08-30"), want: badParams + `X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`},
		{name: "expiry in words", url: replace("Expires=3600", "Expires=hour"), want: badParams + "X-Amz-Expires should be a number"},
		{name: "negative expiry", url: replace("Expires=3600", "Expires=-1"), want: badParams + "X-Amz-Expires must be non-negative"},
		{name: "no life", url: replace("Expires=3600", "Expires=0"), want: badParams + "X-Amz-Expires must be at least 1 second"},
		{name: "over a week", url: replace("Expires=3600", "Expires=604801"), want: badParams + "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds"},
		{name: "expiry that overflows", url: replace("Expires=3600", "Expires=99999999999999999999"), want: badParams + "X-Amz-Expires should be a number"},
		{name: "short credential", url: replace("%2Faws4_request", ""), want: parsing + `the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`},
		{name: "other day", url: replace("%2F20150830", "%2F20150829"), want: badParams + `Invalid credential date "20150829". This date is not the same as X-Amz-Date: "20150830".`},
		{name: "other region", url: replace("us-east-1", "us-west-2"), want: parsing + "the region 'us-west-2' is wrong; expecting 'us-east-1'"},
		{name: "other service", url: replace("%2Fs3%2F", "%2Fses%2F"), want: parsing + `incorrect service "ses". This endpoint belongs to "s3".`},
		{name: "other terminator", url: replace("aws4_request", "aws5_request"), want: parsing + `incorrect terminal "aws5_request". This endpoint uses "aws4_request".`},
		{name: "other key", url: replace("AKIDEXAMPLE", "AKIDNOBODY"), want: "InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records."},
		{name: "host not signed", url: replace("SignedHeaders=host", "SignedHeaders=accept"), want: badHeaders},
		{name: "signed header missing", url: replace("SignedHeaders=host", "SignedHeaders=host%3Bx-amz-acl"), want: badHeaders},
	} {
		t.Run(test.name, func(t *testing.T) {
			method, target := test.method, test.url
			if method == "" {
				method = "PUT"
			}
			if target == "" {
				target = good
			}
			var r *http.Request
			if rest, bad := strings.CutSuffix(target, "&%zz"); bad { // a server would refuse it before us
				r = fetch(t, method, rest)
				r.URL.RawQuery += "&%zz"
			} else {
				r = fetch(t, method, target)
			}
			if test.header[0] != "" {
				r.Header.Set(test.header[0], test.header[1])
			}
			got := ""
			if err := VerifyPresigned(r, exampleCredentials(), objectScope(), presignTime().Add(test.after), skew); err != nil {
				got = err.Error()
				if !errors.As(err, new(*Error)) {
					t.Errorf("not an *Error: %v", err)
				}
			}
			if got != test.want {
				t.Errorf("VerifyPresigned:\n got %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestVerifyPresignedWithAnotherSecret(t *testing.T) {
	signed := Presign("GET", &url.URL{Scheme: "http", Host: "h", Path: "/a"}, Credentials{exampleKeyID, "another"}, objectScope(), presignTime(), time.Hour)
	if err := VerifyPresigned(fetch(t, "GET", signed), exampleCredentials(), objectScope(), presignTime(), 0); codeOf(err) != "SignatureDoesNotMatch" {
		t.Error(err)
	}
}

// TestPresignAgreesWithSDK: AWS's signer and Presign give the same URL, and each
// verifies, for any path and query.
func TestPresignAgreesWithSDK(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := "/" + encode(rapid.String().Draw(t, "path"), "/")
		query := url.Values(rapid.MapOfN(rapid.StringMatching(`[a-z é+&=/%-]{1,5}`), rapid.SliceOfN(rapid.String(), 1, 2), 0, 3).Draw(t, "query"))
		method := rapid.SampledFrom([]string{"GET", "PUT", "HEAD"}).Draw(t, "method")
		seconds := rapid.IntRange(1, maxExpires).Draw(t, "expires")
		base := "https://objects.example:8443" + path + "?" + query.Encode()
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		ours := Presign(method, u, exampleCredentials(), objectScope(), presignTime(), time.Duration(seconds)*time.Second)

		query.Set("X-Amz-Expires", strconv.Itoa(seconds))
		r, err := http.NewRequest(method, "https://objects.example:8443"+path+"?"+query.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		theirs, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: exampleKeyID, SecretAccessKey: exampleSecret}, r,
			unsignedPayload, "s3", "us-east-1", presignTime(), func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		if err != nil {
			t.Fatal(err)
		}
		if ours != theirs {
			t.Fatalf("Presign:\n got %s\nwant %s", ours, theirs)
		}
		if err := VerifyPresigned(fetch(t, method, theirs), exampleCredentials(), objectScope(), presignTime(), 0); err != nil {
			t.Fatalf("%s: %v", theirs, err)
		}
	})
}
