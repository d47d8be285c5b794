package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tutela/storage"
	"tutela/storage/audit"
)

// read verifies a token as a foreign program does, and returns its header and claims.
func (h *house) read(token string) (jose.Header, map[string]any) {
	h.t.Helper()
	if !holds(published(h.t, h.Service), token) {
		h.t.Fatal("the token does not verify by the JWKS")
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{es256, rs256})
	must(h.t, err)
	claims := map[string]any{}
	must(h.t, parsed.UnsafeClaimsWithoutVerification(&claims))
	return parsed.Headers[0], claims
}

var login = Login{
	UserID:    "auth0|Zoë \"Z\" <z>",
	At:        noon.Add(-time.Minute),
	AMR:       []string{"mfa", "swk"},
	AuthReqID: "arq_1",
}

func TestIDToken_SaysWhatCIBAWants(t *testing.T) {
	h := newHouse(t)
	c, _ := h.client(Client{Scopes: []string{"openid"}})
	token, err := h.IDToken(h.ctx(), c, login)
	must(t, err)
	header, claims := h.read(token)
	if header.Algorithm != "ES256" || header.ExtraHeaders["typ"] != "JWT" {
		t.Errorf("header %+v", header)
	}
	want := map[string]any{
		"iss": public + "/", "sub": login.UserID, "aud": c.ID, "iat": float64(noon.Unix()),
		"exp": float64(noon.Add(time.Hour).Unix()), "auth_time": float64(noon.Unix() - 60), "amr": []any{"mfa", "swk"},
		"urn:openid:params:jwt:claim:auth_req_id": "arq_1",
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	plain, err := h.IDToken(h.ctx(), c, Login{UserID: "u", AMR: []string{"mfa", "rc"}})
	must(t, err)
	if _, claims := h.read(plain); claims["urn:openid:params:jwt:claim:auth_req_id"] != nil {
		t.Error("a login of no CIBA has an auth_req_id")
	}
}

func TestAccessToken_IsForTheClientUnlessAnAudienceIsNamed(t *testing.T) {
	h := newHouse(t)
	c, _ := h.client(Client{Scopes: []string{"openid", "read:users"}})
	for audience, want := range map[string]string{"": c.ID, c.ID: c.ID, "https://api.example/": "https://api.example/"} {
		token, err := h.AccessToken(h.ctx(), c, login, audience, []string{"openid", "delete:users"})
		must(t, err)
		header, claims := h.read(token)
		if header.Algorithm != "ES256" || header.ExtraHeaders["typ"] != "at+jwt" {
			t.Errorf("header %+v", header)
		}
		if jti, _ := claims["jti"].(string); len(jti) < 20 {
			t.Errorf("jti %q", jti)
		}
		delete(claims, "jti")
		expected := map[string]any{
			"iss": public + "/", "sub": login.UserID, "aud": want, "iat": float64(noon.Unix()), "client_id": c.ID,
			"exp": float64(noon.Add(time.Hour).Unix()), "auth_time": float64(noon.Unix() - 60), "amr": []any{"mfa", "swk"},
			"scope": "openid",
		}
		if diff := cmp.Diff(expected, claims); diff != "" {
			t.Errorf("claims (-want +got):\n%s", diff)
		}
	}
}

func TestAccessToken_HasNoAudienceOfOursNorOfAnotherClient(t *testing.T) {
	h := newHouse(t)
	c, _ := h.client(Client{Scopes: []string{"openid"}})
	other, _ := h.client(Client{Scopes: []string{"openid"}})
	for _, audience := range []string{
		public + "/api/v2/", public + "/api/v2", public + "/mfa/", public + "/mfa", second + "/api/v2/", second + "/mfa/",
		"HTTPS://MFA.example.org/api/v2/", public + "/api/v2//", other.ID, "\xff", strings.Repeat("x", 5000),
	} {
		token, err := h.AccessToken(h.ctx(), c, login, audience, nil)
		wantErr(t, err, ErrAudience)
		if token != "" {
			t.Errorf("a token for %.40q", audience)
		}
	}
}

func TestManagementToken_VerifiesToItsClient(t *testing.T) {
	h := newHouse(t)
	boss := h.user("boss")
	c, _ := h.client(Client{Scopes: []string{"read:users", "reset:mfa"}, ActsAs: boss})
	for _, audience := range []string{public + "/api/v2/", second + "/api/v2/"} {
		token, scopes, err := h.ManagementToken(h.ctx(), c, audience, nil)
		must(t, err)
		if diff := cmp.Diff(c.Scopes, scopes); diff != "" {
			t.Error(diff)
		}
		header, claims := h.read(token)
		if header.ExtraHeaders["typ"] != "at+jwt" || claims["aud"] != audience || claims["gty"] != "client-credentials" ||
			claims["scope"] != "read:users reset:mfa" || claims["exp"] != float64(noon.Add(24*time.Hour).Unix()) {
			t.Errorf("header %+v, claims %+v", header, claims)
		}
		got, err := h.VerifyManagement(h.ctx(), token)
		must(t, err)
		want := audit.ByClient(c.ID, c.Scopes, boss)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(audit.Actor{})); diff != "" {
			t.Errorf("caller (-want +got):\n%s", diff)
		}
	}
	if events := h.events(audit.TokenGiven); len(events) != 2 || events[0].Client != c.ID {
		t.Errorf("events %+v", events)
	}
}

