package sigv4

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// TestRecorded replays what real SDKs sent (testdata/record says how it was
// recorded): every request must verify at the time it was made, and not with
// another secret.
func TestRecorded(t *testing.T) {
	for _, sdk := range []string{"go", "js", "botocore"} {
		files, err := filepath.Glob("testdata/recorded/" + sdk + "-*.http")
		if err != nil || len(files) < 12 {
			t.Fatalf("%d recordings of %s, %v", len(files), sdk, err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				raw, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
				read := func() *http.Request {
					r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
					if err != nil {
						t.Fatal(err)
					}
					return r
				}
				r := read()
				v := newVerifier(t, r.Header.Get("X-Amz-Date"), Scope{"us-east-1", "ses"})
				id, got, err := v.Verify(r)
				if err != nil || id != exampleKeyID || !bytes.Equal(got, body) {
					t.Errorf("Verify = %q, %q, %v", id, got, err)
				}

				v.Secret = secretIs("another secret")
				if _, _, err := v.Verify(read()); codeOf(err) != "InvalidSignatureException" {
					t.Errorf("Verify with another secret: %v", err)
				}
			})
		}
	}
}
