package admin_test

import (
	"context"
	"testing"

	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

func TestUnlock_OpensWhatGuessingHasClosedForWhomeverMay(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		uid, code := h.newUser("ada")
		h.guess(uid, recovery.LoginChannel, 10)
		h.guess(uid, recovery.RestoreChannel, 10)
		expect(h.t, "the user herself", h.Admins.Unlock(ctx, "ada", audit.ByUser()), admin.ErrRefused)
		must(h.t, h.Admins.Unlock(ctx, "ada", audit.ByClient("desk", nil, storage.House)))
		s, err := h.Admins.StandingOf(ctx, "ada")
		must(h.t, err)
		if len(s.Blocks) != 0 {
			h.t.Errorf("still closed: %v", s.Blocks)
		}
		expect(h.t, "her code", h.spend(uid, recovery.LoginChannel, code), nil)
		expect(h.t, "nobody", h.Admins.Unlock(ctx, "eve", audit.ByOperator(0)), user.ErrUnknown)
	})
}
