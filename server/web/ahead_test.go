package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"tutela/recovery/user"
	"tutela/server/web/webtest"
	"tutela/storage/storagetest/check"
)

// mail is a page of somebody else that has the browser load links ahead, in each way that there is.
func mail(t *testing.T, links ...string) string {
	t.Helper()
	var body strings.Builder
	body.WriteString("<!doctype html><title>Mail</title><h1>Mail</h1>")
	for i, link := range links {
		fmt.Fprintf(&body, `<link rel="prefetch" href=%q><a id="link-%d" href=%q>link</a>`, link, i, link)
		fmt.Fprintf(&body, `<script type="speculationrules">{"prefetch":[{"source":"list","urls":[%q],"eagerness":"immediate"}]}</script>`, link)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(body.String()))
	}))
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
}

// untilAhead waits until the browser has loaded pages ahead.
func (h *people) untilAhead(paths ...string) {
	for len(paths) > 0 {
		path := <-h.ahead
		paths = slices.DeleteFunc(paths, func(p string) bool { return p == path })
	}
}

func TestBrowser_ThatLoadsAheadSpendsNothing(t *testing.T) {
	check.WithoutRace(t)
	public, lead := webtest.Localhost(t)
	h := newPeople(t, public)
	lead(h.URL)
	u := h.somebody()
	p := h.phone(u, "Pixel 9")
	request := h.request(u)
	ticket := h.Ticket(user.User{ID: "otto"})
	before := h.Dump()
	c := webtest.Open(t)
	c.Go(mail(t, h.public+"/mfa/challenge?request="+request, h.link(ticket)))
	h.untilAhead("/mfa/challenge", "/mfa/enrollment")
	if !slices.Equal(before, h.Dump()) {
		t.Error("what was loaded ahead has changed the store")
	}

	// Then the person comes, in this browser, and elsewhere.
	c.Press("#link-0")
	c.Sees("Is it you? Answer on your phone")
	if n := p.Asked(); n != 1 {
		t.Errorf("the phone is asked %d times", n)
	}
	p.Approve(h.numberOn(c))
	c.Until(`location.pathname === "/healthz" && new URLSearchParams(location.search).has("code")`)
	other := c.Private()
	other.Go(h.link(ticket))
	other.Sees("Connect your phone")
	other.PressNamed("Start")
	other.Sees("Scan the code with the app")
	h.scanned(other, "Galaxy S26")
	other.Sees("Your phone is connected")
}

// numberOn is the number that a page shows.
func (h *people) numberOn(c *webtest.Tab) string {
	c.Until(`!!document.querySelector(".number")`)
	return c.Text(`document.querySelector(".number").textContent.trim()`)
}

// A program that looks at links, with cookies or without, is no browser that somebody has opened the page in.
func TestPages_ThatProgramsLookAtStayAsTheyAre(t *testing.T) {
	h := newPeople(t)
	u := h.somebody()
	p := h.phone(u, "Pixel 9")
	challenge := "/mfa/challenge?request=" + h.request(u)
	ticket := "/mfa/enrollment?ticket=" + h.Ticket(user.User{ID: "otto"})
	before := h.Dump()
	for _, header := range [][]string{
		{"Sec-Purpose", "prefetch"},
		{"Sec-Purpose", "prefetch;prerender"},
		{"Sec-Purpose", "prefetch;anonymous-client-ip"},
		{"Purpose", "prefetch"},
		{"X-Moz", "prefetch"},
	} {
		c := webtest.NewClient(t, h.URL, nil)
		c.Header = header
		for range 2 { // the second time with cookies
			if got := c.Get(challenge); got.Status != http.StatusServiceUnavailable {
				t.Errorf("%v: %d", header, got.Status)
			}
			c.Get(ticket)
		}
	}
	head := webtest.NewClient(t, h.URL, nil)
	for range 2 {
		head.Do(http.MethodHead, challenge, "")
		head.Do(http.MethodHead, ticket, "")
	}
	if !slices.Equal(before, h.Dump()) {
		t.Error("looking has changed the store")
	}
	if n := p.Asked(); n != 0 {
		t.Errorf("the phone is asked %d times", n)
	}
	c := webtest.NewClient(t, h.URL, nil)
	if got := c.Get(challenge); !strings.Contains(got.Body, `class="number"`) {
		t.Errorf("then the person is shown %d %s", got.Status, got.Body)
	}
}
