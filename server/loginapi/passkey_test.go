package loginapi_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/google/go-cmp/cmp"

	"tutela/device/devicetest"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// authenticator makes an authenticator whose browser shows a page of the public URL.
func (h *house) authenticator() *devicetest.Authenticator {
	h.t.Helper()
	a := devicetest.NewAuthenticator(h.t)
	a.Party = virtualwebauthn.RelyingParty{ID: "mfa.example.org", Origin: public}
	return a
}

// publicKey returns the options in an answer.
func (a answer) publicKey(t testing.TB) []byte {
	t.Helper()
	options, err := json.Marshal(a.body["publicKey"])
	if err != nil || a.body["publicKey"] == nil {
		t.Fatalf("no options in %s", a.raw)
	}
	return options
}

const associatePasskey = `{"authenticator_types":["webauthn-platform"]}`

// confirm confirms an association by a passkey.
func (h *house) confirm(token, oobCode string, credential []byte) answer {
	h.t.Helper()
	body, err := json.Marshal(map[string]any{"oob_code": oobCode, "credential": json.RawMessage(credential)})
	h.must(err)
	return h.with(token, "POST", "/mfa/associate/verify", string(body))
}

// passkeyOf makes a passkey of a new user.
func (h *house) passkeyOf(c client, userID string) *devicetest.Authenticator {
	h.t.Helper()
	token := h.started(c, userID)
	made := h.associate(token, associatePasskey)
	a := h.authenticator()
	want(h.t, h.confirm(token, made.text("oob_code"), a.Create(made.publicKey(h.t))), 200, "")
	want(h.t, h.redeemOOB(c, token, made.text("oob_code")), 200, "")
	return a
}

func (h *house) redeemPasskey(c client, token string, credential []byte, pairs ...string) answer {
	h.t.Helper()
	pairs = append([]string{"grant_type", access.GrantPasskey, "mfa_token", token, "credential", string(credential)}, pairs...)
	return h.form("/oauth/token", c.credentials(pairs...)...)
}

// asksPasskey challenges a user for a passkey.
func (h *house) asksPasskey(c client, token string, pairs ...string) []byte {
	h.t.Helper()
	a := h.challenge(c, token, append([]string{"challenge_type", "otp webauthn"}, pairs...)...)
	want(h.t, a, 200, "")
	if a.text("challenge_type") != "webauthn" {
		h.t.Fatalf("answer %s", a.raw)
	}
	return a.publicKey(h.t)
}

const refusedSaid = "the passkey is not accepted"

func TestPasskey_OfANewUserEnrolsAndLetsHerIn(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	token := h.started(c, "maria")
	made := h.associate(token, associatePasskey)
	if made.text("authenticator_type") != "webauthn-platform" || len(made.codes()) != 1 || len(made.body) != 4 {
		t.Fatalf("answer %s", made.raw)
	}
	code := made.text("oob_code")
	wantError(t, h.redeemOOB(c, token, code), 400, "authorization_pending", pendingSaid)
	a := h.authenticator()
	credential := a.Create(made.publicKey(t))
	other := h.started(c, "otto")
	want(t, h.confirm(other, code, credential), 401, "invalid_token") // another user's association
	want(t, h.confirm(token, code, []byte(`{"id":"x"}`)), 400, "invalid_request")
	confirmed := h.confirm(token, code, credential)
	want(t, confirmed, 200, "")
	if !strings.HasPrefix(confirmed.text("id"), "webauthn-platform|dev_") || confirmed.text("name") != "Passkey" || !cmp.Equal(confirmed.codes(), made.codes()) {
		t.Errorf("answer %s", confirmed.raw)
	}
	again := h.confirm(token, code, credential) // its answer may have been lost
	want(t, again, 200, "")
	if again.text("id") != confirmed.text("id") || len(again.codes()) != 0 {
		t.Errorf("the second answer %s", again.raw)
	}
	set := h.redeemOOB(c, token, code)
	want(t, set, 200, "")
	if _, claims := h.verified(set.text("id_token"), "ES256"); !cmp.Equal([]any{"mfa", "pop"}, claims["amr"]) {
		t.Errorf("at set-up: %v", claims["amr"])
	}

	started := h.start(c, "maria")
	offered, err := json.Marshal(started.body["mfa_requirements"])
	h.must(err)
	if string(offered) != `{"challenge":[{"type":"webauthn-platform"},{"type":"recovery-code"}]}` {
		t.Errorf("offered %s", offered)
	}
	token = started.text("mfa_token")
	signed := a.Get(h.asksPasskey(c, token))
	want(t, h.redeemPasskey(c, h.started(c, "maria"), signed), 403, "invalid_grant") // of another login
	tokens := h.redeemPasskey(c, token, signed)
	want(t, tokens, 200, "")
	_, claims := h.verified(tokens.text("id_token"), "ES256")
	if diff := cmp.Diff([]any{"mfa", "pop"}, claims["amr"]); diff != "" || claims["sub"] != "maria" {
		t.Errorf("claims %v", claims)
	}
	want(t, h.redeemPasskey(c, token, signed), 200, "") // its answer may have been lost
	wantError(t, h.redeemPasskey(c, token, a.Get(made.publicKey(t))), 400, "invalid_grant", "the id is not of a login of this client, or was used already")
	want(t, h.redeem(c, h.started(c, "maria"), made.codes()[0]), 200, "")
	if n := len(h.Events(audit.AuthSucceed)); n != 3 {
		t.Errorf("%d events of three logins", n)
	}
}

