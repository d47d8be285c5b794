package loginapi_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// with makes a call with a bearer token and a JSON body.
func (h *house) with(token, method, path, body string) answer {
	h.t.Helper()
	return h.send(method, path, body, "Authorization", "Bearer "+token, "Content-Type", jsonType)
}

// The bodies of associations.
const (
	associateApp   = `{"authenticator_types":["oob"],"oob_channels":["auth0"]}`
	associateCodes = `{"authenticator_types":["otp"]}`
)

func (h *house) associate(token, body string) answer {
	h.t.Helper()
	a := h.with(token, "POST", "/mfa/associate", body)
	want(h.t, a, 200, "")
	return a
}

func (h *house) challenge(c client, mfaToken string, pairs ...string) answer {
	h.t.Helper()
	return h.form("/mfa/challenge", c.credentials(append([]string{"mfa_token", mfaToken}, pairs...)...)...)
}

// asksPhone is challenge that must ask a phone.
func (h *house) asksPhone(c client, mfaToken string, pairs ...string) answer {
	h.t.Helper()
	a := h.challenge(c, mfaToken, append([]string{"challenge_type", "oob"}, pairs...)...)
	want(h.t, a, 200, "")
	return a
}

func (h *house) redeemOOB(c client, token, oobCode string, pairs ...string) answer {
	h.t.Helper()
	pairs = append([]string{"grant_type", access.GrantOOB, "mfa_token", token, "oob_code", oobCode}, pairs...)
	return h.form("/oauth/token", c.credentials(pairs...)...)
}

// param is a parameter of the QR code of an association.
func (a answer) param(t testing.TB, name string) string {
	t.Helper()
	u, err := url.Parse(a.text("barcode_uri"))
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get(name)
}

// codes are the recovery codes of an association.
func (a answer) codes() []string {
	var list []string
	members, _ := a.body["recovery_codes"].([]any)
	for _, one := range members {
		code, _ := one.(string)
		list = append(list, code)
	}
	return list
}

const (
	pendingSaid  = "the login is not decided yet"
	slowDownSaid = "polled too fast: the interval is longer now"
)

func TestAssociate_OfAnAppIsConfirmedByItsEnrolment(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	token := h.started(c, "maria")
	a := h.associate(token, associateApp)
	if len(a.body) != 5 || a.text("authenticator_type") != "oob" || a.text("oob_channel") != "auth0" || len(a.codes()) != 1 {
		t.Fatalf("answer %s", a.raw)
	}
	if again := h.associate(token, associateApp); again.raw != a.raw {
		t.Errorf("a repeat says %s, not %s", again.raw, a.raw)
	}
	code := a.text("oob_code")
	wantError(t, h.redeemOOB(c, token, code), 400, "authorization_pending", pendingSaid)
	slow := h.redeemOOB(c, token, code)
	wantError(t, slow, 400, "slow_down", slowDownSaid)
	if slow.header.Get("Retry-After") != "10" {
		t.Errorf("header %v", slow.header)
	}
	wantError(t, h.redeem(c, token, a.codes()[0]), 403, "invalid_grant", "the recovery code is not right")
	h.enrollBy("maria", a.param(t, "enrollment_tx_id"))
	tokens := h.redeemOOB(c, token, code)
	want(t, tokens, 200, "")
	_, claims := h.verified(tokens.text("id_token"), "ES256")
	if diff := cmp.Diff([]any{"mfa", "swk"}, claims["amr"]); diff != "" || claims["sub"] != "maria" {
		t.Errorf("claims %v", claims)
	}
	want(t, h.redeemOOB(c, token, code), 200, "") // its answer may have been lost
	want(t, h.redeem(c, h.started(c, "maria"), a.codes()[0]), 200, "")
	if n := len(h.Events(audit.AuthSucceed)); n != 2 {
		t.Errorf("%d events of two logins", n)
	}
}

