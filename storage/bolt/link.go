package bolt

import (
	"os"
	"path/filepath"
	"syscall"
)

// maxLinks is how many links from one to the next are followed. The kernel follows as many.
const maxLinks = 40

// RealPath resolves symbolic links: it returns path itself, or the file that the last link names, which need not exist.
// Every file that belongs to a data file (its lock, its mark, a file that will replace it) lies beside the real one. So
// a link stays a link, and a new file is made on the disk that the link chose.
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
