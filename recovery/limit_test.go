package recovery_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// waits are the waits after the n-th wrong code in a row, as the protocol has them.
var waits = map[int]time.Duration{
	9: 0, 10: 30 * time.Second, 11: time.Minute, 12: 2 * time.Minute, 13: 4 * time.Minute, 14: 8 * time.Minute,
	15: 16 * time.Minute, 16: 32 * time.Minute, 17: time.Hour, 18: time.Hour, 99: time.Hour,
	100: 24 * time.Hour, 101: 24 * time.Hour, 102: 24 * time.Hour,
}

// failUntil makes the channel's n-th failure in a row, from those that it has, letting each wait pass.
func (h *house) failUntil(uid storage.UID, ch recovery.Channel, have, n int) {
	h.t.Helper()
	for i := have; i < n; i++ {
		h.clock.Advance(h.wait(uid, ch))
		h.fail(uid, ch)
	}
}

func TestSpend_WaitsFromTheTenthWrongCodeOnAndClosesAtAHundred(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		for n := 1; n <= 102; n++ {
			h.clock.Advance(h.wait(uid, recovery.LoginChannel))
			h.fail(uid, recovery.LoginChannel)
			got := h.wait(uid, recovery.LoginChannel)
			if want, known := waits[n]; known && got != want || n < 10 && got != 0 {
				h.t.Errorf("after wrong code %d the wait is %v, want %v", n, got, want)
			}
			var closed bool
			h.view(func(tx *storage.Tx) (err error) {
				closed, err = recovery.Closed(tx, uid, recovery.LoginChannel)
				return err
			})
			if closed != (n >= 100) {
				h.t.Errorf("after wrong code %d closed is %t", n, closed)
			}
		}
	})
}

func TestSpend_LooksAtNothingAndCountsNothingWhileTheChannelWaits(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		h.failUntil(uid, recovery.LoginChannel, 0, 10)
		h.clock.Advance(29 * time.Second)
		for _, typed := range []recovery.Code{h.wrong(), code} {
			_, err := h.spend(uid, recovery.LoginChannel, typed)
			if !errors.Is(err, recovery.ErrLimited) || storage.RetryAfter(err) != time.Second {
				h.t.Errorf("%v, after %v", err, storage.RetryAfter(err))
			}
		}
		h.clock.Advance(time.Second)
		if _, err := h.spend(uid, recovery.LoginChannel, code); err != nil {
			h.t.Errorf("after the wait the right code got %v", err)
		}
	})
}

func TestSpend_RightCodeClearsItsChannel(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		h.failUntil(uid, recovery.LoginChannel, 0, 9)
		if _, err := h.spend(uid, recovery.LoginChannel, code); err != nil {
			h.t.Fatal(err)
		}
		h.failUntil(uid, recovery.LoginChannel, 0, 9)
		if wait := h.wait(uid, recovery.LoginChannel); wait != 0 {
			h.t.Errorf("nine wrong codes after a right one wait %v", wait)
		}
	})
}

func TestSpend_ClosedChannelOpensForOneTryADayUntilARightCode(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		h.failUntil(uid, recovery.RestoreChannel, 0, 100)
		if _, err := h.spend(uid, recovery.RestoreChannel, code); storage.RetryAfter(err) != 24*time.Hour {
			h.t.Errorf("closed for %v: %v", storage.RetryAfter(err), err)
		}
		h.clock.Advance(24 * time.Hour)
		h.fail(uid, recovery.RestoreChannel)
		if wait := h.wait(uid, recovery.RestoreChannel); wait != 24*time.Hour {
			h.t.Errorf("a further wrong code closes it for %v", wait)
		}
		h.clock.Advance(24 * time.Hour)
		if _, err := h.spend(uid, recovery.RestoreChannel, code); err != nil {
			h.t.Fatal(err)
		}
		h.failUntil(uid, recovery.RestoreChannel, 0, 9)
		if wait := h.wait(uid, recovery.RestoreChannel); wait != 0 {
			h.t.Errorf("after the right code nine wrong ones wait %v", wait)
		}
	})
}

func TestSpend_FloodOnOneChannelClosesNoOtherAndNoOtherUser(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		other, _ := h.newUser("ben")
		h.failUntil(uid, recovery.RestoreChannel, 0, 100)
		for _, ch := range []recovery.Channel{recovery.LoginChannel, recovery.PracticeChannel} {
			if wait := h.wait(uid, ch); wait != 0 {
				h.t.Errorf("channel %s waits %v", ch, wait)
			}
		}
		if wait := h.wait(other, recovery.RestoreChannel); wait != 0 {
			h.t.Errorf("another user waits %v", wait)
		}
		if _, err := h.spend(uid, recovery.LoginChannel, code); err != nil {
			h.t.Errorf("the owner is locked out of the login: %v", err)
		}
		if wait := h.wait(uid, recovery.RestoreChannel); wait == 0 {
			h.t.Error("a right code on another channel opened the closed one")
		}
	})
}

