package listfile

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// nextRow reads the row at b[i:] of a leaf block. It gives how many bytes of the
// key are those of the row before, the rest of the key, created less that of the
// row before, the shown form or nil, and where the row ends, -1 if it is damaged.
func nextRow(b []byte, i int) (shared uint64, rest []byte, created int64, shown []byte, end int) {
	var n uint64
	if i+1 < len(b) && b[i]|b[i+1] < 0x80 { // as nearly always
		shared, n = uint64(b[i]), uint64(b[i+1])
		i += 2
	} else {
		shared, i = uvarint(b, i)
		n, i = uvarint(b, i)
	}
	hasShown := n&1 != 0
	n >>= 1
	if i < 0 || n > uint64(len(b)-i) {
		return 0, nil, 0, nil, -1
	}
	rest = b[i : i+int(n)]
	i += int(n)
	if i < len(b) && b[i] < 0x80 {
		n = uint64(b[i])
		i++
	} else {
		n, i = uvarint(b, i)
	}
	created = unzigzag(n)
	if !hasShown {
		return shared, rest, created, nil, i
	}
	n, i = uvarint(b, i)
	if i < 0 || n > uint64(len(b)-i) {
		return 0, nil, 0, nil, -1
	}
	end = i + int(n)
	return shared, rest, created, b[i:end:end], end
}

// uvarint reads a uvarint at b[i:] and gives where it ends, -1 if there is none.
// An i of -1 gives -1 again, so that several reads need one check.
func uvarint(b []byte, i int) (v uint64, end int) {
	if i < 0 {
		return 0, -1
	}
	v, n := binary.Uvarint(b[i:])
	if n <= 0 {
		return 0, -1
	}
	return v, i + n
}

// findChild gives the child in the index block at the start of b where key
// belongs: the last whose separator is not greater than key, or the first if
// there is none. It is false if the block is damaged.
func findChild(b, key []byte) (at uint64, ok bool) {
	if len(b) < 11 {
		return 0, false
	}
	n, prefix := int(b[0]), int(binary.LittleEndian.Uint16(b[1:]))
	if n == 0 || len(b) < 11+prefix+14*n {
		return 0, false
	}
	base, common := binary.LittleEndian.Uint64(b[3:]), b[11:11+prefix]
	heads := b[11+prefix:]
	places := heads[8*n:]
	child := 0
	if same := commonPrefix(common, key); same == prefix {
		key = key[same:]
		wanted := head(key)
		// The first is not looked at. The others are looked at in turn and without
		// a branch, which takes less time than to guess wrongly which half is next.
		child = n - 1
		for i := 1; i < n; i++ {
			_, less := bits.Sub64(wanted, binary.LittleEndian.Uint64(heads[8*i:]), 0)
			child -= int(less)
		}
		// The head does not tell a separator from a longer one that begins with it.
		for child > 0 && binary.LittleEndian.Uint64(heads[8*child:]) == wanted {
			ends, rests := places[4*n:], places[6*n:]
			from, to := int(binary.LittleEndian.Uint16(ends[2*child-2:])), int(binary.LittleEndian.Uint16(ends[2*child:]))
			if from > to || to > len(rests) {
				return 0, false
			}
			if bytes.Compare(rests[from:to], key) <= 0 {
				break
			}
			child--
		}
	} else if same < len(key) && key[same] > common[same] {
		child = n - 1
	}
	return base + uint64(binary.LittleEndian.Uint32(places[4*child:])), true
}

// head gives the first eight bytes of b, which stand for those that it lacks
// with zeros, as a number that is ordered as they are.
func head(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	var h [8]byte
	copy(h[:], b)
	return binary.BigEndian.Uint64(h[:])
}
