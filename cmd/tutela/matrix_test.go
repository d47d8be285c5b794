package main

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"tutela/server/access"
	"tutela/server/web/challenge"
	"tutela/storage/keyring"
	"tutela/storage/storagetest/check"
)

// more are the kinds of proofs that access.Kinds does not list: what a phone signs, what a person types, what a
// browser holds.
var more = []string{"device_jwt", "challenge_response", "restore_proof", "consent_proof", "manifest", "recovery_code", "page_session"}

// slot is a place in which a call takes a proof.
type slot struct {
	route string                                     // as the router has it
	place string                                     // of the proof in the call
	takes []string                                   // the kinds that are right there
	offer func(m *mounted, proof string) reply       // makes the call, right in all else
	said  func(t *testing.T, what string, r reply)   // checks a refusal that is no 4xx; nil: wantRefusal
	wants func(r reply) bool                         // tells that a right proof was taken; nil: a 2xx
	keeps func(changed []string) (unwanted []string) // what a refusal may write; nil: nothing
}

// bearing are the routes whose one proof is the bearer token, by how their path begins. Such a call may still be
// refused for something other than its token.
var bearing = []struct {
	prefix string
	takes  []string
}{
	{"/api/v2/", []string{"management_token"}},
	{"/mfa/authenticators/:id", []string{"enrolment_token"}},
	{"/mfa/authenticators", []string{"enrolment_token", string(keyring.MFAToken)}},
	{"/mfa/associate", []string{"enrolment_token"}}, // an mfa_token too, of a new user
	{"/api/start-flow", []string{string(keyring.MFAToken)}},
	{"/api/transaction-state", []string{string(keyring.FlowToken)}},
	{"/api/verify-otp", []string{string(keyring.FlowToken)}},
	{"/api/send-", []string{string(keyring.FlowToken)}},
	{"/api/recover-account", []string{string(keyring.FlowToken)}},
	{"/api/device-accounts/:id/sms-enroll", []string{string(keyring.FlowToken)}},
	{"/api/device-accounts/:id/", []string{"device_jwt"}},
	{"/api/device-accounts/:id", []string{"device_jwt", "device_token"}},
	{"/api/restores/:id/veto", []string{"device_jwt"}},
	{"/api/restores/:id/allow", []string{"device_jwt"}},
	{"/api/restores/:id/dispute", []string{"device_jwt"}},
	{"/api/restores/:id", []string{"restore_token"}},
	{"/api/resolve-transaction", []string{string(keyring.TransactionToken)}},
}

// open are the routes that take no proof.
var open = []string{
	"/", "/openapi.json", "/docs", "/docs/docs.js", "/docs/rapidoc.js", "/healthz", "/readyz", "/.well-known/openid-configuration", "/.well-known/jwks.json", "/.well-known/webauthn", "/.well-known/ssf-configuration",
	"/api/push/web", "/mfa/help", "/mfa/style.css", "/mfa/page.js", "/mfa/mark.svg", "/mfa/trust.js", "/mfa/htmx.js", "/mfa/webauthn.js", "/mfa/passkey.js", "/mfa/logo", "/mfa/brand.css",
}

