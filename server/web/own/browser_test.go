package own

import (
	"context"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/own"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/server/servertest"
	"tutela/server/web/challenge"
	"tutela/server/web/page"
	"tutela/server/web/webtest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// house is the pages over a real store, with maria and her phone. All that finishes hosted requests there is one browser.
type house struct {
	*servertest.House
	t    testing.TB
	bank string // the login system
}

func newHouse(t testing.TB, public ...string) *house {
	t.Helper()
	h := &house{t: t}
	h.House = servertest.Open(t, servertest.Options{
		Public: public,
		Ground: ground.Options{Clock: storage.NewFakeClock(time.Now())},
		Mount: func(s *servertest.House) {
			pages := own.New(s.Store, s.Ring, s.Codes, s.Devices, s.Logins, s.Restores)
			kit := webtest.Kit(s)
			challenge.Mount(kit, challenge.Services{Logins: s.Logins, Issuer: s.Access.Issuer()})
			Mount(kit, Services{
				Own:   pages,
				Visit: func(c *page.Call) login.Visit { return visitOf(c.Query("request")) },
				Now:   s.Store.Now,
			})
		},
	})
	bank, _, err := h.Access.AddClient(t.Context(), audit.ByOperator(0), access.Client{Name: "Hafenlicht Bank", Scopes: []string{"openid"}})
	check.Must(t, err)
	h.bank = bank.ID
	return h
}

var her = audit.ByUser().WithOrigin("203.0.113.7", "Mozilla/5.0 Firefox/140.0")

// phone makes a phone of maria's, with a ticket or, without one, with a new one.
func (h *house) phone(name, ticket string) *webtest.Handset {
	h.t.Helper()
	if ticket == "" {
		ticket = h.Ticket(user.User{ID: "maria", Email: "maria@post.example"})
	}
	return webtest.NewHandset(h.t, h.House, name, ticket)
}

// opened returns the address by which a browser comes from a login that maria has satisfied by a number on her phone.
func (h *house) opened(p *webtest.Handset) string {
	h.t.Helper()
	ctx := context.WithoutCancel(h.t.Context())
	request, err := h.Logins.RequestPage(ctx, login.PageRequest{
		Client:   h.bank,
		Name:     "Hafenlicht Bank",
		User:     user.User{ID: "maria"},
		Purpose:  login.PageManage,
		Redirect: h.URL + "/healthz?from=own",
		State:    "x y",
		IP:       "203.0.113.7",
		Actor:    her,
	})
	check.Must(h.t, err)
	asked, err := h.Logins.OpenPage(ctx, visitOf(request))
	check.Must(h.t, err)
	p.Approve(asked.Number)
	_, err = h.Logins.FinishPage(ctx, visitOf(request))
	check.Must(h.t, err)
	return h.URL + "/mfa/me?request=" + request
}

// visitOf is the browser's visit of a hosted request.
func visitOf(request string) login.Visit {
	return login.Visit{Request: request, Browser: "firefox", Actor: her}
}

const title = "Your devices and your code"

// prove proves more, by the number that the browser shows.
func prove(c *webtest.Tab, p *webtest.Handset) {
	c.Sees("Is it really you?")
	c.PressNamed("Ask my phone")
	c.Until(`!!document.querySelector(".number")`)
	p.Approve(c.Text(`document.querySelector(".number").textContent.trim()`))
}

func TestBrowser_HerOwnPageFromOpeningToSigningOut(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	p := h.phone("Pixel 9", "")
	c := webtest.Open(t)
	c.Go(h.opened(p))
	c.Sees(title)
	if at := c.Text(`location.search`); at != "" {
		t.Errorf("the request stays in the address: %s", at)
	}

	// A new recovery code: the number that opened the page is proof enough. It is shown until it is confirmed, and never again.
	c.PressNamed("Get a new code")
	c.Sees("Get a new code")
	c.PressNamed("Show the new code")
	c.Sees("Save your recovery code")
	code := c.Text(`document.querySelector("#code").textContent.replace(/\s/g, "")`)
	c.Type("#end", "0000")
	c.PressNamed("I have saved it")
	c.Says("Those are not its last four characters")
	c.Steady("Save your recovery code")
	c.Type("#end", code[20:])
	c.PressNamed("I have saved it")
	c.Sees(title)
	c.Says("You have shown that you have it")
	c.Back()
	c.Until(`document.readyState === "complete" && !document.body.textContent.includes("` + code[:4] + `")`)
	c.Go(h.URL + "/mfa/me")
	c.Sees(title)

	// Practice.
	c.PressNamed("Do you still have your code?")
	c.Type("#practise", code)
	c.PressNamed("Check it")
	c.Says("That is your code.")
	c.Steady(title)

	// A second phone. What was proven for the code is enough for one.
	c.Go(h.URL + "/mfa/me/add?what=phone")
	c.Sees("Add a phone")
	c.PressNamed("Start")
	c.Until(`!!document.querySelector(".qr")`)
	c.Steady("Add a phone")
	link := c.Text(`document.querySelector(".on-phone a").href`)
	h.Clock.Advance(time.Second)
	stranger := h.phone("Galaxy A56", device.ReadTicket(link))
	c.Sees("Galaxy A56 was added") // by itself
	c.PressNamed("Back to your devices")
	c.Sees(title)
	c.Says("If you lose Pixel 9, you get back in")

	// One proof adds one device: another asks for another, and goes on by itself once the phone has answered.
	c.Go(h.URL + "/mfa/me/add?what=app")
	c.Steady("Is it really you?")
	prove(c, p)
	c.Sees("Add a one-time code app")
	c.Go(h.URL + "/mfa/me")
	c.Sees(title)

	// It was not she.
	c.Press(`.log form.ask-me button`)
	c.Until(`location.pathname.endsWith("/not-me")`)
	c.Go(h.URL + "/mfa/me/not-me?line=" + stranger.Enrolled.ID)
	c.Sees("Was this not you?")
	c.Press(`main form button`)
	c.Sees("Stopped, and reported")
	c.Steady("Stopped, and reported")

	// Sign out, back to the login system with its state.
	c.Go(h.URL + "/mfa/me")
	c.Sees(title)
	c.PressNamed("Sign out")
	c.Until(`location.pathname === "/healthz"`)
	if query := c.Text(`location.search`); query != "?from=own&state=x+y" {
		t.Errorf("it came back with %s", query)
	}
	c.Go(h.URL + "/mfa/me")
	c.Sees("This page is closed")
}

func TestBrowser_HerOwnPageInGermanAndWithoutScript(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	p := h.phone("Pixel 9", "")
	c := webtest.Open(t)
	c.Speaks("de")
	c.WithoutScript()
	c.Go(h.opened(p))
	c.Sees("Ihre Geräte und Ihr Code")
	c.Press(`a[href*="rename"]`)
	c.Sees("Gerät umbenennen")
	c.Type("#name", "Mein Pixel")
	c.PressNamed("Sichern")
	c.Sees("Ihre Geräte und Ihr Code")
	c.Says("Mein Pixel")
	c.Press(`a[href*="remove"]`)
	c.Sees("Mein Pixel entfernen?")
	c.PressNamed("Ja, entfernen")
	c.Sees("Diese Seite ist geschlossen") // it was what she had proven
}
