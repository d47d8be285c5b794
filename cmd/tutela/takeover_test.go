package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tutela/device/phone"
)

// Two phones of maria's, by the real program: a new one wants to take over, and the old one has its say.
func TestPhone_TheOldOneVetoesAndDisputes(t *testing.T) {
	c := newCommandLine(t)
	c.serve()
	c.run("policy", "set", "restore.veto", "off") // the demo shows the wait
	old, id := c.enrolled("maria")
	on := func(folder string, args ...string) string {
		t.Helper()
		r := c.tryWith(nil, append([]string{"phone", "--phone", folder}, args...)...)
		if r.status != 0 {
			t.Fatalf("%v: %s", args, r.stderr)
		}
		return r.stdout
	}
	on(old, "backup", "--add", "otpauth://totp/Example:maria?secret=JBSWY3DPEHPK3PXP")
	code := regenerated(c, "maria")
	next := filepath.Join(t.TempDir(), "phone")
	must(t, os.CopyFS(next, os.DirFS(old)))
	on(next, "reinstall", "--new-phone")
	on(next, "restore")

	var open []phone.OpenRestore
	must(t, json.Unmarshal([]byte(on(old, "restores", "--json")), &open))
	if len(open) != 1 {
		t.Fatalf("open are %+v", open)
	}
	if said := on(old, "veto", open[0].ID); !strings.Contains(said, "Stopped.") {
		t.Errorf("said:\n%s", said)
	}
	r := c.tryWith(nil, "phone", "--phone", next, "restore", "--code", code)
	if r.status == 0 || !strings.Contains(r.stderr, "said that this is not you") || !strings.Contains(r.stderr, "/mfa/help#vetoed") {
		t.Errorf("after the veto:\n%s", r.stderr)
	}
	// The veto outlives its phone's suspension, and the admin is told.
	if r := c.try("device", "suspend", id); r.status != 0 || !strings.Contains(r.stderr, "A veto against a restore, given before, stands for a day.") {
		t.Errorf("said:\n%s", r.stderr)
	}
	c.run("user", "unlock", "maria")
	if r := c.try("device", "suspend", id); strings.Contains(r.stderr, "A veto") {
		t.Errorf("said after it was lifted:\n%s", r.stderr)
	}
	c.run("device", "resume", id)

	if said := on(next, "restore", "--code", code); !strings.Contains(said, "Welcome back, maria") {
		t.Errorf("said:\n%s", said)
	}
	if said := on(old, "notices"); !strings.Contains(said, "tutela phone dispute "+open[0].ID) {
		t.Errorf("the old phone was told:\n%s", said)
	}
	on(old, "dispute", open[0].ID)
	if said := on(next, "notices"); !strings.Contains(said, "says that the new one is not yours") {
		t.Errorf("the new phone was told:\n%s", said)
	}
	if events := c.run("events", "--type", "td_restore_disputed"); strings.Count(events, "\n") != 1 || !strings.Contains(events, "way=restore") {
		t.Errorf("events:\n%s", events)
	}
	if shown := c.run("user", "show", "maria"); !strings.Contains(shown, "disputed") {
		t.Errorf("an admin is shown:\n%s", shown)
	}
}

// regenerated returns a new recovery code of a user.
func regenerated(c *commandLine, userID string) string {
	c.t.Helper()
	return strings.ReplaceAll(strings.TrimSpace(c.run("user", "code", userID)), " ", "")
}
