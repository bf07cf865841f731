package sanitize

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/sanitize/rules"
)

// The documentation's worked example comes to what it says, and its table has every fact as it is.
func TestRulesOfTheDocumentation(t *testing.T) {
	data, err := os.ReadFile("../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	blocks := strings.Split(text, "```yaml\n")
	if len(blocks) != 3 {
		t.Fatalf("%d examples", len(blocks)-1)
	}
	file, _, _ := strings.Cut(blocks[2], "```")
	tried, err := TryExamples(t.Context(), []byte(file))
	if err != nil || len(tried) < 8 {
		t.Fatalf("%d examples, %v", len(tried), err)
	}
	for _, x := range tried {
		if !x.OK {
			t.Errorf("line %d: %s: expected %s, got %s %v", x.Line, x.Name, x.Expect, x.Got, x.By)
		}
	}
	for _, f := range rules.Fields() {
		name, about := f.Name, f.About
		if f.Object != "" {
			name = f.Object + "." + f.Name
		}
		if len(f.Words) > 0 {
			about += ": `" + strings.Join(f.Words, "`, `") + "`"
		}
		if line := fmt.Sprintf("| `%s` | %s | %s |\n", name, f.Type, about); !strings.Contains(text, line) {
			t.Errorf("not in docs/policies.md: %s", line)
		}
	}
}
