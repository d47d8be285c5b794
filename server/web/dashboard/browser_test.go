package dashboard

import (
	"testing"
	"time"

	"tutela/recovery/user"
	"tutela/storage/audit"
)

func TestBrowser_FirstSignInByAnInvite(t *testing.T) {
	h := newHouse(t)
	c := h.browser()
	link := h.invite("ada", user.Owner, false)
	c.Go(link) // a mail scanner
	c.Sees("Become an admin")
	c.Looks("invite")
	c.Steady("Become an admin")
	c.PressNamed("Go on in this browser")
	c.Steady("Make your passkey")
	c.Looks("invite-make")
	other := c.Private()
	other.Go(link)
	other.Sees("This invitation was opened elsewhere")
	other.Looks("invite-elsewhere")
	c.PressNamed("Make the passkey")
	c.Sees("Overview")
	c.Looks("overview-first-day")
	h.team(c)
	c.Until(`[...document.querySelectorAll("nav a")].some((a) => a.textContent.trim() === "Admins")`)
	c.Looks("team")
	c.Reload()
	c.Sees("Admins and sessions")
	other.Go(link)
	other.Sees("This invitation is over")
	other.Looks("invite-gone")
	// Back shows no page of the invite that could be gone on with.
	c.Go(link)
	c.Sees("This invitation is over")

	c.Go(h.Base + "/admin")
	c.Sees("Overview")
	c.Press("summary")
	c.PressNamed("Sign out")
	c.Sees("Sign in as an admin")
	c.Looks("signin")
	c.Back() // what was seen is not there any more
	c.Sees("Sign in as an admin")
	c.PressNamed("Sign in with a passkey")
	c.Sees("Overview")
}

func TestBrowser_ASecondTabWhoseSessionWasRevoked(t *testing.T) {
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
	tab.Looks("signin-ended")
	if _, err := h.SignIn.MemberOf(t.Context(), "eve"); err == nil {
		t.Error("eve was invited")
	}
	c.Reload()
	c.Sees("Sign in as an admin")
}

func TestBrowser_WhatIsGraveAsksForThePasskeyAgain(t *testing.T) {
	h := newHouse(t)
	c := h.browser()
	h.accept(c, h.invite("ada", user.Owner, false))
	h.team(c)
	h.Clock.Advance(6 * time.Minute)
	c.Type("#inv", "bob")
	c.Eval(`document.querySelector('input[value="helpdesk"]').checked = true`)
	c.PressNamed("Make the link")
	c.Sees("Show your passkey once more")
	c.Looks("prove")
	c.PressNamed("Use your passkey")
	c.Sees("Admins and sessions")
	c.Type("#inv", "bob")
	c.Eval(`document.querySelector('input[value="helpdesk"]').checked = true`)
	c.PressNamed("Make the link")
	c.Says("A link for bob")
	c.Looks("team-link")
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

func TestBrowser_SpeaksGerman(t *testing.T) {
	h := newHouse(t)
	c := h.browser()
	c.Speaks("de")
	c.Go(h.invite("ada", user.Owner, false))
	c.Sees("Verwalter werden")
	c.Looks("invite.de")
	c.PressNamed("In diesem Browser weiter")
	c.Sees("Legen Sie Ihren Passkey an")
	c.PressNamed("Passkey anlegen")
	c.Sees("Überblick")
	c.Looks("overview.de")
	c.Go(h.Base + "/admin/team")
	c.Sees("Verwalter und Sitzungen")
	c.Looks("team.de")
	c.Press("summary")
	c.PressNamed("Abmelden")
	c.Sees("Als Verwalter anmelden")
	c.Looks("signin.de")
}

func TestBrowser_UnderAnAddressSaysHowToMendIt(t *testing.T) {
	h := houseAt(t, "127.0.0.1")
	c := h.browser()
	c.Go(h.Base + "/admin")
	c.Sees("Admins cannot sign in here")
	c.Says("--public-url")
	c.Looks("signin-address")
	c.Go(h.invite("ada", user.Owner, false))
	c.Sees("Admins cannot sign in here")
}

// Without script nobody signs in, and who is signed in goes on.
func TestBrowser_WithoutScript(t *testing.T) {
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
	h := newHouse(t)
	h.lively()
	c := h.browser()
	h.accept(c, h.invite("ada", user.Owner, false))
	c.Says("2 of 3 users")
	c.Looks("overview")
	c.PressNamed("Events")
	c.Sees("Events")
	c.Says("Admin signed in or out")
	c.Looks("events")
	// What happens while one looks appears by itself.
	h.SetBlocked("maria", true)
	c.Says("call=block")
	c.PressNamed("Recovery")
	c.Says("Nothing fits.")
	c.Looks("events-none")
	c.PressNamed("Clients")
	c.Sees("Clients")
	c.Looks("clients-none")
	c.Type("#name", "Hafenlicht Bank")
	c.PressNamed("Add the client")
	c.Sees("Hafenlicht Bank")
	c.Looks("client-secret")
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
	c.Looks("client-remove")
	c.PressNamed("Yes, remove it")
	c.Sees("Clients")
	c.Says("No client")
}
