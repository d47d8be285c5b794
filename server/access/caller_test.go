package access

import (
	"testing"

	"tutela/recovery/user"
	"tutela/storage"
)

func TestMayChangeFactors_FollowsTheRule(t *testing.T) {
	self, other := storage.NewUID(), storage.NewUID()
	program := Caller{ClientID: "c", Scopes: []string{"reset:mfa", "delete:users"}}
	forSelf := Caller{ClientID: "c", Scopes: program.Scopes, ActsAs: self}
	strong := Caller{ClientID: "c", Scopes: []string{ScopeResetAdminMFA}}
	strongSelf := Caller{ClientID: "c", Scopes: strong.Scopes, ActsAs: self}
	for _, c := range []struct {
		name   string
		caller Caller
		target storage.UID
		role   user.Role
		may    bool
	}{
		{"a program, a plain user", program, other, user.NoRole, true},
		{"a program, a viewer", program, other, user.Viewer, true},
		{"a program, a helpdesk", program, other, user.Helpdesk, true},
		{"a program, an admin", program, other, user.Admin, false},
		{"a program, an owner", program, other, user.Owner, false},
		{"with reset:admin_mfa, an admin", strong, other, user.Admin, true},
		{"with reset:admin_mfa, an owner", strong, other, user.Owner, true},
		{"acting for a user, himself", forSelf, self, user.NoRole, false},
		{"acting for a user, another", forSelf, other, user.NoRole, true},
		{"acting for an admin with reset:admin_mfa, himself", strongSelf, self, user.Admin, false},
		{"an operator, a plain user", Operator(0), other, user.NoRole, true},
		{"an operator, an owner", Operator(0), other, user.Owner, true},
		{"nobody, an admin", Caller{}, other, user.Admin, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := MayChangeFactors(c.caller, c.target, c.role)
			if c.may {
				must(t, err)
			} else {
				wantErr(t, err, ErrAdminResetRefused)
			}
		})
	}
}

func TestRequireScope_SaysWhatIsWanted(t *testing.T) {
	caller := Caller{Scopes: []string{"read:users"}}
	must(t, RequireScope(caller, "update:users", "read:users"))
	must(t, RequireScope(Operator(1), "update:users"))
	err := RequireScope(caller, "update:users", "issue:recovery_codes")
	wantErr(t, err, ErrScope)
	if err.Error() != "Insufficient scope, expected any of: update:users,issue:recovery_codes" {
		t.Error(err)
	}
	wantErr(t, RequireScope(Caller{}, "read:users"), ErrScope)
	wantErr(t, RequireScope(Caller{}), ErrScope)
}

func TestCaller_IsNamedInEvents(t *testing.T) {
	for want, caller := range map[string]Caller{"operator:1000": Operator(1000), "client:abc": {ClientID: "abc"}} {
		if caller.By() != want {
			t.Errorf("%s, want %s", caller.By(), want)
		}
	}
}
