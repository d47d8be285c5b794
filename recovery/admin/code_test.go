package admin_test

import (
	"context"
	"testing"
	"time"

	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

func TestRegenerate_AsksWhetherTheCallerMayAndFindsNobody(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		uid, code := h.newUser("ada")
		for name, actor := range map[string]audit.Actor{
			"the user herself":           audit.ByUser(),
			"a client that acts for her": audit.ByClient("c", nil, uid),
		} {
			_, err := h.Admins.Regenerate(ctx, "ada", actor)
			expect(h.t, name, err, admin.ErrRefused)
		}
		_, err := h.Admins.Regenerate(ctx, "nobody", audit.ByOperator(0))
		expect(h.t, "nobody", err, user.ErrUnknown)
		expect(h.t, "the code", h.spend(uid, recovery.LoginChannel, code), nil)
	})
}

func TestCompactionDue_AfterAResetOrADeletionAlone(t *testing.T) {
	ground.NeedsFile(t)
	h := newHouse(t, ground.Options{})
	ctx := context.Background()
	due := func(want bool, when string) {
		t.Helper()
		if got, err := h.Codes.CompactionDue(ctx); got != want || err != nil {
			t.Errorf("%s: %v, %v", when, got, err)
		}
	}
	h.newUser("a")
	h.newUser("b")
	due(false, "at first")
	h.Reset("a")
	due(true, "after a reset")
	h.Clock.Advance(time.Second)
	_, err := h.Codes.Compact(ctx)
	must(t, err)
	due(false, "after a compaction")
	must(t, h.Admins.Delete(ctx, "b", audit.ByOperator(0)))
	due(true, "after a deletion")
}
