package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	json "github.com/go-json-experiment/json/v1"
)

// SetAside is a row or an entry whose bytes cannot be read. Code that meets one and would be blocked by it moves its
// bytes here, so that a person can look at them: there may be no other copy.
type SetAside struct {
	At    time.Time `json:"at"`
	UID   UID       `json:"uid,omitzero"`    // whose row it is; none when that cannot be read either
	Table string    `json:"table,omitempty"` // of the row; none when that cannot be read
	Why   string    `json:"why"`
	Key   []byte    `json:"key"` // in the store
	Value []byte    `json:"value,omitempty"`
}

// setAside deletes key and keeps its value as a [SetAside] record.
func (tx *Tx) setAside(key, value []byte, why error) error {
	aside := SetAside{
		At:    tx.now,
		Why:   why.Error(),
		Key:   bytes.Clone(key),
		Value: bytes.Clone(value),
	}
	if uid, table, _, err := splitRowKey(key); err == nil {
		aside.UID = uid
		aside.Table = table
	}
	encoded, err := json.Marshal(aside)
	if err != nil {
		return err
	}
	if err := tx.put(asideKey(aside.UID, tx.Stamp()), encoded); err != nil {
		return err
	}
	tx.damaged = append(tx.damaged, aside)
	return tx.delete(aside.Key)
}

func asideKey(uid UID, stamp int64) []byte {
	return binary.BigEndian.AppendUint64(asidePrefix(uid), uint64(stamp))
}

// asidePrefix is the prefix of the keys of everything set aside for uid.
func asidePrefix(uid UID) []byte { return append([]byte{spaceAside}, uid[:]...) }

// tellOfDamage logs what a transaction has set aside, without its bytes.
func (s *Store) tellOfDamage(damaged []SetAside) {
	for _, d := range damaged {
		s.log.Error("a damaged record was set aside", "table", d.Table, "uid", d.UID, "bytes", len(d.Value), "why", d.Why)
	}
}

// SetAside returns at most limit of the records that were set aside.
func (s *Store) SetAside(ctx context.Context, limit int) ([]SetAside, error) {
	list := []SetAside{}
	var failed error
	err := s.engine.Peek(ctx, Prefix([]byte{spaceAside}), func(key, value []byte) bool {
		var aside SetAside
		if failed = json.Unmarshal(value, &aside); failed != nil {
			failed = fmt.Errorf("what was set aside under %x: %w", key, failed)
			return false
		}
		list = append(list, aside)
		return len(list) < limit
	})
	if err == nil {
		err = failed
	}
	return list, err
}

// CountSetAside counts the records that were set aside, up to limit.
func (s *Store) CountSetAside(ctx context.Context, limit int) (n int, err error) {
	err = s.engine.Peek(ctx, Prefix([]byte{spaceAside}), func(_, _ []byte) bool {
		n++
		return n < limit
	})
	return n, err
}

// ErrDamage reports that damaged records were set aside. The server works on.
var ErrDamage = NewError(Unavailable, "damaged records were set aside")

// Damage returns ErrDamage with the number of records that were set aside, or nil when there are none. The message
// names no user, since /readyz shows it to everybody.
//
// Errors: ErrDamage; those of the engine.
func (s *Store) Damage(ctx context.Context) error {
	n, err := s.CountSetAside(ctx, asideAtOnce)
	switch {
	case err != nil || n == 0:
		return err
	case n == asideAtOnce:
		return ErrDamage.With("records that cannot be read: %d or more", n)
	}
	return ErrDamage.With("records that cannot be read: %d", n)
}

// asideAtOnce is how many set-aside records are counted at most, and removed in one round.
const asideAtOnce = 1000

// DropSetAside removes every record that was set aside and returns how many there were. Then it runs also in a
// transaction of its own, with that number.
//
// Errors: those of also; those of Update.
func (s *Store) DropSetAside(ctx context.Context, also func(tx *Tx, dropped int) error) (dropped int, err error) {
	for {
		var keys [][]byte
		err := s.engine.Peek(ctx, Prefix([]byte{spaceAside}), func(key, _ []byte) bool {
			keys = append(keys, key)
			return len(keys) < asideAtOnce
		})
		if err != nil {
			return dropped, err
		}
		last := len(keys) < asideAtOnce
		// One user's at a time: no transaction writes two users' rows.
		err = s.UpdateEach(ctx, len(keys), func(tx *Tx, i int) error { return tx.delete(keys[i]) })
		if err != nil {
			return dropped, err
		}
		dropped += len(keys)
		if last {
			return dropped, s.Update(ctx, func(tx *Tx) error { return also(tx, dropped) })
		}
	}
}
