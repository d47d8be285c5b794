// Package dashboard serves the pages of admins, below /admin.
//
// A page is mounted with the scope that it asks for ([pages.get], [pages.post]): whoever is not signed in sees the sign-in page in its
// place, and whoever lacks the scope is told so. What a page does to a user is asked once more by the domain.
//
// Signing in takes script, for that is how browsers show passkeys. All else works without.
package dashboard

import (
	"context"
	"embed"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/device"
	"tutela/device/passkey"
	"tutela/device/push"
	"tutela/device/push/provider"
	"tutela/recovery/admin"
	"tutela/recovery/admin/signin"
	"tutela/recovery/user"
	"tutela/recovery/webhook"
	"tutela/server/access"
	"tutela/server/web/page"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
)

//go:embed pages/*.html
var files embed.FS

// Services are what the pages call.
type Services struct {
	SignIn  *signin.Service
	Admins  *admin.Service
	Access  *access.Service          // clients
	Devices *device.Service          // only for the links of tickets
	Checks  func() map[string]string // what the server looks at, by name: "ok", or what is wrong
	Push    *provider.Service        // credentials for push services
	Gateway *push.Gateway            // only for which services the command line has credentials
	Hooks   *webhook.Service
	Outbox  func(context.Context) (outbox.Status, error)
	TLSEnd  func() time.Time // until when the server's certificate counts; the zero time: there is none
	Store   *storage.Store   // only for the event log, and how it stands
	Now     func() time.Time // the store's time
}

// pages are the mounted pages.
type pages struct {
	Services
	kit  *page.Kit
	set  *page.Set
	menu []link // to the sections that are mounted
}

// Mount puts the pages on the kit's server.
func Mount(kit *page.Kit, services Services) {
	p := &pages{Services: services, kit: kit}
	p.set = kit.Set(files, page.WithPasskeys(), page.WithTrouble(p.trouble))
	p.mountSignIn()
	p.mountInvite()
	p.mountOverview()
	p.mountUsers()
	p.mountEvents()
	p.mountClients()
	p.mountWebhooks()
	p.mountSettings()
	p.mountPush()
	p.mountTeam()
	p.menu = p.sections()
}

// Session is an admin who is signed in, in the browser that asks.
type Session struct {
	signin.Session
	secret string
	from   audit.Actor // where the call comes from
}

// Actor returns the admin, with the scopes of his session and where his call comes from.
func (s Session) Actor() audit.Actor { return s.Session.Actor().WithOrigin(s.from.Origin()) }

// Has reports whether the session has a scope.
func (s Session) Has(scope string) bool { return s.Actor().Has(scope) }

// Call is a call of an admin who is signed in.
type Call struct {
	*page.Call
	Session Session
	pages   *pages
}

// Handler answers a call of an admin who is signed in.
type Handler func(*Call) (page.Reply, error)

// get mounts a page for those who have a scope; "" is everybody who is signed in.
func (p *pages) get(path, scope string, show Handler) {
	p.set.Get(p.kit.App(), path, func(c *page.Call) (page.Reply, error) { return p.answer(c, scope, show) })
}

// form mounts what a form does, and the page that a browser sees which comes back to the form's address.
func (p *pages) form(path, scope string, act, again Handler) {
	p.post(path, scope, act)
	p.get(path, scope, again)
}

// post mounts what a form does, as get does. Where a browser may come back to the address of the form, get mounts a page there too.
func (p *pages) post(path, scope string, act Handler) {
	p.set.Post(p.kit.App(), path, func(c *page.Call) (page.Reply, error) { return p.answer(c, scope, act) })
}

// sessionCookie keeps the secret of a session.
const sessionCookie = "tutela_admin"

