// Package own serves a person's own page (/mfa/me): her devices, her recovery code, and what happened lately.
//
// The first page answers "if I lose it?". What adds or removes something has a page of its own, which says what will happen before it
// does; where what she has proven is not enough, it leads to the page that asks for more, and back. All of it works without script, but
// for passkeys, which browsers make for scripts alone.
package own

import (
	"embed"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/own"
	"tutela/server/web/page"
	"tutela/storage"
	"tutela/storage/audit"
)

//go:embed pages/*.html
var files embed.FS

// Services are what the pages call.
type Services struct {
	Own   *own.Service
	Visit func(c *page.Call) login.Visit // what the challenge page knows the browser of a call by
	Now   func() time.Time               // the store's time
}

// pages are the mounted pages.
type pages struct {
	Services
	kit *page.Kit
}

// The cookie of a session, and how long a browser keeps it: the store ends the session itself.
const (
	sessionCookie = "tutela_own"
	sessionLife   = 20 * time.Minute
)

// Mount puts the pages on the kit's server.
func Mount(kit *page.Kit, services Services) {
	p := &pages{services, kit}
	set := kit.Set(files, page.WithTrouble(p.trouble), page.WithPasskeys())
	app := kit.App()
	set.Get(app, "/mfa/me", p.open)
	set.Get(app, "/mfa/me/lately", p.lately)
	set.Get(app, "/mfa/me/rename", p.showRename)
	set.Post(app, "/mfa/me/rename", p.rename)
	set.Get(app, "/mfa/me/remove", p.showRemove)
	set.Post(app, "/mfa/me/remove", p.remove)
	set.Get(app, "/mfa/me/add", p.showAdd)
	set.Post(app, "/mfa/me/add", p.add)
	set.Get(app, "/mfa/me/added", p.showAdded)
	set.Post(app, "/mfa/me/add/app", p.confirmApp)
	set.Post(app, "/mfa/me/add/passkey", p.addPasskey)
	set.Get(app, "/mfa/me/code", p.showCode)
	set.Post(app, "/mfa/me/code", p.confirmCode)
	set.Post(app, "/mfa/me/code/new", p.newCode)
	set.Post(app, "/mfa/me/code/keep", p.keepCode)
	set.Post(app, "/mfa/me/practise", p.practise)
	set.Get(app, "/mfa/me/not-me", p.showNotMe)
	set.Post(app, "/mfa/me/not-me", p.notMe)
	set.Post(app, "/mfa/me/forget", p.forget)
	set.Get(app, "/mfa/me/prove", p.showProve)
	set.Post(app, "/mfa/me/prove/number", p.ring)
	set.Post(app, "/mfa/me/prove/code", p.proveByCode)
	set.Post(app, "/mfa/me/prove/otp", p.proveByOTP)
	set.Post(app, "/mfa/me/prove/passkey", p.proveByPasskey)
	set.Post(app, "/mfa/me/leave", p.leave)
	set.Get(app, "/mfa/me/left", p.left)
	set.Get(app, "/mfa/me/gone", p.gone)
	// A browser may come back to the address of a form, by GET.
	for _, path := range []string{
		"add/app", "add/passkey", "code/new", "code/keep", "practise", "forget", "prove/number", "prove/code", "prove/otp", "prove/passkey", "leave",
	} {
		set.Get(app, "/mfa/me/"+path, func(c *page.Call) (page.Reply, error) { return c.GoTo("mfa/me", nil), nil })
	}
}

func token(c *page.Call) string { return c.Kept(sessionCookie) }

func actor(c *page.Call) audit.Actor { return audit.ByUser().WithOrigin(c.Address(), c.Agent()) }

// plain is a page that shows nothing but its texts.
type plain struct {
	page.Frame
	Reference []string
}

// trouble shows that the page is closed, and leads to what asks for more proof.
func (p *pages) trouble(c *page.Call, err error) (page.Reply, error) {
	switch {
	case errors.Is(err, own.ErrSession):
		c.Forget(sessionCookie)
		if c.Method() == fiber.MethodPost {
			return c.GoTo("mfa/me", nil), nil // which says it
		}
		return page.Reply{Status: http.StatusForbidden, Template: "closed.html", Data: plain{c.Frame(), c.Reference()}}, nil
	case errors.Is(err, own.ErrStepUp):
		return c.GoTo("mfa/me/prove", nil), nil
	case errors.Is(err, device.ErrNoEnrollment), errors.Is(err, own.ErrNoLine):
		if c.Method() == fiber.MethodPost {
			return c.GoTo("mfa/me/gone", nil), nil
		}
		return page.Reply{Status: http.StatusNotFound, Template: "gone.html", Data: plain{c.Frame(), c.Reference()}}, nil
	}
	return page.Reply{}, err
}

