package admin_test

import (
	"context"
	"testing"

	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage/audit"
)

// Whatever takes all of a user's MFA away is a reset, and needs an admin who has just proved himself.
func TestReset_ByWhateverCallNeedsAnAdminWhoHasJustProvedHimself(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		h.person("ada", user.NoRole, false)
		boss := h.person("boss", user.Owner, false)
		stale := audit.ByAdmin(boss.UID, nil)
		fresh := audit.ByAdmin(boss.UID, []string{admin.ScopeResetMFA})
		for what, do := range map[string]func(audit.Actor) error{
			"the last enrollment": func(a audit.Actor) error { return h.Admins.RemoveEnrollment(ctx, h.enrollmentOf("ada"), a) },
			"the last method": func(a audit.Actor) error {
				return h.Admins.RemoveMethod(ctx, "ada", "push|"+h.enrollmentOf("ada"), a)
			},
			"all methods": func(a audit.Actor) error { return h.Admins.RemoveAll(ctx, "ada", a) },
			"a reset": func(a audit.Actor) error {
				_, err := h.Admins.Reset(ctx, "ada", recovery.ResetRequest{Reason: "lost"}, a)
				return err
			},
		} {
			h.enrollmentOf("ada")
			expect(h.t, what, do(stale), admin.ErrProveAgain)
			h.ExpectState("ada", user.Enrolled)
			expect(h.t, what+", proved", do(fresh), nil)
			h.ExpectState("ada", user.New)
		}
	})
}
