package page

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"tutela/storage"
)

//go:embed parts/*.html
var parts embed.FS

// Set is the pages of one package: its templates, with the parts that all pages share.
type Set struct {
	kit       *Kit
	templates *template.Template
	trouble   func(*Call, error) (Reply, error)
	htmx      bool
	passkeys  bool
}

// SetOption changes a set.
type SetOption func(*Set)

// WithTrouble has errors of the set's handlers become pages of its own. show returns an error that the kit is to show.
func WithTrouble(show func(*Call, error) (Reply, error)) SetOption {
	return func(s *Set) { s.trouble = show }
}

// WithHtmx loads htmx on the set's pages.
func WithHtmx() SetOption { return func(s *Set) { s.htmx = true } }

// WithPasskeys loads on the set's pages what makes and uses passkeys.
func WithPasskeys() SetOption { return func(s *Set) { s.passkeys = true } }

// Set makes a set of the templates in pages/*.html of files. It panics when they cannot be parsed, as template.Must does: they are
// built into the binary, and every start parses them.
func (k *Kit) Set(files fs.FS, options ...SetOption) *Set {
	s := &Set{kit: k, templates: Templates(files)}
	for _, option := range options {
		option(s)
	}
	return s
}

// Templates parses the templates in pages/*.html of files, with the parts that all pages share.
func Templates(files fs.FS) *template.Template {
	t := template.Must(template.New("").Funcs(template.FuncMap{
		"groups": Groups,
		"digits": Digits,
		"spelt":  Spelt,
		"short":  Short,
		"part":   part,
	}).ParseFS(parts, "parts/*.html"))
	return template.Must(t.ParseFS(files, "pages/*.html"))
}

// Handler answers one call for a page. An error becomes a page too.
type Handler func(*Call) (Reply, error)

// Get mounts a page.
func (s *Set) Get(app fiber.Router, path string, show Handler) {
	app.Get(path, s.handle(show, false))
}

// Post mounts what a posted form does. It is called only for a form that one of our pages made for this browser. act answers with
// [Call.GoTo] or [Call.Leave], whatever has become of the form, and has the page say it ([Call.Tell]): a page that answers a form itself
// cannot be loaded again, and Back to it asks whether to send the form once more.
func (s *Set) Post(app fiber.Router, path string, act Handler) {
	app.Post(path, s.handle(act, true))
}

func (s *Set) handle(show Handler, posted bool) fiber.Handler {
	return func(ctx *fiber.Ctx) error {
		c := &Call{Ctx: ctx, kit: s.kit, set: s}
		c.know()
		c.frame = c.newFrame()
		c.frame.htmx = s.htmx
		c.frame.pass = s.passkeys
		r, err := s.answer(c, show, posted)
		if posted && err == nil {
			c.stepped()
		}
		if errors.Is(err, storage.ErrHeld) {
			return err
		}
		if err != nil {
			r = c.troubleOf(err)
		}
		return c.write(r)
	}
}

func (s *Set) answer(c *Call, show Handler, posted bool) (Reply, error) {
	if posted {
		if err := c.checkForm(); err != nil {
			return Reply{}, err
		}
	}
	return show(c)
}

// write sends a page.
func (c *Call) write(r Reply) error {
	c.secure(r)
	for name, value := range r.Header {
		c.Set(name, value)
	}
	if r.Written {
		return nil
	}
	var body bytes.Buffer
	if err := c.set.templates.ExecuteTemplate(&body, r.Template, r.Data); err != nil {
		return err
	}
	if r.Live != nil && !c.runsScript() {
		c.Set("Refresh", strconv.Itoa(r.Live.Again)+"; url="+c.frame.Base+r.Live.Address)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	c.Set(fiber.HeaderContentLanguage, c.Language())
	c.Vary(fiber.HeaderAcceptLanguage, fiber.HeaderCookie)
	status := r.Status
	if status == 0 {
		status = http.StatusOK
	}
	return c.Status(status).Send(body.Bytes())
}

// secure sets the header fields that keep a page to itself.
func (c *Call) secure(r Reply) {
	c.Set(fiber.HeaderContentSecurityPolicy, c.policy(r))
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer") // the address of a page may hold a ticket or a request
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// policy lets a page load our own style, script and pictures, and send its forms and its script's calls to us alone. htmx makes
// HTML of strings, which Trusted Types refuse: where it is loaded, they still keep strings from becoming script.
func (c *Call) policy(r Reply) string {
	trusted := "'none'"
	if c.set.htmx {
		trusted = "default"
	}
	action := strings.TrimSpace("'self' " + r.FormAction)
	return "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action " + action +
		"; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types " + trusted
}
