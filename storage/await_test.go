package storage_test

import (
	"context"
	"testing"
	"time"

	"tutela/storage"
)

// counted counts the looks, and is over at the nth.
type counted struct {
	looks []bool // of each whether it was the last
	n     int
}

func (c *counted) look(again time.Duration) storage.Look {
	return func(_ context.Context, last bool) (bool, time.Duration, error) {
		c.looks = append(c.looks, last)
		return len(c.looks) == c.n, again, nil
	}
}

func TestAwait_WithoutAWaitLooksOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		c := counted{n: 5}
		is(t, h.Await(t.Context(), storage.NewUID(), 0, c.look(0)), nil)
		equal(t, c.looks, []bool{true})
	})
}

func TestAwait_LooksAfterEachWakeUntilItIsOver(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		looked := make(chan struct{})
		c := counted{n: 3}
		done := make(chan error, 1)
		go func() {
			done <- h.Await(t.Context(), uid, time.Hour, func(ctx context.Context, last bool) (bool, time.Duration, error) {
				over, again, err := c.look(0)(ctx, last)
				looked <- struct{}{}
				return over, again, err
			})
		}()
		<-looked
		for range 2 {
			h.update(func(tx *storage.Tx) error { tx.Wake(uid); return nil })
			<-looked
		}
		is(t, <-done, nil)
		equal(t, c.looks, []bool{false, false, false})
	})
}

func TestAwait_LooksALastTimeWhenItsCallerEnds(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		ctx, cancel := context.WithCancel(t.Context())
		c := counted{n: 5}
		err := h.Await(ctx, storage.NewUID(), time.Hour, func(look context.Context, last bool) (bool, time.Duration, error) {
			cancel()
			is(t, look.Err(), nil) // what is seen after the end still counts
			return c.look(0)(look, last)
		})
		is(t, err, nil)
		equal(t, c.looks, []bool{false, true})
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
		err := h.Await(t.Context(), storage.NewUID(), time.Hour, func(context.Context, bool) (bool, time.Duration, error) {
			return false, 0, errRefused
		})
		is(t, err, errRefused)
	})
}
