package dashboard

import (
	"net/http"
	"net/url"
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
	p.set.Get(app, "/admin/invite/passkey", p.makePasskey)
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

// spendInvite binds an invite to this browser, and leads to the page on which it makes the passkey.
func (p *pages) spendInvite(c *page.Call) (page.Reply, error) {
	browser := c.Kept(inviteCookie)
	if browser == "" {
		browser = signin.NewSecret()
		c.Keep(inviteCookie, browser, signin.InviteLife)
	}
	secret := c.Posted("invite")
	if _, err := p.SignIn.SpendInvite(c.UserContext(), secret, browser); err != nil {
		return page.Reply{}, err
	}
	return makingPasskey(c, secret), nil
}

// makingPasskey leads to the page on which the browser makes the passkey.
func makingPasskey(c *page.Call, secret string) page.Reply {
	return c.GoTo("admin/invite/passkey", url.Values{"invite": {secret}})
}

// makePasskey shows the page on which the browser makes the passkey, to the one that has spent the invite.
func (p *pages) makePasskey(c *page.Call) (page.Reply, error) {
	secret := c.Query("invite")
	shown, err := p.inviting(c, secret)
	if err != nil {
		return page.Reply{}, err
	}
	if !shown.Begun {
		return c.GoTo("admin/invite", url.Values{"invite": {secret}}), nil
	}
	options, err := p.SignIn.SpendInvite(c.UserContext(), secret, c.Kept(inviteCookie))
	if err != nil {
		return page.Reply{}, err
	}
	shown.Options = string(options)
	r := page.Reply{Template: "make.html"}
	if shown.Fault = told(c, "invite"); shown.Fault != "" {
		r.Status = http.StatusBadRequest
	}
	r.Data = shown
	return r, nil
}

func (p *pages) acceptInvite(c *page.Call) (page.Reply, error) {
	secret, err := p.SignIn.AcceptInvite(c.UserContext(), signin.Made{
		Invite:   c.Posted("invite"),
		Browser:  c.Kept(inviteCookie),
		Name:     c.Posted("name"),
		Response: credential(c),
	}, from(c))
	if fault := faultOfNew(err); fault != "" {
		c.Tell("admin invite", fault)
		return makingPasskey(c, c.Posted("invite")), nil
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
