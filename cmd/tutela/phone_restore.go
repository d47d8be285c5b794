package main

import (
	"context"
	"errors"
	"time"

	"tutela/device/phone"
)

type phoneRestoreCmd struct {
	Code           string `help:"The saved recovery code. Without it the command says what the server asks for." placeholder:"CODE"`
	CleanStart     bool   `help:"Do not take the old installation over; start as new."`
	FirstTimeSetup bool   `help:"Give the restore up: the code is lost."`
}

// Help is the long help of "tutela phone restore".
func (phoneRestoreCmd) Help() string {
	return `After a reinstall: asks the server for the next step, redeems the recovery code, and brings the accounts back.
The old installation is retired, and a new recovery code is shown, once. When the answer is lost on the way, the same
command gets it again, also without the code.

A server that asks the old phone first takes no code before a time. The command waits for it with the code in hand; the
old phone ends the wait by tutela phone allow.

  tutela phone restore                       what is to be done?
  tutela phone restore --code "7V3K Q9X2 M4T8 R6W5 Y1ZJ 0ABV"
  tutela phone restore --first-time-setup    the code is lost; then: tutela phone enroll TICKET`
}

// Run restores the phone, as far as the server lets it.
func (r *phoneRestoreCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.openAnywhere(phone.Options{}, false)
	if err != nil {
		return err
	}
	if p.Enrollment() != nil {
		return errors.New("this phone is enrolled and needs no restore (tutela phone reinstall simulates the loss)")
	}
	decision, restored, err := r.decide(ctx, p)
	if err != nil {
		return c.explain(p, err)
	}
	// A flag counts only where the server asks for it; else the person is told what the server asks for.
	switch {
	case restored != nil:
	case decision.Step == phone.StepRecoveryCode && r.FirstTimeSetup:
		if decision, err = p.FirstTimeSetup(ctx); err != nil {
			return c.explain(p, err)
		}
	case decision.Step == phone.StepRecoveryCode && r.Code != "":
		if decision, restored, err = r.redeem(ctx, c, p, decision); err != nil {
			return c.explain(p, err)
		}
	}
	if restored == nil {
		return c.showDecision(decision, r.Code != "")
	}
	return r.finish(ctx, c, p, restored)
}

// decide goes on with the restore under way, or starts one.
func (r *phoneRestoreCmd) decide(ctx context.Context, p *phone.Phone) (phone.Restore, *phone.Restored, error) {
	if p.Restoring() != "" && !r.CleanStart {
		decision, restored, err := p.RestoreState(ctx)
		over := phone.CodeOf(err) == "restore_not_found" || err == nil && decision.Step == phone.StepFirstTimeSetup
		if !over {
			return decision, restored, err
		}
	}
	decision, err := p.StartRestore(ctx, r.CleanStart)
	return decision, nil, err
}

// redeem gives the code when the server takes one. restored is nil when something else came next meanwhile.
func (r *phoneRestoreCmd) redeem(ctx context.Context, c *phoneCmd, p *phone.Phone, decision phone.Restore) (phone.Restore, *phone.Restored, error) {
	if decision.Reason == phone.OldDeviceAsked {
		if !c.JSON {
			c.say("The old phone is asked first. This one waits with your code until %s.\n", clockTime(decision.WaitUntil))
			c.say("Is the old phone at hand? Then on that one:  tutela phone allow %s\n\n", decision.ID)
		}
		next, restored, err := p.AwaitTurn(ctx)
		if err != nil || restored != nil || next.Step != phone.StepRecoveryCode {
			return next, restored, err
		}
	}
	done, err := p.RestoreWithCode(ctx, r.Code)
	if err != nil {
		return decision, nil, err
	}
	return decision, &done, nil
}

