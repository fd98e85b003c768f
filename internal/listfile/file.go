package listfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"sesame/internal/address"
)

// File is a file that is open for reading. Any number of goroutines may use it.
// It stays mapped, and keeps its place on the disk even when it is removed,
// until nothing holds it or a Cursor of it any more and the garbage collector
// notices.
type File struct {
	data            []byte // the whole file, mapped
	path            string
	sum             Summary
	base            int64
	root            uint64 // where it is
	height          int    // levels of the index
	leavesEnd       uint64 // where the leaves end and the index starts
	indexEnd        uint64
	exact, patterns filter
}

// Open maps a file and checks all of it but the leaves, which are checked when
// they are read. The error is that the file cannot be read, is of another version
// of the format, or ErrDamaged.
//
// A file must not be changed or cut while it is open. A disk that fails under a
// mapped file ends the program.
func Open(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("listfile: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("listfile: %w", err)
	}
	f := &File{path: path}
	size := info.Size()
	if size < headerSize+footerSize || size > math.MaxInt {
		return nil, f.damaged("its size of %d bytes", size)
	}
	f.data, err = unix.Mmap(int(file.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("listfile: map %s: %w", path, err)
	}
	runtime.AddCleanup(f, func(data []byte) { _ = unix.Munmap(data) }, f.data)
	defer runtime.KeepAlive(f)
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, nil
}

// check reads what stands outside of the leaves, and gives the kernel advice.
func (f *File) check() error {
	header, foot := f.data[:headerSize], f.data[len(f.data)-footerSize:]
	if string(header[:8]) != magic {
		return f.damaged("its first bytes are not those of a list file")
	}
	if v := binary.LittleEndian.Uint32(header[8:]); v != version {
		return fmt.Errorf("listfile: %s is of version %d, this program reads version %d", f.path, v, version)
	}
	if binary.LittleEndian.Uint32(header[12:]) != 0 {
		return f.damaged("the header")
	}
	if binary.LittleEndian.Uint32(foot[84:]) != crc32.Checksum(foot[:84], castagnoli) {
		return f.damaged("the footer's checksum")
	}
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(foot[at:]) }
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(foot[at:]) }
	f.sum = Summary{
		Rows:     int64(u64(0)),
		Patterns: int64(u64(8)),
		Kinds:    address.Kinds(u32(72)),
		Size:     int64(len(f.data)),
	}
	f.base = int64(u64(16))
	f.root, f.leavesEnd, f.indexEnd = u64(24), u64(32), u64(40)
	filtersAt, lines, patternLines := u64(48), u64(56), u64(64)
	f.height = int(u32(76))

	footAt, most := uint64(len(f.data)-footerSize), uint64(maxFilter/lineSize)
	if f.sum.Rows < 0 || f.sum.Patterns < 0 || f.sum.Patterns > f.sum.Rows ||
		f.leavesEnd < headerSize || f.indexEnd < f.leavesEnd || filtersAt < f.indexEnd || footAt < filtersAt ||
		lines == 0 || lines > most || patternLines == 0 || patternLines > most || footAt-filtersAt != (lines+patternLines)*lineSize {
		return f.damaged("what the footer says")
	}
	f.exact = filter(f.data[filtersAt : filtersAt+lines*lineSize])
	f.patterns = filter(f.data[filtersAt+lines*lineSize : footAt])

	// Look-ups jump about in the leaves; what follows is wanted at once and whole.
	// The first advice splits the mapping, and a process may have only so many, so
	// a small file goes without.
	if f.leavesEnd > readAhead {
		f.advise(0, f.leavesEnd, unix.MADV_RANDOM)
	}
	f.advise(f.leavesEnd, footAt, unix.MADV_WILLNEED)
	if binary.LittleEndian.Uint32(foot[80:]) != crc32.Checksum(f.data[f.leavesEnd:footAt], castagnoli) {
		return f.damaged("the checksum of the index and the filters")
	}
	return nil
}

