package managementapi_test

import (
	"net/http"
	"testing"
)

func TestPasskeySettings_EchoWhatWasSentAndShowAll(t *testing.T) {
	h := newHouse(t)
	const roaming = "/guardian/factors/webauthn-roaming/settings"
	const platform = "/guardian/factors/webauthn-platform/settings"
	fresh := `{"userVerification":"preferred","overrideRelyingParty":false}`
	h.echoes("GET", roaming, "", fresh)
	h.echoes("PUT", roaming, fresh, fresh)
	h.echoes("GET", platform, "", `{"overrideRelyingParty":false}`)
	h.echoes("PUT", platform, `{"overrideRelyingParty":false}`, `{"overrideRelyingParty":false}`)
	h.echoes("PUT", roaming, `{"userVerification":"required"}`, `{"userVerification":"required"}`)
	h.echoes("GET", roaming, "", `{"userVerification":"required","overrideRelyingParty":false}`)
	set := `{"overrideRelyingParty":true,"relyingPartyIdentifier":"example.com"}`
	h.echoes("PUT", platform, set, set)
	h.echoes("GET", platform, "", set)
	h.echoes("GET", roaming, "", `{"userVerification":"required","overrideRelyingParty":true,"relyingPartyIdentifier":"example.com"}`)
	h.echoes("PUT", roaming, `{"overrideRelyingParty":true}`, `{"overrideRelyingParty":true}`) // keeps the domain
	h.echoes("GET", roaming, "", `{"userVerification":"required","overrideRelyingParty":true,"relyingPartyIdentifier":"example.com"}`)
	h.echoes("PUT", platform, `{}`, `{}`)
	h.echoes("GET", roaming, "", `{"userVerification":"required","overrideRelyingParty":false}`)
	for _, bad := range []string{`{"userVerification":"sometimes"}`, `{"overrideRelyingParty":true}`, `{"overrideRelyingParty":true,"relyingPartyIdentifier":"no domain"}`, `[]`} {
		h.call("PUT", roaming, bad).refused(http.StatusBadRequest, "invalid_body")
	}
}

func TestPasskeySettings_AreWeakenedByNoClient(t *testing.T) {
	h := newHouse(t)
	const roaming = "/guardian/factors/webauthn-roaming/settings"
	h.echoes("PUT", roaming, `{"userVerification":"required"}`, `{"userVerification":"required"}`)
	for _, weaker := range []string{"preferred", "discouraged"} {
		h.call("PUT", roaming, `{"userVerification":"`+weaker+`","overrideRelyingParty":true,"relyingPartyIdentifier":"example.com"}`).
			refused(http.StatusForbidden, "policy_weakened")
	}
	h.echoes("GET", roaming, "", `{"userVerification":"required","overrideRelyingParty":false}`)
	h.echoes("PUT", roaming, `{}`, `{}`)
	h.echoes("PUT", roaming, `{"userVerification":null}`, `{}`)
	h.echoes("GET", roaming, "", `{"userVerification":"required","overrideRelyingParty":false}`)
}

func TestGuardianSettings_EchoWhatWasSentAndShowAll(t *testing.T) {
	h := newHouse(t)
	const path = "/guardian/settings"
	fresh := `{"display_remember_me_checkbox":true,"remember_me_default_value":false,"mfa_session_inactivity_timeout":259200,"mfa_session_overall_timeout":2592000}`
	h.echoes("GET", path, "", fresh)
	h.echoes("PUT", path, fresh, fresh)
	h.echoes("PUT", path, `{"mfa_session_overall_timeout":3600,"remember_me_default_value":true}`, `{"remember_me_default_value":true,"mfa_session_overall_timeout":3600}`)
	h.echoes("GET", path, "", `{"display_remember_me_checkbox":true,"remember_me_default_value":true,"mfa_session_inactivity_timeout":259200,"mfa_session_overall_timeout":3600}`)
	h.echoes("PUT", path, `{}`, `{}`)
	h.echoes("GET", path, "", fresh)
	for _, bad := range []string{`{"mfa_session_overall_timeout":-1}`, `{"mfa_session_inactivity_timeout":0}`, `{"mfa_session_overall_timeout":2592001}`, `{"remember_me_default_value":"yes"}`} {
		h.call("PUT", path, bad).refused(http.StatusBadRequest, "invalid_body")
	}
}

func TestMFAPush_AlwaysHasThreeMembers(t *testing.T) {
	h := newHouse(t)
	const path = "/prompts/mfa-push"
	fresh := `{"app_name":null,"apple_app_link":null,"google_app_link":null}`
	h.echoes("GET", path, "", fresh)
	h.echoes("PATCH", path, fresh, fresh)
	h.echoes("PATCH", path, `{}`, fresh)
	h.echoes("PATCH", path, `{"app_name":"Hafenlicht"}`, `{"app_name":"Hafenlicht","apple_app_link":null,"google_app_link":null}`)
	h.echoes("PATCH", path, `{"apple_app_link":"https://apps.apple.com/app/id1"}`, `{"app_name":"Hafenlicht","apple_app_link":"https://apps.apple.com/app/id1","google_app_link":null}`)
	h.echoes("PATCH", path, `{"app_name":""}`, `{"app_name":null,"apple_app_link":"https://apps.apple.com/app/id1","google_app_link":null}`)
	for _, bad := range []string{`{"apple_app_link":"javascript:alert(1)"}`, `{"google_app_link":"http://play.example.com"}`, `{"app_name":7}`} {
		h.call("PATCH", path, bad).refused(http.StatusBadRequest, "invalid_body")
	}
}
