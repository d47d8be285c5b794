package admin_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// person makes a user with a role.
func (h *house) person(id string, role user.Role, blocked bool) *user.User {
	h.t.Helper()
	var made *user.User
	h.Update(func(tx *storage.Tx) (err error) {
		made, err = user.Create(tx, user.User{ID: id, Role: role, Blocked: blocked})
		return err
	})
	return made
}

func TestMay_FollowsTheRuleForEveryActorTargetAndAction(t *testing.T) {
	h := newHouse(t, ground.Options{})
	signedIn := func(role user.Role, scopes ...string) audit.Actor {
		return audit.ByAdmin(h.person(storage.NewID("admin-", 8), role, false).UID, scopes)
	}
	self := storage.NewUID()
	strong := []string{admin.ScopeResetAdminMFA}
	const (
		never  = ""
		unlock = "unlock"
		desk   = "factors unlock"
		noRole = "factors unlock block"
		always = "factors unlock block role"
	)
	// What an actor may do: to a user without role and a viewer; to a helpdesk, an admin and an owner; and to the user for
	// whom it acts, whatever the role.
	for name, c := range map[string]struct {
		actor                             audit.Actor
		plain, helpdesk, admin, own, self string
	}{
		"nobody":                        {audit.Actor{}, never, never, never, never, never},
		"the user":                      {audit.ByUser(), never, never, never, never, never},
		"the user by a login system":    {audit.ByUser().WithClient("c"), never, never, never, never, never},
		"a client":                      {audit.ByClient("c", []string{"reset:mfa"}, storage.House), noRole, noRole, unlock, unlock, noRole},
		"a client with admins' scope":   {audit.ByClient("c", strong, storage.House), noRole, noRole, noRole, noRole, noRole},
		"a client for a user":           {audit.ByClient("c", []string{"reset:mfa"}, self), noRole, noRole, unlock, unlock, unlock},
		"one for a user, admins' scope": {audit.ByClient("c", strong, self), noRole, noRole, noRole, noRole, unlock},

		"a user without role signed in": {signedIn(user.NoRole, "reset:mfa"), never, never, never, never, never},
		"a viewer":                      {signedIn(user.Viewer, "reset:mfa"), never, never, never, never, never},
		"a viewer with admins' scope":   {signedIn(user.Viewer, strong...), never, never, never, never, never},
		"a helpdesk":                    {signedIn(user.Helpdesk), desk, never, never, never, never},
		"an admin":                      {signedIn(user.Admin), noRole, noRole, never, never, never},
		"an admin with admins' scope":   {signedIn(user.Admin, strong...), noRole, noRole, never, never, never},
		"an owner":                      {signedIn(user.Owner), always, always, unlock, never, never},
		"an owner who has proven again": {signedIn(user.Owner, strong...), always, always, always, never, never},
		"an owner who is blocked":       {audit.ByAdmin(h.person("blocked", user.Owner, true).UID, strong), never, never, never, never, never},
		"an owner who was deleted":      {audit.ByAdmin(storage.NewUID(), strong), never, never, never, never, never},

		"the operator":                    {audit.ByOperator(0), always, always, always, always, always},
		"the operator, who is nobody":     {audit.ByOperator(65534), always, always, always, always, always},
		"the operator by an admin's call": {audit.ByOperator(1000).In("mfa_reset"), always, always, always, always, always},
	} {
		check := func(uid storage.UID, role user.Role, may string) {
			t.Helper()
			h.expectMay(name, c.actor, &user.User{UID: uid, ID: "x", Role: role}, may)
		}
		for role, may := range map[user.Role]string{
			user.NoRole: c.plain, user.Viewer: c.plain, user.Helpdesk: c.helpdesk, user.Admin: c.admin, user.Owner: c.own,
		} {
			check(storage.NewUID(), role, may)
		}
		oneself := c.actor.ActsAs()
		if oneself.IsZero() {
			oneself = self
		}
		for _, role := range []user.Role{user.NoRole, user.Viewer, user.Helpdesk} {
			check(oneself, role, c.self)
		}
	}
	// Acting for oneself stays closed to an admin's program with every scope, and to an owner.
	owner := signedIn(user.Owner, strong...)
	h.expectMay("an owner himself", owner, &user.User{UID: owner.ActsAs(), Role: user.Owner}, never)
	h.expectMay("a client for an owner", audit.ByClient("c", strong, self), &user.User{UID: self, Role: user.Owner}, unlock)
}

