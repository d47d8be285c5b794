package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"tutela/device/phone"
	"tutela/device/push"
	"tutela/device/push/apns"
	"tutela/device/push/fcm"
	"tutela/device/push/pushtest"
	"tutela/storage"
)

// The traps of the Guardian wire, one test for each line of the list in guardian-wire.md "Compatibility checklist": what the
// open clients need and a server easily gets wrong. Each plays the client over real HTTP.

// TestTraps_EachLineOfTheListHasItsTest compares the list with the tests' names: TestTrap_01_… is for the first line.
func TestTraps_EachLineOfTheListHasItsTest(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "protocol", "guardian-wire.md"))
	must(t, err)
	_, list, found := strings.Cut(string(page), "### Compatibility checklist\n")
	if !found {
		t.Fatal("guardian-wire.md has no list of traps")
	}
	var lines []int
	for _, numbered := range regexp.MustCompile(`(?m)^(\d+)\. `).FindAllStringSubmatch(list, -1) {
		n, err := strconv.Atoi(numbered[1])
		must(t, err)
		lines = append(lines, n)
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), "trap_test.go", nil, parser.SkipObjectResolution)
	must(t, err)
	var tested []int
	for _, d := range parsed.Decls {
		f, isFunc := d.(*ast.FuncDecl)
		if !isFunc || !strings.HasPrefix(f.Name.Name, "TestTrap_") {
			continue
		}
		n, err := strconv.Atoi(strings.Split(f.Name.Name, "_")[1])
		must(t, err)
		tested = append(tested, n)
	}
	slices.Sort(tested)
	if len(lines) < 12 || !slices.Equal(lines, slices.Compact(tested)) {
		t.Errorf("the list has the lines %v, and the tests are for %v", lines, tested)
	}
}

// sdk is an app on the SDKs, by hand.
type sdk struct {
	m     *mounted
	key   *phone.Key
	id    string // of the enrollment
	user  string
	token string
	about reply // the answer to the enrolment
}

// newSDK enrols an app of a user as the SDKs do. pad adds zero bytes before n and e.
func (m *mounted) newSDK(userID string, pad bool) sdk {
	m.t.Helper()
	key, err := phone.NewKey(phone.RS256)
	m.must(err)
	public, err := key.Public(false)
	m.must(err)
	var jwk map[string]any
	encoded, err := json.Marshal(public)
	m.must(errors.Join(err, json.Unmarshal(encoded, &jwk)))
	if pad {
		for name, zeros := range map[string]int{"n": 1, "e": 2} {
			plain, err := base64.RawURLEncoding.DecodeString(jwk[name].(string))
			m.must(err)
			jwk[name] = base64.RawURLEncoding.EncodeToString(append(make([]byte, zeros), plain...))
		}
	}
	about := m.ok(m.json("POST", "/appliance-mfa/api/enroll", map[string]any{
		"identifier": storage.NewID("app_", 8), "name": "Pixel 9", "public_key": jwk,
		"push_credentials": map[string]string{"service": "GCM", "token": "token of " + userID},
	}, "Authorization", `Ticket id="`+m.ticket(userID)+`"`))
	return sdk{
		m:     m,
		key:   key,
		id:    about.member("id"),
		user:  about.member("user_id"),
		token: about.member("token"),
		about: about,
	}
}

func (s sdk) sign(claims map[string]any) string {
	s.m.t.Helper()
	signed, err := s.key.Sign(map[string]any{"alg": "RS256", "typ": "JWT"}, claims, false)
	s.m.must(err)
	return signed
}

// deviceJWT is the JWT for calls about the device account, with changes.
func (s sdk) deviceJWT(change map[string]any) string {
	now := time.Now().Unix()
	claims := map[string]any{"iss": s.id, "sub": s.user, "aud": s.m.url + "/appliance-mfa/api/device-accounts", "iat": now, "exp": now + 7200}
	maps.Copy(claims, change)
	return s.sign(claims)
}

// account calls the device account with a bearer.
func (s sdk) account(method, body, bearer string) reply {
	s.m.t.Helper()
	return s.m.call(method, "/appliance-mfa/api/device-accounts/"+s.id, body, "Authorization", "Bearer "+bearer, "Content-Type", jsonType)
}

