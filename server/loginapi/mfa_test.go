package loginapi_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
)

func (h *house) start(c client, userID string, pairs ...string) answer {
	h.t.Helper()
	return h.form("/mfa/start", c.credentials(append([]string{"user_id", userID}, pairs...)...)...)
}

// started is start that must succeed; it returns the mfa_token.
func (h *house) started(c client, userID string) string {
	h.t.Helper()
	a := h.start(c, userID)
	want(h.t, a, 200, "")
	return a.text("mfa_token")
}

func (h *house) redeem(c client, mfaToken, code string, pairs ...string) answer {
	h.t.Helper()
	pairs = append([]string{"grant_type", access.GrantRecoveryCode, "mfa_token", mfaToken, "recovery_code", code}, pairs...)
	return h.form("/oauth/token", c.credentials(pairs...)...)
}

// typo is a code with one character that is another: its check character does not fit.
func typo(code string) string {
	if code[0] == '0' {
		return "1" + code[1:]
	}
	return "0" + code[1:]
}

// wrongCode is a code that somebody could have, and the user has not.
const wrongCode = "7V3KQ9X2M4T8R6W5Y1ZJ0ABV"

func TestStartMFA_SaysWhatIsAskedInEachState(t *testing.T) {
	h := newHouse(t)
	h.enroll("enrolled")
	h.enroll("lost").leave()
	h.enroll("reset")
	h.Reset("reset")
	h.giveCodes("codes")
	c := h.client("openid")
	challenge := func(types ...string) map[string]any {
		list := make([]any, 0, len(types))
		for _, name := range types {
			list = append(list, map[string]any{"type": name})
		}
		return map[string]any{"challenge": list}
	}
	enroll := map[string]any{"enroll": []any{map[string]any{"type": "push-notification"}, map[string]any{"type": "otp"}}}
	for userID, requirements := range map[string]map[string]any{
		"enrolled": challenge("push-notification", "otp", "recovery-code"),
		"lost":     challenge("recovery-code"),
		"codes":    challenge("otp", "recovery-code"),
		"nobody":   enroll,
		"reset":    enroll,
	} {
		a := h.start(c, userID)
		want(t, a, 200, "")
		if diff := cmp.Diff(any(requirements), a.body["mfa_requirements"]); diff != "" {
			t.Errorf("%s: %s\n%s", userID, a.raw, diff)
		}
		if created := a.body["created"] == true; created != (userID == "nobody") {
			t.Errorf("%s: %s", userID, a.raw)
		}
		var claims map[string]any
		payload := decodePart(t, a.text("mfa_token"), 1)
		h.must(json.Unmarshal(payload, &claims))
		if claims["exp"] != float64(h.clock.Wall().Add(10*time.Minute).Unix()) {
			t.Errorf("%s: exp %v", userID, claims["exp"])
		}
	}
}

func TestStartMFA_MakesAUserWhoIsNewToUs(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	made := h.start(c, "maria", "email", "maria@example.com", "name", "Maria", "ip", "[2001:db8::1]:443", "user_agent", "Firefox")
	want(t, made, 200, "")
	again := h.start(c, "maria", "email", "else@example.com", "name", "Else") // stays as she is
	want(t, again, 200, "")
	if made.body["created"] != true || again.body["created"] != nil {
		t.Errorf("a mistyped id would not be seen: %s, then %s", made.raw, again.raw)
	}
	if began := h.Events(audit.StartAuth)[0]; began.Detail.IP != "2001:db8::1" || began.Detail.UserAgent != "Firefox" {
		t.Errorf("the event is of %+v", began.Detail)
	}
	h.must(h.store.View(t.Context(), func(tx *storage.Tx) error {
		u, err := user.Find(tx, "maria")
		if err == nil && (u.Email != "maria@example.com" || u.Name != "Maria") {
			t.Errorf("user %+v", u)
		}
		return err
	}))
}

func TestStartMFA_RefusesWhatIsNoUser(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	for _, id := range []string{strings.Repeat("a", 256), "mar\x00ia", "mar\nia", "maria ", "mar\u200bia", "m\uff41ria"} {
		a := h.start(c, id)
		want(t, a, 400, "invalid_request")
		if said := a.text("error_description"); !strings.HasPrefix(said, "the user id ") {
			t.Errorf("%q: %s", id, said)
		}
	}
	wantError(t, h.start(c, ""), 400, "invalid_request", "user_id is missing")
	wantError(t, h.start(c, strings.Repeat("a", 5000)), 400, "invalid_request", "user_id is longer than 4096 bytes")
	for _, name := range []string{"email", "name", "ticket"} {
		wantError(t, h.start(c, "maria", name, strings.Repeat("a", 513)), 400, "invalid_request", name+" is longer than 512 bytes")
	}
	for _, name := range []string{"email", "name"} {
		want(t, h.start(c, "maria", name, "a\x00b"), 400, "invalid_request")
	}
	h.unknown("maria")
	h.enroll("blocked")
	h.block("blocked")
	wantError(t, h.start(c, "blocked"), 400, "access_denied", "the user is blocked")
}

