package operator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// ours are names of our files. A folder that holds one of them is a data folder.
var ours = []string{"tutela.db", "master.key", "admin.sock"}

// CheckFolder returns an error unless dir can be the data folder: it does not exist yet, or only its owner may enter it, or
// Listen may close it to others because it is empty or already a data folder. CheckFolder changes nothing.
//
// Errors: ErrFolder, with what to do; those of the file system.
func CheckFolder(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the data folder: %w", err)
	}
	switch mode := info.Mode(); {
	case !mode.IsDir():
		return ErrFolder.With("%s is not a folder: choose another --data", dir)
	case mode&fs.ModeSticky != 0:
		return ErrFolder.With("%s is shared by all users of this machine: choose a --data folder of its own", dir)
	case mode.Perm()&othersBits == 0:
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look at the data folder: %w", err)
	}
	foreign := 0
	for _, e := range entries {
		if slices.Contains(ours, e.Name()) {
			return nil
		}
		if !IsRemnant(e.Name()) {
			foreign++
		}
	}
	if foreign > 0 {
		return ErrFolder.With("%s holds other files, and others may enter it: choose a --data folder of its own, or chmod 700 this one", dir)
	}
	return nil
}

// IsRemnant reports whether a folder with the file still counts as empty. That holds for what a file system keeps in its
// root, and for what a server leaves when it is killed in its first moments.
func IsRemnant(name string) bool {
	switch name {
	case "lost+found", "push", "admin.sock", "tutela.db.lock", "tutela.db.new":
		return true
	}
	return strings.HasPrefix(name, ".master.key.")
}

// othersBits are the permissions of everybody except the owner.
const othersBits = 0o077

// closeFolder leaves only the owner's permissions on the data folder. It changes no folder that CheckFolder refuses.
func closeFolder(dir string) error {
	if err := CheckFolder(dir); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the data folder: %w", err)
	}
	if info.Mode().Perm()&othersBits == 0 {
		return nil
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder needs its x
		return fmt.Errorf("close the data folder to others: %w", err)
	}
	return nil
}