// finish shows the next recovery code, and then fetches the backup. The order matters: after the phone's first
// authenticated call the server no longer repeats a lost answer.
func (r *phoneRestoreCmd) finish(ctx context.Context, c *phoneCmd, p *phone.Phone, restored *phone.Restored) error {
	var err error
	if c.JSON {
		err = c.printEnrolled(p, enrolledJSON{restored.EnrollmentID, restored.UserID, restored.RecoveryCode})
	} else {
		c.say("Welcome back, %s. This phone has taken over; the old installation no longer works.\n", restored.UserID)
		err = c.showRecoveryCode(p)
	}
	if err != nil {
		return err
	}
	version, accounts, err := p.FetchBackup(ctx)
	if err != nil {
		return c.explain(p, err)
	}
	if c.JSON {
		return nil
	}
	c.say("\n%s came back from generation %d:\n", plural(len(accounts), "account"), version.Generation)
	for _, name := range accountNames(accounts) {
		c.say("  %s\n", name)
	}
	return nil
}

type phoneRestoresCmd struct {
	Wait time.Duration `help:"Wait this long for one to come, at most 60s." default:"0s" placeholder:"TIME"`
}

// Help is the long help of "tutela phone restores".
func (phoneRestoresCmd) Help() string {
	return `Who has your platform backup may try to take over; this is how you see it, and how you stop it.

  tutela phone restores --wait 60s
  tutela phone allow rst_…                   it is you, on your new phone
  tutela phone veto rst_…                    it is not you`
}

// Run lists the restores of others that would retire a phone of the user.
func (r *phoneRestoresCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	open, err := p.OpenRestoresOfMine(ctx, r.Wait)
	if err != nil {
		return c.explain(p, err)
	}
	if c.JSON {
		return c.printJSON(open)
	}
	if len(open) == 0 {
		c.say("No other phone tries to take over from one of yours.\n")
	}
	for _, o := range open {
		from := "one of your phones"
		if o.MayAllow {
			from = "this phone"
		}
		c.say("%s wants to take over from %s, since %s.\n", o.Name, from, o.StartedAt)
		c.say("  Not you?                     tutela phone veto %s\n", o.ID)
		if o.MayAllow && o.Reason == phone.OldDeviceAsked {
			c.say("  It is you, on your new one?  tutela phone allow %s   (else it waits until %s)\n", o.ID, clockTime(o.WaitUntil))
		}
	}
	return nil
}

type phoneAllowCmd struct {
	Restore string `arg:"" help:"Id of the restore, as restores shows it."`
}

// Help is the long help of "tutela phone allow".
func (phoneAllowCmd) Help() string {
	return `Says "that is me, on my new phone" from the old phone. The new one need not wait; it still needs the recovery code.

  tutela phone allow rst_…`
}

// Run allows a restore.
func (a *phoneAllowCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	if err := p.Allow(ctx, a.Restore); err != nil {
		return c.explain(p, err)
	}
	c.say("Allowed. The new phone goes on with its code; then this one works no longer.\n")
	return nil
}

type phoneDisputeCmd struct {
	Restore string `arg:"" help:"What took over, as the last notice of this phone shows it (tutela phone notices)."`
}

// Help is the long help of "tutela phone dispute".
func (phoneDisputeCmd) Help() string {
	return `Says, from a phone that another has taken the place of within a day, that this was not its person. Admins see it, and all of
the user's phones are told.

  tutela phone notices
  tutela phone dispute rst_…`
}

// Run disputes a restore.
func (d *phoneDisputeCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	if err := p.Dispute(ctx, d.Restore); err != nil {
		return c.explain(p, err)
	}
	c.say("Told. Admins see it, and so do your other phones. Call your help desk as well.\n")
	return nil
}

type phoneVetoCmd struct {
	Restore string `arg:"" help:"Id of the restore, as restores shows it."`
}

// Help is the long help of "tutela phone veto".
func (phoneVetoCmd) Help() string {
	return `Says "that is not me", from the old phone or any other of the user's. The new one then needs an admin.

  tutela phone veto rst_…`
}

// Run vetoes a restore.
func (v *phoneVetoCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	if err := p.Veto(ctx, v.Restore); err != nil {
		return c.explain(p, err)
	}
	c.say("Stopped. Nobody can take over for a day without an admin.\n")
	return nil
}
