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
	e.endPush()
	tx.Wake(uid)
	return errors.Join(tellLast(tx, uid, e, notice), Put(tx, uid, e), forgetRetired(tx, uid), recovery.ForgetReplies(tx, uid))
}

// tellLast tells the phone of an enrollment that ends, if there is something to tell, and settles which notices it can still
// read: none that come later. Its addresses are kept until it was told there.
func tellLast(tx *storage.Tx, uid storage.UID, e *Enrollment, notice *recovery.NoticePayload) error {
	for _, unproven := range []bool{false, true} {
		if kept := e.slot(unproven); notice == nil || !kept.Serves() {
			*kept = push.KeptAddress{}
		}
	}
	var err error
	if e.Push.NoticesUntil, err = recovery.LastNotice(tx, uid); err != nil || notice == nil {
		return err
	}
	one := *notice
	one.Enrollment = e.ID
	told, err := recovery.WriteNotice(tx, uid, one)
	if err != nil {
		return err
	}
	return pushTo(tx, uid, e, told)
}

// SetStatus gives an enrollment that is not over another status, and wakes who waits. One that an admin has made active again
// gets another device token: the one before may be why it was out of service. One that is suspended is shown no reply again that
// was kept for it, nor the recovery code in it.
func SetStatus(tx *storage.Tx, uid storage.UID, e *Enrollment, is Status) error {
	var forgotten error
	switch is {
	case Active:
		e.spendToken()
	case Suspended:
		forgotten = recovery.ForgetRepliesOf(tx, uid, e.ID)
	}
	e.Status = is
	e.Changed = tx.Now()
	tx.Wake(uid)
	return errors.Join(forgotten, Put(tx, uid, e))
}
