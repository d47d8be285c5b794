package managementapi_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
)

func TestCreateTicket_AnswersAnIDAndALink(t *testing.T) {
	h := newHouse(t)
	got := h.call("POST", "/guardian/enrollments/ticket", `{"user_id":"auth0|new","email":"new@example.com","send_mail":false,"email_locale":"de"}`).
		is(http.StatusOK)
	if got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", got.header.Get("Cache-Control"))
	}
	o := got.object()
	id, _ := o["ticket_id"].(string)
	if !regexp.MustCompile(`^[A-Za-z0-9]{32}$`).MatchString(id) || o["ticket_url"] != publicURL+"/mfa/enrollment?ticket="+id || len(o) != 2 {
		t.Fatalf("answer %v", o)
	}
	if _, err := h.devices.OpenTicket(t.Context(), id, ""); err != nil {
		t.Errorf("the ticket does not open: %v", err)
	}
	if u := h.call("GET", "/users/auth0%7Cnew", "").is(http.StatusOK).object(); u["email"] != "new@example.com" {
		t.Errorf("user %v", u)
	}
}

func TestCreateTicket_RefusesWhatCannotBe(t *testing.T) {
	h := newHouse(t)
	h.enroll("enrolled")
	for body, want := range map[string]struct {
		status int
		code   string
	}{
		`{"user_id":"enrolled"}`:                              {http.StatusConflict, "already_enrolled"},
		`{"user_id":"x","factor":"phone"}`:                    {http.StatusBadRequest, "method_not_available"},
		`{"user_id":"x","factor":"email"}`:                    {http.StatusBadRequest, "method_not_available"},
		`{"user_id":"x","send_mail":true}`:                    {http.StatusBadRequest, "invalid_body"},
		`{"user_id":"x","email":"none"}`:                      {http.StatusBadRequest, "invalid_body"},
		`{"user_id":""}`:                                      {http.StatusBadRequest, "invalid_body"},
		`{"user_id":"` + strings.Repeat("u", 256) + `"}`:      {http.StatusBadRequest, "invalid_body"},
		`{"user_id":null}`:                                    {http.StatusBadRequest, "invalid_body"},
		`{"user_id":"x"`:                                      {http.StatusBadRequest, "invalid_body"},
		`{"user_id":["x"]}`:                                   {http.StatusBadRequest, "invalid_body"},
		`{"user_id":"x","allow_multiple_enrollments":"true"}`: {http.StatusBadRequest, "invalid_body"},
		``: {http.StatusBadRequest, "invalid_body"},
	} {
		h.call("POST", "/guardian/enrollments/ticket", body).refused(want.status, want.code)
	}
	h.call("GET", "/users/x", "").refused(http.StatusNotFound, "inexistent_user")
	h.call("POST", "/guardian/enrollments/ticket", `{"user_id":"enrolled","allow_multiple_enrollments":true,"factor":"push-notification"}`).is(http.StatusOK)
}

func TestCreateTicket_IsForOneFactorAlone(t *testing.T) {
	h := newHouse(t)
	for _, factor := range []string{"push-notification", "otp", "webauthn-roaming", "webauthn-platform"} {
		ticket, _ := h.call("POST", "/guardian/enrollments/ticket", `{"user_id":"u1","factor":"`+factor+`"}`).is(http.StatusOK).object()["ticket_id"].(string)
		page, err := h.devices.OpenTicket(t.Context(), ticket, "")
		if err != nil || len(page.Factors) != 1 || string(page.Factors[0]) != factor {
			t.Errorf("the page of a ticket for %s offers %v: %v", factor, page.Factors, err)
		}
	}
	for _, factor := range []string{"sms", "duo", "voice", "recovery-code", "OTP", "push", " otp"} {
		h.call("POST", "/guardian/enrollments/ticket", `{"user_id":"u2","factor":"`+factor+`"}`).refused(http.StatusBadRequest, "method_not_available")
	}
	h.call("POST", "/guardian/enrollments/ticket", `{"user_id":"u2","factor":7}`).refused(http.StatusBadRequest, "invalid_body")
	h.call("GET", "/users/u2", "").refused(http.StatusNotFound, "inexistent_user")
}

