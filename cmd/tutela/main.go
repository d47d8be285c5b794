// Command tutela is the whole product: the server, the operator's commands, and a simulated phone.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"tutela/server/operator"
	"tutela/storage"
	"tutela/storage/legible"
)

// commands is the command line.
type commands struct {
	Version kong.VersionFlag `name:"version" help:"Print the version, and end."`

	Serve serveCmd `cmd:"" help:"Serve the APIs and the pages."`
	Phone phoneCmd `cmd:"" help:"Be a phone: a simulated authenticator app."`
	Demo  demoCmd  `cmd:"" help:"Tell the whole story, with real processes."`

	DevCert devCertCmd `cmd:"" name:"dev-cert" help:"Make a certificate for development, and say how to trust it."`

	Client       clientCmd       `cmd:"" group:"Operate an installation" help:"Register, show and remove clients: login systems and admins' programs."`
	Ticket       ticketCmd       `cmd:"" group:"Operate an installation" help:"Make a link, and a QR code, with which a user's phone enrols."`
	User         userCmd         `cmd:"" group:"Operate an installation" help:"Find, show, block, reset and delete users, and give them roles and codes."`
	Admin        adminCmd        `cmd:"" group:"Operate an installation" help:"Invite admins to the dashboard."`
	Device       deviceCmd       `cmd:"" group:"Operate an installation" help:"Show, suspend and remove users' phones."`
	Webhook      webhookCmd      `cmd:"" group:"Operate an installation" help:"Register, try and remove webhooks: programs that are told what happens."`
	Stream       streamCmd       `cmd:"" group:"Operate an installation" help:"Make, show, change and remove streams of shared signals: clients that are told what happens to accounts."`
	Policy       policyCmd       `cmd:"" group:"Operate an installation" help:"Show and set policies."`
	Events       eventsCmd       `cmd:"" group:"Operate an installation" help:"Show what happened."`
	Stats        statsCmd        `cmd:"" group:"Operate an installation" help:"Show what happened, in numbers a day."`
	Receipt      receiptCmd      `cmd:"" group:"Operate an installation" help:"Verify the receipt of a reset."`
	Request      requestCmd      `cmd:"" group:"Operate an installation" help:"Find an error's reference in the log."`
	Outbox       outboxCmd       `cmd:"" group:"Operate an installation" help:"Show what could not be sent because it cannot be read."`
	Damage       damageCmd       `cmd:"" group:"Operate an installation" help:"Show the records that the disk has damaged, and remove them."`
	BackupDB     backupDBCmd     `cmd:"" name:"backup-db" group:"Operate an installation" help:"Copy the data file while the server serves."`
	RestoreDB    restoreDBCmd    `cmd:"" name:"restore-db" group:"Operate an installation" help:"Put a copy in the place of the data file."`
	MigrateStore migrateStoreCmd `cmd:"" name:"migrate-store" group:"Operate an installation" help:"Move the data to another engine: from a data file into a database, or back."`
	Compact      compactCmd      `cmd:"" group:"Operate an installation" help:"Write the data file anew: nothing removed is left in it."`
	Clock        clockCmd        `cmd:"" group:"Operate an installation" help:"Show the clock, and settle one that may be wrong."`
	Key          keyCmd          `cmd:"" group:"Operate an installation" help:"Rotate keys."`
}

const about = `A backend for authenticator apps: push approvals, backups and restores, recovery codes, resets.

Every flag can be given as an environment variable too: its help names it. Begin with:

  tutela serve --dev          and, in another terminal,
  tutela ticket maria         a link and a QR code with which maria's phone enrols`

// Exit statuses of a run that failed.
const (
	statusFailed = 1
	statusUsage  = 2 // what was typed cannot be run
)

func main() {
	forgetEmptyVariables()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}

