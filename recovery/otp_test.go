package recovery_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// wrongOTP counts a wrong one-time code, as its callers do.
func (h *house) wrongOTP(uid storage.UID) error {
	return h.update(func(tx *storage.Tx) error {
		if err := recovery.MayTryOTP(tx, uid); err != nil {
			return err
		}
		return storage.Kept(recovery.OTPWrong(tx, uid, audit.ByUser()))
	})
}

// otpWrongUntil makes the n-th wrong one-time code in a row, from those that there are, letting each wait pass.
func (h *house) otpWrongUntil(uid storage.UID, have, n int) {
	h.t.Helper()
	for range n - have {
		h.clock.Advance(h.wait(uid, recovery.OTPChannel))
		must(h.t, h.wrongOTP(uid))
	}
}

func TestOTPWrong_WaitsFromTheTenthOnAndClosesForADayAtTheHundredth(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		for n := 1; n <= 103; n++ {
			h.clock.Advance(h.wait(uid, recovery.OTPChannel))
			must(h.t, h.wrongOTP(uid))
			want, known := waits[n]
			if n >= 100 {
				want = 24 * time.Hour
				known = true
			}
			if got := h.wait(uid, recovery.OTPChannel); known && got != want || n < 10 && got != 0 {
				h.t.Errorf("after wrong code %d the wait is %v, want %v", n, got, want)
			}
		}
	})
}

func TestOTPWrong_WhileItWaitsNothingIsTriedAndNothingIsCounted(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		h.otpWrongUntil(uid, 0, 10)
		h.restart(0)
		h.clock.Advance(29 * time.Second)
		for range 5 {
			if err := h.wrongOTP(uid); !errors.Is(err, recovery.ErrLimited) || storage.RetryAfter(err) != time.Second {
				h.t.Errorf("%v, after %v", err, storage.RetryAfter(err))
			}
		}
		h.clock.Advance(time.Second)
		must(h.t, h.wrongOTP(uid))
		if wait := h.wait(uid, recovery.OTPChannel); wait != time.Minute {
			h.t.Errorf("after the eleventh the wait is %v", wait)
		}
	})
}

func TestOTPWrong_AStepOfTheWallOpensNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		h.otpWrongUntil(uid, 0, 100)
		h.clock.Jump(48 * time.Hour)
		if wait := h.wait(uid, recovery.OTPChannel); wait != 24*time.Hour {
			h.t.Errorf("after a jump the wait is %v", wait)
		}
	})
}

func TestOTPChannel_OnlyARightOneTimeCodeOrAnAdminOpensIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		h.otpWrongUntil(uid, 0, 12)
		h.failUntil(uid, recovery.LoginChannel, 0, 10)
		_, err := h.spend(uid, recovery.LoginChannel, code)
		must(h.t, err)
		must(h.t, h.update(func(tx *storage.Tx) error { return recovery.OpenCode(tx, uid) }))
		if h.wait(uid, recovery.OTPChannel) == 0 || h.wait(uid, recovery.LoginChannel) != 0 {
			h.t.Error("a recovery code, or a signed approval, has opened the channel of one-time codes")
		}
		h.failUntil(uid, recovery.RestoreChannel, 0, 10)
		must(h.t, h.update(func(tx *storage.Tx) error { return recovery.OTPRight(tx, uid) }))
		if h.wait(uid, recovery.OTPChannel) != 0 || h.wait(uid, recovery.RestoreChannel) == 0 {
			h.t.Error("a one-time code has opened a channel of the recovery code, or not its own")
		}
		h.otpWrongUntil(uid, 0, 9)
		if h.wait(uid, recovery.OTPChannel) != 0 {
			h.t.Error("the count did not begin anew")
		}
		h.otpWrongUntil(uid, 9, 10)
		must(h.t, h.update(func(tx *storage.Tx) error { return recovery.OpenAll(tx, uid) }))
		if h.wait(uid, recovery.OTPChannel) != 0 {
			h.t.Error("an admin has not opened it")
		}
	})
}

func TestOTPWrong_TellsThePhonesAtTheTenthAndTheHundredth(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		told := map[int][]recovery.NoticeWord{}
		for n := 1; n <= 102; n++ {
			h.clock.Advance(h.wait(uid, recovery.OTPChannel))
			must(h.t, h.wrongOTP(uid))
			if words := h.notices(uid); len(words) > 0 {
				told[n] = words
			}
		}
		want := []recovery.NoticeWord{recovery.NoticeOTPGuessed}
		if len(told) != 2 || !slices.Equal(told[10], want) || !slices.Equal(told[100], want) {
			h.t.Errorf("told %v", told)
		}
		entries, _, err := audit.List(h.t.Context(), h.store, audit.Query{UID: uid, Types: []audit.Type{audit.OTPRateLimit}}, false)
		must(h.t, err)
		if len(entries) != 4 { // the tenth, and each from the hundredth on
			h.t.Errorf("%d events", len(entries))
		}
	})
}
