package storage

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	json "github.com/go-json-experiment/json/v1"
)

// Removed is a row that a purge removed, or would.
type Removed struct {
	Table string
	Key   string
}

// Purge removes every row of uid of the given classes from all tables, with its index and expiry entries, and wakes
// those who watch uid. It also removes rows past their expiry, damaged rows and what was set aside. It needs no list of
// tables, since every row names its owner and every table its class.
//
// It returns the removed rows, sorted by table and key. With dry it removes nothing and returns the rows that it would
// remove.
func Purge(tx *Tx, uid UID, dry bool, classes ...Class) ([]Removed, error) {
	if uid.IsZero() {
		return nil, errors.New("purge: the house is no user")
	}
	rows, err := tx.purgeable(uid, classes)
	if err != nil {
		return nil, fmt.Errorf("purge %s: %w", uid, err)
	}
	if !dry {
		if err := tx.tellPurged(uid, rows); err != nil {
			return nil, fmt.Errorf("purge %s: %w", uid, err)
		}
		if err := tx.removeAll(rows); err != nil {
			return nil, fmt.Errorf("purge %s: %w", uid, err)
		}
		tx.Wake(uid)
	}
	removed := make([]Removed, 0, len(rows))
	for _, p := range rows {
		removed = append(removed, p.Removed)
	}
	slices.SortFunc(removed, func(a, b Removed) int {
		return cmp.Or(strings.Compare(a.Table, b.Table), strings.Compare(a.Key, b.Key))
	})
	return removed, nil
}

// tellPurged calls the Purged function of each table whose rows are about to be removed. A record that was set aside
// belongs to no table.
func (tx *Tx) tellPurged(uid UID, rows []purged) error {
	for _, p := range rows {
		t, err := tables.named(p.Table)
		if err != nil {
			continue
		}
		if err := t.purged(tx, uid, p.Key); err != nil {
			return err
		}
	}
	return nil
}

// purged is a row that a purge removes.
type purged struct {
	Removed
	key     string
	entries *row // the header, with the entries that point at the row; nil when there are none or the row cannot be read
}

// found copies from a scanned row what a purge needs. It neither copies nor decodes the record.
func found(k, value []byte) purged {
	p := purged{key: string(k)}
	if r, err := decodeRow(value); err == nil && (len(r.indexes) > 0 || !r.expires.IsZero()) {
		entries := r.entries()
		p.entries = &entries
	}
	return p
}

// removeAll removes what scans have found. It deletes the rows first, in order, since a write set takes ordered keys
// fastest.
func (tx *Tx) removeAll(rows []purged) error {
	if err := tx.writable(); err != nil {
		return err
	}
	tx.ws.grow(len(rows))
	for _, p := range rows {
		tx.ws.set(p.key, nil)
	}
	for _, p := range rows {
		if p.entries == nil {
			continue
		}
		if err := tx.removeEntries([]byte(p.key), *p.entries); err != nil {
			return err
		}
	}
	return nil
}

// purgeable returns the rows of uid of the given classes.
func (tx *Tx) purgeable(uid UID, classes []Class) (rows []purged, err error) {
	var failed error
	wanted := false
	table := "" // of the row before: most rows are of the same table
	prefix := userPrefix(uid)
	err = tx.scan(Prefix(prefix), func(k, value []byte) bool {
		rest := k[len(prefix):]
		if len(rest) <= len(table) || rest[len(table)] != 0 || string(rest[:len(table)]) != table || table == "" {
			var class Class
			if _, table, _, failed = splitRowKey(k); failed == nil {
				class, failed = classOf(table)
			}
			wanted = slices.Contains(classes, class)
		}
		if failed == nil && wanted {
			p := found(k, value)
			p.Removed = Removed{table, p.key[len(prefix)+len(table)+1:]}
			rows = append(rows, p)
		}
		return failed == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	err = tx.scan(Prefix(asidePrefix(uid)), func(k, value []byte) bool {
		var aside SetAside
		_ = json.Unmarshal(value, &aside) // what cannot be read is removed
		class, err := classOf(aside.Table)
		if err == nil && !slices.Contains(classes, class) {
			return true
		}
		_, _, key, _ := splitRowKey(aside.Key)
		rows = append(rows, purged{Removed: Removed{aside.Table, key}, key: string(k)})
		return true
	})
	return rows, err
}

func classOf(table string) (Class, error) {
	t, err := tables.named(table)
	if err != nil {
		return "", err
	}
	return t.class(), nil
}
