package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"tutela/storage/setting"
)

// bookCode is a piece of code in a page of the docs: a line of a block, or what stands between backquotes.
type bookCode struct {
	page  string
	line  int
	text  string
	block bool
}

var betweenTicks = regexp.MustCompile("`[^`]+`")

// readBookCode returns all code in the Markdown files of the tree. Lines of docs/protocol that are marked as not served
// yet are left out.
func readBookCode(t *testing.T) (found []bookCode) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := d.Name(); d.IsDir() && path != root && (strings.HasPrefix(base, ".") || base == "data") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".md") {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found = append(found, codeIn(path, string(content))...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func codeIn(page, content string) (found []bookCode) {
	fenced := false
	marked := false
	for i, text := range strings.Split(content, "\n") {
		if marked = marks(text, marked); marked {
			continue
		}
		switch {
		case strings.HasPrefix(text, "```"):
			fenced = !fenced
		case fenced || strings.HasPrefix(text, "    "):
			found = append(found, bookCode{page, i + 1, strings.TrimSpace(text), true})
		default:
			for _, span := range betweenTicks.FindAllString(text, -1) {
				found = append(found, bookCode{page, i + 1, strings.Trim(span, "`"), false})
			}
		}
	}
	return found
}

// notServedYet marks what docs/protocol specifies and the server does not serve.
const notServedYet = "○"

// marks reports whether a line says what is not served yet: it has the mark, or goes on with an item that has it
// (before).
func marks(text string, before bool) bool {
	if strings.Contains(text, notServedYet) {
		return true
	}
	starts := text == "" || strings.IndexAny(text, "-|#*") == 0
	return before && !starts
}

// calledInBook finds calls of the program: not its messages, which say "tutela:", nor addresses.
var calledInBook = regexp.MustCompile(`(?:^|[ "(/` + "`" + `])tutela((?: +[a-z][a-z-]*)+)([^|#&;,)` + "`" + `]*)`)

// isSpokenOf reports whether words follow the program's name where it is no call: in what it prints, and where a user
// of the machine has its name.
func isSpokenOf(words string) bool {
	words = strings.TrimSpace(words)
	for _, spoken := range []string{"serves on", "begins a new installation", "tutela "} {
		if strings.HasPrefix(words, spoken) {
			return true
		}
	}
	return false
}

var flagInBook = regexp.MustCompile(`(?:^| )--([a-z][a-z-]+)`)

func TestBook_CommandsAndFlagsThatAreNamedExist(t *testing.T) {
	parser, err := newParser(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, code := range readBookCode(t) {
		for _, call := range calledInBook.FindAllStringSubmatch(code.text, -1) {
			node, more := commandNamed(parser.Model.Node, strings.Fields(call[1]))
			if node == parser.Model.Node {
				if !isSpokenOf(call[1]) {
					t.Errorf("%s:%d: there is no command tutela%s", code.page, code.line, call[1])
				}
				continue
			}
			calls++
			if node.DefaultCmd != nil && !more {
				node = node.DefaultCmd // whose name may be left out
			}
			if len(node.Children) > 0 && more {
				t.Errorf("%s:%d: tutela%s: no such command; there are those below %s", code.page, code.line, call[1], node.Path())
			}
			for _, flag := range flagInBook.FindAllStringSubmatch(call[2], -1) {
				if !slices.Contains(flagsOf(node), flag[1]) {
					t.Errorf("%s:%d: %s has no flag --%s", code.page, code.line, node.Path(), flag[1])
				}
			}
		}
	}
	if calls < 70 {
		t.Errorf("found only %d calls", calls)
	}
}

// commandNamed follows the words from a command to the one below that they name. more reports whether words are left,
// which are then arguments.
func commandNamed(node *kong.Node, words []string) (named *kong.Node, more bool) {
	for _, word := range words {
		at := slices.IndexFunc(node.Children, func(child *kong.Node) bool { return child.Name == word })
		if at < 0 {
			return node, true
		}
		node = node.Children[at]
	}
	return node, false
}

// flagsOf returns the names of the flags that a command takes, including those of the commands above it.
func flagsOf(node *kong.Node) (names []string) {
	for _, group := range node.AllFlags(false) {
		for _, flag := range group {
			names = append(names, flag.Name)
		}
	}
	return names
}

// everyCommand calls fn for a command and all below it.
func everyCommand(node *kong.Node, fn func(*kong.Node)) {
	fn(node)
	for _, child := range node.Children {
		everyCommand(child, fn)
	}
}

// A flag that stands alone between backquotes, with or without a value, is one of ours.
func TestBook_FlagsThatAreSpokenOfExist(t *testing.T) {
	parser, err := newParser(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	everyCommand(parser.Model.Node, func(node *kong.Node) {
		for _, flag := range flagsOf(node) {
			known[flag] = true
		}
	})
	seen := 0
	for _, code := range readBookCode(t) {
		if code.block || !strings.HasPrefix(code.text, "--") {
			continue
		}
		name := flagInBook.FindStringSubmatch(code.text)
		if name == nil {
			continue
		}
		if seen++; !known[name[1]] {
			t.Errorf("%s:%d: no command has the flag --%s", code.page, code.line, name[1])
		}
	}
	if seen < 10 {
		t.Errorf("found only %d flags", seen)
	}
}

var readFromEnvironment = regexp.MustCompile(`"(TUTELA_[A-Z_]+)"`)

// readVariables returns the environment variables that the source reads by itself: the master key, which no command
// line may show, and those of tests and benchmarks.
func readVariables(t *testing.T) (names []string) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, found := range readFromEnvironment.FindAllStringSubmatch(string(content), -1) {
			names = append(names, found[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestBook_VariablesOfTheEnvironmentThatAreNamedExist(t *testing.T) {
	parser, err := newParser(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := readVariables(t)
	everyCommand(parser.Model.Node, func(node *kong.Node) {
		for _, flag := range node.Flags {
			known = append(known, flag.Envs...)
		}
	})
	variable := regexp.MustCompile(`\bTUTELA_[A-Z_]*[A-Z]\b`)
	seen := 0
	for _, code := range readBookCode(t) {
		for _, name := range variable.FindAllString(code.text, -1) {
			if seen++; !slices.Contains(known, name) {
				t.Errorf("%s:%d: nothing reads the variable %s", code.page, code.line, name)
			}
		}
	}
	if seen < 5 {
		t.Errorf("found only %d variables", seen)
	}
}

var (
	callInBook  = regexp.MustCompile("`(GET|POST|PUT|PATCH|DELETE) (/[^`? ]+)")
	pathsOfAPIs = regexp.MustCompile(`^/(api/|rich-consents/|bc-authorize|oauth/|mfa/(start|requests|challenge$|associate|authenticators)|\.well-known/)`)
	pathPart    = regexp.MustCompile(`:\w+|\{\w+\}`)
)

func TestBook_CallsOfTheAPIsAreServedUnlessMarked(t *testing.T) {
	served := map[string]bool{}
	for _, r := range mount(t).routes() {
		if pathsOfAPIs.MatchString(r.path) {
			served[r.method+" "+pathPart.ReplaceAllString(r.path, "{}")] = true
		}
	}
	specified := map[string]bool{}
	for _, page := range []string{"app-api.md", "login-api.md", "management-api.md"} {
		content, err := os.ReadFile(filepath.Join("..", "..", "docs", "protocol", page))
		if err != nil {
			t.Fatal(err)
		}
		marked := false
		for i, text := range strings.Split(string(content), "\n") {
			marked = marks(text, marked)
			for _, found := range callInBook.FindAllStringSubmatch(text, -1) {
				call := found[1] + " " + pathPart.ReplaceAllString(found[2], "{}")
				specified[call] = specified[call] || !marked
				if marked && served[call] && strings.HasPrefix(text, "| "+notServedYet) {
					t.Errorf("%s:%d: %s is served: take the mark away", page, i+1, call)
				}
				if !marked && !served[call] {
					t.Errorf("%s:%d: %s is not served: mark it with %s", page, i+1, call, notServedYet)
				}
			}
		}
	}
	for call := range served {
		if !specified[call] {
			t.Errorf("docs/protocol does not specify %s", call)
		}
	}
	if len(specified) < 50 {
		t.Errorf("found only %d calls", len(specified))
	}
}

// What looks like a policy, by the word before its dot, is one.
func TestBook_PoliciesThatAreNamedExist(t *testing.T) {
	m := mount(t)
	infos, err := m.house.access.Policies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := func(name string) bool {
		return slices.ContainsFunc(infos, func(info setting.Info) bool { return info.Name == name })
	}
	var families []string
	for _, info := range infos {
		family, _, _ := strings.Cut(info.Name, ".")
		families = append(families, family)
	}
	policy := regexp.MustCompile(`^([a-z]+)\.([a-z_]+)(?: |$)`)
	seen := 0
	for _, code := range readBookCode(t) {
		found := policy.FindStringSubmatch(strings.TrimPrefix(code.text, "tutela policy set "))
		if len(found) == 0 || !slices.Contains(families, found[1]) || found[2] == "go" || found[2] == "md" {
			continue
		}
		if name := found[1] + "." + found[2]; !known(name) {
			t.Errorf("%s:%d: there is no policy %s", code.page, code.line, name)
		}
		seen++
	}
	if seen < 10 {
		t.Errorf("found only %d policies", seen)
	}
}

func TestBook_EveryPolicyIsExplainedToOperators(t *testing.T) {
	infos, err := mount(t).house.access.Policies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, code := range readBookCode(t) {
		if strings.HasSuffix(code.page, "operating.md") {
			name, _, _ := strings.Cut(code.text, " ")
			named[name] = true
		}
	}
	for _, info := range infos {
		if !named[info.Name] {
			t.Errorf("docs/operating.md does not explain the policy %s", info.Name)
		}
	}
}

func TestBook_EveryCommandIsShownToOperators(t *testing.T) {
	parser, err := newParser(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shown := map[*kong.Node]bool{}
	for _, code := range readBookCode(t) {
		for _, call := range calledInBook.FindAllStringSubmatch(code.text, -1) {
			node, _ := commandNamed(parser.Model.Node, strings.Fields(call[1]))
			shown[node] = true
		}
	}
	everyCommand(parser.Model.Node, func(node *kong.Node) {
		if len(node.Children) == 0 && !node.Hidden && !shown[node] {
			t.Errorf("no page shows %s", node.Path())
		}
	})
}
