package access

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

func ptr[T any](v T) *T { return &v }

// A client changes only what it could give: before, so that it takes nothing from its betters, and after.
func TestChangeClient_ByAClientIsOfWhatItCouldGiveBeforeAndAfter(t *testing.T) {
	h := newHouse(t)
	operator := audit.ByOperator(1)
	own, _ := h.client(Client{Scopes: []string{"manage:clients", "openid", "read:users"}})
	caller := audit.ByClient(own.ID, own.Scopes, storage.House)
	for name, betters := range map[string]Client{
		"more scopes":   {Scopes: []string{"reset:mfa"}},
		"another grant": {Scopes: []string{"openid"}, Grants: []string{GrantAuthorizationCode}},
		"acts for one":  {Scopes: []string{"read:users"}, ActsAs: h.user("boss")},
		"presence tap":  {Scopes: []string{"openid"}, Presence: device.PresenceTap},
	} {
		t.Run(name, func(t *testing.T) {
			better, secret := h.client(betters)
			_, err := h.ChangeClient(h.ctx(), caller, better.ID, ClientChange{Name: ptr("mine")})
			wantErr(t, err, ErrBeyondCaller)
			_, err = h.RotateSecret(h.ctx(), caller, better.ID, 0)
			wantErr(t, err, ErrBeyondCaller)
			wantErr(t, h.RemoveClient(h.ctx(), caller, better.ID), ErrBeyondCaller)
			_, err = h.ChangeClient(h.ctx(), caller, better.ID, ClientChange{Scopes: &[]string{"openid"}, ActsAs: &storage.UID{}, Presence: ptr(device.Presence(""))})
			wantErr(t, err, ErrBeyondCaller)
			_, err = h.Authenticate(h.ctx(), better.ID, secret)
			must(t, err)
			equal, _ := h.client(Client{Scopes: []string{"openid"}})
			_, err = h.ChangeClient(h.ctx(), caller, equal.ID, ClientChange{
				Scopes:   &better.Scopes,
				Grants:   &better.Grants,
				ActsAs:   &better.ActsAs,
				Presence: &better.Presence,
			})
			wantErr(t, err, ErrBeyondCaller)
			_, err = h.ChangeClient(h.ctx(), operator, better.ID, ClientChange{Name: ptr("the operator may")})
			must(t, err)
		})
	}
	equal, _ := h.client(Client{Scopes: []string{"openid", "read:users"}})
	changed, err := h.ChangeClient(h.ctx(), caller, equal.ID, ClientChange{Scopes: &[]string{"read:users"}, Grants: &[]string{GrantClientCredentials}})
	must(t, err)
	if changed.Name != equal.Name || len(changed.Scopes) != 1 || len(changed.Grants) != 1 || changed.Grants[0] != GrantClientCredentials {
		t.Errorf("changed to %+v", changed)
	}
	must(t, h.RemoveClient(h.ctx(), caller, equal.ID))
}

// A client that acts for a user would otherwise get around that by another one, which acts for nobody.
func TestClientsOfAUser_GiveNothingToOthers(t *testing.T) {
	h := newHouse(t)
	boss := h.user("boss")
	own, _ := h.client(Client{Scopes: []string{"manage:clients", "reset:mfa"}, ActsAs: boss})
	caller := audit.ByClient(own.ID, own.Scopes, boss)
	lesser, _ := h.client(Client{Scopes: []string{"reset:mfa"}})
	_, _, err := h.AddClient(h.ctx(), caller, Client{Name: "mine", Scopes: []string{"reset:mfa"}})
	wantErr(t, err, ErrBeyondCaller)
	_, err = h.ChangeClient(h.ctx(), caller, lesser.ID, ClientChange{Name: ptr("mine")})
	wantErr(t, err, ErrBeyondCaller)
	_, err = h.RotateSecret(h.ctx(), caller, lesser.ID, 0)
	wantErr(t, err, ErrBeyondCaller)
	wantErr(t, h.RemoveClient(h.ctx(), caller, lesser.ID), ErrBeyondCaller)
	// Nor one that has come to act for a user since its call was let in.
	_, err = h.RotateSecret(h.ctx(), audit.ByClient(own.ID, own.Scopes, storage.House), lesser.ID, 0)
	wantErr(t, err, ErrBeyondCaller)
}