// slots are the places of all other proofs.
var slots = []slot{
	{
		route: "POST /api/enroll",
		place: "Authorization: Ticket",
		takes: []string{"ticket", "enrollment_tx_id"},
		offer: func(m *mounted, proof string) reply {
			return m.json("POST", "/api/enroll", m.installation(), "Authorization", `Ticket id="`+proof+`"`)
		},
	},
	{
		route: "POST /api/start-flow",
		place: "Authorization: Ticket",
		takes: []string{"ticket"},
		offer: func(m *mounted, proof string) reply {
			return m.call("POST", "/api/start-flow", "", "Authorization", `Ticket id="`+proof+`"`)
		},
	},
	{
		route: "POST /api/recover-account",
		place: "recovery_code",
		takes: []string{"recovery_code"},
		offer: func(m *mounted, proof string) reply {
			return m.json("POST", "/api/recover-account", map[string]string{"recovery_code": proof}, "Authorization", "Bearer "+m.held[string(keyring.FlowToken)])
		},
	},
	{
		route: "POST /api/restores",
		place: "restore_handle",
		takes: []string{"restore_handle"},
		offer: func(m *mounted, proof string) reply {
			return m.json("POST", "/api/restores", m.installation("restore_handle", proof))
		},
		// Any other is a handle that was never made: the same answer as to one that has no backup, and a row like its.
		said: func(t *testing.T, what string, r reply) {
			t.Helper()
			if r.status/100 != 4 && (r.status != 201 || r.member("step") != "first_time_setup" || r.member("reason") != "no_backup") {
				t.Errorf("%s: %d %s", what, r.status, r.body)
			}
		},
		wants: func(r reply) bool { return r.member("step") == "recovery_code" },
		keeps: func(changed []string) []string {
			return slices.DeleteFunc(changed, func(key string) bool {
				return strings.Contains(key, "restore") || strings.Contains(key, "outbox") || strings.Contains(key, "notice") // the notice to nobody
			})
		},
	},
	{
		route: "POST /api/resolve-transaction",
		place: "challenge_response",
		takes: []string{"challenge_response"},
		offer: func(m *mounted, proof string) reply {
			return m.json("POST", "/api/resolve-transaction", map[string]string{"challenge_response": proof},
				"Authorization", "Bearer "+m.held[string(keyring.TransactionToken)])
		},
	},
	{
		route: "GET /rich-consents/:id",
		place: "Authorization: MFA-DPoP",
		takes: []string{string(keyring.TransactionToken)},
		offer: func(m *mounted, proof string) reply {
			return m.call("GET", "/rich-consents/"+m.waiting.ConsentID, "", "Authorization", "MFA-DPoP "+proof, "MFA-DPoP", m.consentProof())
		},
	},
	{
		route: "GET /rich-consents/:id",
		place: "MFA-DPoP",
		takes: []string{"consent_proof"},
		offer: func(m *mounted, proof string) reply {
			return m.call("GET", "/rich-consents/"+m.waiting.ConsentID, "",
				"Authorization", "MFA-DPoP "+m.held[string(keyring.TransactionToken)], "MFA-DPoP", proof)
		},
	},
	{
		route: "POST /api/restores/:id/recovery-code",
		place: "recovery_code",
		takes: []string{"recovery_code"},
		offer: func(m *mounted, proof string) reply {
			return m.json("POST", "/api/restores/"+m.restoreID+"/recovery-code", map[string]string{"recovery_code": proof},
				"Authorization", "Bearer "+m.held["restore_token"])
		},
	},
	{
		route: "POST /api/device-accounts/:id/recovery-code/check",
		place: "recovery_code",
		takes: []string{"recovery_code"},
		offer: func(m *mounted, proof string) reply {
			return m.json("POST", "/api/device-accounts/"+m.phone.Enrollment().ID+"/recovery-code/check",
				map[string]string{"recovery_code": proof}, "Authorization", "Bearer "+m.held["device_jwt"])
		},
		said: func(t *testing.T, what string, r reply) {
			t.Helper()
			if strings.TrimSpace(string(r.body)) != `{"valid":false}` {
				t.Errorf("%s: %d %s", what, r.status, r.body)
			}
		},
		wants: func(r reply) bool { return strings.TrimSpace(string(r.body)) == `{"valid":true}` },
	},
	{
		route: "PUT /api/device-accounts/:id/backup",
		place: "Backup-Manifest",
		takes: []string{"manifest"},
		offer: func(m *mounted, proof string) reply {
			return m.call("PUT", "/api/device-accounts/"+m.phone.Enrollment().ID+"/backup", "", "Content-Type", "application/octet-stream",
				"If-Match", `"1"`, "Backup-Manifest", proof, "Authorization", "Bearer "+m.held["device_jwt"])
		},
	},
	{
		route: "POST /oauth/token",
		place: "auth_req_id",
		takes: []string{"auth_req_id"},
		offer: func(m *mounted, proof string) reply {
			return m.form("/oauth/token", "grant_type", access.GrantCIBA, "auth_req_id", proof)
		},
		wants: func(r reply) bool { return r.member("error") == "authorization_pending" },
	},
	{
		route: "POST /oauth/token",
		place: "mfa_token",
		takes: []string{string(keyring.MFAToken)},
		offer: func(m *mounted, proof string) reply {
			return m.form("/oauth/token", "grant_type", access.GrantRecoveryCode, "mfa_token", proof, "recovery_code", m.held["recovery_code"])
		},
	},
	{
		route: "POST /oauth/token",
		place: "mfa_token with a one-time code",
		takes: []string{string(keyring.MFAToken)},
		offer: func(m *mounted, proof string) reply {
			return m.form("/oauth/token", "grant_type", access.GrantOTP, "mfa_token", proof, "otp", m.otp())
		},
	},
	{
		route: "POST /oauth/token",
		place: "otp", // it takes six digits, which are none of the kinds
		offer: func(m *mounted, proof string) reply {
			return m.form("/oauth/token", "grant_type", access.GrantOTP, "mfa_token", m.held[string(keyring.MFAToken)], "otp", proof)
		},
	},
	{
		route: "POST /oauth/token",
		place: "oob_code",
		takes: []string{"oob_code"},
		offer: func(m *mounted, proof string) reply {
			return m.form("/oauth/token", "grant_type", access.GrantOOB, "mfa_token", m.newcomer, "oob_code", proof)
		},
		wants: func(r reply) bool { return r.member("error") == "authorization_pending" },
	},
	{
		route: "POST /mfa/challenge",
		place: "mfa_token",
		takes: []string{string(keyring.MFAToken)},
		offer: func(m *mounted, proof string) reply { return m.form("/mfa/challenge", "mfa_token", proof) },
	},
	{
		route: "POST /mfa/challenge",
		place: "client_secret",
		takes: []string{"client_secret"},
		offer: func(m *mounted, proof string) reply {
			return m.form("/mfa/challenge", "mfa_token", m.held[string(keyring.MFAToken)], "client_secret", proof)
		},
	},
	{
		route: "POST /oauth/token",
		place: "recovery_code",
		takes: []string{"recovery_code"},
		offer: func(m *mounted, proof string) reply {
			return m.form("/oauth/token", "grant_type", access.GrantRecoveryCode, "mfa_token", m.held[string(keyring.MFAToken)], "recovery_code", proof)
		},
	},
	{
		route: "POST /oauth/token",
		place: "code", // it lives a minute, and is none of the kinds
		offer: func(m *mounted, proof string) reply {
			return m.form("/oauth/token", "grant_type", access.GrantAuthorizationCode, "code", proof, "redirect_uri", shopURL, "code_verifier", pageVerifier)
		},
	},
	{
		route: "POST /mfa/requests",
		place: "ticket",
		takes: []string{"ticket", "enrollment_tx_id"},
		offer: func(m *mounted, proof string) reply {
			m.policy("enrollment.after_reset", "ticket")
			return m.form("/mfa/requests", pageOf("otto", "ticket", proof)...)
		},
	},
	{
		route: "POST /mfa/start",
		place: "ticket",
		takes: []string{"ticket", "enrollment_tx_id"},
		offer: func(m *mounted, proof string) reply {
			m.policy("enrollment.after_reset", "ticket")
			return m.form("/mfa/start", "user_id", "otto", "ticket", proof)
		},
	},
	{
		route: "POST /mfa/start",
		place: "remember_token",
		takes: []string{"remember_token"},
		offer: func(m *mounted, proof string) reply {
			return m.form("/mfa/start", "user_id", "maria", "remember_token", proof)
		},
		// Any other is no token: the person is asked, as without one.
		said: func(t *testing.T, what string, r reply) {
			t.Helper()
			if r.status != 200 || r.member("mfa_token") == "" || strings.Contains(string(r.body), "remembered") {
				t.Errorf("%s: %d %s", what, r.status, r.body)
			}
		},
		wants: func(r reply) bool { return r.member("result_token") != "" && r.member("mfa_token") == "" },
		keeps: func([]string) []string { return nil }, // it begins a login
	},
	challengeSlot("GET /mfa/challenge"),
	challengeSlot("POST /mfa/challenge/number"),
	challengeSlot("POST /mfa/challenge/otp"),
	challengeSlot("POST /mfa/challenge/code"),
	challengeSlot("POST /mfa/challenge/passkey"),
	challengeSlot("POST /mfa/challenge/saved"),
	challengeSlot("POST /mfa/challenge/phone"),
	challengeSlot("POST /mfa/challenge/on"),
	challengeSlot("POST /mfa/challenge/remember"),
	challengeSlot("POST /mfa/challenge/cancel"),
	challengeSlot("GET /mfa/challenge/number"),
	challengeSlot("GET /mfa/challenge/otp"),
	challengeSlot("GET /mfa/challenge/code"),
	challengeSlot("GET /mfa/challenge/passkey"),
	challengeSlot("GET /mfa/challenge/saved"),
	challengeSlot("GET /mfa/challenge/phone"),
	challengeSlot("GET /mfa/challenge/on"),
	challengeSlot("GET /mfa/challenge/remember"),
	challengeSlot("GET /mfa/challenge/cancel"),
	pageSlot("GET /mfa/enrollment"),
	pageSlot("POST /mfa/enrollment/start"),
	pageSlot("POST /mfa/enrollment/code"),
	{
		route: "POST /mfa/enrollment/otp",
		place: "ticket",
		takes: []string{"ticket"},
		offer: func(m *mounted, proof string) reply {
			return m.pageForm("/mfa/enrollment/otp", pageCookie(proof, m.held["page_session"]), "ticket", proof)
		},
		wants: func(r reply) bool { return strings.Contains(string(r.body), "A code has six digits") },
	},
	pageSlot("GET /mfa/enrollment/scan"),
	pageSlot("GET /mfa/enrollment/code"),
	{
		route: "POST /mfa/enrollment/code",
		place: "Cookie",
		takes: []string{"page_session"},
		offer: func(m *mounted, proof string) reply {
			return m.pageForm("/mfa/enrollment/code", pageCookie(m.spent, proof), "ticket", m.spent, "end", m.shown[20:])
		},
		wants: goesOn,
	},
	{
		route: "GET /mfa/enrollment/code",
		place: "Cookie",
		takes: []string{"page_session"},
		offer: func(m *mounted, proof string) reply {
			return m.call("GET", "/mfa/enrollment/code?"+values("ticket", m.spent), "", "Cookie", pageCookie(m.spent, proof))
		},
	},
	// Where a browser goes that is sent back to the address of a form: there is nothing.
	{route: "GET /mfa/enrollment/start", place: "none", offer: func(m *mounted, _ string) reply { return m.call("GET", "/mfa/enrollment/start", "") }},
	{route: "GET /mfa/enrollment/otp", place: "none", offer: func(m *mounted, _ string) reply { return m.call("GET", "/mfa/enrollment/otp", "") }},
	secretSlot("POST /bc-authorize", false, "scope", "openid", "login_hint", "maria"),
	secretSlot("POST /bc-authorize", true, "scope", "openid", "login_hint", "maria"),
	secretSlot("POST /mfa/requests", false, pageOf("maria")...),
	secretSlot("POST /mfa/requests", true, pageOf("maria")...),
	secretSlot("POST /mfa/start", false, "user_id", "maria"),
	secretSlot("POST /mfa/start", true, "user_id", "maria"),
	secretSlot("POST /oauth/token", false, "grant_type", access.GrantRecoveryCode),
	secretSlot("POST /oauth/token", true, "grant_type", access.GrantRecoveryCode),
}

