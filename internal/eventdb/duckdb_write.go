package eventdb

import (
	"errors"
	"hash/fnv"
	"io"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"

	"sesame/internal/events"
)

// textColumns are the columns of columns.sql that are text, in the order of texts.
var textColumns = []string{
	"account", "region", "message_id", "destination", "type", "sender", "subject", "configuration_set", "identity", "isp", "tags",
	"bounce_type", "sub_type", "diagnostic", "feedback_type", "delay_type", "link", "user_agent", "ip", "feedback_id", "details",
}

const textCount = 21

// texts gives where an event has the values of textColumns.
func texts(e *events.Event) [textCount]*string {
	return [...]*string{
		&e.Account, &e.Region, &e.MessageID, &e.Destination, (*string)(&e.Type), &e.From, &e.Subject, &e.ConfigurationSet, &e.Identity, &e.ISP, &e.Tags,
		&e.BounceType, &e.SubType, &e.Diagnostic, &e.FeedbackType, &e.DelayType, &e.Link, &e.UserAgent, &e.IP, &e.FeedbackID, &e.Details,
	}
}

// otherColumns are the columns that are not text, behind those in a chunk.
var otherColumns = []struct {
	name string
	kind mapping.Type
}{
	{"key", mapping.TypeUBigInt}, {"number", mapping.TypeBigInt}, {"time", mapping.TypeBigInt}, {"sent", mapping.TypeBigInt},
	{"multi", mapping.TypeBoolean}, {"simulator", mapping.TypeBoolean}, {"recipient", mapping.TypeUBigInt}, {"arrived", mapping.TypeBigInt},
}

// writer adds events. It speaks DuckDB's C interface and puts values straight into
// the memory that DuckDB takes columns from: by way of database/sql a value costs
// three calls into C, and adding an event three times as much.
type writer struct {
	db      mapping.Database
	conn    mapping.Connection
	find    map[string]*mapping.PreparedStatement // of each table, the stored ones of arrivals
	types   []mapping.LogicalType
	chunk   mapping.DataChunk // rows on their way into the table
	columns []unsafe.Pointer  // where the chunk has the values of each column
	rows    int               // in the chunk
	text    []byte            // what is too long to stand in the chunk; pinned, because it points there
	pin     runtime.Pinner
	keyType []mapping.LogicalType
	keys    mapping.DataChunk
}

// textAtOnce is how many bytes of text go into the table at once, unless one event
// has more.
const textAtOnce = 4 << 20

