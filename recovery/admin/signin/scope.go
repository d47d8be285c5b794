package signin

import (
	"slices"

	"tutela/recovery/admin"
	"tutela/recovery/user"
)

// scopes are what each role may call, beside what the roles below it may. Whom an admin may act on is asked beside it: see
// [admin.May].
//
// Source: management-api.md "Who may".
var scopes = map[user.Role][]string{
	user.Viewer: {
		"read:users", "read:authentication_methods", "read:guardian_enrollments", "read:guardian_factors", "read:mfa_policies",
		"read:prompts", "read:logs", "read:logs_users", "read:recoverability", "read:stats", "read:clients",
	},
	user.Helpdesk: {"create:guardian_enrollment_tickets", "update:users", "issue:recovery_codes"},
	user.Admin: {
		"create:users", "delete:users", "update:users_app_metadata", "delete:guardian_enrollments", "create:authentication_methods",
		"update:authentication_methods", "delete:authentication_methods", "update:guardian_factors", "update:prompts",
		"manage:clients", "manage:webhooks",
	},
	user.Owner: {"update:mfa_policies", "manage:policies"},
}

// fresh are those that a role has only when its admin has just shown his passkey.
var fresh = map[user.Role][]string{
	user.Helpdesk: {admin.ScopeResetMFA},
	user.Owner:    {admin.ScopeResetAdminMFA},
}

// Scopes returns what an admin who is signed in may call. proved says that he has shown his passkey in the last five minutes: without
// that nobody is reset, and no owner acts on an admin.
func Scopes(role user.Role, proved bool) (list []string) {
	for _, of := range []user.Role{user.Viewer, user.Helpdesk, user.Admin, user.Owner} {
		if of.Above(role) {
			break
		}
		list = append(list, scopes[of]...)
		if proved {
			list = append(list, fresh[of]...)
		}
	}
	return slices.Clip(list)
}
