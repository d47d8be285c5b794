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
)

func TestMay_FollowsTheRuleForEveryActorTargetAndAction(t *testing.T) {
	self := storage.NewUID()
	other := storage.NewUID()
	actions := map[admin.Action]string{admin.ChangeFactors: "factors", admin.Block: "block", admin.Unlock: "unlock", admin.SetRole: "role"}
	strong := []string{admin.ScopeResetAdminMFA}
	const (
		never   = ""
		unlock  = "unlock"
		noRole  = "factors block unlock"
		always  = "factors block unlock role"
		notSelf = unlock
	)
	// What an actor may do: to a plain user, a viewer and a helpdesk; to an admin and an owner; and to the user for whom
	// it acts, plain or admin.
	for name, c := range map[string]struct {
		actor               audit.Actor
		plain, admins, self string
	}{
		"nobody":                          {audit.Actor{}, never, never, never},
		"the user":                        {audit.ByUser(), never, never, never},
		"the user by a login system":      {audit.ByUser().WithClient("c"), never, never, never},
		"a client":                        {audit.ByClient("c", []string{"reset:mfa", "delete:users"}, storage.House), noRole, unlock, noRole},
		"a client with admins' scope":     {audit.ByClient("c", strong, storage.House), noRole, noRole, noRole},
		"a client for a user":             {audit.ByClient("c", []string{"reset:mfa"}, self), noRole, unlock, notSelf},
		"one for a user, admins' scope":   {audit.ByClient("c", strong, self), noRole, noRole, notSelf},
		"the operator":                    {audit.ByOperator(0), always, always, always},
		"the operator, who is nobody":     {audit.ByOperator(65534), always, always, always},
		"the operator by an admin's call": {audit.ByOperator(1000).In("mfa_reset"), always, always, always},
	} {
		for action, word := range actions {
			check := func(uid storage.UID, role user.Role, may string) {
				t.Helper()
				err := admin.May(c.actor, action, &user.User{UID: uid, ID: "x", Role: role})
				if allowed := slices.Contains(strings.Fields(may), word); allowed != (err == nil) || !allowed && !errors.Is(err, admin.ErrRefused) {
					t.Errorf("%s, %s, role %q, self %t: %v", name, word, role, uid == self, err)
				}
			}
			for _, role := range []user.Role{user.NoRole, user.Viewer, user.Helpdesk} {
				check(other, role, c.plain)
				check(self, role, c.self)
			}
			for _, role := range []user.Role{user.Admin, user.Owner} {
				check(other, role, c.admins)
			}
		}
	}
	// Acting for oneself stays closed to an admin with every scope.
	err := admin.May(audit.ByClient("c", strong, self), admin.ChangeFactors, &user.User{UID: self, Role: user.Owner})
	if !errors.Is(err, admin.ErrRefused) {
		t.Errorf("an owner himself: %v", err)
	}
}

func TestMay_SaysWhy(t *testing.T) {
	uid := storage.NewUID()
	for want, err := range map[string]error{
		"nobody changes his own factors by a management call": admin.May(audit.ByClient("c", nil, uid), admin.ChangeFactors, &user.User{UID: uid}),
		"the factors of an admin are changed with scope reset:admin_mfa only": admin.May(
			audit.ByClient("c", nil, storage.House), admin.ChangeFactors, &user.User{UID: uid, Role: user.Admin}),
		"the factors of this user are not for this caller to change": admin.May(audit.ByUser(), admin.ChangeFactors, &user.User{UID: uid}),
	} {
		if err == nil || err.Error() != want || storage.CodeOf(err) != storage.Denied {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
