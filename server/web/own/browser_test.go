package own

import (
	"context"
	"crypto/ed25519"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/own"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/server/servertest"
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
			Mount(webtest.Kit(s), Services{
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

// handset is a phone of maria's.
type handset struct {
	h        *house
	key      ed25519.PrivateKey
	in       device.Installation
	enrolled *device.Enrolled
}

func (h *house) phone(name, ticket string) *handset {
	h.t.Helper()
	p := &handset{h: h, key: devicetest.NewEd25519(h.t)}
	p.in = device.Installation{
		Identifier:   name,
		Name:         name,
		Key:          devicetest.Key(h.t, p.key),
		Capabilities: []string{device.NumberMatching},
	}
	if ticket == "" {
		ticket = h.Ticket(user.User{ID: "maria", Email: "maria@post.example"})
	}
	var err error
	p.enrolled, err = h.Devices.Enroll(h.t.Context(), ticket, p.in, her)
	check.Must(h.t, err)
	return p
}

// approve has the phone answer what it is asked with a number, once it is asked.
func (p *handset) approve(number string) {
	p.h.t.Helper()
	ctx := p.h.t.Context()
	now := p.h.Clock.Wall().Unix()
	url := p.h.Devices.PublicURL()
	proof, err := p.h.Devices.Prove(ctx, p.enrolled.ID, devicetest.Sign(p.h.t, p.key, map[string]any{
		"iss": p.enrolled.ID, "sub": p.enrolled.UserID, "aud": url + "/appliance-mfa/api/device-accounts", "iat": now, "exp": now + 7200,
	}), true)
	check.Must(p.h.t, err)
	list, err := p.h.Logins.Approvals(ctx, proof, nil, 0)
	check.Must(p.h.t, err)
	if len(list) != 1 {
		p.h.t.Fatalf("%s is asked %d approvals", p.in.Name, len(list))
	}
	answer := devicetest.Sign(p.h.t, p.key, map[string]any{
		"iss": p.in.Identifier, "sub": list[0].Challenge, "aud": url + "/appliance-mfa/api/resolve-transaction", "iat": now, "exp": now + 30,
		"auth0_guardian_method": "push", "auth0_guardian_accepted": true, "tutela_number": number,
	})
	check.Must(p.h.t, p.h.Logins.Answer(ctx, list[0].TransactionToken, answer, her))
}

// opened returns the address by which a browser comes from a login that maria has satisfied by a number on her phone.
func (h *house) opened(p *handset) string {
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
	p.approve(asked.Number)
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
func prove(c *webtest.Tab, p *handset) {
	c.Sees("Is it really you?")
	c.PressNamed("Ask my phone")
	c.Until(`!!document.querySelector(".number b")`)
	p.approve(c.Text(`document.querySelector(".number b").textContent`))
}

func TestBrowser_HerOwnPageFromOpeningToSigningOut(t *testing.T) {
	h := newHouse(t)
	p := h.phone("Pixel 9", "")
	c := webtest.Open(t)
	c.Go(h.opened(p))
	c.Sees(title)
	if at := c.Text(`location.search`); at != "" {
		t.Errorf("the request stays in the address: %s", at)
	}
	c.Looks("me-one-device")

	// A new recovery code: the number that opened the page is proof enough. It is shown until it is confirmed, and never again.
	c.PressNamed("Get a new code")
	c.Sees("Get a new code")
	c.PressNamed("Show the new code")
	c.Sees("Save your recovery code")
	code := c.Text(`document.querySelector("#code").textContent.replace(/\s/g, "")`)
	c.Type("#end", "0000")
	c.PressNamed("I have saved it")
	c.Says("Those are not its last four characters")
	c.Looks("me-code-wrong")
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
	c.Looks("me-practised")
	c.Steady(title)

	// A second phone. What was proven for the code is enough for one.
	c.Go(h.URL + "/mfa/me/add?what=phone")
	c.Sees("Add a phone")
	c.PressNamed("Start")
	c.Until(`!!document.querySelector(".qr")`)
	c.Looks("me-add")
	c.Steady("Add a phone")
	link := c.Text(`document.querySelector(".on-phone a").href`)
	h.Clock.Advance(time.Second)
	stranger := h.phone("Galaxy A56", device.ReadTicket(link))
	c.Sees("Galaxy A56 was added") // by itself
	c.Looks("me-added")
	c.PressNamed("Back to your devices")
	c.Sees(title)
	c.Says("If you lose Pixel 9, you get back in")
	c.Looks("me")

	// One proof adds one device: another asks for another, and goes on by itself once the phone has answered.
	c.Go(h.URL + "/mfa/me/add?what=app")
	c.Looks("me-prove")
	c.Steady("Is it really you?")
	prove(c, p)
	c.Sees("Add a one-time code app")
	c.Go(h.URL + "/mfa/me")
	c.Sees(title)

	// It was not she.
	c.Press(`.log form.ask-me button`)
	c.Until(`location.pathname.endsWith("/not-me")`)
	c.Go(h.URL + "/mfa/me/not-me?line=" + stranger.enrolled.ID)
	c.Sees("Was this not you?")
	c.Looks("me-deny")
	c.Press(`main form button`)
	c.Sees("Stopped, and reported")
	c.Looks("me-denied")
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
	c.Looks("me-closed")
}

func TestBrowser_HerOwnPageInGermanAndWithoutScript(t *testing.T) {
	h := newHouse(t)
	p := h.phone("Pixel 9", "")
	c := webtest.Open(t)
	c.Speaks("de")
	c.WithoutScript()
	c.Go(h.opened(p))
	c.Sees("Ihre Geräte und Ihr Code")
	c.Looks("me.de")
	c.Press(`a[href*="rename"]`)
	c.Sees("Gerät umbenennen")
	c.Looks("me-rename.de")
	c.Type("#name", "Mein Pixel")
	c.PressNamed("Sichern")
	c.Sees("Ihre Geräte und Ihr Code")
	c.Says("Mein Pixel")
	c.Press(`a[href*="remove"]`)
	c.Sees("Mein Pixel entfernen?")
	c.Looks("me-remove.de")
	c.PressNamed("Ja, entfernen")
	c.Sees("Diese Seite ist geschlossen") // it was what she had proven
	c.Looks("me-closed.de")
}
