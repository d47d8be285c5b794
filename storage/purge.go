package storage

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Removed is a row that a purge removed, or would.
type Removed struct {
	Table string
	Key   string
}

// Purge removes every row of uid of the given classes, from all tables, with its index and expiry entries, and
// wakes who watches uid. It returns what it removed, sorted by table and key, rows past their expiry that were not
// swept yet among it. It is generic: because every row names its owner and every table its class, it needs no list of
// tables. With dry it removes nothing and returns what it would.
func Purge(tx *Tx, uid UID, dry bool, classes ...Class) ([]Removed, error) {
	if uid.IsZero() {
		return nil, errors.New("purge of the house")
	}
	type found struct {
		Removed
		key []byte
		row row // without its record
	}
	var rows []found
	var failed error
	err := tx.scan(Prefix(userPrefix(uid)), func(k, value []byte) bool {
		_, name, key, err := splitRowKey(k)
		if err == nil {
			var class Class
			if class, err = classOf(name); err == nil && slices.Contains(classes, class) {
				var r row
				r, err = decodeRow(value)
				rows = append(rows, found{Removed{name, key}, bytes.Clone(k), r.entries()})
			}
		}
		failed = err
		return err == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("purge %s: %w", uid, err)
	}
	removed := make([]Removed, 0, len(rows))
	for _, f := range rows {
		removed = append(removed, f.Removed)
		if dry {
			continue
		}
		if err := errors.Join(tx.removeEntries(f.key, f.row), tx.delete(f.key)); err != nil {
			return nil, fmt.Errorf("purge %s of %s: %w", f.Table, uid, err)
		}
	}
	if !dry {
		tx.Wake(uid)
	}
	slices.SortFunc(removed, func(a, b Removed) int {
		return cmp.Or(strings.Compare(a.Table, b.Table), strings.Compare(a.Key, b.Key))
	})
	return removed, nil
}

func classOf(table string) (Class, error) {
	t, err := tables.named(table)
	if err != nil {
		return "", err
	}
	return t.class(), nil
}
