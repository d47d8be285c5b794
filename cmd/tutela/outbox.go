package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"tutela/server/operator"
)

// outboxCmd is "tutela outbox".
type outboxCmd struct {
	List   outboxListCmd   `cmd:"" help:"Show the entries that could not be read and were set aside."`
	Forget outboxForgetCmd `cmd:"" help:"Remove an entry that was set aside."`
}

type outboxListCmd struct {
	dataFlags
	JSON bool `name:"json" help:"Print JSON, with the bytes of each entry in base64."`
}

// Run shows what lies aside.
func (c *outboxListCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		aside, err := operator.ListAside.Do(ctx, s, operator.None{})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(aside)
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		say(table, "ID\tSINCE\tDESTINATION\tWHY\n")
		for _, a := range aside {
			say(table, "%s\t%s\t%s\t%s\n", a.ID, a.At.Format("2006-01-02 15:04"), orDash(a.Destination), plain(a.Why))
		}
		return table.Flush()
	})
}

type outboxForgetCmd struct {
	dataFlags
	ID string `arg:"" help:"The entry, as outbox list shows it."`
}

// Run removes the entry.
func (c *outboxForgetCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		if _, err := operator.ForgetAside.Do(ctx, s, c.ID); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s is forgotten.\n", c.ID)
		return nil
	})
}
