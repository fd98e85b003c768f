package keyfile

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// fixed returns the key of the bytes 0 to 31.
func fixed(t *testing.T) *Key {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	content := make([]byte, 32)
	for i := range content {
		content[i] = byte(i)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func fresh(t *testing.T) *Key {
	t.Helper()
	k, err := Open(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestOpenMakesTheFileOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 || info.Size() != 32 {
		t.Errorf("file has mode %v and %d bytes", info.Mode(), info.Size())
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content, first.secret[:]) {
		t.Error("the file holds something else than the key")
	}
	second, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if *first != *second {
		t.Error("the second Open returned another key")
	}
	if *first == *fresh(t) {
		t.Error("two files hold the same key")
	}
	if *first == (Key{}) {
		t.Error("the key is all zeros")
	}
}

func TestOpenTogether(t *testing.T) {
	for range 20 {
		folder := t.TempDir()
		path := filepath.Join(folder, "key")
		const openers = 16
		var keys [openers]*Key
		var errs [openers]error
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range openers {
			wg.Go(func() {
				<-start
				keys[i], errs[i] = Open(path)
			})
		}
		close(start)
		wg.Wait()
		for i := range openers {
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			if *keys[i] != *keys[0] {
				t.Fatal("two openers have different keys")
			}
		}
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) != 1 {
			t.Fatalf("left behind: %v", entries)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	write := func(n int, mode fs.FileMode) func(string) error {
		return func(path string) error {
			if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
				return err
			}
			return os.Chmod(path, mode) // the umask does not count here
		}
	}
	tests := []struct {
		name  string
		setUp func(path string) error
		want  string // PATH stands for the path
	}{
		{"empty", write(0, 0o600), "key file PATH has 0 bytes, not 32: restore it from a backup"},
		{"short", write(31, 0o600), "key file PATH has 31 bytes, not 32"},
		{"long", write(33, 0o600), "key file PATH has 33 bytes, not 32"},
		{"group may read", write(32, 0o640), "key file PATH may be used by its group or others (mode 0640): run chmod 600 PATH"},
		{"others may read", write(32, 0o604), "key file PATH may be used by its group or others (mode 0604): run chmod 600 PATH"},
		{"group may write", write(32, 0o620), "key file PATH may be used by its group or others (mode 0620): run chmod 600 PATH"},
		{"folder", func(path string) error { return os.Mkdir(path, 0o700) }, "key file PATH is not a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if err := tt.setUp(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			k, err := Open(path)
			if want := strings.ReplaceAll(tt.want, "PATH", path); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error is %v, want %s...", err, want)
			}
			if k != nil {
				t.Error("a key came beside the error")
			}
			after, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if !os.SameFile(before, after) || before.Size() != after.Size() || before.Mode() != after.Mode() {
				t.Error("the file was touched")
			}
		})
	}
	t.Run("no folder", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "missing", "key")
		_, err := Open(path)
		if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "make key file "+path+": ") {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("link to nothing", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.Symlink("missing", path); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error is %v", err)
		}
	})
}

func TestSealAndUnseal(t *testing.T) {
	k := fresh(t)
	rapid.Check(t, func(t *rapid.T) {
		purpose := rapid.String().Draw(t, "purpose")
		plaintext := rapid.SliceOf(rapid.Byte()).Draw(t, "plaintext")
		binding := rapid.SliceOf(rapid.Byte()).Draw(t, "binding")
		sealed := k.Seal(purpose, plaintext, binding)
		if len(sealed) != len(plaintext)+28 {
			t.Fatalf("%d bytes became %d", len(plaintext), len(sealed))
		}
		got, err := k.Unseal(purpose, sealed, binding)
		if err != nil || !bytes.Equal(got, plaintext) {
			t.Fatalf("Unseal = %x, %v", got, err)
		}
		if bytes.Equal(sealed, k.Seal(purpose, plaintext, binding)) {
			t.Fatal("the same text was sealed twice to the same bytes")
		}
	})
}

