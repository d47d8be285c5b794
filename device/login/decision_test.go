package login_test

import (
	"strings"
	"testing"

	"tutela/device/login"
	"tutela/storage/audit"
)

// TestApprove_EveryMethodEndsALoginInTheSameWay: with one event that names the method, the push budget whole again, whoever
// waits woken, the authenticator's last use noted, and the login no longer among those that wait.
func TestApprove_EveryMethodEndsALoginInTheSameWay(t *testing.T) {
	for method, c := range map[login.Method]struct {
		satisfy  func(h *house, p *phone)
		byPhone  bool
		presence audit.Word
	}{
		login.ByKey: {func(h *house, p *phone) {
			begun := h.begin(request("ada"))
			must(h.t, p.approve(p.one(), begun.Number))
		}, true, "number"},
		login.ByRecoveryCode: {func(h *house, p *phone) {
			_, err := h.redeem(h.startMFA("ada").Token, p.Enrolled.RecoveryCode)
			must(h.t, err)
		}, false, ""},
	} {
		t.Run(string(method), func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				p := h.enroll("ada", "a")
				h.set("push.budget", "2")
				h.expectDelivery("the first push", request("ada"), login.Push)
				must(h.t, p.deny(p.one(), "")) // which costs the second
				woken, stop := h.store.Watch(h.uid("ada"))
				defer stop()
				c.satisfy(h, p)
				select {
				case <-woken:
				default:
					h.t.Error("nobody is woken")
				}
				events := h.events("ada", audit.AuthSucceed)
				if len(events) != 1 || events[0].Facts["method"] != audit.Word(method) || events[0].Facts["presence"] != c.presence || events[0].Client != request("ada").Client {
					h.t.Errorf("events %+v", events)
				}
				if noted := !p.enrollment().LastAuth.IsZero(); noted != c.byPhone {
					h.t.Errorf("the phone's last use was noted: %t", noted)
				}
				h.scan(func(key, value string) {
					if key[0] == 'u' && strings.HasPrefix(key[17:], "pace\x00") && strings.Contains(value, `"key"`) {
						h.t.Errorf("a login still counts as waiting: %s", value)
					}
				})
				h.expectDelivery("after the success", request("ada"), login.Push)
			})
		})
	}
}
