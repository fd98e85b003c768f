package metadb

import (
	"context"
	"path/filepath"
	"testing"
)

func TestVDM(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "sesame.db")
	db, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	want := func(account, region, attributes string) {
		t.Helper()
		if got, err := db.VDM(ctx, account, region); err != nil || got != attributes {
			t.Errorf("%s in %s: %q, %v, want %q", account, region, got, err, attributes)
		}
	}
	put := func(account, region, attributes string) {
		t.Helper()
		if err := db.PutVDM(ctx, account, region, attributes); err != nil {
			t.Fatal(err)
		}
	}
	want("000000000000", "us-east-1", "")
	put("000000000000", "us-east-1", `{"a":1}`)
	put("000000000000", "eu-west-1", `{"b":2}`)
	put("111111111111", "us-east-1", `{"c":3}`)
	put("000000000000", "us-east-1", `{"a":4}`)
	want("000000000000", "us-east-1", `{"a":4}`)

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.PutVDM(ctx, "000000000000", "us-east-1", "{}"); err == nil {
		t.Error("a closed store took attributes")
	}
	if db, err = Open(ctx, path); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	want("000000000000", "us-east-1", `{"a":4}`)
	want("000000000000", "eu-west-1", `{"b":2}`)
	want("111111111111", "us-east-1", `{"c":3}`)
	want("111111111111", "eu-west-1", "")
}
