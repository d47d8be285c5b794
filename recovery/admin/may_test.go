package admin_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"tutela/recovery"
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
		name   = "describe"
		desk   = "factors suspend unlock"
		noRole = "factors suspend unlock remove block email describe"
		always = noRole + " role"
	)
	// What an actor may do: to a user without role and a viewer; to a helpdesk, an admin and an owner; and to the user for
	// whom it acts, whatever the role.
	for who, c := range map[string]struct {
		actor                             audit.Actor
		plain, helpdesk, admin, own, self string
	}{
		"nobody":                        {audit.Actor{}, never, never, never, never, never},
		"the user":                      {audit.ByUser(), never, never, never, never, never},
		"the user by a login system":    {audit.ByUser().WithClient("c"), never, never, never, never, never},
		"a client":                      {audit.ByClient("c", []string{"reset:mfa"}, storage.House), noRole, noRole, name, name, noRole},
		"a client with admins' scope":   {audit.ByClient("c", strong, storage.House), noRole, noRole, noRole, noRole, noRole},
		"a client for a user":           {audit.ByClient("c", []string{"reset:mfa"}, self), noRole, noRole, name, name, name},
		"one that a user has made":      {audit.ByClient("c", strong, storage.House).WithBehind(self), noRole, noRole, noRole, noRole, name},
		"one for a user, admins' scope": {audit.ByClient("c", strong, self), noRole, noRole, noRole, noRole, name},

		"a user without role signed in": {signedIn(user.NoRole, "reset:mfa"), never, never, never, never, never},
		"a viewer":                      {signedIn(user.Viewer, "reset:mfa"), never, never, never, never, never},
		"a viewer with admins' scope":   {signedIn(user.Viewer, strong...), never, never, never, never, never},
		"a helpdesk":                    {signedIn(user.Helpdesk), desk, never, never, never, never},
		"an admin":                      {signedIn(user.Admin), noRole, noRole, never, never, never},
		"an admin with admins' scope":   {signedIn(user.Admin, strong...), noRole, noRole, never, never, never},
		"an owner":                      {signedIn(user.Owner), always, always, never, never, never},
		"an owner who has proven again": {signedIn(user.Owner, strong...), always, always, always, never, never},
		"an owner who is blocked":       {audit.ByAdmin(h.person("blocked", user.Owner, true).UID, strong), never, never, never, never, never},
		"an owner who was deleted":      {audit.ByAdmin(storage.NewUID(), strong), never, never, never, never, never},

		"the operator":                    {audit.ByOperator(0), always, always, always, always, always},
		"the operator, who is nobody":     {audit.ByOperator(65534), always, always, always, always, always},
		"the operator by an admin's call": {audit.ByOperator(1000).In("mfa_reset"), always, always, always, always, always},
	} {
		check := func(uid storage.UID, role user.Role, may string) {
			t.Helper()
			h.expectMay(who, c.actor, &user.User{UID: uid, ID: "x", Role: role}, may)
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
	h.expectMay("a client for an owner", audit.ByClient("c", strong, self), &user.User{UID: self, Role: user.Owner}, name)
}

// expectMay fails the test unless the actor may do just these actions to a user.
func (h *house) expectMay(name string, actor audit.Actor, u *user.User, may string) {
	h.t.Helper()
	actions := map[admin.Action]string{
		admin.ChangeFactors: "factors",
		admin.Remove:        "remove",
		admin.Suspend:       "suspend",
		admin.Block:         "block",
		admin.Unlock:        "unlock",
		admin.SetEmail:      "email",
		admin.SetRole:       "role",
		admin.Describe:      "describe",
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

// No one but the operator takes the last owner away, in any of the ways there are.
func TestLastOwner_IsTheOperatorsToTakeAway(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		boss := h.person("boss", user.Owner, false)
		other := h.person("other", user.Owner, true) // who is blocked does not count
		phone := h.Enroll("boss", "app1")
		strong := audit.ByClient("c", []string{admin.ScopeResetAdminMFA}, storage.House)
		blocked := true
		ways := map[string]func(audit.Actor) error{
			"block": func(a audit.Actor) error { return h.Admins.SetBlocked(ctx, "boss", true, a) },
			"change": func(a audit.Actor) error {
				_, err := h.Admins.ChangeUser(ctx, "boss", admin.UserChange{Blocked: &blocked}, a)
				return err
			},
			"reset": func(a audit.Actor) error {
				_, err := h.Admins.Reset(ctx, "boss", recovery.ResetRequest{Reason: "x"}, a)
				return err
			},
			"suspend":             func(a audit.Actor) error { return h.Admins.Suspend(ctx, phone.Enrolled.ID, a) },
			"the last enrollment": func(a audit.Actor) error { return h.Admins.RemoveEnrollment(ctx, phone.Enrolled.ID, a) },
			"delete":              func(a audit.Actor) error { return h.Admins.Delete(ctx, "boss", a) },
		}
		for way, take := range ways {
			expect(h.t, way, take(strong), admin.ErrRefused)
		}
		must(h.t, h.Admins.SetBlocked(ctx, "other", false, audit.ByOperator(0)))
		for way, take := range ways {
			expect(h.t, way+", beside one who has nothing enrolled", take(strong), admin.ErrRefused)
		}
		h.Enroll("other", "app2")
		must(h.t, ways["block"](strong))
		// Now the other is the last: a role is taken away by an owner's session alone, and never by his own.
		expect(h.t, "role", h.Admins.SetRole(ctx, "other", user.NoRole, audit.ByAdmin(boss.UID, nil)), admin.ErrRefused)
		expect(h.t, "his own", h.Admins.SetRole(ctx, "other", user.NoRole, audit.ByAdmin(other.UID, nil)), admin.ErrRefused)
		for _, take := range []func(audit.Actor) error{ways["reset"], ways["delete"]} {
			must(h.t, take(audit.ByOperator(0)))
		}
		must(h.t, h.Admins.SetRole(ctx, "other", user.NoRole, audit.ByOperator(0)))
	})
}

// A suspended phone lets nobody in: the last that is active is the operator's to take, however it goes.
func TestLastOwner_KeepsAnActiveEnrollment(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		h.person("boss", user.Owner, false)
		lost := h.Enroll("boss", "app1").Enrolled.ID
		used := h.Enroll("boss", "app2").Enrolled.ID
		strong := audit.ByClient("c", []string{admin.ScopeResetAdminMFA}, storage.House)
		must(h.t, h.Admins.Suspend(ctx, lost, strong))
		for way, take := range map[string]func(audit.Actor) error{
			"suspend": func(a audit.Actor) error { return h.Admins.Suspend(ctx, used, a) },
			"remove":  func(a audit.Actor) error { return h.Admins.RemoveEnrollment(ctx, used, a) },
			"method":  func(a audit.Actor) error { return h.Admins.RemoveMethod(ctx, "boss", "push|"+used, a) },
			"replace": func(a audit.Actor) error {
				_, err := h.Admins.ReplaceMethods(ctx, "boss", []admin.WantedMethod{{ID: "push|" + lost}}, a)
				return err
			},
		} {
			expect(h.t, way, take(strong), admin.ErrRefused)
		}
		must(h.t, h.Admins.RemoveEnrollment(ctx, lost, strong))
		must(h.t, h.Admins.Suspend(ctx, used, audit.ByOperator(0)))
		must(h.t, h.Admins.Resume(ctx, used, strong))
	})
}

