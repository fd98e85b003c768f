package eventdb

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"sesame/internal/events"
)

// DuckDB is the embedded backend: one file, and a log of what is not in it yet
// beside it, both DuckDB's own. One process may have it open.
//
// One goroutine writes. It takes all requests that have come while it wrote the
// last ones into one transaction, so that a disk that takes long to sync makes
// transactions larger and not fewer events.
type DuckDB struct {
	db       *sql.DB                // for counting, and for dropping what is old; closes the connector
	messages *sql.DB                // for reading messages
	message  [len(tables)]*sql.Stmt // asks each table for a message; planned once, which takes a third of the time
	writer   *writer
	log      *checkpointer
	readers  chan *reader // that are free
	memory   int64        // bytes
	slice    int64        // events of a slice of mail, about

	arriving sync.Mutex // held for a transaction
	arrived  int64      // of the last one

	requests chan request
	closing  chan struct{} // closed by Close
	closed   chan struct{} // closed when the writer has ended
	once     sync.Once

	using sync.Mutex // guards ended and that users is not added to when it is set
	ended bool
	users sync.WaitGroup // of db, for whom Close waits
}

var _ Store = (*DuckDB)(nil)

// request is what an Append wants added.
type request struct {
	events []events.Event
	keys   []uint64
	bytes  int // of the events' text
	answer chan<- answer
}

type answer struct {
	added int
	err   error
}

var errClosed = errors.New("the store of events is closed")

const (
	// mostWaiting is how many requests wait for the writer before Append does.
	mostWaiting = 1024
	// mostTogether is after how many events a transaction takes no further request, and
	// memoryTogether after what part of the store's memory, in bytes of their text.
	mostTogether, memoryTogether = 50_000, 8
	// gathering is how long after its answers the writer begins the next
	// transaction: who was answered comes with more, and few large transactions cost
	// less than many small ones. Who comes later than that does not wait.
	gathering = 2 * time.Millisecond
	// againAfter is how often it is asked whether a checkpoint is due, when no events
	// come: after one that failed there is another.
	againAfter = 2 * time.Second
	// logSize is about how many bytes DuckDB's log becomes before what is in it is
	// written in its place: opening after a crash reads it.
	logSize = 128_000_000
	// mostCounting and mostReading are how many queries run at once that count, and
	// that read a table for a message; others wait. They do not wait for each other.
	mostCounting, mostReading = 8, 8
	// mostWalking is how many slices of mail are read at once: one for each core of a
	// small machine.
	mostWalking = 2
)

//go:embed columns.sql
var columns string

// tables are where events are. What recipients do comes up to weeks after the mail
// was sent, and what mail servers do mostly within a day. So each table is in order
// of sending, but for so much, and little of it is read for a message; and most
// metrics are of one of the two.
var tables = [...]string{mailTable, recipientTable}

const (
	mailTable      = "mail_events"      // what became of mail on its way
	recipientTable = "recipient_events" // what recipients did with it
)

// tableOf says where events of a type are.
func tableOf(t events.Type) string {
	switch t {
	case events.Open, events.Click, events.Complaint, events.Subscription:
		return recipientTable
	}
	return mailTable
}

// schema makes what is not there yet. The view is for people and tests.
var schema = "CREATE TABLE IF NOT EXISTS " + mailTable + "(" + columns + "); CREATE TABLE IF NOT EXISTS " + recipientTable + "(" + columns + ");" +
	"CREATE VIEW IF NOT EXISTS events AS FROM " + mailTable + " UNION ALL FROM " + recipientTable

// Open opens the file at path, and makes it if it is not there. memory is how many
// bytes DuckDB may use for what it reads, sorts and groups; what it uses beside
// that does not grow with the store. Each query runs in the thread that asks, so
// that several run side by side: threads of one query that wait for each other took
// a seventh of the time that writing takes. No process, this one neither, may have the
// store open already. The error says that the file is no
// store of events, is damaged, or is open elsewhere, and what to do.
func Open(ctx context.Context, path string, memory int64) (*DuckDB, error) {
	d, err := open(ctx, path, memory, logSize)
	if err != nil {
		return nil, fmt.Errorf("open the store of events %s: %w%s", path, err, advice(err))
	}
	return d, nil
}