// answer answers a call of an admin who is signed in and has a scope. What a page asks by itself, with live in its address, keeps no
// session open.
func (p *pages) answer(c *page.Call, scope string, do Handler) (page.Reply, error) {
	s, err := p.session(c, c.Query("live") == "")
	if errors.Is(err, signin.ErrNoSession) {
		return p.askToSignIn(c, c.Kept(sessionCookie) != "")
	}
	if err != nil {
		return page.Reply{}, err
	}
	if scope != "" {
		if err := access.RequireScope(s.Actor(), scope); err != nil {
			return page.Reply{}, err
		}
	}
	return do(&Call{Call: c, Session: s, pages: p})
}

// session returns who is signed in.
//
// Errors: signin.ErrNoSession.
func (p *pages) session(c *page.Call, used bool) (Session, error) {
	secret := c.Kept(sessionCookie)
	if secret == "" {
		return Session{}, signin.ErrNoSession
	}
	open, err := p.SignIn.Open(c.UserContext(), secret, used)
	if errors.Is(err, signin.ErrNoSession) {
		err = c.Charge(err)
	}
	return Session{Session: open, secret: secret, from: from(c)}, err
}

// from is where a call comes from.
func from(c *page.Call) audit.Actor { return audit.ByUser().WithOrigin(c.Address(), c.Agent()) }

// refusal is the page about what an admin may not do.
type refusal struct {
	Shell
	Why     string
	English bool // it is in the domain's words, which are English
	May     bool // the admin may do such things, but not this
}

// trouble shows errors of the domain that admins meet on every page.
func (p *pages) trouble(c *page.Call, err error) (page.Reply, error) {
	isInvite := errors.Is(err, signin.ErrInvite) || errors.Is(err, signin.ErrOtherBrowser)
	switch {
	case isInvite && c.Method() == fiber.MethodPost:
		return c.GoTo("admin/invite", url.Values{"invite": {c.Posted("invite")}}), nil // which says it
	case errors.Is(err, signin.ErrInvite):
		if tooMany := c.Charge(err); !errors.Is(tooMany, signin.ErrInvite) {
			return page.Reply{}, tooMany
		}
		return p.inviteGone(c, http.StatusNotFound, "gone"), nil
	case errors.Is(err, signin.ErrOtherBrowser):
		return p.inviteGone(c, http.StatusForbidden, "other"), nil
	case errors.Is(err, passkey.ErrNoDomain):
		return page.Reply{Status: http.StatusConflict, Template: "nodomain.html", Data: person(c)}, nil
	case errors.Is(err, signin.ErrNoSession):
		return p.askToSignIn(c, true)
	case errors.Is(err, admin.ErrProveAgain):
		return p.askToProve(c)
	}
	s, notSignedIn := p.session(c, false)
	if notSignedIn != nil {
		return page.Reply{}, err
	}
	call := &Call{Call: c, Session: s, pages: p}
	switch code := storage.CodeOf(err); {
	case errors.Is(err, access.ErrScope):
		return call.refused(http.StatusForbidden, c.T("admin_frame.no_scope", c.T("admin_frame.role."+string(s.User.Role)))), nil
	case errors.Is(err, admin.ErrRefused), errors.Is(err, access.ErrBeyondCaller), errors.Is(err, webhook.ErrRefused):
		return call.refusedAs(http.StatusForbidden, err), nil
	case errors.Is(err, user.ErrUnknown):
		return call.refused(http.StatusNotFound, c.T("admin_frame.no_user")), nil
	case code == storage.Invalid, code == storage.Conflict, code == storage.NotFound:
		return call.refusedAs(http.StatusBadRequest, err), nil
	}
	return page.Reply{}, err
}

// refused says why something was not done.
func (c *Call) refused(status int, why string) page.Reply {
	return page.Reply{Status: status, Template: "refused.html", Data: refusal{Shell: c.Shell(""), Why: why, May: status != http.StatusForbidden}}
}

// refusedAs says why something was not done, as the domain says it.
func (c *Call) refusedAs(status int, err error) page.Reply {
	return page.Reply{
		Status:   status,
		Template: "refused.html",
		Data: refusal{
			Shell:   c.Shell(""),
			Why:     err.Error(),
			English: true,
			May:     status != http.StatusForbidden,
		},
	}
}
