package page

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"html/template"
	"net/url"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/storage"
)

// A form counts only when it was made for this browser by a page of ours: the browser says so (Sec-Fetch-Site, or Origin),
// and the form carries a token that follows from a secret cookie, which no other site knows.
//
// Source: OWASP Cross-Site Request Forgery Prevention, "Fetch Metadata" and "Signed Double-Submit Cookie".
const (
	browserCookie     = "tutela_browser"
	browserCharacters = 43 // of 62: 256 bits
	browserLife       = 30 * 24 * time.Hour
	formField         = "form"
)

// Errors of posted forms.
var (
	// ErrForged reports a form that a page of somebody else has sent.
	ErrForged = storage.NewError(storage.Denied, "the form comes from another site")
	// ErrNoCookies reports a form of a browser that has sent back no cookie.
	ErrNoCookies = storage.NewError(storage.Invalid, "the browser keeps no cookies")
	// ErrOldForm reports a form that was made for another browser, or before its cookies were cleared.
	ErrOldForm = storage.NewError(storage.Denied, "the form was made for another session")
)

// TokenOf is the token that forms of a browser carry. browser is the value of its cookie.
func TokenOf(browser string) string {
	mac := hmac.New(sha256.New, []byte(browser))
	mac.Write([]byte("form"))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// BrowserCookie is the name of the cookie from which the token of forms follows.
func (k *Kit) BrowserCookie() string { return k.CookieName(browserCookie) }

// know gives the browser its cookie, if it has none.
func (c *Call) know() {
	c.browser = c.Kept(browserCookie)
	if len(c.browser) != browserCharacters {
		c.browser = storage.NewID("", browserCharacters)
		c.fresh = true
		c.Keep(browserCookie, c.browser, browserLife)
	}
}

// Renew gives the browser a new cookie, so that forms from before count no longer: after signing in, and after signing out.
func (c *Call) Renew() {
	c.browser = storage.NewID("", browserCharacters)
	c.fresh = true
	c.Keep(browserCookie, c.browser, browserLife)
	c.frame.token = TokenOf(c.browser)
}

// checkForm returns why a posted form does not count.
//
// Errors: ErrForged; ErrNoCookies; ErrOldForm.
func (c *Call) checkForm() error {
	switch c.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
	case "":
		if !c.kit.isOurs(c.Get(fiber.HeaderOrigin), c.Hostname()) {
			return ErrForged
		}
	default:
		return ErrForged
	}
	if c.fresh {
		return ErrNoCookies
	}
	if !hmac.Equal([]byte(c.Posted(formField)), []byte(TokenOf(c.browser))) {
		return ErrOldForm
	}
	return nil
}

// isOurs reports whether an origin is that of our pages: of the public URL, or of the host that was asked. Browsers send
// "null" from pages that send no Referer, as ours do.
func (k *Kit) isOurs(origin, asked string) bool {
	if origin == "" || origin == "null" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && (u.Host == k.site.host || u.Host == asked)
}

// Form is the hidden field that every posted form has.
func (f Frame) Form() template.HTML {
	return template.HTML(`<input type="hidden" name="` + formField + `" value="` + f.token + `">`) //nolint:gosec // hex digits
}
