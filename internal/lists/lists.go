// Package lists owns address lists and their members: who is in which list, and
// whether an address is matched by one.
//
// The members of a list are one sorted file that never changes (listfile), and
// the changes made since it was written: rows of the Store, kept in memory as
// well. Rebuild makes a new file of both, and of the entries of an import, and
// puts the list on it in one transaction.
//
// It promises that a change is durable when the call that made it returns, that
// every reader sees the whole of a rebuild or nothing of it, that no change takes
// a list above its limit (one that is above it, since the limit was lowered, may
// shrink), and that Match looks at a bounded number of
// keys whatever the size of the list.
//
// One Service may serve a Store: it is the one that changes members, and what it
// holds in memory follows each change at once.
//
// It knows neither HTTP nor SQL nor an AWS shape; of Sesame it may import address
// and listfile.
package lists

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sesame/internal/address"
	"sesame/internal/listfile"
)

// What can be wrong. A Store gives these too.
var (
	ErrNotFound      = errors.New("no such list")
	ErrNotMember     = errors.New("not a member of the list")
	ErrNameTaken     = errors.New("a list of that name exists")
	ErrTokenReused   = errors.New("the client token was used with other parameters")
	ErrTooManyLists  = errors.New("the account has as many lists as it may")
	ErrListFull      = errors.New("the list holds as many members as it may")
	ErrTooManyTags   = errors.New("the list would have more tags than it may")
	ErrImportRunning = errors.New("an import into the list is running")
	ErrMoved         = errors.New("the list was put on another file meanwhile")
)

// Owner is whom a list or a job belongs to, and where.
type Owner struct {
	Account string // 12 digits
	Region  string // "us-east-1"
}

// List is an address list.
type List struct {
	Owner   Owner
	ID      string // "al-" and 26 characters; lists made in a later millisecond have greater ids
	Name    string
	Created time.Time
	Updated time.Time // of its tags or members
	Tags    map[string]string
}

// Member is an entry of a list as it is shown.
type Member struct {
	Key     string // canonical form, by which members are ordered
	Address string // local part as it was written, domain canonical
	Created time.Time
}

// ClientToken makes a creation repeatable: the same token with the same Params
// gives the first answer again. The zero value is no token.
type ClientToken struct {
	Token  string
	Params []byte    // digest of the other parameters
	Since  time.Time // tokens used before this are forgotten
}

// Store keeps lists and members. Each method that changes something is one
// transaction, durable when it returns nil.
type Store interface {
	// CreateList adds l, or gives the list that token made before.
	// ErrNameTaken, ErrTokenReused, ErrTooManyLists (limit counts l's owner's lists).
	CreateList(ctx context.Context, l List, token ClientToken, limit int) (id string, err error)
	// List gives one list. ErrNotFound.
	List(ctx context.Context, o Owner, id string) (List, error)
	// Lists gives at most n lists whose id is greater than after, in order of id.
	Lists(ctx context.Context, o Owner, after string, n int) ([]List, error)
	// DeleteList removes a list with its jobs, and gives their objects: uploads
	// and lists of refused lines. Its changes come to nothing; the space they took comes back by
	// PurgeChanges. Deleting what is not there is no error. ErrImportRunning.
	DeleteList(ctx context.Context, o Owner, id string) (objects []string, err error)
	// SetTags changes a list's tags: adds or replaces set, removes the keys in
	// unset. ErrNotFound, ErrTooManyTags.
	SetTags(ctx context.Context, o Owner, id string, set map[string]string, unset []string, limit int, now time.Time) error

	// Place says where a list's members are. ErrNotFound.
	Place(ctx context.Context, o Owner, id string) (Place, error)
	// Changes gives the changes of the list with number n that came after the one
	// with number after, in order.
	Changes(ctx context.Context, n, after int64) ([]Change, error)
	// AddChange adds a change to the list with number n, which has so many members
	// then. ErrNotFound.
	AddChange(ctx context.Context, n int64, c Change, members int64, now time.Time) error
	// Move puts a list on another file. ErrNotFound when the list is gone, ErrMoved
	// when it is not on the file that m says.
	Move(ctx context.Context, m Move) error
	// PurgeChanges frees the space of at most n changes that are in their list's
	// file or whose list is deleted, and says whether there may be more.
	PurgeChanges(ctx context.Context, n int) (more bool, err error)
	// LongLists gives the lists that have more than n changes since their file.
	LongLists(ctx context.Context, n int64) ([]List, error)
	// Files gives the names of the files that lists are on.
	Files(ctx context.Context) ([]string, error)
}

