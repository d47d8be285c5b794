package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"tutela/server/operator"
	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/keyring"
	"tutela/storage/postgres"
)

// migrateStoreCmd is "tutela migrate-store".
type migrateStoreCmd struct {
	From          string `required:"" placeholder:"PLACE" help:"Where the data is: a data folder, or a database as --store names it."`
	To            string `required:"" placeholder:"PLACE" help:"Where it is to be: an empty database, or a folder without a data file."`
	MasterKeyFile file   `env:"TUTELA_MASTER_KEY_FILE" placeholder:"FILE" help:"File of the master key, by default master.key in the folder. TUTELA_MASTER_KEY (base64) goes before it."`
}

// Help is the long help of "tutela migrate-store".
func (migrateStoreCmd) Help() string {
	return `Moves an installation from its data file into a PostgreSQL database, or back. All servers are stopped first; it is refused while
one runs. Every row is copied, and then compared on both sides. When it is interrupted, run it again: it goes on. The source is
left as it is. Phones and logs see by the new epoch that the data has moved.

  tutela migrate-store --from ./data --to postgres://tutela@db1/tutela
  tutela migrate-store --from postgres://tutela@db1/tutela --to ./data --master-key-file master.key

A password: by PGPASSWORD or PGPASSFILE, or the whole string by TUTELA_MIGRATE_STORE_FROM or TUTELA_MIGRATE_STORE_TO.`
}

// Run moves.
func (c *migrateStoreCmd) Run(ctx context.Context) error {
	from := placeAt(c.From, c.MasterKeyFile)
	to := placeAt(c.To, c.MasterKeyFile)
	for _, place := range []dataFlags{from, to} {
		if place.storeHasPassword() && !c.fromEnvironment(place.Store) {
			fmt.Fprintln(os.Stderr, "a password on the command line is seen by everybody on this machine in the list of processes: give it by PGPASSWORD or PGPASSFILE")
		}
	}
	if from.Store == "" && !from.hasDataFile() {
		return fmt.Errorf("nothing was moved: there is no installation in %s", from.Data)
	}
	key, err := findMasterKey(from, to)
	if err != nil {
		return fmt.Errorf("nothing was moved: %w", err)
	}
	moved, err := c.move(ctx, from, to, key)
	if err != nil && !errors.Is(err, storage.ErrMoved) {
		return err
	}
	if err := key.copyInto(to); err != nil {
		return err
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "It is done already: %s holds this installation, in a later epoch.\n", to.place())
	} else {
		tellOfMove(moved, from, to)
	}
	fmt.Fprintf(os.Stderr, "The master key: %s. Start servers on %s alone: one that starts on %s begins a second history.\n", key.where(to), to.place(), from.place())
	return nil
}

// fromEnvironment reports whether a connection string came from the environment, which other users cannot read.
func (*migrateStoreCmd) fromEnvironment(store string) bool {
	return store == os.Getenv("TUTELA_MIGRATE_STORE_FROM") || store == os.Getenv("TUTELA_MIGRATE_STORE_TO")
}

// placeAt reads what --from or --to names.
func placeAt(name string, key file) dataFlags {
	if strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://") {
		return dataFlags{Store: name, MasterKeyFile: key}
	}
	place := dataFlags{MasterKeyFile: key}
	_ = place.Data.UnmarshalText([]byte(cmp.Or(name, ".")))
	return place
}

// movedKey is the master key of what is moved.
type movedKey struct {
	bytes []byte
	file  string // "": it comes from the environment
}

// findMasterKey finds the master key: where the flags say, else in the folder that is one of the places.
//
// Errors: keyring.ErrMasterKey.
func findMasterKey(from, to dataFlags) (movedKey, error) {
	at := from
	if from.Store != "" {
		at = to
	}
	key := movedKey{file: at.masterKeyFile()}
	if at.Store != "" && at.MasterKeyFile == "" {
		key.file = "master.key" // in the folder that the command is run in
	}
	if os.Getenv(masterKeyVariable) != "" {
		key.file = ""
	}
	var err error
	key.bytes, err = keyring.MasterKey(os.Getenv(masterKeyVariable), key.file, false)
	return key, err
}

