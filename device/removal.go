package device

import (
	"errors"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
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

// SetStatus gives an enrollment that is not over another status, and wakes who waits.
func SetStatus(tx *storage.Tx, uid storage.UID, e *Enrollment, is Status) error {
	e.Status = is
	e.Changed = tx.Now()
	tx.Wake(uid)
	return Put(tx, uid, e)
}
