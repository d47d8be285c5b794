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

The master key is not in it: keep the key, apart from the copies. A copy is as secret as the data file all the same: names,
events and the ciphertext of backups stand in it as they are; only what is sealed or hashed needs the key.

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
	if os.Getenv("TUTELA_MASTER_KEY") != "" {
		return "TUTELA_MASTER_KEY"
	}
	return f.masterKeyFile()
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
key must be the one that the copy was made under: that is tried on another copy first, and needs the room for it.

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
	if err := c.makeFolder(); err != nil {
		return err
	}
	if err := c.tryCopy(ctx); err != nil {
		return fmt.Errorf("nothing was restored: %w", err)
	}
	kept, err := c.keepOld()
	if err != nil {
		return err
	}
	if err := bolt.Restore(ctx, c.File, c.file(), kept != ""); err != nil {
		return errors.Join(err, c.dropKept(kept))
	}
	fmt.Fprintf(os.Stderr, "Restored %s to %s.\n", c.File, c.file())
	if kept != "" {
		fmt.Fprintf(os.Stderr, "The data file before it is kept as %s.\n", kept)
	}
	return nil
}

// tryCopy tells whether the copy opens under this installation's master key. It opens another copy of it, in a folder of
// its own beside the data file, since to open one may bring its schema up to date.
func (c *restoreDBCmd) tryCopy(ctx context.Context) error {
	trial := c.dataFlags
	var err error
	if trial.Data, err = os.MkdirTemp(c.Data, ".restore-*"); err != nil { // 0700
		return err
	}
	trial.MasterKeyFile = c.masterKeyFile()
	if err = bolt.Restore(ctx, c.File, trial.file(), false); err == nil {
		err = trial.operateHere(ctx, installation{}, func(operator.Service) error { return nil })
	}
	return errors.Join(err, os.RemoveAll(trial.Data))
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

// dropKept takes the second name of the data file back after a restore that failed. Where the data file is not that file
// any more (the restore failed behind its rename, or a server that started has compacted it), the second name is the only
// one that it has, and stays.
func (c *restoreDBCmd) dropKept(kept string) error {
	if kept == "" {
		return nil
	}
	old, err := os.Stat(kept)
	if err != nil {
		return err
	}
	now, err := os.Stat(c.file())
	if err != nil || !os.SameFile(old, now) {
		return fmt.Errorf("the data file before it is kept as %s", kept)
	}
	return os.Remove(kept)
}
