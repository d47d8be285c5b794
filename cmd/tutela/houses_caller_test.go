package main

import (
	"testing"

	"tutela/device/phone"
)

// The help desk waits at one house for the answer that the phone gives at the other, and resets by it at the first.
func TestTwoHouses_AHelpDeskWaitsAtOneForThePhoneAtTheOther(t *testing.T) {
	n := mountNeighbours(t)
	answerAll(t, n)
	asked := n.a.ok(n.a.json("POST", "/api/v2/users/maria/caller-check", map[string]string{"note": "new phone"}, n.a.managing()...))
	n.road.leadTo(n.b)
	state, over := aside(func() (reply, error) {
		return n.a.try("GET", "/api/v2/users/maria/caller-check/"+asked.member("id")+"?wait=60", nil, n.a.managing()...)
	})
	list, err := n.b.phone.Approvals(withinTheWait(t), 0, nil)
	must(t, err)
	if len(list) != 1 || list[0].Purpose != phone.CallerCheck || list[0].BindingMessage != "new phone" || list[0].ClientName != "all" {
		t.Fatalf("the phone is asked %+v", list)
	}
	must(t, n.b.phone.Approve(t.Context(), list[0], asked.member("number")))
	<-over
	r, err := state()
	must(t, err)
	if r.member("status") != "approved" {
		t.Fatalf("waited for %d %s", r.status, r.body)
	}
	for _, m := range []*mounted{n.b, n.a} {
		body := map[string]string{"reason": "lost phone", "caller_check": "device_answered", "check": asked.member("id")}
		if got := m.ok(m.json("POST", "/api/v2/users/maria/mfa-reset", body, m.managing()...)); got.member("check") != asked.member("id") {
			t.Errorf("the receipt: %s", got.body)
		}
	}
}
