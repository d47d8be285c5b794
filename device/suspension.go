package device

import (
	"context"
	"errors"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Suspend takes an enrollment out of use at once and reversibly, as when its phone is reported lost: it is not asked,
// and nothing of its own revives it. Once more is no error. may is asked in the transaction whether the caller may do it.
//
// Errors: ErrNoEnrollment; those of may.
//
// Source: NIST SP 800-63B-4 §4.5.
func (s *Service) Suspend(ctx context.Context, id string, from recovery.Origin, may func(storage.UID, *user.User) error) error {
	return s.setStatus(ctx, id, Active, Suspended, from, may)
}

// Resume ends a suspension. For an enrollment that is not suspended it does nothing. may is asked in the transaction
// whether the caller may do it.
//
// Errors: ErrNoEnrollment; those of may.
func (s *Service) Resume(ctx context.Context, id string, from recovery.Origin, may func(storage.UID, *user.User) error) error {
	return s.setStatus(ctx, id, Suspended, Active, from, may)
}

func (s *Service) setStatus(ctx context.Context, id string, was, is Status, from recovery.Origin, may func(storage.UID, *user.User) error) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		uid, e, err := findShown(tx, id)
		if err != nil {
			return err
		}
		u, err := user.Get(tx, uid)
		if err == nil {
			err = may(uid, u)
		}
		if err != nil || e.Status != was {
			return err
		}
		e.Status, e.Changed = is, tx.Now()
		tx.Wake(uid)
		facts := map[string]string{"status": string(is)}
		return errors.Join(Put(tx, uid, e),
			audit.Record(tx, event(from, audit.UpdateDevice, uid, facts), detail(from, e)),
			from.RecordCall(tx, uid))
	})
}
