package dashboard

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"tutela/recovery/user"
	"tutela/server/web/webtest"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

func TestBrowser_FirstSignInByAnInvite(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := h.browser()
	link := h.invite("ada", user.Owner, false)
	c.Go(link) // a mail scanner
	c.Sees("Become an admin")
	c.Steady("Become an admin")
	c.PressNamed("Go on in this browser")
	c.Steady("Make your passkey")
	other := c.Private()
	other.Go(link)
	other.Sees("This invitation was opened elsewhere")
	c.PressNamed("Make the passkey")
	c.Sees("Overview")
	h.team(c)
	c.Until(`[...document.querySelectorAll("nav a")].some((a) => a.textContent.trim() === "Admins")`)
	c.Reload()
	c.Sees("Admins and sessions")
	other.Go(link)
	other.Sees("This invitation is over")
	// Back shows no page of the invite that could be gone on with.
	c.Go(link)
	c.Sees("This invitation is over")

	c.Go(h.Base + "/admin")
	c.Sees("Overview")
	c.Press("summary")
	c.PressNamed("Sign out")
	c.Sees("Sign in as an admin")
	c.Back() // what was seen is not there any more
	c.Sees("Sign in as an admin")
	c.PressNamed("Sign in with a passkey")
	c.Sees("Overview")
}

func TestBrowser_ASecondTabWhoseSessionWasRevoked(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := h.browser()
	h.accept(c, h.invite("ada", user.Owner, false))
	tab := c.Another()
	tab.Go(h.Base + "/admin/team")
	tab.Sees("Admins and sessions")
	member, err := h.SignIn.MemberOf(t.Context(), "ada")
	if err != nil || len(member.Sessions) != 1 {
		t.Fatal(err, member)
	}
	if err := h.SignIn.EndSession(t.Context(), "ada", member.Sessions[0].ID, audit.ByOperator(0)); err != nil {
		t.Fatal(err)
	}
	// A form that was open there does nothing.
	tab.Type(`input[name="user"][id="inv"]`, "eve")
	tab.Eval(`document.querySelector('input[value="owner"]').checked = true`)
	tab.PressNamed("Make the link")
	tab.Sees("Sign in as an admin")
	tab.Says("You are signed out.")
	tab.Says("What you sent was not done.")
	if _, err := h.SignIn.MemberOf(t.Context(), "eve"); err == nil {
		t.Error("eve was invited")
	}
	c.Reload()
	c.Sees("Sign in as an admin")
}

func TestBrowser_WhatIsGraveAsksForThePasskeyAgain(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := h.browser()
	h.accept(c, h.invite("ada", user.Owner, false))
	h.team(c)
	h.Clock.Advance(6 * time.Minute)
	c.Type("#inv", "bob")
	c.Eval(`document.querySelector('input[value="helpdesk"]').checked = true`)
	c.PressNamed("Make the link")
	c.Sees("Show your passkey once more")
	c.PressNamed("Use your passkey")
	c.Sees("Admins and sessions")
	c.Type("#inv", "bob")
	c.Eval(`document.querySelector('input[value="helpdesk"]').checked = true`)
	c.PressNamed("Make the link")
	c.Says("A link for bob")
	link := c.Text(`document.querySelector("#the-link").textContent.trim()`)
	other := c.Private()
	other.Passkeys()
	h.accept(other, link)
	h.team(other)
	other.Says("Help desk")
	if invites := other.Eval(`!!document.querySelector("#inv")`); invites != false {
		t.Error("the help desk may invite")
	}
}

func TestSignIn_UnderAnAddressSaysHowToMendIt(t *testing.T) {
	h := houseAt(t, "127.0.0.1")
	invited, err := url.Parse(h.invite("ada", user.Owner, false))
	check.Must(t, err)
	for _, at := range []string{"/admin", invited.RequestURI()} {
		a := webtest.NewClient(t, h.Base, nil).Get(at)
		if a.Status != http.StatusConflict || !strings.Contains(a.Body, "Admins cannot sign in here") || !strings.Contains(a.Body, "--public-url") {
			t.Errorf("%s: %d %s", at, a.Status, a.Body)
		}
	}
}

// Without script nobody signs in, and who is signed in goes on.
func TestBrowser_WithoutScript(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := h.browser()
	h.accept(c, h.invite("ada", user.Owner, false))
	c.WithoutScript()
	h.team(c)
	c.Type("#inv", "bob")
	c.Eval(`document.querySelector('input[value="viewer"]').checked = true`)
	c.PressNamed("Make the link")
	c.Says("A link for bob")
	c.Press("summary")
	c.PressNamed("Sign out")
	c.Sees("Sign in as an admin")
	c.Says("Passkeys need JavaScript.")
}

func TestBrowser_OverviewEventsAndClients(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	h.lively()
	c := h.browser()
	h.accept(c, h.invite("ada", user.Owner, false))
	c.Says("2 of 3 users")
	c.PressNamed("Events")
	c.Sees("Events")
	c.Says("Admin signed in or out")
	// What happens while one looks appears by itself.
	h.SetBlocked("maria", true)
	c.Says("call=block")
	c.PressNamed("Recovery")
	c.Says("Nothing fits.")
	c.PressNamed("Clients")
	c.Sees("Clients")
	c.Type("#name", "Hafenlicht Bank")
	c.PressNamed("Add the client")
	c.Sees("Hafenlicht Bank")
	secret := c.Text(`document.querySelector("#the-secret").textContent.trim()`)
	id := c.Text(`document.querySelector("dd.mono").textContent.trim()`)
	if _, err := h.Access.Authenticate(t.Context(), id, secret); err != nil {
		t.Errorf("the secret: %v", err)
	}
	c.Go(h.Base + "/admin/clients/" + id)
	c.Sees("Hafenlicht Bank")
	if c.Eval(`!!document.querySelector("#the-secret")`) != false {
		t.Error("the secret is shown again")
	}
	c.PressNamed("Draw a new secret")
	c.Says("It is shown only now")
	c.PressNamed("Remove it…")
	c.Says("Remove Hafenlicht Bank?")
	c.PressNamed("Yes, remove it")
	c.Sees("Clients")
	c.Says("No client")
}
