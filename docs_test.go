package sesame

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sesame/internal/address"
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
