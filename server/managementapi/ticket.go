package managementapi

import (
	"context"
	"net/http"

	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/storage/audit"
)

// ticketRequest asks for a ticket.
type ticketRequest struct {
	Body struct {
		UserID        string `json:"user_id" minLength:"1" maxLength:"255" doc:"The login system's id; a user not seen before is made."`
		Email         string `json:"email,omitempty" nullable:"true" doc:"Of a user not seen before; with send_mail also where the link goes, by default to the user's address."`
		SendMail      bool   `json:"send_mail,omitempty" doc:"Needs a webhook that mails."`
		EmailLocale   string `json:"email_locale,omitempty"`
		Factor        string `json:"factor,omitempty" doc:"push-notification, otp, webauthn-roaming or webauthn-platform: what alone it enrols."`
		AllowMultiple bool   `json:"allow_multiple_enrollments,omitempty" doc:"Also for a user who is enrolled."`
		Replaces      string `json:"replaces,omitempty" nullable:"true" maxLength:"64" doc:"The user's enrollment that is retired when this ticket enrols; its backup goes to the new one."`
		NewCode       bool   `json:"new_code,omitempty" doc:"The user's recovery code counts as lost: where the ticket enrols, a new one is shown."`
	}
}

type ticketOutput struct {
	Body struct {
		ID  string `json:"ticket_id"`
		URL string `json:"ticket_url"`
	}
}

func (a *api) mountTickets() {
	register(a, call{
		Word:        audit.CallCreateTicket,
		Method:      http.MethodPost,
		Path:        "/guardian/enrollments/ticket",
		Summary:     "Create a Guardian Enrollment Ticket",
		Description: "The link lives 5 days and enrols once. replaces also wants scope delete:guardian_enrollments.",
		Scopes:      []string{"create:guardian_enrollment_tickets"},
	}, a.createTicket)
}

func (a *api) createTicket(ctx context.Context, actor audit.Actor, in *ticketRequest) (*ticketOutput, error) {
	var mail *admin.TicketMail
	if in.Body.SendMail {
		mail = &admin.TicketMail{Address: in.Body.Email, Locale: in.Body.EmailLocale}
	}
	if in.Body.Replaces != "" {
		if err := access.RequireScope(actor, "delete:guardian_enrollments"); err != nil {
			return nil, err
		}
	}
	ticket, err := a.Admins.NewTicket(ctx, admin.TicketRequest{
		User:          user.User{ID: in.Body.UserID, Email: in.Body.Email},
		Factor:        in.Body.Factor,
		AllowMultiple: in.Body.AllowMultiple,
		Replaces:      in.Body.Replaces,
		NewCode:       in.Body.NewCode,
		Mail:          mail,
	}, actor)
	if err != nil {
		return nil, err
	}
	var out ticketOutput
	out.Body.ID = ticket
	out.Body.URL = a.Devices.TicketURL(ticket)
	return &out, nil
}
