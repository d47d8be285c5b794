// Package pgtest gives tests a PostgreSQL of their own: a real one, of Debian's package, in a temporary folder and on a free
// port, as a user that is not root.
package pgtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"tutela/storage/storagetest/check"
)

// Cluster is a running server.
type Cluster struct {
	Folder string // of its data, its log and its socket
	bin    string
	as     *syscall.Credential // nil: as whoever runs the test
	pid    int                 // of the server
	ended  chan struct{}       // closed when the server has ended; nil: it was never started
}

// Options says how a cluster is made. The zero value is one that forgets all when the machine stops, for tests that stop none.
type Options struct {
	Durable  bool     // it syncs what it commits
	Settings []string // further lines of postgresql.conf
}

var shared struct {
	sync.Mutex
	cluster *Cluster
}

// Main runs the tests of a package, and stops the cluster that they have shared. It is for TestMain.
func Main(m *testing.M) {
	code := m.Run()
	shared.Lock()
	if shared.cluster != nil {
		shared.cluster.Kill()
	}
	os.Exit(code)
}

// Variable names the environment's variable with the connection string of a server that runs for a whole run of tests: the
// command with sets it. Where it is set the tests of the domain have PostgreSQL under them, and not bolt.
const Variable = "TUTELA_TEST_POSTGRES"

// Database returns the connection string of an empty database: of the server that [Variable] names, or else of a cluster that
// the tests of this process share. In truth it is a schema, which is made in a moment. Without PostgreSQL on the machine the
// test is skipped, and in CI it fails.
func Database(t testing.TB) string {
	t.Helper()
	if url := os.Getenv(Variable); url != "" {
		return schemaIn(t, url)
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil {
		var err error
		shared.cluster, err = New(Options{})
		gate(t, err)
	}
	return schemaIn(t, shared.cluster.URL())
}

// gate skips a test on a machine without PostgreSQL, and fails it in CI.
func gate(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	check.Must(t, err)
}

// Start starts a cluster of a test's own, and stops it when the test ends.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c, err := New(o)
	gate(t, err)
	t.Cleanup(c.Kill)
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

// ErrMissing is for a machine without PostgreSQL.
var ErrMissing = errors.New("there is no PostgreSQL here: apt-get install postgresql")

// New makes a cluster and starts it. Its caller kills it.
//
// Errors: [ErrMissing]; those of PostgreSQL's programs, with what they said.
func New(o Options) (*Cluster, error) {
	bin := folderOfPrograms()
	if bin == "" {
		return nil, ErrMissing
	}
	folder, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	c := &Cluster{Folder: folder, bin: bin}
	if err := c.owned(); err != nil {
		return nil, err
	}
	if err := c.do("initdb", "-D", c.data(), "-A", "trust", "-U", "tutela", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale", "C"); err != nil {
		return nil, err
	}
	if err := c.configure(o); err != nil {
		return nil, err
	}
	err = c.start()
	return c, err
}

// configure writes the settings. Those of predicate locks are what docs/operating.md asks for.
func (c *Cluster) configure(o Options) error {
	settings := []string{
		"listen_addresses = ''", // a free port may be taken before it is used
		fmt.Sprintf("unix_socket_directories = '%s'", c.Folder),
		"max_connections = 400",
		"shared_buffers = 64MB",
		"max_pred_locks_per_transaction = 1024",
		"max_pred_locks_per_page = 64",
		"max_pred_locks_per_relation = 100000",
	}
	if !o.Durable {
		settings = append(settings, "fsync = off", "full_page_writes = off")
	}
	return c.set(append(settings, o.Settings...)...)
}

// set adds lines to the settings.
func (c *Cluster) set(lines ...string) error {
	conf, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = conf.WriteString(strings.Join(lines, "\n") + "\n")
	return errors.Join(err, conf.Close())
}

// owned gives the folder to a user that is not root, as whom the server then runs: PostgreSQL refuses to run as root.
func (c *Cluster) owned() error {
	if os.Geteuid() != 0 {
		return nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		if who, err = user.Lookup("nobody"); err != nil {
			return err
		}
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	if err != nil {
		return err
	}
	c.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(c.Folder, int(uid), int(gid))
}

func (c *Cluster) data() string { return filepath.Join(c.Folder, "data") }

// command is one of PostgreSQL's programs, run as the cluster's user.
func (c *Cluster) command(program string, args ...string) *exec.Cmd {
	run := exec.Command(filepath.Join(c.bin, program), args...)
	run.Dir = c.Folder
	run.Env = append(os.Environ(), "LC_ALL=C")
	run.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	return run
}

// do runs one of PostgreSQL's programs.
func (c *Cluster) do(program string, args ...string) error {
	var said bytes.Buffer
	run := c.command(program, args...)
	run.Stdout = &said
	run.Stderr = &said
	if err := run.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, said.String())
	}
	return nil
}

