package ingest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sesame/internal/ingest"
)

// large is a request of 500 events of 1.5 KB.
func large(n int) string {
	var data []string
	for i := range 500 {
		event := sends(fmt.Sprintf("m-%d-%d", n, i))
		data = append(data, strings.Replace(event, `"send":{}`, `"send":{"padding":"`+strings.Repeat("x", 1500-len(event))+`"}`, 1))
	}
	return batch(requestID, data...)
}

// BenchmarkFirehoseBatch reads requests without decoding their events; beside it,
// encoding/json does.
func BenchmarkFirehoseBatch(b *testing.B) {
	body := []byte(large(0))
	b.Run("by hand", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			n := 0
			_, err := ingest.FirehoseBatch(body, func([]byte, bool) error { n++; return nil })
			if err != nil || n != 500 {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			var all struct {
				Records []struct{ Data []byte }
			}
			if err := json.Unmarshal(body, &all); err != nil || len(all.Records) != 500 {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFirehose sends requests of 500 events from four senders; the client is
// in the time.
func BenchmarkFirehose(b *testing.B) {
	p := open(b, nil)
	n := 0
	bodies := make(chan string)
	go func() {
		defer close(bodies)
		for range b.N {
			n++
			bodies <- large(n)
		}
	}()
	b.ResetTimer()
	done := make(chan bool)
	for range 4 {
		go func() {
			for body := range bodies {
				p.post("firehose", body, p.hose()).is(b, "a batch", 200)
			}
			done <- true
		}()
	}
	for range 4 {
		<-done
	}
	b.ReportMetric(float64(b.N*500)/b.Elapsed().Seconds(), "events/s")
}
