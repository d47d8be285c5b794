package web

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"tutela/storage"
)

// A browser has one session for each ticket that it has started: a cookie that is named for the ticket. Each Start mints a
// new one, so that nobody can choose it in advance; what the browser has started moves to the new session.
//
// SameSite=Lax, because the link in a mail must find the session again, and Strict would hide the cookie from it. A form on
// another site does not send the cookie.
const (
	sessionCookie     = "tutela_enrollment_" // and the name of the ticket
	sessionCharacters = 43                   // of 62: 256 bits
	sessionLife       = 24 * time.Hour
	sessionsKept      = 8 // in a browser: all cookies together must fit into a header
)

// The page sets the probe when a person opens the link, so that Start can recognise a browser that keeps no cookies.
const (
	probeCookie = "tutela_cookies"
	probeLife   = 24 * time.Hour
)

// site is the public URL, as the cookies of its browsers see it.
type site struct {
	host   string
	secure bool   // people come by https
	path   string // the path of the public URL, without a slash at its end
}

func siteOf(public string) site {
	u, err := url.Parse(public)
	if err != nil {
		return site{}
	}
	return site{host: u.Host, secure: u.Scheme == "https", path: strings.TrimRight(u.Path, "/")}
}

// cookieName gives a name the strongest prefix that is possible. A browser takes a __Host- cookie from this host only, and a
// __Secure- cookie over https only. A server below a path keeps its cookies at that path, which __Host- forbids.
//
// Source: draft-ietf-httpbis-rfc6265bis §4.1.3.
func (s site) cookieName(name string) string {
	switch {
	case s.secure && s.path == "":
		return "__Host-" + name
	case s.secure:
		return "__Secure-" + name
	}
	return name
}

// set gives the browser a cookie, or removes it when life is negative. The browser sends it to both mounts of the server.
func (s site) set(c *fiber.Ctx, name, value string, life time.Duration) {
	c.Cookie(&fiber.Cookie{
		Expires:  fasthttp.CookieExpireDelete, // sent only where MaxAge is not
		Name:     s.cookieName(name),
		Value:    value,
		Path:     s.path + "/",
		MaxAge:   int(life / time.Second),
		HTTPOnly: true,
		Secure:   s.secure,
		SameSite: fiber.CookieSameSiteLaxMode,
	})
}

// nameOf returns the name of a ticket's session. It reveals nothing about the ticket.
func nameOf(ticket string) string {
	sum := sha256.Sum256([]byte(ticket))
	return sessionCookie + hex.EncodeToString(sum[:5])
}

// session is the browser's session for a ticket, or "" when it has none.
func (w *web) session(c *fiber.Ctx, ticket string) string {
	if value := c.Cookies(w.site.cookieName(nameOf(ticket))); len(value) == sessionCharacters {
		return value
	}
	return ""
}

// newSession mints a session. giveSession gives it to the browser.
func newSession() string { return storage.NewID("", sessionCharacters) }

// giveSession gives the browser a session for a ticket. Beyond sessionsKept it removes the sessions that the browser names
// first, which are usually the oldest.
func (w *web) giveSession(c *fiber.Ctx, ticket, session string) {
	mine := nameOf(ticket)
	var others []string
	for name := range c.Request().Header.Cookies() {
		plain := strings.TrimPrefix(string(name), w.site.cookieName(""))
		if strings.HasPrefix(plain, sessionCookie) && plain != mine {
			others = append(others, plain)
		}
	}
	for len(others) >= sessionsKept {
		w.site.set(c, others[0], "", -time.Second)
		others = others[1:]
	}
	w.site.set(c, mine, session, sessionLife)
}

// probe sets the cookie by which Start finds out whether the browser keeps cookies.
func (w *web) probe(c *fiber.Ctx) { w.site.set(c, probeCookie, "1", probeLife) }

// keepsCookies reports whether the browser has sent back a cookie of ours.
func (w *web) keepsCookies(c *fiber.Ctx, session string) bool {
	return session != "" || c.Cookies(w.site.cookieName(probeCookie)) != ""
}
