package page

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template/parse"
)

// packages are the folders of all packages of pages, this one's parts among them.
func packages(t *testing.T) map[string]fs.FS {
	t.Helper()
	found := map[string]fs.FS{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "pages" && filepath.Base(filepath.Dir(path)) != "testdata" {
			found[filepath.Dir(path)] = os.DirFS(filepath.Dir(path))
		}
		return err
	})
	if err != nil || len(found) < 2 {
		t.Fatalf("found %d packages of pages: %v", len(found), err)
	}
	return found
}

// eachTemplate calls fn for the tree of each template that there is.
func eachTemplate(t *testing.T, fn func(name string, tree *parse.Tree, all map[string]*parse.Tree)) {
	t.Helper()
	for folder, files := range packages(t) {
		all := map[string]*parse.Tree{}
		for _, one := range Templates(files).Templates() {
			if one.Tree != nil { // the one that holds the others has none
				all[one.Name()] = one.Tree
			}
		}
		for name, tree := range all {
			fn(filepath.Base(folder)+"/"+name, tree, all)
		}
	}
}

// A template that is called without a value sees nothing, and shows what it shows of nothing: no error tells of it.
func TestTemplates_EachPartThatShowsAValueIsGivenOne(t *testing.T) {
	eachTemplate(t, func(name string, tree *parse.Tree, all map[string]*parse.Tree) {
		walk(tree.Root, func(n parse.Node) {
			call, is := n.(*parse.TemplateNode)
			if !is || call.Pipe != nil {
				return
			}
			walk(all[call.Name].Root, func(n parse.Node) {
				if _, shows := n.(*parse.ActionNode); shows {
					t.Errorf("%s: %s shows a value, and is given none", name, call)
				}
				if _, asks := n.(*parse.IfNode); asks {
					t.Errorf("%s: %s asks for a value, and is given none", name, call)
				}
			})
		})
	})
}

var (
	markup    = regexp.MustCompile(`(?s)<svg.*?</svg>|<code.*?</code>|<[^>]*>|&[a-z]+;`)
	attribute = regexp.MustCompile(`(?:aria-label|alt|title|placeholder|content|value)="([^"{]*[A-Za-z]{3}[^"{]*)"`)
	letters   = regexp.MustCompile(`[A-Za-zÄÖÜäöüß]{2,}`)
	notTexts  = []string{"tutela", "width=device-width, initial-scale=1", "light dark", "noindex, nofollow"}
)

// Every text that people read is in the catalogue, in every language.
func TestTemplates_HaveNoTextOfTheirOwn(t *testing.T) {
	for folder, files := range packages(t) {
		names, err := fs.Glob(files, "pages/*.html")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			content, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			findTexts(t, folder+"/"+name, string(content))
		}
	}
	names, _ := parts.ReadDir("parts")
	for _, entry := range names {
		content, _ := parts.ReadFile("parts/" + entry.Name())
		findTexts(t, entry.Name(), string(content))
	}
}

var actions = regexp.MustCompile(`(?s){{.*?}}`)

func findTexts(t *testing.T, name, content string) {
	t.Helper()
	content = actions.ReplaceAllString(content, "{}")
	for _, found := range attribute.FindAllStringSubmatch(content, -1) {
		if !slices.Contains(notTexts, found[1]) && strings.Contains(found[0], " ") {
			t.Errorf("%s has the text %q: put it into the catalogue", name, found[0])
		}
	}
	for line := range strings.Lines(markup.ReplaceAllString(content, " ")) {
		for _, word := range letters.FindAllString(line, -1) {
			if !slices.Contains(notTexts, word) {
				t.Errorf("%s has the text %q: put it into the catalogue", name, strings.TrimSpace(line))
				break
			}
		}
	}
}

var (
	keyInTemplate = regexp.MustCompile(`\.(?:T|H) "([a-z0-9_.]+)"`)
	keyInGo       = regexp.MustCompile(`\.(?:T|H)\("([a-z0-9_.]+)"`)
)

