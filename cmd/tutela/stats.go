package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"tutela/device/push"
	"tutela/recovery/admin"
	"tutela/server/operator"
)

// statsCmd is "tutela stats".
type statsCmd struct {
	dataFlags
	Days int  `default:"30" placeholder:"N" help:"How many days, up to today; at most 400 are kept."`
	JSON bool `name:"json" help:"Print JSON, for scripts."`
}

// Help is the long help of "tutela stats".
func (statsCmd) Help() string {
	return `A line for each day of UTC on which something happened: logins by outcome, recovery codes that were spent, enrollments, restores,
resets, and what push services did with the messages: sent, failed, lost (the token is gone).

A server adds what it counts to the day once a minute and when it stops; one that is killed loses the last minute.

  tutela stats --days 7
  tutela stats --json | jq '.[] | select(.denied > 0)'`
}

// Run shows the days.
func (c *statsCmd) Run(ctx context.Context) error {
	if c.Days < 1 {
		return notUnderstood("--days %d: it is a number of days, from 1", c.Days)
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		clock, err := operator.Clock.Do(ctx, s, operator.None{})
		if err != nil {
			return err
		}
		days, err := operator.Stats.Do(ctx, s, operator.StatsQuery{
			From: clock.House.Add(-time.Duration(c.Days-1) * 24 * time.Hour),
			To:   clock.House,
		})
		switch {
		case err != nil:
			return err
		case c.JSON:
			return printJSON(days)
		case len(days) == 0:
			say(os.Stderr, "Nothing has happened on these days.\n")
			return nil
		}
		return showStats(os.Stdout, days)
	})
}

// showStats prints a line a day.
func showStats(w io.Writer, days []admin.DayStats) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	say(table, "DAY\tLOGINS\tAPPROVED\tDENIED\tEXPIRED\tSILENT\tCODES\tENROLLED\tLEFT\tRESTORES\tRESTORED\tRESETS\tPUSHED (SENT/FAILED/LOST)\n")
	for _, d := range days {
		var pushed []string
		for _, provider := range push.Providers {
			if p, there := d.Push[provider]; there {
				pushed = append(pushed, provider+" "+fmt.Sprintf("%d/%d/%d", p.Sent, p.Failed, p.Lost))
			}
		}
		say(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n",
			d.Date, d.Logins, d.Approved, d.Denied, d.Expired, d.Silent, d.Codes, d.Enrolled, d.Left, d.Restores, d.Restored, d.Resets,
			orDash(strings.Join(pushed, ", ")))
	}
	return table.Flush()
}
