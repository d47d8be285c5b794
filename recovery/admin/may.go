package admin

import (
	"errors"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Action is what somebody else than the user does to her: the operator, an admin's program by a management call, or an
// admin who is signed in.
type Action int

// The actions.
const (
	ChangeFactors Action = iota + 1 // add, replace, suspend or remove an enrollment, a ticket, the recovery code, or the user
	Block                           // block the user, or take the block back
	Unlock                          // open what guessing has closed: it takes nothing and gives nobody a way in
	SetRole                         // make the user an admin of some kind, or none
)

// ScopeResetAdminMFA lets a client act on users with role admin or owner. The session of an owner has it only when the owner
// has just proven again to be there.
const ScopeResetAdminMFA = "reset:admin_mfa"

// ErrRefused reports an action on a user that this actor may not take.
var ErrRefused = storage.NewError(storage.Denied, "the factors of this user are not for this caller to change")

// May is the rule on who acts on whom, the only one.
//
//   - The operator may do everything.
//   - A client acts on nobody for whom it acts, and on a user with role admin or owner only with scope reset:admin_mfa;
//     Unlock is free to it, and SetRole closed.
//   - An admin who is signed in acts on roles below the own one alone, so never on himself; on a user with role admin an
//     owner acts only with scope reset:admin_mfa, but for Unlock. Block takes an admin, SetRole an owner. The role is that
//     of the user's record as tx reads it, and who is blocked has none.
//   - Whoever else is named as the actor may do nothing here: what users do to themselves, they prove.
//
// Which calls a client or a session may make at all, its scopes have said before.
//
// Errors: ErrRefused.
func May(tx *storage.Tx, actor audit.Actor, action Action, u *user.User) error {
	switch {
	case actor.IsOperator():
		return nil
	case actor.IsClient():
		return clientMay(actor, action, u)
	case actor.IsAdmin():
		return adminMay(tx, actor, action, u)
	default:
		return ErrRefused
	}
}

func clientMay(actor audit.Actor, action Action, u *user.User) error {
	switch {
	case action == SetRole:
		return ErrRefused
	case action == Unlock:
		return nil
	case actor.ActsFor(u.UID):
		return ErrRefused.With("nobody changes his own factors by a management call")
	default:
		return guarded(actor, u)
	}
}

// least are the lowest roles that take an action.
var least = map[Action]user.Role{
	ChangeFactors: user.Helpdesk,
	Unlock:        user.Helpdesk,
	Block:         user.Admin,
	SetRole:       user.Owner,
}

func adminMay(tx *storage.Tx, actor audit.Actor, action Action, u *user.User) error {
	// The session is older than this call: its person may have been blocked, deleted or given another role.
	who, err := user.Get(tx, actor.ActsAs())
	if errors.Is(err, user.ErrUnknown) {
		return ErrRefused
	}
	if err != nil {
		return err
	}
	switch {
	case who.Blocked, least[action].Above(who.Role):
		return ErrRefused
	case actor.ActsFor(u.UID):
		return ErrRefused.With("nobody acts on himself as an admin")
	case !who.Role.Above(u.Role):
		return ErrRefused.With("an admin acts on users with a lower role only")
	case action == Unlock:
		return nil
	default:
		return guarded(actor, u)
	}
}

// guarded returns ErrRefused for a user with role admin or owner, unless the actor has the scope for them.
func guarded(actor audit.Actor, u *user.User) error {
	if user.Admin.Above(u.Role) || actor.Has(ScopeResetAdminMFA) {
		return nil
	}
	return ErrRefused.With("the factors of an admin are changed with scope %s only", ScopeResetAdminMFA)
}

// find returns the user with a login system's id, for an actor who may do action to that user.
//
// Errors: user.ErrUnknown; ErrRefused.
func find(tx *storage.Tx, actor audit.Actor, action Action, id string) (*user.User, error) {
	u, err := user.Find(tx, id)
	if err == nil {
		err = May(tx, actor, action, u)
	}
	if err != nil {
		return nil, err
	}
	return u, nil
}