// Place is where a list's members are.
type Place struct {
	N       int64  // the list's number, which no other list ever has
	File    string // name of its file; "" for none
	Folded  int64  // the changes up to this number are in the file
	Members int64  // how many there are
}

// Change makes an entry a member of a list, or no member any more.
type Change struct {
	Seq     int64 // number of the change, from 1, in its list
	Key     string
	Shown   string // "" when it is the key
	Created time.Time
	Removed bool
}

// Move puts a list on another file.
type Move struct {
	List    int64  // its number
	From    string // the file it is on
	To      string
	Folded  int64 // the changes up to this number are in To
	Members int64
	Now     time.Time // the list's Updated; zero when its members stay the same
}

// Limits are what a list and an account may hold.
type Limits struct {
	Lists   int   // lists of one account in one region
	Members int64 // members of one list
	Tags    int   // tags of one list
}

// Service is everything one can do with lists.
type Service struct {
	Store  Store
	Dir    string // folder of the files with members, which this Service has to itself
	Limits Limits
	Now    func() time.Time
	NewID  func(prefix string) string
	// Discard deletes an uploaded object that nothing refers to any more. What it
	// cannot delete now is found and deleted later.
	Discard func(object string)
	Log     *slog.Logger

	rolls rolls
}

// clientTokenLife is how long a client token is remembered.
const clientTokenLife = 8 * time.Hour

// NewClientToken is the token of a request made now; nil is no token.
func NewClientToken(token *string, params []byte, now time.Time) ClientToken {
	if token == nil {
		return ClientToken{}
	}
	return ClientToken{Token: *token, Params: params, Since: now.Add(-clientTokenLife)}
}

// Create makes a list and gives its id. ErrNameTaken, ErrTokenReused, ErrTooManyLists.
func (s *Service) Create(ctx context.Context, o Owner, name string, tags map[string]string, token ClientToken) (id string, err error) {
	if len(tags) > s.Limits.Tags {
		return "", ErrTooManyTags
	}
	now := s.Now()
	l := List{Owner: o, ID: s.NewID("al"), Name: name, Created: now, Updated: now, Tags: tags}
	return s.Store.CreateList(ctx, l, token, s.Limits.Lists)
}

// Get gives a list. ErrNotFound.
func (s *Service) Get(ctx context.Context, o Owner, id string) (List, error) {
	return s.Store.List(ctx, o, id)
}

// List gives at most n lists after the one with id after, in order of creation.
func (s *Service) List(ctx context.Context, o Owner, after string, n int) ([]List, error) {
	return s.Store.Lists(ctx, o, after, n)
}

