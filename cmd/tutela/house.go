package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/device/own"
	"tutela/device/passkey"
	"tutela/device/push"
	"tutela/device/push/provider"
	"tutela/device/push/webpush"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/admin/signin"
	"tutela/recovery/signal"
	"tutela/recovery/webhook"
	"tutela/server/access"
	"tutela/server/operator"
	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/keyring"
	"tutela/storage/meter"
	"tutela/storage/outbox"
	"tutela/storage/postgres"
	"tutela/storage/tally"
)

// house is an opened installation: the store and the services over it.
type house struct {
	meter    *meter.Set
	engine   engine
	links    *postgres.Wakes // to the other servers; nil: there are none
	clock    *postgres.Clock // which follows the database's; nil: the machine's counts
	store    *storage.Store
	ring     *keyring.Ring
	access   *access.Service
	codes    *recovery.Service
	devices  *device.Service
	passkeys *passkey.Service
	logins   *login.Service
	backups  *backup.Service
	restores *restore.Service
	admins   *admin.Service
	signin   *signin.Service
	own      *own.Service
	begun    bool              // the installation was begun by this opening
	push     *push.Gateway     // carries nothing until a server gives it carriers
	direct   *provider.Service // the credentials for push services that are set by API
	hooks    *webhook.Service
	signals  *signal.Service
	webPush  *webpush.Keys // by which Web Push services know this installation
	outbox   *outbox.Sender
	tally    *tally.Folder
}

// houseOptions says how to open an installation.
type houseOptions struct {
	dataFlags
	Begin        bool           // make the data file when there is none
	Init         bool           // begin in an empty database though there is a master key
	PublicURLs   []string       // the first is the one that we print
	Issuer       string         // the organisation's name, as apps show it
	WebhookAllow []netip.Prefix // addresses that webhooks may have though they are not of the internet
	Log          *slog.Logger
	EngineLog    *slog.Logger // default: Log

	wrap  func(storage.Engine) storage.Engine // wraps the engine, in tests; else nil
	wakes storage.Wakes                       // of houses over one store, in tests; else nil
	clock storage.Clock                       // default: the machine's
	share bool                                // other houses send from the same outbox, in tests
}

// check refuses options that cannot be right, before anything is made.
//
// Errors: access.ErrPublicURL; device.ErrIssuer.
func (o houseOptions) check() error {
	if err := device.CheckIssuer(o.Issuer); err != nil {
		return usageError{err}
	}
	for _, public := range o.PublicURLs {
		if err := access.CheckPublicURL(public); err != nil {
			return usageError{err}
		}
	}
	return nil
}

// openWhenFree opens the house for a server. While a command holds the data file, it waits up to inUseWait. It does
// not wait for another server, which answers on the admin socket.
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

// openHouse opens the data file and wires the services. Without Begin it opens only what is there.
//
// Errors: errNoInstallation; those of the master key, the data file and the file system.
func openHouse(ctx context.Context, o houseOptions) (*house, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Store != "" {
		return openShared(ctx, o)
	}
	isNew := !o.hasDataFile()
	if err := o.readyFolder(isNew); err != nil {
		return nil, err
	}
	// The key comes first: no data file is made that cannot be read, and one that is there is not touched without it.
	master, err := keyring.MasterKey(os.Getenv(masterKeyVariable), o.masterKeyFile(), isNew)
	if err != nil {
		return nil, err
	}
	o.warnOfMasterKey()
	h := &house{meter: meter.NewSet(), begun: isNew}
	if h.engine, err = bolt.Open(ctx, o.file(), bolt.Options{Logger: cmp.Or(o.EngineLog, o.Log), Meter: h.meter}); err != nil {
		return nil, err
	}
	if err := h.wire(ctx, master, o); err != nil {
		return nil, errors.Join(err, h.engine.Close())
	}
	return h, nil
}

// readyFolder makes the data folder of a new installation, and looks at that of one that is there.
//
// Errors: errNoInstallation, when there is none and none is to begin; those of the file system.
func (o houseOptions) readyFolder(isNew bool) error {
	switch {
	case isNew && !o.Begin:
		return o.noInstallation()
	case isNew:
		return o.makeFolder()
	}
	return operator.CheckFolder(o.Data.path)
}

