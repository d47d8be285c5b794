package tutela_test

import (
	"go/parser"
	"go/token"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// A citation of a page of ours is its name and, when it is of a part, the number or the words of a heading:
//
//	guardian-wire.md §4.4
//	app-api.md "Back up"
//
// Pages of docs/protocol and docs are cited by their name alone, all others by their path from the root.
var (
	citations    = regexp.MustCompile(`([a-zA-Z0-9_/.-]+\.md)(?: (§[0-9.]*[0-9](?:, §[0-9.]*[0-9])*)| "([^"]+)")?`)
	otherNames   = regexp.MustCompile(`Sources?: [^.]*(?:Guardian wire protocol|(?:app|login|management) API\b)`)
	citedFolders = []string{"docs/protocol", "docs", "docs/adr", "."}
)

func TestCitations_LeadToSectionsThatExist(t *testing.T) {
	seen := 0
	walkTree(t, func(name string) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		for line, comment := range commentsIn(t, name) {
			for _, cited := range citations.FindAllStringSubmatch(comment, -1) {
				seen++
				for _, section := range strings.Split(cited[2], ", ") {
					if why := citesNothing(t, cited[1], strings.TrimPrefix(section, "§"), cited[3]); why != "" {
						t.Errorf("%s:%d: %s: %s", name, line, cited[0], why)
					}
				}
			}
			if other := otherNames.FindString(comment); other != "" {
				t.Errorf("%s:%d: %q: cite the page by its name, as in guardian-wire.md §4.4 or app-api.md \"Back up\"", name, line, other)
			}
		}
	})
	if seen < 15 {
		t.Errorf("found only %d citations", seen)
	}
}

// commentsIn returns the comments of a Go file by the line in which they begin, each as one line of text.
func commentsIn(t *testing.T, name string) map[int]string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	comments := map[int]string{}
	for _, group := range file.Comments {
		comments[files.Position(group.Pos()).Line] = strings.Join(strings.Fields(group.Text()), " ")
	}
	return comments
}

// citesNothing says why a citation leads nowhere; "" when it leads somewhere.
func citesNothing(t *testing.T, name, section, words string) string {
	t.Helper()
	found := ""
	for _, folder := range citedFolders {
		if _, err := os.Stat(path.Join(folder, name)); err == nil {
			found = path.Join(folder, name)
			break
		}
	}
	if found == "" {
		return "there is no such page"
	}
	if section == "" && words == "" {
		return ""
	}
	for _, heading := range readPage(t, found).headings {
		number, text, _ := strings.Cut(heading, " ")
		if section != "" && strings.TrimSuffix(number, ".") == section || words != "" && (heading == words || text == words) {
			return ""
		}
	}
	return "there is no such section in " + found
}
