package main

import (
	"strings"
	"testing"
)

// What is exported of a person opens nothing: none of the secrets of her phone, her backup, her logins and her restores is in it.
func TestExport_HasNoSecretOfTheUser(t *testing.T) {
	m := mount(t)
	document := string(m.ok(m.call("GET", "/api/v2/users/maria/export", "", m.managing()...)).body)
	for _, table := range []string{"user", "enrollment", "backup", "backup_version", "backup_chunk", "login", "restore", "recovery_code", "notice"} {
		if !strings.Contains(document, `"`+table+`":[`) {
			t.Errorf("the export has nothing of %s", table)
		}
	}
	for kind, secret := range m.held {
		if strings.Contains(document, secret) {
			t.Errorf("the export has the %s", kind)
		}
	}
	for what, secret := range map[string]string{
		"challenge":     m.waiting.Challenge,
		"one-time code": m.phone.Enrollment().TOTP.Secret,
		"number":        `"number":`,
		"push token":    `"push_token":"`,
	} {
		if strings.Contains(document, secret) {
			t.Errorf("the export has the %s", what)
		}
	}
	weak := m.tokenWith("read:users")
	if r := m.call("GET", "/api/v2/users/maria/export", "", "Authorization", "Bearer "+weak); r.status != 403 || r.member("errorCode") != "insufficient_scope" {
		t.Errorf("without read:logs: %d %s", r.status, r.body)
	}
}

// tokenWith returns a management token of the client with these scopes alone.
func (m *mounted) tokenWith(scopes string) string {
	m.t.Helper()
	return m.ok(m.form("/oauth/token", "grant_type", "client_credentials", "audience", m.url+"/api/v2/", "scope", scopes)).member("access_token")
}

func TestUserExport_PrintsOneDocument(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		c.run("ticket", "maria")
		document := c.run("user", "export", "maria")
		if !strings.Contains(document, `"user_id": "maria"`) || !strings.Contains(document, `"ticket": [`) {
			t.Errorf("exported:\n%s", document)
		}
	})
}
