package storage

import (
	"context"
	"errors"
	"iter"
	"slices"
)

// Log is a sequence of appended entries, such as events and pointers to work, which would be a hot spot in a table. It
// is spread over shards; within a shard the entries are ordered by key. No purge removes an entry, so it holds nothing
// personal but a uid.
type Log struct{ name string }

// DeclareLog makes a log. The name is unique among logs and never changed once released.
func DeclareLog(name string) Log {
	if !isName(name) {
		tables.fault("%q is not a valid name for a log", name)
	}
	tables.addLog(name)
	return Log{name: name}
}

// Append writes an entry under the shard of uid.
//
// Errors: ErrKeyTooLong.
func (l Log) Append(tx *Tx, uid UID, key string, value []byte) error {
	k, err := l.key(tx.store.shards.of(uid[0]), key)
	if err != nil {
		return err
	}
	return tx.put(k, value)
}

// Delete removes an entry; one that is not there is no error.
//
// Errors: ErrKeyTooLong.
func (l Log) Delete(tx *Tx, uid UID, key string) error {
	for _, shard := range tx.store.shards.all(uid[0]) {
		k, err := l.key(shard, key)
		if err != nil {
			return err
		}
		if err := tx.delete(k); err != nil {
			return err
		}
	}
	return nil
}

// Get returns an entry's value, or nil when there is none.
//
// Errors: ErrKeyTooLong.
func (l Log) Get(tx *Tx, uid UID, key string) ([]byte, error) {
	for _, shard := range tx.store.shards.all(uid[0]) {
		k, err := l.key(shard, key)
		if err != nil {
			return nil, err
		}
		value, err := tx.get(k)
		if err != nil {
			return nil, err
		}
		if value != nil {
			return append([]byte{}, value...), nil
		}
	}
	return nil, nil
}

// key returns an entry's whole key.
//
// Errors: ErrKeyTooLong.
func (l Log) key(shard byte, key string) ([]byte, error) {
	k := append(logPrefix(l.name, shard), key...)
	return k, fits(k, MaxKeyBytes, "log", l.name)
}

// Peek calls fn for the entries whose key is in [from, to) (an empty to: to the end), ascending or, with reverse,
// descending, until fn returns false. It is no transaction: entries that are appended meanwhile may be missing, even
// between entries that are shown.
func (l Log) Peek(ctx context.Context, s *Store, from, to string, reverse bool, fn func(key string, value []byte) bool) error {
	shards := s.shards.most()
	if shards == 1 {
		return l.peekShard(ctx, s, 0, from, to, reverse, fn)
	}
	// Open a scan of each shard, and read its first entry.
	heads := make([]head, 0, shards)
	ends := make([]func(), 0, shards)
	defer func() {
		for _, end := range ends {
			end()
		}
	}()
	failures := make([]error, shards)
	for shard := range shards {
		next, end := iter.Pull2(func(yield func(string, []byte) bool) {
			failures[shard] = l.peekShard(ctx, s, byte(shard), from, to, reverse, yield)
		})
		ends = append(ends, end)
		if h := (head{next: next}); h.advance() {
			heads = append(heads, h)
		}
	}
	// Merge: give out the least (with reverse the greatest) of the heads, and move that shard on.
	for len(heads) > 0 && errors.Join(failures...) == nil {
		first := 0
		for i := range heads {
			if reverse && heads[i].key > heads[first].key || !reverse && heads[i].key < heads[first].key {
				first = i
			}
		}
		if !fn(heads[first].key, heads[first].value) {
			return nil
		}
		if !heads[first].advance() {
			heads = slices.Delete(heads, first, first+1)
		}
	}
	return errors.Join(failures...)
}

// head is the next entry of one shard during a merge of all shards.
type head struct {
	next  func() (string, []byte, bool)
	key   string
	value []byte
}

// advance reads the shard's next entry into h. It returns false at the end of the shard.
func (h *head) advance() (more bool) {
	h.key, h.value, more = h.next()
	return more
}

func (l Log) peekShard(ctx context.Context, s *Store, shard byte, from, to string, reverse bool, fn func(string, []byte) bool) error {
	prefix := logPrefix(l.name, shard)
	r := Prefix(prefix)
	r.From = append(slices.Clip(prefix), from...)
	r.Reverse = reverse
	if to != "" {
		r.To = append(slices.Clip(prefix), to...)
	}
	return s.engine.Peek(ctx, r, func(key, value []byte) bool { return fn(string(key[len(prefix):]), value) })
}

// Last returns the greatest key of the log, or "" when it is empty.
func (l Log) Last(tx *Tx) (string, error) {
	last := ""
	var failed error
	for shard := range tx.store.shards.most() {
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
