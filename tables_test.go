package tutela_test

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	_ "tutela/device/own"
	_ "tutela/device/passkey"
	_ "tutela/recovery/admin/signin"
	_ "tutela/recovery/signal" // the packages that declare tables of users
	"tutela/storage"
)

// The list of tables in docs/design.md. Its first columns say what the source says; the last two are written by hand and
// kept by make book.
const (
	designPage  = "docs/design.md"
	tablesBegin = "<!-- The first seven columns are written by make book, the last two by hand. -->\n"
	tablesEnd   = "<!-- The end of the tables. -->\n"
	tablesHead  = "| table | package | class | expires | sealed | found by | of a user, at most | key | what there is of it, and its bound |\n|---|---|---|---|---|---|---|---|---|\n"
)

// byHand are the columns of a table that no program can know.
type byHand struct{ key, bound string }

const (
	unsaid       = "?"
	tableColumns = 9
)

func TestBook_ListOfTablesIsFreshAndSaysTheBoundOfEach(t *testing.T) {
	content, err := os.ReadFile(designPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := bytes.Cut(content, []byte(tablesBegin))
	listed, after, ends := bytes.Cut(rest, []byte(tablesEnd))
	if !begins || !ends {
		t.Fatalf("%s has no list of tables", designPage)
	}
	tables := declaredTables(t)
	words := wordsByHand(t, string(listed))
	fresh := listOfTables(tables, words)
	if *update {
		page := slices.Concat(before, []byte(tablesBegin), []byte(fresh), []byte(tablesEnd), after)
		if err := os.WriteFile(designPage, page, 0o644); err != nil {
			t.Fatal(err)
		}
		listed = []byte(fresh)
	}
	if string(listed) != fresh {
		t.Errorf("the list of tables in %s is not that of the source: run make book", designPage)
	}
	for table, most := range storage.Bounds() {
		if most <= 0 {
			t.Errorf("table %s does not declare how many rows a user has at most", table)
		}
	}
	for _, d := range tables {
		if said := words[d.id()]; said.key == "" || said.bound == "" || said.key == unsaid || said.bound == unsaid {
			t.Errorf("%s: say of table %s what its key is, how many rows there can be, and what ends one", designPage, d.name)
		}
	}
}

// table is a table or a log as the source declares it.
type table struct {
	name, pkg, class string
	expires          bool
	sealed           []string // fields
	indexes          []string // with their kind

	variable string // of the package, which holds it
}

// classes are the classes of tables in the order in which they are listed. A log has none.
var classes = []string{"mfa", "account", "evidence", "settings", "log"}

// declaredTables are the tables and logs of all packages, sorted by class, floor and name.
func declaredTables(t *testing.T) (tables []*table) {
	t.Helper()
	files := readTree(t, parser.SkipObjectResolution)
	for _, f := range files {
		if forTests(f.pkg) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				for i, value := range spec.Values {
					if declared := declaredBy(value); declared != nil {
						declared.pkg = f.pkg
						declared.variable = spec.Names[i].Name
						tables = append(tables, declared)
					}
				}
			}
			return true
		})
	}
	for _, f := range files {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				addIndex(tables, f.pkg, call)
			}
			return true
		})
	}
	if len(tables) < 20 {
		t.Fatalf("found only %d tables", len(tables))
	}
	slices.SortFunc(tables, func(a, b *table) int {
		floorA, _ := floorOf(a.pkg)
		floorB, _ := floorOf(b.pkg)
		return cmp.Or(slices.Index(classes, a.class)-slices.Index(classes, b.class), floorA-floorB,
			strings.Compare(a.pkg, b.pkg), strings.Compare(a.name, b.name))
	})
	return tables
}

// declaredBy reads storage.Declare(storage.Spec[…]{…}) or storage.DeclareLog("…"); nil when the expression is neither.
func declaredBy(e ast.Expr) *table {
	call, ok := e.(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return nil
	}
	called, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	if called.Sel.Name == "DeclareLog" {
		return &table{name: textOf(call.Args[0]), class: "log"}
	}
	spec, ok := call.Args[0].(*ast.CompositeLit)
	if !ok || called.Sel.Name != "Declare" {
		return nil
	}
	declared := &table{}
	for _, element := range spec.Elts {
		declared.read(element.(*ast.KeyValueExpr))
	}
	return declared
}

// read reads one member of a storage.Spec.
func (d *table) read(member *ast.KeyValueExpr) {
	switch member.Key.(*ast.Ident).Name {
	case "Name":
		d.name = textOf(member.Value)
	case "Class":
		d.class = strings.ToLower(member.Value.(*ast.SelectorExpr).Sel.Name)
	case "Expires":
		d.expires = true
	case "Sealed":
		ast.Inspect(member.Value, func(n ast.Node) bool {
			if pair, ok := n.(*ast.KeyValueExpr); ok && pair.Key.(*ast.Ident).Name == "Name" {
				d.sealed = append(d.sealed, textOf(pair.Value))
			}
			return true
		})
	}
}

// addIndex adds what a call of Unique or Plain declares to its table.
func addIndex(tables []*table, pkg string, call *ast.CallExpr) {
	called, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || called.Sel.Name != "Unique" && called.Sel.Name != "Plain" || len(call.Args) == 0 {
		return
	}
	on, ok := called.X.(*ast.Ident)
	if !ok {
		return
	}
	for _, declared := range tables {
		if declared.pkg == pkg && declared.variable == on.Name {
			kind := ""
			if called.Sel.Name == "Unique" {
				kind = " (unique)"
			}
			declared.indexes = append(declared.indexes, textOf(call.Args[0])+kind)
		}
	}
}

// textOf is the text of a literal; "" of anything else.
func textOf(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok {
		return ""
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	return text
}

// listOfTables writes the list, with the words that were written by hand before.
func listOfTables(tables []*table, words map[string]byHand) string {
	var list strings.Builder
	list.WriteString(tablesHead)
	bounds := storage.Bounds()
	for _, d := range tables {
		expires := ""
		if d.expires {
			expires = "yes"
		}
		said, known := words[d.id()]
		if !known {
			said = byHand{unsaid, unsaid}
		}
		most := ""
		if n, ofUsers := bounds[d.name]; ofUsers && d.class != "log" {
			most = strconv.Itoa(n)
		}
		fmt.Fprintf(&list, "| `%s` | `%s` | %s | %s | %s | %s | %s | %s | %s |\n", d.name, d.pkg, d.class, expires,
			strings.Join(d.sealed, ", "), strings.Join(d.indexes, ", "), most, said.key, said.bound)
	}
	return list.String()
}

// id tells a table from a log of the same name.
func (d *table) id() string { return d.name + " " + d.class }

// wordsByHand reads the last two columns of the list. A table whose class has changed is another.
func wordsByHand(t *testing.T, list string) map[string]byHand {
	t.Helper()
	words := map[string]byHand{}
	for _, line := range strings.Split(strings.TrimPrefix(list, tablesHead), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if line == "" {
			continue
		}
		if len(cells) != tableColumns {
			t.Fatalf("%s: a row of the list of tables has %d columns: %s", designPage, len(cells), line)
		}
		words[strings.Trim(cells[0], "`")+" "+cells[2]] = byHand{cells[tableColumns-2], cells[tableColumns-1]}
	}
	return words
}
