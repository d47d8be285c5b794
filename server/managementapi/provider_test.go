package managementapi_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"tutela/device/push/pushtest"
)

// echoes fails the test unless a call answers 200 and just this body.
func (h *house) echoes(method, path, body, want string) {
	h.t.Helper()
	if got := h.call(method, path, body).is(http.StatusOK); strings.TrimSpace(got.body) != want {
		h.t.Errorf("%s %s %s: %s, want %s", method, path, body, got.body, want)
	}
}

func TestPushProvider_IsKeptAndSNSIsRefused(t *testing.T) {
	h := newHouse(t)
	const path = "/guardian/factors/push-notification/selected-provider"
	h.echoes("GET", path, "", `{"provider":"guardian"}`)
	h.echoes("PUT", path, `{"provider":"direct"}`, `{"provider":"direct"}`)
	h.echoes("GET", path, "", `{"provider":"direct"}`)
	h.call("PUT", path, `{"provider":"sns"}`).refused(http.StatusBadRequest, "method_not_available")
	h.call("PUT", path, `{"provider":"pigeon"}`).refused(http.StatusBadRequest, "invalid_body")
	h.call("PUT", path, `{}`).refused(http.StatusBadRequest, "invalid_body")
	h.echoes("GET", path, "", `{"provider":"direct"}`)
}

func TestAPNs_IsSetByPUTAndByPATCH(t *testing.T) {
	h := newHouse(t)
	const path = "/guardian/factors/push-notification/providers/apns"
	fresh := `{"bundle_id":null,"sandbox":false,"enabled":false}`
	h.echoes("GET", path, "", fresh)
	h.echoes("PUT", path, fresh, `{"sandbox":false,"bundle_id":null}`)
	h.echoes("PATCH", path, fresh, `{"sandbox":false,"bundle_id":null}`)
	apple := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	p12 := base64.StdEncoding.EncodeToString(apple.Certificate(pkcs12.LegacyRC2, "", ""))
	h.echoes("PUT", path, `{"bundle_id":"com.example.app","sandbox":true,"p12":"`+p12+`"}`, `{"sandbox":true,"bundle_id":"com.example.app"}`)
	h.echoes("GET", path, "", `{"bundle_id":"com.example.app","sandbox":true,"enabled":true}`)
	h.echoes("PATCH", path, `{"sandbox":false}`, `{"sandbox":false,"bundle_id":"com.example.app"}`)
	h.echoes("PUT", path, `{"bundle_id":"com.example.other"}`, `{"sandbox":false,"bundle_id":"com.example.other"}`)
	h.echoes("GET", path, "", `{"bundle_id":"com.example.other","sandbox":false,"enabled":true}`)
	for _, bad := range []string{"dGVzdA==", "%", "", strings.Repeat("A", 60_000)} {
		h.call("PATCH", path, `{"p12":"`+bad+`"}`).refused(http.StatusBadRequest, "invalid_body")
	}
	h.echoes("GET", path, "", `{"bundle_id":"com.example.other","sandbox":false,"enabled":true}`)
}

// The tests of the official clients send nonsense.
func TestFCM_TakesWhateverItIsGivenAndTheLegacyAPIIsRefused(t *testing.T) {
	h := newHouse(t)
	const path = "/guardian/factors/push-notification/providers/fcmv1"
	for _, method := range []string{"PUT", "PATCH"} {
		for _, body := range []string{`{"server_credentials":"tutela"}`, `{"server_credentials":""}`, `{}`, `{"server_credentials":null}`, `{"server_credentials":"` + strings.Repeat("ü", 10_000) + `"}`} {
			h.echoes(method, path, body, `{}`)
		}
		h.call(method, path, `{"server_credentials":"`+strings.Repeat("x", 10_001)+`"}`).refused(http.StatusBadRequest, "invalid_body")
		old := h.call(method, "/guardian/factors/push-notification/providers/fcm", `{"server_key":"x"}`).refused(http.StatusBadRequest, "method_not_available")
		if !strings.Contains(old.body, "Google has ended") {
			t.Errorf("it says %s", old.body)
		}
	}
	if said := h.logsOf("gd_tenant_update"); len(said) == 0 || said[0]["details"].(map[string]any)["status"] != "unusable" {
		t.Errorf("the event says %v", said)
	}
}

func TestGuardianPolicies_AreNoneOrOne(t *testing.T) {
	h := newHouse(t)
	const path = "/guardian/policies"
	h.echoes("GET", path, "", `[]`)
	for _, policies := range []string{`["all-applications"]`, `["confidence-score"]`, `[]`} {
		h.echoes("PUT", path, policies, policies)
		h.echoes("GET", path, "", policies)
	}
	for _, bad := range []string{`["none"]`, `["sometimes"]`, `["all-applications","confidence-score"]`, `{}`, `null`, `[null]`, `"all-applications"`, ``} {
		h.call("PUT", path, bad).refused(http.StatusBadRequest, "invalid_body")
	}
	h.echoes("GET", path, "", `[]`)
}
