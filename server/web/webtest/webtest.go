// Package webtest looks at pages as people do: in a real browser, with keyboard and screen reader, on phones and desks, in the light
// and in the dark.
package webtest

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"tutela/storage/storagetest/check"
)

// Tab is a tab of a real browser, Debian's Chromium, driven by chromedp. Its methods fail the test when they cannot.
type Tab struct {
	Context context.Context // of chromedp
	t       testing.TB
	silent  bool         // the page's scripts do not run
	forms   atomic.Int64 // that were sent to a page
}

// Open opens a tab with cookies of its own, as in a browser that was never used. Outside of CI, a test on a machine without a browser is
// skipped: a browser is too large for the suite to install.
func Open(t testing.TB) *Tab {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser: run it without -short")
	}
	path, err := exec.LookPath("chromium")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("there is no chromium here: the pages are tested without a browser alone (apt-get install chromium)")
	}
	check.Must(t, err)
	browser, err := theBrowser(t, path)
	check.Must(t, err)
	tab, leave := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(leave)
	return newTab(t, tab)
}

// newTab readies a tab. It takes itself for the one that is in front, as pages do that copy to the clipboard or wait.
func newTab(t testing.TB, tab context.Context) *Tab { //nolint:revive // t comes first in every helper of tests
	t.Helper()
	c := &Tab{Context: tab, t: t}
	check.Must(t, chromedp.Listen(tab, func(event any) {
		if sent, is := event.(*network.EventRequestWillBeSent); is && sent.Type == network.ResourceTypeDocument && sent.Request.Method == http.MethodPost {
			c.forms.Add(1)
		}
	}))
	c.Call("Network.enable", nil)
	c.Go("about:blank")
	c.Call("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true})
	c.media("light")
	return c
}

// Another opens another tab of the same browser, with the same cookies.
func (c *Tab) Another() *Tab {
	c.t.Helper()
	tab, leave := chromedp.NewContext(c.Context)
	c.t.Cleanup(leave)
	return newTab(c.t, tab)
}

// Private opens a tab with cookies of its own, as in another browser.
func (c *Tab) Private() *Tab {
	c.t.Helper()
	tab, leave := chromedp.NewContext(c.Context, chromedp.WithNewBrowserContext())
	c.t.Cleanup(leave)
	return newTab(c.t, tab)
}

// For has what goes wrong from now on be a failure of t: of a test within the one that has opened the tab.
func (c *Tab) For(t testing.TB) { c.t = t }

// Call makes a call of the protocol and returns its result; nil when the browser refused it. Reference:
// https://chromedevtools.github.io/devtools-protocol.
func (c *Tab) Call(method string, params map[string]any) map[string]any {
	c.t.Helper()
	return c.call(c.Context, method, params)
}

func (c *Tab) call(ctx context.Context, method string, params map[string]any) map[string]any {
	c.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	result, err := chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) (map[string]any, error) {
		var result map[string]any
		err := t.Call(ctx, method, params, &result)
		return result, err
	})
	if err != nil {
		if c.t.Context().Err() != nil {
			c.t.Fatalf("%s: %v", method, err)
		}
		return nil
	}
	return result
}

// Eval returns the value of an expression of JavaScript in the page; a promise's when that is kept. It works where the page's own
// scripts do not run.
func (c *Tab) Eval(expression string) any {
	c.t.Helper()
	return c.eval(c.Context, expression)
}

func (c *Tab) eval(ctx context.Context, expression string) any {
	c.t.Helper()
	result := c.call(ctx, "Runtime.evaluate", map[string]any{
		"expression":    expression,
		"returnByValue": true,
		"awaitPromise":  true,
		"userGesture":   true,
	})
	value, _ := result["result"].(map[string]any)
	return value["value"]
}

// Text returns the text that an expression of JavaScript has in the page.
func (c *Tab) Text(expression string) string {
	c.t.Helper()
	text, _ := c.Eval(expression).(string)
	return text
}

// Until waits until an expression is true in the page. It gives up, and says what the page says, just before the suite would.
func (c *Tab) Until(expression string) {
	c.t.Helper()
	for !c.comes(expression) {
		if c.t.Context().Err() != nil || c.Context.Err() != nil || c.isLate() {
			c.t.Fatalf("it never came: %s\nthe page says: %s", expression, c.Text(`document.body.innerText`))
		}
	}
}

