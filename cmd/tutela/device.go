package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"tutela/device"
	"tutela/server/operator"
)

// deviceCmd is "tutela device".
type deviceCmd struct {
	List    deviceListCmd    `cmd:"" help:"Show a user's phones, with their ids."`
	Suspend deviceSuspendCmd `cmd:"" help:"Take a phone out of use, as when it is reported lost."`
	Resume  deviceResumeCmd  `cmd:"" help:"Take a suspension back."`
	Remove  deviceRemoveCmd  `cmd:"" help:"Remove a phone for good; a user's last is a reset."`
}

type deviceListCmd struct {
	dataFlags
	User string `arg:"" help:"The login system's id of the user."`
	JSON bool   `name:"json" help:"Print JSON, for scripts."`
}

// Run shows the user's phones.
func (c *deviceListCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		u, err := operator.ShowUser.Do(ctx, s, c.User)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(each(u.Enrollments, enrollmentForScripts))
		}
		if len(u.Enrollments) == 0 {
			fmt.Fprintf(os.Stderr, "%s has no phone: tutela ticket %s makes a link with which one enrols\n", plain(u.ID), shellWord(plain(u.ID)))
			return nil
		}
		return showDevices(os.Stdout, u.Enrollments)
	})
}

func showDevices(w io.Writer, devices []operator.Enrollment) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	say(table, "ID\tNAME\tSTATE\tENROLLED\tLAST USED\tPUSH\n")
	for _, e := range devices {
		say(table, "%s\t%s\t%s\t%s\t%s\t%s\n", e.ID, orDash(e.Name), e.Status, shortTime(e.Enrolled), shortTime(e.LastAuth), pushInWords(e))
	}
	return table.Flush()
}

// pushInWords says whether pushes reach a phone, and if not, since when and why.
func pushInWords(e operator.Enrollment) string {
	if e.Push != string(device.PushLost) {
		return orDash(e.Push)
	}
	words := e.Push
	if !e.Lost.IsZero() {
		words += " since " + shortTime(e.Lost)
	}
	if e.LostWhy != "" {
		words += " (" + plain(e.LostWhy) + ")"
	}
	return words
}

// oneDevice is the argument of the commands about one phone.
type oneDevice struct {
	dataFlags
	ID string `arg:"" name:"id" help:"The phone, as device list shows it: dev_ and 16 characters."`
}

// change makes a call about the phone and says what it did.
func (c *oneDevice) change(ctx context.Context, call operator.Call[string, operator.None], did string) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		d, err := operator.ShowDevice.Do(ctx, s, c.ID)
		if err != nil {
			return err
		}
		if _, err := call.Do(ctx, s, c.ID); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s (%s) of %s %s.\n", d.ID, plain(d.Name), plain(d.UserID), did)
		return nil
	})
}

type deviceSuspendCmd struct{ oneDevice }

// Help is the long help of "tutela device suspend".
func (deviceSuspendCmd) Help() string {
	return `The phone is asked nothing and answers nothing until it is resumed; its backups stay. What it said before stands too: when
it has vetoed a restore, no restore of that backup goes on for a day, and the command says so.

  tutela device suspend dev_X7KA0vbaHWguatI3`
}

// Run suspends the phone.
func (c *deviceSuspendCmd) Run(ctx context.Context) error {
	err := c.change(ctx, operator.SuspendDevice, "is suspended: it is asked nothing until tutela device resume "+plain(c.ID))
	if err != nil {
		return err
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		d, err := operator.ShowDevice.Do(ctx, s, c.ID)
		if err != nil {
			return err
		}
		u, err := operator.ShowUser.Do(ctx, s, d.UserID)
		if err == nil && anyVetoed(u.Restores) {
			fmt.Fprintf(os.Stderr, "A veto against a restore, given before, stands for a day. Was it a thief's? tutela user unlock %s lifts it.\n",
				shellWord(plain(u.ID)))
		}
		return err
	})
}

type deviceResumeCmd struct{ oneDevice }

// Run takes the suspension back.
func (c *deviceResumeCmd) Run(ctx context.Context) error {
	return c.change(ctx, operator.ResumeDevice, "is in use")
}

type deviceRemoveCmd struct {
	oneDevice
	sure
}

// Help is the long help of "tutela device remove".
func (deviceRemoveCmd) Help() string {
	return `The phone must enrol anew by a ticket. When it is the user's last, all else goes with it: that is a reset, with a receipt,
which tutela user show prints.

  tutela device remove dev_X7KA0vbaHWguatI3`
}

// Run removes the phone.
func (c *deviceRemoveCmd) Run(ctx context.Context) error {
	if err := c.needsSomebody("removing a phone", ", or tutela device suspend it"); err != nil {
		return err
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		d, err := operator.ShowDevice.Do(ctx, s, c.ID)
		if err != nil {
			return err
		}
		if !c.Yes {
			fmt.Fprintf(os.Stderr, "%s (%s) of %s, enrolled %s\n", d.ID, plain(d.Name), plain(d.UserID), shortTime(d.Enrolled))
			if d.Last {
				fmt.Fprintln(os.Stderr, "It is the user's last phone: this is a reset, and takes backups and the recovery code too.")
			}
		}
		if err := c.ask("the user's id", d.UserID, "nothing was removed"); err != nil {
			return err
		}
		if _, err := operator.RemoveDevice.Do(ctx, s, c.ID); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s (%s) of %s is removed.\n", d.ID, plain(d.Name), plain(d.UserID))
		if d.Last {
			fmt.Fprintf(os.Stderr, "It was the last, so this was a reset. Its receipt: tutela user show %s --json\n", shellWord(plain(d.UserID)))
		}
		return nil
	})
}
