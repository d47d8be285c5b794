package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// The spaces of the store. The first byte of a key says which one it lies in; the rest is:
//
//	u  uid ‖ table ‖ 0 ‖ key      a row; all rows of a user lie beside each other
//	i  table.index ‖ 0 ‖ value    an index entry, of a plain index with the row's key behind it; its value is the row's key
//	x  shard ‖ time ‖ row's key   an expiry entry, appended; its value is empty
//	l  log ‖ 0 ‖ shard ‖ key      an entry of a log, appended
//	m  name                       what storage keeps about itself
//	q  uid ‖ stamp                bytes that cannot be read, set aside
const (
	spaceRow    = 'u'
	spaceIndex  = 'i'
	spaceExpiry = 'x'
	spaceLog    = 'l'
	spaceMeta   = 'm'
	spaceAside  = 'q'
)

// MaxKeyBytes is the largest whole key that is ever written to an engine: the space, the owner and the names included.
// The B-tree of PostgreSQL refuses an entry of more than 2704 bytes; the rest is for what an engine adds.
const MaxKeyBytes = 2500

const (
	expiryPrefixBytes = 1 + 1 + 8                       // what an expiry entry has before the row's key
	maxRowKeyBytes    = MaxKeyBytes - expiryPrefixBytes // so that the expiry entry of every row fits too
)

// ErrKeyTooLong reports a row, an index entry or a log entry whose whole key would be longer than an engine takes.
var ErrKeyTooLong = NewError(Invalid, "a key is too long")

// fits returns ErrKeyTooLong when a whole key has more bytes than most. what and name say in the message what the key
// belongs to.
func fits(key []byte, most int, what, name string) error {
	if len(key) <= most {
		return nil
	}
	return ErrKeyTooLong.With("%s %s: a whole key of %d bytes is too long; at most %d", what, name, len(key), most)
}

// rowKey is the key of a row in the store.
func rowKey(uid UID, table, key string) []byte {
	k := make([]byte, 0, 1+len(uid)+len(table)+1+len(key))
	k = append(k, spaceRow)
	k = append(k, uid[:]...)
	k = append(k, table...)
	k = append(k, 0)
	return append(k, key...)
}

// splitRowKey is the reverse of rowKey.
func splitRowKey(k []byte) (uid UID, table, key string, err error) {
	if len(k) < 1+len(uid) || k[0] != spaceRow {
		return uid, "", "", fmt.Errorf("row key %x has no owner", k)
	}
	copy(uid[:], k[1:])
	name, rest, found := bytes.Cut(k[1+len(uid):], []byte{0})
	if !found {
		return uid, "", "", fmt.Errorf("row key %x has no table", k)
	}
	return uid, string(name), string(rest), nil
}

// ownerOf returns the owner in a row's key.
func ownerOf(rowKey []byte) (uid UID, ok bool) {
	uid, _, _, err := splitRowKey(rowKey)
	return uid, err == nil
}

// userPrefix is the prefix of the keys of all rows of uid.
func userPrefix(uid UID) []byte { return append([]byte{spaceRow}, uid[:]...) }

// indexKey is the key of an index entry. The value is escaped, so that entries sort as their values do and no entry is
// the prefix of another. In a plain index the row's key follows, since several rows may have the same value.
func indexKey(index, value string, row []byte) []byte {
	k := append(indexPrefix(index), escape(value)...)
	return append(k, row...)
}

func indexPrefix(index string) []byte {
	k := append(make([]byte, 0, len(index)+64), spaceIndex)
	k = append(k, index...)
	return append(k, 0)
}

// escape makes value self-delimiting and keeps its order: 0 becomes 0 255, and 0 1 ends it.
func escape(value string) []byte {
	e := make([]byte, 0, len(value)+2)
	for i := range len(value) {
		e = append(e, value[i])
		if value[i] == 0 {
			e = append(e, 0xff)
		}
	}
	return append(e, escapeEnd...)
}

// escapeEnd is what ends an escaped value.
const escapeEnd = "\x00\x01"

func expiryKey(shard byte, at time.Time, row []byte) []byte {
	k := append(make([]byte, 0, expiryPrefixBytes+len(row)), spaceExpiry, shard)
	k = binary.BigEndian.AppendUint64(k, unixNano(at))
	return append(k, row...)
}

// splitExpiryKey splits an expiry entry's key into the time and the row's key.
func splitExpiryKey(k []byte) (at time.Time, row []byte, err error) {
	if len(k) < expiryPrefixBytes || k[0] != spaceExpiry {
		return time.Time{}, nil, fmt.Errorf("expiry key %x is too short", k)
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(k[2:expiryPrefixBytes]))).UTC(), k[expiryPrefixBytes:], nil
}

func logPrefix(name string, shard byte) []byte {
	k := append(make([]byte, 0, len(name)+40), spaceLog)
	k = append(k, name...)
	return append(k, 0, shard)
}

func metaKey(name string) []byte { return append([]byte{spaceMeta}, name...) }
