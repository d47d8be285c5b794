package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"tutela/server/operator"
)

// damageCmd is "tutela damage".
type damageCmd struct {
	List damageListCmd `cmd:"" help:"Show the records that could not be read and were set aside."`
	Drop damageDropCmd `cmd:"" help:"Remove all records that were set aside."`
}

// maxDamage is how many damaged records are shown.
const maxDamage = 1000

type damageListCmd struct {
	dataFlags
	JSON bool `name:"json" help:"Print JSON, with the bytes of each record in base64."`
}

// Run shows what was set aside.
func (c *damageListCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		damaged, err := operator.ListDamage.Do(ctx, s, maxDamage)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(damaged)
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		say(table, "SINCE\tTABLE\tUID\tBYTES\tWHY\n")
		for _, d := range damaged {
			uid := ""
			if !d.UID.IsZero() {
				uid = d.UID.String()
			}
			say(table, "%s\t%s\t%s\t%d\t%s\n", shortTime(d.At), orDash(d.Table), orDash(uid), len(d.Value), plain(d.Why))
		}
		if len(damaged) == maxDamage {
			fmt.Fprintf(os.Stderr, "These are the first %d; there may be more.\n", maxDamage)
		}
		return table.Flush()
	})
}

type damageDropCmd struct {
	dataFlags
	sure
}

// Run removes what was set aside.
func (c *damageDropCmd) Run(ctx context.Context) error {
	if err := c.needsSomebody("removing damaged records", ", or see them first by tutela damage list"); err != nil {
		return err
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		if err := c.ask(`"drop"`, "drop", "nothing was removed"); err != nil {
			return err
		}
		dropped, err := operator.DropDamage.Do(ctx, s, operator.None{})
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "Damaged records removed: %d.\n", dropped)
		return nil
	})
}