// advice tells what to do about an error of DuckDB, "" when it says so itself.
func advice(err error) string {
	const damaged = ": it is damaged; put a copy of the store in its place, or move it and the files beside it away and begin anew"
	for _, known := range [...]struct{ sign, advice string }{
		{"Could not set lock", ": another process has it open; end that one first"},
		{"not a valid DuckDB database file", ": it is another kind of file, or damaged; put a copy of the store in its place, or move it and the files beside it away and begin anew"},
		{"erialization", damaged},
		{"orrupt", damaged},
		{"checksum", damaged},
		{"Could not read", damaged},
		{"has been invalidated", ": see that the disk has space and is healthy, then start Sesame again"},
		{"FATAL", ": see that the disk has space and is healthy, then start Sesame again"},
	} {
		if strings.Contains(err.Error(), known.sign) {
			return known.advice
		}
	}
	return ""
}

func open(ctx context.Context, path string, memory, logSize int64) (*DuckDB, error) {
	if strings.ContainsAny(path, "?%#") {
		return nil, errors.New("DuckDB takes no path with ?, % or #")
	}
	if err := mend(path); err != nil {
		return nil, err
	}
	settings := url.Values{
		"memory_limit":                  {fmt.Sprintf("%dB", memory)},
		"threads":                       {"1"},
		"checkpoint_threshold":          {"1000TB"},      // DuckDB does no checkpoint of its own: see checkpointer
		"storage_compatibility_version": {"v1.5.0"},      // for the better ways to compress text
		"temp_directory":                {path + ".tmp"}, // for queries that are larger than the memory
		"max_temp_directory_size":       {"20GB"},
		"autoinstall_known_extensions":  {"false"}, // nothing is fetched from anywhere
		"autoload_known_extensions":     {"false"},
	}
	connector, err := duckdb.NewConnector(path+"?"+settings.Encode(), nil)
	if err != nil {
		return nil, err
	}
	d := &DuckDB{
		db: sql.OpenDB(connector), messages: sql.OpenDB(struct{ driver.Connector }{connector}), requests: make(chan request, mostWaiting),
		memory: memory, slice: sliceEvents, readers: make(chan *reader, mostWalking), closing: make(chan struct{}), closed: make(chan struct{}),
	}
	d.db.SetMaxOpenConns(mostCounting)
	d.db.SetMaxIdleConns(mostCounting)
	d.messages.SetMaxOpenConns(mostReading)
	d.messages.SetMaxIdleConns(mostReading)
	if _, err = d.db.ExecContext(context.WithoutCancel(ctx), "PRAGMA disable_checkpoint_on_shutdown"); err == nil {
		err = d.isNew(ctx)
	}
	if err == nil {
		_, err = d.db.ExecContext(ctx, schema)
	}
	if err == nil {
		err = d.db.QueryRowContext(ctx, "SELECT coalesce(max(arrived), 0) FROM events").Scan(&d.arrived)
	}
	for i, table := range tables {
		if err == nil {
			d.message[i], err = d.messages.PrepareContext(ctx, messageQuery(table))
		}
	}
	if err == nil {
		d.writer, err = newWriter(path, settings)
	}
	if err == nil {
		d.log, err = newCheckpointer(path, settings, logSize)
	}
	for range cap(d.readers) {
		if err == nil {
			var r *reader
			if r, err = newReader(path, settings); err == nil {
				d.readers <- r
			}
		}
	}
	if err != nil {
		if d.writer != nil {
			d.writer.close()
		}
		err = errors.Join(err, d.closeReading())
		if d.log != nil {
			d.log.close()
		}
		return nil, err
	}
	go d.write()
	return d, nil
}

// Close is Store's.
func (d *DuckDB) Close() error {
	var err error
	d.once.Do(func() {
		d.using.Lock()
		d.ended = true
		d.using.Unlock()
		close(d.closing)
		<-d.closed
		d.users.Wait()
		err = d.log.end()
		d.writer.close()
		err = errors.Join(err, d.closeReading())
		d.log.close()
	})
	return err
}

