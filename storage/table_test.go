package storage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tutela/storage"
)

func TestTable_GivesBackWhatWasPut(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		n := note{
			ID:     "1",
			Tags:   []string{"x"},
			Until:  begin.Add(time.Hour),
			Secret: []byte("s3cret"),
		}
		h.put(uid, "a", n)
		got, err := h.get(uid, "a")
		must(t, err)
		equal(t, *got, n)
		h.view(func(tx *storage.Tx) error {
			has, err := notes.Has(tx, uid, "a")
			equal(t, has, true)
			must(t, err)
			has, err = notes.Has(tx, uid, "b")
			equal(t, has, false)
			must(t, err)
			_, err = notes.Get(tx, uid, "b")
			is(t, err, storage.ErrNotFound)
			_, err = notes.Get(tx, storage.NewUID(), "a")
			is(t, err, storage.ErrNotFound)
			return nil
		})
	})
}

func TestTable_InsertRefusesARowThatIsThere(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		insert := func(n note) error {
			return h.Update(t.Context(), func(tx *storage.Tx) error { return notes.Insert(tx, uid, "a", &n) })
		}
		must(t, insert(note{ID: "1", Until: begin.Add(time.Second)}))
		is(t, insert(note{ID: "2"}), storage.ErrExists)
		h.clock.Advance(time.Second)
		must(t, insert(note{ID: "3"})) // the first is over, though not swept
		h.inStep()
		n, err := h.get(uid, "a")
		must(t, err)
		equal(t, n.ID, "3")
	})
}

func TestTable_AddedRowsAreAsThoseThatWerePut(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		add := func(key string, n note) error {
			return h.Update(t.Context(), func(tx *storage.Tx) error { return notes.Add(tx, uid, key, &n) })
		}
		must(t, add("a", note{ID: "1", Tags: []string{"x"}, Until: begin.Add(time.Minute)}))
		is(t, add("b", note{ID: "1"}), storage.ErrUnique)
		h.inStep()
		n, err := h.get(uid, "a")
		must(t, err)
		equal(t, n.ID, "1")
		_, err = h.get(uid, "b")
		is(t, err, storage.ErrNotFound)
	})
}

func TestTable_DeleteOfAMissingRowIsNoError(t *testing.T) {
	h := newHouse(t)
	before := len(h.content())
	h.update(func(tx *storage.Tx) error { return notes.Delete(tx, storage.NewUID(), "a") })
	equal(t, len(h.content()), before)
}

func TestTable_PrefixedIsInTheOrderOfKeysAndOfOneUserOnly(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		other := storage.NewUID()
		for _, key := range []string{"b", "a2", "a1", "a\x00", "a\uffff", "", "a"} {
			h.put(uid, key, note{ID: "u" + key})
			h.put(other, key, note{ID: "o" + key})
		}
		h.update(func(tx *storage.Tx) error { return twins.Put(tx, uid, "a1", &note{}) })
		h.view(func(tx *storage.Tx) error {
			rows, err := notes.Prefixed(tx, uid, "a")
			must(t, err)
			var keys []string
			for _, row := range rows {
				keys = append(keys, row.Key)
				equal(t, row.UID, uid)
				equal(t, row.Record.ID, "u"+row.Key)
			}
			equal(t, keys, []string{"a", "a\x00", "a1", "a2", "a\uffff"})
			rows, err = notes.All(tx, uid)
			equal(t, len(rows), 7)
			return err
		})
	})
}

func TestTable_ScansSeeTheTransactionsOwnWrites(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		for _, key := range []string{"a", "c", "e"} {
			h.put(uid, key, note{Tags: []string{"x"}})
		}
		h.update(func(tx *storage.Tx) error {
			must(t, errors.Join(
				notes.Put(tx, uid, "b", &note{Tags: []string{"x"}}),
				notes.Delete(tx, uid, "c"),
				notes.Put(tx, uid, "e", &note{Tags: []string{"y"}}),
				notes.Put(tx, uid, "f", &note{Tags: []string{"x"}}),
				notes.Delete(tx, uid, "f")))
			equal(t, keysOf(notes.All(tx, uid)), "a b e")
			equal(t, keysOf(noteByTag.Find(tx, "x", 0)), "a b")
			equal(t, keysOf(noteByTag.Find(tx, "y", 0)), "e")
			return nil
		})
		h.inStep()
	})
}

