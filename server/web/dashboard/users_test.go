package dashboard

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/otp"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server/web/webtest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

// enrolled makes a user with an app for one-time codes and a recovery code, and returns the path of her page.
func (h *house) enrolled(id string) string {
	h.t.Helper()
	var made *user.User
	check.Must(h.t, h.Store.Update(h.t.Context(), func(tx *storage.Tx) (err error) {
		made, err = user.Create(tx, user.User{ID: id})
		if err != nil {
			return err
		}
		_, err = h.Codes.Issue(tx, made.UID)
		return err
	}))
	_, err := h.Admins.ImportMethod(h.t.Context(), id, device.Imported{Secret: otp.NewSecret(), Name: "Pixel 9"}, audit.ByOperator(0))
	check.Must(h.t, err)
	return "/admin/users/" + made.UID.String()
}

// pathOf is the path of a user's page.
func (h *house) pathOf(id string) string {
	h.t.Helper()
	p, err := h.Admins.ReadUser(h.t.Context(), id)
	check.Must(h.t, err)
	return "/admin/users/" + p.UID.String()
}

// expectState fails the test unless the user's MFA is in a state.
func (h *house) expectState(id string, want user.State) {
	h.t.Helper()
	p, err := h.Admins.ReadUser(h.t.Context(), id)
	if err != nil || p.State != want {
		h.t.Errorf("%s is %s, %v; wanted %s", id, p.State, err, want)
	}
}

// boss signs an admin in, in a browser.
func (h *house) boss(id string, role user.Role) *webtest.Tab {
	h.t.Helper()
	c := h.browser()
	h.accept(c, h.invite(id, role, false))
	return c
}

// sure fills the dialog in and presses its button.
func sure(c *webtest.Tab, id string) {
	c.Until(`document.querySelector("dialog[open]") !== null && document.readyState === "complete"`)
	c.Type("#reason", "phone lost at the airport")
	c.PressNamed("Yes, reset it")
	c.Sees("Done: the MFA of " + id + " is reset")
}

func TestBrowser_ASearchAndAResetByEachOfTheTwoWays(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	for _, id := range []string{"maria", "otto", "eva"} {
		h.enrolled(id)
	}
	c := h.boss("bea", user.Admin)
	c.PressNamed("Users")
	c.Sees("Users")
	c.Type("#q", "mari")
	c.Until(`document.querySelectorAll("#results tbody tr").length === 1`)
	c.PressNamed("maria")
	c.Sees("maria")
	c.Press("main details.menu summary")
	c.PressNamed("Reset Multi-factor")
	c.Until(`document.querySelector("dialog[open]") !== null && document.readyState === "complete"`)
	c.PressNamed("Cancel")
	c.Says("Devices")
	h.expectState("maria", user.Enrolled)
	c.Back()
	sure(c, "maria")
	c.Says("phone lost at the airport")
	h.expectState("maria", user.New)
	// Back and again shows the receipts, and removes nothing twice.
	c.Reload()
	c.Sees("Done: the MFA of maria is reset")

	c.Go(h.Base + h.pathOf("otto"))
	c.PressNamed("Multi-Factor Authentication")
	c.Says("Devices")
	last := c.Text(`[...document.querySelectorAll("main a[href], main button, main summary, main input")].at(-1).textContent.trim()`)
	if last != "Reset MFA" {
		t.Errorf("the last thing to press is %q", last)
	}
	c.PressNamed("Reset MFA")
	sure(c, "otto")
	h.expectState("otto", user.New)
	h.expectState("eva", user.Enrolled)
}

func TestBrowser_AResetWithoutScriptAndAfterATimeWithThePasskey(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	path := h.enrolled("maria")
	c := h.boss("bea", user.Helpdesk)
	c.WithoutScript()
	c.Go(h.Base + "/admin/users?q=maria")
	c.PressNamed("maria")
	c.Sees("maria")
	c.PressNamed("Multi-Factor Authentication")
	c.Says("Devices")
	c.PressNamed("Reset MFA")
	sure(c, "maria")
	h.expectState("maria", user.New)
	h.Clock.Advance(6 * time.Minute)
	c.Go(h.Base + path + "/reset")
	c.Sees("Show your passkey once more")
}

