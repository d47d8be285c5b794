package enrollment

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"tutela/recovery/user"
	"tutela/server/servertest"
	"tutela/server/web/webtest"
)

// behind opens a house behind a proxy, as operators run it: people come to scheme and path, and the proxy takes both
// away.
func behind(t *testing.T, scheme, path string) (h *house, public string) {
	t.Helper()
	proxy := httptest.NewUnstartedServer(nil)
	public = scheme + "://" + proxy.Listener.Addr().String() + path
	h = newHouse(t, func(o *servertest.Options) { o.Public = []string{public} })
	target, err := url.Parse(h.url)
	h.must(err)
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	proxy.Config.Handler = http.StripPrefix(path, pass)
	if scheme == "https" {
		proxy.StartTLS()
	} else {
		proxy.Start()
	}
	t.Cleanup(proxy.Close)
	return h, public
}

// browserAt is a browser without any cookie that comes by a public URL.
func (h *house) browserAt(public string) *browser {
	h.t.Helper()
	b := h.browser()
	b.Base = public
	b.HTTP.Jar = webtest.NewJar(h.t)
	return b
}

// People come by http and https, to the root and below a path, and by either of the server's mounts.
func TestSession_HoldsWhereverPeopleComeFrom(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		for _, path := range []string{"", "/tutela"} {
			t.Run(scheme+path, func(t *testing.T) {
				h, public := behind(t, scheme, path)
				for _, mount := range []string{"", "/appliance-mfa"} {
					h.aSecondClickFindsItAgain(public + mount)
					h.eachTicketHasItsOwn(public + mount)
					h.aStolenLinkShowsNothing(public + mount)
					h.aBrowserWithoutCookiesIsToldAtStart(public + mount)
				}
			})
		}
	}
}

func (h *house) aSecondClickFindsItAgain(public string) {
	h.t.Helper()
	b := h.browserAt(public)
	ticket := h.ticket(user.User{ID: "maria at " + public})
	b.shows(b.open(ticket), 200, "Start")
	code := h.enroll(b.start(ticket).uri())
	b.shows(b.open(ticket), 200, "Your phone is connected")
	b.shows(b.scan(ticket, ""), 200, "Show my recovery code")
	if got := b.code(ticket).recoveryCode(); got != code || code == "" {
		h.t.Errorf("%s: shown is %q, want %q", public, got, code)
	}
	b.shows(b.open(ticket), 200, "Your phone is connected")
}

func (h *house) eachTicketHasItsOwn(public string) {
	h.t.Helper()
	b := h.browserAt(public)
	codes := map[string]string{}
	for _, id := range []string{"ada", "otto", "ida"} {
		ticket := h.ticket(user.User{ID: id + " at " + public})
		b.open(ticket)
		codes[ticket] = h.enroll(b.start(ticket).uri())
	}
	for ticket, code := range codes {
		if got := b.code(ticket).recoveryCode(); got != code || code == "" {
			h.t.Errorf("%s: shown is %q, want %q", public, got, code)
		}
	}
}

func (h *house) aStolenLinkShowsNothing(public string) {
	h.t.Helper()
	b := h.browserAt(public)
	thief := h.browserAt(public)
	ticket := h.ticket(user.User{ID: "bert at " + public})
	b.open(ticket)
	thief.open(ticket)
	thief.shows(thief.start(ticket), 200, "Scan the code")
	h.enroll(b.start(ticket).uri())
	thief.shows(thief.open(ticket), 404, "works no longer")
	thief.shows(thief.code(ticket), 404, "works no longer")
	thief.shows(thief.scan(ticket, ""), 404, "works no longer")
}

func (h *house) aBrowserWithoutCookiesIsToldAtStart(public string) {
	h.t.Helper()
	b := h.browserAt(public)
	jar := b.HTTP.Jar
	b.HTTP.Jar = nil
	ticket := h.ticket(user.User{ID: "clara at " + public})
	b.shows(b.open(ticket), 200, "Start")
	before := h.Dump()
	b.shows(b.start(ticket), 400, "This page needs cookies")
	if len(before) != len(h.Dump()) {
		h.t.Errorf("%s: a Start that led nowhere has changed the store", public)
	}
	b.HTTP.Jar = jar // it allows them, and tries again
	b.shows(b.open(ticket), 200, "Start")
	b.shows(b.start(ticket), 200, "Scan the code")
}

// press presses Start, and goes nowhere.
func (b *browser) press(ticket string) answer {
	b.t.Helper()
	b.HTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer func() { b.HTTP.CheckRedirect = nil }()
	return b.start(ticket)
}

func TestSession_IsMintedAnewAtEveryStart(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	planted := strings.Repeat("x", sessionCharacters)
	b.keep(nameOf(ticket), planted)
	var seen []string
	for range 3 {
		cookie := ""
		for _, set := range b.press(ticket).header.Values("Set-Cookie") {
			if strings.HasPrefix(set, sessionCookie) {
				cookie = set
			}
		}
		value, _, _ := strings.Cut(strings.TrimPrefix(cookie, nameOf(ticket)+"="), ";")
		if len(value) != sessionCharacters || value == planted || strings.Contains(strings.Join(seen, " "), value) {
			t.Fatalf("after %v and the planted one the cookie is %q", seen, cookie)
		}
		seen = append(seen, value)
	}
	h.enroll(b.start(ticket).uri())
	thief := h.browser()
	for _, known := range append(seen, planted) {
		thief.keep(nameOf(ticket), known)
		thief.shows(thief.code(ticket), 404, "works no longer")
	}
}

func TestSession_OfManyTicketsTheNewestAreKept(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	var last string
	for range 3 * sessionsKept {
		last = h.ticket(user.User{ID: "maria"})
		b.shows(b.start(last), 200, "Scan the code")
	}
	u, err := url.Parse(h.url)
	h.must(err)
	if n := len(b.HTTP.Jar.Cookies(u)); n > sessionsKept+2 { // with the two that forms need
		t.Errorf("the browser keeps %d cookies", n)
	}
	b.shows(b.scan(last, ""), 200, "Waiting for your phone")
}

func TestSession_StartInAnotherTabLosesNothing(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	first := b.start(ticket).uri()
	waiting := make(chan answer, 1)
	go func() { waiting <- b.scan(ticket, "&wait=1") }()
	h.UntilHeld(1)
	b.start(ticket)
	code := h.enroll(first)
	b.shows(<-waiting, 404, "works no longer") // to the session of before; the script asks again, with the cookie of now
	b.shows(b.scan(ticket, ""), 200, "Show my recovery code")
	if got := b.code(ticket).recoveryCode(); got != code {
		t.Errorf("shown is %q, want %q", got, code)
	}
}
