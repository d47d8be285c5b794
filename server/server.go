// Package server is the HTTP foundation under the APIs: the listener with its limits, the edge that every call passes,
// error bodies for each API, the caller's address, long waits, health, and TLS.
//
// It knows no rule of the domain. The packages below it mount their handlers on [Server.App] and [Server.API]. They return
// errors as they got them; one table for each API ([Server.Translate]) says what the caller is told.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"tutela/storage"
	"tutela/storage/meter"
)

// maxHeaderBytes bounds a request's line and header fields together; a longer header gets 431. Fiber's own 4 KiB is too
// little for the device JWT of a large RSA key beside a manifest.
const maxHeaderBytes = 16 << 10

// Config says how a server is made. The zero value of each field is a usable default; only Listen or Listener must be set.
type Config struct {
	Listen         string                   // host:port; port 0 takes a free one
	Listener       net.Listener             // taken instead of Listen
	PublicURLs     []string                 // named in /openapi.json, first one first
	CertFile       string                   // PEM; with KeyFile, serves TLS. Both are read again when they change, and on SIGHUP
	KeyFile        string                   // PEM
	TrustedProxies []netip.Prefix           // whose X-Forwarded-For is believed
	Origin         func(origin string) bool // whether a page from this origin may call /api and /mfa; nil: none may
	Checks         []Check                  // what /readyz looks at
	Limits         Limits
	Clock          storage.Clock
	Log            *slog.Logger // nil: nothing is logged
	Meter          *meter.Set   // what is counted of this server; nil: nothing is
	Version        string
	NoAccessLog    bool // no line for each call
}

// Server serves the APIs over HTTP. Its methods are safe for concurrent use, except those that mount handlers: call them
// before Serve.
type Server struct {
	config       Config
	log          *slog.Logger
	app          *fiber.App
	api          huma.API
	proxies      proxies
	waits        *Waits
	limit        *AddressLimit
	translations map[API]Translation
	certificate  *certificate            // nil: no TLS
	doors        *fiber.App              // the doors by route
	route        fasthttp.RequestHandler // the handler of app; set by Serve
	atDoors      fasthttp.RequestHandler // the handler of doors; set by Serve
	bound        int                     // of connections open at once
	descriptors  int                     // that this process may have
	hsts         bool                    // answers tell browsers to come by https alone
	runners      runners
	health       *health
	figures      *figures  // set by Serve
	listener     *listener // set by Listen
	proxySeen    sync.Once // an undeclared proxy is logged once
	silentProxy  sync.Once // a declared proxy that does not name its callers is logged once
	closing      atomic.Bool
}

// New makes a server. It fails when it cannot read the TLS files, or only one of them is named.
func New(config Config) (*Server, error) {
	config.Limits = config.Limits.withDefaults()
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Clock == nil {
		config.Clock = storage.SystemClock()
	}
	if config.Origin == nil {
		config.Origin = func(string) bool { return false }
	}
	s := &Server{
		config:       config,
		log:          config.Log,
		proxies:      config.TrustedProxies,
		waits:        NewWaits(config.Limits.Waits),
		limit:        newAddressLimit(config.Limits.CallsPerAddress, config.Clock),
		translations: map[API]Translation{},
	}
	if config.CertFile != "" || config.KeyFile != "" {
		var err error
		if s.certificate, err = loadCertificate(config.CertFile, config.KeyFile, config.Log); err != nil {
			return nil, err
		}
	}
	var err error
	if s.bound, s.descriptors, err = connectionBound(config.Limits.Connections); err != nil {
		return nil, err
	}
	s.hsts = isPublicHTTPS(config.PublicURLs)
	s.app = newFiber(s)
	s.doors = newDoors()
	s.api = newHuma(s)
	s.health = newHealth(config.Checks, config.Version, s.log)
	s.health.mount(s)
	return s, nil
}

// hstsPolicy tells browsers to use https for a year. It covers no other host of the domain: those are not ours.
//
// Source: RFC 6797 §6.1.
const hstsPolicy = "max-age=31536000"

