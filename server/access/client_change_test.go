package access

import (
	"testing"
	"time"

	"tutela/device"
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
	changed, err := h.ChangeClient(h.ctx(), caller, equal.ID, ClientChange{Scopes: &[]string{"read:users"}, Grants: &[]string{}})
	must(t, err)
	if changed.Name != equal.Name || len(changed.Scopes) != 1 || len(changed.Grants) != 1 || changed.Grants[0] != GrantClientCredentials {
		t.Errorf("changed to %+v", changed)
	}
	must(t, h.RemoveClient(h.ctx(), caller, equal.ID))
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
