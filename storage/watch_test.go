package storage_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"tutela/storage"
)

func TestWake_ComesAfterTheCommitAndOncePerLook(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		woken, stop := h.Watch(uid)
		defer stop()
		other, stopOther := h.Watch(storage.NewUID())
		defer stopOther()
		for range 3 {
			h.update(func(tx *storage.Tx) error {
				tx.Wake(uid)
				equal(t, len(woken) <= 1, true)
				return notes.Put(tx, uid, "a", &note{})
			})
		}
		<-woken
		equal(t, len(woken), 0) // one wake is enough for three commits
		equal(t, len(other), 0)
		h.update(func(tx *storage.Tx) error { return nil })
		equal(t, len(woken), 0)
	})
}

func TestWake_DoesNotComeBeforeTheCommitOrAfterARollback(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		woken, stop := h.Watch(uid)
		defer stop()
		wake := func(end error) error {
			return h.Update(t.Context(), func(tx *storage.Tx) error {
				tx.Wake(uid)
				equal(t, len(woken), 0)
				return end
			})
		}
		is(t, wake(errRefused), errRefused)
		equal(t, len(woken), 0)
		func() {
			defer func() { _ = recover() }()
			_ = h.Update(t.Context(), func(tx *storage.Tx) error {
				tx.Wake(uid)
				panic("boom")
			})
		}()
		h.view(func(tx *storage.Tx) error {
			tx.Wake(uid)
			return nil
		})
		equal(t, len(woken), 0)
		is(t, wake(storage.Kept(errRefused)), errRefused)
		equal(t, len(woken), 1)
	})
}

// A closure that is run again wakes whom its last run woke, and nobody else.
func TestWake_IsOfTheLastRunOnly(t *testing.T) {
	h := newHouse(t)
	h2, err := storage.Open(t.Context(), twice{h.Engine()}, storage.Options{Clock: h.clock, Logger: quiet})
	must(t, err)
	first := storage.NewUID()
	last := storage.NewUID()
	wokenFirst, stop := h2.Watch(first)
	defer stop()
	wokenLast, stop2 := h2.Watch(last)
	defer stop2()
	run := 0
	must(t, h2.Update(t.Context(), func(tx *storage.Tx) error {
		if run++; run == 1 {
			tx.Wake(first)
			return errors.New("of a run that does not count")
		}
		tx.Wake(last)
		return nil
	}))
	equal(t, len(wokenFirst), 0)
	equal(t, len(wokenLast), 1)
}

// Two servers over one store, each with a Store of its own, wake each other's watchers when they share their Wakes; by
// default each wakes its own alone.
func TestWake_ReachesTheOtherServersThatShareWakes(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	for shared, wakes := range map[bool]storage.Wakes{true: storage.NewWakes(), false: nil} {
		var servers [2]*storage.Store
		for i := range servers {
			var err error
			servers[i], err = storage.Open(t.Context(), h.Engine(), storage.Options{Clock: h.clock, Logger: quiet, Wakes: wakes})
			must(t, err)
		}
		woken, stop := servers[1].Watch(uid)
		must(t, servers[0].Update(t.Context(), func(tx *storage.Tx) error {
			tx.Wake(uid)
			return nil
		}))
		equal(t, len(woken) == 1, shared)
		stop()
		stop() // a second time does nothing
		must(t, servers[0].Update(t.Context(), func(tx *storage.Tx) error {
			tx.Wake(uid)
			return nil
		}))
		equal(t, len(woken) == 1, shared)
	}
}

// twice runs every closure two times.
type twice struct{ storage.Engine }

func (e twice) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	return e.Engine.Update(ctx, func(r storage.Reader) (*storage.WriteSet, error) {
		_, _ = fn(r)
		return fn(r)
	})
}

// TestWatch_MissesNothing has writers count up rows of users and wake their watchers, each of whom looks after Watch and
// after each wake, until it has seen the last count. A lost wake hangs it.
func TestWatch_MissesNothing(t *testing.T) {
	const (
		users   = 4
		writers = 4
		counts  = 25
	)
	h := newHouse(t)
	var all sync.WaitGroup
	for u := range byte(users) {
		uid := storage.UID{u + 1}
		for w := range writers {
			all.Go(func() {
				for n := range counts {
					must(t, h.Update(background, func(tx *storage.Tx) error {
						tx.Wake(uid)
						return notes.Put(tx, uid, fmt.Sprintf("%d/%d", w, n), &note{})
					}))
				}
			})
		}
		for range 3 {
			all.Go(func() {
				woken, stop := h.Watch(uid)
				defer stop()
				for {
					var seen int
					must(t, h.View(background, func(tx *storage.Tx) error {
						rows, err := notes.All(tx, uid)
						seen = len(rows)
						return err
					}))
					if seen == writers*counts {
						return
					}
					<-woken
				}
			})
		}
		all.Go(func() { // who comes and goes disturbs nobody
			for range 100 {
				_, stop := h.Watch(uid)
				stop()
				stop()
			}
		})
	}
	all.Wait()
}

func TestWatch_AStoppedOneIsNotWoken(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	woken, stop := h.Watch(uid)
	stop()
	h.update(func(tx *storage.Tx) error {
		tx.Wake(uid)
		return nil
	})
	equal(t, len(woken), 0)
}
