package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tutela/server"
	"tutela/storage"
	"tutela/storage/bolt"
)

// startIsRefused tries to serve, and expects a refusal that contains says.
func (c *commandLine) startIsRefused(says string, environment ...string) {
	c.t.Helper()
	c.tryWith(environment, "serve", "--listen", "127.0.0.1:0", "--data", c.data).refused(says)
}

// otherKey is a master key of no installation.
var otherKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32))

// spoiled are ways to spoil an installation, each with what the server then says.
var spoiled = map[string]struct {
	spoil       func(t *testing.T, c *commandLine)
	environment []string
	says        string
}{
	"foreign": {
		spoil: func(t *testing.T, c *commandLine) {
			must(t, os.WriteFile(filepath.Join(c.data, "tutela.db"), bytes.Repeat([]byte("SQLite format 3\x00"), 4096), 0o600))
		},
		says: "is not a data file of tutela",
	},
	"empty": {
		spoil: func(t *testing.T, c *commandLine) {
			must(t, os.WriteFile(filepath.Join(c.data, "tutela.db"), nil, 0o600))
		},
		says: "is damaged",
	},
	"truncated": {
		spoil: func(t *testing.T, c *commandLine) {
			must(t, os.Truncate(filepath.Join(c.data, "tutela.db"), 8192))
		},
		says: "is damaged",
	},
	"damaged": {
		spoil: func(t *testing.T, c *commandLine) {
			content := c.file()
			for at := 2 * 4096; at < len(content); at += 4096 {
				copy(content[at:], "overwritten by a failing disk")
			}
			must(t, os.WriteFile(filepath.Join(c.data, "tutela.db"), content, 0o600))
		},
		says: "is damaged",
	},
	"newer": {spoil: func(t *testing.T, c *commandLine) { c.writeSchema(t, 99) }, says: "was written by a newer tutela (schema 99"},
	"a missing master key": {
		spoil: func(t *testing.T, c *commandLine) { must(t, os.Remove(filepath.Join(c.data, "master.key"))) },
		says:  "is missing, and the data cannot be read without it",
	},
	"a wrong master key": {
		spoil: func(t *testing.T, c *commandLine) {
			must(t, os.WriteFile(filepath.Join(c.data, "master.key"), []byte(otherKey), 0o600))
		},
		says: "the master key is not the one that this data was written with",
	},
	"a wrong master key in the environment": {environment: []string{"TUTELA_MASTER_KEY=" + otherKey}, says: "the master key is not the one"},
	"no master key in the environment":      {environment: []string{"TUTELA_MASTER_KEY=short"}, says: "TUTELA_MASTER_KEY is not a master key"},
	"a cut master key": {
		spoil: func(t *testing.T, c *commandLine) {
			must(t, os.Truncate(filepath.Join(c.data, "master.key"), 10))
		},
		says: "is not a master key",
	},
}

func TestServe_RefusesWhatItCannotOpenAndLeavesItUntouched(t *testing.T) {
	for name, test := range spoiled {
		t.Run(name, func(t *testing.T) {
			c := newCommandLine(t)
			c.run("ticket", "maria")
			if test.spoil != nil {
				test.spoil(t, c)
			}
			before := c.file()
			names := c.names()
			c.startIsRefused(test.says, test.environment...)
			if !bytes.Equal(before, c.file()) {
				t.Error("the data file was changed")
			}
			if after := c.names(); after != names {
				t.Errorf("the folder held %s, and now %s", names, after)
			}
			c.tryWith(test.environment, "user", "list", "--data", c.data).refused(test.says)
			if !bytes.Equal(before, c.file()) {
				t.Error("a command has changed the data file")
			}
		})
	}
}