func keysOf(rows []storage.Row[note], err error) string {
	if err != nil {
		return err.Error()
	}
	var keys []string
	for _, row := range rows {
		keys = append(keys, row.Key)
	}
	return strings.Join(keys, " ")
}

// namesOf lists the keys of uid's notes that begin with prefix.
func namesOf(tx *storage.Tx, uid storage.UID, prefix string) string {
	var keys []string
	if err := notes.Keys(tx, uid, prefix, func(key string) bool {
		keys = append(keys, key)
		return true
	}); err != nil {
		return err.Error()
	}
	return strings.Join(keys, " ")
}

func TestTable_KeysAreInOrderAndWithoutThoseOfExpiredRows(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		for _, key := range []string{"b", "a2", "a1", "a3"} {
			h.put(uid, key, note{})
			h.put(storage.NewUID(), key+"x", note{})
		}
		h.put(uid, "a4", note{Until: h.Now()})
		h.update(func(tx *storage.Tx) error {
			must(t, errors.Join(notes.Put(tx, uid, "a0", &note{}), notes.Delete(tx, uid, "a2")))
			equal(t, namesOf(tx, uid, ""), "a0 a1 a3 b")
			equal(t, namesOf(tx, uid, "a"), "a0 a1 a3")
			first := ""
			err := notes.Keys(tx, uid, "a", func(key string) bool {
				first += key
				return false
			})
			equal(t, first, "a0")
			equal(t, notes.Keys(tx, storage.House, "", func(string) bool { return true }) != nil, true)
			return err
		})
	})
}

func TestTable_RefusesAnOwnerThatDoesNotFitItsClass(t *testing.T) {
	h := newHouse(t)
	before := len(h.content())
	_ = h.Update(t.Context(), func(tx *storage.Tx) error {
		uid := storage.NewUID()
		_, getErr := notes.Get(tx, storage.House, "a")
		_, allErr := rules.All(tx, uid)
		_, hasErr := rules.Has(tx, uid, "a")
		for i, err := range []error{
			notes.Put(tx, storage.House, "a", &note{}), notes.Insert(tx, storage.House, "a", &note{}),
			notes.Delete(tx, storage.House, "a"), rules.Put(tx, uid, "a", &note{}), getErr, allErr, hasErr,
		} {
			if err == nil || errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), "does not fit class") {
				t.Errorf("call %d: %v", i, err)
			}
		}
		return nil
	})
	equal(t, len(h.content()), before)
}

func TestTable_RefusesKeysAndIndexValuesThatAreTooLong(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	long := strings.Repeat("x", storage.MaxKeyBytes)
	before := len(h.content())
	_ = h.Update(t.Context(), func(tx *storage.Tx) error {
		for i, err := range []error{
			notes.Put(tx, uid, long, &note{}), notes.Put(tx, uid, "a", &note{ID: long}),
			notes.Put(tx, uid, "a", &note{ID: "1", Tags: []string{"x", long}}),
		} {
			is(t, err, storage.ErrKeyTooLong)
			equal(t, storage.CodeOf(err), storage.Invalid)
			if !strings.Contains(err.Error(), " note") || strings.Contains(err.Error(), long) {
				t.Errorf("put %d: %v", i, err)
			}
		}
		_, err := noteByID.Find(tx, long)
		is(t, err, storage.ErrNotFound)
		equal(t, keysOf(noteByTag.Find(tx, long, 0)), "")
		return nil
	})
	equal(t, len(h.content()), before)
	is(t, h.Update(t.Context(), func(tx *storage.Tx) error { return diary.Append(tx, uid, long, nil) }), storage.ErrKeyTooLong)
}

