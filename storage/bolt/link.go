package bolt

import (
	"os"
	"path/filepath"
	"syscall"
)

// maxLinks is how many links from one to the next are followed. The kernel follows as many.
const maxLinks = 40

// RealPath returns where the data file lies that path names: path itself, or, when it is a symbolic link, what the last
// link names, which may not be there. All that lies beside a data file (its lock, its mark, a file that is to take its
// place) lies beside the real one: so a link stays a link, and a new file comes onto the disk that was chosen for it.
//
// Errors: that links go round in a circle; those of reading a link.
func RealPath(path string) (string, error) {
	for range maxLinks {
		info, err := os.Lstat(path)
		if err != nil || info.Mode()&os.ModeSymlink == 0 {
			return path, nil //nolint:nilerr // what is not there is no link; whoever opens the file says what is wrong
		}
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			// Not filepath.Join, which takes a/../b for b: a may be a link itself.
			to = filepath.Dir(path) + string(filepath.Separator) + to
		}
		path = to
	}
	return "", &os.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
}
