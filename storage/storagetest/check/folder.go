package check

import (
	"net"
	"os"
	"testing"
)

// longestParent is how long the path of a temporary folder may be for a socket two folders below it: with its own name,
// the path of a Unix socket has at most 107 bytes.
const longestParent = 60

// ShortFolder returns a new folder that has room for a Unix socket in its path, and is removed when the test ends. The
// folders of t.TempDir bear the test's name: below a long TMPDIR the path of a socket in them is too long.
func ShortFolder(t testing.TB) string {
	t.Helper()
	parent := os.TempDir()
	if len(parent) > longestParent {
		parent = "/tmp"
	}
	folder, err := os.MkdirTemp(parent, "t")
	Must(t, err)
	t.Cleanup(func() { Must(t, os.RemoveAll(folder)) })
	return folder
}

// FreePort returns a port of this machine that nobody has.
func FreePort(t testing.TB) int {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	Must(t, err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // of a TCP listener
}
