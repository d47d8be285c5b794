package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/device/phone"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
)

// approveNewest has maria's phone approve what it was asked last.
func approveNewest(m *mounted, number string) {
	m.t.Helper()
	asked, err := m.phone.Approvals(m.t.Context(), 0, nil)
	m.must(err)
	newest := slices.IndexFunc(asked, func(a phone.Approval) bool { return a.Token != m.waiting.Token })
	m.must(m.phone.Approve(m.t.Context(), asked[max(newest, 0)], number))
}

// phoneOf is a phone that is not enrolled, whose calls go to the house.
func phoneOf(m *mounted) *phone.Phone {
	m.t.Helper()
	p, err := phone.New(phone.Options{BaseURL: m.url})
	m.must(err)
	return p
}

// newURI is the QR code of the newcomer's association.
func (m *mounted) newURI() string {
	m.t.Helper()
	return m.uri(m.newcomer, `{"authenticator_types":["oob"]}`)
}

// uri is the QR code of an association.
func (m *mounted) uri(token, body string) string {
	m.t.Helper()
	return m.ok(m.call("POST", "/mfa/associate", body, "Content-Type", jsonType, "Authorization", "Bearer "+token)).member("barcode_uri")
}

// A new phone, and no backup came along: she logs in with the recovery code at one house, and enrols the new phone at the other. The old
// one is retired, its backup is there, and its key may dispute that for a day.
func TestTwoHouses_ANewPhoneTakesTheOldOnesPlaceByAnEnrolmentToken(t *testing.T) {
	n := mountNeighbours(t)
	old := n.a.phone
	before := old.Enrollment().ID
	started := n.b.ok(n.b.form("/mfa/start", "user_id", "maria")).member("mfa_token")
	tokens := n.a.ok(n.a.form("/oauth/token", "grant_type", access.GrantRecoveryCode, "mfa_token", started,
		"recovery_code", n.a.held["recovery_code"], "audience", n.a.url+"/mfa/"))
	token := tokens.member("access_token")
	body := `{"authenticator_types":["oob"],"oob_channels":["auth0"],"replaces":"` + before + `"}`
	made := n.b.ok(n.b.call("POST", "/mfa/associate", body, "Content-Type", jsonType, "Authorization", "Bearer "+token))

	fresh, err := phone.New(phone.Options{BaseURL: n.a.url, Client: n.a.road})
	must(t, err)
	n.road.leadTo(n.a)
	_, err = fresh.Enroll(t.Context(), made.member("barcode_uri"))
	must(t, err)
	confirmed := n.b.ok(n.b.form("/oauth/token", "grant_type", access.GrantOOB, "mfa_token", token, "oob_code", made.member("oob_code")))
	if confirmed.member("id_token") == "" {
		t.Errorf("confirmed: %s", confirmed.body)
	}
	versions, err := fresh.Generations(t.Context())
	if err != nil || len(versions) != 1 || versions[0].Generation != 1 {
		t.Errorf("the new phone finds of the backup %+v: %v", versions, err)
	}
	notices, err := old.Notices(t.Context(), time.Time{}, 0)
	must(t, err)
	last := notices[len(notices)-1]
	if last.Kind != "replaced" || last.RestoreID != fresh.Enrollment().ID {
		t.Fatalf("the old phone is told %+v", last)
	}
	must(t, old.Dispute(t.Context(), last.RestoreID))
	var list []struct{ ID string }
	r := n.b.call("GET", "/mfa/authenticators", "", "Authorization", "Bearer "+token)
	must(t, json.Unmarshal(r.body, &list))
	if strings.Contains(string(r.body), before) || len(list) != 3 {
		t.Errorf("authenticators: %d %s", r.status, r.body)
	}
}

// assertion signs a client's assertion for the house.
func (m *mounted) assertion(clientID, private string) string {
	m.t.Helper()
	block, _ := pem.Decode([]byte(private))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	m.must(err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	m.must(err)
	payload, err := json.Marshal(map[string]any{
		"iss": clientID, "sub": clientID, "aud": m.options.PublicURLs[0] + "/", "jti": storage.NewID("", 20), "exp": time.Now().Add(time.Minute).Unix(),
	})
	m.must(err)
	signed, err := signer.Sign(payload)
	m.must(err)
	compact, err := signed.CompactSerialize()
	m.must(err)
	return compact
}

// What counts once at one house counts at no other, and what is forgotten or set at one is so at the other.
func TestTwoHouses_AssertionsCountOnceAndBrowsersAreForgottenAtBoth(t *testing.T) {
	n := mountNeighbours(t)
	private, public := clientKey(t)
	signer := n.a.loginClient(access.Client{Name: "signer", Scopes: []string{"openid"}, Keys: public})["id"]
	start := func(m *mounted, assertion string) reply {
		form := values("user_id", "maria", "client_assertion_type", access.AssertionType, "client_assertion", assertion)
		return m.call("POST", "/mfa/start", form, "Content-Type", formType)
	}
	one := n.a.assertion(signer, private)
	n.b.ok(start(n.b, one))
	if r := start(n.a, one); r.status != 401 || r.member("error") != "invalid_client" {
		t.Errorf("once more, at the other: %d %s", r.status, r.body)
	}
	n.a.ok(start(n.a, n.a.assertion(signer, private)))
	must(t, n.b.house.access.RemoveClient(t.Context(), audit.ByOperator(0), signer))
	if r := start(n.a, n.a.assertion(signer, private)); r.status != 401 {
		t.Errorf("of a client that the other has removed: %d %s", r.status, r.body)
	}

	asks := func(m *mounted) bool {
		r := m.ok(m.form("/mfa/start", "user_id", "maria", "remember_token", n.a.held["remember_token"]))
		return r.member("mfa_token") != ""
	}
	if asks(n.a) || asks(n.b) {
		t.Error("the browser is asked")
	}
	n.a.ok(n.a.json("POST", "/api/v2/users/maria/multifactor/actions/invalidate-remember-browser", map[string]any{}, n.a.managing()...))
	if !asks(n.b) || !asks(n.a) {
		t.Error("the browser is forgotten at one house, and known at the other")
	}
}

// A client that signs has no secret. Keys are public, and come in a file or as they are.
func TestClientAdd_WithKeysGivesNoSecret(t *testing.T) {
	private, public := clientKey(t)
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		file := filepath.Join(t.TempDir(), "keys.json")
		must(t, os.WriteFile(file, public, 0o600))
		for _, keys := range []string{file, string(public)} {
			added := decode(t, c.run("client", "add", "idp", "--scope", "openid", "--jwks", keys))
			if len(added) != 1 || added["client_id"] == "" {
				t.Errorf("added %v", added)
			}
		}
		c.try("client", "add", "idp", "--scope", "openid", "--jwks", "nowhere.json").notUnderstood("read the client's keys: open nowhere.json: no such file or directory")
		must(t, os.WriteFile(file, []byte(private), 0o600))
		c.try("client", "add", "idp", "--scope", "openid", "--jwks", file).notUnderstood("the keys of a client are a JWK Set")
	})
}