// newWriter opens another connection to the store that is open at path.
func newWriter(path string, settings url.Values) (*writer, error) {
	db, conn, err := connect(path, settings)
	if err != nil {
		return nil, err
	}
	w := &writer{db: db, conn: conn, find: map[string]*mapping.PreparedStatement{}}
	for range textColumns {
		w.types = append(w.types, mapping.CreateLogicalType(mapping.TypeVarchar))
	}
	for _, c := range otherColumns {
		w.types = append(w.types, mapping.CreateLogicalType(c.kind))
	}
	w.chunk = mapping.CreateDataChunk(w.types)
	w.columns = make([]unsafe.Pointer, len(w.types))
	w.makeText(textAtOnce)
	w.empty()
	w.keyType = []mapping.LogicalType{mapping.CreateLogicalType(mapping.TypeUBigInt)}
	w.keys = mapping.CreateDataChunk(w.keyType)
	err = w.exec("CREATE TEMP TABLE arrivals (key UBIGINT)")
	for _, table := range tables {
		w.find[table] = new(mapping.PreparedStatement)
		if err == nil && mapping.Prepare(w.conn, "SELECT key FROM "+table+" WHERE time BETWEEN ? AND ? AND key IN (FROM arrivals)", w.find[table]) == mapping.StateError {
			err = errors.New(mapping.PrepareError(*w.find[table]))
		}
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *writer) close() {
	for _, find := range w.find {
		mapping.DestroyPrepare(find)
	}
	mapping.DestroyDataChunk(&w.keys)
	mapping.DestroyDataChunk(&w.chunk)
	for _, t := range slices.Concat(w.types, w.keyType) {
		mapping.DestroyLogicalType(&t)
	}
	mapping.Disconnect(&w.conn)
	mapping.Close(&w.db)
	w.pin.Unpin()
}

// exec runs a statement without a result.
func (w *writer) exec(statement string) error {
	var result mapping.Result
	defer mapping.DestroyResult(&result)
	if mapping.Query(w.conn, statement, &result) == mapping.StateError {
		return errors.New(mapping.ResultError(&result))
	}
	return nil
}

// row is an event that is to be added, and which request brought it.
type row struct {
	event   *events.Event
	key     uint64
	request int
}

// add adds the events that are not there in one transaction, as arrived at that time,
// and says how many of each request that were.
func (w *writer) add(all []request, arrived int64) (counts []int, err error) {
	rows := map[string][]row{} // of each table
	there := map[uint64]bool{} // keys, and whether they are stored
	for i, r := range all {
		for j, key := range r.keys {
			if _, twice := there[key]; !twice {
				there[key] = false
				table := tableOf(r.events[j].Type)
				rows[table] = append(rows[table], row{&r.events[j], key, i})
			}
		}
	}
	if err := w.exec("BEGIN"); err != nil {
		return nil, err
	}
	counts = make([]int, len(all))
	for _, table := range tables {
		if err := w.addRows(table, rows[table], there, arrived, counts); err != nil {
			return nil, errors.Join(err, w.exec("ROLLBACK"))
		}
	}
	return counts, w.exec("COMMIT") // which rolls back when it fails
}

// addRows adds the rows of one table that are not there, and counts them with their
// requests.
func (w *writer) addRows(table string, rows []row, there map[uint64]bool, arrived int64, counts []int) error {
	if len(rows) == 0 {
		return nil
	}
	if err := w.lookUp(table, rows, there); err != nil {
		return err
	}
	return w.appendTo(table, func(into mapping.Appender) error {
		for _, c := range textColumns {
			mapping.AppenderAddColumn(into, c)
		}
		for _, c := range otherColumns {
			mapping.AppenderAddColumn(into, c.name)
		}
		defer w.empty()
		for _, r := range rows {
			if there[r.key] {
				continue
			}
			size := textSize(r.event)
			if w.rows == vectorSize || len(w.text)+size > cap(w.text) {
				if err := w.flush(into); err != nil {
					return err
				}
			}
			if size > cap(w.text) {
				w.makeText(size)
			}
			w.put(r.event, r.key, arrived)
			counts[r.request]++
		}
		return w.flush(into)
	})
}

var vectorSize = int(mapping.VectorSize())

// lookUp notes in there which keys are stored in the table.
func (w *writer) lookUp(table string, rows []row, there map[uint64]bool) error {
	// The time, of which the key is made too, spares reading what is from other days;
	// so those that are far from each other are looked up one after the other.
	sorted := slices.Clone(rows)
	slices.SortFunc(sorted, func(a, b row) int { return a.event.Time.Compare(b.event.Time) })
	for n := 0; len(sorted) > 0; n++ {
		end := 1
		for end < len(sorted) && (n == mostSpans || sorted[end].event.Time.Sub(sorted[end-1].event.Time) < spanGap) {
			end++
		}
		if err := w.lookUpSpan(*w.find[table], sorted[:end], there); err != nil {
			return err
		}
		sorted = sorted[end:]
	}
	return nil
}

// spanGap is how far from each other events are looked up in one go, and mostSpans
// how often there is another one.
const (
	spanGap   = 24 * time.Hour
	mostSpans = 8
)

// lookUpSpan is lookUp of rows in order of time.
func (w *writer) lookUpSpan(find mapping.PreparedStatement, rows []row, there map[uint64]bool) error {
	from, to := rows[0].event.Time.UnixMilli(), rows[len(rows)-1].event.Time.UnixMilli()
	err := w.appendTo("arrivals", func(into mapping.Appender) error {
		for some := range slices.Chunk(rows, vectorSize) {
			mapping.DataChunkReset(w.keys)
			keys := unsafe.Slice((*uint64)(mapping.VectorGetData(mapping.DataChunkGetVector(w.keys, 0))), len(some))
			for i, r := range some {
				keys[i] = r.key
			}
			mapping.DataChunkSetSize(w.keys, mapping.IdxT(len(some)))
			if mapping.AppendDataChunk(into, w.keys) == mapping.StateError {
				return errors.New(mapping.AppenderError(into))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var result mapping.Result
	defer mapping.DestroyResult(&result)
	if mapping.BindInt64(find, 1, from) == mapping.StateError || mapping.BindInt64(find, 2, to) == mapping.StateError {
		return errors.New(mapping.PrepareError(find))
	}
	if mapping.ExecutePrepared(find, &result) == mapping.StateError {
		return errors.New(mapping.ResultError(&result))
	}
	for {
		chunk := mapping.FetchChunk(result)
		if chunk.Ptr == nil {
			break
		}
		if n := int(mapping.DataChunkGetSize(chunk)); n > 0 {
			for _, key := range unsafe.Slice((*uint64)(mapping.VectorGetData(mapping.DataChunkGetVector(chunk, 0))), n) {
				there[key] = true
			}
		}
		mapping.DestroyDataChunk(&chunk)
	}
	return w.exec("TRUNCATE arrivals")
}

// appendTo calls fill with an appender to a table.
func (w *writer) appendTo(table string, fill func(mapping.Appender) error) (err error) {
	var into mapping.Appender
	state := mapping.AppenderCreate(w.conn, "", table, &into)
	defer func() { mapping.AppenderDestroy(&into) }()
	if state == mapping.StateError {
		return errors.New(mapping.AppenderError(into))
	}
	if err := fill(into); err != nil {
		return err
	}
	if mapping.AppenderFlush(into) == mapping.StateError {
		return errors.New(mapping.AppenderError(into))
	}
	return nil
}

// flush gives the rows of the chunk to DuckDB, which copies them.
func (w *writer) flush(into mapping.Appender) error {
	mapping.DataChunkSetSize(w.chunk, mapping.IdxT(w.rows))
	if mapping.AppendDataChunk(into, w.chunk) == mapping.StateError {
		return errors.New(mapping.AppenderError(into))
	}
	w.empty()
	return nil
}

// empty makes the chunk ready for new rows.
func (w *writer) empty() {
	mapping.DataChunkReset(w.chunk)
	for i := range w.columns {
		w.columns[i] = mapping.VectorGetData(mapping.DataChunkGetVector(w.chunk, mapping.IdxT(i)))
	}
	w.rows, w.text = 0, w.text[:0]
}

// makeText makes place for so many bytes of text. The chunk must be empty.
func (w *writer) makeText(size int) {
	w.pin.Unpin()
	w.text = make([]byte, 0, size)
	w.pin.Pin(unsafe.SliceData(w.text))
}

// textSize is how many bytes the text of an event may take in the chunk.
func textSize(e *events.Event) int {
	size := 0
	for _, s := range texts(e) {
		size += len(clean(s))
	}
	return size
}

// clean gives a text as DuckDB takes it: UTF-8.
func clean(s *string) string {
	if utf8.ValidString(*s) {
		return *s
	}
	return strings.ToValidUTF8(*s, "\uFFFD")
}

// put adds a row to the chunk.
func (w *writer) put(e *events.Event, key uint64, arrived int64) {
	for i, s := range texts(e) {
		w.putText(i, clean(s))
	}
	putValue(w, textCount, key)
	putValue(w, textCount+1, events.MessageNumber(e.MessageID))
	putValue(w, textCount+2, e.Time.UnixMilli())
	putValue(w, textCount+3, e.Sent.UnixMilli())
	putValue(w, textCount+4, e.Multi)
	putValue(w, textCount+5, e.Simulator)
	putValue(w, textCount+6, recipient(e))
	putValue(w, textCount+7, arrived)
	w.rows++
}

// recipient stands for a recipient of a message in counts of those who opened or
// clicked: numbers are grouped several times as fast as text.
func recipient(e *events.Event) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, e.MessageID)
	_, _ = h.Write([]byte{0})
	_, _ = io.WriteString(h, e.Destination)
	return h.Sum64()
}

func putValue[T int64 | uint64 | bool](w *writer, column int, v T) {
	*(*T)(unsafe.Add(w.columns[column], uintptr(w.rows)*unsafe.Sizeof(v))) = v
}

// duckText is duckdb_string_t of DuckDB's C interface.
type duckText struct {
	size   uint32
	inside [12]byte // the whole text, or its first four bytes and where it is
}

func (w *writer) putText(column int, s string) {
	at := (*duckText)(unsafe.Add(w.columns[column], uintptr(w.rows)*unsafe.Sizeof(duckText{})))
	*at = duckText{size: uint32(len(s))}
	copy(at.inside[:], s)
	if len(s) > len(at.inside) {
		from := len(w.text)
		w.text = append(w.text, s...)
		*(*uintptr)(unsafe.Pointer(&at.inside[4])) = uintptr(unsafe.Pointer(&w.text[from]))
	}
}
