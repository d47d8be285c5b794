package loginapi_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
)

// jwks fetches the published keys.
func (h *house) jwks() jose.JSONWebKeySet {
	h.t.Helper()
	a := h.send("GET", "/.well-known/jwks.json", "")
	var set jose.JSONWebKeySet
	h.must(json.Unmarshal([]byte(a.raw), &set))
	return set
}

// verified checks a JWT as a login system does, by the published keys and a library, and returns its header and claims.
func (h *house) verified(token, alg string) (jose.Header, map[string]any) {
	h.t.Helper()
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	h.must(err)
	header := signed.Signatures[0].Header
	keys := h.jwks()
	matching := keys.Key(header.KeyID)
	if len(matching) != 1 || matching[0].Use != "sig" || matching[0].Algorithm != alg || !matching[0].IsPublic() {
		h.t.Fatalf("the key %s is published %d times", header.KeyID, len(matching))
	}
	payload, err := signed.Verify(matching[0])
	h.must(err)
	var claims map[string]any
	h.must(json.Unmarshal(payload, &claims))
	return header, claims
}

// approved is a login of maria that was approved and collected; it returns its auth_req_id and the answer.
func (h *house) approved(p *phone, c client, pairs ...string) (string, answer) {
	h.t.Helper()
	begun := h.ask(c, pairs...)
	want(h.t, begun, 200, "")
	p.approve(begun)
	h.clock.Advance(7 * time.Second)
	id := begun.text("auth_req_id")
	a := h.collect(c, id)
	want(h.t, a, 200, "")
	return id, a
}

var ignoreJTI = cmpopts.IgnoreMapEntries(func(name string, _ any) bool { return name == "jti" })

func TestToken_TokensVerifyByThePublishedKeys(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria|ünï")
	for _, alg := range []string{"ES256", "RS256"} {
		c := h.client("openid profile", func(c *access.Client) { c.IDTokenAlg = alg })
		asked := h.clock.Wall()
		id, a := h.approved(p, c, "login_hint", "maria|ünï", "scope", "openid profile", "audience", "https://api.example.com/")
		now := h.clock.Wall()
		common := map[string]any{
			"iss": public + "/", "sub": "maria|ünï", "iat": float64(now.Unix()), "exp": float64(now.Add(time.Hour).Unix()),
			"auth_time": float64(asked.Unix()), "amr": []any{"mfa", "swk"},
		}
		header, claims := h.verified(a.text("id_token"), alg)
		if header.ExtraHeaders["typ"] != "JWT" {
			t.Errorf("the ID token's typ: %v", header.ExtraHeaders)
		}
		wanted := with(common, "aud", c.ID, "urn:openid:params:jwt:claim:auth_req_id", id)
		if diff := cmp.Diff(wanted, claims); diff != "" {
			t.Errorf("%s: ID token (-want +got):\n%s", alg, diff)
		}
		header, claims = h.verified(a.text("access_token"), alg)
		if header.ExtraHeaders["typ"] != "at+jwt" {
			t.Errorf("the access token's typ: %v", header.ExtraHeaders)
		}
		wanted = with(common, "aud", "https://api.example.com/", "client_id", c.ID, "scope", "openid profile")
		if diff := cmp.Diff(wanted, claims, ignoreJTI); diff != "" || len(claims["jti"].(string)) < 20 {
			t.Errorf("%s: access token (-want +got):\n%s", alg, diff)
		}
	}
}