// Every key that a page asks for is in the catalogue.
func TestCatalogue_HasEachKeyThatPagesAskFor(t *testing.T) {
	english, err := load("en")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		in := keyInTemplate
		switch filepath.Ext(path) {
		case ".go":
			in = keyInGo
		case ".html":
		default:
			return err
		}
		content, err := os.ReadFile(path)
		for _, found := range in.FindAllStringSubmatch(string(content), -1) {
			asked++
			if _, known := english[found[1]]; !known && !strings.HasSuffix(found[1], ".") {
				t.Errorf("%s asks for %q, which is in no catalogue", path, found[1])
			}
		}
		return err
	})
	if err != nil || asked < 50 {
		t.Errorf("%d keys, %v", asked, err)
	}
}

var verbs = regexp.MustCompile(`%\[\d+\]\w|%%|%`)

// allowed is the markup that a text of the catalogue may have.
var allowed = regexp.MustCompile(`</?(?:strong|b|em|small|time)>|<wbr>|<br>|<a href="[^"<>]*">|</a>|<code>|</code>`)

// Every language has every key, with the same verbs, and markup that is harmless.
func TestCatalogue_EachLanguageHasEveryKey(t *testing.T) {
	english, err := load("en")
	if err != nil {
		t.Fatal(err)
	}
	for _, lang := range []string{"en", "de"} {
		other, err := load(lang)
		if err != nil {
			t.Fatal(err)
		}
		for key, e := range english {
			o, known := other[key]
			if !known || o.text == "" {
				t.Errorf("%s lacks %q", lang, key)
				continue
			}
			if want := used(e.text); !slices.Equal(used(o.text), want) {
				t.Errorf("%s: %q has the verbs %q, not %q", lang, key, used(o.text), want)
			}
			if rest := allowed.ReplaceAllString(o.text, ""); strings.ContainsAny(rest, "<>") {
				t.Errorf("%s: %q has markup: %s", lang, key, o.text)
			}
		}
		for key := range other {
			if _, known := english[key]; !known {
				t.Errorf("%s has %q, which English lacks", lang, key)
			}
		}
	}
}

// used are the verbs of a text, sorted and once each.
func used(text string) []string {
	all := verbs.FindAllString(text, -1)
	slices.Sort(all)
	return slices.Compact(all)
}

// A form that posts carries the token of its browser.
func TestTemplates_EachPostedFormHasItsToken(t *testing.T) {
	post := regexp.MustCompile(`(?s)<form[^>]*method="post".*?</form>`)
	check := func(name, content string) {
		for _, form := range post.FindAllString(content, -1) {
			if !strings.Contains(form, ".Form}}") {
				t.Errorf("%s has a form without {{.Form}}: %.80s", name, form)
			}
		}
	}
	for folder, files := range packages(t) {
		names, _ := fs.Glob(files, "pages/*.html")
		for _, name := range names {
			content, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			check(folder+"/"+name, string(content))
		}
	}
	names, _ := parts.ReadDir("parts")
	for _, entry := range names {
		content, _ := parts.ReadFile("parts/" + entry.Name())
		check(entry.Name(), string(content))
	}
}

// walk calls fn for a node and all below it.
func walk(n parse.Node, fn func(parse.Node)) {
	fn(n)
	var branch *parse.BranchNode
	switch n := n.(type) {
	case *parse.ListNode:
		for _, below := range n.Nodes {
			walk(below, fn)
		}
	case *parse.IfNode:
		branch = &n.BranchNode
	case *parse.RangeNode:
		branch = &n.BranchNode
	case *parse.WithNode:
		branch = &n.BranchNode
	}
	if branch == nil {
		return
	}
	walk(branch.List, fn)
	if branch.ElseList != nil {
		walk(branch.ElseList, fn)
	}
}
