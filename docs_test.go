package sesame

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sesame/internal/address"
	"sesame/internal/exporter"
	"sesame/internal/importfile"
)

// docs/imports.md lists every reason for which a line can fail, in its words.
func TestReasonsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/imports.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, c := range importfile.Codes() {
		fmt.Fprintf(&want, "| `%s` | %s |\n", string(c), c.Error())
	}
	for _, r := range address.Reasons() {
		fmt.Fprintf(&want, "| `%s` | %s |\n", r.Code(), r.Error())
	}
	for line := range strings.Lines(want.String()) {
		if !strings.Contains(string(text), line) {
			t.Errorf("docs/imports.md lacks the line\n%s", line)
		}
	}
	if t.Failed() {
		t.Logf("the whole table:\n%s", want.String())
	}
}

// docs/exports.md lists every column that an export can have.
func TestColumnsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/exports.md")
	if err != nil {
		t.Fatal(err)
	}
	unknown := &exporter.Mail{Columns: []string{"unknown"}}
	for _, order := range []exporter.Order{{Insights: unknown}, {Events: unknown}} {
		// The refusal names them all.
		_, all, _ := strings.Cut(order.Check().Error(), "there are ")
		all, _, ok := strings.Cut(all, ", and tag:NAME")
		if !ok {
			t.Fatalf("it is refused with %v", order.Check())
		}
		for name := range strings.SplitSeq(all, ", ") {
			if !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("docs/exports.md lacks the column %s of %s", name, order.Source())
			}
		}
	}
}