// Delete removes a list, its members, its jobs and their objects. Deleting
// what is not there succeeds, as it does in the service. ErrImportRunning.
func (s *Service) Delete(ctx context.Context, o Owner, id string) error {
	r, err := s.lockedRoll(ctx, o, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.change.Unlock()
	objects, err := s.Store.DeleteList(ctx, o, id)
	if errors.Is(err, ErrImportRunning) {
		return err
	}
	s.forget(r) // also when a commit that succeeded reports an error
	if err != nil {
		return err
	}
	s.removeFile(r.now.Load().name)
	for _, object := range objects {
		s.Discard(object)
	}
	return nil
}

// Tag adds tags to a list, or gives those it has new values. ErrNotFound, ErrTooManyTags.
func (s *Service) Tag(ctx context.Context, o Owner, id string, tags map[string]string) error {
	return s.Store.SetTags(ctx, o, id, tags, nil, s.Limits.Tags, s.Now())
}

// Untag removes tags from a list; keys it does not have are passed over. ErrNotFound.
func (s *Service) Untag(ctx context.Context, o Owner, id string, keys []string) error {
	return s.Store.SetTags(ctx, o, id, nil, keys, s.Limits.Tags, s.Now())
}

// Register makes an entry a member; one that is a member stays as it is.
// An address.Reason when it is not an entry, ErrNotFound, ErrListFull.
func (s *Service) Register(ctx context.Context, o Owner, id, entry string) error {
	e, err := address.Parse(entry)
	if err != nil {
		return err
	}
	c := Change{Key: string(e.Key), Created: s.Now()}
	if string(e.Shown) != c.Key {
		c.Shown = string(e.Shown)
	}
	return s.change(ctx, o, id, c)
}

// Deregister makes sure that an entry is not a member. An address.Reason when
// it is not an entry, ErrNotFound when there is no such list.
func (s *Service) Deregister(ctx context.Context, o Owner, id, entry string) error {
	e, err := address.Parse(entry)
	if err != nil {
		return err
	}
	return s.change(ctx, o, id, Change{Key: string(e.Key), Created: s.Now(), Removed: true})
}

// change makes a change, if it is one.
func (s *Service) change(ctx context.Context, o Owner, id string, c Change) error {
	r, err := s.lockedRoll(ctx, o, id)
	if err != nil {
		return err
	}
	defer r.change.Unlock()
	now := r.now.Load()
	hash, _ := address.Hash([]byte(c.Key))
	_, member, err := now.find([]byte(c.Key), hash)
	if err != nil || member != c.Removed {
		return err
	}
	c.Seq = now.seq + 1
	members := now.members + 1
	if c.Removed {
		members = now.members - 1
	} else if members > s.Limits.Members {
		return ErrListFull
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// A caller who goes away now must not leave it open what was stored.
	if err := s.Store.AddChange(context.WithoutCancel(ctx), r.n, c, members, c.Created); err != nil {
		s.forget(r) // a commit can succeed and report an error: what is so is read again
		return err
	}
	r.now.Store(now.with(c, members))
	return nil
}

// Member gives the member that equals entry: no wildcard is applied. An
// address.Reason, ErrNotFound, ErrNotMember.
func (s *Service) Member(ctx context.Context, o Owner, id, entry string) (Member, error) {
	e, err := address.Parse(entry)
	if err != nil {
		return Member{}, err
	}
	r, err := s.roll(ctx, o, id)
	if err != nil {
		return Member{}, err
	}
	hash, _ := address.Hash(e.Key)
	m, ok, err := r.now.Load().find(e.Key, hash)
	if err == nil && !ok {
		err = ErrNotMember
	}
	return m, err
}

// Members gives at most n members whose canonical form starts with prefix, in
// any case, from the first after the key after. ErrNotFound.
func (s *Service) Members(ctx context.Context, o Owner, id, prefix, after string, n int) ([]Member, error) {
	r, err := s.roll(ctx, o, id)
	if err != nil {
		return nil, err
	}
	prefix = address.KeyPrefix(prefix)
	w := r.now.Load().walk([]byte(max(prefix, after)), after != "" && after >= prefix)
	var found []Member
	for len(found) < n {
		row, err := w.next()
		if err == io.EOF || err == nil && !strings.HasPrefix(string(row.Key), prefix) {
			break
		}
		if err != nil {
			return nil, err
		}
		found = append(found, memberOf(row))
	}
	return found, nil
}

// Match says whether a mailbox is in a list and which member did it: exact
// before wildcard, longest first (address.Mailbox.Candidates gives the order).
// An address.Reason when it is not a mailbox, ErrNotFound.
func (s *Service) Match(ctx context.Context, o Owner, id, mailbox string) (m Member, matched bool, err error) {
	p := matchers.Get().(*matcher)
	defer matchers.Put(p)
	p.text = append(p.text[:0], mailbox...)
	box, err := p.parser.Mailbox(p.text)
	if err != nil {
		return Member{}, false, err
	}
	r, err := s.roll(ctx, o, id)
	if err != nil {
		return Member{}, false, err
	}
	now := r.now.Load()
	p.candidates = box.Candidates(now.kinds, p.candidates[:0])
	for _, c := range p.candidates {
		if !now.mayHold(c.Hash, c.Exact) {
			continue
		}
		p.key = box.AppendKey(p.key[:0], c)
		if m, matched, err = now.find(p.key, c.Hash); matched || err != nil {
			return m, matched, err
		}
	}
	return Member{}, false, nil
}

// matcher is the memory of one Match.
type matcher struct {
	parser     address.Parser
	text, key  []byte
	candidates []address.Candidate
}

var matchers = sync.Pool{New: func() any {
	return &matcher{key: make([]byte, 0, 320), candidates: make([]address.Candidate, 0, address.MaxCandidates)}
}}

// Each calls do for every member in order of key, as the list is when Each
// begins: changes made meanwhile are not seen. The Member is do's until it
// returns. ErrNotFound before the first, and do's errors.
func (s *Service) Each(ctx context.Context, o Owner, id string, do func(listfile.Row) error) error {
	r, err := s.roll(ctx, o, id)
	if err != nil {
		return err
	}
	for w := r.now.Load().walk(nil, false); ; {
		row, err := w.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = do(row)
		}
		if err != nil {
			return err
		}
	}
}

// Purge frees the space of changes that are no longer needed, a little at a
// time, until nothing is left or ctx ends.
func (s *Service) Purge(ctx context.Context) error {
	for {
		more, err := s.Store.PurgeChanges(ctx, 5000)
		if err != nil {
			return fmt.Errorf("free the space of old changes: %w", err)
		}
		if !more || ctx.Err() != nil {
			return nil
		}
	}
}
