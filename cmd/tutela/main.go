// Command tutela is the whole product: the server, the operator's commands, and a simulated phone.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// commands is the command line.
type commands struct {
	Serve serveCmd `cmd:"" help:"Serve the APIs and the pages."`
	Phone phoneCmd `cmd:"" help:"Be a phone: a simulated authenticator app."`
	Demo  demoCmd  `cmd:"" help:"Tell the whole story, with real processes."`

	Client    clientCmd    `cmd:"" group:"Operate an installation" help:"Register, show and remove clients: login systems and admins' programs."`
	Ticket    ticketCmd    `cmd:"" group:"Operate an installation" help:"Make a link, and a QR code, with which a user's phone enrols."`
	User      userCmd      `cmd:"" group:"Operate an installation" help:"Show, block and reset users, and give them roles."`
	Policy    policyCmd    `cmd:"" group:"Operate an installation" help:"Show and set policies."`
	Events    eventsCmd    `cmd:"" group:"Operate an installation" help:"Show what happened."`
	Receipt   receiptCmd   `cmd:"" group:"Operate an installation" help:"Verify the receipt of a reset."`
	BackupDB  backupDBCmd  `cmd:"" name:"backup-db" group:"Operate an installation" help:"Copy the data file while the server serves."`
	RestoreDB restoreDBCmd `cmd:"" name:"restore-db" group:"Operate an installation" help:"Put a copy in the place of the data file."`
	Compact   compactCmd   `cmd:"" group:"Operate an installation" help:"Write the data file anew: nothing removed is left in it."`
	Key       keyCmd       `cmd:"" group:"Operate an installation" help:"Rotate keys."`
}

const about = `A backend for authenticator apps: push approvals, backups and restores, recovery codes, resets.

Every flag can be given as an environment variable too (TUTELA_…). Begin with:

  tutela serve --dev          and, in another terminal,
  tutela ticket maria         a link and a QR code with which maria's phone enrols`

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "tutela: "+err.Error())
		os.Exit(1)
	}
}

// run runs the command that the command line names, until it ends or the process is told to.
func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c commands
	k := kong.Parse(&c, kong.Name("tutela"), kong.Description(about), kong.UsageOnError(),
		kong.DefaultEnvars("TUTELA"), kong.BindTo(ctx, (*context.Context)(nil)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	return k.Run()
}
