package main

import (
	"bytes"
	"errors"
	"fmt"

	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"
)

// complaint is what one line says of something that cannot be done as it was typed.
type complaint struct {
	args   []string
	status int
	says   string // with what was typed, and the way out
}

// complaints are the commands that work on an installation, each with something that it cannot do.
var complaints = []complaint{
	{[]string{"user", "show", "mria"}, 1, `there is no user "mria": see tutela user list`},
	{[]string{"user", "export", "mria"}, 1, `there is no user "mria": see tutela user list`},
	{[]string{"user", "role", "mria", "admin"}, 1, `there is no user "mria"`},
	{[]string{"user", "role", "maria", "king"}, 2, `a role is none, viewer, helpdesk, admin or owner, not "king"`},
	{[]string{"user", "block", "mria"}, 1, `there is no user "mria"`},
	{[]string{"user", "unlock", "mria"}, 1, `there is no user "mria"`},
	{[]string{"user", "reset", "mria", "--reason", "x", "--yes"}, 1, `there is no user "mria"`},
	{[]string{"user", "reset", "maria", "--reason", "", "--yes"}, 2, "the reason of a reset must be text of 1 to 1000 bytes"},
	{[]string{"user", "reset", "maria", "--reason", "x"}, 2, "give --yes, or --dry-run to see what would go"},
	{[]string{"user", "reset", "maria", "--reason", "x", "--caller-check", "guess"}, 2, `--caller-check must be one of "no_answer",`},
	{[]string{"ticket", ""}, 2, "the user id must be text of 1 to 255 bytes"},
	{[]string{"events", "--user", "mria"}, 1, `there is no user "mria"`},
	{[]string{"events", "--type", "nonsense"}, 2, `there is no type of event "nonsense": tutela events --help lists them`},
	{[]string{"events", "--last", "0"}, 2, "--last 0: it is a number of events, from 1"},
	{[]string{"serve", "--log-level", "loud"}, 2, `--log-level: "loud" is none of debug, info, warn, error`},
	{[]string{"serve", "--listen", "localhost:99999"}, 2, `--listen "localhost:99999" is not a HOST:PORT`},
	{[]string{"serve", "--dev", "--listen", ":80"}, 2, "--dev is for this machine alone, and --listen :80 is not: use localhost"},
	{[]string{"policy", "set", "nosuch", "1"}, 1, `there is no policy "nosuch": see tutela policy list`},
	{[]string{"policy", "get", "nosuch"}, 1, `there is no policy "nosuch": see tutela policy list`},
	{[]string{"policy", "set", "events.keep", "30"}, 2, `events.keep is a time from 1d to 3650d, such as 36h or 30d, not "30"`},
	{[]string{"policy", "set", "restore.wait", "1d"}, 2, `restore.wait is a time from 1m to 14m, such as 90s or 10m, not "1d"`},
	{[]string{"policy", "set", "approval.digits", "nine"}, 2, `approval.digits is a whole number from 2 to 8, not "nine"`},
	{[]string{"policy", "set", "approval.presence", "nod"}, 2, `approval.presence is one of prefer-number, number, tap, not "nod"`},
	{[]string{"client", "add", "x", "--scope", "no:such"}, 2, `there is no scope "no:such"`},
	{[]string{"client", "add", "x"}, 2, "give it a scope"},
	{[]string{"client", "add", "x", "--scope", "openid", "--acts-as", "mria"}, 1, `there is no user "mria"`},
	{[]string{"client", "add", "x", "--scope", "openid", "--presence", "nod"}, 2, `--presence must be one of "number","tap" but got "nod"`},
	{[]string{"client", "remove", "nosuch", "--yes"}, 1, `there is no client with the id "nosuch": see tutela client list`},
	{[]string{"client", "remove", "nosuch"}, 2, "nobody is there to ask: give --yes"},
	{[]string{"damage", "drop"}, 2, "nobody is there to ask: give --yes"},
	{[]string{"outbox", "forget", "nosuch"}, 1, `no entry lies aside with the id "nosuch": see tutela outbox list`},
	{[]string{"receipt", "verify", "nosuch.json"}, 1, "open nosuch.json: no such file"},
	{[]string{"receipt", "verify", "main.go", "--jwks", "nosuch.json"}, 1, "open nosuch.json: no such file"},
	{[]string{"backup-db", "nosuch/copy.db"}, 1, "there is no folder nosuch for the copy: make it first"},
	{[]string{"backup-db", "main.go"}, 1, "main.go exists already, and is not overwritten: name another file"},
	{[]string{"clock", "--trust-wall", "--keep-mark"}, 2, "--trust-wall and --keep-mark can't be used together"},
}

func TestCommandLine_NamesWhatWasTypedAndTheWayOut(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		c.run("ticket", "maria")
		for _, wrong := range complaints {
			r := c.try(wrong.args...)
			if r.status != wrong.status || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, wrong.says) {
				t.Errorf("tutela %s: status %d, wanted %d and one line with\n%s\n%s", strings.Join(wrong.args, " "), r.status, wrong.status, wrong.says, r.stderr)
			}
		}
	})
}

