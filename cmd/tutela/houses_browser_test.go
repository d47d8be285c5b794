package main

import (
	"net/url"
	"runtime"
	"testing"

	"tutela/device/login"
	"tutela/device/phone"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/server/web/webtest"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

// browsing is a browser that comes to two houses over one store: its cookies go to both, since they do not tell ports apart.
type browsing struct {
	*neighbours
	t    *testing.T
	bank access.Client
	tab  *webtest.Tab
}

func browse(t *testing.T) *browsing {
	t.Helper()
	n := mountNeighbours(t)
	answerAll(t, n)
	bank, _, err := n.a.house.access.AddClient(t.Context(), audit.ByOperator(0), access.Client{Name: "Hafenlicht Bank", Scopes: []string{"openid"}})
	must(t, err)
	return &browsing{
		neighbours: n,
		t:          t,
		bank:       bank,
		tab:        webtest.Open(t),
	}
}

// request asks a house for a hosted page, from which the browser comes back to that house's health.
func (b *browsing) request(m *mounted, purpose login.PagePurpose) string {
	b.t.Helper()
	id, err := m.house.logins.RequestPage(b.t.Context(), login.PageRequest{
		Client:    b.bank.ID,
		Name:      "Hafenlicht Bank",
		User:      user.User{ID: "maria"},
		Purpose:   purpose,
		Redirect:  m.url + "/healthz",
		State:     "x",
		Challenge: pageChallenge,
		Actor:     audit.ByUser(),
	})
	must(b.t, err)
	return "/mfa/challenge?request=" + id
}

// moves has a tab show the page that it shows at one house at the other, from which it goes on.
func (b *browsing) moves(to *mounted) {
	b.t.Helper()
	address, err := url.Parse(b.tab.Text(`location.href`))
	must(b.t, err)
	b.tab.Go(to.url + address.RequestURI())
	b.tab.Until(`document.readyState === "complete" && location.origin === "` + to.url + `" && !!document.querySelector("h1")`)
}

func (b *browsing) number() string {
	b.t.Helper()
	b.tab.Until(`!!document.querySelector(".number")`)
	return b.tab.Text(`document.querySelector(".number").textContent.trim()`)
}

func TestTwoHouses_ABrowserGoesFromOneToTheOtherInTheMiddle(t *testing.T) {
	check.WithoutRace(t)
	b := browse(t)
	c := b.tab

	// A login: opened at one, loaded again at the other, answered at the first while the page waits at the other.
	c.Go(b.a.url + b.request(b.a, login.PageLogin))
	c.Sees("Is it you? Answer on your phone")
	shown := b.number()
	b.moves(b.b)
	if again := b.number(); again != shown || len(again) != 6 {
		t.Errorf("one house shows %q, the other %q", shown, again)
	}
	b.untilHeldAt(b.b)
	b.road.leadTo(b.a)
	b.approve(t, shown)
	c.Until(`location.pathname === "/healthz" && new URLSearchParams(location.search).has("code")`)
	code := c.Text(`new URLSearchParams(location.search).get("code")`)
	got, err := b.b.house.logins.ExchangePage(t.Context(), login.PageExchange{
		Client:   b.bank.ID,
		Code:     code,
		Redirect: b.a.url + "/healthz",
		Verifier: pageVerifier,
	})
	if err != nil || got.UserID != "maria" {
		t.Errorf("the other house exchanges the code for %+v, %v", got, err)
	}

	// Her own page: proven at one, opened at the other, a device added at the first while the other waits for it, signed out there.
	c.Go(b.b.url + b.request(b.b, login.PageManage))
	c.Sees("Is it you? Answer on your phone")
	b.untilHeldAt(b.b)
	b.road.leadTo(b.a)
	b.approve(t, b.number())
	c.Sees("Your devices and your code")
	b.moves(b.a)
	c.Sees("Your devices and your code")
	c.Go(b.a.url + "/mfa/me/add?what=phone")
	c.PressNamed("Start")
	c.Until(`document.readyState === "complete" && !!document.querySelector(".qr")`)
	uri := c.Text(`document.querySelector(".on-phone a").href`)
	b.moves(b.b)
	if again := c.Text(`document.querySelector(".on-phone a").href`); again != uri || uri == "" {
		t.Errorf("one house shows the code %q, the other %q", uri, again)
	}
	b.untilHeldAt(b.b)
	b.enrol(b.a, uri)
	c.Sees("Second phone was added")
	c.Go(b.a.url + "/mfa/me")
	c.PressNamed("Sign out")
	c.Until(`location.pathname === "/healthz"`)
	c.Go(b.b.url + "/mfa/me")
	c.Sees("This page is closed")
}

func TestTwoHouses_ABrowserEnrolsAtBoth(t *testing.T) {
	check.WithoutRace(t)
	b := browse(t)
	c := b.tab
	ticket := b.a.ticket("otto")
	c.Go(b.a.url + "/mfa/enrollment?ticket=" + ticket)
	c.Sees("Connect your phone")
	b.moves(b.b)
	c.PressNamed("Start")
	c.Sees("Scan the code with the app")
	uri := c.Text(`document.querySelector(".on-phone a").href`)
	b.moves(b.a)
	if again := c.Text(`document.querySelector(".on-phone a").href`); again != uri || uri == "" {
		t.Errorf("one house shows the code %q, the other %q", uri, again)
	}
	b.untilHeldAt(b.a)
	code := b.enrol(b.b, uri)
	c.Sees("Your phone is connected")
	b.moves(b.b)
	c.PressNamed("Show my recovery code")
	c.Sees("Save your recovery code")
	b.moves(b.a)
	if shown := c.Text(`document.querySelector("#code").textContent.replace(/\s/g, "")`); shown != code || code == "" {
		t.Errorf("the page shows the code %q, the phone got %q", shown, code)
	}
	c.Type("#end", code[20:])
	c.PressNamed("I have saved it")
	c.Says("You are all set")
	b.moves(b.b)
	c.Says("You are all set")
}

// untilHeldAt waits until a house holds a call of the page.
func (b *browsing) untilHeldAt(m *mounted) {
	for m.server.Waits().Len() == 0 {
		runtime.Gosched()
	}
}

// enrol enrols a phone at a house, and returns the recovery code that it got.
func (b *browsing) enrol(m *mounted, uri string) string {
	b.t.Helper()
	b.road.leadTo(m)
	p, err := phone.New(phone.Options{BaseURL: m.url, Name: "Second phone", Client: b.a.road})
	must(b.t, err)
	enrolled, err := p.Enroll(b.t.Context(), uri)
	must(b.t, err)
	return enrolled.RecoveryCode
}
