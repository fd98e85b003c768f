package address

import (
	"fmt"
	"testing"
)

// Hashes stand in files, so the values in testdata/hashes.txt never change.
func TestHashes(t *testing.T) {
	for _, c := range readCases(t, "testdata/hashes.txt") {
		e, err := Parse(c.in)
		if err != nil || string(e.Key) != c.in {
			t.Errorf("%s: %q is no key: %v", c.where, c.in, err)
		}
		hash, kind := Hash([]byte(c.in))
		if got := fmt.Sprintf("%016x", hash); got != c.want[0] || kindName(kind) != c.want[1] {
			t.Errorf("%s: %q => %s | %s, want %q", c.where, c.in, got, kindName(kind), c.want)
		}
	}
}

// TestHashSpreads: keys that are nearly alike have hashes that are not, in their
// high bits as in their low ones, within each form and across the forms.
func TestHashSpreads(t *testing.T) {
	const n = 1 << 14
	keyOf := map[uint64]string{}
	for _, form := range []string{
		"user%d@example.com", "user@example%d.com", "user%[1]d@example%[1]d.com",
		"us%d*@example.com", "*@example%d.com",
		"user%d@*.example.com", "user@*.example%d.com",
		"example%d.com", "*.example%d.com",
	} {
		var low, middle, high [256]int
		for i := range n {
			key := fmt.Sprintf(form, i)
			hash, _ := Hash([]byte(key))
			if other, taken := keyOf[hash]; taken {
				t.Fatalf("%q and %q have one hash", key, other)
			}
			keyOf[hash] = key
			low[hash&0xFF]++
			middle[hash>>28&0xFF]++
			high[hash>>56]++
		}
		// Chi-squared with 255 degrees of freedom: 255 on average, with a standard
		// deviation of 23.
		for _, bytes := range []struct {
			which  string
			counts [256]int
		}{{"low", low}, {"middle", middle}, {"high", high}} {
			chi := 0.0
			for _, count := range bytes.counts {
				d := float64(count) - n/256
				chi += d * d / (n / 256)
			}
			if chi < 160 || chi > 370 {
				t.Errorf("%s: the %s byte has a chi-squared of %.0f", form, bytes.which, chi)
			}
		}
	}
}