func TestStartMFA_UnderPolicyTicketANewUserNeedsOne(t *testing.T) {
	h := newHouse(t)
	h.Set("enrollment.after_reset", "ticket")
	c := h.client("openid")
	const needed = "a user with nothing enrolled needs a ticket to set up here"
	wantError(t, h.start(c, "maria"), 403, "ticket_required", needed)
	h.unknown("maria") // nothing was made
	ticket := h.ticket("maria")
	want(t, h.start(c, "maria", "ticket", ticket), 200, "")
	wantError(t, h.start(c, "maria"), 403, "ticket_required", needed)
	for _, other := range []string{h.ticket("otto"), "x", ticket + "x"} {
		wantError(t, h.start(c, "maria", "ticket", other), 403, "ticket_required", needed)
	}
	h.enroll("maria")
	want(t, h.start(c, "maria"), 200, "")
}

func TestRecoveryCode_LogsInAndIsReplaced(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	code := p.RecoveryCode
	typed := strings.ToLower(code[:6]) + "-" + code[6:12] + " " + code[12:18] + " – " + strings.ReplaceAll(code[18:], "0", "o")
	a := h.redeem(c, h.started(c, "maria"), typed)
	want(t, a, 200, "")
	next := a.text("recovery_code")
	if _, err := recovery.ParseCode(next); err != nil || next == code || len(a.body) != 6 || a.text("scope") != "openid" {
		t.Errorf("answer %s", a.raw)
	}
	now := h.clock.Wall()
	_, claims := h.verified(a.text("id_token"), "ES256")
	wanted := map[string]any{
		"iss": public + "/", "sub": "maria", "aud": c.ID, "iat": float64(now.Unix()), "exp": float64(now.Add(time.Hour).Unix()),
		"auth_time": float64(now.Unix()), "amr": []any{"mfa", "rc"},
	}
	if diff := cmp.Diff(wanted, claims); diff != "" {
		t.Errorf("ID token (-want +got):\n%s", diff)
	}
	wantError(t, h.redeem(c, h.started(c, "maria"), code), 403, "invalid_grant", "the recovery code is not right")
	want(t, h.redeem(c, h.started(c, "maria"), next), 200, "")
	if n := len(h.Events(audit.RecoverySucceed)); n != 2 {
		t.Errorf("%d events of two codes", n)
	}
}

func TestRecoveryCode_IsTheWayInOfAUserWhoLostThePhone(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	p.leave()
	wantError(t, h.ask(c), 400, "recovery_required", "the user has no phone that can be asked: offer the recovery code")
	want(t, h.redeem(c, h.started(c, "maria"), p.RecoveryCode), 200, "")
}

func TestRecoveryCode_ALostAnswerIsGivenAgain(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	token := h.started(c, "maria")
	first := h.redeem(c, token, p.RecoveryCode)
	want(t, first, 200, "")
	h.failLogin(c, 20) // the channel waits by now
	again := h.redeem(c, token, strings.ToLower(p.RecoveryCode))
	want(t, again, 200, "")
	if again.text("recovery_code") != first.text("recovery_code") {
		t.Errorf("another code: %s", again.raw)
	}
	const used = "the id is not of a login of this client, or was used already"
	for _, other := range []string{wrongCode, first.text("recovery_code")} {
		wantError(t, h.redeem(c, token, other), 400, "invalid_grant", used)
	}
	h.clock.Advance(10*time.Minute - time.Millisecond)
	want(t, h.redeem(c, token, p.RecoveryCode), 200, "")
	h.clock.Advance(time.Millisecond)
	wantError(t, h.redeem(c, token, p.RecoveryCode), 400, "expired_token", "the mfa_token has expired: start again")
}

func TestRecoveryCode_ALostAnswerIsGoneWithTheNextCode(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	token := h.started(c, "maria")
	first := h.redeem(c, token, p.RecoveryCode)
	want(t, h.redeem(c, h.started(c, "maria"), first.text("recovery_code")), 200, "")
	want(t, h.redeem(c, token, p.RecoveryCode), 400, "invalid_grant")
}

// failLogin spends n wrong codes of maria, waiting as long as it takes; it returns the last refusal.
func (h *house) failLogin(c client, n int) (last answer) {
	h.t.Helper()
	token := h.started(c, "maria")
	for range n {
		last = h.redeem(c, token, wrongCode)
		if last.status == http.StatusTooManyRequests {
			return last
		}
	}
	return last
}

