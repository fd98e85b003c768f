package eventdb

import (
	"context"
	"errors"
	"net/url"
	"unsafe"

	bindings "github.com/duckdb/duckdb-go-bindings"
	"github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"
)

// reader reads many rows. Like writer it speaks DuckDB's C interface: by way of
// database/sql a value costs a call into C and an allocation, and reading all mail
// takes five times as long. One goroutine may use it.
type reader struct {
	db   mapping.Database
	conn mapping.Connection
}

// connect opens another connection to the store that is open at path.
func connect(path string, settings url.Values) (db mapping.Database, conn mapping.Connection, err error) {
	var config mapping.Config
	defer mapping.DestroyConfig(&config)
	if mapping.CreateConfig(&config) == mapping.StateError || mapping.SetConfig(config, "duckdb_api", "go") == mapping.StateError {
		return db, conn, errors.New("configure DuckDB")
	}
	for name := range settings {
		if mapping.SetConfig(config, name, settings.Get(name)) == mapping.StateError {
			return db, conn, errors.New("set DuckDB's " + name)
		}
	}
	var why string
	if mapping.GetOrCreateFromCache(duckdb.GetInstanceCache(), path, &db, config, &why) == mapping.StateError {
		return db, conn, errors.New(why)
	}
	if mapping.Connect(db, &conn) == mapping.StateError {
		mapping.Close(&db)
		return db, conn, errors.New("connect to DuckDB")
	}
	return db, conn, nil
}

func newReader(path string, settings url.Values) (*reader, error) {
	db, conn, err := connect(path, settings)
	if err != nil {
		return nil, err
	}
	return &reader{db, conn}, nil
}

func (r *reader) close() {
	mapping.Disconnect(&r.conn)
	mapping.Close(&r.db)
}

// read runs a query and calls do with its rows, some at a time. What they hold is
// gone when do returns. ctx ends it, and do's error, which is given.
func (r *reader) read(ctx context.Context, query string, args []any, do func(rows) error) error {
	var statement mapping.PreparedStatement
	defer mapping.DestroyPrepare(&statement)
	if mapping.Prepare(r.conn, query, &statement) == mapping.StateError {
		return errors.New(mapping.PrepareError(statement))
	}
	for i, arg := range args {
		state := mapping.StateError
		switch arg := arg.(type) {
		case int64:
			state = mapping.BindInt64(statement, mapping.IdxT(i+1), arg)
		case string:
			state = mapping.BindVarchar(statement, mapping.IdxT(i+1), arg)
		}
		if state == mapping.StateError {
			return errors.New("bind a value of a query: " + mapping.PrepareError(statement))
		}
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		mapping.Interrupt(r.conn)
	})
	defer func() {
		if !stop() {
			<-interrupted // it must not end the reader's next query
		}
	}()
	var pending mapping.PendingResult
	defer mapping.DestroyPending(&pending)
	if bindings.PendingPreparedStreaming(statement, &pending) == mapping.StateError {
		return errors.New(mapping.PendingError(pending))
	}
	var result mapping.Result
	defer mapping.DestroyResult(&result)
	if mapping.ExecutePending(pending, &result) == mapping.StateError {
		return errors.Join(ctx.Err(), errors.New(mapping.ResultError(&result)))
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		chunk := mapping.FetchChunk(result)
		if chunk.Ptr == nil {
			break
		}
		n := int(mapping.DataChunkGetSize(chunk))
		var err error
		if n > 0 {
			err = do(rows{chunk, n})
		}
		mapping.DestroyDataChunk(&chunk)
		if err != nil {
			return err
		}
	}
	if why := mapping.ResultError(&result); why != "" {
		return errors.Join(ctx.Err(), errors.New(why))
	}
	return ctx.Err()
}

// rows are some rows of a query's answer. No value may be NULL.
type rows struct {
	chunk mapping.DataChunk
	n     int
}

// column gives the values of a column of numbers or truths.
func column[T int64 | uint64 | bool](r rows, i int) []T {
	return unsafe.Slice((*T)(mapping.VectorGetData(mapping.DataChunkGetVector(r.chunk, mapping.IdxT(i)))), r.n)
}

// texts gives the values of a column of text.
func (r rows) texts(i int) []duckText {
	return unsafe.Slice((*duckText)(mapping.VectorGetData(mapping.DataChunkGetVector(r.chunk, mapping.IdxT(i)))), r.n)
}

// view gives the text as it lies in DuckDB's memory: good until the rows are gone.
func (t *duckText) view() string {
	if t.size <= uint32(len(t.inside)) {
		return unsafe.String(&t.inside[0], t.size)
	}
	return unsafe.String(*(**byte)(unsafe.Pointer(&t.inside[4])), t.size)
}
