package dashboard

import (
	"errors"
	"net/http"
	"strings"

	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/web/page"
	"tutela/storage"
	"tutela/storage/audit"
)

// firstTicketPage asks for whom a ticket is who was not seen before.
type firstTicketPage struct {
	Shell
	ID     string // as it was sent
	Called string // as it was sent
	Fault  bool   // they cannot be those of a user
}

func (p *pages) showFirstTicket(c *Call) (page.Reply, error) {
	return page.Reply{Template: "users_new.html", Data: firstTicketPage{Shell: c.Shell("admin/users")}}, nil
}

// makeFirstTicket makes a user and a ticket for her, and shows it. Of somebody who is known it leads to her own page, where the admin
// sees first what she has.
func (p *pages) makeFirstTicket(c *Call) (page.Reply, error) {
	shown := firstTicketPage{
		Shell:  c.Shell("admin/users"),
		ID:     strings.TrimSpace(c.Posted("user")),
		Called: strings.TrimSpace(c.Posted("name")),
	}
	known, err := p.Admins.ReadUser(c.UserContext(), shown.ID)
	switch {
	case err == nil:
		return c.GoTo("admin/users/"+known.UID.String()+"/ticket", nil), nil
	case !errors.Is(err, user.ErrUnknown):
		return page.Reply{}, err
	}
	req := admin.TicketRequest{User: user.User{ID: shown.ID, Name: shown.Called}}
	secret, err := p.Admins.NewTicket(c.UserContext(), req, c.Session.Actor().In(audit.CallCreateTicket))
	if errors.Is(err, user.ErrID) || errors.Is(err, user.ErrProfile) || storage.CodeOf(err) == storage.Invalid {
		shown.Fault = true
		return page.Reply{Status: http.StatusBadRequest, Template: "users_new.html", Data: shown}, nil
	}
	if err != nil {
		return page.Reply{}, err
	}
	made, err := p.Admins.ReadUser(c.UserContext(), shown.ID)
	if err != nil {
		return page.Reply{}, err
	}
	u, err := p.userPageOf(c, made.User, tabMFA)
	if err != nil {
		return page.Reply{}, err
	}
	return p.shownTicket(c, u, secret)
}
