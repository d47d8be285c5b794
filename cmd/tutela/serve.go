package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"time"

	"tutela/server"
	"tutela/server/appapi"
	"tutela/server/loginapi"
	"tutela/server/managementapi"
	"tutela/server/operator"
	"tutela/server/web"
	"tutela/server/web/dashboard"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/bolt"
	"tutela/storage/setting"
	"tutela/storage/setting/brand"
)

// version is what the server says it is; a release sets it with -ldflags "-X main.version=…".
var version = "0.1.0-dev"

// serveCmd is "tutela serve".
type serveCmd struct {
	dataFlags
	webPushFlags
	webhookFlags
	Listen       string       `default:"localhost:8080" env:"TUTELA_LISTEN" placeholder:"HOST:PORT" help:"Where to listen; localhost is 127.0.0.1 and ::1."`
	OpsListen    string       `name:"ops-listen" env:"TUTELA_OPS_LISTEN" placeholder:"HOST:PORT" help:"Where to show /metrics for Prometheus, with /healthz and /readyz; apart from the APIs. Default: nowhere."`
	PublicURL    []string     `name:"public-url" env:"TUTELA_PUBLIC_URL" placeholder:"URL" help:"URL under which apps and login systems reach this server; repeatable. The first is the one that is printed in links and tokens. Default: http://localhost and the port."`
	Name         string       `default:"tutela" env:"TUTELA_NAME" placeholder:"TEXT" help:"The organisation's name, as apps show it."`
	Dev          bool         `env:"TUTELA_DEV" help:"For development: push messages become files in DATA/push and lines of the log; Web Push is sent, also to this machine and over http. Only on a loopback address."`
	TLSCert      file         `name:"tls-cert" env:"TUTELA_TLS_CERT" placeholder:"FILE" help:"PEM certificate chain; read again when the file changes, and on SIGHUP."`
	TLSKey       file         `name:"tls-key" env:"TUTELA_TLS_KEY" placeholder:"FILE" help:"PEM key of the certificate."`
	TrustedProxy []proxyRange `name:"trusted-proxy" env:"TUTELA_TRUSTED_PROXY" placeholder:"CIDR" help:"Address or address range of a reverse proxy whose X-Forwarded-For is believed; repeatable."`
	Init         bool         `help:"Begin a new installation though the data folder holds a master key or files of others. For the first start alone."`
	LogLevel     logLevel     `default:"info" env:"TUTELA_LOG_LEVEL" placeholder:"LEVEL" help:"debug, info, warn or error. Every call is a line at info."`
	LogFormat    string       `default:"text" enum:"text,json" env:"TUTELA_LOG_FORMAT" placeholder:"FORMAT" help:"text, or json: one object a line."`
	pushFlags
	AccessLog string `default:"on" enum:"on,off" env:"TUTELA_ACCESS_LOG" placeholder:"on|off" help:"off: no line for each call; errors are logged all the same."`

	carriers carriers // as validate has made them
}

// Help is the long help of "tutela serve".
func (serveCmd) Help() string {
	return `In a data folder that is empty or missing it begins a new installation: the data file, and a master key of its own.
Keep a copy of the master key elsewhere: without it the data file cannot be read. A key that you give yourself needs --init
at the first start, for a key without its data file is otherwise taken for data that is missing.

  tutela serve --dev                      on a laptop
  tutela serve --listen :443 --tls-cert cert.pem --tls-key key.pem --public-url https://mfa.example.com
  tutela serve --public-url https://mfa.example.com --trusted-proxy 10.0.0.0/8      behind a reverse proxy`
}

// Run serves until ctx ends.
func (c *serveCmd) Run(ctx context.Context) error {
	if err := c.validate(ctx); err != nil {
		return err
	}
	tuneGC()
	log, flush := gatheredLog(os.Stderr, c.LogLevel.Level, c.LogFormat == "json")
	defer func() { _ = flush() }()
	begins, err := c.begins(log)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, listenFlag, c.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	ops, err := c.opsListen(ctx)
	if err != nil {
		return err
	}
	if ops != nil {
		defer func() { _ = ops.Close() }()
	}
	public := c.publicURLs(listener.Addr())
	// The listener comes before the data: a port that is taken leaves no half-made installation behind.
	h, err := c.open(ctx, begins, public, log)
	if err != nil {
		return err
	}
	s, err := c.server(h, listener, public, log)
	if err != nil {
		return errors.Join(err, h.Close())
	}
	// The admin socket comes after the data file: its lock says that no other server owns the socket's name.
	admin, err := operator.Listen(ctx, c.socket())
	if err != nil {
		return errors.Join(err, h.Close())
	}
	if h.begun {
		c.announce(os.Stdout)
	}
	identity := h.store.Identity()
	log.Info("tutela serves", "version", version, "installation", identity.Installation, "epoch", identity.Epoch.String())
	c.greet(os.Stdout, public[0], ops)
	return errors.Join(h.run(ctx, s, listeningFor{admin: admin, ops: ops}, log), h.Close())
}