func TestUnsealRefuses(t *testing.T) {
	k, other := fixed(t), fresh(t)
	plaintext, binding := []byte("wJalrXUtnFEMI"), []byte("SK1")
	sealed := k.Seal("p", plaintext, binding)
	if got, err := k.Unseal("p", sealed, binding); err != nil || !bytes.Equal(got, plaintext) {
		t.Fatalf("untouched: %q, %v", got, err)
	}

	refuse := func(name string, k *Key, purpose string, sealed, binding []byte) {
		t.Helper()
		got, err := k.Unseal(purpose, sealed, binding)
		if !errors.Is(err, ErrForged) || got != nil {
			t.Errorf("%s: Unseal = %q, %v", name, got, err)
		}
	}
	refuse("other key", other, "p", sealed, binding)
	refuse("other purpose", k, "q", sealed, binding)
	refuse("no purpose", k, "", sealed, binding)
	refuse("other binding", k, "p", sealed, []byte("SK2"))
	refuse("no binding", k, "p", sealed, nil)
	refuse("longer", k, "p", append(bytes.Clone(sealed), 0), binding)
	for n := range sealed {
		refuse(fmt.Sprintf("cut to %d bytes", n), k, "p", sealed[:n], binding)
		for bit := range 8 {
			changed := bytes.Clone(sealed)
			changed[n] ^= 1 << bit
			refuse(fmt.Sprintf("bit %d of byte %d changed", bit, n), k, "p", changed, binding)
		}
	}
}

// hkdfSHA256 is RFC 5869 written out, without salt.
func hkdfSHA256(secret []byte, info string, n int) []byte {
	mac := func(key []byte, parts ...[]byte) []byte {
		h := hmac.New(sha256.New, key)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	prk := mac(make([]byte, 32), secret)
	var out, block []byte
	for i := 1; len(out) < n; i++ {
		block = mac(prk, block, []byte(info), []byte{byte(i)})
		out = append(out, block...)
	}
	return out[:n]
}

func TestDerive(t *testing.T) {
	k := fixed(t)
	for _, n := range []int{1, 31, 32, 33, 100, 8160} {
		for _, purpose := range []string{"", "token", "page"} {
			if got, want := k.Derive(purpose, n), hkdfSHA256(k.secret[:], "derive:"+purpose, n); !bytes.Equal(got, want) {
				t.Errorf("Derive(%q, %d) = %.8x..., want %.8x...", purpose, n, got, want)
			}
		}
	}
	if bytes.Equal(k.Derive("token", 32), k.Derive("page", 32)) {
		t.Error("two purposes have the same key")
	}
	if bytes.Equal(k.Derive("token", 32), fresh(t).Derive("token", 32)) {
		t.Error("two keys derive the same")
	}
	if bytes.Equal(k.Derive("token", 32), k.expand("seal:token", 32)) {
		t.Error("Derive gives away what Seal uses")
	}
	for _, n := range []int{-1, 0, 8161} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Derive of %d bytes did not panic", n)
				}
			}()
			k.Derive("token", n)
		}()
	}
}

// What one release sealed or derived must be the same for the next. If this
// fails, the change makes existing data folders unreadable.
func TestFormatStays(t *testing.T) {
	k := fixed(t)
	const derived = "b3654eaf363d1be1162581d29148ebbef7e1cd623157b308f94b7adc2aeccf05"
	if got := hex.EncodeToString(k.Derive("token", 32)); got != derived {
		t.Errorf("Derive gives %s", got)
	}
	sealed, err := hex.DecodeString("000102030405060708090a0b12f24f21f9cf8a69800274bb826e7d7d0da500bf")
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Unseal("access-key-secret", sealed, []byte("SK1"))
	if err != nil || string(got) != "hush" {
		t.Errorf("Unseal = %q, %v", got, err)
	}
}

func TestKeyHidesItself(t *testing.T) {
	k := fixed(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb+" "+verb, k, *k); got != "keyfile.Key keyfile.Key" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}
