package loginapi_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/storage/audit"
)

func (h *house) redeemOTP(c client, mfaToken, code string, pairs ...string) answer {
	h.t.Helper()
	pairs = append([]string{"grant_type", access.GrantOTP, "mfa_token", mfaToken, "otp", code}, pairs...)
	return h.form("/oauth/token", c.credentials(pairs...)...)
}

const wrongOTP = "the one-time code is wrong, or was used already: wait for the next one"

// otherOTP is a code that an app does not show, in the minutes around now.
func otherOTP(show func(skew time.Duration) string) string {
	shown := map[string]bool{}
	for skew := -2 * time.Minute; skew <= 2*time.Minute; skew += 30 * time.Second {
		shown[show(skew)] = true
	}
	for _, code := range []string{"000000", "111111", "222222", "333333", "444444", "555555", "666666", "777777", "888888"} {
		if !shown[code] {
			return code
		}
	}
	return "999999"
}

func TestOTP_LogsInByAPhonesCodeOnce(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	code := h.showOTP(p.TOTP.Secret, 0)
	token := h.started(c, "maria")
	a := h.redeemOTP(c, token, code[:3]+"\u00a0"+code[3:])
	want(t, a, 200, "")
	if len(a.body) != 5 || a.text("scope") != "openid" {
		t.Errorf("answer %s", a.raw)
	}
	now := h.clock.Wall()
	_, claims := h.verified(a.text("id_token"), "ES256")
	wanted := map[string]any{
		"iss": public + "/", "sub": "maria", "aud": c.ID, "iat": float64(now.Unix()), "exp": float64(now.Add(time.Hour).Unix()),
		"auth_time": float64(now.Unix()), "amr": []any{"mfa", "otp"},
	}
	if diff := cmp.Diff(wanted, claims); diff != "" {
		t.Errorf("ID token (-want +got):\n%s", diff)
	}
	want(t, h.redeemOTP(c, token, code), 200, "") // its answer may have been lost
	wantError(t, h.redeemOTP(c, h.started(c, "maria"), code), 403, "invalid_grant", wrongOTP)
	if n := len(h.Events(audit.AuthSucceed)); n != 1 {
		t.Errorf("%d events of one login", n)
	}
}

func TestOTP_IsTheWayInOfAUserWhoHasCodesAlone(t *testing.T) {
	h := newHouse(t)
	show := h.giveCodes("maria")
	c := h.client("openid")
	wantError(t, h.ask(c), 400, "access_denied", "the user has no phone that answers approvals: offer another factor")
	want(t, h.redeemOTP(c, h.started(c, "maria"), show(0)), 200, "")
}

func TestOTP_TyposAreNotCountedAndWrongOnesCloseEvenForARightOne(t *testing.T) {
	h := newHouse(t)
	show := h.giveCodes("maria")
	c := h.client("openid")
	token := h.started(c, "maria")
	for range 12 {
		for _, typed := range []string{"12345", "1234567", "12345a", "x"} {
			wantError(t, h.redeemOTP(c, token, typed), 403, "invalid_grant", "a one-time code has six digits")
		}
	}
	for range 10 {
		wantError(t, h.redeemOTP(c, token, otherOTP(show)), 403, "invalid_grant", wrongOTP)
	}
	for _, code := range []string{show(0), otherOTP(show), "typo"} {
		a := h.redeemOTP(c, token, code)
		wantError(t, a, 429, "too_many_attempts", "too many wrong codes; wait before you try another")
		if a.header.Get("Retry-After") != "30" || a.header.Get("X-RateLimit-Remaining") != "0" {
			t.Errorf("header %v", a.header)
		}
	}
	h.clock.Advance(30 * time.Second)
	want(t, h.redeemOTP(c, token, show(0)), 200, "")
}

func TestOTP_WantsTheMFATokenOfThisClientAndItsGrant(t *testing.T) {
	h := newHouse(t)
	show := h.giveCodes("maria")
	c := h.client("openid")
	other := h.client("openid")
	denied := h.client("openid", func(c *access.Client) { c.Grants = []string{access.GrantRecoveryCode} })
	token := h.started(c, "maria")
	const invalid = "the mfa_token is not valid for this client"
	wantError(t, h.redeemOTP(other, token, show(0)), 400, "invalid_grant", invalid)
	wantError(t, h.redeemOTP(c, "x", show(0)), 400, "invalid_grant", invalid)
	wantError(t, h.redeemOTP(c, "", show(0)), 400, "invalid_request", "mfa_token is missing")
	wantError(t, h.redeemOTP(c, token, ""), 400, "invalid_request", "otp is missing")
	wantError(t, h.redeemOTP(denied, h.started(denied, "maria"), show(0)), 400, "unauthorized_client", "the client may not use this grant")
	wantError(t, h.redeemOTP(c, token, show(0), "audience", public+"/api/v2/"), 400, "invalid_request", "a token about a user cannot have this audience")
	h.block("maria")
	wantError(t, h.redeemOTP(c, token, show(0)), 400, "access_denied", "the user is blocked")
	h.ChangeUser("maria", func(u *user.User) { u.Blocked = false })
	want(t, h.redeemOTP(c, token, show(0)), 200, "")
}
