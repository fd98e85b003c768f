// Package listfile owns the file that holds the members of a list: sorted,
// never changed once it is written, and read through a memory map.
//
// It promises: when Close returns nil the content is on the disk; damage is
// answered with ErrDamaged, never with a wrong answer, a panic, an endless loop
// or much memory; and a File may be used by any number of goroutines for as long
// as it is held, even when the file is removed meanwhile.
//
// Index and filters have one checksum, which Open verifies; every leaf has its
// own, verified each time the leaf is read. So a look-up reads a few index blocks
// that stand close together, and then one leaf.
//
// # Format, version 1
//
// Numbers are little endian; uvarint is that of encoding/binary.
//
//	header   8 bytes "sesamelf", uint32 version, uint32 zero
//	leaves   blocks of rows in order, one behind the other
//	index    blocks that lead to the leaves, the root last
//	padding  zeros up to a multiple of 4096
//	filters  64-byte lines: those of the exact rows, then those of the patterns
//	footer   88 bytes, below
//
// A leaf is
//
//	uint16  its length in bytes, all counted
//	        up to 32 rows
//	uint32  CRC-32C of what is before
//
// A row is
//
//	uvarint  how many bytes of the key are those of the row before; 0 for the first
//	uvarint  how many bytes follow, times two, plus 1 if the row has a shown form
//	         the rest of the key
//	uvarint  zigzag of created less that of the row before; the first row's is
//	         less the base in the footer
//	uvarint  length of the shown form, if there is one, and the form
//
// The index is a static B-tree: first come the blocks above the leaves, then
// those above them, and so on. Every leaf and every block but the root is a
// child of one block. A child has a separator: that of a leaf is the shortest
// beginning of its first key that is greater than all keys before, that of a
// block is its first child's. The very first is empty. A single leaf needs no
// index and is the root. A block is
//
//	uint8   how many children it has: n, from 1 to 32
//	uint16  length of the beginning that all their separators have
//	uint64  where the first child is
//	        the beginning
//	uint64  n times: the next 8 bytes of the separator, or fewer and zeros, as a
//	        number whose most significant byte is the first
//	uint32  n times: where the child is, from the first one on
//	uint16  n times: where the rest of the separator ends, from the first one's
//	        start on
//	        n times: the rest of the separator, the 8 bytes again
//
// A filter is a Bloom filter in lines of eight uint64. A row has the line number
// hash*lines/2^64, and in word i of it the bit that bits 6i to 6i+5 of x choose,
// where x is hash*0x9E3779B97F4A7C15 modulo 2^64, divided by 2^16. The hash is
// the caller's, and so a part of the format.
//
// The footer is
//
//	uint64  rows
//	uint64  rows that are patterns
//	int64   base: created of the first row, in milliseconds since 1970
//	uint64  where the root is; 0 if there are no rows
//	uint64  where the leaves end and the index starts
//	uint64  where the index ends
//	uint64  where the filters are
//	uint64  lines of the exact rows' filter
//	uint64  lines of the patterns' filter
//	uint32  kinds of the rows, as address.Kinds
//	uint32  levels of the index
//	uint32  CRC-32C of everything from the index to the footer
//	uint32  CRC-32C of the footer before
//
// The package imports sesame/internal/address, golang.org/x/sys/unix and the
// standard library.
package listfile

import (
	"errors"
	"hash/crc32"

	"sesame/internal/address"
)

// ErrDamaged is what is wrong with a file that is not as it was written. It
// comes wrapped with the file and the place.
var ErrDamaged = errors.New("the file is damaged")

// Row is one member.
type Row struct {
	Key     []byte // canonical form; rows are in strictly ascending byte order
	Shown   []byte // as it is shown, nil when that is the key
	Created int64  // milliseconds since 1970
}

// Bounds say how many rows there will be at most, for the size of the filters.
// More rows are no error: the filters are then less sharp.
type Bounds struct {
	Exact    int64 // rows of the kind address.Exact
	Patterns int64 // all others
}

// Summary is what a file holds.
type Summary struct {
	Rows     int64         // all
	Patterns int64         // those whose kind is not address.Exact
	Kinds    address.Kinds // of all rows together
	Size     int64         // of the file in bytes
}

const (
	magic      = "sesamelf"
	version    = 1
	headerSize = 16
	footerSize = 88
	alignment  = 4096 // of the filters

	leafRows      = 32
	indexChildren = 32

	// maxLength is the limit of a key and of a shown form, in bytes. It keeps
	// the length of a leaf in 16 bits.
	maxLength = 512
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// commonPrefix gives how many bytes a and b have in common at their start.
func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// zigzag gives small numbers of either sign as small numbers.
func zigzag(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) }

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
