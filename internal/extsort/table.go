package extsort

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"math/bits"
	"slices"
)

// table holds records in a fixed arena and sorts an index of them.
type table struct {
	arena []byte // records: key, length of the value as uvarint, value
	index []item
}

// item is one record of the arena. Arrival order is the order of at.
type item struct {
	prefix uint64 // eight bytes of the key, big-endian; which eight, sort knows
	at     uint32 // where the record begins
	key    uint32 // length of the key
}

const itemSize = 16

// newTable gives a table of so many bytes, a third of them for the index: that
// fits records of 32 bytes, an address and a little more.
func newTable(size int) *table {
	return &table{arena: make([]byte, 0, size/3*2), index: make([]item, 0, max(size/3/itemSize, 1))}
}

func (t *table) reset() { t.arena, t.index = t.arena[:0], t.index[:0] }

// add copies a record; it gives false if there is no room.
func (t *table) add(key, value []byte) bool {
	if len(t.index) == cap(t.index) || !t.fits(len(t.arena), key, value) {
		return false
	}
	t.index = append(t.index, item{prefix: prefix(key), at: uint32(len(t.arena)), key: uint32(len(key))})
	t.arena = append(t.arena, key...)
	t.arena = binary.AppendUvarint(t.arena, uint64(len(value)))
	t.arena = append(t.arena, value...)
	return true
}

// fits says whether a record may stand in the arena behind so many bytes.
func (t *table) fits(used int, key, value []byte) bool {
	// The lengths are compared one by one: their sum may overflow.
	room := cap(t.arena) - used - binary.MaxVarintLen64
	return len(key) <= min(room, maxKey) && len(value) <= room-len(key)
}

// bound gives a size that the table has at most as a run.
func (t *table) bound() int {
	// Beside the arena's: two lengths of a key of three bytes.
	return len(t.arena) + len(t.index)*2*3
}

// prefix gives the first eight bytes of key as a number that orders as they
// do. A shorter key is filled up with zeros.
func prefix(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

func (t *table) key(it item) []byte { return t.arena[it.at : it.at+it.key] }

func (t *table) value(it item) []byte {
	b := t.arena[it.at+it.key:]
	n, used := binary.Uvarint(b)
	return b[used : used+int(n)]
}

// sort orders the index by key, and equal keys by arrival.
//
// Many items are sorted by radix, from the most significant byte on, in place
// (McIlroy, Bostic and McIlroy, Engineering Radix Sort, 1993); fewer by a
// quicksort that compares the eight bytes of the key at hand in the index, and
// takes the next eight for keys that agree in them (Bentley and Sedgewick, Fast
// Algorithms for Sorting and Searching Strings, 1997). That leaves the arena, and
// with it most cache misses, alone.
func (t *table) sort() { t.sortFrom(t.index, 0, 56) }

const (
	manyItems = 4096 // more are sorted by radix; it also bounds what the worst pivots cost
	fewItems  = 16   // no more are sorted by insertion
)

// sortFrom orders items whose keys agree in the first depth bytes, whose
// prefix holds the eight bytes from there, and agrees above the byte at shift.
func (t *table) sortFrom(items []item, depth uint32, shift int) {
	switch {
	case len(items) <= manyItems:
		t.sortFewer(items, depth)
		return
	case shift < 0:
		t.sortAlike(items, depth)
		return
	}
	var at, end [256]int // of each byte's items: the next to place, and the end
	for i := range items {
		end[byte(items[i].prefix>>shift)]++
	}
	sum := 0
	for b := range end {
		at[b] = sum
		sum += end[b]
		end[b] = sum
	}
	for b := range end {
		for at[b] < end[b] {
			it := items[at[b]]
			for d := byte(it.prefix >> shift); int(d) != b; d = byte(it.prefix >> shift) {
				it, items[at[d]] = items[at[d]], it
				at[d]++
			}
			items[at[b]] = it
			at[b]++
		}
	}
	start := 0
	for _, end := range end {
		if end-start > 1 {
			t.sortFrom(items[start:end], depth, shift-8)
		}
		start = end
	}
}

// sortFewer orders items whose keys agree in the first depth bytes, whose prefix
// holds the eight bytes from there.
func (t *table) sortFewer(items []item, depth uint32) {
	for len(items) > fewItems {
		a, b, c := items[0].prefix, items[len(items)/2].prefix, items[len(items)-1].prefix
		pivot := max(min(a, b), min(max(a, b), c))
		// Without a branch, since half of them would be mispredicted.
		less := 0
		for i, it := range items {
			items[i], items[less] = items[less], it
			_, below := bits.Sub64(it.prefix, pivot, 0)
			less += int(below)
		}
		rest := items[less:]
		same := 0
		for i, it := range rest {
			if it.prefix == pivot {
				rest[i], rest[same] = rest[same], it
				same++
			}
		}
		t.sortAlike(rest[:same], depth)
		t.sortFewer(items[:less], depth)
		items = rest[same:]
	}
	for i := 1; i < len(items); i++ {
		it := items[i]
		at := i
		for ; at > 0 && items[at-1].prefix > it.prefix; at-- {
			items[at] = items[at-1]
		}
		items[at] = it
	}
	for start := 0; start < len(items); {
		end := start + 1
		for end < len(items) && items[end].prefix == items[start].prefix {
			end++
		}
		t.sortAlike(items[start:end], depth)
		start = end
	}
}

// sortAlike orders items of equal prefix.
func (t *table) sortAlike(items []item, depth uint32) {
	if len(items) < 2 {
		return
	}
	// A key that ends inside the prefix was filled up with zeros there, as
	// the others are: it is the beginning of all longer ones.
	ended := 0
	for i, it := range items {
		if it.key <= depth+8 {
			items[ended], items[i] = it, items[ended]
			ended++
		}
	}
	slices.SortFunc(items[:ended], func(a, b item) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.at, b.at))
	})
	longer := items[ended:]
	for i := range longer {
		longer[i].prefix = prefix(t.key(longer[i])[depth+8:])
	}
	t.sortFrom(longer, depth+8, 56)
}

// walk gives the records of a sorted table.
func (t *table) walk() *tableWalk { return &tableWalk{table: t, left: t.index} }

type tableWalk struct {
	table *table
	left  []item
	ahead int  // items of left that were looked at
	seen  byte // keeps look from being optimised away
}

// look reads a byte of each of the next records. In order of key they lie
// anywhere in the arena, and each would be waited for; these reads, of which
// none needs another, are waited for together.
func (w *tableWalk) look() {
	w.ahead = min(64, len(w.left))
	for _, it := range w.left[:w.ahead] {
		w.seen ^= w.table.arena[it.at] ^ w.table.arena[it.at+it.key]
	}
}

func (w *tableWalk) next() (Record, error) {
	if len(w.left) == 0 {
		return Record{}, io.EOF
	}
	if w.ahead == 0 {
		w.look()
	}
	first := w.left[0]
	key := w.table.key(first)
	n := 1
	// Equal keys have equal prefixes, whichever eight bytes those are by now.
	for n < len(w.left) && w.left[n].prefix == first.prefix && bytes.Equal(w.table.key(w.left[n]), key) {
		n++
	}
	w.left = w.left[n:]
	w.ahead = max(w.ahead-n, 0)
	return Record{Key: key, Value: w.table.value(first)}, nil
}
