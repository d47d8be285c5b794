package loginapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"tutela/device/login"
	"tutela/device/otp"
	"tutela/server/access"
	"tutela/storage/audit"
)

const (
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	redirect = "https://shop.example.org/back"
)

func s256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// hosting is a client that opens hosted pages.
func (h *house) hosting() client {
	h.t.Helper()
	return h.client("openid", func(c *access.Client) { c.RedirectURIs = []string{redirect, redirect + "?two"} })
}

// page asks for a hosted page of maria, unless pairs say otherwise.
func (h *house) page(c client, pairs ...string) answer {
	h.t.Helper()
	return h.form("/mfa/requests", c.credentials(append([]string{
		"user_id", "maria",
		"redirect_uri", redirect,
		"state", "xyz",
		"code_challenge", s256(verifier),
	}, pairs...)...)...)
}

// requestOf returns the request in the address of a page.
func (h *house) requestOf(a answer) string {
	h.t.Helper()
	want(h.t, a, 200, "")
	address, request, _ := strings.Cut(a.text("url"), "?request=")
	if address != public+"/mfa/challenge" || len(a.body) != 1 {
		h.t.Fatalf("%s", a.raw)
	}
	request, err := url.QueryUnescape(request)
	h.must(err)
	return request
}

func (h *house) visit(request string) login.Visit {
	return login.Visit{Request: request, Browser: "firefox", Actor: audit.ByUser()}
}

// codeOf satisfies a page by the phone's one-time code, and returns the code that its browser brings back.
func (h *house) codeOf(p *phone, request string) string {
	h.t.Helper()
	ctx := context.Background()
	_, err := h.logins.OpenPage(ctx, h.visit(request))
	h.must(err)
	h.must(h.logins.TypePageOTP(ctx, h.visit(request), h.showOTP(p.TOTP.Secret, 0)))
	h.clock.Advance(otp.Period * time.Second)
	f, err := h.logins.FinishPage(ctx, h.visit(request))
	h.must(err)
	return f.Code
}

func (h *house) exchange(c client, code string, pairs ...string) answer {
	h.t.Helper()
	return h.form("/oauth/token", c.credentials(append([]string{
		"grant_type", "authorization_code",
		"code", code,
		"redirect_uri", redirect,
		"code_verifier", verifier,
	}, pairs...)...)...)
}

func TestPage_CodeGivesTokensOnce(t *testing.T) {
	h := newHouse(t)
	c := h.hosting()
	p := h.enroll("maria")
	code := h.codeOf(p, h.requestOf(h.page(c)))
	a := h.exchange(c, code)
	want(t, a, 200, "")
	claims := claimsOf(t, a.text("id_token"))
	if claims["sub"] != "maria" || claims["aud"] != c.ID || claims["auth_time"] == nil || a.text("access_token") == "" || a.text("scope") != "openid" {
		t.Errorf("%s: %v", a.raw, claims)
	}
	amr, _ := json.Marshal(claims["amr"])
	if string(amr) != `["mfa","otp"]` {
		t.Errorf("amr %s", amr)
	}
	want(t, h.exchange(c, code), 400, "invalid_grant")
}

func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestPage_CodeIsOfOneClientRedirectAndVerifier(t *testing.T) {
	h := newHouse(t)
	c := h.hosting()
	p := h.enroll("maria")
	code := h.codeOf(p, h.requestOf(h.page(c)))
	want(t, h.exchange(h.hosting(), code), 400, "invalid_grant")
	want(t, h.exchange(c, code, "redirect_uri", redirect+"?two"), 400, "invalid_grant")
	want(t, h.exchange(c, code, "code_verifier", strings.Repeat("v", 43)), 400, "invalid_grant")
	want(t, h.exchange(c, code, "code_verifier", "short"), 400, "invalid_request")
	want(t, h.exchange(c, code, "code_verifier", ""), 400, "invalid_request")
	want(t, h.exchange(c, code+"x"), 400, "invalid_grant")
	want(t, h.exchange(c, "", "code", ""), 400, "invalid_request")
	want(t, h.exchange(c, code, "audience", public+"/api/v2/"), 400, "invalid_request")
	want(t, h.exchange(c, code, "audience", public+"/mfa/"), 400, "invalid_request")
	want(t, h.exchange(c, code, "client_secret", "wrong"), 401, "invalid_client")
	h.block("maria")
	want(t, h.exchange(c, code), 400, "access_denied")
}

func TestPage_RefusesWhatItCannotServe(t *testing.T) {
	h := newHouse(t)
	c := h.hosting()
	h.enroll("maria")
	h.requestOf(h.page(c))
	h.requestOf(h.page(c, "purpose", "manage", "code_challenge_method", "S256"))
	h.requestOf(h.page(c, "purpose", "manage", "code_challenge", ""))
	h.requestOf(h.page(c, "redirect_uri", redirect+"?two"))
	for name, pairs := range map[string][]string{
		"no user":            {"user_id", ""},
		"no redirect":        {"redirect_uri", ""},
		"another redirect":   {"redirect_uri", redirect + "/"},
		"no state":           {"state", ""},
		"no challenge":       {"code_challenge", ""},
		"a plain challenge":  {"code_challenge", verifier, "code_challenge_method", "plain"},
		"a short challenge":  {"code_challenge", "abc"},
		"another purpose":    {"purpose", "reset"},
		"a user id too long": {"user_id", strings.Repeat("u", 256)},
	} {
		t.Run(name, func(t *testing.T) { want(t, h.page(c, pairs...), 400, "invalid_request") })
	}
	want(t, h.page(c, "binding_message", strings.Repeat("m", 65)), 400, "invalid_binding_message")
	want(t, h.page(c, "client_secret", "wrong"), 401, "invalid_client")
	want(t, h.page(h.client("openid")), 400, "unauthorized_client")
	h.Set("enrollment.after_reset", "ticket")
	want(t, h.page(c, "user_id", "otto"), 403, "ticket_required")
	h.requestOf(h.page(c, "user_id", "otto", "ticket", h.ticket("otto")))
	h.block("maria")
	want(t, h.page(c), 400, "access_denied")
}

func TestPage_IsInTheDiscoveryDocument(t *testing.T) {
	h := newHouse(t)
	a := h.send("GET", "/.well-known/openid-configuration", "")
	for name, value := range map[string]string{
		"response_types_supported":         "code",
		"code_challenge_methods_supported": "S256",
		"grant_types_supported":            "authorization_code",
	} {
		list, _ := a.body[name].([]any)
		if !slices.Contains(list, any(value)) {
			t.Errorf("%s lacks %s: %v", name, value, a.body[name])
		}
	}
	if a.body["authorization_response_iss_parameter_supported"] != true {
		t.Errorf("%s", a.raw)
	}
}
