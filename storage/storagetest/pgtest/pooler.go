package pgtest

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"tutela/storage/storagetest/check"
)

// Pooler starts PgBouncer before the cluster, of Debian's package, and returns the connection string through it. mode is its
// pool_mode. Where there is no PgBouncer the test is skipped, and in CI it fails.
func (c *Cluster) Pooler(t testing.TB, mode string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(program); err != nil {
		gate(t, fmt.Errorf("%w, and no PgBouncer: apt-get install pgbouncer", ErrMissing))
	}
	folder, err := os.MkdirTemp("", "pb")
	check.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	settings := fmt.Sprintf(`[databases]
postgres = host=%s user=tutela
[pgbouncer]
listen_addr =
unix_socket_dir = %s
auth_type = any
pool_mode = %s
logfile = %s
`, c.Folder, folder, mode, filepath.Join(folder, "log"))
	path := filepath.Join(folder, "pgbouncer.ini")
	check.Must(t, os.WriteFile(path, []byte(settings), 0o600))
	c.runAs(t, folder, program, path)
	through := "postgres://tutela@/postgres?port=6432&host=" + url.QueryEscape(folder)
	for {
		conn, err := pgx.Connect(t.Context(), through)
		if err == nil {
			check.Must(t, conn.Close(t.Context()))
			return through
		}
		if t.Context().Err() != nil {
			said, _ := os.ReadFile(filepath.Join(folder, "log"))
			t.Fatalf("PgBouncer does not answer: %v\n%s", err, said)
		}
		runtime.Gosched()
	}
}

// runAs runs a program as the cluster's user until the test ends.
func (c *Cluster) runAs(t testing.TB, folder, program string, args ...string) {
	t.Helper()
	if c.as != nil {
		check.Must(t, filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, int(c.as.Uid), int(c.as.Gid))
		}))
	}
	run := exec.Command(program, args...)
	run.Dir = folder
	run.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	check.Must(t, run.Start())
	t.Cleanup(func() {
		_ = run.Process.Kill()
		_ = run.Wait()
	})
}
