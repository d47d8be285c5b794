package dashboard

import (
	"net/http"
	"strings"

	"tutela/recovery/admin/signin"
	"tutela/server/web/page"
)

// inviteCookie keeps the secret by which an invite knows a browser again.
const inviteCookie = "tutela_invite"

func (p *pages) mountInvite() {
	app := p.kit.App()
	p.set.Get(app, "/admin/invite", p.openInvite)
	p.set.Post(app, "/admin/invite", p.spendInvite)
	p.set.Post(app, "/admin/invite/passkey", p.acceptInvite)
	p.set.Get(app, "/admin/invite/passkey", func(*page.Call) (page.Reply, error) { return page.Reply{}, signin.ErrInvite })
}

// inviting is a page of an invite.
type inviting struct {
	page.Frame
	signin.InvitePage
	Invite  string // its secret
	Name    string // of whom it is for
	Role    string
	Options string // of the passkey that is to be made, JSON; empty: it is not yet
	Fault   string // below admin_signin.fault: why the passkey was not taken
	Device  string // the name that is proposed for the passkey
}

// openInvite shows whom an invite is for. It changes nothing: mail scanners open links.
func (p *pages) openInvite(c *page.Call) (page.Reply, error) {
	shown, err := p.inviting(c, c.Query("invite"))
	return page.Reply{Template: "invite.html", Data: shown}, err
}

// inviting returns what the pages of an invite show.
func (p *pages) inviting(c *page.Call, secret string) (shown inviting, err error) {
	shown = inviting{Frame: person(c), Invite: secret, Device: deviceOf(c.Agent())}
	shown.InvitePage, err = p.SignIn.OpenInvite(c.UserContext(), secret, c.Kept(inviteCookie))
	shown.Name = nameOf(shown.User)
	shown.Role = string(shown.User.Role)
	if err == nil && !p.SignIn.HasDomain() {
		_, _, err = p.SignIn.Ask()
	}
	return shown, err
}

// spendInvite binds an invite to this browser, and shows the page on which it makes the passkey.
func (p *pages) spendInvite(c *page.Call) (page.Reply, error) {
	return p.makePasskey(c, c.Posted("invite"), "", http.StatusOK)
}

func (p *pages) makePasskey(c *page.Call, secret, fault string, status int) (page.Reply, error) {
	browser := c.Kept(inviteCookie)
	if browser == "" {
		browser = signin.NewSecret()
		c.Keep(inviteCookie, browser, signin.InviteLife)
		c.Request().Header.SetCookie(p.kit.CookieName(inviteCookie), browser)
	}
	options, err := p.SignIn.SpendInvite(c.UserContext(), secret, browser)
	if err != nil {
		return page.Reply{}, err
	}
	shown, err := p.inviting(c, secret)
	if err != nil {
		return page.Reply{}, err
	}
	shown.Options = string(options)
	shown.Fault = fault
	return page.Reply{Status: status, Template: "make.html", Data: shown}, nil
}

func (p *pages) acceptInvite(c *page.Call) (page.Reply, error) {
	secret, err := p.SignIn.AcceptInvite(c.UserContext(), signin.Made{
		Invite:   c.Posted("invite"),
		Browser:  c.Kept(inviteCookie),
		Name:     c.Posted("name"),
		Response: credential(c),
	}, from(c))
	if fault := faultOfNew(err); fault != "" {
		return p.makePasskey(c, c.Posted("invite"), fault, http.StatusBadRequest)
	}
	if err != nil {
		return page.Reply{}, err
	}
	c.Forget(inviteCookie)
	p.letIn(c, secret)
	return c.GoTo("admin", nil), nil
}

// gone is the page about an invite that works no longer, or not here.
type gone struct {
	page.Frame
	Why       string // below admin_invite in the catalogue
	Reference []string
}

func (p *pages) inviteGone(c *page.Call, status int, why string) page.Reply {
	return page.Reply{Status: status, Template: "invite-gone.html", Data: gone{person(c), why, c.Reference()}}
}

// platforms are how User-Agents name what a browser runs on, the more special before the more general.
var platforms = []struct{ word, name string }{
	{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS", "Mac"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"},
}

// browsers are how User-Agents name themselves, the more special before the more general.
var browsers = []struct{ word, name string }{
	{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"},
}

// deviceOf returns how people name a browser and what it runs on: "Chrome, Linux". One that is not known is as it names itself.
func deviceOf(agent string) string {
	var parts []string
	for _, list := range [][]struct{ word, name string }{browsers, platforms} {
		for _, known := range list {
			if strings.Contains(agent, known.word) {
				parts = append(parts, known.name)
				break
			}
		}
	}
	if len(parts) == 0 {
		return agent[:min(len(agent), 40)]
	}
	return strings.Join(parts, ", ")
}
