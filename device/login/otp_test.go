package login_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/otp"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest"
	"tutela/storage/storagetest/ground"
)

func (h *house) redeemOTP(token, code string) (login.Outcome, error) {
	return h.RedeemOTP(context.Background(), h.by("bank", token), code)
}

// codeApp makes an app of a user that shows one-time codes and does no more.
func (h *house) codeApp(id string) *devicetest.CodeApp {
	h.t.Helper()
	app := h.home.NewCodeApp(h.home.Ticket(id))
	_, err := h.devices.ConfirmOTP(context.Background(), app.Ticket, app.Code(0), devicetest.ByPhone)
	must(h.t, err)
	h.clock.Advance(otp.Period * time.Second) // the code that confirmed it is spent
	return app
}

func TestRedeemOTP_LetsInOnceByAPhoneOrAnAppOfCodes(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		app := h.codeApp("ada")
		for name, code := range map[string]func() string{
			"a phone":         func() string { return p.OTP(0) },
			"an app of codes": func() string { return app.Code(0) },
		} {
			typed := code()
			token := h.startMFA("ada").Token
			o, err := h.redeemOTP(token, typed[:3]+" "+typed[3:])
			must(h.t, err)
			if o.UserID != "ada" || o.Login.Method != login.ByOTP || o.Login.By == "" || o.Login.State != login.Approved {
				h.t.Errorf("%s: %+v", name, o)
			}
			_, err = h.redeemOTP(h.startMFA("ada").Token, typed)
			expect(h.t, name+", the same code in another login", err, device.ErrWrongOTP)
		}
		events := h.events("ada", audit.AuthSucceed)
		if len(events) != 2 || events[0].Facts[audit.FactMethod] != "otp" || events[0].Detail.Enrollment == "" {
			h.t.Errorf("%+v", events)
		}
		failed := h.events("ada", audit.AuthFailed)
		if len(failed) != 2 || failed[0].Facts[audit.FactWhy] != audit.WhyCode || failed[0].Facts[audit.FactMethod] != "otp" || failed[0].Client != "bank" {
			h.t.Errorf("%+v", failed)
		}
		h.view(func(tx *storage.Tx) error {
			u, err := user.Find(tx, "ada")
			if err == nil && u.Logins != 2 {
				h.t.Errorf("%d logins are counted", u.Logins)
			}
			return err
		})
	})
}

func TestRedeemOTP_SameAgainGetsTheSameOutcomeWhileThePhoneIsInService(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		h.enroll("ada", "b")
		token := h.startMFA("ada").Token
		code := p.OTP(0)
		first, err := h.redeemOTP(token, code)
		must(h.t, err)
		h.restart()
		for range 10 { // limits are no matter
			_, err := h.redeemOTP(h.startMFA("ada").Token, h.home.OtherOTP(p.Enrolled.TOTP.Secret))
			expect(h.t, "a wrong code", err, device.ErrWrongOTP)
		}
		again, err := h.redeemOTP(token, code)
		if err != nil || cmp.Diff(first, again) != "" {
			h.t.Errorf("again: %v, %s", err, cmp.Diff(first, again))
		}
		for name, typed := range map[string]string{"another code": h.home.OtherOTP(p.Enrolled.TOTP.Secret), "a typo": "1"} {
			_, err := h.redeemOTP(token, typed)
			expect(h.t, name, err, login.ErrGrant)
		}
		_, err = h.redeem(token, p.Enrolled.RecoveryCode)
		expect(h.t, "the recovery code", err, login.ErrGrant)
		must(h.t, h.home.Admins.Suspend(context.Background(), p.Enrolled.ID, devicetest.Admin))
		_, err = h.redeemOTP(token, code)
		expect(h.t, "suspended meanwhile", err, login.ErrDenied)
		h.block("ada", true)
		_, err = h.redeemOTP(token, code)
		expect(h.t, "blocked meanwhile", err, login.ErrBlocked)
		h.block("ada", false)
		h.clock.Advance(10 * time.Minute)
		_, err = h.redeemOTP(token, code)
		expect(h.t, "past the mfa_token", err, login.ErrMFATokenExpired)
	})
}

