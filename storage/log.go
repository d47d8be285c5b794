package storage

import (
	"context"
	"errors"
)

// Log is a run of entries that are appended, for what would be a hot spot in a table: events, pointers to work. Its
// keys sort; entries under one shard byte lie in their order. An entry holds nothing personal but a uid: no purge
// removes it.
type Log struct{ name string }

// DeclareLog makes a log. The name is unique among logs and never changed once released.
func DeclareLog(name string) Log { return Log{name: name} }

// Append writes an entry under the shard of uid.
func (l Log) Append(tx *Tx, uid UID, key string, value []byte) error {
	return tx.put(l.key(tx, uid, key), value)
}

// Delete removes an entry; one that is not there is no error.
func (l Log) Delete(tx *Tx, uid UID, key string) error { return tx.delete(l.key(tx, uid, key)) }

// Get returns an entry's value, or nil when there is none.
func (l Log) Get(tx *Tx, uid UID, key string) ([]byte, error) {
	value, err := tx.get(l.key(tx, uid, key))
	if value == nil || err != nil {
		return nil, err
	}
	return append([]byte{}, value...), nil
}

func (l Log) key(tx *Tx, uid UID, key string) []byte {
	shard := uid[0] % byte(min(tx.store.engine.Shards(), 255))
	return append(logPrefix(l.name, shard), key...)
}

// Peek calls fn for the entries whose key is in [from, to) (an empty to: to the end), ascending or, with reverse,
// descending, until it returns false. With several shards the order is kept within a shard only, one after the
// other. It is no transaction.
func (l Log) Peek(ctx context.Context, s *Store, from, to string, reverse bool, fn func(key string, value []byte) bool) error {
	stopped := false
	for shard := range s.engine.Shards() {
		prefix := logPrefix(l.name, byte(shard))
		r := Prefix(prefix)
		r.From, r.Reverse = append(append([]byte(nil), prefix...), from...), reverse
		if to != "" {
			r.To = append(append([]byte(nil), prefix...), to...)
		}
		err := s.engine.Peek(ctx, r, func(key, value []byte) bool {
			stopped = !fn(string(key[len(prefix):]), value)
			return !stopped
		})
		if err != nil || stopped {
			return err
		}
	}
	return nil
}

// Last returns the greatest key of the log, or "" when it is empty.
func (l Log) Last(tx *Tx) (string, error) {
	last := ""
	var failed error
	for shard := range tx.store.engine.Shards() {
		prefix := logPrefix(l.name, byte(shard))
		r := Prefix(prefix)
		r.Reverse = true
		failed = errors.Join(failed, tx.scan(r, func(key, _ []byte) bool {
			last = max(last, string(key[len(prefix):]))
			return false
		}))
	}
	return last, failed
}
