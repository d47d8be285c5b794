package bolt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// linked returns a path that is a link, over another link, to a file elsewhere, and where that is.
func linked(t testing.TB) (link, file string) {
	t.Helper()
	file = newPath(t)
	link = newPath(t)
	between := filepath.Join(filepath.Dir(link), "between")
	relative, err := filepath.Rel(filepath.Dir(link), file)
	must(t, err)
	must(t, os.Symlink(relative, between))
	must(t, os.Symlink("between", link))
	return link, file
}

// sameLink sees that link still is one, and that nothing came to lie beside it.
func sameLink(t testing.TB, link string) {
	t.Helper()
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is a link no more: %v, %v", info, err)
	}
	if left := files(t, link); !slices.Equal(left, []string{"between", "tutela.db"}) {
		t.Errorf("files beside the link: %v", left)
	}
}

func TestCompact_ThroughALinkWritesItsTargetAnew(t *testing.T) {
	link, file := linked(t)
	e := open(t, link, Options{})
	fill(t, e, "planted", 3000)
	removeAll(t, e, "planted", 3000)
	old, err := os.Open(file)
	must(t, err)
	defer old.Close() //nolint:errcheck // only looked at
	if _, err := e.Compact(t.Context()); err != nil {
		t.Error(err)
	}
	must(t, e.Close())
	sameLink(t, link)
	data, err := os.ReadFile(file)
	must(t, err)
	if bytes.Contains(data, []byte("planted")) {
		t.Error("the link's target holds what was removed")
	}
	info, err := old.Stat()
	must(t, err)
	if inode, ok := info.Sys().(*syscall.Stat_t); !ok || inode.Nlink != 0 {
		t.Error("the old file still has a name")
	}
}

func TestOpen_ThroughALinkMakesItsTarget(t *testing.T) {
	link, file := linked(t)
	e := open(t, link, Options{})
	must(t, write(e, "a", "1"))
	if e.Folder() != filepath.Dir(file) {
		t.Errorf("the data file lies in %s; want %s", e.Folder(), filepath.Dir(file))
	}
	if _, err := Open(t.Context(), file, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second open, without the link: %v", err)
	}
	must(t, e.Close())
	sameLink(t, link)
	if got := content(t, open(t, file, Options{})); got["a"] != "1" {
		t.Errorf("the target holds %v", got)
	}
}

func TestRestore_ThroughALinkReplacesItsTarget(t *testing.T) {
	link, file := linked(t)
	e := open(t, link, Options{})
	must(t, write(e, "a", "old"))
	must(t, e.Close())
	backup := newPath(t)
	e = open(t, backup, Options{})
	must(t, write(e, "a", "new"))
	must(t, e.Close())
	must(t, Restore(t.Context(), backup, link, true, nil))
	sameLink(t, link)
	if got := content(t, open(t, file, Options{})); got["a"] != "new" {
		t.Errorf("the target holds %v", got)
	}
}

func TestRealPath_ReportsACircle(t *testing.T) {
	path := newPath(t)
	must(t, os.Symlink(path+"2", path))
	must(t, os.Symlink(path, path+"2"))
	if _, err := Open(t.Context(), path, Options{}); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("open: %v", err)
	}
}