// with is claims and more.
func with(claims map[string]any, more ...string) map[string]any {
	all := map[string]any{}
	for name, value := range claims {
		all[name] = value
	}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

func TestToken_AnAccessTokenWithoutAudienceIsForTheClient(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	for _, pairs := range [][]string{nil, {"audience", c.ID}} {
		_, a := h.approved(p, c, pairs...)
		if _, claims := h.verified(a.text("access_token"), "ES256"); claims["aud"] != c.ID {
			t.Errorf("aud %v", claims["aud"])
		}
	}
}

func TestToken_AClientWithoutTheScopeOpenIDGetsNoIDToken(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("profile", func(c *access.Client) { c.Grants = []string{access.GrantCIBA, access.GrantRecoveryCode} })
	_, a := h.approved(p, c, "scope", "openid profile")
	if a.text("scope") != "profile" || a.body["id_token"] != nil {
		t.Errorf("answer %s", a.raw)
	}
	// What was granted is said even when it is nothing: left out it would mean all that was asked for.
	token := h.form("/mfa/start", c.credentials("user_id", "maria")...).text("mfa_token")
	redeemed := h.redeem(c, token, p.RecoveryCode)
	want(t, redeemed, 200, "")
	if scope, there := redeemed.body["scope"]; scope != "" || !there || redeemed.body["id_token"] != nil {
		t.Errorf("answer %s", redeemed.raw)
	}
}

func TestToken_AuthTimeSurvivesAClockThatJumps(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	begun := h.ask(c)
	p.approve(begun)
	h.clock.Advance(5 * time.Second)
	h.clock.Jump(-3 * time.Hour)
	a := h.collect(c, begun.text("auth_req_id"))
	_, claims := h.verified(a.text("id_token"), "ES256")
	if claims["auth_time"].(float64) != claims["iat"].(float64)-5 {
		t.Errorf("auth_time %v, iat %v", claims["auth_time"], claims["iat"])
	}
}

func TestJWKS_HasTheNewKeyBeforeItSignsAndTheOldOneAfter(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	_, first := h.approved(p, c)
	before := h.jwks()
	h.must(h.access.Rotate(t.Context(), audit.ByOperator(1000)))
	if n := len(h.jwks().Keys); n != 2*len(before.Keys) {
		t.Fatalf("%d keys, after a rotation %d", len(before.Keys), n)
	}
	_, second := h.approved(p, c)
	h.clock.Advance(access.KeyLead + time.Minute)
	_, third := h.approved(p, c)
	kids := make([]string, 0, 3)
	for _, a := range []answer{first, second, third} {
		header, _ := h.verified(a.text("id_token"), "ES256")
		kids = append(kids, header.KeyID)
	}
	if kids[0] != kids[1] || kids[1] == kids[2] {
		t.Errorf("signed by %v", kids)
	}
}

func TestJWKS_ShowsNoPrivateKeyAndMayBeKept(t *testing.T) {
	h := newHouse(t)
	h.client("openid", func(c *access.Client) { c.IDTokenAlg = "RS256" })
	a := h.send("GET", "/.well-known/jwks.json", "")
	if a.status != 200 || a.header.Get("Content-Type") != jsonType || a.header.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("%d %v", a.status, a.header)
	}
	var set struct{ Keys []map[string]any }
	h.must(json.Unmarshal([]byte(a.raw), &set))
	algs := map[any]bool{}
	for _, key := range set.Keys {
		algs[key["alg"]] = true
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if key[private] != nil {
				t.Errorf("a key has %s", private)
			}
		}
	}
	if !algs["ES256"] || !algs["RS256"] || !algs["EdDSA"] {
		t.Errorf("keys of %v", algs)
	}
}

