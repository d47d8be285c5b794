package operator

import (
	"context"
	"errors"
	"time"

	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
)

// The calls about users. A user is named by the login system's id; of an unknown one all but MakeTicket are
// user.ErrUnknown.
var (
	// ListUsers returns users in the order of their ids.
	ListUsers = declare("user/list", (*Local).listUsers)

	// ShowUser returns all that an operator is shown of the user with an id.
	ShowUser = declare("user/show", (*Local).showUser)

	// SetRole gives a user a role.
	SetRole = declare("user/role", (*Local).setRole)

	// SetBlocked blocks a user, or takes the block back.
	SetBlocked = declare("user/block", (*Local).setBlocked)

	// UnlockUser opens what wrong codes have closed for the user with an id, and lifts vetoes on restores.
	UnlockUser = declare("user/unlock", (*Local).unlockUser)

	// ResetUser removes every record of a user's MFA. Errors: those of admin.Service.Reset.
	ResetUser = declare("user/reset", (*Local).resetUser)

	// MakeTicket makes a ticket, and the user when he was not seen before. Errors: ErrEnrolled; those of
	// admin.Service.NewTicket.
	MakeTicket = declare("ticket", (*Local).makeTicket)
)

// Page is which users are listed: at most Take of those after the id After.
type Page struct {
	After string `json:"after,omitempty"`
	Take  int    `json:"take"`
}

// RoleChange gives a user a role; user.NoRole takes it.
type RoleChange struct {
	UserID string    `json:"user_id"`
	Role   user.Role `json:"role"`
}

// BlockChange blocks a user or takes the block back.
type BlockChange struct {
	UserID  string `json:"user_id"`
	Blocked bool   `json:"blocked"`
}

// UserDetail is all that an operator is shown of a user.
type UserDetail struct {
	admin.Profile
	Enrollments []Enrollment       `json:"enrollments"`
	HasCode     bool               `json:"has_recovery_code"`
	Blocks      []recovery.Block   `json:"blocks"`
	Receipts    []recovery.Receipt `json:"receipts"`
}

// Enrollment is an enrollment of a user.
type Enrollment struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Status   string    `json:"status"` // active or suspended
	Enrolled time.Time `json:"enrolled_at"`
	LastAuth time.Time `json:"last_auth,omitzero"`
}

// Reset says whom to reset and why; see recovery.ResetRequest.
type Reset struct {
	UserID      string `json:"user_id"`
	Reason      string `json:"reason"`
	CallerCheck string `json:"caller_check,omitempty"`
	DryRun      bool   `json:"dry_run,omitempty"`
}

// TicketRequest says for whom a ticket is.
type TicketRequest struct {
	UserID   string `json:"user_id"`
	Email    string `json:"email,omitempty"`    // of a user not seen before
	Multiple bool   `json:"multiple,omitempty"` // also for a user who is enrolled
}

// Ticket is a ticket to enrol with.
type Ticket struct {
	URL string `json:"url"` // of the page
	URI string `json:"uri"` // the text of its QR code, for an app
}

// ofUser makes errors about the user with an id name it as it was typed, and the way out.
func ofUser(id string, err error) error {
	switch {
	case errors.Is(err, user.ErrUnknown):
		return user.ErrUnknown.With("there is no user %q: see tutela user list", id)
	case errors.Is(err, admin.ErrEnrolled):
		return admin.ErrEnrolled.With("the user %q is enrolled already; --multiple makes a ticket for another phone", id)
	}
	return err
}

func (l *Local) listUsers(ctx context.Context, p Page) ([]admin.Profile, error) {
	listed, err := l.Admins.PageUsers(ctx, p.After, 0, p.Take)
	if err != nil {
		return nil, err
	}
	return l.Admins.Profiles(ctx, listed)
}

func (l *Local) showUser(ctx context.Context, id string) (UserDetail, error) {
	p, err := l.Admins.ReadUser(ctx, id)
	if err != nil {
		return UserDetail{}, ofUser(id, err)
	}
	detail := UserDetail{
		Profile:     p,
		Enrollments: []Enrollment{},
	}
	all, err := l.Admins.EnrollmentsOf(ctx, id)
	if err != nil {
		return UserDetail{}, err
	}
	for _, e := range all {
		detail.Enrollments = append(detail.Enrollments, Enrollment{
			ID:       e.ID,
			Name:     e.Name,
			Status:   string(e.Status),
			Enrolled: e.Enrolled,
			LastAuth: e.LastAuth,
		})
	}
	standing, err := l.Admins.StandingOf(ctx, id)
	detail.HasCode = standing.HasCode
	detail.Blocks = standing.Blocks
	detail.Receipts = standing.Receipts
	return detail, err
}

func (l *Local) setRole(ctx context.Context, c RoleChange) (None, error) {
	return None{}, ofUser(c.UserID, l.Admins.SetRole(ctx, c.UserID, c.Role, l.actor))
}

func (l *Local) setBlocked(ctx context.Context, c BlockChange) (None, error) {
	return None{}, ofUser(c.UserID, l.Admins.SetBlocked(ctx, c.UserID, c.Blocked, l.actor))
}

func (l *Local) unlockUser(ctx context.Context, id string) (None, error) {
	return None{}, ofUser(id, l.Admins.Unlock(ctx, id, l.actor))
}

func (l *Local) resetUser(ctx context.Context, r Reset) (recovery.Receipt, error) {
	receipt, err := l.Admins.Reset(ctx, r.UserID, recovery.ResetRequest{
		Reason:      r.Reason,
		CallerCheck: r.CallerCheck,
		DryRun:      r.DryRun,
	}, l.actor)
	return receipt, ofUser(r.UserID, err)
}

func (l *Local) makeTicket(ctx context.Context, r TicketRequest) (Ticket, error) {
	secret, err := l.Admins.NewTicket(ctx, admin.TicketRequest{
		User:          user.User{ID: r.UserID, Email: r.Email},
		AllowMultiple: r.Multiple,
	}, l.actor)
	if err != nil {
		return Ticket{}, ofUser(r.UserID, err)
	}
	uri, err := l.Devices.TicketURI(ctx, secret)
	return Ticket{URL: l.Devices.TicketURL(secret), URI: uri}, err
}
