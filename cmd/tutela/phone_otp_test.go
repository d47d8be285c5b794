package main

import (
	"bytes"
	"strings"
	"testing"

	"tutela/device/phone"
	"tutela/server/access"
)

// person is a phone with a screen, enrolled for a user of the house.
func (m *mounted) person(userID string, screen *bytes.Buffer) (*phoneCmd, *phone.Phone) {
	m.t.Helper()
	c := &phoneCmd{Folder: m.t.TempDir(), Server: m.url, stdout: screen}
	p, err := c.open(phone.Options{})
	m.must(err)
	_, err = p.Enroll(m.t.Context(), m.ticket(userID))
	m.must(err)
	return c, p
}

func TestPhone_ShowsTheOneTimeCodeThatLetsIn(t *testing.T) {
	m := mount(t)
	var screen bytes.Buffer
	c, _ := m.person("ada", &screen)
	m.must((&phoneOTPCmd{}).Run(c))
	typed, _, _ := strings.Cut(screen.String(), "   ")
	token := m.ok(m.form("/mfa/start", "user_id", "ada")).member("mfa_token")
	m.ok(m.form("/oauth/token", "grant_type", access.GrantOTP, "mfa_token", token, "otp", typed))
}

func TestPhone_ShowsTheDetailsOfALogin(t *testing.T) {
	m := mount(t)
	var screen bytes.Buffer
	c, p := m.person("ada", &screen)
	m.ok(m.form("/bc-authorize", "scope", "openid", "login_hint", "ada", "binding_message", "Pay Otto",
		"authorization_details", `[{"type": "payment", "to": "Otto", "amount": {"EUR": 250}}]`))
	asked, err := p.Approvals(t.Context(), 0, nil)
	m.must(err)
	c.showApproval(t.Context(), p, asked[0], false)
	for _, want := range []string{"what   Pay Otto\n", `of it  payment; amount {"EUR":250}; to Otto` + "\n"} {
		if !strings.Contains(screen.String(), want) {
			t.Errorf("%q is not on the screen:\n%s", want, screen.String())
		}
	}
}