func TestDiscovery_DescribesWhatIsServed(t *testing.T) {
	h := newHouse(t)
	a := h.send("GET", "/.well-known/openid-configuration", "")
	if a.status != 200 || a.header.Get("Content-Type") != jsonType || a.header.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("%d %v", a.status, a.header)
	}
	for name, value := range map[string]any{
		"issuer":                                     public + "/",
		"token_endpoint":                             public + "/oauth/token",
		"backchannel_authentication_endpoint":        public + "/bc-authorize",
		"jwks_uri":                                   public + "/.well-known/jwks.json",
		"grant_types_supported":                      []any{access.GrantCIBA, access.GrantAuthorizationCode, access.GrantClientCredentials, access.GrantOTP, access.GrantOOB, access.GrantRecoveryCode, access.GrantPasskey},
		"id_token_signing_alg_values_supported":      []any{"ES256", "RS256"},
		"backchannel_token_delivery_modes_supported": []any{"poll", "ping"},
		"token_endpoint_auth_methods_supported":      []any{"client_secret_basic", "client_secret_post", "private_key_jwt"},
	} {
		if diff := cmp.Diff(value, a.body[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, name := range []string{"token_endpoint", "backchannel_authentication_endpoint"} {
		u, err := url.Parse(a.text(name))
		h.must(err)
		want(t, h.form(u.Path), 401, "invalid_client")
	}
}

// management asks for a management token.
func (h *house) management(c client, pairs ...string) answer {
	h.t.Helper()
	pairs = append([]string{"grant_type", access.GrantClientCredentials, "audience", public + "/api/v2/"}, pairs...)
	return h.form("/oauth/token", c.credentials(pairs...)...)
}

func TestManagementToken_HasTheClientsScopesAndIsAnEvent(t *testing.T) {
	h := newHouse(t)
	c := h.client("read:users reset:mfa")
	for asked, granted := range map[string]string{
		"": "read:users reset:mfa", "reset:mfa": "reset:mfa", "reset:mfa delete:users": "reset:mfa", "delete:users": "",
	} {
		a := h.management(c, "scope", asked)
		want(t, a, 200, "")
		if a.text("scope") != granted || a.body["expires_in"] != 86400.0 || a.text("token_type") != "Bearer" || len(a.body) != 4 {
			t.Errorf("%q: %s", asked, a.raw)
		}
		caller, err := h.access.VerifyManagement(t.Context(), a.text("access_token"))
		h.must(err)
		for _, scope := range []string{"read:users", "reset:mfa", "delete:users"} {
			if caller.Has(scope) != strings.Contains(granted, scope) || caller.By() != "client:"+c.ID {
				t.Errorf("%q: the caller is %+v", asked, caller)
			}
		}
	}
	a := h.management(c, "audience", h.url+"/api/v2/") // the other public URL
	want(t, a, 200, "")
	header, claims := h.verified(a.text("access_token"), "ES256")
	if header.ExtraHeaders["typ"] != "at+jwt" || claims["aud"] != h.url+"/api/v2/" || claims["iss"] != public+"/" ||
		claims["sub"] != c.ID+"@clients" || claims["gty"] != "client-credentials" || claims["exp"].(float64)-claims["iat"].(float64) != 86400 {
		t.Errorf("claims %v", claims)
	}
	for _, e := range h.Events(audit.TokenGiven) {
		if e.Client != c.ID {
			t.Errorf("event %+v", e)
		}
	}
	if n := len(h.Events(audit.TokenGiven)); n != 5 {
		t.Errorf("%d events of five tokens", n)
	}
}

func TestManagementToken_IsRefusedForEveryOtherAudience(t *testing.T) {
	h := newHouse(t)
	c := h.client("read:users")
	audiences := []string{"", public + "/api/v2", public + "/", public + "/mfa/", c.ID, "HTTPS://mfa.example.org/api/v2/", "https://api.example.com/"}
	for _, audience := range audiences {
		wantError(t, h.management(c, "audience", audience), 403, "access_denied", "the audience of a token for management calls is "+public+"/api/v2/")
	}
	want(t, h.management(c, "audience", strings.Repeat("x", 5000)), 400, "invalid_request")
	if n := len(h.Events(audit.TokenRefused)); n != len(audiences) {
		t.Errorf("%d events of %d refusals", n, len(audiences))
	}
}

func TestManagementToken_OfAClientWithoutTheGrantIsRefused(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	wantError(t, h.management(c), 400, "unauthorized_client", "the client may not use this grant")
	if e := h.Events(audit.TokenRefused); len(e) != 1 || e[0].Client != c.ID {
		t.Errorf("events %+v", e)
	}
}

func TestToken_OfAUserIsNoManagementToken(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid read:users")
	_, a := h.approved(p, c, "scope", "openid read:users")
	for _, name := range []string{"id_token", "access_token"} {
		if _, err := h.access.VerifyManagement(t.Context(), a.text(name)); storage.CodeOf(err) != storage.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
}
