package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// disksWritable is diskWritable for the data folder and the folder of the data file, which is another when the data
// folder has a link to it.
func disksWritable(dir, file string) error {
	if filepath.Clean(dir) == filepath.Clean(file) {
		return diskWritable(dir)
	}
	return errors.Join(diskWritable(dir), diskWritable(file))
}

// diskWritable reports whether the folder can be written and has room: a file is made there, written, synced and
// removed.
func diskWritable(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("%w: %w", errNotReady.With("the data folder cannot be looked at"), err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); fs.Blocks > 0 && free < minFree {
		return errNotReady.With("the data folder's disk has %d MiB left", free>>20)
	}
	f, err := os.CreateTemp(dir, ".ready.*")
	if err != nil {
		return fmt.Errorf("%w: %w", errNotReady.With("the data folder cannot be written"), err)
	}
	_, err = f.WriteString("ready")
	if err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name())); err != nil {
		return fmt.Errorf("%w: %w", errNotReady.With("the data folder cannot be written"), err)
	}
	return nil
}
