package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// Span is a part of an index: the values that begin with Prefix, ascending or, with Reverse, descending.
type Span struct {
	Prefix  string
	Exact   bool  // only values that are equal to Prefix
	After   Place // only entries after this one, in the span's direction; the zero Place: all
	Reverse bool
}

// Place is an entry of an index: a value, and the row that has it.
type Place struct {
	Value string
	UID   UID
	Key   string
}

// PeekSpan calls fn for the entries of a span, in its order, until fn returns false. It is no transaction: read the row
// again in one before acting on it.
func (u *Unique[T]) PeekSpan(ctx context.Context, s *Store, span Span, fn func(Place) bool) error {
	var after []byte
	if span.After != (Place{}) {
		after = indexKey(u.name, span.After.Value, nil)
	}
	return peekSpan(ctx, s, u.name, span, after, fn)
}

// PeekSpan calls fn for the entries of a span, in its order, until fn returns false; a value comes once for each row
// that has it. It is no transaction: read the row again in one before acting on it.
func (p *Plain[T]) PeekSpan(ctx context.Context, s *Store, span Span, fn func(Place) bool) error {
	var after []byte
	if at := span.After; at != (Place{}) {
		after = indexKey(p.name, at.Value, rowKey(at.UID, p.table.spec.Name, at.Key))
	}
	return peekSpan(ctx, s, p.name, span, after, fn)
}

func peekSpan(ctx context.Context, s *Store, name string, span Span, after []byte, fn func(Place) bool) error {
	prefix := indexPrefix(name)
	value := escape(span.Prefix)
	if !span.Exact {
		value = value[:len(value)-len(escapeEnd)]
	}
	r := Prefix(append(append([]byte(nil), prefix...), value...))
	switch {
	case after == nil:
	case span.Reverse:
		r.To = after
	default:
		r.From = append(bytes.Clone(after), 0) // the least key that is greater
	}
	r.Reverse = span.Reverse
	if r.To != nil && string(r.From) >= string(r.To) {
		return nil // the entry lies outside of the span
	}
	return peekEntries(ctx, s, name, r, fn)
}

// peekEntries calls fn for the entries of an index in a range of keys, until it returns false.
func peekEntries(ctx context.Context, s *Store, name string, r Range, fn func(Place) bool) error {
	prefix := indexPrefix(name)
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
		return fn(Place{Value: value, UID: uid, Key: key})
	})
	return errors.Join(err, failed)
}

// Of returns the values of a row in the index, without reading its record.
//
// Errors: ErrNotFound.
func (u *Unique[T]) Of(tx *Tx, uid UID, key string) ([]string, error) {
	return valuesOf(u.table, u.name, tx, uid, key)
}

// Of returns the values of a row in the index, without reading its record.
//
// Errors: ErrNotFound.
func (p *Plain[T]) Of(tx *Tx, uid UID, key string) ([]string, error) {
	return valuesOf(p.table, p.name, tx, uid, key)
}

func valuesOf[T any](t *Table[T], name string, tx *Tx, uid UID, key string) (values []string, err error) {
	stored, err := t.stored(tx, uid, key)
	if err != nil {
		return nil, err
	}
	prefix := string(indexPrefix(name))
	for _, entry := range stored.indexes {
		if len(entry) < len(prefix) || string(entry[:len(prefix)]) != prefix {
			continue
		}
		value, ok := unescape(entry[len(prefix):])
		if !ok {
			return nil, fmt.Errorf("index %s: entry %x has no end: %w", name, entry, ErrDamaged)
		}
		values = append(values, value)
	}
	return values, nil
}