// asked begins a login of the user, which is tapped, and returns the message that the app gets.
func (s sdk) asked(userID string) push.Message {
	s.m.t.Helper()
	s.m.policy("approval.presence", "tap")
	got := make(mailbox, 8)
	s.m.house.push.Use(push.FCM, got)
	s.m.ok(s.m.form("/bc-authorize", "scope", "openid", "login_hint", userID))
	s.m.must(s.m.house.outbox.Drain(s.m.t.Context()))
	for {
		if one := <-got; one.Challenge != "" {
			return one
		}
	}
}

// mailbox is a push service that a test reads.
type mailbox chan push.Message

// Deliver keeps a message.
func (m mailbox) Deliver(_ context.Context, _ push.Address, one push.Message) error {
	m <- one
	return nil
}

// answer accepts a login as the SDKs do, with changes of the claims.
func (s sdk) answer(to push.Message, change map[string]any) reply {
	s.m.t.Helper()
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": "identifier of the phone", "sub": to.Challenge, "aud": s.m.url + "/appliance-mfa/api/resolve-transaction", "iat": now, "exp": now + 30,
		"auth0_guardian_method": "push", "auth0_guardian_accepted": true,
	}
	maps.Copy(claims, change)
	return s.m.json("POST", "/appliance-mfa/api/resolve-transaction", map[string]any{"challenge_response": s.sign(claims)},
		"Authorization", "Bearer "+to.TransactionToken)
}

func TestTrap_01_ApiUnderBothRootsAndConsentsBesideIt(t *testing.T) {
	m := mount(t)
	s := m.newSDK("anna", false)
	for _, root := range []string{"", "/appliance-mfa"} {
		for path, bearer := range map[string]string{
			"/api/device-accounts/" + s.id:                s.deviceJWT(nil),
			"/api/device-accounts/" + s.id + "/approvals": s.deviceJWT(nil),
		} {
			if r := m.call("GET", root+path, "", "Authorization", "Bearer "+bearer); r.status != 200 {
				t.Errorf("%s%s: %d %s", root, path, r.status, r.body)
			}
		}
	}
	// The SDKs ask for consents beside the API, and not below it, and show a proof of their key in the place of a bearer.
	for _, root := range []string{"", "/appliance-mfa"} {
		if r := m.call("GET", root+"/rich-consents/cns_none", "", "Authorization", "MFA-DPoP x", "MFA-DPoP", "x"); r.status != 401 {
			t.Errorf("%s/rich-consents/…: %d %s", root, r.status, r.body)
		}
	}
}