// copyInto puts the master key into the folder to which data was moved, unless it is there or comes from the environment.
//
// Errors: that another key lies there; those of the file system.
func (k movedKey) copyInto(to dataFlags) error {
	if to.Store != "" || k.file == "" {
		return nil
	}
	place := filepath.Join(to.Data.path, "master.key")
	f, err := os.OpenFile(place, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		there, err := keyring.MasterKey("", place, false)
		if err == nil && !bytes.Equal(there, k.bytes) {
			err = fmt.Errorf("the data was moved, and %s holds another master key than %s: put that one in its place", place, k.file)
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("copy the master key: %w", err)
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(k.bytes) + "\n")
	return errors.Join(err, f.Sync(), f.Close(), syncFolder(to.Data.path))
}

// where names the place of the key for the servers to come.
func (k movedKey) where(to dataFlags) string {
	switch {
	case k.file == "":
		return masterKeyVariable + " holds it, as before"
	case to.Store == "":
		return filepath.Join(to.Data.path, "master.key")
	}
	return k.file + " stays where it is: give it to each server, by --master-key-file"
}

// progress is after how many rows the command says how far it is.
const progress = 250_000

// move opens both places, tries the key, and moves.
func (c *migrateStoreCmd) move(ctx context.Context, from, to dataFlags, key movedKey) (moved storage.Moved, err error) {
	source, err := from.openAlone(ctx)
	if err != nil {
		return moved, fmt.Errorf("nothing was moved: the source: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if err := tryKey(ctx, source, key); err != nil {
		return moved, fmt.Errorf("nothing was moved: the source: %w", err)
	}
	if to.Store == "" {
		if err := to.makeFolder(); err != nil {
			return moved, err
		}
	}
	target, err := to.openAlone(ctx)
	if err != nil {
		return moved, fmt.Errorf("nothing was moved: the target: %w", err)
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	said := int64(0)
	moved, err = storage.Move(ctx, source, target, func(rows int64) {
		if rows/progress > said/progress {
			fmt.Fprintf(os.Stderr, "%d rows copied\n", rows)
		}
		said = rows
	})
	if err != nil {
		return moved, err
	}
	return moved, tryKey(ctx, target, key)
}

// openAlone opens the engine of a place that no server has open.
//
// Errors: bolt.ErrInUse and postgres.ErrInUse, with what to do; those of the engines.
func (f dataFlags) openAlone(ctx context.Context) (storage.Engine, error) {
	log := logAt(slog.LevelError)
	if f.Store != "" {
		database, err := postgres.Open(ctx, f.Store, postgres.Options{Logger: log, Alone: true})
		if errors.Is(err, postgres.ErrInUse) {
			return nil, fmt.Errorf("%s is in use: stop all servers first, and let no command of tutela run", f.place())
		}
		if err != nil {
			return nil, err
		}
		return database, nil
	}
	client, err := operator.Dial(ctx, f.socket())
	if err == nil {
		client.Close()
		return nil, fmt.Errorf("a server runs on %s: stop it first", f.Data)
	}
	file, err := bolt.Open(ctx, f.file(), bolt.Options{Logger: log})
	if errors.Is(err, bolt.ErrInUse) {
		return nil, fmt.Errorf("%w: stop that one first", err)
	}
	if err != nil {
		return nil, err
	}
	return file, nil
}

// tryKey sees that an installation is there, and that the master key opens all of its ring.
//
// Errors: errNoInstallation; keyring.ErrMasterKey.
func tryKey(ctx context.Context, engine storage.Engine, key movedKey) error {
	nothing, err := isEmpty(ctx, engine)
	if err != nil {
		return err
	}
	if nothing {
		return errNoInstallation
	}
	store, err := storage.Open(ctx, engine, storage.Options{Logger: logAt(slog.LevelError)})
	if err != nil {
		return err
	}
	_, err = keyring.Open(ctx, store, key.bytes)
	return err
}

// tellOfMove prints what a move has done.
func tellOfMove(moved storage.Moved, from, to dataFlags) {
	fmt.Fprintf(os.Stderr, "Moved %d rows from %s to %s, and compared each. SHA-256 over the rows:\n", moved.Rows, from.place(), to.place())
	fmt.Fprintf(os.Stderr, "  %s  source\n  %s  target\n", moved.Source, moved.Target)
	if moved.Mended > 0 {
		fmt.Fprintf(os.Stderr, "%d rows that an earlier attempt had copied have changed since, and were copied again.\n", moved.Mended)
	}
	fmt.Fprintf(os.Stderr, "It is %s in its new epoch %s.\n", moved.Identity.Installation, moved.Identity.Epoch)
}
