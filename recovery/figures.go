package recovery

import "tutela/storage/meter"

// What became of a recovery code that was tried, in figures.
const (
	CodeRight   = "right"
	codeWrong   = "wrong"
	codeLimited = "limited" // wrong, and too soon after others
)

// What is counted of recovery codes and resets.
var (
	CodesTried = meter.NewCounter("tutela_recovery_codes_total",
		"Recovery codes that were tried, by channel and outcome. A mistyped one is not counted.",
		meter.Words("channel", LoginChannel, RestoreChannel, PracticeChannel),
		meter.Words("outcome", CodeRight, codeWrong, codeLimited))
	otpTried = meter.NewCounter("tutela_one_time_codes_total",
		"One-time codes that were tried at logins, by outcome. A mistyped one is not counted.",
		meter.Words("outcome", CodeRight, codeWrong, codeLimited))
	Resets = meter.NewCounter("tutela_resets_total", "Resets of users, without dry runs.")
)
