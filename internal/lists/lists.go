// Package lists owns address lists and their members: who is in which list, and
// whether an address is matched by one.
//
// It promises that a change is durable when the call that made it returns, that
// a list never holds more members than its limit, and that Match asks for a
// bounded number of keys whatever the size of the list.
//
// It knows neither HTTP nor SQL nor an AWS shape; of Sesame it may import address.
package lists

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sesame/internal/address"
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
	Members int64
	Kinds   address.Kinds // every kind of entry that the list has held
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
	// DeleteList removes a list with its jobs, and gives the objects they had
	// uploaded. Its members are gone for every reader at once; the space they
	// took comes back by PurgeMembers. Deleting what is not there is no error.
	// ErrImportRunning.
	DeleteList(ctx context.Context, o Owner, id string) (objects []string, err error)
	// PurgeMembers frees the space of at most n members of deleted lists and
	// says whether there may be more.
	PurgeMembers(ctx context.Context, n int) (more bool, err error)
	// SetTags changes a list's tags: adds or replaces set, removes the keys in
	// unset. ErrNotFound, ErrTooManyTags.
	SetTags(ctx context.Context, o Owner, id string, set map[string]string, unset []string, limit int, now time.Time) error

	// AddMember adds an entry; one that is there stays as it was.
	// ErrNotFound, ErrListFull (room promised to a running import counts).
	AddMember(ctx context.Context, o Owner, id string, e address.Entry, limit int64, now time.Time) error
	// RemoveMember removes the entry with a key, if it is there. ErrNotFound.
	RemoveMember(ctx context.Context, o Owner, id, key string, now time.Time) error
	// Members gives at most n members whose key has the prefix and is greater
	// than after, in order of key. ErrNotFound.
	Members(ctx context.Context, o Owner, id, prefix, after string, n int) ([]Member, error)
	// FindMembers gives those of the keys (at most 100) that are members, in any
	// order. ErrNotFound.
	FindMembers(ctx context.Context, o Owner, id string, keys []string) ([]Member, error)
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
	Limits Limits
	Now    func() time.Time
	NewID  func(prefix string) string
	// Discard deletes an uploaded object that nothing refers to any more. What it
	// cannot delete now is found and deleted later.
	Discard func(object string)
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

// Delete removes a list, its members, its jobs and what they uploaded. Deleting
// what is not there succeeds, as it does in the service. ErrImportRunning.
func (s *Service) Delete(ctx context.Context, o Owner, id string) error {
	objects, err := s.Store.DeleteList(ctx, o, id)
	if err != nil {
		return err
	}
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
	return s.Store.AddMember(ctx, o, id, e, s.Limits.Members, s.Now())
}

// Deregister makes sure that an entry is not a member. An address.Reason when
// it is not an entry, ErrNotFound when there is no such list.
func (s *Service) Deregister(ctx context.Context, o Owner, id, entry string) error {
	e, err := address.Parse(entry)
	if err != nil {
		return err
	}
	return s.Store.RemoveMember(ctx, o, id, string(e.Key), s.Now())
}

// Member gives the member that equals entry: no wildcard is applied. An
// address.Reason, ErrNotFound, ErrNotMember.
func (s *Service) Member(ctx context.Context, o Owner, id, entry string) (Member, error) {
	e, err := address.Parse(entry)
	if err != nil {
		return Member{}, err
	}
	found, err := s.Store.FindMembers(ctx, o, id, []string{string(e.Key)})
	if err != nil {
		return Member{}, err
	}
	if len(found) == 0 {
		return Member{}, ErrNotMember
	}
	return found[0], nil
}

// Members gives at most n members whose canonical form starts with prefix, in
// any case, from the first after the key after. ErrNotFound.
func (s *Service) Members(ctx context.Context, o Owner, id, prefix, after string, n int) ([]Member, error) {
	return s.Store.Members(ctx, o, id, address.KeyPrefix(prefix), after, n)
}

// Match says whether a mailbox is in a list and which member did it: exact
// before wildcard, longest first (address.Mailbox.Candidates gives the order).
// An address.Reason when it is not a mailbox, ErrNotFound.
func (s *Service) Match(ctx context.Context, o Owner, id, mailbox string) (m Member, matched bool, err error) {
	box, err := address.ParseMailbox(mailbox)
	if err != nil {
		return Member{}, false, err
	}
	l, err := s.Store.List(ctx, o, id)
	if err != nil {
		return Member{}, false, err
	}
	keys := box.Candidates(l.Kinds)
	if len(keys) == 0 {
		return Member{}, false, nil
	}
	found, err := s.Store.FindMembers(ctx, o, id, keys)
	if err != nil {
		return Member{}, false, err
	}
	for _, key := range keys {
		for _, m := range found {
			if m.Key == key {
				return m, true, nil
			}
		}
	}
	return Member{}, false, nil
}

// Purge frees the space of deleted lists, a little at a time, until nothing is
// left or ctx ends.
func (s *Service) Purge(ctx context.Context) error {
	for {
		more, err := s.Store.PurgeMembers(ctx, 5000)
		if err != nil {
			return fmt.Errorf("free the space of deleted lists: %w", err)
		}
		if !more || ctx.Err() != nil {
			return nil
		}
	}
}
