package loginapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/server/access"
	"tutela/storage"
)

// requester is a client that signs its requests, and authenticates by the same key.
type requester struct {
	client
	h      *house
	signer jose.Signer
}

func (h *house) requester(change ...func(*access.Client)) requester {
	h.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.must(err)
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one"}}})
	h.must(err)
	c := h.client("openid", append([]func(*access.Client){func(c *access.Client) {
		c.Keys = jwks
		c.RequestAlg = "ES256"
	}}, change...)...)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	h.must(err)
	return requester{c, h, signer}
}

// sign signs claims of now, with a jti and an exp of their own, unless more says otherwise.
func (r requester) sign(more map[string]any) string {
	r.h.t.Helper()
	now := r.h.clock.Wall()
	claims := map[string]any{
		"iss": r.ID, "aud": public + "/", "jti": storage.NewID("", 20),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
	maps.Copy(claims, more)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	payload, err := json.Marshal(claims)
	r.h.must(err)
	return r.signText(string(payload))
}

// signText signs a payload as it is.
func (r requester) signText(payload string) string {
	r.h.t.Helper()
	signed, err := r.signer.Sign([]byte(payload))
	r.h.must(err)
	compact, err := signed.CompactSerialize()
	r.h.must(err)
	return compact
}

// request is sign for a request about maria.
func (r requester) request(more map[string]any) string {
	r.h.t.Helper()
	claims := map[string]any{"scope": "openid", "login_hint": "maria"}
	maps.Copy(claims, more)
	return r.sign(claims)
}

// asserts returns a form by which the client authenticates, with more parameters.
func (r requester) asserts(pairs ...string) []string {
	r.h.t.Helper()
	return asserted(r.sign(map[string]any{"sub": r.ID}), pairs...)
}

func (r requester) send(request string, pairs ...string) answer {
	r.h.t.Helper()
	return r.h.form("/bc-authorize", r.asserts(append([]string{"request", request}, pairs...)...)...)
}

func TestSignedRequest_AsksWithAllThatItSays(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	r := h.requester()
	begun := r.send(r.request(map[string]any{
		"login_hint":            `{"format":"iss_sub","iss":"x","sub":"maria"}`,
		"binding_message":       "Sign in to the bank",
		"requested_expiry":      60,
		"authorization_details": []map[string]any{{"type": "payment", "amount": "12.00"}},
		"ip":                    "203.0.113.7",
		"login_id":              "s1",
		"claim_of_no_meaning":   map[string]any{"a": 1},
	}))
	want(t, begun, 200, "")
	if begun.body["expires_in"] != 60.0 {
		t.Errorf("it expires in %v", begun.body["expires_in"])
	}
	asked := p.approvals()
	if len(asked) != 1 || asked[0].BindingMessage != "Sign in to the bank" {
		t.Errorf("asked %+v", asked)
	}
	p.approve(begun)
	tokens := h.form("/oauth/token", r.asserts("grant_type", access.GrantCIBA, "auth_req_id", begun.text("auth_req_id"))...)
	want(t, tokens, 200, "")
	if details, err := json.Marshal(tokens.body["authorization_details"]); err != nil || string(details) != `[{"amount":"12.00","type":"payment"}]` {
		t.Errorf("details %s %v", details, err)
	}
	want(t, r.send(r.request(map[string]any{"requested_expiry": "60", "aud": []string{public + "/"}})), 200, "")
}

func TestSignedRequest_ARepeatUnderTheSameLoginIDSignsAnother(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	r := h.requester()
	one := r.request(map[string]any{"login_id": "s1"})
	first := r.send(one)
	want(t, first, 200, "")
	wantError(t, r.send(one), 400, "invalid_request", "the signed request was used before: sign another, with a jti of its own")
	again := r.send(r.request(map[string]any{"login_id": "s1"}))
	want(t, again, 200, "")
	if again.text("auth_req_id") != first.text("auth_req_id") {
		t.Error("the repeat is another login")
	}
}

func TestSignedRequest_IsRefusedWithNothingAsked(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	r := h.requester()
	stranger := h.requester()
	const refused = "the signed request is refused: "
	const unsigned = "request is no JWT that the client's key has signed by ES256"
	const aside = "beside a signed request there are only the parameters by which the client authenticates"
	for name, c := range map[string]struct {
		request     string
		beside      []string
		description string
	}{
		"none":                      {request: "", description: "the client is registered for signed requests: request is missing"},
		"unsigned parameters alone": {beside: []string{"scope", "openid", "login_hint", "maria"}, description: "the client is registered for signed requests: request is missing"},
		"a parameter beside it":     {request: r.request(nil), beside: []string{"login_hint", "maria"}, description: aside},
		"another message beside it": {request: r.request(nil), beside: []string{"binding_message", "all is well"}, description: aside},
		"what we do not know":       {request: r.request(nil), beside: []string{"x", "y"}, description: aside},
		"a request_uri beside it":   {request: r.request(nil), beside: []string{"request_uri", "https://x/"}, description: aside},
		"no JWT":                    {request: "x", description: unsigned},
		"another's":                 {request: stranger.request(map[string]any{"iss": r.ID}), description: unsigned},
		"by another":                {request: r.request(map[string]any{"iss": stranger.ID}), description: refused + "iss is the client_id"},
		"for another":               {request: r.request(map[string]any{"client_id": stranger.ID}), description: "client_id in the signed request is not the client that authenticates"},
		"for nobody":                {request: r.request(map[string]any{"client_id": 7}), description: "client_id in the signed request is not the client that authenticates"},
		"to another server":         {request: r.request(map[string]any{"aud": "https://elsewhere.example/"}), description: refused + "aud is the issuer, " + public + "/"},
		"no jti":                    {request: r.request(map[string]any{"jti": nil}), description: refused + "jti is missing, or longer than 255 bytes"},
		"no nbf":                    {request: r.request(map[string]any{"nbf": nil}), description: refused + "exp, iat and nbf must be there"},
		"an assertion":              {request: r.request(map[string]any{"sub": r.ID}), description: refused + "sub is not the client_id: whom the request is about says login_hint"},
		"a request within":          {request: r.request(map[string]any{"request": "x"}), description: "there is no request within a request"},
		"a request_uri within":      {request: r.request(map[string]any{"request_uri": "https://x/"}), description: "there is no request within a request"},
		"a parameter twice":         {request: r.signText(twiceIn(r.payload())), description: "a parameter is there twice"},
		"no scope":                  {request: r.request(map[string]any{"scope": nil}), description: "openid scope must be requested"},
		"no hint":                   {request: r.request(map[string]any{"login_hint": nil}), description: "login_hint is missing"},
		"a hint that is no text":    {request: r.request(map[string]any{"login_hint": map[string]any{"sub": "maria"}}), description: "login_hint is not a text"},
		"too long":                  {request: strings.Repeat("x", 30_000), description: "request is longer than 24576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			pairs := r.asserts(c.beside...)
			if c.request != "" {
				pairs = append(pairs, "request", c.request)
			}
			wantError(t, h.form("/bc-authorize", pairs...), 400, "invalid_request", c.description)
		})
	}
	if asked := p.approvals(); len(asked) != 0 {
		t.Errorf("she is asked %+v", asked)
	}
}

