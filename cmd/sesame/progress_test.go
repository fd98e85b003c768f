package main

import (
	"bytes"
	"testing"
	"time"
)

// Where there is no terminal, progress is a line now and then, with what is left.
func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.show("uploading", 0.1, "too early", time.Second)
	for _, r := range []report{
		{Status: "PROCESSING"},
		{ShareDone: 0.25, Phases: []phase{{Name: "READING", Seconds: 30, Rows: 3000, RowsPerSecond: 100}}},
		{ShareDone: 0.8, Phases: []phase{{Name: "READING", Seconds: 30}, {Name: "MERGING", Seconds: 10, Rows: 700, RowsPerSecond: 70}}},
		{ShareDone: 0.999, Phases: []phase{{Name: "READING", Seconds: 30}, {Name: "MERGING", Seconds: 10}, {Name: "STORING", Seconds: 1}}},
	} {
		p.last = time.Now().Add(-lineEvery)
		p.show(r.doing())
		p.show(r.doing()) // not again so soon
	}
	p.end()
	const want = `waiting for its turn
reading: 25%, 3000 rows, 100 rows/s, about 1m30s left
merging: 80%, 700 rows, 70 rows/s, about 10s left
storing: 100%
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
