package dashboard

import (
	"context"
	"errors"
	"net/http"
	"time"

	"tutela/device"
	"tutela/device/login"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/web/page"
	"tutela/storage"
	"tutela/storage/audit"
)

// act is something that an admin does to a user after a page has asked whether to.
type act struct {
	action admin.Action
	call   audit.Word
	device bool // it is about one of the user's devices
	back   string
	do     func(ctx context.Context, by *admin.Service, p actPage, actor audit.Actor) error
}

// acts are those, by the last part of their address.
var acts = map[string]act{
	"suspend": {admin.Suspend, audit.CallSuspendEnrollment, true, "/mfa", func(ctx context.Context, by *admin.Service, p actPage, actor audit.Actor) error {
		return by.Suspend(ctx, p.Device.ID, actor)
	}},
	"resume": {admin.Resume, audit.CallResumeEnrollment, true, "/mfa", func(ctx context.Context, by *admin.Service, p actPage, actor audit.Actor) error {
		return by.Resume(ctx, p.Device.ID, actor)
	}},
	"remove": {admin.Remove, audit.CallDeleteEnrollment, true, "/mfa", func(ctx context.Context, by *admin.Service, p actPage, actor audit.Actor) error {
		return by.RemoveEnrollment(ctx, p.Device.ID, actor)
	}},
	"unlock": {admin.Unlock, audit.CallUnlock, false, "", func(ctx context.Context, by *admin.Service, p actPage, actor audit.Actor) error {
		return by.Unlock(ctx, p.User.ID, actor)
	}},
	"forget": {admin.Unlock, audit.CallForgetBrowsers, false, "/mfa", func(ctx context.Context, by *admin.Service, p actPage, actor audit.Actor) error {
		return by.ForgetBrowsers(ctx, p.User.ID, actor)
	}},
	"block": {admin.Block, audit.CallBlock, false, "", func(ctx context.Context, by *admin.Service, p actPage, actor audit.Actor) error {
		return by.SetBlocked(ctx, p.User.ID, true, actor)
	}},
	"unblock": {admin.Block, audit.CallUnblock, false, "", func(ctx context.Context, by *admin.Service, p actPage, actor audit.Actor) error {
		return by.SetBlocked(ctx, p.User.ID, false, actor)
	}},
	"role": {admin.SetRole, audit.CallSetRole, false, "", func(ctx context.Context, by *admin.Service, p actPage, actor audit.Actor) error {
		if p.Role == "" {
			return user.ErrRole // no role at all is "none": nothing that was left out takes a role away
		}
		role, err := user.ParseRole(p.Role)
		if err != nil {
			return err
		}
		return by.SetRole(ctx, p.User.ID, role, actor)
	}},
}

// actPage asks whether to do it.
type actPage struct {
	userPage
	Act    string
	Device *device.Enrollment // of an act about one
	Last   bool               // it is the user's last
	Role   string             // as it was sent
}

// Roles are those that can be given.
func (actPage) Roles() []user.Role {
	return []user.Role{user.NoRole, user.Viewer, user.Helpdesk, user.Admin, user.Owner}
}

// askAct finds the act that an address names. why is the reason why the admin may not do it.
//
// Errors: user.ErrUnknown; device.ErrNoEnrollment; admin.ErrProveAgain.
func (p *pages) askAct(c *Call) (a act, asked actPage, why admin.Refusal, err error) {
	a, known := acts[c.Params("act")]
	if !known || a.device != (c.Params("device") != "") {
		return a, asked, "", user.ErrUnknown
	}
	tab := tabDetails
	if a.back != "" {
		tab = tabMFA
	}
	asked.Act = c.Params("act")
	if asked.userPage, err = p.userPage(c, tab); err != nil {
		return a, asked, "", err
	}
	if a.device {
		found := asked.Enrollments.Only(c.Params("device"))
		if len(found) == 0 {
			return a, asked, "", device.ErrNoEnrollment
		}
		asked.Device = found[0]
		asked.Last = len(asked.Enrollments) == 1
	}
	why = asked.Refusals[a.action]
	if why == admin.NotFresh && !c.Session.Fresh {
		return a, asked, "", admin.ErrProveAgain
	}
	return a, asked, why, nil
}

