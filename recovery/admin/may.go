package admin

import (
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Action is what somebody else than the user does to her: the operator, or an admin's program by a management call.
type Action int

// The actions.
const (
	ChangeFactors Action = iota + 1 // add, replace, suspend or remove an enrollment, a ticket, the recovery code, or the user
	Block                           // block the user, or take the block back
	Unlock                          // open what guessing has closed: it takes nothing and gives nobody a way in
	SetRole                         // make the user an admin of some kind, or none
)

// ScopeResetAdminMFA lets a client act on users with role admin or owner.
const ScopeResetAdminMFA = "reset:admin_mfa"

// ErrRefused reports an action on a user that this actor may not take.
var ErrRefused = storage.NewError(storage.Denied, "the factors of this user are not for this caller to change")

// May is the rule on who acts on whom, the only one. The operator may do everything. A client acts on nobody for whom it
// acts, and on a user with role admin or owner only with scope reset:admin_mfa; Unlock is free to it, and SetRole closed.
// Whoever else is named as the actor may do nothing here: what users do to themselves, they prove.
//
// Errors: ErrRefused.
func May(actor audit.Actor, action Action, u *user.User) error {
	switch {
	case actor.IsOperator():
		return nil
	case !actor.IsClient() || action == SetRole:
		return ErrRefused
	case action == Unlock:
		return nil
	case actor.ActsFor(u.UID):
		return ErrRefused.With("nobody changes his own factors by a management call")
	case (u.Role == user.Admin || u.Role == user.Owner) && !actor.Has(ScopeResetAdminMFA):
		return ErrRefused.With("the factors of an admin are changed with scope %s only", ScopeResetAdminMFA)
	}
	return nil
}

// find returns the user with a login system's id, for an actor who may do action to that user.
//
// Errors: user.ErrUnknown; ErrRefused.
func find(tx *storage.Tx, actor audit.Actor, action Action, id string) (*user.User, error) {
	u, err := user.Find(tx, id)
	if err == nil {
		err = May(actor, action, u)
	}
	if err != nil {
		return nil, err
	}
	return u, nil
}
