package storage

import (
	"context"
	"errors"
	"fmt"
)

// Unique is an index by which one row is found.
type Unique[T any] struct {
	table *Table[T]
	name  string
}

// Unique declares an index whose values belong to one row each. values returns those of a record; none for a record
// that is not to be found by it.
func (t *Table[T]) Unique(name string, values func(*T) []string) *Unique[T] {
	ix := index[T]{name: t.spec.Name + "." + name, unique: true, values: values}
	t.indexes = append(t.indexes, ix)
	return &Unique[T]{table: t, name: ix.name}
}

// Find returns the row that has value, or ErrNotFound.
func (u *Unique[T]) Find(tx *Tx, value string) (Row[T], error) {
	if len(value) > maxKeyBytes {
		return Row[T]{}, ErrNotFound
	}
	k, err := tx.get(indexKey(u.name, value, nil))
	if err != nil {
		return Row[T]{}, err
	}
	if k == nil {
		return Row[T]{}, ErrNotFound
	}
	return u.table.at(tx, k)
}

// Peek calls fn for the values from from on, in their order, until it returns false. It is no transaction: look at
// the row again in one before acting.
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
	ix := index[T]{name: t.spec.Name + "." + name, values: values}
	t.indexes = append(t.indexes, ix)
	return &Plain[T]{table: t, name: ix.name}
}

// Find returns the rows that have value, at most limit of them (0: all).
func (p *Plain[T]) Find(tx *Tx, value string, limit int) ([]Row[T], error) {
	if len(value) > maxKeyBytes {
		return nil, nil
	}
	var keys [][]byte
	err := tx.scan(Prefix(indexKey(p.name, value, nil)), func(_, row []byte) bool {
		keys = append(keys, append([]byte(nil), row...))
		return limit == 0 || len(keys) < limit
	})
	rows := make([]Row[T], 0, len(keys))
	for _, k := range keys {
		r, e := p.table.at(tx, k)
		if errors.Is(e, ErrNotFound) {
			continue // past its expiry
		}
		err = errors.Join(err, e)
		rows = append(rows, r)
	}
	return rows, err
}

// key is the entry of an index for a row.
func (ix index[T]) key(value string, row []byte) []byte {
	if ix.unique {
		return indexKey(ix.name, value, nil)
	}
	return indexKey(ix.name, value, row)
}

// at reads the row at a key that an index entry names.
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
	r.From = append(append([]byte(nil), prefix...), escape(from)[:len(escape(from))-2]...)
	var failed error
	err := s.engine.Peek(ctx, r, func(entry, row []byte) bool {
		uid, _, key, err := splitRowKey(row)
		if err != nil {
			failed = fmt.Errorf("index %s: %w", name, err)
			return false
		}
		value, ok := unescape(entry[len(prefix):])
		if !ok {
			failed = fmt.Errorf("index %s: entry %x has no end", name, entry)
			return false
		}
		return fn(value, uid, key)
	})
	return errors.Join(err, failed)
}

// unescape reads back what escape made; ok is false when the end is missing.
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
		if b[i] == 1 {
			return string(out), true
		}
		out = append(out, 0)
	}
	return "", false
}
