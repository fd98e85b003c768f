package listfile

import (
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sesame/internal/address"
)

const benchRows = 10_000_000

// benchKeys gives about benchRows different addresses in order.
var benchKeys = sync.OnceValue(func() []string {
	first := []string{"alex", "andrea", "anna", "anne", "ben", "bernd", "carla", "charlotte", "chris", "daniel", "david", "elena", "elisabeth", "emma", "eva", "felix", "florian", "frank", "hanna", "hannah", "ida", "ines", "jan", "jana", "jonas", "julia", "karl", "katharina", "laura", "lea", "lena", "leon", "lisa", "luca", "lukas", "maria", "marie", "mark", "max", "maximilian", "mia", "michael", "nina", "noah", "olga", "oliver", "paul", "paula", "peter", "philipp", "robert", "sara", "sarah", "simon", "sofia", "stefan", "thomas", "tim", "tom", "vera"}
	last := []string{"adams", "bauer", "baumann", "becker", "berg", "berger", "braun", "brown", "clark", "davis", "evans", "fischer", "frank", "fuchs", "garcia", "green", "hall", "hansen", "harris", "hartmann", "hill", "hofmann", "huber", "jackson", "jansen", "johnson", "jones", "kaiser", "keller", "king", "klein", "koch", "kraus", "lang", "lee", "lehmann", "lewis", "lopez", "maier", "martin", "mayer", "meyer", "miller", "moore", "nelson", "neumann", "novak", "parker", "peters", "richter", "roberts", "rossi", "schmidt", "schneider", "schulz", "smith", "taylor", "vogel", "wagner", "walker", "weber", "white", "wolf", "wright", "young", "zimmermann"}
	domain := []string{"mail.example", "post.example", "web.example", "inbox.example", "example.com", "example.net", "example.org", "mail.example.co.uk", "fast-mail.example", "company.example"}
	r := rand.New(rand.NewPCG(1, 2))
	separators := []string{".", "", "_", "-"}
	keys := make([]string, benchRows)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s%s%s%d@%s", first[r.IntN(len(first))], separators[r.IntN(len(separators))], last[r.IntN(len(last))], r.IntN(10000), domain[min(r.IntN(len(domain)), r.IntN(len(domain)))])
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	// One behind the other, so that fetching them costs nothing.
	all := strings.Join(keys, "")
	for i, k := range keys {
		keys[i], all = all[:len(k)], all[len(k):]
	}
	return keys
})

// benchFile gives the file of benchKeys, as one import makes it.
func benchFile(b *testing.B) *File {
	path := filepath.Join(b.TempDir(), "list")
	writeBenchFile(b, path)
	f, err := Open(path)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// writeBenchFile gives how long the adding took.
func writeBenchFile(b *testing.B, path string) (Summary, time.Duration) {
	keys := benchKeys()
	w, err := Create(path, Bounds{Exact: benchRows})
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	var key []byte
	start := time.Now()
	for _, k := range keys {
		key = append(key[:0], k...)
		if err := w.Add(Row{Key: key, Created: 1_780_000_000_000}, r.Uint64(), address.Exact); err != nil {
			b.Fatal(err)
		}
	}
	adding := time.Since(start)
	sum, err := w.Close()
	if err != nil {
		b.Fatal(err)
	}
	return sum, adding
}

func BenchmarkAdd(b *testing.B) {
	benchKeys()
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		sum, adding := writeBenchFile(b, filepath.Join(b.TempDir(), fmt.Sprint(i)))
		b.ReportMetric(float64(adding.Nanoseconds())/float64(sum.Rows), "ns/row")
		b.ReportMetric(float64((time.Since(start) - adding).Milliseconds()), "close-ms")
		b.ReportMetric(float64(sum.Size)/float64(sum.Rows), "bytes/row")
	}
}

// benchFind looks up keys in random order. They are copied to one place first,
// so that fetching them costs nothing.
func benchFind(b *testing.B, change string) {
	f, keys := benchFile(b), benchKeys()
	r := rand.New(rand.NewPCG(5, 6))
	wanted := make([][]byte, 1<<20)
	arena := make([]byte, 0, len(wanted)*64)
	for i := range wanted {
		at := len(arena)
		arena = append(arena, keys[r.IntN(len(keys))]...)
		arena = append(arena, change...)
		wanted[i] = arena[at:len(arena):len(arena)]
	}
	for _, k := range wanted { // warm
		if _, ok, err := f.Find(k); ok != (change == "") || err != nil {
			b.Fatal(string(k), ok, err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, _, err := f.Find(wanted[i&(len(wanted)-1)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkFind(b *testing.B)       { benchFind(b, "") }
func BenchmarkFindAbsent(b *testing.B) { benchFind(b, "x") }

func BenchmarkMayHold(b *testing.B) {
	for _, rows := range []int64{10_000, benchRows} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			w, err := Create(filepath.Join(b.TempDir(), "list"), Bounds{Exact: rows})
			if err != nil {
				b.Fatal(err)
			}
			for range rows {
				w.exact.add(rand.Uint64())
			}
			if _, err := w.Close(); err != nil {
				b.Fatal(err)
			}
			f, err := Open(w.path)
			if err != nil {
				b.Fatal(err)
			}
			r := rand.New(rand.NewPCG(7, 8))
			hashes := make([]uint64, 1<<12)
			for i := range hashes {
				hashes[i] = r.Uint64()
			}
			i, held := 0, 0
			for b.Loop() {
				if f.MayHold(hashes[i&(len(hashes)-1)]+uint64(i)<<40, true) {
					held++
				}
				i++
			}
			if held*100 > i {
				b.Fatalf("it may hold %d of %d", held, i)
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	f := benchFile(b)
	c := f.Walk(nil, false)
	b.ReportAllocs()
	for b.Loop() {
		_, err := c.Next()
		if err == io.EOF {
			c = f.Walk(nil, false)
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens files with filters of different sizes that are in memory.
func BenchmarkOpen(b *testing.B) {
	for _, rows := range []int64{1000, benchRows, 1 << 40} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			w, err := Create(filepath.Join(b.TempDir(), "list"), Bounds{Exact: rows})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := w.Close(); err != nil {
				b.Fatal(err)
			}
			for i := 1; b.Loop(); i++ {
				if _, err := Open(w.path); err != nil {
					b.Fatal(err)
				}
				if i%10_000 == 0 {
					runtime.GC() // a process can map only some 65,000 files
				}
			}
		})
	}
}