func TestEnrollment_IsShownAsTheClientsExpect(t *testing.T) {
	h := newHouse(t)
	id := h.enroll("u1")
	got := h.call("GET", "/guardian/enrollments/"+id, "").is(http.StatusOK).object()
	if len(got["identifier"].(string)) != 12 {
		t.Errorf("identifier %v", got["identifier"])
	}
	want := map[string]any{
		"id": id, "status": "confirmed", "name": "Pixel 9", "identifier": got["identifier"], "enrolled_at": "2026-03-01T12:00:00.123Z",
		"via": "ticket", "push": "none",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("enrollment (-want +got):\n%s", diff)
	}
	want["type"] = "push"
	want["auth_method"] = "guardian"
	if diff := cmp.Diff([]map[string]any{want}, h.call("GET", "/users/u1/enrollments", "").is(http.StatusOK).array()); diff != "" {
		t.Errorf("the user's enrollments (-want +got):\n%s", diff)
	}
	h.call("GET", "/guardian/enrollments/dev_0000000000000000", "").refused(http.StatusNotFound, "enrollment_not_found")
	h.call("GET", "/users/nobody/enrollments", "").refused(http.StatusNotFound, "inexistent_user")
	h.call("POST", "/users", `{"user_id":"bare"}`).is(http.StatusCreated)
	if got := strings.TrimSpace(h.call("GET", "/users/bare/enrollments", "").body); got != "[]" {
		t.Errorf("of a user with none: %s", got)
	}
}

