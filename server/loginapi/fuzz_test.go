package loginapi_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tutela/server/access"
	"tutela/storage"
)

// bodies are the calls that read a body, and right bodies of each. A word in braces is replaced by what the house holds when the call is
// made: a fuzzer's processes have a house each, and tokens expire.
var bodies = map[string][]string{
	"POST /bc-authorize": {
		"scope=openid&login_hint=maria",
		"scope=openid+x&login_hint=maria&binding_message=Sign+in&requested_expiry=60&ip=203.0.113.7&user_agent=Firefox&login_id=s1&audience=https%3A%2F%2Fx%2F",
		`scope=openid&login_hint=%7B%22format%22%3A%22iss_sub%22%2C%22iss%22%3A%22x%22%2C%22sub%22%3A%22maria%22%7D&client_notification_token=abc`,
		`{"scope":"openid","login_hint":"maria","requested_expiry":60,"authorization_details":[{"type":"payment","amount":1}],"ip":"[::1]:80"}`,
		`{"scope":"openid","login_hint":"{\"format\":\"iss_sub\",\"sub\":\"maria\"}","authorization_details":"[{\"type\":\"x\"}]","user_agent":null}`,
		"request=a.b.c",
	},
	"POST /oauth/token": {
		"grant_type=urn:openid:params:grant-type:ciba&auth_req_id={auth_req_id}",
		`{"grant_type":"urn:openid:params:grant-type:ciba","auth_req_id":"{auth_req_id}","wait":0}`,
		"grant_type=http://auth0.com/oauth/grant-type/mfa-otp&mfa_token={mfa_token}&otp={otp}&remember=true",
		`{"grant_type":"http://auth0.com/oauth/grant-type/mfa-otp","mfa_token":"{mfa_token}","otp":"000 000","audience":"{public}/mfa/","remember":true}`,
		"grant_type=http://auth0.com/oauth/grant-type/mfa-recovery-code&mfa_token={mfa_token}&recovery_code={recovery_code}&scope=openid+enroll&audience={public}/mfa/",
		"grant_type=http://auth0.com/oauth/grant-type/mfa-oob&mfa_token={mfa_token}&oob_code={oob_code}&binding_code=1&remember=false",
		"grant_type=http://auth0.com/oauth/grant-type/mfa-oob&mfa_token={new_token}&oob_code={new_oob_code}",
		`{"grant_type":"urn:tutela:params:grant-type:mfa-webauthn","mfa_token":"{mfa_token}","credential":{"id":"AA","rawId":"AA","type":"public-key","response":{}}}`,
		"grant_type=authorization_code&code=abc&redirect_uri={redirect}&code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		"grant_type=client_credentials&audience={public}/api/v2/&scope=read:users",
	},
	"POST /mfa/start": {
		"user_id=maria&ip=203.0.113.7&user_agent=Firefox",
		`{"user_id":"newcomer","email":"new@example.com","name":"New","ticket":"{ticket}"}`,
		`{"user_id":"maria","remember_token":"{remember_token}","email":null}`,
	},
	"POST /mfa/requests": {
		"user_id=maria&redirect_uri={redirect}&state=xyz&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
		`{"user_id":"newcomer","redirect_uri":"{redirect}","code_challenge":"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM","code_challenge_method":"S256","purpose":"login","ticket":"{ticket}","email":"a@b.c","name":"x","binding_message":"Sign in","ip":"::1","user_agent":"x"}`,
		`{"user_id":"maria","redirect_uri":"{redirect}","purpose":"manage"}`,
	},
	"POST /mfa/challenge": {
		"mfa_token={mfa_token}&challenge_type=otp+oob",
		`{"mfa_token":"{mfa_token}","challenge_type":"oob","authenticator_id":"push|dev_x","audience":"{public}/mfa/"}`,
		`{"mfa_token":"{mfa_token}","challenge_type":"webauthn otp"}`,
	},
	"POST /mfa/associate": {
		`{"authenticator_types":["oob"],"oob_channels":["auth0"]}`,
		`{"authenticator_types":["otp"],"replaces":"dev_x"}`,
		"authenticator_types=webauthn-platform",
		`{"authenticator_types":["webauthn-roaming"]}`,
	},
	"POST /mfa/associate/verify": {
		`{"oob_code":"{new_oob_code}","credential":{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"oA"}}}`,
		`oob_code={new_oob_code}&credential=%7B%7D`,
	},
}

// fuzzed is the API with one of each thing that bodies name.
type fuzzed struct {
	*house
	client    client
	phone     *phone
	requester requester
	ticket    string // of a user who is asked for nothing else
	routes    []string
	held      map[string]string
	calls     int
}

// newFuzzed opens a house for a fuzz target. It fails when there is a call with a body of which there is no right one.
func newFuzzed(f *testing.F) *fuzzed {
	f.Helper()
	h := newHouse(f)
	fz := &fuzzed{
		house:     h,
		phone:     h.enroll("maria"),
		requester: h.requester(),
		ticket:    h.ticket("asked"),
	}
	fz.client = h.client("openid read:users", func(c *access.Client) {
		c.RedirectURIs = []string{redirect}
	})
	for route := range bodies {
		fz.routes = append(fz.routes, route)
	}
	slices.Sort(fz.routes)
	for _, route := range h.srv.App().GetRoutes(true) {
		name := route.Method + " " + route.Path
		reads := route.Method == http.MethodPost || route.Method == http.MethodPut || route.Method == http.MethodPatch
		if reads && bodies[name] == nil {
			f.Errorf("%s: give it a right body, to begin from", name)
		}
	}
	return fz
}