func TestAssociate_OfCodesIsConfirmedByTheFirstCodeWhichIsSpent(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	token := h.started(c, "maria")
	a := h.associate(token, associateCodes)
	if len(a.body) != 4 || a.text("authenticator_type") != "otp" || a.param(t, "secret") != a.text("secret") || a.param(t, "enrollment_tx_id") != "" {
		t.Fatalf("answer %s", a.raw)
	}
	code := h.showOTP(a.text("secret"), 0)
	wantError(t, h.redeemOTP(c, token, otherOTP(func(skew time.Duration) string { return h.showOTP(a.text("secret"), skew) })), 403, "invalid_grant", wrongOTP)
	want(t, h.redeemOTP(c, token, code), 200, "")
	want(t, h.redeemOTP(c, token, code), 200, "")
	wantError(t, h.redeemOTP(c, h.started(c, "maria"), code), 403, "invalid_grant", wrongOTP)
	want(t, h.redeem(c, h.started(c, "maria"), a.codes()[0]), 200, "")
}

func TestAssociate_IsBoundToItsTokenAndTheFirstEndsTheOthers(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	hers := h.started(c, "maria")
	thief := h.started(c, "maria")
	a := h.associate(hers, associateCodes)
	other := h.associate(thief, associateApp)
	code := h.showOTP(a.text("secret"), 0)
	wantError(t, h.redeemOOB(c, hers, other.text("oob_code")), 400, "invalid_grant", "the id is not of a login of this client, or was used already")
	wantError(t, h.redeemOTP(c, thief, code), 403, "invalid_grant", wrongOTP)
	want(t, h.redeemOTP(c, hers, code), 200, "")
	wantError(t, h.redeemOOB(c, thief, other.text("oob_code")), 400, "expired_token", "the association is over: another was confirmed first, or none was made")
	if _, err := h.devices.Enroll(t.Context(), other.param(t, "enrollment_tx_id"), device.Installation{}, audit.ByUser()); err == nil {
		t.Error("the thief's QR code enrols")
	}
	wantError(t, h.redeem(c, h.started(c, "maria"), other.codes()[0]), 403, "invalid_grant", "the recovery code is not right")
	wantError(t, h.with(thief, "POST", "/mfa/associate", associateApp), 403, "access_denied", "the user is enrolled already: only an enrolment token adds another authenticator")
}

// A code that an admin made is one that nobody holds: an association shows the one that takes its place once a phone has enrolled.
func TestAssociate_ShowsTheCodeThatReplacesOneNobodyHolds(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	show := h.giveCodes("maria")
	admins, err := h.Admins.Regenerate(t.Context(), "maria", audit.ByOperator(0))
	if err != nil {
		t.Fatal(err)
	}
	a := h.associate(h.redeemScope(c, h.started(c, "maria"), show(0), "enroll"), associateApp)
	if len(a.codes()) != 1 || a.codes()[0] == string(admins) {
		t.Fatalf("answer %s", a.raw)
	}
	wantError(t, h.redeem(c, h.started(c, "maria"), a.codes()[0]), 403, "invalid_grant", "the recovery code is not right")
	h.enrollBy("maria", a.param(t, "enrollment_tx_id"))
	wantError(t, h.redeem(c, h.started(c, "maria"), string(admins)), 403, "invalid_grant", "the recovery code is not right")
	want(t, h.redeem(c, h.started(c, "maria"), a.codes()[0]), 200, "")
}