// goesOn reports whether a page was shown, or the browser sent on to the next.
func goesOn(r reply) bool { return r.status == http.StatusOK || r.status == http.StatusSeeOther }

// pageSlot returns the place of a ticket in the enrollment page, in the browser that started the ticket.
func pageSlot(route string) slot {
	method, path, _ := strings.Cut(route, " ")
	return slot{
		route: route,
		place: "ticket",
		takes: []string{"ticket"},
		offer: func(m *mounted, proof string) reply {
			cookie := pageCookie(proof, m.held["page_session"])
			if method == http.MethodGet {
				return m.call(method, path+"?"+values("ticket", proof), "", "Cookie", cookie)
			}
			return m.pageForm(path, cookie, "ticket", proof)
		},
		wants: goesOn,
	}
}

// challengeSlot returns the place of a request in the pages of a challenge, which is none of the kinds. A browser that comes to the address of
// a form is sent to the page, whatever it brings.
func challengeSlot(route string) slot {
	method, path, _ := strings.Cut(route, " ")
	s := slot{
		route: route,
		place: "request",
		offer: func(m *mounted, proof string) reply {
			return m.call(method, path+"?"+values("request", proof), "", "Content-Type", formType, "Cookie", challenge.BrowserCookie+"=firefox")
		},
	}
	if method == http.MethodGet && path != "/mfa/challenge" {
		s.said = func(t *testing.T, what string, r reply) {
			t.Helper()
			if r.status != http.StatusSeeOther {
				t.Errorf("%s: %d %s", what, r.status, r.body)
			}
		}
	}
	return s
}

