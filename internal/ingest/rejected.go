package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"time"

	"sesame/internal/events"
	"sesame/internal/wire"
)

// Rejected is a record that was set aside because it could not be read.
type Rejected struct {
	// ID rises with the time it was received at, and ends in RejectedDigest characters
	// that are the same for the same record of the same Source.
	ID string
	events.Source
	Door     string // "firehose", "sns", "eventbridge", "events"
	Received time.Time
	Reason   string // in plain words, without quoting the record
	Record   []byte // as it came; nil in listings
	Bytes    int64  // of Record; set by the store
}

// RejectedDigest is how many characters at the end of an ID tell one record of a
// Source from another.
const RejectedDigest = 16

// ErrNoRejected is given for a record that is not there, or is another account's.
var ErrNoRejected = errors.New("no such rejected record")

// RejectedStore keeps what was set aside, within bounds for each account.
type RejectedStore interface {
	// Add keeps records of one account, but those that are there already; they are
	// durable when it returns nil, and on an error none is. When an account has more
	// than it may, the oldest go: dropped says how many.
	Add(ctx context.Context, all []Rejected) (dropped int64, err error)
	// List gives up to limit of an account's records with ids less than before, or from
	// the newest on when that is "": newest first, without Record.
	List(ctx context.Context, account, before string, limit int) ([]Rejected, error)
	// Get gives a record. ErrNoRejected.
	Get(ctx context.Context, account, id string) (Rejected, error)
	// Delete removes records; those that are not there are passed over. It is durable
	// when it returns nil.
	Delete(ctx context.Context, account string, ids []string) error
}

var idAlphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// rejectedID makes an id of "rej-", the millisecond, and a digest.
func rejectedID(src events.Source, record []byte, at time.Time) string {
	h := sha256.New()
	h.Write([]byte(src.Account + "/" + src.Region + "/"))
	h.Write(record)
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(at.UnixMilli())<<16)
	copy(b[6:], h.Sum(nil))
	// The last RejectedDigest characters begin behind the millisecond's 48 bits.
	return "rej-" + idAlphabet.EncodeToString(b[:])
}

// The shapes of Sesame's own operations on them.

type listRejectedInput struct {
	NextToken *string `length:"1..2048"`
	PageSize  *int32  `range:"1..1000"`
}

type rejectedSummary struct {
	Id                string
	Door              string
	ReceivedTimestamp time.Time
	Reason            string
	Bytes             int64
}

type listRejectedOutput struct {
	Records   []rejectedSummary
	NextToken *string
}

type getRejectedInput struct {
	Id *string `required:"true" length:"1..64" pattern:"^rej-[a-z0-9]{26}$"`
}

type getRejectedOutput struct {
	Id                string
	Door              string
	ReceivedTimestamp time.Time
	Reason            string
	Record            string // what of it is not UTF-8 is replaced
}

type retryRejectedInput struct {
	Ids []*string `length:"1..100" elementlength:"1..64" elementpattern:"^rej-[a-z0-9]{26}$"` // all when absent
}

type deleteRejectedInput struct {
	Ids []*string `length:"1..100" elementlength:"1..64" elementpattern:"^rej-[a-z0-9]{26}$"` // all when absent
}

type deleteRejectedOutput struct {
	Deleted int64
	More    bool // there are others: ask again
}

// retryRejectedOutput says what became of the records that were tried.
type retryRejectedOutput struct {
	Added      int64 // events that are new
	Duplicates int64 // events that were there
	Rejected   int64 // records that still cannot be read, and stay
	TooOld     int64 // events that would be removed again at once
	More       bool  // there are others: ask again
}

// The errors of the operations.
const (
	accessDenied = "AccessDeniedException"
	notFound     = "ResourceNotFoundException"
	throttling   = "ThrottlingException"
	validation   = "ValidationException"
)

// Operations are those on records that were set aside, for Sesame's own API.
func (d *Doors) Operations() []wire.Operation {
	return []wire.Operation{
		wire.Op("ListRejectedRecords", false, func(context.Context, wire.Caller, *listRejectedInput) (wire.Access, error) {
			return wire.Access{Resource: "*"}, nil
		}, d.listRejected, accessDenied, throttling, validation),
		wire.Op("GetRejectedRecord", false, func(context.Context, wire.Caller, *getRejectedInput) (wire.Access, error) {
			return wire.Access{Resource: "*"}, nil
		}, d.getRejected, accessDenied, notFound, throttling, validation),
		wire.Op("RetryRejectedRecords", true, func(context.Context, wire.Caller, *retryRejectedInput) (wire.Access, error) {
			return wire.Access{Resource: "*"}, nil
		}, d.retryRejected, accessDenied, notFound, throttling, validation),
		wire.Op("DeleteRejectedRecords", true, func(context.Context, wire.Caller, *deleteRejectedInput) (wire.Access, error) {
			return wire.Access{Resource: "*"}, nil
		}, d.deleteRejected, accessDenied, notFound, throttling, validation),
	}
}

func (d *Doors) listRejected(ctx context.Context, c wire.Caller, in *listRejectedInput) (*listRejectedOutput, error) {
	before, err := d.Pages.Cursor(c, "ListRejectedRecords", nil, in.NextToken)
	if err != nil {
		return nil, err
	}
	size := 100
	if in.PageSize != nil {
		size = int(*in.PageSize)
	}
	found, err := d.Rejected.List(ctx, c.Account, before, size+1)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(found) > size {
		found = found[:size]
		next = found[size-1].ID
	}
	out := &listRejectedOutput{Records: []rejectedSummary{}, NextToken: d.Pages.Token(c, "ListRejectedRecords", nil, next)}
	for _, r := range found {
		out.Records = append(out.Records, rejectedSummary{Id: r.ID, Door: r.Door, ReceivedTimestamp: r.Received, Reason: r.Reason, Bytes: r.Bytes})
	}
	return out, nil
}

