package main

import (
	"encoding/json"
	"strings"

	"github.com/descope/virtualwebauthn"

	"tutela/device"
	"tutela/device/devicetest"
)

// newPasskey associates a passkey of a new user, whom nobody has confirmed yet.
func newPasskey(m *mounted, a *devicetest.Authenticator) (token, code string, credential []byte) {
	m.t.Helper()
	a.Party = partyOf(m)
	token = m.ok(m.form("/mfa/start", "user_id", "key")).member("mfa_token")
	made := m.ok(m.json("POST", "/mfa/associate", map[string]any{"authenticator_types": []string{"webauthn-platform"}}, "Authorization", "Bearer "+token))
	return token, made.member("oob_code"), a.Create(optionsIn(m, made))
}

// optionsIn returns the options that an answer has for a browser.
func optionsIn(m *mounted, r reply) []byte {
	m.t.Helper()
	var members struct {
		PublicKey json.RawMessage `json:"publicKey"`
	}
	m.must(json.Unmarshal(r.body, &members))
	return members.PublicKey
}

func verifyPasskey(m *mounted, token, code string, credential []byte) reply {
	m.t.Helper()
	return m.json("POST", "/mfa/associate/verify", map[string]any{"oob_code": code, "credential": json.RawMessage(credential)}, "Authorization", "Bearer "+token)
}

// passkeyOf makes a passkey of a user.
func passkeyOf(m *mounted) *devicetest.Authenticator {
	m.t.Helper()
	a := devicetest.NewAuthenticator(m.t)
	token, code, credential := newPasskey(m, a)
	m.ok(verifyPasskey(m, token, code, credential))
	return a
}

// passkeyOnPage starts a ticket in the browser of pageCookie, and makes a passkey there that is not connected yet.
func passkeyOnPage(m *mounted, ticket string) (credential string) {
	m.t.Helper()
	started, err := m.house.devices.StartTicket(m.t.Context(), ticket, "", m.held["page_session"])
	m.must(err)
	options, err := m.house.passkeys.BeginByTicket(m.t.Context(), m.house.devices, started.TxID, device.TypePlatform)
	m.must(err)
	a := devicetest.NewAuthenticator(m.t)
	a.Party = partyOf(m)
	return string(a.Create(options))
}

// partyOf is the house as browsers see it: they have no passkeys for an address.
func partyOf(m *mounted) virtualwebauthn.RelyingParty {
	return virtualwebauthn.RelyingParty{ID: "localhost", Origin: strings.Replace(m.url, "127.0.0.1", "localhost", 1)}
}
