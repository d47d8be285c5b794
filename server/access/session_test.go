package access

import (
	"errors"
	"testing"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// admin makes a user with a role, and returns the actor of a session with scopes.
func (h *house) admin(id string, role user.Role, scopes ...string) audit.Actor {
	h.t.Helper()
	uid := h.user(id)
	must(h.t, h.store.Update(h.ctx(), func(tx *storage.Tx) error {
		_, err := user.Change(tx, uid, func(u *user.User) error {
			u.Role = role
			return nil
		})
		return err
	}))
	return audit.ByAdmin(uid, scopes)
}

func TestSession_GivesAClientWhatItsAdminHas(t *testing.T) {
	h := newHouse(t)
	strong := []string{ScopeManageClients, ScopeReadUsers}
	admin := h.admin("ada", user.Admin, strong...)
	owner := h.admin("boss", user.Owner, strong...)
	for what, c := range map[string]struct {
		actor  audit.Actor
		client Client
		want   error
	}{
		"a login system":            {admin, Client{Name: "x", Scopes: []string{ScopeOpenID, "profile"}}, nil},
		"what he has":               {admin, Client{Name: "x", Scopes: []string{ScopeReadUsers}}, nil},
		"what he lacks":             {admin, Client{Name: "x", Scopes: []string{"delete:users"}}, ErrBeyondCaller},
		"tap, as an admin":          {admin, Client{Name: "x", Scopes: []string{ScopeOpenID}, Presence: device.PresenceTap}, ErrBeyondCaller},
		"tap, as an owner":          {owner, Client{Name: "x", Scopes: []string{ScopeOpenID}, Presence: device.PresenceTap}, nil},
		"acting as, as an admin":    {admin, Client{Name: "x", Scopes: []string{ScopeReadUsers}, ActsAs: owner.ActsAs()}, ErrBeyondCaller},
		"as the help desk":          {h.admin("desk", user.Helpdesk, strong...), Client{Name: "x", Scopes: []string{ScopeOpenID}}, ErrBeyondCaller},
		"without the scope for it":  {h.admin("ada2", user.Admin, ScopeReadUsers), Client{Name: "x", Scopes: []string{ScopeOpenID}}, ErrBeyondCaller},
		"who is an admin no longer": {audit.ByAdmin(h.user("former"), strong), Client{Name: "x", Scopes: []string{ScopeOpenID}}, ErrBeyondCaller},
	} {
		_, _, err := h.AddClient(h.ctx(), c.actor, c.client)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
}

// Who has made a client, or seen its secret, acts by it on himself no more than by his session.
func TestSession_IsBehindTheClientsWhoseSecretsItSaw(t *testing.T) {
	h := newHouse(t)
	ada := h.admin("ada", user.Admin, ScopeManageClients, ScopeReadUsers)
	bob := h.admin("bob", user.Admin, ScopeManageClients, ScopeReadUsers)
	c, secret, err := h.AddClient(h.ctx(), ada, Client{Name: "x", Scopes: []string{ScopeReadUsers}})
	must(t, err)
	behind := func(secret string) (ofAda, ofBob bool) {
		t.Helper()
		caller := h.caller(c, secret)
		return caller.ActsFor(ada.ActsAs()), caller.ActsFor(bob.ActsAs())
	}
	if ofAda, ofBob := behind(secret); !ofAda || ofBob {
		t.Errorf("made by ada: %t, %t", ofAda, ofBob)
	}
	secret, err = h.RotateSecret(h.ctx(), bob, c.ID, MaxOverlap)
	must(t, err)
	if ofAda, ofBob := behind(secret); !ofAda || !ofBob {
		t.Errorf("while both secrets count: %t, %t", ofAda, ofBob)
	}
	secret, err = h.RotateSecret(h.ctx(), bob, c.ID, 0)
	must(t, err)
	if ofAda, ofBob := behind(secret); ofAda || !ofBob {
		t.Errorf("when ada's secret has ended: %t, %t", ofAda, ofBob)
	}
}

// caller is who makes a management call by a client.
func (h *house) caller(c Client, secret string) audit.Actor {
	h.t.Helper()
	authenticated, err := h.Authenticate(h.ctx(), c.ID, secret)
	must(h.t, err)
	token, _, err := h.ManagementToken(h.ctx(), authenticated, h.ManagementAudience(), nil)
	must(h.t, err)
	actor, err := h.VerifyManagement(h.ctx(), token)
	must(h.t, err)
	return actor
}