// expectMay fails the test unless the actor may do just these actions to a user.
func (h *house) expectMay(name string, actor audit.Actor, u *user.User, may string) {
	h.t.Helper()
	actions := map[admin.Action]string{
		admin.ChangeFactors: "factors",
		admin.Block:         "block",
		admin.Unlock:        "unlock",
		admin.SetRole:       "role",
	}
	for action, word := range actions {
		err := h.may(actor, action, u)
		allowed := slices.Contains(strings.Fields(may), word)
		if allowed != (err == nil) || !allowed && !errors.Is(err, admin.ErrRefused) {
			h.t.Errorf("%s, %s, role %q, self %t: %v", name, word, u.Role, actor.ActsFor(u.UID), err)
		}
	}
}

// may asks the rule.
func (h *house) may(actor audit.Actor, action admin.Action, u *user.User) (may error) {
	h.t.Helper()
	h.View(func(tx *storage.Tx) error {
		may = admin.May(tx, actor, action, u)
		return nil
	})
	return may
}

func TestMay_SaysWhy(t *testing.T) {
	h := newHouse(t, ground.Options{})
	maria := h.person("maria", user.NoRole, false)
	otto := h.person("otto", user.Admin, false)
	for want, err := range map[string]error{
		"nobody changes his own factors by a management call":                 h.may(audit.ByClient("c", nil, maria.UID), admin.ChangeFactors, maria),
		"the factors of an admin are changed with scope reset:admin_mfa only": h.may(audit.ByClient("c", nil, storage.House), admin.ChangeFactors, otto),
		"the factors of this user are not for this caller to change":          h.may(audit.ByUser(), admin.ChangeFactors, maria),
		"nobody acts on himself as an admin":                                  h.may(audit.ByAdmin(otto.UID, nil), admin.ChangeFactors, otto),
		"an admin acts on users with a lower role only":                       h.may(audit.ByAdmin(otto.UID, nil), admin.Block, h.person("anna", user.Admin, false)),
	} {
		if err == nil || err.Error() != want || storage.CodeOf(err) != storage.Denied {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// What has become of the admin since he signed in counts, and events name him by his uid alone.
func TestMay_GoesByTheRoleThatASignedInAdminHasNow(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		h.person("maria", user.NoRole, false)
		otto := h.person("otto", user.Admin, false)
		session := audit.ByAdmin(otto.UID, []string{"update:users"}).WithOrigin("192.0.2.1", "Browser/1")
		must(h.t, h.Admins.SetBlocked(ctx, "maria", true, session))
		blocked := h.EventsOf("maria", audit.ManagementCall)
		if len(blocked) != 1 || blocked[0].By != "user:"+otto.UID.String() || blocked[0].Client != "" || blocked[0].Detail.IP != "192.0.2.1" {
			h.t.Errorf("events %+v", blocked)
		}
		must(h.t, h.Admins.SetRole(ctx, "otto", user.Helpdesk, audit.ByOperator(0)))
		expect(h.t, "as helpdesk", h.Admins.SetBlocked(ctx, "maria", false, session), admin.ErrRefused)
		must(h.t, h.Admins.SetRole(ctx, "otto", user.Admin, audit.ByOperator(0)))
		must(h.t, h.Admins.SetBlocked(ctx, "otto", true, audit.ByOperator(0)))
		expect(h.t, "when blocked", h.Admins.SetBlocked(ctx, "maria", false, session), admin.ErrRefused)
	})
}