// A body may come long after its call was let in: what the caller can give is read with the change.
func TestClientsOfACaller_GiveOnlyWhatTheyHaveAtThatMoment(t *testing.T) {
	h := newHouse(t)
	operator := audit.ByOperator(1)
	own, secret := h.client(Client{Scopes: []string{"manage:clients", "reset:mfa"}})
	authenticated, err := h.Authenticate(h.ctx(), own.ID, secret)
	must(t, err)
	token, _, err := h.ManagementToken(h.ctx(), authenticated, h.ManagementAudience(), nil)
	must(t, err)
	caller, err := h.VerifyManagement(h.ctx(), token)
	must(t, err)
	other, _ := h.client(Client{Scopes: []string{"reset:mfa"}})
	tries := map[string]func() error{
		"add": func() error {
			_, _, err := h.AddClient(h.ctx(), caller, Client{Name: "mine", Scopes: []string{"reset:mfa"}})
			return err
		},
		"change": func() error {
			_, err := h.ChangeClient(h.ctx(), caller, other.ID, ClientChange{Name: ptr("mine")})
			return err
		},
		"rotate": func() error {
			_, err := h.RotateSecret(h.ctx(), caller, other.ID, 0)
			return err
		},
		"remove": func() error { return h.RemoveClient(h.ctx(), caller, other.ID) },
	}
	for _, left := range []string{"manage:clients", "reset:mfa"} {
		_, err := h.ChangeClient(h.ctx(), operator, own.ID, ClientChange{Scopes: &[]string{left}})
		must(t, err)
		for name, try := range tries {
			t.Run(name+" with "+left, func(t *testing.T) { wantErr(t, try(), ErrBeyondCaller) })
		}
	}
	_, err = h.ChangeClient(h.ctx(), operator, own.ID, ClientChange{Scopes: &own.Scopes})
	must(t, err)
	must(t, tries["change"]())
	_, err = h.RotateSecret(h.ctx(), operator, own.ID, 0)
	must(t, err)
	for name, try := range tries {
		t.Run(name+" with an ended token", func(t *testing.T) { wantErr(t, try(), ErrToken) })
	}
}

func TestChangeClient_KeepsOneGrantAtLeast(t *testing.T) {
	h := newHouse(t)
	c, _ := h.client(Client{Scopes: []string{"openid"}, Grants: []string{GrantCIBA}})
	_, err := h.ChangeClient(h.ctx(), audit.ByOperator(1), c.ID, ClientChange{Grants: &[]string{}})
	wantErr(t, err, ErrNewClient)
	kept, err := h.Client(h.ctx(), c.ID)
	must(t, err)
	if len(kept.Grants) != 1 || kept.Grants[0] != GrantCIBA {
		t.Errorf("grants %v", kept.Grants)
	}
}

func TestClients_ThatAreRefusedMakeNoKey(t *testing.T) {
	h := newHouse(t)
	own, _ := h.client(Client{Scopes: []string{"manage:clients", "openid"}, Grants: []string{GrantClientCredentials}})
	caller := audit.ByClient(own.ID, own.Scopes, storage.House)
	better, _ := h.client(Client{Scopes: []string{"reset:mfa"}})
	_, err := h.ChangeClient(h.ctx(), caller, better.ID, ClientChange{IDTokenAlg: ptr("RS256")})
	wantErr(t, err, ErrBeyondCaller)
	_, err = h.ChangeClient(h.ctx(), caller, "nosuch", ClientChange{IDTokenAlg: ptr("RS256")})
	wantErr(t, err, ErrNoClient)
	_, _, err = h.AddClient(h.ctx(), caller, Client{Name: "mine", Scopes: []string{"openid"}, IDTokenAlg: "RS256"})
	wantErr(t, err, ErrBeyondCaller) // it lacks the grants
	forNobody := Client{Name: "n", Scopes: []string{"openid"}, IDTokenAlg: "RS256"}
	forNobody.ActsAs = storage.NewUID()
	_, _, err = h.AddClient(h.ctx(), audit.ByOperator(1), forNobody)
	wantErr(t, err, user.ErrUnknown)
	if h.keys.Load().signing(rs256, h.store.Now()) != nil {
		t.Error("a key was made")
	}
	_, err = h.ChangeClient(h.ctx(), audit.ByOperator(1), better.ID, ClientChange{IDTokenAlg: ptr("RS256")})
	must(t, err)
	if h.keys.Load().signing(rs256, h.store.Now()) == nil {
		t.Error("no key was made")
	}
}

