package main

import (
	"context"
	"errors"

	"tutela/device/phone"
)

type phoneRingCmd struct {
	Once bool `help:"End with the first message."`
}

// Help is the long help of "tutela phone ring".
func (phoneRingCmd) Help() string {
	return `Subscribes this phone to a Web Push service of its own, which listens on 127.0.0.1, tells the server so, and shows each message
as it comes: a login that asks, or a notice. It goes on until Ctrl-C. The server must be allowed to call this machine:
serve --dev, or serve --push-allow 127.0.0.1.

  tutela phone ring
  tutela phone ring --once --json | jq -r .c`
}

// Run rings.
func (r *phoneRingCmd) Run(c *phoneCmd) (err error) {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	ring, err := p.Ring(ctx)
	if err != nil {
		return c.explain(p, err)
	}
	defer func() { err = errors.Join(err, ring.Close()) }()
	if !c.JSON {
		c.say("This phone rings now; its push service is %s\n", ring.Address())
	}
	for {
		m, err := ring.Next(ctx)
		if errors.Is(err, context.Canceled) {
			return nil // it was stopped
		}
		if err != nil {
			return err
		}
		if err := c.showMessage(ctx, p, m); err != nil || r.Once {
			return err
		}
	}
}

// showMessage shows a push message.
func (c *phoneCmd) showMessage(ctx context.Context, p *phone.Phone, m phone.Message) error {
	switch {
	case c.JSON && m.Approval != nil:
		return c.printJSON(approvalForScripts(*m.Approval))
	case c.JSON:
		return c.printJSON(noticeForScripts(*m.Notice))
	case m.Approval != nil:
		c.showApproval(ctx, p, *m.Approval, false)
	default:
		c.showNotice(*m.Notice)
	}
	return nil
}
