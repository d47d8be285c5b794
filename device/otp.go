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
	Spent  otp.Step `json:"spent,omitzero"` // the last step whose code was accepted: it and all earlier ones are spent
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

// ShowsOTP reports whether the enrollment has one-time codes and can satisfy a login.
func (e *Enrollment) ShowsOTP() bool { return len(e.OTP.Secret) > 0 && e.Answers() }

// OTP returns the enrollments whose one-time codes count: apps on phones, and apps that only show codes.
func (s Set) OTP() Set { return s.where((*Enrollment).ShowsOTP) }

// otpTime returns the time for the steps of one-time codes. Apps show codes by the true time, so it is the machine's
// clock. It is never before the house's time, so that a clock that goes back does not reopen spent steps.
func otpTime(tx *storage.Tx) time.Time {
	if wall := tx.Wall(); wall.After(tx.Now()) {
		return wall
	}
	return tx.Now()
}

// accept spends a code of the enrollment. A step is accepted only if it is later than all accepted ones.
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

// SpendOTP uses up a one-time code of the user and returns the enrollment that shows it. code and typo are the results
// of [otp.Parse]. It compares the code with all of her enrollments whose codes count. A code that two of them show is
// spent for both. A wrong code counts: the caller must return the error from the transaction unchanged, so that the
// count is kept. A typo does not count. While her codes are limited, SpendOTP compares and counts nothing.
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

// accept spends a code at each of the enrollments that show it, and returns those. It always compares with all of them;
// for a user who has none it takes the same time as for one enrollment.
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
