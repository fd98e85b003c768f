package lists

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sesame/internal/address"
)

// The filter of a state never lets a change through the net while it grows with
// them, and stays sharp. Old states keep what they had.
func TestFilter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	entry := func(n int) string {
		return fmt.Sprintf("%d@%s", n, []string{"example.com", "*.example.com", "x.example.org"}[n%3])
	}
	s := &state{}
	var hashes []uint64
	for n := range 5000 {
		c := Change{Seq: s.seq + 1, Key: entry(n), Created: time.UnixMilli(int64(n)), Removed: random.IntN(4) == 0}
		before, had := s, len(s.changes)
		s = s.with(c, 0)
		if len(before.changes) != had || len(s.changes) != had+1 {
			t.Fatalf("after change %d: the state before has %d changes and the new one %d", n, len(before.changes), len(s.changes))
		}
		hash, kind := address.Hash([]byte(c.Key))
		hashes = append(hashes, hash)
		if s.kinds&kind == 0 {
			t.Fatalf("after change %d: kind %x is not among %x", n, kind, s.kinds)
		}
		if bits := 64 * len(s.filter); bits < 64*len(s.changes) || bits > 64*max(leastFilter, 4*len(s.changes)) {
			t.Fatalf("%d changes have a filter of %d bits", len(s.changes), bits)
		}
		for _, m := range []int{n, random.IntN(n + 1)} {
			if !s.mayHold(hashes[m], true) || !s.mayHold(hashes[m], false) {
				t.Fatalf("after change %d: change %d is not in the filter", n, m)
			}
		}
	}
	for n, hash := range hashes {
		if !s.filter.has(hash) {
			t.Errorf("change %d is not in the filter", n)
		}
	}
	through := 0
	const others = 100_000
	for range others {
		if s.filter.has(random.Uint64()) {
			through++
		}
	}
	// Two bits of 64 or more for each change: at most (2/64)² of the others.
	if through > others/500 {
		t.Errorf("of %d hashes that are not there the filter lets %d through", others, through)
	}
}

// A state that is read again is the one that was built change by change, also
// when keys change more than once.
func TestStateReadAgain(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	built := &state{folded: 7, seq: 7}
	var changes []Change
	for range 2000 {
		c := Change{Seq: built.seq + 1, Key: fmt.Sprintf("%d@example.com", random.IntN(300)), Removed: random.IntN(2) == 0}
		changes = append(changes, c)
		built = built.with(c, 0)
	}
	read := &state{folded: 7, seq: 7}
	read.on(changes)
	if read.seq != built.seq || read.kinds != built.kinds || len(read.changes) != len(built.changes) {
		t.Fatalf("read: number %d, kinds %x, %d changes; built: %d, %x, %d",
			read.seq, read.kinds, len(read.changes), built.seq, built.kinds, len(built.changes))
	}
	for i, c := range built.changes {
		if *read.changes[i] != *c {
			t.Errorf("change %d: read %v, built %v", i, *read.changes[i], *c)
		}
		if hash, _ := address.Hash([]byte(c.Key)); !read.filter.has(hash) {
			t.Errorf("%s is not in the filter that was read", c.Key)
		}
	}
	for _, seq := range []int64{0, 7, 1000, 2000, built.seq} {
		since := 0
		last := map[string]int64{}
		for _, c := range changes {
			last[c.Key] = c.Seq
		}
		for _, at := range last {
			if at > seq {
				since++
			}
		}
		if got := len(built.since(seq)); got != since {
			t.Errorf("%d changes since %d, want %d", got, seq, since)
		}
	}
}
