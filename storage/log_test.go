package storage_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"tutela/storage"
)

func TestLog_IsInOrderOverAllShardsInBothDirections(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		var keys []string
		for i := range 100 {
			key := fmt.Sprintf("%03d", (i*37)%100)
			keys = append(keys, key)
			uid := storage.UID{byte(i * 11), byte(i)}
			h.update(func(tx *storage.Tx) error { return diary.Append(tx, uid, key, []byte("v"+key)) })
		}
		slices.Sort(keys)
		list := func(from, to string, reverse bool, limit int) (got []string) {
			t.Helper()
			must(t, diary.Peek(t.Context(), h.Store, from, to, reverse, func(key string, value []byte) bool {
				equal(t, string(value), "v"+key)
				got = append(got, key)
				return len(got) < limit
			}))
			return got
		}
		equal(t, list("", "", false, 1000), keys)
		equal(t, list("010", "", false, 3), []string{"010", "011", "012"})
		equal(t, list("010", "012", false, 1000), []string{"010", "011"})
		equal(t, list("", "012", true, 2), []string{"011", "010"})
		equal(t, list("05", "", false, 1), []string{"050"})
		equal(t, list("zzz", "", false, 1), nil)
		equal(t, list("", "", true, 1), []string{"099"})
		slices.Reverse(keys)
		equal(t, list("", "", true, 1000), keys)
		h.view(func(tx *storage.Tx) error {
			last, err := diary.Last(tx)
			equal(t, last, "099")
			return err
		})
	})
}

func TestLog_GivesBackAndDeletesAnEntry(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.UID{9}
		h.update(func(tx *storage.Tx) error {
			return errors.Join(diary.Append(tx, uid, "a", []byte("1")), diary.Append(tx, uid, "empty", nil))
		})
		h.update(func(tx *storage.Tx) error {
			v, err := diary.Get(tx, uid, "a")
			equal(t, string(v), "1")
			must(t, err)
			v, err = diary.Get(tx, uid, "empty")
			equal(t, v != nil, true)
			must(t, err)
			must(t, diary.Delete(tx, uid, "a"))
			must(t, diary.Delete(tx, uid, "never"))
			v, err = diary.Get(tx, uid, "a")
			equal(t, v == nil, true)
			return err
		})
		h.view(func(tx *storage.Tx) error {
			last, err := diary.Last(tx)
			equal(t, last, "empty")
			return err
		})
	})
}

func TestLog_PeekMayCallTheStore(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		for i := range byte(20) {
			h.update(func(tx *storage.Tx) error { return diary.Append(tx, storage.UID{i}, string('a'+rune(i)), []byte{i}) })
		}
		must(t, diary.Peek(t.Context(), h.Store, "", "", false, func(key string, value []byte) bool {
			h.update(func(tx *storage.Tx) error { return diary.Delete(tx, storage.UID{value[0]}, key) })
			return true
		}))
		h.view(func(tx *storage.Tx) error {
			last, err := diary.Last(tx)
			equal(t, last, "")
			return err
		})
	})
}

func TestLog_PeekReturnsTheEnginesError(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		must(t, h.Close())
		err := diary.Peek(t.Context(), h.Store, "", "", false, func(string, []byte) bool { return true })
		equal(t, storage.CodeOf(err), storage.Unavailable)
	})
}
