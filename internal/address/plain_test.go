package address

import (
	"bytes"
	"strings"
	"testing"
)

func TestPlainEntries(t *testing.T) {
	for _, c := range []struct {
		in   string
		want bool
	}{
		{"user@a.com", true},
		{"First.Last_name+tag-2@sub-1.Mail.example", true},
		{"mail.example.com", true},
		{strings.Repeat("a", maxLocal) + "@example.com", true},
		{strings.Repeat("a", maxLocal+1) + "@example.com", false},
		{strings.Repeat("a", 50) + ".example.com", true},
		{"user@" + strings.Repeat("a", 60) + ".com", false},
		{"a@b.com", false}, // less than a word
		{"us*@example.com", false},
		{"user@example", false},
		{"user@example.com.", false},
		{"user@192.0.2.1", false},
		{"user@xn--mller-kva.de", false},
		{"user@b_c.com", false},
		{"us\u00e9r@example.com", false},
	} {
		var p Parser
		if got := p.plain([]byte(c.in), strings.IndexByte(c.in, '@')); got != c.want {
			t.Errorf("%q is plain: %v", c.in, got)
		}
	}
}

// TestPlainAgreesWithTheRest puts every byte in every place of plain entries, and
// every two separators in every two places. Quotes or a dot at its end keep an
// entry from being plain and change nothing else.
func TestPlainAgreesWithTheRest(t *testing.T) {
	var p, q Parser
	addresses, domains := 0, 0
	check := func(in string) {
		at := strings.IndexByte(in, '@')
		if !new(Parser).plain([]byte(in), at) {
			return
		}
		other := in + "."
		if at < 0 {
			domains++
		} else {
			addresses++
			other = `"` + in[:at] + `"` + in[at:] + "."
		}
		got, err := p.Parse([]byte(in))
		if err != nil {
			t.Errorf("%q is plain: %v", in, err)
		}
		want, err := q.Parse([]byte(other))
		if err != nil || !bytes.Equal(got.Key, want.Key) || !bytes.Equal(got.Shown, want.Shown) || got.Kind != want.Kind {
			t.Errorf("%q is %q, shown as %q, of kind %s, but %q is %q, shown as %q, of kind %s, %v",
				in, got.Key, got.Shown, kindName(got.Kind), other, want.Key, want.Shown, kindName(want.Kind), err)
		}
	}
	for _, in := range []string{
		"user@a.com",
		"us@er.com",
		"First.Last_name+12@sub-1.mail.Example",
		"abcdefgh.ijklmno@qrstuvwx.yzabcdef.com",
		"abcdefghijklmno.abc@defghij.example",
		"mail.sub-domain.Example.co.uk",
	} {
		for i := range in {
			for c := range 256 {
				check(in[:i] + string([]byte{byte(c)}) + in[i+1:])
			}
			if i == 0 {
				continue
			}
			for _, first := range ".-@_+*" {
				for _, second := range ".-@_+*" {
					check(in[:i-1] + string(first) + string(second) + in[i+1:])
				}
			}
		}
	}
	if addresses < 8000 || domains < 1000 {
		t.Errorf("%d plain addresses and %d domains say little", addresses, domains)
	}
}
