package device

import (
	"context"
	"errors"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Suspend takes an enrollment out of use at once and reversibly, as when its phone is reported lost: it is not asked,
// and nothing of its own revives it. Once more is no error.
//
// Errors: ErrNoEnrollment; user.ErrRefused.
//
// Source: NIST SP 800-63B-4 §4.5.
func (s *Service) Suspend(ctx context.Context, id string, actor audit.Actor) error {
	return s.setStatus(ctx, id, Active, Suspended, actor)
}

// Resume ends a suspension. For an enrollment that is not suspended it does nothing.
//
// Errors: ErrNoEnrollment; user.ErrRefused.
func (s *Service) Resume(ctx context.Context, id string, actor audit.Actor) error {
	return s.setStatus(ctx, id, Suspended, Active, actor)
}

func (s *Service) setStatus(ctx context.Context, id string, was, is Status, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		uid, e, err := findShown(tx, id)
		if err != nil {
			return err
		}
		_, err = user.GetFor(tx, actor, user.ChangeFactors, uid)
		if err != nil || e.Status != was {
			return err
		}
		e.Status = is
		e.Changed = tx.Now()
		tx.Wake(uid)
		event := audit.Event{Type: audit.UpdateDevice, UID: uid, Facts: audit.Facts{audit.FactStatus: audit.Word(is)}}
		return errors.Join(Put(tx, uid, e),
			audit.Record(tx, actor, event, e.detail()),
			audit.RecordCall(tx, actor, uid))
	})
}
