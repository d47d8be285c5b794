package tutela_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var testNames = regexp.MustCompile(`\b((?:Test|Benchmark|Fuzz)[A-Z0-9][A-Za-z0-9]*(?:_[A-Za-z0-9_]*)?)(…)?`)

func TestBook_TestsThatAreNamedExist(t *testing.T) {
	known := namesOfTests(t)
	each(t, 50, func(p *page, l bookLine, span string) (seen int) {
		if strings.HasPrefix(span, "func ") {
			return 0 // an example, which declares one
		}
		for _, found := range testNames.FindAllStringSubmatch(span, -1) {
			name := found[1]
			isPrefix := found[2] != ""
			seen++
			if !slices.ContainsFunc(known, func(k string) bool { return k == name || isPrefix && strings.HasPrefix(k, name) }) {
				t.Errorf("%s:%d: there is no %s", p.path, l.number, name)
			}
		}
		return seen
	})
}

// each calls check for every piece of code in the book. check returns how many names it looked at; fewer than least in
// all means that it looks at the wrong thing.
func each(t *testing.T, least int, check func(p *page, l bookLine, span string) int) {
	t.Helper()
	seen := 0
	for _, p := range readBook(t) {
		for _, l := range p.lines {
			for _, span := range l.spans() {
				seen += check(p, l, span)
			}
		}
	}
	if seen < least {
		t.Errorf("looked at %d names only", seen)
	}
}

func namesOfTests(t *testing.T) (names []string) {
	t.Helper()
	walkTree(t, func(name string) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && testNames.MatchString(f.Name.Name) {
				names = append(names, f.Name.Name)
			}
		}
	})
	return names
}

var (
	makeTargets = regexp.MustCompile(`(?m)^([a-z]+):`)
	makeCalls   = regexp.MustCompile(`^(?:\$ )?make ([a-z]+)`)
	makeParams  = regexp.MustCompile(`^([A-Z]+)\s*[:?]?=`)
	makeGiven   = regexp.MustCompile(`\b([A-Z]+)=`)
)

func TestBook_MakeTargetsThatAreNamedExist(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var targets, params []string
	for _, line := range strings.Split(string(makefile), "\n") {
		if found := makeTargets.FindStringSubmatch(line); found != nil {
			targets = append(targets, found[1])
		}
		if found := makeParams.FindStringSubmatch(line); found != nil {
			params = append(params, found[1])
		}
	}
	each(t, 20, func(p *page, l bookLine, span string) int {
		call := makeCalls.FindStringSubmatch(span)
		if call == nil {
			return 0
		}
		if !slices.Contains(targets, call[1]) {
			t.Errorf("%s:%d: make has no target %s", p.path, l.number, call[1])
		}
		for _, given := range makeGiven.FindAllStringSubmatch(span, -1) {
			if !slices.Contains(params, given[1]) {
				t.Errorf("%s:%d: make takes no %s", p.path, l.number, given[1])
			}
		}
		return 1
	})
}

var pathShape = regexp.MustCompile(`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*/?$`)

func TestBook_FilesThatAreNamedExist(t *testing.T) {
	top := map[string]bool{}
	walkTree(t, func(name string) {
		if folder, _, deeper := strings.Cut(name, "/"); deeper {
			top[folder] = true
		}
	})
	each(t, 60, func(p *page, l bookLine, span string) int {
		folder, _, deeper := strings.Cut(span, "/")
		inRoot := !deeper && (strings.HasSuffix(span, ".go") || strings.HasSuffix(span, ".md")) && path.Dir(p.path) == "."
		ours := inRoot || deeper && top[folder]
		if l.code || !ours || !pathShape.MatchString(span) {
			return 0
		}
		if _, err := os.Stat(span); err != nil {
			t.Errorf("%s:%d: there is no %s", p.path, l.number, span)
		}
		return 1
	})
}

var goNames = regexp.MustCompile(`\b([a-z]+)\.([A-Z][A-Za-z0-9]*)(?:\.([A-Z][A-Za-z0-9]*))?\b`)

func TestBook_GoNamesThatAreNamedExist(t *testing.T) {
	declared := exportedNames(t)
	each(t, 40, func(p *page, l bookLine, span string) (seen int) {
		for _, found := range goNames.FindAllStringSubmatch(span, -1) {
			pkg := found[1]
			name := found[2]
			member := found[3]
			if declared[pkg] == nil {
				continue // of the standard library, or a library's
			}
			seen++
			if member != "" {
				name += "." + member
			}
			if !declared[pkg][name] {
				t.Errorf("%s:%d: package %s has no %s", p.path, l.number, pkg, name)
			}
		}
		return seen
	})
}

// exportedNames are the exported names of each package of the tree by its name, and of types also their methods and
// fields, as "Type.Member".
func exportedNames(t *testing.T) map[string]map[string]bool {
	t.Helper()
	declared := map[string]map[string]bool{}
	for _, f := range readTree(t, parser.SkipObjectResolution) {
		pkg := f.ast.Name.Name
		if declared[pkg] == nil {
			declared[pkg] = map[string]bool{}
		}
		for _, d := range f.ast.Decls {
			for _, name := range namesDeclared(d) {
				declared[pkg][name] = true
			}
		}
	}
	return declared
}

func namesDeclared(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		return []string{nameOfType(d.Recv.List[0].Type) + "." + d.Name.Name}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					names = append(names, name.Name)
				}
			case *ast.TypeSpec:
				names = append(names, spec.Name.Name)
				names = append(names, membersOf(spec)...)
			}
		}
	}
	return names
}

// membersOf are the fields of a struct, or the methods of an interface, as "Type.Member".
func membersOf(spec *ast.TypeSpec) (names []string) {
	var fields *ast.FieldList
	switch of := spec.Type.(type) {
	case *ast.StructType:
		fields = of.Fields
	case *ast.InterfaceType:
		fields = of.Methods
	default:
		return nil
	}
	for _, field := range fields.List {
		for _, name := range field.Names {
			names = append(names, spec.Name.Name+"."+name.Name)
		}
	}
	return names
}

// nameOfType is the name of a receiver's type, without its star and its parameters.
func nameOfType(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return nameOfType(e.X)
	case *ast.IndexExpr:
		return nameOfType(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