func TestManagementToken_HasNoMoreScopeThanTheClient(t *testing.T) {
	h := newHouse(t)
	c, _ := h.client(Client{Scopes: []string{"read:users", "reset:mfa"}})
	token, scopes, err := h.ManagementToken(h.ctx(), c, h.ManagementAudience(), []string{"read:users", "delete:users"})
	must(t, err)
	caller, err := h.VerifyManagement(h.ctx(), token)
	must(t, err)
	if strings.Join(scopes, " ") != "read:users" || !caller.Has("read:users") || caller.Has("reset:mfa") || caller.Has("delete:users") {
		t.Errorf("scopes %v, caller %+v", scopes, caller)
	}
}

func TestManagementToken_IsRefusedWithAnEvent(t *testing.T) {
	h := newHouse(t)
	program, _ := h.client(Client{Scopes: []string{"read:users"}})
	system, _ := h.client(Client{Scopes: []string{"openid"}})
	_, _, err := h.ManagementToken(h.ctx(), system, h.ManagementAudience(), nil)
	wantErr(t, err, ErrGrant)
	for _, audience := range []string{"", public, public + "/api/v2", public + "/api/v2/x", strings.ToUpper(public) + "/api/v2/", "https://else/api/v2/"} {
		_, _, err := h.ManagementToken(h.ctx(), program, audience, nil)
		wantErr(t, err, ErrManagementAudience)
	}
	if events := h.events(audit.TokenRefused); len(events) != 7 {
		t.Errorf("%d events", len(events))
	}
	must(t, h.RemoveClient(h.ctx(), audit.ByOperator(1), program.ID))
	_, _, err = h.ManagementToken(h.ctx(), program, h.ManagementAudience(), nil)
	wantErr(t, err, ErrClient)
	if events := h.events(audit.TokenGiven); len(events) != 0 {
		t.Errorf("events %+v", events)
	}
}

func TestVerifyManagement_LooksAtTheClientOfNow(t *testing.T) {
	h := newHouse(t)
	boss := h.user("boss")
	c, _ := h.client(Client{Scopes: []string{"read:users", "reset:mfa"}, ActsAs: boss})
	token, _, err := h.ManagementToken(h.ctx(), c, h.ManagementAudience(), nil)
	must(t, err)
	change := func(change func(*registered)) {
		t.Helper()
		must(t, h.store.Update(h.ctx(), func(tx *storage.Tx) error {
			stored, err := client(tx, c.ID)
			must(t, err)
			change(stored)
			return clients.Put(tx, storage.House, c.ID, stored)
		}))
	}
	change(func(r *registered) { r.Scopes = []string{"read:users", "delete:users"} })
	caller, err := h.VerifyManagement(h.ctx(), token)
	must(t, err)
	if !caller.Has("read:users") || caller.Has("reset:mfa") || caller.Has("delete:users") {
		t.Errorf("caller %+v", caller)
	}
	change(func(r *registered) { r.Grants = []string{GrantCIBA} })
	_, err = h.VerifyManagement(h.ctx(), token)
	wantErr(t, err, ErrToken)
	change(func(r *registered) { r.Grants = []string{GrantClientCredentials} })
	must(t, h.store.Update(h.ctx(), func(tx *storage.Tx) error {
		_, err := storage.Purge(tx, boss, false, storage.MFA, storage.Account)
		return err
	}))
	_, err = h.VerifyManagement(h.ctx(), token)
	wantErr(t, err, ErrToken)
	change(func(r *registered) { r.ActsAs = storage.House })
	_, err = h.VerifyManagement(h.ctx(), token)
	must(t, err)
	must(t, h.RemoveClient(h.ctx(), audit.ByOperator(1), c.ID))
	_, err = h.VerifyManagement(h.ctx(), token)
	wantErr(t, err, ErrToken)
}

