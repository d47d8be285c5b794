package device

import "tutela/storage"

// CountingPasskeys returns the passkeys that are proof enough for another authenticator to enrol, where the user has one: nothing that
// can be relayed does then. A passkey counts from the time that its addition set, and not while it was unused for approval.stale: so a
// relayed number cannot disarm the owner, and a dead laptop does not lock her out. Its caller has left out what nobody could use here: a
// passkey of another domain, or of a factor that is switched off.
func (s Set) CountingPasskeys(tx *storage.Tx) (Set, error) {
	stale, err := Stale(tx)
	if err != nil {
		return nil, err
	}
	return s.where(func(e *Enrollment) bool {
		if !e.Type.IsPasskey() || !e.Answers() {
			return false
		}
		used := e.LastAuth
		if used.IsZero() {
			used = e.Enrolled
		}
		return !tx.Now().Before(e.WebAuthn.CountsFrom) && tx.Now().Before(used.Add(stale))
	}), nil
}
