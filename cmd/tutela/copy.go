package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tutela/server/operator"
	"tutela/storage/bolt"
)

// backupDBCmd is "tutela backup-db".
type backupDBCmd struct {
	dataFlags
	File file `arg:"" help:"The copy to be made; one that exists is not overwritten."`
}

// Help is the long help of "tutela backup-db".
func (backupDBCmd) Help() string {
	return `One consistent state of the data, also while the server serves. The copy is whole and synced when the command ends.

The master key is not in it: keep the key, apart from the copies. A copy is as secret as the data file all the same: names,
events and the ciphertext of backups stand in it as they are; only what is sealed or hashed needs the key.

  tutela backup-db /backup/tutela-$(date +%F).db`
}

// Run makes the copy.
func (c *backupDBCmd) Run(ctx context.Context) error {
	if _, err := os.Lstat(string(c.File)); err == nil {
		return existsAlready(string(c.File))
	}
	var size int64
	err := c.operate(ctx, installation{}, func(s operator.Service) (err error) {
		size, err = copyTo(ctx, s, string(c.File))
		return err
	})
	if errors.Is(err, operator.ErrCutOff) {
		return operator.ErrCutOff.With("the server ended while it copied: no copy was made. Run this again; it works with a server and without")
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "Copied %s to %s.\nThe master key is not in it: keep a copy of %s elsewhere.\n", byteSize(size), c.File, c.masterKeyPlace())
	return nil
}

// copyTo writes a copy to path, whole or not at all. It writes and syncs the copy under another name, inspects it,
// and only then links it to path. It never overwrites a file that exists there.
func copyTo(ctx context.Context, s operator.Service, path string) (size int64, err error) {
	building, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("there is no folder %s for the copy: make it first", filepath.Dir(path))
	}
	if err != nil {
		return 0, fmt.Errorf("make the copy %s: %w", path, errors.Unwrap(err))
	}
	defer func() { _ = os.Remove(building.Name()) }()
	size, err = s.CopyTo(ctx, building)
	if err = errors.Join(err, building.Sync(), building.Close()); err != nil {
		return 0, err
	}
	if err := bolt.Inspect(building.Name()); err != nil {
		return 0, err
	}
	if err := os.Link(building.Name(), path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return 0, existsAlready(path)
		}
		return 0, err
	}
	return size, syncFolder(filepath.Dir(path))
}

func existsAlready(path string) error {
	return fmt.Errorf("%s exists already, and is not overwritten: name another file", path)
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// byteSize formats a number of bytes for people.
func byteSize(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", (n+1<<10-1)>>10)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