// The longest key, the longest unique value and the longest plain value that fit are written, found, scanned and deleted;
// one byte more is refused.
func TestTable_TakesKeysAndValuesUpToTheBound(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		key := strings.Repeat("k", storage.MaxKeyBytes-len(storage.ExpiryKey(0, begin, storage.RowKey(uid, "note", ""))))
		id := strings.Repeat("\x00", (storage.MaxKeyBytes-len(storage.IndexKey("note.id", "", nil)))/2) // each is two bytes when escaped
		tag := strings.Repeat("t", storage.MaxKeyBytes-len(storage.IndexKey("note.tag", "", storage.RowKey(uid, "note", "a"))))
		until := begin.Add(time.Hour)
		h.put(uid, key, note{ID: id, Until: until})
		h.put(uid, "a", note{Tags: []string{tag}, Until: until})
		h.view(func(tx *storage.Tx) error {
			row, err := noteByID.Find(tx, id)
			must(t, err)
			equal(t, row.Key, key)
			equal(t, keysOf(noteByTag.Find(tx, tag, 0)), "a")
			equal(t, keysOf(notes.All(tx, uid)), "a "+key)
			return nil
		})
		longest := 0
		for _, p := range h.content() {
			longest = max(longest, len(p.key))
		}
		equal(t, longest, storage.MaxKeyBytes)
		for _, put := range []func(tx *storage.Tx) error{
			func(tx *storage.Tx) error { return notes.Put(tx, uid, key+"k", &note{}) },
			func(tx *storage.Tx) error { return notes.Put(tx, uid, "b", &note{ID: id + "\x00"}) },
			func(tx *storage.Tx) error { return notes.Put(tx, uid, "a", &note{Tags: []string{tag + "t"}}) },
		} {
			is(t, h.Update(t.Context(), put), storage.ErrKeyTooLong)
		}
		h.update(func(tx *storage.Tx) error {
			return errors.Join(notes.Delete(tx, uid, key), notes.Delete(tx, uid, "a"))
		})
		h.view(func(tx *storage.Tx) error {
			_, err := noteByID.Find(tx, id)
			is(t, err, storage.ErrNotFound)
			equal(t, keysOf(noteByTag.Find(tx, tag, 0)), "")
			return nil
		})
	})
}

func TestTable_KeepsU0000InKeysNamesAndRecords(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.put(uid, "\x00", note{ID: "\x00", Tags: []string{"\x00", ""}})
		h.view(func(tx *storage.Tx) error {
			row, err := noteByID.Find(tx, "\x00")
			must(t, err)
			equal(t, row, storage.Row[note]{UID: uid, Key: "\x00", Record: &note{ID: "\x00", Tags: []string{"\x00", ""}}})
			equal(t, keysOf(noteByTag.Find(tx, "\x00", 0)), "\x00")
			return nil
		})
	})
}

// getManyCounted counts how often transactions ask the engine for values.
type getManyCounted struct {
	storage.Engine
	asked *atomic.Int64
}

func (e getManyCounted) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	return e.Engine.Update(ctx, func(r storage.Reader) (*storage.WriteSet, error) { return fn(askedReader{r, e.asked}) })
}

type askedReader struct {
	storage.Reader
	asked *atomic.Int64
}

func (r askedReader) Get(key []byte) ([]byte, error) {
	r.asked.Add(1)
	return r.Reader.Get(key)
}

func (r askedReader) GetMany(keys [][]byte) ([][]byte, error) {
	r.asked.Add(1)
	return r.Reader.GetMany(keys)
}

func TestGetMany_AsksTheEngineOnceAndReadsItsOwnWrites(t *testing.T) {
	asked := new(atomic.Int64)
	h := open(t, filepath.Join(t.TempDir(), "data"), storage.NewFakeClock(begin), func(e storage.Engine) storage.Engine {
		return getManyCounted{e, asked}
	})
	uid := storage.NewUID()
	for _, key := range []string{"a", "b", "c"} {
		h.put(uid, key, note{ID: key, Secret: []byte("of " + key)})
	}
	h.put(uid, "over", note{Until: begin.Add(time.Minute)})
	h.clock.Advance(time.Minute)
	h.update(func(tx *storage.Tx) error {
		must(t, notes.Delete(tx, uid, "b"))
		must(t, notes.Put(tx, uid, "new", &note{ID: "new"}))
		before := asked.Load()
		got, err := notes.GetMany(tx, uid, []string{"c", "missing", "new", "b", "a", "over", "a"})
		must(t, err)
		equal(t, asked.Load()-before, int64(1))
		a := &note{ID: "a", Secret: []byte("of a")}
		c := &note{ID: "c", Secret: []byte("of c")}
		equal(t, got, []*note{c, nil, {ID: "new"}, nil, a, nil, a})
		before = asked.Load()
		got, err = notes.GetMany(tx, uid, []string{"new", "b"})
		must(t, err)
		equal(t, asked.Load(), before) // the write set knows both
		equal(t, got, []*note{{ID: "new"}, nil})
		return nil
	})
}

