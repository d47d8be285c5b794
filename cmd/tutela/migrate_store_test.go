package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/storagetest/pgtest"
)

// move runs migrate-store.
func (c *commandLine) move(environment []string, from, to string) ran {
	c.t.Helper()
	return c.tryWith(environment, "migrate-store", "--from", from, "--to", to)
}

func TestMigrateStore_ThereAndBackAgain(t *testing.T) {
	c := newCommandLine(t)
	c.run("ticket", "maria")
	store := pgtest.Database(t)
	there := c.move(nil, c.data, store)
	key := filepath.Join(c.data, "master.key")
	for _, want := range []string{"rows from " + c.data, "  source\n", "  target\n", "in its new epoch 2-", key + " stays where it is"} {
		if there.status != 0 || !strings.Contains(there.stderr, want) {
			t.Fatalf("status %d, without %q:\n%s", there.status, want, there.stderr)
		}
	}
	// A server has it there, with the key of before; nothing moves while it runs.
	inDatabase := []string{"TUTELA_STORE=" + store}
	if users := c.tryWith(inDatabase, "user", "list", "--data", c.data).stdout; !strings.Contains(users, "maria") {
		t.Errorf("users there:\n%s", users)
	}
	back := filepath.Join(filepath.Dir(c.data), "back")
	withKey := []string{"TUTELA_MASTER_KEY_FILE=" + key}
	s := newLive(t)
	s.store = inDatabase
	s.environment = withKey
	s.start(t)
	if refused := c.move(withKey, store, back); refused.status == 0 || !strings.Contains(refused.stderr, "is in use: stop all servers first") {
		t.Errorf("while a server runs: %d %s", refused.status, refused.stderr)
	}
	s.kill(syscall.SIGTERM)
	// And back, into a folder that gets the key.
	if again := c.move(withKey, store, back); again.status != 0 || !strings.Contains(again.stderr, "in its new epoch 3-") {
		t.Fatalf("%d %s", again.status, again.stderr)
	}
	if users := c.tryWith(nil, "user", "list", "--data", back).stdout; !strings.Contains(users, "maria") {
		t.Errorf("users back:\n%s", users)
	}
	if done := c.move(withKey, store, back); done.status != 0 || !strings.Contains(done.stderr, "It is done already") {
		t.Errorf("the same again: %d %s", done.status, done.stderr)
	}
}

func TestMigrateStore_RefusesWhatWouldBeAMistake(t *testing.T) {
	c := newCommandLine(t)
	other := newCommandLine(t)
	taken := pgtest.Database(t)
	if r := other.move(nil, other.data, taken); r.status != 0 {
		t.Fatal(r.stderr)
	}
	server := newLive(t)
	server.store = nil
	server.start(t)
	t.Cleanup(func() { server.kill(syscall.SIGTERM) })
	wrongKey := []string{"TUTELA_MASTER_KEY=" + otherKey}
	for name, test := range map[string]struct {
		environment []string
		from, to    string
		want        string
	}{
		"another's target":   {nil, c.data, taken, "the target holds the installation ins_"},
		"a server runs":      {nil, server.data, pgtest.Database(t), "a server runs on"},
		"nothing there":      {nil, filepath.Join(c.data, "nowhere"), pgtest.Database(t), "there is no installation in"},
		"another master key": {wrongKey, c.data, pgtest.Database(t), "is not the one that this data was written with"},
		"an old state":       {nil, taken, other.data, "the target holds an older state of this installation"},
	} {
		t.Run(name, func(t *testing.T) {
			if r := c.move(test.environment, test.from, test.to); r.status == 0 || !strings.Contains(r.stderr, test.want) || strings.Count(r.stderr, "\n") != 1 {
				t.Errorf("%d, want %q: %s", r.status, test.want, r.stderr)
			}
		})
	}
}

// killedRows are enough for a kill to come in between.
const killedRows = 20_000

func TestMigrateStore_GoesOnAfterItWasKilled(t *testing.T) {
	c := newCommandLine(t)
	writeRows(t, filepath.Join(c.data, "tutela.db"), killedRows)
	store := pgtest.Database(t)
	folder := filepath.Join(filepath.Dir(c.data), "folder")
	key := "TUTELA_MASTER_KEY_FILE=" + filepath.Join(c.data, "master.key")
	cut := 0
	for _, rows := range []int{1, killedRows / 2} {
		cut += c.killedMove(key, c.data, store, func() bool { return rowsIn(t, store) >= rows })
	}
	if r := c.move([]string{key}, c.data, store); r.status != 0 {
		t.Fatal(r.stderr)
	}
	for _, size := range []int64{1, 1 << 20} {
		cut += c.killedMove(key, store, folder, func() bool {
			info, err := os.Stat(filepath.Join(folder, "tutela.db"))
			return err == nil && info.Size() >= size
		})
	}
	if r := c.move([]string{key}, store, folder); r.status != 0 {
		t.Fatal(r.stderr)
	}
	if cut == 0 {
		t.Fatal("no kill came in between: that shows nothing")
	}
	t.Logf("%d of 4 kills came in between", cut)
	if got := countRows(t, filepath.Join(folder, "tutela.db")); got < killedRows {
		t.Errorf("%d rows came back", got)
	}
}

// killedMove kills a move when the time is right, and returns 1 when it had not ended before.
func (c *commandLine) killedMove(environment, from, to string, isTime func() bool) int {
	c.t.Helper()
	var said bytes.Buffer
	cmd := exec.CommandContext(c.t.Context(), c.binary, "migrate-store", "--from", from, "--to", to)
	cmd.Env = append(cleanEnvironment(), environment)
	cmd.Stderr = &said
	must(c.t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				c.t.Fatalf("%v: %s", err, said.String())
			}
			return 0
		default:
		}
		if isTime() {
			must(c.t, cmd.Process.Kill())
			if <-ended == nil {
				return 0
			}
			return 1
		}
		runtime.Gosched()
	}
}

// rowsIn counts the rows of a database; none before its table was made.
func rowsIn(t *testing.T, store string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), store)
	must(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	_ = conn.QueryRow(t.Context(), `select count(*) from tutela_kv`).Scan(&n)
	return n
}

// writeRows writes rows of a table that no program knows into a data file.
func writeRows(t *testing.T, path string, rows int) {
	t.Helper()
	file, err := bolt.Open(t.Context(), path, bolt.Options{})
	must(t, err)
	for from := 0; from < rows; from += 10_000 {
		must(t, file.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
			ws := storage.NewWriteSet()
			for i := from; i < from+10_000; i++ {
				ws.Put(fmt.Appendf(nil, "u%016dfiller\x00k", i), bytes.Repeat([]byte{byte(i)}, 200))
			}
			return ws, nil
		}))
	}
	must(t, file.Close())
}

func countRows(t *testing.T, path string) (n int) {
	t.Helper()
	file, err := bolt.Open(t.Context(), path, bolt.Options{})
	must(t, err)
	must(t, file.Peek(t.Context(), storage.Prefix([]byte("u")), func(_, _ []byte) bool {
		n++
		return true
	}))
	must(t, file.Close())
	return n
}
