package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"tutela/storage"
	"tutela/storage/setting"
)

// notOfPersons are the tables that no purge empties, each with the reason why none needs to. A table that is not
// named here holds data of users: its class must be one that a reset or a deletion removes.
var notOfPersons = map[string]string{
	"client":               "programs with credentials",
	"client_assertion":     "that a client's assertion was used, as a keyed hash, until it expires",
	"compaction":           "when the data file was written anew",
	"keyring":              "the wrapped keys",
	"setting":              "policies",
	"push_credential":      "the credentials for push services that were set by API",
	"signing_key":          "the keys of tokens and receipts",
	"webhook":              "programs that are told what happens, and the addresses that they are told at",
	"webhook_secret":       "by what a webhook's messages are signed",
	"webhook_delivery":     "how a message went, by the id of its event, for seven days",
	"signal_stream":        "receivers of signals, and the addresses that they are pushed to",
	"signal_secret":        "the header that a receiver wants with each push",
	"event_follower":       "that somebody follows the events",
	"web_push_key":         "the key by which push services know the installation",
	"event":                "of a user's events their ids only",
	"event_count":          "how many events a user has",
	"event_detail_house":   "the person behind sudo, who is an operator and no user; it goes with its event",
	"figure_day":           "how often what happened on a day, in all",
	"fold_house":           "how often something happened; what it was with is a keyed hash",
	"fold_key":             "the key of that hash",
	"push_wave":            "that a push service says of many addresses that they are gone; of a host of Web Push a hash",
	"user_count":           "how many users there are",
	"user_index":           "which indexes hold all users",
	"receipt_evidence":     "of a receipt its id, time, counts and digest",
	"recoverability_count": "how many users have each way back and risk",
	"recoverability_index": "that all users are counted",

	"outbox_evidence":    "work that names what stays by its id",
	"outbox_house":       "work that is nobody's",
	"outbox_aside_house": "pointers to work, which hold a uid at most, and what is left of outbox_house",
}

func TestTables_OfUsersAreOfAClassThatIsRemoved(t *testing.T) {
	tables := storage.Tables()
	for _, name := range declaredTables(t) {
		class, known := tables[name]
		_, exempt := notOfPersons[name]
		switch {
		case !known:
			t.Errorf("table %s is declared in a package that the program does not import", name)
		case exempt && (class == storage.MFA || class == storage.Account):
			t.Errorf("table %s is removed with a user (class %s), and need not be named here", name, class)
		case !exempt && class != storage.MFA && class != storage.Account:
			t.Errorf("table %s has class %q: no reset or deletion removes it. If it holds nothing of a person, say why in notOfPersons",
				name, class)
		}
	}
	for name := range notOfPersons {
		if _, known := tables[name]; !known {
			t.Errorf("there is no table %s any more", name)
		}
	}
}

func TestSettings_AreDeclaredOnceWithDefaultsInBounds(t *testing.T) {
	if err := setting.Check(); err != nil {
		t.Error(err)
	}
}

// declaredTables reads from the source the names in every storage.Spec, so that none is overlooked for want of an import.
func declaredTables(t *testing.T) (names []string) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := d.Name(); d.IsDir() && path != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "data") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.CompositeLit); ok && isSpec(literal.Type) {
				names = append(names, nameIn(t, path, literal))
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < len(notOfPersons) {
		t.Fatalf("found only the tables %v", names)
	}
	return names
}

// isSpec reports whether a type is storage.Spec[…].
func isSpec(e ast.Expr) bool {
	generic, ok := e.(*ast.IndexExpr)
	if !ok {
		return false
	}
	selected, ok := generic.X.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	of, ok := selected.X.(*ast.Ident)
	return ok && of.Name == "storage" && selected.Sel.Name == "Spec"
}

// nameIn returns the Name of a Spec, which must be written out.
func nameIn(t *testing.T, path string, spec *ast.CompositeLit) string {
	t.Helper()
	for _, element := range spec.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		key, isName := pair.Key.(*ast.Ident)
		value, isText := pair.Value.(*ast.BasicLit)
		if isName && isText && key.Name == "Name" {
			name, err := strconv.Unquote(value.Value)
			if err != nil {
				t.Fatal(err)
			}
			return name
		}
	}
	t.Errorf("%s: a table without a name that is written out", path)
	return ""
}
