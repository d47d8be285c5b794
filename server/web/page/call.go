package page

import (
	"net/http"
	"net/url"

	"github.com/gofiber/fiber/v2"

	"tutela/server"
)

// Call is one call for a page.
type Call struct {
	*fiber.Ctx
	kit     *Kit
	set     *Set
	frame   Frame
	browser string // the value of its cookie
	fresh   bool   // the browser did not send that cookie
}

// Frame is what the page has around it; the page's data embeds it.
func (c *Call) Frame() Frame { return c.frame }

// T is a text of the catalogue in the reader's language.
func (c *Call) T(key string, args ...any) string { return c.frame.T(key, args...) }

// Language is the language of the page, "en" or "de".
func (c *Call) Language() string { return c.frame.Lang() }

// Posted returns a member of the call's form. It never reads the query, which other programs may log.
func (c *Call) Posted(name string) string { return string(c.Request().PostArgs().Peek(name)) }

// Address is where the caller comes from, as far as it can be known.
func (c *Call) Address() string { return server.CallOf(c.UserContext()).Address.String() }

// Agent is what the browser says that it is.
func (c *Call) Agent() string { return c.Get(fiber.HeaderUserAgent) }

// Reference is what a person tells the help desk about this call: the request's id, in groups.
func (c *Call) Reference() []string { return Groups(server.CallOf(c.UserContext()).ID[:12]) }

// Reply is one page, ready to be written.
type Reply struct {
	Status     int               // 0: 200
	Template   string            // its name
	Header     map[string]string // more header fields
	Data       any               // embeds Frame
	FormAction string            // origin to which a form of this page may lead, besides our own: that of a login system
	Live       *Live             // the page waits for something; nil: it does not
	Written    bool              // the handler has written the answer itself: a file to download
}

// GoTo answers a form: it sends the browser to a page of ours. to is the path from the root of the server, without a slash
// before it ("mfa/enrollment/scan"). The address is relative, because only the browser knows the whole one.
func (c *Call) GoTo(to string, query url.Values) Reply {
	to = c.frame.Base + to
	if len(query) > 0 {
		to += "?" + query.Encode()
	}
	return c.redirect(to)
}

// Leave sends the browser to an address of somebody else, which the caller has checked.
func (c *Call) Leave(to string) Reply { return c.redirect(to) }

// moved is the page of a redirect, which browsers do not show.
type moved struct {
	Frame
	To string
}

func (c *Call) redirect(to string) Reply {
	return Reply{
		Status:   http.StatusSeeOther,
		Template: "moved.html",
		Header:   map[string]string{fiber.HeaderLocation: to},
		Data:     moved{c.frame, to},
	}
}
