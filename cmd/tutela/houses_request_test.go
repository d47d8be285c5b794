package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
)

// requester registers a client that signs its requests, and returns what signs a JWT of its own with more claims.
func (m *mounted) requester() (id string, sign func(more map[string]any) string) {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	m.must(err)
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public()}}})
	m.must(err)
	added, _, err := m.house.access.AddClient(m.t.Context(), audit.ByOperator(0), access.Client{
		Name:       "requester",
		Scopes:     []string{"openid"},
		Keys:       jwks,
		RequestAlg: "ES256",
	})
	m.must(err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	m.must(err)
	return added.ID, func(more map[string]any) string {
		now := time.Now()
		claims := map[string]any{
			"iss": added.ID, "aud": m.url + "/", "jti": storage.NewID("", 20),
			"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		}
		maps.Copy(claims, more)
		payload, err := json.Marshal(claims)
		m.must(err)
		signed, err := signer.Sign(payload)
		m.must(err)
		compact, err := signed.CompactSerialize()
		m.must(err)
		return compact
	}
}

// A signed request that was spent at one house is spent at the other, and so is the assertion that came with it.
func TestTwoHouses_ASignedRequestCountsOnceAtBoth(t *testing.T) {
	n := mountNeighbours(t)
	id, sign := n.a.requester()
	request := sign(map[string]any{"scope": "openid", "login_hint": "maria", "binding_message": "Sign in"})
	ask := func(at *mounted, assertion, request string) reply {
		return at.call("POST", "/bc-authorize",
			values("client_assertion_type", access.AssertionType, "client_assertion", assertion, "request", request), "Content-Type", formType)
	}
	assertion := sign(map[string]any{"sub": id})
	n.a.ok(ask(n.a, assertion, request))
	if r := ask(n.b, sign(map[string]any{"sub": id}), request); r.status != 400 || r.member("error") != "invalid_request" {
		t.Errorf("the request again, at the other house: %d %s", r.status, r.body)
	}
	if r := ask(n.b, assertion, sign(map[string]any{"scope": "openid", "login_hint": "maria"})); r.status != 401 || r.member("error") != "invalid_client" {
		t.Errorf("the assertion again, at the other house: %d %s", r.status, r.body)
	}
	n.b.ok(ask(n.b, sign(map[string]any{"sub": id}), sign(map[string]any{"scope": "openid", "login_hint": "maria"})))
}
