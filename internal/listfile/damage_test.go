package listfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// damageable gives a file's bytes and its rows. It has leaves, two levels of
// index, and shown forms.
func damageable(t fataler, dir string, n int) ([]byte, []Row) {
	rows := numbered(n)
	data, err := os.ReadFile(write(t, dir, rows))
	if err != nil {
		t.Fatal(err)
	}
	return data, rows
}

// checkDamaged opens a file, which may be damaged, and reads all of it: what it
// answers must be right or an error. It gives whether there was an error.
func checkDamaged(t fataler, path string, rows []Row) (noticed bool) {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		return true
	}
	want := f.Walk(nil, false)
	for i := 0; ; i++ {
		r, err := want.Next()
		if err == io.EOF && i == len(rows) {
			break
		}
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("row %d: %v", i, err)
			}
			noticed = true
			break
		}
		if i >= len(rows) || !sameRow(r, rows[i]) {
			t.Fatalf("row %d is %v", i, r)
		}
	}
	for i := 0; i < len(rows); i += leafRows / 2 {
		got, ok, err := f.Find(rows[i].Key)
		switch {
		case err == nil && (!ok || !sameRow(got, rows[i])):
			t.Fatalf("Find(%q) = %v, %v", rows[i].Key, got, ok)
		case err != nil && !errors.Is(err, ErrDamaged):
			t.Fatal(err)
		case err != nil && !noticed:
			t.Fatalf("Find gives %v, but a walk sees no damage", err)
		}
		if hash, kind := hashOf(rows[i].Key); !f.MayHold(hash, kind == 1<<20) {
			t.Fatalf("the filter does not have %q", rows[i].Key)
		}
	}
	return noticed
}