// isNew refuses a store that was made before there were two tables, or times of
// arrival: there was no release then.
func (d *DuckDB) isNew(ctx context.Context) error {
	var old int
	err := d.db.QueryRowContext(ctx, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'events' OR table_name IN ('"+mailTable+"', '"+recipientTable+
		"') AND table_name NOT IN (SELECT table_name FROM duckdb_columns() WHERE column_name = 'arrived')").Scan(&old)
	if err == nil && old > 0 {
		err = errors.New("it was made by Sesame before its first release, in another form: move it away and begin anew")
	}
	return err
}

// closeReading closes what reads. All readers must be free.
func (d *DuckDB) closeReading() error {
	for len(d.readers) > 0 {
		(<-d.readers).close()
	}
	for _, s := range d.message {
		if s != nil {
			_ = s.Close() // its connections are closed next
		}
	}
	return errors.Join(d.messages.Close(), d.db.Close())
}

// use keeps Close waiting until done is called.
func (d *DuckDB) use() (done func(), err error) {
	d.using.Lock()
	defer d.using.Unlock()
	if d.ended {
		return nil, errClosed
	}
	d.users.Add(1)
	return d.users.Done, nil
}

// Ping says whether the store can be used: after trouble with its disk DuckDB does
// nothing any more until it is opened again, or its log grows.
func (d *DuckDB) Ping(ctx context.Context) error {
	done, err := d.use()
	if err != nil {
		return err
	}
	defer done()
	if err := d.messages.QueryRowContext(ctx, "SELECT 1").Scan(new(int)); err != nil {
		return err
	}
	return d.log.err()
}

// Append is Store's.
func (d *DuckDB) Append(ctx context.Context, all []events.Event) (added int, err error) {
	if err := ctx.Err(); err != nil || len(all) == 0 {
		return 0, err
	}
	keys, size := make([]uint64, len(all)), 0
	for i := range all {
		keys[i] = all[i].Key()
		size += all[i].Size()
	}
	answers := make(chan answer, 1)
	select {
	case <-d.closing:
		return 0, errClosed
	default:
	}
	select {
	case d.requests <- request{all, keys, size, answers}:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-d.closing:
		return 0, errClosed
	}
	// From here on the events are the writer's, so its answer is waited for.
	select {
	case a := <-answers:
		return a.added, a.err
	case <-d.closed:
		select {
		case a := <-answers:
			return a.added, a.err
		default:
			return 0, errClosed
		}
	}
}

// write is the goroutine that writes.
func (d *DuckDB) write() {
	defer close(d.closed)
	var answered time.Time
	again := time.NewTicker(againAfter)
	defer again.Stop()
	for {
		var first request
		select {
		case first = <-d.requests:
		case <-again.C:
			d.log.runIfDue()
			continue
		case <-d.closing:
			return
		}
		time.Sleep(time.Until(answered.Add(gathering)))
		together, n, size := []request{first}, len(first.events), first.bytes
		for more := true; more && n < mostTogether && size < int(d.memory/memoryTogether); {
			select {
			case next := <-d.requests:
				together, n, size = append(together, next), n+len(next.events), size+next.bytes
			default:
				more = false
			}
		}
		d.store(together)
		d.log.runIfDue()
		answered = time.Now()
	}
}

// store stores what requests want, in one transaction, and answers them. When that
// fails, each has one of its own: it can be the fault of one of them.
func (d *DuckDB) store(together []request) {
	counts, err := d.add(together)
	if err != nil && len(together) > 1 {
		for _, r := range together {
			d.store([]request{r})
		}
		return
	}
	for i, r := range together {
		if err != nil {
			r.answer <- answer{0, fmt.Errorf("store events: %w%s", err, advice(err))}
		} else {
			r.answer <- answer{counts[i], nil}
		}
	}
}

// add adds what requests want, under a time of arrival that no other has.
func (d *DuckDB) add(together []request) (counts []int, err error) {
	d.arriving.Lock()
	defer d.arriving.Unlock()
	d.arrived = max(d.arrived+1, time.Now().UnixMilli())
	return d.writer.add(together, d.arrived)
}

// Settle is Store's.
func (d *DuckDB) Settle(t time.Time) time.Time {
	d.arriving.Lock() // what arrived by then is committed
	defer d.arriving.Unlock()
	d.arrived = max(d.arrived, t.UnixMilli())
	return time.UnixMilli(d.arrived).UTC()
}

// mostOfMessage is how many events of a message are read of each table, the oldest.
// Whoever got a mail can open it as often as they like.
const mostOfMessage = 10_000

// messageQuery asks one table for a message. The number of the message leads to it.
func messageQuery(table string) string {
	return "SELECT time, sent, multi, simulator, destination, type, sender, subject, isp, tags, bounce_type, sub_type, diagnostic, feedback_type FROM " +
		table + " WHERE number = ? AND message_id = ? AND account = ? AND region = ? ORDER BY time LIMIT " + strconv.Itoa(mostOfMessage)
}

// Message is Store's.
func (d *DuckDB) Message(ctx context.Context, src events.Source, messageID string) ([]events.Event, error) {
	done, err := d.use()
	if err != nil {
		return nil, err
	}
	defer done()
	var found [len(tables)][]events.Event
	var failed [len(tables)]error
	var both sync.WaitGroup
	for i := range tables {
		both.Go(func() { found[i], failed[i] = d.messageIn(ctx, i, src, messageID) })
	}
	both.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		return nil, fmt.Errorf("read the events of a message: %w%s", err, advice(err))
	}
	all := slices.Concat(found[:]...)
	slices.SortStableFunc(all, func(a, b events.Event) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Type, b.Type))
	})
	return all, nil
}

