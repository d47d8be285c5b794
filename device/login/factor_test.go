package login_test

import (
	"context"
	"testing"

	"tutela/device"
	"tutela/device/login"
	"tutela/recovery/user"
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
		_, err = h.RedeemCode(ctx, h.by("bank", token), p.Enrolled.RecoveryCode)
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
		_, err = h.RedeemCode(ctx, h.by("bank", h.startMFA("ada").Token), p.Enrolled.RecoveryCode)
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

func TestChallenge_AsksForNoFactorThatIsOff(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		h.enroll("ada", "a")
		pass := h.by("bank", h.startMFA("ada").Token).Pass
		fresh := h.by("bank", h.startMFA("new").Token).Pass
		either := login.Challenge{Pass: pass, Push: true, OTP: true}
		h.set("factor.push", "off")
		if got, err := h.Challenge(ctx, either); err != nil || got.By != login.WayOTP {
			h.t.Errorf("without push: %+v, %v", got, err)
		}
		h.set("factor.otp", "off")
		_, err := h.Challenge(ctx, either)
		expect(h.t, "without push and codes", err, login.ErrNoChallenge)
		_, err = h.Associate(ctx, login.Association{Pass: fresh, Type: device.TypeOTP})
		expect(h.t, "an association of codes", err, device.ErrFactorOff)
		h.set("factor.push", "on")
		if got, err := h.Challenge(ctx, either); err != nil || got.By != login.WayPush {
			h.t.Errorf("with push again: %+v, %v", got, err)
		}
		_, err = h.Associate(ctx, login.Association{Pass: fresh, Type: device.TypePush})
		must(h.t, err)
	})
}

// What was asked before phones were switched off is not approved after. A no counts at any time.
func TestAnswer_WhilePhonesAreOffApprovesNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.used("ada", "a")
		begun := h.begin(request("ada"))
		asked := p.one()
		h.set("factor.push", "off")
		expect(h.t, "a yes", p.approve(asked, begun.Number), device.ErrFactorOff)
		h.set("factor.push", "on")
		must(h.t, p.approve(asked, begun.Number))

		check := h.rings("ada")
		asked = p.one()
		h.set("factor.push", "off")
		expect(h.t, "a yes to a caller check", p.approve(asked, check.Number), device.ErrFactorOff)
		if got := h.caller("ada", check.ID); got != login.CallerPending {
			h.t.Errorf("the caller check is %s", got)
		}
		must(h.t, p.deny(asked, ""))
		if got := h.caller("ada", check.ID); got != login.CallerDenied {
			h.t.Errorf("after a no the caller check is %s", got)
		}
	})
}
