package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/bolt"
)

// damage overwrites the row at a place with bytes that nothing reads.
func (h *house) damage(uid storage.UID, key string) {
	h.t.Helper()
	h.update(func(tx *storage.Tx) error {
		return storage.TxPut(tx, storage.RowKey(uid, "note", key), []byte("no row"))
	})
}

// loggedHouse is a house whose log a test reads.
func loggedHouse(t *testing.T, wrap func(storage.Engine) storage.Engine) (*house, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	clock := storage.NewFakeClock(begin)
	inner, err := bolt.Open(t.Context(), filepath.Join(t.TempDir(), "data"), bolt.Options{Logger: quiet})
	must(t, err)
	var engine storage.Engine = inner
	if wrap != nil {
		engine = wrap(engine)
	}
	s, err := storage.Open(t.Context(), engine, storage.Options{Clock: clock, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, err)
	t.Cleanup(func() { _ = engine.Close() })
	return &house{t: t, clock: clock, Store: s}, &log
}

func TestSweep_SetsAsideWhatCannotBeReadAndGoesOn(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		for i := range 200 {
			h.put(storage.UID{byte(i), 1}, fmt.Sprint(i), note{ID: fmt.Sprint(i), Until: begin.Add(time.Second)})
		}
		h.put(uid, "damaged", note{ID: "d", Until: begin.Add(time.Millisecond)}) // before all others
		h.damage(uid, "damaged")
		badKeys := []string{"x\x00", "x\x00\x00\x00\x00\x00\x00\x00\x00\x01no row's key"}
		h.update(func(tx *storage.Tx) error {
			return errors.Join(storage.TxPut(tx, []byte(badKeys[0]), nil), storage.TxPut(tx, []byte(badKeys[1]), nil))
		})
		h.clock.Advance(time.Second)
		for h.sweepAll() > 0 {
		}
		equal(t, h.rows(), 0)
		list, err := h.SetAside(t.Context(), 100)
		must(t, err)
		equal(t, len(list), 3)
		var rows, entries int
		for _, aside := range list {
			switch {
			case aside.UID == uid:
				rows++
				equal(t, aside.Table, "note")
				equal(t, string(aside.Value), "no row")
				equal(t, aside.Key, storage.RowKey(uid, "note", "damaged"))
				equal(t, aside.At, h.Now())
			case string(aside.Key) == badKeys[0], string(aside.Key) == badKeys[1]:
				entries++
			}
		}
		equal(t, rows, 1)
		equal(t, entries, 2)

		// Its unique value is free again: the entry points at nothing.
		h.put(storage.NewUID(), "a", note{ID: "d"})
	})
}

func TestSweep_TellsOfDamageOnceAndNotItsBytes(t *testing.T) {
	h, log := loggedHouse(t, nil)
	uid := storage.NewUID()
	h.put(uid, "a", note{Until: begin.Add(time.Second)})
	h.damage(uid, "a")
	h.clock.Advance(time.Second)
	equal(t, h.sweepAll(), 1)
	equal(t, h.sweepAll(), 0)
	said := log.String()
	equal(t, strings.Count(said, "a damaged record was set aside"), 1)
	if !strings.Contains(said, uid.String()) || strings.Contains(said, "no row") {
		t.Errorf("the log says %s", said)
	}
}

func TestSetAside_IsDroppedWithWhatElseIsWritten(t *testing.T) {
	h := newHouse(t)
	for i := range 5 {
		uid := storage.UID{byte(i), 9}
		h.put(uid, "a", note{Until: begin.Add(time.Second)})
		h.damage(uid, "a")
	}
	h.clock.Advance(time.Second)
	equal(t, h.sweepAll(), 5)
	uid := storage.NewUID()
	n, err := h.DropSetAside(t.Context(), func(tx *storage.Tx, dropped int) error {
		return notes.Put(tx, uid, "noted", &note{ID: fmt.Sprint(dropped)})
	})
	must(t, err)
	equal(t, n, 5)
	list, err := h.SetAside(t.Context(), 10)
	must(t, err)
	equal(t, len(list), 0)
	equal(t, h.found(uid, "noted"), true)
}