// isPublicHTTPS reports whether people come by https, and not to this machine: other software in development shares localhost.
func isPublicHTTPS(public []string) bool {
	if len(public) == 0 {
		return false
	}
	u, err := url.Parse(public[0])
	if err != nil || u.Scheme != "https" {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() != "localhost" && (err != nil || !addr.IsLoopback())
}

// App returns the router on which packages mount plain Fiber handlers. A handler returns its errors and does not write them.
func (s *Server) App() *fiber.App { return s.app }

// API returns the object on which packages register typed operations. All share it, so that /openapi.json describes all.
func (s *Server) API() huma.API { return s.api }

// Waits returns the long waits of all APIs.
func (s *Server) Waits() *Waits { return s.waits }

// AddressLimit returns the limit on calls without valid authorization, per address.
func (s *Server) AddressLimit() *AddressLimit { return s.limit }

// Translate sets the table that turns the errors of one API into answers. Before Serve only.
func (s *Server) Translate(api API, t Translation) { s.translations[api] = t }

// Listen opens the listening socket and returns its address. Serve calls it if nobody has. Call it first to learn the port
// when the configured one is 0.
func (s *Server) Listen(ctx context.Context) (net.Addr, error) {
	if s.listener != nil {
		return s.listener.Addr(), nil
	}
	inner := s.config.Listener
	if inner == nil {
		var err error
		if inner, err = new(net.ListenConfig).Listen(ctx, "tcp", s.config.Listen); err != nil {
			return nil, fmt.Errorf("listen on %s: %w", s.config.Listen, err)
		}
	}
	s.listener = newListener(inner, s.config.Limits.IdleTime, s.certificate, newCrowd(s.bound, s.proxies, s.log))
	s.listener.meter = s.config.Meter
	s.log.Info("connections are bounded", "max", s.bound, "descriptors", s.descriptors)
	return inner.Addr(), nil
}

// Serve answers calls until ctx ends, then shuts down: it takes no new connections, tells all waiting callers to answer
// now, lets running calls finish for Limits.Grace, and closes what is left. It returns nil after such a shutdown, and
// else why it could not listen or go on. A server serves once.
func (s *Server) Serve(ctx context.Context) error {
	if _, err := s.Listen(ctx); err != nil {
		return err
	}
	stopReload := s.reloadOnHangup()
	defer stopReload()
	defer s.runners.close()

	engine := newEngine(s)
	ended := make(chan error, 1)
	go func() { ended <- engine.Serve(s.listener) }()
	select {
	case err := <-ended:
		s.listener.closeAll()
		return fmt.Errorf("serve: %w", errors.Join(err, net.ErrClosed))
	case <-ctx.Done():
	}

	s.closing.Store(true)
	s.waits.Close()
	s.listener.stop()
	// ctx is over, since that is why the server stops; the shutdown needs a context that is not.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Limits.Grace)
	defer cancel()
	served := <-ended // the listener is closed
	s.drain(grace, engine)
	if err := engine.ShutdownWithContext(grace); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.Warn("calls were cut off at shutdown", "open", s.listener.open(), "err", err)
	}
	s.listener.closeAll()
	return served
}

// drainPause is the longest pause between two looks at the open connections during shutdown.
const drainPause = 100 * time.Millisecond

// drain waits until the last running call is answered, or grace ends, and closes idle connections. The engine's own shutdown
// looks only ten times a second; after drain it finds nothing to wait for.
func (s *Server) drain(grace context.Context, engine *fasthttp.Server) {
	for pause := time.Millisecond; ; pause = min(2*pause, drainPause) {
		s.listener.closeIdle()
		if engine.GetOpenConnectionsCount() < 0 { // it takes one off for the accept loop, which has ended
			return
		}
		select {
		case <-grace.Done():
			return
		case <-time.After(pause):
		}
	}
}

// reloadOnHangup reads the TLS files again at each SIGHUP, until stop is called. When they cannot be read, the old
// certificate stays in use. Without TLS it reads nothing, but still takes the signal: by default SIGHUP would end the server.
func (s *Server) reloadOnHangup() (stop func()) {
	hangups := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-hangups:
			}
			if s.certificate == nil {
				s.log.Info("SIGHUP: there is no TLS certificate to read again")
				continue
			}
			if err := s.certificate.load(); err != nil {
				s.log.Error(staysMessage, "err", err)
				continue
			}
			s.log.Info(readAgainMessage)
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(done)
	}
}

// Limits bound what callers can make the server hold. The zero value of each field is its default.
type Limits struct {
	Connections     int           // open at once; 100 000, and no more than the limit on file descriptors leaves room for
	Waits           int           // held answers at once; 20 000
	CallsPerAddress int           // calls a minute without valid authorization, per address; 600; eight times as many per network. Negative: no limit
	Body            BodyLimit     // DefaultBodyLimit
	HeaderTime      time.Duration // from a request's first byte to the end of its header; 10 s
	BodyTime        time.Duration // from there to the end of its body; 30 s
	WriteTime       time.Duration // for the caller to take the answer; 30 s
	IdleTime        time.Duration // until a connection without a request is closed; 75 s
	Grace           time.Duration // for running calls at shutdown; 10 s
}

// BodyLimit is the number of bytes that the body of a request may have. path is the path as routed, without a query.
type BodyLimit func(method, path string) int

func (l Limits) withDefaults() Limits {
	setInt := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	setTime := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	setInt(&l.Connections, 100_000)
	setInt(&l.Waits, 20_000)
	setInt(&l.CallsPerAddress, 600)
	setTime(&l.HeaderTime, 10*time.Second)
	setTime(&l.BodyTime, 30*time.Second)
	setTime(&l.WriteTime, 30*time.Second)
	setTime(&l.IdleTime, 75*time.Second)
	setTime(&l.Grace, 10*time.Second)
	if l.Body == nil {
		l.Body = DefaultBodyLimit
	}
	return l
}
