package admin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
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

func TestUnlock_OpensWhatGuessingHasClosedForWhomeverMay(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		uid, code := h.newUser("ada")
		h.guess(uid, recovery.LoginChannel, 10)
		h.guess(uid, recovery.RestoreChannel, 10)
		expect(h.t, "the user herself", h.Admins.Unlock(ctx, "ada", audit.ByUser()), admin.ErrRefused)
		expect(h.t, "her code, while it waits", h.spend(uid, recovery.LoginChannel, code), recovery.ErrLimited)
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

func TestReset_RefusesBadRequestsAndWritesNothing(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.newUser("ada")
	operator := audit.ByOperator(0)
	herself := audit.ByUser()
	for name, c := range map[string]struct {
		user  string
		req   recovery.ResetRequest
		actor audit.Actor
		want  error
	}{
		"no reason":                {"ada", recovery.ResetRequest{}, operator, recovery.ErrReason},
		"a long reason":            {"ada", recovery.ResetRequest{Reason: strings.Repeat("x", 1001)}, operator, recovery.ErrReason},
		"a reason of no text":      {"ada", recovery.ResetRequest{Reason: "\xff"}, operator, recovery.ErrReason},
		"an unknown check":         {"ada", recovery.ResetRequest{Reason: "x", CallerCheck: "hunch"}, operator, recovery.ErrCallerCheck},
		"nobody":                   {"eve", recovery.ResetRequest{Reason: "x"}, operator, user.ErrUnknown},
		"somebody who may not":     {"ada", recovery.ResetRequest{Reason: "x"}, herself, admin.ErrRefused},
		"a dry run of who may not": {"ada", recovery.ResetRequest{Reason: "x", DryRun: true}, herself, admin.ErrRefused},
	} {
		h.Unchanged(func() {
			_, err := h.Admins.Reset(context.Background(), c.user, c.req, c.actor)
			expect(t, name, err, c.want)
		})
	}
}

func TestCompactionDue_AfterAResetOrADeletionAlone(t *testing.T) {
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
