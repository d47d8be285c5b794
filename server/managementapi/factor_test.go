package managementapi_test

import (
	"net/http"
	"strings"
	"testing"
)

// The list, as the official clients have recorded it.
func TestFactors_AreListedInAuth0sOrder(t *testing.T) {
	h := newHouse(t)
	got := h.call("GET", "/guardian/factors", "").is(http.StatusOK)
	want := `[{"name":"sms","enabled":false,"trial_expired":false},{"name":"push-notification","enabled":true,"trial_expired":false},` +
		`{"name":"otp","enabled":true,"trial_expired":false},{"name":"email","enabled":false,"trial_expired":false},` +
		`{"name":"duo","enabled":false,"trial_expired":false},{"name":"webauthn-roaming","enabled":true,"trial_expired":false},` +
		`{"name":"webauthn-platform","enabled":true,"trial_expired":false},{"name":"recovery-code","enabled":true,"trial_expired":false}]`
	if strings.TrimSpace(got.body) != want {
		t.Errorf("listed\n%s\nwant\n%s", got.body, want)
	}
}

func TestSetFactor_EchoesTheOneMemberAndIsListed(t *testing.T) {
	h := newHouse(t)
	for _, name := range []string{"push-notification", "otp", "webauthn-roaming", "webauthn-platform", "recovery-code"} {
		for _, body := range []string{`{"enabled":false}`, `{"enabled":true}`} {
			got := h.call("PUT", "/guardian/factors/"+name, body).is(http.StatusOK)
			if strings.TrimSpace(got.body) != body {
				t.Errorf("%s: %s echoes %s", name, body, got.body)
			}
			for _, listed := range h.call("GET", "/guardian/factors", "").is(http.StatusOK).array() {
				want := listed["name"] == name && strings.Contains(body, "true")
				if listed["name"] == name && listed["enabled"] != want {
					t.Errorf("%s after %s: %v", name, body, listed)
				}
			}
		}
	}
	h.call("PUT", "/guardian/factors/otp", `{}`).refused(http.StatusBadRequest, "invalid_body")
	events := h.logsOf("gd_tenant_update")
	if len(events) != 10 {
		t.Fatalf("%d events", len(events))
	}
	if about := events[0]["details"].(map[string]any); about["policy"] != "factor.recovery_code" || about["value"] != "on" {
		t.Errorf("the event says %v", about)
	}
	if calls := h.logsOf("sapi"); len(calls) != 10 || calls[0]["description"] != "Enable or Disable a Multi-factor Authentication Factor" {
		t.Errorf("calls: %v", calls)
	}
}

// What there is no factor for can be set to false, which it is, and is never silently taken as true.
func TestFactors_OfAuth0ThatAreNotHereAreRefused(t *testing.T) {
	h := newHouse(t)
	for _, name := range []string{"sms", "email", "duo"} {
		h.call("PUT", "/guardian/factors/"+name, `{"enabled":false}`).is(http.StatusOK)
		h.call("PUT", "/guardian/factors/"+name, `{"enabled":true}`).refused(http.StatusBadRequest, "method_not_available")
	}
	h.call("PUT", "/guardian/factors/voice", `{"enabled":false}`).refused(http.StatusBadRequest, "method_not_available")
	reader := h.tokenFor("read:guardian_factors")
	writer := h.tokenFor("update:guardian_factors")
	for _, path := range []string{
		"sms", "sms/templates", "sms/selected-provider", "sms/providers/twilio", "phone/message-types", "phone/selected-provider",
		"phone/templates", "phone/twilio", "email", "duo/settings", "push-notification/providers/sns", "nothing/at/all/%2F",
	} {
		path = "/guardian/factors/" + path
		h.call("GET", path, "", reader).refused(http.StatusBadRequest, "method_not_available")
		h.call("GET", path, "", writer).refused(http.StatusForbidden, "insufficient_scope")
		h.call("GET", path, "", "").refused(http.StatusUnauthorized, "invalid_token")
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
			if method == "PUT" && !strings.Contains(strings.TrimPrefix(path, "/guardian/factors/"), "/") {
				continue // that sets the factor
			}
			for _, body := range []string{"", `{"enabled":true}`, `{`} {
				h.call(method, path, body, writer).refused(http.StatusBadRequest, "method_not_available")
				h.call(method, path, body, reader).refused(http.StatusForbidden, "insufficient_scope")
				h.call(method, path, body, "").refused(http.StatusUnauthorized, "invalid_token")
			}
			if got := h.Knock(method, "/api/v2"+path, "Authorization", "Bearer "+reader); got.Status != http.StatusForbidden {
				t.Errorf("%s %s waits for a body: %d", method, path, got.Status)
			}
		}
	}
	if events := h.logsOf("fapi"); len(events) == 0 {
		t.Error("what was refused is no event")
	}
}
