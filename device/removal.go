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
	return errors.Join(tellLast(tx, uid, e, notice), Put(tx, uid, e), recovery.ForgetReplies(tx, uid))
}

// tellLast tells the phone of an enrollment that ends, if there is something to tell, and settles which notices it can still
// read: none that come later. Its address is kept until it was told.
func tellLast(tx *storage.Tx, uid storage.UID, e *Enrollment, notice *recovery.NoticePayload) error {
	to := e.PushAddress()
	if notice == nil {
		to = push.Address{}
	}
	if to.IsZero() {
		e.Push.Address = push.KeptAddress{}
	}
	var err error
	if e.Push.NoticesUntil, err = recovery.LastNotice(tx, uid); err != nil || notice == nil {
		return err
	}
	one := *notice
	one.Enrollment = e.ID
	told, err := recovery.WriteNotice(tx, uid, one)
	if err != nil || to.IsZero() {
		return err
	}
	return recovery.PushNotice(tx, uid, to.Through(), told)
}

// SetStatus gives an enrollment that is not over another status, and wakes who waits.
func SetStatus(tx *storage.Tx, uid storage.UID, e *Enrollment, is Status) error {
	e.Status = is
	e.Changed = tx.Now()
	tx.Wake(uid)
	return Put(tx, uid, e)
}
