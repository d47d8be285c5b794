package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/server/access"
	"tutela/server/operator"
	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/keyring"
)

// dataFlags are the flags of every command that works on an installation.
type dataFlags struct {
	Data          string `default:"./data" type:"path" env:"TUTELA_DATA" placeholder:"DIR" help:"Folder of the data file, the master key and the admin socket."`
	MasterKeyFile string `type:"path" env:"TUTELA_MASTER_KEY_FILE" placeholder:"FILE" help:"File of the master key, by default master.key in the data folder. TUTELA_MASTER_KEY (base64) goes before it."`
}

func (f dataFlags) file() string { return filepath.Join(f.Data, "tutela.db") }

func (f dataFlags) socket() string { return filepath.Join(f.Data, "admin.sock") }

func (f dataFlags) pushFolder() string { return filepath.Join(f.Data, "push") }

// masterKeyFile is the file of the master key, when the environment does not hold the key itself.
func (f dataFlags) masterKeyFile() string {
	return cmp.Or(f.MasterKeyFile, filepath.Join(f.Data, "master.key"))
}

// makeFolder makes the data folder when there is none. One that is there and not fit for the data gets no file.
func (f dataFlags) makeFolder() error {
	if err := operator.CheckFolder(f.Data); err != nil {
		return err
	}
	if err := os.MkdirAll(f.Data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	return nil
}

// house is an opened installation: the store and the services over it.
type house struct {
	engine   *bolt.Engine
	store    *storage.Store
	ring     *keyring.Ring
	access   *access.Service
	codes    *recovery.Service
	devices  *device.Service
	logins   *login.Service
	backups  *backup.Service
	restores *restore.Service
}

// houseOptions says how to open an installation.
type houseOptions struct {
	dataFlags
	PublicURLs []string       // the first is the one that we print
	Issuer     string         // the organisation's name, as apps show it
	Deliver    push.Deliverer // nil: apps pull
	Log        *slog.Logger
}

// check tells whether the options can be right, before anything is made.
//
// Errors: access.ErrPublicURL.
func (o houseOptions) check() error {
	for _, public := range o.PublicURLs {
		if err := access.CheckPublicURL(public); err != nil {
			return err
		}
	}
	return nil
}

// openWhenFree is openHouse for a server: while a command has the data file, which takes a moment, it waits. Another
// server, which answers on the admin socket, is not waited for.
func openWhenFree(ctx context.Context, o houseOptions) (*house, error) {
	deadline := time.Now().Add(inUseWait)
	for {
		h, err := openHouse(ctx, o)
		if !errors.Is(err, bolt.ErrInUse) || time.Now().After(deadline) {
			return h, err
		}
		nobody := o.operateThere(ctx, func(operator.Service) error { return nil })
		if !errors.Is(nobody, operator.ErrNobodyServes) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(inUseRetry):
		}
	}
}

// openHouse opens the data file, or makes it with its master key when there is none yet, and wires the services.
func openHouse(ctx context.Context, o houseOptions) (*house, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := o.makeFolder(); err != nil {
		return nil, err
	}
	_, err := os.Stat(o.file())
	isNew := errors.Is(err, fs.ErrNotExist)
	// The key is looked for first: a data file that cannot be read is not made, and one that is there not touched.
	master, err := keyring.MasterKey(os.Getenv("TUTELA_MASTER_KEY"), o.masterKeyFile(), isNew)
	if err != nil {
		return nil, err
	}
	o.warnOfMasterKey()
	h := &house{}
	if h.engine, err = bolt.Open(ctx, o.file(), bolt.Options{Logger: o.Log}); err != nil {
		return nil, err
	}
	if err := h.wire(ctx, master, o); err != nil {
		return nil, errors.Join(err, h.engine.Close())
	}
	return h, nil
}

// warnOfMasterKey says when others on this machine may read the file of the master key.
func (o houseOptions) warnOfMasterKey() {
	info, err := os.Stat(o.masterKeyFile())
	if err == nil && info.Mode().Perm()&0o077 != 0 && os.Getenv("TUTELA_MASTER_KEY") == "" {
		o.Log.Warn("others on this machine may read the master key: chmod 600", "file", o.masterKeyFile())
	}
}

func (h *house) wire(ctx context.Context, master []byte, o houseOptions) (err error) {
	if h.store, err = storage.Open(ctx, h.engine, storage.Options{Logger: o.Log}); err != nil {
		return err
	}
	if h.ring, err = keyring.Open(ctx, h.store, master); err != nil {
		return err
	}
	if h.access, err = access.New(ctx, h.store, h.ring, access.Options{PublicURLs: o.PublicURLs}); err != nil {
		return err
	}
	bases := device.NewBases(o.PublicURLs)
	h.codes = recovery.New(h.store, h.ring, h.access.SignReceipt)
	h.devices = device.New(h.store, h.ring, h.codes, device.Options{Bases: bases, Issuer: o.Issuer, Deliver: o.Deliver})
	h.logins = login.New(h.store, h.ring, h.devices, h.codes, bases, o.Deliver)
	h.backups = backup.New(h.store, h.ring, h.devices)
	h.restores = restore.New(h.store, h.ring, h.codes, h.devices, h.logins, h.backups)
	return nil
}

// Close closes the data file.
func (h *house) Close() error { return h.store.Close() }
