package device

import "time"

// signedEvery is how exactly it is known when something signed by an installation's key came last: a call writes it down
// when what is written is older than this.
const signedEvery = time.Hour

// SignedWithin reports whether something that the installation's key signed, a call or an answer, came within d before
// now. Its enrolment counts as well: a phone that was enrolled a minute ago is there, though it has signed nothing yet.
// It is known to the hour, so d is hours at least.
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
