package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"tutela/server/operator"
)

type userCodeCmd struct {
	dataFlags
	User string `arg:"" help:"The login system's id of the user."`
}

// Help is the long help of "tutela user code".
func (userCodeCmd) Help() string {
	return `Prints a new recovery code, once. It counts for 24 hours and is replaced when it is used; the old one opens nothing from now
on, and the user's phones are told. Know who is calling before you read it out: who has it takes over.

  tutela user code maria`
}

// Run makes the code.
func (c *userCodeCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		code, err := operator.RenewCode.Do(ctx, s, c.User)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "The recovery code of %s, shown once. It counts for 24 hours.\n", plain(c.User))
		fmt.Println(inGroups(string(code)))
		return nil
	})
}

// inGroups cuts a code into groups of four, for eyes and pens.
func inGroups(code string) string {
	var groups []string
	for len(code) > 4 {
		groups = append(groups, code[:4])
		code = code[4:]
	}
	return strings.Join(append(groups, code), " ")
}

type userDeleteCmd struct {
	dataFlags
	User string `arg:"" help:"The login system's id of the user."`
	sure
}

// Help is the long help of "tutela user delete".
func (userDeleteCmd) Help() string {
	return `Removes the user: profile, MFA and receipts. Events stay, with nothing in them that says who it was. For a person who is only
to begin anew there is tutela user reset.

  tutela user delete maria`
}

// Run deletes the user.
func (c *userDeleteCmd) Run(ctx context.Context) error {
	if err := c.needsSomebody("the deletion of a user", ""); err != nil {
		return err
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		u, err := operator.ShowUser.Do(ctx, s, c.User)
		if err != nil {
			return err
		}
		if !c.Yes {
			if err := showUser(os.Stderr, u); err != nil {
				return err
			}
			fmt.Fprintln(os.Stderr)
		}
		if err := c.ask("the user's id", c.User, "nobody was deleted"); err != nil {
			return err
		}
		if _, err := operator.DeleteUser.Do(ctx, s, c.User); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s is deleted. Freed pages of the data file may hold bytes of it until tutela compact has run (the server does it every night).\n",
			plain(c.User))
		return nil
	})
}
