package iam

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestNewKey(t *testing.T) {
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.FixedZone("", 3600))
	seen := map[string]bool{}
	for range 100 {
		k, err := NewKey(rand.Reader, "111122223333", "mail-in", AdministratorPolicy, now)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`^SK[A-Z2-7]{18}$`).MatchString(k.ID) {
			t.Errorf("ID %q has another form", k.ID)
		}
		if !regexp.MustCompile(`^[A-Za-z0-9+/]{40}$`).MatchString(k.Secret) {
			t.Errorf("secret %q has another form", k.Secret)
		}
		if seen[k.ID] || seen[k.Secret] {
			t.Error("the same ID or secret twice")
		}
		seen[k.ID], seen[k.Secret] = true, true
		want := Key{ID: k.ID, Account: "111122223333", Name: "mail-in", Policy: AdministratorPolicy, Created: now.UTC(), Secret: k.Secret}
		if k != want {
			t.Errorf("key is %#v", [...]any{k.Account, k.Name, k.Policy, k.Disabled, k.Created})
		}
	}
}

// The same random bytes make the same key, and every one of them counts but
// the six bits that the ID leaves over.
func TestNewKeyUsesWhatItReads(t *testing.T) {
	make1 := func(random []byte) Key {
		k, err := NewKey(bytes.NewReader(random), "111122223333", "", AdministratorPolicy, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	zero := make1(make([]byte, 42))
	if zero.ID != "SK"+strings.Repeat("A", 18) || zero.Secret != strings.Repeat("A", 40) {
		t.Errorf("zero bytes make %s, %s", zero.ID, zero.Secret)
	}
	for i := range 42 {
		random := make([]byte, 42)
		random[i] = 0x80
		if k := make1(random); k.ID == zero.ID && k.Secret == zero.Secret {
			t.Errorf("byte %d does not count", i)
		}
	}
}

func TestNewKeyRefuses(t *testing.T) {
	tests := []struct{ name, account, keyName, policy, want string }{
		{"short account", "11112222333", "a", AdministratorPolicy, `account "11112222333" is not 12 digits`},
		{"letters in account", "11112222333x", "a", AdministratorPolicy, `account "11112222333x" is not 12 digits`},
		{"no account", "", "a", AdministratorPolicy, `account "" is not 12 digits`},
		{"slash in name", "111122223333", "a/b", AdministratorPolicy, `key name "a/b" is not at most 64 letters`},
		{"long name", "111122223333", strings.Repeat("a", 65), AdministratorPolicy, `key name "aaa`},
		{"policy", "111122223333", "a", `{}`, `policy of key "a": the policy: must not be empty`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, err := NewKey(rand.Reader, tt.account, tt.keyName, tt.policy, time.Time{})
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error is %v, want %s...", err, tt.want)
			}
			if k != (Key{}) {
				t.Error("a key came beside the error")
			}
		})
	}
	for n := range 42 {
		broken := errors.New("broken")
		random := iotest.ErrReader(broken)
		_, err := NewKey(&limited{n, random}, "111122223333", "", AdministratorPolicy, time.Time{})
		if !errors.Is(err, broken) {
			t.Errorf("with %d random bytes: %v", n, err)
		}
	}
}

// limited gives n bytes and then what its reader gives.
type limited struct {
	n    int
	then interface{ Read([]byte) (int, error) }
}

func (l *limited) Read(p []byte) (int, error) {
	if l.n == 0 {
		return l.then.Read(p)
	}
	n := min(l.n, len(p))
	l.n -= n
	return n, nil
}

func TestKeyARN(t *testing.T) {
	tests := []struct {
		key  Key
		want string
	}{
		{Key{ID: "SKAAAAAAAAAAAAAAAAAA", Account: "111122223333"}, "arn:aws:iam::111122223333:user/SKAAAAAAAAAAAAAAAAAA"},
		{Key{ID: "SKAAAAAAAAAAAAAAAAAA", Account: "111122223333", Name: "mail-in"}, "arn:aws:iam::111122223333:user/mail-in"},
	}
	for _, tt := range tests {
		if got := tt.key.ARN(); got != tt.want {
			t.Errorf("ARN() = %s, want %s", got, tt.want)
		}
	}
}

func TestKeyHidesItsSecret(t *testing.T) {
	k := Key{ID: "SKAAAAAAAAAAAAAAAAAA", Secret: "hush"}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+"\n", k, &k)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("", "key", k, "pointer", &k)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("", "key", k, "pointer", &k)
	if s := out.String(); strings.Contains(s, "hush") || strings.Contains(s, "68757368") || strings.Count(s, k.ID) != 18 {
		t.Errorf("printed:\n%s", s)
	}
}

func TestAdministratorPolicy(t *testing.T) {
	if !json.Valid([]byte(AdministratorPolicy)) {
		t.Error("not JSON")
	}
	if got := mustParse(t, AdministratorPolicy).Decide(Request{Action: "ses:CreateAddressList", Resource: list1}); got != Allow {
		t.Errorf("it decides %v", got)
	}
}