func TestPurge_RemovesWhatCannotBeReadInItsPlaceAndSetAside(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		other := storage.NewUID()
		for _, of := range []storage.UID{uid, other} {
			h.put(of, "aside", note{ID: "1" + of.String(), Until: begin.Add(time.Second)})
			h.put(of, "in place", note{ID: "2" + of.String()})
			h.damage(of, "aside")
			h.damage(of, "in place")
		}
		h.clock.Advance(time.Second)
		equal(t, h.sweepAll(), 2)
		var removed []storage.Removed
		h.update(func(tx *storage.Tx) (err error) {
			removed, err = storage.Purge(tx, uid, false, storage.MFA)
			return err
		})
		equal(t, removed, []storage.Removed{{Table: "note", Key: "aside"}, {Table: "note", Key: "in place"}})
		for _, p := range h.content() {
			if bytes.Contains(p.key, uid[:]) && p.key[0] != 'x' && p.key[0] != 'i' {
				t.Errorf("%q is left", p.key)
			}
		}
		list, err := h.SetAside(t.Context(), 10)
		must(t, err)
		equal(t, len(list), 1)
		equal(t, list[0].UID, other)
		h.update(func(tx *storage.Tx) (err error) { // a class that the rows are not of leaves them
			removed, err = storage.Purge(tx, other, false, storage.Account)
			return err
		})
		equal(t, len(removed), 0)
	})
}

// poisoned is an engine whose readers panic when they read a row.
type poisoned struct {
	storage.Engine
	row []byte
}

type poisonedReader struct {
	storage.Reader
	row []byte
}

func (r poisonedReader) Get(key []byte) ([]byte, error) {
	if bytes.Equal(key, r.row) {
		panic("planted")
	}
	return r.Reader.Get(key)
}

func (r poisonedReader) GetMany(keys [][]byte) ([][]byte, error) {
	for _, key := range keys {
		if bytes.Equal(key, r.row) {
			panic("planted")
		}
	}
	return r.Reader.GetMany(keys)
}

func (e *poisoned) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	return e.Engine.Update(ctx, func(r storage.Reader) (*storage.WriteSet, error) { return fn(poisonedReader{r, e.row}) })
}

func TestSweep_PassesOverWhatPanics(t *testing.T) {
	uid := storage.NewUID()
	h, log := loggedHouse(t, func(e storage.Engine) storage.Engine { return &poisoned{e, storage.RowKey(uid, "note", "a")} })
	must(t, h.Engine().(*poisoned).Engine.Update(background, func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		ws.Put(storage.ExpiryKey(0, begin.Add(time.Millisecond), storage.RowKey(uid, "note", "a")), nil)
		return ws, nil
	}))
	for i := range 200 {
		h.put(storage.UID{byte(i), 1}, "b", note{Until: begin.Add(time.Second)})
	}
	h.clock.Advance(time.Second)
	for h.sweepAll() > 0 {
	}
	equal(t, h.rows(), 0)
	said := log.String()
	equal(t, strings.Count(said, "passed over until the next start"), 1)
	if !strings.Contains(said, "a transaction panicked: planted") {
		t.Errorf("the log says %s", said)
	}
}

func TestUpdateEach_ContainsAPanicAndTriesTheOthers(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		err := h.UpdateEach(background, 200, func(tx *storage.Tx, i int) error {
			if i == 77 {
				panic("planted")
			}
			return notes.Put(tx, uid, fmt.Sprint(i), &note{})
		})
		if err == nil || !strings.Contains(err.Error(), "a transaction panicked: planted") || !strings.Contains(err.Error(), "aside_test.go") {
			t.Errorf("error %v", err)
		}
		equal(t, h.rows(), 199)
	})
}