// sessionSlot returns the place of the secret of a session, which is none of the kinds: that of an admin who is signed in, or of a person
// on her own page. Whoever shows another is refused, asked to sign in, or sent to where it is asked for; the tests of the pages hold
// what each does for the right one.
func sessionSlot(r route) slot {
	return slot{
		route: r.String(),
		place: "Cookie",
		offer: func(m *mounted, proof string) reply {
			body, kind := m.bodyOf(r.method, r.path)
			cookies := fmt.Sprintf("tutela_admin=%[1]s; tutela_own=%[1]s; __Host-tutela_admin=%[1]s; __Host-tutela_own=%[1]s", proof)
			return m.call(r.method, m.fill(r.path), body, "Content-Type", kind, "Cookie", cookies)
		},
		said: func(t *testing.T, what string, got reply) {
			t.Helper()
			asks := slices.Contains([]string{"GET /admin", "GET /mfa/me/left"}, r.String()) && got.status == http.StatusOK // open to everybody
			if !asks && got.status/100 != 4 && got.status != http.StatusSeeOther {
				t.Errorf("%s: %d %s", what, got.status, got.body)
			}
		},
	}
}

// secretSlot returns the place of a client's secret, by Basic or in the form.
func secretSlot(route string, basic bool, pairs ...string) slot {
	_, path, _ := strings.Cut(route, " ")
	s := slot{route: route, place: "client_secret", takes: []string{"client_secret"}}
	s.wants = func(r reply) bool { return r.member("error") != "invalid_client" }
	s.offer = func(m *mounted, proof string) reply { return m.form(path, append(pairs, "client_secret", proof)...) }
	if basic {
		s.place = "Authorization: Basic"
		s.offer = func(m *mounted, proof string) reply {
			credentials := base64.StdEncoding.EncodeToString([]byte(m.client.id + ":" + proof))
			return m.call("POST", path, values(pairs...), "Content-Type", formType, "Authorization", "Basic "+credentials)
		}
	}
	return s
}

