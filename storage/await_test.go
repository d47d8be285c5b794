package storage_test

import (
	"context"
	"testing"
	"time"

	"tutela/storage"
)

// counted counts the looks, and is over at the nth.
type counted struct {
	looks []storage.Glance
	n     int
}

func (c *counted) look(again time.Duration) storage.Look {
	return func(_ context.Context, at storage.Glance) (bool, time.Duration, error) {
		c.looks = append(c.looks, at)
		return len(c.looks) == c.n, again, nil
	}
}

func TestAwait_WithoutAWaitLooksOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		c := counted{n: 5}
		is(t, h.Await(t.Context(), storage.NewUID(), 0, c.look(0)), nil)
		equal(t, c.looks, []storage.Glance{{First: true, Last: true}})
	})
}

func TestAwait_LooksAfterEachWakeUntilItIsOver(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		looked := make(chan struct{})
		c := counted{n: 3}
		done := make(chan error, 1)
		go func() {
			done <- h.Await(t.Context(), uid, time.Hour, func(ctx context.Context, at storage.Glance) (bool, time.Duration, error) {
				over, again, err := c.look(0)(ctx, at)
				looked <- struct{}{}
				return over, again, err
			})
		}()
		<-looked
		for range 2 {
			h.update(func(tx *storage.Tx) error {
				tx.Wake(uid)
				return nil
			})
			<-looked
		}
		is(t, <-done, nil)
		equal(t, c.looks, []storage.Glance{{First: true}, {}, {}})
	})
}

func TestAwait_LooksALastTimeWhenItsCallerEnds(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		ctx, cancel := context.WithCancel(t.Context())
		c := counted{n: 5}
		err := h.Await(ctx, storage.NewUID(), time.Hour, func(look context.Context, at storage.Glance) (bool, time.Duration, error) {
			cancel()
			is(t, look.Err(), nil) // what is seen after the end still counts
			return c.look(0)(look, at)
		})
		is(t, err, nil)
		equal(t, c.looks, []storage.Glance{{First: true}, {Last: true}})
	})
}

func TestAwait_LooksAgainWithoutAWakeWhenToldTo(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		c := counted{n: 4}
		is(t, h.Await(t.Context(), storage.NewUID(), time.Hour, c.look(time.Nanosecond)), nil)
		equal(t, len(c.looks), 4)
	})
}

func TestAwait_EndsWithTheErrorOfALook(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		err := h.Await(t.Context(), storage.NewUID(), time.Hour, func(context.Context, storage.Glance) (bool, time.Duration, error) {
			return false, 0, errRefused
		})
		is(t, err, errRefused)
	})
}

// held is a context whose caller keeps its wait.
type held struct {
	context.Context
	wait storage.Held
}

func (h *held) Value(key any) any {
	if key == storage.HeldKey() {
		return &h.wait
	}
	return h.Context.Value(key)
}

func TestAwait_GoesOnWithAHeldWaitWhereItWas(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		kept := &held{Context: t.Context()}
		defer kept.wait.End()
		c := counted{n: 3}
		for range 2 {
			is(t, h.Await(kept, uid, time.Hour, c.look(0)), storage.ErrHeld)
			equal(t, kept.wait.GoesOn(), true)
			// The wake comes before the pause, which must not miss it.
			h.update(func(tx *storage.Tx) error {
				tx.Wake(uid)
				return nil
			})
			kept.wait.Pause()
		}
		is(t, h.Await(kept, uid, time.Hour, c.look(0)), nil)
		equal(t, kept.wait.GoesOn(), false)
		equal(t, c.looks, []storage.Glance{{First: true}, {}, {}})
	})
}

func TestAwait_AHeldWaitEndsWithItsTimeAndWithItsCaller(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		for _, wait := range []time.Duration{time.Nanosecond, time.Hour} {
			ctx, cancel := context.WithCancel(t.Context())
			kept := &held{Context: ctx}
			c := counted{n: 5}
			is(t, h.Await(kept, storage.NewUID(), wait, c.look(0)), storage.ErrHeld)
			if wait == time.Hour {
				cancel()
			}
			kept.wait.Pause()
			is(t, h.Await(kept, storage.NewUID(), wait, c.look(0)), nil)
			kept.wait.End()
			cancel()
			equal(t, c.looks, []storage.Glance{{First: true}, {Last: true}})
		}
	})
}
