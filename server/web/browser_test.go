package web

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
)

// link is the link of a ticket.
func (h *house) link(ticket string) string { return h.url + "/mfa/enrollment?ticket=" + ticket }

// drawn is the text of the QR code that the browser shows.
func (c *chromium) drawn() string {
	c.t.Helper()
	c.sees("Scan the code with the app")
	uri, _ := c.eval(`document.querySelector(".on-phone a").href`).(string)
	return uri
}

// modules fails the test when a module of the QR code has less than three pixels on the narrowest phone.
func (c *chromium) modules(name string) {
	c.t.Helper()
	for _, width := range []int{320, 390, 1280} {
		c.size(width, "light")
		each, _ := c.eval(`(() => { const s = document.querySelector(".qr svg"); return s.getBoundingClientRect().width / s.viewBox.baseVal.width })()`).(float64)
		if each < 3 {
			c.t.Errorf("%s: at %d px a module of the QR code has %.2f px", name, width, each)
		}
	}
}

func TestBrowser_LeadsFromTheLinkToTheSavedCode(t *testing.T) {
	h := newHouse(t)
	c := openChromium(t)
	ticket := h.ticket(user.User{ID: "u1", Email: "b.claasen@werft.example"})
	c.open(h.link(ticket))
	c.sees("Connect your phone")
	c.fits("start")
	c.press("button")
	uri := c.drawn()
	c.fits("scan")
	c.modules("scan")
	c.press(`a[href*="typed=1"]`)
	c.until(`!!document.querySelector(".secret")`)
	c.fits("scan-typed")
	code := h.enroll(uri)
	c.sees("Your phone is connected") // moved on by itself, and the QR code is gone
	c.fits("connected-code-waits")
	c.press(`a[href*="enrollment/code"]`)
	c.sees("Save your recovery code")
	c.fits("code")
	c.call("Page.reload", `{}`)
	c.sees("Save your recovery code")
	if shown := c.eval(`document.querySelector("#code").textContent.replace(/\s/g, "")`); shown != code {
		t.Errorf("after a reload the code is %v, want %s", shown, code)
	}
	c.copied(code)
	folder := os.Getenv("TUTELA_SHOTS")
	if folder != "" {
		folder = filepath.Join(folder, "sheet.pdf")
	}
	if pages := c.print(folder); pages != 1 {
		t.Errorf("the sheet takes %d pages", pages)
	}
	c.confirm("ZZZZ")
	c.until(`!!document.querySelector("#wrong")`)
	c.fits("code-wrong")
	c.confirm(strings.ToLower(code[20:]))
	c.sees("Your phone is connected")
	c.fits("connected")
	// The link in a mail, on another site, is clicked once more.
	c.open("data:text/html," + url.PathEscape(fmt.Sprintf(`<h1>Mail</h1><a href=%q>link</a>`, h.link(ticket))))
	c.sees("Mail")
	c.press("a")
	c.sees("Your phone is connected")
}

// copied presses Copy and wants the code in the clipboard.
func (c *chromium) copied(code string) {
	c.t.Helper()
	c.call("Browser.grantPermissions", `{"permissions":["clipboardReadWrite","clipboardSanitizedWrite"]}`)
	c.press("[data-copy]")
	c.until(`document.querySelector("#said").textContent.startsWith("Copied")`)
	if got := c.eval(`navigator.clipboard.readText()`); got != strings.Join(groups(code), " ") {
		c.t.Errorf("the clipboard holds %v", got)
	}
}

// confirm types the end of the code.
func (c *chromium) confirm(end string) {
	c.t.Helper()
	c.eval(fmt.Sprintf(`document.querySelector("#end").value = %q; document.querySelector("form.confirm").requestSubmit()`, end))
}

func TestBrowser_WithoutScriptThePageMovesOnByItselfToo(t *testing.T) {
	h := newHouse(t)
	c := openChromium(t)
	c.call("Emulation.setScriptExecutionDisabled", `{"value":true}`)
	ticket := h.ticket(user.User{ID: "maria"})
	c.open(h.link(ticket))
	c.press("button")
	uri := c.drawn()
	h.UntilHeld(1) // and until its answer comes, the browser says nothing more about the page
	code := h.enroll(uri)
	c.sees("Your phone is connected")
	c.press(`a[href*="enrollment/code"]`)
	c.sees("Save your recovery code")
	c.fits("code-without-script")
	if c.eval(`document.querySelector("[data-copy]").getClientRects().length + document.querySelector("[data-print]").getClientRects().length`) != float64(0) {
		t.Error("there are buttons that do nothing")
	}
	c.eval(fmt.Sprintf(`document.querySelector("#end").value = %q`, code[20:]))
	c.press("form.confirm button")
	c.sees("Your phone is connected")
}

func TestBrowser_ShowsWhatElseCanBe(t *testing.T) {
	long := strings.Repeat("Versicherungsgesellschaft ", 3)[:device.MaxIssuerCharacters]
	h := newHouse(t, phones(func(o *device.Options) { o.Issuer = long }))
	c := openChromium(t)
	ticket := h.ticket(user.User{ID: "u1", Name: strings.Repeat("Donaudampfschiff", 18)})
	c.open(h.link(ticket))
	c.sees("Connect your phone")
	c.fits("start-long-names")
	c.press("button")
	c.drawn()
	c.fits("scan-long-names")
	c.modules("scan-long-names")
	c.open(h.link(ticket))
	c.sees("Connect your phone")
	c.fits("start-again")
	c.press("button")
	c.drawn()
	h.clock.Advance(10 * time.Minute)
	c.open(h.url + "/mfa/enrollment/scan?ticket=" + ticket)
	c.sees("The code is ten minutes old")
	c.fits("old")
	c.press("button")
	h.enrollAs(strings.Repeat("W", 256), c.drawn())
	c.sees("Your phone is connected")
	c.fits("connected-long-names")
	c.press(`a[href*="enrollment/code"]`)
	c.sees("Save your recovery code")
	c.fits("code-long-names")

	c.open(h.link("nosuch"))
	c.sees("This link works no longer")
	c.fits("gone")
	c.open(h.link(h.ticket(user.User{ID: "otto"})))
	c.sees("Connect your phone")
	c.call("Network.clearBrowserCookies", `{}`)
	c.press("button")
	c.sees("This page needs cookies")
	c.fits("cookies")
	h.must(h.store.Close())
	c.open(h.link(ticket))
	c.sees("Wait a moment")
	c.fits("busy")
}