func TestAssociate_RefusesWhatItCannot(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	token := h.started(c, "maria")
	const types = "authenticator_types is ['otp'], ['webauthn-roaming'], ['webauthn-platform'], or ['oob'] with oob_channels ['auth0']"
	for _, body := range []string{
		`{}`, `{"authenticator_types":[]}`, `{"authenticator_types":["otp","oob"]}`, `{"authenticator_types":["oob"],"oob_channels":["sms"],"phone_number":"+49"}`,
		`{"authenticator_types":["email"]}`, `{"authenticator_types":["otp"],"oob_channels":["auth0"]}`,
	} {
		wantError(t, h.with(token, "POST", "/mfa/associate", body), 400, "invalid_request", types)
	}
	wantError(t, h.with(token, "POST", "/mfa/associate", `{"authenticator_types":7}`), 400, "invalid_request", "authenticator_types is not a list of texts")
	inside := `{"authenticator_types":["otp"],"client_id":"` + c.ID + `","client_secret":`
	wantError(t, h.with(token, "POST", "/mfa/associate", inside+`"wrong"}`), 401, "invalid_client", "the client is unknown, or its secret is wrong")
	want(t, h.with(token, "POST", "/mfa/associate", inside+`"`+c.secret+`"}`), 200, "")
	wantError(t, h.with(token, "POST", "/mfa/associate", `{"authenticator_types":["otp"],"client_id":"other"}`), 400, "invalid_request", "client_id is not the client of the token")
	for _, bad := range []string{"", "x", c.secret, h.collectTokens(c)} {
		a := h.with(bad, "POST", "/mfa/associate", associateApp)
		want(t, a, 401, "invalid_token")
		if a.header.Get("WWW-Authenticate") != `Bearer realm="tutela", error="invalid_token"` {
			t.Errorf("header %v", a.header)
		}
	}
	want(t, h.send("POST", "/mfa/associate", associateApp, "Content-Type", jsonType), 401, "invalid_token")
	h.clock.Advance(10 * time.Minute)
	want(t, h.with(token, "POST", "/mfa/associate", associateApp), 401, "invalid_token")
	h.must(h.access.RemoveClient(t.Context(), audit.ByOperator(0), c.ID))
	want(t, h.with(token, "GET", "/mfa/authenticators", ""), 401, "invalid_token")
}

// collectTokens returns an access token about a user.
func (h *house) collectTokens(c client) string {
	h.t.Helper()
	show := h.giveCodes("somebody")
	a := h.redeemOTP(c, h.started(c, "somebody"), show(0))
	want(h.t, a, 200, "")
	return a.text("access_token")
}

func TestAuthenticators_ListsWhatTheUserHas(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	if a := h.with(h.started(c, "new"), "GET", "/mfa/authenticators", ""); a.status != 200 || strings.TrimSpace(a.raw) != "[]" {
		t.Errorf("of a new user %d %s", a.status, a.raw)
	}
	p := h.enroll("maria")
	a := h.with(h.started(c, "maria"), "GET", "/mfa/authenticators", "")
	wanted := `[{"id":"push|` + p.ID + `","type":"push-notification","authenticator_type":"oob","oob_channel":"auth0","oob_channels":["auth0"],"active":true,"name":"Pixel 9"},` +
		`{"id":"totp|` + p.ID + `","type":"otp","authenticator_type":"otp","active":true},` +
		`{"id":"recovery-code|code","type":"recovery-code","authenticator_type":"recovery-code","active":true}]`
	if diff := cmp.Diff(wanted, strings.TrimSpace(a.raw)); a.status != 200 || diff != "" {
		t.Errorf("%d (-want +got):\n%s", a.status, diff)
	}
	want(t, h.with(h.started(c, "maria"), "DELETE", "/mfa/authenticators/push%7C"+p.ID, ""), 401, "invalid_token")
}

