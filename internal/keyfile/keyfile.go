// Package keyfile holds the one secret of a data folder: 32 random bytes in a
// file beside the data. With it the parts of the program seal what must not be
// readable in a stolen database, and derive keys of their own.
//
// It promises that a key Open returned is on the disk and will be the same the
// next time, that what was sealed opens unchanged or not at all, and that the
// keys of different purposes tell nothing of each other. It may import the
// standard library only.
package keyfile

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const size = 32 // bytes in the file

// ErrForged is Unseal's error: the sealed bytes were changed or cut, or were
// sealed with another key, purpose or binding.
var ErrForged = errors.New("sealed data does not open: it was changed, or sealed with another key, purpose or binding")

// Key is the secret of one data folder. It never changes, so it may be used by
// many goroutines. Printed or logged it shows nothing.
type Key struct {
	secret [size]byte
}

// Open reads the key from the file at path, or makes the file, readable by its
// owner only, with fresh random bytes; its folder must exist. Any number of
// processes that open the same path together get the same key. When Open
// returns nil the file survives a crash.
//
// It refuses a file that is not exactly 32 bytes, that is not a regular file,
// or that its group or others may use; the error then says what to do. Other
// errors are those of the file system.
func Open(path string) (*Key, error) {
	k, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, fmt.Errorf("make key file %s: %w", path, err)
		}
		k, err = read(path)
	}
	if err != nil {
		return nil, err
	}
	// Also when the file was already there: another process may have made it a
	// moment ago, and nothing may be sealed with a key that a crash can lose.
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("make key file %s durable: %w", path, err)
	}
	return k, nil
}

func read(path string) (*Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key file %s is not a regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key file %s may be used by its group or others (mode %04o): run chmod 600 %s", path, info.Mode().Perm(), path)
	}
	if info.Size() != size {
		return nil, fmt.Errorf("key file %s has %d bytes, not %d: restore it from a backup, for what was sealed with it opens with no other", path, info.Size(), size)
	}
	k := &Key{}
	if _, err := io.ReadFull(f, k.secret[:]); err != nil {
		return nil, fmt.Errorf("read key file %s: %w", path, err)
	}
	return k, nil
}

// create makes the file at path, or leaves the one that another process made
// first. The name is given by a link and not by a rename, as a link never
// takes the place of a file, and only once the bytes are on the disk, so that
// no reader sees part of a key.
func create(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close() // a second Close after the one below does nothing

	var secret [size]byte
	rand.Read(secret[:]) // never fails
	if _, err := f.Write(secret[:]); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Seal encrypts plaintext so that only Unseal with the same key, purpose and
// binding returns it. The purpose names a use, such as "access-key-secret";
// the binding is what the plaintext belongs to, such as a row's identifier, so
// that sealed bytes moved to another row do not open; it may be nil and is not
// part of the result. The result is 28 bytes longer than plaintext and differs
// every time.
//
// AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits in front; seal
// at most 2^32 texts for one purpose.
func (k *Key) Seal(purpose string, plaintext, binding []byte) []byte {
	return k.aead(purpose).Seal(nil, nil, plaintext, binding)
}

// Unseal returns what Seal was given. Its only error is ErrForged.
func (k *Key) Unseal(purpose string, sealed, binding []byte) ([]byte, error) {
	plaintext, err := k.aead(purpose).Open(nil, nil, sealed, binding)
	if err != nil {
		return nil, ErrForged
	}
	return plaintext, nil
}

// Derive returns n bytes that are always the same for this key, purpose and n,
// and tell nothing of the key, of other purposes, or of what Seal uses for the
// same purpose. A shorter n gives the beginning of a longer one. It panics
// unless n is 1 to 8160, the most HKDF-SHA256 gives (RFC 5869, section 2.3).
func (k *Key) Derive(purpose string, n int) []byte {
	if n < 1 {
		panic(fmt.Sprintf("keyfile: derive %d bytes", n))
	}
	return k.expand("derive:"+purpose, n)
}

// expand is HKDF-SHA256 (RFC 5869) without salt, which the uniformly random
// secret does not need.
func (k *Key) expand(info string, n int) []byte {
	out, err := hkdf.Key(sha256.New, k.secret[:], nil, info, n)
	if err != nil {
		panic("keyfile: " + err.Error())
	}
	return out
}

func (k *Key) aead(purpose string) cipher.AEAD {
	block, err := aes.NewCipher(k.expand("seal:"+purpose, 32))
	if err != nil {
		panic("keyfile: " + err.Error()) // 32 bytes are always a good key
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("keyfile: " + err.Error()) // as is any AES block
	}
	return aead
}

// Format writes a placeholder, whatever the verb, and never the secret.
func (Key) Format(f fmt.State, _ rune) { io.WriteString(f, "keyfile.Key") }