func (p *pages) showAct(c *Call) (page.Reply, error) {
	a, asked, why, err := p.askAct(c)
	if err != nil {
		return page.Reply{}, err
	}
	if why != "" {
		return p.askOther(c, asked.userPage, a.action, why)
	}
	return page.Reply{Template: "user_act.html", Data: asked}, nil
}

func (p *pages) doAct(c *Call) (page.Reply, error) {
	a, asked, why, err := p.askAct(c)
	if err != nil {
		return page.Reply{}, err
	}
	if why != "" {
		return p.askOther(c, asked.userPage, a.action, why)
	}
	asked.Role = c.Posted("role")
	if err := a.do(c.UserContext(), p.Admins, asked, c.Session.Actor().In(a.call)); err != nil {
		return page.Reply{}, err
	}
	return c.GoTo(asked.Path+a.back, nil), nil
}

// ticketPage shows a ticket, once.
type ticketPage struct {
	userPage
	URL string
	QR  page.QR
}

// Made reports whether there is a ticket to show.
func (p ticketPage) Made() bool { return p.URL != "" }

func (p *pages) showTicket(c *Call) (page.Reply, error) {
	u, err := p.userPage(c, tabMFA)
	if err != nil {
		return page.Reply{}, err
	}
	if why := u.Refusals[admin.ChangeFactors]; why != "" {
		return p.askOther(c, u, admin.ChangeFactors, why)
	}
	return page.Reply{Template: "user_ticket.html", Data: ticketPage{userPage: u}}, nil
}

func (p *pages) makeTicket(c *Call) (page.Reply, error) {
	u, err := p.userPage(c, tabMFA)
	if err != nil {
		return page.Reply{}, err
	}
	req := admin.TicketRequest{User: u.User, AllowMultiple: true, NewCode: c.Posted("new_code") != ""}
	secret, err := p.Admins.NewTicket(c.UserContext(), req, c.Session.Actor().In(audit.CallCreateTicket))
	if errors.Is(err, admin.ErrRefused) {
		return p.askOther(c, u, admin.ChangeFactors, u.Refusals[admin.ChangeFactors])
	}
	if err != nil {
		return page.Reply{}, err
	}
	return p.shownTicket(c, u, secret)
}

// shownTicket shows a ticket that was just made.
func (p *pages) shownTicket(c *Call, u userPage, secret string) (_ page.Reply, err error) {
	shown := ticketPage{userPage: u, URL: p.Devices.TicketURL(secret)}
	if shown.QR, err = page.NewQR(shown.URL, c.T("admin_users.ticket.qr", u.Title())); err != nil {
		return page.Reply{}, err
	}
	return page.Reply{Template: "user_ticket.html", Data: shown}, nil
}

// codePage asks for a new recovery code, and shows it once.
type codePage struct {
	userPage
	Code  page.Code
	Shown bool
	Fault string
}

func (p *pages) showCode(c *Call) (page.Reply, error) {
	u, err := p.userPage(c, tabMFA)
	if err != nil {
		return page.Reply{}, err
	}
	if why := u.mayIssue(); why != "" {
		return p.askOther(c, u, admin.ChangeFactors, why)
	}
	return page.Reply{Template: "user_code.html", Data: codePage{userPage: u}}, nil
}

// mayIssue returns why the admin may issue no code.
func (p userPage) mayIssue() admin.Refusal {
	why := p.Refusals[admin.ChangeFactors]
	if why == "" && !p.Session.Actor().Has(admin.ScopeIssueCodes) {
		why = admin.NoCodeScope
	}
	return why
}

