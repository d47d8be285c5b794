package access

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"tutela/device/push/provider"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// ErrWeakens reports a policy that would become weaker than the caller may make it.
var ErrWeakens = storage.NewError(storage.Denied, "this policy is weakened by the operator only")

// strongest lists the values of policies from the strongest to the weakest.
var strongest = map[string][]string{
	"approval.presence":         {"number", "prefer-number", "tap"},
	"enrollment.after_reset":    {"ticket", "open"},
	"passkey.clone":             {"refuse", "accept"},
	"passkey.user_verification": {"required", "preferred", "discouraged"},
	"restore.dispute":           {"suspend", "tell"},
	"restore.veto":              {"on", "alive", "off"},
}

// fewestDigits is how many digits a login should show at least.
//
// Source: NIST SP 800-63B-4 §3.1.3 (at least six decimal digits).
const fewestDigits = 6

// Weakens reports whether a policy would let in whom it keeps out now.
func Weakens(name, from, to string) bool {
	if order, ranked := strongest[name]; ranked {
		return slices.Index(order, to) > slices.Index(order, from)
	}
	if name == "approval.digits" {
		before, err := strconv.Atoi(from)
		after, err2 := strconv.Atoi(to)
		return err == nil && err2 == nil && after < before && after < fewestDigits
	}
	return false
}

// LeastToSet returns the lowest role with which an admin who is signed in sets a policy: factors and push services are an admin's, like
// the calls about them, and everything else is an owner's.
//
// Source: management-api.md "Who may".
func LeastToSet(name string) user.Role {
	if strings.HasPrefix(name, "factor.") || name == provider.Setting() {
		return user.Admin
	}
	return user.Owner
}

// maySetPolicy returns an error unless the actor may change a policy from one value to another. Scopes have decided before which calls a
// client may make at all.
//
// Errors: admin.ErrRefused; admin.ErrProveAgain; ErrWeakens.
func maySetPolicy(tx *storage.Tx, actor audit.Actor, name, from, to string) error {
	if actor.IsOperator() {
		return nil
	}
	weakens := Weakens(name, from, to)
	if !actor.IsAdmin() {
		if weakens {
			return ErrWeakens.With("%s is weakened to %s by the operator only: tutela policy set %s %s", name, to, name, to)
		}
		return nil
	}
	// The session is older than this call: its person may have been blocked, deleted or given another role.
	who, err := user.Get(tx, actor.ActsAs())
	switch {
	case errors.Is(err, user.ErrUnknown):
		return admin.ErrRefused
	case err != nil:
		return err
	case who.Blocked, LeastToSet(name).Above(who.Role):
		return admin.ErrRefused.With("%s is set with role %s", name, LeastToSet(name))
	case weakens && who.Role != user.Owner:
		return ErrWeakens.With("%s is weakened to %s by an owner or the operator only", name, to)
	case weakens && !actor.Has(admin.ScopeResetAdminMFA):
		return admin.ErrProveAgain
	}
	return nil
}
