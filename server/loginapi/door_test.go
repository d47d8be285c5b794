package loginapi_test

import (
	"net/http"
	"strings"
	"testing"

	"tutela/server"
)

func TestEveryCall_IsRefusedBeforeItsBodyIsRead(t *testing.T) {
	h := newHouse(t, func(c *server.Config) { c.Limits.CallsPerAddress = len(endpoints) })
	known := h.client("openid")
	fields := []string{"Authorization", basic(known.ID, "wrong"), "X-Forwarded-For", "192.0.2.1"}
	for _, path := range endpoints {
		a := h.Knock("POST", path, fields...)
		if a.Status != http.StatusUnauthorized || a.Body["error"] != "invalid_client" || a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %s", path, a.Status, a.Raw)
		}
	}
	for _, path := range endpoints {
		a := h.Knock("POST", path, fields...)
		if a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", path, a.Status, a.Raw)
		}
	}
	// Who has the secret is never refused for others from the same address.
	fields[1] = basic(known.ID, known.secret)
	want(t, h.send("POST", "/mfa/start", "user_id=maria", append(fields, "Content-Type", formType)...), 200, "")
}

func TestParameters_InTheirThousandsAreNotReadOneByOne(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	field := []string{"Authorization", basic(c.ID, c.secret)}
	for kind, body := range map[string]string{
		formType: "user_id=maria" + strings.Repeat("&a=", 9_999),
		jsonType: `{"user_id":"maria"` + strings.Repeat(`,"a":[1,2]`, 5_000) + `}`,
	} {
		a := h.send("POST", "/mfa/start", body, append(field, "Content-Type", kind)...)
		wantError(t, a, 400, "invalid_request", "there are too many parameters")
	}
	// Those inside of a parameter are none.
	details := `"authorization_details":[{"type":"pay"` + strings.Repeat(`,"\"x,{":1`, 300) + `}]`
	a := h.send("POST", "/bc-authorize", `{"scope":"openid","login_hint":"nobody",`+details+`}`, append(field, "Content-Type", jsonType)...)
	if a.text("error_description") == "there are too many parameters" {
		t.Error(a.raw)
	}
}
