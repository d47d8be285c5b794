package user_test

import (
	"testing"

	"tutela/recovery/user"
)

func TestMFAState_IsNewOnlyWhenNothingWasEverBoundOrIssued(t *testing.T) {
	for facts, want := range map[user.Facts]user.State{
		{}:                                  user.New,
		{EverBound: true}:                   user.RecoveryOnly,
		{CodeIssued: true}:                  user.RecoveryOnly,
		{EverBound: true, CodeIssued: true}: user.RecoveryOnly,
		{Confirmed: 1, EverBound: true}:     user.Enrolled,
		{Confirmed: 7, EverBound: true, CodeIssued: true}: user.Enrolled,
	} {
		if got := user.MFAState(facts); got != want {
			t.Errorf("%+v: %s, want %s", facts, got, want)
		}
	}
}