func TestChallenge_AsksThePhoneAndItsAnswerGivesTokens(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	token := h.started(c, "maria")
	asked := h.challenge(c, token, "challenge_type", "otp oob")
	want(t, asked, 200, "")
	if len(asked.body) != 4 || asked.text("challenge_type") != "oob" || len(asked.text("number")) != 6 || asked.text("delivery") != "pull" {
		t.Fatalf("answer %s", asked.raw)
	}
	if again := h.challenge(c, token, "challenge_type", "oob", "authenticator_id", "push|"+p.ID); again.raw != asked.raw {
		t.Errorf("again it is %s, not %s", again.raw, asked.raw)
	}
	code := asked.text("oob_code")
	wantError(t, h.redeemOOB(c, token, code), 400, "authorization_pending", pendingSaid)
	wantError(t, h.redeemOOB(c, token, code), 400, "slow_down", slowDownSaid)
	p.approve(asked)
	tokens := h.redeemOOB(c, token, code, "binding_code", "123456")
	want(t, tokens, 200, "")
	if len(tokens.body) != 5 {
		t.Errorf("answer %s", tokens.raw)
	}
	_, claims := h.verified(tokens.text("id_token"), "ES256")
	if diff := cmp.Diff([]any{"mfa", "swk"}, claims["amr"]); diff != "" {
		t.Errorf("amr (-want +got):\n%s", diff)
	}
	want(t, h.redeemOOB(c, token, code), 200, "") // its answer may have been lost
	h.block("maria")
	wantError(t, h.redeemOOB(c, token, code), 400, "access_denied", "the user is blocked")
}

func TestChallenge_ADenialAndItsEnd(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	token := h.started(c, "maria")
	denied := h.asksPhone(c, token)
	p.deny("")
	wantError(t, h.redeemOOB(c, token, denied.text("oob_code")), 400, "access_denied", "MFA Authorization rejected.")
	late := h.asksPhone(c, token)
	if late.text("oob_code") == denied.text("oob_code") {
		t.Error("a denied approval is asked again")
	}
	h.clock.Advance(2 * time.Minute)
	wantError(t, h.redeemOOB(c, token, late.text("oob_code")), 400, "expired_token", "the login is over")
	want(t, h.redeem(c, token, p.RecoveryCode), 200, "")
	wantError(t, h.redeemOOB(c, token, late.text("oob_code")), 400, "invalid_grant", "the login was satisfied otherwise")
	wantError(t, h.challenge(c, token), 400, "invalid_grant", "the id is not of a login of this client, or was used already")
}

func TestChallenge_FitsWhatTheUserHas(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	h.giveCodes("codes")
	h.enroll("lost").leave()
	c := h.client("openid")
	const none = "the user has no authenticator of the challenge types that were asked for"
	for _, try := range []struct {
		user, types, id string
		wants           string // a challenge type, or none
	}{
		{"maria", "otp", "", "otp"},
		{"maria", "", "", "oob"},
		{"maria", "otp oob", "totp|" + p.ID, "otp"},
		{"maria", "oob", "totp|" + p.ID, ""},
		{"maria", "otp oob", "recovery-code|code", ""},
		{"maria", "otp oob", "push|dev_of_somebody_els", ""},
		{"maria", "sms", "", ""},
		{"codes", "oob", "", ""},
		{"codes", "oob otp", "", "otp"},
		{"lost", "oob otp", "", ""},
		{"new", "oob otp", "", ""},
	} {
		a := h.challenge(c, h.started(c, try.user), "challenge_type", try.types, "authenticator_id", try.id)
		if try.wants == "" {
			wantError(t, a, 400, "unsupported_challenge_type", none)
			continue
		}
		want(t, a, 200, "")
		if a.text("challenge_type") != try.wants {
			t.Errorf("%+v: %s", try, a.raw)
		}
	}
}

func TestChallenge_NeedsNoSecretButARightOne(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	c := h.client("openid")
	other := h.client("openid")
	token := h.started(c, "maria")
	want(t, h.form("/mfa/challenge", "mfa_token", token, "client_id", c.ID), 200, "")
	want(t, h.send("POST", "/mfa/challenge", "mfa_token="+token, "Content-Type", formType, "Authorization", c.basic()), 200, "")
	wantError(t, h.form("/mfa/challenge", "mfa_token", token, "client_id", c.ID, "client_secret", "wrong"), 401, "invalid_client", "the client is unknown, or its secret is wrong")
	want(t, h.form("/mfa/challenge", "mfa_token", token, "client_id", other.ID), 400, "invalid_request")
	wantError(t, h.send("POST", "/mfa/challenge", "mfa_token="+token, "Content-Type", formType, "Authorization", other.basic()), 400, "invalid_grant", "the mfa_token is not valid for this client")
	wantError(t, h.form("/mfa/challenge", "mfa_token", "x"), 400, "invalid_grant", "the mfa_token is not valid for this client")
	wantError(t, h.form("/mfa/challenge", "client_id", c.ID), 400, "invalid_request", "mfa_token is missing")
}