func TestTable_RawKeepsBytesAsTheyAre(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		large := bytes.Repeat([]byte{0, 1, 255}, 1<<20)
		h.update(func(tx *storage.Tx) error {
			return errors.Join(blobs.Put(tx, uid, "large", &large), blobs.Put(tx, uid, "empty", &[]byte{}))
		})
		h.update(func(tx *storage.Tx) error {
			got, err := blobs.Get(tx, uid, "large")
			must(t, err)
			if !bytes.Equal(*got, large) {
				t.Error("the large value is another")
			}
			(*got)[0] = 9 // it is a copy
			again, err := blobs.Get(tx, uid, "large")
			equal(t, (*again)[0], 0)
			must(t, err)
			got, err = blobs.Get(tx, uid, "empty")
			equal(t, len(*got), 0)
			return err
		})
	})
}

func TestUnique_RefusesAValueThatAnotherRowHas(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		other := storage.NewUID()
		h.put(uid, "a", note{ID: "1"})
		put := func(uid storage.UID, key, id string) error {
			return h.Update(t.Context(), func(tx *storage.Tx) error { return notes.Put(tx, uid, key, &note{ID: id}) })
		}
		is(t, put(other, "b", "1"), storage.ErrUnique)
		is(t, put(uid, "b", "1"), storage.ErrUnique)
		must(t, put(uid, "a", "1"))
		must(t, put(uid, "a", "2"))
		must(t, put(other, "b", "1"))
		h.view(func(tx *storage.Tx) error {
			row, err := noteByID.Find(tx, "1")
			must(t, err)
			equal(t, row.UID, other)
			equal(t, row.Key, "b")
			equal(t, row.Record.ID, "1")
			_, err = noteByID.Find(tx, "3")
			is(t, err, storage.ErrNotFound)
			return nil
		})
		h.inStep()
	})
}

func TestUnique_ARefusedPutLeavesNothingEvenWhenItsErrorIsSwallowed(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		other := storage.NewUID()
		h.put(uid, "a", note{ID: "1"})
		h.put(other, "b", note{ID: "2", Tags: []string{"old"}})
		h.update(func(tx *storage.Tx) error {
			is(t, notes.Put(tx, other, "b", &note{ID: "1", Tags: []string{"new"}, Until: begin.Add(time.Hour)}), storage.ErrUnique)
			is(t, notes.Insert(tx, other, "c", &note{ID: "1", Tags: []string{"new"}}), storage.ErrUnique)
			return nil
		})
		h.inStep()
		h.view(func(tx *storage.Tx) error {
			equal(t, keysOf(noteByTag.Find(tx, "new", 0)), "")
			equal(t, keysOf(noteByTag.Find(tx, "old", 0)), "b")
			return nil
		})
	})
}

func TestUnique_AValueOfAnExpiredRowIsFree(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		other := storage.NewUID()
		h.put(uid, "a", note{ID: "1", Tags: []string{"x"}, Until: begin.Add(time.Second)})
		h.clock.Advance(time.Second)
		h.put(other, "b", note{ID: "1"})
		h.inStep()
		_, err := h.Sweep(t.Context())
		must(t, err)
		h.inStep()
		h.view(func(tx *storage.Tx) error {
			row, err := noteByID.Find(tx, "1")
			equal(t, row.UID, other)
			return err
		})
	})
}

