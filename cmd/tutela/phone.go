package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"tutela/device/phone"
)

// localServer is the server of a phone that was given no address.
const localServer = "http://localhost:8080"

// phoneCmd is the simulated phone on the command line. Each command opens the phone of the folder, does one thing that
// the person or the app would do, and prints what the person would see.
type phoneCmd struct {
	Folder string `name:"phone" env:"TUTELA_PHONE" default:"./phone" type:"path" placeholder:"DIR" help:"Folder that is the phone. Two folders are two phones."`
	Server string `env:"TUTELA_PHONE_SERVER" placeholder:"URL" help:"Public URL of the server. By default what the QR code or the link says, what the phone remembers, or http://localhost:8080."`
	JSON   bool   `name:"json" help:"Print JSON, for scripts."`

	Enroll    phoneEnrollCmd    `cmd:"" help:"Bind this phone to a user, by a ticket."`
	Approvals phoneApprovalsCmd `cmd:"" help:"Show the logins that wait for this phone's answer."`
	Approve   phoneApproveCmd   `cmd:"" help:"Say yes to a login."`
	Deny      phoneDenyCmd      `cmd:"" help:"Say no to a login."`
	Backup    phoneBackupCmd    `cmd:"" help:"Back the accounts up, encrypted."`
	Reinstall phoneReinstallCmd `cmd:"" help:"Remove the app and install it again."`
	Restore   phoneRestoreCmd   `cmd:"" help:"Bring this phone back with the recovery code."`
	Status    phoneStatusCmd    `cmd:"" help:"Show what this phone holds and what the server knows of it."`
	Code      phoneOTPCmd       `cmd:"" help:"Show the one-time code."`
	Practise  phonePractiseCmd  `cmd:"" help:"Check the saved recovery code without spending it."`
	Ring      phoneRingCmd      `cmd:"" help:"Be a push service of this phone's own, and show what comes."`
	Notices   phoneNoticesCmd   `cmd:"" help:"Show what this phone was told."`
	LoseCode  phoneLoseCodeCmd  `cmd:"" name:"lose-code" help:"Say that the recovery code is lost."`
	Restores  phoneRestoresCmd  `cmd:"" help:"Show the restores that would take over from a phone of yours."`
	Allow     phoneAllowCmd     `cmd:"" help:"Let a restore of your own go on at once."`
	Veto      phoneVetoCmd      `cmd:"" help:"Stop a restore that is not yours."`
	Dispute   phoneDisputeCmd   `cmd:"" help:"Say that who took over from this phone was not you."`
	Update    phoneUpdateCmd    `cmd:"" help:"Tell the server a new name or push token."`
	Unenroll  phoneUnenrollCmd  `cmd:"" help:"Take this phone off the server."`

	stdout io.Writer
}

// Help is the long help of "tutela phone".
func (phoneCmd) Help() string {
	return `A simulated authenticator app. It speaks HTTP only, as any app would, and keeps its state in a folder:

  phone.json             the phone itself; a reinstall leaves it alone
  platform-backup.json   what iCloud or Google carry to the next installation
  hardware-keys.json     the device's key and the accounts' secrets; lost at a reinstall

The main story, on one machine:

  tutela phone enroll "$(tutela ticket maria)"
  tutela phone approvals
  tutela phone approve --number 042917
  tutela phone backup --add "otpauth://totp/Example:maria?secret=JBSWY3DPEHPK3PXP"
  tutela phone reinstall
  tutela phone restore --code 7V3KQ9X2M4T8R6W5Y1ZJ0ABV

A second phone:

  tutela phone --phone ./phone2 enroll "$(tutela ticket maria --multiple)"`
}

// open reads the phone of the folder.
func (c *phoneCmd) open(o phone.Options) (*phone.Phone, error) {
	o.Folder = c.Folder
	o.BaseURL = c.Server
	return phone.New(o)
}

// openAnywhere opens the phone for a command that may be its first. A phone that knows no server gets localServer,
// unless told says that the command line names one.
func (c *phoneCmd) openAnywhere(o phone.Options, told bool) (*phone.Phone, error) {
	p, err := c.open(o)
	if err == nil && p.Base() == "" && !told {
		o.Folder = c.Folder
		o.BaseURL = localServer
		return phone.New(o)
	}
	return p, err
}

// phoneContext ends with the first interrupt.
func phoneContext() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// ask reads a number that a person types. Without a terminal there is nobody to ask, which is an error.
func (c *phoneCmd) ask(question string) (string, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", errors.New("this login asks for the number that the other screen shows: give it with --number")
	}
	c.say("%s", question)
	var typed string
	if _, err := fmt.Fscanln(os.Stdin, &typed); err != nil {
		return "", errors.New("no number was typed, and nothing is decided")
	}
	return typed, nil
}