// warnOfMasterKey logs a warning when others on this machine may read the file of the master key.
func (o houseOptions) warnOfMasterKey() {
	info, err := os.Stat(o.masterKeyFile())
	if err == nil && info.Mode().Perm()&0o077 != 0 && os.Getenv(masterKeyVariable) == "" {
		o.Log.Warn("others on this machine may read the master key: chmod 600", "file", o.masterKeyFile())
	}
}

// wire opens the store over the engine, and the services over the store.
func (h *house) wire(ctx context.Context, master []byte, o houseOptions) (err error) {
	var engine storage.Engine = h.engine
	if o.wrap != nil {
		engine = o.wrap(engine)
	}
	if h.store, err = storage.Open(ctx, engine, storage.Options{
		Clock:  o.clock,
		Wakes:  o.wakes,
		Logger: o.Log,
		Meter:  h.meter,
		Shared: o.share,
	}); err != nil {
		return err
	}
	// Keys first: sealed fields can be read only once the ring is open.
	if h.ring, err = keyring.Open(ctx, h.store, master); err != nil {
		return err
	}
	if h.access, err = access.New(ctx, h.store, h.ring, access.Options{PublicURLs: o.PublicURLs}); err != nil {
		return err
	}
	if h.webPush, err = webpush.OpenKeys(ctx, h.store); err != nil {
		return err
	}
	// Then the services, each after those that it uses.
	h.push = push.NewGateway(nil)
	h.push.CountIn(h.meter)
	h.direct = provider.New(h.store, provider.Options{Log: o.Log})
	h.push.Prefer(h.direct)
	bases := device.NewBases(o.PublicURLs)
	h.codes = recovery.New(h.store, h.ring, h.access.SignReceipt)
	h.devices = device.New(h.store, h.ring, h.codes, device.Options{
		Bases:       bases,
		Issuer:      o.Issuer,
		Deliver:     h.push,
		KnowsClient: h.access.HasClient,
	})
	h.passkeys = passkey.New(h.store, h.ring, passkey.Options{Bases: bases, Issuer: o.Issuer, Registered: access.HasWebOrigin})
	h.logins = login.New(h.store, h.ring, h.devices, h.codes, bases, h.push).WithPasskeys(h.passkeys).WithPings(o.WebhookAllow)
	h.backups = backup.New(h.store, h.ring, h.devices)
	h.restores = restore.New(h.store, h.ring, h.codes, h.devices, h.logins, h.backups)
	h.admins = admin.New(h.store, h.codes, h.devices, h.restores, h.logins)
	h.signin = signin.New(h.store, h.ring, h.passkeys, bases)
	h.hooks = webhook.New(h.store, webhook.Options{Allow: o.WebhookAllow})
	h.signals = signal.New(h.store, signal.Options{
		Issuer:   h.access.Issuer(),
		Sign:     h.access.SignSET,
		Ready:    h.access.ReadySET,
		Receives: h.access.Receives,
		Allow:    o.WebhookAllow,
	})
	h.own = own.New(h.store, h.ring, h.codes, h.devices, h.logins, h.restores)
	h.tally = tally.NewFolder(h.store, admin.KeptByDay()...)
	// The sender last: it has the handlers of all of them.
	h.outbox, err = outbox.NewSender(h.store, outbox.Options{
		Handlers:  []outbox.Handler{recovery.Notice.Handler(h.devices.DeliverNotice), h.logins.Handler(), h.logins.PingHandler(), h.hooks.Handler(), h.hooks.MailHandler(), h.signals.Handler()},
		Log:       o.Log,
		Shared:    o.share,
		Pace:      lookPace,
		Provider:  push.ProviderOf,
		Providers: push.Providers,
		Great:     push.Great,
	})
	return err
}

// lookPace is the least time between two looks at the outbox, and by how much a push on a busy server may come later.
const lookPace = 5 * time.Millisecond

// closingFold bounds how long Close writes down what was counted.
const closingFold = 5 * time.Second

// Close writes down what was counted, and closes the data file.
func (h *house) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closingFold)
	defer cancel()
	_ = h.tally.Fold(ctx) // what cannot be written now is lost; nothing else hangs on it
	_ = h.access.WriteUses(ctx)
	if h.links != nil {
		h.links.Close()
	}
	h.hooks.Close()
	h.logins.Close()
	h.signals.Close()
	return h.store.Close()
}
