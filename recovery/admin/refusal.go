package admin

import (
	"errors"

	"tutela/device/login"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Refusal is why an admin who is signed in may not act on a user. The zero value says that he may.
type Refusal string

// The refusals.
const (
	RoleEnded    Refusal = "role_ended"    // the admin was blocked or deleted, or has no role any more
	RoleTooLow   Refusal = "role_too_low"  // the action takes a higher role
	Oneself      Refusal = "oneself"       // nobody acts on himself
	NotBelow     Refusal = "not_below"     // the user has the same role, or a higher one
	NotFresh     Refusal = "not_fresh"     // to be allowed, the admin proves again who he is
	CallerDenied Refusal = "caller_denied" // a phone of the user has said that it is not she who rings
	NoCodeScope  Refusal = "no_code_scope" // the session has no scope to issue recovery codes
)

// ScopeIssueCodes lets an admin who is signed in issue recovery codes, which he sees.
const ScopeIssueCodes = "issue:recovery_codes"

var refusals = map[Refusal]error{
	RoleEnded:   ErrRefused,
	RoleTooLow:  ErrRefused.With("this takes a higher role than yours"),
	Oneself:     ErrRefused.With("nobody acts on himself as an admin"),
	NotBelow:    ErrRefused.With("an admin acts on users with a lower role only"),
	NotFresh:    ErrRefused.With("the factors of an admin are changed with scope %s only", ScopeResetAdminMFA),
	NoCodeScope: ErrRefused.With("recovery codes are issued with scope %s only", ScopeIssueCodes),
}

// refusalOf returns why the person who is signed in as an admin may not take an action on a user.
func refusalOf(tx *storage.Tx, actor audit.Actor, action Action, u *user.User) (Refusal, error) {
	// The session is older than this call: its person may have been blocked, deleted or given another role.
	who, err := user.Get(tx, actor.ActsAs())
	if errors.Is(err, user.ErrUnknown) {
		return RoleEnded, nil
	}
	if err != nil {
		return "", err
	}
	switch {
	case who.Blocked, who.Role == user.NoRole:
		return RoleEnded, nil
	case least[action].Above(who.Role):
		return RoleTooLow, nil
	case actor.ActsFor(u.UID):
		return Oneself, nil
	case !who.Role.Above(u.Role):
		return NotBelow, nil
	case !user.Admin.Above(u.Role) && !actor.Has(ScopeResetAdminMFA):
		return NotFresh, nil
	case who.Role == user.Owner, !stoppedByDenial(action):
		return "", nil
	}
	until, err := login.CallerDeniedUntil(tx, u.UID)
	if err != nil || until.IsZero() {
		return "", err
	}
	return CallerDenied, nil
}

// stoppedByDenial reports whether a denied caller check stops an action.
func stoppedByDenial(action Action) bool {
	return action != Suspend && action != CheckCaller && action != Describe
}
