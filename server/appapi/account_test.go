package appapi

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device"
	"tutela/device/phone"
	"tutela/server"
	"tutela/server/servertest"
	"tutela/storage"
	"tutela/storage/audit"
)

func withLimit(perMinute int) func(*server.Config) {
	return func(c *server.Config) { c.Limits.CallsPerAddress = perMinute }
}

func TestAccount_EchoesTheValuesInForce(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria", withPush("GCM", "first"))
	a := h.call("PATCH", path(p, ""), `{"push_credentials":{"service":"APNS","token":"second"},"identifier":"new","name":null}`,
		"Authorization", h.bearer(p))
	h.accepted(a, http.StatusOK)
	want := map[string]any{
		"id": p.Enrollment().ID, "identifier": "new", "name": "Pixel 9",
		"push_credentials": map[string]any{"service": "APNS", "token": "second"},
		"epoch":            h.store.Epoch().String(),
		"push":             "ok",
	}
	if diff := cmp.Diff(want, a.body); diff != "" {
		t.Error(diff)
	}
	for _, body := range []string{"{}", `{"unknown":[1]}`, `{"name":null,"identifier":null,"push_credentials":null,"capabilities":null}`} {
		again := h.call("PATCH", path(p, ""), body, "Authorization", "Bearer "+p.Enrollment().Token)
		if diff := cmp.Diff(want, again.body); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
	}
	read := h.call("GET", "/appliance-mfa"+path(p, ""), "", "Authorization", h.bearer(p))
	h.accepted(read, http.StatusOK)
	if diff := cmp.Diff(want, read.body); diff != "" {
		t.Error(diff)
	}
}

func TestAccount_ShowsTheEpochWhichChangesWhenTheStoreWasPutBack(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria", withPush("GCM", "first"))
	epochs := map[any]bool{}
	for range 2 {
		shown := h.call("GET", path(p, ""), "", "Authorization", h.bearer(p)).body["epoch"]
		patched := h.call("PATCH", path(p, ""), "{}", "Authorization", h.bearer(p)).body["epoch"]
		if text, ok := shown.(string); !ok || !regexp.MustCompile(`^[1-9][0-9]*-[0-9a-f]{16}$`).MatchString(text) || patched != shown {
			t.Errorf("GET shows %v, PATCH %v", shown, patched)
		}
		epochs[shown] = true
		h.must(h.store.NewEpoch(t.Context(), storage.Identity{}))
	}
	if len(epochs) != 2 {
		t.Errorf("the epochs shown: %v", epochs)
	}
}

// webPush is a subscription with the keys of RFC 8291 §5, as a browser's JSON has it.
func webPush(endpoint string) string {
	return `{"endpoint":"` + endpoint + `","expirationTime":null,"keys":{` +
		`"p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",` +
		`"auth":"BTBZMqHH6r4Tts7J_aSIgg"}}`
}

func TestAccount_TakesAWebPushSubscriptionAsItsPushToken(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria", withPush("WEBPUSH", webPush("https://push.example.net/1?a=1&b=2")))
	credentials := func() any {
		return h.call("GET", path(p, ""), "", "Authorization", h.bearer(p)).body["push_credentials"]
	}
	canonical := func(endpoint string) map[string]any {
		return map[string]any{"service": "WEBPUSH", "token": strings.Replace(webPush(endpoint), `,"expirationTime":null`, "", 1)}
	}
	if diff := cmp.Diff(any(canonical("https://push.example.net/1?a=1&b=2")), credentials()); diff != "" {
		t.Error(diff)
	}
	change := func(token string) answer {
		body := h.json(map[string]any{"push_credentials": map[string]any{"service": "WEBPUSH", "token": token}})
		return h.call("PATCH", path(p, ""), body, "Authorization", h.bearer(p))
	}
	h.accepted(change(webPush("https://push.example.net/2")), http.StatusOK)
	h.Unchanged(func() {
		h.refused(change(webPush("https://user:pass@push.example.net/3")), http.StatusBadRequest, "invalid_body")
	})
	if diff := cmp.Diff(any(canonical("https://push.example.net/2")), credentials()); diff != "" {
		t.Error(diff)
	}
}

