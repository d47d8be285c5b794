package storage_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tutela/storage"
)

func TestEscape_KeepsTheOrderAndIsNoPrefixOfAnother(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune{0, 1, 'a', 'b', 255}), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		a := text.Draw(t, "a")
		b := text.Draw(t, "b")
		x := storage.Escape(a)
		y := storage.Escape(b)
		if bytes.Compare(x, y) != strings.Compare(a, b) {
			t.Fatalf("%q and %q sort otherwise than %q and %q", x, y, a, b)
		}
		if a != b && bytes.HasPrefix(x, y) {
			t.Fatalf("%q begins with %q", x, y)
		}
		if back, ok := storage.Unescape(append(x, y...)); !ok || back != a {
			t.Fatalf("%q comes back as %q, %v", a, back, ok)
		}
	})
}

func TestRowKey_ComesBackAndSortsByOwnerTableKey(t *testing.T) {
	uid := storage.UID{1, 0, 0xff}
	k := storage.RowKey(uid, "note", "a\x00b")
	gotUID, table, key, err := storage.SplitRowKey(k)
	must(t, err)
	equal(t, gotUID, uid)
	equal(t, table+"|"+key, "note|a\x00b")
	for _, damaged := range [][]byte{nil, []byte("u"), k[:17], k[:20], append([]byte("x"), k[1:]...)} {
		if _, _, _, err := storage.SplitRowKey(damaged); err == nil {
			t.Errorf("%q was taken for a row key", damaged)
		}
	}
}

func TestExpiryKey_ComesBackAndSortsByTime(t *testing.T) {
	row := storage.RowKey(storage.UID{1}, "note", "a")
	var keys [][]byte
	for _, at := range []time.Time{time.Unix(0, 1), time.Unix(1, 0), begin, begin.Add(1), time.Unix(1<<33, 0)} {
		k := storage.ExpiryKey(3, at, row)
		got, gotRow, err := storage.SplitExpiryKey(k)
		must(t, err)
		equal(t, got, at.UTC())
		equal(t, string(gotRow), string(row))
		keys = append(keys, k)
	}
	equal(t, slices.IsSortedFunc(keys, bytes.Compare), true)
	if _, _, err := storage.SplitExpiryKey(keys[0][:9]); err == nil {
		t.Error("a short key was taken")
	}
}

func TestPrefix_HoldsExactlyTheKeysThatBeginWithIt(t *testing.T) {
	key := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0xfe, 0xff}), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		p := key.Draw(t, "prefix")
		k := key.Draw(t, "key")
		if got := storage.Prefix(p).Contains(k); got != bytes.HasPrefix(k, p) {
			t.Fatalf("prefix %x holds %x: %v", p, k, got)
		}
	})
}

func TestUID_IsTextThatComesBack(t *testing.T) {
	uid := storage.NewUID()
	var record struct {
		A, B storage.UID
		M    map[storage.UID]int
	}
	record.A = uid
	record.M = map[storage.UID]int{uid: 1}
	encoded, err := json.Marshal(record)
	must(t, err)
	equal(t, string(encoded), `{"A":"`+uid.String()+`","B":"","M":{"`+uid.String()+`":1}}`)
	back := record
	back.A = storage.House
	back.B = uid
	back.M = nil
	must(t, json.Unmarshal(encoded, &back))
	equal(t, back, record)
	kept := uid
	for _, text := range []string{"0", uid.String() + "0", uid.String()[:30] + "zz", strings.Repeat("é", 16)} {
		if err := kept.UnmarshalText([]byte(text)); err == nil || kept != uid {
			t.Errorf("%q was taken for a uid", text)
		}
	}
}

func TestNewID_DrawsEveryCharacterEvenly(t *testing.T) {
	id := storage.NewID("dev_", 62_000)
	equal(t, len(id), 62_004)
	counts := map[rune]int{}
	for _, c := range id[4:] {
		counts[c]++
	}
	equal(t, len(counts), 62)
	for c, n := range counts {
		if n < 800 || n > 1200 { // 6 standard deviations around 1000
			t.Errorf("%c was drawn %d times of 62000", c, n)
		}
	}
	a := storage.NewID("", 16)
	b := storage.NewID("", 16)
	if a == b {
		t.Error("an id came twice")
	}
}

func FuzzDecodeRow(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03abc\x01d{}"))
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := storage.DecodeRow(b)
		if err != nil {
			return
		}
		again, err := storage.DecodeRow(storage.EncodeRow(r))
		must(t, err)
		expires, indexes, record := r.Parts()
		expires2, indexes2, record2 := again.Parts()
		equal(t, expires2, expires)
		equal(t, indexes2, indexes)
		equal(t, string(record2), string(record))
	})
}

func FuzzUnescape(f *testing.F) {
	f.Add([]byte("a\x00\xff\x00\x01b"))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if value, ok := storage.Unescape(b); ok && !bytes.HasPrefix(b, storage.Escape(value)) {
			t.Errorf("%q was read as %q", b, value)
		}
	})
}

func FuzzSplitRowKey(f *testing.F) {
	f.Add(storage.RowKey(storage.UID{1}, "note", "a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if uid, table, key, err := storage.SplitRowKey(b); err == nil {
			equal(t, string(storage.RowKey(uid, table, key)), string(b))
		}
		if at, row, err := storage.SplitExpiryKey(b); err == nil && at.UnixNano() > 0 {
			equal(t, string(storage.ExpiryKey(b[1], at, row)), string(b))
		}
	})
}
