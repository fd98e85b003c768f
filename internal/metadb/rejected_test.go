package metadb

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sesame/internal/events"
	"sesame/internal/ingest"
)

// rejectedRecord is one whose id ends in the number of what it holds, as the doors
// make it.
func rejectedRecord(account, region string, at, what int) ingest.Rejected {
	return ingest.Rejected{
		ID: fmt.Sprintf("rej-%010d%0*d", at, ingest.RejectedDigest, what), Source: events.Source{Account: account, Region: region}, Door: "firehose",
		Received: start.Add(time.Duration(at) * time.Second), Reason: "the record is not JSON", Record: fmt.Appendf(nil, "record %d", what),
	}
}

func rejectedIDs(all []ingest.Rejected) []string {
	ids := []string{}
	for _, r := range all {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestRejectedRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sesame.db")
	db := openAt(t, path)
	ctx := t.Context()
	r := &RejectedRecords{DB: db, MostRecords: MostRejectedRecords, MostBytes: MostRejectedBytes}
	add := func(all ...ingest.Rejected) {
		t.Helper()
		if dropped, err := r.Add(ctx, all); dropped != 0 || err != nil {
			t.Fatalf("Add: %d, %v", dropped, err)
		}
	}
	one, two := rejectedRecord(ann.Account, ann.Region, 1, 1), rejectedRecord(ann.Account, ann.Region, 2, 2)
	empty := rejectedRecord(ann.Account, ann.Region, 3, 3)
	empty.Record = nil
	add()
	add(one, two)
	// The same again, later, in another region, and another account's.
	abroad, bobs := rejectedRecord(ann.Account, anns.Region, 4, 1), rejectedRecord(bob.Account, bob.Region, 5, 1)
	add(rejectedRecord(ann.Account, ann.Region, 6, 1), empty, abroad)
	add(bobs)
	if err := db.Close(); err != nil { // which nothing depends on
		t.Fatal(err)
	}
	db = openAt(t, path)
	defer db.Close()
	r = &RejectedRecords{DB: db, MostRecords: MostRejectedRecords, MostBytes: MostRejectedBytes}

	listed := func(account, before string, limit int, want ...ingest.Rejected) {
		t.Helper()
		got, err := r.List(ctx, account, before, limit)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			want[i].Bytes, want[i].Record = int64(len(want[i].Record)), nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	listed(ann.Account, "", 10, abroad, empty, two, one)
	listed(ann.Account, "", 2, abroad, empty)
	listed(ann.Account, empty.ID, 1, two)
	listed(ann.Account, one.ID, 10)
	listed(bob.Account, "", 10, bobs)
	listed("333333333333", "", 10)

	got, err := r.Get(ctx, ann.Account, two.ID)
	two.Bytes = int64(len(two.Record))
	if diff := cmp.Diff(two, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if got, err := r.Get(ctx, ann.Account, empty.ID); len(got.Record) != 0 || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	for _, c := range [][2]string{{bob.Account, two.ID}, {ann.Account, bobs.ID}, {ann.Account, "rej-x"}} {
		if _, err := r.Get(ctx, c[0], c[1]); !errors.Is(err, ingest.ErrNoRejected) {
			t.Errorf("Get(%v): %v", c, err)
		}
	}
	for _, ids := range [][]string{nil, {bobs.ID}, {two.ID, "rej-x", two.ID}} {
		if err := r.Delete(ctx, ann.Account, ids); err != nil {
			t.Fatal(err)
		}
	}
	listed(ann.Account, "", 10, abroad, empty, one)
	listed(bob.Account, "", 10, bobs)
	two.Record = []byte("record 2")
	add(two) // it may come again
	listed(ann.Account, "", 10, abroad, empty, two, one)
}

// Whatever is added in whatever order, an account has no more than it may and its
// newest, and nobody loses another's.
func TestRejectedRecordsBounds(t *testing.T) {
	t.Parallel()
	db := openAt(t, filepath.Join(t.TempDir(), "sesame.db"))
	defer db.Close()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		ann, bob := ann, bob
		ann.Account, bob.Account = fmt.Sprintf("1%011d", n), fmt.Sprintf("2%011d", n)
		r := &RejectedRecords{DB: db, MostRecords: rapid.Int64Range(1, 400).Draw(t, "records"), MostBytes: rapid.Int64Range(20, 5000).Draw(t, "bytes")}
		var kept []ingest.Rejected // ann's, oldest first
		at := n * 1000             // ids are nobody else's
		bobs := []ingest.Rejected{rejectedRecord(bob.Account, bob.Region, at, 0)}
		if _, err := r.Add(t.Context(), bobs); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 8).Draw(t, "times") {
			var batch []ingest.Rejected
			for range rapid.IntRange(1, 60).Draw(t, "batch") {
				at++
				one := rejectedRecord(ann.Account, ann.Region, at, rapid.IntRange(0, 500).Draw(t, "what"))
				batch = append(batch, one)
				same := false
				for _, k := range kept {
					same = same || strings.HasSuffix(k.ID, one.ID[14:])
				}
				if !same {
					kept = append(kept, one)
				}
			}
			dropped, err := r.Add(t.Context(), batch)
			if err != nil {
				t.Fatal(err)
			}
			kept = kept[dropped:]
			got, err := r.List(t.Context(), ann.Account, "", 10_000)
			if err != nil {
				t.Fatal(err)
			}
			bytes := int64(0)
			for i := range got {
				bytes += got[i].Bytes
				if i >= len(kept) || got[i].ID != kept[len(kept)-1-i].ID {
					t.Fatalf("there are %q, want %q", rejectedIDs(got), rejectedIDs(kept))
				}
			}
			if len(got) != len(kept) || int64(len(got)) > r.MostRecords || bytes > r.MostBytes {
				t.Fatalf("%d records of %d bytes, %d expected; at most %d of %d", len(got), bytes, len(kept), r.MostRecords, r.MostBytes)
			}
			if rapid.IntRange(0, 3).Draw(t, "delete") == 0 && len(kept) > 0 {
				i := rapid.IntRange(0, len(kept)-1).Draw(t, "which")
				if err := r.Delete(t.Context(), ann.Account, []string{kept[i].ID}); err != nil {
					t.Fatal(err)
				}
				kept = append(kept[:i:i], kept[i+1:]...)
			}
			if dropped > 0 && int64(len(got)) < r.MostRecords*98/100-1 && bytes < r.MostBytes*98/100-40 {
				t.Fatalf("%d dropped, and %d records of %d bytes left", dropped, len(got), bytes)
			}
		}
		if got, err := r.List(t.Context(), bob.Account, "", 10); len(got) != 1 || err != nil {
			t.Fatalf("Bob's: %v, %v", got, err)
		}
	})
}

// The same record from many senders at once is kept once.
func TestRejectedRecordsAtOnce(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "sesame.db"))
	defer db.Close()
	r := &RejectedRecords{DB: db, MostRecords: 100, MostBytes: 10_000}
	var running sync.WaitGroup
	for s := range 8 {
		running.Go(func() {
			for i := range 10 {
				if _, err := r.Add(t.Context(), []ingest.Rejected{rejectedRecord(ann.Account, ann.Region, s*100+i, i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	got, err := r.List(t.Context(), ann.Account, "", 1000)
	if len(got) != 10 || err != nil {
		t.Errorf("%d records, %v", len(got), err)
	}
}
