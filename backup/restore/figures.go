package restore

import "tutela/storage/meter"

// How a restore went on, in figures.
const (
	WentDone    = "done"
	wentGivenUp = "given_up"
	wentVetoed  = "vetoed"
	wentAllowed = "allowed"
)

// What is counted of restores.
var (
	Begun = meter.NewCounter("tutela_restores_started_total",
		"Restores that began, by the step that they began with and its reason.",
		meter.Words("step", StepFirstTimeSetup, StepRecoveryCode, StepAskAdmin),
		meter.Words("reason", NoBackupRestored, Disabled, NoBackup, UserBlocked, Vetoed, NoRecoveryCode, OldDeviceAsked, BackupFound))
	WentOn = meter.NewCounter("tutela_restores_total",
		"What became of restores: done, given up for a first-time setup, vetoed or allowed by another phone.",
		meter.Words("outcome", WentDone, wentGivenUp, wentVetoed, wentAllowed))
)
