package tutela_test

import (
	"bytes"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// wordTypes are the types of words that the event log keeps for ever or that apps know, with the file that declares them.
// Nobody writes such a word as a string literal elsewhere: it would be a second spelling, which no reader of the list finds.
var wordTypes = map[string]string{
	"tutela/storage/audit.Type":  "storage/audit/audit.go",
	"tutela/storage/audit.Fact":  "storage/audit/fact.go",
	"tutela/storage/audit.Word":  "storage/audit/fact.go",
	"tutela/recovery.NoticeWord": "recovery/notice.go",
}

func TestWords_OfEventsAndNoticesAreDeclaredOnce(t *testing.T) {
	packages := listPackages(t)
	exports := map[string]string{}
	for _, p := range packages {
		exports[p.path] = p.export
	}
	files := token.NewFileSet()
	// The build's own export data: to type-check all that we import from source would take a minute.
	imports := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	found := 0
	for _, p := range packages {
		if !strings.HasPrefix(p.path, "tutela/") {
			continue
		}
		for _, literal := range wordLiterals(t, files, imports, p) {
			if wordTypes[literal.of] == literal.file {
				found++
				continue
			}
			t.Errorf("%s:%d: %s is a %s: declare it in %s", literal.file, literal.line, literal.text, literal.of, wordTypes[literal.of])
		}
	}
	if found < 80 {
		t.Errorf("only %d words are declared: the test does not see them", found)
	}
}

func TestWords_OneWrittenAgainIsFound(t *testing.T) {
	for body, want := range map[string]int{
		`var _ = Facts{"why": "spite"}`:                                 2,
		`func f(e Facts) { e[A] = "spite" }`:                            1,
		`func f(e Facts) bool { return e["why"] == A2 }`:                1,
		`func f() (bool, Word) { return true, "spite" }`:                1,
		`var _ = Word("spite")`:                                         1,
		`const spite Word = "spite"`:                                    1,
		`func f(s string) Facts { return Facts{A: Word(s + "spite")} }`: 0, // made from what is no list
		`var _ = Facts{A: A2}`:                                          0,
	} {
		source := "package p\ntype Fact string\ntype Word string\ntype Facts map[Fact]Word\nvar A Fact\nvar A2 Word\n" + body
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, "p.go", source, 0)
		if err != nil {
			t.Fatal(err)
		}
		info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
		if _, err := (&types.Config{}).Check("p", files, []*ast.File{parsed}, &info); err != nil {
			t.Fatal(err)
		}
		if got := literalsOf(files, parsed, info, map[string]string{"p.Fact": "", "p.Word": ""}); len(got) != want {
			t.Errorf("%s: found %v", body, got)
		}
	}
}

// listed is a package as go list tells it.
type listed struct {
	path, dir, export string
	files             []string // that are no tests
}

// listPackages are ours and all that they import.
func listPackages(t *testing.T) (all []listed) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}}|{{.Dir}}|{{.Export}}|{{join .GoFiles \" \"}}", "./...")
	var failed bytes.Buffer
	list.Stderr = &failed
	out, err := list.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, failed.String())
	}
	for line := range strings.Lines(string(out)) {
		part := strings.Split(strings.TrimSpace(line), "|")
		all = append(all, listed{part[0], part[1], part[2], strings.Fields(part[3])})
	}
	return all
}

// wordLiteral is a string literal that the compiler takes for a word.
type wordLiteral struct {
	file string // from the root
	line int
	text string
	of   string // type
}

// wordLiterals type-checks a package and returns its words that are written as literals.
func wordLiterals(t *testing.T, files *token.FileSet, imports types.Importer, p listed) (all []wordLiteral) {
	t.Helper()
	var parsed []*ast.File
	for _, name := range p.files {
		file, err := parser.ParseFile(files, filepath.Join(p.dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
	}
	info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	if _, err := (&types.Config{Importer: imports}).Check(p.path, files, parsed, &info); err != nil {
		t.Fatalf("%s: %v", p.path, err)
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range parsed {
		for _, literal := range literalsOf(files, file, info, wordTypes) {
			if literal.file, err = filepath.Rel(root, literal.file); err != nil {
				t.Fatal(err)
			}
			literal.file = filepath.ToSlash(literal.file)
			all = append(all, literal)
		}
	}
	return all
}

// literalsOf returns the string literals of a file that have one of the types.
func literalsOf(files *token.FileSet, file *ast.File, info types.Info, wanted map[string]string) (all []wordLiteral) {
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		of := info.Types[literal].Type
		if of == nil {
			return true
		}
		if _, ok := wanted[of.String()]; !ok {
			return true
		}
		text, _ := strconv.Unquote(literal.Value)
		if at := files.Position(literal.Pos()); text != "" {
			all = append(all, wordLiteral{at.Filename, at.Line, strconv.Quote(text), of.String()})
		}
		return true
	})
	return all
}
