package login

import (
	"tutela/storage"
	"tutela/storage/meter"
)

// Words of figures for logins, besides those of their states and methods.
const (
	startedByGrant = "grant"        // no phone is asked: a code is to satisfy it
	OutcomeWrong   = "wrong_number" // somebody typed another number than the login shows
	OutcomeExpired = "expired"      // nobody decided it in time
	methodNone     = "none"         // nothing satisfied it
)

// What is counted of logins. A login that is asked for again, with the same login_id, counts once.
var (
	LoginsBegun = meter.NewCounter("tutela_logins_started_total",
		"Logins that began, by how the phones learn of them: push, pull or silent; or grant, where no phone is asked.",
		meter.Words("delivery", string(Push), string(Pull), string(Silent), startedByGrant))
	LoginsEnded = meter.NewCounter("tutela_logins_total",
		"Logins that ended, by outcome and by what satisfied them, as amr says it. Those that expire are counted a minute later.",
		meter.Words("outcome", string(Approved), string(Denied), OutcomeWrong, OutcomeExpired),
		meter.Words("method", string(ByKey), string(ByOTP), string(ByRecoveryCode), string(ByPasskey), methodNone))
	approvalsEnded = meter.NewCounter("tutela_approvals_total",
		"Approvals that ended, by outcome and by how the phones learned of them.",
		meter.Words("outcome", string(Approved), string(Denied), OutcomeWrong, OutcomeExpired),
		meter.Words("delivery", string(Push), string(Pull), string(Silent)))
)

// count counts a login that has ended.
func (l *Login) count(tx *storage.Tx, outcome, method string) {
	tx.Count(LoginsEnded, outcome, method)
	if l.Challenge != "" {
		tx.Count(approvalsEnded, outcome, string(l.Delivery))
	}
}
