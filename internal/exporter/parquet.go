package exporter

import (
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/compress/gzip"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// Bounds of a row group, which is in memory until it is written.
const (
	groupRows = 122_880  // what DuckDB reads at once
	groupText = 32 << 20 // bytes before they are packed
	// batchRows is how many rows are handed on at once.
	batchRows = 512
	// mostOfDictionaries is how many bytes of different values all columns together may
	// have in a row group, each its share, before one gets no dictionary. In memory each
	// value takes some hundred bytes more.
	mostOfDictionaries = 12 << 20
)

// mostlyDifferent are the columns in which a dictionary would be of no use.
var mostlyDifferent = []string{"messageid", "destination", "feedback_id", "details"}

// parquetTable is a table in Apache Parquet. What there is no value of is NULL, text
// too; times are in UTC.
type parquetTable struct {
	w       *parquet.GenericWriter[any]
	columns []header
	batch   [][]parquet.Value // by column
	kept    []byte            // text of the batch
	rows    int64             // of the row group
	text    int
}

func newParquet(columns []header, c Compression, w io.Writer) *parquetTable {
	group := ordered{Group: parquet.Group{}}
	for _, h := range columns {
		var node parquet.Node
		switch h.kind {
		case ofTime:
			node = parquet.Optional(parquet.Timestamp(parquet.Millisecond))
		case ofBool:
			node = parquet.Leaf(parquet.BooleanType)
		case ofNumber:
			node = parquet.Leaf(parquet.DoubleType)
		default:
			node = parquet.String()
			if !slices.Contains(mostlyDifferent, h.name) {
				node = parquet.Encoded(node, &parquet.RLEDictionary)
			}
			node = parquet.Optional(node)
		}
		group.Group[h.name] = node
		group.names = append(group.names, h.name)
	}
	var codec compress.Codec = &parquet.Uncompressed
	switch c {
	case Gzip:
		codec = &gzip.Codec{Level: gzip.DefaultCompression}
	case Zstd:
		codec = &zstd.Codec{Level: zstd.SpeedDefault}
	}
	return &parquetTable{
		w: parquet.NewGenericWriter[any](w, parquet.NewSchema("export", group), parquet.Compression(codec), parquet.WriteBufferSize(bufferSize),
			parquet.DictionaryMaxBytes(min(1<<20, mostOfDictionaries/int64(len(columns)))), parquet.CreatedBy("sesame", "1", "")),
		columns: columns, batch: make([][]parquet.Value, len(columns)),
	}
}

// ordered is a group whose columns stand in the order of names, and not in that of the
// alphabet.
type ordered struct {
	parquet.Group
	names []string
}

// Fields is parquet.Node's.
func (o ordered) Fields() []parquet.Field {
	byName := map[string]parquet.Field{}
	for _, f := range o.Group.Fields() {
		byName[f.Name()] = f
	}
	all := make([]parquet.Field, len(o.names))
	for i, name := range o.names {
		all[i] = byName[name]
	}
	return all
}

func (t *parquetTable) row(values []value) error {
	for i := range values {
		v, kind := &values[i], t.columns[i].kind
		var cell parquet.Value
		switch {
		case kind == ofBool:
			cell = parquet.BooleanValue(v.n != 0).Level(0, 0, i)
		case kind == ofNumber:
			cell = parquet.DoubleValue(v.number).Level(0, 0, i)
		case v.absent(kind):
			cell = parquet.NullValue().Level(0, 0, i)
		case kind == ofTime:
			cell = parquet.Int64Value(v.n).Level(0, 1, i)
		default:
			from := len(t.kept)
			t.kept = append(t.kept, v.text...) // should it move, then what was there stays for its cells
			cell = parquet.ByteArrayValue(t.kept[from:]).Level(0, 1, i)
			t.text += len(v.text)
		}
		t.batch[i] = append(t.batch[i], cell)
	}
	t.rows++
	if t.rows < groupRows && t.text < groupText {
		if t.rows%batchRows == 0 {
			return t.hand()
		}
		return nil
	}
	return t.endGroup()
}

// hand hands the batch on.
func (t *parquetTable) hand() error {
	for i, column := range t.w.ColumnWriters() {
		if len(t.batch[i]) == 0 {
			continue
		}
		if _, err := column.WriteRowValues(t.batch[i]); err != nil {
			return err
		}
		clear(t.batch[i])
		t.batch[i] = t.batch[i][:0]
	}
	t.kept = t.kept[:0]
	return nil
}

func (t *parquetTable) endGroup() error {
	if err := t.hand(); err != nil {
		return err
	}
	t.rows, t.text = 0, 0
	return t.w.Flush()
}

func (t *parquetTable) end() error {
	if err := t.hand(); err != nil {
		return err
	}
	return t.w.Close()
}