func TestTrap_02_EnrolAnswerHasAllMembersWithTheirTypes(t *testing.T) {
	m := mount(t)
	var got map[string]any
	must(t, json.Unmarshal(m.newSDK("anna", false).about.body, &got))
	for _, name := range []string{"id", "url", "issuer", "user_id", "token"} {
		if text, isText := got[name].(string); !isText || text == "" {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	totp, whole := got["totp"].(map[string]any)
	if !whole {
		t.Fatalf("totp is %v", got["totp"])
	}
	if text, isText := totp["secret"].(string); !isText || text == "" {
		t.Errorf("the secret is %v", totp["secret"])
	}
	if totp["algorithm"] != "sha1" {
		t.Errorf("the algorithm is %v: the SDKs know lower case alone", totp["algorithm"])
	}
	for name, want := range map[string]float64{"digits": 6, "period": 30} {
		if n, isNumber := totp[name].(float64); !isNumber || n != want {
			t.Errorf("%s is %v, and not the number %v", name, totp[name], want)
		}
	}
}

// The iOS SDK writes n as it lies in DER, with the zero byte of its sign.
func TestTrap_03_LeadingZeroBytesOfAKeyAreStripped(t *testing.T) {
	s := mount(t).newSDK("anna", true)
	if got := s.account("GET", "", s.deviceJWT(nil)); got.status != 200 {
		t.Errorf("a call that the key signs: %d %s", got.status, got.body)
	}
}

func TestTrap_04_TimesMayBeFractionalAudienceIsAnyOfOursAndClocksDiffer(t *testing.T) {
	m := mount(t)
	s := m.newSDK("anna", false)
	now := float64(time.Now().UnixMilli()) / 1000
	for name, change := range map[string]map[string]any{
		"fractional times":     {"iat": now + 0.123, "exp": now + 7200.456},
		"below the other root": {"aud": m.url + "/api/device-accounts"},
		"a clock that is late": {"iat": now - 60, "exp": now + 7140},
		"a clock that is fast": {"iat": now + 60, "exp": now + 7260},
	} {
		if r := s.account("GET", "", s.deviceJWT(change)); r.status != 200 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if r := s.account("GET", "", s.deviceJWT(map[string]any{"aud": "https://evil.example/appliance-mfa/api/device-accounts"})); r.status != 401 {
		t.Errorf("another server's audience: %d %s", r.status, r.body)
	}
	// An answer lives for 30 s by the phone's clock, which may be late by more than that.
	if r := s.answer(s.asked("anna"), map[string]any{"iat": now - 60.5, "exp": now - 30.5}); r.status != 204 {
		t.Errorf("an answer by a late clock: %d %s", r.status, r.body)
	}
}

func TestTrap_05_IssuerIsTheEnrolmentInOneJWTAndTheLocalIdentifierInTheOther(t *testing.T) {
	s := mount(t).newSDK("anna", false)
	if r := s.account("GET", "", s.deviceJWT(map[string]any{"iss": "identifier of the phone"})); r.status != 401 {
		t.Errorf("a device JWT by the identifier: %d %s", r.status, r.body)
	}
	if r := s.account("GET", "", s.deviceJWT(map[string]any{"iss": s.id})); r.status != 200 {
		t.Errorf("a device JWT by the enrolment: %d %s", r.status, r.body)
	}
	if r := s.answer(s.asked("anna"), map[string]any{"iss": "identifier of the phone"}); r.status != 204 {
		t.Errorf("an answer by the identifier: %d %s", r.status, r.body)
	}
}

func TestTrap_06_EmptySuccessesAre204AndAllOthersAreJSON(t *testing.T) {
	m := mount(t)
	s := m.newSDK("anna", false)
	for name, r := range map[string]reply{
		"an enrolment": s.about,
		"a look":       s.account("GET", "", s.deviceJWT(nil)),
		"a change":     s.account("PATCH", `{"name":"x"}`, s.deviceJWT(nil)),
		"a refusal":    s.account("GET", "", "x"),
		"no such call": m.call("GET", "/appliance-mfa/api/nothing", ""),
	} {
		if kind := r.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") || !json.Valid(r.body) {
			t.Errorf("%s: %d %s %q", name, r.status, kind, r.body)
		}
	}
	wantEmpty := func(name string, r reply) {
		if r.status != 204 || len(r.body) > 0 {
			t.Errorf("%s: %d %q", name, r.status, r.body)
		}
	}
	wantEmpty("an answer", s.answer(s.asked("anna"), nil))
	wantEmpty("a removal", s.account("DELETE", "", s.deviceJWT(nil)))
}

func TestTrap_07_ErrorsHaveFourMembersAndTheirCodesAreText(t *testing.T) {
	m := mount(t)
	s := m.newSDK("anna", false)
	for name, r := range map[string]reply{
		"no such ticket":  m.json("POST", "/api/enroll", m.installation(), "Authorization", `Ticket id="x"`),
		"no JSON":         m.call("POST", "/api/enroll", "{", "Content-Type", jsonType, "Authorization", `Ticket id="`+m.ticket("bert")+`"`),
		"a bad JWT":       s.account("GET", "", "x"),
		"no such call":    m.call("GET", "/api/nothing", ""),
		"no such method":  m.call("PUT", "/api/enroll", ""),
		"a bad answer":    m.json("POST", "/api/resolve-transaction", map[string]any{"challenge_response": "x"}, "Authorization", "Bearer x"),
		"an encoded body": m.call("POST", "/api/enroll", "x", "Content-Encoding", "gzip"),
	} {
		var got map[string]any
		must(t, json.Unmarshal(r.body, &got))
		if status, isNumber := got["statusCode"].(float64); !isNumber || int(status) != r.status || r.status < 400 {
			t.Errorf("%s: %d, and statusCode is %v", name, r.status, got["statusCode"])
		}
		for _, member := range []string{"error", "message", "errorCode"} {
			if text, isText := got[member].(string); !isText || text == "" {
				t.Errorf("%s: %s is %v", name, member, got[member])
			}
		}
		if len(got) != 4 {
			t.Errorf("%s: %s", name, r.body)
		}
	}
}

// wholeInstant is the form of d that the SDKs read: milliseconds, and Z.
var wholeInstant = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)

func TestTrap_08_PushesHaveTheFormThatEachServiceNeeds(t *testing.T) {
	m := mount(t)
	google := pushtest.StartFCM(t)
	carrier, err := fcm.New(fcm.Credentials{JSON: google.Credentials(), Endpoint: google.Endpoint()})
	must(t, err)
	m.house.push.Use(push.FCM, carrier)
	apple := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	other, err := apns.New(apns.Credentials{
		Key:      apple.Key(),
		KeyID:    pushtest.APNsKeyID,
		TeamID:   pushtest.APNsTeamID,
		Topic:    pushtest.APNsTopic,
		Endpoint: apple.Endpoint(),
		Roots:    apple.Roots(),
	})
	must(t, err)
	t.Cleanup(other.Close)
	m.house.push.Use(push.APNs, other)
	const token = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, service := range []string{"GCM", "APNS"} {
		app := m.installation("push_credentials", map[string]string{"service": service, "token": token})
		m.ok(m.json("POST", "/api/enroll", app, "Authorization", `Ticket id="`+m.ticket("anna")+`"`))
	}
	m.ok(m.form("/bc-authorize", "scope", "openid", "login_hint", "anna", "ip", "203.0.113.7",
		"user_agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"))
	must(t, m.house.outbox.Drain(t.Context()))

	approval := func(taken []pushtest.Taken) map[string]any {
		for _, one := range taken {
			data := one.Data
			if below, isObject := data["mfa"].(map[string]any); isObject {
				data = below // where APNs has it
			}
			if data["c"] != nil {
				return data
			}
		}
		t.Fatalf("no approval among %d messages", len(taken))
		return nil
	}
	android := approval(google.Taken(token))
	iphone := approval(apple.Taken(token))
	for service, data := range map[string]map[string]any{"FCM": android, "APNs": iphone} {
		if d, isText := data["d"].(string); !isText || !wholeInstant.MatchString(d) {
			t.Errorf("%s: d is %v", service, data["d"])
		}
		if data["sh"] != m.url {
			t.Errorf("%s: sh is %v, and not %s", service, data["sh"], m.url)
		}
	}
	for name, value := range android {
		if _, isText := value.(string); !isText {
			t.Errorf("FCM: %s is %v, and no text", name, value)
		}
	}
	for _, name := range []string{"s", "l"} {
		text, _ := android[name].(string)
		if !json.Valid([]byte(text)) || !strings.HasPrefix(text, "{") {
			t.Errorf("FCM: %s is %v, and no JSON", name, android[name])
		}
		if _, isObject := iphone[name].(map[string]any); !isObject {
			t.Errorf("APNs: %s is %v, and no object", name, iphone[name])
		}
	}
	if raw := string(apple.Taken(token)[0].Raw); !strings.Contains(raw, `"category":"com.auth0.notification.authentication"`) {
		t.Errorf("APNs: no category in %s", raw)
	}
}

// flowPage is a page with auth0-guardian.js.
type flowPage struct {
	m     *mounted
	start map[string]any // the answer to start-flow
	token string         // of the transaction
}

// page starts the flow of a user's login.
func (m *mounted) page(userID string) flowPage {
	m.t.Helper()
	request := m.ok(m.form("/mfa/start", "user_id", userID)).member("mfa_token")
	r := m.ok(m.call("POST", "/appliance-mfa/api/start-flow", `{"state_transport":"polling"}`, "Authorization", "Bearer "+request, "Content-Type", jsonType))
	p := flowPage{m: m, token: r.member("transaction_token")}
	m.must(json.Unmarshal(r.body, &p.start))
	return p
}

// call makes a call with the transaction token, and returns the members of the answer.
func (p flowPage) call(name string, body map[string]string) map[string]any {
	p.m.t.Helper()
	authorize := []string{"Authorization", "Bearer " + p.token}
	var r reply
	if body == nil {
		r = p.m.call("POST", "/appliance-mfa/api/"+name, "", authorize...)
	} else {
		r = p.m.json("POST", "/appliance-mfa/api/"+name, body, authorize...)
	}
	p.m.ok(r)
	var got map[string]any
	if len(r.body) > 0 {
		p.m.must(json.Unmarshal(r.body, &got))
	}
	return got
}

// claims are what the client reads in the transaction token.
func (p flowPage) claims() (claims map[string]any) {
	p.m.t.Helper()
	parts := strings.Split(p.token, ".")
	if len(parts) != 3 {
		p.m.t.Fatalf("the transaction token is no JWT: %q", p.token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	p.m.must(errors.Join(err, json.Unmarshal(payload, &claims)))
	return claims
}

func TestTrap_09_StartFlowSaysWhetherSheIsEnrolled(t *testing.T) {
	m := mount(t)
	fresh := m.page("nina")
	if id, isText := fresh.start["enrollment_tx_id"].(string); !isText || id == "" {
		t.Errorf("of a user who is new: %v", fresh.start)
	}
	if account, _ := fresh.start["device_account"].(map[string]any); account["status"] != "confirmation_pending" {
		t.Errorf("of a user who is new: %v", account)
	}
	known := m.page("maria")
	if _, there := known.start["enrollment_tx_id"]; there {
		t.Errorf("of a user who is enrolled: %v", known.start)
	}
	account, _ := known.start["device_account"].(map[string]any)
	if types, _ := account["available_authenticator_types"].([]any); account["status"] != "confirmed" || !slices.Contains(types, any("push")) {
		t.Errorf("of a user who is enrolled: %v", account)
	}
	for _, p := range []flowPage{fresh, known} {
		claims := p.claims()
		txid, _ := claims["txid"].(string)
		exp, _ := claims["exp"].(float64)
		if txid == "" || exp <= float64(time.Now().Unix()) {
			t.Errorf("the transaction token says %v", claims)
		}
	}
}

func TestTrap_10_TheStateIsOfItsTransactionAndAPushEnrolmentLeavesItPending(t *testing.T) {
	m := mount(t)
	p := m.page("nina")
	state := func(want string) map[string]any {
		t.Helper()
		got := p.call("transaction-state", nil)
		if got["id"] != p.claims()["txid"] || got["state"] != want {
			t.Errorf("the state is %v, want %s", got, want)
		}
		return got
	}
	if got := state("pending"); got["enrollment"] != nil {
		t.Errorf("before the enrolment: %v", got)
	}
	m.ok(m.json("POST", "/api/enroll", m.installation(), "Authorization", `Ticket id="`+p.start["enrollment_tx_id"].(string)+`"`))
	if got := state("pending"); got["enrollment"] == nil {
		t.Errorf("after it: %v", got)
	}
	p = m.page("olga")
	account, _ := p.start["device_account"].(map[string]any)
	secret, _ := account["otp_secret"].(string)
	code, err := totp.GenerateCode(secret, time.Now())
	must(t, err)
	p.call("verify-otp", map[string]string{"type": "manual_input", "code": code})
	if got := state("accepted"); got["enrollment"] == nil {
		t.Errorf("enrolled by a one-time code: %v", got)
	}
}

func TestTrap_11_RecoveryCodesAre24CharactersAndEachBringsTheNext(t *testing.T) {
	m := mount(t)
	form := regexp.MustCompile(`^[0-9A-Za-z]{24}$`)
	code := m.held["recovery_code"]
	for range 2 {
		if !form.MatchString(code) {
			t.Fatalf("a code is %q", code)
		}
		next, _ := m.page("maria").call("recover-account", map[string]string{"recovery_code": code})["recovery_code"].(string)
		if next == code {
			t.Error("the same code again")
		}
		code = next
	}
}

func TestTrap_12_DeviceAccountsTakeTheTokenAndASignedJWT(t *testing.T) {
	m := mount(t)
	s := m.newSDK("anna", false)
	for name, bearer := range map[string]string{"the JWT": s.deviceJWT(nil), "the token": s.token} {
		if got := s.account("GET", "", bearer); got.status != 200 {
			t.Errorf("GET by %s: %d %s", name, got.status, got.body)
		}
		if got := s.account("PATCH", `{"push_credentials":{"service":"GCM","token":"another"}}`, bearer); got.status != 200 {
			t.Errorf("PATCH by %s: %d %s", name, got.status, got.body)
		}
	}
	if got := s.account("DELETE", "", s.token); got.status != 204 {
		t.Errorf("DELETE by the token: %d %s", got.status, got.body)
	}
	s = m.newSDK("bert", false)
	if got := s.account("DELETE", "", s.deviceJWT(nil)); got.status != 204 {
		t.Errorf("DELETE by the JWT: %d %s", got.status, got.body)
	}
}
