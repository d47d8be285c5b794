package device_test

import (
	"testing"
	"time"

	"tutela/device"
	"tutela/storage"
)

const days = 24 * time.Hour

// SignedWithin speaks of what the key has signed, and of no call by the device token. It is kept to the hour.
func TestSignedWithin_SpeaksOfSignedCallsAlone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.home.Enroll("maria", "phone")
		expect := func(d time.Duration, want bool) {
			t.Helper()
			if is := p.Enrollment().SignedWithin(h.store.Now(), d); is != want {
				t.Errorf("signed within %v: %t", d, is)
			}
		}
		call := func(by func() (device.Proof, error)) {
			t.Helper()
			if _, err := by(); err != nil {
				t.Fatal(err)
			}
		}
		expect(days, true) // it was enrolled just now
		h.clock.Advance(2 * days)
		call(p.CallByToken)
		expect(days, false)
		call(p.Call)
		expect(days, true)
		first := p.Enrollment().Push.Signed
		h.clock.Advance(30 * time.Minute)
		call(p.Call)
		if !p.Enrollment().Push.Signed.Equal(first) {
			t.Error("written twice in an hour")
		}
		h.clock.Advance(days)
		expect(days, false)
	})
}

// An answer is signed; a one-time code is not. A row of an earlier release knows its last login alone.
func TestSignedWithin_CountsAnswersAndEarlierRows(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.home.Enroll("maria", "phone")
		show := func(shown device.Showing) {
			t.Helper()
			h.clock.Advance(40 * days)
			h.update(func(tx *storage.Tx) error {
				uid, e, err := device.Find(tx, p.Enrolled.ID)
				must(t, err)
				return device.Authenticated(tx, uid, e, shown)
			})
		}
		expect := func(want bool) {
			t.Helper()
			if is := p.Enrollment().SignedWithin(h.store.Now(), 30*days); is != want {
				t.Errorf("signed: %t", is)
			}
		}
		show(device.Showing{Signed: true})
		expect(true)
		show(device.Showing{Satisfied: true})
		expect(false)
		h.update(func(tx *storage.Tx) error {
			uid, e, err := device.Find(tx, p.Enrolled.ID)
			must(t, err)
			e.Push.Signed = time.Time{}
			return device.Put(tx, uid, e)
		})
		expect(true)
	})
}
