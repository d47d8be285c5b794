package ground

import (
	"context"
	"slices"
	"strings"

	"tutela/storage"
	"tutela/storage/setting"
	"tutela/storage/storagetest/check"
)

// Update runs fn in a transaction that must succeed.
func (g *Ground) Update(fn func(tx *storage.Tx) error) {
	g.t.Helper()
	check.Must(g.t, g.Store.Update(context.Background(), fn))
}

// View runs fn in a read-only transaction that must succeed.
func (g *Ground) View(fn func(tx *storage.Tx) error) {
	g.t.Helper()
	check.Must(g.t, g.Store.View(context.Background(), fn))
}

// Set gives a policy or a setting a value, as it is typed.
func (g *Ground) Set(name, value string) {
	g.t.Helper()
	g.Update(func(tx *storage.Tx) error { return setting.Set(tx, name, value) })
}

// Scan shows every key and value of the engine, in the order of keys, as they are stored.
func (g *Ground) Scan(see func(key, value string)) {
	g.t.Helper()
	check.Must(g.t, g.Store.Engine().View(context.Background(), func(r storage.Reader) error {
		return r.Scan(storage.Range{}, func(key, value []byte) bool {
			see(string(key), string(value))
			return true
		})
	}))
}

// Holds reports whether a string lies anywhere in the engine in plain form.
func (g *Ground) Holds(planted string) (found bool) {
	g.t.Helper()
	g.Scan(func(key, value string) {
		found = found || strings.Contains(key, planted) || strings.Contains(value, planted)
	})
	return found
}

// Rows returns the stored rows of a table, whoever owns them.
func (g *Ground) Rows(table string) (rows []string) {
	g.t.Helper()
	g.Scan(func(key, value string) {
		// A row's key: the space, the owner's 16 bytes, the table's name, a zero byte.
		if key[0] == 'u' && len(key) > 17 && strings.HasPrefix(key[17:], table+"\x00") {
			rows = append(rows, value)
		}
	})
	return rows
}

// Dump returns all that is stored, a line "key=value" each, sorted.
func (g *Ground) Dump() (lines []string) {
	g.t.Helper()
	g.Scan(func(key, value string) { lines = append(lines, key+"="+value) })
	return lines
}

// Unchanged runs do and fails the test when it has changed what is stored.
func (g *Ground) Unchanged(do func()) {
	g.t.Helper()
	before := g.Dump()
	do()
	if !slices.Equal(before, g.Dump()) {
		g.t.Fatal("the store has changed")
	}
}