// Who resets one owner after the other would leave none.
func TestLastOwner_IsNotAnotherWhoHasNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		for _, id := range []string{"ada", "bob"} {
			h.person(id, user.Owner, false)
			h.Enroll(id, "of "+id)
		}
		strong := audit.ByClient("c", []string{admin.ScopeResetAdminMFA}, storage.House)
		_, err := h.Admins.Reset(ctx, "ada", recovery.ResetRequest{Reason: "x"}, strong)
		must(h.t, err)
		_, err = h.Admins.Reset(ctx, "bob", recovery.ResetRequest{Reason: "x"}, strong)
		expect(h.t, "the second", err, admin.ErrRefused)
	})
}

// What leaves the last owner as he is takes nobody away, by whichever call.
func TestLastOwner_MayBeNamedAsHeIs(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		h.person("boss", user.Owner, false)
		h.Enroll("boss", "app1")
		strong := audit.ByClient("c", []string{admin.ScopeResetAdminMFA}, storage.House)
		must(h.t, h.Admins.SetBlocked(ctx, "boss", false, strong))
		no := false
		owner := user.Owner
		_, err := h.Admins.ChangeUser(ctx, "boss", admin.UserChange{Blocked: &no, Role: &owner}, strong)
		must(h.t, err)
		no = true
		_, err = h.Admins.ChangeUser(ctx, "boss", admin.UserChange{Blocked: &no}, strong)
		expect(h.t, "block", err, admin.ErrRefused)
	})
}
