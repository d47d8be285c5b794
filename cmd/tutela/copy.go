package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"tutela/server/operator"
	"tutela/storage/bolt"
)

// backupDBCmd is "tutela backup-db".
type backupDBCmd struct {
	dataFlags
	File string `arg:"" type:"path" help:"The copy to be made; one that exists is not overwritten."`
}

// Help is the long help of "tutela backup-db".
func (backupDBCmd) Help() string {
	return `One consistent state of the data, also while the server serves. The copy is whole and synced when the command ends.

The master key is not in it, and without that key nobody can read it: keep the key, apart from the copies.

  tutela backup-db /backup/tutela-$(date +%F).db`
}

// Run makes the copy.
func (c *backupDBCmd) Run(ctx context.Context) error {
	if _, err := os.Lstat(c.File); err == nil {
		return fmt.Errorf("%s exists already, and is not overwritten", c.File)
	}
	var size int64
	err := c.operate(ctx, installation{}, func(s operator.Service) (err error) {
		size, err = copyTo(ctx, s, c.File)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "Copied %s to %s.\nThe master key is not in it: keep a copy of %s elsewhere.\n", byteSize(size), c.File, c.masterKeyPlace())
	return nil
}

// masterKeyPlace is where the master key comes from.
func (f dataFlags) masterKeyPlace() string {
	switch {
	case os.Getenv("TUTELA_MASTER_KEY") != "":
		return "TUTELA_MASTER_KEY"
	case f.MasterKeyFile != "":
		return f.MasterKeyFile
	}
	return filepath.Join(f.Data, "master.key")
}

// copyTo writes a copy to a file that is there whole or not at all: it is written and synced under another name, looked
// through, and only then gets its own, which nobody else may have taken meanwhile.
func copyTo(ctx context.Context, s operator.Service, path string) (size int64, err error) {
	building, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return 0, err
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
			return 0, fmt.Errorf("%s exists already, and is not overwritten", path)
		}
		return 0, err
	}
	return size, syncFolder(filepath.Dir(path))
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// byteSize is a number of bytes as people read it.
func byteSize(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", (n+1<<10-1)>>10)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// restoreDBCmd is "tutela restore-db".
type restoreDBCmd struct {
	dataFlags
	File string `arg:"" type:"existingfile" help:"The copy, as backup-db made it."`
}

// Help is the long help of "tutela restore-db".
func (restoreDBCmd) Help() string {
	return `Puts a copy in the place of the data file, which is kept beside it. No server may run on the data folder, and the master
key must be the one that the copy was made under.

  tutela restore-db /backup/tutela-2026-03-01.db`
}

// Run restores the copy.
func (c *restoreDBCmd) Run(ctx context.Context) error {
	if client, err := operator.Dial(ctx, c.socket()); err == nil {
		client.Close()
		return fmt.Errorf("a server runs on %s: stop it first", c.Data)
	} else if !errors.Is(err, operator.ErrNobodyServes) {
		return err
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	kept, err := c.keepOld()
	if err != nil {
		return err
	}
	if err := bolt.Restore(ctx, c.File, c.file(), kept != ""); err != nil {
		if kept != "" {
			err = errors.Join(err, os.Remove(kept)) // the old file is still in its place
		}
		return err
	}
	fmt.Fprintf(os.Stderr, "Restored %s to %s.\n", c.File, c.file())
	if kept != "" {
		fmt.Fprintf(os.Stderr, "The data file before it is kept as %s.\n", kept)
	}
	// Opening it shows that the master key is the right one.
	if err := c.operateHere(ctx, installation{}, func(operator.Service) error { return nil }); err != nil {
		return fmt.Errorf("the copy is in its place, but does not open: %w", err)
	}
	return nil
}

// keepOld gives the data file a second name beside it; "" when there is none.
func (c *restoreDBCmd) keepOld() (kept string, err error) {
	kept = c.file() + ".before-" + time.Now().UTC().Format("20060102T150405.000Z")
	err = os.Link(c.file(), kept)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("keep the data file: %w", err)
	}
	return kept, syncFolder(c.Data)
}
