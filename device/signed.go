package device

import "time"

// signedEvery is the precision with which the time of an installation's last signature is stored: a call writes the
// time only when the stored one is older than this.
const signedEvery = time.Hour

// SignedWithin reports whether the installation's key has signed a call or an answer within d before now. Its enrolment
// counts as well: a phone that enrolled a minute ago is there, though it has signed nothing yet. The time is known to the
// hour, so d should be hours at least.
func (e *Enrollment) SignedWithin(now time.Time, d time.Duration) bool {
	last := e.Push.Signed
	if last.IsZero() {
		last = e.LastAuth // a row that was written before Signed was kept
	}
	if e.Enrolled.After(last) {
		last = e.Enrolled
	}
	return now.Before(last.Add(d))
}

func (e *Enrollment) signedLongAgo(now time.Time) bool {
	return e.Type == TypePush && !now.Before(e.Push.Signed.Add(signedEvery))
}

func (e *Enrollment) noteSigned(now time.Time) {
	if e.signedLongAgo(now) {
		e.Push.Signed = now
	}
}
