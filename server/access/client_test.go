package access

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

func TestAddClient_GivesASecretThatAuthenticates(t *testing.T) {
	h := newHouse(t)
	c, secret := h.client(Client{Name: "Bank", Scopes: []string{"openid"}, RedirectURIs: []string{"https://bank.example/cb"}})
	got, err := h.Authenticate(h.ctx(), c.ID, secret)
	must(t, err)
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("authenticated client (-added +got):\n%s", diff)
	}
	want := Client{
		ID:           c.ID,
		Name:         "Bank",
		Scopes:       []string{"openid"},
		Grants:       []string{GrantCIBA, GrantOTP, GrantOOB, GrantRecoveryCode, GrantPasskey, GrantAuthorizationCode},
		RedirectURIs: []string{"https://bank.example/cb"},
		IDTokenAlg:   "ES256",
		Created:      noon,
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("added client (-want +got):\n%s", diff)
	}
}

func TestAuthenticate_RefusesAllElseWithOneError(t *testing.T) {
	h := newHouse(t)
	c, secret := h.client(Client{Scopes: []string{"openid"}})
	other, otherSecret := h.client(Client{Scopes: []string{"openid"}})
	for name, try := range map[string][2]string{
		"wrong secret":      {c.ID, secret[1:] + "x"},
		"no secret":         {c.ID, ""},
		"another's secret":  {c.ID, otherSecret},
		"unknown client":    {storage.NewID("", 32), secret},
		"no client":         {"", secret},
		"a long id":         {strings.Repeat("x", 100_000), secret},
		"an id with a NUL":  {c.ID + "\x00", secret},
		"an id cut short":   {c.ID[:31], secret},
		"a long secret":     {c.ID, strings.Repeat("x", 100_000)},
		"secret and id":     {secret, c.ID},
		"the stored hash":   {other.ID, h.ring.Hash(secretPurpose, []byte(other.ID), []byte(otherSecret))},
		"the decoy's hash":  {"", h.ring.Hash(secretPurpose, nil)},
		"invalid UTF-8 ids": {"\xff\xfe", secret},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := h.Authenticate(h.ctx(), try[0], try[1])
			if err != ErrClient || got.ID != "" { //nolint:errorlint // the very same error, whatever is wrong
				t.Errorf("client %q, error %v", got.ID, err)
			}
		})
	}
}

func TestAuthenticate_NeverLocksAClientOut(t *testing.T) {
	h := newHouse(t)
	c, secret := h.client(Client{Scopes: []string{"openid"}})
	for range 500 {
		_, err := h.Authenticate(h.ctx(), c.ID, "wrong")
		wantErr(t, err, ErrClient)
	}
	_, err := h.Authenticate(h.ctx(), c.ID, secret)
	must(t, err)
}

func TestAuthenticate_OutlivesARotationOfTheRing(t *testing.T) {
	h := newHouse(t)
	c, secret := h.client(Client{Scopes: []string{"openid"}})
	_, err := h.ring.Rotate(h.ctx())
	must(t, err)
	_, err = h.store.Reseal(h.ctx())
	must(t, err)
	_, err = h.Authenticate(h.ctx(), c.ID, secret)
	must(t, err)
	if _, err = h.server().IDToken(h.ctx(), c, Login{UserID: "u"}); err != nil {
		t.Errorf("signing after a reseal: %v", err)
	}
}

func TestStore_HoldsNoSecretOfAClientOrKey(t *testing.T) {
	ground.NeedsFile(t)
	h := newHouse(t)
	c, secret := h.client(Client{Name: "planted-name", Scopes: []string{"openid"}, IDTokenAlg: "RS256"})
	secrets := [][]byte{[]byte(secret)}
	for _, k := range h.keys.Load().keys {
		secrets = append(secrets, k.stored.Private, []byte(mustJSON(t, k.stored.Private)))
	}
	var raw bytes.Buffer
	must(t, h.store.Engine().Peek(h.ctx(), storage.Range{}, func(key, value []byte) bool {
		raw.Write(key)
		raw.Write(value)
		return true
	}))
	file, err := os.ReadFile(h.path)
	must(t, err)
	for _, where := range [][]byte{raw.Bytes(), file} {
		if !bytes.Contains(where, []byte("planted-name")) || !bytes.Contains(where, []byte(c.ID)) {
			t.Fatal("the scan does not find what is there")
		}
		for i, planted := range secrets {
			if bytes.Contains(where, planted) || bytes.Contains(where, planted[:len(planted)/2]) && i == 0 {
				t.Errorf("secret %d is in the store as it is", i)
			}
		}
	}
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}

