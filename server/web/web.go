// Package web is what people see: pages that work in any browser, on a bad network, at 320 px and without script.
//
// The pages have no script at all, so nothing in them can be made to run one. What they may load is said in their
// Content-Security-Policy.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/device"
	"tutela/server"
	"tutela/storage"
)

// Services are what the pages call.
type Services struct {
	Devices *device.Service
	Now     func() time.Time // the house's time
}

// web is the mounted pages.
type web struct {
	Services
	server *server.Server
	name   string // the organisation's, as people know it
	site   site
}

// Mount puts the pages on the server.
func Mount(s *server.Server, services Services) {
	w := &web{
		Services: services,
		server:   s,
		name:     services.Devices.Issuer(),
		site:     siteOf(services.Devices.PublicURL()),
	}
	app := s.App()
	app.Get("/mfa/style.css", asset("text/css; charset=utf-8", style))
	app.Get("/mfa/mark.svg", asset("image/svg+xml", mark))
	w.mountHome(app)
	w.mountEnrollment(app)
}

//go:embed pages/*.html
var files embed.FS

var (
	//go:embed style.css
	style []byte
	//go:embed mark.svg
	mark []byte
)

// styleVersion names the style sheet by its content, so that browsers may keep it for ever.
var styleVersion = func() string {
	sum := sha256.Sum256(style)
	return hex.EncodeToString(sum[:6])
}()

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"groups":  groups,
	"instant": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"day":     func(t time.Time) string { return t.UTC().Format("Monday, 2 January 2006, 15:04 MST") },
	"style":   func() string { return styleVersion },
}).ParseFS(files, "pages/*.html"))

// asset serves a file of the binary's.
func asset(kind string, content []byte) fiber.Handler {
	return func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderContentType, kind)
		c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
		return c.Send(content)
	}
}

// policy is all that a page may do: our own style and pictures, our own pages in a frame and as the target of a form.
const policy = "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'self'"

// reply is one page, ready to be written.
type reply struct {
	status int
	page   string // name of the template
	header map[string]string
	data   any
}

// frame is what every page has around it.
type frame struct {
	Organisation string // its name
	Root         string // from this page to /mfa/, for links that hold under any public URL
}

func (w *web) frame(c *fiber.Ctx) frame {
	asked := server.CallOf(c.UserContext()).Path() // as the browser sees it, which resolves links by it
	_, below, _ := strings.Cut(asked, "/mfa/")
	return frame{Organisation: w.name, Root: strings.Repeat("../", strings.Count(below, "/"))}
}

// handle makes a Fiber handler of a page. What goes wrong becomes a page too.
func (w *web) handle(show func(*fiber.Ctx) (reply, error)) fiber.Handler {
	return func(c *fiber.Ctx) error {
		r, err := show(c)
		if errors.Is(err, storage.ErrHeld) {
			return err
		}
		if err != nil {
			r = w.trouble(c, err)
		}
		var body bytes.Buffer
		if err := pages.ExecuteTemplate(&body, r.page, r.data); err != nil {
			return err
		}
		for name, value := range r.header {
			c.Set(name, value)
		}
		c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
		c.Set(fiber.HeaderContentSecurityPolicy, policy)
		c.Set(fiber.HeaderXFrameOptions, "SAMEORIGIN")
		c.Set(fiber.HeaderReferrerPolicy, "no-referrer") // the address of a page holds its ticket
		c.Set(fiber.HeaderCacheControl, "no-store")
		return c.Status(r.status).Send(body.Bytes())
	}
}

// troubled is a page about something that went wrong.
type troubled struct {
	frame
	Reference []string // what to say at the help desk: the request's id, in groups
}

// trouble is the page for an error: what happened, what did not, what to do.
func (w *web) trouble(c *fiber.Ctx, err error) reply {
	call := server.CallOf(c.UserContext())
	if errors.Is(err, device.ErrTicket) {
		if tooMany := w.server.AddressLimit().Charge(call); tooMany != nil {
			err = tooMany
		}
	}
	r := reply{header: map[string]string{}, data: troubled{w.frame(c), groups(call.ID[:12])}}
	switch {
	case errors.Is(err, device.ErrTicket):
		r.status = http.StatusNotFound
		r.page = "gone.html"
	case errors.Is(err, server.ErrTooManyCalls):
		r.status = http.StatusTooManyRequests
		r.page = "busy.html"
		r.header[fiber.HeaderRetryAfter] = strconv.Itoa(int(storage.RetryAfter(err)/time.Second) + 1)
	case storage.CodeOf(err) == storage.Unavailable:
		r.status = http.StatusServiceUnavailable
		r.page = "busy.html"
		r.header[fiber.HeaderRetryAfter] = "5"
	case storage.CodeOf(err) == storage.OutcomeUnknown:
		r.status = http.StatusServiceUnavailable
		r.page = "unsure.html"
		r.header[fiber.HeaderRetryAfter] = "5"
	default:
		call.Failed(err)
		r.status = http.StatusInternalServerError
		r.page = "broken.html"
	}
	return r
}

// groups cuts a code into groups of four, for eyes and pens.
func groups(code string) []string {
	var list []string
	for len(code) > 4 {
		list = append(list, code[:4])
		code = code[4:]
	}
	return append(list, code)
}
