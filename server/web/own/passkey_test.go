package own

import (
	"strings"
	"testing"

	"tutela/server/web/webtest"
)

func TestBrowser_APasskeyIsAddedThenProvesMoreAndIsRemoved(t *testing.T) {
	public, lead := webtest.Localhost(t)
	h := newHouse(t, public)
	lead(h.URL)
	p := h.phone("Pixel 9", "")
	c := webtest.Open(t)
	c.Passkeys()
	c.Go(strings.Replace(h.opened(p), h.URL, public, 1))
	c.Sees(title)
	c.PressNamed("Add a passkey")
	c.Steady("Add a passkey")
	c.PressNamed("Start")
	c.Until(`!!document.querySelector("form[data-passkey=create]")`)
	c.Looks("me-add-passkey")
	c.Steady("Add a passkey")
	c.PressNamed("Make the passkey")
	c.Until(`location.pathname.endsWith("/mfa/me/added")`)
	c.Steady(c.Text(`document.querySelector("h1").textContent.trim()`))
	c.Go(public + "/mfa/me")
	c.Sees(title)
	if devices := c.Eval(`document.querySelectorAll(".device").length`); devices != 2.0 {
		t.Fatalf("she has %v devices", devices)
	}

	// What was proven has added something: another needs another proof, and the new passkey is one.
	c.Go(public + "/mfa/me/add?what=app")
	c.Sees("Is it really you?")
	c.PressNamed("Use a passkey")
	c.Until(`!!document.querySelector("form[data-passkey=get]")`)
	c.Looks("me-prove-passkey")
	c.Steady("Is it really you?")
	c.Press("[data-passkey-go]")
	c.Sees("Add a one-time code app")

	c.Go(public + "/mfa/me")
	c.Sees(title)
	c.Press(`.device:nth-child(2) a[href*="remove"]`)
	c.Until(`location.pathname.endsWith("/mfa/me/remove")`)
	c.Looks("me-remove-passkey")
	c.PressNamed("Yes, remove it")
	c.Until(`location.pathname.endsWith("/mfa/me")`)
	c.Until(`document.querySelectorAll(".device").length < 2`)
}
