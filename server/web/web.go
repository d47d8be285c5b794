// Package web serves the pages that people see. They work in any browser, on a bad network, at 320 px and without script.
//
// Their one script makes them nicer, but they work without it. Their Content-Security-Policy lets a browser run only that
// script, and load only our own files.
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
	Now     func() time.Time // the store's time
}

// web is the mounted pages.
type web struct {
	Services
	server *server.Server
	name   string // of the organisation, as people know it
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
	app.Get("/mfa/page.js", asset("text/javascript; charset=utf-8", script))
	app.Get("/mfa/mark.svg", asset("image/svg+xml", mark))
	w.mountHome(app)
	w.mountHelp(app)
	w.mountEnrollment(app)
}

//go:embed pages/*.html
var files embed.FS

var (
	//go:embed style.css
	style []byte
	//go:embed page.js
	script []byte
	//go:embed mark.svg
	mark []byte
)

// versions name files by their content, so that browsers may keep them for ever.
var versions = map[string]string{"style.css": versionOf(style), "page.js": versionOf(script)}

func versionOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:6])
}

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"groups":  groups,
	"instant": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"day":     func(t time.Time) string { return t.UTC().Format("Monday, 2 January 2006, 15:04 MST") },
	"date":    func(t time.Time) string { return t.UTC().Format("2 January 2006") },
	"short":   short,
	"version": func(name string) string { return versions[name] },
}).ParseFS(files, "pages/*.html"))

// asset serves a file that is built into the binary.
func asset(kind string, content []byte) fiber.Handler {
	return func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderContentType, kind)
		c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
		return c.Send(content)
	}
}

// policy lets a page load our own style, script and pictures, and send its form and its script's calls to us alone.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

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
	asked := server.CallOf(c.UserContext()).Path() // as the browser sees it: the browser resolves links by it
	_, below, _ := strings.Cut(asked, "/mfa/")
	return frame{Organisation: w.name, Root: strings.Repeat("../", strings.Count(below, "/"))}
}

// handle makes a Fiber handler from a page. An error becomes a page too.
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
		c.Set(fiber.HeaderXFrameOptions, "DENY")
		c.Set(fiber.HeaderReferrerPolicy, "no-referrer") // the address of a page holds its ticket
		c.Set(fiber.HeaderCacheControl, "no-store")
		return c.Status(r.status).Send(body.Bytes())
	}
}

// troubled is a page about something that went wrong.
type troubled struct {
	frame
	Reference []string // what to tell the help desk: the request's id, in groups
}

// trouble returns the page for an error: what happened, what did not, what to do.
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

// shortest is how many characters of a name fit into the narrowest line.
const shortest = 40

// short cuts a name that is too long for a line, and marks the cut.
func short(name string) string {
	characters := []rune(name)
	if len(characters) <= shortest {
		return name
	}
	return string(characters[:shortest]) + "…"
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
