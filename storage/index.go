package storage

import (
	"context"
	"errors"
	"slices"
)

// Unique is an index in which each value belongs to one row at most.
type Unique[T any] struct {
	table *Table[T]
	name  string
}

// Unique declares an index whose values belong to one row each. values returns the values of a record; none for a
// record that the index leaves out.
func (t *Table[T]) Unique(name string, values func(*T) []string) *Unique[T] {
	return &Unique[T]{table: t, name: t.addIndex(name, true, values)}
}

// Find returns the row that has value, or ErrNotFound.
func (u *Unique[T]) Find(tx *Tx, value string) (Row[T], error) {
	entry := indexKey(u.name, value, nil)
	if len(entry) > MaxKeyBytes {
		return Row[T]{}, ErrNotFound
	}
	k, err := tx.get(entry)
	if err != nil {
		return Row[T]{}, err
	}
	if k == nil {
		return Row[T]{}, ErrNotFound
	}
	return u.table.at(tx, k)
}

// Peek calls fn for the values from from on, in order, until fn returns false. It is no transaction: read the row again
// in one before acting on it.
func (u *Unique[T]) Peek(ctx context.Context, s *Store, from string, fn func(value string, uid UID, key string) bool) error {
	return peekIndex(ctx, s, u.name, from, fn)
}

// Plain is an index whose values may belong to several rows.
type Plain[T any] struct {
	table *Table[T]
	name  string
}

// Plain declares an index whose values may belong to several rows.
func (t *Table[T]) Plain(name string, values func(*T) []string) *Plain[T] {
	return &Plain[T]{table: t, name: t.addIndex(name, false, values)}
}

// addIndex registers an index and returns its name in the store.
func (t *Table[T]) addIndex(name string, unique bool, values func(*T) []string) string {
	full := t.spec.Name + "." + name
	for _, ix := range t.indexes {
		if ix.name == full {
			tables.fault("index %s is declared twice", full)
		}
	}
	if !isName(name) {
		tables.fault("%q is not a valid name for an index", full)
	}
	t.indexes = append(t.indexes, index[T]{name: full, unique: unique, values: values})
	return full
}

// Find returns the rows that have value, at most limit of them (0: all), by owner and key.
func (p *Plain[T]) Find(tx *Tx, value string, limit int) ([]Row[T], error) {
	prefix := indexKey(p.name, value, nil)
	if len(prefix) > MaxKeyBytes {
		return nil, nil
	}
	var rows []Row[T]
	var failed error
	err := tx.scan(Prefix(prefix), func(_, k []byte) bool {
		r, err := p.table.at(tx, k)
		if errors.Is(err, ErrNotFound) {
			return true // past its expiry
		}
		if failed = err; err != nil {
			return false
		}
		rows = append(rows, r)
		return limit == 0 || len(rows) < limit
	})
	return rows, errors.Join(err, failed)
}

// Peek calls fn for the values from from on, in order, until fn returns false; a value comes once for each row that has
// it. It is no transaction: read the row again in one before acting on it.
func (p *Plain[T]) Peek(ctx context.Context, s *Store, from string, fn func(value string, uid UID, key string) bool) error {
	return peekIndex(ctx, s, p.name, from, fn)
}

// key returns the key of the index entry for a row.
func (ix index[T]) key(value string, row []byte) []byte {
	if ix.unique {
		return indexKey(ix.name, value, nil)
	}
	return indexKey(ix.name, value, row)
}

// at reads the row that an index entry points at.
func (t *Table[T]) at(tx *Tx, k []byte) (Row[T], error) {
	uid, _, key, err := splitRowKey(k)
	if err != nil {
		return Row[T]{}, err
	}
	record, err := t.Get(tx, uid, key)
	if err != nil {
		return Row[T]{}, err
	}
	return Row[T]{UID: uid, Key: key, Record: record}, nil
}

func peekIndex(ctx context.Context, s *Store, name, from string, fn func(value string, uid UID, key string) bool) error {
	prefix := indexPrefix(name)
	r := Prefix(prefix)
	first := escape(from)
	r.From = append(slices.Clip(prefix), first[:len(first)-len(escapeEnd)]...)
	return peekEntries(ctx, s, name, r, func(at Place) bool { return fn(at.Value, at.UID, at.Key) })
}

// unescape is the reverse of escape; ok is false for anything that escape did not make. It ignores what follows the end
// mark.
func unescape(b []byte) (value string, ok bool) {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != 0 {
			out = append(out, b[i])
			continue
		}
		if i+1 == len(b) {
			return "", false
		}
		i++
		switch b[i] {
		case 0xff:
			out = append(out, 0)
		case 1:
			return string(out), true
		default:
			return "", false
		}
	}
	return "", false
}
