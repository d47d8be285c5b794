package admin_test

import (
	"errors"
	"testing"

	"tutela/device"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

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
