package postgres_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"tutela/storage/storagetest/check"
)

// words are what a statement may consist of, with the pages that document them. Each is on both: CockroachDB's under
// https://www.cockroachlabs.com/docs/stable/, YugabyteDB's (YSQL) under https://docs.yugabyte.com/preview/api/ysql/.
var words = map[string]string{
	"select from where and as":         "select-clause; the-sql-language/statements/dml_select",
	"order by desc limit":              "order-by, limit-offset; the-sql-language/statements/dml_select",
	"= >= < < ->":                      "functions-and-operators; exprs",
	"any":                              "functions-and-operators (= ANY); datatypes/type_array",
	"bytea bigint text int4 int8 bool": "bytes, int, string; datatypes",
	"clock_timestamp":                  "functions-and-operators (date and time); exprs/func_current_timestamp",
	"unnest":                           "functions-and-operators (set-generating); datatypes/type_array/functions-operators",
	"count":                            "functions-and-operators (aggregate); exprs/aggregate_functions",
	"insert into values":               "insert; the-sql-language/statements/dml_insert",
	"on conflict do update set nothing excluded": "insert (ON CONFLICT); the-sql-language/statements/dml_insert",
	"update": "update; the-sql-language/statements/dml_update",
	"delete": "delete; the-sql-language/statements/dml_delete",
	"create table if not exists primary key null":        "create-table; the-sql-language/statements/ddl_create_table",
	"begin isolation level serializable repeatable read": "begin-transaction; the-sql-language/statements/txn_begin",
	"only":               "set-transaction (READ ONLY); the-sql-language/statements/txn_set",
	"commit rollback":    "commit-transaction, rollback-transaction; txn_commit, txn_rollback",
	"tutela_kv k v w":    "our table",
	"tutela_engine name": "our table",
	"value layout put":   "ours",
}

// postgresOnly are statements of PostgreSQL alone, each with what the program does where a database refuses it.
var postgresOnly = map[string]string{
	`set enable_seqscan = off`:                                                           "passed over: settings",
	`set plan_cache_mode = force_generic_plan`:                                           "passed over: settings",
	`set idle_in_transaction_session_timeout = '60s'`:                                    "passed over: settings",
	`select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int8`: "no fence by timelines: such a database has none",
	`select to_regclass('tutela_kv')::oid::bigint`:                                       "both document to_regclass",
	`select pg_try_advisory_lock_shared($1)`:                                             "a server is not detected by a move: docs/operating.md says so",
	`select pg_try_advisory_lock($1)`:                                                    "the same",
	`select count(*) from pg_stat_activity where pid = $1 and application_name = current_setting('application_name')`: "the outcome of a lost COMMIT stays unknown",
	`select pg_terminate_backend($1)`:                              "the same",
	`select pg_backend_pid()::int8`:                                "taken for a database without processes, and no pooler",
	`select set_config('tutela.session', $1, false)`:               "asked of what stands before PostgreSQL alone",
	`select coalesce(current_setting('tutela.session', true), '')`: "the same",
	`select coalesce(extract(epoch from clock_timestamp() - min(xact_start)), 0)::float8 from pg_stat_activity where application_name = current_setting('application_name') and datname = current_database() and xact_start is not null and pid <> pg_backend_pid()`: "followers are served three seconds late, whatever is open",
	`listen tutela_wake`:                  "whoever waits looks four times a second",
	`select pg_notify('tutela_wake', $1)`: "the same",
}

var (
	isStatement = regexp.MustCompile(`^(?i)\s*(select|insert|update|delete|begin|commit|rollback|set|create|alter|drop|listen|lock|with|truncate|copy|declare|vacuum|notify)\b`)
	word        = regexp.MustCompile(`'[^']*'|\$[0-9]+|::|[a-z_0-9]+|[<>=!]+|[(),.*\[\];|]`)
)

// faultOf returns what is wrong with a statement; "" for nothing.
func faultOf(sql string) string {
	sql = strings.Join(strings.Fields(sql), " ")
	if _, known := postgresOnly[sql]; known {
		return ""
	}
	allowed := map[string]bool{}
	for list := range words {
		for _, w := range strings.Fields(list) {
			allowed[w] = true
		}
	}
	for _, w := range word.FindAllString(sql, -1) {
		if !allowed[w] && !regexp.MustCompile(`^('.*'|\$[0-9]+|::|[(),.*\[\]]|[0-9]+)$`).MatchString(w) {
			return fmt.Sprintf("%q is not in the list of what both document", w)
		}
	}
	if strings.Contains(sql, "order by") && !regexp.MustCompile(`where k >= \$1( and k < \$2)? order by k( desc)? limit \$[23]$`).MatchString(sql) {
		return "it orders by something else than the primary key"
	}
	if strings.Count(sql, "select") > 1 {
		return "it has a select within another"
	}
	if strings.Contains(sql, "from tutela_kv") && !regexp.MustCompile(`from tutela_kv where k (=|>=) `).MatchString(sql) {
		return "it does not go by the primary key"
	}
	return ""
}

func TestStatements_AreOfThePartThatOtherDatabasesDocumentToo(t *testing.T) {
	seen := 0
	for sql, place := range statementsOf(t, ".") {
		seen++
		if fault := faultOf(sql); fault != "" {
			t.Errorf("%s: %s\n\t%s", place, fault, sql)
		}
	}
	if seen < 20 {
		t.Errorf("only %d statements were found", seen)
	}
	for _, bad := range []string{
		"select v from tutela_kv where k = $1 for update",
		"select k, v from tutela_kv order by v",
		"select k, v from tutela_kv",
		"delete from tutela_kv where k in (select k from tutela_kv)",
		"select v::jsonb from tutela_kv where k = $1",
		"lock table tutela_kv",
	} {
		if faultOf(bad) == "" {
			t.Errorf("nothing is found wrong with %s", bad)
		}
	}
}

// statementsOf finds all SQL in a folder's source, with where it stands. A constant within a statement is put in its place.
func statementsOf(t *testing.T, folder string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	check.Must(t, err)
	found := map[string]string{}
	files := token.NewFileSet()
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		check.Must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			sql, whole := textOf(n)
			if whole && isStatement.MatchString(sql) && strings.TrimSpace(sql) == sql {
				found[sql] = files.Position(n.Pos()).String()
			}
			return !whole // a part of a text is none of its own
		})
	}
	return found
}

// textOf returns the text of an expression of strings and of the name of the channel.
func textOf(n ast.Node) (text string, ok bool) {
	switch n := n.(type) {
	case *ast.BasicLit:
		if n.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(n.Value)
		return text, err == nil
	case *ast.Ident:
		return "tutela_wake", n.Name == "channel"
	case *ast.BinaryExpr:
		left, isText := textOf(n.X)
		right, isToo := textOf(n.Y)
		return left + right, isText && isToo && n.Op == token.ADD
	}
	return "", false
}
