package events

import (
	"bytes"
	"encoding/json"
	"testing"
)

// plain is what a program that decodes a Delivery with encoding/json declares.
type plain struct {
	EventType string
	Mail      struct {
		Timestamp, Source, SourceArn, SendingAccountID, MessageID string
		Destination                                               []string
		HeadersTruncated                                          bool
		Headers                                                   []struct{ Name, Value string }
		CommonHeaders                                             struct {
			From, To           []string
			MessageID, Subject string
		}
		Tags map[string][]string
	}
	Delivery struct {
		Timestamp                               string
		ProcessingTimeMillis                    int
		Recipients                              []string
		SMTPResponse, RemoteMtaIP, ReportingMTA string
	}
}

// BenchmarkDecode decodes a Delivery of about 1.5 KB, beside what encoding/json
// takes for the same, and for checking it alone.
func BenchmarkDecode(b *testing.B) {
	record := bytes.TrimSpace(readFile(b, "testdata/cases/firehose-delivery.json"))
	many := bytes.Repeat(append(bytes.Clone(record), '\n'), 500)
	run := func(name string, bytes, records int, f func() error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
		})
	}
	run("Decode", len(record), 1, func() error {
		_, err := Decode(ours, record)
		return err
	})
	run("encoding-json", len(record), 1, func() error {
		var p plain
		return json.Unmarshal(record, &p)
	})
	run("encoding-json-valid", len(record), 1, func() error {
		if !json.Valid(record) {
			b.Fatal("not JSON")
		}
		return nil
	})
	run("Records", len(many), 500, func() error {
		for range Records(many) {
		}
		return nil
	})
	run("Records-and-Decode", len(many), 500, func() error {
		for one := range Records(many) {
			if _, err := Decode(ours, one); err != nil {
				return err
			}
		}
		return nil
	})
	e := mustDecode(b, string(record))[0]
	run("Key", 0, 1, func() error {
		e.Key()
		return nil
	})
}
