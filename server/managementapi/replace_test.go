package managementapi_test

import (
	"net/http"
	"testing"

	"tutela/server/access"
	"tutela/storage/audit"
)

// A lost phone is replaced by one ticket: no allow_multiple_enrollments, and the lost one is gone when the new one enrols.
func TestCreateTicket_ReplacesALostPhone(t *testing.T) {
	h := newHouse(t)
	lost := h.enroll("u1")
	other := h.enroll("u2")
	ask := func(user, replaces string, token ...string) answer {
		return h.call("POST", "/guardian/enrollments/ticket", `{"user_id":"`+user+`","replaces":"`+replaces+`"}`, token...)
	}
	ask("u1", "dev_0000000000000000").refused(http.StatusNotFound, "enrollment_not_found")
	ask("u1", other).refused(http.StatusNotFound, "enrollment_not_found")
	ask("nobody", lost).refused(http.StatusNotFound, "enrollment_not_found")
	h.call("GET", "/users/nobody", "").refused(http.StatusNotFound, "inexistent_user")
	ask("u1", lost, h.tokenFor("create:guardian_enrollment_tickets")).refused(http.StatusForbidden, "insufficient_scope")
	_, both := h.clientFor(access.Client{Scopes: []string{"create:guardian_enrollment_tickets", "delete:guardian_enrollments"}})
	first := ask("u1", lost, both).is(http.StatusOK).object()["ticket_id"].(string)
	second := ask("u1", lost).is(http.StatusOK).object()["ticket_id"].(string)

	replacing := h.enrollBy(first)
	h.call("GET", "/guardian/enrollments/"+lost, "").refused(http.StatusNotFound, "enrollment_not_found")
	all := h.call("GET", "/users/u1/enrollments", "").is(http.StatusOK).array()
	if len(all) != 1 || all[0]["id"] != replacing {
		t.Errorf("enrollments %v", all)
	}
	if _, err := h.tryEnroll(second); err == nil {
		t.Error("a second ticket for the phone that is gone enrols")
	}
	ask("u1", lost).refused(http.StatusNotFound, "enrollment_not_found")
	if events := h.logsOf(string(audit.Unenroll)); len(events) != 1 {
		t.Errorf("events %v", events)
	}
}

func TestCreateTicket_WithANewCodeDeclaresTheOldOneLost(t *testing.T) {
	h := newHouse(t)
	h.enroll("u1")
	ask := func() answer {
		return h.call("POST", "/guardian/enrollments/ticket", `{"user_id":"u1","allow_multiple_enrollments":true,"new_code":true}`)
	}
	ask().is(http.StatusOK)
	ask().is(http.StatusOK)
	if events := h.logsOf(string(audit.CodeLost)); len(events) != 1 {
		t.Errorf("events %v", events)
	}
}