func TestUnique_ARowThatComesBackAfterItsExpiryHasLostItsValue(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		first := storage.NewUID()
		second := storage.NewUID()
		old := note{ID: "1", Until: begin.Add(time.Second)}
		h.put(first, "a", old)
		h.clock.Advance(time.Second)
		h.put(second, "b", note{ID: "1", Until: begin.Add(time.Minute)})
		back := note{ID: "1", Until: begin.Add(time.Hour)}
		is(t, h.Update(background, func(tx *storage.Tx) error { return notes.Put(tx, first, "a", &back) }), storage.ErrUnique)
		h.inStep()
		h.update(func(tx *storage.Tx) error { return notes.Delete(tx, first, "a") }) // the value of the second stays
		h.view(func(tx *storage.Tx) error {
			row, err := noteByID.Find(tx, "1")
			equal(t, row.UID, second)
			return err
		})
		h.clock.Advance(time.Minute) // nobody has it now, and the first row is not swept
		h.put(first, "a", back)
		h.inStep()
		h.view(func(tx *storage.Tx) error {
			row, err := noteByID.Find(tx, "1")
			equal(t, row.UID, first)
			return err
		})
	})
}

func TestTable_AnExpiredRowIsNotFoundSweptOrNot(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.put(uid, "a", note{ID: "1", Tags: []string{"x"}, Until: begin.Add(time.Second)})
		h.put(uid, "b", note{ID: "2", Tags: []string{"x"}})
		look := func(want string) {
			t.Helper()
			h.view(func(tx *storage.Tx) error {
				_, getErr := notes.Get(tx, uid, "a")
				has, hasErr := notes.Has(tx, uid, "a")
				_, findErr := noteByID.Find(tx, "1")
				equal(t, has, getErr == nil)
				equal(t, keysOf(notes.All(tx, uid)), want)
				equal(t, keysOf(notes.Prefixed(tx, uid, "")), want)
				equal(t, keysOf(noteByTag.Find(tx, "x", 0)), want)
				equal(t, errors.Is(getErr, storage.ErrNotFound), want == "b")
				equal(t, errors.Is(findErr, storage.ErrNotFound), want == "b")
				return hasErr
			})
		}
		h.clock.Advance(time.Second - 1)
		look("a b")
		h.clock.Advance(1)
		look("b")
		n, err := h.Sweep(t.Context())
		must(t, err)
		equal(t, n, 1)
		look("b")
		h.inStep()
	})
}

func TestPlain_FindGivesAsManyAsAreAskedForPastExpiredOnes(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	for i := range 10 {
		n := note{Tags: []string{"x"}}
		if i < 5 {
			n.Until = begin.Add(time.Second)
		}
		h.put(uid, fmt.Sprint(i), n)
	}
	h.clock.Advance(time.Second)
	h.view(func(tx *storage.Tx) error {
		equal(t, keysOf(noteByTag.Find(tx, "x", 2)), "5 6")
		equal(t, keysOf(noteByTag.Find(tx, "x", 9)), "5 6 7 8 9")
		return nil
	})
}

func TestPlain_ValuesAreNotMistakenForEachOther(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	values := []string{"", "a", "a\x00", "a\x00\x01", "a\x00\u00ff", "ab", "b", "\U0010ffff"}
	for i, v := range values {
		h.put(uid, fmt.Sprint(i), note{ID: v, Tags: []string{v, v}})
	}
	h.view(func(tx *storage.Tx) error {
		for i, v := range values {
			equal(t, keysOf(noteByTag.Find(tx, v, 0)), fmt.Sprint(i))
			if row, err := noteByID.Find(tx, v); v != "" {
				must(t, err)
				equal(t, row.Key, fmt.Sprint(i))
			}
		}
		return nil
	})
	h.inStep()
}

func TestUnique_PeekGoesThroughValuesInOrderFromAPlace(t *testing.T) {
	h := newHouse(t)
	values := []string{"a", "a\x00", "a\x00b", "b", "c\u00ff"}
	for _, v := range slices.Backward(values) {
		h.put(storage.NewUID(), "k"+v, note{ID: v})
	}
	for i := range values {
		var seen []string
		must(t, noteByID.Peek(t.Context(), h.Store, values[i], func(value string, uid storage.UID, key string) bool {
			equal(t, key, "k"+value)
			equal(t, uid.IsZero(), false)
			seen = append(seen, value)
			return true
		}))
		equal(t, seen, values[i:])
	}
	n := 0
	must(t, noteByID.Peek(t.Context(), h.Store, "", func(string, storage.UID, string) bool {
		n++
		return n < 2
	}))
	equal(t, n, 2)
}