// forgetEmptyVariables removes the variables of ours that are set but empty: who writes TUTELA_TLS_CERT= into a unit or
// a compose file means that there is none.
func forgetEmptyVariables() {
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "TUTELA_") && value == "" {
			_ = os.Unsetenv(name) // fails for a malformed name alone
		}
	}
}

// run runs the command that was typed, and returns the status to end with.
func run(ctx context.Context, typed []string) (status int) {
	parser, err := newParser(ctx)
	if err != nil {
		return failed(err, statusFailed)
	}
	if len(typed) == 0 {
		typed = []string{"--help"}
	}
	command, err := parser.Parse(typed)
	if err != nil {
		return failed(fmt.Errorf("%s: see %s --help", parseMessage(err), commandOf(err)), statusUsage)
	}
	if err := command.Run(); err != nil {
		return failed(err, exitStatus(err))
	}
	return 0
}

// failed prints an error for the operator and returns status.
func failed(err error, status int) int {
	fmt.Fprintln(os.Stderr, "tutela: "+escaped(lineOf(err)))
	return status
}

// parseMessage returns what is wrong with a command line. Of a flag that may be left away the parser names the empty word
// among those that it takes.
func parseMessage(err error) string {
	return strings.Replace(err.Error(), `must be one of "",`, "must be one of ", 1)
}

// lineOf returns the one line that the operator reads of an error.
func lineOf(err error) string {
	if storage.CodeOf(err) == storage.OutcomeUnknown && !errors.Is(err, operator.ErrCutOff) {
		return "it is not known whether this was done: look first (tutela user show, client list, policy list), then run it again"
	}
	return err.Error()
}

// escaped makes the lines of an error fit for a terminal: what was typed, or what a server says, may be in them.
func escaped(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = legible.Escape(line)
	}
	return strings.Join(lines, "\n")
}

// newParser makes the parser of the command line. A command's Run gets ctx.
func newParser(ctx context.Context) (*kong.Kong, error) {
	return kong.New(new(commands), kong.Name("tutela"), kong.Description(about), kong.PostBuild(nameEnvironment),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Vars{"version": "tutela " + version}, kong.ValueFormatter(helpOf),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
}

// commandOf returns the command of a line that could not be parsed, as far as it was understood.
func commandOf(err error) string {
	command := "tutela"
	var parsing *kong.ParseError
	if errors.As(err, &parsing) {
		for _, step := range parsing.Context.Path {
			if step.Command != nil {
				command = step.Command.FullPath()
			}
		}
	}
	return command
}

// nameEnvironment gives every flag without an environment variable one of its own: TUTELA, the command and the flag,
// joined by underscores. So what is set for one command never reaches another. A flag that means the same for several
// commands names its variable itself.
func nameEnvironment(k *kong.Kong) error {
	for _, command := range k.Model.Children {
		nameEnvironmentOf(command, "TUTELA")
	}
	return nil
}

// nameEnvironmentOf names the environment variables of a command and of all commands below it. prefix is the
// variable's name up to the command.
func nameEnvironmentOf(command *kong.Node, prefix string) {
	prefix += "_" + environmentWord(command.Name)
	for _, flag := range command.Flags {
		if len(flag.Envs) == 0 {
			flag.Envs = []string{prefix + "_" + environmentWord(flag.Name)}
			flag.Tag.Envs = flag.Envs
		}
	}
	for _, child := range command.Children {
		nameEnvironmentOf(child, prefix)
	}
}

func environmentWord(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// helpOf returns a flag's help with its default and its environment variable.
func helpOf(value *kong.Value) string {
	var notes []string
	if value.Flag != nil && value.HasDefault && !value.IsBool() && value.Default != "" && value.Default != "0s" {
		notes = append(notes, "default "+value.Default)
	}
	for _, name := range value.Tag.Envs {
		notes = append(notes, "$"+name)
	}
	if len(notes) == 0 {
		return value.Help
	}
	return fmt.Sprintf("%s (%s)", value.Help, strings.Join(notes, ", "))
}
