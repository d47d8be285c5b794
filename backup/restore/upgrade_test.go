package restore_test

import (
	"testing"

	"tutela/device"
	"tutela/device/push"
	"tutela/storage"
	"tutela/storage/storagetest/ground"
)

// TestRedeem_KeepsThePushAddressOfARestoreThatWasBegunUnderSchema1 is an upgrade in the quarter of an hour that a restore
// is open.
func TestRedeem_KeepsThePushAddressOfARestoreThatWasBegunUnderSchema1(t *testing.T) {
	h := openHouse(t, ground.Options{})
	old := h.enroll(t, "ada").backUp(t, "blob")
	s := h.start(t, old.handle)
	rows := ground.Rewrite(t, h.store.Engine(), "restore", func(r map[string]any) {
		address, ok := r["push"].(map[string]any)
		if !ok {
			t.Fatalf("the restore has no push address: %v", r)
		}
		delete(r, "push")
		r["push_service"] = address["service"]
		r["push_token"] = address["token"]
	})
	if rows != 1 {
		t.Fatalf("%d restores", rows)
	}
	o, err := s.redeem(old.code)
	must(t, err)
	must(t, h.store.View(t.Context(), func(tx *storage.Tx) error {
		_, e, err := device.Find(tx, o.ID)
		must(t, err)
		if want := (push.Address{Service: push.FCM, Token: "push-token-new phone"}); e.PushAddress() != want {
			t.Errorf("the new phone is reached at %+v, want %+v", e.PushAddress(), want)
		}
		return nil
	}))
}