func TestVerifyManagement_JudgesByTheWallClock(t *testing.T) {
	h := newHouse(t)
	c, _ := h.client(Client{Scopes: []string{"read:users"}})
	token, _, err := h.ManagementToken(h.ctx(), c, h.ManagementAudience(), nil)
	must(t, err)
	for _, step := range []struct {
		advance time.Duration
		ok      bool
	}{{ManagementLife - time.Second, true}, {time.Second, false}, {time.Hour, false}} {
		h.clock.Advance(step.advance)
		_, err := h.VerifyManagement(h.ctx(), token)
		if step.ok {
			must(t, err)
		} else {
			wantErr(t, err, ErrToken)
		}
	}

	// A token from a time that the clock has been taken back from is as good as none.
	token, _, err = h.ManagementToken(h.ctx(), c, h.ManagementAudience(), nil)
	must(t, err)
	h.clock.Jump(-clockLeeway)
	_, err = h.VerifyManagement(h.ctx(), token)
	must(t, err)
	h.clock.Jump(-time.Second)
	_, err = h.VerifyManagement(h.ctx(), token)
	wantErr(t, err, ErrToken)
}

// segment encodes a part of a JWS.
func segment(v any) string {
	b, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(b)
}

func TestVerifyManagement_RefusesWhatWeDidNotSign(t *testing.T) {
	h := newHouse(t)
	c, secret := h.client(Client{Scopes: []string{"read:users"}, IDTokenAlg: "RS256"})
	token, _, err := h.ManagementToken(h.ctx(), c, h.ManagementAudience(), nil)
	must(t, err)
	parts := strings.Split(token, ".")
	kid := kidOf(t, token)
	_, claims := h.read(token)
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	forge := func(alg jose.SignatureAlgorithm, key any, typ string, kid string) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key},
			(&jose.SignerOptions{}).WithHeader("kid", kid).WithType(jose.ContentType(typ)))
		must(t, err)
		forged, err := jwt.Signed(signer).Claims(claims).Serialize()
		must(t, err)
		return forged
	}
	claims["scope"] = "reset:mfa"
	otherHouse := newHouse(t)
	otherClient, _ := otherHouse.client(Client{Scopes: []string{"read:users"}})
	otherToken, _, err := otherHouse.ManagementToken(t.Context(), otherClient, otherHouse.ManagementAudience(), nil)
	must(t, err)
	publicKey, err := h.keys.Load().signing(es256, h.store.Now()).stored.Public.MarshalJSON()
	must(t, err)
	flipped := []byte(token)
	flipped[len(flipped)-10] ^= 1
	_, err = h.VerifyManagement(h.ctx(), token) // what is remembered of it must help no other
	must(t, err)

	for name, bad := range map[string]string{
		"nothing":                    "",
		"dots":                       "..",
		"one part":                   "x",
		"two parts":                  parts[0] + "." + parts[1],
		"four parts":                 token + ".x",
		"no signature":               parts[0] + "." + parts[1] + ".",
		"a padded signature":         token + "==",
		"a space after":              token + " ",
		"a flipped bit":              string(flipped),
		"other claims":               parts[0] + "." + segment(claims) + "." + parts[2],
		"alg none":                   segment(map[string]string{"alg": "none", "typ": "at+jwt", "kid": kid}) + "." + parts[1] + ".",
		"alg none and the signature": segment(map[string]string{"alg": "none", "typ": "at+jwt", "kid": kid}) + "." + parts[1] + "." + parts[2],
		"the public key as a secret": forge(jose.HS256, publicKey, "at+jwt", kid),
		"the client's secret":        forge(jose.HS256, []byte(secret), "at+jwt", kid),
		"a foreign key, our kid":     forge(jose.ES256, foreign, "at+jwt", kid),
		"a foreign key, its kid":     forge(jose.ES256, foreign, "at+jwt", "x"),
		"our RS256 key":              forge(jose.RS256, h.keys.Load().signing(rs256, h.store.Now()).private, "at+jwt", kid),
		"our key, typ JWT":           forge(jose.ES256, h.keys.Load().signing(es256, h.store.Now()).private, "JWT", kid),
		"another installation's":     otherToken,
		"long":                       parts[0] + "." + strings.Repeat("A", 1<<20) + "." + parts[2],
		"deep":                       parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("[", 5000))) + "." + parts[2],
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := h.VerifyManagement(h.ctx(), bad)
			if err != ErrToken || !caller.IsNobody() { //nolint:errorlint // the very same error, whatever is wrong
				t.Errorf("caller %+v, error %v", caller, err)
			}
		})
	}
	if _, err := h.VerifyManagement(h.ctx(), token); err != nil {
		t.Errorf("the control: %v", err)
	}
}