// payload is that of a right request.
func (r requester) payload() string {
	r.h.t.Helper()
	signed, err := jose.ParseSignedCompact(r.request(nil), []jose.SignatureAlgorithm{jose.ES256})
	r.h.must(err)
	return string(signed.UnsafePayloadWithoutVerification())
}

// twiceIn puts a second login_hint into a payload.
func twiceIn(payload string) string { return `{"login_hint":"otto",` + payload[1:] }

func TestSignedRequest_IsOfAClientThatIsRegisteredForIt(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	r := h.requester(func(c *access.Client) { c.RequestAlg = "" })
	wantError(t, r.send(r.request(nil)), 400, "invalid_request",
		"the client is not registered for signed requests: register it with request_alg, or send the parameters as they are")
	want(t, h.form("/bc-authorize", r.asserts("scope", "openid", "login_hint", "maria")...), 200, "")
	bySecret := h.client("openid")
	want(t, h.ask(bySecret, "request", r.request(nil)), 400, "invalid_request")
}

func TestSignedRequest_BringsTheTokenOfAPing(t *testing.T) {
	h := newHouse(t)
	h.logins.WithPings(loopback)
	p := h.enroll("maria")
	to := newPinged(t)
	r := h.requester(func(c *access.Client) {
		c.DeliveryMode = access.DeliveryPing
		c.NotifyAt = to.URL + "/cb"
	})
	wantError(t, r.send(r.request(nil)), 400, "invalid_request", "client_notification_token is missing")
	begun := r.send(r.request(map[string]any{"client_notification_token": pingToken}))
	want(t, begun, 200, "")
	p.approve(begun)
	h.Drain(h.logins.PingHandler())
	wantPing(t, to, begun.text("auth_req_id"))
}

// A request that somebody has read on its way gives him nothing: it authenticates nobody, and counts once.
func TestSignedRequest_OpensNothingElse(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	r := h.requester()
	request := r.request(nil)
	for _, path := range []string{"/bc-authorize", "/oauth/token", "/mfa/start", "/mfa/requests"} {
		want(t, h.form(path, asserted(request, "request", request)...), 401, "invalid_client")
	}
	want(t, h.form("/bc-authorize", "client_id", r.ID, "request", request), 401, "invalid_client")
}
