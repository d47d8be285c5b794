package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"tutela/recovery"
	"tutela/recovery/user"
	back "tutela/recovery/ways"
	"tutela/server/operator"
)

// userCmd is "tutela user".
type userCmd struct {
	List     userListCmd     `cmd:"" help:"Show the users, or those who are looked for."`
	Show     userShowCmd     `cmd:"" help:"Show one user: phones, backups, tickets, what is closed, receipts, and what to do next."`
	Role     userRoleCmd     `cmd:"" help:"Give a user a role: none, viewer, helpdesk, admin or owner."`
	Block    userBlockCmd    `cmd:"" help:"Block a user, who is then let in nowhere; --off takes it back."`
	Unlock   userUnlockCmd   `cmd:"" help:"Open what is closed for a user: by wrong codes, used-up pushes, mutes, vetoes on restores."`
	Undelete userUndeleteCmd `cmd:"" help:"Give a user a backup back that her phone deleted in the last 7 days."`
	Code     userCodeCmd     `cmd:"" help:"Make a new recovery code for a user."`
	Export   userExportCmd   `cmd:"" help:"Print everything that is held about a user, as one JSON document."`
	Reset    userResetCmd    `cmd:"" help:"Remove every record of a user's MFA; leaves a signed receipt."`
	Delete   userDeleteCmd   `cmd:"" help:"Remove a user, with the profile."`
}

// usersAtOnce is how many users are asked for in one call.
const usersAtOnce = 500

type userListCmd struct {
	dataFlags
	State  string `default:"" enum:",new,enrolled,recovery_only" placeholder:"STATE" help:"Only those with this MFA state: new, enrolled or recovery_only."`
	Search string `placeholder:"TEXT" help:"Only those of whom a word of id, email, username or name begins with each word of TEXT."`
	Risk   string `default:"" enum:",no_recovery_code,unconfirmed_code,no_backup,stale_backup,one_device" placeholder:"RISK" help:"Only those whose way back is thin: no_recovery_code, unconfirmed_code, no_backup, stale_backup or one_device."`
	JSON   bool   `name:"json" help:"Print JSON, one user a line, for scripts."`
}

// Help is the long help of "tutela user list".
func (userListCmd) Help() string {
	return `In the order of their ids; those of a risk in another that stays. Case does not matter to a search.

  tutela user list --search "mar kel"       Maria Keller, and mark.kelso@example.com
  tutela user list --state recovery_only    who has lost the phone
  tutela user list --risk no_recovery_code  who would need you, if the phone is lost`
}

// Run shows the users, in the order of their ids.
func (c *userListCmd) Run(ctx context.Context) error {
	if c.Search != "" && strings.TrimSpace(c.Search) == "" {
		return notUnderstood("--search %q names no word", c.Search)
	}
	if c.Risk != "" && (c.Search != "" || c.State != "") {
		return notUnderstood("--risk goes without --search and --state")
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		if !c.JSON {
			say(table, "USER\tNAME\tMFA\tROLE\tLAST LOGIN\t\n")
		}
		page := operator.Page{
			Take:   usersAtOnce,
			State:  user.State(c.State),
			Search: c.Search,
			Risk:   back.Risk(c.Risk),
		}
		// Page by page, each printed before the next is read: there may be millions of users.
		for {
			users, err := operator.ListUsers.Do(ctx, s, page)
			if err != nil {
				return err
			}
			for _, u := range users {
				if c.JSON {
					err = errors.Join(err, printLine(userForScripts(u)))
				} else {
					say(table, "%s\t%s\t%s\t%s\t%s\t%s\n", plain(u.ID), orDash(cmp.Or(u.Name, u.Email)), u.State,
						orDash(string(u.Role)), shortTime(u.LastLogin), blockedMark(u.Blocked))
				}
			}
			if err = errors.Join(err, table.Flush()); err != nil {
				return err
			}
			if len(users) < usersAtOnce {
				c.sayNobody(page.After == "" && len(users) == 0)
				return nil
			}
			page.After = users[len(users)-1].ID
			page.AfterUID = users[len(users)-1].UID
		}
	})
}

// sayNobody tells a person that nobody was shown.
func (c *userListCmd) sayNobody(nobody bool) {
	switch {
	case !nobody || c.JSON:
	case c.Search != "" || c.State != "" || c.Risk != "":
		fmt.Fprintln(os.Stderr, "Nobody fits.")
	default:
		fmt.Fprintln(os.Stderr, "There is no user yet: tutela ticket USER makes one, and a link with which the phone enrols")
	}
}

func blockedMark(blocked bool) string {
	if blocked {
		return "blocked"
	}
	return ""
}

type userShowCmd struct {
	dataFlags
	User string `arg:"" help:"The login system's id of the user."`
	JSON bool   `name:"json" help:"Print JSON, for scripts."`
}

// Run shows the user.
func (c *userShowCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		u, err := operator.ShowUser.Do(ctx, s, c.User)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(userDetailForScripts(u))
		}
		return showUser(os.Stdout, u)
	})
}

type userRoleCmd struct {
	dataFlags
	User string `arg:"" help:"The login system's id of the user."`
	Role string `arg:"" help:"none, viewer, helpdesk, admin or owner."`
}

// Run gives the user the role.
func (c *userRoleCmd) Run(ctx context.Context) error {
	role, err := user.ParseRole(c.Role)
	if err != nil {
		return usageError{err}
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		if _, err := operator.SetRole.Do(ctx, s, operator.RoleChange{UserID: c.User, Role: role}); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s has the role %s.\n", plain(c.User), cmp.Or(string(role), "none"))
		return nil
	})
}

