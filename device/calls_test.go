package device_test

import (
	"context"
	"testing"
	"time"

	"tutela/device"
	"tutela/storage"
)

func (p *phone) count(kind device.CallKind) error {
	return p.h.store.Update(context.Background(), func(tx *storage.Tx) error {
		uid, e, err := device.Find(tx, p.Enrolled.ID)
		must(p.h.t, err)
		return device.CountCall(tx, uid, e, kind)
	})
}

func TestCountCall_BoundsEachKindInAnyHourAndForEachEnrollment(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		other := h.enroll("ada", "b")
		for kind, most := range map[device.CallKind]int{
			device.PatchByToken: 6, device.PatchByKey: 60, device.AcceptBackup: 60, device.MakeHandle: 6,
		} {
			for range most {
				expect(h.t, string(kind), p.count(kind), nil)
				h.clock.Advance(time.Second)
			}
			err := p.count(kind)
			expect(h.t, string(kind)+", once more", err, device.ErrTooOften)
			if wait := storage.RetryAfter(err); wait != time.Hour-time.Duration(most)*time.Second {
				h.t.Errorf("%s: wait %v", kind, wait)
			}
			expect(h.t, string(kind)+" of another", other.count(kind), nil)

			// The hour slides: the first call leaves it before the second.
			h.clock.Advance(storage.RetryAfter(err))
			expect(h.t, string(kind)+", after the wait", p.count(kind), nil)
			expect(h.t, string(kind)+", at once again", p.count(kind), device.ErrTooOften)
		}
	})
}

func TestCountCall_SurvivesARestart(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		for range 6 {
			must(h.t, p.count(device.MakeHandle))
		}
		h.home.Restart(0)
		h.store = h.home.Store
		expect(h.t, "after a restart", p.count(device.MakeHandle), device.ErrTooOften)
	})
}
