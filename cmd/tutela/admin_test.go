package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestAdminInvite_PrintsALinkBelowThePublicURL(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		link := strings.TrimSpace(c.run("admin", "invite", "ada", "--role", "owner"))
		if !strings.HasPrefix(link, "http://localhost:") || !strings.Contains(link, "/admin/invite?invite=") {
			t.Errorf("the link is %q", link)
		}
		if shown := c.run("user", "show", "ada"); !strings.Contains(shown, "owner") {
			t.Errorf("shown:\n%s", shown)
		}
		var again struct {
			URL, Role string
			Passkeys  bool
		}
		must(t, json.Unmarshal([]byte(c.run("admin", "invite", "ada", "--replace", "--json")), &again))
		if again.URL == link || again.Role != "owner" || !again.Passkeys {
			t.Errorf("again: %+v", again)
		}
		if events := c.run("events", "--type", "sapi"); strings.Count(events, "call=invite_admin") != 2 || !strings.Contains(events, "passkey=replaced") {
			t.Errorf("events:\n%s", events)
		}
		c.try("admin", "invite", "bob").notUnderstood(`the user "bob" has no role yet: add --role viewer, helpdesk, admin or owner`)
		c.try("admin", "invite", "bob", "--role", "king").notUnderstood("--role must be one of")
		c.run("user", "block", "ada")
		c.try("admin", "invite", "ada").refused("the user is blocked: take that back first")
	})
}

func TestAdminInvite_UnderAnAddressSaysWhatToDo(t *testing.T) {
	c := newCommandLine(t)
	r := c.try("admin", "invite", "ada", "--role", "admin", "--public-url", "http://192.168.1.20:8080")
	if r.status != 0 || !strings.HasPrefix(r.stdout, "http://192.168.1.20:8080/admin") || !strings.Contains(r.stderr, "give the server a public URL with a name") {
		t.Errorf("%d\n%s\n%s", r.status, r.stdout, r.stderr)
	}
}
