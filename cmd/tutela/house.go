package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/server/access"
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

// openHouse opens the data file, or makes it with its master key when there is none yet, and wires the services.
func openHouse(ctx context.Context, o houseOptions) (*house, error) {
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	_, err := os.Stat(o.file())
	isNew := errors.Is(err, fs.ErrNotExist)
	path := o.MasterKeyFile
	if path == "" {
		path = filepath.Join(o.Data, "master.key")
	}
	// The key is looked for first: a data file that cannot be read is not made, and one that is there not touched.
	master, err := keyring.MasterKey(os.Getenv("TUTELA_MASTER_KEY"), path, isNew)
	if err != nil {
		return nil, err
	}
	h := &house{}
	if h.engine, err = bolt.Open(ctx, o.file(), bolt.Options{Logger: o.Log}); err != nil {
		return nil, err
	}
	if err := h.wire(ctx, master, o); err != nil {
		return nil, errors.Join(err, h.engine.Close())
	}
	return h, nil
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