// open shows the first page. A browser that comes from a finished request gets its session first.
func (p *pages) open(c *page.Call) (page.Reply, error) {
	if c.Query("request") != "" {
		if c.Ahead() {
			return c.NotYet(), nil
		}
		opened, err := p.Own.OpenFor(c.UserContext(), p.Visit(c), actor(c))
		if err == nil {
			c.Keep(sessionCookie, opened, sessionLife)
			return c.GoTo("mfa/me", nil), nil // the request leaves the address
		}
		// Loaded again: it is open already.
		if _, open := p.Own.Look(c.UserContext(), token(c)); open == nil {
			return c.GoTo("mfa/me", nil), nil
		}
		return page.Reply{}, closedBy(err)
	}
	return p.show(c)
}

// gone says that what a form was about is there no longer.
func (p *pages) gone(c *page.Call) (page.Reply, error) {
	if _, err := p.Own.Look(c.UserContext(), token(c)); err != nil {
		return page.Reply{}, err
	}
	return page.Reply{}, own.ErrNoLine
}

// What a page says of the form before. The page that asks for more proof is told first where it was typed.
const (
	saidRight   = "right"
	saidWrong   = "wrong"
	saidTypo    = "typo"
	saidWait    = "wait" // too often
	saidNoPhone = "no_phone"
	saidLast    = "last" // the last factor stays
	saidEnough  = "enough"
	saidNotHere = "not_here"
)

// told returns the one word that the page at an address says of the form before; "": nothing.
func told(c *page.Call, at string) string {
	if words := c.Told("own " + at); len(words) == 1 {
		return words[0]
	}
	return ""
}

// closedBy tells what closes the page from what fails.
func closedBy(err error) error {
	switch storage.CodeOf(err) {
	case storage.NotFound, storage.Denied, storage.Expired, storage.Invalid:
		return own.ErrSession
	default:
		return err
	}
}

// overview is the first page.
type overview struct {
	page.Frame
	own.Page
	Account   string
	Lines     []line
	More      bool
	Practised string // "right", "wrong" or "wait"; "": she has not
}

func (p *pages) show(c *page.Call) (page.Reply, error) {
	var o overview
	state, err := p.Own.Look(c.UserContext(), token(c))
	if err != nil {
		return page.Reply{}, err
	}
	lines, more, err := p.Own.Lately(c.UserContext(), token(c), "")
	if err != nil {
		return page.Reply{}, err
	}
	o.Frame = c.Frame()
	o.Body = "person home"
	o.Page = state
	o.Account = account(state)
	o.Lines = linesOf(o.Frame, lines)
	o.More = more
	o.Practised = told(c, "practise")
	r := page.Reply{Template: "me.html", Data: o, FormAction: originOf(state.Back)}
	if o.Practised == saidWrong || o.Practised == saidWait {
		r.Status = http.StatusBadRequest
	}
	return r, nil
}

// account is the person, as people write her.
func account(p own.Page) string {
	for _, label := range []string{p.User.Email, p.User.Name, p.User.ID} {
		if label != "" {
			return label
		}
	}
	return ""
}

// originOf returns the origin of an address.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// earlier is the page of older lines.
type earlier struct {
	page.Frame
	Lines []line
	More  bool
}

// Last is the oldest line of the page.
func (e earlier) Last() string { return lastOf(e.Lines) }

// Last is the oldest line of the page.
func (o overview) Last() string { return lastOf(o.Lines) }

func lastOf(lines []line) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1].ID
}

func (p *pages) lately(c *page.Call) (page.Reply, error) {
	lines, more, err := p.Own.Lately(c.UserContext(), token(c), c.Query("before"))
	f := c.Frame()
	f.Body = "person home"
	return page.Reply{Template: "lately.html", Data: earlier{f, linesOf(f, lines), more}}, err
}

// leave ends the session, and sends the browser back to the login system.
func (p *pages) leave(c *page.Call) (page.Reply, error) {
	out, err := p.Own.SignOut(c.UserContext(), token(c))
	if err != nil {
		return page.Reply{}, err
	}
	c.Forget(sessionCookie)
	c.Renew()
	to := backTo(out)
	if to == "" {
		return c.GoTo("mfa/me/left", nil), nil
	}
	r := c.Leave(to)
	r.FormAction = originOf(out.Redirect)
	return r, nil
}

// left says that the session is over, to who has nowhere to go.
func (p *pages) left(c *page.Call) (page.Reply, error) {
	return page.Reply{Template: "left.html", Data: plain{c.Frame(), c.Reference()}}, nil
}

// backTo is the address by which a browser leaves, with the login system's state; "" when there is none to go to.
func backTo(out own.Exit) string {
	to, err := url.Parse(out.Redirect)
	if out.Redirect == "" || err != nil {
		return ""
	}
	query := to.Query()
	query.Set("state", out.State)
	to.RawQuery = query.Encode()
	return to.String()
}

// about is a page about one of the user's devices.
type about struct {
	page.Frame
	own.Device
	Typed  string
	Wrong  string // what is wrong with what was typed, or why it cannot be
	ToSave bool   // a recovery code has come with it
	Only   bool   // it is what she has proven, so the page closes with it
}

