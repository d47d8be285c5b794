package user_test

import (
	"testing"

	"tutela/recovery/user"
)

func TestMFAState_IsNewOnlyWhenNothingWasEverEnrolledOrIssued(t *testing.T) {
	for facts, want := range map[user.Facts]user.State{
		{}:                                     user.New,
		{EverEnrolled: true}:                   user.RecoveryOnly,
		{CodeIssued: true}:                     user.RecoveryOnly,
		{EverEnrolled: true, CodeIssued: true}: user.RecoveryOnly,
		{Active: true, EverEnrolled: true}:     user.Enrolled,
		{Active: true, EverEnrolled: true, CodeIssued: true}: user.Enrolled,
	} {
		if got := user.MFAState(facts); got != want {
			t.Errorf("%+v: %s, want %s", facts, got, want)
		}
	}
}
