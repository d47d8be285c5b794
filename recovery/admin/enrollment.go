package admin

import (
	"context"
	"errors"
	"slices"

	"tutela/backup/restore"
	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// ReadEnrollment returns an enrollment as admins see it ([device.Set.Shown]).
//
// Errors: device.ErrNoEnrollment.
func (s *Service) ReadEnrollment(ctx context.Context, id string) (e *device.Enrollment, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		_, e, err = device.FindShown(tx, id)
		return err
	})
	return e, err
}

// OwnerOf returns the user of an enrollment that admins see, and all her enrollments that admins see.
//
// Errors: device.ErrNoEnrollment.
func (s *Service) OwnerOf(ctx context.Context, id string) (owner user.User, set device.Set, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		uid, _, err := device.FindShown(tx, id)
		if err != nil {
			return err
		}
		u, err := user.Get(tx, uid)
		if err != nil {
			return err
		}
		owner = *u
		all, err := device.All(tx, uid)
		set = all.Shown()
		return err
	})
	return owner, set, err
}

// EnrollmentsOf returns the user's enrollments as admins see them ([device.Set.Shown]), oldest first.
//
// Errors: user.ErrUnknown.
func (s *Service) EnrollmentsOf(ctx context.Context, userID string) (list device.Set, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err != nil {
			return err
		}
		set, err := device.All(tx, u.UID)
		list = set.Shown()
		return err
	})
	return list, err
}

// Suspend takes an enrollment out of use at once, until Resume: for example because its phone is reported lost. The
// enrollment is not asked, and no call of its own revives it. Calling it again is no error. What it has vetoed stands: see VetoedBy.
//
// Errors: device.ErrNoEnrollment; ErrRefused.
//
// Source: NIST SP 800-63B-4 §4.5.
func (s *Service) Suspend(ctx context.Context, id string, actor audit.Actor) error {
	return s.setStatus(ctx, id, device.Suspended, actor, Suspend, device.Active, device.Left)
}

// VetoedBy returns the ids of the restores that a phone's vetoes keep closed, even after its suspension;
// [Service.Unlock] lifts them. A suspended phone cannot veto again, so after Suspend the list is complete.
//
// Errors: device.ErrNoEnrollment.
func (s *Service) VetoedBy(ctx context.Context, id string) (vetoed []string, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		uid, _, err := device.FindShown(tx, id)
		if err != nil {
			return err
		}
		vetoed, err = restore.VetoedBy(tx, uid, id)
		return err
	})
	return vetoed, err
}

// Resume ends a suspension, and brings back an enrollment that only its device token has deleted. For an active enrollment it
// does nothing.
//
// Errors: device.ErrNoEnrollment; ErrRefused.
func (s *Service) Resume(ctx context.Context, id string, actor audit.Actor) error {
	return s.setStatus(ctx, id, device.Active, actor, Resume, device.Suspended, device.Left)
}

// setStatus gives an enrollment the status is, if its present status is one of from.
func (s *Service) setStatus(ctx context.Context, id string, is device.Status, actor audit.Actor, action Action, from ...device.Status) error {
	return s.changeEnrollment(ctx, id, actor, action, func(tx *storage.Tx, u *user.User, e *device.Enrollment) error {
		// An admin may also suspend what its user has disowned: then her recovery code does not bring it back.
		disowned := is == device.Suspended && e.Status == device.Suspended && !e.Disowned.IsZero()
		if !slices.Contains(from, e.Status) && !disowned {
			return nil
		}
		if is == device.Suspended {
			if err := keepsWayIn(tx, actor, u, device.Set{e}); err != nil {
				return err
			}
		}
		event := audit.Event{
			Type:  audit.UpdateDevice,
			UID:   u.UID,
			Facts: audit.Facts{audit.FactStatus: audit.Word(is), audit.FactFactor: audit.Word(e.Type)},
		}
		return errors.Join(device.SetStatus(tx, u.UID, e, is),
			audit.Record(tx, actor, event, e.Detail()),
			audit.RecordCall(tx, actor, u.UID))
	})
}

// RemoveEnrollment retires an enrollment. When the user has no other, of any type and suspended ones included, it resets her
// MFA, with a receipt.
//
// Errors: device.ErrNoEnrollment; ErrRefused.
func (s *Service) RemoveEnrollment(ctx context.Context, id string, actor audit.Actor) error {
	return s.changeEnrollment(ctx, id, actor, Remove, func(tx *storage.Tx, u *user.User, e *device.Enrollment) error {
		return s.remove(ctx, tx, u, device.Set{e}, actor)
	})
}

// remove retires some of the user's enrollments that admins see. When no other is left, it resets her MFA, with a
// receipt.
//
// Errors: ErrRefused, for the last owner's last that is active.
func (s *Service) remove(ctx context.Context, tx *storage.Tx, u *user.User, gone device.Set, actor audit.Actor) error {
	set, err := device.All(tx, u.UID)
	if err != nil {
		return err
	}
	if err := keepsWayIn(tx, actor, u, gone); err != nil {
		return err
	}
	// Without an authenticator the user would have no MFA, and no receipt would say who did that.
	if len(set.Shown()) == len(gone) {
		_, err = s.resetUser(ctx, tx, u, recovery.ResetRequest{Reason: lastRemoved}, actor)
		return err
	}
	return errors.Join(retire(tx, u, gone, actor), audit.RecordCall(tx, actor, u.UID))
}

// lastRemoved is the reason of a reset that nobody has given one.
const lastRemoved = "the last enrollment was removed"

func retire(tx *storage.Tx, u *user.User, gone device.Set, actor audit.Actor) error {
	var err error
	for _, e := range gone {
		event := audit.Event{
			Type:  audit.Unenroll,
			UID:   u.UID,
			Facts: audit.Facts{audit.FactWhy: audit.WhyAdmin, audit.FactFactor: audit.Word(e.Type)},
		}
		err = errors.Join(err,
			device.Retire(tx, u.UID, e, nil),
			audit.Record(tx, actor, event, e.Detail()))
	}
	return err
}

// changeEnrollment runs change on an enrollment that admins see, if the actor may act on its user.
//
// Errors: device.ErrNoEnrollment; ErrRefused; those of change.
func (s *Service) changeEnrollment(
	ctx context.Context, id string, actor audit.Actor, action Action, change func(*storage.Tx, *user.User, *device.Enrollment) error,
) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		uid, e, err := device.FindShown(tx, id)
		if err != nil {
			return err
		}
		u, err := user.Get(tx, uid)
		if err != nil {
			return err
		}
		err = May(tx, actor, action, u)
		if err != nil {
			return err
		}
		return change(tx, u, e)
	})
}