// names returns the names of the files in the data folder.
func (c *commandLine) names() string {
	c.t.Helper()
	entries, err := os.ReadDir(c.data)
	must(c.t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// writeSchema makes the data file one of another version.
func (c *commandLine) writeSchema(t *testing.T, version int) {
	t.Helper()
	engine, err := bolt.Open(t.Context(), filepath.Join(c.data, "tutela.db"), bolt.Options{Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	must(t, engine.Update(context.Background(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		ws.Put([]byte("mschema"), fmt.Appendf(nil, `{"product":"tutela","version":%d}`, version))
		return ws, nil
	}))
	must(t, engine.Close())
}

func TestServe_RefusesASecondServerAndLeavesTheFirstAlone(t *testing.T) {
	c := newCommandLine(t)
	s := c.serve()
	c.startIsRefused(fmt.Sprintf("is in use by process %d", s.cmd.Process.Pid))
	c.run("ticket", "maria")
}

func TestServe_TakesOverFromAServerThatWasKilled(t *testing.T) {
	c := newCommandLine(t)
	s := c.serve()
	c.run("ticket", "maria")
	s.kill(syscall.SIGKILL)
	if _, err := os.Lstat(filepath.Join(c.data, "admin.sock")); err != nil {
		t.Fatalf("the control: %v", err)
	}
	if users := c.run("user", "list"); !strings.Contains(users, "maria") {
		t.Errorf("users:\n%s", users)
	}
	s.start(t)
	if users := c.run("user", "list"); !strings.Contains(users, "maria") {
		t.Errorf("users:\n%s", users)
	}
}

func TestServe_SaysThatThePathIsTooLongForASocket(t *testing.T) {
	c := newCommandLineOnNothing(t)
	c.data = filepath.Join(c.data, strings.Repeat("x", 100))
	c.startIsRefused("a socket's has at most 107: choose a shorter --data")
	if _, err := os.Stat(c.data); err == nil {
		t.Error("the data folder was made")
	}
	c.try("user", "list").refused("a socket's has at most 107")
}

func TestServe_LeavesAFolderOfOthersAlone(t *testing.T) {
	c := newCommandLineOnNothing(t)
	must(t, os.Mkdir(c.data, 0o755))
	must(t, os.WriteFile(filepath.Join(c.data, "passwd"), nil, 0o600))
	key := []string{"TUTELA_MASTER_KEY=" + otherKey}
	for _, args := range [][]string{{"serve", "--init", "--dev", "--listen", "127.0.0.1:0"}, {"restore-db", filepath.Join(c.data, "passwd")}} {
		c.tryWith(key, append(args, "--data", c.data)...).refused("holds other files, and others may enter it: choose a --data folder of its own")
	}
	if info, err := os.Stat(c.data); err != nil || info.Mode().Perm() != 0o755 || c.names() != "passwd" {
		t.Errorf("the folder is %v and holds %s", info.Mode(), c.names())
	}
}

func TestServe_MakesNothingWhenThePublicURLOrTheNameIsNone(t *testing.T) {
	c := newCommandLineOnNothing(t)
	for _, args := range [][]string{{"serve", "--dev", "--listen", "127.0.0.1:0"}, {"ticket", "maria"}} {
		c.try(append(args, "--public-url", "mfa.example.com")...).notUnderstood(`"mfa.example.com" is not a public URL`)
		for _, name := range []string{strings.Repeat("漢", 65), " Hafenlicht", "Hafen\nlicht"} {
			c.try(append(args, "--name", name)...).notUnderstood(fmt.Sprintf("%q is not a valid name for an organisation", name))
		}
	}
	if _, err := os.Stat(c.data); !errors.Is(err, os.ErrNotExist) {
		t.Error("the data folder was made")
	}
}

func TestServe_MakesNothingWhenThereIsNoCertificate(t *testing.T) {
	c := newCommandLineOnNothing(t)
	serve := []string{"serve", "--listen", "127.0.0.1:0", "--tls-cert", "cert.pem"}
	c.try(serve...).notUnderstood("TLS needs both a certificate and a key: give --tls-cert and --tls-key, or neither")
	c.try(append(serve, "--tls-key", "key.pem")...).refused("read the TLS certificate cert.pem and key key.pem: open cert.pem: no such file")
	if _, err := os.Stat(c.data); !errors.Is(err, os.ErrNotExist) {
		t.Error("the data folder was made")
	}
}

func TestServe_WaitsForACommandThatHasTheFile(t *testing.T) {
	c := newCommandLine(t)
	c.run("ticket", "maria")
	engine, err := bolt.Open(t.Context(), filepath.Join(c.data, "tutela.db"), bolt.Options{})
	must(t, err)
	time.AfterFunc(500*time.Millisecond, func() { _ = engine.Close() })
	c.serve()
}

func TestServe_WarnsOfAMasterKeyThatOthersCanRead(t *testing.T) {
	c := newCommandLine(t)
	c.run("ticket", "maria")
	must(t, os.Chmod(filepath.Join(c.data, "master.key"), 0o644))
	if said := c.try("user", "list").stderr; !strings.Contains(said, "others on this machine may read the master key") {
		t.Errorf("it says %q", said)
	}
}

func TestDiskWritable_SaysWhatIsWrongWithoutAPath(t *testing.T) {
	must(t, diskWritable(t.TempDir()))
	readOnly := "/proc" // nobody makes a file there, whoever runs the test
	for dir, says := range map[string]string{filepath.Join(t.TempDir(), "none"): "cannot be looked at", readOnly: "the data folder"} {
		err := diskWritable(dir)
		if said := server.Message(err); !strings.Contains(said, says) || strings.Contains(said, dir) || storage.CodeOf(err) != storage.Unavailable {
			t.Errorf("%s: %q of %v", dir, said, err)
		}
	}
}

func TestServe_WarnsOfTooFewDigits(t *testing.T) {
	c := newCommandLine(t)
	c.run("policy", "set", "approval.digits", "4")
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), c.binary, "serve", "--listen", "127.0.0.1:0", "--data", c.data)
	cmd.Env = cleanEnvironment()
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = bufio.NewReader(stdout).ReadString('\n')
	must(t, errors.Join(err, cmd.Process.Signal(syscall.SIGTERM)))
	must(t, cmd.Wait())
	if !strings.Contains(stderr.String(), "approval.digits is 4") {
		t.Errorf("the log:\n%s", stderr.String())
	}
}