func TestTable_ExpiriesOutOfTheOrdinaryAreKept(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		for i, until := range []time.Time{
			{}, time.Unix(0, 0), time.Unix(0, 1), time.Unix(-1e9, 0), time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC),
			time.Date(2262, 4, 12, 0, 0, 0, 0, time.UTC), time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC),
		} {
			h.put(uid, "a", note{ID: fmt.Sprint(i), Until: until})
			h.inStep()
			_, err := h.get(uid, "a")
			equal(t, errors.Is(err, storage.ErrNotFound), !until.IsZero() && until.Before(begin))
		}
		h.update(func(tx *storage.Tx) error { return notes.Delete(tx, uid, "a") })
		h.inStep()
	})
}

func TestSealed_IsNotInTheStoreOrTheFile(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.put(uid, "a", note{ID: "visible-planted", Secret: []byte("sealed-planted")})
	equal(t, h.holds([]byte("visible-planted")), "iu")
	equal(t, h.holds([]byte("sealed-planted")), "")
	equal(t, h.holds([]byte("c2VhbGVkLXBsYW50ZW")), "") // its base64, as JSON would have it
	if file := h.fileContent(); bytes.Contains(file, []byte("sealed-planted")) || !bytes.Contains(file, []byte("visible-planted")) {
		t.Error("the file shows the wrong one")
	}
	n, err := h.get(uid, "a")
	must(t, err)
	equal(t, string(n.Secret), "sealed-planted")
}

func TestSealed_ARawRecordIsSealedWhole(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	key := []byte("raw-planted\x00\xff")
	h.update(func(tx *storage.Tx) error { return secrets.Put(tx, uid, "a", &key) })
	equal(t, string(key), "raw-planted\x00\xff") // the caller's is as it was
	equal(t, h.holds([]byte("raw-planted")), "")
	check := func() {
		t.Helper()
		h.view(func(tx *storage.Tx) error {
			got, err := secrets.Get(tx, uid, "a")
			must(t, err)
			equal(t, string(*got), "raw-planted\x00\xff")
			return nil
		})
	}
	check()
	_, err := h.ring.Rotate(t.Context())
	must(t, err)
	rows, err := h.Reseal(t.Context())
	must(t, err)
	equal(t, rows, 1)
	check()
	h.update(func(tx *storage.Tx) error {
		stored, err := storage.TxGet(tx, storage.RowKey(uid, "secret", "a"))
		must(t, err)
		return storage.TxPut(tx, storage.RowKey(uid, "secret", "b"), bytes.Clone(stored))
	})
	h.view(func(tx *storage.Tx) error {
		_, err := secrets.Get(tx, uid, "b")
		is(t, err, storage.ErrDamaged)
		return nil
	})
}

func TestSealed_DoesNotOpenInAnotherPlace(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	other := storage.NewUID()
	h.put(uid, "a", note{Secret: []byte("s3cret")})
	move := func(to storage.UID, table, key string) {
		h.update(func(tx *storage.Tx) error {
			stored, err := storage.TxGet(tx, storage.RowKey(uid, "note", "a"))
			must(t, err)
			return storage.TxPut(tx, storage.RowKey(to, table, key), bytes.Clone(stored))
		})
	}
	move(uid, "note", "b")
	move(other, "note", "a")
	move(uid, "note2", "a") // where the field has another name, too
	h.view(func(tx *storage.Tx) error {
		_, err := notes.Get(tx, uid, "a")
		must(t, err)
		_, rowErr := notes.Get(tx, uid, "b")
		_, ownerErr := notes.Get(tx, other, "a")
		_, tableErr := twins.Get(tx, uid, "a")
		_, allErr := notes.All(tx, uid)
		for i, err := range []error{rowErr, ownerErr, tableErr, allErr} {
			if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), "does not open") || storage.CodeOf(err) != "" {
				t.Errorf("move %d: %v", i, err)
			}
		}
		return nil
	})
}

