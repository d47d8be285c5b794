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
	15: 16 * time.Minute, 16: 32 * time.Minute, 17: time.Hour, 18: time.Hour, 100: time.Hour, 102: time.Hour,
}

// failUntil makes the channel's n-th failure in a row, from those that it has, letting each wait pass.
func (h *house) failUntil(uid storage.UID, ch recovery.Channel, have, n int) {
	h.t.Helper()
	for i := have; i < n; i++ {
		h.clock.Advance(h.wait(uid, ch))
		h.fail(uid, ch)
	}
}

func TestSpend_WrongCodesWaitFromTheTenthOn(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		for n := 1; n <= 102; n++ {
			h.clock.Advance(h.wait(uid, recovery.LoginChannel))
			h.fail(uid, recovery.LoginChannel)
			got := h.wait(uid, recovery.LoginChannel)
			if want, known := waits[n]; known && got != want || n < 10 && got != 0 {
				h.t.Errorf("after wrong code %d the wait is %v, want %v", n, got, want)
			}
		}
	})
}

func TestSpend_AWrongCodeThatComesTooSoonCountsNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		h.failUntil(uid, recovery.LoginChannel, 0, 10)
		h.clock.Advance(29 * time.Second)
		for range 5 {
			_, err := h.spend(uid, recovery.LoginChannel, h.wrong())
			if !errors.Is(err, recovery.ErrLimited) || storage.RetryAfter(err) != time.Second {
				h.t.Errorf("%v, after %v", err, storage.RetryAfter(err))
			}
		}
		h.clock.Advance(time.Second)
		h.fail(uid, recovery.LoginChannel)
		if wait := h.wait(uid, recovery.LoginChannel); wait != time.Minute {
			h.t.Errorf("after the eleventh the wait is %v", wait)
		}
	})
}

// A stranger who has the handle, or the password, must not be able to keep the owner out.
func TestSpend_ARightCodeAlwaysPassesHoweverManyWrongOnesCame(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for _, ch := range []recovery.Channel{recovery.LoginChannel, recovery.RestoreChannel} {
			uid, code := h.newUser("ada of " + string(ch))
			h.failUntil(uid, ch, 0, 120)
			if _, err := h.spend(uid, ch, h.wrong()); !errors.Is(err, recovery.ErrLimited) {
				h.t.Fatalf("a wrong code while the channel waits got %v", err)
			}
			if _, err := h.spend(uid, ch, code); err != nil {
				h.t.Errorf("on channel %s the right code got %v", ch, err)
			}
		}
	})
}

func TestSpend_TenWrongCodesAreToldOnceInARow(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		h.failUntil(uid, recovery.LoginChannel, 0, 9)
		if got := h.notices(uid); len(got) != 0 {
			h.t.Errorf("after nine: %v", got)
		}
		h.failUntil(uid, recovery.LoginChannel, 9, 14)
		if got := h.notices(uid); len(got) != 1 || got[0] != recovery.NoticeCodeGuessed {
			h.t.Errorf("after fourteen: %v", got)
		}
		told := 0
		for _, e := range h.events(uid) {
			if e.Type == audit.RecoveryRateLimit {
				told++
			}
		}
		if told != 1 {
			h.t.Errorf("%d events say that codes are guessed", told)
		}
	})
}

func TestSpend_RightCodeClearsEveryChannel(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		h.failUntil(uid, recovery.LoginChannel, 0, 9)
		h.failUntil(uid, recovery.RestoreChannel, 0, 12)
		if _, err := h.spend(uid, recovery.LoginChannel, code); err != nil {
			h.t.Fatal(err)
		}
		for _, ch := range []recovery.Channel{recovery.LoginChannel, recovery.RestoreChannel} {
			h.failUntil(uid, ch, 0, 9)
			if wait := h.wait(uid, ch); wait != 0 {
				h.t.Errorf("on channel %s nine wrong codes after a right one wait %v", ch, wait)
			}
		}
	})
}

func TestSpend_FloodOnOneChannelHoldsUpNoOtherAndNoOtherUser(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
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
		uid, _ := h.newUser("ada")
		h.failUntil(uid, recovery.LoginChannel, 0, 9)
		h.restart(0)
		h.fail(uid, recovery.LoginChannel)
		h.restart(10 * time.Second) // the wall went on while it was down
		if wait := h.wait(uid, recovery.LoginChannel); wait != 20*time.Second {
			h.t.Errorf("the wait after a restart is %v", wait)
		}
		if _, err := h.spend(uid, recovery.LoginChannel, h.wrong()); !errors.Is(err, recovery.ErrLimited) {
			h.t.Errorf("a restart ended the wait: %v", err)
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