// The event names the members that have become others, and not those that were named as they are.
func TestChangeClient_RecordsWhichMembersItChanged(t *testing.T) {
	h := newHouse(t)
	c, _ := h.client(Client{Name: "Bank", Scopes: []string{"openid"}})
	_, err := h.ChangeClient(h.ctx(), audit.ByOperator(1), c.ID, ClientChange{
		Name:         ptr("Bank"),
		RedirectURIs: &[]string{"https://bank.example/cb"},
		WebOrigins:   &[]string{"https://bank.example"},
		Scopes:       &[]string{"openid", "openid"},
	})
	must(t, err)
	events := h.events(audit.TenantUpdate)
	last := events[len(events)-1]
	if got := last.Facts[audit.FactMembers]; got != "redirect_uris web_origins" {
		t.Errorf("members %q of %+v", got, last)
	}
}

// Without an overlap the secret before ends at once, and so do the tokens that were issued by it.
func TestRotateSecret_EndsTheSecretBeforeAndItsTokens(t *testing.T) {
	h := newHouse(t)
	operator := audit.ByOperator(1)
	c, first := h.client(Client{Scopes: []string{"read:users"}})
	before, err := h.Authenticate(h.ctx(), c.ID, first)
	must(t, err)
	token, _, err := h.ManagementToken(h.ctx(), before, h.ManagementAudience(), nil)
	must(t, err)
	_, err = h.VerifyManagement(h.ctx(), token)
	must(t, err)

	second, err := h.RotateSecret(h.ctx(), operator, c.ID, 0)
	must(t, err)
	_, err = h.Authenticate(h.ctx(), c.ID, first)
	wantErr(t, err, ErrClient)
	_, err = h.VerifyManagement(h.ctx(), token)
	wantErr(t, err, ErrToken)
	_, _, err = h.ManagementToken(h.ctx(), before, h.ManagementAudience(), nil) // a call that was under way
	wantErr(t, err, ErrClient)
	after, err := h.Authenticate(h.ctx(), c.ID, second)
	must(t, err)
	token, _, err = h.ManagementToken(h.ctx(), after, h.ManagementAudience(), nil)
	must(t, err)
	_, err = h.VerifyManagement(h.ctx(), token)
	must(t, err)
}

func TestRotateSecret_LetsTheSecretBeforeCountForItsOverlap(t *testing.T) {
	h := newHouse(t)
	operator := audit.ByOperator(1)
	c, first := h.client(Client{Scopes: []string{"read:users"}})
	before, err := h.Authenticate(h.ctx(), c.ID, first)
	must(t, err)
	token, _, err := h.ManagementToken(h.ctx(), before, h.ManagementAudience(), nil)
	must(t, err)
	second, err := h.RotateSecret(h.ctx(), operator, c.ID, time.Hour)
	must(t, err)
	for _, secret := range []string{first, second} {
		_, err := h.Authenticate(h.ctx(), c.ID, secret)
		must(t, err)
	}
	_, err = h.VerifyManagement(h.ctx(), token)
	must(t, err)
	h.clock.Advance(time.Hour)
	_, err = h.Authenticate(h.ctx(), c.ID, first)
	wantErr(t, err, ErrClient)
	_, err = h.Authenticate(h.ctx(), c.ID, second)
	must(t, err)
	for _, overlap := range []time.Duration{-1, MaxOverlap + 1} {
		_, err := h.RotateSecret(h.ctx(), operator, c.ID, overlap)
		wantErr(t, err, ErrOverlap)
	}
}

// A call whose answer was lost is made again. What is deployed meanwhile is the first secret.
func TestRotateSecret_RepeatedKeepsTheSecretThatIsDeployed(t *testing.T) {
	h := newHouse(t)
	operator := audit.ByOperator(1)
	c, deployed := h.client(Client{Scopes: []string{"read:users"}})
	secrets := []string{deployed}
	for range maxFormers {
		next, err := h.RotateSecret(h.ctx(), operator, c.ID, time.Hour)
		must(t, err)
		secrets = append(secrets, next)
		h.clock.Advance(10 * time.Minute)
	}
	counts := func(want int) {
		t.Helper()
		for i, secret := range secrets {
			_, err := h.Authenticate(h.ctx(), c.ID, secret)
			if got := err == nil; got != (i >= want) {
				t.Errorf("secret %d: %v", i, err)
			}
		}
	}
	counts(0)
	_, err := h.RotateSecret(h.ctx(), operator, c.ID, time.Hour)
	wantErr(t, err, ErrSecrets)
	counts(0)
	h.clock.Advance(30 * time.Minute)
	counts(1)
	next, err := h.RotateSecret(h.ctx(), operator, c.ID, time.Minute)
	must(t, err)
	secrets = append(secrets, next)
	counts(1)
	h.clock.Advance(time.Minute)
	_, err = h.Authenticate(h.ctx(), c.ID, secrets[3])
	wantErr(t, err, ErrClient)
	last, err := h.RotateSecret(h.ctx(), operator, c.ID, 0)
	must(t, err)
	secrets = append(secrets, last)
	counts(len(secrets) - 1)
}

