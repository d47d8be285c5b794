package loginapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// remembered logs maria in by her phone's code, and returns the token of her browser.
func (h *house) remembered(c client, p *phone) string {
	h.t.Helper()
	h.clock.Advance(time.Minute)
	a := h.redeemOTP(c, h.started(c, "maria"), h.showOTP(p.TOTP.Secret, 0), "remember", "true")
	want(h.t, a, 200, "")
	return a.text("remember_token")
}

// asks reports whether a browser is asked for a second factor.
func (h *house) asks(c client, token string) bool {
	h.t.Helper()
	a := h.start(c, "maria", "remember_token", token)
	want(h.t, a, 200, "")
	return a.text("mfa_token") != ""
}

func TestRemember_LetsTheBrowserInWithWhatWasProven(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	token := h.remembered(c, p)
	at := h.clock.Wall()
	h.clock.Advance(time.Hour)
	a := h.start(c, "maria", "remember_token", token)
	want(t, a, 200, "")
	if diff := cmp.Diff(map[string]any{}, a.body["mfa_requirements"]); diff != "" || a.body["remembered"] != true || len(a.body) != 3 {
		t.Fatalf("answer %s", a.raw)
	}
	_, claims := h.verified(a.text("result_token"), "ES256")
	if claims["sub"] != "maria" || claims["aud"] != c.ID || claims["auth_time"] != float64(at.Unix()) {
		t.Errorf("claims %v", claims)
	}
	if diff := cmp.Diff([]any{"mfa", "otp"}, claims["amr"]); diff != "" {
		t.Errorf("amr (-want +got):\n%s", diff)
	}
	events := h.Events(audit.AuthSucceed)
	if last := events[len(events)-1]; last.Facts["method"] != "remembered" || last.Client != c.ID {
		t.Errorf("the event is %+v", last)
	}
	for name, wrong := range map[string]string{"cut": token[:len(token)-1], "another secret": token[:len(token)-3] + "xyz", "none": "", "long": token + token + token + token + token} {
		if !h.asks(c, wrong) {
			t.Errorf("%s: it is remembered", name)
		}
	}
	if other := h.client("openid"); !h.asks(other, token) {
		t.Error("another client's browser is remembered")
	}
	otto := h.start(c, "otto", "remember_token", token)
	if otto.text("mfa_token") == "" {
		t.Errorf("another user is let in: %s", otto.raw)
	}
}

func TestRemember_OfAnApprovalAndNotOfARecoveryCode(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	token := h.started(c, "maria")
	asked := h.asksPhone(c, token)
	p.approve(asked)
	first := h.redeemOOB(c, token, asked.text("oob_code"), "remember", "true")
	again := h.redeemOOB(c, token, asked.text("oob_code"), "remember", "true")
	if h.asks(c, again.text("remember_token")) || !h.asks(c, first.text("remember_token")) {
		t.Error("a login remembers more than the browser that was answered last")
	}
	want(t, h.redeemOOB(c, token, asked.text("oob_code"), "remember", "maybe"), 400, "invalid_request")
	a := h.redeem(c, h.started(c, "maria"), p.RecoveryCode, "remember", "true")
	want(t, a, 200, "")
	if a.text("remember_token") != "" {
		t.Error("a recovery code remembers")
	}
}

func TestRemember_OfAPasskey(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	a := h.passkeyOf(c, "maria")
	token := h.started(c, "maria")
	signed := a.Get(h.asksPasskey(c, token))
	first := h.redeemPasskey(c, token, signed, "remember", "true")
	want(t, first, 200, "")
	again := h.redeemPasskey(c, token, signed, "remember", "true")
	if h.asks(c, again.text("remember_token")) || !h.asks(c, first.text("remember_token")) {
		t.Error("a login remembers more than the browser that was answered last")
	}
	got := h.start(c, "maria", "remember_token", again.text("remember_token"))
	_, claims := h.verified(got.text("result_token"), "ES256")
	if diff := cmp.Diff([]any{"mfa", "pop"}, claims["amr"]); diff != "" {
		t.Errorf("amr (-want +got):\n%s", diff)
	}
	if plain := h.redeemPasskey(c, token, signed); plain.text("remember_token") != "" {
		t.Errorf("nobody has asked for it: %s", plain.raw)
	}
}

// Whoever holds a grant that was answered brings nothing back that the person has ended since.
func TestRemember_ARepeatBringsNothingBackThatWasForgotten(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	byOTP := h.started(c, "maria")
	code := h.showOTP(p.TOTP.Secret, 0)
	asked := h.started(c, "maria")
	approval := h.asksPhone(c, asked)
	p.approve(approval)
	owners := newOwner(h, c)
	for name, redeem := range map[string]func() answer{
		"a one-time code": func() answer { return h.redeemOTP(c, byOTP, code, "remember", "true") },
		"an approval":     func() answer { return h.redeemOOB(c, asked, approval.text("oob_code"), "remember", "true") },
		"a passkey":       owners,
	} {
		first := redeem()
		want(t, first, 200, "")
		if first.text("remember_token") == "" {
			t.Fatalf("%s: %s", name, first.raw)
		}
		for _, id := range []string{"maria", "otto"} {
			h.must(h.Admins.ForgetBrowsers(t.Context(), id, audit.ByOperator(0)))
		}
		again := redeem()
		want(t, again, 200, "")
		if again.text("remember_token") != "" {
			t.Errorf("%s: it is remembered again", name)
		}
	}
}

