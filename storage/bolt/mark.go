package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"tutela/storage/bolt/boltfile"
)

// markSuffix names the mark of a clean stop, which lies beside a data file as long as the file is closed.
//
// A data file whose mark fits is opened without reading it through, in the same time at any size. The mark records the
// file as it was closed: newest transaction, size, inode, and the times of its last change. Whatever happens to the
// file later (a copy put in its place, an edit, a cut) changes one of these. Setting the file's times back does not
// help, since only the kernel sets an inode's change time. A mark that does not fit counts as none.
const markSuffix = ".clean"

// errNotClean is for a data file that has no list of free pages, or that this process cannot close.
var errNotClean = errors.New("the data file was not stopped cleanly")

// markOf returns the mark of a closed data file, and its newest state.
func markOf(f *os.File) (mark string, s *boltfile.State, err error) {
	info, err := f.Stat()
	if err != nil {
		return "", nil, err
	}
	if s, err = boltfile.Newest(f, info.Size()); err != nil {
		return "", nil, err
	}
	inode, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !s.HasFreelist() {
		return "", nil, errNotClean
	}
	mark = fmt.Sprintf("stopped cleanly at transaction %d: %d bytes, inode %d, modified %d, changed %d\n",
		s.Tx(), info.Size(), inode.Ino, inode.Mtim.Nano(), inode.Ctim.Nano())
	return mark, s, nil
}

// cleanlyStopped reports whether the data file at path, open as f, has not changed since a clean stop.
func cleanlyStopped(path string, f *os.File) bool {
	found, err := os.ReadFile(path + markSuffix)
	if err != nil {
		return false
	}
	mark, s, err := markOf(f)
	return err == nil && string(found) == mark && s.CheckFreelist() == nil
}

// writeMark marks the data file at path, which is closed, as stopped cleanly. Without the mark the next start is slower,
// and nothing else.
func writeMark(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	// The times are the mark's as well: they are on the disk before it.
	if err := f.Sync(); err != nil {
		return err
	}
	mark, _, err := markOf(f)
	if err != nil {
		return err
	}
	return errors.Join(writeFile(path+markSuffix, mark), syncDir(path))
}

// writeFile makes a file that is on the disk afterwards.
func writeFile(path, content string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// removeMark takes the mark away for good, before the data file changes.
func removeMark(path string) error {
	err := os.Remove(path + markSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err = errors.Join(err, syncDir(path)); err != nil {
		return fmt.Errorf("remove the mark of the last stop: %w", err)
	}
	return nil
}
