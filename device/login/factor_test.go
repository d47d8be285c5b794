package login_test

import (
	"context"
	"testing"

	"tutela/device"
	"tutela/device/login"
	"tutela/recovery/user"
	"tutela/storage/audit"
)

// A factor that is switched off is neither offered nor asked. What is enrolled stays: switched on, it counts as before.
func TestFactor_ThatIsOffIsNeitherOfferedNorAsked(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		p := h.enroll("ada", "a")
		token := h.startMFA("ada").Token

		h.set("factor.push", "off")
		_, err := h.Begin(ctx, request("ada"))
		expect(h.t, "an approval", err, login.ErrNoPhone)
		if got := h.startMFA("ada"); got.Phones || !got.OTP || !got.AskCode || got.State != user.Enrolled {
			h.t.Errorf("without push: %+v", got)
		}
		h.set("factor.otp", "off")
		_, err = h.redeemOTP(token, p.OTP(0))
		expect(h.t, "a one-time code", err, device.ErrFactorOff)
		if got := h.startMFA("ada"); got.Phones || got.OTP || !got.AskCode || got.State != user.Enrolled {
			h.t.Errorf("without push and codes: %+v", got)
		}
		h.set("factor.recovery_code", "off")
		_, err = h.RedeemCode(ctx, "bank", token, p.Enrolled.RecoveryCode, audit.ByUser())
		expect(h.t, "the recovery code", err, device.ErrFactorOff)
		for _, id := range []string{"ada", "somebody new"} {
			_, err = h.StartMFA(ctx, login.MFAStart{Client: "bank", User: user.User{ID: id}})
			expect(h.t, id+" with nothing left", err, login.ErrNoFactor)
		}

		h.set("factor.push", "on")
		if got := h.startMFA("ada"); !got.Phones || got.OTP || got.AskCode {
			h.t.Errorf("with push again: %+v", got)
		}
		begun := h.begin(request("ada"))
		must(h.t, p.approve(p.one(), begun.Number))
		h.set("factor.otp", "on")
		_, err = h.redeemOTP(token, p.OTP(0))
		must(h.t, err)
		h.set("factor.recovery_code", "on")
		_, err = h.RedeemCode(ctx, "bank", h.startMFA("ada").Token, p.Enrolled.RecoveryCode, audit.ByUser())
		must(h.t, err)
	})
}

func TestFactor_ThatIsOffIsNotOfferedToANewUser(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for value, want := range map[string]device.Factor{"factor.push": device.FactorOTP, "factor.otp": device.FactorPush} {
			h.set(value, "off")
			if got := h.startMFA("ada"); got.State != user.New || len(got.Enroll) != 1 || got.Enroll[0] != want {
				h.t.Errorf("with %s off: %+v", value, got)
			}
			h.set(value, "on")
		}
	})
}