func TestRecoveryCode_TyposAreNotCountedAndWrongOnesAre(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	const wrong = "the recovery code is not right"
	token := h.started(c, "maria")
	for range 15 {
		for _, code := range []string{typo(p.RecoveryCode), "x", "123456", strings.Repeat("0", 300), wrongCode[:23]} {
			wantError(t, h.redeem(c, token, code), 403, "invalid_grant", wrong)
		}
	}
	for range 10 {
		wantError(t, h.redeem(c, token, wrongCode), 403, "invalid_grant", wrong)
	}
	a := h.redeem(c, token, wrongCode)
	wantError(t, a, 429, "too_many_attempts", "too many wrong codes; wait before you try another")
	reset := strconv.FormatInt(h.clock.Wall().Add(30*time.Second).Unix(), 10)
	if a.header.Get("Retry-After") != "30" || a.header.Get("X-RateLimit-Remaining") != "0" || a.header.Get("X-RateLimit-Reset") != reset {
		t.Errorf("header %v", a.header)
	}
	wantError(t, h.redeem(c, token, typo(p.RecoveryCode)), 403, "invalid_grant", wrong)
	h.clock.Advance(30 * time.Second)
	want(t, h.redeem(c, token, wrongCode), 403, "invalid_grant") // the eleventh: twice as long
	h.clock.Advance(59 * time.Second)
	if a := h.redeem(c, token, wrongCode); a.status != 429 || a.header.Get("Retry-After") != "1" {
		t.Errorf("a second before the end of the wait: %d, Retry-After %s", a.status, a.header.Get("Retry-After"))
	}
	want(t, h.redeem(c, token, p.RecoveryCode), 200, "") // a right one waits for nothing
	if n := len(h.Events(audit.RecoveryFailed)); n != 11 {
		t.Errorf("%d events of 11 wrong codes", n)
	}
}

func TestRecoveryCode_OfAUserWithoutOneIsWrong(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	wantError(t, h.redeem(c, h.started(c, "new"), wrongCode), 403, "invalid_grant", "the recovery code is not right")
}

func TestRecoveryCode_OfABlockedUserIsRefused(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	token := h.started(c, "maria")
	h.block("maria")
	wantError(t, h.redeem(c, token, p.RecoveryCode), 400, "access_denied", "the user is blocked")
	h.ChangeUser("maria", func(u *user.User) { u.Blocked = false })
	want(t, h.redeem(c, token, p.RecoveryCode), 200, "")
}

func TestRecoveryCode_WantsTheMFATokenOfThisClient(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	other := h.client("openid")
	token := h.started(c, "maria")
	const invalid = "the mfa_token is not valid for this client"
	wantError(t, h.redeem(other, token, p.RecoveryCode), 400, "invalid_grant", invalid)
	id := h.asked(c)
	for _, forged := range []string{"x", "a.b.c", token + "x", token[:len(token)-4] + "AAAA", id, p.approvals()[0].TransactionToken, p.Token, c.secret, p.RecoveryCode} {
		wantError(t, h.redeem(c, forged, p.RecoveryCode), 400, "invalid_grant", invalid)
	}
	wantError(t, h.redeem(c, "", p.RecoveryCode), 400, "invalid_request", "mfa_token is missing")
	wantError(t, h.redeem(c, token, ""), 400, "invalid_request", "recovery_code is missing")
	wantError(t, h.redeem(c, strings.Repeat("x", 5000), "x"), 400, "invalid_request", "mfa_token is longer than 4096 bytes")
	body := map[string]any{"client_id": c.ID, "client_secret": c.secret, "grant_type": access.GrantRecoveryCode, "mfa_token": token, "recovery_code": 7}
	wantError(t, h.json("/oauth/token", body), 400, "invalid_request", "recovery_code is not a text")
	body["recovery_code"] = p.RecoveryCode
	want(t, h.json("/oauth/token", body), 200, "")
}

func TestRecoveryCode_IsNotSpentOnARequestThatCannotBeAnswered(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid profile")
	other := h.client("openid")
	denied := h.client("openid", func(c *access.Client) { c.Grants = []string{access.GrantCIBA} })
	token := h.started(c, "maria")
	for _, audience := range []string{public + "/api/v2/", public + "/mfa", "HTTPS" + public[5:] + "/mfa/", h.url + "/mfa", other.ID} {
		wantError(t, h.redeem(c, token, p.RecoveryCode, "audience", audience), 400, "invalid_request", "a token about a user cannot have this audience")
	}
	want(t, h.redeem(c, token, p.RecoveryCode, "scope", strings.Repeat("x", 5000)), 400, "invalid_request")
	wantError(t, h.redeem(denied, h.started(denied, "maria"), p.RecoveryCode), 400, "unauthorized_client", "the client may not use this grant")
	a := h.redeem(c, token, p.RecoveryCode, "audience", "https://api.example.com", "scope", "openid profile email")
	want(t, a, 200, "")
	if _, claims := h.verified(a.text("access_token"), "ES256"); claims["aud"] != "https://api.example.com" || claims["scope"] != "openid profile" {
		t.Errorf("claims %v", claims)
	}
}

func TestRecoveryCode_AfterAResetTheTokenIsWorthNothing(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	token := h.started(c, "maria")
	h.Reset("maria")
	wantError(t, h.redeem(c, token, p.RecoveryCode), 400, "expired_token", "the mfa_token has expired: start again")
}

func TestStartMFA_AsksThePhoneNothing(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	h.started(h.client("openid"), "maria")
	if n := len(p.approvals()); n != 0 {
		t.Errorf("%d approvals", n)
	}
}
