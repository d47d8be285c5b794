package tutela_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var quoted = regexp.MustCompile(`(?s)<!-- (examples/[a-z.]+) -->\n(.*?)\n<!-- end -->`)

// What a page quotes of a program is what stands in the program, which the suite runs.
func TestBook_PagesQuoteTheProgramsThatAreRun(t *testing.T) {
	var found [][]string
	for _, name := range []string{"docs/login-systems.md", "docs/webhooks.md", "docs/shared-signals.md"} {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, quoted.FindAllStringSubmatch(string(page), -1)...)
	}
	if len(found) != 10 {
		t.Errorf("the pages quote %d programs", len(found))
	}
	for _, quote := range found {
		program, err := os.ReadFile(filepath.Join("docs", quote[1]))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.ReplaceAll("\n"+strings.TrimRight(quote[2], "\n"), "\n    ", "\n")
		if !strings.Contains(string(program), strings.TrimSpace(lines)) {
			t.Errorf("%s does not hold what the page quotes of it:\n%s", quote[1], lines)
		}
	}
}
