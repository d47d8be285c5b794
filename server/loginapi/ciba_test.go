package loginapi_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device"
	"tutela/server/access"
	"tutela/storage/audit"
)

func TestAuthorize_AsksThePhoneAndSaysWhatToShow(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	a := h.ask(h.client("openid"), "binding_message", "Pay €12 to Otto", "ip", "::ffff:192.0.2.7",
		"user_agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	want(t, a, 200, "")
	if len(a.text("number")) != 6 || a.body["expires_in"] != 120.0 || a.body["interval"] != 5.0 || a.text("delivery") != "pull" {
		t.Errorf("answer %s", a.raw)
	}
	if len(a.body) != 5 || a.text("auth_req_id") == "" {
		t.Errorf("answer %s", a.raw)
	}
	asked := p.approvals()[0]
	if asked.BindingMessage != "Pay €12 to Otto" || !asked.NumberMatching || asked.Location.Name != "192.0.2.7" ||
		asked.Source.Browser.Name != "Firefox" || asked.Source.System.Name != "Linux" {
		t.Errorf("the phone is asked %+v", asked)
	}
	if e := h.Events(audit.StartAuth); len(e) != 1 || e[0].Detail.IP != "192.0.2.7" || !strings.Contains(e[0].Detail.UserAgent, "Firefox") {
		t.Errorf("events %+v", e)
	}
}

func TestAuthorize_TakesEveryFormOfTheHint(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	h.enroll("auth0|söhne & co/{1}")
	c := h.client("openid")
	for _, hint := range []string{
		"maria",
		`{"format":"iss_sub","iss":"` + public + `/","sub":"maria"}`,
		`{"format":"iss_sub","iss":"` + public + `","sub":"maria"}`,
		` {"format":"iss_sub","iss":"https://elsewhere.example.com","sub":"maria","more":[1]}`,
		`{"format":"iss_sub","sub":"maria"}`,
		"auth0|söhne & co/{1}",
		`{"format":"iss_sub","iss":"x","sub":"auth0|s\u00f6hne & co\/{1}"}`,
	} {
		want(t, h.ask(c, "login_hint", hint), 200, "")
	}
}

func TestAuthorize_RefusesAHintThatNamesNobody(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	c := h.client("openid")
	for _, hint := range []string{
		`{`, `{}`, `{"format":"iss_sub"}`, `{"format":"iss_sub","sub":""}`, `{"format":"iss_sub","sub":7}`,
		`{"format":"iss_sub","sub":null}`, `{"format":"email","email":"maria"}`, `{"format":"email","sub":"maria"}`,
		`{"sub":"maria"}`, `{"format":"iss_sub","SUB":"maria"}`, `{"FORMAT":"iss_sub","sub":"maria"}`,
		`{"format":"iss_sub","sub":"otto","sub":"maria"}`, `{"format":"iss_sub","sub":"maria"} x`,
		`{"format":"iss_sub","sub":"maria","x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	} {
		a := h.ask(c, "login_hint", hint)
		wantError(t, a, 400, "invalid_request", "login_hint is no {'format':'iss_sub','iss','sub'}")
	}
	wantError(t, h.ask(c, "login_hint", ""), 400, "invalid_request", "login_hint is missing")
	wantError(t, h.form("/bc-authorize", c.credentials("scope", "openid")...), 400, "invalid_request", "login_hint is missing")
	wantError(t, h.ask(c, "id_token_hint", "x"), 400, "invalid_request", "the user is named by login_hint alone, not by id_token_hint")
	wantError(t, h.ask(c, "login_hint_token", "x"), 400, "invalid_request", "the user is named by login_hint alone, not by login_hint_token")
	wantError(t, h.ask(c, "login_hint", strings.Repeat("a", 5000)), 400, "invalid_request", "login_hint is longer than 4096 bytes")
	for _, id := range []string{strings.Repeat("a", 256), "mar\x00ia", "mar\tia"} {
		wantError(t, h.ask(c, "login_hint", id), 400, "unknown_user_id", "User ID is malformed or unknown")
	}
}

func TestAuthorize_TellsWhyAUserCannotBeAsked(t *testing.T) {
	h := newHouse(t)
	h.ticket("fresh") // a user who is there, with nothing enrolled
	h.enroll("lost").leave()
	h.enroll("blocked")
	h.block("blocked")
	h.enroll("reset")
	h.Reset("reset")
	h.enroll("both").leave()
	h.block("both")
	plain := h.client("openid")
	reader := h.client("openid read:users")
	const (
		hidden  = "User ID is malformed or unknown"
		unknown = "unknown_user_id"
	)
	const recovery = "the user has no phone that can be asked: offer the recovery code"
	const nothing = "the user has nothing enrolled: ask for a ticket"
	for _, c := range []struct{ user, code, toPlain, toReader string }{
		{"nobody", unknown, hidden, "the user is unknown"},
		{"fresh", unknown, hidden, nothing},
		{"reset", unknown, hidden, nothing},
		{"lost", "recovery_required", recovery, recovery},
		{"blocked", "access_denied", "the user is blocked", "the user is blocked"},
		{"both", "access_denied", "the user is blocked", "the user is blocked"},
	} {
		wantError(t, h.ask(plain, "login_hint", c.user), 400, c.code, c.toPlain)
		wantError(t, h.ask(reader, "login_hint", c.user), 400, c.code, c.toReader)
	}
	h.unknown("nobody")
}

func TestAuthorize_TellsWhenNoPhoneCanMatchNumbers(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria", tapOnly)
	c := h.client("openid")
	tapping := h.client("openid", func(c *access.Client) { c.Presence = device.PresenceTap })
	if a := h.ask(c); a.status != 200 || a.text("number") != "" {
		t.Errorf("prefer-number, a phone that cannot: %s", a.raw)
	}
	h.Set("approval.presence", "number")
	wantError(t, h.ask(c), 400, "access_denied", "no phone of the user can match numbers, which this installation asks for")
	wantError(t, h.ask(tapping), 400, "invalid_request", "this installation asks for number matching, which the client cannot show")
	h.Set("approval.presence", "prefer-number")
	h.enroll("maria")
	if a := h.ask(c); a.status != 200 || a.text("number") == "" {
		t.Errorf("prefer-number, one phone that can: %s", a.raw)
	}
	if a := h.ask(tapping); a.status != 200 || a.text("number") != "" {
		t.Errorf("prefer-number, a client that cannot show one: %s", a.raw)
	}
}

func TestAuthorize_WantsTheScopeOpenIDBeforeItLooksAtTheUser(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	for _, scope := range []string{"", "profile", "OPENID", "openid2", "profile,openid"} {
		wantError(t, h.ask(c, "login_hint", "nobody", "scope", scope), 400, "invalid_request", "openid scope must be requested")
	}
}

func TestAuthorize_LeavesOutScopesThatTheClientHasNot(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid profile")
	begun := h.ask(c, "scope", "email openid  read:users profile openid")
	want(t, begun, 200, "")
	p.approve(begun)
	if a := h.collect(c, begun.text("auth_req_id")); a.text("scope") != "openid profile" {
		t.Errorf("scope: %s", a.raw)
	}
}

func TestAuthorize_MendsTheBindingMessageAndRefusesALongOne(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	for message, shown := range map[string]string{
		"x": "x", strings.Repeat("ü", 64): strings.Repeat("ü", 64), "👨‍👩‍👧 <b>&\"\\": "👨‍👩‍👧 <b>&\"\\",
		"a\nb": "a\ufffdb", "a\x00b": "a\ufffdb", "a\u0085b": "a\ufffdb", "a\u2028b": "a\ufffdb", "yap\u202eon": "yap\ufffdon",
		"\u2066x": "\ufffdx", "a\U000e0041": "a\ufffd", "a\u200bb": "a\ufffdb",
	} {
		h.clock.Advance(time.Minute)
		want(t, h.ask(c, "binding_message", message), 200, "")
		if list := p.approvals(); list[len(list)-1].BindingMessage != shown {
			t.Errorf("%q is shown as %q", message, list[len(list)-1].BindingMessage)
		}
	}
	want(t, h.ask(c, "binding_message", ""), 200, "")
	wantError(t, h.ask(c, "binding_message", strings.Repeat("ü", 65)), 400, "invalid_binding_message",
		"binding_message has more than 64 characters")
	wantError(t, h.ask(c, "binding_message", strings.Repeat("x", 60_000)), 400, "invalid_binding_message",
		"binding_message is longer than 4096 bytes")
	body := map[string]any{"client_id": c.ID, "client_secret": c.secret, "scope": "openid", "login_hint": "maria", "binding_message": 7}
	want(t, h.json("/bc-authorize", body), 400, "invalid_binding_message")
}

func TestAuthorize_ChecksTheExpiry(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	c := h.client("openid")
	for given, seconds := range map[string]float64{"": 120, "1": 1, "300": 300, "017": 17} {
		if a := h.ask(c, "requested_expiry", given); a.status != 200 || a.body["expires_in"] != seconds {
			t.Errorf("%q: %s", given, a.raw)
		}
	}
	for _, given := range []string{"0", "301", "-1", "+5", "1.5", "1e2", "0x10", "soon", " ", "９", strings.Repeat("9", 400)} {
		wantError(t, h.ask(c, "requested_expiry", given), 400, "invalid_request", "requested_expiry is a whole number from 1 to 300")
	}
}

func TestAuthorize_TakesNumbersAsTextAndLeavesOutNullInJSON(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	c := h.client("openid")
	body := func(name string, value any) map[string]any {
		return map[string]any{"client_id": c.ID, "client_secret": c.secret, "scope": "openid", "login_hint": "maria", name: value}
	}
	for _, expiry := range []any{60, "60", json.Number("60")} {
		if a := h.json("/bc-authorize", body("requested_expiry", expiry)); a.body["expires_in"] != 60.0 {
			t.Errorf("%v: %s", expiry, a.raw)
		}
	}
	for _, name := range []string{"requested_expiry", "audience", "binding_message", "ip", "user_agent", "login_id", "authorization_details", "id_token_hint"} {
		want(t, h.json("/bc-authorize", body(name, nil)), 200, "")
		h.clock.Advance(time.Minute)
	}
	for _, name := range []string{"scope", "login_hint", "client_secret", "client_id"} {
		if a := h.json("/bc-authorize", body(name, nil)); a.status != 400 && a.status != 401 {
			t.Errorf("%s null: %d %s", name, a.status, a.raw)
		}
	}
	for _, name := range []string{"scope", "login_hint", "audience", "ip", "user_agent", "login_id", "client_id", "client_secret"} {
		for _, value := range []any{7, true, []string{"maria"}, map[string]any{"sub": "maria"}} {
			wantError(t, h.json("/bc-authorize", body(name, value)), 400, "invalid_request", name+" is not a text")
		}
	}
	for _, value := range []any{true, []int{60}, 1.5, map[string]any{}, "", -1, 1e300} {
		want(t, h.json("/bc-authorize", body("requested_expiry", value)), 400, "invalid_request")
	}
}

// What only shows is mended or clipped: it is no reason to refuse a login.
func TestAuthorize_MendsWhatIsSaidOfTheBrowser(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	for given, shown := range map[string]string{
		"192.0.2.7": "192.0.2.7", "2001:DB8::1": "2001:db8::1", "fe80::1%eth0": "fe80::1", "192.0.2.7:80": "192.0.2.7", " 192.0.2.7": "192.0.2.7",
		"[2001:db8::1]:443": "2001:db8::1", "[::1]": "::1", "[::ffff:192.0.2.7]:1": "192.0.2.7", "[fe80::1%eth0]:80": "fe80::1",
		"here": "", "192.0.2.256": "", "192.0.2.0/24": "", "192.0.2.7, 10.0.0.1": "", "[]": "", strings.Repeat("1", 5000): "",
	} {
		h.clock.Advance(time.Minute)
		want(t, h.ask(c, "ip", given), 200, "")
		list := p.approvals()
		got := ""
		if at := list[len(list)-1].Location; at != nil {
			got = at.Name
		}
		if got != shown {
			t.Errorf("%.40s: shown as %q", given, got)
		}
	}
	h.clock.Advance(time.Minute)
	for _, agent := range []string{strings.Repeat("x", 5000), strings.Repeat("ü", 5000), "a\x00\nb"} {
		want(t, h.ask(c, "user_agent", agent), 200, "")
	}
	wantError(t, h.ask(c, "login_id", strings.Repeat("x", 256)), 400, "invalid_request", "login_id is longer than 255 bytes")
}

func TestAuthorize_RefusesAnAudienceThatIsNotForUsers(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	c := h.client("openid")
	other := h.client("openid")
	for _, audience := range []string{
		public + "/api/v2/", public + "/api/v2", h.url + "/api/v2/", public + "/mfa/", h.url + "/mfa/", "HTTPS://MFA.example.org/API/V2/",
		other.ID, strings.Repeat("x", 3000),
	} {
		wantError(t, h.ask(c, "audience", audience), 400, "invalid_request", "a token about a user cannot have this audience")
	}
	for _, audience := range []string{"", c.ID, "https://api.example.com/orders"} {
		want(t, h.ask(c, "audience", audience), 200, "")
	}
	// It is refused before the user is looked up.
	want(t, h.ask(c, "audience", public+"/api/v2/", "login_hint", "nobody"), 400, "invalid_request")
}

func TestAuthorize_EchoesAuthorizationDetails(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	details := []any{
		map[string]any{"type": "payment", "amount": map[string]any{"currency": "EUR", "value": "12.00 <&>"}, "to": "Öttö"},
		map[string]any{"type": "account", "n": 9007199254740993.0},
	}
	encoded, err := json.Marshal(details)
	h.must(err)
	inForm := h.ask(c, "authorization_details", string(encoded))
	inJSON := h.json("/bc-authorize", map[string]any{
		"client_id": c.ID, "client_secret": c.secret, "scope": "openid", "login_hint": "maria", "authorization_details": details,
	})
	for _, begun := range []answer{inJSON, inForm} { // the newest is answered first
		want(t, begun, 200, "")
	}
	p.approve(inJSON)
	p.approve(inForm)
	for _, begun := range []answer{inForm, inJSON} {
		a := h.collect(c, begun.text("auth_req_id"))
		want(t, a, 200, "")
		if diff := cmp.Diff(any(details), a.body["authorization_details"]); diff != "" {
			t.Errorf("authorization_details (-sent +echoed):\n%s", diff)
		}
	}
	begun := h.ask(c)
	p.approve(begun)
	if a := h.collect(c, begun.text("auth_req_id")); a.body["authorization_details"] != nil {
		t.Errorf("none were sent: %s", a.raw)
	}
}

func TestAuthorize_RefusesAuthorizationDetailsThatAreNone(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	c := h.client("openid")
	for _, details := range []string{
		"x", "{}", `{"type":"payment"}`, "[]", "[null]", "[7]", `["payment"]`, `[{}]`, `[{"type":""}]`, `[{"type":7}]`, `[{"TYPE":"x"}]`,
		`[{"type":"a"},{"no":1}]`, `[{"type":"a","type":"b"}]`, `[{"type":"a"}`, `[{"type":"a"}] x`,
		`[{"type":"` + strings.Repeat("x", 9000) + `"}]`,
		`[{"type":"a","x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}]`,
	} {
		wantError(t, h.ask(c, "authorization_details", details), 400, "invalid_authorization_details",
			"authorization_details is an array of objects with a type, of at most 8 KiB")
	}
}

func TestAuthorize_OfAClientWithoutTheGrantIsRefused(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	c := h.client("openid", func(c *access.Client) { c.Grants = []string{access.GrantRecoveryCode} })
	wantError(t, h.ask(c), 400, "unauthorized_client", "the client may not use this grant")
	wantError(t, h.collect(c, "x"), 400, "unauthorized_client", "the client may not use this grant")
	// But /mfa/start needs none.
	want(t, h.form("/mfa/start", c.credentials("user_id", "maria")...), 200, "")
	management := h.client("read:users")
	wantError(t, h.ask(management), 400, "unauthorized_client", "the client may not use this grant")
}

func TestAuthorize_ARepeatUnderOneLoginIDIsTheSameLogin(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	h.enroll("otto")
	c := h.client("openid")
	other := h.client("openid")
	first := h.ask(c, "login_id", "session-1", "ip", "192.0.2.7")
	h.clock.Advance(1500 * time.Millisecond)
	again := h.ask(c, "login_id", "session-1", "ip", "192.0.2.7")
	if first.text("auth_req_id") != again.text("auth_req_id") || first.text("number") != again.text("number") {
		t.Errorf("a repeat: %s, then %s", first.raw, again.raw)
	}
	if again.body["expires_in"] != 119.0 { // 118.5, rounded up
		t.Errorf("a repeat: %s", again.raw)
	}
	for _, different := range [][]string{{"binding_message", "x"}, {"ip", "192.0.2.8"}, {"audience", "https://api.example.com"}, {"requested_expiry", "60"}} {
		a := h.ask(c, append([]string{"login_id", "session-1", "ip", "192.0.2.7"}, different...)...)
		wantError(t, a, 400, "invalid_request", "the login_id is in use for a login with other parameters")
	}
	for name, a := range map[string]answer{
		"another session":     h.ask(c, "login_id", "session-2", "ip", "192.0.2.7"),
		"another client":      h.ask(other, "login_id", "session-1", "ip", "192.0.2.7"),
		"another user":        h.ask(c, "login_id", "session-1", "ip", "192.0.2.7", "login_hint", "otto"),
		"no login_id":         h.ask(c, "ip", "192.0.2.7"),
		"no login_id, again":  h.ask(c, "ip", "192.0.2.7"),
		"the same as session": h.ask(c, "login_id", ""),
	} {
		want(t, a, 200, "")
		if a.text("auth_req_id") == first.text("auth_req_id") {
			t.Errorf("%s was merged", name)
		}
	}
	if len(h.Events(audit.ConcurrentLogin)) == 0 {
		t.Error("several logins at once are no event")
	}
	for range len(p.approvals()) {
		p.deny("")
	}
	if a := h.ask(c, "login_id", "session-1", "binding_message", "once decided, anything goes"); a.status != 200 || a.text("auth_req_id") == first.text("auth_req_id") {
		t.Errorf("after a decision: %s", a.raw)
	}
}

func TestAuthorize_SaysHowThePhonesLearnOfIt(t *testing.T) {
	h := newHouse(t)
	h.enroll("pulls")
	p := h.enroll("maria", pushed)
	c := h.client("openid")
	if a := h.ask(c, "login_hint", "pulls"); a.text("delivery") != "pull" {
		t.Errorf("without a push token: %s", a.raw)
	}
	for n := range 6 {
		delivery := "push"
		if n == 5 {
			delivery = "silent"
		}
		if a := h.ask(c); a.status != 200 || a.text("delivery") != delivery {
			t.Errorf("request %d: %s", n+1, a.raw)
		}
	}
	if len(h.Events(audit.PushMuted)) != 1 {
		t.Error("a silent approval is an event")
	}
	// It counts per client, and a success gives the budget back.
	if a := h.ask(h.client("openid")); a.text("delivery") != "push" {
		t.Errorf("another client: %s", a.raw)
	}
	h.clock.Advance(time.Minute)
	begun := h.ask(c)
	p.approve(begun)
	if a := h.ask(c); a.text("delivery") != "push" {
		t.Errorf("after a success: %s", a.raw)
	}
}

func TestAuthorize_ADenialThatSaysNotMeSilencesTheNetworkForAnHour(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria", pushed)
	c := h.client("openid")
	want(t, h.ask(c, "ip", "192.0.2.66"), 200, "")
	p.deny("not_me")
	if a := h.ask(c, "ip", "192.0.2.1"); a.text("delivery") != "silent" {
		t.Errorf("another address of the network: %s", a.raw)
	}
	if a := h.ask(c, "ip", "198.51.100.1"); a.text("delivery") != "push" {
		t.Errorf("another network: %s", a.raw)
	}
	h.clock.Advance(time.Hour)
	if a := h.ask(c, "ip", "192.0.2.66"); a.text("delivery") != "push" {
		t.Errorf("an hour later: %s", a.raw)
	}
}

// limited fails the test unless the answer says that there were too many, with the bound and 40 s to wait.
func limited(t *testing.T, a answer, message, bound string) {
	t.Helper()
	wantError(t, a, 429, "too_many_attempts", message)
	for name, value := range map[string]string{
		"Retry-After": "40", "X-RateLimit-Limit": bound, "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1772366460",
	} {
		if got := a.header.Get(name); got != value {
			t.Errorf("%s: %s, want %s", name, got, value)
		}
	}
}

// Twelve requests for a push count per user and client, and close no other client, user, nor the way in by code.
func TestAuthorize_TwelveRequestsAMinuteCloseNothingElse(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	h.enroll("otto")
	c := h.client("openid")
	for range 12 {
		want(t, h.ask(c), 200, "")
	}
	h.clock.Advance(20500 * time.Millisecond)
	limited(t, h.ask(c), "too many logins of this user; wait before you try again, or offer a code", "12")
	want(t, h.ask(c, "ip", "203.0.113.9"), 429, "too_many_attempts") // neither network is hers
	want(t, h.ask(h.client("openid")), 200, "")
	want(t, h.ask(c, "login_hint", "otto"), 200, "")
	want(t, h.redeem(c, h.started(c, "maria"), p.RecoveryCode), 200, "")
	h.clock.Advance(40 * time.Second)
	want(t, h.ask(c), 200, "")
}

// From a network where she has signed in, a flood from elsewhere closes nothing.
func TestAuthorize_AFloodFromElsewhereLeavesHerNetworkOpen(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria", pushed)
	c := h.client("openid")
	p.approve(h.ask(c, "ip", "198.51.100.7"))
	h.clock.Advance(time.Minute)
	for range 12 {
		want(t, h.ask(c, "ip", "203.0.113.9"), 200, "")
	}
	want(t, h.ask(c, "ip", "203.0.113.9"), 429, "too_many_attempts")
	a := h.ask(c, "ip", "198.51.100.99")
	want(t, a, 200, "")
	if a.text("delivery") != "push" {
		t.Errorf("from her network: %s", a.raw)
	}
}

// /mfa/start has a bound of its own by network, which closes neither another network nor a code.
func TestStartMFA_SixtyAMinuteFromANetworkCloseNoOther(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	hers := h.started(c, "maria")
	for range 60 {
		want(t, h.start(c, "maria", "ip", "203.0.113.9:4711"), 200, "")
	}
	h.clock.Advance(20500 * time.Millisecond)
	limited(t, h.start(c, "maria", "ip", "203.0.113.1"), "too many logins of this user from this network; wait before you try again", "60")
	want(t, h.start(c, "maria", "ip", "198.51.100.7"), 200, "")
	want(t, h.start(c, "maria"), 200, "")
	want(t, h.ask(c, "ip", "203.0.113.9"), 200, "")
	want(t, h.redeem(c, hers, p.RecoveryCode), 200, "")
}

// An app that matches numbers and is not used any more keeps the old phone from ringing for 30 days, and no longer.
func TestAuthorize_AStaleAppKeepsNoTapPhoneFromBeingAsked(t *testing.T) {
	h := newHouse(t)
	tap := h.enroll("maria", tapOnly)
	h.enroll("maria")
	c := h.client("openid")
	if a := h.ask(c); a.text("number") == "" || len(tap.approvals()) != 0 {
		t.Errorf("while the new app is used: %s", a.raw)
	}
	h.clock.Advance(30 * 24 * time.Hour)
	if a := h.ask(c); a.text("number") != "" || len(tap.approvals()) != 1 {
		t.Errorf("after 30 days without a sign of it: %s", a.raw)
	}
}

func TestAuthorize_ReadsNoParameterOfTheQuery(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	c := h.client("openid")
	query := values(c.credentials("scope", "openid", "login_hint", "maria")...).Encode()
	want(t, h.send("POST", "/bc-authorize?"+query, "", "Content-Type", formType), 401, "invalid_client")
	if strings.Contains(h.log.String(), c.secret) {
		t.Error("the log has the query")
	}
}
