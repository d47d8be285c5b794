package page

import (
	"html/template"
	"strings"

	"tutela/server"
	"tutela/storage/setting/brand"
)

// Frame is what every page has around it. The data of every page embeds it, so that its templates can say {{.T "key"}}.
type Frame struct {
	Texts
	Organisation string // its name
	HelpDesk     string // its telephone number; "": none
	Root         string // from this page to /mfa/, for links that hold under any public URL
	Base         string // from this page to the root of the server
	Body         string // the class of the page: "person", "person wide", "admin"

	brand brand.Brand
	token string // of forms
	htmx  bool
	pass  bool // passkeys are used here
}

// frame makes the frame of a call's page.
func (c *Call) newFrame() Frame {
	f := Frame{
		Texts:        TextsFor(c.Get("Accept-Language")),
		Organisation: c.kit.Name,
		Body:         "person",
		token:        TokenOf(c.browser),
	}
	f.Base = baseOf(server.CallOf(c.UserContext()).Path())
	f.Root = f.Base + "mfa/"
	// A page about a store that is away has the frame too.
	if look, err := c.kit.Brand(c.UserContext()); err == nil {
		f.brand = look
		f.HelpDesk = look.Phone
		if look.Name != "" {
			f.Organisation = look.Name
		}
	}
	return f
}

// baseOf returns the way from a page to the root of the server. asked is the path as the browser sees it, since the browser
// resolves links by that; it may have a mount of its own before /mfa/ or /admin, and slashes twice.
func baseOf(asked string) string {
	below := ""
	for _, at := range []string{"/mfa/", "/admin"} {
		if _, after, found := strings.Cut(asked, at); found {
			below = strings.TrimPrefix(at, "/") + after
			break
		}
	}
	return strings.Repeat("../", strings.Count(below, "/"))
}

// Logo is the address of the organisation's logo; "" when it has none.
func (f Frame) Logo() string {
	if f.brand.Logo.Content == nil {
		return ""
	}
	return f.Root + "logo?v=" + versionOf(f.brand.Logo.Content)
}

// Colour is the address of the style sheet with the organisation's colour; "" when it has none.
func (f Frame) Colour() string {
	if f.brand.Colour == "" {
		return ""
	}
	return f.Root + "brand.css?v=" + strings.TrimPrefix(f.brand.Colour, "#")
}

// Dial is the help desk's number as a link takes it.
func (f Frame) Dial() template.URL {
	return Link("tel:" + strings.Map(func(r rune) rune {
		if r == '+' || '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, f.HelpDesk))
}

// Htmx reports whether the page loads htmx.
func (f Frame) Htmx() bool { return f.htmx }

// Passkeys reports whether the page makes or uses a passkey.
func (f Frame) Passkeys() bool { return f.pass }
