package loginapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/server/access"
	"tutela/storage"
)

// signer registers a client with a key, and returns what signs its assertions.
func (h *house) signer(scopes string) (c client, sign func() string) {
	h.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.must(err)
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one"}}})
	h.must(err)
	c = h.client(scopes, func(c *access.Client) { c.Keys = jwks })
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	h.must(err)
	return c, func() string {
		payload, err := json.Marshal(map[string]any{
			"iss": c.ID, "sub": c.ID, "aud": public + "/", "jti": storage.NewID("", 20), "exp": h.clock.Wall().Add(time.Minute).Unix(),
		})
		h.must(err)
		signed, err := signer.Sign(payload)
		h.must(err)
		compact, err := signed.CompactSerialize()
		h.must(err)
		return compact
	}
}

func asserted(assertion string, pairs ...string) []string {
	return append([]string{"client_assertion_type", access.AssertionType, "client_assertion", assertion}, pairs...)
}

func TestAssertion_IsTakenByEveryCallOfAClient(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c, sign := h.signer("openid read:users")
	if c.secret != "" {
		t.Error("it has a secret")
	}
	asked := h.form("/bc-authorize", asserted(sign(), "scope", "openid", "login_hint", "maria", "client_id", c.ID)...)
	want(t, asked, 200, "")
	p.approve(asked)
	want(t, h.form("/oauth/token", asserted(sign(), "grant_type", access.GrantCIBA, "auth_req_id", asked.text("auth_req_id"))...), 200, "")
	want(t, h.form("/oauth/token", asserted(sign(), "grant_type", access.GrantClientCredentials, "audience", public+"/api/v2/")...), 200, "")
	started := h.form("/mfa/start", asserted(sign(), "user_id", "maria")...)
	want(t, started, 200, "")
	challenged := h.form("/mfa/challenge", asserted(sign(), "mfa_token", started.text("mfa_token"))...)
	want(t, challenged, 200, "")
	p.approve(challenged)
	newcomer := h.form("/mfa/start", asserted(sign(), "user_id", "newcomer", "ticket", h.ticket("newcomer"))...)
	want(t, newcomer, 200, "")
	associate := func(assertion string) answer {
		return h.send("POST", "/mfa/associate", values(asserted(assertion, "authenticator_types", "otp")...).Encode(),
			"Content-Type", formType, "Authorization", "Bearer "+newcomer.text("mfa_token"))
	}
	want(t, associate(sign()), 200, "")
	want(t, associate("x"), 401, "invalid_client")
	want(t, h.form("/oauth/token", asserted(sign(), "grant_type", access.GrantOOB, "mfa_token", started.text("mfa_token"), "oob_code", challenged.text("oob_code"))...), 200, "")
}

func TestAssertion_IsRefusedAsAWrongSecretIs(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	c, sign := h.signer("openid")
	other := h.client("openid")
	used := sign()
	ask := func(pairs ...string) answer {
		return h.form("/bc-authorize", append(pairs, "scope", "openid", "login_hint", "maria")...)
	}
	want(t, ask(asserted(used)...), 200, "")
	wantError(t, ask(asserted(used)...), 401, "invalid_client", "the client assertion was used before: sign another, with a jti of its own")
	wantError(t, ask(asserted("x")...), 401, "invalid_client", "the client is unknown, or its secret is wrong")
	wantError(t, ask("client_id", c.ID), 401, "invalid_client", "the client is unknown, or its secret is wrong")
	wantError(t, ask(asserted(sign(), "client_id", other.ID)...), 401, "invalid_client", "the client is unknown, or its secret is wrong")
	wantError(t, ask(asserted(sign(), "client_id", other.ID, "client_secret", other.secret)...), 400, "invalid_request", "the client authenticates in two ways at once")
	wantError(t, ask("client_assertion", sign()), 400, "invalid_request", "client_assertion_type is "+access.AssertionType)
	wantError(t, ask("client_assertion_type", access.AssertionType), 400, "invalid_request", "client_assertion is missing")
	wantError(t, ask(asserted(strings.Repeat("x", 9000))...), 400, "invalid_request", "client_assertion is longer than 8192 bytes")
	a := h.send("POST", "/bc-authorize", values(asserted(sign(), "scope", "openid", "login_hint", "maria")...).Encode(),
		"Content-Type", formType, "Authorization", other.basic())
	wantError(t, a, 400, "invalid_request", "the client authenticates in two ways at once")
}
