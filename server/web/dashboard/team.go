package dashboard

import (
	"errors"
	"net/http"
	"slices"

	"tutela/device"
	"tutela/device/passkey"
	"tutela/recovery/admin/signin"
	"tutela/recovery/user"
	"tutela/server/web/page"
	"tutela/storage"
)

func (p *pages) mountTeam() {
	p.get("/admin/team", "", p.team)
	p.form("/admin/team/invite", "", p.invite, p.team)
	p.form("/admin/team/end", "", p.endSession, p.team)
	p.form("/admin/team/passkey", "", p.removePasskey, p.team)
	p.form("/admin/team/add", "", p.addPasskey, p.newPasskey)
}

// teamPath is the section of admins and sessions.
const teamPath = "admin/team"

// teamPage is the page of admins and sessions.
type teamPage struct {
	Shell
	Team    []signin.Member
	Self    signin.Member
	Session string // id of this one
	Owner   bool
	Link    *signin.Invited // that was just made
	For     string          // for whom
	Roles   []user.Role
}

// MayEnd reports whether the admin may end the sessions of a member.
func (t teamPage) MayEnd(m signin.Member) bool {
	return t.Owner || m.User.UID == t.Self.User.UID || t.Self.User.Role.Above(m.User.Role)
}

// IsSelf reports whether a member is the admin himself.
func (t teamPage) IsSelf(m signin.Member) bool { return m.User.UID == t.Self.User.UID }

// SignedIn returns the members' sessions together.
func (t teamPage) SignedIn() int {
	n := 0
	for _, m := range t.Team {
		n += len(m.Sessions)
	}
	return n
}

// Called returns how a member is called.
func (t teamPage) Called(m signin.Member) string { return nameOf(m.User) }

// Browser returns how people name a browser.
func (t teamPage) Browser(s signin.Session) string { return deviceOf(s.Agent) }

func (p *pages) team(c *Call) (page.Reply, error) {
	shown, err := p.teamOf(c)
	return page.Reply{Template: "team.html", Data: shown}, err
}

func (p *pages) teamOf(c *Call) (teamPage, error) {
	list, err := p.SignIn.Team(c.UserContext())
	shown := teamPage{
		Shell:   c.Shell(teamPath),
		Team:    list,
		Session: c.Session.ID,
		Owner:   c.Session.User.Role == user.Owner,
		Roles:   []user.Role{user.Viewer, user.Helpdesk, user.Admin, user.Owner},
	}
	i := slices.IndexFunc(list, func(m signin.Member) bool { return m.User.UID == c.Session.User.UID })
	if err == nil && i < 0 {
		shown.Self, err = p.SignIn.MemberOf(c.UserContext(), c.Session.User.ID)
	}
	if i >= 0 {
		shown.Self = list[i]
	}
	return shown, err
}

func (p *pages) invite(c *Call) (page.Reply, error) {
	role, err := user.ParseRole(c.Posted("role"))
	if err != nil {
		return page.Reply{}, err
	}
	made, err := p.SignIn.Invite(c.UserContext(), signin.InviteRequest{
		User:    user.User{ID: c.Posted("user")},
		Role:    role,
		Replace: c.Posted("replace") != "",
	}, c.Session.Actor())
	if err != nil {
		return page.Reply{}, err
	}
	shown, err := p.teamOf(c)
	shown.Link = &made
	shown.For = c.Posted("user")
	return page.Reply{Template: "team.html", Data: shown}, err
}

func (p *pages) endSession(c *Call) (page.Reply, error) {
	err := p.SignIn.EndSession(c.UserContext(), c.Posted("user"), c.Posted("session"), c.Session.Actor())
	if errors.Is(err, signin.ErrNoSession) {
		err = nil // it has ended meanwhile
	}
	return c.GoTo(teamPath, nil), err
}

func (p *pages) removePasskey(c *Call) (page.Reply, error) {
	id := c.Posted("passkey")
	var err error
	if c.Posted("user") == c.Session.User.ID {
		err = p.SignIn.RemoveOwnPasskey(c.UserContext(), c.Session.secret, id, c.Session.Actor())
	} else {
		err = p.SignIn.RemovePasskey(c.UserContext(), c.Posted("user"), id, c.Session.Actor())
	}
	if errors.Is(err, passkey.ErrNoAdmin) {
		err = nil // it is gone
	}
	return c.GoTo(teamPath, nil), err
}

// another is the page on which an admin makes another passkey.
type another struct {
	page.Frame
	Options string
	Device  string
	Fault   string
}

func (p *pages) newPasskey(c *Call) (page.Reply, error) { return p.askForNew(c, "", http.StatusOK) }

func (p *pages) askForNew(c *Call, fault string, status int) (page.Reply, error) {
	options, err := p.SignIn.BeginPasskey(c.UserContext(), c.Session.secret)
	return page.Reply{
		Status:   status,
		Template: "another.html",
		Data: another{
			Frame:   person(c.Call),
			Options: string(options),
			Device:  deviceOf(c.Agent()),
			Fault:   fault,
		},
	}, err
}

func (p *pages) addPasskey(c *Call) (page.Reply, error) {
	err := p.SignIn.AddPasskey(c.UserContext(), c.Session.secret, c.Posted("name"), credential(c.Call), c.Session.Actor())
	if fault := faultOfNew(err); fault != "" {
		return p.askForNew(c, fault, http.StatusBadRequest)
	}
	return c.GoTo(teamPath, nil), err
}

// faultOfNew names what is wrong with a passkey that a browser has made; "" is nothing that its person can mend.
func faultOfNew(err error) string {
	switch {
	case errors.Is(err, passkey.ErrName):
		return "name"
	case errors.Is(err, device.ErrRegistered):
		return "known"
	case errors.Is(err, passkey.ErrTooMany), storage.CodeOf(err) == storage.Exhausted:
		return "too_many"
	case errors.Is(err, signin.ErrInvite), errors.Is(err, signin.ErrOtherBrowser), errors.Is(err, signin.ErrNoSession):
		return ""
	}
	return faultOf(err)
}