// slotsOf returns the places in which a route takes a proof.
func slotsOf(method, path string) []slot {
	var list []slot
	for _, s := range slots {
		if s.route == method+" "+path {
			list = append(list, s)
		}
	}
	if r := (route{method: method, path: path}); len(list) == 0 && r.isPage() {
		return append(list, sessionSlot(r))
	}
	for _, b := range bearing {
		if strings.HasPrefix(path, b.prefix) {
			return append(list, slot{
				route: method + " " + path,
				place: "Authorization: Bearer",
				takes: b.takes,
				offer: func(m *mounted, proof string) reply {
					body, kind := m.bodyOf(method, path)
					return m.call(method, m.fill(path), body, "Content-Type", kind, "Authorization", "Bearer "+proof)
				},
				wants: func(r reply) bool { return r.status != 401 && r.status != 403 },
			})
		}
	}
	return list
}

// A secret of each kind is offered in the place of every other, on every route of the server. Each must be refused in
// the form of the API, with nothing written. Each place must also take its own kind, so that the refusals mean something.
// Kinds and routes come from the code: a new kind without a secret here fails, and so does a new route without a place.
func TestMatrix_NoKindOfTokenIsTakenForAnother(t *testing.T) {
	check.WithoutRace(t)
	if testing.Short() {
		t.Skip("offers every kind of token in every place: run it without -short")
	}
	m := mount(t)
	kinds := slices.Clone(more)
	for _, kind := range access.Kinds {
		kinds = append(kinds, kind.Name)
	}
	for _, kind := range kinds {
		if m.held[kind] == "" {
			t.Errorf("there is no %s to offer: furnish one", kind)
		}
	}
	if held := slices.Sorted(maps.Keys(m.held)); len(held) != len(kinds) {
		t.Errorf("held are %v; kinds are %v", held, kinds)
	}
	for _, route := range m.server.App().GetRoutes(true) {
		if route.Method == "HEAD" || slices.Contains(open, route.Path) {
			continue
		}
		places := slotsOf(route.Method, route.Path)
		if len(places) == 0 {
			t.Errorf("%s %s: which proof does it take, and where?", route.Method, route.Path)
		}
		for _, s := range places {
			t.Run(s.route+" "+s.place, func(t *testing.T) {
				tryWrong(t, m, s, kinds)
				tryRight(t, m, s)
			})
		}
	}
	// Every secret has been sent everywhere by now. None may be in the log.
	for kind, secret := range m.held {
		if strings.Contains(m.log.String(), secret) {
			t.Errorf("the log has a %s", kind)
		}
	}
}

