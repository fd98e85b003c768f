package exporter_test

import (
	"testing"

	"sesame/internal/exporter"
)

func TestContentType(t *testing.T) {
	for name, want := range map[string]string{
		"a.csv": "text/csv; charset=utf-8", "a_00001.json": "application/json", "a.ndjson": "application/x-ndjson", "a.parquet": "application/vnd.apache.parquet",
		"a.csv.gz": "application/gzip", "a.ndjson.gz": "application/gzip", "a.json.zst": "application/zstd",
	} {
		if got := (exporter.File{Name: name}).ContentType(); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
}
