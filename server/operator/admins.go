package operator

import (
	"context"
	"errors"
	"time"

	"tutela/recovery/admin/signin"
	"tutela/recovery/user"
)

// InviteAdmin makes a link by which a user becomes an admin of the dashboard; one not seen before is made. Errors: those of
// signin.Service.Invite.
var InviteAdmin = declare("admin/invite", (*Local).inviteAdmin)

// AdminInvite says whom to invite.
type AdminInvite struct {
	UserID  string    `json:"user_id"`
	Role    user.Role `json:"role,omitempty"`    // empty: the one that the user has
	Replace bool      `json:"replace,omitempty"` // the passkeys and sessions of before end when the link is used
}

// InvitedAdmin is the link.
type InvitedAdmin struct {
	URL      string    `json:"url"`
	Role     user.Role `json:"role"`
	Expires  time.Time `json:"expires_at"`
	Passkeys bool      `json:"passkeys"` // browsers take passkeys under this public URL: false where it is an address
}

func (l *Local) inviteAdmin(ctx context.Context, r AdminInvite) (InvitedAdmin, error) {
	made, err := l.SignIn.Invite(ctx, signin.InviteRequest{
		User:    user.User{ID: r.UserID},
		Role:    r.Role,
		Replace: r.Replace,
	}, l.actor)
	if errors.Is(err, signin.ErrInviteRole) {
		err = signin.ErrInviteRole.With("the user %q has no role yet: add --role viewer, helpdesk, admin or owner", r.UserID)
	}
	if err != nil {
		return InvitedAdmin{}, err
	}
	return InvitedAdmin{
		URL:      made.URL,
		Role:     made.Role,
		Expires:  made.Expires,
		Passkeys: l.SignIn.HasDomain(),
	}, nil
}