func TestListClients_IsOldestFirstAndTellsNoHash(t *testing.T) {
	h := newHouse(t)
	var want []Client
	for range 5 {
		c, _ := h.client(Client{Scopes: []string{"openid"}})
		want = append(want, c)
		h.clock.Advance(1e9)
	}
	got, err := h.ListClients(h.ctx())
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("clients (-want +got):\n%s", diff)
	}
	if strings.Contains(mustJSON(t, got), "hash") {
		t.Error("the list tells the hash of a secret")
	}
}

func TestRemoveClient_EndsItsSecret(t *testing.T) {
	h := newHouse(t)
	c, secret := h.client(Client{Scopes: []string{"openid"}})
	must(t, h.RemoveClient(h.ctx(), audit.ByOperator(0), c.ID))
	_, err := h.Authenticate(h.ctx(), c.ID, secret)
	wantErr(t, err, ErrClient)
	_, err = h.Client(h.ctx(), c.ID)
	wantErr(t, err, ErrNoClient)
	wantErr(t, h.RemoveClient(h.ctx(), audit.ByOperator(0), c.ID), ErrNoClient)
	if events := h.events(audit.TenantUpdate); len(events) != 1 || events[0].Client != c.ID || events[0].By != "operator:0" {
		t.Errorf("events %+v", events)
	}
}