// A thief of the password cannot choose the phone that only taps, while another matches numbers.
func TestChallenge_OfOnePhoneIsNoWayRoundTheNumber(t *testing.T) {
	h := newHouse(t)
	tapped := h.enroll("maria", tapOnly)
	matching := h.enroll("maria")
	matching.approvals() // something signed by it came
	c := h.client("openid")
	token := h.started(c, "maria")
	wantError(t, h.challenge(c, token, "challenge_type", "oob", "authenticator_id", "push|"+tapped.ID), 400, "unsupported_challenge_type",
		"this phone is not asked while another matches numbers")
	want(t, h.asksPhone(c, token, "authenticator_id", "push|"+matching.ID), 200, "")
	if len(tapped.approvals()) != 0 {
		t.Error("the phone that taps is asked")
	}
}

// mfaAudience is what an enrolment token is asked for with.
const mfaAudience = public + "/mfa/"

// byCode returns the enrolment token of a login by recovery code.
func (h *house) byCode(c client, userID, code string) string {
	h.t.Helper()
	a := h.redeem(c, h.started(c, userID), code, "audience", mfaAudience)
	want(h.t, a, 200, "")
	return a.text("access_token")
}

func TestEnrolmentToken_BringsANewPhoneWithoutABackup(t *testing.T) {
	h := newHouse(t)
	old := h.enroll("maria")
	c := h.client("openid")
	mfaToken := h.started(c, "maria")
	a := h.redeem(c, mfaToken, old.RecoveryCode, "audience", mfaAudience)
	want(t, a, 200, "")
	if a.text("scope") != "openid enroll read:authenticators remove:authenticators" || a.body["expires_in"] != float64(20*60) {
		t.Errorf("answer %s", a.raw)
	}
	_, claims := h.verified(a.text("access_token"), "ES256")
	if claims["aud"] != mfaAudience || claims["scope"] != "enroll read:authenticators remove:authenticators" || claims["sub"] != "maria" {
		t.Errorf("claims %v", claims)
	}
	token := a.text("access_token")
	made := h.associate(token, `{"authenticator_types":["oob"],"oob_channels":["auth0"],"replaces":"`+old.ID+`"}`)
	if made.codes() != nil {
		t.Errorf("she has just got the next code, and gets another: %s", made.raw)
	}
	h.enrollBy("maria", made.param(t, "enrollment_tx_id"))
	confirmed := h.redeemOOB(c, token, made.text("oob_code"))
	want(t, confirmed, 200, "")
	h.clock.Advance(time.Minute)
	confirmed = h.redeemOOB(c, token, made.text("oob_code"), "audience", mfaAudience)
	want(t, confirmed, 200, "")
	_, claims = h.verified(confirmed.text("id_token"), "ES256")
	if diff := cmp.Diff([]any{"mfa", "rc"}, claims["amr"]); diff != "" || claims["auth_time"] != float64(noon.Unix()) {
		t.Errorf("claims %v", claims)
	}
	if _, claims = h.verified(confirmed.text("access_token"), "ES256"); claims["aud"] != c.ID {
		t.Errorf("a confirmation gives a token for %v", claims["aud"])
	}
	want(t, h.with(token, "POST", "/mfa/associate", associateApp), 401, "invalid_token") // it enrols once
	list := h.with(token, "GET", "/mfa/authenticators", "")
	if strings.Contains(list.raw, old.ID) || list.status != 200 {
		t.Errorf("%d %s", list.status, list.raw)
	}
	want(t, h.redeem(c, h.started(c, "maria"), a.text("recovery_code")), 200, "") // the code that she was shown still counts
}

