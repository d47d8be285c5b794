package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// disksWritable checks the data folder, and the folder of the data file when that is another one: the data folder may
// hold a link to the file.
func disksWritable(dir, file string) error {
	if filepath.Clean(dir) == filepath.Clean(file) {
		return diskWritable(dir)
	}
	return errors.Join(diskWritable(dir), diskWritable(file))
}

// diskWritable returns errNotReady unless the folder can be written and its disk has minFree bytes left. To know, it
// makes, writes, syncs and removes a file there.
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
