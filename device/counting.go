package device

import "tutela/storage"

// CountingPasskeys returns the passkeys that count when the user adds another authenticator. If there is one, only a
// passkey is proof enough, since other proofs can be relayed (phished). A passkey counts from its CountsFrom on, so
// that a thief who relayed a number cannot at once shut the owner out. It does not count after approval.stale without
// use, so that a dead laptop does not lock her out. The caller has already left out passkeys that cannot be used here:
// those of another domain, or of a factor that is switched off.
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
