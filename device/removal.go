package device

import (
	"context"
	"errors"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Retire ends an enrollment of any type: what it authenticates by counts no longer and its secrets are erased, so are the
// user's kept replies, and who waits is woken. A notice, when it has one, tells its phone.
func Retire(tx *storage.Tx, uid storage.UID, e *Enrollment, notice *recovery.NoticePayload) error {
	e.Status = Retired
	e.Changed = tx.Now()
	e.Push.Watches = nil
	e.OTP = OneTimeCodes{}
	tx.Wake(uid)
	var told error
	if to := e.PushAddress(); !to.IsZero() && notice != nil {
		notice.Enrollment = e.ID
		told = recovery.NotifyThrough(tx, uid, to.Through(), *notice)
	} else {
		e.Push.Address = push.KeptAddress{} // else it is kept until the phone was told
	}
	return errors.Join(told, Put(tx, uid, e), recovery.ForgetReplies(tx, uid))
}

// RemoveEnrollment is an admin's removal of an enrollment. When no other is left, of any type and suspended ones
// included, it is a reset of the user's MFA, with a receipt.
//
// Errors: ErrNoEnrollment; user.ErrRefused.
func (s *Service) RemoveEnrollment(ctx context.Context, id string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		uid, e, err := findShown(tx, id)
		if err != nil {
			return err
		}
		if _, err := user.GetFor(tx, actor, user.ChangeFactors, uid); err != nil {
			return err
		}
		return s.removeByAdmin(ctx, tx, uid, e, actor)
	})
}

func (s *Service) removeByAdmin(ctx context.Context, tx *storage.Tx, uid storage.UID, e *Enrollment, actor audit.Actor) error {
	set, err := All(tx, uid)
	if err != nil {
		return err
	}
	if len(set.Shown()) == 1 {
		_, err := s.recovery.ResetIn(ctx, tx, uid, recovery.ResetRequest{Reason: "the last enrollment was removed", Actor: actor})
		return err
	}
	event := audit.Event{Type: audit.Unenroll, UID: uid, Facts: audit.Facts{audit.FactWhy: audit.WhyAdmin}}
	return errors.Join(Retire(tx, uid, e, nil),
		audit.Record(tx, actor, event, e.detail()),
		audit.RecordCall(tx, actor, uid))
}