// two has two sealed fields, and is nested.
type two struct {
	In struct {
		A []byte `json:"a"`
		B []byte `json:"b"`
	} `json:"in"`
}

var twos = storage.Declare(storage.Spec[two]{
	Name: "two", Class: storage.MFA,
	Sealed: func(r *two) []storage.Field {
		return []storage.Field{{Name: "a", Value: &r.In.A}, {Name: "b", Value: &r.In.B}}
	},
})

func TestSealed_DoesNotOpenAsAnotherField(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	r := &two{}
	r.In.A = []byte("first")
	r.In.B = []byte("second")
	h.update(func(tx *storage.Tx) error { return twos.Put(tx, uid, "k", r) })
	equal(t, string(r.In.A)+string(r.In.B), "firstsecond") // the caller's record is as it was
	h.update(func(tx *storage.Tx) error {
		got, err := twos.Get(tx, uid, "k")
		must(t, err)
		equal(t, string(got.In.A)+string(got.In.B), "firstsecond")
		k := storage.RowKey(uid, "two", "k")
		stored, err := storage.TxGet(tx, k)
		must(t, err)
		s := strings.NewReplacer(`"a":`, `"b":`, `"b":`, `"a":`).Replace(string(stored))
		return storage.TxPut(tx, k, []byte(s))
	})
	h.view(func(tx *storage.Tx) error {
		if _, err := twos.Get(tx, uid, "k"); err == nil || !strings.Contains(err.Error(), "does not open") {
			t.Errorf("swapped fields: %v", err)
		}
		return nil
	})
}

// shared keeps its secret behind a pointer, which no record may.
type shared struct {
	In *struct {
		Secret []byte `json:"secret"`
	} `json:"in"`
}

var shareds = storage.Declare(storage.Spec[shared]{
	Name: "shared", Class: storage.MFA,
	Sealed: func(r *shared) []storage.Field { return []storage.Field{{Name: "s", Value: &r.In.Secret}} },
})

func TestSealed_BehindAPointerIsRefusedAndTheRecordLeftAlone(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	r := &shared{}
	r.In = &struct {
		Secret []byte `json:"secret"`
	}{[]byte("s3cret")}
	err := h.Update(t.Context(), func(tx *storage.Tx) error { return shareds.Put(tx, uid, "k", r) })
	if err == nil || !strings.Contains(err.Error(), "behind a pointer") {
		t.Errorf("got %v", err)
	}
	equal(t, string(r.In.Secret), "s3cret")
}

func TestSealed_AnEmptyFieldIsNoSecret(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.put(uid, "a", note{Secret: []byte{}})
	n, err := h.get(uid, "a")
	must(t, err)
	equal(t, len(n.Secret), 0)
}

func TestSealed_NeedsASealer(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.put(uid, "a", note{Secret: []byte("s3cret")})
	bare, err := storage.Open(t.Context(), h.Engine(), storage.Options{Clock: h.clock})
	must(t, err)
	readErr := bare.View(t.Context(), func(tx *storage.Tx) error {
		_, err := notes.Get(tx, uid, "a")
		return err
	})
	writeErr := bare.Update(t.Context(), func(tx *storage.Tx) error {
		return notes.Put(tx, uid, "b", &note{Secret: []byte("s3cret")})
	})
	for _, err := range []error{readErr, writeErr} {
		if err == nil || !strings.Contains(err.Error(), "no keys") {
			t.Errorf("got %v", err)
		}
	}
	equal(t, h.holds([]byte("s3cret")), "")
}

func TestTable_ADamagedRowIsAnErrorAndNotSilence(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	for _, damaged := range []string{"", "x", "\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00{}", "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00{"} {
		h.update(func(tx *storage.Tx) error {
			return storage.TxPut(tx, storage.RowKey(uid, "note", "a"), []byte(damaged))
		})
		h.view(func(tx *storage.Tx) error {
			_, getErr := notes.Get(tx, uid, "a")
			_, allErr := notes.All(tx, uid)
			for _, err := range []error{getErr, allErr} {
				if !errors.Is(err, storage.ErrDamaged) || errors.Is(err, storage.ErrNotFound) || storage.CodeOf(err) != "" {
					t.Errorf("%q: %v", damaged, err)
				}
			}
			equal(t, namesOf(tx, uid, ""), "a")
			return nil
		})
	}
}

