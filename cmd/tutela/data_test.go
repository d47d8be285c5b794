package main

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tutela/storage/storagetest/check"
)

// installationCommands returns all commands that work on an installation, each with arguments with which it would do
// something.
func installationCommands(t *testing.T) [][]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x")
	return [][]string{
		{"client", "add", "shop", "--scope", "openid"}, {"client", "list"}, {"client", "remove", "x", "--yes"}, {"client", "rotate-secret", "x"},
		{"ticket", "maria"}, {"admin", "invite", "ada", "--role", "owner"}, {"user", "list"}, {"user", "show", "maria"}, {"user", "export", "maria"}, {"user", "role", "maria", "admin"}, {"user", "block", "maria"},
		{"user", "unlock", "maria"}, {"user", "reset", "maria", "--reason", "x", "--yes"},
		{"policy", "list"}, {"policy", "get", "restore.wait"}, {"policy", "set", "restore.wait", "5m"},
		{"outbox", "list"}, {"outbox", "forget", "x"}, {"stats"}, {"events"}, {"events", "show"}, {"events", "export"}, {"backup-db", file}, {"compact"}, {"key", "rotate"},
		{"user", "code", "maria"}, {"user", "undelete", "maria", "bkp_x"}, {"user", "delete", "maria", "--yes"}, {"device", "list", "maria"}, {"device", "suspend", "dev_x"},
		{"device", "resume", "dev_x"}, {"device", "remove", "dev_x", "--yes"},
		{"webhook", "add", "https://example.com/"}, {"webhook", "list"}, {"webhook", "set", "whk_x", "--enable", "off"}, {"webhook", "test", "whk_x"},
		{"webhook", "rotate", "whk_x"}, {"webhook", "deliveries", "whk_x"}, {"webhook", "remove", "whk_x"},
		{"stream", "list"}, {"stream", "show", "str_x"}, {"stream", "add", "x"}, {"stream", "change", "str_x", "--poll"}, {"stream", "remove", "str_x"}, {"stream", "verify", "str_x"},
		{"damage", "list"}, {"damage", "drop", "--yes"}, {"clock"},
	}
}

func TestCommands_WithoutAnInstallationMakeNothingAndNameTheFolderAsTyped(t *testing.T) {
	c := newCommandLineOnNothing(t)
	home := check.ShortFolder(t)
	for _, args := range installationCommands(t) {
		r := c.from(home, append(args, "--data", "./my data")...)
		r.refused("there is no installation in ./my data: give its folder by --data, or begin one with tutela serve --data './my data'")
	}
	r := c.from(home, "ticket", "maria")
	r.refused("there is no installation in ./data: give its folder by --data, or begin one with tutela serve --data ./data")
	if entries, err := os.ReadDir(home); err != nil || len(entries) > 0 {
		t.Errorf("looking has made %v", entries)
	}
	must(t, os.Mkdir(filepath.Join(home, "data"), 0o700))
	c.from(home, "policy", "list").refused("there is no installation in ./data")
	if entries, err := os.ReadDir(filepath.Join(home, "data")); err != nil || len(entries) > 0 {
		t.Errorf("looking has made %v", entries)
	}
}

func TestCommands_WithAKeyAndNoDataFileSayThatTheDataIsMissing(t *testing.T) {
	c := newCommandLine(t)
	must(t, os.Remove(filepath.Join(c.data, "tutela.db")))
	before := c.names()
	key := filepath.Join(c.data, "master.key")
	for _, args := range installationCommands(t) {
		c.try(args...).refused("there is a master key (" + key + ") and no data file in " + c.data + ": give the right folder by --data")
	}
	if after := c.names(); after != before {
		t.Errorf("the folder held %s, and now %s", before, after)
	}
}

