package admin

import (
	"context"
	"errors"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// ScopeResetMFA lets a client reset users. A session of the dashboard has it only when its admin has just proved himself.
const ScopeResetMFA = "reset:mfa"

// ErrProveAgain reports what an admin who is signed in may do only when he has just shown his passkey.
var ErrProveAgain = storage.NewError(storage.Denied, "this needs your passkey once more")

// Reset removes every record of a user's MFA in one transaction and leaves a receipt. A second reset removes nothing and
// its receipt says so.
//
// Errors: user.ErrUnknown; ErrProveAgain; recovery.ErrReason; recovery.ErrCallerCheck; ErrRefused; login.ErrNoCallerCheck; login.ErrCallerUnsure.
func (s *Service) Reset(ctx context.Context, userID string, req recovery.ResetRequest, actor audit.Actor) (receipt recovery.Receipt, err error) {
	err = req.Validate()
	if err != nil {
		return recovery.Receipt{}, err
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		u, err := find(tx, actor, ChangeFactors, userID)
		if err != nil {
			return err
		}
		if err := s.callerAnswered(tx, u, req, actor); err != nil {
			return err
		}
		receipt, err = s.resetUser(ctx, tx, u, req, actor)
		return err
	})
	return receipt, err
}

// resetUser resets a user for an actor who may change her factors.
//
// Errors: ErrProveAgain; ErrRefused, for the last owner.
func (s *Service) resetUser(ctx context.Context, tx *storage.Tx, u *user.User, req recovery.ResetRequest, actor audit.Actor) (recovery.Receipt, error) {
	// What would be removed is shown before the admin has proved himself, and nothing is removed, by whatever call.
	if actor.IsAdmin() && !req.DryRun && !actor.Has(ScopeResetMFA) {
		return recovery.Receipt{}, ErrProveAgain
	}
	if err := KeepsOwner(tx, actor, u); err != nil {
		return recovery.Receipt{}, err
	}
	named, err := device.Named(tx, u.UID)
	if err != nil && !errors.Is(err, storage.ErrDamaged) { // what cannot be read is removed all the same
		return recovery.Receipt{}, err
	}
	return s.codes.Reset(ctx, tx, u, req, named, actor)
}
