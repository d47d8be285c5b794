package device

import (
	"crypto/subtle"
	"time"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// Answers reports whether the enrollment can satisfy a login: it is active, or only its device token has deleted it, less
// than seven days ago. So a stolen token takes no phone away, and does not turn MFA off.
func (e *Enrollment) Answers() bool { return e.Status == Active || e.Status == Left }

// lapse retires an enrollment that left seven days ago, and erases addresses that were lost too long ago. There is no
// background job for that: every read of the row calls lapse, and the next write stores the result.
func (e *Enrollment) lapse(now time.Time) {
	e.lapseLost(now)
	end := e.Changed.Add(reviveFor)
	if e.Status != Left || now.Before(end) {
		return
	}
	e.Status = Retired
	e.Changed = end
	e.Push.NoticesUntil = end
	e.endPush()
	e.Push.Address = push.KeptAddress{}
	e.Push.Unproven = push.KeptAddress{}
}

// endPush erases what a retired enrollment no longer needs. Its push addresses stay until its phone was told.
func (e *Enrollment) endPush() {
	e.OTP = OneTimeCodes{}
	e.Push.Watches = nil
	e.Push.NextToken = nil
}

// leave deletes an enrollment by its device token alone, and notifies the phone. A token can do that once.
//
// Errors: ErrUnsigned, for a token that has done so before.
func leave(tx *storage.Tx, uid storage.UID, e *Enrollment) error {
	if e.Status == Left || len(e.Push.NextToken) > 0 {
		return ErrUnsigned.With("the device token cannot delete this enrollment again: sign the call with the device key")
	}
	told, err := recovery.WriteNotice(tx, uid, recovery.NoticePayload{Notice: recovery.NoticeLeft, Enrollment: e.ID})
	if err != nil {
		return err
	}
	if err := pushTo(tx, uid, e, told); err != nil {
		return err
	}
	tx.Count(EnrollmentsEnded, endedLeft)
	e.spendToken()
	return SetStatus(tx, uid, e, Left)
}

// spendToken takes away the device token's right to delete, and draws the next token. Calls that the key signs are given the
// next token until it is used.
func (e *Enrollment) spendToken() {
	if e.Type == TypePush && len(e.Push.NextToken) == 0 {
		e.Push.NextToken = []byte(newToken())
	}
}

func newToken() string { return storage.NewID("dt_", 43) } // 256 bits

// isNext reports whether a bearer token is the enrollment's next device token.
func (e *Enrollment) isNext(bearer string) bool {
	return len(e.Push.NextToken) > 0 && subtle.ConstantTimeCompare(e.Push.NextToken, []byte(bearer)) == 1
}

// takeNext replaces the device token by the next one. hash is the keyed hash of the next token.
func (s *Service) takeNext(uid storage.UID, e *Enrollment, hash string) {
	if len(e.Push.NextToken) > 0 && s.ring.Matches(hash, tokenPurpose, uid[:], []byte(e.ID), e.Push.NextToken) {
		e.Push.Token = hash
		e.Push.NextToken = nil
	}
}

// revivable reports whether a call that its key signs brings the enrollment back.
func (e *Enrollment) revivable() bool { return e.Status == Left }

// revive brings back an enrollment that Left. Its caller writes it.
func revive(tx *storage.Tx, uid storage.UID, e *Enrollment) error {
	e.Status = Active
	e.Changed = tx.Now()
	tx.Wake(uid)
	event := audit.Event{Type: audit.UpdateDevice, UID: uid, Facts: audit.Facts{audit.FactStatus: audit.Word(Active), audit.FactFactor: audit.Word(e.Type)}}
	return audit.Record(tx, audit.ByUser(), event, e.Detail())
}
