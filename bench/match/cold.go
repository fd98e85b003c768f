package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sesame/bench/yard"
)

// asked is how many questions a list gets that is not in memory.
const asked = 10_000

// cold is what questions to a list took that is not in memory.
type cold struct {
	open     time.Duration // from a new Service to its first answer
	openRead int64         // bytes read from the disk for it
	took     time.Duration // for asked more
	p99      float64       // of these, microseconds
	read     int64         // bytes read from the disk for these
}

func (c cold) String() string {
	return fmt.Sprintf("open %.3f s with %d bytes read, then %d questions %.3f s, p99 %.1f µs, %d bytes read",
		c.open.Seconds(), c.openRead, asked, c.took.Seconds(), c.p99, c.read)
}

// measureCold asks the first questions of a list whose file is on the disk only.
// The database stays in memory.
func (s *sesame) measureCold(ctx context.Context, q *questions) (c cold, err error) {
	if err := s.chill(); err != nil {
		return c, fmt.Errorf("put the list out of memory: %w", err)
	}
	before, err := readBytes()
	if err != nil {
		return c, err
	}
	start := time.Now()
	if _, err := s.ask(ctx, q, 0); err != nil {
		return c, err
	}
	c.open = time.Since(start)
	opened, err := readBytes()
	if err != nil {
		return c, err
	}
	took := make([]time.Duration, asked)
	start = time.Now()
	for i := range took {
		start := time.Now()
		if _, err := s.ask(ctx, q, i+1); err != nil {
			return c, err
		}
		took[i] = time.Since(start)
	}
	c.took = time.Since(start)
	after, err := readBytes()
	c.openRead, c.read, c.p99 = opened-before, after-opened, 1000*yard.Quantile(took, 0.99)
	return c, err
}

// chill gives s a new Service, and sees that the file of its list is neither
// mapped nor in memory.
func (s *sesame) chill() error {
	dir := s.Dir
	s.Service = nil
	for n := 0; ; n++ { // a file is unmapped some time after the collector has noticed
		runtime.GC()
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			return err
		}
		if !bytes.Contains(maps, []byte(s.file)) {
			break
		}
		if n == 1000 {
			return fmt.Errorf("%s stays mapped", s.file)
		}
		time.Sleep(time.Millisecond)
	}
	syscall.Sync() // what is not on the disk yet cannot be dropped
	file, err := os.Open(s.file)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return err
	}
	pages, err := inMemory(file)
	if err == nil && pages > 0 {
		err = fmt.Errorf("%d pages of %s stay in memory", pages, s.file)
	}
	if err != nil {
		return err
	}
	s.open(dir)
	return nil
}

// inMemory gives how many pages of a file are in the page cache.
func inMemory(file *os.File) (pages int, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	data, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, unix.Munmap(data)) }()
	size := os.Getpagesize()
	resident := make([]byte, (len(data)+size-1)/size)
	// Of a file that is not this user's the kernel would say that all of it is there.
	_, _, failed := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)), uintptr(unsafe.Pointer(&resident[0])))
	if failed != 0 {
		return 0, fmt.Errorf("mincore: %w", failed)
	}
	for _, r := range resident {
		pages += int(r & 1)
	}
	return pages, nil
}

// readBytes gives how many bytes this process has had read from the disk.
func readBytes() (n int64, err error) {
	counts, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	const name = "\nread_bytes: "
	at := bytes.Index(counts, []byte(name))
	if at < 0 {
		return 0, errors.New("the kernel does not say how much this process read")
	}
	_, err = fmt.Sscan(string(counts[at+len(name):]), &n)
	return n, err
}
