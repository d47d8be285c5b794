package device

import (
	"errors"
	"time"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
)

// Retire ends an enrollment of any type, so that it cannot authenticate any more. It erases its secrets and the user's
// kept replies, and wakes waiting calls. It sends notice to the enrollment's phone, unless notice is nil.
func Retire(tx *storage.Tx, uid storage.UID, e *Enrollment, notice *recovery.NoticePayload) error {
	tx.Count(EnrollmentsEnded, endedForAll)
	if e.Status == Suspended {
		e.Was = Suspended
	}
	e.Status = Retired
	e.Changed = tx.Now()
	e.endPush()
	forgotten := e.endPasskey(tx, uid)
	tx.Wake(uid)
	_, err := recovery.ForgetBrowsers(tx, uid)
	return errors.Join(err, forgotten, tellLast(tx, uid, e, notice), Put(tx, uid, e), forgetRetired(tx, uid), recovery.ForgetReplies(tx, uid))
}

// tellLast sends the last notice, if any, to the phone of an enrollment that ends. The phone can read no notice that comes
// later. Its addresses are kept until the notice was sent there.
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

// SetStatus changes the status of an enrollment that has not ended, and wakes waiting calls. An enrollment that becomes
// active again gets another device token, because a stolen token may have been the reason for its suspension. For one
// that is suspended it erases the kept replies and the recovery code in them.
func SetStatus(tx *storage.Tx, uid storage.UID, e *Enrollment, is Status) error {
	var forgotten error
	switch is {
	case Active:
		e.spendToken()
	case Suspended:
		_, forgotten = recovery.ForgetBrowsers(tx, uid)
		forgotten = errors.Join(forgotten, recovery.ForgetRepliesOf(tx, uid, e.ID))
	}
	e.Status = is
	e.Disowned = time.Time{} // an admin's decision replaces the user's
	e.Changed = tx.Now()
	tx.Wake(uid)
	return errors.Join(forgotten, Put(tx, uid, e))
}