func TestUpdateEach_TellsOfAClosureThatEndsItsGoroutine(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	err := h.UpdateEach(background, 10, func(tx *storage.Tx, i int) error {
		if i == 3 {
			runtime.Goexit()
		}
		return notes.Put(tx, uid, fmt.Sprint(i), &note{})
	})
	if err == nil || !strings.Contains(err.Error(), "not run to its end") {
		t.Errorf("error %v", err)
	}
	equal(t, h.rows(), 9)
}

func TestReseal_GoesOnBehindARowThatCannotBeRead(t *testing.T) {
	h := newHouse(t)
	for i := range 10 {
		h.put(storage.UID{byte(i), 1}, "a", note{Secret: []byte("s3cret")})
	}
	h.damage(storage.UID{4, 1}, "a")
	version, err := h.ring.Rotate(t.Context())
	must(t, err)
	rows, err := h.Reseal(t.Context())
	equal(t, rows, 9)
	if err == nil || !strings.Contains(err.Error(), "1 rows cannot be read") || !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("error %v", err)
	}
	for i := range 10 {
		if i != 4 {
			equal(t, h.sealedUnder(storage.UID{byte(i), 1}), version)
		}
	}
}

// sealedUnder is the ring's version that seals a user's note.
func (h *house) sealedUnder(uid storage.UID) (version uint32) {
	h.t.Helper()
	h.view(func(tx *storage.Tx) error {
		stored, err := storage.TxGet(tx, storage.RowKey(uid, "note", "a"))
		must(h.t, err)
		r, err := storage.DecodeRow(stored)
		must(h.t, err)
		_, _, record := r.Parts()
		sealed := decodeNote(h.t, record).Secret
		version = uint32(sealed[0])<<24 | uint32(sealed[1])<<16 | uint32(sealed[2])<<8 | uint32(sealed[3])
		return nil
	})
	return version
}

// The writers go first: a backlog is removed at a pace, and faster while writers add to it, so that it becomes less.
func TestRunSweeper_HasAPaceThatKeepsUpWithTheWriters(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house, _ *countedEngine) {
		for i := range 30 {
			h.update(func(tx *storage.Tx) error {
				for j := range 100 {
					if err := notes.Put(tx, storage.UID{byte(i), 1}, fmt.Sprint(j), &note{Until: tx.Now().Add(time.Second)}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		<-time.After(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { h.RunSweeper(ctx) })
		<-time.After(time.Second)
		if swept := 3000 - h.rows(); swept < 300 || swept > 700 {
			t.Errorf("%d rows were removed in a second in which nobody wrote", swept)
		}
		// Each second 1 000 rows are added that are past their expiry the next.
		for range 4 {
			for i := range 100 {
				h.update(func(tx *storage.Tx) error {
					for j := range 10 {
						if err := notes.Put(tx, storage.UID{byte(i), 2}, fmt.Sprint(j, tx.Now().UnixNano()), &note{Until: tx.Now().Add(time.Second)}); err != nil {
							return err
						}
					}
					return nil
				})
				<-time.After(10 * time.Millisecond)
			}
		}
		if left := h.rows(); left > 2000 {
			t.Errorf("%d rows are left: the sweeper does not keep up", left)
		}
		cancel()
		all.Wait()
	})
}

func TestDamage_TellsHowManyRecordsWereSetAside(t *testing.T) {
	h := newHouse(t)
	must(t, h.Damage(background))
	for range 2 {
		uid := storage.NewUID()
		h.put(uid, "damaged", note{ID: uid.String(), Until: begin.Add(1)})
		h.damage(uid, "damaged")
	}
	h.clock.Advance(1)
	h.sweepAll()
	err := h.Damage(background)
	if !errors.Is(err, storage.ErrDamage) || err.Error() != "records that cannot be read: 2" {
		t.Errorf("damage: %v", err)
	}
}
