package storage

import (
	"errors"
	"fmt"
)

// Dumped is a row of a user for an export: sealed fields are left out.
type Dumped struct {
	Table  string
	Key    string
	Record []byte // JSON; nil for a raw table, whose bytes only its own package can read
	Bytes  int    // of the record as it is stored
}

// Dump calls fn for every row of uid, ordered by table and key, until fn returns false. It skips rows that cannot be
// read or are past their expiry.
func Dump(tx *Tx, uid UID, fn func(Dumped) bool) error {
	if uid.IsZero() {
		return errors.New("dump: the house is no user")
	}
	return tx.scan(Prefix(userPrefix(uid)), func(k, value []byte) bool {
		_, name, key, err := splitRowKey(k)
		if err != nil {
			return true
		}
		t, err := tables.named(name)
		if err != nil {
			return true
		}
		r, err := decodeRow(value)
		if err != nil || r.expired(tx.now) {
			return true
		}
		record, err := t.dumped(r)
		if err != nil {
			return true
		}
		return fn(Dumped{
			Table:  name,
			Key:    key,
			Record: record,
			Bytes:  len(r.record),
		})
	})
}

// dumped returns a row's record as JSON, without its sealed fields; nil of a raw table.
func (t *Table[T]) dumped(r row) ([]byte, error) {
	if t.spec.Raw {
		return nil, nil
	}
	record := new(T)
	if err := t.unmarshal(r.record, record); err != nil {
		return nil, err
	}
	if t.spec.Upgrade != nil {
		if err := t.spec.Upgrade(record, r.record); err != nil {
			return nil, fmt.Errorf("%s: %w", t.spec.Name, err)
		}
	}
	if t.spec.Sealed != nil {
		for _, f := range t.spec.Sealed(record) {
			*f.Value = nil
		}
	}
	return t.marshal(record)
}
