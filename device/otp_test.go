package device_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tutela/device"
	"tutela/device/otp"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// spendOTP spends a one-time code of a user, as logins do.
func (h *house) spendOTP(uid storage.UID, typed string) (e *device.Enrollment, err error) {
	code, typo := otp.Parse(typed)
	err = h.home.Store.Update(h.t.Context(), func(tx *storage.Tx) error {
		e, err = device.SpendOTP(tx, uid, code, typo, audit.ByUser())
		return err
	})
	return e, err
}

func TestSpendOTP_TakesTheCodeOfAPhoneOnceAndNoneBeforeIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		uid := h.uid("ada")
		earlier, now, later := h.threeCodes(p)
		e, err := h.spendOTP(uid, now[:3]+" "+now[3:])
		if err != nil || e.ID != p.Enrolled.ID {
			h.t.Fatalf("the phone's code: %v", err)
		}
		for name, code := range map[string]string{"the same": now, "the one before": earlier, "a wrong one": h.home.OtherOTP(p.Enrolled.TOTP.Secret)} {
			_, err := h.spendOTP(uid, code)
			expect(h.t, name, err, device.ErrWrongOTP)
		}
		_, err = h.spendOTP(uid, later)
		expect(h.t, "the one after", err, nil)
	})
}

// threeCodes returns the codes of a phone one step ago, now and in one step. It lets time pass until no two of them are the same.
func (h *house) threeCodes(p *phone) (earlier, now, later string) {
	h.t.Helper()
	for {
		earlier = p.OTP(-otp.Period * time.Second)
		now = p.OTP(0)
		later = p.OTP(otp.Period * time.Second)
		if earlier != now && now != later && earlier != later {
			return earlier, now, later
		}
		h.clock.Advance(otp.Period * time.Second)
	}
}

func TestSpendOTP_ATypoCountsNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		uid := h.uid("ada")
		for range 20 {
			_, err := h.spendOTP(uid, "12345")
			expect(h.t, "a typo", err, otp.ErrTypo)
		}
		_, err := h.spendOTP(uid, p.OTP(0))
		expect(h.t, "the code", err, nil)
	})
}

func TestSpendOTP_WhileItWaitsARightCodeIsRefusedAndNotSpent(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		uid := h.uid("ada")
		for range 10 {
			_, err := h.spendOTP(uid, h.home.OtherOTP(p.Enrolled.TOTP.Secret))
			expect(h.t, "a wrong code", err, device.ErrWrongOTP)
		}
		for _, typed := range []string{p.OTP(0), "typo", h.home.OtherOTP(p.Enrolled.TOTP.Secret)} {
			_, err := h.spendOTP(uid, typed)
			if !errors.Is(err, recovery.ErrLimited) || storage.RetryAfter(err) != 30*time.Second {
				h.t.Errorf("while it waits: %v, after %v", err, storage.RetryAfter(err))
			}
		}
		code := p.OTP(0)
		h.clock.Advance(30 * time.Second)
		_, err := h.spendOTP(uid, code)
		expect(h.t, "the same code, after the wait", err, nil)
		_, err = h.spendOTP(uid, h.home.OtherOTP(p.Enrolled.TOTP.Secret))
		expect(h.t, "the count begins anew", err, device.ErrWrongOTP)
		_, err = h.spendOTP(uid, p.OTP(30*time.Second))
		expect(h.t, "nothing waits", err, nil)
	})
}

func TestSpendOTP_CountsOnlyEnrollmentsThatAnswer(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.enroll("ada", "b") // so that the removal of the first is no reset
		uid := h.uid("ada")
		secret := p.Enrolled.TOTP.Secret
		admins := h.home.Admins
		ctx := h.t.Context()
		must(h.t, admins.Suspend(ctx, p.Enrolled.ID, audit.ByOperator(0)))
		_, err := h.spendOTP(uid, h.home.OTPOf(secret, 0))
		expect(h.t, "suspended", err, device.ErrWrongOTP)
		must(h.t, admins.Resume(ctx, p.Enrolled.ID, audit.ByOperator(0)))
		_, err = h.spendOTP(uid, h.home.OTPOf(secret, 0))
		expect(h.t, "resumed", err, nil)
		left := h.enroll("ada", "c")
		stolen, err := left.CallByToken()
		must(h.t, err)
		must(h.t, h.Leave(ctx, stolen, audit.ByUser()))
		_, err = h.spendOTP(uid, left.OTP(0))
		expect(h.t, "left: a stolen token takes no code away", err, nil)
		left.ExpectStatus(device.Left)
		h.clock.Advance(7 * 24 * time.Hour)
		_, err = h.spendOTP(uid, left.OTP(0))
		expect(h.t, "lapsed", err, device.ErrWrongOTP)
	})
}

