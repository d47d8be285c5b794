package tutela_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"testing"
)

func TestHouse_FieldsAssignmentsAndStatementsHaveLinesOfTheirOwn(t *testing.T) {
	for _, name := range goFiles(t) {
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range crowded(set, parsed) {
			t.Errorf("%s: %s", set.Position(found.at), found.what)
		}
	}
}

func TestHouse_CrowdedLinesAreFound(t *testing.T) {
	for body, want := range map[string]int{
		"x := T{A: 1, B: 2, C: 3, D: 4}":                      1,
		"x := T{\nA: 1, B: 2,\nC: 3,\nD: 4,\n}":               1,
		"x := T{\nA: 1,\nB: 2,\nC: 3,\nD: 4,\n}":              0,
		"x := T{A: 1, B: 2, C: 3}":                            0,
		"x := []T{\n{A: 1, B: 2, C: 3, D: 4},\n}":             0, // a row of a table
		"x := []T{{\nA: 1, B: 2, C: 3, D: 4,\n}}":             1,
		`x := map[string]int{"a": 1, "b": 2, "c": 3, "d": 4}`: 0,
		"a, b := 1, 2":                1,
		"a, b = b, a":                 0,
		"a, b := two()":               0,
		"const a, b = 1, 2":           1,
		"if a, b := 1, 2; a < b {\n}": 1,
		"for i, j := 0, 9; i < j; i, j = i+1, j-1 {\n}":         0,
		"f := func() { one(); two() }":                          1,
		"f := func() { one() }":                                 0,
		"switch x {\ncase 1:\none(); two()\n}":                  1,
		"select {\ncase <-x:\none(); two()\ndefault:\none()\n}": 1,
	} {
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, "p.go", "package p\nfunc _() {\n"+body+"\n}", parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := crowded(set, parsed); len(got) != want {
			t.Errorf("%s: found %v, want %d", body, got, want)
		}
	}
}

// crowd is a line that holds more than one thing to read.
type crowd struct {
	at   token.Pos
	what string
}

// crowded returns where a file puts on one line what belongs on several.
func crowded(set *token.FileSet, file *ast.File) (all []crowd) {
	loops := map[ast.Node]bool{} // the two clauses of a for, where parallel assignment is idiom
	rows := map[ast.Node]bool{}  // elements without a type of their own
	found := func(bad bool, n ast.Node, what string) {
		if bad {
			all = append(all, crowd{n.Pos(), what})
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			noteRows(n, rows)
			aRow := rows[n] && onOneLine(set, n.Lbrace, n.Rbrace)
			found(!aRow && len(n.Elts) > 3 && hasNamedFields(n) && sharesALine(set, n.Elts), n, "one field a line, above three")
		case *ast.ForStmt:
			loops[n.Init] = true
			loops[n.Post] = true
		case *ast.AssignStmt:
			found(!loops[n] && isParallel(n.Lhs, n.Rhs), n, "one assignment a line")
		case *ast.ValueSpec:
			found(len(n.Values) > 1, n, "one assignment a line")
		case *ast.BlockStmt:
			found(sharesALine(set, n.List), n, "one statement a line")
		case *ast.CaseClause:
			found(sharesALine(set, n.Body), n, "one statement a line")
		case *ast.CommClause:
			found(sharesALine(set, n.Body), n, "one statement a line")
		}
		return true
	})
	return all
}

// noteRows adds the elements of a literal that leave their type out: the rows of a table.
func noteRows(n *ast.CompositeLit, rows map[ast.Node]bool) {
	for _, element := range n.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			element = pair.Value
		}
		if row, ok := element.(*ast.CompositeLit); ok && row.Type == nil {
			rows[row] = true
		}
	}
}

// hasNamedFields reports whether the literal is a struct's with names, as far as syntax can tell.
func hasNamedFields(n *ast.CompositeLit) bool {
	pair, ok := n.Elts[0].(*ast.KeyValueExpr)
	if !ok {
		return false
	}
	_, ok = pair.Key.(*ast.Ident)
	return ok
}

// isParallel reports whether values are assigned together that could be assigned one after the other: no right side
// reads what a left side before it writes.
func isParallel(left, right []ast.Expr) bool {
	for i := 1; i < len(right); i++ {
		for _, written := range left[:i] {
			if mentions(right[i], types.ExprString(written)) {
				return false
			}
		}
	}
	return len(right) > 1
}

// mentions reports whether an expression reads another, such as s.name.
func mentions(e ast.Expr, other string) (found bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		part, ok := n.(ast.Expr)
		found = found || ok && types.ExprString(part) == other
		if selected, ok := n.(*ast.SelectorExpr); ok {
			found = found || mentions(selected.X, other) // a field's name alone reads nothing
			return false
		}
		return true
	})
	return found
}

// sharesALine reports whether a node begins on the line where the one before it ends.
func sharesALine[N ast.Node](set *token.FileSet, nodes []N) bool {
	for i := 1; i < len(nodes); i++ {
		if onOneLine(set, nodes[i-1].End(), nodes[i].Pos()) {
			return true
		}
	}
	return false
}

func onOneLine(set *token.FileSet, a, b token.Pos) bool {
	return set.Position(a).Line == set.Position(b).Line
}
