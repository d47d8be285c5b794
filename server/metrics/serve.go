package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"tutela/storage/meter"
)

// What a caller of the operators' listener can make the server hold.
const (
	maxConnections = 32
	maxHeaderBytes = 8 << 10
	headerTime     = 5 * time.Second
	writeTime      = 20 * time.Second // longer than scrapeTime
	idleTime       = 90 * time.Second // longer than most scrape intervals, so that a connection serves many
	graceTime      = 2 * time.Second
)

// goVersion is the version of Go that has built this program.
func goVersion() string { return runtime.Version() }

// Options says what the operators' listener shows.
type Options struct {
	Set     *meter.Set
	Version string
	Live    func() (status int, body any) // the answer of /healthz, whose body is to be JSON
	Ready   func() (status int, body any) // that of /readyz
	Log     *slog.Logger
}

// Serve answers GET /metrics, /healthz and /readyz on a listener of its own until ctx ends, and closes the listener. Anything
// else is 404, and any other method 405.
func Serve(ctx context.Context, l net.Listener, o Options) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", handler(Registry(o.Set, o.Version), o.Log))
	mux.HandleFunc("GET /healthz", answer(o.Live, o.Log))
	mux.HandleFunc("GET /readyz", answer(o.Ready, o.Log))
	s := &http.Server{
		Handler:           http.MaxBytesHandler(mux, 0),
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       headerTime,
		WriteTimeout:      writeTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(newBounded(l, maxConnections)) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
	defer cancel()
	if err := s.Shutdown(grace); err != nil {
		_ = s.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// answer writes what look returns.
func answer(look func() (status int, body any), log *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		status, body := look()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(body); err != nil {
			log.Debug("who asked is gone", "err", err)
		}
	}
}

// bounded is a listener that has at most so many connections open; further ones wait in the system's queue.
type bounded struct {
	net.Listener
	places chan struct{} // holds one for each open connection
	closed chan struct{}
	once   sync.Once
}

func newBounded(l net.Listener, most int) *bounded {
	return &bounded{Listener: l, places: make(chan struct{}, most), closed: make(chan struct{})}
}

// Accept waits for a place, and then for a connection.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.places <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.places
		return nil, err
	}
	return &placed{Conn: c, leave: sync.OnceFunc(func() { <-b.places })}, nil
}

// Close closes the listener.
func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// placed is a connection that has a place.
type placed struct {
	net.Conn
	leave func()
}

// Close closes the connection and gives its place up.
func (p *placed) Close() error {
	err := p.Conn.Close()
	p.leave()
	return err
}