func TestSpendOTP_ACodeThatTwoAuthenticatorsShowIsSpentForBoth(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		a := h.enroll("ada", "a")
		b := h.enroll("ada", "b")
		uid := h.uid("ada")
		h.update(func(tx *storage.Tx) error {
			_, one, err := device.Find(tx, a.Enrolled.ID)
			must(h.t, err)
			_, other, err := device.Find(tx, b.Enrolled.ID)
			must(h.t, err)
			other.OTP = one.OTP
			return device.Put(tx, uid, other)
		})
		code := a.OTP(0)
		_, err := h.spendOTP(uid, code)
		must(h.t, err)
		_, err = h.spendOTP(uid, code)
		expect(h.t, "once more", err, device.ErrWrongOTP)
	})
}

func TestSpendOTP_64AtOnceSpendOneCodeOnce(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		uid := h.uid("ada")
		code := p.OTP(0)
		var passed atomic.Int32
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				_, err := h.spendOTP(uid, code)
				switch {
				case err == nil:
					passed.Add(1)
				case !errors.Is(err, device.ErrWrongOTP) && !errors.Is(err, recovery.ErrLimited):
					h.t.Error(err)
				}
			})
		}
		all.Wait()
		if passed.Load() != 1 {
			h.t.Errorf("%d callers passed by one code", passed.Load())
		}
	})
}

// TestSpendOTP_AcceptsAsTheModelDoes lets clocks run, jump and restart, and tries codes of any step.
func TestSpendOTP_AcceptsAsTheModelDoes(t *testing.T) {
	h := newHouse(t, ground.Options{})
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		id := fmt.Sprint("user ", n)
		p := h.enroll(id, id)
		uid := h.uid(id)
		secret := otp.Secret(p.Enrollment().OTP.Secret)
		var last otp.Step
		var seen time.Time // the latest time by which steps were counted
		r.Repeat(map[string]func(*rapid.T){
			"pass": func(r *rapid.T) { h.clock.Advance(time.Duration(rapid.Int64Range(0, 90).Draw(r, "s")) * time.Second) },
			"jump": func(r *rapid.T) { h.clock.Jump(time.Duration(rapid.Int64Range(-90, 90).Draw(r, "s")) * time.Second) },
			"code": func(r *rapid.T) {
				now := h.store.Now()
				if wall := h.clock.Wall(); wall.After(now) {
					now = wall
				}
				step := otp.StepAt(now) + otp.Step(rapid.Int64Range(-3, 3).Draw(r, "off"))
				code := secret.At(step)
				want, right := secret.Find(code, now)
				right = right && want > last
				_, err := h.spendOTP(uid, string(code))
				switch {
				case errors.Is(err, recovery.ErrLimited):
					h.update(func(tx *storage.Tx) error { return recovery.OpenAll(tx, uid) })
				case err == nil && !right, err != nil && (right || !errors.Is(err, device.ErrWrongOTP)):
					r.Fatalf("step %d at %d, the last one %d: %v", step, otp.StepAt(now), last, err)
				case err == nil && want < otp.StepAt(seen)-1:
					r.Fatalf("step %d was over at %v and is open again", want, seen)
				case err == nil:
					last = want
				}
				if house := h.store.Now(); house.After(seen) {
					seen = house
				}
			},
		})
	})
}

func TestSpendOTP_NoRestartAndNoClockThatGoesBackReopensAStep(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		uid := h.uid("ada")
		seen := p.OTP(0) // somebody looked over her shoulder
		used := p.OTP(30 * time.Second)
		h.clock.Advance(30 * time.Second)
		_, err := h.spendOTP(uid, used)
		must(h.t, err)
		h.clock.Advance(2 * time.Minute)
		h.home.Restart(-2*time.Minute - 30*time.Second)
		for name, code := range map[string]string{"a code that was never used": seen, "one that was": used} {
			_, err := h.spendOTP(uid, code)
			expect(h.t, name, err, device.ErrWrongOTP)
		}
	})
}

func TestSpendOTP_FollowsAMachineThatSlept(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.clock.Jump(3 * time.Hour) // the monotonic clock stands still while a virtual machine is suspended
		_, err := h.spendOTP(h.uid("ada"), p.OTP(0))
		expect(h.t, "the code of the true time", err, nil)
	})
}
