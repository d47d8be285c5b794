package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// row is a stored row. Its header says when the row expires and which index entries point at it. So code that knows
// nothing of its table can remove a row, and a changed index function leaves no stale entry behind.
//
//	format (1) ‖ expiry (8, unix ns, 0: never) ‖ count (uvarint) ‖ { length (uvarint) ‖ index key } … ‖ record
type row struct {
	expires time.Time // zero: never
	indexes [][]byte  // whole keys of index entries
	record  []byte
}

const rowFormat = 1

// ErrDamaged reports a row whose bytes cannot be read: its header, the JSON of its record, or the seal of a field. It has
// no code: no caller can do anything about it.
var ErrDamaged = errors.New("a stored row is damaged")

func (r row) encode() []byte {
	n := 10 + len(r.record)
	for _, k := range r.indexes {
		n += len(k) + 2
	}
	b := append(make([]byte, 0, n), rowFormat)
	b = binary.BigEndian.AppendUint64(b, unixNano(r.expires))
	b = binary.AppendUvarint(b, uint64(len(r.indexes)))
	for _, k := range r.indexes {
		b = binary.AppendUvarint(b, uint64(len(k)))
		b = append(b, k...)
	}
	return append(b, r.record...)
}

func decodeRow(b []byte) (row, error) {
	if len(b) < 10 || b[0] != rowFormat {
		return row{}, ErrDamaged
	}
	var r row
	r.expires = fromUnixNano(binary.BigEndian.Uint64(b[1:9]))
	b = b[9:]
	count, n := binary.Uvarint(b)
	if n <= 0 || count > uint64(len(b)) {
		return row{}, ErrDamaged
	}
	b = b[n:]
	for range count {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return row{}, ErrDamaged
		}
		r.indexes = append(r.indexes, b[n:n+int(size)])
		b = b[n+int(size):]
	}
	r.record = b
	return r, nil
}

// entries returns a copy of the row without its record: what is needed to delete the entries that point at it.
func (r row) entries() row {
	e := row{expires: r.expires, indexes: make([][]byte, len(r.indexes))}
	for i, k := range r.indexes {
		e.indexes[i] = append([]byte(nil), k...)
	}
	return e
}

// expired reports whether the row is past its expiry at now.
func (r row) expired(now time.Time) bool { return !r.expires.IsZero() && !now.Before(r.expires) }

// unixNano returns an expiry as it is stored: 0 for never, else nanoseconds clamped to what 64 bits hold.
func unixNano(t time.Time) uint64 {
	switch {
	case t.IsZero():
		return 0
	case t.Before(firstExpiry):
		return 1
	case t.After(lastExpiry):
		return math.MaxInt64
	}
	return uint64(t.UnixNano())
}

var (
	firstExpiry = time.Unix(0, 1)
	lastExpiry  = time.Unix(0, math.MaxInt64)
)

func fromUnixNano(ns uint64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(ns)).UTC()
}

// removeRow deletes a row with its index and expiry entries. stored is its value as read.
func (tx *Tx) removeRow(key, stored []byte) error {
	r, err := decodeRow(stored)
	if err != nil {
		return err
	}
	return errors.Join(tx.removeEntries(key, r), tx.delete(key))
}

// removeEntries deletes the index entries of a row, except those that another row has taken since, and its expiry
// entry.
func (tx *Tx) removeEntries(key []byte, r row) error {
	var holders [][]byte
	if len(r.indexes) > 0 {
		var err error
		if holders, err = tx.getMany(r.indexes); err != nil {
			return err
		}
	}
	for i, entry := range r.indexes {
		if !bytes.Equal(holders[i], key) {
			continue
		}
		if err := tx.delete(bytes.Clone(entry)); err != nil {
			return err
		}
	}
	if r.expires.IsZero() {
		return nil
	}
	// The entry lies in one of the shards that were ever in use.
	for _, shard := range tx.store.shards.all(key[1]) {
		if err := tx.delete(expiryKey(shard, r.expires, key)); err != nil {
			return err
		}
	}
	return nil
}

// shardOf returns the shard for a row's appended entries, chosen by its owner.
func (tx *Tx) shardOf(rowKey []byte) byte { return tx.store.shards.of(rowKey[1]) }
