package lists

import (
	"context"
	"fmt"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"sesame/internal/address"
	"sesame/internal/listfile"
)

// roll is a list's members as this process has them. Readers take now and need
// no lock.
type roll struct {
	owner Owner
	id    string
	n     int64
	used  atomic.Int64 // when it was last asked for, by the rolls' clock

	now     atomic.Pointer[state]
	change  sync.Mutex    // is held to change now
	gone    bool          // whether it is out of use; by change
	rebuild chan struct{} // holds one value while a rebuild is under way; taken before change
}

// state is what a list's members were at one moment. It never changes, but for
// the filter, which may get bits that mean nothing.
type state struct {
	file    *listfile.File // nil for none
	name    string         // of the file; "" for none
	broken  error          // why the file cannot be opened: then nothing is known of its members
	folded  int64          // number of the last change that is in the file
	seq     int64          // number of the last change
	members int64
	kinds   address.Kinds // every kind of entry that may be in it
	changes []*Change     // since the file, in order of key, of each key the last
	filter  filter        // of the changes
}

// find gives the member with a key, whose hash address.Hash gives.
func (s *state) find(key []byte, hash uint64) (Member, bool, error) {
	if s.mayChange(hash) {
		if at, ok := s.changed(key); ok {
			c := s.changes[at]
			return memberOf(c.row()), !c.Removed, nil
		}
	}
	if s.file == nil {
		return Member{}, false, s.broken
	}
	row, ok, err := s.file.Find(key)
	if err != nil || !ok {
		return Member{}, false, err
	}
	return memberOf(row), true, nil
}

// mayHold is false when no member has that hash.
func (s *state) mayHold(hash uint64, exact bool) bool {
	return s.file != nil && s.file.MayHold(hash, exact) || s.mayChange(hash) || s.broken != nil
}

// mayChange is false when no change is of a key with that hash.
func (s *state) mayChange(hash uint64) bool { return len(s.changes) > 0 && s.filter.has(hash) }

// changed gives the place of the change of a key, or where it would be.
func (s *state) changed(key []byte) (at int, ok bool) {
	at = sort.Search(len(s.changes), func(i int) bool { return s.changes[i].Key >= string(key) })
	return at, at < len(s.changes) && s.changes[at].Key == string(key)
}

// with gives the state after one more change.
func (s *state) with(c Change, members int64) *state {
	after := *s
	after.seq, after.members = c.Seq, members
	at, ok := s.changed([]byte(c.Key))
	after.changes = make([]*Change, 0, len(s.changes)+1)
	after.changes = append(after.changes, s.changes[:at]...)
	after.changes = append(after.changes, &c)
	if ok {
		at++
	}
	after.changes = append(after.changes, s.changes[at:]...)
	hash, kind := address.Hash([]byte(c.Key))
	after.kinds |= kind
	if after.filter.full(len(after.changes)) {
		after.filter = filterOf(after.changes)
	} else {
		after.filter.add(hash)
	}
	return &after
}

// on puts changes, in order of their numbers, on a state that has none.
func (s *state) on(changes []Change) {
	last := make(map[string]*Change, len(changes))
	for i := range changes {
		last[changes[i].Key] = &changes[i]
		s.seq = changes[i].Seq
	}
	s.changes = make([]*Change, 0, len(last))
	for _, c := range last {
		s.changes = append(s.changes, c)
		_, kind := address.Hash([]byte(c.Key))
		s.kinds |= kind
	}
	sort.Slice(s.changes, func(i, j int) bool { return s.changes[i].Key < s.changes[j].Key })
	s.filter = filterOf(s.changes)
}

// setFile puts the state on a file, also when that cannot be opened: such a list
// can still be deleted, and replaced.
func (s *state) setFile(dir, name string) error {
	s.name = name
	if name == "" {
		return nil
	}
	file, err := listfile.Open(filepath.Join(dir, name))
	if err != nil {
		s.broken, s.kinds = fmt.Errorf("open the members of a list: %w", err), ^address.Kinds(0)
		return s.broken
	}
	s.file = file
	s.kinds |= file.Summary().Kinds
	return nil
}

// rows is how many rows the file has.
func (s *state) rows() listfile.Summary {
	if s.file == nil {
		return listfile.Summary{}
	}
	return s.file.Summary()
}

func (c *Change) row() listfile.Row {
	r := listfile.Row{Key: []byte(c.Key), Created: c.Created.UnixMilli()}
	if c.Shown != "" {
		r.Shown = []byte(c.Shown)
	}
	return r
}

func memberOf(r listfile.Row) Member {
	m := Member{Key: string(r.Key), Created: time.UnixMilli(r.Created).UTC()}
	m.Address = m.Key
	if r.Shown != nil {
		m.Address = string(r.Shown)
	}
	return m
}

// rolls are those that are in memory.
type rolls struct {
	mu      sync.Mutex // guards what follows; held shortly
	byID    sync.Map   // list id to *roll; may be read without mu
	loading map[listKey]*loading

	most  int // rolls; 0 for mostRolls
	clock atomic.Int64
}

type listKey struct {
	owner Owner
	id    string
}

// loading is a roll that is being read, and those who wait for it.
type loading struct {
	done chan struct{} // closed when there is a roll or an error
	roll *roll
	err  error
}

// mostRolls is how many lists are kept in memory, mostChanges how many changes of
// theirs, which take about 200 bytes each.
const (
	mostRolls   = 4096
	mostChanges = 5_000_000
)

// roll gives a list's members. ErrNotFound.
func (s *Service) roll(ctx context.Context, o Owner, id string) (*roll, error) {
	if found, ok := s.rolls.byID.Load(id); ok {
		r := found.(*roll)
		if r.owner != o {
			return nil, ErrNotFound
		}
		if clock := s.rolls.clock.Load(); r.used.Load() != clock { // seldom written, so that readers share the line
			r.used.Store(clock)
		}
		return r, nil
	}
	return s.load(ctx, o, id)
}

