package device_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

func TestSuspend_TakesAnEnrollmentOutOfUseUntilItIsResumed(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		from := audit.ByClient("c", nil, storage.House)
		p := h.enroll("maria", "a phone")
		id := p.Enrolled.ID
		if err := h.Suspend(ctx, id, audit.ByUser()); !errors.Is(err, user.ErrRefused) {
			h.t.Fatal(err)
		}
		for range 2 {
			must(h.t, h.Suspend(ctx, id, from))
		}
		h.expectState("maria", user.RecoveryOnly)
		e, err := h.ReadEnrollment(ctx, id)
		must(h.t, err)
		if e.Status != device.Suspended {
			h.t.Errorf("status %s", e.Status)
		}
		must(h.t, h.Resume(ctx, id, from))
		h.expectState("maria", user.Enrolled)
		must(h.t, h.RemoveEnrollment(ctx, id, from))
		for name, err := range map[string]error{
			"suspend": h.Suspend(ctx, id, from), "resume": h.Resume(ctx, id, from), "suspend nothing": h.Suspend(ctx, "dev_x", from),
		} {
			if !errors.Is(err, device.ErrNoEnrollment) {
				h.t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := h.ReadEnrollment(ctx, id); !errors.Is(err, device.ErrNoEnrollment) {
			h.t.Errorf("error %v", err)
		}
	})
}

func TestProfiles_TellTheMFAStateOfEach(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		h.enroll("b", "a phone")
		for _, id := range []string{"a", "c"} {
			_, err := h.codes.AddUser(ctx, user.User{ID: id}, audit.ByUser())
			must(h.t, err)
		}
		listed, err := h.PageUsers(ctx, "", 0, 10)
		must(h.t, err)
		profiles, err := h.Profiles(ctx, listed)
		must(h.t, err)
		var got []string
		for _, p := range profiles {
			got = append(got, p.ID+" "+string(p.State))
		}
		if !slices.Equal(got, []string{"a new", "b enrolled", "c new"}) {
			h.t.Errorf("profiles %q", got)
		}
		if _, err := h.ReadUser(ctx, "nobody"); !errors.Is(err, user.ErrUnknown) {
			h.t.Errorf("error %v", err)
		}
		if _, err := h.EnrollmentsOf(ctx, "nobody"); !errors.Is(err, user.ErrUnknown) {
			h.t.Errorf("error %v", err)
		}
	})
}
