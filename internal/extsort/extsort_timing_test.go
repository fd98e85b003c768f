package extsort

import (
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"testing"
)

// BenchmarkSort adds keys of 26 bytes, sorts, and walks them once.
func BenchmarkSort(b *testing.B) {
	random := func(r *rand.Rand, key []byte) {
		var raw [13]byte
		binary.LittleEndian.PutUint64(raw[:], r.Uint64())
		binary.LittleEndian.PutUint64(raw[5:], r.Uint64())
		hex.Encode(key, raw[:])
	}
	// As addresses are ordered by domain: most begin alike.
	alike := func(r *rand.Rand, key []byte) {
		random(r, key)
		copy(key, []string{"com.example", "com.example.mail", "org.example"}[r.IntN(3)])
	}
	for _, c := range []struct {
		name   string
		keys   int
		memory int
		make   func(*rand.Rand, []byte)
	}{
		{"1M-in-memory", 1_000_000, 256 << 20, random},
		{"1M-64MiB", 1_000_000, 64 << 20, random},
		{"5M-in-memory", 5_000_000, 512 << 20, random},
		{"5M-64MiB", 5_000_000, 64 << 20, random},
		{"5M-in-memory-alike", 5_000_000, 512 << 20, alike},
		{"5M-64MiB-alike", 5_000_000, 64 << 20, alike},
		{"5M-1MiB", 5_000_000, 1 << 20, random},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			keys := make([]byte, 26*c.keys)
			for i := range c.keys {
				c.make(r, keys[26*i:26*i+26])
			}
			for b.Loop() {
				s := New(Config{Dir: b.TempDir(), Memory: c.memory})
				for i := range c.keys {
					if err := s.Add(keys[26*i:26*i+26], nil); err != nil {
						b.Fatal(err)
					}
				}
				runs, err := s.Sorted()
				if err != nil {
					b.Fatal(err)
				}
				it, err := runs.Walk(nil)
				if err != nil {
					b.Fatal(err)
				}
				n := int64(0)
				for {
					rec, err := it.Next()
					if err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
					n += rec.Count
				}
				if n != int64(c.keys) {
					b.Fatalf("%d records", n)
				}
				b.ReportMetric(float64(len(s.spill.runs)), "runs")
				if err := it.Close(); err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(c.keys)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mkeys/s")
		})
	}
}
