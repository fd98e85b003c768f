package sigv4

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"
)

// TestSignedRequestsVerifyAndChangedOnesDoNot signs random requests with AWS's
// own signer, sends them over the wire format, and then changes one thing that
// was signed.
func TestSignedRequestsVerifyAndChangedOnesDoNot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scope := Scope{"us-east-1", "ses"}
		now := time.Unix(rapid.Int64Range(1_000_000_000, 4_000_000_000).Draw(t, "now"), 0).UTC()
		id := rapid.StringMatching(`[A-Z0-9]{16,32}`).Draw(t, "key id")
		secret := rapid.StringN(1, 40, -1).Draw(t, "secret")
		verifier := &Verifier{
			Scope: scope, MaxBody: 1 << 20, Skew: 15 * time.Minute,
			Now: func() time.Time { return now },
			Secret: func(_ context.Context, asked string) (string, bool, error) {
				return secret, asked == id, nil
			},
		}

		// The request, as an SDK sends it: path and query escaped.
		segments := rapid.SliceOfN(rapid.StringN(1, 12, -1).Filter(func(s string) bool { return s != "." && s != ".." }), 0, 4).Draw(t, "segments")
		path := "/"
		for i, segment := range segments {
			if i > 0 {
				path += "/"
			}
			path += encode(segment, "")
		}
		if len(segments) > 0 && rapid.Bool().Draw(t, "trailing slash") {
			path += "/"
		}
		query := url.Values(rapid.MapOfN(rapid.String(), rapid.SliceOfN(rapid.String(), 1, 3), 0, 3).Draw(t, "query"))
		for name := range query {
			if strings.HasPrefix(name, "X-Amz-") {
				delete(query, name)
			}
		}
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		method := rapid.SampledFrom([]string{"GET", "POST", "PUT", "DELETE"}).Draw(t, "method")
		signed, err := http.NewRequest(method, "http://localhost:8080"+path+"?"+query.Encode(), bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		names := []string{"Content-Type", "X-Amz-Target", "X-Other"}
		for _, name := range names {
			for _, value := range rapid.SliceOfN(rapid.StringMatching(`[!-~][ -~]{0,20}[!-~]`), 0, 2).Draw(t, name) {
				signed.Header.Add(name, value)
			}
		}
		hash := hexSHA256(body)
		if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, signed, hash, scope.Service, scope.Region, now); err != nil {
			t.Fatal(err)
		}
		var wire bytes.Buffer
		if err := signed.Write(&wire); err != nil {
			t.Fatal(err)
		}
		receive := func() *http.Request { return parseRequest(t, wire.String()) }

		gotID, gotBody, err := verifier.Verify(receive())
		if err != nil || gotID != id || !bytes.Equal(gotBody, body) {
			t.Fatalf("Verify = %q, %q, %v for\n%s", gotID, gotBody, err, wire.String())
		}

		// One change.
		r := receive()
		otherLetter := func(t *rapid.T, s string, from int, label string) string {
			i := rapid.IntRange(from, len(s)-1).Draw(t, label)
			letter := rapid.SampledFrom([]byte("abcdefxyz0123456789")).Filter(func(c byte) bool { return c != s[i] }).Draw(t, "letter")
			return s[:i] + string(letter) + s[i+1:]
		}
		authorization := r.Header.Get("Authorization")
		changes := []string{"method", "path", "more query", "host", "date", "body", "signature", "credential", "signed headers"}
		if r.URL.RawQuery != "" {
			changes = append(changes, "query")
		}
		present := slices.DeleteFunc(slices.Sorted(maps.Keys(r.Header)), func(name string) bool { return !slices.Contains(names, name) })
		if len(present) > 0 {
			changes = append(changes, "header")
		}
		switch what := rapid.SampledFrom(changes).Draw(t, "change"); what {
		case "method":
			r.Method = rapid.SampledFrom([]string{"GET", "POST", "PUT", "DELETE", "HEAD"}).Filter(func(m string) bool { return m != method }).Draw(t, "other method")
		case "path":
			sent, rest, _ := strings.Cut(r.RequestURI, "?")
			if len(sent) == 1 {
				sent += "x"
			} else {
				sent = otherLetter(t, sent, 1, "where in the path")
			}
			r.RequestURI = sent + "?" + rest
		case "query":
			before, _ := url.ParseQuery(r.URL.RawQuery)
			// Another spelling of the same query is no change.
			changed := func(q string) bool {
				after, err := url.ParseQuery(q)
				return err != nil || !sameValues(before, after)
			}
			r.URL.RawQuery = rapid.Custom(func(t *rapid.T) string {
				return otherLetter(t, r.URL.RawQuery, 0, "where in the query")
			}).Filter(changed).Draw(t, "other query")
		case "more query":
			// The signature alone is not signed.
			name := rapid.String().Filter(func(s string) bool { return s != "X-Amz-Signature" }).Draw(t, "name")
			r.URL.RawQuery += "&" + encode(name, "") + "="
		case "header":
			values := r.Header[rapid.SampledFrom(present).Draw(t, "header")]
			i := rapid.IntRange(0, len(values)-1).Draw(t, "value")
			values[i] = otherLetter(t, values[i], 0, "where in the value")
		case "host":
			r.Host = otherLetter(t, r.Host, 0, "where in the host")
		case "date":
			r.Header.Set("X-Amz-Date", now.Add(time.Duration(rapid.SampledFrom([]int{-1, 1}).Draw(t, "seconds"))*time.Second).Format(basicFormat))
		case "body":
			changed := append(slices.Clone(body), 'x')
			if len(body) > 0 {
				changed = slices.Clone(body)
				changed[rapid.IntRange(0, len(body)-1).Draw(t, "where in the body")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			}
			r.Body = io.NopCloser(bytes.NewReader(changed))
		case "signature":
			r.Header.Set("Authorization", otherLetter(t, authorization, strings.Index(authorization, "Signature=")+len("Signature="), "where in the signature"))
		case "credential":
			start := strings.Index(authorization, "Credential=") + len("Credential=")
			end := strings.Index(authorization, ", SignedHeaders=")
			r.Header.Set("Authorization", authorization[:start]+otherLetter(t, authorization[start:end], 0, "where in the credential")+authorization[end:])
		case "signed headers":
			start := strings.Index(authorization, "SignedHeaders=") + len("SignedHeaders=")
			end := strings.Index(authorization, ", Signature=")
			r.Header.Set("Authorization", authorization[:start]+otherLetter(t, authorization[start:end], 0, "where in the names")+authorization[end:])
		default:
			t.Fatal(what)
		}
		if id, _, err := verifier.Verify(r); err == nil || id != "" {
			t.Fatalf("a changed request verified: key %q, %v\n%s %s\n%v", id, err, r.Method, r.RequestURI, r.Header)
		}
	})
}

// sameValues compares two queries as handlers read them. Values of one name may
// stand in any order, since the canonical form sorts them.
func sameValues(a, b url.Values) bool {
	sorted := func(q url.Values) map[string][]string {
		out := map[string][]string{}
		for name, values := range q {
			out[name] = slices.Sorted(slices.Values(values))
		}
		return out
	}
	return reflect.DeepEqual(sorted(a), sorted(b))
}
