package dashboard

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/server/web/webtest"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

// key presses a key.
func key(c *webtest.Tab, name string) {
	for _, kind := range []string{"keyDown", "keyUp"} {
		c.Call("Input.dispatchKeyEvent", map[string]any{
			"type":                  kind,
			"key":                   name,
			"code":                  name,
			"windowsVirtualKeyCode": map[string]int{"Escape": 27, "Tab": 9}[name],
		})
	}
}

// behind reports whether the keyboard comes to anything but the dialog, by the Tab key.
func behind(c *webtest.Tab) bool {
	for range 12 {
		key(c, "Tab")
		if c.Eval(`document.activeElement !== document.body && !document.activeElement.closest("dialog")`) == true {
			return true
		}
	}
	return false
}

func TestBrowser_TheResetDialogKeepsTheRestAway(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	path := h.enrolled("maria")
	c := h.boss("bea", user.Admin)
	c.Go(h.Base + path + "/reset")
	c.Until(`document.querySelector("dialog:modal") !== null && document.readyState === "complete"`)
	if c.Eval(`!!document.activeElement.closest("dialog")`) != true || behind(c) {
		t.Error("with script the keyboard leaves the dialog")
	}
	key(c, "Escape")
	c.Says("Devices")
	h.expectState("maria", user.Enrolled)

	c.WithoutScript()
	c.Go(h.Base + path + "/reset")
	c.Until(`document.querySelector("dialog[open]") !== null && document.readyState === "complete"`)
	c.Until(`document.activeElement.id === "reset-title"`)
	if c.Eval(`document.querySelector("body > header").inert && document.querySelector("nav.side").inert && !document.querySelector("main").inert`) != true || behind(c) {
		t.Error("without script what lies behind can be reached")
	}
	c.PressNamed("Cancel")
	c.Says("Devices")
	if c.Eval(`document.querySelector("[inert]") === null`) != true {
		t.Error("something stays out of reach")
	}
}

func TestBrowser_ARoleIsGivenChangedAndTakenAway(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	path := h.enrolled("maria")
	c := h.boss("bea", user.Owner)
	roleOf := func() user.Role {
		p, err := h.Admins.ReadUser(t.Context(), "maria")
		check.Must(t, err)
		return p.Role
	}
	give := func(value string, want user.Role) {
		c.Go(h.Base + path)
		c.Sees("maria")
		c.Press("main details.menu summary")
		c.PressNamed("Change role")
		c.Sees("Change the role of maria?")
		c.Eval(`document.querySelector('input[name="role"][value="` + value + `"]').click()`)
		c.PressNamed("Change it")
		c.Sees("maria")
		if got := roleOf(); got != want {
			t.Errorf("the role is %q, want %q", got, want)
		}
	}
	give("helpdesk", user.Helpdesk)
	c.Go(h.Base + path + "/do/role")
	c.Sees("Change the role of maria?")
	give("viewer", user.Viewer)
	c.Go(h.Base + "/admin/team")
	c.Says("maria")
	c.WithoutScript()
	give("none", user.NoRole)
	// Oneself, and so the last owner, is for somebody else.
	c.Go(h.Base + h.pathOf("bea") + "/do/role")
	c.Sees("You cannot do this to bea")
	c.Says("This is you.")
}

func TestUsers_AFormWithoutARoleTakesNoneAway(t *testing.T) {
	h := newHouse(t)
	h.signedIn("desk", user.Helpdesk)
	boss := h.signedIn("bea", user.Owner)
	for _, form := range []url.Values{nil, {"role": {""}}, {"role": {"king"}}} {
		if a := boss.Post(h.pathOf("desk")+"/do/role", form); a.Status != http.StatusBadRequest {
			t.Errorf("%v: %d", form, a.Status)
		}
	}
	admin := h.signedIn("ann", user.Admin)
	for _, id := range []string{"desk", "bea", "ann"} {
		if a := admin.Post(h.pathOf(id)+"/do/role", url.Values{"role": {"none"}}); a.Status != http.StatusForbidden {
			t.Errorf("an admin changes %s: %d", id, a.Status)
		}
	}
	if a := boss.Post(h.pathOf("bea")+"/do/role", url.Values{"role": {"none"}}); a.Status != http.StatusForbidden {
		t.Errorf("the last owner: %d", a.Status)
	}
	for id, want := range map[string]user.Role{"desk": user.Helpdesk, "bea": user.Owner, "ann": user.Admin} {
		if p, err := h.Admins.ReadUser(t.Context(), id); err != nil || p.Role != want {
			t.Errorf("%s is %s, %v", id, p.Role, err)
		}
	}
}

