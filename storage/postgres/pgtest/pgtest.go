// Package pgtest gives tests a PostgreSQL of their own: a real one, of Debian's package, in a temporary folder and on a free
// port, as a user that is not root.
package pgtest

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"tutela/storage/storagetest/check"
)

// Cluster is a running server.
type Cluster struct {
	Folder string // of its data, its log and its socket
	bin    string
	port   int
	as     *syscall.Credential // nil: as whoever runs the test
}

// Options says how a cluster is made. The zero value is one that forgets all when the machine stops, for tests that stop none.
type Options struct {
	Durable  bool     // it syncs what it commits
	Settings []string // further lines of postgresql.conf
}

var shared struct {
	sync.Mutex
	cluster *Cluster
	n       atomic.Int64
}

// Main runs the tests of a package, and stops the cluster that they have shared. It is for TestMain.
func Main(m *testing.M) {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster != nil {
		shared.cluster.kill()
	}
	os.Exit(code)
}

// Database returns the connection string of an empty database of the cluster that the tests of this process share. In truth
// it is a schema, which is made in a moment. Without PostgreSQL on the machine the test is skipped, and in CI it fails.
func Database(t testing.TB) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil {
		shared.cluster = start(t, Options{})
	}
	return shared.cluster.Database(t)
}

// Start starts a cluster of a test's own, and stops it when the test ends.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := start(t, o)
	t.Cleanup(c.kill)
	return c
}

// folderOfPrograms finds PostgreSQL, where Debian has it or on the PATH.
func folderOfPrograms() string {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		slices.SortFunc(found, func(a, b string) int { return major(a) - major(b) })
		return filepath.Dir(found[len(found)-1])
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return ""
	}
	return filepath.Dir(path)
}

func major(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

func start(t testing.TB, o Options) *Cluster {
	t.Helper()
	bin := folderOfPrograms()
	switch {
	case bin == "" && os.Getenv("CI") != "":
		t.Fatal("there is no PostgreSQL, which CI needs: make test installs it")
	case bin == "":
		t.Skip("there is no PostgreSQL here: apt-get install postgresql")
	}
	parent := os.TempDir()
	folder, err := os.MkdirTemp(parent, "pg")
	check.Must(t, err)
	c := &Cluster{Folder: folder, bin: bin}
	if os.Geteuid() == 0 {
		c.as = nobody(t)
		check.Must(t, os.Chown(folder, int(c.as.Uid), int(c.as.Gid)))
		check.Must(t, os.Chmod(folder, 0o700)) //nolint:gosec // a folder
	}
	c.port = check.FreePort(t)
	c.must(t, "initdb", "-D", c.data(), "-A", "trust", "-U", "tutela", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale", "C")
	settings := append([]string{
		fmt.Sprintf("port = %d", c.port), "listen_addresses = '127.0.0.1'", fmt.Sprintf("unix_socket_directories = '%s'", folder),
		"max_connections = 300", "shared_buffers = 64MB", "max_pred_locks_per_transaction = 1024", "max_pred_locks_per_page = 64", "max_pred_locks_per_relation = 100000",
	}, o.Settings...)
	if !o.Durable {
		settings = append(settings, "fsync = off", "full_page_writes = off")
	}
	conf, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	check.Must(t, err)
	_, err = conf.WriteString(strings.Join(settings, "\n") + "\n")
	check.Must(t, err)
	check.Must(t, conf.Close())
	c.Up(t)
	return c
}

// nobody is who runs the server in the place of root, which PostgreSQL refuses to run as.
func nobody(t testing.TB) *syscall.Credential {
	t.Helper()
	for _, name := range []string{"postgres", "nobody"} {
		who, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(who.Uid, 10, 32)
		check.Must(t, err)
		gid, err := strconv.ParseUint(who.Gid, 10, 32)
		check.Must(t, err)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatal("there is no user postgres or nobody, and PostgreSQL does not run as root")
	return nil
}

func (c *Cluster) data() string { return filepath.Join(c.Folder, "data") }

// command is one of PostgreSQL's programs, run as the cluster's user.
func (c *Cluster) command(program string, args ...string) *exec.Cmd {
	run := exec.Command(filepath.Join(c.bin, program), args...) //nolint:gosec,noctx // the test's own; it is ended by kill
	run.Dir = c.Folder
	run.Env = append(os.Environ(), "LC_ALL=C")
	run.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	return run
}

func (c *Cluster) must(t testing.TB, program string, args ...string) {
	t.Helper()
	var said bytes.Buffer
	run := c.command(program, args...)
	run.Stdout = &said
	run.Stderr = &said
	if err := run.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, said.String())
	}
}

// Up starts the server, and waits until it answers.
func (c *Cluster) Up(t testing.TB) {
	t.Helper()
	c.must(t, "pg_ctl", "-D", c.data(), "-l", filepath.Join(c.Folder, "log"), "-w", "-t", "120", "start")
}

// Stop stops the server: fast, or immediate, as after a crash.
func (c *Cluster) Stop(t testing.TB, mode string) {
	t.Helper()
	c.must(t, "pg_ctl", "-D", c.data(), "-w", "-t", "120", "-m", mode, "stop")
}

func (c *Cluster) kill() {
	_ = c.command("pg_ctl", "-D", c.data(), "-w", "-m", "immediate", "stop").Run()
	_ = os.RemoveAll(c.Folder)
}

// URL is the connection string of the cluster's own database.
func (c *Cluster) URL() string {
	return fmt.Sprintf("postgres://tutela@127.0.0.1:%d/postgres?sslmode=disable", c.port)
}

// Run runs SQL.
func (c *Cluster) Run(t testing.TB, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL())
	check.Must(t, err)
	_, err = conn.Exec(t.Context(), sql)
	check.Must(t, err)
	check.Must(t, conn.Close(t.Context()))
}

// Database returns the connection string of an empty schema.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("t%d", shared.n.Add(1))
	c.Run(t, "create schema "+name)
	return c.URL() + "&options=" + url.QueryEscape("-csearch_path="+name)
}
