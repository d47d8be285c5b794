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
}

const about = `A backend for authenticator apps: push approvals, backups and restores, recovery codes, resets.

Every flag can be given as an environment variable too (TUTELA_…). Begin with:

  tutela serve --dev          and, in another terminal,
  tutela ticket maria         a link and a QR code with which maria's phone enrols`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c commands
	k := kong.Parse(&c, kong.Name("tutela"), kong.Description(about), kong.UsageOnError(),
		kong.DefaultEnvars("TUTELA"), kong.BindTo(ctx, (*context.Context)(nil)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err := k.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "tutela: "+err.Error())
		os.Exit(1)
	}
}