func TestBrowser_ATicketForSomebodyWhoWasNotSeenBefore(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	h.enrolled("maria")
	c := h.boss("dora", user.Helpdesk)
	for i, id := range []string{"nina", "okan"} {
		if i == 1 {
			c.WithoutScript()
		}
		c.PressNamed("Users")
		c.PressNamed("New user")
		c.Sees("Enrolment link for a new user")
		c.Says("dora")
		c.Type("#user", id)
		c.Type("#name", "Somebody New")
		c.PressNamed("Make the ticket")
		c.Sees("Enrolment ticket for Somebody New")
		link := c.Text(`document.querySelector("#ticket").textContent.trim()`)
		if !strings.Contains(link, "/mfa/enrollment?ticket=") || c.Eval(`document.querySelector('svg[role="img"][aria-label^="QR code"]') !== null`) != true {
			t.Errorf("the link is %q", link)
		}
		h.expectState(id, user.New)
	}
	// Of somebody who is known it leads to her own page, and makes nothing.
	c.Go(h.Base + "/admin/users/ticket")
	c.Type("#user", "maria")
	c.PressNamed("Make the ticket")
	c.Sees("Enrolment ticket for maria")
	c.Says("The ticket is a link")
	c.Go(h.Base + "/admin/users/ticket")
	c.Sees("Enrolment link for a new user")
	c.Eval(`document.querySelector("#user").removeAttribute("required")`)
	c.PressNamed("Make the ticket")
	c.Says("This cannot be the id")
	viewer := h.signedIn("vera", user.Viewer)
	if a := viewer.Post("/admin/users/ticket", url.Values{"user": {"eve"}}); a.Status != http.StatusForbidden {
		t.Errorf("a viewer: %d", a.Status)
	}
	if _, err := h.Admins.ReadUser(t.Context(), "eve"); err == nil {
		t.Error("eve was made")
	}
}

// The receipt's page says what `tutela receipt verify` says, by the same check.
func TestReceipt_IsVerifiedOnItsPage(t *testing.T) {
	h := newHouse(t)
	path := h.enrolled("maria")
	desk := h.signedIn("dora", user.Helpdesk)
	shown := desk.Post(path+"/reset", url.Values{"reason": {"lost"}})
	if shown.Status != http.StatusOK || !strings.Contains(shown.Body, "Verified: this receipt is genuine.") {
		t.Errorf("%d: %s", shown.Status, shown.Body)
	}
	d, err := h.Admins.DetailOf(t.Context(), "maria")
	check.Must(t, err)
	file := desk.Get(path + "/receipts/" + d.Receipts[0].ID + "/download").Body
	jwks, err := h.Access.JWKS(t.Context())
	check.Must(t, err)
	if got, _, err := access.CheckReceipt([]byte(file), jwks); err != nil || got.ID != d.Receipts[0].ID || got.Reason != "lost" {
		t.Errorf("%v: %v", got, err)
	}
	for what, change := range map[string]func(*recovery.Receipt){
		"another reason":   func(r *recovery.Receipt) { r.Reason = "found" },
		"another user":     func(r *recovery.Receipt) { r.UserID = "otto" },
		"no signature":     func(r *recovery.Receipt) { r.Signature = "" },
		"a wrong one":      func(r *recovery.Receipt) { r.Signature = r.Signature[:len(r.Signature)-4] + "AAAA" },
		"what was removed": func(r *recovery.Receipt) { r.Removed = nil },
	} {
		changed := d.Receipts[0]
		change(&changed)
		if err := h.Access.VerifyOwn(t.Context(), changed); err == nil {
			t.Errorf("%s: it is genuine", what)
		}
		content, err := json.Marshal(changed)
		check.Must(t, err)
		if _, _, err := access.CheckReceipt(content, jwks); err == nil {
			t.Errorf("%s: the file is genuine", what)
		}
	}
	if events := h.Events(audit.Reset); len(events) != 1 {
		t.Errorf("%d resets", len(events))
	}
}
