package admin_test

import (
	"errors"
	"testing"
	"time"

	"tutela/device"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// Each test rings a real phone: ten in any hour, whoever sends them and from whichever server.
func TestTestPush_IsLimitedPerPhone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		phone := h.Enroll("ada", "a").Enrolled.ID
		spare := h.Enroll("ada", "b").Enrolled.ID
		other := admin.New(h.Store, h.Codes, h.Devices, h.Restores, h.Logins) // of a second server over the store
		test := func(s *admin.Service, to string) error {
			_, err := s.TestPush(t.Context(), "ada", to, byOperator)
			if errors.Is(err, device.ErrNoPushAddress) {
				err = nil // it was let through to the phone
			}
			return err
		}
		for range 5 {
			must(h.t, test(h.Admins, phone))
			h.Clock.Advance(time.Minute)
			must(h.t, test(other, phone))
			h.Clock.Advance(time.Minute)
		}
		for _, s := range []*admin.Service{h.Admins, other} {
			err := test(s, phone)
			expect(h.t, "the eleventh", err, admin.ErrTestsOften)
			if got := storage.RetryAfter(err); got != 50*time.Minute {
				h.t.Errorf("it says to wait %v", got)
			}
		}
		sent := len(h.eventsAbout(h.UID("ada"), audit.ManagementCall))
		expect(h.t, "another phone", test(h.Admins, spare), nil)
		h.Clock.Advance(50 * time.Minute)
		expect(h.t, "after the wait", test(h.Admins, phone), nil)
		expect(h.t, "and the next", test(h.Admins, phone), admin.ErrTestsOften)
		if got := len(h.eventsAbout(h.UID("ada"), audit.ManagementCall)); got > sent+2 {
			h.t.Errorf("what was refused made %d events", got-sent-2)
		}
	})
}

// A test of push changes nothing of a user: an admin sends one to whom he likes, himself too. Who is refused learns nothing of the phone.
func TestTestPush_IsAnAdminsWhoeversPhoneItIs(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.person("target", user.Owner, false)
	phone := h.enrollmentOf("target")
	for _, blocked := range []bool{false, true} {
		for _, who := range ranks {
			by := audit.ByAdmin(h.person(storage.NewID("who-", 8), who, blocked).UID, dashboard)
			_, err := h.Admins.TestPush(t.Context(), "target", phone, by)
			may := !blocked && (who == user.Admin || who == user.Owner)
			if errors.Is(err, admin.ErrRefused) == may {
				t.Errorf("%q, blocked %v: %v", who, blocked, err)
			}
		}
	}
	for what, by := range map[string]audit.Actor{"gone": audit.ByAdmin(storage.NewUID(), dashboard), "a user": audit.ByUser(), "nobody": {}} {
		if _, err := h.Admins.TestPush(t.Context(), "target", phone, by); !errors.Is(err, admin.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := h.Admins.TestPush(t.Context(), "target", "dev_nothing", audit.ByOperator(0)); !errors.Is(err, device.ErrNoEnrollment) {
		t.Errorf("no phone: %v", err)
	}
}