func TestPasskey_RefusesWhatDoesNotFit(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	a := h.passkeyOf(c, "maria")
	for name, change := range map[string]func(a *devicetest.Authenticator){
		"another page":               func(a *devicetest.Authenticator) { a.Party.Origin = "https://evil.example" },
		"another domain":             func(a *devicetest.Authenticator) { a.Party.ID = "evil.example" },
		"a passkey that is not hers": func(a *devicetest.Authenticator) { a.Credential = h.authenticator().Credential },
		"nobody verified":            func(a *devicetest.Authenticator) { a.Options.UserNotVerified = true },
	} {
		token := h.started(c, "maria")
		options := h.asksPasskey(c, token)
		wrong := *a
		change(&wrong)
		wantError(t, h.redeemPasskey(c, token, wrong.Get(options)), 403, "invalid_grant", refusedSaid)
		if got := h.redeemPasskey(c, token, a.Get(options)); name != "nobody verified" {
			want(t, got, 200, "") // what is refused spends nothing
		}
	}
	token := h.started(c, "maria")
	for _, body := range []string{"", "7", "[]", "{}", `"x"`, `{"id":7}`, strings.Repeat("[", 1000)} {
		want(t, h.redeemPasskey(c, token, []byte(body)), 400, "invalid_request")
	}
	signed := a.Get(h.asksPasskey(c, token))
	h.asksPasskey(c, token)
	want(t, h.redeemPasskey(c, token, signed), 403, "invalid_grant") // a challenge gives way to the next
	h.enroll("otto")
	wantError(t, h.challenge(c, h.started(c, "otto"), "challenge_type", "webauthn"), 400, "unsupported_challenge_type",
		"the user has no authenticator of the challenge types that were asked for")
}

func TestPasskey_OfACopyIsRefusedAndRecorded(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	a := h.passkeyOf(c, "maria")
	a.Credential.Counter = 5
	token := h.started(c, "maria")
	want(t, h.redeemPasskey(c, token, a.Get(h.asksPasskey(c, token))), 200, "")
	token = h.started(c, "maria")
	want(t, h.redeemPasskey(c, token, a.Get(h.asksPasskey(c, token))), 403, "invalid_grant")
	failed := h.Events(audit.AuthFailed)
	if len(failed) != 1 || failed[0].Facts[audit.FactWhy] != audit.WhyPasskey || len(h.Events(audit.PasskeyChanged)) != 1 {
		t.Errorf("events %+v", failed)
	}
	h.Set("passkey.clone", "accept")
	token = h.started(c, "maria")
	want(t, h.redeemPasskey(c, token, a.Get(h.asksPasskey(c, token))), 200, "")
}

func TestPasskey_GivesAnEnrolmentTokenWhereANumberDoesNot(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	audience := public + "/mfa/"
	a := h.passkeyOf(c, "maria")
	token := h.started(c, "maria")
	enrols := h.redeemPasskey(c, token, a.Get(h.asksPasskey(c, token, "audience", audience)), "audience", audience)
	want(t, enrols, 200, "")
	by := enrols.text("access_token")
	made := h.associate(by, associateApp)
	h.enrollBy("maria", made.param(t, "enrollment_tx_id"))
	// A page in the middle can relay a number: the passkey from the first set-up counts.
	wantError(t, h.challenge(c, h.started(c, "maria"), "challenge_type", "oob", "audience", audience), 400, "access_denied",
		"the user has a passkey: only that, or the recovery code, lets another authenticator enrol")
	list := h.with(by, "GET", "/mfa/authenticators", "")
	want(t, list, 200, "")
	if !strings.Contains(list.raw, `"type":"webauthn-platform"`) || !strings.Contains(list.raw, `"id":"webauthn-platform|dev_`) {
		t.Errorf("authenticators %s", list.raw)
	}
	at := strings.Index(list.raw, "webauthn-platform|")
	id := list.raw[at : at+len("webauthn-platform|dev_")+16]
	if gone := h.with(by, "DELETE", "/mfa/authenticators/"+strings.ReplaceAll(id, "|", "%7C"), ""); gone.status != 204 {
		t.Errorf("removed: %s", gone.raw)
	}
}