// Our own key signs claims that are no management token's.
func TestVerifyManagement_RefusesOtherClaimsOfOurs(t *testing.T) {
	h := newHouse(t)
	c, _ := h.client(Client{Scopes: []string{"read:users"}})
	token, _, err := h.ManagementToken(h.ctx(), c, h.ManagementAudience(), nil)
	must(t, err)
	k := h.keys.Load().signing(es256, h.store.Now())
	for name, change := range map[string]func(map[string]any){
		"another issuer":      func(m map[string]any) { m["iss"] = "https://else/" },
		"another audience":    func(m map[string]any) { m["aud"] = c.ID },
		"a list of audiences": func(m map[string]any) { m["aud"] = []string{h.ManagementAudience()} },
		"no gty":              func(m map[string]any) { delete(m, "gty") },
		"no exp":              func(m map[string]any) { delete(m, "exp") },
		"an exp that is text": func(m map[string]any) { m["exp"] = "9999999999" },
		"no client":           func(m map[string]any) { delete(m, "client_id") },
		"an unknown client":   func(m map[string]any) { m["client_id"] = "x" },
		"iat to come":         func(m map[string]any) { m["iat"] = noon.Add(time.Hour).Unix() },
	} {
		t.Run(name, func(t *testing.T) {
			_, claims := h.read(token)
			claims["iat"] = noon.Unix()
			claims["exp"] = noon.Add(time.Hour).Unix()
			change(claims)
			signed, err := k.sign(k.accessHeader, []byte(mustJSON(t, claims)))
			must(t, err)
			_, err = h.VerifyManagement(h.ctx(), signed)
			wantErr(t, err, ErrToken)
		})
	}
}

func TestIDToken_SaysWhatWasMeantWhateverTheText(t *testing.T) {
	h := newHouse(t)
	c, _ := h.client(Client{Scopes: []string{"openid"}})
	rapid.Check(t, func(rt *rapid.T) {
		login := Login{
			UserID: rapid.String().Draw(rt, "user"),
			AMR:    rapid.SliceOfN(rapid.String(), 1, 3).Draw(rt, "amr"),
			At:     noon,
		}
		token, err := h.IDToken(h.ctx(), c, login)
		must(t, err)
		_, claims := h.read(token)
		var amr []string
		for _, method := range claims["amr"].([]any) {
			amr = append(amr, method.(string))
		}
		if claims["sub"] != login.UserID || !cmp.Equal(amr, login.AMR) || claims["auth_time"] != float64(noon.Unix()) {
			rt.Errorf("got %v of %+v", claims, login)
		}
	})
}

func FuzzVerifyManagement(f *testing.F) {
	h := newHouse(f)
	c, _ := h.client(Client{Scopes: []string{"read:users"}})
	token, _, err := h.ManagementToken(f.Context(), c, h.ManagementAudience(), nil)
	must(f, err)
	f.Add(token)
	f.Add("..")
	f.Fuzz(func(t *testing.T, mutated string) {
		if _, err := h.VerifyManagement(t.Context(), mutated); (err == nil) != (mutated == token) {
			t.Errorf("%q: %v", mutated, err)
		}
	})
}

// The two signatures of every login.
func BenchmarkLoginTokens(b *testing.B) {
	h := newHouse(b)
	c, _ := h.client(Client{Scopes: []string{"openid"}})
	b.ReportAllocs()
	for b.Loop() {
		_, err := h.IDToken(b.Context(), c, login)
		must(b, err)
		_, err = h.AccessToken(b.Context(), c, login, "", []string{"openid"})
		must(b, err)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	h := newHouse(b)
	c, secret := h.client(Client{Scopes: []string{"openid"}})
	for name, id := range map[string]string{"known": c.ID, "unknown": storage.NewID("", 32)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := h.Authenticate(b.Context(), id, secret)
				if (err == nil) != (id == c.ID) {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerifyManagement(b *testing.B) {
	h := newHouse(b)
	c, _ := h.client(Client{Scopes: []string{"read:users"}})
	token, _, err := h.ManagementToken(b.Context(), c, h.ManagementAudience(), nil)
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		_, err := h.VerifyManagement(b.Context(), token)
		must(b, err)
	}
}