// Of every command: a flag that it does not know, and an argument that it lacks or has too many of, end it with 2; a
// data folder that is none ends it with 1.
func TestCommandLine_EndsEveryCommandWith1WhenItFailsAnd2WhenItIsNotUnderstood(t *testing.T) {
	c := newCommandLineOnNothing(t)
	complete := map[string][]string{}
	for _, args := range installationCommands(t) {
		for words := range args {
			complete[strings.Join(args[:words+1], " ")] = args
		}
	}
	parser, err := newParser(t.Context())
	must(t, err)
	walked := 0
	everyCommand(parser.Model.Node, func(node *kong.Node) {
		if node.Type != kong.CommandNode || len(node.Children) > 0 {
			return
		}
		walked++
		words := strings.Fields(node.FullPath())[1:]
		c.tryWith(nil, append(words, "--nosuch")...).notUnderstood("unknown flag --nosuch: see tutela " + strings.Join(words, " ") + " --help")
		excess := append(slices.Clone(words), "a", "b", "c", "d", "--reason=x", "--code=x")
		if r := c.tryWith(nil, excess...); r.status != statusUsage {
			t.Errorf("%v: status %d: %s", excess, r.status, r.stderr)
		}
		for _, positional := range node.Positional {
			if positional.Required {
				c.tryWith(nil, words...).notUnderstood("see tutela " + strings.Join(words, " ") + " --help")
				break
			}
		}
		if args, ok := complete[strings.Join(words, " ")]; ok {
			c.try(args...).refused("there is no installation in " + c.data)
		} else if !isWithoutInstallation(words) {
			t.Errorf("installationCommands lacks %v", words)
		}
	})
	if walked < 30 {
		t.Errorf("walked only %d commands", walked)
	}
}

// isWithoutInstallation reports whether a command works on no installation, or makes one.
func isWithoutInstallation(words []string) bool {
	switch words[0] {
	case "phone", "demo", "serve", "receipt", "restore-db", "request", "dev-cert", "migrate-store":
		return true
	}
	return false
}

func TestPhone_SaysWhereNoServerAnswers(t *testing.T) {
	c := newCommandLineOnNothing(t)
	phone := filepath.Join(t.TempDir(), "phone")
	c.tryWith(nil, "phone", "--phone", phone, "enroll", "http://localhost:1/mfa/enrollment?ticket=abc").refused("no server answers on http://localhost:1: see that it runs")
	c.tryWith(nil, "phone", "--phone", phone, "update").notUnderstood("give --name, --identifier or --push-token")
	c.tryWith(nil, "phone", "--phone", phone, "approvals", "--wait", "5x").notUnderstood("--wait")
}

func TestRestoreDB_SaysThatThereIsNoSuchFile(t *testing.T) {
	c := newCommandLine(t)
	c.try("restore-db", "nosuch.db").refused("nothing was restored: there is no file nosuch.db")
}

func TestData_ThatIsAFileIsSaid(t *testing.T) {
	c := newCommandLineOnNothing(t)
	must(t, os.WriteFile(c.data, nil, 0o600))
	for _, args := range installationCommands(t) {
		c.try(args...).refused(c.data + " is not a folder: give the server's folder by --data")
	}
}

// onTerminal runs a command at a terminal, on which a person types once something was asked, and returns what was shown.
func (c *commandLine) onTerminal(asked, typed string, args ...string) (shown string, status int) {
	c.t.Helper()
	ours, theirs := newTerminal(c.t)
	cmd := exec.CommandContext(c.t.Context(), c.binary, append(args, "--data", c.data)...)
	cmd.Env = cleanEnvironment()
	cmd.Stdin = theirs
	cmd.Stdout = theirs
	cmd.Stderr = theirs
	must(c.t, cmd.Start())
	must(c.t, theirs.Close())
	var screen bytes.Buffer
	buf := make([]byte, 1024)
	for {
		n, err := ours.Read(buf) // EIO when nobody has the other end any more
		before := strings.Contains(screen.String(), asked)
		screen.Write(buf[:n])
		if !before && strings.Contains(screen.String(), asked) {
			_, err := ours.WriteString(typed + "\n")
			must(c.t, err)
		}
		if err != nil {
			break
		}
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return screen.String(), cmd.ProcessState.ExitCode()
}

// newTerminal opens a terminal: our end of it, and that of the program. Source: pts(4), ioctl_tty(2).
func newTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { _ = ours.Close() })
	fd := int(ours.Fd())
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	return ours, theirs
}

func TestClientRemove_AsksAtATerminal(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		id := decode(t, c.run("client", "add", "shop", "--scope", "openid"))["client_id"].(string)
		shown, status := c.onTerminal("to go on: ", "yes", "client", "remove", id)
		if status != statusFailed || !strings.Contains(shown, "shop ("+id+")") || !strings.Contains(shown, "that is not the client's name: nothing was removed") {
			t.Errorf("status %d:\n%s", status, shown)
		}
		if listed := c.run("client", "list"); !strings.Contains(listed, id) {
			t.Errorf("it is removed all the same:\n%s", listed)
		}
		shown, status = c.onTerminal("to go on: ", "shop", "client", "remove", id)
		if status != 0 || !strings.Contains(shown, "Removed client shop ("+id+")") {
			t.Errorf("status %d:\n%s", status, shown)
		}
	})
}
