package main

import (
	"fmt"
	"time"

	"tutela/device/phone"
)

type phoneNoticesCmd struct {
	Since string        `help:"Only later ones than the notice with this time (d), as --json shows it." placeholder:"D"`
	Wait  time.Duration `help:"Wait this long for one to come, at most 60s." default:"0s" placeholder:"TIME"`
}

// Help is the long help of "tutela phone notices".
func (phoneNoticesCmd) Help() string {
	return `What happened to the user: another phone, a new recovery code, a restore. The server keeps it for 30 days, so a phone
without a push service learns of it as well.

  tutela phone notices
  tutela phone notices --wait 60s --since 2026-03-01T12:00:00.123Z`
}

// Run shows the notices that the server keeps for this phone, the oldest first.
func (n *phoneNoticesCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	var since time.Time
	if n.Since != "" {
		var err error
		if since, err = time.Parse(time.RFC3339Nano, n.Since); err != nil {
			return fmt.Errorf("--since %s is not the time of a notice: take the d that tutela phone notices --json shows", plain(n.Since))
		}
	}
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	told, err := p.Notices(ctx, since, n.Wait)
	if err != nil {
		return c.explain(p, err)
	}
	if c.JSON {
		return c.printJSON(each(told, noticeForScripts))
	}
	if len(told) == 0 {
		c.say("Nothing was told to this phone.\n")
	}
	for _, notice := range told {
		c.showNotice(notice)
	}
	return nil
}
