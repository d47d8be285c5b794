package restore_test

import (
	"testing"
	"time"

	"tutela/backup/restore"
)

// TestDecide_IsTheFirstLineThatHolds sets, for every line, all that the lines below it ask for too, and then takes away
// what the lines above it ask for: neither changes the decision but by the table.
func TestDecide_IsTheFirstLineThatHolds(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	// lines are the table; each makes its own line hold in facts where no line holds but the last.
	lines := []struct {
		name string
		hold func(*restore.Facts)
		want restore.Decision
	}{
		{"done", func(f *restore.Facts) { f.Done = true }, restore.Decision{Step: restore.StepDone}},
		{"chosen", func(f *restore.Facts) { f.Chosen = true }, restore.Decision{Step: restore.StepFirstTimeSetup, Reason: restore.Chosen}},
		{"no handle", func(f *restore.Facts) { f.NoHandle = true }, restore.Decision{Step: restore.StepFirstTimeSetup, Reason: restore.NoBackupRestored}},
		{"automatic_restore is false", func(f *restore.Facts) { f.Disabled = true }, restore.Decision{Step: restore.StepFirstTimeSetup, Reason: restore.Disabled}},
		{"no backup", func(f *restore.Facts) { f.Found = false }, restore.Decision{Step: restore.StepFirstTimeSetup, Reason: restore.NoBackup}},
		{"blocked", func(f *restore.Facts) { f.Blocked = true }, restore.Decision{Step: restore.StepAskAdmin, Reason: restore.UserBlocked}},
		{"vetoed", func(f *restore.Facts) { f.Vetoed = true }, restore.Decision{Step: restore.StepAskAdmin, Reason: restore.Vetoed}},
		{"no code", func(f *restore.Facts) { f.HasCode = false }, restore.Decision{Step: restore.StepAskAdmin, Reason: restore.NoRecoveryCode}},
		{"wait", func(f *restore.Facts) {
			f.Asked = true
			f.WaitUntil = now.Add(1)
		}, restore.Decision{Step: restore.StepRecoveryCode, Reason: restore.OldDeviceAsked}},
		{"else", func(*restore.Facts) {}, restore.Decision{Step: restore.StepRecoveryCode, Reason: restore.BackupFound}},
	}
	for i, line := range lines {
		facts := restore.Facts{
			Found:     true,
			HasCode:   true,
			Now:       now,
			WaitUntil: now,
		}
		line.hold(&facts)
		if got := restore.Decide(facts); got != line.want {
			t.Errorf("%s alone: %v, want %v", line.name, got, line.want)
		}
		for _, below := range lines[i:] {
			below.hold(&facts)
		}
		if got := restore.Decide(facts); got != line.want {
			t.Errorf("%s with all below it: %v, want %v", line.name, got, line.want)
		}
	}
}

func TestDecide_DoesNotWaitWhenNobodyIsAskedOrTheTimeIsOver(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, f := range []restore.Facts{
		{Found: true, HasCode: true, Now: now, WaitUntil: now.Add(time.Hour)},
		{Found: true, HasCode: true, Now: now, WaitUntil: now, Asked: true},
		{Found: true, HasCode: true, Now: now, WaitUntil: now.Add(time.Hour), Asked: true, Allowed: true},
	} {
		if got := restore.Decide(f); got != (restore.Decision{Step: restore.StepRecoveryCode, Reason: restore.BackupFound}) {
			t.Errorf("%+v: %v", f, got)
		}
	}
}
