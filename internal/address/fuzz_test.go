package address

import (
	"bytes"
	"testing"
)

// The seeds are the files in testdata/fuzz.

// FuzzParse: no panic, not of Hash either, and what must be true of every entry.
func FuzzParse(f *testing.F) {
	var p Parser
	f.Fuzz(func(t *testing.T, b []byte) {
		Hash(b)
		e, err := p.Parse(b)
		if err != nil {
			if r, ok := err.(Reason); !ok || r.Code() == "" {
				t.Errorf("%q: error %#v is no reason", b, err)
			}
			return
		}
		checkEntry(t, string(b), e)
	})
}

// FuzzMailbox: no panic; each candidate is a key that Parse gives, and what
// parses as an entry for one mailbox is held by itself.
func FuzzMailbox(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string, has uint32) {
		m, err := ParseMailbox(s)
		if err != nil {
			if r, ok := err.(Reason); !ok || r.Code() == "" {
				t.Errorf("%q: error %#v is no reason", s, err)
			}
			return
		}
		if again, err := ParseMailbox(string(m.key)); err != nil || !bytes.Equal(again.key, m.key) {
			t.Errorf("%q: mailbox %q becomes %q, %v", s, m.key, again.key, err)
		}
		for _, key := range spell(t, m, Kinds(has)) {
			e, err := Parse(key)
			if err != nil || string(e.Key) != key || e.Kind&Kinds(has) == 0 {
				t.Errorf("%q: candidate %q is no key of a wanted kind: %q, %s, %v", s, key, e.Key, kindName(e.Kind), err)
			}
		}
		if e, err := Parse(s); err == nil && !holds(t, m, e.Kind, map[string]bool{string(e.Key): true}) {
			t.Errorf("the entry %q does not hold the mailbox %q", e.Key, m.key)
		}
	})
}
