package storage

import (
	"bytes"
	"errors"
	"sync"
)

// Memo is a cache of decoded records, for a table that is read far more often than it changes. It decodes a record
// again only when the row's bytes have changed. Each Get still reads the row, so it always sees the state of its
// transaction, even if another process wrote it. Safe for concurrent use.
type Memo[T any] struct {
	table *Table[T]
	most  int

	mu   sync.Mutex // guards what is below
	kept map[string]remembered[T]
}

// remembered is a decoded record with the bytes that it was decoded from.
type remembered[T any] struct {
	bytes  []byte
	record *T
}

var errMemoOfSealed = errors.New("a table with sealed fields has no memo: their plain text would stay in memory")

// NewMemo makes a memo that keeps at most most records of t.
//
// Errors: one for a table with sealed fields.
func NewMemo[T any](t *Table[T], most int) (*Memo[T], error) {
	if t.sealed() {
		return nil, errMemoOfSealed
	}
	return &Memo[T]{table: t, most: most, kept: make(map[string]remembered[T])}, nil
}

// Get returns the record as [Table.Get] does. It is shared: nobody may change it.
//
// Errors: ErrNotFound; ErrKeyTooLong.
func (m *Memo[T]) Get(tx *Tx, uid UID, key string) (*T, error) {
	r, err := m.table.stored(tx, uid, key)
	if err != nil {
		return nil, err
	}
	whole := string(uid[:]) + key
	m.mu.Lock()
	known, ok := m.kept[whole]
	m.mu.Unlock()
	if ok && bytes.Equal(known.bytes, r.record) {
		return known.record, nil
	}
	record, err := m.table.decode(tx, uid, key, r)
	if err != nil {
		return nil, err
	}
	m.keep(whole, remembered[T]{bytes: bytes.Clone(r.record), record: record})
	return record, nil
}

// keep remembers a record. When the memo is full it forgets any other one.
func (m *Memo[T]) keep(whole string, one remembered[T]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.kept[whole]; !there && len(m.kept) >= m.most {
		for other := range m.kept {
			delete(m.kept, other)
			break
		}
	}
	m.kept[whole] = one
}