// from runs a command in a folder, without a --data of the test's own.
func (c *commandLine) from(dir string, args ...string) ran {
	c.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(c.t.Context(), c.binary, args...)
	cmd.Dir = dir
	cmd.Env = cleanEnvironment()
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return ran{c.t, stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// served runs a server until it says where it serves, ends it, and returns everything that it printed.
func (c *commandLine) served(environment []string, args ...string) (stdout, stderr string) {
	c.t.Helper()
	var said bytes.Buffer
	cmd := exec.CommandContext(c.t.Context(), c.binary, append([]string{"serve", "--listen", "127.0.0.1:0", "--data", c.data}, args...)...)
	cmd.Env = append(cleanEnvironment(), environment...)
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	must(c.t, err)
	must(c.t, cmd.Start())
	var printed bytes.Buffer
	buf := make([]byte, 4096)
	for !strings.Contains(printed.String(), "/readyz\n") {
		n, err := out.Read(buf)
		printed.Write(buf[:n])
		if err != nil {
			c.t.Fatalf("the server ended: %v\n%s%s", cmd.Wait(), printed.String(), said.String())
		}
	}
	must(c.t, cmd.Process.Signal(syscall.SIGTERM))
	must(c.t, cmd.Wait())
	return printed.String(), said.String()
}

func TestServe_BeginsAnInstallationInAFolderThatIsEmptyAndSaysSo(t *testing.T) {
	for name, prepare := range map[string]func(c *commandLine){
		"absent":                    func(*commandLine) {},
		"empty":                     func(c *commandLine) { must(t, os.Mkdir(c.data, 0o700)) },
		"empty, and open to others": func(c *commandLine) { must(t, os.Mkdir(c.data, 0o755)) },
		"open to others, and left by a server that was killed at once": func(c *commandLine) {
			must(t, os.MkdirAll(filepath.Join(c.data, "push"), 0o700))
			must(t, os.WriteFile(filepath.Join(c.data, "tutela.db.lock"), nil, 0o600))
			must(t, os.Chmod(c.data, 0o755))
		},
		"left by a server that was killed at once": func(c *commandLine) {
			must(t, os.MkdirAll(filepath.Join(c.data, "push"), 0o700))
			must(t, os.Mkdir(filepath.Join(c.data, "lost+found"), 0o700))
			for _, name := range []string{"tutela.db.lock", "tutela.db.new", ".master.key.123"} {
				must(t, os.WriteFile(filepath.Join(c.data, name), nil, 0o600))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCommandLineOnNothing(t)
			prepare(c)
			said, _ := c.served(nil, "--dev")
			if info, err := os.Stat(c.data); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the folder: %v, %v", info.Mode(), err)
			}
			if !strings.HasPrefix(said, "tutela begins a new installation in "+c.data+"\n") || !strings.Contains(said, "a copy of the master key ("+filepath.Join(c.data, "master.key")+")") {
				t.Errorf("the first start says\n%s", said)
			}
			if said, _ := c.served(nil); !strings.HasPrefix(said, "tutela serves on ") {
				t.Errorf("the second start says\n%s", said)
			}
		})
	}
}

func TestServe_WithAKeyAndNoDataFileBeginsOnlyWhenItIsTold(t *testing.T) {
	inFolder := newCommandLine(t)
	must(t, os.Remove(filepath.Join(inFolder.data, "tutela.db")))
	inEnvironment := newCommandLineOnNothing(t)
	for name, test := range map[string]struct {
		c           *commandLine
		environment []string
		place       string
	}{
		"in the folder":      {c: inFolder, place: filepath.Join(inFolder.data, "master.key")},
		"in the environment": {c: inEnvironment, environment: []string{"TUTELA_MASTER_KEY=" + otherKey}, place: "TUTELA_MASTER_KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			c := test.c
			c.startIsRefused("there is a master key ("+test.place+") and no data file in "+c.data+": see that the right disk is mounted", test.environment...)
			if _, err := os.Stat(filepath.Join(c.data, "tutela.db")); !errors.Is(err, os.ErrNotExist) {
				t.Error("a data file was made")
			}
			if said, _ := c.served(test.environment, "--init"); !strings.HasPrefix(said, "tutela begins a new installation in "+c.data+"\n") {
				t.Errorf("it says\n%s", said)
			}
			c.tryWith(test.environment, "ticket", "maria", "--data", c.data)
			_, log := c.served(test.environment, "--init")
			if !strings.Contains(log, "--init is for the first start alone") {
				t.Errorf("the log of a second --init:\n%s", log)
			}
			if users := c.tryWith(test.environment, "user", "list", "--data", c.data).stdout; !strings.Contains(users, "maria") {
				t.Errorf("a second --init has begun anew: users\n%s", users)
			}
		})
	}
}

func TestServe_BeginsNothingAmongOtherFilesUnlessItIsTold(t *testing.T) {
	c := newCommandLineOnNothing(t)
	must(t, os.Mkdir(c.data, 0o700))
	must(t, os.WriteFile(filepath.Join(c.data, "tutela.db.before-20261124T141942.592Z"), nil, 0o600))
	c.startIsRefused(c.data + " holds tutela.db.before-20261124T141942.592Z and no installation: give an empty folder by --data")
	if names := c.names(); names != "tutela.db.before-20261124T141942.592Z" {
		t.Errorf("the folder holds %s", names)
	}
	c.served(nil, "--init")
}

func TestData_IsRefusedWhenItNamesNothing(t *testing.T) {
	c := newCommandLineOnNothing(t)
	if r := c.tryWith(nil, "user", "list", "--data", ""); r.status != statusUsage || !strings.Contains(r.stderr, "--data: it names no folder") {
		t.Errorf("status %d: %s", r.status, r.stderr)
	}
	s := &liveServer{binary: c.binary, data: c.data, http: http.DefaultClient}
	s.start(t)
	defer s.kill(syscall.SIGTERM)
	home := check.ShortFolder(t)
	must(t, os.Symlink(c.data, filepath.Join(home, "link")))
	if r := c.from(home, "user", "list", "--data", "link"); r.status != 0 {
		t.Errorf("by a relative path: %s", r.stderr)
	}
}