// newOwner makes otto, who has a passkey, and returns what redeems one login of his.
func newOwner(h *house, c client) func() answer {
	a := h.passkeyOf(c, "otto")
	token := h.started(c, "otto")
	signed := a.Get(h.asksPasskey(c, token))
	return func() answer { return h.redeemPasskey(c, token, signed, "remember", "true") }
}

func TestRemember_EndsWithItsTimes(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	idle := h.remembered(c, p)
	h.clock.Advance(3 * 24 * time.Hour)
	if !h.asks(c, idle) {
		t.Error("nobody has used it for three days")
	}
	used := h.remembered(c, p)
	for range 14 {
		h.clock.Advance(2 * 24 * time.Hour)
		if h.asks(c, used) {
			t.Fatal("it was in use")
		}
	}
	h.clock.Advance(2 * 24 * time.Hour)
	if !h.asks(c, used) {
		t.Error("it is older than 30 days")
	}
	short := h.remembered(c, p)
	h.must(h.store.Update(t.Context(), func(tx *storage.Tx) error { return setting.Set(tx, "remember.overall", "10m") }))
	h.clock.Advance(11 * time.Minute)
	if !h.asks(c, short) {
		t.Error("the setting counts from then on")
	}
}

func TestRemember_EndsWithWhateverChangesHowSheProvesHerself(t *testing.T) {
	for name, end := range map[string]func(h *house, c client, p *phone){
		"a reset": func(h *house, _ client, _ *phone) {
			h.Reset("maria")
			h.enroll("maria")
		},
		"a recovery code": func(h *house, c client, p *phone) {
			want(h.t, h.redeem(c, h.started(c, "maria"), p.RecoveryCode), 200, "")
		},
		"a new phone":     func(h *house, _ client, _ *phone) { h.enroll("maria") },
		"new codes":       func(h *house, _ client, _ *phone) { h.giveCodes("maria") },
		"a suspension":    func(h *house, _ client, p *phone) { h.must(h.Admins.Suspend(h.t.Context(), p.ID, audit.ByOperator(0))) },
		"a phone removed": func(h *house, _ client, p *phone) { p.leave() },
		"invalidated": func(h *house, _ client, _ *phone) {
			h.must(h.Admins.ForgetBrowsers(h.t.Context(), "maria", audit.ByOperator(0)))
		},
		"a block, then not": func(h *house, _ client, _ *phone) {
			h.must(h.Admins.SetBlocked(h.t.Context(), "maria", true, audit.ByOperator(0)))
			h.must(h.Admins.SetBlocked(h.t.Context(), "maria", false, audit.ByOperator(0)))
		},
		"it was not her": func(h *house, c client, p *phone) {
			h.asked(c)
			p.deny("not_me")
		},
		"somebody hacks": func(h *house, c client, p *phone) {
			h.asked(c)
			p.deny("hack")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			p := h.enroll("maria")
			h.enroll("maria")
			c := h.client("openid")
			token := h.remembered(c, p)
			if h.asks(c, token) {
				t.Fatal("it is not remembered")
			}
			end(h, c, p)
			if !h.asks(c, token) {
				t.Error("it is still remembered")
			}
		})
	}
}

func TestRemember_ADenialWithoutAReasonEndsNothing(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	token := h.remembered(c, p)
	h.asked(c)
	p.deny("")
	if h.asks(c, token) {
		t.Error("a mistake of hers has ended it")
	}
}

func TestRemember_KeepsTheBrowsersThatWereUsedLast(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	first := h.remembered(c, p)
	second := h.remembered(c, p)
	for range 62 {
		h.clock.Advance(time.Minute)
		h.remembered(c, p)
	}
	if h.asks(c, first) {
		t.Error("64 are remembered")
	}
	h.remembered(c, p)
	if h.asks(c, first) || !h.asks(c, second) {
		t.Error("the one that was used longest ago goes")
	}
}

func TestRemember_StoresNoToken(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	token := h.remembered(h.client("openid"), p)
	_, secret, _ := strings.Cut(token, ".")
	seen := 0
	h.must(h.store.Engine().Peek(t.Context(), storage.Range{}, func(key, value []byte) bool {
		seen++
		if strings.Contains(string(key)+string(value), secret) {
			t.Errorf("%q holds it", key)
		}
		return true
	}))
	if seen < 10 || len(secret) < 32 {
		t.Errorf("%d rows, a secret of %d characters", seen, len(secret))
	}
}
