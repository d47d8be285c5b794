package ground

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	json "github.com/go-json-experiment/json/v1"

	"tutela/storage"
)

// Rewrite changes the stored records of a table, below the domain: a test makes rows of an earlier version so. record is
// a row's JSON; what is sealed in it stays as it is. It returns how many rows there are.
func Rewrite(t testing.TB, engine storage.Engine, table string, change func(record map[string]any)) (rows int) {
	t.Helper()
	const ownerBytes = 1 + len(storage.UID{}) // the space of rows, and the uid
	err := engine.Update(context.Background(), func(r storage.Reader) (*storage.WriteSet, error) {
		rows = 0 // the engine may run this again
		written := storage.NewWriteSet()
		return written, r.Scan(storage.Range{}, func(key, value []byte) bool {
			if key[0] != 'u' || !bytes.HasPrefix(key[ownerBytes:], []byte(table+"\x00")) {
				return true
			}
			rows++
			header := headerBytes(t, value)
			written.Put(bytes.Clone(key), append(bytes.Clone(value[:header]), changed(t, value[header:], change)...))
			return true
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// headerBytes is the length of what lies before a row's record: format, expiry, and counted index keys.
func headerBytes(t testing.TB, value []byte) int {
	t.Helper()
	at := 1 + 8
	count, n := binary.Uvarint(value[at:])
	at += n
	for range count {
		size, n := binary.Uvarint(value[at:])
		at += n + int(size)
	}
	if at >= len(value) || value[at] != '{' {
		t.Fatalf("a row without a record: %x", value)
	}
	return at
}

func changed(t testing.TB, stored []byte, change func(record map[string]any)) []byte {
	t.Helper()
	var record map[string]any
	if err := json.Unmarshal(stored, &record); err != nil {
		t.Fatal(err)
	}
	change(record)
	encoded, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}