// server makes the server of a house, with the push services that were asked for.
func (c *serveCmd) server(h *house, listener net.Listener, public []string, log *slog.Logger) (*server.Server, error) {
	s, err := server.New(server.Config{
		Listener:       listener,
		PublicURLs:     public,
		CertFile:       string(c.TLSCert),
		KeyFile:        string(c.TLSKey),
		TrustedProxies: prefixes(c.TrustedProxy),
		Origin:         h.allowsOrigin,
		Checks:         h.checks(c.Data.path),
		Log:            log,
		Meter:          h.meter,
		Version:        version,
		NoAccessLog:    c.AccessLog == "off",
	})
	if err != nil {
		return nil, err
	}
	c.addWebPush(h.webPush, public[0])
	if err := c.carry(h, log); err != nil {
		return nil, err
	}
	h.mount(s, log)
	return s, nil
}

// open opens the data file, or begins an installation.
func (c *serveCmd) open(ctx context.Context, begins bool, public []string, log *slog.Logger) (*house, error) {
	h, err := openWhenFree(ctx, houseOptions{
		dataFlags:    c.dataFlags,
		Begin:        begins,
		Init:         c.Init,
		PublicURLs:   public,
		Issuer:       c.Name,
		WebhookAllow: c.webhookRanges(),
		Log:          log,
	})
	if errors.Is(err, bolt.ErrInUse) {
		err = fmt.Errorf("%w: stop that one first, or choose another --data", err)
	}
	return h, err
}

// proxyRange is an address range on the command line; a single address is a range of one.
type proxyRange struct{ netip.Prefix }

// UnmarshalText reads a CIDR or an address.
func (p *proxyRange) UnmarshalText(text []byte) error {
	if addr, err := netip.ParseAddr(string(text)); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		p.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("%q is not an address range, such as 10.0.0.0/8", text)
	}
	p.Prefix = prefix
	return nil
}

func prefixes(ranges []proxyRange) []netip.Prefix {
	list := make([]netip.Prefix, 0, len(ranges))
	for _, r := range ranges {
		list = append(list, r.Prefix)
	}
	return list
}

// validate refuses flags that cannot be right, before anything is made.
func (c *serveCmd) validate(ctx context.Context) error {
	if err := operator.CheckPath(c.socket()); err != nil {
		return err
	}
	host, err := hostOf(ctx, c.Listen)
	if err != nil {
		return notUnderstood("--listen %q is not a HOST:PORT, such as localhost:8080 or :443", c.Listen)
	}
	if _, err := hostOf(ctx, c.OpsListen); err != nil && c.OpsListen != "" {
		return notUnderstood("--ops-listen %q is not a HOST:PORT, such as localhost:9090", c.OpsListen)
	}
	if c.Dev && !loopback(host) {
		return notUnderstood("--dev is for this machine alone, and --listen %s is not: use localhost", c.Listen)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return notUnderstood("TLS needs both a certificate and a key: give --tls-cert and --tls-key, or neither")
	}
	if err := (houseOptions{PublicURLs: c.PublicURL, Issuer: c.Name}).check(); err != nil {
		return err
	}
	if err := server.CheckTLS(string(c.TLSCert), string(c.TLSKey)); err != nil {
		return err
	}
	if err := c.webPushFlags.check(); err != nil {
		return err
	}
	c.carriers, err = c.readCarriers()
	return err
}

// hostOf returns the host of an address to listen on.
//
// Errors: that the address is not a HOST:PORT.
func hostOf(ctx context.Context, address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.DefaultResolver.LookupPort(ctx, "tcp", port)
	}
	return host, err
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// publicURLs returns the URLs that were given. Without any, localhost comes first, since an IP address cannot be a
// WebAuthn RP id; the loopback addresses follow, since a client on this machine may be configured with one.
func (c *serveCmd) publicURLs(addr net.Addr) []string {
	if len(c.PublicURL) > 0 {
		return c.PublicURL
	}
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	_, port, _ := net.SplitHostPort(addr.String())
	return []string{
		scheme + "://localhost:" + port, scheme + "://127.0.0.1:" + port, scheme + "://[::1]:" + port,
	}
}

