package own

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"tutela/device/login"
	"tutela/recovery/user"
	"tutela/server/web/webtest"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

func TestBrowser_APasskeyIsAddedThenProvesMoreAndIsRemoved(t *testing.T) {
	check.WithoutRace(t)
	public, lead := webtest.Localhost(t)
	h := newHouse(t, public)
	lead(h.URL)
	p := h.phone("Pixel 9", "")
	c := webtest.Open(t)
	c.Passkeys()
	c.Go(strings.Replace(h.opened(p), h.URL, public, 1))
	c.Sees(title)
	h.Clock.Advance(time.Second) // devices stand in the order in which they came
	c.PressNamed("Add a passkey")
	c.Steady("Add a passkey")
	c.PressNamed("Start")
	c.Until(`!!document.querySelector("form[data-passkey=create]")`)
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
	c.Steady("Is it really you?")
	c.Press("[data-passkey-go]")
	c.Sees("Add a one-time code app")

	// It signs in at the next login, and none that was removed does.
	c.Go(h.login(public))
	c.PressNamed("Use a passkey")
	c.Press("[data-passkey-go]")
	c.Until(`location.pathname === "/healthz" && new URLSearchParams(location.search).has("code")`)
	signedIn := h.Events(audit.AuthSucceed)
	if last := signedIn[len(signedIn)-1]; last.Facts[audit.FactMethod] != audit.Word(login.ByPasskey) {
		t.Errorf("she is signed in by %v", last.Facts)
	}
	c.Go(public + "/mfa/me")
	c.Sees(title)
	c.Press(`.device:nth-child(2) a[href*="remove"]`)
	c.Until(`location.pathname.endsWith("/mfa/me/remove")`)
	c.PressNamed("Yes, remove it")
	c.Until(`document.readyState === "complete" && location.pathname.endsWith("/mfa/me/remove") === false`)
	c.Go(h.login(public))
	c.Sees("Is it you? Answer on your phone")
	if ways := c.Text(`document.querySelector(".ways").innerText`); strings.Contains(ways, "passkey") {
		t.Errorf("after it was removed, the login offers %s", ways)
	}
}

// login asks for a login of maria's, and returns the address of its page.
func (h *house) login(public string) string {
	h.t.Helper()
	sum := sha256.Sum256([]byte("verifier"))
	request, err := h.Logins.RequestPage(h.t.Context(), login.PageRequest{
		Client:    h.bank,
		Name:      "Hafenlicht Bank",
		User:      user.User{ID: "maria"},
		Purpose:   login.PageLogin,
		Redirect:  public + "/healthz",
		State:     "x",
		Challenge: base64.RawURLEncoding.EncodeToString(sum[:]),
		Actor:     her,
	})
	check.Must(h.t, err)
	return public + "/mfa/challenge?request=" + request
}
