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
	"tutela/storage/keyring"
)

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
	// A folder with neither data nor key is not where the data belongs: nothing is made there.
	if _, err := keyring.MasterKey(os.Getenv(masterKeyVariable), c.masterKeyFile(), false); err != nil {
		return fmt.Errorf("nothing was restored: %w", err)
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
	if trial.Data.path, err = os.MkdirTemp(c.Data.path, ".restore-*"); err != nil { // 0700
		return err
	}
	trial.MasterKeyFile = c.masterKeyFile()
	if err = bolt.Restore(ctx, c.File, trial.file(), false); err == nil {
		err = trial.operateHere(ctx, installation{}, func(operator.Service) error { return nil })
	}
	return errors.Join(err, os.RemoveAll(trial.Data.path))
}

// keepOld gives the data file a second name beside it; "" when there is none. Where the data folder has a link to the
// data file, both names are beside what it names: a second link would name the copy after the restore.
func (c *restoreDBCmd) keepOld() (kept string, err error) {
	file, err := bolt.RealPath(c.file())
	if err != nil {
		return "", err
	}
	kept = file + ".before-" + time.Now().UTC().Format("20060102T150405.000Z")
	err = os.Link(file, kept)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("keep the data file: %w", err)
	}
	return kept, syncFolder(filepath.Dir(file))
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