// start starts the server, and waits until it answers. It is a child of this process, and dies with it however that ends.
func (c *Cluster) start() error {
	log, err := os.OpenFile(filepath.Join(c.Folder, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	server := c.command("postgres", "-D", c.data())
	server.Stdout = log
	server.Stderr = log
	server.SysProcAttr.Setpgid = true
	server.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	ended := make(chan struct{})
	began := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the signal comes when the thread ends that has started it
		err := server.Start()
		began <- err
		if err == nil {
			_ = server.Wait()
		}
		_ = log.Close()
		close(ended)
	}()
	if err := <-began; err != nil {
		return err
	}
	c.pid = server.Process.Pid
	c.ended = ended
	return c.awaitAnswer()
}

// awaitAnswer waits until the server answers.
//
// Errors: what the server has logged, when it has ended.
func (c *Cluster) awaitAnswer() error {
	for {
		conn, err := pgx.Connect(context.Background(), c.URL())
		if err == nil {
			return conn.Close(context.Background())
		}
		select {
		case <-c.ended:
			said, err := os.ReadFile(filepath.Join(c.Folder, "log"))
			return errors.Join(fmt.Errorf("PostgreSQL has ended:\n%s", said), err)
		default:
			runtime.Gosched()
		}
	}
}

// Up starts the server again.
func (c *Cluster) Up(t testing.TB) {
	t.Helper()
	check.Must(t, c.start())
}

// Stop ends the server by a signal: SIGINT is a fast stop, SIGQUIT an immediate one. Source: PostgreSQL, "Shutting Down the
// Server".
func (c *Cluster) Stop(t testing.TB, by syscall.Signal) {
	t.Helper()
	check.Must(t, syscall.Kill(c.pid, by))
	<-c.ended
}

// Crash ends the server and all its processes by SIGKILL, as when a machine dies.
func (c *Cluster) Crash(t testing.TB) {
	t.Helper()
	check.Must(t, syscall.Kill(-c.pid, syscall.SIGKILL))
	<-c.ended
}

// Standby starts a synchronous standby of the cluster. From then on a commit waits for it.
func (c *Cluster) Standby(t testing.TB) *Cluster {
	t.Helper()
	folder, err := os.MkdirTemp("", "pg")
	check.Must(t, err)
	s := &Cluster{Folder: folder, bin: c.bin}
	t.Cleanup(s.Kill)
	check.Must(t, s.owned())
	check.Must(t, s.do("pg_basebackup", "-h", c.Folder, "-U", "tutela", "-D", s.data(), "-R", "-X", "stream", "-c", "fast", "--no-sync"))
	check.Must(t, s.set(fmt.Sprintf("unix_socket_directories = '%s'", folder)))
	check.Must(t, s.start())
	c.Run(t, "alter system set synchronous_standby_names = '*'")
	c.Run(t, "select pg_reload_conf()")
	return s
}

// Promote makes a standby the primary. It has inherited that commits wait for a standby, and would wait for ever.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	check.Must(t, c.do("pg_ctl", "-D", c.data(), "-w", "-t", "120", "promote"))
	c.Run(t, "alter system set synchronous_standby_names = ''")
	c.Run(t, "select pg_reload_conf()")
}

// Either is the connection string of whichever of two clusters is the primary.
func (c *Cluster) Either(other *Cluster) string {
	return "postgres://tutela@/postgres?target_session_attrs=read-write&host=" + url.QueryEscape(c.Folder+","+other.Folder)
}

// Kill stops the server and removes its folder.
func (c *Cluster) Kill() {
	if c.ended != nil {
		select {
		case <-c.ended: // its number may be another's by now
		default:
			_ = syscall.Kill(c.pid, syscall.SIGQUIT)
			<-c.ended
		}
	}
	_ = os.RemoveAll(c.Folder)
}

// URL is the connection string of the cluster's own database.
func (c *Cluster) URL() string {
	return "postgres://tutela@/postgres?host=" + url.QueryEscape(c.Folder)
}

// Run runs SQL.
func (c *Cluster) Run(t testing.TB, sql string) {
	t.Helper()
	Run(t, c.URL(), sql)
}

// Run runs SQL in a database.
func Run(t testing.TB, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	check.Must(t, err)
	_, err = conn.Exec(t.Context(), sql)
	check.Must(t, err)
	check.Must(t, conn.Close(t.Context()))
}

// Database returns the connection string of an empty database.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	return schemaIn(t, c.URL())
}

// schemaIn makes an empty schema in a database.
func schemaIn(t testing.TB, server string) string {
	t.Helper()
	name := "t_" + strings.ToLower(rand.Text())
	Run(t, server, "create schema "+name)
	return server + "&options=" + url.QueryEscape("-csearch_path="+name)
}
