package access

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/storage"
	"tutela/storage/audit"
)

// signing is a private key of a client.
type signing struct {
	alg jose.SignatureAlgorithm
	kid string
	key crypto.Signer
}

func newSigning(t testing.TB, alg jose.SignatureAlgorithm, kid string) signing {
	t.Helper()
	var key crypto.Signer
	var err error
	switch alg {
	case jose.RS256, jose.PS256:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		curve := map[jose.SignatureAlgorithm]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521()}[alg]
		key, err = ecdsa.GenerateKey(curve, rand.Reader)
	}
	must(t, err)
	return signing{alg, kid, key}
}

func (s signing) jwk() jose.JSONWebKey { return jose.JSONWebKey{Key: s.key.Public(), KeyID: s.kid} }

// keysOf is the JWK Set of keys.
func keysOf(t testing.TB, list ...signing) json.RawMessage {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, s := range list {
		set.Keys = append(set.Keys, s.jwk())
	}
	text, err := json.Marshal(set)
	must(t, err)
	return text
}

// assertion signs the claims of a right assertion, with changes; a change to nil takes the claim away.
func (h *house) assertion(s signing, clientID string, change map[string]any, header ...string) string {
	h.t.Helper()
	now := h.store.Wall()
	claims := map[string]any{
		"iss": clientID, "sub": clientID, "aud": public + "/", "jti": storage.NewID("", 20),
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	o := &jose.SignerOptions{}
	for i := 0; i < len(header); i += 2 {
		o = o.WithHeader(jose.HeaderKey(header[i]), header[i+1])
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: s.alg, Key: s.key}, o)
	must(h.t, err)
	payload, err := json.Marshal(claims)
	must(h.t, err)
	signed, err := signer.Sign(payload)
	must(h.t, err)
	compact, err := signed.CompactSerialize()
	must(h.t, err)
	return compact
}

func TestAssertion_AuthenticatesByEveryAsymmetricAlgorithmOnce(t *testing.T) {
	h := newHouse(t)
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.RS256, jose.PS256} {
		s := newSigning(t, alg, "")
		c, secret := h.client(Client{Scopes: []string{"openid"}, Keys: keysOf(t, s)})
		if secret != "" {
			t.Error("a client that signs has a secret")
		}
		one := h.assertion(s, c.ID, nil)
		got, err := h.AuthenticateByAssertion(h.ctx(), c.ID, one)
		if err != nil || got.ID != c.ID {
			t.Fatalf("%s: %q, %v", alg, got.ID, err)
		}
		_, err = h.AuthenticateByAssertion(h.ctx(), "", one)
		wantErr(t, err, ErrClient)
		_, err = h.AuthenticateByAssertion(h.ctx(), "", h.assertion(s, c.ID, nil))
		must(t, err)
		_, err = h.Authenticate(h.ctx(), c.ID, "")
		wantErr(t, err, ErrClient)
	}
}

func TestAssertion_RefusesWhatItMust(t *testing.T) {
	h := newHouse(t)
	s := newSigning(t, jose.ES256, "one")
	stranger := newSigning(t, jose.ES256, "one")
	c, _ := h.client(Client{Scopes: []string{"openid"}, Keys: keysOf(t, s)})
	other, _ := h.client(Client{Scopes: []string{"openid"}, Keys: keysOf(t, stranger)})
	at := func(d time.Duration) int64 { return h.store.Wall().Add(d).Unix() }
	for name, assertion := range map[string]string{
		"another's key":       h.assertion(stranger, c.ID, nil),
		"another client":      h.assertion(s, other.ID, nil),
		"unknown client":      h.assertion(s, "nobody", nil),
		"another sub":         h.assertion(s, c.ID, map[string]any{"sub": other.ID}),
		"no sub":              h.assertion(s, c.ID, map[string]any{"sub": nil}),
		"two values of aud":   h.assertion(s, c.ID, map[string]any{"aud": []string{public + "/", public + "/oauth/token"}}),
		"another aud":         h.assertion(s, c.ID, map[string]any{"aud": "https://elsewhere.example/"}),
		"aud without a slash": h.assertion(s, c.ID, map[string]any{"aud": public}),
		"no aud":              h.assertion(s, c.ID, map[string]any{"aud": nil}),
		"no jti":              h.assertion(s, c.ID, map[string]any{"jti": nil}),
		"a long jti":          h.assertion(s, c.ID, map[string]any{"jti": strings.Repeat("x", 256)}),
		"no exp":              h.assertion(s, c.ID, map[string]any{"exp": nil}),
		"expired":             h.assertion(s, c.ID, map[string]any{"exp": at(-2 * time.Minute)}),
		"far away":            h.assertion(s, c.ID, map[string]any{"exp": at(2 * time.Hour)}),
		"a wild exp":          h.assertion(s, c.ID, map[string]any{"exp": 1e300}),
		"iat in the future":   h.assertion(s, c.ID, map[string]any{"iat": at(5 * time.Minute)}),
		"nbf in the future":   h.assertion(s, c.ID, map[string]any{"nbf": at(5 * time.Minute)}),
		"another kid":         h.assertion(s, c.ID, nil, "kid", "two"),
		"another typ":         h.assertion(s, c.ID, nil, "typ", "at+jwt"),
		"no JWT":              "x",
		"empty":               "",
		"alg none":            "eyJhbGciOiJub25lIn0.e30.",
		"too long":            strings.Repeat("x", 10_000),
	} {
		got, err := h.AuthenticateByAssertion(h.ctx(), "", assertion)
		if got.ID != "" {
			t.Errorf("%s: it is %s", name, got.ID)
		}
		wantErr(t, err, ErrClient)
	}
	_, err := h.AuthenticateByAssertion(h.ctx(), other.ID, h.assertion(s, c.ID, nil))
	wantErr(t, err, ErrClient)
	// The client's own secret-like use of a public key: an HMAC by it.
	hmac, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(keysOf(t, s))}, nil)
	must(t, err)
	signed, err := hmac.Sign([]byte(`{"iss":"` + c.ID + `","sub":"` + c.ID + `"}`))
	must(t, err)
	compact, err := signed.CompactSerialize()
	must(t, err)
	_, err = h.AuthenticateByAssertion(h.ctx(), "", compact)
	wantErr(t, err, ErrClient)
}