func TestAccount_LeavesPushCredentialsOutWhole(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	a := h.call("GET", path(p, ""), "", "Authorization", h.bearer(p))
	if _, has := a.body["push_credentials"]; has {
		t.Errorf("iOS fails on %s", a.raw)
	}
}

func TestAccount_RefusesWrongTypesAndChangesNothing(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria", withPush("FCM", "token"))
	_, err := p.Status(t.Context()) // its first call is written down
	h.must(err)
	for _, body := range []string{
		"", "[]", "null", `{"name":7}`, `{"identifier":""}`, `{"name":" "}`, `{"identifier":"a\nb"}`,
		`{"push_credentials":"t"}`, `{"push_credentials":{"service":"FCM"}}`, `{"push_credentials":{"token":"t"}}`,
		`{"push_credentials":{"service":"XMPP","token":"t"}}`, `{"capabilities":"number-matching"}`, `{"name":"a"`,
	} {
		h.Unchanged(func() {
			h.refused(h.call("PATCH", path(p, ""), body, "Authorization", h.bearer(p)), 400, "invalid_body")
		})
	}
}

func TestAccount_ChangesCapabilitiesByJWTAlone(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria", tapOnly)
	const body = `{"capabilities":["number-matching"]}`
	h.refused(h.call("PATCH", path(p, ""), body, "Authorization", "Bearer "+p.Enrollment().Token), 403, "insufficient_scope")
	h.accepted(h.call("PATCH", path(p, ""), body, "Authorization", h.bearer(p)), 200)
	if h.ask("maria").Number == "" {
		t.Error("the app is still asked as one that cannot match numbers")
	}
}

func TestAccount_OfAnotherDeviceIsClosed(t *testing.T) {
	h := newHouse(t)
	maria, _ := h.enroll("maria")
	bert, _ := h.enroll("bert")
	for _, authorization := range []string{h.bearer(bert), "Bearer " + bert.Enrollment().Token} {
		for _, call := range [][2]string{
			{"GET", ""}, {"PATCH", ""}, {"DELETE", ""}, {"GET", "/approvals"}, {"PUT", "/backup"}, {"GET", "/backup"},
			{"DELETE", "/backup"}, {"POST", "/backup/handle"}, {"GET", "/backup/generations"}, {"GET", "/backup/generations/1"},
			{"GET", "/restores"}, {"POST", "/recovery-code/check"}, {"POST", "/recovery-code/lost"},
		} {
			h.Unchanged(func() {
				h.refused(h.call(call[0], path(maria, call[1]), `{"name":"x"}`, "Authorization", authorization), 401, "invalid_token")
			})
			unknown := "/api/device-accounts/dev_0123456789abcdef" + call[1]
			h.refused(h.call(call[0], unknown, `{"name":"x"}`, "Authorization", authorization), 404, "device_account_not_found")
		}
	}
}

func TestAccount_WithoutAuthorizationLooksNothingUp(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	for _, id := range []string{p.Enrollment().ID, "dev_0123456789abcdef"} {
		for _, field := range []string{"", "Bearer", "Bearer ", "Basic " + p.Enrollment().Token, "Bearer a b", "Bearer " + strings.Repeat("a", 9000)} {
			header := []string{}
			if field != "" {
				header = []string{"Authorization", field}
			}
			a := h.call("GET", "/api/device-accounts/"+id, "", header...)
			h.refused(a, 401, "invalid_token")
		}
	}
}

// tampered changes the claims of every device JWT that a phone signs.
func tampered(f func(header, claims map[string]any)) phone.Quirks {
	return phone.Quirks{KeepClock: true, Tamper: func(kind phone.Kind, header, claims map[string]any) {
		if kind == phone.DeviceToken {
			f(header, claims)
		}
	}}
}

