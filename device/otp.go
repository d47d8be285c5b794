package device

import (
	"errors"
	"time"

	"tutela/device/otp"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// OneTimeCodes holds the secret of an enrollment's one-time codes, and how far they are spent.
type OneTimeCodes struct {
	Secret []byte   `json:"secret"`         // sealed
	Spent  otp.Step `json:"spent,omitzero"` // the last step whose code was accepted: it and all before are spent
}

// TOTP is what an app needs to show one-time codes; the numbers are JSON numbers.
type TOTP struct {
	Secret    string `json:"secret"` // base32
	Algorithm string `json:"algorithm"`
	Digits    int    `json:"digits"`
	Period    int    `json:"period"`
}

func newTOTP(secret otp.Secret) *TOTP {
	return &TOTP{
		Secret:    secret.String(),
		Algorithm: otp.Algorithm,
		Digits:    otp.Digits,
		Period:    otp.Period,
	}
}

// ErrWrongOTP reports a one-time code that is not accepted. It does not say whether the code is wrong or spent.
var ErrWrongOTP = storage.NewError(storage.Denied, "the one-time code is wrong, or was used already: wait for the next one")

// ShowsOTP reports whether the enrollment's one-time codes count: it has some, and can satisfy a login.
func (e *Enrollment) ShowsOTP() bool { return len(e.OTP.Secret) > 0 && e.Answers() }

// OTP returns the enrollments whose one-time codes count: apps on phones, and those that show codes and do no more.
func (s Set) OTP() Set { return s.where((*Enrollment).ShowsOTP) }

// otpTime returns the time by which the steps of one-time codes are counted. Apps show codes by the true time, so it is the
// machine's clock; but never before the house's time, so that a clock that goes back reopens no step. While the machine's
// clock is ahead, the steps are ahead with it, and the true time is right again when the clock is.
func otpTime(tx *storage.Tx) time.Time {
	if wall := tx.Wall(); wall.After(tx.Now()) {
		return wall
	}
	return tx.Now()
}

// accept spends a code of the enrollment. Each step is accepted once, and none at or before one that was.
func (o *OneTimeCodes) accept(code otp.Code, now time.Time) bool {
	step, ok := otp.Secret(o.Secret).Find(code, now)
	if !ok || step <= o.Spent || len(o.Secret) == 0 {
		return false
	}
	o.Spent = step
	return true
}

// nobodysSecret is compared for a user who has no one-time codes, so that she costs the same work.
var nobodysSecret = otp.NewSecret()

// SpendOTP uses up a one-time code of the user, as [otp.Parse] returned it with its error typo, and returns the enrollment that
// shows it. It compares the code with all of her enrollments whose codes count. A code that two of them show is spent for both. A
// wrong code counts: the caller returns the error from the transaction as it is, so that the count is kept. A typo counts
// nothing. While her codes wait SpendOTP compares nothing and counts nothing.
//
// Errors: recovery.ErrLimited; otp.ErrTypo; ErrWrongOTP (kept).
//
// Source: RFC 6238 §5.2; NIST SP 800-63B-4 §3.1.4 (accepted once).
func SpendOTP(tx *storage.Tx, uid storage.UID, code otp.Code, typo error, actor audit.Actor) (*Enrollment, error) {
	if err := recovery.MayTryOTP(tx, uid); err != nil {
		return nil, err
	}
	if typo != nil {
		return nil, typo
	}
	set, err := All(tx, uid)
	if err != nil {
		return nil, err
	}
	accepted := set.OTP().accept(code, otpTime(tx))
	if len(accepted) == 0 {
		if err := recovery.OTPWrong(tx, uid, actor); err != nil {
			return nil, err
		}
		return nil, storage.Kept(ErrWrongOTP)
	}
	for _, e := range accepted {
		err = errors.Join(err, Put(tx, uid, e))
	}
	return accepted[0], errors.Join(err, recovery.OTPRight(tx, uid))
}

// accept spends a code at each of the enrollments that show it, and returns those. It compares with all of them, and costs a user
// who has none as much as a user who has one.
func (s Set) accept(code otp.Code, now time.Time) (accepted Set) {
	if len(s) == 0 {
		nobodysSecret.Find(code, now)
	}
	for _, e := range s {
		if e.OTP.accept(code, now) {
			accepted = append(accepted, e)
		}
	}
	return accepted
}
