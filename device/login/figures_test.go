package login_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device"
)

// figure fails the test unless a figure shows just this, by its words.
func (h *house) figure(name string, want map[string]float64) {
	h.t.Helper()
	if diff := cmp.Diff(want, h.home.Figure(name)); diff != "" {
		h.t.Errorf("%s: %s", name, diff)
	}
}

// sweep removes all that is past its expiry.
func (h *house) sweep() {
	h.t.Helper()
	for n := 1; n > 0; {
		var err error
		n, err = h.store.Sweep(context.Background())
		must(h.t, err)
	}
}

func TestFigures_LoginsAreCountedByOutcomeAndWay(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		asked := request("ada")
		asked.LoginID = "one"
		begun := h.begin(asked)
		h.begin(asked) // the same again
		shown := p.one()
		must(h.t, p.approve(shown, begun.Number))
		must(h.t, p.approve(shown, begun.Number)) // the same again

		h.begin(request("ada"))
		must(h.t, p.deny(p.one(), ""))

		begun = h.begin(request("ada"))
		_ = p.approve(p.one(), other(begun.Number)) // refused, and written

		h.begin(request("ada")) // nobody answers
		code := h.enroll("bert", "b").Enrolled.RecoveryCode
		_, err := h.redeem(h.startMFA("bert").Token, code)
		must(h.t, err)
		h.startMFA("bert") // nobody types a code
		carl := h.enroll("carl", "c")
		_, err = h.redeemOTP(h.startMFA("carl").Token, carl.OTP(0))
		must(h.t, err)
		_, err = h.redeemOTP(h.startMFA("carl").Token, carl.OTP(0)) // the same again: wrong
		expect(h.t, "a spent code", err, device.ErrWrongOTP)

		h.figure("tutela_logins_total", map[string]float64{"approved swk": 1, "approved otp": 1, "approved rc": 1, "denied swk": 1, "wrong_number swk": 1})
		h.figure("tutela_one_time_codes_total", map[string]float64{"right": 1, "wrong": 1})
		h.clock.Advance(time.Hour)
		h.sweep()
		h.figure("tutela_logins_total", map[string]float64{
			"approved swk": 1, "approved otp": 1, "approved rc": 1, "denied swk": 1, "wrong_number swk": 1, "expired none": 3,
		})
		h.figure("tutela_approvals_total", map[string]float64{"approved push": 1, "denied push": 1, "wrong_number push": 1, "expired push": 1})
		h.figure("tutela_logins_started_total", map[string]float64{"push": 4, "grant": 4})
	})
}
