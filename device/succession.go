package device

import (
	"time"

	"tutela/recovery/user"
	"tutela/storage"
)

// Succession says which enrollment has replaced a retired one. The zero value means that none has.
type Succession struct {
	By        Via       `json:"by"`                // how the successor came about
	Successor string    `json:"successor"`         // its id
	Cause     string    `json:"cause"`             // the id by which the retired phone disputes it: that of the restore, or of the successor
	Disputed  time.Time `json:"disputed,omitzero"` // when the retired phone said that a stranger had replaced it
	Against   string    `json:"against,omitempty"` // with Disputed: id of the installation that had its place then
}

// disputeFor is how long the phone of a retired enrollment may dispute its succession.
const disputeFor = 24 * time.Hour

// SucceededBy notes what replaces the enrollment. The caller retires the enrollment in the same transaction.
func (e *Enrollment) SucceededBy(by Via, successor, cause string) {
	e.Succession = Succession{By: by, Successor: successor, Cause: cause}
}

// Disputable reports whether the enrollment's phone may now dispute the succession that cause names.
func (e *Enrollment) Disputable(cause string, now time.Time) bool {
	return e.Status == Retired && e.Succession.Cause != "" && e.Succession.Cause == cause && now.Before(e.Changed.Add(disputeFor))
}

// LastSuccessor returns the successor of an enrollment or, if that was replaced in turn, the last one in the chain; nil
// when there is none. So a thief cannot hide an installation by restoring twice. The chain ends at a successor that a
// ticket has replaced: for a ticket an admin has checked who asks, and it may be the owner who comes back.
func LastSuccessor(tx *storage.Tx, uid storage.UID, e *Enrollment) (*Enrollment, error) {
	var last *Enrollment
	seen := map[string]bool{e.ID: true}
	for next := e.Succession.Successor; next != "" && !seen[next]; next = last.restoredBy() {
		seen[next] = true
		found, err := Get(tx, uid, next)
		if err != nil {
			return nil, ignoreGone(err)
		}
		last = found
	}
	return last, nil
}

// restoredBy returns the id of the enrollment that has replaced e without an admin; "" when none has.
func (e *Enrollment) restoredBy() string {
	if e.Succession.By == ViaTicket || e.Succession.By == ViaPage {
		return ""
	}
	return e.Succession.Successor
}

// Renew gives an enrollment a new device token and returns the answer to its enrolment again. Its phone has proven its key
// but did not get the first answer. An enrollment that only the lost token has deleted comes back.
//
// Errors: ErrNoEnrollment; ErrSuspended.
func (s *Service) Renew(tx *storage.Tx, uid storage.UID, e *Enrollment) (*Enrolled, error) {
	if e.revivable() {
		if err := revive(tx, uid, e); err != nil {
			return nil, err
		}
	}
	if err := e.usable(); err != nil {
		return nil, err
	}
	u, err := user.Get(tx, uid)
	if err != nil {
		return nil, err
	}
	token := newToken()
	e.Push.Token = s.hashToken(uid, e.ID, token)
	e.Push.NextToken = nil
	return s.enrolled(u, e.ID, token, e.OTP.Secret), Put(tx, uid, e)
}
