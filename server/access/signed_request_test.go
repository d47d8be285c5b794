package access

import (
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/storage"
	"tutela/storage/audit"
)

// signedRequest signs the claims of a right request, with changes; a change to nil takes the claim away.
func (h *house) signedRequest(s signing, clientID string, change map[string]any, header ...string) string {
	h.t.Helper()
	now := h.store.Wall().Unix()
	claims := map[string]any{"sub": nil, "nbf": now, "scope": "openid", "login_hint": "maria"}
	maps.Copy(claims, change)
	return h.assertion(s, clientID, claims, header...)
}

// signer registers a client that signs its requests.
func (h *house) signer(s signing, more ...signing) Client {
	h.t.Helper()
	c, _ := h.client(Client{Scopes: []string{"openid"}, Keys: keysOf(h.t, append(more, s)...), RequestAlg: string(s.alg)})
	return c
}

func TestOpenRequest_TakesEveryAsymmetricAlgorithmOnce(t *testing.T) {
	h := newHouse(t)
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.RS256, jose.PS256} {
		s := newSigning(t, alg, "")
		c := h.signer(s)
		one := h.signedRequest(s, c.ID, nil)
		claims, err := h.OpenRequest(h.ctx(), c, one)
		if err != nil || !strings.Contains(string(claims), `"login_hint":"maria"`) {
			t.Fatalf("%s: %s, %v", alg, claims, err)
		}
		_, err = h.OpenRequest(h.ctx(), c, one)
		wantErr(t, err, ErrRequest)
		_, err = h.OpenRequest(h.ctx(), c, h.signedRequest(s, c.ID, nil))
		must(t, err)
	}
}

func TestOpenRequest_RefusesWhatItMust(t *testing.T) {
	h := newHouse(t)
	s := newSigning(t, jose.RS256, "one")
	beside := newSigning(t, jose.ES256, "two")
	stranger := newSigning(t, jose.RS256, "one")
	c := h.signer(s, beside)
	other := h.signer(stranger)
	pss := s
	pss.alg = jose.PS256
	at := func(d time.Duration) int64 { return h.store.Wall().Add(d).Unix() }
	with := func(change map[string]any, header ...string) string {
		return h.signedRequest(s, c.ID, change, header...)
	}
	unsigned, _, _ := strings.Cut(with(nil), ".")
	rest := strings.SplitN(with(nil), ".", 3)
	for name, request := range map[string]string{
		"another's key":              h.signedRequest(stranger, c.ID, nil),
		"another client's":           h.signedRequest(s, other.ID, nil),
		"an alg that is not its own": h.signedRequest(beside, c.ID, nil),
		"another alg of the key":     h.signedRequest(pss, c.ID, nil),
		"another kid":                with(nil, "kid", "two"),
		"another typ":                with(nil, "typ", "at+jwt"),
		"the typ of an assertion":    with(nil, "typ", "client-authentication+jwt"),
		"an assertion":               h.assertion(s, c.ID, nil),
		"an assertion and more":      with(map[string]any{"sub": c.ID}),
		"no aud":                     with(map[string]any{"aud": nil}),
		"another aud":                with(map[string]any{"aud": "https://elsewhere.example/"}),
		"an endpoint as aud":         with(map[string]any{"aud": public + "/bc-authorize"}),
		"no iss":                     with(map[string]any{"iss": nil}),
		"no jti":                     with(map[string]any{"jti": nil}),
		"a long jti":                 with(map[string]any{"jti": strings.Repeat("x", 256)}),
		"a jti that is no text":      with(map[string]any{"jti": 7}),
		"no exp":                     with(map[string]any{"exp": nil}),
		"no iat":                     with(map[string]any{"iat": nil}),
		"no nbf":                     with(map[string]any{"nbf": nil}),
		"exp as text":                with(map[string]any{"exp": "soon"}),
		"expired":                    with(map[string]any{"exp": at(-2 * time.Minute)}),
		"far away":                   with(map[string]any{"exp": at(2 * time.Hour)}),
		"long before":                with(map[string]any{"nbf": at(-time.Hour)}),
		"a wild exp":                 with(map[string]any{"exp": 1e300}),
		"a wild exp and nbf":         with(map[string]any{"exp": 1e300, "nbf": 1e300}),
		"iat in the future":          with(map[string]any{"iat": at(5 * time.Minute)}),
		"nbf in the future":          with(map[string]any{"nbf": at(5 * time.Minute)}),
		"no JWT":                     "x",
		"empty":                      "",
		"no signature":               strings.Join(rest[:2], ".") + ".",
		"another's signature":        unsigned + "." + rest[1] + "." + strings.SplitN(h.signedRequest(stranger, c.ID, nil), ".", 3)[2],
		"alg none":                   "eyJhbGciOiJub25lIn0." + rest[1] + ".",
		"encrypted":                  "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.x.x.x.x",
		"too long":                   with(map[string]any{"binding_message": strings.Repeat("x", MaxRequestBytes)}),
	} {
		claims, err := h.OpenRequest(h.ctx(), c, request)
		if claims != nil || err == nil {
			t.Errorf("%s: taken: %s", name, claims)
		}
		wantErr(t, err, ErrRequest)
	}
	// The public key as a shared secret.
	hmac, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(keysOf(t, s))}, nil)
	must(t, err)
	signed, err := hmac.Sign([]byte(`{"iss":"` + c.ID + `"}`))
	must(t, err)
	compact, err := signed.CompactSerialize()
	must(t, err)
	_, err = h.OpenRequest(h.ctx(), c, compact)
	wantErr(t, err, ErrRequest)
}