func TestAccount_RefusesAJWTThatIsNotExactlyRight(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	other, err := phone.NewKey(phone.ES256)
	h.must(err)
	claim := func(name string, value any) phone.Quirks {
		return tampered(func(_, claims map[string]any) { claims[name] = value })
	}
	now := h.clock.Wall().Unix()
	for name, quirks := range map[string]phone.Quirks{
		"iss of another":        claim("iss", "dev_0123456789abcdef"),
		"sub of another":        claim("sub", "bert"),
		"aud of another":        claim("aud", "https://evil.example.org/appliance-mfa/api/device-accounts"),
		"aud with the id":       claim("aud", "https://mfa.example.org/api/device-accounts/"+p.Enrollment().ID),
		"aud of another call":   claim("aud", "https://mfa.example.org/appliance-mfa/api/resolve-transaction"),
		"no aud":                tampered(func(_, claims map[string]any) { delete(claims, "aud") }),
		"no exp":                tampered(func(_, claims map[string]any) { delete(claims, "exp") }),
		"exp of a string":       claim("exp", strconv.FormatInt(now+60, 10)),
		"a life of three hours": claim("exp", now+3*60*60),
		"exp before iat":        claim("exp", now-1),
		"alg none":              tampered(func(header, _ map[string]any) { header["alg"] = "none" }),
		"alg HS256":             tampered(func(header, _ map[string]any) { header["alg"] = "HS256" }),
		"alg RS256":             tampered(func(header, _ map[string]any) { header["alg"] = "RS256" }),
		"a foreign key":         {ForeignKey: other},
	} {
		t.Run(name, func(t *testing.T) {
			p.SetQuirks(quirks)
			h.Unchanged(func() { h.refused(h.call("GET", path(p, ""), "", "Authorization", h.bearer(p)), 401, "invalid_token") })
		})
	}
}

func TestAccount_TakesEveryBaseThatAnAppMayBeBuiltWith(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	for _, base := range []string{"https://mfa.example.org", "https://mfa.example.org/appliance-mfa", h.url, h.url + "/appliance-mfa"} {
		for _, aud := range []any{base + "/api/device-accounts", []string{"https://other.example.org", base + "/api/device-accounts"}} {
			p.SetQuirks(tampered(func(_, claims map[string]any) { claims["aud"] = aud }))
			h.accepted(h.call("GET", path(p, ""), "", "Authorization", h.bearer(p)), 200)
		}
	}
}

func TestAccount_TellsAClockThatIsWrongFromATokenThatIs(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	for offset, fine := range map[time.Duration]bool{
		4 * time.Minute: true, -4 * time.Minute: true, 2 * time.Hour: false, -48 * time.Hour: false,
	} {
		p.SetQuirks(phone.Quirks{ClockOffset: offset, KeepClock: true})
		a := h.call("GET", path(p, ""), "", "Authorization", h.bearer(p))
		if fine {
			h.accepted(a, 200)
			continue
		}
		h.refused(a, 401, "clock_skew")
		if _, err := http.ParseTime(a.header.Get("Date")); err != nil {
			t.Error(err)
		}
		p.SetQuirks(phone.Quirks{ClockOffset: offset}) // and an app that heeds the Date header comes through
		_, err := p.Status(t.Context())
		h.must(err)
	}
}

func TestAccount_DeletedByTokenComesBackByAJWTWithinSevenDays(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	token := "Bearer " + p.Enrollment().Token
	h.accepted(h.call("DELETE", path(p, ""), "", "Authorization", token), 204)
	h.accepted(h.call("GET", path(p, ""), "", "Authorization", token), 200)
	h.clock.Advance(7*24*time.Hour - time.Minute)
	h.accepted(h.call("GET", path(p, ""), "", "Authorization", h.bearer(p)), 200)
	h.accepted(h.call("DELETE", path(p, ""), "", "Authorization", h.bearer(p)), 204)
	h.refused(h.call("GET", path(p, ""), "", "Authorization", h.bearer(p)), 404, "device_account_not_found")
}

func TestAccount_SuspendedByAnAdminIsNeverNotFound(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	h.change(p.Enrollment().ID, func(e *device.Enrollment) { e.Status = device.Suspended })
	for _, call := range [][2]string{{"GET", ""}, {"PATCH", ""}, {"DELETE", ""}, {"GET", "/approvals"}, {"GET", "/backup"}} {
		h.refused(h.call(call[0], path(p, call[1]), `{"name":"x"}`, "Authorization", h.bearer(p)), 403, "enrollment_suspended")
	}
}