// refill makes anew what is spent and expires, once in a while.
func (f *fuzzed) refill(t *testing.T) {
	t.Helper()
	f.t = t // what fails does so in the call that is tried
	const often = 50
	if f.calls++; f.calls%often != 1 {
		return
	}
	f.clock.Advance(11 * time.Minute)
	_, err := f.store.Sweep(t.Context())
	f.must(err)
	f.held = map[string]string{
		"public":         public,
		"redirect":       redirect,
		"mfa_token":      f.started(f.client, "maria"),
		"new_token":      f.started(f.client, storage.NewID("new-", 12)),
		"recovery_code":  f.phone.RecoveryCode,
		"otp":            f.showOTP(f.phone.TOTP.Secret, 0),
		"ticket":         f.ticket,
		"remember_token": "none",
		"client":         f.requester.ID,
	}
	begun := f.ask(f.client, "login_hint", "maria")
	if begun.status == http.StatusOK {
		f.phone.approve(begun)
		f.held["auth_req_id"] = begun.text("auth_req_id") // decided, so that no call waits
	}
	f.held["oob_code"] = f.challenge(f.client, f.held["mfa_token"], "challenge_type", "oob").text("oob_code")
	f.held["new_oob_code"] = f.with(f.held["new_token"], "POST", "/mfa/associate", `{"authenticator_types":["webauthn-platform"]}`).text("oob_code")
}

// filled is a body with what the house holds in it.
func (f *fuzzed) filled(body string) string {
	if !strings.Contains(body, "{") {
		return body
	}
	now := f.clock.Wall().Unix()
	pairs := []string{
		"{fresh}", storage.NewID("", 20), `"{now}"`, strconv.FormatInt(now, 10), `"{soon}"`, strconv.FormatInt(now+60, 10),
	}
	for name, value := range f.held {
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(body)
}

// judge checks what holds of every answer: it is no failure of the server, and an answer in this API's words.
func (f *fuzzed) judge(t *testing.T, what string, a answer) {
	t.Helper()
	if a.status >= 500 || a.status < 200 {
		t.Fatalf("%s: %d %s", what, a.status, a.raw)
	}
	if a.status >= 400 && (a.text("error") == "" || a.text("error_description") == "" || len(a.body) != 2) {
		t.Errorf("%s: %d is no error of this API: %s", what, a.status, a.raw)
	}
	if a.status != http.StatusNoContent && !json.Valid([]byte(a.raw)) {
		t.Errorf("%s: the answer is no JSON: %s", what, a.raw)
	}
}

// FuzzBodies sends bodies to every call that reads one, as whoever may make it.
func FuzzBodies(f *testing.F) {
	fz := newFuzzed(f)
	for i, route := range fz.routes {
		for _, body := range bodies[route] {
			for kind := range uint8(3) {
				f.Add(uint8(i), kind, body)
			}
		}
	}
	f.Fuzz(func(t *testing.T, route, kind uint8, body string) {
		fz.refill(t)
		name := fz.routes[int(route)%len(fz.routes)]
		method, path, _ := strings.Cut(name, " ")
		header := []string{"Authorization", fz.client.basic()}
		if strings.HasPrefix(path, "/mfa/associate") {
			header[1] = "Bearer " + fz.held["new_token"]
		}
		if content := []string{formType, jsonType, ""}[kind%3]; content != "" {
			header = append(header, "Content-Type", content)
		}
		sent := fz.filled(body)
		a, err := fz.try(method, path, sent, header...)
		if err != nil {
			t.Fatalf("%s %q: %v", name, sent, err)
		}
		fz.judge(t, name+" "+strconv.Quote(sent), a)
	})
}

// FuzzSignedClaims signs claims by a client's key, and sends them as its request or as its assertion.
func FuzzSignedClaims(f *testing.F) {
	fz := newFuzzed(f)
	const common = `"iss":"{client}","aud":"` + public + `/","jti":"{fresh}","iat":"{now}","nbf":"{now}","exp":"{soon}"`
	for _, claims := range []string{
		`{` + common + `,"scope":"openid","login_hint":"maria"}`,
		`{` + common + `,"scope":"openid","login_hint":"{\"format\":\"iss_sub\",\"sub\":\"maria\"}","requested_expiry":"60","binding_message":"x","authorization_details":[{"type":"x"}]}`,
		`{` + common + `,"sub":"{client}"}`,
		`{` + common + `,"sub":"{client}","client_id":"{client}","scope":null}`,
		`null`,
	} {
		f.Add(true, claims)
		f.Add(false, claims)
	}
	f.Fuzz(func(t *testing.T, asRequest bool, claims string) {
		fz.refill(t)
		payload := fz.filled(claims)
		signed := fz.requester.signText(payload)
		pairs := asserted(signed, "grant_type", access.GrantCIBA, "auth_req_id", "arq_x")
		path := "/oauth/token"
		if asRequest {
			pairs = fz.requester.asserts("request", signed)
			path = "/bc-authorize"
		}
		a, err := fz.try("POST", path, values(pairs...).Encode(), "Content-Type", formType)
		if err != nil {
			t.Fatalf("%q: %v", payload, err)
		}
		fz.judge(t, path+" "+strconv.Quote(payload), a)
	})
}
