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

// A browser has one session for each ticket that it has started: a cookie named for the ticket, and minted anew at each
// Start, so that nobody can have chosen it. What the browser started before moves to the new one.
//
// SameSite=Lax: the link in a mail must find the session again, which Strict hides from it. A form of another site's
// does not bring it along.
const (
	sessionCookie     = "tutela_enrollment_" // and the name of the ticket
	sessionCharacters = 43                   // of 62: 256 bits
	sessionLife       = 24 * time.Hour
	sessionsKept      = 8 // in a browser: all cookies together must fit a header
)

// The probe is set when the link is opened, so that Start can tell a browser that keeps no cookies.
const (
	probeCookie = "tutela_cookies"
	probeLife   = 24 * time.Hour
)

// site is the public URL, as the cookies of its browsers see it.
type site struct {
	host   string
	secure bool   // people come by https
	path   string // below which the server is, without a slash at its end
}

func siteOf(public string) site {
	u, err := url.Parse(public)
	if err != nil {
		return site{}
	}
	return site{host: u.Host, secure: u.Scheme == "https", path: strings.TrimRight(u.Path, "/")}
}

// cookieName gives a name the strongest prefix that holds: under __Host- no other host can have set the cookie, under
// __Secure- none without https. A server below a path must keep its cookies there, which __Host- forbids.
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

// set gives the browser a cookie, or takes it away: then life is negative. It reaches the server at both of its mounts.
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

// nameOf names the session of a ticket, and gives nothing of the ticket away.
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

// newSession mints a session. The browser has it when it was given.
func newSession() string { return storage.NewID("", sessionCharacters) }

// giveSession gives the browser a session for a ticket. Of many others it takes the first that the browser names, which
// by custom are the oldest.
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

// probe sees to it that Start can tell whether the browser keeps cookies.
func (w *web) probe(c *fiber.Ctx) { w.site.set(c, probeCookie, "1", probeLife) }

// keepsCookies reports whether the browser has brought back a cookie of ours.
func (w *web) keepsCookies(c *fiber.Ctx, session string) bool {
	return session != "" || c.Cookies(w.site.cookieName(probeCookie)) != ""
}