func TestOpenAll_OpensEveryChannelWithItsCountAt0(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		h.failUntil(uid, recovery.LoginChannel, 0, 100)
		h.failUntil(uid, recovery.RestoreChannel, 0, 12)
		h.failUntil(uid, recovery.PracticeChannel, 0, 11)
		h.view(func(tx *storage.Tx) error {
			blocks, err := recovery.Blocks(tx, uid)
			if len(blocks) == 0 || blocks[0].Channel != recovery.LoginChannel {
				h.t.Errorf("blocks are %v", blocks)
			}
			return err
		})
		must(h.t, h.update(func(tx *storage.Tx) error { return recovery.OpenAll(tx, uid) }))
		h.view(func(tx *storage.Tx) error {
			blocks, err := recovery.Blocks(tx, uid)
			if len(blocks) != 0 {
				h.t.Errorf("blocks after all were opened: %v", blocks)
			}
			return err
		})
		for _, ch := range []recovery.Channel{recovery.LoginChannel, recovery.RestoreChannel, recovery.PracticeChannel} {
			h.failUntil(uid, ch, 0, 9)
			if wait := h.wait(uid, ch); wait != 0 {
				h.t.Errorf("channel %s was not at 0: nine wrong codes wait %v", ch, wait)
			}
		}
	})
}

func TestSpend_CountsAndWaitsSurviveARestart(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		h.failUntil(uid, recovery.LoginChannel, 0, 9)
		h.restart(0)
		h.fail(uid, recovery.LoginChannel)
		h.restart(10 * time.Second) // the wall went on while it was down
		if wait := h.wait(uid, recovery.LoginChannel); wait != 20*time.Second {
			h.t.Errorf("the wait after a restart is %v", wait)
		}
		if _, err := h.spend(uid, recovery.LoginChannel, code); !errors.Is(err, recovery.ErrLimited) {
			h.t.Errorf("a restart opened the channel: %v", err)
		}
	})
}

func TestSpend_ClockThatJumpsOpensNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		h.failUntil(uid, recovery.LoginChannel, 0, 10)
		for _, jump := range []time.Duration{48 * time.Hour, -96 * time.Hour, 365 * 24 * time.Hour} {
			h.clock.Jump(jump)
			if wait := h.wait(uid, recovery.LoginChannel); wait != 30*time.Second {
				h.t.Errorf("after a jump of %v the wait is %v", jump, wait)
			}
		}
	})
}

func TestSpend_ClockSetBackAcrossARestartCountsAsNoTimePassed(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		h.failUntil(uid, recovery.LoginChannel, 0, 10)
		h.restart(-72 * time.Hour)
		if wait := h.wait(uid, recovery.LoginChannel); wait != 30*time.Second {
			h.t.Errorf("the wait is %v", wait)
		}
		h.clock.Advance(30 * time.Second)
		if wait := h.wait(uid, recovery.LoginChannel); wait != 0 {
			h.t.Errorf("30 s later the wait is %v", wait)
		}
	})
}

func TestSpend_CountsNeverExpireByTimeAlone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		h.failUntil(uid, recovery.LoginChannel, 0, 11)
		h.clock.Advance(365 * 24 * time.Hour)
		h.fail(uid, recovery.LoginChannel)
		if wait := h.wait(uid, recovery.LoginChannel); wait != 2*time.Minute {
			h.t.Errorf("the twelfth wrong code, a year later, waits %v", wait)
		}
	})
}

func TestSpend_OfManyAtOnceTenAreLookedAtBeforeTheWait(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		var mu sync.Mutex
		looked := 0
		limited := 0
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				_, err := h.spend(uid, recovery.LoginChannel, h.wrong())
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, recovery.ErrWrongCode):
					looked++
				case errors.Is(err, recovery.ErrLimited):
					limited++
				default:
					h.t.Errorf("a wrong code got %v", err)
				}
			})
		}
		all.Wait()
		if looked != 10 || limited != 54 {
			h.t.Errorf("of 64 wrong codes at once %d were looked at, %d limited", looked, limited)
		}
	})
}

func TestSpend_CountsAWrongCodeOfACallerWhoHasGone(t *testing.T) {
	h := newHouse(t, ground.Options{})
	uid, _ := h.newUser("ada")
	h.failUntil(uid, recovery.LoginChannel, 0, 9)
	ctx, cancel := context.WithCancel(context.Background())
	err := h.store.Update(ctx, func(tx *storage.Tx) error {
		cancel() // once the transaction was taken up
		_, err := h.Spend(tx, uid, recovery.LoginChannel, h.wrong(), audit.ByUser())
		return err
	})
	if !errors.Is(err, recovery.ErrWrongCode) {
		t.Errorf("got %v", err)
	}
	if wait := h.wait(uid, recovery.LoginChannel); wait != 30*time.Second {
		t.Errorf("the tenth wrong code waits %v", wait)
	}
}