func TestAssertion_TakesWhatClientsSend(t *testing.T) {
	h := newHouse(t)
	one := newSigning(t, jose.ES256, "one")
	two := newSigning(t, jose.ES256, "two")
	third := newSigning(t, jose.RS256, "")
	c, _ := h.client(Client{Scopes: []string{"openid"}, Keys: keysOf(t, one, two, third)})
	at := func(d time.Duration) int64 { return h.store.Wall().Add(d).Unix() }
	for name, assertion := range map[string]string{
		"the token endpoint":        h.assertion(two, c.ID, map[string]any{"aud": public + "/oauth/token"}),
		"the backchannel endpoint":  h.assertion(two, c.ID, map[string]any{"aud": public + "/bc-authorize"}),
		"an array of one":           h.assertion(two, c.ID, map[string]any{"aud": []string{public + "/"}}),
		"a kid":                     h.assertion(two, c.ID, nil, "kid", "two"),
		"a key without a kid":       h.assertion(third, c.ID, nil),
		"typ JWT":                   h.assertion(one, c.ID, nil, "typ", "jwt"),
		"typ of client assertions":  h.assertion(one, c.ID, nil, "typ", "client-authentication+jwt"),
		"a clock that is behind":    h.assertion(one, c.ID, map[string]any{"exp": at(-30 * time.Second)}),
		"a clock that is ahead":     h.assertion(one, c.ID, map[string]any{"iat": at(30 * time.Second), "nbf": at(30 * time.Second)}),
		"a fraction of a second":    h.assertion(one, c.ID, map[string]any{"exp": float64(at(time.Minute)) + 0.5}),
		"an hour":                   h.assertion(one, c.ID, map[string]any{"exp": at(time.Hour)}),
		"no iat, which is optional": h.assertion(one, c.ID, map[string]any{"iat": nil}),
	} {
		if _, err := h.AuthenticateByAssertion(h.ctx(), c.ID, assertion); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, h.RemoveClient(h.ctx(), audit.ByOperator(0), c.ID))
	_, err := h.AuthenticateByAssertion(h.ctx(), c.ID, h.assertion(one, c.ID, nil))
	wantErr(t, err, ErrClient)
}

// A jti is kept until the assertion cannot count any more, and no longer.
func TestAssertion_IsRememberedUntilItExpires(t *testing.T) {
	h := newHouse(t)
	s := newSigning(t, jose.ES256, "")
	c, _ := h.client(Client{Scopes: []string{"openid"}, Keys: keysOf(t, s)})
	one := h.assertion(s, c.ID, map[string]any{"exp": h.store.Wall().Add(time.Hour).Unix()})
	_, err := h.AuthenticateByAssertion(h.ctx(), "", one)
	must(t, err)
	for range 61 {
		_, err = h.AuthenticateByAssertion(h.ctx(), "", one)
		wantErr(t, err, ErrClient)
		h.clock.Advance(time.Minute)
	}
	// A wall that is set back opens it no more.
	h.clock.Jump(-time.Hour)
	_, err = h.AuthenticateByAssertion(h.ctx(), "", one)
	wantErr(t, err, ErrClient)
	h.clock.Jump(time.Hour)
	h.clock.Advance(assertionReserve)
	_, err = h.store.Sweep(h.ctx())
	must(t, err)
	must(t, h.store.View(h.ctx(), func(tx *storage.Tx) error {
		rows, err := usedAssertions.All(tx, storage.House)
		if len(rows) != 0 {
			t.Errorf("%d are kept", len(rows))
		}
		return err
	}))
}

