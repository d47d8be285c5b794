package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"tutela/device/phone"
)

type phoneApprovalsCmd struct {
	Wait time.Duration `help:"Wait this long for one to come, at most 60s." default:"0s" placeholder:"TIME"`
	Push string        `help:"Read the push messages that a server in development leaves in this folder (DATA/push), and ask no server." placeholder:"DIR"`
}

// Help is the long help of "tutela phone approvals".
func (phoneApprovalsCmd) Help() string {
	return `Pulls the pending approvals and shows each as the phone's screen would.

  tutela phone approvals --wait 30s
  tutela phone approvals --push ./data/push     what the push service would have brought, notices too
  tutela phone approvals --json | jq -r '.[0].c'`
}

// Run shows the pending approvals.
func (a *phoneApprovalsCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	if a.Push != "" {
		return a.showMessages(ctx, c, p)
	}
	approvals, err := p.Approvals(ctx, a.Wait, nil)
	if err != nil {
		return c.explain(p, err)
	}
	if c.JSON {
		return c.printJSON(each(approvals, approvalForScripts))
	}
	if len(approvals) == 0 {
		c.say("No login waits for an answer.\n")
	}
	for _, approval := range approvals {
		c.showApproval(ctx, p, approval, len(approvals) > 1)
	}
	return nil
}

func (a *phoneApprovalsCmd) showMessages(ctx context.Context, c *phoneCmd, p *phone.Phone) error {
	if _, err := os.Stat(a.Push); errors.Is(err, fs.ErrNotExist) && p.Enrollment() != nil {
		return fmt.Errorf("there is no folder %s: a server with --dev makes it with its first message", a.Push)
	}
	messages, err := p.Messages(a.Push)
	if err != nil {
		return c.explain(p, err)
	}
	if c.JSON {
		all := []any{}
		for _, m := range messages {
			if m.Approval != nil {
				all = append(all, approvalForScripts(*m.Approval))
			} else {
				all = append(all, noticeForScripts(*m.Notice))
			}
		}
		return c.printJSON(all)
	}
	if len(messages) == 0 {
		c.say("No message for this phone.\n")
	}
	for _, m := range messages {
		if m.Approval != nil {
			c.showApproval(ctx, p, *m.Approval, true)
		} else {
			c.showNotice(*m.Notice)
		}
	}
	return nil
}

// choice says which approval is meant.
type choice struct {
	Approval string        `arg:"" optional:"" help:"Beginning of the approval's challenge, as approvals shows it. Not needed when one is pending."`
	Wait     time.Duration `help:"Wait this long for one to come, at most 60s." default:"0s" placeholder:"TIME"`
}

// pick pulls the approvals and finds the one that is meant.
func (ch *choice) pick(ctx context.Context, p *phone.Phone) (phone.Approval, error) {
	approvals, err := p.Approvals(ctx, ch.Wait, nil)
	if err != nil {
		return phone.Approval{}, err
	}
	var meant []phone.Approval
	for _, a := range approvals {
		if strings.HasPrefix(a.Challenge, ch.Approval) {
			meant = append(meant, a)
		}
	}
	switch {
	case len(meant) == 1:
		return meant[0], nil
	case len(approvals) == 0:
		return phone.Approval{}, errors.New("no login waits for an answer")
	case len(meant) == 0:
		return phone.Approval{}, fmt.Errorf("no pending approval begins with %q: see tutela phone approvals", ch.Approval)
	}
	return phone.Approval{}, fmt.Errorf("%d logins wait for an answer: see tutela phone approvals, and name one", len(meant))
}

type phoneApproveCmd struct {
	choice
	Number string `help:"The number that the other screen shows." placeholder:"NUMBER"`
}

// Help is the long help of "tutela phone approve".
func (phoneApproveCmd) Help() string {
	return `Signs "yes" with the device's key. Where the login asks for it, with the number that the login screen shows;
a wrong number is a no.

  tutela phone approve --number 042917
  tutela phone approve --wait 30s               an app that can only be tapped
  tutela phone approve qZ3v --number 042917     one of several, by the beginning of its challenge`
}

// Run approves a login.
func (a *phoneApproveCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	approval, err := a.pick(ctx, p)
	if err != nil {
		return c.explain(p, err)
	}
	number := a.Number
	if approval.NumberMatching && number == "" {
		c.showApproval(ctx, p, approval, false)
		if number, err = c.ask("Number on the other screen: "); err != nil {
			return err
		}
	}
	if err := p.Approve(ctx, approval, number); err != nil {
		return c.explain(p, err)
	}
	c.say("Approved. The other screen goes on by itself.\n")
	return nil
}

type phoneDenyCmd struct {
	choice
	Reason string `help:"Why: not_me and hack stop further pushes of that kind for an hour; any other text is for the log." placeholder:"REASON"`
}

// Help is the long help of "tutela phone deny".
func (phoneDenyCmd) Help() string {
	return `Signs "no" with the device's key.

  tutela phone deny
  tutela phone deny --reason not_me`
}

// Run denies a login.
func (d *phoneDenyCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	approval, err := d.pick(ctx, p)
	if err != nil {
		return c.explain(p, err)
	}
	if err := p.Deny(ctx, approval, d.Reason); err != nil {
		return c.explain(p, err)
	}
	c.say("Denied.\n")
	if d.Reason == "not_me" || d.Reason == "hack" {
		c.say("Logins of that kind will not ring this phone for an hour.\n")
	}
	return nil
}
