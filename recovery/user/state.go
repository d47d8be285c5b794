package user

// State is a user's MFA state. It is derived, never stored.
type State string

// The MFA states.
const (
	New          State = "new"           // nothing was ever enrolled, and no code issued, since the last reset
	Enrolled     State = "enrolled"      // there is an authenticator that satisfies a login
	RecoveryOnly State = "recovery_only" // there was one; only a recovery code, or an admin, helps now
)

// Facts are what the MFA state follows from. They are gathered in the transaction that uses the state. An enrollment
// counts whatever its type.
type Facts struct {
	Active       bool // there is an enrollment that satisfies a login: neither suspended nor retired
	EverEnrolled bool // there was an enrollment since the last reset, whatever has become of it
	CodeIssued   bool // a recovery code was issued since the last reset, whatever has become of it
}

// MFAState is the rule. Only a reset makes a user new again: whoever loses the last authenticator, or has it
// removed by somebody who stole its token, has not turned MFA off.
func MFAState(f Facts) State {
	switch {
	case f.Active:
		return Enrolled
	case !f.EverEnrolled && !f.CodeIssued:
		return New
	default:
		return RecoveryOnly
	}
}