// tryWrong offers every kind that is wrong in a place.
func tryWrong(t *testing.T, m *mounted, s slot, kinds []string) {
	_, path, _ := strings.Cut(s.route, " ")
	s.offer(m, "nonsense") // the very first call may write something
	for _, kind := range kinds {
		if slices.Contains(s.takes, kind) {
			continue
		}
		before := m.contents()
		r := s.offer(m, m.held[kind])
		changed := changes(before, m.contents())
		if s.keeps != nil {
			changed = s.keeps(changed)
		}
		if len(changed) > 0 {
			t.Errorf("%s: wrote %v", kind, changed)
		}
		if s.said != nil {
			s.said(t, kind, r)
		} else {
			wantRefusal(t, kind, path, r)
		}
	}
}

// tryRight offers the kinds that are right in a place. Each but those of calls that only read gets a house of its
// own.
func tryRight(t *testing.T, m *mounted, s slot) {
	for _, kind := range s.takes {
		if !strings.HasPrefix(s.route, "GET ") {
			m = mount(t)
		}
		r := s.offer(m, m.held[kind])
		if taken := r.status/100 == 2; s.wants == nil && !taken || s.wants != nil && !s.wants(r) {
			t.Errorf("%s: it is the right one, and was refused: %d %s", kind, r.status, r.body)
		}
	}
}
