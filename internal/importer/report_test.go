package importer_test

import (
	"encoding/csv"
	"errors"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sesame/internal/importer"
	"sesame/internal/importfile"
	"sesame/internal/jobs"
)

// checkReport checks what a job that has read its file says of it: valid and
// refused lines, the members that are new, and the list of refused lines.
func (w *world) checkReport(t interface {
	Helper()
	Fatalf(string, ...any)
}, job string, valid, failed, added int64) {
	t.Helper()
	j := w.job(job)
	if j.Lines != valid+failed || j.Added != added || j.Entries < j.Added || j.Imported < j.Entries {
		t.Fatalf("the report has %d lines, %d imported, %d entries, %d added; want %d valid lines, %d refused, %d added",
			j.Lines, j.Imported, j.Entries, j.Added, valid, failed, added)
	}
	content, err := w.Service.Refused(w.ctx, job)
	if failed == 0 {
		if !errors.Is(err, importer.ErrNotFound) || len(j.RefusedFor) > 0 {
			t.Fatalf("nothing was refused, and there is a list: %v, %v", err, j.RefusedFor)
		}
		return
	}
	if err != nil {
		t.Fatalf("the list of refused lines: %v", err)
	}
	defer content.Close()
	rows, err := csv.NewReader(content).ReadAll()
	if err != nil || len(rows) != int(failed)+1 {
		t.Fatalf("%d lines were refused, and the list has %d rows, %v", failed, len(rows), err)
	}
	counts := map[string]int64{}
	last := 0
	for _, row := range rows[1:] {
		line, err := strconv.Atoi(row[0])
		if err != nil || line < last || row[2] == "" || row[3] == "" {
			t.Fatalf("after line %d the list has %q", last, row)
		}
		last = line
		counts[row[2]]++
	}
	if diff := cmp.Diff(j.RefusedFor, counts); diff != "" {
		t.Fatalf("the counts by code (-said +listed):\n%s", diff)
	}
}

func TestReport(t *testing.T) {
	w := newWorld(t, importer.Config{})
	defer w.close()
	w.register("old@example.com")
	job := w.started(importfile.CSV, []byte("name,address\nA,new@example.com\nB,no domain\nC,OLD@example.com\n\nD\nE,new@example.com\nF,\"a\"\"b\"\n"))
	w.work(w.ctx)
	if j := w.job(job); j.Status != jobs.Completed || j.Imported != 3 || j.Failed != 3 || j.Entries != 2 || j.Added != 1 {
		t.Errorf("the job is %+v", j)
	}
	w.checkReport(t, job, 3, 3, 1)
	content, err := w.Service.Refused(w.ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	rows, err := csv.NewReader(content).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"line", "value", "code"}, {"3", "no domain", "domain_character"}, {"6", "D", "missing_column"}, {"8", `a"b`, "domain_character"}}
	for i := range rows {
		rows[i] = rows[i][:3]
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("the list of refused lines (-want +got):\n%s", diff)
	}
	// The list goes with its address list.
	objects, err := w.db.DeleteList(w.ctx, ann, w.list)
	if err != nil || len(objects) != 2 {
		t.Errorf("deleting the list gives the objects %v, %v", objects, err)
	}
}
