package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// diskWritable tells whether the folder can be written and has room: a file is made there, written, synced and
// removed.
func diskWritable(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("%w: %w", errNotReady.With("the data folder cannot be looked at"), err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < minFree {
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
