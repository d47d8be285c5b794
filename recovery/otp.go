package recovery

import (
	"errors"

	"tutela/storage"
	"tutela/storage/audit"
)

// The limits on one-time codes. Their channel is separate from those of the recovery code: a one-time code has 20 bits,
// so the limits close it for right codes, too. Only a right one-time code, or an admin, opens it.

// MayTryOTP returns an error while the channel of one-time codes is closed. Call it first: after an error compare no
// code and count nothing.
//
// Errors: ErrLimited, with the time to wait.
func MayTryOTP(tx *storage.Tx, uid storage.UID) error {
	l, err := limitOf(tx, uid, OTPChannel)
	if err != nil {
		return err
	}
	err = l.refuse(tx)
	if errors.Is(err, ErrLimited) {
		tx.CountTry(otpTried, codeLimited)
	}
	return err
}

// OTPRight forgets the wrong one-time codes after a right one.
func OTPRight(tx *storage.Tx, uid storage.UID) error {
	tx.Count(otpTried, CodeRight)
	return open(tx, uid, []Channel{OTPChannel})
}

// OTPWrong counts a wrong one-time code. The tenth in a row, and each from the hundredth on, is recorded as an event;
// the tenth and the hundredth are announced to the user's phones, since whoever tries codes may know her password. The
// caller returns its refusal by [storage.Kept], so that the count is kept.
//
// Errors: ErrLimited, while the channel waits.
func OTPWrong(tx *storage.Tx, uid storage.UID, actor audit.Actor) error {
	l, err := countWrong(tx, uid, OTPChannel)
	if err != nil {
		return err
	}
	tx.Count(otpTried, codeWrong)
	tenth := l.Failures == freeFailures+1
	if !tenth && l.Failures < closeFailures {
		return nil
	}
	e := audit.Event{Type: audit.OTPRateLimit, UID: uid, Facts: audit.Facts{audit.FactChannel: audit.Word(OTPChannel)}}
	err = audit.Record(tx, actor, e, audit.Detail{})
	if tenth || l.Failures == closeFailures {
		err = errors.Join(err, Notify(tx, uid, NoticePayload{Notice: NoticeOTPGuessed}))
	}
	return err
}
