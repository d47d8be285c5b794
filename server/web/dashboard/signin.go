package dashboard

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"tutela/device/passkey"
	"tutela/recovery/admin/signin"
	"tutela/recovery/user"
	"tutela/server/web/page"
	"tutela/storage"
)

func (p *pages) mountSignIn() {
	app := p.kit.App()
	p.set.Get(app, "/admin", p.front)
	p.set.Post(app, "/admin", p.signIn)
	p.form("/admin/signout", "", p.signOut, p.home)
	p.form("/admin/prove", "", p.prove, func(c *Call) (page.Reply, error) { return p.askToProve(c.Call) })
}

// person returns the frame of a page for somebody who is not signed in.
func person(c *page.Call) page.Frame {
	f := c.Frame()
	f.Body = "person"
	return f
}

// nameOf returns how an admin is called.
func nameOf(u user.User) string { return cmp.Or(u.Name, u.Email, u.ID) }

// front shows the sign-in page, or leads on who is signed in.
func (p *pages) front(c *page.Call) (page.Reply, error) {
	_, err := p.session(c, true)
	if errors.Is(err, signin.ErrNoSession) {
		return p.askToSignIn(c, false)
	}
	if err != nil {
		return page.Reply{}, err
	}
	return p.leadOn(c), nil
}

// leadOn leads to the first section.
func (p *pages) leadOn(c *page.Call) page.Reply { return c.GoTo(p.menu[0].Path, nil) }

func (p *pages) home(c *Call) (page.Reply, error) { return p.leadOn(c.Call), nil }

// asking is a page that asks for a passkey.
type asking struct {
	page.Frame
	Reference []string
	Options   string // of the ceremony, JSON
	Asked     string // the sealed half of it, which comes back
	To        string // the page to go on to, from the root of the server
	Ended     bool   // there was a session, and it has ended
	Undone    bool   // a form was sent, and nothing was done
	Fault     string // below admin_signin.fault in the catalogue: why a passkey was not taken
	Name      string // of the admin who is to show his passkey again
}

// askToSignIn shows the sign-in page in the place of the one that was asked for.
func (p *pages) askToSignIn(c *page.Call, ended bool) (page.Reply, error) {
	to := ""
	if c.Method() == fiber.MethodGet {
		to = below(strings.TrimPrefix(c.OriginalURL(), "/"))
	}
	a := asking{To: to, Ended: ended, Undone: c.Method() != fiber.MethodGet}
	status := http.StatusUnauthorized
	if c.Path() == "/admin" && c.Method() == fiber.MethodGet {
		status = http.StatusOK
		a.To = below(c.Query("to"))
		if a.Fault = told(c, "signin"); a.Fault != "" {
			status = http.StatusForbidden
		}
	}
	return p.ask(c, a, status, "signin.html")
}

// ask shows a page that asks for a passkey.
func (p *pages) ask(c *page.Call, a asking, status int, template string) (page.Reply, error) {
	a.Frame = person(c)
	a.Reference = c.Reference()
	options, sealed, err := p.SignIn.Ask()
	if err != nil {
		return page.Reply{}, err
	}
	a.Options = string(options)
	a.Asked = sealed
	return page.Reply{Status: status, Template: template, Data: a}, nil
}

// below returns an address below /admin to go on to, or the dashboard's own: no link leads a browser away from here.
func below(to string) string {
	u, err := url.Parse(to)
	clean := err == nil && u.Scheme == "" && u.Host == "" && !strings.Contains(to, "..") && !strings.ContainsAny(to, "\\\r\n")
	if !clean || !strings.HasPrefix(to, "admin/") || strings.HasPrefix(to, "admin/invite") {
		return "admin"
	}
	return to
}

// fault is an error of a passkey, and its section below admin_signin.fault.
type fault struct {
	err  error
	name string
}

// faults are the errors of a passkey that a person can do something about, each with its section below admin_signin.fault.
var faults = []fault{
	{passkey.ErrCeremony, "late"},
	{passkey.ErrNoRole, "no_role"},
	{passkey.ErrCopied, "copied"},
	{passkey.ErrBound, "copied"},
	{passkey.ErrRefused, "unknown"},
	{passkey.ErrResponse, "unknown"},
	{signin.ErrSomebodyElse, "other"},
}

