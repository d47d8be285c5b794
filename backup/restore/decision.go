package restore

import "time"

// Step is what comes next in a restore.
type Step string

// The steps.
const (
	StepFirstTimeSetup Step = "first_time_setup"
	StepRecoveryCode   Step = "recovery_code"
	StepAskAdmin       Step = "ask_admin"
	StepDone           Step = "done"
)

// Reason is why that step comes next. A restore that is done has none.
type Reason string

// The reasons.
const (
	NoBackupRestored Reason = "no_backup_restored" // the platform brought no handle along
	Disabled         Reason = "restore_disabled"   // the phone, or the person, wants a clean start
	NoBackup         Reason = "no_backup"          // there is none under the handle: never made, deleted, reset, or made up
	UserBlocked      Reason = "user_blocked"
	Vetoed           Reason = "vetoed"
	NoRecoveryCode   Reason = "no_recovery_code"
	OldDeviceAsked   Reason = "old_device_asked" // as BackupFound, but the code counts only after a time, in which the old installation may veto or allow
	BackupFound      Reason = "backup_found"
	Chosen           Reason = "chosen" // the person chose first-time setup
)

// Decision says what comes next, and why.
type Decision struct {
	Step   Step   `json:"step"`
	Reason Reason `json:"reason,omitempty"`
}

// Facts are the inputs of a decision. The transaction that acts on the decision gathers them again.
type Facts struct {
	Done      bool      // a right code was given
	Chosen    bool      // first-time setup was chosen
	NoHandle  bool      // the restore came without a handle
	Disabled  bool      // it said that automatic_restore is false
	Found     bool      // there is now a backup under the handle
	Blocked   bool      // the user is blocked
	Vetoed    bool      // a restore of this backup was vetoed in the last 24 hours
	HasCode   bool      // the user has a recovery code that counts
	Asked     bool      // the old installation was asked when the restore began, and is still there
	Allowed   bool      // it said that the restore may go on
	WaitUntil time.Time // with Asked: until then the old installation can object
	Now       time.Time
}

// Decide is the rule for the next step: the first case that holds decides. It depends on the facts only.
//
// Source: app-api.md "Restore after a reinstall".
func Decide(f Facts) Decision {
	switch {
	case f.Done:
		return Decision{StepDone, ""}
	case f.Chosen:
		return Decision{StepFirstTimeSetup, Chosen}
	case f.NoHandle:
		return Decision{StepFirstTimeSetup, NoBackupRestored}
	case f.Disabled:
		return Decision{StepFirstTimeSetup, Disabled}
	case !f.Found:
		return Decision{StepFirstTimeSetup, NoBackup}
	case f.Blocked:
		return Decision{StepAskAdmin, UserBlocked}
	case f.Vetoed:
		return Decision{StepAskAdmin, Vetoed}
	case !f.HasCode:
		return Decision{StepAskAdmin, NoRecoveryCode}
	case f.Asked && !f.Allowed && f.Now.Before(f.WaitUntil):
		return Decision{StepRecoveryCode, OldDeviceAsked}
	default:
		return Decision{StepRecoveryCode, BackupFound}
	}
}
