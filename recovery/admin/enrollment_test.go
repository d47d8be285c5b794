package admin_test

import (
	"context"
	"errors"
	"testing"
	"time"

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
		// A repeat is no error.
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
		// One that is removed can be acted on no more.
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

func TestRemoveEnrollment_TakesOneThatLeftFindsNoRetiredOneAndAsksWhetherTheCallerMay(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		p := h.Enroll("ada", "a")
		left := h.Enroll("ada", "b")
		byToken, err := left.CallByToken()
		must(h.t, err)
		must(h.t, h.Devices.Leave(ctx, byToken, audit.ByUser()))
		expect(h.t, "one that left", h.Admins.RemoveEnrollment(ctx, left.Enrolled.ID, audit.ByOperator(0)), nil)
		left.ExpectStatus(device.Retired)
		expect(h.t, "a retired one", h.Admins.RemoveEnrollment(ctx, left.Enrolled.ID, audit.ByOperator(0)), device.ErrNoEnrollment)
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

// TestRemoveEnrollment_AStolenTokenMakesNobodyNew: a thief deletes her second phone by its token, and an admin takes her lost
// one away.
func TestRemoveEnrollment_AStolenTokenMakesNobodyNew(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		lost := h.Enroll("ada", "a")
		second := h.Enroll("ada", "b")
		byToken, err := second.CallByToken()
		must(h.t, err)
		must(h.t, h.Devices.Leave(ctx, byToken, audit.ByUser()))
		must(h.t, h.Admins.RemoveEnrollment(ctx, lost.Enrolled.ID, audit.ByOperator(0)))
		h.ExpectState("ada", user.Enrolled)
		h.Clock.Advance(7 * 24 * time.Hour)
		h.ExpectState("ada", user.RecoveryOnly)
		if resets := h.EventsOf("ada", audit.Reset); len(resets) != 0 {
			h.t.Errorf("%d events of a reset", len(resets))
		}
	})
}