// advise tells the kernel how a part of the file will be read. It is for speed
// only, so an error does not matter.
func (f *File) advise(from, to uint64, advice int) {
	page := uint64(os.Getpagesize())
	_ = unix.Madvise(f.data[from&^(page-1):to], advice)
}

// damaged gives an error that says where the file is damaged.
func (f *File) damaged(where string, args ...any) error {
	return fmt.Errorf("listfile: %s: %s: %w", f.path, fmt.Sprintf(where, args...), ErrDamaged)
}

// Summary gives what the file holds.
func (f *File) Summary() Summary { return f.sum }

// MayHold asks a filter. False means that there surely is no row of that hash
// among the rows of the kind address.Exact, or among all others if exact is
// false.
func (f *File) MayHold(hash uint64, exact bool) bool {
	in := f.patterns
	if exact {
		in = f.exact
	}
	ok := in.mayHold(hash)
	runtime.KeepAlive(f)
	return ok
}

// Find gives the row of a key, if there is one. The slices are the caller's own.
// The error is ErrDamaged.
func (f *File) Find(key []byte) (r Row, ok bool, err error) {
	defer runtime.KeepAlive(f)
	at, err := f.leafOf(key)
	if err != nil {
		return Row{}, false, err
	}
	if at == f.leavesEnd {
		return Row{}, false, nil
	}
	b, _, err := f.leaf(at)
	if err != nil {
		return Row{}, false, err
	}
	match := uint64(0) // so many bytes of key are those of the row before
	r.Created = f.base
	for i := 0; i < len(b); {
		shared, rest, created, shown, end := nextRow(b, i)
		if end < 0 {
			return Row{}, false, f.damaged("a row of the leaf at %d", at)
		}
		i = end
		r.Created += created
		if shared > match {
			continue // it differs from key where the one before does, so it is less too
		}
		if shared < match {
			break // it is greater
		}
		n := commonPrefix(rest, key[match:])
		match += uint64(n)
		if n < len(rest) {
			if match == uint64(len(key)) || rest[n] > key[match] {
				break
			}
		} else if match == uint64(len(key)) {
			both := append(append(make([]byte, 0, len(key)+len(shown)), key...), shown...)
			r.Key = both[:len(key):len(key)]
			if shown != nil {
				r.Shown = both[len(key):]
			}
			return r, true, nil
		}
	}
	return Row{}, false, nil
}

// leafOf gives where the leaf is that has key if any has, and the end of the
// leaves if there is none.
func (f *File) leafOf(key []byte) (at uint64, err error) {
	if f.sum.Rows == 0 {
		return f.leavesEnd, nil
	}
	at = f.root
	for range f.height {
		if at < f.leavesEnd || at >= f.indexEnd {
			return 0, f.damaged("the way to an index block at %d", at)
		}
		child, ok := findChild(f.data[at:f.indexEnd], key)
		if !ok || child >= at { // children come before
			return 0, f.damaged("the index block at %d", at)
		}
		at = child
	}
	if at >= f.leavesEnd {
		return 0, f.damaged("the way to a leaf at %d", at)
	}
	return at, nil
}

// leastLeaf is more than the bytes of a leaf's length and checksum.
const leastLeaf = 7

// leaf gives the rows of the leaf at a place before the end of the leaves, and
// where it ends.
func (f *File) leaf(at uint64) (rows []byte, end uint64, err error) {
	end = at + uint64(binary.LittleEndian.Uint16(f.data[at:]))
	if end > f.leavesEnd || end-at < leastLeaf {
		return nil, 0, f.damaged("the length of the leaf at %d", at)
	}
	b, sum := f.data[at:end-4], f.data[end-4:end]
	if crc32.Checksum(b, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return nil, 0, f.damaged("the checksum of the leaf at %d", at)
	}
	return b[2:], end, nil
}
