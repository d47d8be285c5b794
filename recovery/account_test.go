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
		added, err := h.AddUser(ctx, user.User{ID: "a"}, recovery.Origin{By: "client:c", Client: "c", IP: "192.0.2.1", Call: "create_user"})
		must(h.t, err)
		events := h.eventsAbout(added.UID)
		if len(events) != 1 || events[0].Type != audit.ManagementCall || events[0].Facts["call"] != "create_user" || events[0].Detail.IP != "192.0.2.1" {
			h.t.Errorf("events %+v", events)
		}
		other, err := h.AddUser(ctx, user.User{ID: "b"}, recovery.Origin{})
		must(h.t, err)
		if events := h.eventsAbout(other.UID); len(events) != 0 {
			h.t.Errorf("events %+v", events)
		}
		if _, err := h.AddUser(ctx, user.User{ID: "a"}, recovery.Origin{}); !errors.Is(err, user.ErrExists) {
			h.t.Errorf("error %v", err)
		}
	})
}

func TestSetRoleAndSetBlocked_AreEventsAndAskWhetherTheCallerMay(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx, from := context.Background(), recovery.Origin{By: "operator:0"}
		uid, _ := h.newUser("a")
		refused := errors.New("not you")
		no := func(storage.UID, *user.User) error { return refused }
		for _, err := range []error{h.SetRole(ctx, "a", user.Owner, from, no), h.SetBlocked(ctx, "a", true, from, no)} {
			if !errors.Is(err, refused) {
				h.t.Errorf("error %v", err)
			}
		}
		must(h.t, h.SetRole(ctx, "a", user.Admin, from, may))
		must(h.t, h.SetBlocked(ctx, "a", true, from, may))
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
		if err := h.SetRole(ctx, "nobody", user.Admin, from, may); !errors.Is(err, user.ErrUnknown) {
			h.t.Errorf("error %v", err)
		}
	})
}

func TestDelete_LeavesEventsWithoutAnyDetail(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("a")
		must(h.t, h.Delete(context.Background(), "a", recovery.Origin{By: "client:c", IP: "192.0.2.1", Agent: "x", Call: "delete_user"}, may))
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
	_, err := h.Reset(ctx, recovery.ResetRequest{UserID: "a", Reason: "lost"}, may)
	must(t, err)
	due(true, "after a reset")
	h.clock.Advance(time.Second)
	_, err = h.Compact(ctx)
	must(t, err)
	due(false, "after a compaction")
	must(t, h.Delete(ctx, "b", recovery.Origin{}, may))
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