func (p *pages) issueCode(c *Call) (page.Reply, error) {
	u, err := p.userPage(c, tabMFA)
	if err != nil {
		return page.Reply{}, err
	}
	shown := codePage{userPage: u}
	code, err := p.Admins.RegenerateOnce(c.UserContext(), u.User.ID, c.Posted("mark"), c.Session.Actor().In(audit.CallRegenerateCode))
	switch {
	case errors.Is(err, admin.ErrCodeChanged):
		shown.Fault = "changed"
		return page.Reply{Status: http.StatusConflict, Template: "user_code.html", Data: shown}, nil
	case errors.Is(err, admin.ErrRefused):
		return p.askOther(c, u, admin.ChangeFactors, u.mayIssue())
	case err != nil:
		return page.Reply{}, err
	}
	shown.Shown = true
	shown.Code = c.Code(u.Title(), string(code), u.Path+"/code")
	return page.Reply{Template: "user_code.html", Data: shown}, nil
}

// callerPage asks a user's phones who rings, and shows what they say.
type callerPage struct {
	userPage
	Check login.CallerShown
	Asked bool
	Again int // seconds until the page asks again
	Fault string
}

// Waits reports whether the answer is still to come.
func (p callerPage) Waits() bool { return p.Asked && p.Check.State == login.CallerPending }

func (p *pages) showCaller(c *Call) (page.Reply, error) {
	u, err := p.userPage(c, tabDetails)
	if err != nil {
		return page.Reply{}, err
	}
	if why := u.Refusals[admin.CheckCaller]; why != "" {
		return p.askOther(c, u, admin.CheckCaller, why)
	}
	return p.callerPage(c, callerPage{userPage: u, Again: page.Soon})
}

func (p *pages) callerPage(c *Call, shown callerPage) (page.Reply, error) {
	ctx := c.UserContext()
	actor := c.Session.Actor()
	var err error
	if shown.Check, shown.Asked, err = p.Admins.LatestCallerCheck(ctx, shown.User.ID, actor); err != nil {
		return page.Reply{}, err
	}
	if shown.Waits() && c.Query("wait") != "" {
		shown.Again, err = c.Hold("caller:"+c.Session.ID, 4, func(ctx context.Context, most time.Duration) error {
			_, err := p.Admins.CallerCheckOf(ctx, actor.By(), shown.User.ID, shown.Check.ID, most)
			return err
		})
		if err != nil {
			return page.Reply{}, err
		}
		if shown.Check, shown.Asked, err = p.Admins.LatestCallerCheck(ctx, shown.User.ID, actor); err != nil {
			return page.Reply{}, err
		}
	}
	r := page.Reply{Template: "user_caller.html", Data: shown}
	if shown.Fault != "" {
		r.Status = http.StatusConflict
	}
	if shown.Waits() {
		r.Live = &page.Live{Address: shown.Path + "/caller", Again: page.Later}
	}
	return r, nil
}

func (p *pages) askCaller(c *Call) (page.Reply, error) {
	u, err := p.userPage(c, tabDetails)
	if err != nil {
		return page.Reply{}, err
	}
	name := c.T("admin_users.caller.from", c.Frame().Organisation)
	_, err = p.Admins.CheckCaller(c.UserContext(), u.User.ID, name, c.Posted("note"), c.Session.Actor().In(audit.CallCheckCaller))
	var fault string
	switch {
	case errors.Is(err, admin.ErrRefused):
		return p.askOther(c, u, admin.CheckCaller, u.Refusals[admin.CheckCaller])
	case errors.Is(err, login.ErrNoCallerPhone):
		fault = "no_phone"
	case errors.Is(err, login.ErrCallersOften):
		fault = "too_often"
	case errors.Is(err, login.ErrBlocked):
		fault = "blocked"
	case errors.Is(err, login.ErrNote), storage.CodeOf(err) == storage.Invalid:
		fault = "note"
	case err != nil:
		return page.Reply{}, err
	default:
		return c.GoTo(u.Path+"/caller", nil), nil
	}
	return p.callerPage(c, callerPage{userPage: u, Fault: fault})
}

// Subject is what the act is about, as people write it.
func (p actPage) Subject() string {
	switch {
	case p.Device == nil:
		return p.Title()
	case p.Device.Name != "":
		return page.Short(p.Device.Name)
	default:
		return p.T("admin_users.type." + string(p.Device.Type))
	}
}