func TestOpenRequest_TakesWhatClientsSend(t *testing.T) {
	h := newHouse(t)
	s := newSigning(t, jose.ES256, "one")
	c := h.signer(s, newSigning(t, jose.ES256, "two"))
	at := func(d time.Duration) int64 { return h.store.Wall().Add(d).Unix() }
	for name, request := range map[string]string{
		"a kid":                      h.signedRequest(s, c.ID, nil, "kid", "one"),
		"typ JWT":                    h.signedRequest(s, c.ID, nil, "typ", "jwt"),
		"typ of requests":            h.signedRequest(s, c.ID, nil, "typ", "oauth-authz-req+jwt"),
		"an array of one":            h.signedRequest(s, c.ID, map[string]any{"aud": []string{public + "/"}}),
		"an array with the endpoint": h.signedRequest(s, c.ID, map[string]any{"aud": []string{public + "/bc-authorize", public + "/"}}),
		"the user as sub":            h.signedRequest(s, c.ID, map[string]any{"sub": "maria"}),
		"a clock that is behind":     h.signedRequest(s, c.ID, map[string]any{"exp": at(-30 * time.Second)}),
		"a clock that is ahead":      h.signedRequest(s, c.ID, map[string]any{"iat": at(30 * time.Second), "nbf": at(30 * time.Second)}),
		"an hour":                    h.signedRequest(s, c.ID, map[string]any{"exp": at(time.Hour)}),
	} {
		if _, err := h.OpenRequest(h.ctx(), c, request); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A signed request that somebody has read authenticates nobody, and spends no jti of the client's assertions.
func TestOpenRequest_IsNoAssertion(t *testing.T) {
	h := newHouse(t)
	s := newSigning(t, jose.ES256, "")
	c := h.signer(s)
	same := map[string]any{"jti": "the-same"}
	one := h.signedRequest(s, c.ID, same)
	_, err := h.AuthenticateByAssertion(h.ctx(), "", one)
	wantErr(t, err, ErrClient)
	_, err = h.OpenRequest(h.ctx(), c, one)
	must(t, err)
	_, err = h.AuthenticateByAssertion(h.ctx(), "", h.assertion(s, c.ID, same))
	must(t, err)
}

func TestOpenRequest_IsRememberedUntilItExpires(t *testing.T) {
	h := newHouse(t)
	s := newSigning(t, jose.ES256, "")
	c := h.signer(s)
	one := h.signedRequest(s, c.ID, map[string]any{"exp": h.store.Wall().Add(time.Hour).Unix()})
	_, err := h.OpenRequest(h.ctx(), c, one)
	must(t, err)
	for range 61 {
		_, err = h.OpenRequest(h.ctx(), c, one)
		wantErr(t, err, ErrRequest)
		h.clock.Advance(time.Minute)
	}
	h.clock.Jump(-time.Hour) // the wall is set back, and the house's time is not
	_, err = h.OpenRequest(h.ctx(), c, one)
	wantErr(t, err, ErrRequest)
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

func TestOpenRequest_OfManyAtOnceOneCounts(t *testing.T) {
	h := newHouse(t)
	s := newSigning(t, jose.ES256, "")
	c := h.signer(s)
	one := h.signedRequest(s, c.ID, nil)
	var all sync.WaitGroup
	taken := make(chan []byte, 8)
	for range cap(taken) {
		all.Go(func() {
			if claims, err := h.OpenRequest(h.ctx(), c, one); err == nil {
				taken <- claims
			}
		})
	}
	all.Wait()
	if len(taken) != 1 {
		t.Errorf("it was taken %d times", len(taken))
	}
}

// The client that authenticates may be changed or removed before its request is opened.
func TestOpenRequest_CountsOnlyWhileItsClientSignsSo(t *testing.T) {
	h := newHouse(t)
	operator := audit.ByOperator(1)
	s := newSigning(t, jose.ES256, "one")
	second := newSigning(t, jose.RS256, "two")
	c := h.signer(s, second)
	_, err := h.ChangeClient(h.ctx(), operator, c.ID, ClientChange{RequestAlg: ptr("RS256")})
	must(t, err)
	_, err = h.OpenRequest(h.ctx(), c, h.signedRequest(s, c.ID, nil))
	wantErr(t, err, ErrRequest)
	_, err = h.ChangeClient(h.ctx(), operator, c.ID, ClientChange{Keys: ptr(keysOf(t, second))})
	must(t, err)
	_, err = h.OpenRequest(h.ctx(), c, h.signedRequest(s, c.ID, nil))
	wantErr(t, err, ErrClient)
	must(t, h.RemoveClient(h.ctx(), operator, c.ID))
	_, err = h.OpenRequest(h.ctx(), c, h.signedRequest(s, c.ID, nil))
	wantErr(t, err, ErrClient)
}

// A client cannot lose the last key that signs its requests while it is registered for them: it could ask nothing any more.
func TestChangeClient_KeepsAKeyForSignedRequests(t *testing.T) {
	h := newHouse(t)
	operator := audit.ByOperator(1)
	s := newSigning(t, jose.ES256, "one")
	c := h.signer(s)
	other := keysOf(t, newSigning(t, jose.RS256, ""))
	_, err := h.ChangeClient(h.ctx(), operator, c.ID, ClientChange{Keys: &other})
	wantErr(t, err, ErrNewClient)
	changed, err := h.ChangeClient(h.ctx(), operator, c.ID, ClientChange{Keys: &other, RequestAlg: ptr("PS384")})
	must(t, err)
	if changed.RequestAlg != "PS384" {
		t.Errorf("it signs by %s", changed.RequestAlg)
	}
	changed, err = h.ChangeClient(h.ctx(), operator, c.ID, ClientChange{RequestAlg: ptr("")})
	must(t, err)
	if changed.RequestAlg != "" {
		t.Errorf("it signs by %s", changed.RequestAlg)
	}
}

func FuzzOpenRequest(f *testing.F) {
	h := newHouse(f)
	s := newSigning(f, jose.ES256, "one")
	c := h.signer(s)
	f.Add(h.signedRequest(s, c.ID, nil))
	f.Add(h.signedRequest(s, c.ID, map[string]any{"aud": []any{nil}}))
	f.Add("eyJhbGciOiJFUzI1NiIsImNyaXQiOlsieCJdfQ.e30.AA")
	f.Fuzz(func(t *testing.T, request string) {
		if _, err := h.OpenRequest(t.Context(), c, request); err != nil && storage.CodeOf(err) != storage.Invalid {
			t.Errorf("%v", err)
		}
	})
}