func (d *DuckDB) messageIn(ctx context.Context, table int, src events.Source, messageID string) (found []events.Event, err error) {
	rows, err := d.message[table].QueryContext(ctx, events.MessageNumber(messageID), messageID, src.Account, src.Region)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		e := events.Event{Source: src, MessageID: messageID}
		var at, sent int64
		err := rows.Scan(&at, &sent, &e.Multi, &e.Simulator, &e.Destination, &e.Type, &e.From, &e.Subject, &e.ISP, &e.Tags,
			&e.BounceType, &e.SubType, &e.Diagnostic, &e.FeedbackType)
		if err != nil {
			return nil, err
		}
		e.Time, e.Sent = time.UnixMilli(at).UTC(), time.UnixMilli(sent).UTC()
		found = append(found, e)
	}
	return found, rows.Err()
}

// dropAtOnce is how much of the messages' send times one transaction drops, unless
// there are no more than fewToDrop events in all: what a transaction has dropped is
// in its log, and in memory, until it ends.
const (
	dropAtOnce = day
	fewToDrop  = 500_000
)

// DropBefore is Store's. DuckDB gives the space of row groups that are dropped
// whole to new ones with its next checkpoint.
func (d *DuckDB) DropBefore(ctx context.Context, t time.Time) (dropped int64, err error) {
	done, err := d.use()
	if err != nil {
		return 0, err
	}
	defer done()
	for {
		n, more, err := d.dropSome(ctx, t.UnixMilli())
		dropped += n
		if err != nil {
			return dropped, fmt.Errorf("drop old events: %w%s", err, advice(err))
		}
		d.log.runIfDue()
		if !more {
			break
		}
	}
	if dropped > 0 {
		_ = d.log.run() // Ping tells; the events are dropped
	}
	return dropped, nil
}

// dropSome drops the oldest events, if they are of messages sent before that time.
func (d *DuckDB) dropSome(ctx context.Context, before int64) (dropped int64, more bool, err error) {
	var count int64
	var oldest sql.NullInt64
	if err := d.db.QueryRowContext(ctx, "SELECT count(*), min(sent) FROM events WHERE sent < ?", before).Scan(&count, &oldest); err != nil {
		return 0, false, err
	}
	if count == 0 {
		return 0, false, nil
	}
	until := before
	if count > fewToDrop {
		until = min(before, oldest.Int64+dropAtOnce)
	}
	for _, table := range tables {
		n, err := d.drop(ctx, table, until)
		dropped += n
		if err != nil {
			return dropped, false, err
		}
	}
	return dropped, until < before, nil
}

// drop drops a table's events of messages that were sent before that time.
func (d *DuckDB) drop(ctx context.Context, table string, before int64) (dropped int64, err error) {
	for try := 0; ; try++ {
		done, err := d.db.ExecContext(ctx, "DELETE FROM "+table+" WHERE sent < ?", before)
		var conflict *duckdb.Error
		if errors.As(err, &conflict) && conflict.Type == duckdb.ErrorTypeTransaction && try < 100 {
			select {
			case <-time.After(10 * time.Millisecond):
				continue
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		if err != nil {
			return 0, err
		}
		return done.RowsAffected()
	}
}
