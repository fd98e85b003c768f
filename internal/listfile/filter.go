package listfile

import (
	"encoding/binary"
	"math/bits"
)

const (
	lineSize    = 64 // bytes; a cache line
	rowsPerLine = 32 // 16 bits a row

	// maxFilter is the limit of a filter in bytes. Beyond 64 million rows a filter
	// is less sharp: with ten times as many it lets nearly everything through.
	maxFilter = 128 << 20
)

// filter is a Bloom filter in lines: a hash has one line and in each of the
// line's eight words one bit. With 16 bits a row it lets about one hash in a
// thousand through that was not added.
type filter []byte

// filterSize gives the bytes of a filter for up to so many rows. It is never 0,
// so that a row beyond the bounds has a line to go to.
func filterSize(rows int64) int64 {
	rows = min(max(rows, 1), maxFilter/lineSize*rowsPerLine)
	return (rows + rowsPerLine - 1) / rowsPerLine * lineSize
}

// place gives the line of a hash, and in six bits each the bits in its words.
// The high bits of the hash choose the line; the product mixes all of them.
func (f filter) place(hash uint64) (line *[lineSize]byte, x uint64) {
	n, _ := bits.Mul64(hash, uint64(len(f)/lineSize))
	return (*[lineSize]byte)(f[n*lineSize:]), hash * 0x9E3779B97F4A7C15 >> 16
}

// addAll adds hashes. The lines of a large filter are rarely in a cache, so it
// first sets one bit of every hash: that fetches many lines at once.
func (f filter) addAll(hashes []uint64) {
	for _, hash := range hashes {
		line, x := f.place(hash)
		setBit(line[:8], x)
	}
	for _, hash := range hashes {
		line, x := f.place(hash)
		for i := range lineSize / 8 {
			setBit(line[8*i:8*i+8], x>>(6*i))
		}
	}
}

// setBit sets the bit of a word that the last six bits of x choose.
func setBit(word []byte, x uint64) {
	binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)|1<<(x&63))
}

func (f filter) mayHold(hash uint64) bool {
	l, x := f.place(hash)
	// No branch hangs on a single bit: it would often be guessed wrongly. Four
	// bits settle nearly all hashes that are not there.
	some := binary.LittleEndian.Uint64(l[0:]) >> (x & 63) &
		(binary.LittleEndian.Uint64(l[8:]) >> (x >> 6 & 63)) &
		(binary.LittleEndian.Uint64(l[16:]) >> (x >> 12 & 63)) &
		(binary.LittleEndian.Uint64(l[24:]) >> (x >> 18 & 63))
	if some&1 == 0 {
		return false
	}
	some = binary.LittleEndian.Uint64(l[32:]) >> (x >> 24 & 63) &
		(binary.LittleEndian.Uint64(l[40:]) >> (x >> 30 & 63)) &
		(binary.LittleEndian.Uint64(l[48:]) >> (x >> 36 & 63)) &
		(binary.LittleEndian.Uint64(l[56:]) >> (x >> 42 & 63))
	return some&1 != 0
}

// filling is a filter that is being filled.
type filling struct {
	lines   filter
	waiting []uint64 // hashes for addAll
}

func newFilling(rows int64) filling {
	return filling{make(filter, filterSize(rows)), make([]uint64, 0, 64)}
}

func (f *filling) add(hash uint64) {
	f.waiting = append(f.waiting, hash)
	if len(f.waiting) == cap(f.waiting) {
		f.settle()
	}
}

func (f *filling) settle() {
	f.lines.addAll(f.waiting)
	f.waiting = f.waiting[:0]
}
