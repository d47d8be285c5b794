package admin_test

import (
	"context"
	"errors"
	"testing"

	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

func TestAddUser_IsAnEventWhenItCameByAManagementCall(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		added, err := h.Admins.AddUser(ctx, user.User{ID: "a"}, audit.ByClient("c", nil, storage.House).WithOrigin("192.0.2.1", "").In("create_user"))
		must(h.t, err)
		events := h.eventsAbout(added.UID)
		if len(events) != 1 || events[0].Type != audit.ManagementCall || events[0].Facts["call"] != "create_user" || events[0].Detail.IP != "192.0.2.1" {
			h.t.Errorf("events %+v", events)
		}
		other, err := h.Admins.AddUser(ctx, user.User{ID: "b"}, audit.ByUser())
		must(h.t, err)
		if events := h.eventsAbout(other.UID); len(events) != 0 {
			h.t.Errorf("events %+v", events)
		}
		if _, err := h.Admins.AddUser(ctx, user.User{ID: "a"}, audit.ByUser()); !errors.Is(err, user.ErrExists) {
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
		for _, err := range []error{h.Admins.SetRole(ctx, "a", user.Owner, herself), h.Admins.SetBlocked(ctx, "a", true, herself)} {
			if !errors.Is(err, admin.ErrRefused) {
				h.t.Errorf("error %v", err)
			}
		}
		must(h.t, h.Admins.SetRole(ctx, "a", user.Admin, from))
		must(h.t, h.Admins.SetBlocked(ctx, "a", true, from))
		h.View(func(tx *storage.Tx) error {
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
		if err := h.Admins.SetRole(ctx, "nobody", user.Admin, from); !errors.Is(err, user.ErrUnknown) {
			h.t.Errorf("error %v", err)
		}
	})
}

func TestDelete_LeavesEventsWithoutAnyDetail(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("a")
		must(h.t, h.Admins.Delete(context.Background(), "a", audit.ByClient("c", nil, storage.House).WithOrigin("192.0.2.1", "x").In("delete_user")))
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

func TestDelete_AsksWhetherTheCallerMay(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.newUser("ada")
	h.Unchanged(func() {
		expect(t, "the user herself", h.Admins.Delete(context.Background(), "ada", audit.ByUser()), admin.ErrRefused)
		expect(t, "nobody", h.Admins.Delete(context.Background(), "eve", audit.ByUser()), nil)
	})
}