func (d *Doors) getRejected(ctx context.Context, c wire.Caller, in *getRejectedInput) (*getRejectedOutput, error) {
	r, err := d.Rejected.Get(ctx, c.Account, *in.Id)
	if err != nil {
		return nil, asNotFound(err)
	}
	return &getRejectedOutput{
		Id: r.ID, Door: r.Door, ReceivedTimestamp: r.Received, Reason: r.Reason, Record: strings.ToValidUTF8(string(r.Record), "\ufffd"),
	}, nil
}

func asNotFound(err error) error {
	if errors.Is(err, ErrNoRejected) {
		return wire.Errorf(notFound, "The rejected record was not found.")
	}
	return err
}

// What one call tries again.
const (
	retriedAtOnce      = 1000
	retriedBytesAtOnce = 16 << 20
)

// retries notes how far the tries of each account's records have come, since what
// still cannot be read stays where it is, and must not be in the way of the rest.
type retries struct {
	mu     sync.Mutex
	before map[string]retryMark // by account
}

type retryMark struct {
	id string
	at time.Time
}

// retryPause is after how long a call begins with the newest again.
const retryPause = time.Minute

func (r *retries) begin(account string, now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.before[account]; now.Sub(m.at) < retryPause {
		return m.id
	}
	return ""
}

// reached notes the id that was tried last; "" when there is none behind it.
func (r *retries) reached(account, id string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.before == nil {
		r.before = map[string]retryMark{}
	}
	delete(r.before, account)
	if id != "" {
		r.before[account] = retryMark{id, now}
	}
}

func (d *Doors) retryRejected(ctx context.Context, c wire.Caller, in *retryRejectedInput) (*retryRejectedOutput, error) {
	if in.Ids != nil {
		ids, err := d.thereAre(ctx, c.Account, in.Ids)
		if err != nil {
			return nil, err
		}
		return d.retry(ctx, c.Account, ids)
	}
	found, err := d.Rejected.List(ctx, c.Account, d.retries.begin(c.Account, d.Now()), retriedAtOnce+1)
	if err != nil {
		return nil, err
	}
	var ids []string
	bytes := int64(0)
	for _, r := range found[:min(len(found), retriedAtOnce)] {
		if bytes += r.Bytes; bytes > retriedBytesAtOnce && len(ids) > 0 {
			break
		}
		ids = append(ids, r.ID)
	}
	out, err := d.retry(ctx, c.Account, ids)
	if err != nil {
		return nil, err
	}
	reached := ""
	if out.More = len(found) > len(ids); out.More {
		reached = ids[len(ids)-1]
	}
	d.retries.reached(c.Account, reached, d.Now())
	return out, nil
}

// thereAre gives ids, all of records that there are.
func (d *Doors) thereAre(ctx context.Context, account string, given []*string) (ids []string, err error) {
	for _, id := range given {
		if _, err := d.Rejected.Get(ctx, account, *id); err != nil {
			return nil, asNotFound(err)
		}
		ids = append(ids, *id)
	}
	return ids, nil
}

func (d *Doors) deleteRejected(ctx context.Context, c wire.Caller, in *deleteRejectedInput) (*deleteRejectedOutput, error) {
	ids, err := d.thereAre(ctx, c.Account, in.Ids)
	if err != nil {
		return nil, err
	}
	more := false
	if in.Ids == nil {
		found, err := d.Rejected.List(ctx, c.Account, "", retriedAtOnce+1)
		if err != nil {
			return nil, err
		}
		for _, r := range found[:min(len(found), retriedAtOnce)] {
			ids = append(ids, r.ID)
		}
		more = len(found) > len(ids)
	}
	return &deleteRejectedOutput{Deleted: int64(len(ids)), More: more}, d.Rejected.Delete(ctx, c.Account, ids)
}

// retry tries records again. One is removed when every event of it is durable.
func (d *Doors) retry(ctx context.Context, account string, ids []string) (*retryRejectedOutput, error) {
	out := &retryRejectedOutput{}
	var all []events.Event
	var done []string
	text := 0 // bytes of all
	store := func() error {
		if len(all) > 0 {
			added, err := d.Events.Append(ctx, all)
			if err != nil {
				return err
			}
			out.Added += int64(added)
			out.Duplicates += int64(len(all) - added)
		}
		err := d.Rejected.Delete(ctx, account, done)
		all, done, text = nil, nil, 0
		return err
	}
	for _, id := range ids {
		r, err := d.Rejected.Get(ctx, account, id)
		if errors.Is(err, ErrNoRejected) {
			continue // it has gone since
		}
		if err != nil {
			return nil, err
		}
		found, err := decodeAll(r)
		if err != nil {
			out.Rejected++
			continue
		}
		found, old := d.young(found)
		out.TooOld += int64(old)
		all, done = append(all, found...), append(done, id)
		for i := range found {
			text += found[i].Size()
		}
		if len(all) >= eventsAtOnce || text >= textAtOnce {
			if err := store(); err != nil {
				return nil, err
			}
		}
	}
	return out, store()
}

// decodeAll gives the events of a record, which may be of several now. What holds
// none at all cannot be read either.
func decodeAll(r Rejected) (all []events.Event, err error) {
	err = errors.New(r.Reason)
	for record := range events.Records(r.Record) {
		var found []events.Event
		found, err = events.Decode(r.Source, record)
		if errors.Is(err, events.ErrNoEvent) {
			err = nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, err
}