// mostFrozen is how long a page may take to answer that looks for a second: one that the browser keeps for Back answers never.
const mostFrozen = 5 * time.Second

// comes reports whether an expression is true in the page now, or soon. The page looks again and again by itself, since a question to the
// browser takes the time away in which it would load pages. One that is left meanwhile answers nothing, or false.
func (c *Tab) comes(expression string) bool {
	c.t.Helper()
	if c.silent { // no timer runs in the page
		select {
		case <-c.t.Context().Done():
		case <-time.After(5 * time.Millisecond):
		}
		return c.Eval(expression) == true
	}
	ctx, cancel := context.WithTimeout(c.Context, mostFrozen)
	defer cancel()
	return c.eval(ctx, fmt.Sprintf(`new Promise((done) => {
		addEventListener("pagehide", () => done(false), { once: true });
		const end = performance.now() + 1000;
		const look = () => {
			let is = false;
			try { is = (%s) === true } catch {}
			if (is || performance.now() > end) done(is); else setTimeout(look, 10);
		};
		look();
	})`, expression)) == true
}

// isLate reports whether the time of the suite is nearly over.
func (c *Tab) isLate() bool {
	t, of := c.t.(*testing.T)
	if !of {
		return false
	}
	end, bound := t.Deadline()
	return bound && time.Until(end) < 20*time.Second
}

// Sees waits until the page shows a heading.
func (c *Tab) Sees(heading string) {
	c.t.Helper()
	c.Until(fmt.Sprintf(`document.readyState === "complete" && document.querySelector("h1")?.textContent.replace(/\u00ad/g, "").trim() === %q`, heading))
}

// Says waits until the page has a text somewhere.
func (c *Tab) Says(text string) {
	c.t.Helper()
	c.Until(fmt.Sprintf(`document.readyState === "complete" && document.body.innerText.replace(/\u00ad/g, "").includes(%q)`, text))
}

// Go goes to an address.
func (c *Tab) Go(url string) {
	c.t.Helper()
	c.Call("Page.navigate", map[string]any{"url": url})
}

// Back goes back to the page before.
func (c *Tab) Back() {
	c.t.Helper()
	c.leave()
	c.Eval(`history.back()`)
	c.arrive()
}

// Reload loads the page again.
func (c *Tab) Reload() {
	c.t.Helper()
	c.leave()
	c.Call("Page.reload", nil)
	c.arrive()
}

// Steady fails the test unless the page can be loaded again, and come back to from elsewhere, and neither sends a form again.
func (c *Tab) Steady(heading string) {
	c.t.Helper()
	c.Sees(heading)
	sent := c.forms.Load()
	c.Reload()
	c.Sees(heading)
	c.Go("about:blank")
	c.Until(`document.readyState === "complete" && location.href === "about:blank"`)
	c.Back()
	c.Sees(heading)
	if again := c.forms.Load() - sent; again != 0 {
		c.t.Errorf("%s: a reload and Back have sent %d forms again", heading, again)
	}
}

// leave marks the page that is about to be left, and arrive waits until another has come: until then the old one answers.
func (c *Tab) leave() {
	c.t.Helper()
	c.Eval(`document.documentElement.dataset.left = "1"`)
}

func (c *Tab) arrive() {
	c.t.Helper()
	c.Until(`document.readyState === "complete" && !document.documentElement.dataset.left`)
}

// Press clicks what a selector finds, once it is there.
func (c *Tab) Press(selector string) {
	c.t.Helper()
	c.Until(fmt.Sprintf(`document.readyState === "complete" && !!document.querySelector(%q)`, selector))
	c.Eval(fmt.Sprintf(`document.querySelector(%q).click()`, selector))
}

// named finds a link, a button or another thing to press by its accessible name.
const named = `((name) => [...document.querySelectorAll("a[href], button, summary, input[type=submit], [role=button]")].find((e) =>
	e.getClientRects().length && (e.getAttribute("aria-label") || e.textContent).replace(/\u00ad/g, "").replace(/\s+/g, " ").trim().startsWith(name)))`

// PressNamed clicks the link or button whose name begins so, once it is there.
func (c *Tab) PressNamed(name string) {
	c.t.Helper()
	c.Until(fmt.Sprintf(`document.readyState === "complete" && !!%s(%q)`, named, name))
	c.Eval(fmt.Sprintf(`%s(%q).click()`, named, name))
}

