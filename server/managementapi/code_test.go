package managementapi_test

import (
	"net/http"
	"testing"
)

func TestRegeneration_GivesANewCodeAlsoWithNothingEnrolled(t *testing.T) {
	h := newHouse(t)
	h.enroll("u1")
	first := h.call("POST", "/users/u1/recovery-code-regeneration", "").is(http.StatusOK).object()["recovery_code"]
	second := h.call("POST", "/users/u1/recovery-code-regeneration", "{}").is(http.StatusOK).object()["recovery_code"]
	if code, ok := first.(string); !ok || len(code) != 24 || first == second {
		t.Errorf("codes %v and %v", first, second)
	}
	h.call("POST", "/users", `{"user_id":"u2","connection":"c"}`).is(http.StatusCreated)
	h.call("POST", "/users/u2/recovery-code-regeneration", "").is(http.StatusOK)
	h.call("POST", "/users/nobody/recovery-code-regeneration", "").refused(http.StatusNotFound, "inexistent_user")
}