func TestListEnrollments_SaysOfEachWhatItsTypeIsAndHow(t *testing.T) {
	h := newHouse(t)
	h.enroll("u1")
	want := map[string]string{
		"push": "guardian", "otp": "authenticator", "webauthn-roaming": "webauthn-roaming", "webauthn-platform": "webauthn-platform",
	}
	must(t, h.store.Update(t.Context(), func(tx *storage.Tx) error {
		u, err := user.Find(tx, "u1")
		must(t, err)
		for of := range want {
			if of == "push" {
				continue
			}
			must(t, device.Put(tx, u.UID, &device.Enrollment{
				ID:       "dev_of_" + of,
				Type:     device.Type(of),
				Name:     of,
				Status:   device.Active,
				Enrolled: tx.Now(),
			}))
		}
		return nil
	}))
	got := map[string]string{}
	for _, e := range h.call("GET", "/users/u1/enrollments", "").is(http.StatusOK).array() {
		of, _ := e["type"].(string)
		got[of], _ = e["auth_method"].(string)
		if _, has := e["identifier"]; has != (of == "push") {
			t.Errorf("%v", e)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestEnrollment_ThatLeftIsShownAndActedOn: a stolen device token hides no phone from admins, and turns no MFA off.
func TestEnrollment_ThatLeftIsShownAndActedOn(t *testing.T) {
	h := newHouse(t)
	leave := func(userID string) string {
		id := h.enroll(userID)
		must(t, h.store.Update(t.Context(), func(tx *storage.Tx) error {
			uid, e, err := device.Find(tx, id)
			must(t, err)
			return device.SetStatus(tx, uid, e, device.Left)
		}))
		return id
	}
	status := func(id string) any {
		return h.call("GET", "/guardian/enrollments/"+id, "").is(http.StatusOK).object()["status"]
	}
	id := leave("u1")
	if got := status(id); got != "left" {
		t.Errorf("status %v", got)
	}
	if got := h.call("GET", "/users/u1/enrollments", "").is(http.StatusOK).array(); len(got) != 1 || got[0]["status"] != "left" {
		t.Errorf("the user's enrollments: %v", got)
	}
	if got := h.call("GET", "/users/u1", "").is(http.StatusOK).object()["multifactor"]; got != nil {
		t.Errorf("multifactor %v", got)
	}
	h.call("POST", "/guardian/enrollments/ticket", `{"user_id":"u1"}`).is(http.StatusOK)

	h.call("POST", "/guardian/enrollments/"+id+"/suspend", "").is(http.StatusNoContent)
	h.call("POST", "/guardian/enrollments/"+id+"/resume", "").is(http.StatusNoContent)
	if got := status(id); got != "confirmed" {
		t.Errorf("resumed, status %v", got)
	}
	other := leave("u1")
	h.call("DELETE", "/guardian/enrollments/"+other, "").is(http.StatusNoContent)
	h.call("GET", "/guardian/enrollments/"+other, "").refused(http.StatusNotFound, "enrollment_not_found")

	last := leave("u2")
	h.clock.Advance(7 * 24 * time.Hour)
	h.token = h.tokenFor(allScopes...)
	h.call("GET", "/guardian/enrollments/"+last, "").refused(http.StatusNotFound, "enrollment_not_found")
}

func TestDeleteEnrollment_OfTheLastIsAResetAndOfAnotherIsNot(t *testing.T) {
	h := newHouse(t)
	first := h.enroll("u1")
	second := h.enroll("u1")
	h.call("DELETE", "/guardian/enrollments/"+first, "").is(http.StatusNoContent)
	h.call("DELETE", "/guardian/enrollments/"+first, "").refused(http.StatusNotFound, "enrollment_not_found")
	if p, err := h.Admins.ReadUser(t.Context(), "u1"); err != nil || p.State != user.Enrolled {
		t.Fatalf("state %v, %v", p.State, err)
	}
	h.call("POST", "/guardian/enrollments/"+second+"/suspend", "").is(http.StatusNoContent)
	third := h.enroll("u1")
	h.call("DELETE", "/guardian/enrollments/"+third, "").is(http.StatusNoContent)
	if p, err := h.Admins.ReadUser(t.Context(), "u1"); err != nil || p.State != user.RecoveryOnly {
		t.Fatalf("a suspended enrollment is left: state %v, %v", p.State, err)
	}
	h.call("DELETE", "/guardian/enrollments/"+second, "").is(http.StatusNoContent)
	if p, err := h.Admins.ReadUser(t.Context(), "u1"); err != nil || p.State != user.New {
		t.Fatalf("state %v, %v", p.State, err)
	}
	standing, err := h.Admins.StandingOf(t.Context(), "u1")
	must(t, err)
	if len(standing.Receipts) != 1 || standing.HasCode {
		t.Errorf("standing %+v", standing)
	}
}

func TestSuspend_IsReversibleAndRepeatable(t *testing.T) {
	h := newHouse(t)
	id := h.enroll("u1")
	for range 2 {
		h.call("POST", "/guardian/enrollments/"+id+"/suspend", `{}`).is(http.StatusNoContent)
	}
	if p, err := h.Admins.ReadUser(t.Context(), "u1"); err != nil || p.State != user.RecoveryOnly {
		t.Fatalf("state %v, %v", p.State, err)
	}
	h.call("GET", "/guardian/enrollments/"+id, "").is(http.StatusOK)
	if all := h.call("GET", "/users/u1/enrollments", "").array(); len(all) != 1 {
		t.Errorf("enrollments %v", all)
	}
	for range 2 {
		h.call("POST", "/guardian/enrollments/"+id+"/resume", "").is(http.StatusNoContent)
	}
	if p, err := h.Admins.ReadUser(t.Context(), "u1"); err != nil || p.State != user.Enrolled {
		t.Fatalf("state %v, %v", p.State, err)
	}
	if events := h.logsOf("gd_update_device_account"); len(events) != 2 {
		t.Errorf("%d events", len(events))
	}
	h.call("POST", "/guardian/enrollments/dev_none/suspend", "").refused(http.StatusNotFound, "enrollment_not_found")
}
