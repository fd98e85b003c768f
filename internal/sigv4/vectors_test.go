package sigv4

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	exampleKeyID  = "AKIDEXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// newVerifier knows one key and stands still at now (basic format).
func newVerifier(t testing.TB, now string, scope Scope) *Verifier {
	t.Helper()
	at, err := time.Parse(basicFormat, now)
	if err != nil {
		t.Fatal(err)
	}
	return &Verifier{
		Scope: scope, MaxBody: 1 << 20, Skew: 15 * time.Minute,
		Now: func() time.Time { return at },
		Secret: func(_ context.Context, id string) (string, bool, error) {
			return exampleSecret, id == exampleKeyID, nil
		},
	}
}

// parseRequest reads a request as a server does. The lines of raw may end
// without carriage returns.
func parseRequest(t failer, raw string) *http.Request {
	t.Helper()
	line, rest, _ := strings.Cut(raw, "\n")
	line = strings.TrimSuffix(line, "\r")
	method, target, _ := strings.Cut(line, " ")
	target = strings.TrimSuffix(target, " HTTP/1.1")
	// Some published vectors have a bare space in the path, which no HTTP server
	// reads. They go in past the parser.
	bareSpace := strings.Contains(target, " ")
	if bareSpace {
		raw = method + " / HTTP/1.1\n" + rest
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		t.Fatalf("read request: %v", err)
	}
	if bareSpace {
		r.RequestURI = target
		_, r.URL.RawQuery, _ = strings.Cut(target, "?")
	}
	return r
}

// TestVectors checks the published SigV4 test suite: each step where the suite
// gives it, and always the signature. The sources are named in the file.
func TestVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, Request, Canonical, StringToSign string }
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 40 {
		t.Fatalf("only %d vectors", len(vectors))
	}
	for _, vector := range vectors {
		t.Run(vector.Name, func(t *testing.T) {
			now, scope := "20150830T123600Z", Scope{"us-east-1", "service"}
			if strings.HasPrefix(vector.Name, "2011-") {
				now, scope = "20110909T233600Z", Scope{"us-east-1", "host"}
			}

			r := parseRequest(t, vector.Request)
			query, err := parseQuery(r.URL.RawQuery)
			if err != nil {
				t.Fatal(err)
			}
			c, refusal := readClaim(r, query)
			if refusal != nil {
				t.Fatal(refusal)
			}
			_, body, _ := strings.Cut(vector.Request, "\n\n")
			var canonicals, toSigns, sums []string
			for _, path := range apiPaths(sentPath(r)) {
				canonical := canonicalRequest(r, path, canonicalQuery(query), c.signedHeaders, hexSHA256(body))
				toSign := stringToSign(c.date, scope, canonical)
				canonicals = append(canonicals, canonical)
				toSigns = append(toSigns, toSign)
				sums = append(sums, signature(exampleSecret, c.date, scope, toSign))
			}
			if vector.Canonical != "" && !slices.Contains(canonicals, vector.Canonical) {
				t.Errorf("canonical requests:\n%q\nwant one to be:\n%q", canonicals, vector.Canonical)
			}
			if vector.StringToSign != "" && !slices.Contains(toSigns, vector.StringToSign) {
				t.Errorf("strings to sign:\n%q\nwant one to be:\n%q", toSigns, vector.StringToSign)
			}
			if !slices.Contains(sums, c.signature) {
				t.Errorf("signatures %q of\n%q\nwant %q", sums, canonicals, c.signature)
			}

			id, gotBody, err := newVerifier(t, now, scope).Verify(r)
			if len(r.Header["X-Amz-Security-Token"]) > 0 {
				// Signed correctly, but there are no temporary credentials here.
				if codeOf(err) != "UnrecognizedClientException" {
					t.Errorf("Verify with a session token: %v", err)
				}
				return
			}
			if err != nil || id != exampleKeyID || string(gotBody) != body {
				t.Errorf("Verify = %q, %q, %v; want %q, %q", id, gotBody, err, exampleKeyID, body)
			}
		})
	}
}

func secretIs(secret string) func(context.Context, string) (string, bool, error) {
	return func(context.Context, string) (string, bool, error) { return secret, true, nil }
}

// codeOf is the code of a refusal, "" if there was no error, and the text of an
// error that is not a refusal.
func codeOf(err error) string {
	if refusal := (*Error)(nil); errors.As(err, &refusal) {
		return refusal.Code
	}
	if err != nil {
		return "not an *Error: " + err.Error()
	}
	return ""
}

// failer is what *testing.T and *rapid.T have in common and parseRequest needs.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}
