package listfile

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestOutOfUse has files go out of use while they are read and the garbage
// collector runs all the time. In the end nothing is mapped but what is held.
func TestOutOfUse(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	rows := numbered(500)
	path := write(t, t.TempDir(), rows)
	stop := make(chan struct{})
	var collecting, reading sync.WaitGroup
	collecting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	for range 2 {
		reading.Go(func() {
			for i := range 300 {
				want := rows[i*7%len(rows)]
				hash, kind := hashOf(want.Key)
				// After each of these calls nothing holds the file.
				if got, ok, err := open(t, path).Find(want.Key); err != nil || !ok || !sameRow(got, want) {
					t.Errorf("Find(%q) = %v, %v, %v", want.Key, got, ok, err)
				}
				if !open(t, path).MayHold(hash, kind == 1<<20) {
					t.Errorf("the filter does not have %q", want.Key)
				}
				c := open(t, path).Walk(want.Key, false) // holds it
				if got, err := c.Next(); err != nil || !sameRow(got, want) {
					t.Errorf("the row at %q is %v, %v", want.Key, got, err)
				}
			}
		})
	}
	reading.Wait()
	close(stop)
	collecting.Wait()

	held := open(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	// Cleanups run some time after the collection that finds them due.
	for deadline := time.Now().Add(10 * time.Second); mappings(t, path) > 1; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatalf("%d mappings are left", mappings(t, path))
		}
	}
	checkWalk(t, held, rows, nil, false, len(rows)+1)
}

// mappings gives how many times the process has mapped a file.
func mappings(t *testing.T, path string) int {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), path)
}
