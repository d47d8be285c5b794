package admin

import (
	"context"
	"errors"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// ErrTestsOften reports a phone to which as many tests were sent as may be in an hour, with the time to wait.
var ErrTestsOften = storage.NewError(storage.Limited, "this phone was sent ten tests within an hour: wait before the next")

// TestPush sends a test to a phone of a user, and returns what the push service says. It changes nothing of hers, so an admin may send one
// to his own phone. The call is recorded before the message leaves.
//
// Errors: ErrRefused, for whoever is no admin or owner; user.ErrUnknown; ErrTestsOften; those of device.Service.TestPush.
func (s *Service) TestPush(ctx context.Context, userID, enrollment string, actor audit.Actor) (device.Trial, error) {
	var uid storage.UID
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		if err := mayTestPush(tx, actor); err != nil {
			return err
		}
		u, err := look(tx, actor, userID)
		if err != nil {
			return err
		}
		uid = u.UID
		e, err := device.Get(tx, u.UID, enrollment)
		if err == nil {
			err = device.CountCall(tx, u.UID, e, device.TestedPush)
		}
		if errors.Is(err, device.ErrTooOften) {
			err = ErrTestsOften.After(storage.RetryAfter(err))
		}
		if err != nil {
			return err
		}
		return audit.RecordCall(tx, actor.In(audit.CallTestPush), uid)
	})
	if err != nil {
		return device.Trial{}, err
	}
	return s.devices.TestPush(ctx, uid, enrollment)
}

// mayTestPush returns ErrRefused but for the operator, and whoever is an admin or owner now.
//
// Errors: ErrRefused.
func mayTestPush(tx *storage.Tx, actor audit.Actor) error {
	if actor.IsOperator() {
		return nil
	}
	if !actor.IsAdmin() {
		return ErrRefused
	}
	who, err := user.Get(tx, actor.ActsAs())
	switch {
	case errors.Is(err, user.ErrUnknown):
		return ErrRefused
	case err != nil:
		return err
	case who.Blocked, user.Admin.Above(who.Role):
		return refusals[RoleTooLow]
	}
	return nil
}
