package recovery_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// eventsAbout are the events about a user, the newest first.
func (h *house) eventsAbout(uid storage.UID, types ...audit.Type) []audit.Entry {
	h.t.Helper()
	entries, _, err := audit.List(context.Background(), h.store, audit.Query{UID: uid, Types: types}, false)
	must(h.t, err)
	return entries
}

func TestAddUser_IsAnEventWhenItCameByAManagementCall(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		added, err := h.AddUser(ctx, user.User{ID: "a"}, audit.ByClient("c", nil, storage.House).WithOrigin("192.0.2.1", "").In("create_user"))
		must(h.t, err)
		events := h.eventsAbout(added.UID)
		if len(events) != 1 || events[0].Type != audit.ManagementCall || events[0].Facts["call"] != "create_user" || events[0].Detail.IP != "192.0.2.1" {
			h.t.Errorf("events %+v", events)
		}
		other, err := h.AddUser(ctx, user.User{ID: "b"}, audit.ByUser())
		must(h.t, err)
		if events := h.eventsAbout(other.UID); len(events) != 0 {
			h.t.Errorf("events %+v", events)
		}
		if _, err := h.AddUser(ctx, user.User{ID: "a"}, audit.ByUser()); !errors.Is(err, user.ErrExists) {
			h.t.Errorf("error %v", err)
		}
	})
}

func TestSetRoleAndSetBlocked_AreEventsAndAskWhetherTheCallerMay(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		from := audit.ByOperator(0)
		uid, _ := h.newUser("a")
		herself := audit.ByUser()
		for _, err := range []error{h.SetRole(ctx, "a", user.Owner, herself), h.SetBlocked(ctx, "a", true, herself)} {
			if !errors.Is(err, user.ErrRefused) {
				h.t.Errorf("error %v", err)
			}
		}
		must(h.t, h.SetRole(ctx, "a", user.Admin, from))
		must(h.t, h.SetBlocked(ctx, "a", true, from))
		h.view(func(tx *storage.Tx) error {
			u, err := user.Get(tx, uid)
			if err == nil && (u.Role != user.Admin || !u.Blocked) {
				h.t.Errorf("user %+v", u)
			}
			return err
		})
		if events := h.eventsAbout(uid, audit.ManagementCall); len(events) != 2 || events[1].Facts["role"] != "admin" || events[0].Facts["call"] != "block" ||
			events[0].By != "operator:0" {
			h.t.Errorf("events %+v", events)
		}
		if err := h.SetRole(ctx, "nobody", user.Admin, from); !errors.Is(err, user.ErrUnknown) {
			h.t.Errorf("error %v", err)
		}
	})
}

func TestDelete_LeavesEventsWithoutAnyDetail(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("a")
		must(h.t, h.Delete(context.Background(), "a", audit.ByClient("c", nil, storage.House).WithOrigin("192.0.2.1", "x").In("delete_user")))
		events := h.eventsAbout(uid)
		if len(events) != 2 {
			h.t.Errorf("events %+v", events)
		}
		for _, e := range events {
			if e.Detail != (audit.Detail{}) {
				h.t.Errorf("of a user who is gone the event still knows %+v", e.Detail)
			}
		}
	})
}

func TestCompactionDue_AfterAResetOrADeletionAlone(t *testing.T) {
	h := newHouse(t, ground.Options{})
	ctx := context.Background()
	due := func(want bool, when string) {
		t.Helper()
		if got, err := h.CompactionDue(ctx); got != want || err != nil {
			t.Errorf("%s: %v, %v", when, got, err)
		}
	}
	h.newUser("a")
	h.newUser("b")
	due(false, "at first")
	_, err := h.Reset(ctx, recovery.ResetRequest{UserID: "a", Reason: "lost", Actor: audit.ByOperator(0)})
	must(t, err)
	due(true, "after a reset")
	h.clock.Advance(time.Second)
	_, err = h.Compact(ctx)
	must(t, err)
	due(false, "after a compaction")
	must(t, h.Delete(ctx, "b", audit.ByOperator(0)))
	due(true, "after a deletion")
}

func TestStandingOf_TellsWhatAnAdminMaySee(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		h.failUntil(uid, recovery.RestoreChannel, 0, 10)
		s, err := h.StandingOf(context.Background(), "ada")
		if err != nil || !s.HasCode || len(s.Blocks) != 1 || s.Blocks[0].Channel != recovery.RestoreChannel || len(s.Receipts) != 0 {
			h.t.Errorf("%+v, %v", s, err)
		}
		h.reset("ada", false)
		s, err = h.StandingOf(context.Background(), "ada")
		if err != nil || s.HasCode || len(s.Blocks) != 0 || len(s.Receipts) != 1 {
			h.t.Errorf("after a reset: %+v, %v", s, err)
		}
		if _, err := h.StandingOf(context.Background(), "nobody"); !errors.Is(err, user.ErrUnknown) {
			h.t.Errorf("nobody: %v", err)
		}
	})
}
