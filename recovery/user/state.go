package user

// State is a user's MFA state. It is derived, never stored.
type State string

// The MFA states.
const (
	New          State = "new"           // nothing was ever confirmed, and no code issued, since the last reset
	Enrolled     State = "enrolled"      // an authenticator can be asked
	RecoveryOnly State = "recovery_only" // there was one; only a recovery code, or an admin, helps now
)

// Facts are what the MFA state follows from. They are gathered in the transaction that uses the state.
type Facts struct {
	Confirmed  int  // confirmed enrollments that are not suspended or retired
	EverBound  bool // an enrollment was confirmed since the last reset, whatever has become of it
	CodeIssued bool // a recovery code was issued since the last reset, whatever has become of it
}

// MFAState is the rule. Only a reset makes a user new again: whoever loses the last authenticator, or has it
// removed by somebody who stole its token, has not turned MFA off.
func MFAState(f Facts) State {
	switch {
	case f.Confirmed > 0:
		return Enrolled
	case !f.EverBound && !f.CodeIssued:
		return New
	default:
		return RecoveryOnly
	}
}
