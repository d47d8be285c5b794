// Package tutela_test holds the rules of the tree: which package may import which, and who runs transactions.
package tutela_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// floors are the packages from the ground up. A package may import those of lower floors, and no other. A name that
// ends in /* stands for all packages below it that are not named themselves.
var floors = [][]string{
	{"storage/meter"},
	{"storage", "storage/bolt/boltfile", "storage/legible"},
	{"storage/*"},
	{"storage/setting/brand"},
	{"storage/storagetest", "storage/storagetest/pgtest"},
	{"storage/storagetest/ground", "storage/storagetest/pgtest/with"},
	{"recovery/user"},
	{"recovery/ways"},
	{"recovery"},
	{"device/push", "device/otp"},
	{"device/push/wire"},
	{"device"},
	{"device/passkey"},
	{"device/*", "recovery/signal", "recovery/webhook"},
	{"device/push/provider"},
	{"backup"},
	{"backup/restore"},
	{"recovery/admin", "device/own"},
	{"recovery/admin/signin"},
	{"device/devicetest"},
	{"server"},
	{"server/access"},
	{"server/openapitest"},
	{"server/servertest"},
	{"server/web/page"},
	{"server/web/webtest"},
	{"server/*"},
	{"server/web"},
	{"device/phone"}, // a foreign client: see TestFloors_ThePhoneSharesNoCode
	{"cmd/*"},
}

// goFile is one Go file of the tree that is no test.
type goFile struct {
	pkg  string // folder, from the root
	path string
	ast  *ast.File
}

// readTree parses the tree's Go files, tests left out: a test may bring the engine or the neighbour that it needs.
func readTree(t *testing.T, mode parser.Mode) []goFile {
	t.Helper()
	var files []goFile
	for _, name := range goFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, mode)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, goFile{path.Dir(filepath.ToSlash(name)), name, parsed})
	}
	return files
}

// goFiles lists the Go files of the tree, tests too.
func goFiles(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch base := filepath.Base(name); {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "data"):
			return filepath.SkipDir
		case strings.HasSuffix(name, ".go"):
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// imports are the packages of this module that the file imports, as folders from the root.
func (f goFile) imports(t *testing.T) []string {
	t.Helper()
	var ours []string
	for _, spec := range f.ast.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if folder, ok := strings.CutPrefix(name, "tutela/"); ok {
			ours = append(ours, folder)
		}
	}
	return ours
}

// forTests reports whether only tests stand on a package: it is named for what it tests, or lies below one that is.
func forTests(pkg string) bool {
	for _, name := range strings.Split(pkg, "/") {
		if strings.HasSuffix(name, "test") {
			return true
		}
	}
	return false
}

// floorOf is where a package lives; ok is false when no floor has it.
func floorOf(pkg string) (floor int, ok bool) {
	for i, names := range floors {
		for _, name := range names {
			if name == pkg {
				return i, true
			}
		}
	}
	for i, names := range floors {
		for _, name := range names {
			if below, all := strings.CutSuffix(name, "*"); all && strings.HasPrefix(pkg, below) {
				return i, true
			}
		}
	}
	return 0, false
}

func TestFloors_ImportsPointOneWayOnly(t *testing.T) {
	for _, f := range readTree(t, parser.ImportsOnly) {
		floor, ok := floorOf(f.pkg)
		if !ok {
			t.Errorf("%s: there is no floor for %s", f.path, f.pkg)
			continue
		}
		for _, imported := range f.imports(t) {
			below, ok := floorOf(imported)
			if !ok || below >= floor {
				t.Errorf("%s: %s must not import %s", f.path, f.pkg, imported)
			}
		}
	}
}

func TestFloors_OnlyCommandsImportTheServer(t *testing.T) {
	isServer := func(pkg string) bool { return pkg == "server" || strings.HasPrefix(pkg, "server/") }
	for _, f := range readTree(t, parser.ImportsOnly) {
		for _, imported := range f.imports(t) {
			if isServer(imported) && !isServer(f.pkg) && !strings.HasPrefix(f.pkg, "cmd/") {
				t.Errorf("%s: %s imports %s", f.path, f.pkg, imported)
			}
		}
	}
}

func TestFloors_TheFoundationOfHTTPKnowsNoDomain(t *testing.T) {
	for _, f := range readTree(t, parser.ImportsOnly) {
		for _, imported := range f.imports(t) {
			if f.pkg == "server" && imported != "storage" && imported != "storage/meter" {
				t.Errorf("%s imports %s", f.path, imported)
			}
		}
	}
}

func TestFloors_ThePhoneSharesNoCode(t *testing.T) {
	for _, f := range readTree(t, parser.ImportsOnly) {
		for _, imported := range f.imports(t) {
			if f.pkg == "device/phone" {
				t.Errorf("%s imports %s", f.path, imported)
			}
			if imported == "device/phone" && !strings.HasPrefix(f.pkg, "cmd/") {
				t.Errorf("%s: %s imports the phone", f.path, f.pkg)
			}
		}
	}
}

// A transaction is a closure over a *storage.Tx: who names that type, or hands a closure to Update or View, runs one.
func TestFloors_InTheServerOnlyAccessRunsTransactions(t *testing.T) {
	for _, f := range readTree(t, parser.SkipObjectResolution) {
		if f.pkg == "server/access" || forTests(f.pkg) || f.pkg != "server" && !strings.HasPrefix(f.pkg, "server/") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if of, ok := n.X.(*ast.Ident); ok && of.Name == "storage" && n.Sel.Name == "Tx" {
					t.Errorf("%s names storage.Tx", f.path)
				}
			case *ast.CallExpr:
				called, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || called.Sel.Name != "Update" && called.Sel.Name != "View" || len(n.Args) == 0 {
					break
				}
				if _, closure := n.Args[len(n.Args)-1].(*ast.FuncLit); closure {
					t.Errorf("%s runs a transaction by %s", f.path, called.Sel.Name)
				}
			}
			return true
		})
	}
}