// device returns one of the user's devices, and the page that it is on.
func (p *pages) device(c *page.Call, id string) (about, own.Page, error) {
	state, err := p.Own.Look(c.UserContext(), token(c))
	if err != nil {
		return about{}, state, err
	}
	at := slices.IndexFunc(state.Devices, func(d own.Device) bool { return d.ID == id })
	if at < 0 {
		return about{}, state, device.ErrNoEnrollment
	}
	d := state.Devices[at]
	of := about{
		Frame:  c.Frame(),
		Device: d,
		Typed:  d.Name,
		Only:   d.ID == state.Proven.By,
	}
	return of, state, nil
}

func (p *pages) showRename(c *page.Call) (page.Reply, error) {
	d, _, err := p.device(c, c.Query("id"))
	r := page.Reply{Template: "rename.html"}
	if words := c.Told("own rename " + d.ID); err == nil && len(words) == 1 {
		d.Typed = words[0]
		d.Wrong = c.T("own.rename.wrong")
		r.Status = http.StatusBadRequest
	}
	r.Data = d
	return r, err
}

func (p *pages) rename(c *page.Call) (page.Reply, error) {
	id := c.Posted("id")
	err := p.Own.Rename(c.UserContext(), token(c), id, c.Posted("name"), actor(c))
	if !errors.Is(err, device.ErrName) {
		return c.GoTo("mfa/me", nil), err
	}
	c.Tell("own rename "+id, strings.ToValidUTF8(c.Posted("name"), ""))
	return c.GoTo("mfa/me/rename", url.Values{"id": {id}}), nil
}

func (p *pages) showRemove(c *page.Call) (page.Reply, error) {
	d, state, err := p.device(c, c.Query("id"))
	if err != nil {
		return page.Reply{}, err
	}
	if !state.Strong {
		return proveFor(c, "remove", d.ID), nil
	}
	r := page.Reply{Template: "remove.html"}
	if told(c, "remove "+d.ID) == saidLast {
		d.Wrong = c.T("own.remove.last")
		r.Status = http.StatusConflict
	}
	r.Data = d
	return r, nil
}

func (p *pages) remove(c *page.Call) (page.Reply, error) {
	id := c.Posted("id")
	err := p.Own.Remove(c.UserContext(), token(c), id, actor(c))
	switch {
	case errors.Is(err, own.ErrStepUp):
		return proveFor(c, "remove", id), nil
	case errors.Is(err, device.ErrLastFactor):
		c.Tell("own remove "+id, saidLast)
		return c.GoTo("mfa/me/remove", url.Values{"id": {id}}), nil
	}
	return c.GoTo("mfa/me", nil), err
}

func (p *pages) practise(c *page.Call) (page.Reply, error) {
	right, err := p.Own.Practise(c.UserContext(), token(c), c.Posted("code"), actor(c))
	said := saidWrong
	switch {
	case storage.CodeOf(err) == storage.Limited:
		said = saidWait
	case err != nil:
		return page.Reply{}, err
	case right:
		said = saidRight
	}
	c.Tell("own practise", said)
	return c.GoTo("mfa/me", nil), nil
}

func (p *pages) forget(c *page.Call) (page.Reply, error) {
	err := p.Own.ForgetBrowsers(c.UserContext(), token(c))
	return c.GoTo("mfa/me", nil), err
}

// denying is the page on which a person says that it was not she, and what came of it.
type denying struct {
	page.Frame
	ID     string
	Line   *line
	Denial own.Denial
	Phone  string
	More   bool // too much was said in this visit
}

func (p *pages) showNotMe(c *page.Call) (page.Reply, error) {
	id := c.Query("line")
	state, err := p.Own.Look(c.UserContext(), token(c))
	if err != nil {
		return page.Reply{}, err
	}
	d, about, err := p.Own.Denial(c.UserContext(), token(c), id)
	shown := denying{Frame: c.Frame(), ID: id, Denial: d}
	if about != nil {
		one := linesOf(shown.Frame, []own.Line{*about})[0]
		shown.Line = &one
	}
	switch {
	case err == nil:
		return page.Reply{Template: "denied.html", Data: shown}, nil
	case !errors.Is(err, own.ErrNoLine):
		return page.Reply{}, err
	case !state.Strong:
		return proveFor(c, "not-me", id), nil
	}
	r := page.Reply{Template: "deny.html"}
	if shown.More = told(c, "not-me "+id) == saidEnough; shown.More {
		r.Status = http.StatusTooManyRequests
	}
	r.Data = shown
	return r, nil
}

func (p *pages) notMe(c *page.Call) (page.Reply, error) {
	id := c.Posted("line")
	_, err := p.Own.NotMe(c.UserContext(), token(c), id, actor(c))
	switch {
	case errors.Is(err, own.ErrStepUp):
		return proveFor(c, "not-me", id), nil
	case errors.Is(err, own.ErrTooMuch):
		c.Tell("own not-me "+id, saidEnough)
		err = nil
	}
	return c.GoTo("mfa/me/not-me", url.Values{"line": {id}}), err
}
