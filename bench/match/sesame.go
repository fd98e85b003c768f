package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"sesame/bench/yard"
	"sesame/internal/lists"
	"sesame/internal/metadb"
)

var owner = lists.Owner{Account: "123456789012", Region: "us-east-1"}

// sesame is a list in a data folder of its own.
type sesame struct {
	*lists.Service
	db       *metadb.DB
	list     string        // id
	file     string        // path of its file of members
	changing time.Duration // what the changes took
}

// open makes a new Service, as a server does when it starts. It knows nothing of
// what the one before has in memory.
func (s *sesame) open(dir string) {
	ids := 0
	s.Service = &lists.Service{
		Store: s.db, Dir: dir, Now: time.Now, Discard: func(string) {}, Log: slog.Default(),
		NewID:  func(prefix string) string { ids++; return fmt.Sprintf("%s-%026d", prefix, ids) },
		Limits: lists.Limits{Lists: 1, Members: 1 << 40, Tags: 1},
	}
}

// fill makes a list of the entries.
func fill(ctx context.Context, dir string, e *entries) (s *sesame, err error) {
	db, err := metadb.Open(ctx, filepath.Join(dir, "sesame.db"))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	s = &sesame{db: db}
	s.open(filepath.Join(dir, "members"))
	if err := s.Clean(ctx); err != nil { // makes the folder
		return nil, err
	}
	if s.list, err = s.Create(ctx, owner, "bench", nil, lists.ClientToken{}); err != nil {
		return nil, err
	}
	rest := e.sorted
	var key []byte
	tally, err := s.Rebuild(ctx, owner, s.list, lists.Plan{
		Mode: lists.Append, Exact: int64(len(rest)) - e.patterns, Patterns: e.patterns, Stop: ctx.Err,
		Next: func() (lists.Entry, error) {
			if len(rest) == 0 {
				return lists.Entry{}, io.EOF
			}
			key = append(key[:0], rest[0]...)
			rest = rest[1:]
			return lists.Entry{Key: key}, nil
		},
		Commit: func(ctx context.Context, m *lists.Move, _ lists.Tally) error { return db.Move(ctx, *m) },
	})
	if err != nil {
		return nil, err
	}
	if tally.Members != int64(len(e.sorted)) {
		return nil, fmt.Errorf("the list has %d members and not %d", tally.Members, len(e.sorted))
	}
	start := time.Now()
	for _, entry := range e.late {
		if err := s.Register(ctx, owner, s.list, entry); err != nil {
			return nil, fmt.Errorf("register %s: %w", entry, err)
		}
	}
	s.changing = time.Since(start)
	place, err := db.Place(ctx, owner, s.list)
	if err != nil {
		return nil, err
	}
	s.file = filepath.Join(s.Dir, place.File)
	return s, nil
}

// ask asks one question, and gives an error when the answer does not say what it
// must about being held.
func (s *sesame) ask(ctx context.Context, q *questions, i int) (lists.Member, error) {
	m, ok, err := s.Match(ctx, owner, s.list, q.at(i))
	if err == nil && ok == q.none {
		err = fmt.Errorf("the %s question %s is held: %v", q.name, q.at(i), ok)
	}
	return m, err
}

// check asks each question once, and sees that the right entry holds it.
func (s *sesame) check(ctx context.Context, q *questions) error {
	for i := range q.ends {
		m, err := s.ask(ctx, q, i)
		if err != nil {
			return err
		}
		if !q.none && m.Key != q.want(i) {
			return fmt.Errorf("%s is held by %s and not by %s", q.at(i), m.Key, q.want(i))
		}
	}
	return ctx.Err()
}

// rate is how many questions were answered.
type rate struct {
	perSecond float64
	cores     float64 // that this process had meanwhile
}

func (r rate) String() string { return fmt.Sprintf("%.0f/s on %.2f cores", r.perSecond, r.cores) }

// measureRate asks for a time, on so many cores, as many at a time.
func (s *sesame) measureRate(ctx context.Context, q *questions, cores int, long time.Duration) (rate, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	runtime.GC()
	counts, errs := make([]int, cores), make([]error, cores)
	var all sync.WaitGroup
	before, start := cpuTime(), time.Now()
	end := start.Add(long)
	for n := range cores {
		all.Go(func() {
			i, count := n*len(q.ends)/cores, 0
			for time.Now().Before(end) {
				for range 1000 {
					if _, err := s.ask(ctx, q, i); err != nil {
						errs[n] = err
						return
					}
					if i++; i == len(q.ends) {
						i = 0
					}
				}
				count += 1000
			}
			counts[n] = count
		})
	}
	all.Wait()
	took, cpu := time.Since(start).Seconds(), (cpuTime() - before).Seconds()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return rate{}, err
	}
	total := 0
	for _, count := range counts {
		total += count
	}
	return rate{perSecond: float64(total) / took, cores: cpu / took}, nil
}

// cpuTime gives how long this process has had a CPU.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err) // it has no errors for this process and valid memory
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// single is what single look-ups took.
type single struct {
	p50, p99, most float64 // microseconds
	allocs, bytes  float64 // that one allocates
}

func (e single) String() string {
	return fmt.Sprintf("p50 %.2f µs, p99 %.2f µs, most %.0f µs, %.2f allocations of %.0f bytes", e.p50, e.p99, e.most, e.allocs, e.bytes)
}

// measureSingle asks each question once, on one core, and times it. The time has
// the reading of the clock in it.
func (s *sesame) measureSingle(ctx context.Context, q *questions) (e single, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	took := make([]time.Duration, len(q.ends))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range q.ends {
		start := time.Now()
		_, err := s.ask(ctx, q, i)
		took[i] = time.Since(start)
		if err != nil {
			return e, err
		}
	}
	runtime.ReadMemStats(&after)
	e.allocs = float64(after.Mallocs-before.Mallocs) / float64(len(took))
	e.bytes = float64(after.TotalAlloc-before.TotalAlloc) / float64(len(took))
	e.p50, e.p99, e.most = 1000*yard.Quantile(took, 0.5), 1000*yard.Quantile(took, 0.99), 1000*yard.Quantile(took, 1)
	return e, ctx.Err()
}

// memory is what this process has, in bytes, when it has nothing but the list.
type memory struct{ heap, anonymous, file int64 }

func measureMemory() (m memory, err error) {
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	m.heap = int64(stats.HeapAlloc)
	if m.anonymous, err = yard.Memory(os.Getpid(), "RssAnon"); err != nil {
		return m, err
	}
	m.file, err = yard.Memory(os.Getpid(), "RssFile")
	return m, err
}

// profile writes a CPU profile of each sort of question to the folder w.pprof.
func (s *sesame) profile(ctx context.Context, w wants, all ...*questions) error {
	if err := os.MkdirAll(w.pprof, 0o755); err != nil {
		return err
	}
	for _, q := range all {
		name := filepath.Join(w.pprof, q.name+".pprof")
		out, err := os.Create(name)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(out); err != nil {
			return errors.Join(err, out.Close())
		}
		r, err := s.measureRate(ctx, q, 1, time.Duration(w.rounds)*w.round)
		pprof.StopCPUProfile()
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
		yard.Say("%s: %v; look at it with `go tool pprof -http=: %s`", q.name, r, name)
	}
	return nil
}
