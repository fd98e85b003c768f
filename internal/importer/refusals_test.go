package importer

import (
	"encoding/csv"
	"testing"
)

// A list of refused lines has an end, and says how many are not on it.
func TestMostListed(t *testing.T) {
	list := refusals{dir: t.TempDir(), counts: map[string]int64{}}
	defer list.close()
	for n := range int64(mostListed + 7) {
		if err := list.add(n+2, []byte("x"), "no_domain", "There is no domain."); err != nil {
			t.Fatal(err)
		}
	}
	content, err := list.content()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(content).ReadAll()
	if err != nil || len(rows) != 1+mostListed+1 {
		t.Fatalf("%d rows, error %v", len(rows), err)
	}
	if last := rows[mostListed]; last[0] != "1000001" || last[2] != "no_domain" {
		t.Errorf("the last line is listed as %q", last)
	}
	if more := rows[mostListed+1]; more[2] != "more" || more[3] != "7 more lines were refused and are not listed" {
		t.Errorf("the last row is %q", more)
	}
	if list.lines != mostListed+7 || list.counts["no_domain"] != mostListed+7 {
		t.Errorf("%d lines, counts %v", list.lines, list.counts)
	}
}