func TestAccount_OpensTheCompanionCallsToTheJWTAlone(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	for _, call := range [][2]string{
		{"GET", "/approvals"}, {"PUT", "/backup"}, {"GET", "/backup"}, {"DELETE", "/backup"}, {"POST", "/backup/handle"},
		{"GET", "/backup/generations"}, {"GET", "/backup/generations/1"}, {"GET", "/restores"}, {"POST", "/recovery-code/check"},
		{"POST", "/recovery-code/lost"},
	} {
		a := h.call(call[0], path(p, call[1]), "{}", "Authorization", "Bearer "+p.Enrollment().Token)
		h.refused(a, 403, "insufficient_scope")
	}
}

func TestAccount_ChargesWrongTokensAndNoOther(t *testing.T) {
	h := newHouse(t, withLimit(2))
	p, _ := h.enroll("maria")
	get := func(authorization string) answer {
		return h.call("GET", path(p, ""), "", "Authorization", authorization, "X-Forwarded-For", "203.0.113.9")
	}
	h.refused(get("Bearer wrong"), 401, "invalid_token")
	h.refused(get(""), 401, "invalid_token")
	h.refused(get("Bearer wrong"), 429, "too_many_attempts")
	h.accepted(get(h.bearer(p)), 200)
	h.clock.Advance(time.Minute)
	h.refused(get("Bearer wrong"), 401, "invalid_token")
}

func TestPractice_TellsWithoutSpending(t *testing.T) {
	h := newHouse(t)
	p, code := h.enroll("maria")
	check := func(typed string) answer {
		return h.call("POST", path(p, "/recovery-code/check"), h.json(map[string]any{"recovery_code": typed}), "Authorization", h.bearer(p))
	}
	for typed, want := range map[string]bool{
		code: true,
		strings.ToLower(code[:8] + "-" + code[8:]): true,
		"7V3KQ9X2M4T8R6W5Y1ZJ0ABV":                 false,
		"typo":                                     false,
		"":                                         false,
	} {
		a := check(typed)
		h.accepted(a, 200)
		if a.body["valid"] != want {
			t.Errorf("%q is %v", typed, a.body["valid"])
		}
	}
	for _, body := range []string{"{}", `{"recovery_code":7}`, `{"recovery_code":null}`, ""} {
		h.refused(h.call("POST", path(p, "/recovery-code/check"), body, "Authorization", h.bearer(p)), 400, "invalid_body")
	}
}

func TestPractice_IsLimitedAfterTenWrongCodes(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	const wrong = `{"recovery_code":"7V3KQ9X2M4T8R6W5Y1ZJ0ABV"}`
	check := func() answer {
		return h.call("POST", path(p, "/recovery-code/check"), wrong, "Authorization", h.bearer(p))
	}
	for range 10 {
		h.accepted(check(), 200)
	}
	a := check()
	h.refused(a, 429, "too_many_attempts")
	if a.header.Get("Retry-After") != "30" {
		t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
	}
}

func TestLoseCode_LeavesItValidUntilAnotherIsShown(t *testing.T) {
	h := newHouse(t)
	p, code := h.enroll("maria")
	lose := func(authorization string) answer {
		return h.call("POST", path(p, "/recovery-code/lost"), "", "Authorization", authorization)
	}
	for range 2 {
		h.accepted(lose(h.bearer(p)), 204)
	}
	h.refused(lose("Bearer "+p.Enrollment().Token), 403, "insufficient_scope")
	h.refused(lose("Bearer a.b.c"), 401, "invalid_token")
	valid, err := p.CheckCode(t.Context(), code)
	h.must(err)
	if !valid {
		t.Error("the lost code counts no longer, and there is no other")
	}
	if lost := h.Events(audit.CodeLost); len(lost) != 1 || lost[0].Detail.Enrollment != p.Enrollment().ID {
		t.Errorf("events %+v", lost)
	}
	_, dropped := h.enroll("maria", func(o *phone.Options) { o.Capabilities = []string{} })
	_, next := h.enroll("maria")
	if valid, err = p.CheckCode(t.Context(), next); err != nil || !valid || dropped != "" {
		t.Errorf("an app that drops it got %q, one that shows it %q: valid %t, %v", dropped, next, valid, err)
	}
	h.must(h.Admins.Suspend(t.Context(), p.Enrollment().ID, servertest.Operator))
	h.refused(lose(h.bearer(p)), 403, "enrollment_suspended")
}
