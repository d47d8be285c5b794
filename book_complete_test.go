package tutela_test

import (
	"go/ast"
	"go/parser"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"tutela/recovery"
)

// documented are the words that whoever runs or calls tutela meets: the constants of a type, and the page that explains
// each.
var documented = []struct{ pkg, typ, page string }{
	{"storage/audit", "Type", "docs/operating.md"},
	{"recovery", "NoticeWord", "docs/protocol/app-api.md"},
	{"storage", "Code", "docs/design.md"},
	{"device", "Type", "docs/design.md"},
	{"backup/restore", "Step", "docs/protocol/app-api.md"},
	{"backup/restore", "Reason", "docs/protocol/app-api.md"},
}

func TestBook_EveryWordThatPeopleMeetIsExplained(t *testing.T) {
	files := readTree(t, parser.SkipObjectResolution)
	for _, d := range documented {
		content, err := os.ReadFile(d.page)
		if err != nil {
			t.Fatal(err)
		}
		words := constantsOf(files, d.pkg, d.typ)
		if len(words) < 4 {
			t.Errorf("package %s: found only %d constants of type %s", d.pkg, len(words), d.typ)
		}
		for name, value := range words {
			if !strings.Contains(string(content), value) && !strings.Contains(string(content), name) {
				t.Errorf("%s does not explain %s (%q)", d.page, name, value)
			}
		}
	}
}

func TestBook_EveryNoticeHasATextForAppsThatDoNotKnowItsWord(t *testing.T) {
	for name, word := range constantsOf(readTree(t, parser.SkipObjectResolution), "recovery", "NoticeWord") {
		if text := recovery.NoticeWord(word).Text(); text == "" || utf8.RuneCountInString(text) > 120 {
			t.Errorf("the text of %s has %d characters, and may have 1 to 120: %q", name, utf8.RuneCountInString(text), text)
		}
	}
}

// constantsOf are the constants of a type of text that a package declares, by their names with the package's: their values.
func constantsOf(files []goFile, pkg, typ string) map[string]string {
	values := map[string]string{}
	for _, f := range files {
		if f.pkg != pkg {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if of, ok := spec.Type.(*ast.Ident); ok && of.Name == typ {
				for i, value := range spec.Values {
					values[f.ast.Name.Name+"."+spec.Names[i].Name] = textOf(value)
				}
			}
			return true
		})
	}
	return values
}
