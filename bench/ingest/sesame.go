package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sesame/bench/yard"
)

// measureSesame sends the requests to a new server.
func measureSesame(ctx context.Context, binary, dir string, w wants, f files) (got figures, err error) {
	data := filepath.Join(dir, "data")
	err = yard.WithServer(ctx, binary, data, nil, func(pid int, url string) error {
		before, err := yard.CPUTime(pid)
		if err != nil {
			return err
		}
		start := time.Now()
		if got.requests, err = send(ctx, url, w.flight, f); err != nil {
			return err
		}
		got.took = time.Since(start)
		after, err := yard.CPUTime(pid)
		if err != nil {
			return err
		}
		got.cpu = after - before
		if got.peak, err = yard.Memory(pid, "VmHWM"); err != nil {
			return err
		}
		got.events, err = stored(ctx, url)
		return err
	})
	if err != nil {
		return got, err
	}
	// A record has an event for each recipient, and a few come twice.
	if got.events < f.events*98/100 || got.events > f.events*103/100 {
		return got, fmt.Errorf("%d records were sent, and %d events were stored", f.events, got.events)
	}
	// Measured when it has stopped: what its writer had in hand is settled then.
	if got.disk, err = yard.FolderSize(data); err != nil {
		return got, err
	}
	return got, os.RemoveAll(data)
}

// send sends the requests, so many at a time, and says how long each took.
func send(ctx context.Context, url string, flight int, f files) (took []time.Duration, err error) {
	file, err := os.Open(f.requests)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 4<<20)
	var mu sync.Mutex // guards in, took and err
	next := func(body []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		var length [4]byte
		if err != nil {
			return nil
		}
		if _, failed := io.ReadFull(in, length[:]); failed != nil {
			if failed != io.EOF {
				err = failed
			}
			return nil
		}
		n := int(binary.LittleEndian.Uint32(length[:]))
		if cap(body) < n {
			body = make([]byte, 2*n)
		}
		if _, failed := io.ReadFull(in, body[:n]); failed != nil {
			err = failed
			return nil
		}
		return body[:n]
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: flight, WriteBufferSize: 256 << 10}}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for range flight {
		all.Go(func() {
			var body []byte
			for {
				if body = next(body[:cap(body)]); body == nil {
					return
				}
				start := time.Now()
				failed := yard.PostFirehose(ctx, client, url, body)
				d := time.Since(start)
				mu.Lock()
				took = append(took, d)
				if err == nil {
					err = failed
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return took, err
}

// stored asks a server how many events it has taken that were new.
func stored(ctx context.Context, url string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "sesame_events_total{") && strings.Contains(line, `="firehose"`) && strings.Contains(line, `="added"`) {
			var n float64
			_, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &n)
			return int(n), err
		}
	}
	return 0, errors.Join(errors.New("the metrics do not say how many events Firehose added"), lines.Err())
}