func TestEnrolmentToken_ARepeatedAnswerGivesNone(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	mfaToken := h.started(c, "maria")
	first := h.redeem(c, mfaToken, p.RecoveryCode, "audience", mfaAudience)
	again := h.redeem(c, mfaToken, p.RecoveryCode, "audience", mfaAudience)
	want(t, again, 200, "")
	if first.text("recovery_code") != again.text("recovery_code") {
		t.Error("the repeat has another code")
	}
	if _, claims := h.verified(again.text("access_token"), "ES256"); claims["aud"] != c.ID || again.text("scope") != "openid" {
		t.Errorf("a repeat gives a token for %v: %s", claims["aud"], again.raw)
	}
}

func TestEnrolmentToken_ByNumberIsNamedWhenThePhoneIsAsked(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	token := h.started(c, "maria")
	plain := h.asksPhone(c, token)
	named := h.asksPhone(c, token, "audience", mfaAudience)
	if plain.text("oob_code") == named.text("oob_code") {
		t.Fatal("the phone is asked for a login, and gives a token to enrol")
	}
	if asked := p.approvals(); len(asked) != 1 || asked[0].BindingMessage != "Add a new phone to your account" || asked[0].Purpose != "add_device" {
		t.Errorf("the phone is asked %+v", asked)
	}
	p.approve(named)
	a := h.redeemOOB(c, token, named.text("oob_code"), "audience", mfaAudience)
	want(t, a, 200, "")
	h.associate(a.text("access_token"), associateApp)

	token = h.started(c, "maria")
	plain = h.asksPhone(c, token)
	p.approve(plain)
	wantError(t, h.redeemOOB(c, token, plain.text("oob_code"), "audience", mfaAudience), 400, "invalid_request",
		"for an enrolment token the audience is named at /mfa/challenge too, so that the phone can say what it is for")
	want(t, h.redeemOOB(c, token, plain.text("oob_code")), 200, "")
}

func TestEnrolmentToken_IsNotGivenForWhatCanBeRelayed(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	p.approvals()
	h.enroll("tap", tapOnly).approvals()
	show := h.giveCodes("codes")
	c := h.client("openid")
	wantError(t, h.challenge(c, h.started(c, "tap"), "challenge_type", "oob", "audience", mfaAudience), 400, "access_denied",
		"an approval that is tapped lets no other phone enrol: use the recovery code")
	const stronger = "the user has a phone that matches numbers: only that, or the recovery code, lets another authenticator enrol"
	token := h.started(c, "maria")
	code := h.showOTP(p.TOTP.Secret, 0)
	wantError(t, h.redeemOTP(c, token, code, "audience", mfaAudience), 400, "access_denied", stronger)
	want(t, h.redeemOTP(c, token, code), 200, "") // it was not spent
	a := h.redeemOTP(c, h.started(c, "codes"), show(0), "audience", mfaAudience)
	want(t, a, 200, "")
	h.associate(a.text("access_token"), associateApp)
	h.clock.Advance(31 * 24 * time.Hour)
	a = h.redeemOTP(c, h.started(c, "maria"), h.showOTP(p.TOTP.Secret, 0), "audience", mfaAudience) // the phone lies in a drawer
	want(t, a, 200, "")
}

