package storage

import (
	"bytes"
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

// Purge removes every row of uid of the given classes, from all tables, with its index and expiry entries, and
// wakes who watches uid. It returns what it removed, sorted by table and key, rows past their expiry that were not
// swept yet among it, and what cannot be read, in its place or set aside. It is generic: because every row names its
// owner and every table its class, it needs no list of tables. With dry it removes nothing and returns what it would.
func Purge(tx *Tx, uid UID, dry bool, classes ...Class) ([]Removed, error) {
	if uid.IsZero() {
		return nil, errors.New("purge of the house")
	}
	rows, err := tx.purgeable(uid, classes)
	if err != nil {
		return nil, fmt.Errorf("purge %s: %w", uid, err)
	}
	removed := make([]Removed, 0, len(rows))
	for _, p := range rows {
		removed = append(removed, p.Removed)
		if dry {
			continue
		}
		if err := errors.Join(tx.removeEntries(p.key, p.row), tx.delete(p.key)); err != nil {
			return nil, fmt.Errorf("purge %s of %s: %w", p.Table, uid, err)
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

// purged is what a purge removes.
type purged struct {
	Removed
	key []byte
	row row // without its record; nothing of a row that cannot be read, whose entries then point at nothing
}

// found is a row as a scan shows it, in memory of its own.
func found(k, value []byte) purged {
	p := purged{key: bytes.Clone(k)}
	if r, err := decodeRow(value); err == nil {
		p.row = r.entries()
	}
	return p
}

// purgeable returns what lies in the store of uid, of some classes.
func (tx *Tx) purgeable(uid UID, classes []Class) (rows []purged, err error) {
	var failed error
	err = tx.scan(Prefix(userPrefix(uid)), func(k, value []byte) bool {
		var name, key string
		var class Class
		if _, name, key, failed = splitRowKey(k); failed == nil {
			class, failed = classOf(name)
		}
		if failed == nil && slices.Contains(classes, class) {
			p := found(k, value)
			p.Removed = Removed{name, key}
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
		rows = append(rows, purged{Removed: Removed{aside.Table, key}, key: bytes.Clone(k)})
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