// lockedRoll gives a list's members with change held.
func (s *Service) lockedRoll(ctx context.Context, o Owner, id string) (*roll, error) {
	for {
		r, err := s.roll(ctx, o, id)
		if err != nil {
			return nil, err
		}
		r.change.Lock()
		if !r.gone {
			return r, nil
		}
		r.change.Unlock()
	}
}

// load reads a list's members, once for all who wait for them.
func (s *Service) load(ctx context.Context, o Owner, id string) (*roll, error) {
	key := listKey{o, id}
	s.rolls.mu.Lock()
	if found, ok := s.rolls.byID.Load(id); ok && found.(*roll).owner == o {
		s.rolls.mu.Unlock()
		return found.(*roll), nil
	}
	l := s.rolls.loading[key]
	if l == nil {
		l = &loading{done: make(chan struct{})}
		if s.rolls.loading == nil {
			s.rolls.loading = map[listKey]*loading{}
		}
		s.rolls.loading[key] = l
		// It goes on for the others when the first who asked gives up.
		go s.finish(context.WithoutCancel(ctx), key, l)
	}
	s.rolls.mu.Unlock()
	select {
	case <-l.done:
		return l.roll, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// finish reads what is loaded and gives it to all.
func (s *Service) finish(ctx context.Context, key listKey, l *loading) {
	defer close(l.done)
	l.roll, l.err = s.read(ctx, key.owner, key.id)
	s.rolls.mu.Lock()
	defer s.rolls.mu.Unlock()
	delete(s.rolls.loading, key)
	if l.err == nil {
		s.makeRoom(len(l.roll.now.Load().changes))
		s.rolls.byID.Store(key.id, l.roll)
	}
}

// read reads a list's members.
func (s *Service) read(ctx context.Context, o Owner, id string) (*roll, error) {
	place, err := s.Store.Place(ctx, o, id)
	if err != nil {
		return nil, err
	}
	changes, err := s.Store.Changes(ctx, place.N, place.Folded)
	if err != nil {
		return nil, fmt.Errorf("read the changes of a list: %w", err)
	}
	now := &state{folded: place.Folded, seq: place.Folded, members: place.Members}
	now.on(changes)
	if err := now.setFile(s.Dir, place.File); err != nil {
		s.Log.Error("the members of a list cannot be read: it can be deleted, or replaced by an import", "list", id, "error", err)
	}
	r := &roll{owner: o, id: id, n: place.N, rebuild: make(chan struct{}, 1)}
	r.now.Store(now)
	r.used.Store(s.rolls.clock.Add(1))
	return r, nil
}

// makeRoom drops rolls until there is room for one more, with so many changes:
// those first that were not asked for longest, and none that somebody changes.
// Who still reads a roll reads on. rolls.mu is held.
func (s *Service) makeRoom(changes int) {
	most := s.rolls.most
	if most == 0 {
		most = mostRolls
	}
	var all []*roll
	s.rolls.byID.Range(func(_, found any) bool {
		r := found.(*roll)
		all = append(all, r)
		changes += len(r.now.Load().changes)
		return true
	})
	if len(all) < most && changes <= mostChanges {
		return
	}
	sort.Slice(all, func(i, j int) bool { return all[i].used.Load() < all[j].used.Load() })
	for left := len(all); len(all) > 0 && (left >= most || changes > mostChanges); all = all[1:] {
		if n, ok := s.evict(all[0]); ok {
			left--
			changes -= n
		}
	}
}

// evict drops a roll that nobody changes, and says how many changes it had.
func (s *Service) evict(r *roll) (changes int, ok bool) {
	select {
	case r.rebuild <- struct{}{}:
	default:
		return 0, false
	}
	defer func() { <-r.rebuild }()
	if !r.change.TryLock() {
		return 0, false
	}
	defer r.change.Unlock()
	s.drop(r)
	return len(r.now.Load().changes), true
}

// forget puts a roll out of use, so that the list is read anew when it is asked
// for again. change is held.
func (s *Service) forget(r *roll) {
	s.rolls.mu.Lock()
	defer s.rolls.mu.Unlock()
	s.drop(r)
}

func (s *Service) drop(r *roll) {
	if r.gone {
		return
	}
	r.gone = true
	s.rolls.byID.Delete(r.id)
}

// filter tells which hashes are surely not among the changes: a Bloom filter of
// two bits a hash, with 64 or more bits for each change. Bits are set by one
// goroutine and read by any; as they are set before the state that needs them is
// seen, a reader misses none that it needs.
type filter []atomic.Uint64

const leastFilter = 16 // words

func filterOf(changes []*Change) filter {
	words := leastFilter
	for words < 2*len(changes) {
		words *= 2
	}
	f := make(filter, words)
	for _, c := range changes {
		hash, _ := address.Hash([]byte(c.Key))
		f.add(hash)
	}
	return f
}

// full says whether the filter is too small for so many changes.
func (f filter) full(changes int) bool { return len(f) < max(changes, leastFilter) }

func (f filter) add(hash uint64) {
	a, b := f.bits(hash)
	f[a/64].Or(1 << (a % 64))
	f[b/64].Or(1 << (b % 64))
}

func (f filter) has(hash uint64) bool {
	a, b := f.bits(hash)
	return f[a/64].Load()>>(a%64)&1 != 0 && f[b/64].Load()>>(b%64)&1 != 0
}

// bits gives the two bits of a hash.
func (f filter) bits(hash uint64) (a, b uint32) {
	mask := uint32(64*len(f) - 1)
	return uint32(hash) & mask, uint32(hash>>32) & mask
}