func TestRedeemOTP_IsLimitedAndOnlyARightOneOrAnAdminOpens(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		token := h.startMFA("ada").Token
		for range 10 {
			_, err := h.redeemOTP(token, h.home.OtherOTP(p.Enrolled.TOTP.Secret))
			expect(h.t, "a wrong code", err, device.ErrWrongOTP)
		}
		code := p.OTP(0)
		_, err := h.redeemOTP(token, code)
		if !errors.Is(err, recovery.ErrLimited) || storage.RetryAfter(err) != 30*time.Second {
			h.t.Errorf("the right code, while it waits: %v, after %v", err, storage.RetryAfter(err))
		}
		begun := h.begin(request("ada"))
		must(h.t, p.approve(p.one(), begun.Number))
		_, err = h.redeem(h.startMFA("ada").Token, p.Enrolled.RecoveryCode)
		must(h.t, err)
		_, err = h.redeemOTP(token, code)
		expect(h.t, "after an approval and a recovery code", err, recovery.ErrLimited)
		must(h.t, h.home.Admins.Unlock(context.Background(), "ada", devicetest.Admin))
		_, err = h.redeemOTP(token, code)
		expect(h.t, "after an admin", err, nil)
		h.expectEvents("ada", audit.OTPRateLimit, 1)
	})
}

func TestRedeemOTP_64AtOnceInManyLoginsLetOneIn(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		code := p.OTP(0)
		tokens := make([]string, 16)
		for i := range tokens {
			tokens[i] = h.startMFA("ada").Token
		}
		var in atomic.Int32
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				_, err := h.redeemOTP(tokens[i%len(tokens)], code)
				switch {
				case err == nil:
					in.Or(1 << (i % len(tokens)))
				case !errors.Is(err, device.ErrWrongOTP) && !errors.Is(err, recovery.ErrLimited):
					h.t.Error(err)
				}
			})
		}
		all.Wait()
		if got := in.Load(); got == 0 || got&(got-1) != 0 {
			h.t.Errorf("the logins let in by one code: %b", got)
		}
	})
}

func TestRedeemOTP_TakesOnlyTheMFATokenOfItsClient(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		token := h.startMFA("ada").Token
		_, err := h.RedeemOTP(context.Background(), h.by("another client", token), p.OTP(0))
		expect(h.t, "another client", err, login.ErrMFAToken)
		begun := h.begin(request("ada"))
		for name, bad := range map[string]string{"nothing": "", "a txtkn": p.one().TransactionToken, "an auth_req_id": begun.ID} {
			_, err := h.redeemOTP(bad, p.OTP(0))
			expect(h.t, name, err, login.ErrMFAToken)
		}
		h.clock.Advance(10 * time.Minute)
		_, err = h.redeemOTP(token, p.OTP(0))
		expect(h.t, "after ten minutes", err, login.ErrMFATokenExpired)
		token = h.startMFA("ada").Token
		h.block("ada", true)
		_, err = h.redeemOTP(token, p.OTP(0))
		expect(h.t, "blocked", err, login.ErrBlocked)
	})
}

func TestStartMFA_OffersOneTimeCodesWhereTheyCount(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.codeApp("codes")
		h.enroll("phone", "a")
		for id, want := range map[string]login.MFAStarted{
			"codes": {OTP: true, Codes: true, AskCode: true, State: user.Enrolled},
			"phone": {OTP: true, Codes: true, AskCode: true, Phones: true, State: user.Enrolled},
			"new":   {State: user.New, Created: true, Enroll: []device.Factor{device.FactorPush, device.FactorOTP}},
		} {
			got := h.startMFA(id)
			got.Token = ""
			if diff := cmp.Diff(want, got); diff != "" {
				h.t.Errorf("%s: %s", id, diff)
			}
		}
		_, err := h.Begin(context.Background(), request("codes"))
		expect(h.t, "a push to who has codes alone", err, login.ErrNoPhone)
	})
}

// A user who has no code costs a guess the same work as one who has.
func TestRedeemOTP_CostsTheSameOperationsWithAndWithoutCodes(t *testing.T) {
	engine := &storagetest.Counted{}
	h := newHouse(t, ground.Options{Wrap: engine.Around})
	app := h.codeApp("ada")
	h.codeApp("ben")
	set, err := h.home.Admins.EnrollmentsOf(context.Background(), "ben")
	must(t, err)
	must(t, h.home.Admins.Suspend(context.Background(), set[0].ID, devicetest.Admin))
	var costs []storagetest.Work
	for _, id := range []string{"ada", "ben"} {
		token := h.startMFA(id).Token
		_, err := h.redeemOTP(token, h.home.OtherOTP(app.Secret))
		expect(t, id, err, device.ErrWrongOTP)
		cost := engine.Last()
		cost.Bytes = 0 // names and counts differ
		costs = append(costs, cost)
	}
	if diff := cmp.Diff(costs[0], costs[1]); diff != "" {
		t.Errorf("with codes and without: %s", diff)
	}
}
