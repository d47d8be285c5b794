package storage_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/keyring"
	"tutela/storage/storagetest"
	"tutela/storage/storagetest/check"
)

// empty is an engine that holds nothing and spreads what is appended.
func empty(t testing.TB) storage.Engine {
	t.Helper()
	file, err := bolt.Open(background, filepath.Join(t.TempDir(), "target"), bolt.Options{Logger: quiet})
	must(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return sharded{file}
}

// furnished is a store that holds what can lie in one: rows of users, indexes, sealed fields, expiries, a log.
func furnished(t testing.TB, users int) *house {
	t.Helper()
	h := newHouse(t)
	must(t, h.UpdateEach(background, users, func(tx *storage.Tx, i int) error {
		uid := storage.UID{byte(i), byte(i >> 8), 1}
		n := note{
			ID:     fmt.Sprint("id-", i),
			Tags:   []string{"all"},
			Until:  begin.Add(time.Hour),
			Secret: []byte("s"),
		}
		large := make([]byte, i%4096)
		return errors.Join(notes.Put(tx, uid, "k", &n), blobs.Put(tx, uid, "b", &large), diary.Append(tx, uid, fmt.Sprintf("%05d", i), []byte("e")))
	}))
	return h
}

// reopened opens the target of a move as a store.
func reopened(t testing.TB, h *house, engine storage.Engine) *house {
	t.Helper()
	s, err := storage.Open(background, engine, storage.Options{Clock: h.clock, Logger: quiet})
	must(t, err)
	ring, err := keyring.Open(background, s, master)
	must(t, err)
	return &house{
		t:     t,
		clock: h.clock,
		ring:  ring,
		Store: s,
	}
}

func TestMove_BringsEverythingAndBeginsAnEpoch(t *testing.T) {
	h := furnished(t, 300)
	to := empty(t)
	moved, err := storage.Move(background, h.Engine(), to, nil)
	must(t, err)
	if moved.Source != moved.Target || len(moved.Source) != 64 || moved.Rows < 4*300 {
		t.Errorf("%+v", moved)
	}
	there := reopened(t, h, to)
	equal(t, there.Identity(), moved.Identity)
	equal(t, there.Identity().Installation, h.Identity().Installation)
	equal(t, there.Epoch().Number, h.Epoch().Number+1)
	n, err := there.get(storage.UID{77, 0, 1}, "k")
	must(t, err)
	equal(t, string(n.Secret), "s")
	_, err = storage.Move(background, h.Engine(), to, nil)
	is(t, err, storage.ErrMoved)
	_, err = storage.Move(background, to, h.Engine(), nil)
	is(t, err, storage.ErrNotEmpty)
}

// What was appended on an engine with one shard is found, removed and swept on one that has seven.
func TestMove_FindsWhatWasAppendedWhereItWas(t *testing.T) {
	h := furnished(t, 30)
	to := empty(t)
	_, err := storage.Move(background, h.Engine(), to, nil)
	must(t, err)
	there := reopened(t, h, to)
	ada := storage.UID{5, 0, 1}
	there.update(func(tx *storage.Tx) error {
		value, err := diary.Get(tx, ada, "00005")
		equal(t, string(value), "e")
		return errors.Join(err, diary.Delete(tx, ada, "00005"), diary.Append(tx, ada, "99999", []byte("new")), notes.Delete(tx, ada, "k"))
	})
	seen := 0
	must(t, diary.Peek(background, there.Store, "", "", false, func(string, []byte) bool {
		seen++
		return true
	}))
	equal(t, seen, 30)
	h.clock.Advance(2 * time.Hour)
	swept := 0
	for n := -1; n != 0; swept += n {
		n, err = there.Sweep(background)
		must(t, err)
	}
	equal(t, swept, 29)
	left := 0
	must(t, to.Peek(background, storage.Prefix([]byte("x")), func(_, _ []byte) bool {
		left++
		return true
	}))
	equal(t, left, 0)
}

func TestMove_GoesOnAfterItWasCutOffAtAnyPoint(t *testing.T) {
	h := furnished(t, 700)
	for pass, cut := 0, true; cut; pass++ {
		for _, kept := range []bool{false, true} {
			to := storagetest.Doubt(empty(t))
			to.Next(pass, kept)
			_, err := storage.Move(background, h.Engine(), to, nil)
			if cut = to.Doubted(); !cut {
				must(t, err)
				break
			}
			is(t, err, storage.ErrOutcomeUnknown)
			opened := error(storage.ErrHalfMoved)
			if pass > 0 || kept { // else it is empty, and would be made a store of its own
				_, opened = storage.Open(background, to, storage.Options{Clock: h.clock, Logger: quiet})
			}
			moved, err := storage.Move(background, h.Engine(), to, nil)
			if errors.Is(err, storage.ErrMoved) { // the last transaction was kept
				must(t, opened)
				continue
			}
			must(t, err)
			is(t, opened, storage.ErrHalfMoved)
			equal(t, moved.Source, moved.Target)
			equal(t, moved.Mended, 0)
			equal(t, reopened(t, h, to).Epoch().Number, h.Epoch().Number+1)
		}
		if pass > 100 {
			t.Fatal("it has no end")
		}
	}
}

func TestMove_MendsWhatTheSourceHasChangedSinceItWasCutOff(t *testing.T) {
	h := furnished(t, 700)
	to := storagetest.Doubt(empty(t))
	to.Next(3, true)
	_, err := storage.Move(background, h.Engine(), to, nil)
	is(t, err, storage.ErrOutcomeUnknown)
	h.update(func(tx *storage.Tx) error {
		return errors.Join(notes.Delete(tx, storage.UID{0, 0, 1}, "k"), notes.Put(tx, storage.UID{0, 0, 1}, "another", &note{ID: "another"}))
	})
	moved, err := storage.Move(background, h.Engine(), to, nil)
	must(t, err)
	equal(t, moved.Source, moved.Target)
	if moved.Mended == 0 {
		t.Error("nothing was mended")
	}
	there := reopened(t, h, to)
	_, err = there.get(storage.UID{0, 0, 1}, "k")
	is(t, err, storage.ErrNotFound)
	_, err = there.get(storage.UID{0, 0, 1}, "another")
	must(t, err)
}

func TestMove_RefusesATargetThatIsNotItsOwn(t *testing.T) {
	h := furnished(t, 30)
	other := furnished(t, 3)
	_, err := storage.Move(background, h.Engine(), other.Engine(), nil)
	is(t, err, storage.ErrNotEmpty)
	half := storagetest.Doubt(empty(t))
	half.Next(0, true)
	_, err = storage.Move(background, other.Engine(), half, nil)
	is(t, err, storage.ErrOutcomeUnknown)
	_, err = storage.Move(background, h.Engine(), half, nil)
	is(t, err, storage.ErrNotEmpty)
	_, err = storage.Move(background, half, empty(t), nil)
	is(t, err, storage.ErrForeign)
	foreign := empty(t)
	must(t, foreign.Update(background, func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		ws.Put([]byte("a"), []byte("b"))
		return ws, nil
	}))
	_, err = storage.Move(background, h.Engine(), foreign, nil)
	is(t, err, storage.ErrNotEmpty)
}