// begins reports whether this start begins an installation, before anything is made.
//
// Errors: errNoInstallation, when it may not.
func (c *serveCmd) begins(log *slog.Logger) (bool, error) {
	switch {
	case c.Store != "":
		return true, nil // the database says whether there is an installation
	case c.hasDataFile():
		if c.Init {
			log.Warn("--init is for the first start alone: leave it away, so that a data file that is missing is noticed", "data", c.Data.path)
		}
		return false, nil
	case c.Init:
		return true, nil
	}
	return true, c.mayBegin()
}

// announce says that an installation has begun.
func (c *serveCmd) announce(w io.Writer) {
	say(w, "tutela begins a new installation in %s\n", c.place())
	say(w, "  keep:  a copy of the master key (%s), apart from the data: without it the data cannot be read\n", c.masterKeyPlace())
}

// greet says what to open and do next.
func (c *serveCmd) greet(w io.Writer, public string, ops net.Listener) {
	say(w, "tutela serves on %s  (data in %s)\n", public, c.place())
	program := nameToCall()
	data := shellWord(c.Data.path)
	say(w, "  next, in another terminal:\n")
	say(w, "    %s ticket maria --data %s\n         a link and a QR code: maria's phone enrols\n", program, data)
	say(w, "    %s client add shop --scope openid --data %s\n         a login system that may ask her phone\n", program, data)
	say(w, "  look:  %s/docs   %s/readyz\n", public, public)
	if ops != nil {
		say(w, "  watch: http://%s/metrics\n", ops.Addr())
	}
}

// nameToCall returns what a shell calls this program by: its name where that leads to it, else its path.
func nameToCall() string {
	path, err := os.Executable()
	if err != nil {
		return "tutela"
	}
	found, err := exec.LookPath("tutela")
	if err == nil && isSameFile(found, path) {
		return "tutela"
	}
	return shellWord(path)
}

func isSameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// retention is how long events are kept.
var retention = setting.Duration("events.keep", "how long events are kept", 400*24*time.Hour, 24*time.Hour, 10*365*24*time.Hour)

const (
	trimInterval = 10 * time.Minute
	trimBatch    = 1000
)

// listeningFor are the listeners beside that of the APIs.
type listeningFor struct {
	admin net.Listener
	ops   net.Listener // nil: nobody asked for it
}

// run serves, and does the background work, until ctx ends. The work goes on until the last call is answered.
func (h *house) run(ctx context.Context, s *server.Server, also listeningFor, log *slog.Logger) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	if err := h.warnOfPolicies(work, log); err != nil {
		stop()
		return errors.Join(err, also.admin.Close())
	}
	var group sync.WaitGroup
	group.Go(func() { h.store.RunSweeper(work) })
	group.Go(func() { h.outbox.Run(work) })
	if h.clock != nil {
		group.Go(func() { h.clock.Run(work) })
	}
	group.Go(func() { h.trimEvents(work) })
	group.Go(func() { audit.RunFolds(work, h.store, log) })
	group.Go(func() { h.compactNightly(work, log) })
	group.Go(func() { h.tally.Run(work, log) })
	group.Go(func() { h.hooks.Run(work) })
	group.Go(func() { h.signals.Run(work) })
	group.Go(func() { h.access.RunUses(work) })
	group.Go(func() { h.countEveryone(work, log) })
	group.Go(func() {
		if err := operator.Serve(work, also.admin, h.operators(), log); err != nil {
			log.Error("the operator's commands are not served any more", "err", err)
		}
	})
	if also.ops != nil {
		group.Go(func() { serveOps(work, also.ops, h.meter, s, log) })
	}
	err := s.Serve(ctx)
	h.sendWhatIsDue(work, log)
	stop()
	group.Wait()
	return err
}

// countEveryone notes how the users of an earlier release would get back in, once.
func (h *house) countEveryone(ctx context.Context, log *slog.Logger) {
	if err := h.admins.CountEveryone(ctx); err != nil && ctx.Err() == nil {
		log.Warn("count who would get back in: the next start tries again", "err", err)
	}
}

// lastSending bounds how long a server that stops sends what its last calls have added to the outbox.
const lastSending = 2 * time.Second

