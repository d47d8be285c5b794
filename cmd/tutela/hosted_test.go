package main

import (
	"net/url"

	"tutela/device/login"
	"tutela/storage/audit"
)

// The verifier of the tests' hosted pages, and its S256 challenge.
//
// Source: RFC 7636 appendix B.
const (
	pageVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	pageChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// pageOf returns the parameters of a request for a user's hosted page, and more.
func pageOf(userID string, more ...string) []string {
	return append([]string{"user_id", userID, "redirect_uri", shopURL, "state", "xyz", "code_challenge", pageChallenge}, more...)
}

// leavePage satisfies a hosted page that was asked for by maria's one-time code, and returns the code that its browser brings back.
func (m *mounted) leavePage(asked reply) string {
	m.t.Helper()
	address, err := url.Parse(asked.member("url"))
	m.must(err)
	v := login.Visit{Request: address.Query().Get("request"), Browser: "firefox", Actor: audit.ByUser()}
	_, err = m.house.logins.OpenPage(m.t.Context(), v)
	m.must(err)
	m.must(m.house.logins.TypePageOTP(m.t.Context(), v, m.otp()))
	f, err := m.house.logins.FinishPage(m.t.Context(), v)
	m.must(err)
	return f.Code
}
