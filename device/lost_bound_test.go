package device_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/push"
	"tutela/storage/storagetest/check"
)

// TestForgetRetired_TakesTheRowsOfLostAddressesWithIt: a phone that is enrolled again and again, each time with an address that is
// gone, leaves no more rows than its enrollments do.
func TestForgetRetired_TakesTheRowsOfLostAddressesWithIt(t *testing.T) {
	check.WithoutRace(t)
	onEveryEngine(t, func(h *house) {
		h.sent.Fail = func(push.Address) error {
			return &push.Refusal{Verdict: push.Gone, Status: 404, Reason: "UNREGISTERED"}
		}
		for i := range device.MostRetired + 6 {
			p := h.newPhone("the same phone")
			p.In.Push.Token = fmt.Sprint("gone ", i)
			must(h.t, p.Enroll(h.ticket("mallory")))
			h.tell("mallory")
			h.clock.Advance(time.Minute) // else it looks like a wave
		}
		enrollments := len(h.home.Rows("enrollment"))
		lost := len(h.home.Rows("push_lost"))
		if lost > enrollments {
			h.t.Errorf("%d rows of lost addresses of %d enrollments: %s", lost, enrollments, strings.Join(h.home.Rows("push_lost")[:1], " "))
		}
	})
}
