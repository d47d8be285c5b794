package access

import (
	"testing"

	"tutela/storage"
	"tutela/storage/audit"
)

func TestRequireScope_SaysWhatIsWanted(t *testing.T) {
	caller := audit.ByClient("c", []string{"read:users"}, storage.House)
	must(t, RequireScope(caller, "update:users", "read:users"))
	must(t, RequireScope(audit.ByOperator(1), "update:users"))
	err := RequireScope(caller, "update:users", "issue:recovery_codes")
	wantErr(t, err, ErrScope)
	if err.Error() != "Insufficient scope, expected any of: update:users,issue:recovery_codes" {
		t.Error(err)
	}
	wantErr(t, RequireScope(audit.Actor{}, "read:users"), ErrScope)
	wantErr(t, RequireScope(audit.Actor{}), ErrScope)
}
