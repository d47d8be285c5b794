package check

import (
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
