package admin

import (
	"errors"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/passkey"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Action is what another person does to a user: the operator, an admin's program by a management call, or an admin who is
// signed in.
type Action int

// The actions.
const (
	ChangeFactors Action = iota + 1 // add or replace an enrollment, a ticket, the recovery code; reset
	Remove                          // remove an enrollment or another way to authenticate, or the user
	Suspend                         // suspend an enrollment
	Resume                          // end that
	CheckCaller                     // ask the user's phones whether it is she who rings
	Block                           // block the user, or take the block back
	Unlock                          // end the waits after wrong codes: it removes nothing and gives nobody a way in
	SetEmail                        // change the address by which the user is told and found
	SetRole                         // make the user an admin of some kind, or none
	Describe                        // change a name, a picture or metadata, which open nothing here
)

// ScopeResetAdminMFA lets a client act on users with role admin or owner. An owner's session has it only when the owner has
// just logged in again.
const ScopeResetAdminMFA = "reset:admin_mfa"

// ErrRefused reports an action on a user that this actor may not take.
var ErrRefused = storage.NewError(storage.Denied, "the factors of this user are not for this caller to change")

// May is the only rule on who may act on whom.
//
//   - The operator may do everything.
//
//   - A client may not act on the user for whom it acts, nor on a person whose session made it or who saw its secret. On a user
//     with role admin or owner it may act only with the scope reset:admin_mfa. SetRole it may never do, and Describe always.
//
//   - An admin who is signed in may act only on users with a lower role, so never on himself. On a user with role admin an
//     owner may act only with the scope reset:admin_mfa. Remove, Block, SetEmail and Describe need an admin, SetRole an owner.
//     The role comes from the user's record as tx reads it; a blocked user has none.
//
//   - No other actor may do anything here. Users prove what they do to themselves.
//
//   - For an hour after a phone of the user has denied a caller check, only an owner and the operator may do more than Suspend,
//     CheckCaller and Describe. What a phone has denied counts for nothing while it is suspended, and never again when it is
//     taken away as that.
//
// What would leave no owner able to sign in is the operator's alone: see [KeepsOwner]. Before May, the scopes have decided which
// calls a client or a session may make at all.
//
// Errors: ErrRefused.
func May(tx *storage.Tx, actor audit.Actor, action Action, u *user.User) error {
	switch {
	case actor.IsOperator():
		return nil
	case actor.IsClient():
		return errors.Join(clientMay(actor, action, u), undenied(tx, action, u))
	case actor.IsAdmin():
		return adminMay(tx, actor, action, u)
	default:
		return ErrRefused
	}
}

// undenied returns ErrRefused while a denied caller check stops an action.
func undenied(tx *storage.Tx, action Action, u *user.User) error {
	if !stoppedByDenial(action) {
		return nil
	}
	until, err := login.CallerDeniedUntil(tx, u.UID)
	if err != nil || until.IsZero() {
		return err
	}
	return ErrRefused.With("a phone of this user has said that it is not she who rings: until %s only an owner may do this; "+
		"if that phone is lost, suspend it", storage.FormatInstant(until))
}

func clientMay(actor audit.Actor, action Action, u *user.User) error {
	switch {
	case action == SetRole:
		return ErrRefused.With("only owners give roles")
	case action == Describe:
		return nil
	case actor.ActsFor(u.UID):
		return ErrRefused.With("nobody changes his own factors by a management call")
	default:
		return guarded(actor, u)
	}
}

// least holds the lowest role that may take each action.
var least = map[Action]user.Role{
	ChangeFactors: user.Helpdesk,
	Suspend:       user.Helpdesk,
	Resume:        user.Helpdesk,
	CheckCaller:   user.Helpdesk,
	Unlock:        user.Helpdesk,
	Remove:        user.Admin,
	Block:         user.Admin,
	SetEmail:      user.Admin,
	Describe:      user.Admin,
	SetRole:       user.Owner,
}

func adminMay(tx *storage.Tx, actor audit.Actor, action Action, u *user.User) error {
	why, err := refusalOf(tx, actor, action, u)
	if err != nil || why == "" {
		return err
	}
	if why == CallerDenied {
		return undenied(tx, action, u)
	}
	return refusals[why]
}

// guarded returns ErrRefused for a user with role admin or owner, unless the actor has the scope for them.
func guarded(actor audit.Actor, u *user.User) error {
	if user.Admin.Above(u.Role) || actor.Has(ScopeResetAdminMFA) {
		return nil
	}
	return ErrRefused.With("the factors of an admin are changed with scope %s only", ScopeResetAdminMFA)
}

// KeepsOwner returns ErrRefused for what would take the last owner away who can sign in: his role, his MFA, or himself. Who could
// sign in to the dashboard leaves another who can; who could not leaves one who can, or has an active enrollment. Whoever is blocked
// counts for nothing. The operator may do it.
//
// Errors: ErrRefused.
func KeepsOwner(tx *storage.Tx, actor audit.Actor, u *user.User) error {
	if actor.IsOperator() || u.Role != user.Owner || u.Blocked {
		return nil
	}
	others, err := user.OwnersBut(tx, u.UID)
	if err != nil {
		return err
	}
	own, err := passkey.AdminsOf(tx, u.UID)
	if err != nil {
		return err
	}
	for _, uid := range others {
		stays, err := passkey.AdminsOf(tx, uid)
		if err != nil || len(stays) > 0 {
			return err
		}
		if len(own) > 0 {
			continue
		}
		set, err := device.All(tx, uid)
		if err != nil || len(set.Active()) > 0 {
			return err
		}
	}
	return ErrRefused.With("this would leave no owner who can sign in: that is for the operator of the machine to do")
}

// keepsWayIn is KeepsOwner for what takes enrollments of a user away, for a time or for good, when no other one is active.
//
// Errors: ErrRefused.
func keepsWayIn(tx *storage.Tx, actor audit.Actor, u *user.User, gone device.Set) error {
	set, err := device.All(tx, u.UID)
	if err != nil {
		return err
	}
	for _, e := range set.Active() {
		if len(gone.Only(e.ID)) == 0 {
			return nil
		}
	}
	return KeepsOwner(tx, actor, u)
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