// faultOf names an error of a passkey; "" is none of them.
func faultOf(err error) string {
	for _, f := range faults {
		if errors.Is(err, f.err) {
			return f.name
		}
	}
	if storage.CodeOf(err) == storage.Limited {
		return "busy"
	}
	return ""
}

// credential returns what the browser's authenticator has answered.
func credential(c *page.Call) passkey.Response {
	sent := []byte(c.Posted("credential"))
	if !json.Valid(sent) {
		return passkey.Response("{}")
	}
	return sent
}

func (p *pages) signIn(c *page.Call) (page.Reply, error) {
	to := below(c.Posted("to"))
	secret, err := p.SignIn.SignIn(c.UserContext(), c.Posted("asked"), credential(c), from(c))
	if err != nil {
		return p.askAgain(c, err, "signin", c.GoTo("admin", url.Values{"to": {to}}))
	}
	p.letIn(c, secret)
	return c.GoTo(to, nil), nil
}

// askAgain leads to a page that asks for a passkey once more, and says why the one before was not taken.
func (p *pages) askAgain(c *page.Call, err error, at string, to page.Reply) (page.Reply, error) {
	fault := faultOf(err)
	if fault == "" {
		return page.Reply{}, err
	}
	if refused := c.Charge(err); storage.CodeOf(refused) != storage.CodeOf(err) {
		return page.Reply{}, refused
	}
	c.Tell("admin "+at, fault)
	return to, nil
}

// told returns why the passkey before was not taken, below admin_signin.fault; "": there was none, or it was taken.
func told(c *page.Call, at string) string {
	words := c.Told("admin " + at)
	if len(words) != 1 {
		return ""
	}
	known := []string{"busy", "name", "known"}
	for _, f := range faults {
		known = append(known, f.name)
	}
	if !slices.Contains(known, words[0]) {
		return ""
	}
	return words[0]
}

// letIn gives the browser a session. Its forms are of another token from now on.
func (p *pages) letIn(c *page.Call, secret string) {
	c.Renew()
	c.Keep(sessionCookie, secret, signin.MostLife)
}

func (p *pages) signOut(c *Call) (page.Reply, error) {
	if err := p.SignIn.SignOut(c.UserContext(), c.Session.secret, from(c.Call)); err != nil {
		return page.Reply{}, err
	}
	c.Forget(sessionCookie)
	c.Renew()
	return c.GoTo("admin", nil), nil
}

// askToProve asks an admin who is signed in for his passkey once more.
//
// Errors: signin.ErrNoSession.
func (p *pages) askToProve(c *page.Call) (page.Reply, error) {
	s, err := p.session(c, true)
	if errors.Is(err, signin.ErrNoSession) {
		return p.askToSignIn(c, true)
	}
	if err != nil {
		return page.Reply{}, err
	}
	status := http.StatusForbidden
	fault := ""
	if c.Path() == "/admin/prove" {
		if fault = told(c, "prove"); fault == "" {
			status = http.StatusOK
		}
	}
	to := below(cmp.Or(c.Query("to"), strings.TrimPrefix(c.Path(), "/")))
	a := asking{
		To:     to,
		Name:   nameOf(s.User),
		Undone: c.Method() != fiber.MethodGet,
		Fault:  fault,
	}
	return p.ask(c, a, status, "prove.html")
}

func (p *pages) prove(c *Call) (page.Reply, error) {
	to := below(c.Posted("to"))
	err := p.SignIn.ProveAgain(c.UserContext(), c.Session.secret, c.Posted("asked"), credential(c.Call), from(c.Call))
	if errors.Is(err, signin.ErrNoSession) {
		return page.Reply{}, err
	}
	if err != nil {
		return p.askAgain(c.Call, err, "prove", c.GoTo("admin/prove", url.Values{"to": {to}}))
	}
	return c.GoTo(to, nil), nil
}
