package storage_test

import (
	"errors"
	"testing"

	"tutela/storage"
)

func TestUproot_TakesARowThatNothingElseReads(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		damaged := map[string]string{"no header": "x", "no JSON": "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00{"}
		for key, bytes := range damaged {
			h.update(func(tx *storage.Tx) error {
				return storage.TxPut(tx, storage.RowKey(uid, "account", key), []byte(bytes))
			})
		}
		for key, bytes := range damaged {
			h.view(func(tx *storage.Tx) error {
				if _, err := accounts.Get(tx, uid, key); !errors.Is(err, storage.ErrDamaged) {
					t.Errorf("%s: %v", key, err)
				}
				return nil
			})
			h.update(func(tx *storage.Tx) error {
				taken, err := accounts.Uproot(tx, uid, key)
				equal(t, string(taken), bytes)
				return err
			})
			h.view(func(tx *storage.Tx) error {
				_, err := accounts.Get(tx, uid, key)
				equal(t, errors.Is(err, storage.ErrNotFound), true)
				return nil
			})
			h.update(func(tx *storage.Tx) error {
				taken, err := accounts.Uproot(tx, uid, key)
				equal(t, taken == nil, true)
				return err
			})
		}
	})
}

func TestLogUproot_FindsAnEntryWhoseOwnerIsNotKnown(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		for i := range byte(20) {
			h.update(func(tx *storage.Tx) error { return diary.Append(tx, storage.UID{i}, string('a'+rune(i)), []byte{i}) })
		}
		for i := range byte(20) {
			h.update(func(tx *storage.Tx) error {
				value, err := diary.Uproot(tx, string('a'+rune(i)))
				equal(t, value, []byte{i})
				return err
			})
		}
		h.update(func(tx *storage.Tx) error {
			value, err := diary.Uproot(tx, "a")
			equal(t, value == nil, true)
			last, failed := diary.Last(tx)
			equal(t, last, "")
			return errors.Join(err, failed)
		})
	})
}
