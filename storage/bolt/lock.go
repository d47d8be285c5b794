package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockSuffix names the lock file beside a data file. The lock is not on the data file, because Compact puts another
// in its place.
const lockSuffix = ".lock"

// fileLock is this process's right to a data file. The kernel gives it back when the process ends, however it ends.
type fileLock struct{ file *os.File }

// lockFile takes the lock of the data file at path: [ErrInUse], with the number of the process that has it.
func lockFile(path string) (*fileLock, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		_, err := openRegular(path, os.O_RDONLY)
		return nil, err
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, err
	} else if !dir.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
	}
	for {
		l, err := tryLock(path)
		if l != nil || err != nil {
			return l, err
		}
	}
}

// tryLock returns neither lock nor error when the lock file was removed by its holder in between.
func tryLock(path string) (*fileLock, error) {
	name := path + lockSuffix
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("lock data file: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(ErrInUse.With("%s is in use by %s", path, holder(f)), f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	if !sameFile(f, name) {
		return nil, f.Close()
	}
	l := &fileLock{file: f}
	if err := l.sign(); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), l.release())
	}
	return l, nil
}

// sign writes this process's id into the lock file, for processes that find it locked.
func (l *fileLock) sign() error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

// holder names the process that signed the lock file.
func holder(f *os.File) string {
	var buf [20]byte
	n, _ := f.ReadAt(buf[:], 0)
	if pid := strings.TrimSpace(string(buf[:n])); pid != "" {
		return "process " + pid
	}
	return "another process"
}

// release removes the lock file and then the lock. The order matters: a process that has opened the removed file
// meanwhile sees that the name is gone or new, and tries again.
func (l *fileLock) release() error {
	return errors.Join(removed(l.file.Name()), l.file.Close())
}

func sameFile(f *os.File, name string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(name)
	return err == nil && os.SameFile(mine, named)
}
