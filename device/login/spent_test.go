package login_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device/login"
	"tutela/storage"
)

func TestSpentBuckets_SayUntilWhenLoginsAreSilent(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		uid := h.uid("ada")
		began := h.store.Now()
		expect := func(what string, want ...login.Spent) {
			h.t.Helper()
			h.view(func(tx *storage.Tx) error {
				got, err := login.SpentBuckets(tx, uid)
				if diff := cmp.Diff(want, got); diff != "" {
					h.t.Errorf("%s (-want +got):\n%s", what, diff)
				}
				return err
			})
		}
		home := request("ada")
		begun := h.begin(home)
		must(h.t, p.approve(p.one(), begun.Number)) // the network is hers now
		expect("after a success")
		thief := request("ada")
		thief.IP = "203.0.113.9"
		for range 5 {
			h.begin(thief)
		}
		elsewhere := login.Spent{Client: "bank", Network: login.Others, Until: began.Add(30 * time.Minute)}
		expect("five pushes to others", elsewhere)
		for range 5 {
			h.begin(home)
		}
		hers := login.Spent{Client: "bank", Network: "198.51.100.0/24", Until: began.Add(30 * time.Minute)}
		expect("and five to hers", elsewhere, hers)
		must(h.t, p.deny(p.pull()[0], ""))
		elsewhere.Until = began.Add(90 * time.Minute)
		expect("a denial costs one more", elsewhere, hers)
		h.clock.Advance(30 * time.Minute)
		expect("a push comes back to hers", elsewhere)
		h.clock.Advance(time.Hour)
		expect("and to the others")
		h.expectDelivery("then", thief, login.Push)
		h.expectDelivery("and again", thief, login.Silent)
		h.update(func(tx *storage.Tx) error { return login.Unmute(tx, uid) })
		expect("an admin has brought all back")
	})
}