func TestEnrolmentToken_DiesWithWhatItStandsOn(t *testing.T) {
	for name, end := range map[string]func(h *house, c client, next string, p *phone){
		"twenty minutes": func(h *house, _ client, _ string, _ *phone) { h.clock.Advance(20 * time.Minute) },
		"a reset":        func(h *house, _ client, _ string, _ *phone) { h.Reset("maria") },
		"the client's end": func(h *house, c client, _ string, _ *phone) {
			h.must(h.access.RemoveClient(h.t.Context(), audit.ByOperator(0), c.ID))
		},
		"another code used": func(h *house, c client, next string, _ *phone) {
			want(h.t, h.redeem(c, h.started(c, "maria"), next), 200, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			p := h.enroll("maria")
			c := h.client("openid")
			a := h.redeem(c, h.started(c, "maria"), p.RecoveryCode, "audience", mfaAudience)
			want(t, a, 200, "")
			token := a.text("access_token")
			made := h.associate(token, associateApp)
			end(h, c, a.text("recovery_code"), p)
			want(t, h.with(token, "GET", "/mfa/authenticators", ""), 401, "invalid_token")
			want(t, h.with(token, "POST", "/mfa/associate", associateApp), 401, "invalid_token")
			want(t, h.with(token, "DELETE", "/mfa/authenticators/push%7C"+p.ID, ""), 401, "invalid_token")
			if _, err := h.devices.Enroll(t.Context(), made.param(t, "enrollment_tx_id"), installation(t), audit.ByUser()); err == nil {
				t.Error("its QR code still enrols")
			}
		})
	}
}

func TestEnrolmentToken_IsHeldBackByABlockAndEndsWithTheProvingPhone(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	other := h.enroll("maria")
	c := h.client("openid")
	token := h.started(c, "maria")
	named := h.asksPhone(c, token, "audience", mfaAudience)
	p.approve(named)
	enrols := h.redeemOOB(c, token, named.text("oob_code"), "audience", mfaAudience).text("access_token")
	made := h.associate(enrols, associateApp)
	h.block("maria")
	wantError(t, h.with(enrols, "GET", "/mfa/authenticators", ""), 400, "access_denied", "the user is blocked")
	h.ChangeUser("maria", func(u *user.User) { u.Blocked = false })
	if a := h.with(enrols, "DELETE", "/mfa/authenticators/push%7C"+p.ID, ""); a.status != 204 {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	want(t, h.with(enrols, "DELETE", "/mfa/authenticators/push%7C"+other.ID, ""), 401, "invalid_token")
	if _, err := h.devices.Enroll(t.Context(), made.param(t, "enrollment_tx_id"), installation(t), audit.ByUser()); err == nil {
		t.Error("its QR code enrols without the proof")
	}
}

func TestEnrolmentToken_RemovesAuthenticatorsButNotTheLastWay(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	token := h.byCode(c, "maria", p.RecoveryCode)
	want(t, h.with(token, "DELETE", "/mfa/authenticators/push%7Cdev_of_somebody_els", ""), 404, "not_found")
	want(t, h.with(token, "DELETE", "/mfa/authenticators/recovery-code%7Ccode", ""), 403, "access_denied")
	if a := h.with(token, "DELETE", "/mfa/authenticators/totp|"+p.ID, ""); a.status != 204 || a.raw != "" {
		t.Errorf("%d %s", a.status, a.raw)
	}
	want(t, h.with(token, "DELETE", "/mfa/authenticators/push|"+p.ID, ""), 404, "not_found")
	narrow := h.redeemScope(c, h.started(c, "codes2"), h.giveCodes("codes2")(0), "read:authenticators")
	want(t, h.with(narrow, "POST", "/mfa/associate", associateApp), 403, "insufficient_scope")
	want(t, h.with(narrow, "DELETE", "/mfa/authenticators/x", ""), 403, "insufficient_scope")
}

// What opens no login now is no reason to let the last way go that does.
func TestEnrolmentToken_KeepsTheLastAuthenticatorThatOpensALogin(t *testing.T) {
	off := func(names ...string) func(h *house, p *phone) {
		return func(h *house, _ *phone) {
			for _, name := range names {
				h.Set(name, "off")
			}
		}
	}
	for name, c := range map[string]struct {
		change func(h *house, other *phone)
		want   int
	}{
		"another phone":                   {off("factor.recovery_code"), 204},
		"another phone's codes":           {off("factor.recovery_code", "factor.push"), 204},
		"a recovery code":                 {off("factor.push", "factor.otp"), 204},
		"a phone of factors that are off": {off("factor.recovery_code", "factor.push", "factor.otp"), 403},
		"a phone that is gone": {func(h *house, p *phone) {
			h.Set("factor.recovery_code", "off")
			p.leave()
		}, 403},
		"a phone that its token took away": {func(h *house, p *phone) {
			h.Set("factor.recovery_code", "off")
			p.leaveByToken()
		}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			p := h.enroll("maria")
			other := h.enroll("maria")
			client := h.client("openid")
			token := h.byCode(client, "maria", p.RecoveryCode)
			c.change(h, other)
			if a := h.with(token, "DELETE", "/mfa/authenticators/push|"+p.ID, ""); a.status != c.want {
				t.Errorf("%d %s", a.status, a.raw)
			}
		})
	}
}