// TestEveryByte damages each byte of a file, but not all of the many zeros of
// the padding, and cuts the file.
func TestEveryByte(t *testing.T) {
	dir := t.TempDir()
	good, rows := damageable(t, dir, 70)
	path := filepath.Join(dir, "damaged")
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if checkDamaged(t, path, rows) {
		t.Fatal("the file is damaged before")
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	footer := good[len(good)-footerSize:]
	padding, filters := binary.LittleEndian.Uint64(footer[40:]), binary.LittleEndian.Uint64(footer[48:])
	for at := range good {
		if at > int(padding) && at < int(filters) && at%50 > 0 {
			continue
		}
		bad := good[at] ^ byte(1+rnd.IntN(255))
		if _, err := file.WriteAt([]byte{bad}, int64(at)); err != nil {
			t.Fatal(err)
		}
		if !checkDamaged(t, path, rows) {
			t.Errorf("nobody noticed that byte %d of %d is %#x instead of %#x", at, len(good), bad, good[at])
		}
		if _, err := file.WriteAt(good[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	for n := len(good) - 1; n > 0; n -= 1 + rnd.IntN(100) {
		if err := file.Truncate(int64(n)); err != nil {
			t.Fatal(err)
		}
		if !checkDamaged(t, path, rows) {
			t.Errorf("nobody noticed that the file was cut to %d bytes", n)
		}
	}
}

// FuzzDamage changes bytes and cuts the file. Of every five bytes of changes four
// say where, the fifth is what the byte there is combined with.
func FuzzDamage(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 1}, uint32(0))
	f.Add([]byte{}, uint32(1))
	f.Add([]byte{17, 0, 0, 0, 0x80, 200, 4, 0, 0, 0xff}, uint32(4096))
	dir := f.TempDir()
	good, rows := damageable(f, dir, 1100)
	path := filepath.Join(dir, "damaged")
	f.Fuzz(func(t *testing.T, changes []byte, cut uint32) {
		data := damage(good, changes)
		data = data[:len(data)-int(cut)%len(data)]
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		noticed := checkDamaged(t, path, rows)
		if same := bytes.Equal(data, good); noticed == same {
			t.Errorf("the bytes are the same: %v; damage was noticed: %v", same, noticed)
		}
	})
}

func damage(good, changes []byte) []byte {
	data := bytes.Clone(good)
	for ; len(changes) >= 5; changes = changes[5:] {
		data[int(binary.LittleEndian.Uint32(changes))%len(data)] ^= changes[4]
	}
	return data
}

// repair makes all checksums right, as far as they can be found.
func repair(data []byte) {
	foot := data[len(data)-footerSize:]
	leavesEnd, footAt := int(binary.LittleEndian.Uint64(foot[32:])), len(data)-footerSize
	if leavesEnd >= headerSize && leavesEnd <= footAt {
		for at := headerSize; at+leastLeaf <= leavesEnd; {
			n := int(binary.LittleEndian.Uint16(data[at:]))
			if n < leastLeaf || at+n > leavesEnd {
				break
			}
			binary.LittleEndian.PutUint32(data[at+n-4:], crc32.Checksum(data[at:at+n-4], castagnoli))
			at += n
		}
		binary.LittleEndian.PutUint32(foot[80:], crc32.Checksum(data[leavesEnd:footAt], castagnoli))
	}
	binary.LittleEndian.PutUint32(foot[84:], crc32.Checksum(foot[:84], castagnoli))
}

// checkRepaired reads a file whose checksums are right and whose content may be
// anything: that must end, without a panic and without growing rows.
func checkRepaired(t fataler, path string, data []byte, rows []Row) {
	t.Helper()
	repair(data)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		return
	}
	for i := 0; i < len(rows); i += 5 * leafRows {
		_, _, _ = f.Find(rows[i].Key)
		_, _ = f.Walk(rows[i].Key, true).Next()
	}
	c := f.Walk(nil, false)
	for n := 0; ; n++ {
		r, err := c.Next()
		if err != nil {
			if again := c.err; err != io.EOF && !errors.Is(err, ErrDamaged) || again != err {
				t.Fatalf("the walk ends with %v, then %v", err, again)
			}
			return
		}
		if n > len(data)/3 || len(r.Key) > len(data) || len(r.Shown) > len(data) {
			t.Fatalf("row %d of a file of %d bytes: a key of %d bytes, a shown form of %d", n, len(data), len(r.Key), len(r.Shown))
		}
	}
}

// TestRepaired damages files at random where it hurts most.
func TestRepaired(t *testing.T) {
	dir := t.TempDir()
	good, rows := damageable(t, dir, 1100)
	path := filepath.Join(dir, "damaged")
	leavesEnd, indexEnd := int(binary.LittleEndian.Uint64(good[len(good)-footerSize+32:])), int(binary.LittleEndian.Uint64(good[len(good)-footerSize+40:]))
	parts := [][2]int{{headerSize, leavesEnd}, {leavesEnd, indexEnd}, {len(good) - footerSize, len(good)}}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 600 {
		data := bytes.Clone(good)
		part := parts[i%len(parts)]
		for range 1 + rnd.IntN(3) {
			data[part[0]+rnd.IntN(part[1]-part[0])] = byte(rnd.IntN(256))
		}
		checkRepaired(t, path, data, rows)
	}
}

// TestWrongContent has what random damage hardly ever makes. The checksums are
// right.
func TestWrongContent(t *testing.T) {
	dir := t.TempDir()
	good, rows := damageable(t, dir, 1100)
	foot := len(good) - footerSize
	root, leavesEnd := binary.LittleEndian.Uint64(good[foot+24:]), binary.LittleEndian.Uint64(good[foot+32:])
	leaf := func(length uint16) func([]byte) {
		return func(data []byte) {
			binary.LittleEndian.PutUint16(data[headerSize:], length)
			if length >= 4 && uint64(headerSize)+uint64(length) <= leavesEnd {
				end := headerSize + int(length)
				binary.LittleEndian.PutUint32(data[end-4:], crc32.Checksum(data[headerSize:end-4], castagnoli))
			}
		}
	}
	leafRoot := func(at uint64) func([]byte) {
		return func(data []byte) {
			binary.LittleEndian.PutUint64(data[foot+24:], at)
			binary.LittleEndian.PutUint32(data[foot+76:], 0) // no index
		}
	}
	for name, change := range map[string]func([]byte){
		"leaf of 0 bytes":             leaf(0),
		"leaf of 1 byte":              leaf(1),
		"leaf of 4 bytes":             leaf(4),
		"leaf of 5 bytes":             leaf(5),
		"leaf of 6 bytes":             leaf(6),
		"leaf longer than all leaves": leaf(0xffff),
		"leaf in the header":          leafRoot(0),
		"leaf behind the last":        leafRoot(leavesEnd),
		"leaf just before the end":    leafRoot(leavesEnd - 1),
		"leaf behind the file":        leafRoot(1 << 40),
		"leaf at the largest number":  leafRoot(1<<64 - 1),
		"index that leads to itself without end": func(data []byte) {
			binary.LittleEndian.PutUint64(data[root+3:], root)
			binary.LittleEndian.PutUint32(data[foot+76:], 1<<32-1)
		},
		"index too high": func(data []byte) { binary.LittleEndian.PutUint32(data[foot+76:], 100) },
		"index too low":  func(data []byte) { binary.LittleEndian.PutUint32(data[foot+76:], 1) },
	} {
		t.Run(name, func(t *testing.T) {
			data := bytes.Clone(good)
			change(data)
			binary.LittleEndian.PutUint32(data[foot+80:], crc32.Checksum(data[leavesEnd:foot], castagnoli))
			binary.LittleEndian.PutUint32(data[foot+84:], crc32.Checksum(data[foot:foot+84], castagnoli))
			path := filepath.Join(dir, "wrong")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			f := open(t, path)
			if _, ok, err := f.Find(rows[0].Key); !errors.Is(err, ErrDamaged) || ok {
				t.Errorf("Find gives %v, %v", ok, err)
			}
			if r, err := f.Walk(nil, false).Next(); !errors.Is(err, ErrDamaged) {
				t.Errorf("Next gives %v, %v", r, err)
			}
		})
	}
}

// FuzzRepaired is FuzzDamage with checksums that are right.
func FuzzRepaired(f *testing.F) {
	f.Add([]byte{17, 0, 0, 0, 0x80, 200, 4, 0, 0, 0xff})
	dir := f.TempDir()
	good, rows := damageable(f, dir, 1100)
	path := filepath.Join(dir, "damaged")
	f.Fuzz(func(t *testing.T, changes []byte) {
		checkRepaired(t, path, damage(good, changes), rows)
	})
}