// A key that is added ends nothing. One that is taken away ends the tokens that it may have opened.
func TestChangeClient_ChangesItsKeys(t *testing.T) {
	h := newHouse(t)
	operator := audit.ByOperator(1)
	one := newSigning(t, jose.ES256, "one")
	two := newSigning(t, jose.EdDSA, "two")
	c, _ := h.client(Client{Scopes: []string{"read:users"}, Keys: keysOf(t, one)})
	tokenBy := func(s signing) string {
		t.Helper()
		authenticated, err := h.AuthenticateByAssertion(h.ctx(), "", h.assertion(s, c.ID, nil))
		must(t, err)
		token, _, err := h.ManagementToken(h.ctx(), authenticated, h.ManagementAudience(), nil)
		must(t, err)
		return token
	}
	change := func(keys json.RawMessage) error {
		_, err := h.ChangeClient(h.ctx(), operator, c.ID, ClientChange{Keys: &keys})
		return err
	}
	token := tokenBy(one)
	must(t, change(keysOf(t, one, two)))
	_, err := h.VerifyManagement(h.ctx(), token)
	must(t, err)
	must(t, change(keysOf(t, two)))
	_, err = h.VerifyManagement(h.ctx(), token)
	wantErr(t, err, ErrToken)
	_, err = h.AuthenticateByAssertion(h.ctx(), "", h.assertion(one, c.ID, nil))
	wantErr(t, err, ErrClient)
	_, err = h.VerifyManagement(h.ctx(), tokenBy(two))
	must(t, err)
	wantErr(t, change(nil), ErrNewClient)
	wantErr(t, change(json.RawMessage(`{"keys":[]}`)), ErrNewClient)
	events := h.events(audit.TenantUpdate)
	if got := events[len(events)-1].Facts[audit.FactMembers]; got != "jwks" {
		t.Errorf("members %q", got)
	}
}

// A client that comes to sign has no secret from then on.
func TestChangeClient_ToKeysEndsItsSecret(t *testing.T) {
	h := newHouse(t)
	operator := audit.ByOperator(1)
	s := newSigning(t, jose.ES256, "")
	c, first := h.client(Client{Scopes: []string{"read:users"}})
	second, err := h.RotateSecret(h.ctx(), operator, c.ID, time.Hour)
	must(t, err)
	authenticated, err := h.Authenticate(h.ctx(), c.ID, second)
	must(t, err)
	token, _, err := h.ManagementToken(h.ctx(), authenticated, h.ManagementAudience(), nil)
	must(t, err)
	_, err = h.ChangeClient(h.ctx(), operator, c.ID, ClientChange{Keys: ptr(keysOf(t, s))})
	must(t, err)
	for _, secret := range []string{first, second, ""} {
		_, err := h.Authenticate(h.ctx(), c.ID, secret)
		wantErr(t, err, ErrClient)
	}
	_, err = h.VerifyManagement(h.ctx(), token)
	wantErr(t, err, ErrToken)
	_, err = h.AuthenticateByAssertion(h.ctx(), "", h.assertion(s, c.ID, nil))
	must(t, err)
}

