package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"tutela/server/operator"
	"tutela/storage"
	"tutela/storage/keyring"
	"tutela/storage/meter"
	"tutela/storage/postgres"
)

// engine is what holds an installation's bytes: a data file or a database.
type engine interface {
	storage.Engine

	// Healthy reports whether it can be read and written.
	Healthy() error
}

// openShared opens an installation in a database, which other servers may share. The data folder has the master key, the
// socket, and no data.
//
// Errors: errNoInstallation; those of the master key and the database.
func openShared(ctx context.Context, o houseOptions) (h *house, err error) {
	if err := o.checkFolder(); err != nil {
		return nil, err
	}
	if o.storeHasPassword() {
		o.Log.Warn("--store holds a password, which everybody on this machine sees in the list of processes: give it by TUTELA_STORE, PGPASSWORD or PGPASSFILE")
	}
	h = &house{meter: meter.NewSet()}
	database, err := postgres.Open(ctx, o.Store, postgres.Options{Logger: cmp.Or(o.EngineLog, o.Log), Meter: h.meter})
	if err != nil {
		return nil, fmt.Errorf("the database of --store: %w", err)
	}
	h.engine = database
	defer func() {
		if err != nil {
			err = errors.Join(err, database.Close())
		}
	}()
	// An empty database may begin an installation only when the operator means it: --store may name the wrong one.
	isNew, err := isEmpty(ctx, database)
	if err != nil {
		return nil, err
	}
	switch {
	case isNew && !o.Begin:
		return nil, errNoInstallation.With("there is no installation in the database of --store: begin one with tutela serve --store")
	case isNew && o.hasMasterKey() && !o.Init:
		return nil, errNoInstallation.With("there is a master key (%s) and nothing in the database of --store: "+
			"see that it names the right database, or begin a new installation with --init", o.masterKeyPlace())
	}
	h.begun = isNew
	master, err := keyring.MasterKey(os.Getenv(masterKeyVariable), o.masterKeyFile(), isNew)
	if err != nil {
		return nil, err
	}
	o.warnOfMasterKey()
	// Servers over one database share wakes and one time.
	o.share = true
	links := database.Wakes()
	h.links = links
	if o.wakes == nil {
		o.wakes = links
	}
	if h.clock, err = database.Clock(ctx, storage.SystemClock()); err != nil {
		links.Close()
		return nil, err
	}
	o.clock = h.clock
	if err := h.wire(ctx, master, o); err != nil {
		links.Close()
		return nil, err
	}
	return h, nil
}

// checkFolder looks at the data folder, and makes it for a server that may begin.
func (o houseOptions) checkFolder() error {
	if o.Begin {
		return o.makeFolder()
	}
	return operator.CheckFolder(o.Data.path)
}

// isEmpty reports whether an engine holds nothing.
func isEmpty(ctx context.Context, e storage.Engine) (empty bool, err error) {
	empty = true
	err = e.Peek(ctx, storage.Range{}, func([]byte, []byte) bool {
		empty = false
		return false
	})
	return empty, err
}

// storeHasPassword reports whether --store itself holds a password, which every user of the machine can read in the list of
// processes.
func (f dataFlags) storeHasPassword() bool {
	if f.Store == "" || f.Store == os.Getenv("TUTELA_STORE") {
		return false
	}
	parsed, err := url.Parse(f.Store)
	if err != nil {
		return false
	}
	_, has := parsed.User.Password()
	return has
}

// place names where the data is, for people: it shows no password.
func (f dataFlags) place() string {
	if f.Store == "" {
		return f.Data.path
	}
	return postgres.Describe(f.Store)
}
