package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sesame/bench/yard"
	"sesame/internal/generate"
)

// files are the same events in two forms.
type files struct {
	events   int
	size     int64  // bytes of the events
	lines    string // one a line
	requests string // Firehose requests, each behind its length
}

// span is that of the events: a month, as who keeps up feeds in at the longest. It
// ends at the last midnight, for a server removes what is older than it keeps.
const span = 30 * 24 * time.Hour

func makeFiles(dir string, w wants, seed uint64) (f files, err error) {
	f = files{events: w.events, lines: filepath.Join(dir, "events.jsonl"), requests: filepath.Join(dir, "requests")}
	to := time.Now().UTC().Truncate(24 * time.Hour)
	g, err := generate.New(generate.Options{Seed: seed, Records: int64(w.events), From: to.Add(-span), To: to, Account: yard.Account, Region: yard.Region})
	if err != nil {
		return f, err
	}
	linesFile, err := os.Create(f.lines)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, linesFile.Close()) }()
	requestsFile, err := os.Create(f.requests)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, requestsFile.Close()) }()
	lines, requests := bufio.NewWriterSize(linesFile, 1<<20), bufio.NewWriterSize(requestsFile, 1<<20)
	var event, body []byte
	for n := 0; ; n++ {
		event, err = g.Next(event[:0])
		if n%w.batch == 0 || err == io.EOF {
			if n > 0 && len(body) > 0 {
				body = append(body, "]}"...)
				requests.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(body)))) // Flush says whether all went well
				requests.Write(body)
			}
			body = yard.FirehoseBody(body[:0], fmt.Sprintf("%08x-0000-4000-8000-%012x", seed, n), to)
		}
		if err == io.EOF {
			return f, errors.Join(lines.Flush(), requests.Flush())
		}
		if err != nil {
			return f, err
		}
		event = append(event, '\n') // as SES gives it to Firehose
		f.size += int64(len(event))
		lines.Write(event)
		body = yard.FirehoseRecord(body, event)
	}
}

func (f files) remove() error { return errors.Join(os.Remove(f.lines), os.Remove(f.requests)) }