func TestChangePolicies_AreAllOrNoneAndWeakenNothingForAClient(t *testing.T) {
	h := newHouse(t)
	own, _ := h.client(Client{Scopes: []string{"manage:policies"}})
	caller := audit.ByClient(own.ID, own.Scopes, storage.House)
	value := func(name string) string {
		info, err := h.Policy(h.ctx(), name)
		must(t, err)
		return info.Value
	}
	for weaker, from := range map[[2]string]string{
		{"approval.presence", "tap"}:       "",
		{"approval.digits", "4"}:           "",
		{"restore.veto", "off"}:            "",
		{"enrollment.after_reset", "open"}: "ticket",
	} {
		if from != "" {
			_, err := h.ChangePolicies(h.ctx(), caller, map[string]string{weaker[0]: from})
			must(t, err)
		}
		_, err := h.ChangePolicies(h.ctx(), caller, map[string]string{"approval.stale": "20d", weaker[0]: weaker[1]})
		wantErr(t, err, ErrWeakens)
		if got := value("approval.stale"); got != "30d" {
			t.Errorf("%v: another policy is %s", weaker, got)
		}
	}
	_, err := h.ChangePolicies(h.ctx(), caller, map[string]string{"approval.stale": "20d", "restore.wait": "30m"})
	wantErr(t, err, setting.ErrValue)
	_, err = h.ChangePolicies(h.ctx(), caller, map[string]string{"approval.stale": "20d", "restore.none": "30m"})
	wantErr(t, err, setting.ErrUnknown)
	list, err := h.ChangePolicies(h.ctx(), caller, map[string]string{"approval.stale": "20d", "approval.presence": "number", "approval.digits": "8"})
	must(t, err)
	if len(list) < 10 || value("approval.stale") != "20d" || value("approval.presence") != "number" {
		t.Errorf("changed to %+v", list)
	}
	_, err = h.ChangePolicies(h.ctx(), audit.ByOperator(1), map[string]string{"approval.presence": "tap"})
	must(t, err)
}

// Whoever made a client, or saw a secret of it, is the one who acts by it: nobody changes his own factors by a program of his own.
func TestClients_AreInTheHandsOfWhoMadeThemOrSawTheirSecret(t *testing.T) {
	h := newHouse(t)
	scopes := []string{"manage:clients", "read:users"}
	ada := h.admin("ada", user.Admin, scopes...)
	bob := h.admin("bob", user.Admin, scopes...)
	eve := h.admin("eve", user.Admin, scopes...)
	caller := func(c Client, secret string) audit.Actor {
		t.Helper()
		authenticated, err := h.Authenticate(h.ctx(), c.ID, secret)
		must(t, err)
		token, _, err := h.ManagementToken(h.ctx(), authenticated, h.ManagementAudience(), nil)
		must(t, err)
		actor, err := h.VerifyManagement(h.ctx(), token)
		must(t, err)
		return actor
	}
	expect := func(what string, a audit.Actor, hands ...audit.Actor) {
		t.Helper()
		for _, who := range []audit.Actor{ada, bob, eve} {
			meant := slices.ContainsFunc(hands, func(one audit.Actor) bool { return one.ActsAs() == who.ActsAs() })
			if got := a.ActsFor(who.ActsAs()); got != meant {
				t.Errorf("%s: acts for %s: %v", what, who.By(), got)
			}
		}
	}
	made, secret, err := h.AddClient(h.ctx(), ada, Client{Name: "ada's", Scopes: scopes})
	must(t, err)
	own := caller(made, secret)
	expect("made in ada's session", own, ada)
	secret, err = h.RotateSecret(h.ctx(), bob, made.ID, time.Hour)
	must(t, err)
	own = caller(made, secret)
	expect("bob saw its secret", own, ada, bob)
	second, secret, err := h.AddClient(h.ctx(), own, Client{Name: "made by it", Scopes: []string{"read:users"}})
	must(t, err)
	expect("made by that client", caller(second, secret), ada, bob)
	secret, err = h.RotateSecret(h.ctx(), eve, second.ID, 0)
	must(t, err)
	expect("what the others saw has ended", caller(second, secret), eve)
	operators, secret := h.client(Client{Scopes: scopes})
	expect("the operator's", caller(operators, secret))

	key := newSigning(t, jose.ES256, "")
	_, err = h.ChangeClient(h.ctx(), eve, operators.ID, ClientChange{Keys: ptr(keysOf(t, key))})
	must(t, err)
	authenticated, err := h.AuthenticateByAssertion(h.ctx(), "", h.assertion(key, operators.ID, nil))
	must(t, err)
	token, _, err := h.ManagementToken(h.ctx(), authenticated, h.ManagementAudience(), nil)
	must(t, err)
	signer, err := h.VerifyManagement(h.ctx(), token)
	must(t, err)
	expect("eve gave it its keys", signer, eve)
}
