package admin_test

import (
	"context"
	"testing"

	"tutela/recovery"
	"tutela/recovery/user"
)

func TestStandingOf_ShowsCodeBlocksAndReceipts(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		h.guess(uid, recovery.RestoreChannel, 10)
		s, err := h.Admins.StandingOf(context.Background(), "ada")
		if err != nil || !s.HasCode || len(s.Blocks) != 1 || s.Blocks[0].Channel != recovery.RestoreChannel || len(s.Receipts) != 0 {
			h.t.Errorf("%+v, %v", s, err)
		}
		h.Reset("ada")
		s, err = h.Admins.StandingOf(context.Background(), "ada")
		if err != nil || s.HasCode || len(s.Blocks) != 0 || len(s.Receipts) != 1 {
			h.t.Errorf("after a reset: %+v, %v", s, err)
		}
		_, err = h.Admins.StandingOf(context.Background(), "nobody")
		expect(h.t, "nobody", err, user.ErrUnknown)
	})
}