type userBlockCmd struct {
	dataFlags
	User string `arg:"" help:"The login system's id of the user."`
	Off  bool   `help:"Take the block back."`
}

// Run blocks the user, or takes the block back.
func (c *userBlockCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		if _, err := operator.SetBlocked.Do(ctx, s, operator.BlockChange{UserID: c.User, Blocked: !c.Off}); err != nil {
			return err
		}
		if c.Off {
			fmt.Fprintf(os.Stderr, "%s is not blocked any more.\n", plain(c.User))
			return nil
		}
		fmt.Fprintf(os.Stderr, "%s is blocked: every login is refused until tutela user block %s --off --data %s\n",
			plain(c.User), shellWord(plain(c.User)), shellWord(c.Data.path))
		return nil
	})
}

type userUnlockCmd struct {
	dataFlags
	User string `arg:"" help:"The login system's id of the user."`
}

// Help is the long help of "tutela user unlock".
func (userUnlockCmd) Help() string {
	return `Wrong codes make a user's ways in wait for those that are wrong too, and for longer each time; logins that nobody approves use up the
pushes; "it was not me" silences a place for an hour; a veto keeps new phones from taking over for a day. tutela user show says
which, and until when. Know who is calling before you take any of it away: somebody may be guessing, or asking.

  tutela user unlock maria`
}

// Run unlocks the user.
func (c *userUnlockCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		if _, err := operator.UnlockUser.Do(ctx, s, c.User); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "Nothing is closed for %s any more.\n", plain(c.User))
		return nil
	})
}

type userUndeleteCmd struct {
	dataFlags
	User   string `arg:"" help:"The login system's id of the user."`
	Backup string `arg:"" help:"The id of the backup, as tutela user show names it."`
}

// Help is the long help of "tutela user undelete".
func (userUndeleteCmd) Help() string {
	return `For who has lost a backup to a mistake, or to somebody who had the phone. The phone writes to it again, unless that has begun
another meanwhile: then it is there for a restore, by the handle in the phone's platform backup.

  tutela user undelete maria bkp_UjvnoSSsvDLmDgPs`
}

// Run undeletes the backup.
func (c *userUndeleteCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		if _, err := operator.UndeleteBackup.Do(ctx, s, operator.BackupOf{UserID: c.User, Backup: c.Backup}); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "Backup %s is there for %s.\n", plain(c.Backup), plain(c.User))
		return nil
	})
}

type userResetCmd struct {
	dataFlags
	User        string `arg:"" help:"The login system's id of the user."`
	Reason      string `required:"" placeholder:"TEXT" help:"Why; it stands in the receipt."`
	CallerCheck string `name:"caller-check" default:"" enum:",no_answer,document,in_person,other" placeholder:"HOW" help:"How the one who asked was checked: no_answer, document, in_person or other."`
	DryRun      bool   `name:"dry-run" help:"Remove nothing; show what would go."`
	sure
}

// Help is the long help of "tutela user reset".
func (userResetCmd) Help() string {
	return `Removes phones, keys, push tokens, tickets, logins, backups, the recovery code and its counters, in one step. The profile
stays, and the user sets up as a new one. Prints the signed receipt, to be kept:

  tutela user reset maria --reason "lost phone and code" --dry-run
  tutela user reset maria --reason "lost phone and code" --caller-check document > maria-receipt.json
  tutela receipt verify maria-receipt.json`
}

// Run resets the user.
func (c *userResetCmd) Run(ctx context.Context) error {
	if !c.DryRun {
		if err := c.needsSomebody("a reset", ", or --dry-run to see what would go"); err != nil {
			return err
		}
	}
	wanted := operator.Reset{
		UserID:      c.User,
		Reason:      c.Reason,
		CallerCheck: c.CallerCheck,
		DryRun:      true,
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		if !c.DryRun && !c.Yes {
			would, err := operator.ResetUser.Do(ctx, s, wanted)
			if err != nil {
				return err
			}
			sayReceipt(os.Stderr, would)
			if err := c.ask("the user's id", c.User, "nothing was reset"); err != nil {
				return err
			}
		}
		wanted.DryRun = c.DryRun
		receipt, err := operator.ResetUser.Do(ctx, s, wanted)
		if err != nil {
			return err
		}
		sayReceipt(os.Stderr, receipt)
		return printJSON(receipt)
	})
}

// sayReceipt prints a receipt in words.
func sayReceipt(w io.Writer, r recovery.Receipt) {
	did := "Removed of"
	if r.DryRun {
		did = "A reset would remove of"
	}
	rows := 0
	for _, table := range r.Removed {
		rows += table.Rows
	}
	if rows == 0 {
		say(w, "%s %s: nothing. There is no MFA.\n", did, plain(r.UserID))
		return
	}
	say(w, "%s %s: %s%s\n", did, plain(r.UserID), inShort(r), plural(rows, "record"))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, removed := range r.Removed {
		say(table, "  %d\t\t%s\n", removed.Rows, strings.ReplaceAll(removed.Table, "_", " "))
	}
	_ = table.Flush() // like all that is only said
	if r.Residue && !r.DryRun {
		say(w, "Freed pages of the data file may hold bytes of it until tutela compact has run (the server does it every night).\n")
	}
}

// inShort begins a line with what people know by name of what a receipt counts: "1 phone, 1 backup, 1 code; in all ". It is empty
// when there is nothing of that.
func inShort(r recovery.Receipt) string {
	if r.Summary == "" {
		return ""
	}
	return r.Summary + "; in all "
}