func TestAddClient_IsAnEvent(t *testing.T) {
	h := newHouse(t)
	boss := h.user("boss")
	c, _ := h.client(Client{
		Name:     "personal name",
		Scopes:   []string{"openid", "read:users"},
		Presence: device.PresenceTap,
		ActsAs:   boss,
	})
	want := []audit.Event{{
		Type:   audit.ClientAdded,
		Client: c.ID,
		By:     "operator:1000",
		Facts:  audit.Facts{"scope": "openid read:users", "id_token_alg": "ES256", "presence": "tap", "acts_as": audit.Word(boss.String())},
	}}
	got := h.events(audit.ClientAdded)
	for i := range got {
		got[i].V = 0
		got[i].ID = ""
		got[i].Time = want[0].Time
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestAddClient_GivesGrantsByScope(t *testing.T) {
	h := newHouse(t)
	login := []string{GrantCIBA, GrantOTP, GrantOOB, GrantRecoveryCode, GrantPasskey}
	for _, c := range []struct {
		name          string
		scopes, given []string
		want          []string
	}{
		{"a login system", []string{"openid", "profile"}, nil, login},
		{"an admin's program", []string{"read:users"}, nil, []string{GrantClientCredentials}},
		{"both", []string{"openid", "reset:mfa"}, nil, append(login[:len(login):len(login)], GrantClientCredentials)},
		{"what is named counts alone", []string{"openid"}, []string{GrantClientCredentials, GrantClientCredentials}, []string{GrantClientCredentials}},
		{"a grant without a scope", nil, []string{GrantRecoveryCode}, []string{GrantRecoveryCode}},
	} {
		t.Run(c.name, func(t *testing.T) {
			added, _ := h.client(Client{Scopes: c.scopes, Grants: c.given})
			if diff := cmp.Diff(c.want, added.Grants); diff != "" {
				t.Errorf("grants (-want +got):\n%s", diff)
			}
			for _, grant := range grants {
				err := added.MayUse(grant)
				if allowed := strings.Contains(strings.Join(c.want, " "), grant); allowed != (err == nil) {
					t.Errorf("grant %s: %v", grant, err)
				}
			}
		})
	}
}

func TestAddClient_RefusesWhatCannotBe(t *testing.T) {
	h := newHouse(t)
	ok := Client{Name: "n", Scopes: []string{"openid"}}
	for name, change := range map[string]func(*Client){
		"no name":                 func(c *Client) { c.Name = "" },
		"a long name":             func(c *Client) { c.Name = strings.Repeat("n", 256) },
		"a name with a newline":   func(c *Client) { c.Name = "a\nb" },
		"a name that is no text":  func(c *Client) { c.Name = "\xff" },
		"nothing it could do":     func(c *Client) { c.Scopes = nil },
		"login scopes but openid": func(c *Client) { c.Scopes = []string{"profile"} },
		"an unknown scope":        func(c *Client) { c.Scopes = []string{"openid", "read:everything"} },
		"an unknown verb":         func(c *Client) { c.Scopes = []string{"write:users"} },
		"two scopes in one":       func(c *Client) { c.Scopes = []string{"openid read:users"} },
		"an empty scope":          func(c *Client) { c.Scopes = []string{""} },
		"half a scope":            func(c *Client) { c.Scopes = []string{"read:"} },
		"an unknown grant":        func(c *Client) { c.Grants = []string{"password"} },
		"a short grant":           func(c *Client) { c.Grants = []string{"ciba"} },
		"another algorithm":       func(c *Client) { c.IDTokenAlg = "HS256" },
		"none":                    func(c *Client) { c.IDTokenAlg = "none" },
		"another presence":        func(c *Client) { c.Presence = "face" },
		"another delivery":        func(c *Client) { c.DeliveryMode = "push" },
		"a ping to nowhere":       func(c *Client) { c.DeliveryMode = DeliveryPing },
		"a poll to somewhere":     func(c *Client) { c.NotifyAt = "https://x/" },
		"a ping by file":          func(c *Client) { *c = pinged(*c, "file:///x") },
		"a ping to no host":       func(c *Client) { *c = pinged(*c, "https://:443/") },
		"a ping with a user":      func(c *Client) { *c = pinged(*c, "https://a@x/") },
		"a ping with a fragment":  func(c *Client) { *c = pinged(*c, "https://x/#") },
		"a ping without CIBA": func(c *Client) {
			*c = pinged(*c, "https://x/")
			c.Grants = []string{GrantOTP}
		},
		"signed requests without keys": func(c *Client) { c.RequestAlg = "ES256" },
		"signed requests by a shared secret": func(c *Client) {
			c.Keys = keysOf(t, newSigning(t, jose.ES256, ""))
			c.RequestAlg = "HS256"
		},
		"signed requests that are not": func(c *Client) {
			c.Keys = keysOf(t, newSigning(t, jose.ES256, ""))
			c.RequestAlg = "none"
		},
		"signed requests by a key that there is not": func(c *Client) {
			c.Keys = keysOf(t, newSigning(t, jose.ES256, ""))
			c.RequestAlg = "PS256"
		},
		"signed requests without CIBA": func(c *Client) {
			c.Keys = keysOf(t, newSigning(t, jose.ES256, ""))
			c.RequestAlg = "ES256"
			c.Grants = []string{GrantOTP}
		},
		"a relative redirect":    func(c *Client) { c.RedirectURIs = []string{"/cb"} },
		"a redirect fragment":    func(c *Client) { c.RedirectURIs = []string{"https://x/#f"} },
		"an empty fragment":      func(c *Client) { c.RedirectURIs = []string{"https://x/#"} },
		"a script":               func(c *Client) { c.RedirectURIs = []string{"javascript:alert(1)"} },
		"a redirect with a user": func(c *Client) { c.RedirectURIs = []string{"https://a@x/"} },
		"an origin with a path":  func(c *Client) { c.WebOrigins = []string{"https://x/app"} },
		"any origin":             func(c *Client) { c.WebOrigins = []string{"*"} },
		"the null origin":        func(c *Client) { c.WebOrigins = []string{"null"} },
		"an origin of a file":    func(c *Client) { c.WebOrigins = []string{"file://x"} },
		"too many origins":       func(c *Client) { c.WebOrigins = make([]string, maxClientURLs+1) },
	} {
		t.Run(name, func(t *testing.T) {
			c := ok
			change(&c)
			_, _, err := h.AddClient(h.ctx(), audit.ByOperator(1), c)
			wantErr(t, err, ErrNewClient)
		})
	}
	if list, err := h.ListClients(h.ctx()); err != nil || len(list) != 0 {
		t.Errorf("there are clients %v, %v", list, err)
	}
}

func TestAddClient_TakesEveryScopeOfTheManagementAPI(t *testing.T) {
	for _, scope := range strings.Fields(`openid profile email
		read:users create:users update:users delete:users update:users_app_metadata issue:recovery_codes
		read:authentication_methods create:authentication_methods update:authentication_methods delete:authentication_methods
		read:guardian_enrollments create:guardian_enrollment_tickets delete:guardian_enrollments
		read:guardian_factors update:guardian_factors read:mfa_policies update:mfa_policies read:prompts update:prompts
		read:logs read:logs_users reset:mfa reset:admin_mfa read:recoverability read:stats manage:webhooks manage:clients
		read:clients create:client_grants read:tenant_settings update:tenant_settings blacklist:tokens read:user_idp_tokens
		create:organization_member_roles update:attack_protection read:network_acls delete:phone_providers`) {
		if !knownScope(scope) {
			t.Errorf("scope %s is not known", scope)
		}
	}
}

func TestAddClient_ByAClientGivesNoMoreThanItHas(t *testing.T) {
	h := newHouse(t)
	boss := h.user("boss")
	own, _ := h.client(Client{Scopes: []string{"manage:clients", "openid", "read:users"}})
	caller := audit.ByClient(own.ID, own.Scopes, storage.House)
	for name, c := range map[string]Client{
		"a scope that it lacks": {Scopes: []string{"openid", "reset:mfa"}},
		"acting for a user":     {Scopes: []string{"openid"}, ActsAs: boss},
		"presence tap":          {Scopes: []string{"openid"}, Presence: device.PresenceTap},
		"a grant that it lacks": {Scopes: []string{"openid"}, Grants: []string{GrantAuthorizationCode}},
	} {
		c.Name = name
		_, _, err := h.AddClient(h.ctx(), caller, c)
		wantErr(t, err, ErrBeyondCaller)
	}
	c, _, err := h.AddClient(h.ctx(), caller, Client{Name: "fits", Scopes: []string{"openid", "read:users"}, Presence: device.PresenceNumber})
	must(t, err)
	if events := h.events(audit.ClientAdded); len(events) != 2 || events[1].By != "client:"+own.ID || events[1].Client != c.ID {
		t.Errorf("events %+v", events)
	}
}

func TestAddClient_ActsForAUserWhoExists(t *testing.T) {
	h := newHouse(t)
	_, _, err := h.AddClient(h.ctx(), audit.ByOperator(1), Client{Name: "n", Scopes: []string{"read:users"}, ActsAs: storage.NewUID()})
	wantErr(t, err, user.ErrUnknown)
}

func TestAllowedOrigin_IsThatOfAnyClientAsBrowsersWriteIt(t *testing.T) {
	h := newHouse(t)
	h.client(Client{Scopes: []string{"openid"}, WebOrigins: []string{"https://App.example:443/", "http://localhost:3000"}})
	gone, _ := h.client(Client{Scopes: []string{"openid"}, WebOrigins: []string{"https://gone.example", "http://localhost:3000"}})
	must(t, h.RemoveClient(h.ctx(), audit.ByOperator(1), gone.ID))
	for origin, want := range map[string]bool{
		"https://app.example": true, "http://localhost:3000": true, "https://gone.example": false, "http://app.example": false,
		"https://app.example.evil": false, "https://app.example:8443": false, "null": false, "": false, "https://app.exampl": false,
		"https://" + strings.Repeat("x", 5000): false,
	} {
		got, err := h.AllowedOrigin(h.ctx(), origin)
		must(t, err)
		if got != want {
			t.Errorf("origin %.40q: %t, want %t", origin, got, want)
		}
	}
}

func TestGranted_LeavesOutWhatTheClientHasNot(t *testing.T) {
	c := Client{Scopes: []string{"openid", "read:users"}}
	got := c.Granted([]string{"read:users", "openid", "delete:users", "openid"})
	if diff := cmp.Diff([]string{"read:users", "openid"}, got); diff != "" {
		t.Error(diff)
	}
}

// pinged is a client that is told of decisions at a URL.
func pinged(c Client, at string) Client {
	c.DeliveryMode = DeliveryPing
	c.NotifyAt = at
	return c
}
