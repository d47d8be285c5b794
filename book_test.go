package tutela_test

import (
	"flag"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// update has the tests of this package write anew what the docs hold of the code, instead of comparing it: make book.
var update = flag.Bool("update", false, "write what the docs hold of the code anew")

// page is one Markdown file of the tree.
type page struct {
	path     string // from the root, with slashes
	lines    []bookLine
	headings []string        // as they stand, without their marks
	anchors  map[string]bool // of the headings, as GitHub makes them
}

// bookLine is one line of a page. What stands in a code block is code, and no Markdown.
type bookLine struct {
	number int
	text   string
	code   bool
}

// readBook reads all Markdown files of the tree.
func readBook(t *testing.T) []*page {
	t.Helper()
	var pages []*page
	walkTree(t, func(name string) {
		if strings.HasSuffix(name, ".md") {
			pages = append(pages, readPage(t, name))
		}
	})
	if len(pages) < 5 {
		t.Fatalf("found only %d pages", len(pages))
	}
	return pages
}

// walkTree calls fn for every file of the tree, by its path from the root; what is built, kept or hidden is left out.
func walkTree(t *testing.T, fn func(name string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "data") {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			fn(filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func readPage(t *testing.T, name string) *page {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	p := &page{path: name, anchors: map[string]bool{}}
	fenced := false
	for i, text := range strings.Split(string(content), "\n") {
		fence := strings.HasPrefix(strings.TrimSpace(text), "```")
		l := bookLine{number: i + 1, text: text, code: fenced || fence || strings.HasPrefix(text, "    ")}
		fenced = fenced != fence
		p.lines = append(p.lines, l)
		if mark, heading, ok := strings.Cut(text, " "); ok && !l.code && mark != "" && strings.Trim(mark, "#") == "" {
			p.addHeading(heading)
		}
	}
	return p
}

// addHeading adds a heading with its anchor. The second of the same text ends in -1.
func (p *page) addHeading(heading string) {
	p.headings = append(p.headings, heading)
	anchor := anchorOf(heading)
	for n, free := 1, anchor; ; n++ {
		if !p.anchors[free] {
			p.anchors[free] = true
			return
		}
		free = anchor + "-" + string(rune('0'+n))
	}
}

var notInAnchors = regexp.MustCompile(`[^\p{L}\p{N}\-_ ]`)

// anchorOf is the anchor that GitHub gives a heading: lower case, without punctuation, with dashes for spaces.
func anchorOf(heading string) string {
	return strings.ReplaceAll(notInAnchors.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

var codeSpan = regexp.MustCompile("`[^`]+`")

// spans are the pieces of code on a line: all of it in a code block, else what stands between backquotes.
func (l bookLine) spans() []string {
	if l.code {
		return []string{strings.TrimSpace(l.text)}
	}
	var spans []string
	for _, span := range codeSpan.FindAllString(l.text, -1) {
		spans = append(spans, strings.Trim(span, "`"))
	}
	return spans
}

var links = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"`)

func TestBook_LinksLeadToWhatIsThere(t *testing.T) {
	pages := map[string]*page{}
	for _, p := range readBook(t) {
		pages[p.path] = p
	}
	seen := 0
	for _, p := range pages {
		for _, l := range p.lines {
			if l.code {
				continue
			}
			for _, found := range links.FindAllStringSubmatch(codeSpan.ReplaceAllString(l.text, ""), -1) {
				target := found[1] + found[2]
				if strings.Contains(target, "://") {
					continue
				}
				seen++
				if why := p.leadsNowhere(pages, target); why != "" {
					t.Errorf("%s:%d: %s: %s", p.path, l.number, target, why)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("found only %d links", seen)
	}
}

// leadsNowhere says why a link of the page leads nowhere; "" when it leads somewhere.
func (p *page) leadsNowhere(pages map[string]*page, target string) string {
	name, anchor, _ := strings.Cut(target, "#")
	to := p
	if name != "" {
		name = path.Join(path.Dir(p.path), name)
		if _, err := os.Stat(name); err != nil {
			return "there is no such file"
		}
		to = pages[name]
	}
	switch {
	case anchor == "":
		return ""
	case to == nil:
		return "an anchor in what is no page"
	case !to.anchors[anchor]:
		return "there is no such heading in " + to.path
	}
	return ""
}
