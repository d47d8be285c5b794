package enrollment

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/server/web/page"
	"tutela/server/web/webtest"
	"tutela/storage/storagetest/check"
)

// link is the link of a ticket.
func (h *house) link(ticket string) string { return h.url + "/mfa/enrollment?ticket=" + ticket }

// tab is a tab of a real browser.
type tab struct {
	*webtest.Tab
	t *testing.T
}

func openTab(t *testing.T) *tab {
	t.Helper()
	return &tab{webtest.Open(t), t}
}

// drawn is the text of the QR code that the browser shows.
func (c *tab) drawn() string {
	c.t.Helper()
	c.Sees("Scan the code with the app")
	uri, _ := c.Eval(`document.querySelector(".on-phone a").href`).(string)
	return uri
}

// modules fails the test when a module of the QR code has less than three pixels on the narrowest phone.
func (c *tab) modules(name string) {
	c.t.Helper()
	for _, width := range []int{320, 390, 1280} {
		c.Size(width, "light")
		each, _ := c.Eval(`(() => { const s = document.querySelector(".qr svg"); return s.getBoundingClientRect().width / s.viewBox.baseVal.width })()`).(float64)
		if each < 3 {
			c.t.Errorf("%s: at %d px a module of the QR code has %.2f px", name, width, each)
		}
	}
}

func TestBrowser_LeadsFromTheLinkToTheSavedCode(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := openTab(t)
	ticket := h.ticket(user.User{ID: "u1", Email: "b.claasen@werft.example"})
	c.Go(h.link(ticket))
	c.Sees("Connect your phone")
	c.Steady("Connect your phone")
	c.Press("button")
	uri := c.drawn()
	c.Steady("Scan the code with the app")
	c.modules("scan")
	c.Press(`a[href*="typed=1"]`)
	c.Until(`!!document.querySelector(".secret")`)
	code := h.enroll(uri)
	c.Sees("Your phone is connected") // moved on by itself, and the QR code is gone
	c.Press(`a[href*="enrollment/code"]`)
	c.Sees("Save your recovery code")
	c.Steady("Save your recovery code")
	if shown := c.Eval(`document.querySelector("#code").textContent.replace(/\s/g, "")`); shown != code {
		t.Errorf("after a reload the code is %v, want %s", shown, code)
	}
	c.copied(code)
	folder := os.Getenv("TUTELA_SHOTS")
	if folder != "" {
		folder = filepath.Join(folder, "sheet.pdf")
	}
	if pages := c.Print(folder); pages != 1 {
		t.Errorf("the sheet takes %d pages", pages)
	}
	c.confirm("ZZZZ")
	c.Until(`!!document.querySelector("#wrong")`)
	c.Steady("Save your recovery code")
	c.confirm(strings.ToLower(code[20:]))
	c.Sees("Your phone is connected")
	c.Steady("Your phone is connected")
	// The link in a mail, on another site, is clicked once more.
	c.Go("data:text/html," + url.PathEscape(fmt.Sprintf(`<h1>Mail</h1><a href=%q>link</a>`, h.link(ticket))))
	c.Sees("Mail")
	c.Press("a")
	c.Sees("Your phone is connected")
}

// copied presses Copy and wants the code in the clipboard.
func (c *tab) copied(code string) {
	c.t.Helper()
	c.AllowClipboard()
	c.Press("[data-copy]")
	c.Until(`document.querySelector("#said").textContent.startsWith("Copied")`)
	if got := c.Eval(`navigator.clipboard.readText()`); got != strings.Join(page.Groups(code), " ") {
		c.t.Errorf("the clipboard holds %v", got)
	}
}

// confirm types the end of the code.
func (c *tab) confirm(end string) {
	c.t.Helper()
	c.Eval(fmt.Sprintf(`document.querySelector("#end").value = %q; document.querySelector("form.confirm").requestSubmit()`, end))
}

func TestBrowser_WithoutScriptThePageMovesOnByItselfToo(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := openTab(t)
	c.WithoutScript()
	ticket := h.ticket(user.User{ID: "maria"})
	c.Go(h.link(ticket))
	c.Press("button")
	uri := c.drawn()
	h.UntilHeld(1) // and until its answer comes, the browser says nothing more about the page
	code := h.enroll(uri)
	c.Sees("Your phone is connected")
	c.Press(`a[href*="enrollment/code"]`)
	c.Sees("Save your recovery code")
	if c.Eval(`document.querySelector("[data-copy]").getClientRects().length + document.querySelector("[data-print]").getClientRects().length`) != float64(0) {
		t.Error("there are buttons that do nothing")
	}
	c.Eval(fmt.Sprintf(`document.querySelector("#end").value = %q`, code[20:]))
	c.Press("form.confirm button")
	c.Sees("Your phone is connected")
	for range 3 { // past the page with the code; no script asks for it anew
		c.Back()
		c.Sees("Your phone is connected")
		if strings.Contains(c.Text(`document.documentElement.textContent.replace(/\s/g, "")`), code) {
			t.Fatal("Back shows the code")
		}
	}
}

func TestBrowser_ShowsWhatElseCanBe(t *testing.T) {
	check.WithoutRace(t)
	long := strings.Repeat("Versicherungsgesellschaft ", 3)[:device.MaxIssuerCharacters]
	h := newHouse(t, phones(func(o *device.Options) { o.Issuer = long }))
	c := openTab(t)
	ticket := h.ticket(user.User{ID: "u1", Name: strings.Repeat("Donaudampfschiff", 18)})
	c.Go(h.link(ticket))
	c.Sees("Connect your phone")
	c.Fits("start-long-names")
	c.Press("button")
	c.drawn()
	c.Fits("scan-long-names")
	c.modules("scan-long-names")
	c.Go(h.link(ticket))
	c.Sees("Connect your phone")
	c.Press("button")
	c.drawn()
	h.clock.Advance(10 * time.Minute)
	c.Go(h.url + "/mfa/enrollment/scan?ticket=" + ticket)
	c.Sees("The code is ten minutes old")
	c.Press("button")
	h.enrollAs(strings.Repeat("W", 256), c.drawn())
	c.Sees("Your phone is connected")
	c.Fits("connected-long-names")
	c.Press(`a[href*="enrollment/code"]`)
	c.Sees("Save your recovery code")
	c.Fits("code-long-names")

	c.Go(h.link("nosuch"))
	c.Sees("This link works no longer")
	c.Go(h.link(h.ticket(user.User{ID: "otto"})))
	c.Sees("Connect your phone")
	c.Call("Network.clearBrowserCookies", nil)
	c.Press("button")
	c.Sees("This page needs cookies")
	h.must(h.store.Close())
	c.Go(h.link(ticket))
	c.Sees("Wait a moment")
}
