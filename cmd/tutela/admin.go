package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"tutela/recovery/user"
	"tutela/server/operator"
)

// adminCmd is "tutela admin".
type adminCmd struct {
	Invite adminInviteCmd `cmd:"" help:"Make a link by which a user becomes an admin of the dashboard."`
}

type adminInviteCmd struct {
	dataFlags
	User      string `arg:"" help:"The login system's id of the user; one not seen before is made."`
	Role      string `default:"" enum:",viewer,helpdesk,admin,owner" placeholder:"ROLE" help:"What the admin may do: viewer, helpdesk, admin or owner. Without it the role that the user has."`
	Replace   bool   `help:"The passkey is lost: those of before, and all sessions, end when the link is used."`
	PublicURL string `name:"public-url" env:"TUTELA_PUBLIC_URL" default:"http://localhost:8080" placeholder:"URL" help:"URL of the link, when no server runs that knows it."`
	JSON      bool   `name:"json" help:"Print JSON: url, role, expires_at, and whether browsers take passkeys there."`
}

// Help is the long help of "tutela admin invite".
func (adminInviteCmd) Help() string {
	return `Prints a link that is good for an hour, once. Its page makes a passkey on the device that opens it; from then on that passkey
signs the admin in to the dashboard, at /admin. Whoever opens the link first and presses its button has it.

  tutela admin invite ada --role owner       the first admin
  tutela admin invite ada --replace          her passkey is lost
  tutela admin invite ada                    another passkey, for a second device

Each role has what the one before has: viewer reads; helpdesk makes tickets, suspends, unblocks, resets and issues codes; admin also
makes and deletes users, and sets factors and clients; owner also resets admins, and sets policies and roles.`
}

// Run makes the link.
func (c *adminInviteCmd) Run(ctx context.Context) error {
	here := installation{publicURL: strings.Split(c.PublicURL, ",")[0]}
	return c.operate(ctx, here, func(s operator.Service) error {
		made, err := operator.InviteAdmin.Do(ctx, s, operator.AdminInvite{
			UserID:  c.User,
			Role:    user.Role(c.Role),
			Replace: c.Replace,
		})
		if err != nil {
			return err
		}
		if !made.Passkeys {
			fmt.Fprintln(os.Stderr, "Browsers have no passkeys under an address: give the server a public URL with a name (--public-url https://mfa.example.com) before "+
				"this link is opened.")
		}
		if c.JSON {
			return printJSON(made)
		}
		fmt.Println(made.URL)
		return nil
	})
}
