package challenge

import (
	"strings"
	"testing"

	"tutela/server/web/webtest"
	"tutela/storage/storagetest/check"
)

func TestChallenge_APasskeyIsSetUpAndThenSignsIn(t *testing.T) {
	check.WithoutRace(t)
	public, lead := webtest.Localhost(t)
	h := newHouse(t, public)
	lead(h.URL)
	c := webtest.Open(t)
	c.Passkeys()
	c.Go(h.link("otto"))
	c.PressNamed("Start")
	c.PressNamed("A passkey")
	c.PressNamed("Make a passkey")
	c.PressNamed("Show my recovery code")
	c.Sees("Save your recovery code")
	code := c.Text(`document.querySelector("#code").textContent.replace(/\s/g, "")`)
	c.Type("#end", code[20:])
	c.PressNamed("I have saved it")
	c.PressNamed("Go on with signing in")
	if got := h.amr(h.arrived(c)); !strings.HasPrefix(got, "mfa") {
		t.Errorf("amr %s", got)
	}

	c.Go(h.link("otto"))
	c.Sees("Is it you? Show it in one of these ways")
	c.PressNamed("Use a passkey")
	c.Steady("Use a passkey")
	c.Press("[data-passkey-go]")
	if got := h.amr(h.arrived(c)); !strings.HasPrefix(got, "mfa") || strings.Contains(got, "rc") {
		t.Errorf("amr %s", got)
	}
	// A form that no authenticator has answered is told so, at a page.
	c.Go(h.link("otto"))
	c.PressNamed("Use a passkey")
	c.Until(`!!document.querySelector("form[data-passkey=get]")`)
	c.Eval(`(() => { const f = document.querySelector("form[data-passkey=get]"); f.elements.credential.value = "{}"; f.requestSubmit() })()`)
	c.Says("That passkey was not accepted.")
	c.Steady("Use a passkey")
}

// Browsers open six connections to a host: eight tabs that wait leave some for what is pressed.
func TestChallenge_EightTabsOfABrowserAllStayUsable(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	p, _ := h.phone("maria")
	tabs := []*webtest.Tab{webtest.Open(t)}
	link := h.link("maria")
	for len(tabs) < 8 {
		tabs = append(tabs, tabs[0].Another())
	}
	for _, c := range tabs {
		c.Go(link)
		c.Sees("Is it you? Answer on your phone")
	}
	h.UntilHeld(4)
	for _, c := range tabs {
		c.PressNamed("Use a one-time code")
		c.Sees("Use a one-time code")
		c.Back()
		c.Sees("Is it you? Answer on your phone")
		if n := h.Server.Waits().Len(); n > 4 {
			t.Errorf("%d calls are held", n)
		}
	}
	shown := number(tabs[7])
	check.Must(t, p.Approve(t.Context(), h.asked(p), shown))
	for _, c := range tabs {
		c.Until(`document.readyState === "complete" && ["Welcome back", "That is done"].includes(document.querySelector("h1")?.textContent.trim())`)
	}
}

func TestChallenge_ADenialAndARecoveryCodeWithoutScript(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	p, code := h.phone("maria")
	c := webtest.Open(t)
	c.WithoutScript()
	c.Go(h.link("maria"))
	c.Sees("Is it you? Answer on your phone")
	check.Must(t, p.Deny(t.Context(), h.asked(p), ""))
	c.Sees("Your phone said no") // by itself
	c.PressNamed("Use a recovery code")
	c.Sees("Use your recovery code")
	c.Type("#code", "ABC")
	c.PressNamed("Continue")
	c.Says("There is a typing mistake somewhere in it.")
	c.Steady("Use your recovery code")
	c.Type("#code", code)
	c.PressNamed("Continue")
	c.Steady("Save your new recovery code")
	next := c.Text(`document.querySelector("#code").textContent.replace(/\s/g, "")`)
	c.Type("#end", next[20:])
	c.PressNamed("I have saved it")
	c.Sees("Do you have a new phone?")
	for range 3 { // past the page with the code; no script asks for it anew
		c.Back()
		c.Sees("Do you have a new phone?")
		if strings.Contains(c.Text(`document.documentElement.textContent.replace(/\s/g, "")`), next) {
			t.Fatal("Back shows the code")
		}
	}
	c.Press(`form[action*="challenge/on"] button`)
	if got := h.amr(h.arrived(c)); got != "mfa rc" {
		t.Errorf("amr %s", got)
	}
}
