package extsort

// Iterator gives the distinct records in ascending order of key. It is for one
// goroutine. It merges the runs in a goroutine of its own, some batches ahead,
// so that most of Next's work is done while its caller does other work.
type Iterator struct {
	full, free  chan *batch   // from the merging goroutine and back to it
	quit, ended chan struct{} // closed when nobody asks any more; when the goroutine has ended

	batch   *batch // that is being given
	given   int    // spans of it
	data    []byte // what is left of its data
	failure error  // what every later Next gives
}

// batch is records one behind another, and what comes after them.
type batch struct {
	data  []byte // keys and values
	spans []span
	err   error // nil if another batch follows
}

// span says where a record lies in the data of its batch: behind the last one.
type span struct {
	key, value int // their lengths
}

const (
	batches     = 3
	batchSize   = 32 << 10       // bytes of data, or a little more
	batchSpans  = batchSize / 32 // a record of an address has about 32 bytes
	batchMemory = 2 * batchSize  // a span has 16 bytes
)

func newBatch() *batch {
	return &batch{data: make([]byte, 0, batchSize+batchSize/8), spans: make([]span, 0, batchSpans)}
}

// newIterator begins to merge runs.
func newIterator(r *runs) (*Iterator, error) {
	it := &Iterator{
		full: make(chan *batch, batches), free: make(chan *batch, batches),
		quit: make(chan struct{}), ended: make(chan struct{}),
		batch: newBatch(),
	}
	m := &merge{buffers: r.buffers, stop: func() error {
		select {
		case <-it.quit:
			return errClosed
		default:
			return r.stop()
		}
	}}
	if err := m.open(r.list); err != nil {
		return nil, err
	}
	for range batches - 1 {
		it.free <- newBatch()
	}
	go it.merge(m)
	return it, nil
}

// merge fills batches until the end of the records, an error, or quit.
func (it *Iterator) merge(m *merge) {
	defer close(it.ended)
	for {
		var b *batch
		select {
		case b = <-it.free:
		case <-it.quit:
			return
		}
		b.fill(m)
		it.full <- b
		if b.err != nil {
			return
		}
	}
}

func (b *batch) fill(m *merge) {
	defer func() {
		if p := recover(); p != nil {
			b.err = panicked(p)
		}
	}()
	b.data, b.spans = b.data[:0], b.spans[:0]
	for len(b.data) < batchSize && len(b.spans) < batchSpans {
		r, err := m.next()
		if err != nil {
			b.err = err
			return
		}
		b.data = append(append(b.data, r.Key...), r.Value...)
		b.spans = append(b.spans, span{len(r.Key), len(r.Value)})
	}
}

// Next gives the next record, io.EOF after the last, what went wrong with
// reading a run, or the error of Config.Stop; and the same error again if
// called again.
func (it *Iterator) Next() (Record, error) {
	if it.given == len(it.batch.spans) {
		if err := it.turn(); err != nil {
			return Record{}, err
		}
	}
	s := &it.batch.spans[it.given]
	it.given++
	data := it.data
	end := s.key + s.value
	it.data = data[end:]
	return Record{Key: data[:s.key:s.key], Value: data[s.key:end:end]}, nil
}

// turn goes on to the next batch that has records.
func (it *Iterator) turn() error {
	for it.failure == nil && it.given == len(it.batch.spans) {
		if it.failure = it.batch.err; it.failure == nil {
			it.free <- it.batch
			it.batch = <-it.full
			it.given, it.data = 0, it.batch.data
		}
	}
	return it.failure
}

// Close ends the merging; it waits for what is being read. It may be called
// twice, and gives no error.
func (it *Iterator) Close() error {
	if it.failure != errClosed {
		close(it.quit)
		<-it.ended
		it.batch, it.given, it.failure = &batch{}, 0, errClosed
	}
	return nil
}