// sendWhatIsDue sends what the last calls have added. What is left is sent at the next start.
func (h *house) sendWhatIsDue(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, lastSending)
	defer cancel()
	if err := h.outbox.Drain(ctx); err != nil {
		log.Info("some of the outbox is left for the next start", "err", err)
	}
}

// trimEvents removes events past their retention, every trimInterval.
func (h *house) trimEvents(ctx context.Context) {
	h.store.Rounds(ctx, storage.Round{
		Every: trimInterval,
		Job:   "trim",
		What:  "trim events",
		Do:    h.trimOnce,
	})
}

// trimOnce removes the events that are past their retention now.
func (h *house) trimOnce(ctx context.Context) error {
	var keep time.Duration
	err := h.store.View(ctx, func(tx *storage.Tx) (err error) {
		keep, err = retention.Get(tx)
		return err
	})
	for n := trimBatch; err == nil && n == trimBatch; {
		n, err = audit.Trim(ctx, h.store, h.store.Now().Add(-keep), trimBatch)
	}
	return err
}

// allowsOrigin reports whether a page from an origin may call the APIs that browsers call.
func (h *house) allowsOrigin(origin string) bool {
	allowed, err := h.access.AllowedOrigin(context.Background(), origin)
	return err == nil && allowed
}

// minFree is how many bytes must be free on the data's disk for the server to be ready.
const minFree = bolt.ReserveBytes

// maxClockJump is how far the clock may have jumped since the start for the server to be ready.
const maxClockJump = 10 * time.Second

// errNotReady says publicly, without a path, what the server lacks.
var errNotReady = storage.NewError(storage.Unavailable, "not ready")

// checks returns the checks of /readyz.
func (h *house) checks(dir string) []server.Check {
	disk := server.Check{Name: "disk", Run: func(context.Context) error { return disksWritable(dir, dir) }}
	if file, ok := h.engine.(*bolt.Engine); ok {
		disk.Run = func(context.Context) error { return disksWritable(dir, file.Folder()) }
	}
	checks := []server.Check{
		{Name: "store", Run: func(ctx context.Context) error {
			return errors.Join(h.engine.Healthy(), h.store.View(ctx, func(*storage.Tx) error { return nil }))
		}},
		disk,
		{Name: "clock", Run: func(context.Context) error { return clockJumped(h.store.ClockState()) }},
		{Name: "clock_step", Advisory: true, Run: func(context.Context) error { return clockDoubted(h.store.ClockState()) }},
		{Name: "outbox", Run: h.outbox.Trouble, Advisory: true},
		{Name: "damage", Run: h.store.Damage, Advisory: true},
		{Name: "push", Run: h.direct.Trouble, Advisory: true},
	}
	if h.clock != nil {
		checks = append(checks, server.Check{
			Name:     "database_clock",
			Advisory: true,
			Run:      func(context.Context) error { return clockDiffers(h.clock.Offset()) },
		})
	}
	return checks
}

// mount puts the APIs and pages on the server.
func (h *house) mount(s *server.Server, log *slog.Logger) {
	appapi.Mount(s, appapi.Services{
		Devices:  h.devices,
		Logins:   h.logins,
		Backups:  h.backups,
		Restores: h.restores,
		Access:   h.access,
		Epoch:    h.store.Epoch,
		WebPush:  h.webPush.Public(),
	})
	loginapi.Mount(s, h.store, h.access, h.logins)
	managementapi.Mount(s, managementapi.Services{
		Access:  h.access,
		Admins:  h.admins,
		Devices: h.devices,
		Push:    h.direct,
		Store:   h.store,
		Log:     log,

		Webhooks: h.hooks,
		Signals:  h.signals,
	})
	web.Mount(s, web.Services{
		Devices:  h.devices,
		Logins:   h.logins,
		Issuer:   h.access.Issuer(),
		Passkeys: h.passkeys,
		Brand:    brand.New(h.store),
		Own:      h.own,
		Now:      h.store.Now,
		Dashboard: &dashboard.Services{
			SignIn:  h.signin,
			Admins:  h.admins,
			Access:  h.access,
			Devices: h.devices,
			Checks:  s.Checks,
			Push:    h.direct,
			Gateway: h.push,
			Hooks:   h.hooks,
			Outbox:  h.outbox.Status,
			TLSEnd:  s.CertificateEnd,
			Store:   h.store,
			Now:     h.store.Now,
		},
	})
}