// leaveByToken deletes the phone by its device token alone: for seven days its key brings it back.
func (p *phone) leaveByToken() {
	p.h.t.Helper()
	proof, err := p.h.devices.Prove(p.h.t.Context(), p.ID, p.Token, false)
	p.h.must(err)
	p.h.must(p.h.devices.Leave(p.h.t.Context(), proof, audit.ByUser()))
}

// A passkey of another domain lets nobody in.
func TestEnrolmentToken_KeepsTheLastAuthenticatorBesideAPasskeyOfAnotherDomain(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	h.passkeyOf(c, "maria")
	p := h.enroll("maria")
	h.must(h.store.Update(t.Context(), func(tx *storage.Tx) error { return setting.Force(tx, "passkey.rp_id", "example.org") }))
	token := h.enrolsByNumber(c, p)
	h.Set("factor.recovery_code", "off")
	want(t, h.with(token, "DELETE", "/mfa/authenticators/push|"+p.ID, ""), 403, "access_denied")
}

// redeemScope returns the enrolment token, with a scope, of a login by one-time code.
func (h *house) redeemScope(c client, token, code, scope string) string {
	h.t.Helper()
	a := h.redeemOTP(c, token, code, "audience", mfaAudience, "scope", scope)
	want(h.t, a, 200, "")
	if a.text("scope") != scope {
		h.t.Errorf("scope %s", a.text("scope"))
	}
	return a.text("access_token")
}

func TestEnrolmentToken_OfAnotherUserOrClientReplacesNothing(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	stranger := h.enroll("otto")
	c := h.client("openid")
	other := h.client("openid")
	token := h.byCode(c, "maria", p.RecoveryCode)
	want(t, h.with(token, "POST", "/mfa/associate", `{"authenticator_types":["otp"],"replaces":"`+stranger.ID+`"}`), 404, "not_found")
	made := h.associate(token, associateCodes)
	code := h.showOTP(made.text("secret"), 0)
	wantError(t, h.redeemOTP(other, token, code), 400, "invalid_grant", "the mfa_token is not valid for this client")
	want(t, h.redeemOTP(c, token, code), 200, "")
	want(t, h.redeemOTP(c, token, code), 200, "")
	want(t, h.redeem(c, token, p.RecoveryCode), 400, "invalid_grant")
	want(t, h.challenge(c, token), 400, "invalid_grant")
	if kinds := h.kindsOf("maria"); len(kinds) != 2 || !slices.Contains(kinds, device.TypeOTP) || !slices.Contains(kinds, device.TypePush) {
		t.Errorf("she has %v", kinds)
	}
}

func (h *house) kindsOf(userID string) (kinds []device.Type) {
	h.t.Helper()
	h.must(h.store.View(h.t.Context(), func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err != nil {
			return err
		}
		set, err := device.All(tx, u.UID)
		for _, e := range set.Active() {
			kinds = append(kinds, e.Type)
		}
		return err
	}))
	return kinds
}
