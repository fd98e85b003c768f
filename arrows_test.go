package sesame

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows are which packages of Sesame each package may import, and which others
// besides the standard library. ARCHITECTURE.md draws them.
var arrows = map[string][]string{
	"internal/address":    {"github.com/cespare/xxhash/v2", "golang.org/x/net/idna", "golang.org/x/text/cases", "golang.org/x/text/unicode/norm"},
	"internal/blobs":      {"internal/writeback"},
	"internal/config":     {},
	"internal/eventdb":    {"internal/events", "internal/writeback", "github.com/duckdb/duckdb-go-bindings", "github.com/duckdb/duckdb-go/v2", "github.com/duckdb/duckdb-go/v2/mapping", "golang.org/x/sys/unix"},
	"internal/events":     {"github.com/cespare/xxhash/v2", "github.com/go-json-experiment/json", "github.com/go-json-experiment/json/jsontext"},
	"internal/extsort":    {},
	"internal/generate":   {"internal/events"},
	"internal/ingest":     {"internal/events", "internal/iam", "internal/sigv4", "internal/wire", "github.com/klauspost/compress/gzip"},
	"internal/insights":   {"internal/eventdb", "internal/events"},
	"internal/iam":        {},
	"internal/importer":   {"internal/address", "internal/extsort", "internal/importfile", "internal/jobs", "internal/lists"},
	"internal/importfile": {"github.com/klauspost/compress/gzip", "github.com/klauspost/compress/zstd", "golang.org/x/text/encoding/unicode"},
	"internal/exporter": {"internal/eventdb", "internal/events", "internal/jobs", "github.com/klauspost/compress/gzip", "github.com/klauspost/compress/zstd",
		"github.com/parquet-go/parquet-go", "github.com/parquet-go/parquet-go/compress", "github.com/parquet-go/parquet-go/compress/gzip", "github.com/parquet-go/parquet-go/compress/zstd", "github.com/robfig/cron/v3"},
	"internal/jobs":        {},
	"internal/keyfile":     {},
	"internal/listfile":    {"internal/address", "internal/writeback", "golang.org/x/sys/unix"},
	"internal/lists":       {"internal/address", "internal/listfile", "internal/writeback"},
	"internal/mailmanager": {"internal/address", "internal/importer", "internal/importfile", "internal/jobs", "internal/lists", "internal/wire"},
	"internal/metadb":      {"internal/events", "internal/exporter", "internal/iam", "internal/importer", "internal/ingest", "internal/jobs", "internal/keyfile", "internal/lists", "github.com/mattn/go-sqlite3"},
	"internal/objects":     {"internal/exporter", "internal/importer", "internal/sigv4"},
	"internal/obs":         {"github.com/prometheus/client_golang/prometheus", "github.com/prometheus/client_golang/prometheus/collectors", "github.com/prometheus/client_golang/prometheus/promhttp"},
	"internal/s3put": {"internal/exporter", "github.com/aws/aws-sdk-go-v2/aws", "github.com/aws/aws-sdk-go-v2/aws/ratelimit", "github.com/aws/aws-sdk-go-v2/aws/retry",
		"github.com/aws/aws-sdk-go-v2/aws/transport/http", "github.com/aws/aws-sdk-go-v2/config", "github.com/aws/aws-sdk-go-v2/credentials", "github.com/aws/aws-sdk-go-v2/service/s3",
		"github.com/aws/aws-sdk-go-v2/service/s3/types", "github.com/aws/smithy-go", "golang.org/x/sync/errgroup"},
	"internal/sesv2":     {"internal/eventdb", "internal/events", "internal/exporter", "internal/insights", "internal/jobs", "internal/wire"},
	"internal/sigv4":     {},
	"internal/writeback": {"golang.org/x/sys/unix"},
	"internal/wire":      {"internal/iam", "internal/sigv4", "github.com/fxamacker/cbor/v2", "golang.org/x/time/rate"},
}

// neverInDomain is what domain packages must not know.
var neverInDomain = []string{"net/http", "database/sql"}

var domain = []string{"internal/address", "internal/events", "internal/exporter", "internal/extsort", "internal/generate", "internal/insights", "internal/importer", "internal/importfile", "internal/jobs", "internal/listfile", "internal/lists"}

func TestArrows(t *testing.T) {
	dirs, err := filepath.Glob("internal/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		dir = filepath.ToSlash(dir)
		if dir == "internal/server" {
			continue // connects everything
		}
		allowed, known := arrows[dir]
		if !known {
			t.Errorf("%s: say in arrows_test.go and ARCHITECTURE.md what it may import", dir)
			continue
		}
		for file, imports := range importsOf(t, dir) {
			for _, path := range imports {
				inside := strings.TrimPrefix(path, "sesame/")
				standard := !strings.Contains(strings.Split(path, "/")[0], ".") && inside == path
				if !standard && !slices.Contains(allowed, inside) {
					t.Errorf("%s imports %s", file, path)
				}
				if slices.Contains(domain, dir) && slices.Contains(neverInDomain, path) {
					t.Errorf("%s imports %s: the domain knows neither HTTP nor SQL", file, path)
				}
			}
		}
	}
}

// importsOf gives what each file of a package imports, tests left out.
func importsOf(t *testing.T, dir string) map[string][]string {
	imports := map[string][]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && path == "testdata" {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		name := filepath.Join(dir, path)
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports[name] = append(imports[name], imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(imports) == 0 {
		t.Errorf("%s has no Go files", dir)
	}
	return imports
}
