package storage

import "bytes"

// Uproot removes the row under key without decoding it, and returns its bytes as the engine held them; nil when there
// is none. It is for a row that every other method refuses with [ErrDamaged]. Index and expiry entries that point at
// the row stay; those who follow them find no row.
func (t *Table[T]) Uproot(tx *Tx, uid UID, key string) ([]byte, error) {
	k, err := t.key(uid, key)
	if err != nil {
		return nil, err
	}
	stored, err := tx.get(k)
	if err != nil || stored == nil {
		return nil, err
	}
	kept := bytes.Clone(stored)
	return kept, tx.delete(k)
}

// Uproot removes an entry whose value cannot be read and whose owner is therefore unknown: it looks for key in every
// shard. It returns the entry's value, or nil when there is none.
func (l Log) Uproot(tx *Tx, key string) ([]byte, error) {
	for shard := range tx.store.shards.most() {
		k := append(logPrefix(l.name, byte(shard)), key...)
		value, err := tx.get(k)
		if err != nil {
			return nil, err
		}
		if value != nil {
			kept := bytes.Clone(value)
			return kept, tx.delete(k)
		}
	}
	return nil, nil
}