func TestDeclare_WhatIsWrongIsAnErrorOfOpen(t *testing.T) {
	type spec = storage.Spec[note]
	values := func(*note) []string { return nil }
	for name, declare := range map[string]func(){
		"table t is declared twice": func() {
			storage.Declare(spec{Name: "t", Class: storage.MFA})
			storage.Declare(spec{Name: "t", Class: storage.Account})
		},
		"has no class":                 func() { storage.Declare(spec{Name: "t"}) },
		"not a valid name for a table": func() { storage.Declare(spec{Name: "t.x", Class: storage.MFA}) },
		"not a valid name for a log":   func() { storage.DeclareLog("t\x00") },
		"log l is declared": func() {
			storage.DeclareLog("l")
			storage.DeclareLog("l")
		},
		"not a valid name for an index": func() { storage.Declare(spec{Name: "t", Class: storage.MFA}).Plain("", values) },
		"index t.i is declared": func() {
			table := storage.Declare(spec{Name: "t", Class: storage.MFA})
			table.Plain("i", values)
			table.Unique("i", values)
		},
		"is raw, but its records are not": func() { storage.Declare(spec{Name: "t", Class: storage.MFA, Raw: true}) },
	} {
		err := storage.Faults(declare)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	must(t, storage.Faults(func() {
		storage.Declare(spec{Name: "t", Class: storage.MFA}).Plain("t", values)
		storage.DeclareLog("t")
	}))
}

// inStep sees that the index and expiry entries in the store are exactly those that its rows call for.
func (h *house) inStep() {
	h.t.Helper()
	want := map[string]string{}
	got := map[string]string{}
	freed := map[string][]string{} // unique entries of rows past their expiry: which of these rows has one, or none, is open
	for _, p := range h.content() {
		switch p.key[0] {
		case 'i', 'x':
			got[fmt.Sprintf("%q", p.key)] = string(p.value)
		case 'u':
			h.entries(p, want, freed)
		}
	}
	for entry, rows := range freed {
		if _, live := want[entry]; live {
			continue
		}
		if row, there := got[entry]; there && !slices.Contains(rows, row) {
			h.t.Errorf("the entry %s belongs to none of the rows that had it", entry)
		}
		delete(got, entry)
	}
	equal(h.t, got, want)
}

// entries adds those that a row calls for, worked out from its record and not from its header.
func (h *house) entries(p pair, into map[string]string, freed map[string][]string) {
	h.t.Helper()
	uid, table, key, err := storage.SplitRowKey(p.key)
	must(h.t, err)
	r, err := storage.DecodeRow(p.value)
	must(h.t, err)
	expires, indexes, record := r.Parts()
	if table != "note" {
		if expires != 0 || len(indexes) != 0 {
			h.t.Errorf("row %s %q of %s has entries", table, key, uid)
		}
		return
	}
	n := decodeNote(h.t, record)
	if entry := fmt.Sprintf("%q", storage.IndexKey("note.id", n.ID, nil)); n.ID != "" {
		if n.Until.IsZero() || h.Now().Before(n.Until) {
			into[entry] = string(p.key)
		} else {
			freed[entry] = append(freed[entry], string(p.key))
		}
	}
	for _, tag := range n.Tags {
		into[fmt.Sprintf("%q", storage.IndexKey("note.tag", tag, p.key))] = string(p.key)
	}
	if !n.Until.IsZero() {
		shard := uid[0] % byte(h.Engine().Shards())
		into[fmt.Sprintf("%q", storage.ExpiryKey(shard, n.Until, p.key))] = ""
	}
}

func decodeNote(t testing.TB, record []byte) (n note) {
	t.Helper()
	must(t, json.Unmarshal(record, &n))
	return n
}