// Type puts text into a field.
func (c *Tab) Type(selector, text string) {
	c.t.Helper()
	c.Until(fmt.Sprintf(`!!document.querySelector(%q)`, selector))
	c.Eval(fmt.Sprintf(`(() => { const f = document.querySelector(%q); f.focus(); f.value = %q; f.dispatchEvent(new Event("input", { bubbles: true })) })()`, selector, text))
}

// WithoutScript keeps the page's scripts from running. Eval still does.
func (c *Tab) WithoutScript() {
	c.t.Helper()
	c.Call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true})
	c.silent = true
}

// Speaks makes the browser ask for a language: "de", "en".
func (c *Tab) Speaks(language string) {
	c.t.Helper()
	c.Call("Network.setExtraHTTPHeaders", map[string]any{"headers": map[string]any{"Accept-Language": language}})
}

// Passkeys gives the browser an authenticator with a fingerprint that is always right, and returns its id.
func (c *Tab) Passkeys() (authenticator string) {
	c.t.Helper()
	return c.authenticator("internal")
}

// SecurityKey gives the browser a security key that is touched at once, and returns its id.
func (c *Tab) SecurityKey() (authenticator string) {
	c.t.Helper()
	return c.authenticator("usb")
}

func (c *Tab) authenticator(transport string) string {
	c.t.Helper()
	c.Call("WebAuthn.enable", nil)
	made := c.Call("WebAuthn.addVirtualAuthenticator", map[string]any{"options": map[string]any{
		"protocol":                    "ctap2",
		"transport":                   transport,
		"hasResidentKey":              true,
		"hasUserVerification":         true,
		"isUserVerified":              true,
		"automaticPresenceSimulation": true,
	}})
	id, _ := made["authenticatorId"].(string)
	if id == "" {
		c.t.Fatal("the browser made no authenticator")
	}
	return id
}

// AllowClipboard lets the page copy to the clipboard, and read it.
func (c *Tab) AllowClipboard() {
	c.t.Helper()
	c.Call("Browser.grantPermissions", map[string]any{
		"permissions":      []string{"clipboardReadWrite", "clipboardSanitizedWrite"},
		"browserContextId": chromedp.FromContext(c.Context).BrowserContextID,
	})
}

// Size makes the window as wide as a screen, in a scheme: "light" or "dark".
func (c *Tab) Size(width int, scheme string) {
	c.t.Helper()
	c.Call("Emulation.setDeviceMetricsOverride", map[string]any{
		"width":             width,
		"height":            844,
		"deviceScaleFactor": 1,
		"mobile":            width < 700,
	})
	c.Call("Emulation.setTouchEmulationEnabled", map[string]any{"enabled": width < 700})
	c.media(scheme)
}

// media has pages come in a scheme, and nothing in them move: what breathes is drawn again and again, and axe may look at a colour on its
// way to another.
func (c *Tab) media(scheme string) {
	c.t.Helper()
	c.Call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]any{
		{"name": "prefers-color-scheme", "value": scheme},
		{"name": "prefers-reduced-motion", "value": "reduce"},
	}})
}

// Shoot leaves a picture of the whole page in a file.
func (c *Tab) Shoot(file string) {
	c.t.Helper()
	clip := map[string]any{
		"x":      0,
		"y":      0,
		"width":  c.Eval(`innerWidth`),
		"height": c.Eval(`Math.max(innerHeight, document.documentElement.scrollHeight)`),
		"scale":  1,
	}
	shot := c.Call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true, "clip": clip})
	data, _ := shot["data"].(string)
	picture, err := base64.StdEncoding.DecodeString(data)
	check.Must(c.t, err)
	check.Must(c.t, os.MkdirAll(filepath.Dir(file), 0o750))
	check.Must(c.t, os.WriteFile(file, picture, 0o600))
}

// Print returns how many sheets come out of the printer. With a file, it leaves them there as PDF.
func (c *Tab) Print(file string) (sheets int) {
	c.t.Helper()
	data, _ := c.Call("Page.printToPDF", map[string]any{"preferCSSPageSize": true})["data"].(string)
	printed, err := base64.StdEncoding.DecodeString(data)
	check.Must(c.t, err)
	if file != "" {
		check.Must(c.t, os.WriteFile(file, printed, 0o600))
	}
	return strings.Count(string(printed), "/Type /Page\n") + strings.Count(string(printed), "/Type /Page ")
}