func TestMove_HoldsFewRowsInMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("moves many rows: run it without -short")
	}
	moveMany(t, 100_000)
}

func TestSoakMove_HoldsFewOfAMillionRowsInMemory(t *testing.T) {
	check.Soak(t)
	moveMany(t, 1_000_000)
}

// moveMany moves rows, which are never in memory together.
func moveMany(t *testing.T, rows int) {
	t.Helper()
	h := newHouse(t)
	fillRaw(t, h, rows)
	most := uint64(0)
	moved, err := storage.Move(background, h.Engine(), empty(t), func(int64) {
		runtime.GC()
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapAlloc)
	})
	must(t, err)
	equal(t, moved.Rows >= int64(rows), true)
	if most == 0 || most > 48<<20 {
		t.Errorf("%d rows of 300 bytes had %d MiB in memory", rows, most>>20)
	}
}

// fillRaw writes rows as fast as the engine takes them.
func fillRaw(t testing.TB, h *house, rows int) {
	t.Helper()
	const part = 10_000
	for from := 0; from < rows; from += part {
		must(t, h.Engine().Update(background, func(storage.Reader) (*storage.WriteSet, error) {
			ws := storage.NewWriteSet()
			for i := from; i < from+part; i++ {
				ws.Put(fmt.Appendf(nil, "u%016d%s", i, "blob\x00b"), make([]byte, 300))
			}
			return ws, nil
		}))
	}
}