func TestBrowser_ARefusedResetNamesWhoCanAndHasNoButton(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	h.signedIn("otto", user.Owner)
	h.signedIn("peer", user.Admin)
	c := h.boss("bea", user.Admin)
	for _, id := range []string{"bea", "peer"} {
		c.Go(h.Base + h.pathOf(id) + "/reset")
		c.Sees("You cannot do this to " + id)
		c.Says("otto")
		if c.Eval(`[...document.querySelectorAll("button")].some((b) => b.textContent.includes("Yes"))`) != false {
			t.Errorf("%s: there is a button", id)
		}
	}
}

func TestUsers_TwoAdminsResetAtOnceAndEachHasAReceipt(t *testing.T) {
	h := newHouse(t)
	path := h.enrolled("maria")
	clients := []*webtest.Client{h.signedIn("one", user.Admin), h.signedIn("two", user.Helpdesk)}
	answers := make([]webtest.Answer, 2)
	var done sync.WaitGroup
	for i, c := range clients {
		done.Go(func() { answers[i] = c.Post(path+"/reset", url.Values{"reason": {"lost"}}) })
	}
	done.Wait()
	removed := 0
	d, err := h.Admins.DetailOf(t.Context(), "maria")
	check.Must(t, err)
	for _, r := range d.Receipts {
		if len(r.Removed) > 0 {
			removed++
		}
	}
	if len(d.Receipts) != 2 || removed != 1 || d.State != user.New {
		t.Errorf("%d receipts, %d of which removed something; answers %v", len(d.Receipts), removed, answers)
	}
	// The receipt is what the command verifies: the domain's own.
	a := clients[0].Get(path + "/receipts/" + d.Receipts[0].ID + "/download")
	var got recovery.Receipt
	if err := json.Unmarshal([]byte(a.Body), &got); err != nil || got.ID != d.Receipts[0].ID || got.Signature != d.Receipts[0].Signature {
		t.Errorf("%v: %s", err, a.Body)
	}
}

func TestUsers_EachRoleIsRefusedWhatItMayNot(t *testing.T) {
	h := newHouse(t)
	path := h.enrolled("maria")
	viewer := h.signedIn("vera", user.Viewer)
	for _, act := range []string{"/reset", "/code", "/ticket", "/caller", "/do/block", "/do/unlock", "/do/role"} {
		if a := viewer.Post(path+act, url.Values{"reason": {"lost"}}); a.Status != http.StatusForbidden {
			t.Errorf("viewer, %s: %d", act, a.Status)
		}
	}
	desk := h.signedIn("dora", user.Helpdesk)
	for _, act := range []string{"/do/block", "/do/role"} {
		if a := desk.Post(path+act, nil); a.Status != http.StatusForbidden {
			t.Errorf("helpdesk, %s: %d", act, a.Status)
		}
	}
	h.expectState("maria", user.Enrolled)
	for _, lost := range []string{"/admin/users/" + strings.Repeat("0", 32), "/admin/users/x", path + "/receipts/rcp_none", path + "/do/nothing"} {
		if a := desk.Get(lost); a.Status != http.StatusNotFound && a.Status != http.StatusBadRequest {
			t.Errorf("%s: %d", lost, a.Status)
		}
	}
}

var markField = regexp.MustCompile(`name="mark" value="([^"]*)"`)

func TestUsers_AFormThatComesTwiceIssuesOneCode(t *testing.T) {
	h := newHouse(t)
	path := h.enrolled("maria")
	desk := h.signedIn("dora", user.Helpdesk)
	mark := markField.FindStringSubmatch(desk.Get(path + "/code").Body)[1]
	first := desk.Post(path+"/code", url.Values{"mark": {mark}})
	again := desk.Post(path+"/code", url.Values{"mark": {mark}})
	if first.Status != http.StatusOK || again.Status != http.StatusConflict || !strings.Contains(again.Body, "a code is shown once") {
		t.Errorf("%d, %d", first.Status, again.Status)
	}
}
