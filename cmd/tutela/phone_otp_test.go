package main

import (
	"bytes"
	"strings"
	"testing"

	"tutela/device/phone"
	"tutela/server/access"
	"tutela/server/operator"
	"tutela/storage/audit"
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

func TestUserShow_TellsAnAppOfCodesFromAPhone(t *testing.T) {
	m := mount(t)
	ctx := t.Context()
	ticket := m.ticket("ada")
	uri, err := m.house.devices.TicketURI(ctx, ticket)
	m.must(err)
	enrolled, err := m.house.devices.ConfirmOTP(ctx, ticket, codeOf(t, uri), audit.ByUser())
	m.must(err)
	shown, err := operator.ShowUser.Do(ctx, operator.NewLocal(m.house.operators(), 0), "ada")
	m.must(err)
	var screen strings.Builder
	showHoldings(&screen, shown)
	if !strings.Contains(screen.String(), "codes\t"+enrolled.ID+`  "One-time code app", active, `) {
		t.Errorf("shown:\n%s", screen.String())
	}
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
