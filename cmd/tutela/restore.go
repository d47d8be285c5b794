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
	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/keyring"
)

// restoreDBCmd is "tutela restore-db".
type restoreDBCmd struct {
	dataFlags
	File file `arg:"" help:"The copy, as backup-db made it."`
}

// Help is the long help of "tutela restore-db".
func (restoreDBCmd) Help() string {
	return `Puts a copy in the place of the data file, which is kept beside it. No server may run on the data folder, and the master
key must be the one that the copy was made under: that is tried on another copy first, and needs the room for it. Before it
acts it says how old the copy is and what it undoes. Phones and logs see by the new epoch that the data went back.

  tutela restore-db /backup/tutela-2026-03-01.db`
}

// Run restores the copy.
func (c *restoreDBCmd) Run(ctx context.Context) error {
	if c.Store != "" {
		return errors.New("nothing was restored: restore-db is for a data file. Bring a database back with PostgreSQL's own means (docs/operating.md)")
	}
	if client, err := operator.Dial(ctx, c.socket()); err == nil {
		client.Close()
		return fmt.Errorf("a server runs on %s: stop it first", c.Data)
	} else if !errors.Is(err, operator.ErrNobodyServes) {
		return err
	}
	if info, err := os.Stat(string(c.File)); err != nil || info.IsDir() {
		return fmt.Errorf("nothing was restored: there is no file %s", c.File)
	}
	// A folder with neither data nor key is not where the data belongs: nothing is made there.
	if _, err := keyring.MasterKey(os.Getenv(masterKeyVariable), c.masterKeyFile(), false); err != nil {
		return fmt.Errorf("nothing was restored: %w", err)
	}
	if err := c.makeFolder(); err != nil {
		return err
	}
	replaced, err := c.look(ctx)
	if err != nil {
		return fmt.Errorf("nothing was restored: %w", err)
	}
	kept, err := c.keepOld()
	if err != nil {
		return err
	}
	// The copy has its new epoch before it is in place.
	var identity storage.Identity
	err = bolt.Restore(ctx, string(c.File), c.file(), kept != "", func(r storage.Reader) (ws *storage.WriteSet, err error) {
		identity, ws, err = storage.BeginEpoch(r, replaced)
		return ws, err
	})
	if err != nil {
		return errors.Join(err, c.dropKept(kept))
	}
	fmt.Fprintf(os.Stderr, "Restored %s to %s. It is %s in its new epoch %s.\n", c.File, c.file(), identity.Installation, identity.Epoch)
	if kept != "" {
		fmt.Fprintf(os.Stderr, "The data file before it is kept as %s.\n", kept)
	}
	return nil
}

// look tries the copy, says how old it is and what it undoes, and returns the identity of the data in place: the zero
// value when there is none or it cannot be read.
func (c *restoreDBCmd) look(ctx context.Context) (replaced storage.Identity, err error) {
	copied, err := c.tryCopy(ctx)
	if err != nil {
		return replaced, err
	}
	var u *undone
	if c.hasDataFile() {
		if u, err = c.undoneBy(ctx, copied); err != nil {
			return replaced, err
		}
		replaced = u.identity
	}
	tellOfCopy(os.Stderr, time.Now(), copied, u)
	return replaced, nil
}

// tryCopy checks that the copy opens under this installation's master key, and returns how far it goes. It opens
// another copy of it, in a folder of its own beside the data file: to open one may bring its schema up to date.
func (c *restoreDBCmd) tryCopy(ctx context.Context) (copied moment, err error) {
	trial := c.dataFlags
	if trial.Data.path, err = os.MkdirTemp(c.Data.path, ".restore-*"); err != nil { // 0700
		return copied, err
	}
	trial.MasterKeyFile = file(c.masterKeyFile())
	// Opening a copy without an identity gives it a new one. So its own is read first: only that one says which
	// installation the copy is of.
	var own storage.Identity
	err = bolt.Restore(ctx, string(c.File), trial.file(), false, func(r storage.Reader) (_ *storage.WriteSet, err error) {
		own, err = storage.ReadIdentity(r)
		return storage.NewWriteSet(), err
	})
	if err == nil {
		copied, err = trial.openMoment(ctx)
		copied.identity = own
	}
	return copied, errors.Join(err, os.RemoveAll(trial.Data.path))
}

// openMoment opens the installation with its master key, and returns how far its data goes.
func (f dataFlags) openMoment(ctx context.Context) (moment, error) {
	h, err := openHouse(ctx, f.quietly(installation{}))
	if err != nil {
		return moment{}, err
	}
	m, err := momentOf(ctx, h.store)
	return m, errors.Join(err, h.Close())
}

// keepOld links the data file to a second name beside it, and returns that name; "" when there is no data file. Where
// the data folder holds a link to the data file, the second name lies beside the real file: a second link would name
// the copy after the restore.
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

// dropKept removes the second name of the data file after a restore that failed. It keeps the name when the data file
// has become another file (the restore failed after its rename, or a server that started has compacted it): the old
// data then has no other name.
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