// A client may be removed, or lose the key, between the check of the signature and the note that the assertion was used.
func TestAssertion_CountsOnlyWhileItsClientHasTheKey(t *testing.T) {
	h := newHouse(t)
	operator := audit.ByOperator(1)
	s := newSigning(t, jose.ES256, "one")
	other := newSigning(t, jose.ES256, "two")
	c, _ := h.client(Client{Scopes: []string{"openid", "read:users"}, Keys: keysOf(t, s)})
	found, err := h.Client(h.ctx(), c.ID)
	must(t, err)
	signed, err := jose.ParseSignedCompact(h.assertion(s, c.ID, nil), assertionAlgs)
	must(t, err)
	use := func(id string) (Client, error) {
		return h.use(h.ctx(), found, signed, jti{key: keyOfJTI(found.ID, id), until: h.store.Now().Add(time.Hour), twice: ErrClient})
	}
	_, err = h.ChangeClient(h.ctx(), operator, c.ID, ClientChange{Keys: ptr(keysOf(t, other, s))})
	must(t, err)
	_, err = use("a key beside it")
	must(t, err)
	_, err = h.ChangeClient(h.ctx(), operator, c.ID, ClientChange{Keys: ptr(keysOf(t, other))})
	must(t, err)
	_, err = use("another key")
	wantErr(t, err, ErrClient)
	must(t, h.RemoveClient(h.ctx(), operator, c.ID))
	_, err = use("no client")
	wantErr(t, err, ErrClient)
}

func TestParseClientKeys_TakesPublicKeysAlone(t *testing.T) {
	s := newSigning(t, jose.ES256, "one")
	private, err := json.Marshal(jose.JSONWebKey{Key: s.key})
	must(t, err)
	secret, err := json.Marshal(jose.JSONWebKey{Key: []byte("a shared secret of many bytes, 32")})
	must(t, err)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	short, err := json.Marshal(jose.JSONWebKey{Key: weak.Public()})
	must(t, err)
	public, err := json.Marshal(s.jwk())
	must(t, err)
	one := string(public)
	for text, says := range map[string]string{
		"":              "JWK Set",
		"[]":            "JWK Set",
		`{"keys":[]}`:   "1 to 20 keys",
		`{"keys":[7]}`:  "no JWK",
		`{"kty":"XY"}`:  "no JWK",
		string(private): "private key",
		string(secret):  "secret key",
		string(short):   "2048",
		`{"keys":[` + one + strings.Repeat(","+one, 20) + `]}`:  "1 to 20 keys",
		strings.Replace(one, `"kty"`, `"use":"enc","kty"`, 1):   "use",
		strings.Replace(one, `"kty"`, `"alg":"RS256","kty"`, 1): "alg",
		strings.Replace(one, `"kty"`, `"alg":"HS256","kty"`, 1): "alg",
		strings.Repeat(" ", 40<<10):                             "KiB",
	} {
		_, err := ParseClientKeys([]byte(text))
		wantErr(t, err, ErrNewClient)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60s: %v, want something about %s", text, err, says)
		}
	}
	for _, text := range []string{one, `{"keys":[` + one + `]}`, string(keysOf(t, s, newSigning(t, jose.EdDSA, "")))} {
		if _, err := ParseClientKeys([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParseClientKeys(f *testing.F) {
	f.Add(string(keysOf(f, newSigning(f, jose.ES256, "one"), newSigning(f, jose.EdDSA, ""))))
	f.Add(`{"kty":"RSA","n":"AQAB","e":"AQAB"}`)
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"","y":""},{"kty":"oct","k":"AA"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseClientKeys([]byte(text))
		if err != nil {
			if !strings.Contains(err.Error(), "") || storage.CodeOf(err) != storage.Invalid {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := ParseClientKeys(keys)
		if err != nil || string(again) != string(keys) {
			t.Errorf("%s is kept as %s, %v", keys, again, err)
		}
	})
}

func FuzzAssertion(f *testing.F) {
	h := newHouse(f)
	s := newSigning(f, jose.ES256, "one")
	c, _ := h.client(Client{Scopes: []string{"openid"}, Keys: keysOf(f, s)})
	good := h.assertion(s, c.ID, nil)
	f.Add(good)
	f.Add(h.assertion(s, c.ID, map[string]any{"aud": []string{}}))
	f.Add("eyJhbGciOiJFUzI1NiIsImNyaXQiOlsieCJdfQ.e30.AA")
	f.Fuzz(func(t *testing.T, assertion string) {
		if _, err := h.AuthenticateByAssertion(t.Context(), "", assertion); err != nil && storage.CodeOf(err) != storage.Denied {
			t.Errorf("%v", err)
		}
	})
}
