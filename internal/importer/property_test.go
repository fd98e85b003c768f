package importer_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sesame/internal/address"
	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
	"sesame/internal/lists"
)

// model is a list's members by key, kept as plainly as can be.
type model map[string]member

// add makes an entry a member.
func (m model) add(e address.Entry) {
	if _, there := m[string(e.Key)]; !there {
		m[string(e.Key)] = member{Address: string(e.Shown)}
	}
}

// store puts the list on a file with these members.
func (m model) store(w *world) {
	w.t.Helper()
	keys := slices.Sorted(maps.Keys(m))
	w.rebuild(func() (lists.Entry, error) {
		if len(keys) == 0 {
			return lists.Entry{}, io.EOF
		}
		e := lists.Entry{Key: []byte(keys[0]), Shown: []byte(m[keys[0]].Address)}
		if string(e.Shown) == keys[0] {
			e.Shown = nil
		}
		keys = keys[1:]
		return e, nil
	})
}

func entryOf(t testing.TB, text string) address.Entry {
	t.Helper()
	e, err := address.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// apply gives the members after an import.
func (m model) apply(mode lists.Mode, entries []address.Entry) (after model, p importer.Progress) {
	after = maps.Clone(m)
	if mode == lists.Replace {
		clear(after)
	}
	different := map[string]bool{}
	for _, e := range entries {
		key := string(e.Key)
		was, old := m[key]
		switch _, there := after[key]; {
		case mode == lists.Remove:
			delete(after, key)
		case there:
		case old:
			after[key] = was
		default:
			after[key] = member{string(e.Shown), true}
		}
		different[key] = true
	}
	p.Entries = int64(len(different))
	for key := range after {
		if _, there := m[key]; !there {
			p.Added++
		}
	}
	for key := range m {
		if _, there := after[key]; !there {
			p.Removed++
		}
	}
	return after, p
}

func (m model) members() []member {
	all := []member{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, m[key])
	}
	return all
}

// Whatever the file and the mode, an import comes to what plain Go comes to that
// holds it all in memory; one that does not fit changes nothing and says by how
// much; and a dry run says the same and changes nothing either.
func TestImportsAsTheModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	defer w.close()
	imports, spilled := 0, 0
	w.store.publish = func(do func() error) error {
		imports++
		// What is spilled is there until the list has moved.
		if runs, _ := filepath.Glob(filepath.Join(w.Config.SpillDir, "*", "run-*.tmp")); len(runs) > 0 {
			if info, err := os.Stat(runs[0]); err == nil && info.Size() > 0 {
				spilled++
			}
		}
		return do()
	}
	rapid.Check(t, func(r *rapid.T) {
		w.newList()
		defer w.Lists.Delete(w.ctx, ann, w.list) // also when the check fails
		w.Lists.Limits.Members = 1_000_000
		w.now = before
		had := model{}
		if n := rapid.SampledFrom([]int{0, 5, 30}).Draw(r, "members in the file"); n > 0 {
			for range n {
				had.add(entryOf(t, entries.Draw(r, "member")))
			}
			had.store(w)
		}
		for range rapid.IntRange(0, 5).Draw(r, "changes") {
			entry := entries.Draw(r, "changed")
			if rapid.Bool().Draw(r, "deregistered") {
				w.must(w.Lists.Deregister(w.ctx, ann, w.list, entry))
				delete(had, string(entryOf(t, entry).Key))
			} else {
				w.register(entry)
				had.add(entryOf(t, entry))
			}
		}
		same(t, "the members before", w.members(), had.members())

		d := newDrawn(r)
		order := importer.Order{
			Format: importfile.JSON, DryRun: rapid.IntRange(0, 2).Draw(r, "dry run") == 0,
			Mode: rapid.SampledFrom([]lists.Mode{lists.Append, lists.Append, lists.Replace, lists.Remove}).Draw(r, "mode"),
		}
		switch d.oneOf("format", "CSV", "document", "lines") {
		case "CSV":
			order.Format = importfile.CSV
			d.csv()
		case "document":
			d.document()
		case "lines":
			d.jsonLines()
		}
		file := d.packed(d.encoded())

		after, p := had.apply(order.Mode, d.entries)
		p.Read, p.Lines = true, int64(len(d.entries)+len(d.refused))
		for _, bad := range d.refused {
			if p.Invalid == nil {
				p.Invalid = map[string]int64{}
			}
			p.Invalid[bad.Code]++
		}
		want := outcome{Status: jobs.Completed, Members: after.members()}
		total := int64(len(after))
		limit := max(total+rapid.Int64Range(-3, 10).Draw(r, "room"), 1)
		if total > limit && total > int64(len(had)) {
			p.Over = total - limit
			want.Status = jobs.Failed
			want.Error = fmt.Sprintf("The file would bring the list to %d members, %d more than the %d that it may hold. Nothing was imported.", total, p.Over, limit)
		} else {
			p.Imported, p.Members = int64(len(d.entries)), total
		}
		if want.Status == jobs.Failed || order.DryRun {
			want.Members = had.members()
		}
		want.Progress = p

		w.Lists.Limits.Members = limit
		read := rapid.SampledFrom([]func(io.Reader) io.Reader{nil, iotest.HalfReader, iotest.DataErrReader, oneByte}).Draw(r, "reads")
		w.Objects = &troubled{Objects: w.objects, open: func(_ int, key string) (io.ReadCloser, error) {
			file, err := w.objects.Open(w.ctx, key)
			if err != nil || read == nil {
				return file, err
			}
			return struct {
				io.Reader
				io.Closer
			}{read(file), file}, nil
		}}
		job := w.ordered(order, file)
		w.work(w.ctx)
		if diff := cmp.Diff(want, w.outcome(job)); diff != "" {
			r.Fatalf("the import (-model +Sesame):\n%s\nof the %s file\n%q", head(diff), order.Format, head(d.text.String()))
		}
		w.checkPhases(r, job, len(file), had.merged(d.entries))
		w.checkRefused(r, job, d.refused)
		if left := len(w.uploaded()); (left == 0) != (want.Status == jobs.Completed) {
			r.Fatalf("the job is %s and %d uploads are left", want.Status, left)
		}

		// With its list goes all that a job has left.
		w.must(w.Lists.Delete(w.ctx, ann, w.list))
		w.must(w.objects.Each(w.ctx, func(key string, _ time.Time) error { return fmt.Errorf("%s is left", key) }))
		w.nothingIsLeft()
		if t.Failed() {
			r.Fatal("see above")
		}
	})
	t.Logf("%d of %d imports that came to an end spilled", spilled, imports)
	if (spilled < imports/10 || spilled == imports) && !t.Failed() {
		t.Errorf("%d of %d files were larger than the memory", spilled, imports)
	}
}

// merged is how many different keys the members and entries have.
func (m model) merged(entries []address.Entry) int64 {
	all := maps.Clone(m)
	for _, e := range entries {
		all[string(e.Key)] = member{}
	}
	return int64(len(all))
}

func oneByte(r io.Reader) io.Reader { return iotest.OneByteReader(bufio.NewReader(r)) }