func TestRelatedOrigins_AreThePublicURLsAndPagesUnderTheDomain(t *testing.T) {
	h := newHouse(t)
	h.client("openid", func(c *access.Client) {
		c.WebOrigins = []string{"https://shop.mfa.example.org", "https://shop.example.com"}
	})
	got := h.send("GET", "/.well-known/webauthn", "")
	want(t, got, 200, "")
	if diff := cmp.Diff([]any{public, h.url, "https://shop.mfa.example.org"}, got.body["origins"]); diff != "" {
		t.Error(diff)
	}
}

const passkeySaid = "the user has a passkey: only that, or the recovery code, lets another authenticator enrol"

// adds enrols a passkey by an enrolment token. codes are the recovery codes that came with it.
func (h *house) adds(token string) (a *devicetest.Authenticator, codes []string) {
	h.t.Helper()
	made := h.associate(token, associatePasskey)
	a = h.authenticator()
	want(h.t, h.confirm(token, made.text("oob_code"), a.Create(made.publicKey(h.t))), 200, "")
	return a, made.codes()
}

// enrolsByNumber returns an enrolment token that an approval by number has given.
func (h *house) enrolsByNumber(c client, p *phone) string {
	h.t.Helper()
	token := h.started(c, "maria")
	asked := h.asksPhone(c, token, "audience", public+"/mfa/")
	p.approve(asked)
	got := h.redeemOOB(c, token, asked.text("oob_code"), "audience", public+"/mfa/")
	want(h.t, got, 200, "")
	return got.text("access_token")
}

// enrolsByPasskey asks for an enrolment token by a passkey.
func (h *house) enrolsByPasskey(c client, a *devicetest.Authenticator) answer {
	h.t.Helper()
	audience := public + "/mfa/"
	token := h.started(c, "maria")
	return h.redeemPasskey(c, token, a.Get(h.asksPasskey(c, token, "audience", audience)), "audience", audience)
}

func TestPasskey_OnProbationPassesItOnToTheOneThatItAdds(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	a, _ := h.adds(h.enrolsByNumber(c, p)) // a page in the middle has relayed the number
	by := h.enrolsByPasskey(c, a)
	want(t, by, 200, "")
	b, _ := h.adds(by.text("access_token"))
	h.enrolsByNumber(c, p) // the owner is not disarmed
	wantError(t, h.enrolsByPasskey(c, b), 400, "access_denied",
		"the user has a phone that matches numbers: only that, or the recovery code, lets another authenticator enrol")
	h.clock.Advance(7 * 24 * time.Hour)
	wantError(t, h.challenge(c, h.started(c, "maria"), "challenge_type", "oob", "audience", public+"/mfa/"), 400, "access_denied", passkeySaid)
}

func TestPasskey_OnProbationEnrolsNothingWhereWhatAddedItDoesNot(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	audience := public + "/mfa/"
	a, codes := h.adds(h.enrolsByNumber(c, p))
	byCode := h.redeem(c, h.started(c, "maria"), codes[0], "audience", audience)
	want(t, byCode, 200, "")
	owners, _ := h.adds(byCode.text("access_token"))
	token := h.started(c, "maria")
	signed := a.Get(h.asksPasskey(c, token, "audience", audience))
	wantError(t, h.redeemPasskey(c, token, signed, "audience", audience), 400, "access_denied", passkeySaid)
	want(t, h.redeemPasskey(c, token, signed), 200, "") // it has spent nothing
	want(t, h.enrolsByPasskey(c, owners), 200, "")
	h.clock.Advance(100 * 24 * time.Hour) // a passkey that nobody has used for long has just signed
	want(t, h.enrolsByPasskey(c, a), 200, "")
}

func TestPasskey_OfAnotherDomainOrAFactorThatIsOffLeavesTheNumber(t *testing.T) {
	for name, value := range map[string]string{"passkey.rp_id": "example.org", "factor.webauthn_platform": "off"} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			c := h.client("openid")
			h.passkeyOf(c, "maria")
			p := h.enroll("maria")
			wantError(t, h.challenge(c, h.started(c, "maria"), "challenge_type", "oob", "audience", public+"/mfa/"), 400, "access_denied", passkeySaid)
			h.must(h.store.Update(t.Context(), func(tx *storage.Tx) error { return setting.Force(tx, name, value) }))
			h.enrolsByNumber(c, p)
		})
	}
}
