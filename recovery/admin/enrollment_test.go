package admin_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

func TestSuspend_TakesAnEnrollmentOutOfUseUntilItIsResumed(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		from := audit.ByClient("c", nil, storage.House)
		p := h.Enroll("maria", "a phone")
		id := p.Enrolled.ID
		if err := h.Admins.Suspend(ctx, id, audit.ByUser()); !errors.Is(err, admin.ErrRefused) {
			h.t.Fatal(err)
		}
		for range 2 {
			must(h.t, h.Admins.Suspend(ctx, id, from))
		}
		h.ExpectState("maria", user.RecoveryOnly)
		e, err := h.Admins.ReadEnrollment(ctx, id)
		must(h.t, err)
		if e.Status != device.Suspended {
			h.t.Errorf("status %s", e.Status)
		}
		must(h.t, h.Admins.Resume(ctx, id, from))
		h.ExpectState("maria", user.Enrolled)
		must(h.t, h.Admins.RemoveEnrollment(ctx, id, from))
		for name, err := range map[string]error{
			"suspend": h.Admins.Suspend(ctx, id, from), "resume": h.Admins.Resume(ctx, id, from), "suspend nothing": h.Admins.Suspend(ctx, "dev_x", from),
		} {
			if !errors.Is(err, device.ErrNoEnrollment) {
				h.t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := h.Admins.ReadEnrollment(ctx, id); !errors.Is(err, device.ErrNoEnrollment) {
			h.t.Errorf("error %v", err)
		}
	})
}

func TestProfiles_ShowTheMFAStateOfEach(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		h.Enroll("b", "a phone")
		for _, id := range []string{"a", "c"} {
			_, err := h.Admins.AddUser(ctx, user.User{ID: id}, audit.ByUser())
			must(h.t, err)
		}
		listed, err := h.Admins.PageUsers(ctx, "", 0, 10)
		must(h.t, err)
		profiles, err := h.Admins.Profiles(ctx, listed)
		must(h.t, err)
		var got []string
		for _, p := range profiles {
			got = append(got, p.ID+" "+string(p.State))
		}
		if !slices.Equal(got, []string{"a new", "b enrolled", "c new"}) {
			h.t.Errorf("profiles %q", got)
		}
		if _, err := h.Admins.ReadUser(ctx, "nobody"); !errors.Is(err, user.ErrUnknown) {
			h.t.Errorf("error %v", err)
		}
		if _, err := h.Admins.EnrollmentsOf(ctx, "nobody"); !errors.Is(err, user.ErrUnknown) {
			h.t.Errorf("error %v", err)
		}
	})
}

func TestRemoveEnrollment_OfTheLastIsAResetWithAReceipt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		a := h.Enroll("ada", "a")
		b := h.Enroll("ada", "b")
		must(h.t, h.Admins.Suspend(ctx, b.Enrolled.ID, devicetest.Admin))
		from := audit.ByClient("desk", nil, storage.House)
		must(h.t, h.Admins.RemoveEnrollment(ctx, a.Enrolled.ID, from)) // the suspended one counts as left
		h.ExpectState("ada", user.RecoveryOnly)
		a.ExpectStatus(device.Retired)
		expect(h.t, "once more", h.Admins.RemoveEnrollment(ctx, a.Enrolled.ID, from), device.ErrNoEnrollment)
		must(h.t, h.Admins.RemoveEnrollment(ctx, b.Enrolled.ID, from))
		h.ExpectState("ada", user.New)
		uid := h.UID("ada")
		h.View(func(tx *storage.Tx) error {
			list, err := recovery.Receipts(tx, uid)
			if len(list) != 1 || len(list[0].Removed) == 0 || list[0].By != "client:desk" {
				h.t.Errorf("receipts: %+v", list)
			}
			return err
		})
		if resets := h.EventsOf("ada", audit.Reset); len(resets) != 1 {
			h.t.Errorf("%d events of a reset", len(resets))
		}
	})
}

func TestRemoveEnrollment_FindsNeitherRetiredNorLeftAndAsksWhetherTheCallerMay(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		p := h.Enroll("ada", "a")
		left := h.Enroll("ada", "b")
		byToken, err := left.CallByToken()
		must(h.t, err)
		must(h.t, h.Devices.Leave(ctx, byToken, audit.ByUser()))
		expect(h.t, "one that left", h.Admins.RemoveEnrollment(ctx, left.Enrolled.ID, audit.ByOperator(0)), device.ErrNoEnrollment)
		expect(h.t, "none", h.Admins.RemoveEnrollment(ctx, "dev_0000000000000000", audit.ByOperator(0)), device.ErrNoEnrollment)
		expect(h.t, "somebody who may not", h.Admins.RemoveEnrollment(ctx, p.Enrolled.ID, audit.ByUser()), admin.ErrRefused)
		p.ExpectStatus(device.Active)
	})
}

func TestRemoveEnrollment_TheLastOfAnyTypeIsAReset(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		operator := audit.ByOperator(0)
		p := h.Enroll("ada", "a")
		codes := &device.Enrollment{ID: storage.NewID("dev_", 16), Type: device.TypeOTP, Status: device.Active}
		uid := h.UID("ada")
		h.Update(func(tx *storage.Tx) error { return device.Put(tx, uid, codes) })
		must(h.t, h.Admins.RemoveEnrollment(ctx, p.Enrolled.ID, operator))
		h.ExpectState("ada", user.Enrolled)
		must(h.t, h.Admins.Suspend(ctx, codes.ID, operator))
		h.ExpectState("ada", user.RecoveryOnly)
		must(h.t, h.Admins.RemoveEnrollment(ctx, codes.ID, operator))
		h.ExpectState("ada", user.New)
	})
}

func TestNewTicket_IsRefusedForTheReasonThatHolds(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.Enroll("ada", "a")
		program := audit.ByClient("desk", nil, storage.House)
		for name, c := range map[string]struct {
			req   admin.TicketRequest
			actor audit.Actor
			want  error
		}{
			"enrolled already":     {admin.TicketRequest{User: user.User{ID: "ada"}}, program, admin.ErrEnrolled},
			"a factor of others":   {admin.TicketRequest{User: user.User{ID: "ben"}, Factor: "phone"}, program, device.ErrFactor},
			"no user id":           {admin.TicketRequest{}, program, user.ErrID},
			"a long user id":       {admin.TicketRequest{User: user.User{ID: strings.Repeat("x", 256)}}, program, user.ErrID},
			"somebody who may not": {admin.TicketRequest{User: user.User{ID: "eve"}}, audit.ByUser(), admin.ErrRefused},
		} {
			_, err := h.Admins.NewTicket(context.Background(), c.req, c.actor)
			expect(h.t, name, err, c.want)
		}
		must(h.t, h.Store.View(context.Background(), func(tx *storage.Tx) error {
			if _, err := user.Find(tx, "eve"); !errors.Is(err, user.ErrUnknown) {
				h.t.Errorf("a refused call made a user: %v", err)
			}
			return nil
		}))
	})
}
