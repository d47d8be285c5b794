package page

import (
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// site is the public URL, as the cookies of its browsers see it.
type site struct {
	host   string // and port
	secure bool   // browsers take secure cookies from it
	path   string // the path of the public URL, without a slash at its end
}

func siteOf(public string) site {
	u, err := url.Parse(public)
	if err != nil {
		return site{}
	}
	return site{
		host:   u.Host,
		secure: u.Scheme == "https" || isLocalhost(u.Hostname()),
		path:   strings.TrimRight(u.Path, "/"),
	}
}

// isLocalhost reports whether browsers treat a host as secure over plain http too.
//
// Source: W3C Secure Contexts §3.1 (potentially trustworthy origins).
func isLocalhost(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// cookieName gives a name the strongest prefix that is possible. A browser takes a __Host- cookie from this host only, and a
// __Secure- cookie from a secure one only. A server below a path keeps its cookies at that path, which __Host- forbids.
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

// CookieName returns the name under which browsers keep a cookie of ours.
func (k *Kit) CookieName(name string) string { return k.site.cookieName(name) }

// Kept returns the value of a cookie of ours; "" when the browser has none.
func (c *Call) Kept(name string) string { return c.Cookies(c.kit.CookieName(name)) }

// Keep gives the browser a cookie for so long, which scripts cannot read and which other sites' forms do not send. The
// browser sends it to both mounts of the server.
//
// SameSite is Lax, because the link in a mail and the redirect of a login system must find the session, and Strict would
// hide the cookie from them.
func (c *Call) Keep(name, value string, life time.Duration) {
	c.Cookie(&fiber.Cookie{
		Expires:  fasthttp.CookieExpireDelete, // sent only where MaxAge is not
		Name:     c.kit.CookieName(name),
		Value:    value,
		Path:     c.kit.site.path + "/",
		MaxAge:   int(life / time.Second),
		HTTPOnly: true,
		Secure:   c.kit.site.secure,
		SameSite: fiber.CookieSameSiteLaxMode,
	})
}

// Forget removes a cookie of ours from the browser.
func (c *Call) Forget(name string) { c.Keep(name, "", -time.Second) }

// KeptNames returns the names of all cookies of ours that begin with prefix, in the order in which the browser sends them.
func (c *Call) KeptNames(prefix string) (names []string) {
	for name := range c.Request().Header.Cookies() {
		if plain, ours := strings.CutPrefix(string(name), c.kit.CookieName("")); ours && strings.HasPrefix(plain, prefix) {
			names = append(names, plain)
		}
	}
	return names
}
